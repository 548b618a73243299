-- Late and faulty rows are data: kept, counted exactly, and never dropped silently.
--   millstream run examples/02-late-rows.sql

CREATE SOURCE IF NOT EXISTS flights (
  date TIMESTAMP, delay INT, distance INT, origin VARCHAR, destination VARCHAR,
  WATERMARK FOR date AS date - INTERVAL '2 hours'
) WITH (connector = 'file', path = 'examples/data/flights.ndjson') FORMAT PLAIN ENCODE JSON;

CREATE MATERIALIZED VIEW IF NOT EXISTS departures AS
  SELECT window_start, count(*) AS flights
  FROM TUMBLE(flights, date, INTERVAL '1 hour')
  GROUP BY window_start, window_end;
WAIT FOR departures;

-- A row is late when its window had ended by the watermark of the rows before it. Accepted + late = all there are.
SELECT (SELECT sum(flights) FROM departures) AS accepted,
       (SELECT count(*) FROM ms_late.departures) AS late,
       (SELECT count(*) FROM flights) AS input;

-- The rows themselves, with the watermark that closed their window.
SELECT date, watermark, watermark - window_end AS behind
FROM (SELECT window_end - INTERVAL '1 hour' AS date, window_end, watermark FROM ms_late.departures)
ORDER BY behind DESC, date LIMIT 3;

-- More patience, fewer late rows, later answers: the same file, read as a source that waits for six hours.
CREATE SOURCE IF NOT EXISTS patient_flights (
  date TIMESTAMP, delay INT, distance INT, origin VARCHAR, destination VARCHAR,
  WATERMARK FOR date AS date - INTERVAL '6 hours'
) WITH (connector = 'file', path = 'examples/data/flights.ndjson') FORMAT PLAIN ENCODE JSON;
CREATE MATERIALIZED VIEW IF NOT EXISTS patient_departures AS
  SELECT window_start, count(*) AS flights
  FROM TUMBLE(patient_flights, date, INTERVAL '1 hour')
  GROUP BY window_start, window_end;
WAIT FOR patient_departures;
SELECT count(*) AS late FROM ms_late.patient_departures;

-- A row that cannot be computed goes to ms_faults with its reason; it stops nothing and never becomes a NULL.
CREATE MATERIALIZED VIEW IF NOT EXISTS miles_per_minute AS
  SELECT origin, destination, distance / delay AS miles FROM flights WHERE origin = 'ANC';
WAIT FOR miles_per_minute;
SELECT (SELECT count(*) FROM miles_per_minute) AS computed, (SELECT count(*) FROM ms_faults.miles_per_minute) AS faulty;
SELECT reason, count(*) FROM ms_faults.miles_per_minute GROUP BY reason;
