-- Percentiles of the prices.
SELECT percentile_disc(0.01) WITHIN GROUP (ORDER BY price) AS p01,
       percentile_disc(0.1) WITHIN GROUP (ORDER BY price) AS p10,
       percentile_disc(0.5) WITHIN GROUP (ORDER BY price) AS p50,
       percentile_disc(0.9) WITHIN GROUP (ORDER BY price) AS p90,
       percentile_disc(0.99) WITHIN GROUP (ORDER BY price) AS p99
FROM bid
