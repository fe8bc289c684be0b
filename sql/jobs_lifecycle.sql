-- When jobs run: parameters count from the next start, a job without a loop runs once, a dropped job runs nothing.
\getenv srcdir PG_ABS_SRCDIR
\set include :srcdir '/sql/include/capture.sql'
\set ECHO none
\i :include
\set ECHO all

-- Times of day are the server's.
SELECT COALESCE((SELECT setting FROM pg_file_settings WHERE name = 'TimeZone' AND applied), 'GMT') AS zone \gset
SET timezone = :'zone';
CREATE TABLE t (id integer PRIMARY KEY, v text);
CALL cdc.sp_cdc_enable_table('src', 't', NULL);
CALL cdc.wait_for_capture();
CREATE VIEW jobs AS SELECT job_type, started, running, doing, next_run > now() AS will_run FROM cdc.sp_cdc_help_jobs();
SELECT poll_until($$(SELECT count(*) FROM jobs WHERE job_type = 'capture' AND doing = 'streaming' OR job_type = 'cleanup' AND will_run) = 2$$);
SELECT * FROM jobs;

-- A running worker goes on with the parameters that it has read.
SELECT worker_pid AS former FROM cdc.pg_stat_cdc WHERE database = current_database() \gset
CALL cdc.sp_cdc_change_job(continuous => false, maxtrans => 2, maxscans => 2);
INSERT INTO t VALUES (1, 'as before');
CALL cdc.wait_for_capture();
SELECT worker_pid = :former AS same_worker FROM cdc.pg_stat_cdc WHERE database = current_database();
CALL cdc.sp_cdc_stop_job();
DO $$ BEGIN FOR i IN 1 .. 10 LOOP INSERT INTO src.t VALUES (10 + i, 'backlog'); COMMIT; END LOOP; END $$;
-- Now one run for each start: 2 scans of 2 transactions.
CALL cdc.sp_cdc_start_job();
SELECT poll_until($$(SELECT NOT running AND doing = 'stopped' FROM jobs WHERE job_type = 'capture')$$);
SELECT count(*) FROM changes('src_t') WHERE "row" LIKE '%backlog%';
SELECT * FROM jobs WHERE job_type = 'capture';
\set VERBOSITY sqlstate
CALL cdc.wait_for_capture();
\set VERBOSITY default
CALL cdc.sp_cdc_start_job();
SELECT poll_until($$(SELECT NOT running AND doing = 'stopped' FROM jobs WHERE job_type = 'capture')$$);
SELECT count(*) FROM changes('src_t') WHERE "row" LIKE '%backlog%';
-- A run ends when nothing is left, too.
CALL cdc.sp_cdc_start_job();
SELECT poll_until($$(SELECT NOT running AND doing = 'stopped' FROM jobs WHERE job_type = 'capture')$$);
SELECT count(*) FROM changes('src_t') WHERE "row" LIKE '%backlog%';
-- A loop with a wait: the wait is cut short for who waits.
CALL cdc.sp_cdc_change_job(pollinginterval => 3600);
CALL cdc.sp_cdc_start_job();
INSERT INTO t VALUES (30, 'polled');
CALL cdc.wait_for_capture();
SELECT count(*) FROM changes('src_t') WHERE "row" LIKE '%polled%';
INSERT INTO t VALUES (31, 'polled');
CALL cdc.wait_for_capture();
SELECT count(*) FROM changes('src_t') WHERE "row" LIKE '%polled%';
CALL cdc.sp_cdc_change_job(pollinginterval => 0, maxtrans => 1000, maxscans => 10);

-- Outside its window the job is started but does not run; waiting for it is hopeless. The window is made of the present time.
SELECT to_char(now() + interval '2 hours', 'HH24:MI') || '-' || to_char(now() + interval '3 hours', 'HH24:MI') AS later,
	to_char(now() - interval '1 hour', 'HH24:MI') || '-' || to_char(now() + interval '1 hour', 'HH24:MI') AS now \gset
CALL cdc.sp_cdc_change_job(active_window => :'later');
CALL cdc.sp_cdc_stop_job();
CALL cdc.sp_cdc_start_job();
SELECT poll_until($$(SELECT doing = 'outside window' FROM jobs WHERE job_type = 'capture')$$);
SELECT started, running, doing, next_run BETWEEN now() + interval '1 hour 58 minutes' AND now() + interval '2 hours' AS when_it_opens
FROM cdc.sp_cdc_help_jobs() WHERE job_type = 'capture';
INSERT INTO t VALUES (40, 'in the window');
\set VERBOSITY sqlstate
CALL cdc.wait_for_capture();
CALL cdc.sp_cdc_scan();
\set VERBOSITY default
SELECT state FROM cdc.pg_stat_cdc WHERE database = current_database();
SELECT count(*) FROM changes('src_t') WHERE "row" LIKE '%window%';
CALL cdc.sp_cdc_change_job(active_window => :'now');
CALL cdc.sp_cdc_start_job();
CALL cdc.wait_for_capture();
SELECT count(*) FROM changes('src_t') WHERE "row" LIKE '%window%';
SELECT started, running FROM jobs WHERE job_type = 'capture';
CALL cdc.sp_cdc_change_job(active_window => 'always');

