-- Tables and commands that other people's test suites have and that capture once did not survive or follow.
\getenv srcdir PG_ABS_SRCDIR
\set include :srcdir '/sql/include/capture.sql'
\set ECHO none
\i :include
\set ECHO all
SET client_min_messages = warning;
CREATE TABLE stays (id integer PRIMARY KEY, v text);
CALL cdc.sp_cdc_enable_table('src', 'stays', NULL);

-- Everything that is cached becomes invalid (a publication for all tables does that) while instances of tables are there
-- that are gone: dropped and kept, dropped without an event trigger, dropped and not removed because somebody reads.
CREATE TABLE kept (id integer PRIMARY KEY);
CREATE TABLE unseen (id integer PRIMARY KEY);
CREATE TABLE kept_parts (id integer PRIMARY KEY) PARTITION BY RANGE (id);
CREATE TABLE kept_part PARTITION OF kept_parts DEFAULT;
CALL cdc.sp_cdc_enable_table('src', 'kept', NULL, drop_action => 'keep');
CALL cdc.sp_cdc_enable_table('src', 'unseen', NULL);
CALL cdc.sp_cdc_enable_table('src', 'kept_parts', NULL, drop_action => 'keep');
INSERT INTO kept VALUES (1);
INSERT INTO unseen VALUES (1);
INSERT INTO kept_parts VALUES (1);
DROP TABLE kept, kept_parts;
ALTER EVENT TRIGGER cdc_sql_drop DISABLE;
DROP TABLE unseen;
ALTER EVENT TRIGGER cdc_sql_drop ENABLE ALWAYS;
CALL cdc.wait_for_capture();
CREATE PUBLICATION regress_cdc_all FOR ALL TABLES;
DROP PUBLICATION regress_cdc_all;
INSERT INTO stays VALUES (1, 'after it');
CALL cdc.wait_for_capture();
SELECT * FROM changes('src_stays');
SELECT capture_instance, has_drop_pending FROM cdc.change_tables ORDER BY 1;
SELECT op, "row" FROM changes('src_kept') UNION ALL SELECT op, "row" FROM changes('src_unseen') UNION ALL SELECT op, "row" FROM changes('src_kept_parts');
-- The same by a transaction that touches very many tables.
DO $$
BEGIN
	FOR i IN 1 .. 300 LOOP
		EXECUTE format('CREATE TABLE many_%s (id integer PRIMARY KEY, v text)', i);
	END LOOP;
	INSERT INTO stays VALUES (2, 'among many');
	FOR i IN 1 .. 300 LOOP
		EXECUTE format('DROP TABLE many_%s', i);
	END LOOP;
END $$;
CALL cdc.wait_for_capture();
SELECT * FROM changes('src_stays') WHERE tx = 2;
CALL cdc.sp_cdc_disable_table('src', 'kept', 'src_kept');
CALL cdc.sp_cdc_disable_table('src', 'unseen', 'src_unseen');
CALL cdc.sp_cdc_disable_table('src', 'kept_parts', 'src_kept_parts');

-- A captured table that a rule turns into a view, which PostgreSQL 15 still allows, and that is dropped as one.
CREATE TABLE turning (id integer, v text);
CALL cdc.sp_cdc_enable_table('src', 'turning', NULL);
DO $$
BEGIN
	CREATE RULE "_RETURN" AS ON SELECT TO turning DO INSTEAD SELECT 1 AS id, 'view' AS v;
EXCEPTION WHEN wrong_object_type THEN
	DROP TABLE turning;
	CREATE VIEW turning AS SELECT 1 AS id, 'view' AS v;
END $$;
INSERT INTO stays VALUES (3, 'beside a view');
SELECT * FROM turning;
DROP VIEW turning;
CALL cdc.wait_for_capture();
SELECT poll_until($$NOT EXISTS (SELECT FROM cdc.change_tables WHERE capture_instance = 'src_turning')$$);
SELECT to_regclass('cdc.src_turning_ct') IS NULL AS gone;

-- A partition that is published with fewer columns: the warning says by whom.
CREATE TABLE parts (id integer, v text) PARTITION BY RANGE (id);
CREATE TABLE part PARTITION OF parts DEFAULT;
CALL cdc.sp_cdc_enable_table('src', 'parts', NULL);
CREATE PUBLICATION regress_cdc_narrow FOR TABLE part (id);
DROP PUBLICATION regress_cdc_narrow;

CALL cdc.wait_for_capture();
SELECT * FROM replay('src_stays');
SELECT * FROM log_problems(false);
SELECT failures FROM cdc.pg_stat_cdc WHERE database = current_database();
CALL cdc.sp_cdc_disable_db();
DROP EXTENSION cdc;
DROP SCHEMA src CASCADE;
