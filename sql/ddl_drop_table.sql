-- DROP TABLE of captured tables: everything before it is captured, then the instance goes, or is kept.
\getenv srcdir PG_ABS_SRCDIR
\set include :srcdir '/sql/include/capture.sql'
\set ECHO none
\i :include
\set ECHO all
SET client_min_messages = warning;
CREATE VIEW left_over AS
	SELECT 'relation' AS kind, relname::text AS name FROM pg_class WHERE relnamespace = 'cdc'::regnamespace AND relkind IN ('p', 'v', 'c', 'r')
		AND (relname ~ '^_dropped|_ct$|_ct_|^_changes_|^_all_changes_|^_net_changes_')
	UNION ALL SELECT 'function', proname FROM pg_proc WHERE pronamespace = 'cdc'::regnamespace AND proname ~ '^fn_cdc_get_(all|net)_changes_'
	UNION ALL SELECT 'instance', capture_instance FROM cdc.change_tables
	UNION ALL SELECT 'column', column_name FROM cdc.captured_columns
	UNION ALL SELECT 'key', column_name FROM cdc.index_columns
	UNION ALL SELECT 'history', ddl_command FROM cdc.ddl_history
	UNION ALL SELECT 'drop', instance_id::text FROM cdc._source_drops
	UNION ALL SELECT 'identity', source_object_id::text FROM cdc._replica_identity
	UNION ALL SELECT 'job', job_type FROM cdc.cdc_jobs
	UNION ALL SELECT 'mapping', count(*)::text FROM cdc.lsn_time_mapping HAVING count(*) > 0;

-- The last table: instance and jobs go, as with sp_cdc_disable_table; the worker stays and finds the next one.
CREATE TABLE only_one (id integer PRIMARY KEY, v text);
CALL cdc.sp_cdc_enable_table('src', 'only_one', NULL);
CALL cdc.sp_cdc_enable_table('src', 'only_one', NULL, capture_instance => 'second');
INSERT INTO only_one VALUES (1, 'one');
DROP TABLE only_one;
CALL cdc.wait_for_capture();
SELECT * FROM left_over;
SELECT worker_pid IS NOT NULL AS works FROM cdc.pg_stat_cdc;
CREATE TABLE only_one (id integer PRIMARY KEY, v text);
CALL cdc.sp_cdc_enable_table('src', 'only_one', NULL);
SELECT count(*) FROM cdc.cdc_jobs;
INSERT INTO only_one VALUES (1, 'again');
CALL cdc.wait_for_capture();
SELECT op, "row" FROM changes('src_only_one');
SELECT * FROM replay('src_only_one');
SELECT count(*) FROM cdc.sp_cdc_get_ddl_history('src_only_one');

-- Another one is captured all the while; what was changed in the transaction of the drop comes, too.
CREATE TABLE kept (id integer PRIMARY KEY, v text);
CALL cdc.sp_cdc_enable_table('src', 'kept', NULL, drop_action => 'keep');
BEGIN;
INSERT INTO kept VALUES (1, 'one'), (2, 'two');
INSERT INTO only_one VALUES (2, 'beside');
UPDATE kept SET v = 'three' WHERE id = 2;
ALTER TABLE kept ADD COLUMN w integer;
SAVEPOINT s;
DROP TABLE kept;
ROLLBACK TO s;
DELETE FROM kept WHERE id = 1;
DROP TABLE kept;
CREATE TABLE kept (id integer PRIMARY KEY, v text);
INSERT INTO kept VALUES (9, 'another table of the name');
COMMIT;
CALL cdc.wait_for_capture();
SELECT change, op, mask, "row" FROM changes('src_kept');
SELECT net."__$operation", id, v FROM cdc.fn_cdc_get_net_changes_src_kept(cdc.fn_cdc_get_min_lsn('src_kept'), cdc.fn_cdc_get_max_lsn(), 'all') net;
SELECT * FROM replay('src_only_one');
SELECT * FROM log_problems(false);
SELECT source_schema, source_table, capture_instance, ddl_command FROM cdc.sp_cdc_get_ddl_history('src_kept');
SELECT source_table, has_drop_pending FROM cdc.sp_cdc_help_change_data_capture() WHERE capture_instance = 'src_kept';
-- its changes are for superusers and the owner of the database: nobody else has rights to a table that is gone
CREATE ROLE regress_cdc_reader;
GRANT USAGE ON SCHEMA src TO regress_cdc_reader;
GRANT SELECT ON ALL TABLES IN SCHEMA src TO regress_cdc_reader;
SET ROLE regress_cdc_reader;
SELECT count(*) FROM cdc.fn_cdc_get_all_changes_src_only_one(cdc.fn_cdc_get_min_lsn('src_only_one'), cdc.fn_cdc_get_max_lsn(), 'all');
SELECT * FROM cdc.fn_cdc_get_all_changes_src_kept(cdc.fn_cdc_get_min_lsn('src_kept'), cdc.fn_cdc_get_max_lsn(), 'all');
SELECT * FROM cdc.sp_cdc_get_ddl_history('src_kept');
SELECT capture_instance FROM cdc.sp_cdc_help_change_data_capture();
CALL cdc.sp_cdc_disable_table('src', 'kept', 'src_kept');
RESET ROLE;
-- the new table of that name is another table: not captured, may be enabled under another name, keeps its rights
CALL cdc.sp_cdc_enable_table('src', 'kept', NULL);
CALL cdc.sp_cdc_enable_table('src', 'kept', NULL, capture_instance => 'kept_2');
TRUNCATE only_one;
INSERT INTO kept VALUES (10, 'ten');
CALL cdc.wait_for_capture();
SELECT op, "row" FROM changes('kept_2');
SELECT count(*) FROM changes('src_kept');
-- it is disabled by its own name, also while another table has the former one's
CALL cdc.sp_cdc_disable_table('src', 'kept', 'src_kept');
CALL cdc.sp_cdc_disable_table('src', 'kept', 'kept_2');
CALL cdc.wait_for_capture();
SELECT * FROM left_over WHERE name ~ 'kept' OR kind = 'drop';

