/* cdc--1.0.sql: the whole SQL face of the extension, in the order of docs/reference/. */

-- complain if the script is sourced in psql rather than via CREATE EXTENSION
\echo Use "CREATE EXTENSION cdc" to load this file. \quit

-- Schema cdc is made here, and goes with the extension. One that is there already is used, and stays, when
-- it belongs to a superuser and nobody else may create in it: whoever owns a schema can drop and replace what is in it,
-- and workers trust these tables.
DO $$
DECLARE
	cdc_schema record;
	grantee record;
BEGIN
	SELECT n.oid, r.rolsuper INTO cdc_schema
	FROM pg_catalog.pg_namespace AS n JOIN pg_catalog.pg_roles AS r ON r.oid OPERATOR(pg_catalog.=) n.nspowner
	WHERE n.nspname OPERATOR(pg_catalog.=) 'cdc'::pg_catalog.name;
	IF cdc_schema.oid IS NULL THEN
		CREATE SCHEMA cdc;
		COMMENT ON SCHEMA cdc IS 'change data capture: functions, catalog and change tables';
		-- Default privileges of the installing role must not let anybody in.
		FOR grantee IN SELECT DISTINCT a.grantee::pg_catalog.regrole AS name
			FROM pg_catalog.pg_namespace AS n, pg_catalog.aclexplode(n.nspacl) AS a
			WHERE n.nspname OPERATOR(pg_catalog.=) 'cdc'::pg_catalog.name
				AND a.grantee OPERATOR(pg_catalog.<>) n.nspowner AND a.grantee OPERATOR(pg_catalog.<>) 0::pg_catalog.oid
		LOOP
			EXECUTE pg_catalog.format('REVOKE ALL ON SCHEMA cdc FROM %s', grantee.name);
		END LOOP;
		REVOKE ALL ON SCHEMA cdc FROM PUBLIC;
	ELSIF NOT cdc_schema.rolsuper THEN
		RAISE EXCEPTION 'schema "cdc" exists already and belongs to another role'
			USING ERRCODE = 'duplicate_schema',
				DETAIL = 'SQL Server error 22906: its owner could replace what the capture workers trust.',
				HINT = 'DROP SCHEMA cdc, or ALTER SCHEMA cdc RENAME TO another name, then CREATE EXTENSION cdc.';
	ELSIF EXISTS (SELECT FROM pg_catalog.pg_namespace AS n, pg_catalog.aclexplode(n.nspacl) AS a
				  WHERE n.oid OPERATOR(pg_catalog.=) cdc_schema.oid AND a.privilege_type OPERATOR(pg_catalog.=) 'CREATE'
					AND a.grantee OPERATOR(pg_catalog.<>) n.nspowner) THEN
		RAISE EXCEPTION 'schema "cdc" exists already and others may create objects in it'
			USING ERRCODE = 'duplicate_schema',
				DETAIL = 'SQL Server error 22906: they could put their functions beside those of the extension.',
				HINT = 'DROP SCHEMA cdc, or REVOKE CREATE ON SCHEMA cdc, then CREATE EXTENSION cdc.';
	END IF;
END
$$;

-- Refuses to go on with a library that does not serve the version given: each upgrade script begins with it. A server
-- that has preloaded the library runs the former one until it is restarted, whatever is installed.
-- Errors: 55000. Privilege: superuser.
CREATE FUNCTION cdc._require_library(version text) RETURNS void
LANGUAGE c STRICT
AS 'MODULE_PATHNAME', 'cdc_require_library';
REVOKE ALL ON FUNCTION cdc._require_library(text) FROM PUBLIC;
COMMENT ON FUNCTION cdc._require_library(text) IS 'raises unless the library serves this version of the extension';
SELECT cdc._require_library('1.0');

--------------------------------------------------------------------------------
-- 1. Catalog tables
--
-- change_tables, captured_columns and index_columns are read by the decoder as of a WAL position
-- (user_catalog_table): fixed-length or PLAIN columns only, columns may be added, never rewritten.
-- Column numbers are known to src/catalog/catalog.hpp.
--------------------------------------------------------------------------------

CREATE SEQUENCE cdc._instance_id_seq AS integer;
COMMENT ON SEQUENCE cdc._instance_id_seq IS 'change_tables.instance_id: never used again';

CREATE TABLE cdc.change_tables (
	object_id oid NOT NULL,
	version integer NOT NULL DEFAULT 0,
	source_object_id oid NOT NULL,
	capture_instance name NOT NULL,
	start_lsn pg_lsn,
	end_lsn pg_lsn,
	supports_net_changes boolean NOT NULL,
	has_drop_pending boolean NOT NULL DEFAULT false,
	role_name name,
	index_name name,
	filegroup_name name,
	create_date timestamptz NOT NULL DEFAULT pg_catalog.now(),
	partition_switch boolean NOT NULL DEFAULT true,
	instance_id integer NOT NULL,
	before_image name NOT NULL DEFAULT 'full',
	truncate_action name NOT NULL DEFAULT 'refuse',
	drop_action name NOT NULL DEFAULT 'remove',
	PRIMARY KEY (object_id)
) WITH (user_catalog_table = true);
CREATE UNIQUE INDEX change_tables_capture_instance_key ON cdc.change_tables (capture_instance);
CREATE UNIQUE INDEX change_tables_instance_id_key ON cdc.change_tables (instance_id);
CREATE INDEX change_tables_source_object_id_idx ON cdc.change_tables (source_object_id);
COMMENT ON TABLE cdc.change_tables IS
	'capture instances: one row for each';
COMMENT ON COLUMN cdc.change_tables.object_id IS 'oid of the change table';
COMMENT ON COLUMN cdc.change_tables.version IS '0';
COMMENT ON COLUMN cdc.change_tables.source_object_id IS 'oid of the source table';
COMMENT ON COLUMN cdc.change_tables.capture_instance IS 'name of the capture instance';
COMMENT ON COLUMN cdc.change_tables.start_lsn IS
	'low end of the LSN window; NULL until capture has passed the commit that enabled the table';
COMMENT ON COLUMN cdc.change_tables.end_lsn IS 'always NULL';
COMMENT ON COLUMN cdc.change_tables.supports_net_changes IS 'whether there is a net-changes function';
COMMENT ON COLUMN cdc.change_tables.has_drop_pending IS 'the source table has been dropped';
COMMENT ON COLUMN cdc.change_tables.role_name IS 'gating role; NULL: none';
COMMENT ON COLUMN cdc.change_tables.index_name IS
	'index that identifies rows: the primary key or the one named; NULL: none';
COMMENT ON COLUMN cdc.change_tables.filegroup_name IS
	'tablespace of the change table; NULL: the default of the database';
COMMENT ON COLUMN cdc.change_tables.create_date IS 'start of the transaction that enabled the table';
COMMENT ON COLUMN cdc.change_tables.partition_switch IS
	'false: attaching and detaching partitions of the source is refused';
COMMENT ON COLUMN cdc.change_tables.instance_id IS 'number of the capture instance, never used again';
COMMENT ON COLUMN cdc.change_tables.before_image IS
	'full: before images of whole rows; key: of the row identifier only';
COMMENT ON COLUMN cdc.change_tables.truncate_action IS 'refuse or record TRUNCATE of the source';
COMMENT ON COLUMN cdc.change_tables.drop_action IS 'remove or keep the instance when the source is dropped';

CREATE TABLE cdc.captured_columns (
	object_id oid NOT NULL,
	column_name name NOT NULL,
	column_id integer NOT NULL,
	column_type text NOT NULL,
	column_ordinal integer NOT NULL,
	is_computed boolean NOT NULL,
	PRIMARY KEY (object_id, column_ordinal)
) WITH (user_catalog_table = true);
ALTER TABLE cdc.captured_columns ALTER COLUMN column_type SET STORAGE PLAIN;
COMMENT ON TABLE cdc.captured_columns IS
	'captured columns of each capture instance';
COMMENT ON COLUMN cdc.captured_columns.object_id IS 'oid of the change table';
COMMENT ON COLUMN cdc.captured_columns.column_name IS
	'name when the table was enabled; also in the change table';
COMMENT ON COLUMN cdc.captured_columns.column_id IS 'attribute number in the source table';
COMMENT ON COLUMN cdc.captured_columns.column_type IS 'type in the source table, as far as capture has come';
COMMENT ON COLUMN cdc.captured_columns.column_ordinal IS
	'from 1, in the order of the change table: the bit in the update mask';
COMMENT ON COLUMN cdc.captured_columns.is_computed IS 'whether it is a generated column';

CREATE TABLE cdc.index_columns (
	object_id oid NOT NULL,
	column_name name NOT NULL,
	index_ordinal smallint NOT NULL,
	column_id integer NOT NULL,
	PRIMARY KEY (object_id, index_ordinal)
) WITH (user_catalog_table = true);
COMMENT ON TABLE cdc.index_columns IS
	'columns of the row identifier of each capture instance';
COMMENT ON COLUMN cdc.index_columns.object_id IS 'oid of the change table';
COMMENT ON COLUMN cdc.index_columns.column_name IS 'name when the table was enabled';
COMMENT ON COLUMN cdc.index_columns.index_ordinal IS 'position in the index, from 1';
COMMENT ON COLUMN cdc.index_columns.column_id IS 'attribute number in the source table';

CREATE TABLE cdc.ddl_history (
	source_object_id oid NOT NULL,
	object_id oid NOT NULL,
	required_column_update boolean NOT NULL,
	ddl_command text NOT NULL,
	ddl_lsn pg_lsn NOT NULL,
	ddl_time timestamptz NOT NULL,
	ddl_id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY
);
CREATE INDEX ddl_history_object_id_idx ON cdc.ddl_history (object_id);
COMMENT ON TABLE cdc.ddl_history IS
	'commands on captured tables that are not changes of rows, one row for each capture instance';
COMMENT ON COLUMN cdc.ddl_history.source_object_id IS
	'oid of the table that the command was about: the source or a partition of it';
COMMENT ON COLUMN cdc.ddl_history.object_id IS 'oid of the change table';
COMMENT ON COLUMN cdc.ddl_history.required_column_update IS
	'whether the type of a captured column changed';
COMMENT ON COLUMN cdc.ddl_history.ddl_command IS 'the command';
COMMENT ON COLUMN cdc.ddl_history.ddl_lsn IS 'commit LSN of the command';
COMMENT ON COLUMN cdc.ddl_history.ddl_time IS 'commit time of the command';
COMMENT ON COLUMN cdc.ddl_history.ddl_id IS 'number in the order of capture';
COMMENT ON SEQUENCE cdc.ddl_history_ddl_id_seq IS 'ddl_history.ddl_id';

CREATE TABLE cdc.lsn_time_mapping (
	start_lsn pg_lsn PRIMARY KEY,
	tran_begin_time timestamptz,
	tran_end_time timestamptz NOT NULL,
	tran_id xid8 NOT NULL,
	tran_begin_lsn pg_lsn,
	first_ordinal bigint NOT NULL,
	change_count bigint NOT NULL
);
CREATE INDEX lsn_time_mapping_tran_end_time_idx ON cdc.lsn_time_mapping (tran_end_time, start_lsn);
COMMENT ON TABLE cdc.lsn_time_mapping IS
	'captured transactions: commit LSN, commit time and number of changes';
COMMENT ON COLUMN cdc.lsn_time_mapping.start_lsn IS
	'commit LSN: __$start_lsn of its change rows; of a dummy row: a record without changes';
COMMENT ON COLUMN cdc.lsn_time_mapping.tran_begin_time IS
	'estimate: commit time of the newest transaction that was decoded before this one began';
COMMENT ON COLUMN cdc.lsn_time_mapping.tran_end_time IS
	'commit time; never earlier than that of the row before';
COMMENT ON COLUMN cdc.lsn_time_mapping.tran_id IS 'transaction id; 0 in dummy rows, which have no changes';
COMMENT ON COLUMN cdc.lsn_time_mapping.tran_begin_lsn IS
	'first WAL record of the transaction; NULL in dummy rows';
COMMENT ON COLUMN cdc.lsn_time_mapping.first_ordinal IS
	'number of its first change, counted over all transactions of the database from 1';
COMMENT ON COLUMN cdc.lsn_time_mapping.change_count IS 'number of its changes: the highest __$command_id';

CREATE TABLE cdc.cdc_jobs (
	database_id oid NOT NULL,
	job_type text NOT NULL CHECK (job_type OPERATOR(pg_catalog.=) ANY (ARRAY['capture'::pg_catalog.text, 'cleanup'::pg_catalog.text])),
	job_id uuid NOT NULL DEFAULT pg_catalog.gen_random_uuid(),
	maxtrans integer NOT NULL,
	maxscans integer NOT NULL,
	continuous boolean NOT NULL,
	pollinginterval bigint NOT NULL,
	retention bigint NOT NULL,
	threshold bigint NOT NULL,
	started boolean NOT NULL DEFAULT true,
	start_time time,
	every interval,
	active_window text,
	schedule_from timestamptz,
	PRIMARY KEY (job_type)
);
COMMENT ON TABLE cdc.cdc_jobs IS
	'capture and cleanup job of this database';
COMMENT ON COLUMN cdc.cdc_jobs.database_id IS 'oid of this database';
COMMENT ON COLUMN cdc.cdc_jobs.job_type IS 'capture or cleanup';
COMMENT ON COLUMN cdc.cdc_jobs.job_id IS 'unique id of the job';
COMMENT ON COLUMN cdc.cdc_jobs.maxtrans IS 'capture: transactions of one scan at most';
COMMENT ON COLUMN cdc.cdc_jobs.maxscans IS 'capture: scans before a wait or the end of a run';
COMMENT ON COLUMN cdc.cdc_jobs.continuous IS 'capture: false: one run for each start';
COMMENT ON COLUMN cdc.cdc_jobs.pollinginterval IS
	'capture: seconds between runs; 0: no wait, commits wake the worker';
COMMENT ON COLUMN cdc.cdc_jobs.retention IS 'cleanup: minutes for which changes are kept';
COMMENT ON COLUMN cdc.cdc_jobs.threshold IS 'cleanup: rows deleted by one transaction at most';
COMMENT ON COLUMN cdc.cdc_jobs.started IS 'false after sp_cdc_stop_job; kept across restarts';
COMMENT ON COLUMN cdc.cdc_jobs.start_time IS 'cleanup: time of day at which it runs; NULL for capture';
COMMENT ON COLUMN cdc.cdc_jobs.every IS 'cleanup: time between two runs, counted from start_time; NULL for capture';
COMMENT ON COLUMN cdc.cdc_jobs.active_window IS
	'capture: part of the day in which it runs, as 22:00-06:00; NULL: always';
COMMENT ON COLUMN cdc.cdc_jobs.schedule_from IS
	'cleanup: since when this schedule counts; runs due before are not made up for';

-- Written by the cleanup worker; the schedule counts from the newest run of the job.
CREATE TABLE cdc.cleanup_runs (
	run_id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
	request text NOT NULL,
	started_at timestamptz NOT NULL,
	ended_at timestamptz,
	status text NOT NULL,
	low_water_mark pg_lsn,
	leaves_dropped bigint NOT NULL,
	rows_deleted bigint NOT NULL,
	mapping_rows_deleted bigint NOT NULL,
	message text
);
COMMENT ON TABLE cdc.cleanup_runs IS 'the last 100 runs of cleanup';
COMMENT ON COLUMN cdc.cleanup_runs.run_id IS 'number of the run';
COMMENT ON COLUMN cdc.cleanup_runs.request IS 'job, or change table for sp_cdc_cleanup_change_table';
COMMENT ON COLUMN cdc.cleanup_runs.started_at IS 'when it began';
COMMENT ON COLUMN cdc.cleanup_runs.ended_at IS 'when it ended; NULL while it runs';
COMMENT ON COLUMN cdc.cleanup_runs.status IS
	'running, succeeded, failed (tried again), stopped (by sp_cdc_stop_job), interrupted (the worker died)';
COMMENT ON COLUMN cdc.cleanup_runs.low_water_mark IS
	'low ends below were raised to this; NULL: nothing was mapped yet';
