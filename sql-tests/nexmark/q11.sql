-- User sessions: how many bids a user made in each session of activity.
SELECT bidder, count(*) AS bid_count, window_start, window_end
FROM SESSION(bid PARTITION BY bidder, date_time, INTERVAL '10 milliseconds')
GROUP BY bidder, window_start, window_end
