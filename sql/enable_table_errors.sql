-- sp_cdc_enable_table: everything it refuses, with SQLSTATE, detail and hint. Nothing may change.
CREATE EXTENSION cdc;

CREATE ROLE regress_cdc_owner;
CREATE ROLE regress_cdc_other;
CREATE ROLE regress_cdc_creator CREATEROLE;
CREATE SCHEMA src AUTHORIZATION regress_cdc_owner;
GRANT CREATE, USAGE ON SCHEMA src TO regress_cdc_other, regress_cdc_creator;

CREATE FUNCTION refused(call text) RETURNS SETOF text LANGUAGE plpgsql AS $$
DECLARE
	state text; message text; detail text; hint text;
BEGIN
	EXECUTE call;
	RETURN NEXT 'NOT REFUSED';
	RAISE EXCEPTION 'not refused: %', call;
EXCEPTION WHEN OTHERS THEN
	GET STACKED DIAGNOSTICS state = RETURNED_SQLSTATE, message = MESSAGE_TEXT, detail = PG_EXCEPTION_DETAIL, hint = PG_EXCEPTION_HINT;
	RETURN NEXT state || '  ' || message;
	IF detail <> '' THEN RETURN NEXT '  ' || detail; END IF;
	IF hint <> '' THEN RETURN NEXT '  -> ' || hint; END IF;
END $$;
GRANT EXECUTE ON FUNCTION refused TO PUBLIC;

\pset tuples_only on
\pset format unaligned

SET ROLE regress_cdc_owner;
CREATE TABLE src.t (id integer PRIMARY KEY, u integer NOT NULL, n integer, "we,ird" text, "quo""te" text, "Mixed" text, e integer);
CREATE UNIQUE INDEX t_u ON src.t (u);
CREATE INDEX t_plain ON src.t (u);
CREATE UNIQUE INDEX t_nullable ON src.t (u, n);
CREATE UNIQUE INDEX t_partial ON src.t (u) WHERE u > 0;
CREATE UNIQUE INDEX t_expression ON src.t ((u + 1));
ALTER TABLE src.t ADD CONSTRAINT t_deferrable UNIQUE (u) DEFERRABLE;
CREATE TABLE src.nokey (id integer, v text);
CREATE TABLE src.deferred (id integer PRIMARY KEY DEFERRABLE, v text);
RESET ROLE;

-- The database comes first.
SELECT refused($$CALL cdc.sp_cdc_enable_table('src', 't', NULL)$$);
SELECT refused($$CALL cdc.sp_cdc_enable_table(NULL, NULL, NULL)$$);

CALL cdc.sp_cdc_enable_db();

-- 22963: required parameters
SELECT refused($$CALL cdc.sp_cdc_enable_table(NULL, 't', NULL)$$);
SELECT refused($$CALL cdc.sp_cdc_enable_table('', 't', NULL)$$);
SELECT refused($$CALL cdc.sp_cdc_enable_table('src', NULL, NULL)$$);
SELECT refused($$CALL cdc.sp_cdc_enable_table('src', '', NULL)$$);
SELECT refused($$CALL cdc.sp_cdc_enable_table('src', 't', NULL, '  ')$$);
-- role_name has no default
SELECT refused($$CALL cdc.sp_cdc_enable_table('src', 't')$$);

-- 22931: no such table; names are not folded, and never cut
SELECT refused($$CALL cdc.sp_cdc_enable_table('src', 'missing', NULL)$$);
SELECT refused($$CALL cdc.sp_cdc_enable_table('missing', 't', NULL)$$);
SELECT refused($$CALL cdc.sp_cdc_enable_table('src', 'T', NULL)$$);
SELECT refused(format($$CALL cdc.sp_cdc_enable_table('src', %L, NULL, 'ci')$$, repeat('x', 64)));