COMMENT ON COLUMN cdc.cleanup_runs.leaves_dropped IS 'leaf partitions that were dropped as a whole';
COMMENT ON COLUMN cdc.cleanup_runs.rows_deleted IS 'change rows that were deleted one by one';
COMMENT ON COLUMN cdc.cleanup_runs.mapping_rows_deleted IS 'rows of lsn_time_mapping that were deleted';
COMMENT ON COLUMN cdc.cleanup_runs.message IS 'the first error; NULL: none';
COMMENT ON SEQUENCE cdc.cleanup_runs_run_id_seq IS 'cleanup_runs.run_id';

-- Stretches of the log that capture could not read, written by the capture worker and by
-- resume_after_gap and discard_kept_wal. The query functions refuse to read across them.
CREATE TABLE cdc.gaps (
	gap_id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
	object_id oid,
	start_lsn pg_lsn NOT NULL,
	end_lsn pg_lsn,
	reason text NOT NULL,
	detail text,
	detected_at timestamptz NOT NULL DEFAULT pg_catalog.now()
);
COMMENT ON TABLE cdc.gaps IS
	'stretches of the log whose changes may be missing in the change tables';
COMMENT ON COLUMN cdc.gaps.gap_id IS 'number of the gap';
COMMENT ON COLUMN cdc.gaps.object_id IS 'oid of the change table; NULL: all change tables of the database';
COMMENT ON COLUMN cdc.gaps.start_lsn IS 'transactions with this commit LSN or a greater one may be missing ...';
COMMENT ON COLUMN cdc.gaps.end_lsn IS
	'... up to before this one: from here on nothing is missing; NULL: open, capture does not go on yet';
COMMENT ON COLUMN cdc.gaps.reason IS 'why';
COMMENT ON COLUMN cdc.gaps.detail IS 'with positions and names';
COMMENT ON COLUMN cdc.gaps.detected_at IS 'when it was noticed';
COMMENT ON SEQUENCE cdc.gaps_gap_id_seq IS 'gaps.gap_id';

-- Who this database was when it was enabled: a copy of it, or a new slot, is a gap and not a resume.
CREATE TABLE cdc._identity (
	one_row boolean PRIMARY KEY DEFAULT true CHECK (one_row),
	system_identifier bigint NOT NULL,
	timeline integer NOT NULL,
	database_id oid NOT NULL,
	slot_name name NOT NULL,
	start_lsn pg_lsn NOT NULL,
	enabled_at timestamptz NOT NULL DEFAULT pg_catalog.now()
);
COMMENT ON TABLE cdc._identity IS
	'one row when the database is enabled: who it was then';
COMMENT ON COLUMN cdc._identity.one_row IS 'true: there is one row at most';
COMMENT ON COLUMN cdc._identity.system_identifier IS 'of the server, as in pg_control_system()';
COMMENT ON COLUMN cdc._identity.timeline IS 'timeline on which capture last started';
COMMENT ON COLUMN cdc._identity.database_id IS 'oid of the database';
COMMENT ON COLUMN cdc._identity.slot_name IS 'logical replication slot of the decoder';
COMMENT ON COLUMN cdc._identity.start_lsn IS 'where the slot began';
COMMENT ON COLUMN cdc._identity.enabled_at IS 'when';

-- Captured up to here: written in the same transaction as the change rows of each batch.
CREATE TABLE cdc._progress (
	captured_lsn pg_lsn NOT NULL,
	next_ordinal bigint NOT NULL,
	last_start_lsn pg_lsn NOT NULL,
	last_end_time timestamptz NOT NULL
) WITH (fillfactor = 10);
COMMENT ON TABLE cdc._progress IS
	'one row when the database is enabled: how far capture has come';
COMMENT ON COLUMN cdc._progress.captured_lsn IS
	'transactions whose commit record ends at or before are captured';
COMMENT ON COLUMN cdc._progress.next_ordinal IS 'number of the next change';
COMMENT ON COLUMN cdc._progress.last_start_lsn IS 'newest start_lsn given to lsn_time_mapping';
COMMENT ON COLUMN cdc._progress.last_end_time IS 'its tran_end_time';

-- Errors of the processes of this database: dm_cdc_errors shows them. Written by the process that has failed, in a
-- transaction of its own.
CREATE TABLE cdc._errors (
	error_id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
	session_id integer NOT NULL,
	phase_number integer NOT NULL,
	entry_time timestamptz NOT NULL,
	error_number integer,
	error_severity integer NOT NULL,
	error_state integer NOT NULL,
	error_message text,
	start_lsn pg_lsn NOT NULL,
	begin_lsn pg_lsn NOT NULL,
	sequence_value pg_lsn NOT NULL,
	sqlstate text NOT NULL,
	detail text,
	hint text,
	process text NOT NULL,
	first_time timestamptz NOT NULL,
	occurrences bigint NOT NULL
);
COMMENT ON TABLE cdc._errors IS 'errors of the last sessions';
COMMENT ON COLUMN cdc._errors.error_id IS 'order of the errors';
COMMENT ON COLUMN cdc._errors.session_id IS 'as in dm_cdc_errors, and so are the others';
COMMENT ON COLUMN cdc._errors.phase_number IS 'phase';
COMMENT ON COLUMN cdc._errors.entry_time IS 'when it happened, the last time';
COMMENT ON COLUMN cdc._errors.error_number IS 'SQL Server''s number';
COMMENT ON COLUMN cdc._errors.error_severity IS '16';
COMMENT ON COLUMN cdc._errors.error_state IS '1';
COMMENT ON COLUMN cdc._errors.error_message IS 'message';
COMMENT ON COLUMN cdc._errors.start_lsn IS 'start of the session';
COMMENT ON COLUMN cdc._errors.begin_lsn IS 'first record of the transaction';
COMMENT ON COLUMN cdc._errors.sequence_value IS '__$seqval of the row';
COMMENT ON COLUMN cdc._errors.sqlstate IS 'SQLSTATE';
COMMENT ON COLUMN cdc._errors.detail IS 'detail';
COMMENT ON COLUMN cdc._errors.hint IS 'hint';
COMMENT ON COLUMN cdc._errors.process IS 'which process';
COMMENT ON COLUMN cdc._errors.first_time IS 'when it happened first';
COMMENT ON COLUMN cdc._errors.occurrences IS 'how often';
COMMENT ON SEQUENCE cdc._errors_error_id_seq IS '_errors.error_id';

-- The replica identity each source table had before, to put back: i = index_name is used.
CREATE TABLE cdc._replica_identity (
	source_object_id oid PRIMARY KEY,
	former "char" NOT NULL,
	index_name name
);
COMMENT ON TABLE cdc._replica_identity IS
	'replica identity that captured tables and partitions had before';
COMMENT ON COLUMN cdc._replica_identity.source_object_id IS 'oid of the table or partition';
COMMENT ON COLUMN cdc._replica_identity.former IS 'as pg_class.relreplident';
COMMENT ON COLUMN cdc._replica_identity.index_name IS 'index that was used; NULL: none';

-- Instances whose source was dropped, once everything before the drop is captured. Not in change_tables: the
-- writer must not wait there for a session that is disabling the instance.
CREATE TABLE cdc._source_drops (
	instance_id integer PRIMARY KEY,
	drop_lsn pg_lsn NOT NULL
);
COMMENT ON TABLE cdc._source_drops IS
	'capture instances whose source table was dropped and captured to its end';
COMMENT ON COLUMN cdc._source_drops.instance_id IS 'as change_tables.instance_id';
COMMENT ON COLUMN cdc._source_drops.drop_lsn IS 'commit LSN of the drop';

-- Low ends that could not be written into change_tables yet, because another transaction holds the row.
CREATE TABLE cdc._instance_start (
	instance_id integer PRIMARY KEY,
	start_lsn pg_lsn NOT NULL
);
COMMENT ON TABLE cdc._instance_start IS
	'low ends on their way to change_tables.start_lsn; usually empty';
COMMENT ON COLUMN cdc._instance_start.instance_id IS 'capture instance';
COMMENT ON COLUMN cdc._instance_start.start_lsn IS 'its low end';

-- Events for the capture worker, in WAL order with the data. Always empty: rows are inserted and
-- deleted in one breath, the WAL record is what is read.
CREATE TABLE cdc._ddl_queue (
	kind "char" NOT NULL,
	instance_id integer NOT NULL,
	object_id oid NOT NULL,
	source_object_id oid NOT NULL,
	command text
);
COMMENT ON TABLE cdc._ddl_queue IS
	'events for the capture worker in the log; always empty';
COMMENT ON COLUMN cdc._ddl_queue.kind IS
	'E: enabled, D: disabled, C: command on the source, U: the same with a new type of a captured column, X: source dropped';
COMMENT ON COLUMN cdc._ddl_queue.instance_id IS 'capture instance';
COMMENT ON COLUMN cdc._ddl_queue.object_id IS 'oid of the change table';
COMMENT ON COLUMN cdc._ddl_queue.source_object_id IS 'oid of the source table';
COMMENT ON COLUMN cdc._ddl_queue.command IS 'text for ddl_history';

-- Default privileges of the installing role must not open any of this to anybody.
CREATE FUNCTION cdc._clear_default_privileges() RETURNS void
LANGUAGE c
AS 'MODULE_PATHNAME', 'cdc_clear_default_privileges';
REVOKE ALL ON FUNCTION cdc._clear_default_privileges() FROM PUBLIC;
SELECT cdc._clear_default_privileges();
DROP FUNCTION cdc._clear_default_privileges();

--------------------------------------------------------------------------------
-- 2. Enable and disable tables
--------------------------------------------------------------------------------

GRANT USAGE ON SCHEMA cdc TO PUBLIC;

-- Whoever watches over the database or owns it; everybody else learns of a gap by the error.
GRANT SELECT ON cdc.gaps TO pg_monitor, pg_database_owner;

/*
 * sp_cdc_enable_table: captures the changes of a table from this call on, once it commits.
 *
 * source_schema           schema of the table; required
 * source_name             ordinary or partitioned table; required, taken as stored: no quotes, no folding
 * role_name               gating role: only its members may read the changes; NULL: no gating role.
 *                         Created when missing. It has no default: an ungated table must be asked for
 * capture_instance        name of the instance, at most 40 bytes; NULL: <schema>_<table>
 * supports_net_changes    whether to make the net-changes function; NULL: if there is a row identifier
 * index_name              unique index on NOT NULL columns that identifies rows; NULL: the primary key
 * captured_column_list    'a, "b,c", [d]'; must hold the row identifier; NULL: all columns
 * filegroup_name          tablespace of the change table; NULL: the database's
 * allow_partition_switch  whether partitions may be attached and detached
 * before_image            'full': before images of whole rows, sets REPLICA IDENTITY FULL;
 *                         'key': only the row identifier
 * truncate_action         'refuse' TRUNCATE of the table, or 'record' it in ddl_history
 * drop_action             'remove' the instance when the table is dropped, or 'keep' its changes
 *                         until retention has emptied it
 *
 * One transaction, the caller's; on any error nothing has changed. Locks the table and each
 * partition for a short time (ACCESS EXCLUSIVE when the replica identity changes, else SHARE ROW
 * EXCLUSIVE); lock_timeout applies. At most two instances per table.
 *
 * Errors: 55000 not enabled (SQL Server 22901), index not usable (22980), no row identifier (22939), a
 * publication with fewer columns; 22004, 22023 parameters (22963, 22907, 22844, 22942, 22943, 22965);
 * 42P01 no such table (22931); 42809 not a table to capture (22974), index not unique (22929) or
 * nullable (22838); 42501 not the owner (22904), role cannot be created (22944); 42710 name in
 * use (22926); 42622 name too long (22927); 42602 name invalid (22932, 22938); 54000 third instance
 * (22962); 42704 no such index (22928) or tablespace (22973); 42703 no such column (22930); 42939
 * reserved column name (22975); 54011 too many columns (22925, 22865).
 *
 * Privilege: owner of the table, or superuser.
 */
CREATE PROCEDURE cdc.sp_cdc_enable_table(
	source_schema text,
	source_name text,
	role_name text,
	capture_instance text DEFAULT NULL,
	supports_net_changes boolean DEFAULT NULL,
	index_name text DEFAULT NULL,
	captured_column_list text DEFAULT NULL,
	filegroup_name text DEFAULT NULL,
	allow_partition_switch boolean DEFAULT true,
	before_image text DEFAULT 'full',
	truncate_action text DEFAULT 'refuse',
	drop_action text DEFAULT 'remove')
LANGUAGE c
AS 'MODULE_PATHNAME', 'cdc_sp_cdc_enable_table';
REVOKE ALL ON PROCEDURE cdc.sp_cdc_enable_table(text, text, text, text, boolean, text, text, text, boolean, text, text, text) FROM PUBLIC;
GRANT EXECUTE ON PROCEDURE cdc.sp_cdc_enable_table(text, text, text, text, boolean, text, text, text, boolean, text, text, text) TO PUBLIC;
COMMENT ON PROCEDURE cdc.sp_cdc_enable_table(text, text, text, text, boolean, text, text, text, boolean, text, text, text) IS
	'captures the changes of a table: makes a capture instance';

/*
 * sp_cdc_disable_table: takes a capture instance, with its changes, away.
 *
 * source_schema, source_name  the table; required
 * capture_instance            the instance, or 'all' for every one of the table; required
 *
 * The query functions go at once, the change table as soon as capture comes to this commit. With the
 * table's last instance its former REPLICA IDENTITY comes back, unless somebody has
 * changed it since; with the database's last instance both jobs go. Gating roles stay.
 * An instance whose table has been dropped is disabled by its own name.
 *
 * Errors: 55000 database (SQL Server 22901) or table (22985) not enabled; 22004, 22023 parameters (22963);
 * 42P01 no such table (22931); 42704 instance of another table (22960); 42501 not the owner (22904).
 *
 * Privilege: owner of the table, or superuser.
 */
CREATE PROCEDURE cdc.sp_cdc_disable_table(
	source_schema text,
	source_name text,
	capture_instance text)
LANGUAGE c
AS 'MODULE_PATHNAME', 'cdc_sp_cdc_disable_table';
REVOKE ALL ON PROCEDURE cdc.sp_cdc_disable_table(text, text, text) FROM PUBLIC;
GRANT EXECUTE ON PROCEDURE cdc.sp_cdc_disable_table(text, text, text) TO PUBLIC;
COMMENT ON PROCEDURE cdc.sp_cdc_disable_table(text, text, text) IS
	'stops capturing a table: removes one capture instance, or all of the table';

--------------------------------------------------------------------------------
-- 3. Query functions
--
-- cdc.fn_cdc_get_all_changes_<ci> and cdc.fn_cdc_get_net_changes_<ci> are made by
-- sp_cdc_enable_table (src/query/query_functions.hpp). These are what they are made of: they run as the
-- caller, inside the caller's query, so everybody may execute them, and each of them looks at the caller's
-- rights itself or tells nothing.
--------------------------------------------------------------------------------

/*
 * _check_window: the first branch of each query function. No row, or an error.
 *
 * instance_id        change_tables.instance_id
 * net_changes        which of the two functions asks: they have different options
 * from_lsn, to_lsn   the range, both ends included
 * row_filter_option  as given by the user
 *
 * Errors: 42501 no right to read the instance (SQL Server 229); 42704 it has been disabled; SC001 before the
 * low end, SC002 beyond the high end or not started, SC003 nothing new yet, SC004 across a gap,
 * SC005 bad argument (all SQL Server 313).
 *
 * Parallel restricted: it has to run, in the leader, before a row comes out of the other branch.
 */
CREATE FUNCTION cdc._check_window(
	instance_id integer,
	net_changes boolean,
	from_lsn pg_lsn,
	to_lsn pg_lsn,
	row_filter_option text)
RETURNS SETOF record
LANGUAGE c STABLE PARALLEL RESTRICTED ROWS 1
AS 'MODULE_PATHNAME', 'cdc_check_window';
REVOKE ALL ON FUNCTION cdc._check_window(integer, boolean, pg_lsn, pg_lsn, text) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION cdc._check_window(integer, boolean, pg_lsn, pg_lsn, text) TO PUBLIC;
COMMENT ON FUNCTION cdc._check_window(integer, boolean, pg_lsn, pg_lsn, text) IS
	'raises unless the caller may read these changes and they are complete';

