-- On connect.
SET extra_float_digits = 3;

SET application_name = 'DBeaver 25 - Main';

-- columns: current_schema, session_user
-- has: public
SELECT current_schema(), session_user;

-- columns: search_path
SHOW search_path;

-- has: millstream
SELECT db.oid, db.* FROM pg_catalog.pg_database db WHERE datname = 'millstream';

-- has: public
-- has: warehouse
SELECT n.oid, n.*, d.description FROM pg_catalog.pg_namespace n
LEFT OUTER JOIN pg_catalog.pg_description d ON d.objoid = n.oid AND d.objsubid = 0 AND d.classoid = 'pg_namespace'::regclass
ORDER BY nspname;

-- All types.
-- has: int8
-- has: _text
SELECT t.oid, t.*, c.relkind, format_type(nullif(t.typbasetype, 0), t.typtypmod) AS base_type_name, d.description
FROM pg_catalog.pg_type t
LEFT OUTER JOIN pg_catalog.pg_type et ON et.oid = t.typelem
LEFT OUTER JOIN pg_catalog.pg_class c ON c.oid = t.typrelid
LEFT OUTER JOIN pg_catalog.pg_description d ON t.oid = d.objoid
WHERE t.typname IS NOT NULL AND (c.relkind IS NULL OR c.relkind = 'c') AND (et.typcategory IS NULL OR et.typcategory <> 'C');

-- The relations of a schema.
-- has: orders
-- has: what was ordered
SELECT c.oid, c.*, d.description, pg_catalog.pg_get_expr(c.relpartbound, c.oid) AS partition_expr, pg_catalog.pg_get_partkeydef(c.oid) AS partition_key
FROM pg_catalog.pg_class c
LEFT OUTER JOIN pg_catalog.pg_description d ON d.objoid = c.oid AND d.objsubid = 0 AND d.classoid = 'pg_class'::regclass
WHERE c.relnamespace = 2200 AND c.relkind NOT IN ('i', 'I', 'c');

-- The columns of one.
-- has: customer
-- has: in euros
SELECT c.relname, a.*, pg_catalog.pg_get_expr(ad.adbin, ad.adrelid, true) AS def_value, dsc.description, dep.objid
FROM pg_catalog.pg_attribute a
INNER JOIN pg_catalog.pg_class c ON (a.attrelid = c.oid)
LEFT OUTER JOIN pg_catalog.pg_attrdef ad ON (a.attrelid = ad.adrelid AND a.attnum = ad.adnum)
LEFT OUTER JOIN pg_catalog.pg_description dsc ON (c.oid = dsc.objoid AND a.attnum = dsc.objsubid)
LEFT OUTER JOIN pg_catalog.pg_depend dep ON dep.refobjid = a.attrelid AND dep.deptype = 'i' AND dep.refobjsubid = a.attnum AND dep.classid = dep.refclassid
WHERE NOT a.attisdropped AND c.oid = 'public.orders'::regclass ORDER BY a.attnum;

-- Constraints of a schema.
-- has: orders_pkey
SELECT c.oid, c.*, t.relname AS tabrelname, rt.relnamespace AS refnamespace, d.description, c.consrc_copy
FROM (SELECT pc.*, CASE WHEN pc.contype = 'c' THEN substring(pg_get_constraintdef(pc.oid), 7) ELSE NULL END AS consrc_copy FROM pg_catalog.pg_constraint pc) c
INNER JOIN pg_catalog.pg_class t ON t.oid = c.conrelid
LEFT OUTER JOIN pg_catalog.pg_class rt ON rt.oid = c.confrelid
LEFT OUTER JOIN pg_catalog.pg_description d ON d.objoid = c.oid AND d.objsubid = 0 AND d.classoid = 'pg_constraint'::regclass
WHERE t.relnamespace = 2200 ORDER BY c.oid;

