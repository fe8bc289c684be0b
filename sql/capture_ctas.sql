-- Tables that are filled by the statement that makes them, and tables that go.
\getenv srcdir PG_ABS_SRCDIR
\set include :srcdir '/sql/include/capture.sql'
\set ECHO none
\i :include
\set ECHO all

-- CREATE TABLE AS and SELECT INTO: the rows were there before the table could be captured.
CREATE TABLE made AS SELECT g AS id, 'v' || g AS v FROM generate_series(1, 3) g;
SELECT id, upper(v) AS v INTO into_made FROM made;
CALL cdc.sp_cdc_enable_table('src', 'made', NULL);
CALL cdc.sp_cdc_enable_table('src', 'into_made', NULL);
INSERT INTO made VALUES (4, 'new');
UPDATE made SET v = 'changed' WHERE id = 1;
DELETE FROM into_made WHERE id = 2;
CALL cdc.wait_for_capture();
SELECT * FROM changes('src_made');
SELECT * FROM changes('src_into_made');

-- Made, filled and captured in one transaction: what comes after enabling is in the log.
BEGIN;
CREATE TABLE same AS SELECT 1 AS id, 'before' AS v;
CALL cdc.sp_cdc_enable_table('src', 'same', NULL);
INSERT INTO same VALUES (2, 'after');
UPDATE same SET v = v || ', changed';
COMMIT;
CALL cdc.wait_for_capture();
SELECT * FROM changes('src_same');
SELECT cdc.fn_cdc_get_min_lsn('src_same') = min("__$start_lsn") AS first_is_min FROM cdc.src_same_ct;
-- taken back with a savepoint: nothing, and the table is as it was
BEGIN;
CREATE TABLE back (id integer PRIMARY KEY);
SAVEPOINT s;
CALL cdc.sp_cdc_enable_table('src', 'back', NULL);
INSERT INTO back VALUES (1);
ROLLBACK TO s;
INSERT INTO back VALUES (2);
COMMIT;
INSERT INTO back VALUES (3);
CALL cdc.wait_for_capture();
SELECT count(*) FROM cdc.change_tables WHERE capture_instance = 'src_back';
-- and enabled after that, in the middle of a transaction that goes on
BEGIN;
INSERT INTO back VALUES (4);
CALL cdc.sp_cdc_enable_table('src', 'back', NULL);
SAVEPOINT s;
INSERT INTO back VALUES (5);
ROLLBACK TO s;
INSERT INTO back VALUES (6);
COMMIT;
CALL cdc.wait_for_capture();
SELECT * FROM changes('src_back');

-- COPY FREEZE of a table that is captured before it is filled
BEGIN;
CREATE TABLE frozen (id integer PRIMARY KEY, v text);
CALL cdc.sp_cdc_enable_table('src', 'frozen', NULL);
COPY frozen FROM stdin WITH (FREEZE);
1	a
2	b
\.
COMMIT;
CALL cdc.wait_for_capture();
SELECT * FROM changes('src_frozen');
SELECT * FROM replay('src_frozen');