/* _may_read: whether the current user may read an instance's changes; the gate in its view. */
CREATE FUNCTION cdc._may_read(instance_id integer)
RETURNS boolean
LANGUAGE c STABLE STRICT PARALLEL SAFE
AS 'MODULE_PATHNAME', 'cdc_may_read';
REVOKE ALL ON FUNCTION cdc._may_read(integer) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION cdc._may_read(integer) TO PUBLIC;
COMMENT ON FUNCTION cdc._may_read(integer) IS
	'whether the current user may read the changes of a capture instance';

/*
 * _option_is: compares a row_filter_option as _check_window does, without case and outer white
 * space. Leakproof, so that it passes the view's security barrier.
 */
CREATE FUNCTION cdc._option_is(row_filter_option text, name text)
RETURNS boolean
LANGUAGE c IMMUTABLE STRICT LEAKPROOF PARALLEL SAFE
AS 'MODULE_PATHNAME', 'cdc_option_is';
REVOKE ALL ON FUNCTION cdc._option_is(text, text) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION cdc._option_is(text, text) TO PUBLIC;
COMMENT ON FUNCTION cdc._option_is(text, text) IS
	'whether a row_filter_option is the one named, whatever its case';

/*
 * _net_change: what the change rows of one row identifier come to, in any order of input: one row of
 * the given type, ("__$start_lsn", "__$operation", "__$update_mask", columns...). Its operation is
 * NULL when there is no net change. See src/query/net_aggregate.cpp.
 */
CREATE FUNCTION cdc._net_change_add(internal, row_type anyelement, start_lsn pg_lsn,
	command_id integer, operation integer, update_mask bytea, VARIADIC columns "any")
RETURNS internal
LANGUAGE c IMMUTABLE PARALLEL SAFE
AS 'MODULE_PATHNAME', 'cdc_net_change_add';
REVOKE ALL ON FUNCTION cdc._net_change_add(internal, anyelement, pg_lsn, integer, integer, bytea, "any") FROM PUBLIC;
COMMENT ON FUNCTION cdc._net_change_add(internal, anyelement, pg_lsn, integer, integer, bytea, "any") IS
	'transition function of cdc._net_change';

CREATE FUNCTION cdc._net_change_row(internal, row_type anyelement, start_lsn pg_lsn,
	command_id integer, operation integer, update_mask bytea, VARIADIC columns "any")
RETURNS anyelement
LANGUAGE c IMMUTABLE PARALLEL SAFE
AS 'MODULE_PATHNAME', 'cdc_net_change_row';
REVOKE ALL ON FUNCTION cdc._net_change_row(internal, anyelement, pg_lsn, integer, integer, bytea, "any") FROM PUBLIC;
COMMENT ON FUNCTION cdc._net_change_row(internal, anyelement, pg_lsn, integer, integer, bytea, "any") IS
	'final function of cdc._net_change';

CREATE AGGREGATE cdc._net_change(row_type anyelement, start_lsn pg_lsn, command_id integer,
	operation integer, update_mask bytea, VARIADIC columns "any")
(
	SFUNC = cdc._net_change_add,
	STYPE = internal,
	SSPACE = 256,
	FINALFUNC = cdc._net_change_row,
	FINALFUNC_EXTRA,
	FINALFUNC_MODIFY = READ_ONLY,
	PARALLEL = SAFE
);
REVOKE ALL ON FUNCTION cdc._net_change(anyelement, pg_lsn, integer, integer, bytea, "any") FROM PUBLIC;
GRANT EXECUTE ON FUNCTION cdc._net_change(anyelement, pg_lsn, integer, integer, bytea, "any") TO PUBLIC;
COMMENT ON AGGREGATE cdc._net_change(anyelement, pg_lsn, integer, integer, bytea, "any") IS
	'net change of one row identifier, for the net-changes functions';

--------------------------------------------------------------------------------
-- 4. LSN and time functions
--
-- Everybody may call them. Those that look at the mapping are STABLE: within one statement they do
-- not move, however much is captured meanwhile.
--------------------------------------------------------------------------------

/*
 * fn_cdc_get_min_lsn: the low end of a capture instance's LSN window.
 *
 * capture_instance  its name; NULL gives NULL
 *
 * 0/0 when there is no such instance, the caller may not read it, or it has not started yet.
 */
CREATE FUNCTION cdc.fn_cdc_get_min_lsn(capture_instance text)
RETURNS pg_lsn
LANGUAGE c STABLE STRICT PARALLEL SAFE
AS 'MODULE_PATHNAME', 'cdc_fn_cdc_get_min_lsn';
REVOKE ALL ON FUNCTION cdc.fn_cdc_get_min_lsn(text) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION cdc.fn_cdc_get_min_lsn(text) TO PUBLIC;
COMMENT ON FUNCTION cdc.fn_cdc_get_min_lsn(text) IS
	'low end of the LSN window of a capture instance; 0/0 when there is none';

/*
 * fn_cdc_get_max_lsn: the high end of the LSN window, the same for all instances: the greatest
 * start_lsn of cdc.lsn_time_mapping. NULL while nothing has been captured.
 */
CREATE FUNCTION cdc.fn_cdc_get_max_lsn()
RETURNS pg_lsn
LANGUAGE c STABLE STRICT PARALLEL SAFE
AS 'MODULE_PATHNAME', 'cdc_fn_cdc_get_max_lsn';
REVOKE ALL ON FUNCTION cdc.fn_cdc_get_max_lsn() FROM PUBLIC;
GRANT EXECUTE ON FUNCTION cdc.fn_cdc_get_max_lsn() TO PUBLIC;
COMMENT ON FUNCTION cdc.fn_cdc_get_max_lsn() IS 'high end of the LSN window';

/*
 * fn_cdc_increment_lsn, fn_cdc_decrement_lsn: the next and the previous LSN; nothing lies between.
 *
 * lsn  NULL gives NULL
 *
 * Errors: 22003 after FFFFFFFF/FFFFFFFF, before 0/0.
 */
CREATE FUNCTION cdc.fn_cdc_increment_lsn(lsn pg_lsn)
RETURNS pg_lsn
LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE
AS 'MODULE_PATHNAME', 'cdc_fn_cdc_increment_lsn';
REVOKE ALL ON FUNCTION cdc.fn_cdc_increment_lsn(pg_lsn) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION cdc.fn_cdc_increment_lsn(pg_lsn) TO PUBLIC;
COMMENT ON FUNCTION cdc.fn_cdc_increment_lsn(pg_lsn) IS 'the LSN next after this one';

CREATE FUNCTION cdc.fn_cdc_decrement_lsn(lsn pg_lsn)
RETURNS pg_lsn
LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE
AS 'MODULE_PATHNAME', 'cdc_fn_cdc_decrement_lsn';
REVOKE ALL ON FUNCTION cdc.fn_cdc_decrement_lsn(pg_lsn) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION cdc.fn_cdc_decrement_lsn(pg_lsn) TO PUBLIC;
COMMENT ON FUNCTION cdc.fn_cdc_decrement_lsn(pg_lsn) IS 'the LSN next before this one';

/*
 * fn_cdc_map_lsn_to_time: the commit time of a captured transaction.
 *
 * lsn  its commit LSN, as in "__$start_lsn"; NULL gives NULL
 *
 * NULL when no row of cdc.lsn_time_mapping has exactly this LSN.
 */
CREATE FUNCTION cdc.fn_cdc_map_lsn_to_time(lsn pg_lsn)
RETURNS timestamptz
LANGUAGE c STABLE STRICT PARALLEL SAFE
AS 'MODULE_PATHNAME', 'cdc_fn_cdc_map_lsn_to_time';
REVOKE ALL ON FUNCTION cdc.fn_cdc_map_lsn_to_time(pg_lsn) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION cdc.fn_cdc_map_lsn_to_time(pg_lsn) TO PUBLIC;
COMMENT ON FUNCTION cdc.fn_cdc_map_lsn_to_time(pg_lsn) IS
	'commit time of the transaction with this commit LSN';

/*
 * fn_cdc_map_time_to_lsn: the commit LSN that is nearest to a time on one side of it.
 *
 * relational_operator  'largest less than', 'largest less than or equal', 'smallest greater than' or
 *                      'smallest greater than or equal'; NULL gives NULL
 * tracking_time        NULL gives NULL
 *
 * Rows of cdc.lsn_time_mapping that share the time: the largest LSN for "largest", the smallest for
 * "smallest". NULL when there is no such row: for "smallest" that means that capture has not
 * reached this time yet.
 *
 * Errors: 22023 another operator.
 */
CREATE FUNCTION cdc.fn_cdc_map_time_to_lsn(relational_operator text, tracking_time timestamptz)
RETURNS pg_lsn
LANGUAGE c STABLE STRICT PARALLEL SAFE
AS 'MODULE_PATHNAME', 'cdc_fn_cdc_map_time_to_lsn';
REVOKE ALL ON FUNCTION cdc.fn_cdc_map_time_to_lsn(text, timestamptz) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION cdc.fn_cdc_map_time_to_lsn(text, timestamptz) TO PUBLIC;
COMMENT ON FUNCTION cdc.fn_cdc_map_time_to_lsn(text, timestamptz) IS
	'commit LSN nearest to a time, on the side that the operator says';

--------------------------------------------------------------------------------
-- 5. Mask functions
--
-- "__$update_mask" has one bit for each captured column; the bit of ordinal 1 is the least
-- significant of the last byte.
--------------------------------------------------------------------------------

/*
 * fn_cdc_get_column_ordinal: the position of a captured column in the update mask.
 *
 * capture_instance  its name; NULL gives NULL
 * column_name       as captured; NULL gives NULL
 *
 * NULL when there is no such instance or column, or the caller may not read the instance.
 */
CREATE FUNCTION cdc.fn_cdc_get_column_ordinal(capture_instance text, column_name text)
RETURNS integer
LANGUAGE c STABLE STRICT PARALLEL SAFE
AS 'MODULE_PATHNAME', 'cdc_fn_cdc_get_column_ordinal';
REVOKE ALL ON FUNCTION cdc.fn_cdc_get_column_ordinal(text, text) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION cdc.fn_cdc_get_column_ordinal(text, text) TO PUBLIC;
COMMENT ON FUNCTION cdc.fn_cdc_get_column_ordinal(text, text) IS
	'position of a captured column in the update mask';

/*
 * fn_cdc_has_column_changed: whether the update mask says that a captured column has changed.
 *
 * capture_instance, column_name  as for fn_cdc_get_column_ordinal
 * update_mask                    "__$update_mask" of a change row; NULL gives NULL
 *
 * NULL when there is no such instance or column, or the caller may not read the instance.
 */
CREATE FUNCTION cdc.fn_cdc_has_column_changed(capture_instance text, column_name text, update_mask bytea)
RETURNS boolean
LANGUAGE c STABLE STRICT PARALLEL SAFE
AS 'MODULE_PATHNAME', 'cdc_fn_cdc_has_column_changed';
REVOKE ALL ON FUNCTION cdc.fn_cdc_has_column_changed(text, text, bytea) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION cdc.fn_cdc_has_column_changed(text, text, bytea) TO PUBLIC;
COMMENT ON FUNCTION cdc.fn_cdc_has_column_changed(text, text, bytea) IS
	'whether a captured column has changed, by its name';

/*
 * fn_cdc_is_bit_set: whether the update mask says that the column of this ordinal has changed.
 *
 * position     ordinal as from fn_cdc_get_column_ordinal; outside the mask: false; NULL gives NULL
 * update_mask  "__$update_mask" of a change row; NULL gives NULL
 */
CREATE FUNCTION cdc.fn_cdc_is_bit_set("position" integer, update_mask bytea)
RETURNS boolean
LANGUAGE c IMMUTABLE STRICT LEAKPROOF PARALLEL SAFE
AS 'MODULE_PATHNAME', 'cdc_fn_cdc_is_bit_set';
REVOKE ALL ON FUNCTION cdc.fn_cdc_is_bit_set(integer, bytea) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION cdc.fn_cdc_is_bit_set(integer, bytea) TO PUBLIC;
COMMENT ON FUNCTION cdc.fn_cdc_is_bit_set(integer, bytea) IS
	'whether a captured column has changed, by its ordinal';

--------------------------------------------------------------------------------
-- 6. Help functions
--
-- Everybody may call them, and sees the instances whose changes he may read.
--------------------------------------------------------------------------------

/*
 * sp_cdc_help_change_data_capture: the capture instances.
 *
 * source_schema, source_name  one table, 0 to 2 rows; both NULL: every instance that the caller may read
 *
 * Errors: 55000 database (SQL Server 22901) or table (22985) not enabled; 22004 one of two given
 * (22972); 42P01 no such table (22931); 42704 not enabled or not for the caller (22981).
 */
CREATE FUNCTION cdc.sp_cdc_help_change_data_capture(
	INOUT source_schema text DEFAULT NULL,
	source_name text DEFAULT NULL,
	OUT source_table text,
	OUT capture_instance text,
	OUT object_id oid,
	OUT source_object_id oid,
	OUT start_lsn pg_lsn,
	OUT end_lsn pg_lsn,
	OUT supports_net_changes boolean,
	OUT has_drop_pending boolean,
	OUT role_name text,
	OUT index_name text,
	OUT filegroup_name text,
	OUT create_date timestamptz,
	OUT index_column_list text,
	OUT captured_column_list text)
RETURNS SETOF record
LANGUAGE c STABLE PARALLEL SAFE ROWS 10
AS 'MODULE_PATHNAME', 'cdc_sp_cdc_help_change_data_capture';
REVOKE ALL ON FUNCTION cdc.sp_cdc_help_change_data_capture(text, text) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION cdc.sp_cdc_help_change_data_capture(text, text) TO PUBLIC;
COMMENT ON FUNCTION cdc.sp_cdc_help_change_data_capture(text, text) IS
	'capture instances, of one table or all';

/*
 * sp_cdc_get_captured_columns: the captured columns of an instance.
 *
 * capture_instance  its name; required
 *
 * Lengths and precisions are those of the information schema.
 *
 * Errors: 55000 database not enabled (SQL Server 22901); 22004, 22023 no name (22963); 42704 no
 * such instance or not for the caller (22981).
 */
CREATE FUNCTION cdc.sp_cdc_get_captured_columns(
	OUT source_schema text,
	OUT source_table text,
	INOUT capture_instance text,
	OUT column_name text,
	OUT column_id integer,
	OUT column_ordinal integer,
	OUT data_type text,
	OUT character_maximum_length integer,
	OUT numeric_precision integer,
	OUT numeric_precision_radix integer,
	OUT numeric_scale integer,
	OUT datetime_precision integer)
RETURNS SETOF record
LANGUAGE c STABLE PARALLEL SAFE ROWS 20
AS 'MODULE_PATHNAME', 'cdc_sp_cdc_get_captured_columns';
REVOKE ALL ON FUNCTION cdc.sp_cdc_get_captured_columns(text) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION cdc.sp_cdc_get_captured_columns(text) TO PUBLIC;
COMMENT ON FUNCTION cdc.sp_cdc_get_captured_columns(text) IS
	'captured columns of a capture instance';

/*
 * sp_cdc_get_ddl_history: the DDL on the source of a capture instance since it was enabled, oldest first.
 *
 * capture_instance  required
 *
 * A command appears when capture has come to its commit, not when it is executed. One row for each command
 * and instance; several commands of one transaction share ddl_lsn and come in their order.
 *   source_schema, source_table, capture_instance  names as they are now
 *   required_column_update  whether the type of a captured column changed
 *   ddl_command             the statement, at most 32 kB of it
 *   ddl_lsn, ddl_time       commit LSN and commit time
 *
 * Errors: 55000 database not enabled (SQL Server 22901); 22004, 22023 parameter (22963); 42704 no such
 * instance, or no right to read it (22981).
 *
 * Privilege: as to read the instance's changes.
 */
CREATE FUNCTION cdc.sp_cdc_get_ddl_history(
	OUT source_schema text,
	OUT source_table text,
	INOUT capture_instance text,
	OUT required_column_update boolean,
	OUT ddl_command text,
	OUT ddl_lsn pg_lsn,
	OUT ddl_time timestamptz)
RETURNS SETOF record
LANGUAGE c STABLE PARALLEL SAFE ROWS 10
AS 'MODULE_PATHNAME', 'cdc_sp_cdc_get_ddl_history';
REVOKE ALL ON FUNCTION cdc.sp_cdc_get_ddl_history(text) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION cdc.sp_cdc_get_ddl_history(text) TO PUBLIC;
COMMENT ON FUNCTION cdc.sp_cdc_get_ddl_history(text) IS
	'DDL commands on the source of a capture instance';

