-- Processing-time windows: how many bids a user made in each period of the clock.
-- view: SELECT bidder, sum(bid_count) FROM {view} GROUP BY bidder
-- batch: SELECT bidder, count(*) FROM bid GROUP BY bidder
SELECT bidder, count(*) AS bid_count, window_start, window_end
FROM TUMBLE((SELECT bidder, PROCTIME() AS p_time FROM bid), p_time, INTERVAL '10 seconds')
GROUP BY bidder, window_start, window_end
