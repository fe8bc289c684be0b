/* cdc--1.0.sql: the whole SQL face of the extension, in the order of docs/reference/. */

-- complain if the script is sourced in psql rather than via CREATE EXTENSION
\echo Use "CREATE EXTENSION cdc" to load this file. \quit

--------------------------------------------------------------------------------
-- 1. Catalog tables
--
-- change_tables, captured_columns and index_columns are read by the decoder as of a WAL position
-- (user_catalog_table): fixed-length or PLAIN columns only, columns may be added, never rewritten.
-- Column numbers are known to src/catalog/catalog.hpp.
--------------------------------------------------------------------------------

CREATE SEQUENCE cdc._instance_id_seq AS integer;

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

CREATE TABLE cdc.index_columns (
	object_id oid NOT NULL,
	column_name name NOT NULL,
	index_ordinal smallint NOT NULL,
	column_id integer NOT NULL,
	PRIMARY KEY (object_id, index_ordinal)
) WITH (user_catalog_table = true);

CREATE TABLE cdc.ddl_history (
	source_object_id oid NOT NULL,
	object_id oid NOT NULL,
	required_column_update boolean NOT NULL,
	ddl_command text NOT NULL,
	ddl_lsn pg_lsn NOT NULL,
	ddl_time timestamptz NOT NULL,
	ddl_id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY
);

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
CREATE INDEX lsn_time_mapping_first_ordinal_idx ON cdc.lsn_time_mapping (first_ordinal);

CREATE TABLE cdc.cdc_jobs (
	database_id oid NOT NULL,
	job_type text NOT NULL CHECK (job_type OPERATOR(pg_catalog.=) ANY (ARRAY['capture'::text, 'cleanup'::text])),
	job_id uuid NOT NULL DEFAULT pg_catalog.gen_random_uuid(),
	maxtrans integer NOT NULL,
	maxscans integer NOT NULL,
	continuous boolean NOT NULL,
	pollinginterval bigint NOT NULL,
	retention bigint NOT NULL,
	threshold bigint NOT NULL,
	started boolean NOT NULL DEFAULT true,
	PRIMARY KEY (job_type)
);

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

-- Captured up to here: written in the same transaction as the change rows of each batch.
CREATE TABLE cdc._progress (
	captured_lsn pg_lsn NOT NULL,
	next_ordinal bigint NOT NULL,
	last_start_lsn pg_lsn NOT NULL,
	last_end_time timestamptz NOT NULL
) WITH (fillfactor = 10);

-- The replica identity each source table had before, to put back: i = index_name is used.
CREATE TABLE cdc._replica_identity (
	source_object_id oid PRIMARY KEY,
	former "char" NOT NULL,
	index_name name
);

-- Events for the capture worker, in WAL order with the data. Always empty: rows are inserted and
-- deleted in one breath, the WAL record is what is read.
CREATE TABLE cdc._ddl_queue (
	kind "char" NOT NULL,
	instance_id integer NOT NULL,
	object_id oid NOT NULL,
	source_object_id oid NOT NULL,
	command text
);

--------------------------------------------------------------------------------
-- 2. Enable and disable
--------------------------------------------------------------------------------

GRANT USAGE ON SCHEMA cdc TO PUBLIC;

-- 2.1 Enable and disable the database, its jobs
--
-- (sp_cdc_enable_db, sp_cdc_disable_db, sp_cdc_start_job, sp_cdc_stop_job, sp_cdc_scan)

-- 2.2 Enable and disable tables

/*
 * sp_cdc_enable_table: captures the changes of a table from the commit of this transaction on.
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
-- Event triggers. They never make a command fail for a reason of their own.
--------------------------------------------------------------------------------

CREATE FUNCTION cdc._on_ddl_command_end() RETURNS event_trigger
LANGUAGE c
AS 'MODULE_PATHNAME', 'cdc_on_ddl_command_end';
REVOKE ALL ON FUNCTION cdc._on_ddl_command_end() FROM PUBLIC;
COMMENT ON FUNCTION cdc._on_ddl_command_end() IS
	'partitions created, attached or detached: replica identity of captured tables';

CREATE FUNCTION cdc._on_sql_drop() RETURNS event_trigger
LANGUAGE c
AS 'MODULE_PATHNAME', 'cdc_on_sql_drop';
REVOKE ALL ON FUNCTION cdc._on_sql_drop() FROM PUBLIC;
COMMENT ON FUNCTION cdc._on_sql_drop() IS
	'captured tables that are dropped: marks their capture instances';

CREATE EVENT TRIGGER cdc_ddl_command_end ON ddl_command_end
	WHEN TAG IN ('CREATE TABLE', 'ALTER TABLE', 'CREATE SCHEMA')
	EXECUTE FUNCTION cdc._on_ddl_command_end();
ALTER EVENT TRIGGER cdc_ddl_command_end ENABLE ALWAYS;
COMMENT ON EVENT TRIGGER cdc_ddl_command_end IS 'change data capture: partitions of captured tables';

CREATE EVENT TRIGGER cdc_sql_drop ON sql_drop
	EXECUTE FUNCTION cdc._on_sql_drop();
ALTER EVENT TRIGGER cdc_sql_drop ENABLE ALWAYS;
COMMENT ON EVENT TRIGGER cdc_sql_drop IS 'change data capture: captured tables that are dropped';
