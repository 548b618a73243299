-- Highest bid: the highest bids of each period.
SELECT b.auction, b.price, b.bidder, b.date_time, b.extra
FROM bid b
JOIN (
  SELECT max(price) AS maxprice, window_end
  FROM TUMBLE(bid, date_time, INTERVAL '100 milliseconds')
  GROUP BY window_start, window_end
) m ON b.price = m.maxprice AND b.date_time BETWEEN m.window_end - INTERVAL '100 milliseconds' AND m.window_end
