-- health(): each check says ok, and notices what it is there for.
\getenv srcdir PG_ABS_SRCDIR
\set include :srcdir '/sql/include/capture.sql'
\set ECHO none
\i :include
\set ECHO all

CREATE TABLE t (id integer PRIMARY KEY, v text);
CREATE TABLE k (id integer PRIMARY KEY, v text);
CREATE TABLE parted (id integer PRIMARY KEY, v text) PARTITION BY RANGE (id);
CREATE TABLE parted_1 PARTITION OF parted FOR VALUES FROM (0) TO (10);
CALL cdc.sp_cdc_enable_table('src', 't', NULL);
CALL cdc.sp_cdc_enable_table('src', 'k', NULL, before_image => 'key');
CALL cdc.sp_cdc_enable_table('src', 'parted', NULL);
INSERT INTO t VALUES (1, 'one');
CALL cdc.wait_for_capture();
-- Alarms of this test's server, which may be one with known bugs, are not shown.
CREATE VIEW alarms AS SELECT check_name, status, value, threshold, regexp_replace(detail, '_ct_\w+', '_ct_...') AS detail, action FROM cdc.health() WHERE status <> 'ok' AND check_name NOT IN ('server_version', 'wal_disk');
SELECT check_name, status FROM cdc.health() WHERE check_name NOT IN ('server_version', 'wal_disk');
SELECT * FROM alarms;
SELECT check_name FROM cdc.health() WHERE check_name IN ('server_version', 'wal_disk') AND status IN ('ok', 'warning', 'critical');

-- A job that was stopped: a warning. One that should run and does not is worse.
CALL cdc.sp_cdc_stop_job();
\x on
SELECT * FROM alarms;
UPDATE cdc.cdc_jobs SET started = true WHERE job_type = 'capture';
SELECT * FROM alarms;
CALL cdc.sp_cdc_start_job();

-- A job that waits for its active window is not late. (Windows of a minute, twelve hours away.)
CALL cdc.sp_cdc_stop_job();
UPDATE cdc.cdc_jobs SET started = true, active_window = to_char(localtime + interval '12 hours', 'HH24:MI') || '-' || to_char(localtime + interval '12 hours 1 minute', 'HH24:MI') WHERE job_type = 'capture';
CALL cdc.sp_cdc_start_job();
SELECT poll_until($$(SELECT worker_pid IS NULL AND state = 'outside window' FROM cdc.pg_stat_cdc WHERE database = current_database())$$);
SELECT * FROM alarms;
SELECT check_name, value, detail FROM cdc.health() WHERE check_name = 'capture_worker';
CALL cdc.sp_cdc_stop_job();
UPDATE cdc.cdc_jobs SET started = true, active_window = NULL WHERE job_type = 'capture';
CALL cdc.sp_cdc_start_job();

-- Capture that has failed.
SELECT inhrelid::regclass AS leaf FROM pg_inherits, cdc.change_tables WHERE inhparent = object_id AND capture_instance = 'src_t' ORDER BY inhrelid::regclass::text LIMIT 1 \gset
ALTER TABLE :leaf ENABLE ROW LEVEL SECURITY;
INSERT INTO t VALUES (2, 'two');
SELECT poll_until($$EXISTS (SELECT FROM cdc.pg_stat_cdc WHERE database = current_database() AND state = 'failed')$$);
SELECT check_name, status, detail, action FROM alarms WHERE check_name IN ('change_tables', 'capture_worker');
ALTER TABLE :leaf DISABLE ROW LEVEL SECURITY;
CALL cdc.sp_cdc_start_job();
CALL cdc.wait_for_capture();
SELECT * FROM alarms;

-- Gaps: open, closed lately, closed long ago.
INSERT INTO cdc.gaps (start_lsn, reason) VALUES ('0/1', 'a test');
SELECT * FROM alarms;
UPDATE cdc.gaps SET object_id = 'cdc.src_t_ct'::regclass;
SELECT * FROM alarms;
UPDATE cdc.gaps SET end_lsn = '0/2', object_id = NULL;
SELECT * FROM alarms;
UPDATE cdc.gaps SET detected_at = now() - interval '8 days';
SELECT * FROM alarms;
DELETE FROM cdc.gaps;

-- Cleanup: stopped, failed, late.
UPDATE cdc.cdc_jobs SET started = false WHERE job_type = 'cleanup';
SELECT * FROM alarms;
UPDATE cdc.cdc_jobs SET started = true WHERE job_type = 'cleanup';
INSERT INTO cdc.cleanup_runs (request, started_at, ended_at, status, leaves_dropped, rows_deleted, mapping_rows_deleted, message)
VALUES ('job', now(), now(), 'failed', 0, 0, 0, 'a test');
SELECT * FROM alarms;
UPDATE cdc.cleanup_runs SET status = 'succeeded', message = NULL;
SELECT * FROM alarms;
UPDATE cdc.cdc_jobs SET schedule_from = now() - interval '1 year' WHERE job_type = 'cleanup';
UPDATE cdc.cleanup_runs SET started_at = now() - interval '26 hours';
SELECT check_name, status, value, threshold, detail LIKE 'A run is due since %' AS detail, action FROM alarms;
UPDATE cdc.cleanup_runs SET started_at = now() - interval '5 days';
SELECT check_name, status, value, threshold, detail LIKE 'A run is due since %' AS detail, action FROM alarms;
UPDATE cdc.cdc_jobs SET schedule_from = now() WHERE job_type = 'cleanup';
SELECT * FROM alarms;

-- Replica identities, of leaves, too. One that suffices for the key is enough where that is what was promised.
ALTER TABLE t REPLICA IDENTITY DEFAULT;
SELECT * FROM alarms;
ALTER TABLE t REPLICA IDENTITY FULL;
ALTER TABLE parted_1 REPLICA IDENTITY NOTHING;
SELECT * FROM alarms;
ALTER TABLE parted_1 REPLICA IDENTITY FULL;
SELECT relreplident FROM pg_class WHERE oid = 'k'::regclass;
ALTER TABLE k REPLICA IDENTITY NOTHING;
SELECT * FROM alarms;
ALTER TABLE k REPLICA IDENTITY FULL;
SELECT * FROM alarms;
ALTER TABLE k REPLICA IDENTITY DEFAULT;

-- Event triggers, roles.
ALTER EVENT TRIGGER cdc_sql_drop DISABLE;
SELECT * FROM alarms;
ALTER EVENT TRIGGER cdc_sql_drop ENABLE ALWAYS;
CREATE ROLE regress_cdc_reader REPLICATION;
SELECT * FROM alarms;
DROP ROLE regress_cdc_reader;

-- A copy of an enabled database.
UPDATE cdc._identity SET database_id = 1;
SELECT * FROM alarms;
UPDATE cdc._identity SET database_id = (SELECT oid FROM pg_database WHERE datname = current_database());

-- The slot is lost.
CALL cdc.sp_cdc_stop_job();
SELECT pg_drop_replication_slot(slot_name) FROM pg_replication_slots WHERE plugin = 'cdc';
SELECT check_name, status, value, detail, action FROM alarms WHERE check_name <> 'capture_worker';

-- Not enabled.
SET client_min_messages = warning;
CALL cdc.sp_cdc_disable_db();
\x off
SELECT check_name, status, value, action FROM cdc.health() WHERE check_name NOT IN ('server_version');
DROP SCHEMA src CASCADE;
DROP EXTENSION cdc;
