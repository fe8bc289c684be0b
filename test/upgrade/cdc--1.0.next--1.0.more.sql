/*
 * cdc--1.0.next--1.0.more.sql: one that adds columns to the tables which the running library reads and writes, as a
 * version may, and replaces a function. For t/061_upgrade.pl.
 */

-- complain if the script is sourced in psql rather than via ALTER EXTENSION
\echo Use "ALTER EXTENSION cdc UPDATE" to load this file. \quit

SELECT cdc._require_library('1.0');

ALTER TABLE cdc.change_tables ADD COLUMN later integer DEFAULT 7;
ALTER TABLE cdc.captured_columns ADD COLUMN later integer;
ALTER TABLE cdc.cdc_jobs ADD COLUMN later text DEFAULT 'new';
ALTER TABLE cdc.lsn_time_mapping ADD COLUMN later integer;
ALTER TABLE cdc._progress ADD COLUMN later integer;
ALTER TABLE cdc._ddl_queue ADD COLUMN later integer;
CREATE OR REPLACE FUNCTION cdc.fn_cdc_get_max_lsn()
RETURNS pg_lsn
LANGUAGE c STABLE STRICT PARALLEL SAFE
AS 'MODULE_PATHNAME', 'cdc_fn_cdc_get_max_lsn';