--------------------------------------------------------------------------------
-- 6a. Wrapper functions
--
-- The generated functions belong to whoever creates them, and call cdc._wrapper_window: its signature stays.
--------------------------------------------------------------------------------

/*
 * sp_cdc_generate_wrapper_function: scripts that create functions which read changes by commit time.
 * Nothing is created by the call.
 *
 * capture_instance       NULL: all that the caller may read
 * closed_high_end_point  true: commit times in (start_time, end_time]; false: in [start_time,
 *                        end_time); NULL: true
 * column_list            captured columns to return, 'a, "b,c", [d]'; NULL or empty: all
 * update_flag_list       captured columns that get a "<column>_uflag"; NULL or empty: none
 *
 * Result: a row for fn_all_changes_<ci>, and one for fn_net_changes_<ci> if there are net changes. The script
 * names no schema: the function comes into the first of the caller's search_path.
 *
 * Errors: 55000 database not enabled (SQL Server 22901); 42704 no such instance or not for the caller
 * (22920); 22023 lists without an instance (22921), not a list (22942, 22965); 42703 column not
 * captured (22918, 22919); 42701 two columns of one name; 42622 name too long.
 */
CREATE FUNCTION cdc.sp_cdc_generate_wrapper_function(
	capture_instance text DEFAULT NULL,
	closed_high_end_point boolean DEFAULT true,
	column_list text DEFAULT NULL,
	update_flag_list text DEFAULT NULL,
	OUT function_name text,
	OUT create_script text)
RETURNS SETOF record
LANGUAGE c STABLE PARALLEL SAFE ROWS 10
AS 'MODULE_PATHNAME', 'cdc_sp_cdc_generate_wrapper_function';
REVOKE ALL ON FUNCTION cdc.sp_cdc_generate_wrapper_function(text, boolean, text, text) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION cdc.sp_cdc_generate_wrapper_function(text, boolean, text, text) TO PUBLIC;
COMMENT ON FUNCTION cdc.sp_cdc_generate_wrapper_function(text, boolean, text, text) IS
	'scripts of functions that read changes by commit time';

/*
 * renew_query_functions: makes the query functions of an instance anew, with the columns as they are.
 *
 * capture_instance  its name; required
 *
 * Capture does this by itself when the type of a captured column changes, unless an object of a user's
 * (a view) depends on the functions. Then they stay as they are, and cannot read what was captured
 * since the change, until that object is dropped and this is called. Privileges that were granted
 * on them are kept.
 *
 * Errors: 55000 database not enabled (SQL Server 22901); 22004, 22023 no name (22963); 42704 no such
 * instance or not for the caller (22981); 2BP01 something depends on the functions.
 * Privilege: owner of the source table or of the database.
 */
CREATE PROCEDURE cdc.renew_query_functions(capture_instance text)
LANGUAGE c
AS 'MODULE_PATHNAME', 'cdc_renew_query_functions';
REVOKE ALL ON PROCEDURE cdc.renew_query_functions(text) FROM PUBLIC;
GRANT EXECUTE ON PROCEDURE cdc.renew_query_functions(text) TO PUBLIC;
COMMENT ON PROCEDURE cdc.renew_query_functions(text) IS
	'makes the query functions of a capture instance anew after a change of type';

/*
 * _wrapper_window: the LSN range of a time window, one row; none when no transaction lies in it.
 *
 * capture_instance, closed_high_end_point  as above
 * net_changes                              which of the two functions asks
 * start_time, end_time                     NULL: the low, the high end
 * row_filter_option                        checked here too, since an empty window ends here
 *
 * Errors: 42704 no such instance or not for the caller (SQL Server 22981); SC001 a time before the low end,
 * SC002 beyond the high end or not started, SC005 bad argument (all 313).
 */
CREATE FUNCTION cdc._wrapper_window(
	capture_instance text,
	net_changes boolean,
	closed_high_end_point boolean,
	start_time timestamptz,
	end_time timestamptz,
	row_filter_option text,
	OUT from_lsn pg_lsn,
	OUT to_lsn pg_lsn)
RETURNS SETOF record
LANGUAGE c STABLE PARALLEL RESTRICTED ROWS 1
AS 'MODULE_PATHNAME', 'cdc_wrapper_window';
REVOKE ALL ON FUNCTION cdc._wrapper_window(text, boolean, boolean, timestamptz, timestamptz, text) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION cdc._wrapper_window(text, boolean, boolean, timestamptz, timestamptz, text) TO PUBLIC;
COMMENT ON FUNCTION cdc._wrapper_window(text, boolean, boolean, timestamptz, timestamptz, text) IS
	'LSN range of a time window, for the generated wrapper functions';

--------------------------------------------------------------------------------
-- Event triggers. They never make a command fail for a reason of their own; what they refuse on purpose
-- is listed in docs/limitations.md.
--------------------------------------------------------------------------------

CREATE FUNCTION cdc._on_ddl_command_start() RETURNS event_trigger
LANGUAGE c
AS 'MODULE_PATHNAME', 'cdc_on_ddl_command_start';
REVOKE ALL ON FUNCTION cdc._on_ddl_command_start() FROM PUBLIC;
COMMENT ON FUNCTION cdc._on_ddl_command_start() IS
	'refuses to attach or detach partitions where allow_partition_switch is false';

CREATE FUNCTION cdc._on_ddl_command_end() RETURNS event_trigger
LANGUAGE c
AS 'MODULE_PATHNAME', 'cdc_on_ddl_command_end';
REVOKE ALL ON FUNCTION cdc._on_ddl_command_end() FROM PUBLIC;
COMMENT ON FUNCTION cdc._on_ddl_command_end() IS
	'commands on captured tables: ddl_history, and the replica identity of partitions';

CREATE FUNCTION cdc._on_sql_drop() RETURNS event_trigger
LANGUAGE c
AS 'MODULE_PATHNAME', 'cdc_on_sql_drop';
REVOKE ALL ON FUNCTION cdc._on_sql_drop() FROM PUBLIC;
COMMENT ON FUNCTION cdc._on_sql_drop() IS
	'captured tables, partitions and columns that are dropped, and keys that must not be';

CREATE EVENT TRIGGER cdc_ddl_command_start ON ddl_command_start
	WHEN TAG IN ('ALTER TABLE')
	EXECUTE FUNCTION cdc._on_ddl_command_start();
ALTER EVENT TRIGGER cdc_ddl_command_start ENABLE ALWAYS;
COMMENT ON EVENT TRIGGER cdc_ddl_command_start IS 'change data capture: partitions that must not be switched';

CREATE EVENT TRIGGER cdc_ddl_command_end ON ddl_command_end
	WHEN TAG IN ('CREATE TABLE', 'ALTER TABLE', 'CREATE SCHEMA', 'ALTER SCHEMA', 'ALTER INDEX', 'ALTER TYPE',
		'CREATE PUBLICATION', 'ALTER PUBLICATION')
	EXECUTE FUNCTION cdc._on_ddl_command_end();
ALTER EVENT TRIGGER cdc_ddl_command_end ENABLE ALWAYS;
COMMENT ON EVENT TRIGGER cdc_ddl_command_end IS 'change data capture: commands on captured tables';

CREATE EVENT TRIGGER cdc_sql_drop ON sql_drop
	EXECUTE FUNCTION cdc._on_sql_drop();
ALTER EVENT TRIGGER cdc_sql_drop ENABLE ALWAYS;
COMMENT ON EVENT TRIGGER cdc_sql_drop IS 'change data capture: captured tables that are dropped';

--------------------------------------------------------------------------------
-- 7. Enable and disable the database, jobs, waiting
--------------------------------------------------------------------------------

-- Enables the current database: creates the replication slot cdc_<database oid>, the identity row
-- and starts the capture worker. A statement of its own: refused inside a transaction block and in
-- functions. Waits for transactions that are older than the slot; cancelling leaves nothing behind.
-- Errors: 42501 (SQL Server 22902), 25001 in a transaction, 55000 not preloaded or wal_level,
-- 53400 no free slot or worker slot. Enabled already: NOTICE (22905).
-- Privilege: superuser; the database's owner once a superuser has granted EXECUTE.
CREATE PROCEDURE cdc.sp_cdc_enable_db()
LANGUAGE c AS 'MODULE_PATHNAME', 'cdc_enable_db';
REVOKE ALL ON PROCEDURE cdc.sp_cdc_enable_db() FROM PUBLIC;
COMMENT ON PROCEDURE cdc.sp_cdc_enable_db() IS
	'enables the current database for change data capture';

-- Disables every table, removes all change tables and metadata, and drops the slot. Gating roles
-- stay. A statement of its own, as sp_cdc_enable_db.
-- Errors: 42501 (22902), 55000 not enabled (22901), 25001.
-- Privilege: as sp_cdc_enable_db.
CREATE PROCEDURE cdc.sp_cdc_disable_db()
LANGUAGE c AS 'MODULE_PATHNAME', 'cdc_disable_db';
REVOKE ALL ON PROCEDURE cdc.sp_cdc_disable_db() FROM PUBLIC;
COMMENT ON PROCEDURE cdc.sp_cdc_disable_db() IS
	'disables change data capture in the current database and removes everything it made';

-- Goes on after a gap of the whole database: drops what is left of the old slot, makes a new one, ends the
-- gap in cdc.gaps there and starts the capture job. What was committed in between is lost to
-- capture: consumers load the tables again and go on with from_lsn = end of the gap, which the
-- NOTICE names. In a copy of a captured database it makes capture begin there. A statement of its own, waits
-- and can be cancelled as sp_cdc_enable_db; interrupted at any point, it can be called again.
-- Errors: 42501 (SQL Server 22902), 25001 in a transaction, 55000 no gap, not enabled (22901), not
-- preloaded, wal_level, or the log is behind what was captured; 53400 no free slot or worker slot.
-- Privilege: as sp_cdc_enable_db.
CREATE PROCEDURE cdc.resume_after_gap()
LANGUAGE c AS 'MODULE_PATHNAME', 'cdc_resume_after_gap';
REVOKE ALL ON PROCEDURE cdc.resume_after_gap() FROM PUBLIC;
COMMENT ON PROCEDURE cdc.resume_after_gap() IS
	'goes on with capture after a gap: a new slot, from now on';

-- For emergencies, when WAL that capture has not read fills the disk: gives it up, records the gap,
-- and goes on from now as resume_after_gap does.
-- confirmed: true does it; false, the default, or NULL: an error that says what would be lost and freed.
-- Errors: 55000 not confirmed, and those of resume_after_gap. Privilege: as sp_cdc_enable_db.
CREATE PROCEDURE cdc.discard_kept_wal(confirmed boolean DEFAULT false)
LANGUAGE c AS 'MODULE_PATHNAME', 'cdc_discard_kept_wal';
REVOKE ALL ON PROCEDURE cdc.discard_kept_wal(boolean) FROM PUBLIC;
COMMENT ON PROCEDURE cdc.discard_kept_wal(boolean) IS
	'gives up the WAL that the slot keeps, records the gap, and captures from now on';

-- To be called before pg_upgrade, in each captured database, when no application writes any more: waits until
-- everything committed so far is captured, then ends capture, records that as a gap, and drops the slot, which
-- pg_upgrade cannot carry. On the new server resume_after_gap goes on. Instances, change tables, jobs and rights
-- come along. Called on second thoughts: resume_after_gap goes on in the old server, too.
-- timeout: how long to wait for capture, 0: not at all; NULL: 1 minute.
-- Errors: SC006 not captured in time, 55000 the job is stopped, and those of resume_after_gap, but for "no gap". Privilege: as
-- sp_cdc_enable_db.
CREATE PROCEDURE cdc.prepare_upgrade(timeout interval DEFAULT '1 minute')
LANGUAGE c AS 'MODULE_PATHNAME', 'cdc_prepare_upgrade';
REVOKE ALL ON PROCEDURE cdc.prepare_upgrade(interval) FROM PUBLIC;
COMMENT ON PROCEDURE cdc.prepare_upgrade(interval) IS
	'captures the rest, ends capture and drops the slot, so that pg_upgrade can carry the database over';

-- Adds a job that is not there, after sp_cdc_drop_job; both jobs come with the first enabled table by themselves.
-- job_type: 'capture' or 'cleanup'. start_job: whether to start it at once; NULL: true; a cleanup job then runs once.
-- Capture: maxtrans, transactions of one scan (> 0; NULL: 1000); maxscans, scans before a wait or the end of a run
-- (> 0; NULL: 10); continuous, false: one run for each start (NULL: true); pollinginterval, seconds between groups of
-- scans (0 to 86399; NULL: 0, commits wake the worker); active_window, part of the day in which it runs, as
-- '22:00-06:00' in the server's time zone, or 'always' (NULL: always).
-- Cleanup: retention, minutes for which changes are kept (1 to 52594800; NULL: 4320); threshold, rows deleted by
-- one transaction (> 0; NULL: 5000); start_time, time of day in the server's time zone (NULL: 02:00); every, time
-- between runs, at least 1 second (NULL: 1 day).
-- Errors: 42710 the job exists; 22023 (SQL Server 22992 job_type; 22991, 22970, 22990, 22999, 22994, 22850 out of range;
-- 22995 a cleanup parameter for the capture job, 22996 the reverse); 22004 no job_type (22963); 42501 (22904);
-- 55000 not enabled (22901). Privilege: owner of the database.
CREATE PROCEDURE cdc.sp_cdc_add_job(job_type text, start_job boolean DEFAULT true,
	maxtrans integer DEFAULT NULL, maxscans integer DEFAULT NULL, continuous boolean DEFAULT NULL,
	pollinginterval bigint DEFAULT NULL, retention bigint DEFAULT NULL, threshold bigint DEFAULT NULL,
	start_time time DEFAULT NULL, every interval DEFAULT NULL, active_window text DEFAULT NULL)
LANGUAGE c AS 'MODULE_PATHNAME', 'cdc_add_job';
COMMENT ON PROCEDURE cdc.sp_cdc_add_job(text, boolean, integer, integer, boolean, bigint, bigint, bigint, time, interval, text) IS
	'adds the capture or the cleanup job of the current database';

-- Changes parameters of a job. Arguments as sp_cdc_add_job; NULL: as it is. New values count from the next start of
-- the capture job, from the next run of the cleanup job. continuous false sets pollinginterval to 0, whatever is
-- given for it; a pollinginterval above 0 without continuous sets continuous to true.
-- Errors: as sp_cdc_add_job, and 42704 no such job (22997). Privilege: owner of the database.
CREATE PROCEDURE cdc.sp_cdc_change_job(job_type text DEFAULT 'capture',
	maxtrans integer DEFAULT NULL, maxscans integer DEFAULT NULL, continuous boolean DEFAULT NULL,
	pollinginterval bigint DEFAULT NULL, retention bigint DEFAULT NULL, threshold bigint DEFAULT NULL,
	start_time time DEFAULT NULL, every interval DEFAULT NULL, active_window text DEFAULT NULL)
LANGUAGE c AS 'MODULE_PATHNAME', 'cdc_change_job';
COMMENT ON PROCEDURE cdc.sp_cdc_change_job(text, integer, integer, boolean, bigint, bigint, bigint, time, interval, text) IS
	'changes parameters of the capture or the cleanup job of the current database';

-- Stops a job and removes it. job_type: 'capture' or 'cleanup'; required.
-- Errors: 22004 (22963), 22023 (22992), 42704 no such job (22997), 42501 (22904), 55000 (22901).
-- Privilege: owner of the database.
CREATE PROCEDURE cdc.sp_cdc_drop_job(job_type text)
LANGUAGE c AS 'MODULE_PATHNAME', 'cdc_drop_job';
COMMENT ON PROCEDURE cdc.sp_cdc_drop_job(text) IS
	'stops and removes the capture or the cleanup job of the current database';

-- Starts a job when the transaction commits. Capture: also after an error, without waiting for the back-off; running
-- already: nothing happens. Cleanup: runs it once now, beside its schedule, which goes on.
-- job_type: 'capture' or 'cleanup'. Errors: 42501 (22904), 22023 (22992), 42704 no such job (22997), 55006 the cleanup
-- job runs already (22022), 55000 (22901).
-- Privilege: owner of the database.
CREATE PROCEDURE cdc.sp_cdc_start_job(job_type text DEFAULT 'capture')
LANGUAGE c AS 'MODULE_PATHNAME', 'cdc_start_job';
COMMENT ON PROCEDURE cdc.sp_cdc_start_job(text) IS
	'starts a job of the current database; it stays started across restarts';

