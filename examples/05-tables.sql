-- Tables, and views on views: INSERT, UPDATE and DELETE flow through everything that depends on them.
--   millstream run examples/05-tables.sql

CREATE TABLE IF NOT EXISTS accounts (
  id INT PRIMARY KEY, owner VARCHAR NOT NULL, balance DECIMAL(12,2) DEFAULT 0, opened DATE
);
CREATE MATERIALIZED VIEW IF NOT EXISTS totals AS
  SELECT owner, count(*) AS accounts, sum(balance) AS balance FROM accounts GROUP BY owner;
CREATE MATERIALIZED VIEW IF NOT EXISTS rich AS
  SELECT owner, balance FROM totals WHERE balance >= 100;

-- To watch every change as it happens, in another terminal:
--   psql -h 127.0.0.1 -p 7432 -d millstream -c "COPY (SUBSCRIBE TO rich) TO STDOUT"
-- ms_epoch, ms_weight (1: the row has come, -1: it has gone), then the view's columns.

INSERT INTO accounts VALUES (1, 'ada', 80, '2026-01-05'), (2, 'ada', 40.50, '2026-01-06'), (3, 'bob', 99.99, '2026-02-01');
INSERT INTO accounts (id, owner) VALUES (4, 'cyd');

-- An INSERT has returned: whatever is read from now on knows it.
SELECT * FROM totals ORDER BY owner;
SELECT * FROM rich ORDER BY owner;

UPDATE accounts SET balance = balance + 1 WHERE owner = 'bob';
DELETE FROM accounts WHERE id = 2;
SELECT * FROM rich ORDER BY owner;

-- A transaction takes effect in one epoch: no reader ever sees 30.00 missing.
BEGIN;
UPDATE accounts SET balance = balance - 30 WHERE id = 1;
UPDATE accounts SET balance = balance + 30 WHERE id = 4;
COMMIT;
SELECT * FROM totals ORDER BY owner;
SELECT sum(balance) FROM totals;

-- Any query may be asked of what is kept: DataFusion's whole SQL, over one consistent epoch.
SELECT owner, balance, rank() OVER (ORDER BY balance DESC) AS place
FROM totals ORDER BY place;

-- A plain view is a name for a query; nothing is kept for it.
CREATE VIEW IF NOT EXISTS small AS SELECT id, owner, balance FROM accounts WHERE balance < 60;
SELECT * FROM small ORDER BY id;
DESCRIBE totals;
