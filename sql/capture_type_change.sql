-- The type of a captured column changes: capture goes on, no value is rewritten, readers see one type for old and new values.
\getenv srcdir PG_ABS_SRCDIR
\set include :srcdir '/sql/include/capture.sql'
\set ECHO none
\i :include
\set ECHO all

CREATE TABLE changed (id integer PRIMARY KEY, v varchar(5), n integer);
CREATE TABLE other (id integer PRIMARY KEY, v text);
CALL cdc.sp_cdc_enable_table('src', 'changed', NULL);
CALL cdc.sp_cdc_enable_table('src', 'other', NULL);
-- The physical columns, what readers get, what the catalog says of the source.
CREATE VIEW columns AS
SELECT capture_instance, column_name, column_type,
	(SELECT string_agg(attname || ' ' || format_type(atttypid, atttypmod), ', ' ORDER BY attnum) FROM pg_attribute
	 WHERE attrelid = object_id AND (attname = column_name OR attname LIKE '\_\_$' || column_ordinal || '\_%')) AS physical,
	(SELECT format_type(atttypid, atttypmod) FROM pg_attribute
	 WHERE attrelid = format('cdc._all_changes_%s', instance_id)::regclass AND attname = column_name) AS readers
FROM cdc.captured_columns JOIN cdc.change_tables USING (object_id);
CREATE VIEW history AS
SELECT capture_instance, required_column_update AS required, ddl_command, dense_rank() OVER (ORDER BY ddl_lsn) AS tx
FROM cdc.ddl_history JOIN cdc.change_tables USING (object_id);

CREATE FUNCTION error_of(command text) RETURNS text LANGUAGE plpgsql AS $$
BEGIN
	EXECUTE command;
	RETURN NULL;
EXCEPTION WHEN OTHERS THEN
	RETURN SQLSTATE || ': ' || SQLERRM;
END $$;

-- Changes that leave the type alone are none.
INSERT INTO changed VALUES (1, 'a', 1);
ALTER TABLE changed ALTER COLUMN n SET DEFAULT 5, ALTER COLUMN n SET NOT NULL, ALTER COLUMN v SET STORAGE MAIN, ALTER COLUMN v SET STATISTICS 10;
ALTER TABLE changed ADD CHECK (n > 0);
INSERT INTO changed VALUES (2, 'b', 2);
CALL cdc.wait_for_capture();
SELECT * FROM columns WHERE capture_instance = 'src_changed';

-- In place where the bytes are the same: the table keeps its files.
CREATE TABLE files AS SELECT relid, pg_relation_filenode(relid) AS file FROM pg_partition_tree('cdc.src_changed_ct') WHERE isleaf;
ALTER TABLE changed ALTER COLUMN v TYPE varchar(50);
-- at the commit of the command, not at the next row
CALL cdc.wait_for_capture();
SELECT * FROM columns WHERE capture_instance = 'src_changed';
INSERT INTO changed VALUES (3, 'longer than five', 3);
ALTER TABLE changed ALTER COLUMN v TYPE text;
INSERT INTO changed VALUES (4, 'text', 4);
CALL cdc.wait_for_capture();
SELECT * FROM columns WHERE capture_instance = 'src_changed';

-- With a rewrite of the source, all in one batch, other tables' rows between.
CALL cdc.sp_cdc_stop_job();
INSERT INTO changed VALUES (5, 'before', 5);
INSERT INTO other VALUES (5, 'before');
UPDATE changed SET n = n + 1 WHERE id = 5;
ALTER TABLE changed ALTER COLUMN n TYPE bigint;
INSERT INTO other VALUES (6, 'between');
INSERT INTO changed VALUES (6, 'after', 5000000000);
UPDATE changed SET n = n + 1 WHERE id = 5;
INSERT INTO other VALUES (7, 'behind');
CALL cdc.sp_cdc_start_job();
CALL cdc.wait_for_capture();
SELECT * FROM columns WHERE capture_instance = 'src_changed';
SELECT op, mask, "row" FROM changes('src_changed') WHERE tx > 4;
SELECT * FROM replay('src_changed');
SELECT * FROM replay('src_other');
-- 32 bits again: what was there needs 64, so readers keep them
ALTER TABLE changed ALTER COLUMN n TYPE integer USING CASE WHEN n < 100 THEN n ELSE 100 END;
UPDATE changed SET n = 7 WHERE id = 5;
CALL cdc.wait_for_capture();
SELECT * FROM columns WHERE capture_instance = 'src_changed' AND column_name = 'n';
SELECT op, mask, "row" FROM changes('src_changed') WHERE tx = 9;

