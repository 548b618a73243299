-- The ten highest bids of each auction.
SELECT *
FROM (
  SELECT *, row_number() OVER (PARTITION BY auction ORDER BY price DESC, bidder, date_time, extra) AS rn
  FROM bid
) q
WHERE rn <= 10