-- Stops a job. As a statement of its own it returns when the worker has ended; in a transaction the stop happens at
-- commit. Capture: nothing is lost, WAL is kept until the job is started again. Cleanup: a run ends after its step,
-- and the schedule rests until the job is started again. Stopped already: nothing happens. Arguments, errors,
-- privilege: as sp_cdc_start_job.
CREATE PROCEDURE cdc.sp_cdc_stop_job(job_type text DEFAULT 'capture')
LANGUAGE c AS 'MODULE_PATHNAME', 'cdc_stop_job';
COMMENT ON PROCEDURE cdc.sp_cdc_stop_job(text) IS
	'stops a job of the current database; it stays stopped across restarts';

/*
 * sp_cdc_help_jobs: the jobs of the current database, the capture job first. Parameters of the other job read 0, or NULL
 * where SQL Server has none.
 *
 * Errors: 42501 (SQL Server 22904), 55000 not enabled (22901). Privilege: owner of the database.
 */
CREATE FUNCTION cdc.sp_cdc_help_jobs(
	OUT job_id uuid,
	OUT job_type text,
	OUT job_name text,
	OUT maxtrans integer,
	OUT maxscans integer,
	OUT continuous boolean,
	OUT pollinginterval bigint,
	OUT retention bigint,
	OUT threshold bigint,
	OUT started boolean,
	OUT start_time time,
	OUT every interval,
	OUT active_window text,
	OUT next_run timestamptz,
	OUT running boolean,
	OUT worker_pid integer,
	OUT doing text,
	OUT last_run_start timestamptz,
	OUT last_run_end timestamptz,
	OUT last_run_status text,
	OUT last_run_leaves bigint,
	OUT last_run_rows bigint,
	OUT last_run_message text)
RETURNS SETOF record
LANGUAGE c VOLATILE ROWS 2
AS 'MODULE_PATHNAME', 'cdc_help_jobs';
COMMENT ON FUNCTION cdc.sp_cdc_help_jobs() IS
	'jobs of the current database with their parameters and what they do';
GRANT SELECT ON cdc.cleanup_runs TO pg_monitor, pg_database_owner;

-- Runs capture while the job is stopped, and waits for it.
-- maxtrans: transactions of one scan, > 0. maxscans: scans before it returns, > 0; it also returns
-- when everything committed before the call is captured. continuous: repeat until cancelled, with
-- pollinginterval seconds (0 to 86399) between the groups. NULL: the default.
-- Errors: 55006 job runs or another scan (22903), 22023 (22991, 22970, 22990, 22999), the worker's
-- own error (22859), 42501 (22904), 55000 (22901). Privilege: owner of the database.
CREATE PROCEDURE cdc.sp_cdc_scan(maxtrans integer DEFAULT 1000, maxscans integer DEFAULT 10,
								 continuous boolean DEFAULT false, pollinginterval bigint DEFAULT 0)
LANGUAGE c AS 'MODULE_PATHNAME', 'cdc_scan';
COMMENT ON PROCEDURE cdc.sp_cdc_scan(integer, integer, boolean, bigint) IS
	'scans the log once while the capture job is stopped';

-- Raises the low-water mark of one instance, and removes its change rows below. The mark is committed first; the
-- removing is done by a cleanup worker, and waited for. A statement of its own: refused inside a transaction
-- block and in functions. Works whether or not there is a cleanup job.
-- capture_instance: its name. low_water_mark: a start_lsn of cdc.lsn_time_mapping; where several rows share its commit
-- time, the first of them is taken; NULL: the low end stays, what lies below is removed. threshold: rows deleted by one
-- transaction; NULL: 5000. fcleanupfailed: in: ignored; out: true when rows could not be removed, which is a warning
-- and leaves the mark raised.
-- Errors: 22004, 22023 no name (SQL Server 22963); 42704 no such instance (22981); 22023 not the LSN of a mapping row
-- (22964), below the low end of the instance (22957), threshold (22850); 25001 in a transaction; 42501 (22904);
-- 55000 not enabled (22901). Privilege: owner of the database.
CREATE PROCEDURE cdc.sp_cdc_cleanup_change_table(capture_instance text, low_water_mark pg_lsn,
	threshold bigint DEFAULT 5000, INOUT fcleanupfailed boolean DEFAULT false)
LANGUAGE c AS 'MODULE_PATHNAME', 'cdc_cleanup_change_table';
COMMENT ON PROCEDURE cdc.sp_cdc_cleanup_change_table(text, pg_lsn, bigint, boolean) IS
	'raises the low-water mark of a capture instance and removes its change rows below';

-- Waits until everything that was committed up to lsn is in the change tables and visible.
-- lsn NULL: the end of the log as of now. timeout NULL: 10 seconds.
-- Does not wait for the caller's own uncommitted changes.
-- Errors: SC006 timeout, 55000 job stopped or capture cannot go on, or the caller's own transaction
-- locks a cdc table, or not enabled (22901). Privilege: everybody.
CREATE PROCEDURE cdc.wait_for_capture(lsn pg_lsn DEFAULT NULL, timeout interval DEFAULT '10s')
LANGUAGE c AS 'MODULE_PATHNAME', 'cdc_wait_for_capture';
COMMENT ON PROCEDURE cdc.wait_for_capture(pg_lsn, interval) IS
	'waits until everything committed up to an LSN (default: now) is visible in the change tables';

--------------------------------------------------------------------------------
-- 8. Monitoring
--------------------------------------------------------------------------------

CREATE FUNCTION cdc._stat_capture(
	OUT database_id oid, OUT worker_pid integer, OUT decoder_pid integer, OUT state text,
	OUT captured_lsn pg_lsn, OUT read_lsn pg_lsn, OUT confirmed_lsn pg_lsn, OUT lag_bytes bigint,
	OUT lag_seconds double precision, OUT last_commit_time timestamptz,
	OUT catalog_xmin_age integer, OUT transactions bigint, OUT changes bigint, OUT rows bigint,
	OUT started_at timestamptz, OUT failures integer, OUT last_error_code text,
	OUT last_error_message text, OUT last_error_detail text, OUT last_error_hint text,
	OUT last_error_time timestamptz)
RETURNS SETOF record
LANGUAGE c VOLATILE AS 'MODULE_PATHNAME', 'cdc_stat_capture';
COMMENT ON FUNCTION cdc._stat_capture() IS 'rows of cdc.pg_stat_cdc, without names';

CREATE VIEW cdc.pg_stat_cdc AS
SELECT s.database_id, d.datname AS database, s.worker_pid, s.decoder_pid, s.state, s.captured_lsn,
	s.read_lsn, s.confirmed_lsn, s.lag_bytes, s.lag_seconds, s.last_commit_time, s.catalog_xmin_age,
	s.transactions, s.changes, s.rows, r.spill_bytes AS spilled_bytes, r.spill_txns AS spilled_transactions,
	s.started_at, s.failures,
	s.last_error_code, s.last_error_message, s.last_error_detail, s.last_error_hint,
	s.last_error_time
FROM cdc._stat_capture() AS s
JOIN pg_catalog.pg_database AS d ON d.oid OPERATOR(pg_catalog.=) s.database_id
LEFT JOIN LATERAL pg_catalog.pg_stat_get_replication_slot(
	pg_catalog.concat('cdc_', s.database_id)) AS r ON true;
GRANT SELECT ON cdc.pg_stat_cdc TO PUBLIC;
COMMENT ON VIEW cdc.pg_stat_cdc IS 'capture of each enabled database of the server, as it is now';
COMMENT ON COLUMN cdc.pg_stat_cdc.database_id IS 'oid of the database';
COMMENT ON COLUMN cdc.pg_stat_cdc.database IS 'name of the database';
COMMENT ON COLUMN cdc.pg_stat_cdc.worker_pid IS 'process id of the capture worker; NULL: none runs';
COMMENT ON COLUMN cdc.pg_stat_cdc.decoder_pid IS 'process id of the decoder; NULL: none runs';
COMMENT ON COLUMN cdc.pg_stat_cdc.state IS
	'stopped, starting, catching up, streaming, waiting for lock (pg_stat_activity.query of worker_pid names the holders, or pg_blocking_pids(worker_pid) does), outside window, failed (restarted after a back-off), needs action (see last_error_hint)';
COMMENT ON COLUMN cdc.pg_stat_cdc.captured_lsn IS 'everything that ends at or before is visible in the change tables';
COMMENT ON COLUMN cdc.pg_stat_cdc.read_lsn IS 'the decoder has read WAL up to here';
COMMENT ON COLUMN cdc.pg_stat_cdc.confirmed_lsn IS 'the slot is confirmed up to here; WAL behind it can go';
COMMENT ON COLUMN cdc.pg_stat_cdc.lag_bytes IS 'WAL between captured_lsn and the end of the log';
COMMENT ON COLUMN cdc.pg_stat_cdc.lag_seconds IS
	'age of the last captured commit while there is more to capture; 0 when caught up';
COMMENT ON COLUMN cdc.pg_stat_cdc.last_commit_time IS 'commit time of the last captured transaction';
COMMENT ON COLUMN cdc.pg_stat_cdc.catalog_xmin_age IS
	'age of the slot''s catalog_xmin, in transactions: VACUUM cannot freeze the system catalogs beyond it';
COMMENT ON COLUMN cdc.pg_stat_cdc.transactions IS 'source transactions captured since the server started';
COMMENT ON COLUMN cdc.pg_stat_cdc.changes IS 'source row changes captured since the server started';
COMMENT ON COLUMN cdc.pg_stat_cdc.rows IS 'change rows written since the server started';
COMMENT ON COLUMN cdc.pg_stat_cdc.spilled_bytes IS
	'bytes of large transactions that decoding has spilled to disk (logical_decoding_work_mem)';
COMMENT ON COLUMN cdc.pg_stat_cdc.spilled_transactions IS 'transactions that decoding has spilled';
COMMENT ON COLUMN cdc.pg_stat_cdc.started_at IS 'start of the capture worker';
COMMENT ON COLUMN cdc.pg_stat_cdc.failures IS 'errors in a row; 0 after the next success';
COMMENT ON COLUMN cdc.pg_stat_cdc.last_error_code IS 'SQLSTATE of the last error';
COMMENT ON COLUMN cdc.pg_stat_cdc.last_error_message IS
	'the last error; for pg_read_all_stats and the database''s owner';
COMMENT ON COLUMN cdc.pg_stat_cdc.last_error_detail IS 'its detail';
COMMENT ON COLUMN cdc.pg_stat_cdc.last_error_hint IS 'what to do about it';
COMMENT ON COLUMN cdc.pg_stat_cdc.last_error_time IS 'when it happened';

-- Who may look at monitoring: pg_monitor and the database's owner. What shows which tables are captured is not
-- for everybody.

CREATE FUNCTION cdc._scan_sessions(
	OUT session_id integer, OUT start_time timestamptz, OUT end_time timestamptz, OUT duration bigint,
	OUT scan_phase text, OUT error_count integer, OUT start_lsn pg_lsn, OUT current_lsn pg_lsn,
	OUT end_lsn pg_lsn, OUT tran_count bigint, OUT last_commit_lsn pg_lsn,
	OUT last_commit_time timestamptz, OUT log_record_count bigint, OUT schema_change_count integer,
	OUT command_count bigint, OUT first_begin_cdc_lsn pg_lsn, OUT last_commit_cdc_lsn pg_lsn,
	OUT last_commit_cdc_time timestamptz, OUT latency integer, OUT empty_scan_count integer,
	OUT failed_sessions_count integer, OUT duration_ms bigint, OUT latency_ms bigint)
RETURNS SETOF record
LANGUAGE c VOLATILE AS 'MODULE_PATHNAME', 'cdc_scan_sessions';
REVOKE ALL ON FUNCTION cdc._scan_sessions() FROM PUBLIC;
GRANT EXECUTE ON FUNCTION cdc._scan_sessions() TO pg_monitor, pg_database_owner;
COMMENT ON FUNCTION cdc._scan_sessions() IS 'rows of cdc.dm_cdc_log_scan_sessions';

CREATE VIEW cdc.dm_cdc_log_scan_sessions AS
SELECT s.session_id, s.start_time, s.end_time, s.duration, s.scan_phase, s.error_count, s.start_lsn,
	s.current_lsn, s.end_lsn, s.tran_count, s.last_commit_lsn, s.last_commit_time,
	s.log_record_count, s.schema_change_count, s.command_count, s.first_begin_cdc_lsn,
	s.last_commit_cdc_lsn, s.last_commit_cdc_time, s.latency, s.empty_scan_count,
	s.failed_sessions_count, s.duration_ms, s.latency_ms
FROM cdc._scan_sessions() AS s;
GRANT SELECT ON cdc.dm_cdc_log_scan_sessions TO pg_monitor, pg_database_owner;
COMMENT ON VIEW cdc.dm_cdc_log_scan_sessions IS
	'scan sessions of this database since the server started: the last 100, and row 0 for all of them';
COMMENT ON COLUMN cdc.dm_cdc_log_scan_sessions.session_id IS 'from 1 since the server started; 0: aggregate';
COMMENT ON COLUMN cdc.dm_cdc_log_scan_sessions.start_time IS 'start of the session; row 0: of the first one';
COMMENT ON COLUMN cdc.dm_cdc_log_scan_sessions.end_time IS 'end of the session; NULL: active';
COMMENT ON COLUMN cdc.dm_cdc_log_scan_sessions.duration IS
	'seconds, 0 without captured transactions; row 0: sum';
COMMENT ON COLUMN cdc.dm_cdc_log_scan_sessions.scan_phase IS
	'what it does, or where it ended: Reading configuration, Reading log, Writing changes, Schema versioning, Committing, Done; row 0: Aggregate';
COMMENT ON COLUMN cdc.dm_cdc_log_scan_sessions.error_count IS 'errors; row 0: sum';
COMMENT ON COLUMN cdc.dm_cdc_log_scan_sessions.start_lsn IS 'captured up to here when it began';
COMMENT ON COLUMN cdc.dm_cdc_log_scan_sessions.current_lsn IS 'captured up to here now; row 0: 0/0';
COMMENT ON COLUMN cdc.dm_cdc_log_scan_sessions.end_lsn IS 'read up to here at its end; NULL: active';
COMMENT ON COLUMN cdc.dm_cdc_log_scan_sessions.tran_count IS 'captured transactions; row 0: sum';
COMMENT ON COLUMN cdc.dm_cdc_log_scan_sessions.last_commit_lsn IS
	'LSN of the last commit read, captured or not';
COMMENT ON COLUMN cdc.dm_cdc_log_scan_sessions.last_commit_time IS 'its time';
COMMENT ON COLUMN cdc.dm_cdc_log_scan_sessions.log_record_count IS 'WAL records read; row 0: sum';
COMMENT ON COLUMN cdc.dm_cdc_log_scan_sessions.schema_change_count IS
	'commands on captured tables that were met, once for each capture instance; row 0: sum';
COMMENT ON COLUMN cdc.dm_cdc_log_scan_sessions.command_count IS 'captured row changes; row 0: sum';
COMMENT ON COLUMN cdc.dm_cdc_log_scan_sessions.first_begin_cdc_lsn IS
	'first WAL record of the first captured transaction';
COMMENT ON COLUMN cdc.dm_cdc_log_scan_sessions.last_commit_cdc_lsn IS 'commit LSN of the last captured transaction';
COMMENT ON COLUMN cdc.dm_cdc_log_scan_sessions.last_commit_cdc_time IS 'its commit time';
COMMENT ON COLUMN cdc.dm_cdc_log_scan_sessions.latency IS
	'seconds from that commit to the end of the session, 0 in empty ones; row 0: the last that was measured';
COMMENT ON COLUMN cdc.dm_cdc_log_scan_sessions.empty_scan_count IS
	'consecutive sessions without captured transactions that this row stands for; row 0: all';
COMMENT ON COLUMN cdc.dm_cdc_log_scan_sessions.failed_sessions_count IS
	'failed sessions that this row stands for; row 0: all';
