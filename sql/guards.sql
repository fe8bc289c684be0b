-- What is refused on captured tables because the log would not show it: TRUNCATE and SET UNLOGGED.
CREATE EXTENSION cdc;
CALL cdc.sp_cdc_enable_db();
CREATE TABLE refuses (id integer PRIMARY KEY);
CREATE TABLE records (id integer PRIMARY KEY);
CREATE TABLE free (id integer PRIMARY KEY);
CREATE TABLE root (id integer PRIMARY KEY) PARTITION BY RANGE (id);
CREATE TABLE leaf PARTITION OF root DEFAULT;
\set VERBOSITY terse
CALL cdc.sp_cdc_enable_table('public', 'refuses', NULL);
CALL cdc.sp_cdc_enable_table('public', 'records', NULL, truncate_action => 'record');
CALL cdc.sp_cdc_enable_table('public', 'root', NULL, allow_partition_switch => false);
\set VERBOSITY default

INSERT INTO refuses VALUES (1);
INSERT INTO records VALUES (1);
INSERT INTO free VALUES (1);
INSERT INTO root VALUES (1);

-- TRUNCATE: refused by default, for the table itself, among others, by cascade, and for a leaf of a captured root
TRUNCATE refuses;
TRUNCATE free, refuses;
TRUNCATE root;
TRUNCATE leaf;
CREATE TABLE parent (id integer PRIMARY KEY);
CREATE TABLE child (id integer REFERENCES parent);
CALL cdc.sp_cdc_enable_table('public', 'child', NULL);
TRUNCATE parent CASCADE;
TRUNCATE free;
SELECT count(*) FROM refuses;
SELECT count(*) FROM leaf;

-- or recorded, with the rows before and after it
TRUNCATE records;
INSERT INTO records VALUES (2);
CALL cdc.wait_for_capture();
SELECT "__$operation", id FROM cdc.fn_cdc_get_all_changes_public_records(
	cdc.fn_cdc_get_min_lsn('public_records'), cdc.fn_cdc_get_max_lsn(), 'all') ORDER BY "__$start_lsn";
SELECT h.ddl_command, h.required_column_update, t.capture_instance, h.source_object_id::regclass,
	h.ddl_lsn IS NOT NULL AS has_lsn
FROM cdc.ddl_history h JOIN cdc.change_tables t USING (object_id);

-- SET UNLOGGED: refused for a captured table and for a leaf of a captured root
ALTER TABLE refuses SET UNLOGGED;
ALTER TABLE leaf SET UNLOGGED;
ALTER TABLE free SET UNLOGGED;
ALTER TABLE refuses ADD COLUMN v text, SET UNLOGGED;
SELECT relname, relpersistence FROM pg_class WHERE relname IN ('refuses', 'leaf', 'free') ORDER BY 1;

-- another access method: the same, whatever its handler; and no such partition
CREATE ACCESS METHOD regress_cdc_heap_2 TYPE TABLE HANDLER heap_tableam_handler;
ALTER TABLE refuses SET ACCESS METHOD regress_cdc_heap_2;
ALTER TABLE leaf SET ACCESS METHOD regress_cdc_heap_2;
ALTER TABLE refuses SET ACCESS METHOD heap;
ALTER TABLE free SET ACCESS METHOD regress_cdc_heap_2;
CREATE TABLE records_root (id integer PRIMARY KEY) PARTITION BY RANGE (id);
CALL cdc.sp_cdc_enable_table('public', 'records_root', NULL);
CREATE TABLE other_leaf PARTITION OF records_root DEFAULT USING regress_cdc_heap_2;
CREATE UNLOGGED TABLE other_leaf PARTITION OF records_root DEFAULT;
DROP TABLE records_root;
ALTER TABLE free SET ACCESS METHOD heap;
DROP ACCESS METHOD regress_cdc_heap_2;

-- a captured table that a superuser moves among ours is captured on
ALTER TABLE records SET SCHEMA cdc;
INSERT INTO cdc.records VALUES (3);
ALTER TABLE cdc.records SET SCHEMA public;
CALL cdc.wait_for_capture();
SELECT "__$operation", id FROM cdc.fn_cdc_get_all_changes_public_records(
	cdc.fn_cdc_get_min_lsn('public_records'), cdc.fn_cdc_get_max_lsn(), 'all') WHERE id = 3;

-- no longer captured: both pass
CALL cdc.sp_cdc_disable_table('public', 'refuses', 'all');
TRUNCATE refuses;
ALTER TABLE refuses SET UNLOGGED;

CALL cdc.sp_cdc_disable_db();
DROP EXTENSION cdc;
DROP TABLE refuses, records, free, root, child, parent;
