-- wait_for_capture: read your own change.
\getenv srcdir PG_ABS_SRCDIR
\set include :srcdir '/sql/include/capture.sql'
\set ECHO none
\i :include
\set ECHO all

CREATE TABLE t (id integer PRIMARY KEY, v text);
CALL cdc.wait_for_capture();
CALL cdc.sp_cdc_enable_table('src', 't', NULL);
-- right after enabling: the instance has begun
CALL cdc.wait_for_capture();
SELECT cdc.fn_cdc_get_min_lsn('src_t') > '0/0' AS started, cdc.fn_cdc_get_min_lsn('src_t') = cdc.fn_cdc_get_max_lsn() AS window_of_one;
SELECT count(*) FROM changes('src_t');
-- up to an LSN: of the past, of now, of a commit; a page boundary and the middle of a record are as good
INSERT INTO t VALUES (1, 'one');
SELECT pg_current_wal_insert_lsn() AS lsn \gset
CALL cdc.wait_for_capture(:'lsn');
SELECT count(*) FROM changes('src_t');
CALL cdc.wait_for_capture('0/0');
CALL cdc.wait_for_capture(lsn => '0/1', timeout => '0');
SELECT cdc.fn_cdc_get_max_lsn() AS lsn \gset
CALL cdc.wait_for_capture(:'lsn', '1s');
CALL cdc.wait_for_capture(NULL, NULL);
-- synchronous_commit = off, and WAL of others only
SET synchronous_commit = off;
INSERT INTO t VALUES (2, 'two');
CALL cdc.wait_for_capture();
SELECT count(*) FROM changes('src_t');
RESET synchronous_commit;
CREATE TABLE untracked AS SELECT generate_series(1, 1000);
CALL cdc.wait_for_capture();
SELECT pg_switch_wal() IS NOT NULL AS switched;
CALL cdc.wait_for_capture();
CHECKPOINT;
CALL cdc.wait_for_capture();
-- what nobody has written yet does not come
\set VERBOSITY sqlstate
CALL cdc.wait_for_capture('FFFFFFFF/0', '100ms');
\set VERBOSITY default
DO $$
BEGIN
	CALL cdc.wait_for_capture('FFFFFFFF/0', '0');
EXCEPTION WHEN SQLSTATE 'SC006' THEN
	RAISE NOTICE '%', regexp_replace(SQLERRM, '[0-9A-F]+/[0-9A-F]+', '<lsn>', 'g');
END $$;
CALL cdc.wait_for_capture(timeout => '-1s');
SET statement_timeout = '200ms';
CALL cdc.wait_for_capture('FFFFFFFF/0', '1h');
RESET statement_timeout;

-- The caller's own uncommitted changes are not waited for, other transactions' neither.
BEGIN;
INSERT INTO t VALUES (3, 'three');
CALL cdc.wait_for_capture();
SELECT count(*) FROM changes('src_t');
COMMIT;
CALL cdc.wait_for_capture();
SELECT count(*) FROM changes('src_t');
-- REPEATABLE READ: what is captured afterwards is not to be seen in the old snapshot
BEGIN ISOLATION LEVEL REPEATABLE READ;
SELECT count(*) FROM t;
INSERT INTO t VALUES (4, 'four');
CALL cdc.wait_for_capture();
COMMIT;
-- from a function, a DO block with transactions
DO $$
BEGIN
	FOR i IN 10 .. 12 LOOP
		INSERT INTO src.t VALUES (i, 'do');
		COMMIT;
		CALL cdc.wait_for_capture();
		RAISE NOTICE '% rows', (SELECT count(*) FROM cdc.src_t_ct);
		COMMIT;
	END LOOP;
END $$;
-- A transaction that locks a table of cdc would wait for itself.
BEGIN;
LOCK TABLE ONLY cdc.src_t_ct IN SHARE MODE;
INSERT INTO t VALUES (20, 'locked');
CALL cdc.wait_for_capture();
ROLLBACK;
BEGIN;
CALL cdc.sp_cdc_disable_table('src', 't', 'src_t');
CALL cdc.wait_for_capture();
ROLLBACK;
BEGIN;
CREATE TABLE u (id integer);
CALL cdc.sp_cdc_enable_table('src', 'u', NULL);
CALL cdc.wait_for_capture();
COMMIT;

-- Everybody may wait.
CREATE ROLE regress_cdc_nobody;
SET ROLE regress_cdc_nobody;
CALL cdc.wait_for_capture();
RESET ROLE;
DROP ROLE regress_cdc_nobody;
-- What cannot come is not waited for.
CALL cdc.sp_cdc_stop_job();
INSERT INTO t VALUES (30, 'stopped');
\set VERBOSITY sqlstate
CALL cdc.wait_for_capture(timeout => '1h');
\set VERBOSITY default
DO $$
DECLARE
	hint text;
BEGIN
	CALL cdc.wait_for_capture(timeout => '1h');
EXCEPTION WHEN object_not_in_prerequisite_state THEN
	GET STACKED DIAGNOSTICS hint = PG_EXCEPTION_HINT;
	RAISE NOTICE '%: %', SQLERRM, hint;
END $$;
-- what is there already is, also while the job is stopped
CALL cdc.wait_for_capture('0/1');
CALL cdc.sp_cdc_start_job();
CALL cdc.wait_for_capture();
SELECT count(*) FROM changes('src_t') WHERE "row" LIKE '%stopped%';
SELECT * FROM replay('src_t');
SELECT * FROM log_problems();
CALL cdc.sp_cdc_disable_db();
CALL cdc.wait_for_capture();
CALL cdc.sp_cdc_enable_db();

SET client_min_messages = warning;
CALL cdc.sp_cdc_disable_db();
DROP EXTENSION cdc;
DROP SCHEMA src CASCADE;
