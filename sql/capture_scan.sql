-- sp_cdc_scan: scanning by hand while the job is stopped.
\getenv srcdir PG_ABS_SRCDIR
\set include :srcdir '/sql/include/capture.sql'
\set ECHO none
\i :include
\set ECHO all

CREATE TABLE t (id integer PRIMARY KEY, v text);
-- What a call says, without process ids: SQLSTATE, message, detail, hint.
CREATE PROCEDURE said(statement text) LANGUAGE plpgsql AS $$
DECLARE
	detail text;
	hint text;
BEGIN
	EXECUTE statement;
	RAISE NOTICE 'done';
EXCEPTION WHEN OTHERS THEN
	GET STACKED DIAGNOSTICS detail = PG_EXCEPTION_DETAIL, hint = PG_EXCEPTION_HINT;
	RAISE NOTICE '%', concat_ws(E'\n', SQLSTATE, SQLERRM, regexp_replace(detail, 'pid \d+', 'pid <pid>'), hint);
END $$;
-- before there is a job
CALL cdc.sp_cdc_stop_job();
CALL cdc.sp_cdc_enable_table('src', 't', NULL);
-- while the job runs
CALL said('CALL cdc.sp_cdc_scan()');
CALL cdc.sp_cdc_stop_job();
SELECT state, worker_pid, decoder_pid FROM cdc.pg_stat_cdc WHERE database = current_database();
INSERT INTO t SELECT g, 'v' FROM generate_series(1, 3) g;
CALL cdc.sp_cdc_scan();
SELECT * FROM changes('src_t');
SELECT state, worker_pid, decoder_pid FROM cdc.pg_stat_cdc WHERE database = current_database();
-- nothing to do is no error
CALL cdc.sp_cdc_scan();
-- a transaction is never split, however small maxtrans is
BEGIN;
UPDATE t SET v = 'one';
UPDATE t SET v = 'two';
COMMIT;
CALL cdc.sp_cdc_scan(1, 1);
SELECT op, mask, "row" FROM changes('src_t') WHERE tx = 2;
-- maxtrans x maxscans is the most that one call takes
DO $$ BEGIN FOR i IN 1 .. 10 LOOP INSERT INTO src.t VALUES (100 + i, 'scan'); COMMIT; END LOOP; END $$;
CALL cdc.sp_cdc_scan(maxtrans => 2, maxscans => 2);
SELECT count(*) FROM changes('src_t') WHERE "row" LIKE '%scan%';
CALL cdc.sp_cdc_scan(maxtrans => 3, maxscans => 1);
SELECT count(*) FROM changes('src_t') WHERE "row" LIKE '%scan%';
CALL cdc.sp_cdc_scan(2);
SELECT count(*) FROM changes('src_t') WHERE "row" LIKE '%scan%';
-- NULL: the default
INSERT INTO t VALUES (200, 'null');
CALL cdc.sp_cdc_scan(NULL, NULL, NULL, NULL);
SELECT count(*) FROM changes('src_t') WHERE "row" LIKE '%null%';
-- tables enabled, disabled and changed while the job is stopped: in their order
CREATE TABLE u (id integer PRIMARY KEY);
INSERT INTO u VALUES (1);
CALL cdc.sp_cdc_enable_table('src', 'u', NULL);
INSERT INTO u VALUES (2);
SELECT cdc.fn_cdc_get_min_lsn('src_u');
SELECT start_lsn FROM cdc.change_tables WHERE capture_instance = 'src_u';
CALL cdc.sp_cdc_scan();
SELECT * FROM changes('src_u');
-- in a transaction, and in a function
BEGIN;
INSERT INTO t VALUES (300, 'not committed');
CALL cdc.sp_cdc_scan();
COMMIT;
DO $$ BEGIN CALL cdc.sp_cdc_scan(); END $$;
SELECT count(*) FROM changes('src_t') WHERE "row" LIKE '%not committed%';
-- continuous: until it is cancelled
SET statement_timeout = '300ms';
CALL cdc.sp_cdc_scan(continuous => true);
CALL cdc.sp_cdc_scan(continuous => true, pollinginterval => 1);
RESET statement_timeout;
INSERT INTO t VALUES (400, 'after');
CALL cdc.sp_cdc_scan();
SELECT count(*) FROM changes('src_t') WHERE "row" LIKE '%after%';
SELECT state, worker_pid, decoder_pid FROM cdc.pg_stat_cdc WHERE database = current_database();

-- Arguments.
CALL said('CALL cdc.sp_cdc_scan(0)');
CALL said('CALL cdc.sp_cdc_scan(maxtrans => -1)');
CALL said('CALL cdc.sp_cdc_scan(maxscans => 0)');
CALL said('CALL cdc.sp_cdc_scan(continuous => true, pollinginterval => -1)');
CALL said('CALL cdc.sp_cdc_scan(continuous => true, pollinginterval => 86400)');
CALL said('CALL cdc.sp_cdc_scan(pollinginterval => 5)');
-- a scan that fails says why, and leaves everything as it was
INSERT INTO u VALUES (3);
CREATE TRIGGER mistake BEFORE UPDATE ON cdc.src_t_ct FOR EACH ROW EXECUTE FUNCTION suppress_redundant_updates_trigger();
UPDATE t SET v = 'changed' WHERE id = 1;
INSERT INTO u VALUES (4);
CALL said('CALL cdc.sp_cdc_scan()');
CALL said('CALL cdc.sp_cdc_scan()');
SELECT * FROM changes('src_u');
SELECT state, worker_pid, decoder_pid FROM cdc.pg_stat_cdc WHERE database = current_database();
CALL cdc.sp_cdc_disable_table('src', 't', 'all');
CALL cdc.sp_cdc_scan();
SELECT * FROM changes('src_u');

-- Who may: the database's owner.
CREATE ROLE regress_cdc_nobody;
GRANT USAGE ON SCHEMA src TO regress_cdc_nobody;
SET ROLE regress_cdc_nobody;
CALL cdc.sp_cdc_scan();
RESET ROLE;
-- Back to the job.
CALL cdc.sp_cdc_start_job();
INSERT INTO u VALUES (5);
CALL cdc.wait_for_capture();
CALL said('CALL cdc.sp_cdc_scan()');
SELECT * FROM replay('src_u', 'SELECT 1 AS id');
SELECT * FROM log_problems(whole => false);
CALL cdc.sp_cdc_disable_db();
CALL cdc.sp_cdc_scan();
CALL cdc.sp_cdc_enable_db();
REVOKE ALL ON SCHEMA src FROM regress_cdc_nobody;
DROP ROLE regress_cdc_nobody;

SET client_min_messages = warning;
CALL cdc.sp_cdc_disable_db();
DROP EXTENSION cdc;
DROP SCHEMA src CASCADE;
