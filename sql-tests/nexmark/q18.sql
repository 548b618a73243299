-- The last bid of each user on each auction.
SELECT auction, bidder, price, channel, url, date_time, extra
FROM (
  SELECT *, row_number() OVER (PARTITION BY bidder, auction ORDER BY date_time DESC, price, channel, url, extra) AS rn
  FROM bid
) q
WHERE rn <= 1
