-- The cleanup job: what it takes away, and what it leaves. The age of transactions is made by hand.
ALTER SYSTEM SET cdc.partition_wal_size = '1MB';
SELECT pg_reload_conf();
\getenv srcdir PG_ABS_SRCDIR
\set include :srcdir '/sql/include/capture.sql'
\set ECHO none
\i :include
\set ECHO all

CREATE TABLE a (id integer PRIMARY KEY, v text);
CREATE TABLE b (id integer PRIMARY KEY);
CREATE TABLE late (id integer PRIMARY KEY);
CREATE TABLE kept (id integer PRIMARY KEY);
-- 12 kB that do not compress.
CREATE FUNCTION wide(i integer) RETURNS text LANGUAGE sql AS $$ SELECT string_agg(md5(i::text || '.' || j::text), '') FROM generate_series(1, 375) j $$;
CALL cdc.sp_cdc_enable_table('src', 'a', NULL);
CALL cdc.sp_cdc_enable_table('src', 'b', NULL);
CALL cdc.sp_cdc_enable_table('src', 'kept', NULL, drop_action => 'keep');
-- A run in a database that has captured nothing yet, or next to nothing.
CALL cdc.sp_cdc_stop_job('cleanup');
CREATE PROCEDURE run_cleanup() LANGUAGE plpgsql AS $$
DECLARE
	former bigint := COALESCE((SELECT max(run_id) FROM cdc.cleanup_runs), 0);
	run record;
BEGIN
	CALL cdc.sp_cdc_start_job('cleanup');
	COMMIT;
	PERFORM src.poll_until(format('EXISTS (SELECT FROM cdc.cleanup_runs WHERE run_id > %s AND ended_at IS NOT NULL)', former));
	SELECT * INTO run FROM cdc.cleanup_runs ORDER BY run_id DESC LIMIT 1;
	RAISE NOTICE '% %', run.status, concat_ws(', ', 'mapping: ' || (run.mapping_rows_deleted > 0)::text, run.message);
END $$;
CALL run_cleanup();

INSERT INTO kept VALUES (1);
DO $$ BEGIN FOR i IN 1 .. 300 LOOP INSERT INTO src.a VALUES (i, src.wide(i)); INSERT INTO src.b VALUES (i); COMMIT; END LOOP; END $$;
DROP TABLE kept;
CALL cdc.sp_cdc_enable_table('src', 'late', NULL);
INSERT INTO late VALUES (1);
INSERT INTO a VALUES (301, 'new');
INSERT INTO b VALUES (301);
CALL cdc.wait_for_capture();
-- Everything is young: nothing goes.
CALL run_cleanup();
SELECT count(*) FROM cdc.src_a_ct;

-- The first 250 of 300 are older than the retention: the mark is the first commit that is not.
SELECT start_lsn AS mark FROM cdc.lsn_time_mapping WHERE start_lsn IN (SELECT "__$start_lsn" FROM cdc.src_a_ct WHERE id = 251) \gset
SELECT start_lsn AS kept_low FROM cdc.change_tables WHERE capture_instance = 'src_kept' \gset
SELECT start_lsn AS late_low FROM cdc.change_tables WHERE capture_instance = 'src_late' \gset
SELECT count(*) AS leaves FROM pg_inherits WHERE inhparent = 'cdc.src_a_ct'::regclass \gset
SELECT :leaves > 3 AS several_leaves;
UPDATE cdc.lsn_time_mapping SET tran_end_time = tran_end_time - interval '1 hour' WHERE start_lsn < :'mark';
CALL cdc.sp_cdc_change_job('cleanup', retention => 61);
CALL run_cleanup();
SELECT count(*) FROM cdc.src_a_ct;
-- Gaps below go with it, others stay. Made by hand, too.
INSERT INTO cdc.gaps (start_lsn, end_lsn, reason, detected_at) VALUES
	(:'mark'::pg_lsn - 20, :'mark'::pg_lsn, 'below', now()), (:'mark'::pg_lsn - 20, :'mark'::pg_lsn + 1, 'across', now()), ('0/1', NULL, 'open', now());
