-- The configuration page: which version, and whether TimescaleDB is there.
-- columns: version
-- has: 1600
SELECT current_setting('server_version_num')::int / 100 AS version;

-- columns: extversion
-- rows: 0
SELECT extversion FROM pg_extension WHERE extname = 'timescaledb';

-- The query editor's tables: those on the search path by their name alone.
-- columns: table
-- has: orders
-- has: per_customer
-- has: warehouse.stock
SELECT CASE WHEN quote_ident(table_schema) IN (
           SELECT CASE WHEN trim(parts[i]) = '"$user"' THEN user ELSE trim(parts[i]) END
           FROM generate_series(array_lower(string_to_array(current_setting('search_path'), ','), 1),
                                array_upper(string_to_array(current_setting('search_path'), ','), 1)) AS i,
                string_to_array(current_setting('search_path'), ',') parts)
       THEN quote_ident(table_name) ELSE quote_ident(table_schema) || '.' || quote_ident(table_name) END AS "table"
FROM information_schema.tables
WHERE quote_ident(table_schema) NOT IN ('information_schema', 'pg_catalog', '_timescaledb_internal')
ORDER BY 1;

-- The columns of one of them.
-- columns: column, type
-- has: price
-- has: numeric
SELECT quote_ident(column_name) AS "column", data_type AS "type"
FROM information_schema.columns
WHERE CASE WHEN array_length(parse_ident('orders'), 1) = 2
      THEN quote_ident(table_schema) = (parse_ident('orders'))[1] AND quote_ident(table_name) = (parse_ident('orders'))[2]
      ELSE quote_ident(table_name) = 'orders' AND quote_ident(table_schema) IN ('public') END;

-- A panel over time.
-- columns: time, metric, value
-- has: ada
SELECT floor(extract(epoch FROM at) / 60) * 60 AS "time", customer AS metric, avg(price) AS value
FROM orders WHERE at BETWEEN '2024-01-01T00:00:00Z' AND '2024-12-31T00:00:00Z' GROUP BY 1, 2 ORDER BY 1, 2;

-- A variable.
-- columns: customer
-- has: bob
SELECT DISTINCT customer FROM orders ORDER BY customer;
