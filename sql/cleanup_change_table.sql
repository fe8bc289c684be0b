-- sp_cdc_cleanup_change_table: the rules for the mark, and what goes.
\getenv srcdir PG_ABS_SRCDIR
\set include :srcdir '/sql/include/capture.sql'
\set ECHO none
\i :include
\set ECHO all

CREATE TABLE t (id integer PRIMARY KEY, v text);
CREATE TABLE u (id integer PRIMARY KEY);
CALL cdc.sp_cdc_enable_table('src', 't', NULL);
CALL cdc.sp_cdc_enable_table('src', 'u', NULL);
DO $$ BEGIN FOR i IN 1 .. 10 LOOP INSERT INTO src.t VALUES (i, 'v'); INSERT INTO src.u VALUES (i); COMMIT; END LOOP; END $$;
CALL cdc.wait_for_capture();
CREATE VIEW low AS SELECT capture_instance,
	(SELECT count(*) FROM cdc.lsn_time_mapping m WHERE m.start_lsn < t.start_lsn AND change_count > 0) AS transactions_below,
	(SELECT count(*) FROM cdc.fn_cdc_get_all_changes_src_t(cdc.fn_cdc_get_min_lsn('src_t'), cdc.fn_cdc_get_max_lsn(), 'all') WHERE capture_instance = 'src_t') AS readable_t,
	(SELECT count(*) FROM cdc.src_t_ct WHERE capture_instance = 'src_t') AS stored_t,
	(SELECT count(*) FROM cdc.src_u_ct WHERE capture_instance = 'src_u') AS stored_u
FROM cdc.change_tables t ORDER BY 1;
SELECT start_lsn AS third FROM cdc.lsn_time_mapping WHERE change_count > 0 ORDER BY 1 OFFSET 2 LIMIT 1 \gset
SELECT start_lsn AS fifth FROM cdc.lsn_time_mapping WHERE change_count > 0 ORDER BY 1 OFFSET 4 LIMIT 1 \gset
SELECT count(*) AS mapped FROM cdc.lsn_time_mapping \gset

-- Only this instance, and not the mapping; rows strictly below the mark.
CALL cdc.sp_cdc_cleanup_change_table('src_t', :'fifth');
SELECT * FROM low;
SELECT count(*) - :mapped AS mapping_rows_gone FROM cdc.lsn_time_mapping;
-- The same mark again is no error.
CALL cdc.sp_cdc_cleanup_change_table('src_t', :'fifth', 1);
-- A lower one is, and changes nothing.
\set VERBOSITY sqlstate
CALL cdc.sp_cdc_cleanup_change_table('src_t', :'third');
\set VERBOSITY default
SELECT * FROM low;
-- No mapping row: one beside it, one far away, one that increments what is there.
CREATE PROCEDURE said(statement text) LANGUAGE plpgsql AS $$
DECLARE
	detail text;
	hint text;
BEGIN
	EXECUTE statement;
	RAISE NOTICE 'done';
EXCEPTION WHEN OTHERS THEN
	GET STACKED DIAGNOSTICS detail = PG_EXCEPTION_DETAIL, hint = PG_EXCEPTION_HINT;
	RAISE NOTICE '%', regexp_replace(concat_ws(E'\n', SQLSTATE, SQLERRM, detail, hint), '[0-9A-F]+/[0-9A-F]+', '<lsn>', 'g');
END $$;
\set VERBOSITY sqlstate
SELECT cdc.fn_cdc_increment_lsn(:'fifth') AS beside \gset
CALL cdc.sp_cdc_cleanup_change_table('src_t', :'beside');
CALL cdc.sp_cdc_cleanup_change_table('src_t', '0/0');
CALL cdc.sp_cdc_cleanup_change_table('src_t', 'FFFFFFFF/FFFFFFFF');
\set VERBOSITY default
-- Their words; a call inside a function is refused, but only after the arguments have been looked at.
CALL said($$CALL cdc.sp_cdc_cleanup_change_table('nonsense', NULL, 0)$$);
CALL said($$CALL cdc.sp_cdc_cleanup_change_table('nonsense', NULL)$$);
CALL said($$CALL cdc.sp_cdc_cleanup_change_table(NULL, NULL)$$);
CALL said($$CALL cdc.sp_cdc_cleanup_change_table('  ', NULL)$$);
CALL said($$CALL cdc.sp_cdc_cleanup_change_table('src_t', NULL, -1)$$);
CALL said($$CALL cdc.sp_cdc_cleanup_change_table('src_t', NULL)$$);
BEGIN;
CALL cdc.sp_cdc_cleanup_change_table('src_t', NULL);
ROLLBACK;
CREATE ROLE regress_cdc_nobody;
SET ROLE regress_cdc_nobody;
CALL cdc.sp_cdc_cleanup_change_table('src_t', NULL);
RESET ROLE;
DROP ROLE regress_cdc_nobody;