-- 22974 and other things that cannot be captured
SELECT refused($$CALL cdc.sp_cdc_enable_table('cdc', 'change_tables', NULL)$$);
SELECT refused($$CALL cdc.sp_cdc_enable_table('pg_catalog', 'pg_class', NULL)$$);
SELECT refused($$CALL cdc.sp_cdc_enable_table('information_schema', 'sql_features', NULL)$$);
CREATE VIEW src.v AS SELECT 1 AS one;
CREATE MATERIALIZED VIEW src.mv AS SELECT 1 AS one;
CREATE SEQUENCE src.s;
CREATE TYPE src.composite AS (a integer);
CREATE UNLOGGED TABLE src.unlogged (id integer PRIMARY KEY);
CREATE TEMPORARY TABLE temporary (id integer PRIMARY KEY);
CREATE FOREIGN DATA WRAPPER regress_cdc_fdw;
CREATE SERVER regress_cdc_server FOREIGN DATA WRAPPER regress_cdc_fdw;
CREATE FOREIGN TABLE src.foreign_table (id integer) SERVER regress_cdc_server;
CREATE ACCESS METHOD regress_cdc_heap TYPE TABLE HANDLER heap_tableam_handler;
CREATE TABLE src.other_am (id integer PRIMARY KEY) USING regress_cdc_heap;
SELECT refused($$CALL cdc.sp_cdc_enable_table('src', 'v', NULL)$$);
SELECT refused($$CALL cdc.sp_cdc_enable_table('src', 'mv', NULL)$$);
SELECT refused($$CALL cdc.sp_cdc_enable_table('src', 's', NULL)$$);
SELECT refused($$CALL cdc.sp_cdc_enable_table('src', 't_pkey', NULL)$$);
SELECT refused($$CALL cdc.sp_cdc_enable_table('src', 'composite', NULL)$$);
SELECT refused($$CALL cdc.sp_cdc_enable_table('src', 'foreign_table', NULL)$$);
SELECT refused($$CALL cdc.sp_cdc_enable_table('src', 'unlogged', NULL)$$);
SELECT refused($$CALL cdc.sp_cdc_enable_table('pg_temp', 'temporary', NULL)$$);
SELECT refused($$CALL cdc.sp_cdc_enable_table('src', 'other_am', NULL)$$);

-- partitions: only the root is enabled, and the log must show every partition
CREATE TABLE src.parts (id integer PRIMARY KEY, v text) PARTITION BY RANGE (id);
CREATE TABLE src.parts_1 PARTITION OF src.parts FOR VALUES FROM (0) TO (10);
CREATE UNLOGGED TABLE src.parts_2 PARTITION OF src.parts FOR VALUES FROM (10) TO (20);
SELECT refused($$CALL cdc.sp_cdc_enable_table('src', 'parts_1', NULL)$$);
SELECT refused($$CALL cdc.sp_cdc_enable_table('src', 'parts', NULL)$$);
DROP TABLE src.parts_2;
CREATE TABLE src.parts_2 (id integer PRIMARY KEY, v text);
CALL cdc.sp_cdc_enable_table('src', 'parts_2', NULL, 'by_itself');
ALTER TABLE src.parts ATTACH PARTITION src.parts_2 FOR VALUES FROM (10) TO (20);
SELECT refused($$CALL cdc.sp_cdc_enable_table('src', 'parts', NULL)$$);
CALL cdc.sp_cdc_disable_table('src', 'parts_2', 'all');
DROP TABLE src.parts;

-- 22904: only the owner
SET ROLE regress_cdc_other;
SELECT refused($$CALL cdc.sp_cdc_enable_table('src', 't', NULL)$$);
SELECT refused($$CALL cdc.sp_cdc_enable_table('pg_catalog', 'pg_class', NULL)$$);
RESET ROLE;

-- 22907, 22938, 22944: the gating role
SET ROLE regress_cdc_owner;
SELECT refused($$CALL cdc.sp_cdc_enable_table('src', 't', '')$$);
SELECT refused($$CALL cdc.sp_cdc_enable_table('src', 't', '   ')$$);
SELECT refused($$CALL cdc.sp_cdc_enable_table('src', 't', 'public')$$);
SELECT refused($$CALL cdc.sp_cdc_enable_table('src', 't', 'none')$$);
SELECT refused($$CALL cdc.sp_cdc_enable_table('src', 't', 'pg_new')$$);
SELECT refused(format($$CALL cdc.sp_cdc_enable_table('src', 't', %L)$$, repeat('r', 64)));
SELECT refused($$CALL cdc.sp_cdc_enable_table('src', 't', 'regress_cdc_missing')$$);

