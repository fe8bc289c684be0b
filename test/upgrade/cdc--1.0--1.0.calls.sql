/* cdc--1.0--1.0.calls.sql: a script that enables a table, which no script may. For t/150_error_paths.pl. */

-- complain if the script is sourced in psql rather than via ALTER EXTENSION
\echo Use "ALTER EXTENSION cdc UPDATE" to load this file. \quit

SELECT cdc._require_library('1.0');
CALL cdc.sp_cdc_enable_table('public', 't', NULL);