-- The cleanup job: stopping it takes it off its schedule, starting runs it once and puts it on again.
CALL cdc.sp_cdc_stop_job('cleanup');
SELECT poll_until($$(SELECT will_run IS NULL FROM jobs WHERE job_type = 'cleanup')$$);
SELECT * FROM jobs WHERE job_type = 'cleanup';
CALL cdc.sp_cdc_stop_job('cleanup');
CALL cdc.sp_cdc_start_job('cleanup');
SELECT poll_until($$(SELECT will_run FROM jobs WHERE job_type = 'cleanup') AND EXISTS (SELECT FROM cdc.cleanup_runs WHERE ended_at IS NOT NULL)$$);
SELECT * FROM jobs WHERE job_type = 'cleanup';
SELECT request, status, ended_at >= started_at AS ended, message FROM cdc.cleanup_runs;
-- On its schedule: at the time of day, and every so often.
CALL cdc.sp_cdc_change_job('cleanup', start_time => (now() + interval '3 hours')::time, every => '1 day');
SELECT poll_until($$(SELECT next_run BETWEEN now() + interval '2 hours 59 minutes' AND now() + interval '3 hours' FROM cdc.sp_cdc_help_jobs() WHERE job_type = 'cleanup')$$);
-- The time of day has just gone by: tomorrow, and not at once.
CALL cdc.sp_cdc_change_job('cleanup', start_time => (now() - interval '1 minute')::time);
SELECT poll_until($$(SELECT next_run BETWEEN now() + interval '23 hours 58 minutes' AND now() + interval '1 day' FROM cdc.sp_cdc_help_jobs() WHERE job_type = 'cleanup')$$);
CALL cdc.sp_cdc_change_job('cleanup', every => '7 days');
SELECT poll_until($$(SELECT next_run BETWEEN now() + interval '6 days 23 hours' AND now() + interval '7 days' FROM cdc.sp_cdc_help_jobs() WHERE job_type = 'cleanup')$$);
CALL cdc.sp_cdc_change_job('cleanup', every => '10 minutes');
SELECT poll_until($$(SELECT next_run BETWEEN now() + interval '8 minutes' AND now() + interval '10 minutes' FROM cdc.sp_cdc_help_jobs() WHERE job_type = 'cleanup')$$);
-- In the time zone that the database has.
DO $$ BEGIN EXECUTE format('ALTER DATABASE %I SET timezone = %L', current_database(), 'Asia/Kathmandu'); END $$;
CALL cdc.sp_cdc_change_job('cleanup', start_time => '03:30', every => '1 day');
SELECT poll_until($$(SELECT (next_run AT TIME ZONE 'Asia/Kathmandu')::time = '03:30' FROM cdc.sp_cdc_help_jobs() WHERE job_type = 'cleanup')$$);
SELECT next_run BETWEEN now() AND now() + interval '1 day' AS within_a_day FROM cdc.sp_cdc_help_jobs() WHERE job_type = 'cleanup';
DO $$ BEGIN EXECUTE format('ALTER DATABASE %I RESET timezone', current_database()); END $$;
CALL cdc.sp_cdc_change_job('cleanup', every => '1 second');
SELECT poll_until($$(SELECT count(*) >= 3 FROM cdc.cleanup_runs WHERE status = 'succeeded')$$);
CALL cdc.sp_cdc_change_job('cleanup', start_time => '02:00', every => '1 day');
SELECT poll_until($$(SELECT will_run FROM jobs WHERE job_type = 'cleanup')$$);
SELECT DISTINCT request, status FROM cdc.cleanup_runs;

-- In a transaction everything happens at commit, or not at all.
BEGIN;
CALL cdc.sp_cdc_start_job('cleanup');
ROLLBACK;
BEGIN;
CALL cdc.sp_cdc_stop_job('cleanup');
CALL cdc.sp_cdc_stop_job('capture');
SAVEPOINT s;
CALL cdc.sp_cdc_start_job('cleanup');
ROLLBACK TO s;
COMMIT;
SELECT poll_until($$(SELECT count(*) = 2 FROM jobs WHERE NOT started AND NOT running AND will_run IS NULL)$$);

-- Dropped: nothing runs, although the table is enabled; by hand it still does.
CALL cdc.sp_cdc_start_job();
CALL cdc.wait_for_capture();
CALL cdc.sp_cdc_drop_job('capture');
CALL cdc.sp_cdc_drop_job('cleanup');
SELECT worker_pid FROM cdc.pg_stat_cdc WHERE database = current_database();
INSERT INTO t VALUES (50, 'by hand');
\set VERBOSITY sqlstate
CALL cdc.wait_for_capture();
\set VERBOSITY default
CALL cdc.sp_cdc_scan();
SELECT count(*) FROM changes('src_t') WHERE "row" LIKE '%by hand%';
SELECT max(start_lsn) AS mark FROM cdc.lsn_time_mapping \gset
CALL cdc.sp_cdc_cleanup_change_table('src_t', :'mark');
SELECT count(*) FROM cdc.src_t_ct;
CALL cdc.sp_cdc_add_job('capture');
INSERT INTO t VALUES (51, 'job again');
CALL cdc.wait_for_capture();
SELECT count(*) FROM changes('src_t');

SET client_min_messages = warning;
CALL cdc.sp_cdc_disable_db();
DROP SCHEMA src CASCADE;
DROP EXTENSION cdc;
