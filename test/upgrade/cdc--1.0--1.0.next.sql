/* cdc--1.0--1.0.next.sql: a next version in which nothing is different. For t/061_upgrade.pl. */

-- complain if the script is sourced in psql rather than via ALTER EXTENSION
\echo Use "ALTER EXTENSION cdc UPDATE" to load this file. \quit

SELECT cdc._require_library('1.0');