COMMENT ON COLUMN cdc.dm_cdc_log_scan_sessions.duration_ms IS 'duration in milliseconds';
COMMENT ON COLUMN cdc.dm_cdc_log_scan_sessions.latency_ms IS 'latency in milliseconds';

CREATE FUNCTION cdc._pending_errors(
	OUT session_id integer, OUT phase_number integer, OUT entry_time timestamptz, OUT error_number integer,
	OUT error_severity integer, OUT error_state integer, OUT error_message text, OUT start_lsn pg_lsn,
	OUT begin_lsn pg_lsn, OUT sequence_value pg_lsn, OUT sqlstate text, OUT detail text, OUT hint text,
	OUT process text)
RETURNS SETOF record
LANGUAGE c VOLATILE AS 'MODULE_PATHNAME', 'cdc_pending_errors';
REVOKE ALL ON FUNCTION cdc._pending_errors() FROM PUBLIC;
GRANT EXECUTE ON FUNCTION cdc._pending_errors() TO pg_monitor, pg_database_owner;
COMMENT ON FUNCTION cdc._pending_errors() IS 'errors that could not be stored in cdc._errors yet';

CREATE VIEW cdc.dm_cdc_errors AS
SELECT e.session_id, e.phase_number, e.entry_time, e.error_number, e.error_severity, e.error_state,
	e.error_message, e.start_lsn, e.begin_lsn, e.sequence_value, e.sqlstate, e.detail, e.hint,
	e.process, e.first_time, e.occurrences
FROM cdc._errors AS e
UNION ALL
SELECT p.session_id, p.phase_number, p.entry_time, p.error_number, p.error_severity, p.error_state,
	p.error_message, p.start_lsn, p.begin_lsn, p.sequence_value, p.sqlstate, p.detail, p.hint,
	p.process, p.entry_time, 1
FROM cdc._pending_errors() AS p
WHERE NOT EXISTS (SELECT FROM cdc._errors AS e WHERE e.entry_time OPERATOR(pg_catalog.=) p.entry_time);
GRANT SELECT ON cdc.dm_cdc_errors TO pg_monitor, pg_database_owner;
COMMENT ON VIEW cdc.dm_cdc_errors IS
	'errors of the processes of this database, those of the last 32 sessions; kept across restarts';
COMMENT ON COLUMN cdc.dm_cdc_errors.session_id IS
	'session in dm_cdc_log_scan_sessions, whose numbers begin again with the server; 0: not in a session';
COMMENT ON COLUMN cdc.dm_cdc_errors.phase_number IS
	'1 reading configuration, 2 reading log, 3 writing changes, 6 schema versioning, 7 committing; 0: not in a session';
COMMENT ON COLUMN cdc.dm_cdc_errors.entry_time IS 'when it happened, the last time';
COMMENT ON COLUMN cdc.dm_cdc_errors.error_number IS 'SQL Server''s number; NULL: it has none';
COMMENT ON COLUMN cdc.dm_cdc_errors.error_severity IS '16';
COMMENT ON COLUMN cdc.dm_cdc_errors.error_state IS '1';
COMMENT ON COLUMN cdc.dm_cdc_errors.error_message IS 'the message';
COMMENT ON COLUMN cdc.dm_cdc_errors.start_lsn IS 'start_lsn of the session; 0/0: not in a session';
COMMENT ON COLUMN cdc.dm_cdc_errors.begin_lsn IS
	'first WAL record of the transaction that was being captured; 0/0: none';
COMMENT ON COLUMN cdc.dm_cdc_errors.sequence_value IS
	'__$seqval of the row that was being captured; 0/0: none, or not known';
COMMENT ON COLUMN cdc.dm_cdc_errors.sqlstate IS 'SQLSTATE';
COMMENT ON COLUMN cdc.dm_cdc_errors.detail IS 'the values';
COMMENT ON COLUMN cdc.dm_cdc_errors.hint IS 'what to do about it';
COMMENT ON COLUMN cdc.dm_cdc_errors.process IS
	'capture (the capture worker), decoder, cleanup, launcher, or enable (making the slot)';
COMMENT ON COLUMN cdc.dm_cdc_errors.first_time IS 'when it happened first';
COMMENT ON COLUMN cdc.dm_cdc_errors.occurrences IS 'how often, without another error in between';

CREATE VIEW cdc.databases AS
SELECT d.oid AS database_id, d.datname AS name,
	CASE WHEN d.datname OPERATOR(pg_catalog.=) pg_catalog.current_database()
		THEN EXISTS (SELECT FROM cdc._identity)
		ELSE EXISTS (
				SELECT FROM pg_catalog.pg_replication_slots AS r
				WHERE r.datoid OPERATOR(pg_catalog.=) d.oid AND r.plugin OPERATOR(pg_catalog.=) 'cdc'::pg_catalog.name
					AND r.slot_name OPERATOR(pg_catalog.=) pg_catalog.concat('cdc_', d.oid)::pg_catalog.name)
			OR EXISTS (
				SELECT FROM cdc._stat_capture() AS s
				WHERE s.database_id OPERATOR(pg_catalog.=) d.oid
					AND s.state OPERATOR(pg_catalog.=) 'needs action')
	END AS is_cdc_enabled
FROM pg_catalog.pg_database AS d;
GRANT SELECT ON cdc.databases TO PUBLIC;
COMMENT ON VIEW cdc.databases IS 'databases of the server, and which of them are enabled';
COMMENT ON COLUMN cdc.databases.database_id IS 'oid of the database';
COMMENT ON COLUMN cdc.databases.name IS 'name of the database';
COMMENT ON COLUMN cdc.databases.is_cdc_enabled IS
	'whether it is enabled; of other databases: whether it has its replication slot, or a worker has found that it lost it';

-- As SQL Server's sys.tables: shows whoever has any privilege on a table that it is there.
CREATE VIEW cdc.tables WITH (security_barrier) AS
SELECT c.oid AS object_id, n.nspname AS schema_name, c.relname AS name,
	EXISTS (SELECT FROM cdc.change_tables AS t
		WHERE t.source_object_id OPERATOR(pg_catalog.=) c.oid
			OR (c.relispartition AND t.source_object_id OPERATOR(pg_catalog.=) ANY (
				SELECT a.relid FROM pg_catalog.pg_partition_ancestors(c.oid) AS a))) AS is_tracked_by_cdc
FROM pg_catalog.pg_class AS c
JOIN pg_catalog.pg_namespace AS n ON n.oid OPERATOR(pg_catalog.=) c.relnamespace
WHERE c.relkind OPERATOR(pg_catalog.=) ANY (ARRAY['r'::pg_catalog."char", 'p'::pg_catalog."char"])
	AND c.relpersistence OPERATOR(pg_catalog.<>) 't'::pg_catalog."char"
	AND n.nspname OPERATOR(pg_catalog.<>) ALL (ARRAY['pg_catalog'::pg_catalog.name, 'information_schema'::pg_catalog.name, 'cdc'::pg_catalog.name])
	AND (pg_catalog.pg_has_role('pg_monitor', 'USAGE') OR pg_catalog.pg_has_role('pg_database_owner', 'USAGE')
		OR pg_catalog.has_table_privilege(c.oid, 'SELECT, INSERT, UPDATE, DELETE, TRUNCATE, REFERENCES, TRIGGER')
		OR pg_catalog.has_any_column_privilege(c.oid, 'SELECT, INSERT, UPDATE, REFERENCES'));
GRANT SELECT ON cdc.tables TO PUBLIC;
COMMENT ON VIEW cdc.tables IS
	'tables of this database on which the user has any privilege, and which of them are captured';
COMMENT ON COLUMN cdc.tables.object_id IS 'oid of the table';
COMMENT ON COLUMN cdc.tables.schema_name IS 'schema of the table';
COMMENT ON COLUMN cdc.tables.name IS 'name of the table';
COMMENT ON COLUMN cdc.tables.is_tracked_by_cdc IS
	'whether its changes are captured: it has a capture instance, or is a partition of a table that has one';

CREATE FUNCTION cdc._instance_counters(
	OUT instance_id integer, OUT inserts bigint, OUT updates bigint, OUT deletes bigint,
	OUT last_lsn pg_lsn, OUT last_time timestamptz)
RETURNS SETOF record
LANGUAGE c VOLATILE AS 'MODULE_PATHNAME', 'cdc_instance_counters';
REVOKE ALL ON FUNCTION cdc._instance_counters() FROM PUBLIC;
GRANT EXECUTE ON FUNCTION cdc._instance_counters() TO pg_monitor, pg_database_owner;
COMMENT ON FUNCTION cdc._instance_counters() IS 'row changes captured since the server started, by capture instance';

-- What the capture worker would refuse to write to, as table_append_open sees it: leaves in use or to be used.
CREATE VIEW cdc._change_table_problems AS
WITH leaf AS (
	SELECT t.object_id, l.oid, l.relname, l.relam, l.relpersistence, l.relrowsecurity, l.relforcerowsecurity,
		pg_catalog.right(l.relname::pg_catalog.text, 16) AS low
	FROM cdc.change_tables AS t
	JOIN pg_catalog.pg_inherits AS i ON i.inhparent OPERATOR(pg_catalog.=) t.object_id
	JOIN pg_catalog.pg_class AS l ON l.oid OPERATOR(pg_catalog.=) i.inhrelid
), captured AS (
	SELECT pg_catalog.concat(
		pg_catalog.lpad(pg_catalog.lower(pg_catalog.split_part(p.captured_lsn::pg_catalog.text, '/', 1)), 8, '0'),
		pg_catalog.lpad(pg_catalog.lower(pg_catalog.split_part(p.captured_lsn::pg_catalog.text, '/', 2)), 8, '0')) AS low
	FROM cdc._progress AS p
), found AS (
	SELECT l.object_id, l.relname AS leaf, CASE
		WHEN EXISTS (SELECT FROM pg_catalog.pg_trigger AS g WHERE g.tgrelid OPERATOR(pg_catalog.=) l.oid) THEN 'got a trigger'
		WHEN EXISTS (SELECT FROM pg_catalog.pg_rewrite AS w WHERE w.ev_class OPERATOR(pg_catalog.=) l.oid) THEN 'got a rule'
		WHEN l.relrowsecurity OR l.relforcerowsecurity THEN 'got row-level security'
		WHEN EXISTS (SELECT FROM pg_catalog.pg_constraint AS c
				WHERE c.conrelid OPERATOR(pg_catalog.=) l.oid AND c.contype OPERATOR(pg_catalog.=) 'c'::pg_catalog."char")
			OR EXISTS (SELECT FROM pg_catalog.pg_attribute AS a
				WHERE a.attrelid OPERATOR(pg_catalog.=) l.oid AND a.attgenerated OPERATOR(pg_catalog.<>) ''::pg_catalog."char")
			THEN 'got a constraint or a generated column'
		WHEN EXISTS (SELECT FROM pg_catalog.pg_attribute AS a
				WHERE a.attrelid OPERATOR(pg_catalog.=) l.oid AND a.attnum OPERATOR(pg_catalog.>) 0 AND a.attnotnull)
			THEN 'got a NOT NULL constraint'
		WHEN x.n OPERATOR(pg_catalog.>) 1 THEN 'got an index'
		WHEN x.n OPERATOR(pg_catalog.<) 1 THEN 'lost its index'
		WHEN EXISTS (SELECT FROM pg_catalog.pg_index AS i
				JOIN pg_catalog.pg_class AS ic ON ic.oid OPERATOR(pg_catalog.=) i.indexrelid
				JOIN pg_catalog.pg_am AS m ON m.oid OPERATOR(pg_catalog.=) ic.relam
				WHERE i.indrelid OPERATOR(pg_catalog.=) l.oid
					AND (i.indexprs IS NOT NULL OR i.indpred IS NOT NULL OR i.indnatts OPERATOR(pg_catalog.<>) 1
						OR i.indkey[0] OPERATOR(pg_catalog.<>) 1 OR m.amname OPERATOR(pg_catalog.<>) 'brin'))
			THEN 'got an index in place of its own'
		WHEN l.relam OPERATOR(pg_catalog.<>) 2::pg_catalog.oid THEN 'got another table access method'
		WHEN l.relpersistence OPERATOR(pg_catalog.<>) 'p'::pg_catalog."char" THEN 'become unlogged'
		END AS problem
	FROM leaf AS l, captured AS k, LATERAL (SELECT pg_catalog.count(*) AS n FROM pg_catalog.pg_index AS i
		WHERE i.indrelid OPERATOR(pg_catalog.=) l.oid) AS x
	WHERE NOT EXISTS (SELECT FROM leaf AS m
		WHERE m.object_id OPERATOR(pg_catalog.=) l.object_id
			AND m.low COLLATE pg_catalog."C" OPERATOR(pg_catalog.>) l.low COLLATE pg_catalog."C"
			AND m.low COLLATE pg_catalog."C" OPERATOR(pg_catalog.<=) k.low COLLATE pg_catalog."C")
)
SELECT f.object_id, f.leaf, f.problem FROM found AS f WHERE f.problem IS NOT NULL;
COMMENT ON VIEW cdc._change_table_problems IS 'change tables that the capture worker refuses to write to';
COMMENT ON COLUMN cdc._change_table_problems.object_id IS 'oid of the change table';
COMMENT ON COLUMN cdc._change_table_problems.leaf IS 'partition of it';
COMMENT ON COLUMN cdc._change_table_problems.problem IS 'what it has got, or lost';

CREATE VIEW cdc.pg_stat_cdc_tables AS
SELECT t.capture_instance, t.source_object_id, n.nspname AS source_schema, s.relname AS source_table,
	t.object_id,
	CASE WHEN p.problem IS NOT NULL THEN 'refused'
		WHEN g.n OPERATOR(pg_catalog.>) 0 THEN 'gap'
		WHEN t.has_drop_pending THEN 'source dropped'
		WHEN t.start_lsn IS NULL THEN 'starting'
		ELSE 'capturing' END AS state,
	CASE WHEN p.problem IS NOT NULL THEN pg_catalog.format('partition %I has %s', p.leaf, p.problem)
		WHEN g.n OPERATOR(pg_catalog.>) 0 THEN g.reason END AS state_detail,
	COALESCE(c.inserts, 0) AS inserts, COALESCE(c.updates, 0) AS updates, COALESCE(c.deletes, 0) AS deletes,
	c.last_lsn AS last_change_lsn, c.last_time AS last_change_time, t.start_lsn AS low_lsn,
	(SELECT m.tran_end_time FROM cdc.lsn_time_mapping AS m
		WHERE m.start_lsn OPERATOR(pg_catalog.>=) t.start_lsn
		ORDER BY m.start_lsn USING OPERATOR(pg_catalog.<) LIMIT 1) AS low_time,
	l.leaves, l.size_bytes
FROM cdc.change_tables AS t
LEFT JOIN pg_catalog.pg_class AS s ON s.oid OPERATOR(pg_catalog.=) t.source_object_id
LEFT JOIN pg_catalog.pg_namespace AS n ON n.oid OPERATOR(pg_catalog.=) s.relnamespace
LEFT JOIN cdc._instance_counters() AS c ON c.instance_id OPERATOR(pg_catalog.=) t.instance_id
LEFT JOIN LATERAL (
	SELECT q.leaf, q.problem FROM cdc._change_table_problems AS q
	WHERE q.object_id OPERATOR(pg_catalog.=) t.object_id LIMIT 1) AS p ON true
LEFT JOIN LATERAL (
	SELECT pg_catalog.count(*) AS n, pg_catalog.min(o.reason) AS reason FROM cdc.gaps AS o
	WHERE o.end_lsn IS NULL AND (o.object_id IS NULL OR o.object_id OPERATOR(pg_catalog.=) t.object_id)) AS g ON true
LEFT JOIN LATERAL (
	SELECT pg_catalog.count(*) AS leaves,
		COALESCE(pg_catalog.sum(pg_catalog.pg_total_relation_size(i.inhrelid)), 0)::bigint AS size_bytes
	FROM pg_catalog.pg_inherits AS i WHERE i.inhparent OPERATOR(pg_catalog.=) t.object_id) AS l ON true;