-- 22927, 22932: the instance's name. Nothing is cut, neither a given nor a derived one.
SELECT refused(format($$CALL cdc.sp_cdc_enable_table('src', 't', NULL, %L)$$, repeat('x', 41)));
CREATE TABLE src.a_table_with_a_name_of_thirty_seven_b (id integer PRIMARY KEY);
SELECT refused($$CALL cdc.sp_cdc_enable_table('src', 'a_table_with_a_name_of_thirty_seven_b', NULL)$$);
SELECT refused($$CALL cdc.sp_cdc_enable_table('src', 't', NULL, 'All')$$);
SELECT refused($$CALL cdc.sp_cdc_enable_table('src', 't', NULL, E'tab\there')$$);

-- 22926: the name, and every name made from it
RESET ROLE;
CREATE SCHEMA src_a;
CREATE TABLE src.a_b (id integer PRIMARY KEY);
CREATE TABLE src_a.b (id integer PRIMARY KEY);
CREATE TABLE cdc.taken_table_ct (id integer);
CREATE TYPE cdc.taken_type_ct AS ENUM ('x');
CREATE FUNCTION cdc.fn_cdc_get_net_changes_taken_function() RETURNS integer LANGUAGE sql AS 'SELECT 1';
BEGIN;
CALL cdc.sp_cdc_enable_table('src', 'a_b', NULL);
SELECT refused($$CALL cdc.sp_cdc_enable_table('src_a', 'b', NULL)$$);
SELECT refused($$CALL cdc.sp_cdc_enable_table('src', 'a_b', NULL)$$);
SELECT refused($$CALL cdc.sp_cdc_enable_table('src', 't', NULL, 'src_a_b   ')$$);
ROLLBACK;
SELECT refused($$CALL cdc.sp_cdc_enable_table('src', 't', NULL, 'taken_table')$$);
SELECT refused($$CALL cdc.sp_cdc_enable_table('src', 't', NULL, 'taken_type')$$);
SELECT refused($$CALL cdc.sp_cdc_enable_table('src', 't', NULL, 'taken_function')$$);
DROP TABLE cdc.taken_table_ct;
DROP TYPE cdc.taken_type_ct;
DROP FUNCTION cdc.fn_cdc_get_net_changes_taken_function();

-- 22962: a third instance
BEGIN;
CALL cdc.sp_cdc_enable_table('src', 't', NULL, 'first');
CALL cdc.sp_cdc_enable_table('src', 't', NULL, 'second');
SELECT refused($$CALL cdc.sp_cdc_enable_table('src', 't', NULL, 'third')$$);
ROLLBACK;

-- 22928, 22929, 22980, 22838: the index
SELECT refused($$CALL cdc.sp_cdc_enable_table('src', 't', NULL, index_name => 'missing')$$);
SELECT refused($$CALL cdc.sp_cdc_enable_table('src', 't', NULL, index_name => '')$$);
SELECT refused($$CALL cdc.sp_cdc_enable_table('src', 't', NULL, index_name => 'a_b_pkey')$$);
SELECT refused($$CALL cdc.sp_cdc_enable_table('src', 't', NULL, index_name => 't_plain')$$);
SELECT refused($$CALL cdc.sp_cdc_enable_table('src', 't', NULL, index_name => 't_partial')$$);
SELECT refused($$CALL cdc.sp_cdc_enable_table('src', 't', NULL, index_name => 't_expression')$$);
SELECT refused($$CALL cdc.sp_cdc_enable_table('src', 't', NULL, index_name => 't_deferrable')$$);
SELECT refused($$CALL cdc.sp_cdc_enable_table('src', 't', NULL, index_name => 't_nullable')$$);
CREATE TABLE src.doubled (id integer NOT NULL);
INSERT INTO src.doubled VALUES (1), (1);
CREATE UNIQUE INDEX CONCURRENTLY doubled_id ON src.doubled (id);
SELECT refused($$CALL cdc.sp_cdc_enable_table('src', 'doubled', NULL, index_name => 'doubled_id')$$);
-- a primary key that is deferrable identifies nothing
SELECT refused($$CALL cdc.sp_cdc_enable_table('src', 'deferred', NULL, supports_net_changes => true)$$);
SELECT refused($$CALL cdc.sp_cdc_enable_table('src', 'deferred', NULL, index_name => 'deferred_pkey')$$);