-- Several in one transaction, with rows before, between and after, and savepoints. What no row was of leaves no column.
BEGIN;
INSERT INTO changed VALUES (10, 'in one', 10);
ALTER TABLE changed DROP CONSTRAINT changed_n_check, ALTER COLUMN n DROP DEFAULT;
ALTER TABLE changed ALTER COLUMN n TYPE numeric(10, 2);
ALTER TABLE changed ALTER COLUMN n TYPE smallint;
SAVEPOINT s;
ALTER TABLE changed ALTER COLUMN n TYPE date USING 'today';
INSERT INTO changed VALUES (11, 'rolled back', 'today');
ROLLBACK TO s;
UPDATE changed SET n = 11 WHERE id = 10;
ALTER TABLE changed ALTER COLUMN n TYPE text;
UPDATE changed SET n = 'twelve' WHERE id = 10;
DELETE FROM changed WHERE id = 10;
COMMIT;
CALL cdc.wait_for_capture();
SELECT * FROM columns WHERE capture_instance = 'src_changed' AND column_name = 'n';
SELECT op, mask, "row" FROM changes('src_changed') WHERE tx = 10;
-- and back: a physical column of that type is there
ALTER TABLE changed ALTER COLUMN n TYPE bigint USING n::bigint;
UPDATE changed SET n = 13 WHERE id = 6;
CALL cdc.wait_for_capture();
SELECT * FROM columns WHERE capture_instance = 'src_changed' AND column_name = 'n';
SELECT op, mask, "row" FROM changes('src_changed') WHERE tx = 11;
SELECT * FROM history;
-- A rewrite gives no rows: ids 6 and 5 were changed by USING.
SELECT * FROM replay('src_changed');
SELECT relid FROM pg_partition_tree('cdc.src_changed_ct') JOIN files USING (relid) WHERE pg_relation_filenode(relid) <> file;
SELECT * FROM log_problems();
-- net changes and masks with columns of many types
SELECT "__$operation", id, v, n FROM cdc.fn_cdc_get_net_changes_src_changed(cdc.fn_cdc_get_min_lsn('src_changed'), cdc.fn_cdc_get_max_lsn(), 'all') ORDER BY id;
SELECT column_name, data_type FROM cdc.sp_cdc_get_captured_columns('src_changed');

-- The key itself.
ALTER TABLE other ALTER COLUMN id TYPE bigint;
INSERT INTO other VALUES (5000000000, 'big'), (1, 'small');
UPDATE other SET id = 6000000000 WHERE id = 5;
CALL cdc.wait_for_capture();
SELECT * FROM replay('src_other');
SELECT "__$operation", id, v FROM cdc.fn_cdc_get_net_changes_src_other(cdc.fn_cdc_get_min_lsn('src_other'), cdc.fn_cdc_get_max_lsn(), 'all') ORDER BY id, v;

-- Event triggers were off: noticed at the next row, no wrong value, and the history says so.
ALTER EVENT TRIGGER cdc_ddl_command_end DISABLE;
ALTER TABLE other ALTER COLUMN v TYPE bytea USING v::bytea;
ALTER EVENT TRIGGER cdc_ddl_command_end ENABLE ALWAYS;
CALL cdc.wait_for_capture();
SELECT * FROM columns WHERE capture_instance = 'src_other';
INSERT INTO other VALUES (9, '\x01ff');
CALL cdc.wait_for_capture();
SELECT * FROM columns WHERE capture_instance = 'src_other';
SELECT op, "row" FROM changes('src_other') WHERE "row" LIKE '(9%';
SELECT required, ddl_command FROM history WHERE capture_instance = 'src_other';

-- A partitioned source, two instances of it, one without the column.
CREATE TABLE parted (id integer, p integer, v integer, w text, PRIMARY KEY (id, p)) PARTITION BY LIST (p);
CREATE TABLE parted_1 PARTITION OF parted FOR VALUES IN (1);
CREATE TABLE parted_2 (w text, gone integer, v integer, p integer NOT NULL, id integer NOT NULL);
ALTER TABLE parted_2 DROP COLUMN gone;
ALTER TABLE parted ATTACH PARTITION parted_2 FOR VALUES IN (2);
CALL cdc.sp_cdc_enable_table('src', 'parted', NULL);
CALL cdc.sp_cdc_enable_table('src', 'parted', NULL, 'narrow', captured_column_list => 'id, p, w');
INSERT INTO parted VALUES (1, 1, 1, 'a'), (2, 2, 2, 'b');
ALTER TABLE parted ALTER COLUMN v TYPE numeric;
UPDATE parted SET v = v + 0.5;
ALTER TABLE parted ALTER COLUMN w TYPE varchar(3);
UPDATE parted SET p = 3 - p, w = 'c';
CALL cdc.wait_for_capture();
SELECT capture_instance, column_name, column_type, physical, readers FROM columns WHERE capture_instance IN ('src_parted', 'narrow') AND column_name IN ('v', 'w');
SELECT op, mask, "row" FROM changes('src_parted');
SELECT * FROM replay('src_parted');
SELECT * FROM replay('narrow');
SELECT * FROM history WHERE capture_instance IN ('src_parted', 'narrow');