CALL cdc.sp_cdc_change_job('cleanup', retention => 59);
CALL run_cleanup();
SELECT reason FROM cdc.gaps ORDER BY reason;
DELETE FROM cdc.gaps;
-- Low ends are raised to the mark where they were lower, and nowhere else.
SELECT capture_instance, start_lsn = :'mark' AS raised FROM cdc.change_tables ORDER BY 1;
SELECT start_lsn = :'late_low' AS left_alone FROM cdc.change_tables WHERE capture_instance = 'src_late';
-- What can be read is what there is, in whole.
SELECT count(*), min(id), max(id) FROM cdc.src_a_ct;
SELECT count(*), min(id), max(id) FROM cdc.fn_cdc_get_all_changes_src_a(cdc.fn_cdc_get_min_lsn('src_a'), cdc.fn_cdc_get_max_lsn(), 'all');
SELECT count(*), min(id), max(id) FROM cdc.fn_cdc_get_all_changes_src_b(:'mark', cdc.fn_cdc_get_max_lsn(), 'all');
SELECT count(*) FROM cdc.fn_cdc_get_all_changes_src_late(cdc.fn_cdc_get_min_lsn('src_late'), cdc.fn_cdc_get_max_lsn(), 'all');
\set VERBOSITY sqlstate
SELECT count(*) FROM cdc.fn_cdc_get_all_changes_src_a(:'mark'::pg_lsn - 1, cdc.fn_cdc_get_max_lsn(), 'all');
\set VERBOSITY default
SELECT * FROM replay('src_a', 'SELECT i AS id, src.wide(i) AS v FROM generate_series(1, 250) i');
SELECT * FROM replay('src_b', 'SELECT i AS id FROM generate_series(1, 250) i');
-- The mapping begins with the mark.
SELECT min(start_lsn) = :'mark' AS begins_with_mark FROM cdc.lsn_time_mapping;
SELECT cdc.fn_cdc_map_lsn_to_time(:'mark') IS NOT NULL AS anchored;
SELECT * FROM log_problems();
-- Whole leaves have gone, without a trace.
SELECT count(*) < :leaves AND count(*) >= 2 AS fewer_leaves FROM pg_inherits WHERE inhparent = 'cdc.src_a_ct'::regclass;
SELECT count(*) FROM pg_class c WHERE relname LIKE '\_ct\_%' AND relkind = 'r' AND NOT relispartition;
SELECT count(*) FROM pg_depend d WHERE deptype = 'e' AND classid = 'pg_class'::regclass AND NOT EXISTS (SELECT FROM pg_class c WHERE c.oid = d.objid);
-- Again: there is nothing left to do.
CALL run_cleanup();
-- A longer retention brings nothing back, and lowers nothing.
CALL cdc.sp_cdc_change_job('cleanup', retention => 4320);
CALL run_cleanup();
SELECT capture_instance, start_lsn = :'mark' AS raised FROM cdc.change_tables ORDER BY 1;

-- Capture goes on, ordinals go on, and a later cleanup takes the rest. The instance that was kept after its source's drop goes
-- when nothing of it is left.
INSERT INTO a VALUES (302, 'newest');
CALL cdc.wait_for_capture();
SELECT capture_instance, has_drop_pending FROM cdc.change_tables WHERE has_drop_pending;
UPDATE cdc.lsn_time_mapping SET tran_end_time = tran_end_time - interval '1 hour' WHERE start_lsn < (SELECT max(start_lsn) FROM cdc.lsn_time_mapping);
CALL cdc.sp_cdc_change_job('cleanup', retention => 1, threshold => 3);
CALL run_cleanup();
SELECT id, v FROM cdc.src_a_ct;
SELECT count(*) FROM cdc.src_b_ct;
SELECT count(*) FROM cdc.lsn_time_mapping;
SELECT capture_instance FROM cdc.change_tables ORDER BY 1;
SELECT first_ordinal > 600 AS ordinals_go_on FROM cdc.lsn_time_mapping;
CALL cdc.wait_for_capture();
SELECT poll_until($$NOT EXISTS (SELECT FROM pg_class WHERE relname LIKE '\_dropped\_%')$$);
-- The dummy transaction of an instance that starts is as good a mark as any.
UPDATE a SET v = 'updated' WHERE id = 302;
CALL cdc.wait_for_capture();
SELECT "__$operation", id, v FROM cdc.fn_cdc_get_all_changes_src_a(cdc.fn_cdc_get_min_lsn('src_a'), cdc.fn_cdc_get_max_lsn(), 'all update old') ORDER BY "__$start_lsn", 1;

-- The mapping uses the room again that vacuum has made of what was deleted.
CALL cdc.sp_cdc_stop_job();
VACUUM cdc.lsn_time_mapping;
CALL cdc.sp_cdc_start_job();
SELECT pg_relation_size('cdc.lsn_time_mapping') AS size \gset
SELECT :size > 2 * 8192 AS some_pages;
DO $$ BEGIN FOR i IN 400 .. 500 LOOP INSERT INTO src.b VALUES (i); COMMIT; END LOOP; END $$;
CALL cdc.wait_for_capture();
SELECT count(*) > 100 AS more_rows, pg_relation_size('cdc.lsn_time_mapping') - :size AS grown FROM cdc.lsn_time_mapping;

-- A stopped job can be told to run, and is not stopped then any more.
CALL cdc.sp_cdc_stop_job('cleanup');
CALL run_cleanup();
SELECT started FROM cdc.sp_cdc_help_jobs() WHERE job_type = 'cleanup';

ALTER SYSTEM RESET cdc.partition_wal_size;
SELECT pg_reload_conf();
SET client_min_messages = warning;
CALL cdc.sp_cdc_disable_db();
DROP SCHEMA src CASCADE;
DROP EXTENSION cdc;
