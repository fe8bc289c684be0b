-- dm_cdc_errors: what went wrong in the processes of this database, folded, bounded.
\getenv srcdir PG_ABS_SRCDIR
\set include :srcdir '/sql/include/capture.sql'
\set ECHO none
\i :include
\set ECHO all

CREATE TABLE t (id integer PRIMARY KEY, v text);
CALL cdc.sp_cdc_enable_table('src', 't', NULL);
INSERT INTO t VALUES (1, 'one');
CALL cdc.wait_for_capture();
CALL cdc.sp_cdc_stop_job();
SELECT count(*) FROM cdc.dm_cdc_errors;
CREATE VIEW errors AS
SELECT e.session_id = s.session_id AND s.failed_sessions_count > 0 AS session, phase_number AS phase, error_number AS number, error_severity AS severity, error_state AS state,
	regexp_replace(error_message, '_ct_\w+', '_ct_...') AS message, sqlstate, process, occurrences AS times, first_time < entry_time AS repeated,
	e.start_lsn = s.start_lsn AS start_lsn, begin_lsn > '0/0' AS begin_lsn, sequence_value >= begin_lsn AS sequence_value, detail IS NOT NULL AS detail, hint IS NOT NULL AS hint
FROM cdc.dm_cdc_errors AS e LEFT JOIN cdc.dm_cdc_log_scan_sessions AS s ON s.session_id = e.session_id AND e.session_id <> 0 ORDER BY entry_time;

-- An error while changes are written, again and again: one row. It is stored, not only in memory.
SELECT inhrelid::regclass AS leaf FROM pg_inherits, cdc.change_tables WHERE inhparent = object_id ORDER BY inhrelid::regclass::text LIMIT 1 \gset
ALTER TABLE :leaf ENABLE ROW LEVEL SECURITY;
INSERT INTO t VALUES (2, 'two');
\set VERBOSITY terse
CALL cdc.sp_cdc_scan();
SELECT * FROM errors \gx
CALL cdc.sp_cdc_scan();
CALL cdc.sp_cdc_scan();
\set VERBOSITY default
SELECT message, times, repeated FROM errors;
SELECT count(*) AS stored, (SELECT count(*) FROM cdc._pending_errors()) AS pending FROM cdc._errors;
-- the row that was being written is the one that is captured afterwards
SELECT begin_lsn, sequence_value FROM cdc.dm_cdc_errors \gset
ALTER TABLE :leaf DISABLE ROW LEVEL SECURITY;
CALL cdc.sp_cdc_scan();
SELECT "__$seqval" = :'sequence_value' AS row, (SELECT tran_begin_lsn = :'begin_lsn' FROM cdc.lsn_time_mapping WHERE start_lsn = "__$start_lsn") AS transaction
FROM cdc.src_t_ct WHERE id = 2;
SELECT count(*) FROM errors;

-- The errors of the last 32 sessions are kept; each outside a session counts as one.
INSERT INTO cdc._errors (session_id, phase_number, entry_time, error_severity, error_state, error_message, start_lsn, begin_lsn, sequence_value, sqlstate, process, first_time, occurrences)
SELECT CASE WHEN i % 2 = 0 THEN 0 ELSE 1000 + i END, 0, now() + i * interval '1us', 16, 1, 'older ' || i, '0/0', '0/0', '0/0', 'XX000', 'capture', now(), 1 FROM generate_series(1, 50) AS i;
ALTER TABLE :leaf ENABLE ROW LEVEL SECURITY;
INSERT INTO t VALUES (3, 'three');
\set VERBOSITY terse
CALL cdc.sp_cdc_scan();
\set VERBOSITY default
SELECT count(*), min(error_message) FILTER (WHERE error_message LIKE 'older%') AS oldest FROM cdc.dm_cdc_errors;
-- many errors of one session do not grow the table either
INSERT INTO cdc._errors (session_id, phase_number, entry_time, error_severity, error_state, error_message, start_lsn, begin_lsn, sequence_value, sqlstate, process, first_time, occurrences)
SELECT 5000, 0, now() + i * interval '1us', 16, 1, 'same session ' || i, '0/0', '0/0', '0/0', 'XX000', 'capture', now(), 1 FROM generate_series(1, 200) AS i;
\set VERBOSITY terse
CALL cdc.sp_cdc_scan();
\set VERBOSITY default
SELECT count(*) FROM cdc.dm_cdc_errors;
ALTER TABLE :leaf DISABLE ROW LEVEL SECURITY;

-- What somebody puts on the table of errors is not run.
DELETE FROM cdc._errors;
ALTER TABLE :leaf ENABLE ROW LEVEL SECURITY;
ALTER TABLE cdc._errors ADD CONSTRAINT regress_cdc_check CHECK (false) NOT VALID;
\set VERBOSITY terse
CALL cdc.sp_cdc_scan();
\set VERBOSITY default
SELECT count(*) AS stored FROM cdc._errors;
ALTER TABLE cdc._errors DROP CONSTRAINT regress_cdc_check;
ALTER TABLE :leaf DISABLE ROW LEVEL SECURITY;
CALL cdc.sp_cdc_scan();

-- Making the slot fails: no session.
SET client_min_messages = warning;
CALL cdc.sp_cdc_disable_db();
SELECT count(*) FROM cdc.dm_cdc_errors;
SELECT count(*) FROM pg_create_physical_replication_slot(('cdc_' || (SELECT oid FROM pg_database WHERE datname = current_database()))::name);
\set VERBOSITY terse
CALL cdc.sp_cdc_enable_db();
\set VERBOSITY default
SELECT session_id, phase_number, error_number, sqlstate, process, start_lsn, begin_lsn, sequence_value, occurrences FROM cdc.dm_cdc_errors;
SELECT count(*) AS stored FROM cdc._errors;
SELECT pg_drop_replication_slot(slot_name) FROM pg_replication_slots WHERE slot_name LIKE 'cdc%';
CALL cdc.sp_cdc_enable_db();

-- Rights: pg_monitor, and the database's owner.
CREATE ROLE regress_cdc_nobody;
CREATE ROLE regress_cdc_monitor IN ROLE pg_monitor;
SET ROLE regress_cdc_nobody;
SELECT count(*) FROM cdc.dm_cdc_errors;
SELECT count(*) FROM cdc._pending_errors();
SET ROLE regress_cdc_monitor;
SELECT count(*) FROM cdc.dm_cdc_errors;
SELECT count(*) FROM cdc._errors;
RESET ROLE;
DROP ROLE regress_cdc_nobody, regress_cdc_monitor;
CALL cdc.sp_cdc_disable_db();
DROP SCHEMA src CASCADE;
DROP EXTENSION cdc;
