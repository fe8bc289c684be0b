-- DDL that our event triggers do not see: noticed at the next row, and never a wrong value.
\getenv srcdir PG_ABS_SRCDIR
\set include :srcdir '/sql/include/capture.sql'
\set ECHO none
\i :include
\set ECHO all
SET client_min_messages = warning;
CREATE TABLE item (id integer PRIMARY KEY, a text, b text, c integer);
CREATE TABLE parted (id integer PRIMARY KEY) PARTITION BY RANGE (id);
CREATE TABLE parted_1 PARTITION OF parted FOR VALUES FROM (0) TO (10);
CREATE TABLE parted_2 PARTITION OF parted FOR VALUES FROM (10) TO (20);
CALL cdc.sp_cdc_enable_table('src', 'item', NULL);
CALL cdc.sp_cdc_enable_table('src', 'parted', NULL);
INSERT INTO item VALUES (1, 'a', 'b', 1);
ALTER EVENT TRIGGER cdc_ddl_command_start DISABLE;
ALTER EVENT TRIGGER cdc_ddl_command_end DISABLE;
ALTER EVENT TRIGGER cdc_sql_drop DISABLE;
-- in one transaction with rows before and after, too
BEGIN;
UPDATE item SET a = 'aa';
ALTER TABLE item DROP COLUMN b;
INSERT INTO item VALUES (2, 'a', 2);
ALTER TABLE item ADD COLUMN b integer DEFAULT 7;
INSERT INTO item VALUES (3, 'a', 3, 4);
ALTER TABLE item RENAME COLUMN a TO x;
ALTER TABLE item RENAME COLUMN b TO a;
UPDATE item SET x = 'x' || id, a = 8;
COMMIT;
ALTER TABLE item RENAME TO thing;
INSERT INTO thing VALUES (4, 'four', 4, 4);
-- the key: capture goes on with the columns that identified the rows
ALTER TABLE thing DROP CONSTRAINT item_pkey;
UPDATE thing SET id = 5 WHERE id = 4;
CALL cdc.wait_for_capture();
SELECT tx, op, mask, "row" FROM changes('src_item');
SELECT * FROM replay('src_item');
SELECT * FROM cdc.sp_cdc_get_ddl_history('src_item');
-- a table that is dropped: nothing more comes, what came is there, and it can be disabled
DROP TABLE thing;
CREATE TABLE other (id integer PRIMARY KEY);
CALL cdc.sp_cdc_enable_table('src', 'other', NULL);
INSERT INTO other VALUES (1);
CALL cdc.wait_for_capture();
SELECT count(*) FROM changes('src_item');
SELECT * FROM replay('src_other');
-- health() names it; what it says is done, and leaves nothing behind. With it goes what was remembered of partitions that
-- were dropped unseen.
DROP TABLE parted_2;
SELECT status, value, detail, action FROM cdc.health() WHERE check_name = 'catalog';
SELECT action FROM cdc.health() WHERE check_name = 'catalog' \gexec
SELECT status, value, detail, action FROM cdc.health() WHERE check_name = 'catalog';
SELECT source_object_id::regclass FROM cdc._replica_identity ORDER BY source_object_id::regclass::text;
CALL cdc.wait_for_capture();
SELECT capture_instance FROM cdc.change_tables ORDER BY 1;
SELECT relname FROM pg_class WHERE relnamespace = 'cdc'::regnamespace AND relname ~ '^(src_item|_dropped)';
-- the others of two, and one with a partition tree
CALL cdc.sp_cdc_enable_table('src', 'other', NULL, 'second');
DROP TABLE other, parted;
SELECT status, value, detail, action FROM cdc.health() WHERE check_name = 'catalog';
SELECT action FROM cdc.health() WHERE check_name = 'catalog' \gexec
SELECT action FROM cdc.health() WHERE check_name = 'catalog' \gexec
SELECT action FROM cdc.health() WHERE check_name = 'catalog' \gexec
SELECT status, value FROM cdc.health() WHERE check_name = 'catalog';
SELECT count(*) FROM cdc.change_tables;
SELECT count(*) FROM cdc._replica_identity;
CREATE TABLE other (id integer PRIMARY KEY);
CALL cdc.sp_cdc_enable_table('src', 'other', NULL);
ALTER EVENT TRIGGER cdc_ddl_command_start ENABLE ALWAYS;
ALTER EVENT TRIGGER cdc_ddl_command_end ENABLE ALWAYS;
ALTER EVENT TRIGGER cdc_sql_drop ENABLE ALWAYS;
-- ENABLE ALWAYS: this does not switch them off
SET session_replication_role = replica;
ALTER TABLE other ADD COLUMN v text;
RESET session_replication_role;
CALL cdc.wait_for_capture();
SELECT ddl_command FROM cdc.sp_cdc_get_ddl_history('src_other');
-- nobody calls them
SELECT cdc._on_ddl_command_start();
SELECT cdc._on_ddl_command_end();
SELECT cdc._on_sql_drop();
-- A failure of ours is not the user's: a warning, and the command is done.
RESET client_min_messages;
SET allow_system_table_mods = on;
ALTER TABLE cdc._ddl_queue RENAME TO _hidden;
ALTER TABLE other ADD COLUMN w text;
ALTER TABLE cdc._hidden RENAME TO _ddl_queue;
RESET allow_system_table_mods;
SELECT attname FROM pg_attribute WHERE attrelid = 'other'::regclass AND attname = 'w';
INSERT INTO other VALUES (2);
CALL cdc.wait_for_capture();
SELECT * FROM replay('src_other');
SET client_min_messages = warning;
CALL cdc.sp_cdc_disable_db();
DROP EXTENSION cdc;
DROP SCHEMA src CASCADE;
