-- Starting and stopping the capture job.
\getenv srcdir PG_ABS_SRCDIR
\set include :srcdir '/sql/include/capture.sql'
\set ECHO none
\i :include
\set ECHO all

CREATE TABLE t (id integer PRIMARY KEY, v text);
CREATE VIEW job AS
SELECT (SELECT started FROM cdc.cdc_jobs WHERE job_type = 'capture') AS started, state IN ('starting', 'catching up', 'streaming') AS running, worker_pid IS NOT NULL AS worker, decoder_pid IS NOT NULL AS decoder
FROM cdc.pg_stat_cdc WHERE database = current_database();
-- There is no job before the first table.
SELECT job_type FROM cdc.cdc_jobs;
CALL cdc.sp_cdc_start_job();
CALL cdc.sp_cdc_stop_job();
CALL cdc.sp_cdc_enable_table('src', 't', NULL);
CALL cdc.wait_for_capture();
SELECT * FROM job;
-- started is started, stopped is stopped
CALL cdc.sp_cdc_start_job();
INSERT INTO t VALUES (1, 'one');
CALL cdc.wait_for_capture();
CALL cdc.sp_cdc_stop_job();
SELECT * FROM job;
SELECT active FROM pg_replication_slots WHERE plugin = 'cdc';
CALL cdc.sp_cdc_stop_job('capture');
SELECT * FROM job;
INSERT INTO t VALUES (2, 'two');
SELECT count(*) FROM changes('src_t');
CALL cdc.sp_cdc_start_job('CAPTURE ');
CALL cdc.wait_for_capture();
SELECT count(*) FROM changes('src_t');
SELECT * FROM job;
-- In a transaction: at commit, or not at all.
BEGIN;
CALL cdc.sp_cdc_stop_job();
SELECT * FROM job;
ROLLBACK;
INSERT INTO t VALUES (3, 'three');
CALL cdc.wait_for_capture();
SELECT * FROM job;
BEGIN;
CALL cdc.sp_cdc_stop_job();
COMMIT;
-- (as a statement of its own it waits for the end)
CALL cdc.sp_cdc_stop_job();
SELECT * FROM job;
BEGIN;
CALL cdc.sp_cdc_start_job();
ROLLBACK;
SELECT started FROM job;
BEGIN;
SAVEPOINT s;
CALL cdc.sp_cdc_start_job();
ROLLBACK TO s;
COMMIT;
SELECT started, worker FROM job;
-- the same the other way round: a stop that is taken back does not stop
CALL cdc.sp_cdc_start_job();
INSERT INTO t VALUES (31, 'started');
CALL cdc.wait_for_capture();
SELECT worker_pid AS former FROM cdc.pg_stat_cdc WHERE database = current_database() \gset
BEGIN;
SAVEPOINT s;
CALL cdc.sp_cdc_stop_job();
SAVEPOINT t;
CALL cdc.sp_cdc_start_job();
RELEASE t;
CALL cdc.sp_cdc_stop_job();
ROLLBACK TO s;
INSERT INTO t VALUES (32, 'not stopped');
COMMIT;
CALL cdc.wait_for_capture();
SELECT worker_pid = :former AS same_worker FROM cdc.pg_stat_cdc WHERE database = current_database();
-- not in a transaction that somebody else may end
BEGIN;
CALL cdc.sp_cdc_stop_job();
PREPARE TRANSACTION 'regress_cdc_job';
INSERT INTO t VALUES (33, 'not stopped');
CALL cdc.wait_for_capture();
SELECT worker_pid = :former AS same_worker FROM cdc.pg_stat_cdc WHERE database = current_database();
-- quickly, several times: the last word counts
DO $$
BEGIN
	FOR i IN 1 .. 5 LOOP
		CALL cdc.sp_cdc_start_job();
		COMMIT;
		CALL cdc.sp_cdc_stop_job();
		COMMIT;
	END LOOP;
	CALL cdc.sp_cdc_start_job();
END $$;
INSERT INTO t VALUES (4, 'four');
CALL cdc.wait_for_capture();
SELECT * FROM job;
BEGIN;
CALL cdc.sp_cdc_stop_job();
CALL cdc.sp_cdc_start_job();
COMMIT;
INSERT INTO t VALUES (5, 'five');
CALL cdc.wait_for_capture();
SELECT * FROM job;

-- Arguments and rights.
CALL cdc.sp_cdc_start_job('nonsense');
CALL cdc.sp_cdc_stop_job('');
CALL cdc.sp_cdc_start_job(NULL);
CREATE ROLE regress_cdc_nobody;
SET ROLE regress_cdc_nobody;
CALL cdc.sp_cdc_start_job();
CALL cdc.sp_cdc_stop_job();
RESET ROLE;
DROP ROLE regress_cdc_nobody;
-- While it is stopped, tables can be enabled and disabled.
CALL cdc.sp_cdc_stop_job();
CREATE TABLE u (id integer PRIMARY KEY);
CALL cdc.sp_cdc_enable_table('src', 'u', NULL);
INSERT INTO u VALUES (1);
CALL cdc.sp_cdc_disable_table('src', 'u', 'all');
CALL cdc.sp_cdc_enable_table('src', 'u', NULL);
INSERT INTO u VALUES (2);
SELECT * FROM job;
CALL cdc.sp_cdc_start_job();
CALL cdc.wait_for_capture();
SELECT * FROM changes('src_u');
SELECT * FROM replay('src_t');
SELECT * FROM log_problems(whole => false);
-- The jobs go with the last table, and come again with the next.
CALL cdc.sp_cdc_disable_table('src', 'u', 'all');
CALL cdc.sp_cdc_disable_table('src', 't', 'all');
SELECT count(*) FROM cdc.cdc_jobs;
CALL cdc.sp_cdc_start_job();
CALL cdc.sp_cdc_enable_table('src', 't', NULL);
SELECT job_type, started FROM cdc.cdc_jobs ORDER BY 1;
UPDATE t SET v = 'again' WHERE id = 1;
CALL cdc.wait_for_capture();
SELECT * FROM changes('src_t');
SELECT * FROM replay('src_t', $$SELECT id, CASE id WHEN 1 THEN 'one' ELSE v END AS v FROM t$$);
CALL cdc.sp_cdc_disable_db();
CALL cdc.sp_cdc_start_job();
CALL cdc.sp_cdc_stop_job();
CALL cdc.sp_cdc_enable_db();

SET client_min_messages = warning;
CALL cdc.sp_cdc_disable_db();
DROP SCHEMA src CASCADE;
DROP EXTENSION cdc;