-- 22939: net changes without a key; 22865: with too wide a key
SELECT refused($$CALL cdc.sp_cdc_enable_table('src', 'nokey', NULL, supports_net_changes => true)$$);
DO $$ BEGIN EXECUTE (SELECT 'CREATE TABLE src.wide_key (' || string_agg(format('k%s integer', i), ', ') || ', PRIMARY KEY (' || string_agg(format('k%s', i), ', ') || '))' FROM generate_series(1, 15) i); END $$;
SELECT refused($$CALL cdc.sp_cdc_enable_table('src', 'wide_key', NULL)$$);
SELECT refused($$CALL cdc.sp_cdc_enable_table('src', 'wide_key', NULL, supports_net_changes => true)$$);

-- 22930, 22942, 22943, 22965: the column list
SELECT refused($$CALL cdc.sp_cdc_enable_table('src', 't', NULL, captured_column_list => 'id, missing')$$);
SELECT refused($$CALL cdc.sp_cdc_enable_table('src', 't', NULL, captured_column_list => 'id, ctid')$$);
SELECT refused($$CALL cdc.sp_cdc_enable_table('src', 't', NULL, captured_column_list => 'id, "mixed"')$$);
SELECT refused($$CALL cdc.sp_cdc_enable_table('src', 't', NULL, captured_column_list => '')$$);
SELECT refused($$CALL cdc.sp_cdc_enable_table('src', 't', NULL, captured_column_list => 'id,,u')$$);
SELECT refused($$CALL cdc.sp_cdc_enable_table('src', 't', NULL, captured_column_list => 'id,u,')$$);
SELECT refused($$CALL cdc.sp_cdc_enable_table('src', 't', NULL, captured_column_list => 'id,""')$$);
SELECT refused($$CALL cdc.sp_cdc_enable_table('src', 't', NULL, captured_column_list => '"id"u')$$);
SELECT refused($$CALL cdc.sp_cdc_enable_table('src', 't', NULL, captured_column_list => 'id,u,[id]')$$);
SELECT refused($$CALL cdc.sp_cdc_enable_table('src', 't', NULL, captured_column_list => 'id,we,ird')$$);
SELECT refused($$CALL cdc.sp_cdc_enable_table('src', 't', NULL, captured_column_list => 'id,"we,ird')$$);
SELECT refused($$CALL cdc.sp_cdc_enable_table('src', 't', NULL, captured_column_list => '[id')$$);
SELECT refused($$CALL cdc.sp_cdc_enable_table('src', 't', NULL, captured_column_list => 'u,n')$$);
SELECT refused($$CALL cdc.sp_cdc_enable_table('src', 't', NULL, captured_column_list => 'u,n', supports_net_changes => false)$$);
SELECT refused($$CALL cdc.sp_cdc_enable_table('src', 't', NULL, index_name => 't_u', captured_column_list => 'id')$$);

-- 22975: reserved names
CREATE TABLE src.reserved (id integer PRIMARY KEY, "__$operation" integer);
CREATE TABLE src.reserved_too (id integer PRIMARY KEY, "__$command_id" integer);
SELECT refused($$CALL cdc.sp_cdc_enable_table('src', 'reserved', NULL)$$);
SELECT refused($$CALL cdc.sp_cdc_enable_table('src', 'reserved_too', NULL, captured_column_list => 'id, [__$command_id]')$$);

-- 22925: too many columns, or too long a row
DO $$ BEGIN EXECUTE (SELECT 'CREATE TABLE src.wide (' || string_agg(format('c%s "char"', i), ', ') || ')' FROM generate_series(1, 1595) i); END $$;
SELECT refused($$CALL cdc.sp_cdc_enable_table('src', 'wide', NULL)$$);
DO $$ BEGIN EXECUTE (SELECT 'CREATE TABLE src.long (' || string_agg(format('c%s bigint', i), ', ') || ')' FROM generate_series(1, 1000) i); END $$;
SELECT refused($$CALL cdc.sp_cdc_enable_table('src', 'long', NULL)$$);
CREATE TABLE src.nothing ();
SELECT refused($$CALL cdc.sp_cdc_enable_table('src', 'nothing', NULL)$$);

