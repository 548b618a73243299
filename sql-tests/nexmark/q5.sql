-- Hot items: the auctions with most bids in the last period, told again and again.
SELECT ab.auction, ab.num, ab.window_start
FROM (
  SELECT auction, count(*) AS num, window_start, window_end
  FROM HOP(bid, date_time, INTERVAL '100 milliseconds', INTERVAL '500 milliseconds')
  GROUP BY auction, window_start, window_end
) ab
JOIN (
  SELECT max(c.num) AS maxn, c.window_start, c.window_end
  FROM (
    SELECT count(*) AS num, window_start, window_end
    FROM HOP(bid, date_time, INTERVAL '100 milliseconds', INTERVAL '500 milliseconds')
    GROUP BY auction, window_start, window_end
  ) c
  GROUP BY c.window_start, c.window_end
) mb ON ab.window_start = mb.window_start AND ab.window_end = mb.window_end AND ab.num >= mb.maxn