GRANT SELECT ON cdc.pg_stat_cdc_tables TO pg_monitor, pg_database_owner;
COMMENT ON VIEW cdc.pg_stat_cdc_tables IS 'capture instances of this database, as they are now';
COMMENT ON COLUMN cdc.pg_stat_cdc_tables.capture_instance IS 'name of the capture instance';
COMMENT ON COLUMN cdc.pg_stat_cdc_tables.source_object_id IS 'oid of the source table';
COMMENT ON COLUMN cdc.pg_stat_cdc_tables.source_schema IS 'its schema; NULL: it has been dropped';
COMMENT ON COLUMN cdc.pg_stat_cdc_tables.source_table IS 'its name; NULL: it has been dropped';
COMMENT ON COLUMN cdc.pg_stat_cdc_tables.object_id IS 'oid of the change table';
COMMENT ON COLUMN cdc.pg_stat_cdc_tables.state IS
	'capturing; starting (capture has not come to its first commit); refused (see state_detail); gap; source dropped';
COMMENT ON COLUMN cdc.pg_stat_cdc_tables.state_detail IS 'why it is refused, or the reason of the gap';
COMMENT ON COLUMN cdc.pg_stat_cdc_tables.inserts IS
	'inserts captured since the server started; an update of the row identifier counts as delete and insert';
COMMENT ON COLUMN cdc.pg_stat_cdc_tables.updates IS 'updates captured since the server started';
COMMENT ON COLUMN cdc.pg_stat_cdc_tables.deletes IS 'deletes captured since the server started';
COMMENT ON COLUMN cdc.pg_stat_cdc_tables.last_change_lsn IS
	'__$start_lsn of the last captured change; NULL: none since the server started';
COMMENT ON COLUMN cdc.pg_stat_cdc_tables.last_change_time IS 'its commit time';
COMMENT ON COLUMN cdc.pg_stat_cdc_tables.low_lsn IS 'low end of the LSN window';
COMMENT ON COLUMN cdc.pg_stat_cdc_tables.low_time IS
	'commit time of the oldest transaction of the database at or after it';
COMMENT ON COLUMN cdc.pg_stat_cdc_tables.leaves IS 'partitions of the change table';
COMMENT ON COLUMN cdc.pg_stat_cdc_tables.size_bytes IS 'their size with index and TOAST';

CREATE FUNCTION cdc._is_preloaded() RETURNS boolean
LANGUAGE c STABLE AS 'MODULE_PATHNAME', 'cdc_is_preloaded';
REVOKE ALL ON FUNCTION cdc._is_preloaded() FROM PUBLIC;
GRANT EXECUTE ON FUNCTION cdc._is_preloaded() TO pg_monitor, pg_database_owner;
COMMENT ON FUNCTION cdc._is_preloaded() IS 'whether the library was loaded when the server started';

CREATE FUNCTION cdc._versions(
	OUT library text, OUT extension text, OUT status text, OUT detail text, OUT action text)
LANGUAGE c STABLE AS 'MODULE_PATHNAME', 'cdc_versions';
REVOKE ALL ON FUNCTION cdc._versions() FROM PUBLIC;
GRANT EXECUTE ON FUNCTION cdc._versions() TO pg_monitor, pg_database_owner;
COMMENT ON FUNCTION cdc._versions() IS 'versions of library and extension, and whether they belong together';

CREATE FUNCTION cdc._stale_query_functions(OUT capture_instance text)
RETURNS SETOF text
LANGUAGE c VOLATILE AS 'MODULE_PATHNAME', 'cdc_stale_query_functions';
REVOKE ALL ON FUNCTION cdc._stale_query_functions() FROM PUBLIC;
GRANT EXECUTE ON FUNCTION cdc._stale_query_functions() TO pg_monitor, pg_database_owner;
COMMENT ON FUNCTION cdc._stale_query_functions() IS
	'capture instances whose query functions could not follow a change of type';

CREATE FUNCTION cdc._health_checks(
	wanted boolean, OUT ordinal integer, OUT check_name text, OUT status text, OUT value text,
	OUT threshold text, OUT detail text, OUT action text)
RETURNS SETOF record
LANGUAGE c VOLATILE STRICT AS 'MODULE_PATHNAME', 'cdc_health_checks';
REVOKE ALL ON FUNCTION cdc._health_checks(boolean) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION cdc._health_checks(boolean) TO pg_monitor, pg_database_owner;
COMMENT ON FUNCTION cdc._health_checks(boolean) IS
	'checks of this database from shared memory; wanted: its capture job is to run';

-- What somebody has done to the catalog of the extension by hand, and how to go on.
CREATE VIEW cdc._catalog_problems AS
WITH shape AS (
	SELECT t.object_id, t.capture_instance, t.source_object_id, t.has_drop_pending, t.index_name, c.oid AS found,
		(SELECT a.attnum FROM pg_catalog.pg_attribute AS a
			WHERE a.attrelid OPERATOR(pg_catalog.=) t.object_id AND a.attname OPERATOR(pg_catalog.=) '__$command_id'::pg_catalog.name
				AND NOT a.attisdropped) AS last,
		(SELECT pg_catalog.count(*) FROM cdc.captured_columns AS p WHERE p.object_id OPERATOR(pg_catalog.=) t.object_id) AS columns,
		(SELECT pg_catalog.count(DISTINCT p.column_ordinal) FROM cdc.captured_columns AS p
			WHERE p.object_id OPERATOR(pg_catalog.=) t.object_id AND p.column_ordinal OPERATOR(pg_catalog.>) 0) AS ordinals,
		(SELECT pg_catalog.max(p.column_ordinal) FROM cdc.captured_columns AS p WHERE p.object_id OPERATOR(pg_catalog.=) t.object_id) AS highest,
		(SELECT pg_catalog.count(*) FROM cdc.index_columns AS x WHERE x.object_id OPERATOR(pg_catalog.=) t.object_id) AS keys
	FROM cdc.change_tables AS t LEFT JOIN pg_catalog.pg_class AS c ON c.oid OPERATOR(pg_catalog.=) t.object_id
), extension AS (
	SELECT x.oid, x.extowner, 'cdc'::pg_catalog.regnamespace AS schema FROM pg_catalog.pg_extension AS x WHERE x.extname OPERATOR(pg_catalog.=) 'cdc'::pg_catalog.name
)
SELECT 1 AS ordinal, pg_catalog.format('The change table of capture instance "%s" is missing.', s.capture_instance) AS problem,
	'Disable the capture instance with cdc.sp_cdc_disable_table and enable the table again.' AS action
FROM shape AS s WHERE s.found IS NULL
UNION ALL
SELECT 2, pg_catalog.format('Rows of cdc.captured_columns or cdc.index_columns do not fit capture instance "%s".', s.capture_instance),
	'Put the rows back, or disable the capture instance with cdc.sp_cdc_disable_table and enable the table again.'
FROM shape AS s
WHERE s.found IS NOT NULL AND ((s.last OPERATOR(pg_catalog.-) 6) IS DISTINCT FROM s.columns OR s.ordinals OPERATOR(pg_catalog.<>) s.columns
	OR s.highest OPERATOR(pg_catalog.<>) s.columns OR (s.index_name IS NOT NULL) OPERATOR(pg_catalog.<>) (s.keys OPERATOR(pg_catalog.>) 0)
	OR EXISTS (SELECT FROM cdc.captured_columns AS p
		WHERE p.object_id OPERATOR(pg_catalog.=) s.object_id AND NOT s.has_drop_pending
			AND EXISTS (SELECT FROM pg_catalog.pg_class AS c WHERE c.oid OPERATOR(pg_catalog.=) s.source_object_id)
			AND NOT EXISTS (SELECT FROM pg_catalog.pg_attribute AS a
				WHERE a.attrelid OPERATOR(pg_catalog.=) s.source_object_id AND a.attnum OPERATOR(pg_catalog.>) 0
					AND a.attnum OPERATOR(pg_catalog.=) p.column_id)))
UNION ALL
SELECT 3, pg_catalog.format('The source of capture instance "%s" does not exist, and its drop was not noticed.', s.capture_instance),
	-- The table's name is not known any more, and not asked for.
	pg_catalog.format('CALL cdc.sp_cdc_disable_table(''-'', ''-'', %L);', s.capture_instance)
FROM shape AS s
WHERE NOT s.has_drop_pending AND NOT EXISTS (SELECT FROM pg_catalog.pg_class AS c WHERE c.oid OPERATOR(pg_catalog.=) s.source_object_id)
UNION ALL
SELECT 4, pg_catalog.format('Change table %s has no row in cdc.change_tables.', c.oid::pg_catalog.regclass),
	'Put the row back; or CALL cdc.sp_cdc_disable_db() and enable database and tables again.'
FROM pg_catalog.pg_class AS c JOIN extension AS x ON x.schema OPERATOR(pg_catalog.=) c.relnamespace
WHERE c.relkind OPERATOR(pg_catalog.=) 'p'::pg_catalog."char" AND pg_catalog.left(c.relname::pg_catalog.text, 9) OPERATOR(pg_catalog.<>) '_dropped_'
	AND NOT EXISTS (SELECT FROM cdc.change_tables AS t WHERE t.object_id OPERATOR(pg_catalog.=) c.oid)
UNION ALL
SELECT 5, pg_catalog.format('Partition %s has been detached from its change table.', c.oid::pg_catalog.regclass),
	'ATTACH it again, or drop it when its changes are not needed.'
FROM pg_catalog.pg_class AS c JOIN extension AS x ON x.schema OPERATOR(pg_catalog.=) c.relnamespace
WHERE c.relkind OPERATOR(pg_catalog.=) 'r'::pg_catalog."char" AND NOT c.relispartition
	AND c.relname::pg_catalog.text OPERATOR(pg_catalog.~) '^_ct_[0-9]+_[0-9a-f]{16}$'
UNION ALL
SELECT 6, pg_catalog.format('Table %s has lost the option that lets decoding read it.', c.oid::pg_catalog.regclass),
	pg_catalog.format('ALTER TABLE %s SET (user_catalog_table = true); what was changed meanwhile may be lost.', c.oid::pg_catalog.regclass)
FROM pg_catalog.pg_class AS c JOIN extension AS x ON x.schema OPERATOR(pg_catalog.=) c.relnamespace
WHERE c.relname OPERATOR(pg_catalog.=) ANY (ARRAY['change_tables', 'captured_columns', 'index_columns']::pg_catalog.name[])
	AND NOT COALESCE('user_catalog_table=true' OPERATOR(pg_catalog.=) ANY (c.reloptions), false)
UNION ALL
SELECT 7, pg_catalog.format('%s of 3 event triggers are missing.', 3 OPERATOR(pg_catalog.-) pg_catalog.count(*)),
	'DROP EXTENSION cdc and CREATE EXTENSION cdc make them anew; until then commands on captured tables are not noticed when they are run.'
FROM pg_catalog.pg_event_trigger AS e
WHERE e.evtname OPERATOR(pg_catalog.=) ANY (ARRAY['cdc_ddl_command_start', 'cdc_ddl_command_end', 'cdc_sql_drop']::pg_catalog.name[])
HAVING pg_catalog.count(*) OPERATOR(pg_catalog.<) 3
UNION ALL
SELECT 8, pg_catalog.format('%s is not a member of extension "cdc" any more.', c.oid::pg_catalog.regclass),
	pg_catalog.format('ALTER EXTENSION cdc ADD %s %s;', CASE c.relkind WHEN 'v'::pg_catalog."char" THEN 'VIEW' WHEN 'S'::pg_catalog."char" THEN 'SEQUENCE' ELSE 'TABLE' END, c.oid::pg_catalog.regclass)
FROM pg_catalog.pg_class AS c JOIN extension AS x ON x.schema OPERATOR(pg_catalog.=) c.relnamespace
WHERE c.relkind OPERATOR(pg_catalog.=) ANY (ARRAY['r', 'p', 'v']::pg_catalog."char"[])
	AND c.relowner OPERATOR(pg_catalog.=) x.extowner
	AND NOT EXISTS (SELECT FROM pg_catalog.pg_depend AS d
		WHERE d.classid OPERATOR(pg_catalog.=) 'pg_catalog.pg_class'::pg_catalog.regclass AND d.objid OPERATOR(pg_catalog.=) c.oid
			AND d.objsubid OPERATOR(pg_catalog.=) 0 AND d.deptype OPERATOR(pg_catalog.=) 'e'::pg_catalog."char"
			AND d.refclassid OPERATOR(pg_catalog.=) 'pg_catalog.pg_extension'::pg_catalog.regclass AND d.refobjid OPERATOR(pg_catalog.=) x.oid)
	AND NOT EXISTS (SELECT FROM pg_catalog.pg_inherits AS i WHERE i.inhrelid OPERATOR(pg_catalog.=) c.oid
		AND NOT EXISTS (SELECT FROM cdc.change_tables AS t WHERE t.object_id OPERATOR(pg_catalog.=) i.inhparent))
UNION ALL
SELECT 9, pg_catalog.format('Table cdc.%s has %s rows.', n.name, n.rows), 'CALL cdc.sp_cdc_disable_db(); then enable database and tables again.'
FROM (SELECT '_identity' AS name, (SELECT pg_catalog.count(*) FROM cdc._identity) AS rows
	UNION ALL SELECT '_progress', (SELECT pg_catalog.count(*) FROM cdc._progress)) AS n
WHERE n.rows OPERATOR(pg_catalog.<>) 1 AND (EXISTS (SELECT FROM cdc._identity) OR EXISTS (SELECT FROM cdc._progress)
	OR EXISTS (SELECT FROM cdc.change_tables));
COMMENT ON VIEW cdc._catalog_problems IS 'what somebody has done to the catalog of the extension by hand';
COMMENT ON COLUMN cdc._catalog_problems.ordinal IS 'kind of problem';
COMMENT ON COLUMN cdc._catalog_problems.problem IS 'what is wrong';
COMMENT ON COLUMN cdc._catalog_problems.action IS 'what to do next';

