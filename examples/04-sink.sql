-- A sink: each window once, when it is final, into files; exactly once, also across kill -9.
--   millstream run examples/04-sink.sql && head -3 examples/output/delays/part-*.ndjson
-- A folder belongs to the data directory that wrote into it: remove examples/output before another one does.

CREATE SOURCE IF NOT EXISTS flights (
  date TIMESTAMP, delay INT, distance INT, origin VARCHAR, destination VARCHAR,
  WATERMARK FOR date AS date - INTERVAL '2 hours'
) WITH (connector = 'file', path = 'examples/data/flights.ndjson') FORMAT PLAIN ENCODE JSON;

-- EMIT ON WINDOW CLOSE makes the view append-only: a window is shown when the watermark has passed its end.
CREATE MATERIALIZED VIEW IF NOT EXISTS delays AS
  SELECT window_start, origin, count(*) AS flights, avg(delay) AS delay
  FROM TUMBLE(flights, date, INTERVAL '1 hour')
  GROUP BY window_start, window_end, origin
  HAVING avg(delay) > 60
  EMIT ON WINDOW CLOSE;

-- Finished files end in .ndjson; whatever else is in the folder begins with a dot.
CREATE SINK IF NOT EXISTS delays_files FROM delays
  WITH (connector = 'file', path = 'examples/output/delays') FORMAT PLAIN ENCODE JSON;

-- For a sink: until everything is delivered.
WAIT FOR delays_files;
SELECT count(*) AS windows, sum(flights) AS flights FROM delays;
SELECT name, outbox_rows, rows_sent FROM ms_catalog.ms_sinks;

-- What was written can be read like any other file.
CREATE SOURCE IF NOT EXISTS written (window_start TIMESTAMP, origin VARCHAR, flights BIGINT, delay DECIMAL(38,16))
  WITH (connector = 'file', path = 'examples/output/delays/*.ndjson') FORMAT PLAIN ENCODE JSON;
SELECT window_start, origin, flights, round(delay, 1) AS delay FROM written ORDER BY delay DESC, origin LIMIT 3;
