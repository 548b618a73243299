-- Auction statistics of each day.
SELECT auction, to_char(date_time, 'YYYY-MM-DD') AS day,
       count(*) AS bids,
       count(*) FILTER (WHERE price < 10000) AS bids1, count(*) FILTER (WHERE price >= 10000 AND price < 1000000) AS bids2, count(*) FILTER (WHERE price >= 1000000) AS bids3,
       min(price) AS min_price, max(price) AS max_price, avg(price) AS avg_price, sum(price) AS sum_price
FROM bid
GROUP BY auction, to_char(date_time, 'YYYY-MM-DD')
