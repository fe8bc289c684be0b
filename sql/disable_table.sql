-- sp_cdc_disable_table: what it refuses, what it takes away, what it puts back.
CREATE EXTENSION cdc;
CREATE ROLE regress_cdc_owner;
CREATE ROLE regress_cdc_other;
CREATE SCHEMA src AUTHORIZATION regress_cdc_owner;
GRANT USAGE ON SCHEMA src TO regress_cdc_other;

CREATE FUNCTION refused(call text) RETURNS SETOF text LANGUAGE plpgsql AS $$
DECLARE
	state text; message text; detail text; hint text;
BEGIN
	EXECUTE call;
	RAISE EXCEPTION 'not refused: %', call;
EXCEPTION WHEN OTHERS THEN
	GET STACKED DIAGNOSTICS state = RETURNED_SQLSTATE, message = MESSAGE_TEXT, detail = PG_EXCEPTION_DETAIL, hint = PG_EXCEPTION_HINT;
	RETURN NEXT state || '  ' || message;
	IF detail <> '' THEN RETURN NEXT '  ' || detail; END IF;
	IF hint <> '' THEN RETURN NEXT '  -> ' || hint; END IF;
END $$;
CREATE VIEW identities AS
SELECT oid::regclass AS relation, relreplident AS identity,
	(SELECT indexrelid::regclass FROM pg_index WHERE indrelid = c.oid AND indisreplident) AS index
FROM pg_class c WHERE relnamespace = 'src'::regnamespace AND relkind IN ('r', 'p') ORDER BY relname;
CREATE VIEW left_over AS
SELECT (SELECT count(*) FROM cdc.change_tables) AS change_tables, (SELECT count(*) FROM cdc.captured_columns) AS captured_columns,
	(SELECT count(*) FROM cdc.index_columns) AS index_columns, (SELECT count(*) FROM cdc.ddl_history) AS ddl_history,
	(SELECT count(*) FROM cdc._replica_identity) AS identities, (SELECT count(*) FROM cdc.cdc_jobs) AS jobs, (SELECT count(*) FROM cdc._ddl_queue) AS queue;

SET ROLE regress_cdc_owner;
CREATE TABLE src.t (id integer PRIMARY KEY, u integer NOT NULL UNIQUE, v text);
CREATE TABLE src.other (id integer PRIMARY KEY);
CREATE TABLE src.untouched (id integer PRIMARY KEY);
RESET ROLE;

\pset tuples_only on
\pset format unaligned
SELECT refused($$CALL cdc.sp_cdc_disable_table('src', 't', 'all')$$);
CALL cdc.sp_cdc_enable_db();
SELECT refused($$CALL cdc.sp_cdc_disable_table(NULL, 't', 'all')$$);
SELECT refused($$CALL cdc.sp_cdc_disable_table('src', '', 'all')$$);
SELECT refused($$CALL cdc.sp_cdc_disable_table('src', 't', NULL)$$);
SELECT refused($$CALL cdc.sp_cdc_disable_table('src', 't', ' ')$$);
SELECT refused($$CALL cdc.sp_cdc_disable_table('src', 'missing', 'all')$$);
SELECT refused($$CALL cdc.sp_cdc_disable_table('src', 't', 'all')$$);
SELECT refused($$CALL cdc.sp_cdc_disable_table('src', 't', 'missing')$$);
SELECT refused($$CALL cdc.sp_cdc_disable_table('cdc', 'change_tables', 'all')$$);
CALL cdc.sp_cdc_enable_table('src', 't', NULL, 'first');
CALL cdc.sp_cdc_enable_table('src', 't', NULL, 'second', index_name => 't_u_key');
CALL cdc.sp_cdc_enable_table('src', 'other', NULL);
SELECT refused($$CALL cdc.sp_cdc_disable_table('src', 't', 'src_other')$$);
SELECT refused($$CALL cdc.sp_cdc_disable_table('src', 't', 'FIRST')$$);
SELECT refused($$CALL cdc.sp_cdc_disable_table('src', 'untouched', 'first')$$);
SET ROLE regress_cdc_other;
SELECT refused($$CALL cdc.sp_cdc_disable_table('src', 't', 'all')$$);
RESET ROLE;
SELECT refused($$SET LOCAL transaction_read_only = on; CALL cdc.sp_cdc_disable_table('src', 't', 'all')$$);
\pset tuples_only off
\pset format aligned
SELECT * FROM left_over;
SELECT * FROM identities;

-- One of two: the identity stays FULL. The owner may do it, and a function may.
SET ROLE regress_cdc_owner;
DO $$ BEGIN CALL cdc.sp_cdc_disable_table('src', 't', 'first '); END $$;
RESET ROLE;
SELECT capture_instance FROM cdc.change_tables ORDER BY 1;
SELECT to_regclass('cdc.first_ct') IS NULL AS first_gone, to_regclass('cdc.second_ct') IS NOT NULL AS second_there;
SELECT * FROM identities;
-- The last of the table: it comes back. What is rolled back never was.
BEGIN;
CALL cdc.sp_cdc_disable_table('src', 't', 'ALL');
SELECT * FROM identities;
ROLLBACK;
SELECT * FROM identities;
CALL cdc.sp_cdc_disable_table('src', 't', 'second');
SELECT * FROM identities;
SELECT count(*) FROM cdc.cdc_jobs;
-- The last of the database: the jobs go.
CALL cdc.sp_cdc_disable_table('src', 'other', 'all');
SELECT * FROM left_over;
-- and come with the next first one, with new ids
CALL cdc.sp_cdc_enable_table('src', 'other', NULL);
SELECT count(*) FROM cdc.cdc_jobs;
CALL cdc.sp_cdc_disable_table('src', 'other', 'all');