CREATE VIEW cdc._health AS
WITH base AS (
	SELECT cdc._is_preloaded() AS preloaded, pg_catalog.pg_is_in_recovery() AS standby,
		pg_catalog.current_setting('wal_level') AS wal_level,
		EXISTS (SELECT FROM cdc._identity) AS enabled,
		EXISTS (SELECT FROM cdc._identity AS i, pg_catalog.pg_control_system() AS c, pg_catalog.pg_database AS d
			WHERE d.datname OPERATOR(pg_catalog.=) pg_catalog.current_database()
				AND (c.system_identifier OPERATOR(pg_catalog.<>) i.system_identifier
					OR d.oid OPERATOR(pg_catalog.<>) i.database_id)) AS copied,
		COALESCE((SELECT j.started AND j.continuous FROM cdc.cdc_jobs AS j
			WHERE j.job_type OPERATOR(pg_catalog.=) 'capture'), true) AS wanted
), setting AS (
	SELECT COALESCE(pg_catalog.current_setting('cdc.health_gap_recent', true), '7d')::interval AS gap_recent,
		COALESCE(pg_catalog.current_setting('cdc.health_cleanup_warning', true), '1h')::interval AS cleanup_warning,
		COALESCE(pg_catalog.current_setting('cdc.health_cleanup_critical', true), '3d')::interval AS cleanup_critical
), gap AS (
	SELECT pg_catalog.count(g.gap_id) FILTER (WHERE g.end_lsn IS NULL) AS open,
		pg_catalog.count(g.gap_id) FILTER (WHERE g.end_lsn IS NULL AND g.object_id IS NULL) AS open_for_all,
		pg_catalog.min(g.detail) FILTER (WHERE g.end_lsn IS NULL) AS open_detail,
		pg_catalog.count(g.gap_id) FILTER (WHERE g.end_lsn IS NOT NULL
			AND g.detected_at OPERATOR(pg_catalog.>) (pg_catalog.now() OPERATOR(pg_catalog.-) s.gap_recent)) AS recent,
		(pg_catalog.array_agg(g.reason ORDER BY (g.end_lsn IS NULL) USING OPERATOR(pg_catalog.>), g.gap_id USING OPERATOR(pg_catalog.>)))[1] AS reason,
		s.gap_recent
	FROM setting AS s LEFT JOIN cdc.gaps AS g ON true GROUP BY s.gap_recent
), cleanup AS (
	-- Late: a whole period has gone by since the last run that succeeded, or since the job was made or changed.
	SELECT j.job_id, j.started, l.status AS last_status, l.message,
		pg_catalog.now() OPERATOR(pg_catalog.-) (GREATEST(j.schedule_from,
			(SELECT pg_catalog.max(r.started_at) FROM cdc.cleanup_runs AS r
				WHERE r.request OPERATOR(pg_catalog.=) 'job' AND r.status OPERATOR(pg_catalog.=) ANY (ARRAY['succeeded', 'running'])))
			OPERATOR(pg_catalog.+) j.every) AS late,
		s.cleanup_warning AS warning_after, s.cleanup_critical AS critical_after,
		s.cleanup_warning OPERATOR(pg_catalog.>) '0'::interval AS warning,
		s.cleanup_critical OPERATOR(pg_catalog.>) '0'::interval AS critical,
		pg_catalog.current_setting('cdc.health_cleanup_warning', true) AS warning_text,
		pg_catalog.current_setting('cdc.health_cleanup_critical', true) AS critical_text
	FROM setting AS s
	LEFT JOIN cdc.cdc_jobs AS j ON j.job_type OPERATOR(pg_catalog.=) 'cleanup'
	LEFT JOIN LATERAL (SELECT r.status, r.message FROM cdc.cleanup_runs AS r
		WHERE r.request OPERATOR(pg_catalog.=) 'job'
		ORDER BY r.run_id USING OPERATOR(pg_catalog.>) LIMIT 1) AS l ON true
), refused AS (
	SELECT pg_catalog.count(*) AS n, pg_catalog.min(
		pg_catalog.format('Partition %I of capture instance "%s" has %s.', p.leaf, t.capture_instance, p.problem)) AS detail,
		pg_catalog.min(CASE WHEN p.problem OPERATOR(pg_catalog.=) 'lost its index'
			THEN pg_catalog.format('CREATE INDEX ON %s USING brin ("__$start_lsn") WITH (pages_per_range = 64);', t.object_id::pg_catalog.regclass) END) AS command
	FROM cdc._change_table_problems AS p JOIN cdc.change_tables AS t ON t.object_id OPERATOR(pg_catalog.=) p.object_id
), identity AS (
	SELECT pg_catalog.count(*) AS n,
		pg_catalog.min(pg_catalog.format('%I.%I', n.nspname, r.relname)) AS example
	FROM cdc.change_tables AS t
	CROSS JOIN LATERAL (
		SELECT t.source_object_id AS relid
		UNION
		SELECT f.relid::pg_catalog.oid FROM pg_catalog.pg_partition_tree(t.source_object_id) AS f) AS f
	JOIN pg_catalog.pg_class AS r ON r.oid OPERATOR(pg_catalog.=) f.relid
	JOIN pg_catalog.pg_namespace AS n ON n.oid OPERATOR(pg_catalog.=) r.relnamespace
	WHERE r.relkind OPERATOR(pg_catalog.=) 'r'::pg_catalog."char" AND NOT t.has_drop_pending
		AND r.relreplident OPERATOR(pg_catalog.<>) 'f'::pg_catalog."char"
		AND NOT (t.before_image OPERATOR(pg_catalog.=) 'key'::pg_catalog.name AND EXISTS (
			SELECT FROM pg_catalog.pg_index AS x
			JOIN pg_catalog.pg_class AS xc ON xc.oid OPERATOR(pg_catalog.=) x.indexrelid
			WHERE x.indrelid OPERATOR(pg_catalog.=) r.oid
				AND (r.relispartition OR xc.relname OPERATOR(pg_catalog.=) t.index_name)
				AND ((r.relreplident OPERATOR(pg_catalog.=) 'i'::pg_catalog."char" AND x.indisreplident)
					OR (r.relreplident OPERATOR(pg_catalog.=) 'd'::pg_catalog."char" AND x.indisprimary))))
), evt AS (
	SELECT pg_catalog.count(*) AS total,
		pg_catalog.count(*) FILTER (WHERE e.evtenabled OPERATOR(pg_catalog.<>) 'A'::pg_catalog."char") AS off,
		pg_catalog.min(e.evtname) FILTER (WHERE e.evtenabled OPERATOR(pg_catalog.<>) 'A'::pg_catalog."char") AS example
	FROM pg_catalog.pg_event_trigger AS e
	JOIN pg_catalog.pg_depend AS d ON d.classid OPERATOR(pg_catalog.=) 'pg_catalog.pg_event_trigger'::pg_catalog.regclass
		AND d.objid OPERATOR(pg_catalog.=) e.oid AND d.deptype OPERATOR(pg_catalog.=) 'e'::pg_catalog."char"
		AND d.refclassid OPERATOR(pg_catalog.=) 'pg_catalog.pg_extension'::pg_catalog.regclass
	JOIN pg_catalog.pg_extension AS x ON x.oid OPERATOR(pg_catalog.=) d.refobjid
		AND x.extname OPERATOR(pg_catalog.=) 'cdc'::pg_catalog.name
), role AS (
	SELECT pg_catalog.count(*) AS n,
		pg_catalog.string_agg(r.rolname::pg_catalog.text, ', ' ORDER BY r.rolname USING OPERATOR(pg_catalog.<)) AS names
	FROM pg_catalog.pg_roles AS r WHERE r.rolreplication AND NOT r.rolsuper
), stale AS (
	SELECT pg_catalog.count(*) AS n, pg_catalog.min(s.capture_instance) AS example
	FROM cdc._stale_query_functions() AS s
), version AS (
	SELECT pg_catalog.current_setting('server_version_num')::integer AS n
), bad AS (
	SELECT v.n OPERATOR(pg_catalog.<) 150016
		OR (v.n OPERATOR(pg_catalog.>=) 160000 AND v.n OPERATOR(pg_catalog.<) 160012)
		OR (v.n OPERATOR(pg_catalog.>=) 170000 AND v.n OPERATOR(pg_catalog.<) 170008)
		OR (v.n OPERATOR(pg_catalog.>=) 180000 AND v.n OPERATOR(pg_catalog.<) 180002) AS old
	FROM version AS v
)
SELECT 1 AS ordinal, 'settings' AS check_name,
	CASE WHEN b.preloaded AND b.wal_level OPERATOR(pg_catalog.=) 'logical' THEN 'ok' ELSE 'critical' END AS status,
	pg_catalog.concat('wal_level ', b.wal_level, CASE WHEN b.preloaded THEN ', preloaded' ELSE ', not preloaded' END) AS value,
	'wal_level logical, preloaded' AS threshold,
	CASE WHEN b.standby THEN 'This is a standby: capture runs on the primary.' END AS detail,
	CASE WHEN b.preloaded AND b.wal_level OPERATOR(pg_catalog.=) 'logical' THEN NULL
		ELSE 'Set shared_preload_libraries = ''cdc'' and wal_level = logical, and restart the server.' END AS action
FROM base AS b
UNION ALL
SELECT 2, 'database', CASE WHEN b.copied THEN 'critical' ELSE 'ok' END,
	CASE WHEN b.copied THEN 'copied' WHEN b.enabled THEN 'enabled' ELSE 'not enabled' END, NULL,
	CASE WHEN b.copied THEN 'It was enabled as another database, or on another server: it is a copy.' END,
	CASE WHEN b.copied THEN 'CALL cdc.resume_after_gap();' WHEN NOT b.enabled THEN 'CALL cdc.sp_cdc_enable_db();' END
FROM base AS b
UNION ALL
SELECT 10 OPERATOR(pg_catalog.+) h.ordinal, h.check_name, h.status, h.value, h.threshold, h.detail, h.action
FROM base AS b CROSS JOIN LATERAL cdc._health_checks(b.wanted) AS h WHERE b.enabled
UNION ALL
SELECT 31, 'gaps', CASE WHEN g.open OPERATOR(pg_catalog.>) 0 THEN 'critical' WHEN g.recent OPERATOR(pg_catalog.>) 0 THEN 'warning' ELSE 'ok' END,
	pg_catalog.format('%s open, %s recent', g.open, g.recent), pg_catalog.concat('0 open, none for ', pg_catalog.current_setting('cdc.health_gap_recent', true)),
	CASE WHEN g.open OPERATOR(pg_catalog.>) 0 OR g.recent OPERATOR(pg_catalog.>) 0 THEN g.reason END,
	CASE WHEN g.open_for_all OPERATOR(pg_catalog.>) 0 THEN 'CALL cdc.resume_after_gap();'
		WHEN g.open OPERATOR(pg_catalog.>) 0 THEN COALESCE(g.open_detail, 'SELECT * FROM cdc.gaps;')
		WHEN g.recent OPERATOR(pg_catalog.>) 0 THEN 'SELECT * FROM cdc.gaps; consumers go on from end_lsn.' END
FROM gap AS g, base AS b WHERE b.enabled
UNION ALL
SELECT 32, 'cleanup',
	CASE WHEN c.job_id IS NULL THEN 'ok'
		WHEN c.critical AND c.late OPERATOR(pg_catalog.>) c.critical_after THEN 'critical'
		WHEN NOT c.started OR c.last_status OPERATOR(pg_catalog.<>) ALL (ARRAY['succeeded', 'running'])
			OR (c.warning AND c.late OPERATOR(pg_catalog.>) c.warning_after) THEN 'warning'
		ELSE 'ok' END,
	CASE WHEN c.job_id IS NULL THEN 'no job'
		WHEN NOT c.started THEN 'stopped'
		WHEN c.last_status IS NULL THEN 'not run yet'
		ELSE pg_catalog.concat('last run ', c.last_status) END,
	pg_catalog.format('late by %s, %s', c.warning_text, c.critical_text),
	CASE WHEN c.job_id IS NULL THEN 'It comes with the first table that is enabled.'
		WHEN NOT c.started THEN 'The job is stopped: change tables grow.'
		WHEN c.late OPERATOR(pg_catalog.>) '0'::interval THEN pg_catalog.concat('A run is due since ',
			pg_catalog.date_trunc('second', pg_catalog.now() OPERATOR(pg_catalog.-) c.late), '. ', c.message)
		ELSE c.message END,
	CASE WHEN c.job_id IS NULL THEN NULL
		WHEN NOT c.started OR (c.warning AND c.late OPERATOR(pg_catalog.>) c.warning_after) THEN 'CALL cdc.sp_cdc_start_job(''cleanup'');'
		WHEN c.last_status OPERATOR(pg_catalog.<>) ALL (ARRAY['succeeded', 'running']) THEN 'SELECT * FROM cdc.dm_cdc_errors;' END
FROM cleanup AS c, base AS b WHERE b.enabled
UNION ALL
SELECT 33, 'change_tables', CASE WHEN r.n OPERATOR(pg_catalog.>) 0 THEN 'critical' ELSE 'ok' END,
	pg_catalog.format('%s refused', r.n), '0 refused', r.detail,
	CASE WHEN r.n OPERATOR(pg_catalog.>) 0 THEN COALESCE(r.command, 'Undo the change to the partition; capture goes on by itself.') END
FROM refused AS r, base AS b WHERE b.enabled
UNION ALL
SELECT 34, 'replica_identity', CASE WHEN i.n OPERATOR(pg_catalog.>) 0 THEN 'critical' ELSE 'ok' END,
	pg_catalog.format('%s weaker', i.n), '0 weaker',
	CASE WHEN i.n OPERATOR(pg_catalog.>) 0 THEN pg_catalog.format('Table %s does not log the before images that its capture instance needs.', i.example) END,
	CASE WHEN i.n OPERATOR(pg_catalog.>) 0 THEN pg_catalog.format('ALTER TABLE %s REPLICA IDENTITY FULL;', i.example) END
FROM identity AS i, base AS b WHERE b.enabled
UNION ALL
SELECT 35, 'event_triggers', CASE WHEN e.off OPERATOR(pg_catalog.>) 0 THEN 'warning' ELSE 'ok' END,
	pg_catalog.format('%s of %s enabled', e.total OPERATOR(pg_catalog.-) e.off, e.total), NULL,
	CASE WHEN e.off OPERATOR(pg_catalog.>) 0 THEN 'Commands on captured tables are not noticed when they are run.' END,
	CASE WHEN e.off OPERATOR(pg_catalog.>) 0 THEN pg_catalog.format('ALTER EVENT TRIGGER %I ENABLE ALWAYS;', e.example) END
FROM evt AS e
UNION ALL
SELECT 36, 'replication_roles', CASE WHEN r.n OPERATOR(pg_catalog.>) 0 THEN 'warning' ELSE 'ok' END,
	pg_catalog.format('%s', r.n), '0',
	CASE WHEN r.n OPERATOR(pg_catalog.>) 0 THEN pg_catalog.format('They can read all of the log, whatever their rights on tables: %s.', r.names) END,
	CASE WHEN r.n OPERATOR(pg_catalog.>) 0 THEN 'ALTER ROLE ... NOREPLICATION, for those that need no replication.' END
FROM role AS r
UNION ALL
SELECT 37, 'server_version', CASE WHEN o.old THEN 'warning' ELSE 'ok' END,
	pg_catalog.current_setting('server_version'), '15.16, 16.12, 17.8, 18.2',
	CASE WHEN o.old THEN 'This minor release has known bugs in logical decoding.' END,
	CASE WHEN o.old THEN 'Update the server to the newest minor release.' END
FROM bad AS o
UNION ALL
SELECT 38, 'query_functions', CASE WHEN f.n OPERATOR(pg_catalog.>) 0 THEN 'warning' ELSE 'ok' END,
	pg_catalog.format('%s not up to date', f.n), '0 not up to date',
	CASE WHEN f.n OPERATOR(pg_catalog.>) 0 THEN
		'The type of a column has changed while an object of a user''s depended on the functions, which cannot read what was captured since; or somebody has dropped or replaced them.' END,
	CASE WHEN f.n OPERATOR(pg_catalog.>) 0 THEN
		pg_catalog.format('Drop what depends on them, then CALL cdc.renew_query_functions(%L);', f.example) END
FROM stale AS f, base AS b WHERE b.enabled
UNION ALL
SELECT 39, 'version', v.status, pg_catalog.format('library %s, extension %s', v.library, v.extension),
	'the same', v.detail, v.action
FROM cdc._versions() AS v
UNION ALL
SELECT 40, 'catalog', CASE WHEN p.n OPERATOR(pg_catalog.>) 0 THEN 'critical' ELSE 'ok' END,
	pg_catalog.format('%s problems', p.n), '0 problems', p.first[1], p.first[2]
FROM (SELECT pg_catalog.count(*) AS n, (SELECT ARRAY[q.problem, q.action] FROM cdc._catalog_problems AS q
	ORDER BY q.ordinal USING OPERATOR(pg_catalog.<), q.problem USING OPERATOR(pg_catalog.<) LIMIT 1) AS first FROM cdc._catalog_problems) AS p;
GRANT SELECT ON cdc._health TO pg_monitor, pg_database_owner;
COMMENT ON VIEW cdc._health IS 'rows of cdc.health()';
COMMENT ON COLUMN cdc._health.ordinal IS 'order of the checks';
COMMENT ON COLUMN cdc._health.check_name IS 'name of the check';
COMMENT ON COLUMN cdc._health.status IS 'ok, warning or critical';
COMMENT ON COLUMN cdc._health.value IS 'what was found';
COMMENT ON COLUMN cdc._health.threshold IS 'what it is compared with: the limit, or warning and critical';
COMMENT ON COLUMN cdc._health.detail IS 'why';
COMMENT ON COLUMN cdc._health.action IS 'what to do next';

-- The health of capture in this database: one row for each check.
-- Result: check_name; status ok, warning or critical; value; threshold: the limit, or the two that begin warning and
-- critical; detail: why; action: the next command, NULL when there is nothing to do.
-- Thresholds are the settings cdc.health_*. Errors: none of its own. Privilege: pg_monitor, the database's owner.
CREATE FUNCTION cdc.health(
	OUT check_name text, OUT status text, OUT value text, OUT threshold text, OUT detail text, OUT action text)
RETURNS SETOF record
-- The planner takes the many checks for much work: compiling them would take seconds, running them takes milliseconds.
LANGUAGE sql VOLATILE SET jit = off
BEGIN ATOMIC
	SELECT h.check_name, h.status, h.value, h.threshold, h.detail, h.action
	FROM cdc._health AS h ORDER BY h.ordinal USING OPERATOR(pg_catalog.<);
END;
REVOKE ALL ON FUNCTION cdc.health() FROM PUBLIC;
GRANT EXECUTE ON FUNCTION cdc.health() TO pg_monitor, pg_database_owner;
COMMENT ON FUNCTION cdc.health() IS
	'checks of change data capture in this database: ok, warning or critical, with value, threshold and what to do';
