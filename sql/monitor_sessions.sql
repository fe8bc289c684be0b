-- dm_cdc_log_scan_sessions: one row for each scan with changes, empty ones folded, row 0 the sum of all.
\getenv srcdir PG_ABS_SRCDIR
\set include :srcdir '/sql/include/capture.sql'
\set ECHO none
\i :include
\set ECHO all

CREATE TABLE t (id integer PRIMARY KEY, v text);
CALL cdc.sp_cdc_enable_table('src', 't', NULL);
CALL cdc.wait_for_capture();
CALL cdc.sp_cdc_stop_job();
CREATE VIEW sessions AS SELECT * FROM cdc.dm_cdc_log_scan_sessions;
-- scans(n, statement): n times the statement, committed, and a scan
CREATE PROCEDURE scans(n integer, statement text) LANGUAGE plpgsql AS $$
BEGIN
	FOR i IN 1 .. n LOOP
		EXECUTE statement;
		COMMIT;
		CALL cdc.sp_cdc_scan();
	END LOOP;
END $$;
SELECT max(session_id) AS base FROM sessions \gset

-- Ten with changes and five without are eleven rows.
CALL scans(10, 'INSERT INTO src.t SELECT coalesce(max(id), 0) + 1, ''new'' FROM src.t');
CALL scans(5, 'SELECT');
SELECT session_id - :base AS session, scan_phase, tran_count AS trans, command_count AS commands, empty_scan_count AS empty,
	error_count AS errors, failed_sessions_count AS failed, schema_change_count AS ddl, log_record_count > 0 AS records,
	end_time >= start_time AS ended, abs(duration * 1000 - duration_ms) <= 500 AS duration, latency_ms > 0 AS latency,
	start_lsn < end_lsn AND current_lsn = end_lsn AS lsns,
	first_begin_cdc_lsn < last_commit_cdc_lsn AND last_commit_cdc_lsn <= last_commit_lsn AND last_commit_cdc_lsn < end_lsn AS cdc_lsns,
	last_commit_cdc_time BETWEEN now() - interval '1min' AND end_time AS cdc_time
FROM sessions WHERE session_id > :base ORDER BY session_id;
-- each captured transaction is where the mapping has it
SELECT count(*) FROM sessions AS s JOIN cdc.lsn_time_mapping AS m ON m.start_lsn = last_commit_cdc_lsn AND tran_begin_lsn = first_begin_cdc_lsn AND tran_end_time = last_commit_cdc_time
WHERE session_id > :base;
SELECT (cdc.fn_cdc_get_max_lsn() = last_commit_cdc_lsn) AS newest FROM sessions WHERE session_id = 0;

-- One call is one session, whatever it takes; a transaction is never split.
INSERT INTO t VALUES (101, 'a'), (102, 'b');
INSERT INTO t VALUES (103, 'c');
UPDATE t SET v = 'changed' WHERE id > 100;
INSERT INTO t VALUES (104, 'd');
CALL cdc.sp_cdc_scan(maxtrans => 1, maxscans => 3);
CALL cdc.sp_cdc_scan(maxtrans => 1, maxscans => 3);
SELECT session_id - :base AS session, tran_count, command_count, empty_scan_count FROM sessions WHERE session_id > :base + 11 ORDER BY 1;

-- Commands on the table are counted, too, and a session with one is not empty.
ALTER TABLE t ADD COLUMN extra integer;
CALL cdc.sp_cdc_scan();
SELECT session_id - :base AS session, tran_count, schema_change_count, empty_scan_count FROM sessions WHERE session_id > :base + 13;

-- A scan that fails; those that fail again before they have captured anything are in one row.
SELECT inhrelid::regclass AS leaf FROM pg_inherits, cdc.change_tables WHERE inhparent = object_id ORDER BY inhrelid::regclass::text LIMIT 1 \gset
ALTER TABLE :leaf ADD CONSTRAINT regress_cdc_check CHECK (id > 0);
INSERT INTO t VALUES (105, 'e');
\set VERBOSITY terse
CALL cdc.sp_cdc_scan();
CALL cdc.sp_cdc_scan();
\set VERBOSITY default
SELECT session_id - :base AS session, scan_phase, tran_count, error_count, failed_sessions_count, empty_scan_count, end_time IS NOT NULL AS ended FROM sessions WHERE session_id > :base + 14;
ALTER TABLE :leaf DROP CONSTRAINT regress_cdc_check;
CALL cdc.sp_cdc_scan();
SELECT session_id - :base AS session, scan_phase, tran_count, error_count, failed_sessions_count FROM sessions WHERE session_id > :base + 15;