-- Each former identity.
CREATE TABLE src.was_nothing (id integer);
ALTER TABLE src.was_nothing REPLICA IDENTITY NOTHING;
CREATE TABLE src.was_full (id integer);
ALTER TABLE src.was_full REPLICA IDENTITY FULL;
CREATE TABLE src.was_index (id integer PRIMARY KEY, u integer NOT NULL UNIQUE);
ALTER TABLE src.was_index REPLICA IDENTITY USING INDEX was_index_u_key;
CREATE TABLE src.index_gone (id integer PRIMARY KEY, u integer NOT NULL UNIQUE);
ALTER TABLE src.index_gone REPLICA IDENTITY USING INDEX index_gone_u_key;
CREATE TABLE src.index_nullable (id integer PRIMARY KEY, u integer NOT NULL UNIQUE);
ALTER TABLE src.index_nullable REPLICA IDENTITY USING INDEX index_nullable_u_key;
CREATE TABLE src.narrowed (id integer PRIMARY KEY, u integer NOT NULL UNIQUE);
CREATE TABLE src.owner_changed (id integer PRIMARY KEY);
CREATE TABLE src.owner_changed_key (id integer PRIMARY KEY, u integer NOT NULL UNIQUE, w integer NOT NULL UNIQUE);
DO $$
DECLARE t text;
BEGIN
	FOREACH t IN ARRAY ARRAY['was_nothing', 'was_full', 'was_index', 'index_gone', 'index_nullable', 'owner_changed'] LOOP
		CALL cdc.sp_cdc_enable_table('src', t, NULL);
	END LOOP;
END $$;
CALL cdc.sp_cdc_enable_table('src', 'narrowed', NULL, index_name => 'narrowed_u_key', before_image => 'key');
CALL cdc.sp_cdc_enable_table('src', 'owner_changed_key', NULL, index_name => 'owner_changed_key_u_key', before_image => 'key');
SELECT * FROM identities;
ALTER TABLE src.index_gone DROP CONSTRAINT index_gone_u_key;
ALTER TABLE src.index_nullable ALTER COLUMN u DROP NOT NULL;
ALTER TABLE src.owner_changed REPLICA IDENTITY NOTHING;
ALTER TABLE src.owner_changed_key REPLICA IDENTITY USING INDEX owner_changed_key_w_key;
DO $$
DECLARE t text;
BEGIN
	FOREACH t IN ARRAY ARRAY['was_nothing', 'was_full', 'was_index', 'index_gone', 'index_nullable', 'owner_changed', 'narrowed', 'owner_changed_key'] LOOP
		CALL cdc.sp_cdc_disable_table('src', t, 'all');
	END LOOP;
END $$;
SELECT * FROM identities;
-- Commands of before are in the history for a moment: until capture comes to the disabling.
CALL cdc.wait_for_capture();
SELECT * FROM left_over;

-- What the owner sets between two instances is what comes back.
CALL cdc.sp_cdc_enable_table('src', 't', NULL, 'first');
ALTER TABLE src.t REPLICA IDENTITY NOTHING;
CALL cdc.sp_cdc_enable_table('src', 't', NULL, 'second');
SELECT * FROM identities WHERE relation = 'src.t'::regclass;
CALL cdc.sp_cdc_disable_table('src', 't', 'all');
SELECT * FROM identities WHERE relation = 'src.t'::regclass;

-- A partitioned table with everything below it.
CREATE TABLE src.parts (id integer PRIMARY KEY) PARTITION BY RANGE (id);
CREATE TABLE src.parts_1 PARTITION OF src.parts FOR VALUES FROM (0) TO (10);
CREATE TABLE src.parts_2 PARTITION OF src.parts FOR VALUES FROM (10) TO (20);
ALTER TABLE src.parts_2 REPLICA IDENTITY NOTHING;
SET client_min_messages = warning;
CALL cdc.sp_cdc_enable_table('src', 'parts', NULL);
RESET client_min_messages;
CREATE TABLE src.parts_3 PARTITION OF src.parts FOR VALUES FROM (20) TO (30);
DROP TABLE src.parts_1;
CALL cdc.sp_cdc_disable_table('src', 'parts', 'src_parts');
SELECT * FROM identities WHERE relation::text ~ 'parts';
CALL cdc.wait_for_capture();
SELECT * FROM left_over;

-- The name is free at once, while the old change table waits for capture to come by.
BEGIN;
CALL cdc.sp_cdc_enable_table('src', 't', NULL);
CALL cdc.sp_cdc_disable_table('src', 't', 'src_t');
CALL cdc.sp_cdc_enable_table('src', 'other', NULL, 'src_t', drop_action => 'keep');
COMMIT;
SELECT capture_instance, source_object_id::regclass FROM cdc.change_tables;

-- A dropped table's instance is disabled by its name, by the owner of the database.
DROP TABLE src.other;
SET ROLE regress_cdc_owner;
\set VERBOSITY terse
CALL cdc.sp_cdc_disable_table('src', 'other', 'src_t');
RESET ROLE;
CALL cdc.sp_cdc_disable_table('src', 'other', 'all');
CALL cdc.sp_cdc_disable_table('src', 'other', 'src_t');
CALL cdc.wait_for_capture();
SELECT * FROM left_over;

SET client_min_messages = warning;
DROP VIEW identities, left_over;
CALL cdc.sp_cdc_disable_db();
DROP EXTENSION cdc;
DROP SCHEMA src CASCADE;
DROP FUNCTION refused;
DROP ROLE regress_cdc_owner, regress_cdc_other;