-- 22973: the tablespace, and the right to use it
SET allow_in_place_tablespaces = on;
CREATE TABLESPACE regress_cdc_space LOCATION '';
SELECT refused($$CALL cdc.sp_cdc_enable_table('src', 't', NULL, filegroup_name => 'missing')$$);
SELECT refused($$CALL cdc.sp_cdc_enable_table('src', 't', NULL, filegroup_name => 'pg_global')$$);
SET ROLE regress_cdc_owner;
SELECT refused($$CALL cdc.sp_cdc_enable_table('src', 't', NULL, filegroup_name => 'regress_cdc_space')$$);
RESET ROLE;

-- 22844 and our own choices
SELECT refused($$CALL cdc.sp_cdc_enable_table('src', 't', NULL, allow_partition_switch => NULL)$$);
SELECT refused($$CALL cdc.sp_cdc_enable_table('src', 't', NULL, before_image => 'some')$$);
SELECT refused($$CALL cdc.sp_cdc_enable_table('src', 't', NULL, before_image => NULL)$$);
SELECT refused($$CALL cdc.sp_cdc_enable_table('src', 't', NULL, truncate_action => 'ignore')$$);
SELECT refused($$CALL cdc.sp_cdc_enable_table('src', 't', NULL, drop_action => '')$$);
SELECT refused($$CALL cdc.sp_cdc_enable_table('src', 'nokey', NULL, before_image => 'key')$$);

-- a publication that leaves columns out: with FULL, UPDATE and DELETE would fail
CREATE TABLE src.published (id integer PRIMARY KEY, v text);
CREATE PUBLICATION regress_cdc_narrow FOR TABLE src.published (id);
SELECT refused($$CALL cdc.sp_cdc_enable_table('src', 'published', NULL)$$);
BEGIN;
CALL cdc.sp_cdc_enable_table('src', 'published', NULL, before_image => 'key');
UPDATE src.published SET v = v;
ROLLBACK;
ALTER PUBLICATION regress_cdc_narrow SET (publish = 'insert');
BEGIN;
CALL cdc.sp_cdc_enable_table('src', 'published', NULL);
ROLLBACK;
DROP PUBLICATION regress_cdc_narrow;

-- where it may not run at all
SELECT refused($$SET LOCAL transaction_read_only = on; CALL cdc.sp_cdc_enable_table('src', 't', NULL)$$);

-- Nothing has changed.
SELECT count(*) FROM cdc.change_tables;
SELECT count(*) FROM cdc.captured_columns;
SELECT count(*) FROM cdc.index_columns;
SELECT count(*) FROM cdc.cdc_jobs;
SELECT count(*) FROM cdc._replica_identity;
SELECT relname, relreplident FROM pg_class WHERE relnamespace = 'src'::regnamespace AND relreplident NOT IN ('d', 'n') ORDER BY 1;
SELECT rolname FROM pg_roles WHERE rolname ~ '^regress_cdc' ORDER BY 1;

-- A role is created only by who may, and only with the instance.
SET ROLE regress_cdc_creator;
CREATE TABLE src.created (id integer PRIMARY KEY);
SELECT refused($$CALL cdc.sp_cdc_enable_table('src', 'created', 'regress_cdc_gate', before_image => 'x')$$);
SELECT count(*) FROM pg_roles WHERE rolname = 'regress_cdc_gate';
CALL cdc.sp_cdc_enable_table('src', 'created', 'regress_cdc_gate  ');
RESET ROLE;
SELECT rolname, rolcanlogin, rolinherit FROM pg_roles WHERE rolname = 'regress_cdc_gate';
SELECT capture_instance, role_name FROM cdc.change_tables;

\pset tuples_only off
\pset format aligned
SET client_min_messages = warning;
CALL cdc.sp_cdc_disable_db();
DROP EXTENSION cdc CASCADE;
DROP SCHEMA src, src_a CASCADE;
DROP ACCESS METHOD regress_cdc_heap;
DROP FOREIGN DATA WRAPPER regress_cdc_fdw CASCADE;
DROP TABLESPACE regress_cdc_space;
DROP FUNCTION refused;
DROP ROLE regress_cdc_owner, regress_cdc_other, regress_cdc_creator, regress_cdc_gate;