-- In a prepared transaction: nothing happens until it is committed.
CREATE TABLE prepared (id integer PRIMARY KEY);
CALL cdc.sp_cdc_enable_table('src', 'prepared', NULL, drop_action => 'keep');
BEGIN;
INSERT INTO prepared VALUES (1);
DROP TABLE prepared;
PREPARE TRANSACTION 'cdc_ddl_drop_table';
INSERT INTO only_one VALUES (5, 'meanwhile');
CALL cdc.wait_for_capture();
SELECT op, "row" FROM changes('src_only_one') WHERE "row" ~ 'meanwhile';
SELECT has_drop_pending FROM cdc.change_tables WHERE capture_instance = 'src_prepared';
COMMIT PREPARED 'cdc_ddl_drop_table';
CALL cdc.wait_for_capture();
SELECT has_drop_pending FROM cdc.change_tables WHERE capture_instance = 'src_prepared';
SELECT op, "row" FROM changes('src_prepared');

-- Kept until the cleanup has nothing left of it: the low-water mark behind the drop.
CREATE TABLE aging (id integer PRIMARY KEY);
CALL cdc.sp_cdc_enable_table('src', 'aging', NULL, drop_action => 'keep');
INSERT INTO aging VALUES (1);
CALL cdc.wait_for_capture();
SELECT max("__$start_lsn") AS mark FROM cdc.src_aging_ct \gset
DROP TABLE aging;
INSERT INTO only_one VALUES (4, 'later');
CALL cdc.wait_for_capture();
CALL cdc.sp_cdc_cleanup_change_table('src_aging', :'mark');
SELECT count(*) FROM changes('src_aging');
CALL cdc.sp_cdc_cleanup_change_table('src_aging', cdc.fn_cdc_get_max_lsn());
SELECT poll_until($$NOT EXISTS (SELECT FROM left_over WHERE name ~ 'aging')$$);

-- What a user has made on a query function keeps the instance, until it goes. Capture goes on.
CREATE TABLE watched (id integer PRIMARY KEY, v text);
CALL cdc.sp_cdc_enable_table('src', 'watched', NULL);
CREATE VIEW watcher AS SELECT id, v FROM cdc.fn_cdc_get_all_changes_src_watched(cdc.fn_cdc_get_min_lsn('src_watched'), cdc.fn_cdc_get_max_lsn(), 'all');
INSERT INTO watched VALUES (1, 'one');
DROP TABLE watched;
INSERT INTO only_one VALUES (3, 'goes on');
CALL cdc.wait_for_capture();
SELECT * FROM watcher;
SELECT capture_instance, has_drop_pending FROM cdc.change_tables ORDER BY 1;
SELECT * FROM replay('src_only_one');
DROP VIEW watcher;
-- tried again by the next worker at the latest
CALL cdc.sp_cdc_stop_job();
CALL cdc.sp_cdc_start_job();
SELECT poll_until($$NOT EXISTS (SELECT FROM left_over WHERE name ~ 'watched')$$);

-- With the schema, with an owner, and while capture is stopped.
CREATE SCHEMA going;
CREATE ROLE regress_cdc_owner;
GRANT CREATE ON SCHEMA going TO regress_cdc_owner;
CREATE TABLE going.a (id integer PRIMARY KEY);
CREATE TABLE going.b (id integer PRIMARY KEY);
CREATE TABLE going.parts (id integer PRIMARY KEY) PARTITION BY RANGE (id);
CREATE TABLE going.part PARTITION OF going.parts DEFAULT;
ALTER TABLE going.b OWNER TO regress_cdc_owner;
CALL cdc.sp_cdc_enable_table('going', 'a', NULL, drop_action => 'keep');
CALL cdc.sp_cdc_enable_table('going', 'b', NULL, drop_action => 'keep');
CALL cdc.sp_cdc_enable_table('going', 'parts', NULL, drop_action => 'keep', allow_partition_switch => false);
CALL cdc.sp_cdc_stop_job();
INSERT INTO going.a VALUES (1);
INSERT INTO going.b VALUES (2);
INSERT INTO going.parts VALUES (3);
DROP OWNED BY regress_cdc_owner;
DROP SCHEMA going CASCADE;
CALL cdc.sp_cdc_scan();
SELECT capture_instance, has_drop_pending FROM cdc.change_tables WHERE capture_instance ~ 'going' ORDER BY 1;
SELECT 'a' AS table, op, "row" FROM changes('going_a') UNION ALL SELECT 'b', op, "row" FROM changes('going_b') UNION ALL SELECT 'parts', op, "row" FROM changes('going_parts');
SELECT capture_instance, ddl_command FROM cdc.ddl_history JOIN cdc.change_tables USING (object_id) WHERE capture_instance ~ 'going' ORDER BY ddl_id;
CALL cdc.sp_cdc_disable_table('going', 'a', 'going_a');
CALL cdc.sp_cdc_disable_table('going', 'b', 'going_b');
CALL cdc.sp_cdc_disable_table('going', 'parts', 'going_parts');

CALL cdc.sp_cdc_disable_db();
DROP VIEW left_over;
DROP EXTENSION cdc;
DROP SCHEMA src CASCADE;
DROP ROLE regress_cdc_owner, regress_cdc_reader;