-- Indexes of a table.
-- has: orders_pkey
-- has: by_customer
SELECT i.*, i.indkey AS keys, c.relname, c.relnamespace, c.relam, c.reltablespace, tc.relname AS tabrelname, dsc.description,
       pg_catalog.pg_get_expr(i.indpred, i.indrelid) AS pred_expr, pg_catalog.pg_get_expr(i.indexprs, i.indrelid, true) AS expr,
       pg_catalog.pg_relation_size(i.indexrelid) AS index_rel_size, pg_catalog.pg_stat_get_numscans(i.indexrelid) AS index_num_scans
FROM pg_catalog.pg_index i
INNER JOIN pg_catalog.pg_class c ON c.oid = i.indexrelid
INNER JOIN pg_catalog.pg_class tc ON tc.oid = i.indrelid
LEFT OUTER JOIN pg_catalog.pg_description dsc ON i.indexrelid = dsc.objoid
WHERE i.indrelid = 'orders'::regclass ORDER BY tabrelname, c.relname;

-- Functions of a schema.
-- has: twice
SELECT p.oid, p.*, pg_catalog.pg_get_expr(p.proargdefaults, 0) AS arg_defaults, d.description
FROM pg_catalog.pg_proc p LEFT OUTER JOIN pg_catalog.pg_description d ON d.objoid = p.oid AND d.objsubid = 0
WHERE p.pronamespace = 2200 ORDER BY p.proname;

-- Roles, access methods, languages, tablespaces, foreign servers.
SELECT a.oid, a.*, pd.description FROM pg_catalog.pg_roles a LEFT JOIN pg_catalog.pg_shdescription pd ON a.oid = pd.objoid ORDER BY a.rolname;

-- has: btree
SELECT am.oid, am.* FROM pg_catalog.pg_am am ORDER BY am.oid;

-- has: sql
SELECT l.oid, l.* FROM pg_catalog.pg_language l ORDER BY l.oid;

-- has: pg_default
SELECT t.oid, t.*, pg_tablespace_location(t.oid) AS loc FROM pg_catalog.pg_tablespace t ORDER BY t.oid;

SELECT f.*, fs.* FROM pg_catalog.pg_foreign_data_wrapper f LEFT JOIN pg_catalog.pg_foreign_server fs ON fs.srvfdw = f.oid;

-- A view's text, a function's, the sizes of tables, who is connected.
-- has: per_customer
SELECT c.relname, pg_catalog.pg_get_viewdef(c.oid, true) AS definition FROM pg_catalog.pg_class c WHERE c.relkind IN ('v', 'm') AND c.relnamespace = 2200;

-- columns: pg_get_functiondef
SELECT pg_get_functiondef(p.oid) FROM pg_catalog.pg_proc p WHERE p.proname = 'twice';

-- has: orders
SELECT c.oid, c.relname, pg_catalog.pg_total_relation_size(c.oid) AS total_rel_size, pg_catalog.pg_relation_size(c.oid) AS rel_size
FROM pg_class c WHERE c.relnamespace = 2200 AND c.relkind IN ('r', 'm');

-- has: DBeaver 25 - Main
SELECT sa.* FROM pg_catalog.pg_stat_activity sa;

-- Sequences, triggers, policies, inheritance: there are none.
-- rows: 0
SELECT s.* FROM information_schema.sequences s WHERE s.sequence_schema = 'public';

-- rows: 0
SELECT x.oid, x.*, p.pronamespace AS func_schema_id, d.description FROM pg_catalog.pg_trigger x
LEFT OUTER JOIN pg_catalog.pg_proc p ON p.oid = x.tgfoid LEFT OUTER JOIN pg_catalog.pg_description d ON d.objoid = x.oid AND d.objsubid = 0
WHERE x.tgrelid = 'orders'::regclass AND NOT x.tgisinternal;

-- rows: 0
SELECT pol.* FROM pg_catalog.pg_policies pol WHERE pol.schemaname = 'public';

-- rows: 0
SELECT i.*, c.relnamespace FROM pg_catalog.pg_inherits i, pg_catalog.pg_class c WHERE i.inhrelid = 'orders'::regclass AND c.oid = i.inhparent ORDER BY i.inhseqno;