-- Made, captured, changed and dropped in one transaction: the change rows are all that is left.
CREATE TABLE stays (id integer PRIMARY KEY, v text);
CALL cdc.sp_cdc_enable_table('src', 'stays', NULL);
BEGIN;
CREATE TABLE short_lived (id integer, v text);
CALL cdc.sp_cdc_enable_table('src', 'short_lived', NULL, drop_action => 'keep');
INSERT INTO short_lived VALUES (1, 'one');
INSERT INTO stays VALUES (1, 'one');
DELETE FROM short_lived;
DROP TABLE short_lived;
INSERT INTO stays VALUES (2, 'two');
COMMIT;
CALL cdc.wait_for_capture();
SELECT * FROM changes('src_short_lived');
SELECT * FROM changes('src_stays');
-- Dropped while its changes wait: they are captured, large values included.
CREATE TABLE dropped (id integer PRIMARY KEY, v text);
ALTER TABLE dropped ALTER COLUMN v SET STORAGE EXTERNAL;
CALL cdc.sp_cdc_enable_table('src', 'dropped', NULL, drop_action => 'keep');
CALL cdc.sp_cdc_stop_job();
INSERT INTO dropped VALUES (1, repeat('one ', 5000));
UPDATE dropped SET id = 2;
DROP TABLE dropped;
CREATE TABLE dropped (id integer PRIMARY KEY, v text);
INSERT INTO dropped VALUES (3, 'another table');
INSERT INTO stays VALUES (3, 'after it');
CALL cdc.sp_cdc_start_job();
CALL cdc.wait_for_capture();
SELECT "__$operation" AS op, id, left(v, 10) AS v, length(v) FROM cdc.src_dropped_ct ORDER BY "__$start_lsn", "__$command_id", 1;
SELECT * FROM changes('src_stays') WHERE tx > 1;

-- An event trigger that captures each new table: CTAS fills it before that, an INSERT comes after it.
CREATE FUNCTION capture_new_tables() RETURNS event_trigger LANGUAGE plpgsql AS $$
DECLARE
	made record;
BEGIN
	FOR made IN SELECT c.schema_name, relname FROM pg_event_trigger_ddl_commands() c JOIN pg_class ON oid = objid WHERE object_type = 'table' AND schema_name = 'src' LOOP
		CALL cdc.sp_cdc_enable_table(made.schema_name, made.relname, NULL);
	END LOOP;
END $$;
CREATE EVENT TRIGGER regress_cdc_capture ON ddl_command_end WHEN TAG IN ('CREATE TABLE', 'CREATE TABLE AS', 'SELECT INTO') EXECUTE FUNCTION capture_new_tables();
CREATE TABLE auto AS SELECT g AS id FROM generate_series(1, 2) g;
SELECT 5 AS id INTO auto_into;
INSERT INTO auto VALUES (3);
INSERT INTO auto_into VALUES (6);
DROP EVENT TRIGGER regress_cdc_capture;
CALL cdc.wait_for_capture();
SELECT * FROM changes('src_auto');
SELECT * FROM changes('src_auto_into');
-- INSERT ... SELECT from a captured table into another, and back
INSERT INTO auto SELECT id + 10 FROM auto_into;
CREATE TABLE copy_of_made AS TABLE made WITH NO DATA;
CALL cdc.sp_cdc_enable_table('src', 'copy_of_made', NULL);
INSERT INTO copy_of_made TABLE made;
-- a materialized view and a temporary table are no tables of ours, but what is read from them is captured
CREATE MATERIALIZED VIEW mat AS TABLE made;
CREATE TEMP TABLE temporary AS TABLE mat;
INSERT INTO copy_of_made SELECT id + 100, v FROM temporary;
REFRESH MATERIALIZED VIEW mat;
CALL cdc.wait_for_capture();
SELECT * FROM changes('src_copy_of_made');

SELECT * FROM replay('src_made', $$SELECT g AS id, 'v' || g AS v FROM generate_series(1, 3) g$$);
SELECT * FROM replay('src_into_made', $$SELECT g AS id, 'V' || g AS v FROM generate_series(1, 3) g$$);
SELECT * FROM replay('src_stays');
SELECT * FROM replay('src_same', $$SELECT 1 AS id, 'before' AS v$$);
SELECT * FROM replay('src_back', 'SELECT g AS id FROM generate_series(2, 4) g');
SELECT * FROM replay('src_auto', 'SELECT g AS id FROM generate_series(1, 2) g');
SELECT * FROM replay('src_copy_of_made');
SELECT * FROM log_problems();

SET client_min_messages = warning;
CALL cdc.sp_cdc_disable_db();
DROP EXTENSION cdc;
DROP SCHEMA src CASCADE;