-- NULL: the low end stays and bounds the deletion. It has been raised by hand, as a cleanup does that fails afterwards.
SELECT start_lsn AS sixth FROM cdc.lsn_time_mapping WHERE change_count > 0 ORDER BY 1 OFFSET 5 LIMIT 1 \gset
UPDATE cdc.change_tables SET start_lsn = :'sixth' WHERE capture_instance = 'src_t';
SELECT * FROM low;
CALL cdc.sp_cdc_cleanup_change_table('src_t', NULL);
SELECT * FROM low;

-- Rows that share the mark's commit time: the smallest LSN of the group becomes the low end, which is what the instance
-- keeps when it stands higher already.
UPDATE cdc.lsn_time_mapping SET tran_end_time = (SELECT tran_end_time FROM cdc.lsn_time_mapping WHERE start_lsn = :'fifth')
WHERE start_lsn IN (SELECT start_lsn FROM cdc.lsn_time_mapping WHERE change_count > 0 ORDER BY 1 OFFSET 3 LIMIT 4);
SELECT start_lsn AS seventh FROM cdc.lsn_time_mapping WHERE change_count > 0 ORDER BY 1 OFFSET 6 LIMIT 1 \gset
CALL cdc.sp_cdc_cleanup_change_table('src_t', :'seventh');
CALL cdc.sp_cdc_cleanup_change_table('src_u', :'seventh');
SELECT * FROM low;

-- In steps of one row, with rows that TOAST has moved out.
INSERT INTO t SELECT 100 + g, (SELECT string_agg(md5(g::text || j::text), '') FROM generate_series(1, 300) j) FROM generate_series(1, 5) g;
INSERT INTO t VALUES (200, 'the last');
CALL cdc.wait_for_capture();
SELECT max(start_lsn) AS mark FROM cdc.lsn_time_mapping \gset
CALL cdc.sp_cdc_cleanup_change_table('src_t', :'mark', threshold => 1);
SELECT * FROM low;
SELECT id, v FROM cdc.src_t_ct;
SELECT request, status, leaves_dropped, rows_deleted, mapping_rows_deleted, message FROM cdc.cleanup_runs ORDER BY run_id DESC LIMIT 1;

-- The user's triggers and rules on a change table do not run. (Capture refuses such a table, so it is stopped.)
CALL cdc.sp_cdc_stop_job();
CREATE FUNCTION boom() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION 'boom'; END $$;
DO $$
DECLARE
	leaf regclass;
BEGIN
	FOR leaf IN SELECT inhrelid FROM pg_inherits WHERE inhparent = 'cdc.src_t_ct'::regclass LOOP
		EXECUTE format('CREATE TRIGGER boom BEFORE DELETE ON %s FOR EACH ROW EXECUTE FUNCTION src.boom()', leaf);
		EXECUTE format('ALTER TABLE %s ENABLE ALWAYS TRIGGER boom', leaf);
	END LOOP;
END $$;
UPDATE cdc.change_tables SET start_lsn = cdc.fn_cdc_increment_lsn(start_lsn) WHERE capture_instance = 'src_t';
CALL cdc.sp_cdc_cleanup_change_table('src_t', NULL);
SELECT id, v FROM cdc.src_t_ct;
SET client_min_messages = warning;
DROP FUNCTION boom() CASCADE;
RESET client_min_messages;
CALL cdc.sp_cdc_start_job();

-- The output: true when rows could not be removed, which is a warning; the mark stands. A row is held by another
-- transaction, which is a prepared one.
INSERT INTO t VALUES (300, 'held');
INSERT INTO t VALUES (301, 'free');
CALL cdc.wait_for_capture();
SELECT max(start_lsn) AS mark FROM cdc.lsn_time_mapping \gset
ALTER SYSTEM SET cdc.cleanup_lock_timeout = '20ms';
SELECT pg_reload_conf();
BEGIN;
DELETE FROM cdc.src_t_ct WHERE v = 'held';
PREPARE TRANSACTION 'regress_cdc_held';
CALL cdc.sp_cdc_cleanup_change_table('src_t', :'mark');
SELECT * FROM low WHERE capture_instance = 'src_t';
SELECT status, rows_deleted, message FROM cdc.cleanup_runs ORDER BY run_id DESC LIMIT 1;
SELECT process, error_number, error_message FROM cdc.dm_cdc_errors;
ROLLBACK PREPARED 'regress_cdc_held';
ALTER SYSTEM RESET cdc.cleanup_lock_timeout;
SELECT pg_reload_conf();
CALL cdc.sp_cdc_cleanup_change_table('src_t', NULL);
SELECT id, v FROM cdc.src_t_ct;

-- An instance that capture has not come to yet.
CALL cdc.sp_cdc_stop_job();
CREATE TABLE w (id integer PRIMARY KEY);
CALL cdc.sp_cdc_enable_table('src', 'w', NULL);
\set VERBOSITY sqlstate
CALL cdc.sp_cdc_cleanup_change_table('src_w', :'mark');
\set VERBOSITY default
CALL cdc.sp_cdc_cleanup_change_table('src_w', NULL);

-- Not enabled.
SET client_min_messages = warning;
DROP VIEW low;
CALL cdc.sp_cdc_disable_db();
CALL cdc.sp_cdc_cleanup_change_table('src_t', NULL);
DROP SCHEMA src CASCADE;
DROP EXTENSION cdc;
