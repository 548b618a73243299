-- Windows in event time: flights per airport and hour, from 30,000 real flights in the order in which they arrived.
--   millstream run examples/01-windows.sql              (from the root of the repository; or psql -f, on a server started there)

-- A source is read from outside and not stored. A flight is reported when it lands, up to hours after its scheduled
-- `date`; the watermark says how long a window waits for it.
CREATE SOURCE IF NOT EXISTS flights (
  date TIMESTAMP, delay INT, distance INT, origin VARCHAR, destination VARCHAR,
  WATERMARK FOR date AS date - INTERVAL '2 hours'
) WITH (connector = 'file', path = 'examples/data/flights.ndjson') FORMAT PLAIN ENCODE JSON;

-- The answer of this query is kept up to date while rows come.
CREATE MATERIALIZED VIEW IF NOT EXISTS hourly AS
  SELECT window_start, origin, count(*) AS flights, avg(delay) AS delay, max(delay) AS worst
  FROM TUMBLE(flights, date, INTERVAL '1 hour')
  GROUP BY window_start, window_end, origin;

-- The source is bounded: wait for its end. (`millstream run` would wait before the SELECT by itself.)
WAIT FOR hourly;

SELECT window_start, origin, flights, round(delay, 1) AS delay, worst
FROM hourly ORDER BY flights DESC, window_start, origin LIMIT 5;

SELECT count(*) AS windows, sum(flights) AS flights FROM hourly;

-- Windows that overlap: 3 hours long, a new one every hour. Slide first, then size.
CREATE MATERIALIZED VIEW IF NOT EXISTS busy AS
  SELECT window_start, window_end, count(*) AS flights, sum(distance) AS miles
  FROM HOP(flights, date, INTERVAL '1 hour', INTERVAL '3 hours')
  GROUP BY window_start, window_end
  HAVING count(*) > 3000;
WAIT FOR busy;
SELECT * FROM busy ORDER BY window_start;
