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
	column_type text STORAGE PLAIN NOT NULL,
	column_ordinal integer NOT NULL,
	is_computed boolean NOT NULL,
	PRIMARY KEY (object_id, column_ordinal)
) WITH (user_catalog_table = true);

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

