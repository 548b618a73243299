#!/usr/bin/env bash
# psql as it comes: backslash commands over real catalog tables, \copy both ways, cursors, prepared statements.
set -euo pipefail
export PGHOST=$1 PGPORT=$2 PGUSER=ada PGDATABASE=millstream PGOPTIONS='-c client_min_messages=warning'
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
run() { psql -X -q -v ON_ERROR_STOP=1 "$@"; }
# has NEEDLE… : all of them are in the answer to the command before.
ask() { answer=$(run -c "$1" 2>&1) || { echo "$1 failed: $answer"; exit 1; }; }
has() { for needle in "$@"; do grep -qF -- "$needle" <<<"$answer" || { echo "no \"$needle\" in: $answer"; exit 1; }; done; }

run <<'SQL'
CREATE TABLE orders (id INT PRIMARY KEY, customer VARCHAR NOT NULL DEFAULT 'nobody', price NUMERIC(12,2));
CREATE VIEW cheap AS SELECT id FROM orders WHERE price < 10;
CREATE MATERIALIZED VIEW per_customer AS SELECT customer, count(*) AS orders FROM orders GROUP BY customer;
CREATE INDEX by_customer ON orders (customer);
COMMENT ON TABLE orders IS 'what was ordered';
SQL
ask '\d'; has 'orders' 'per_customer' 'materialized view' 'cheap'
ask '\d orders'; has 'Table "public.orders"' 'integer' 'not null' "'nobody'" 'numeric(12,2)' '"orders_pkey" PRIMARY KEY, btree (id)' '"by_customer" btree (customer)'
ask '\d cheap'; has 'View "public.cheap"'
ask '\d per_customer'; has 'Materialized view "public.per_customer"'
ask '\dt+'; has 'what was ordered' 'permanent'
ask '\dv'; has 'cheap'
ask '\dm'; has 'per_customer'
ask '\di'; has 'orders_pkey' 'by_customer'
ask '\df'; has '(0 rows)'
ask '\df abs'; has 'pg_catalog' 'abs'
run -c 'CREATE FUNCTION twice(x BIGINT) RETURNS BIGINT LANGUAGE sql RETURN x * 2'
ask '\df'; has 'twice' 'x bigint' 'bigint' '(1 row)'
ask '\df+ twice'; has 'twice' 'sql'
ask '\sf twice'; has 'RETURN x * 2'
ask '\dn'; has 'public'
ask '\du'; has 'ada' 'Superuser'
ask '\l'; has 'millstream' 'UTF8'
ask '\sv cheap'; has 'CREATE OR REPLACE VIEW public.cheap AS'
ask '\sf abs'; has 'CREATE OR REPLACE FUNCTION pg_catalog.abs'
ask '\conninfo'; has 'millstream'

printf '1\tada\t9.50\n2\tbob\t\\N\n' >"$folder/in"
run -c "\\copy orders FROM '$folder/in'"
run -c "\\copy orders (id, customer) TO '$folder/out' csv header"
diff <(printf 'id,customer\n1,ada\n2,bob\n') "$folder/out"
run -c "COPY orders TO STDOUT (FORMAT binary)" >"$folder/binary"
run -c "DELETE FROM orders" -c "\\copy orders FROM '$folder/binary' (FORMAT binary)"
ask 'SELECT count(*), sum(price) FROM orders'; has '2 |'  '9.50'
if run -c "COPY orders FROM STDIN" <<<'x	y	z' 2>"$folder/error"; then echo 'a bad row was taken'; exit 1; fi
grep -q 'invalid input syntax for type integer: "x"' "$folder/error"
grep -q 'COPY, line 1, column id' "$folder/error"

answer=$(run -At <<'SQL'
PREPARE cheaper (numeric) AS SELECT id FROM orders WHERE price < $1;
EXECUTE cheaper(10);
DEALLOCATE cheaper;
BEGIN;
DECLARE c CURSOR FOR SELECT id FROM orders ORDER BY id;
FETCH 1 FROM c;
MOVE 1 IN c;
FETCH ALL c;
CLOSE c;
SAVEPOINT s;
DELETE FROM orders;
ROLLBACK TO s;
INSERT INTO orders VALUES (3, 'eve', 1);
COMMIT;
SELECT count(*) FROM orders;
SQL
)
[ "$answer" = $'1\n1\n3' ] || { echo "cursors and savepoints: $answer"; exit 1; }
answer=$(psql -X -q -At --set FETCH_COUNT=10 -c 'SELECT count(*) FROM pg_attribute' -c 'SELECT attname FROM pg_attribute' | wc -l)
[ "$answer" -gt 2000 ] || { echo "FETCH_COUNT: $answer"; exit 1; }
echo ok