-- A job that is not continuous: a session for each run. (Stopping it waits for its end.)
UPDATE cdc.cdc_jobs SET continuous = false WHERE job_type = 'capture';
INSERT INTO t VALUES (106, 'f');
CALL cdc.sp_cdc_start_job();
CALL cdc.wait_for_capture();
CALL cdc.sp_cdc_stop_job();
SELECT session_id - :base AS session, scan_phase, tran_count, command_count FROM sessions WHERE session_id > :base + 16;
UPDATE cdc.cdc_jobs SET continuous = true WHERE job_type = 'capture';

-- Row 0 is the sum.
SELECT a.session_id, a.scan_phase, a.current_lsn, a.start_time = (SELECT min(start_time) FROM sessions WHERE session_id > 0) AS start_time,
	a.end_time = l.end_time AS end_time, a.start_lsn = l.start_lsn AS start_lsn, a.end_lsn = l.end_lsn AS end_lsn,
	a.tran_count = s.trans AS trans, a.command_count = s.commands AS commands, a.log_record_count = s.records AS records,
	a.error_count = s.errors AS errors, a.failed_sessions_count = s.failed AS failed, a.empty_scan_count = s.empty AS empty,
	a.schema_change_count = s.ddl AS ddl, a.duration_ms BETWEEN s.duration_ms AND s.duration_ms + 100 AS duration,
	a.latency_ms = (SELECT latency_ms FROM sessions WHERE latency_ms > 0 ORDER BY session_id DESC LIMIT 1) AS latency
FROM sessions AS a, (SELECT * FROM sessions ORDER BY session_id DESC LIMIT 1) AS l,
	(SELECT sum(tran_count) AS trans, sum(command_count) AS commands, sum(log_record_count) AS records, sum(error_count) AS errors,
		sum(failed_sessions_count) AS failed, sum(empty_scan_count) AS empty, sum(schema_change_count) AS ddl, sum(duration_ms) AS duration_ms
	FROM sessions WHERE session_id > 0) AS s
WHERE a.session_id = 0;

-- The continuous job: bursts of one second are one row, and nothing is counted twice.
SELECT tran_count AS former, command_count AS former_commands FROM sessions WHERE session_id = 0 \gset
CALL cdc.sp_cdc_start_job();
DO $$
BEGIN
	FOR i IN 201 .. 300 LOOP
		INSERT INTO src.t VALUES (i, 'burst');
		COMMIT;
	END LOOP;
END $$;
CALL cdc.wait_for_capture();
SELECT tran_count - :former AS trans, command_count - :former_commands AS commands FROM sessions WHERE session_id = 0;
SELECT count(*) < 20 AS few FROM sessions WHERE session_id > :base + 17 AND tran_count > 0;
SELECT poll_until('NOT EXISTS (SELECT FROM src.sessions WHERE end_time IS NULL)');
SELECT * FROM replay('src_t');

-- Rights: pg_monitor, and the database's owner.
CREATE ROLE regress_cdc_nobody;
CREATE ROLE regress_cdc_monitor IN ROLE pg_monitor;
SET ROLE regress_cdc_nobody;
SELECT count(*) FROM cdc.dm_cdc_log_scan_sessions;
SELECT * FROM cdc._scan_sessions();
SET ROLE regress_cdc_monitor;
SELECT count(*) > 17 AS allowed FROM cdc.dm_cdc_log_scan_sessions;
RESET ROLE;
DROP ROLE regress_cdc_nobody, regress_cdc_monitor;

-- A database that is enabled again begins anew; one that is not has no rows.
CALL cdc.sp_cdc_disable_db();
CALL cdc.sp_cdc_enable_db();
SELECT count(*) FROM sessions WHERE tran_count > 0;
SET client_min_messages = warning;
CALL cdc.sp_cdc_disable_db();
DROP SCHEMA src CASCADE;
DROP EXTENSION cdc;
