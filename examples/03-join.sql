-- Joins: a stream of flights with a CSV file of airports, twice; and a view over the result.
--   millstream run examples/03-join.sql

CREATE SOURCE IF NOT EXISTS flights (
  date TIMESTAMP, delay INT, distance INT, origin VARCHAR, destination VARCHAR,
  WATERMARK FOR date AS date - INTERVAL '2 hours'
) WITH (connector = 'file', path = 'examples/data/flights.ndjson') FORMAT PLAIN ENCODE JSON;

CREATE SOURCE IF NOT EXISTS airports (
  iata VARCHAR, name VARCHAR, city VARCHAR, state VARCHAR, country VARCHAR,
  latitude DOUBLE PRECISION, longitude DOUBLE PRECISION
) WITH (connector = 'file', path = 'examples/data/airports.csv') FORMAT PLAIN ENCODE CSV (header = true);

CREATE MATERIALIZED VIEW IF NOT EXISTS routes AS
  SELECT o.city AS origin, o.state AS from_state, d.city AS destination, d.state AS to_state,
         count(*) AS flights, avg(f.delay) AS delay
  FROM flights f
  JOIN airports o ON f.origin = o.iata
  JOIN airports d ON f.destination = d.iata AND d.state <> o.state
  GROUP BY o.city, o.state, d.city, d.state;

-- A view on a view: it sees the changes of `routes`, epoch by epoch.
CREATE MATERIALIZED VIEW IF NOT EXISTS between_states AS
  SELECT from_state, to_state, sum(flights) AS flights, count(*) AS routes FROM routes GROUP BY from_state, to_state;

WAIT FOR routes, between_states;

SELECT origin, destination, flights, round(delay, 1) AS delay
FROM routes ORDER BY flights DESC, origin, destination LIMIT 5;

SELECT * FROM between_states ORDER BY flights DESC, from_state, to_state LIMIT 5;

-- All relations of one statement are read at one epoch: the two views agree, always.
SELECT (SELECT sum(flights) FROM routes) - (SELECT sum(flights) FROM between_states) AS difference;