-- A type of the source's own: history needs it as long as the instance is there.
CREATE TYPE mood AS ENUM ('ok', 'bad');
CREATE TABLE moods (id integer PRIMARY KEY, m text);
CALL cdc.sp_cdc_enable_table('src', 'moods', NULL);
INSERT INTO moods VALUES (1, 'ok');
ALTER TABLE moods ALTER COLUMN m TYPE mood USING m::mood;
INSERT INTO moods VALUES (2, 'bad');
CALL cdc.wait_for_capture();
SELECT "row" FROM changes('src_moods');
SELECT * FROM columns WHERE capture_instance = 'src_moods';
ALTER TABLE moods ALTER COLUMN m TYPE text;
INSERT INTO moods VALUES (3, 'neither');
CALL cdc.wait_for_capture();
SELECT "row" FROM changes('src_moods');
\set VERBOSITY terse
DROP TYPE mood;
\set VERBOSITY default
CALL cdc.sp_cdc_disable_table('src', 'moods', 'src_moods');
CALL cdc.wait_for_capture();
SELECT poll_until('NOT EXISTS (SELECT FROM pg_class WHERE relname LIKE ''\_dropped\_%'')');
DROP TYPE mood;
-- gone before it was captured: of a table where it came and went while capture was stopped
CREATE TYPE mood AS ENUM ('ok', 'bad');
CREATE TABLE gone (id integer PRIMARY KEY, m text, n integer);
CALL cdc.sp_cdc_enable_table('src', 'gone', NULL);
INSERT INTO gone VALUES (1, 'ok', 1);
CALL cdc.wait_for_capture();
CALL cdc.sp_cdc_stop_job();
ALTER TABLE gone ALTER COLUMN m TYPE mood USING m::mood;
INSERT INTO gone VALUES (2, 'bad', 2);
ALTER TABLE gone ALTER COLUMN m TYPE text;
DROP TYPE mood;
INSERT INTO gone VALUES (3, 'ok', 3);
CALL cdc.sp_cdc_start_job();
CALL cdc.wait_for_capture();
SELECT reason, detail, end_lsn IS NOT NULL AS over FROM cdc.gaps;
SELECT error_of($$SELECT * FROM changes('src_gone')$$);
SELECT id, m, n FROM cdc.fn_cdc_get_all_changes_src_gone((SELECT end_lsn FROM cdc.gaps), cdc.fn_cdc_get_max_lsn(), 'all');
-- A column of a change table that somebody dropped: what it had is a gap, what comes is captured. Also while another
-- gap is open, which began later than what is lost.
\set VERBOSITY terse
SET client_min_messages = error;
ALTER TABLE other REPLICA IDENTITY NOTHING;
DELETE FROM other WHERE id = (SELECT max(id) FROM other);
CALL cdc.wait_for_capture();
SET allow_system_table_mods = on;
ALTER TABLE cdc.src_other_ct DROP COLUMN v;
ALTER EXTENSION cdc DROP VIEW cdc._changes_2;
ALTER EXTENSION cdc DROP FUNCTION cdc.fn_cdc_get_all_changes_src_other;
ALTER EXTENSION cdc DROP FUNCTION cdc.fn_cdc_get_net_changes_src_other;
DROP VIEW cdc._changes_2 CASCADE;
ALTER TABLE cdc.src_other_ct DROP COLUMN v;
RESET allow_system_table_mods;
ALTER TABLE other ADD COLUMN for_a_new_layout integer;
INSERT INTO other VALUES (11, '\x0b');
CALL cdc.wait_for_capture();
ALTER TABLE other REPLICA IDENTITY FULL;
RESET client_min_messages;
\set VERBOSITY default
INSERT INTO other VALUES (12, '\x0c');
CALL cdc.wait_for_capture();
SELECT reason, detail, end_lsn IS NOT NULL AS over, end_lsn = lag(start_lsn) OVER (ORDER BY gap_id) AS touches_the_former
FROM cdc.gaps ORDER BY gap_id DESC LIMIT 2;
SELECT error_of($$SELECT * FROM changes('src_other')$$);
SELECT id, v FROM cdc.fn_cdc_get_all_changes_src_other((SELECT max(end_lsn) FROM cdc.gaps), cdc.fn_cdc_get_max_lsn(), 'all');

SELECT * FROM log_problems(whole => false);
SELECT state, failures FROM cdc.pg_stat_cdc WHERE database = current_database();
SET client_min_messages = warning;
CALL cdc.sp_cdc_disable_db();
DROP SCHEMA src CASCADE;
DROP EXTENSION cdc;
