-- A type change that cannot be followed yet stops capture at the first row of the new type: everything before is there, nothing is lost.
\getenv srcdir PG_ABS_SRCDIR
\set include :srcdir '/sql/include/capture.sql'
\set ECHO none
\i :include
\set ECHO all

CREATE TABLE changed (id integer PRIMARY KEY, v varchar(5), n integer);
CREATE TABLE other (id integer PRIMARY KEY, v text);
CALL cdc.sp_cdc_enable_table('src', 'changed', NULL);
CALL cdc.sp_cdc_enable_table('src', 'other', NULL);
CREATE VIEW state AS
SELECT state, last_error_code AS code, last_error_message AS message, last_error_detail AS detail, last_error_hint AS hint
FROM cdc.pg_stat_cdc WHERE database = current_database();
-- Until capture has failed for that reason, so many times: it is tried again and again. Then what wait_for_capture
-- says, without LSNs.
CREATE FUNCTION wait_for_error(pattern text, times integer) RETURNS text LANGUAGE plpgsql AS $$
BEGIN
	PERFORM poll_until(format('(SELECT failures >= %s AND position(%L IN last_error_detail) > 0 FROM cdc.pg_stat_cdc WHERE database = current_database())', times, pattern));
	CALL cdc.wait_for_capture(timeout => '10ms');
	RETURN 'captured';
EXCEPTION WHEN SQLSTATE 'SC006' THEN
	GET STACKED DIAGNOSTICS pattern = PG_EXCEPTION_DETAIL;
	RETURN regexp_replace(pattern, '[0-9A-F]+/[0-9A-F]+', '<lsn>', 'g');
END $$;

-- Changes that leave the type alone are none.
INSERT INTO changed VALUES (1, 'a', 1);
ALTER TABLE changed ALTER COLUMN n SET DEFAULT 5, ALTER COLUMN n SET NOT NULL, ALTER COLUMN v SET STORAGE MAIN, ALTER COLUMN v SET STATISTICS 10;
ALTER TABLE changed ADD CHECK (n > 0);
ALTER TABLE changed ALTER COLUMN n TYPE integer USING n + 100;
INSERT INTO changed VALUES (2, 'b', 2);
CALL cdc.wait_for_capture();
SELECT * FROM changes('src_changed');

-- All of it in one batch: rows before the change, the change, rows after it, and another table's. Everything before
-- the first row of the new type is there, also of other tables; nothing behind it.
CALL cdc.sp_cdc_stop_job();
INSERT INTO changed VALUES (3, 'befor', 3);
INSERT INTO other VALUES (3, 'before');
UPDATE changed SET n = n + 1 WHERE id = 3;
ALTER TABLE changed ALTER COLUMN n TYPE bigint;
INSERT INTO other VALUES (4, 'after, but before the first such row');
INSERT INTO changed VALUES (5, 'after', 5000000000);
INSERT INTO other VALUES (6, 'behind it');
CALL cdc.sp_cdc_start_job();
SELECT wait_for_error('bigint', 2);
SELECT * FROM changes('src_changed') WHERE tx > 2;
SELECT * FROM changes('src_other');
\x on
SELECT * FROM state;
\x off
-- an instance that goes is no obstacle any more, and the rest comes
CALL cdc.sp_cdc_disable_table('src', 'changed', 'src_changed');
CALL cdc.sp_cdc_enable_table('src', 'changed', NULL);
UPDATE changed SET n = n + 1 WHERE id = 5;
CALL cdc.wait_for_capture();
SELECT * FROM changes('src_other');
SELECT * FROM changes('src_changed');
SELECT state, failures FROM cdc.pg_stat_cdc WHERE database = current_database();

-- Another typmod counts as another type.
ALTER TABLE changed ALTER COLUMN v TYPE varchar(50);
INSERT INTO changed VALUES (7, 'longer than 5', 7);
SELECT wait_for_error('(50)', 1);
SELECT message, detail FROM state;
CALL cdc.sp_cdc_disable_table('src', 'changed', 'src_changed');
CALL cdc.wait_for_capture();
-- the change itself is in no row: capture does not stop before there is one
CALL cdc.sp_cdc_enable_table('src', 'changed', NULL);
ALTER TABLE changed ALTER COLUMN v TYPE text;
INSERT INTO other VALUES (8, 'captured');
CALL cdc.wait_for_capture();
SELECT "row" FROM changes('src_other') WHERE tx = 4;
ALTER TABLE changed ALTER COLUMN v TYPE varchar(50);
INSERT INTO changed VALUES (9, 'captured', 9);
CALL cdc.wait_for_capture();
SELECT * FROM changes('src_changed');

-- Changed and used in one transaction, with a rewrite between: the rewrite gives no rows.
BEGIN;
UPDATE changed SET n = 10 WHERE id = 9;
ALTER TABLE changed DROP CONSTRAINT changed_n_check;
ALTER TABLE changed ALTER COLUMN n DROP DEFAULT;
ALTER TABLE changed ALTER COLUMN n TYPE text USING 'n' || n;
ALTER TABLE changed ALTER COLUMN n TYPE bigint USING substr(n, 2)::bigint;
UPDATE changed SET n = 11 WHERE id = 9;
COMMIT;
CALL cdc.wait_for_capture();
SELECT op, mask, "row" FROM changes('src_changed') WHERE tx = 2;
SELECT * FROM replay('src_changed', 'SELECT * FROM changed WHERE id <> 9');
SELECT * FROM replay('src_other');
SELECT * FROM log_problems(whole => false);

-- Each kind of type change is noticed at its first row, nothing else is: the column as it was made, and what it becomes.
CREATE TYPE mood AS ENUM ('ok');
CREATE DOMAIN short AS varchar(3);
CREATE TYPE pair AS (a integer, b text);
CALL cdc.sp_cdc_stop_job();
DO $$
DECLARE
	changed record;
	result text;
BEGIN
	FOR changed IN SELECT * FROM (VALUES
		('integer', 'integer'), ('integer', 'smallint'), ('numeric(10,2)', 'numeric(10,3)'), ('numeric', 'numeric(10,2)'), ('timestamp', 'timestamptz'),
		('timestamp(3)', 'timestamp'), ('text', 'varchar'), ('text', 'text COLLATE "C"'), ('varchar(3)', 'src.short'), ('src.short', 'varchar(3)'),
		('src.short', 'varchar(4)'), ('integer', 'text'), ('text', 'text[]'), ('text', 'src.pair'), ('src.pair', 'text'), ('src.mood', 'text'), ('char(3)', 'bpchar')) v (former, new)
	LOOP
		EXECUTE format('CREATE TABLE src.tried (v %s)', changed.former);
		CALL cdc.sp_cdc_enable_table('src', 'tried', NULL);
		EXECUTE format('ALTER TABLE src.tried ALTER COLUMN v TYPE %s USING NULL', changed.new);
		INSERT INTO src.tried VALUES (NULL);
		COMMIT;
		BEGIN
			CALL cdc.sp_cdc_scan();
			result := 'captured';
		EXCEPTION WHEN datatype_mismatch THEN
			GET STACKED DIAGNOSTICS result = PG_EXCEPTION_DETAIL;
		END;
		RAISE NOTICE '% -> %: %', changed.former, changed.new, regexp_replace(result, 'Capture stands.*', '');
		CALL cdc.sp_cdc_disable_table('src', 'tried', 'src_tried');
		DROP TABLE src.tried;
		COMMIT;
	END LOOP;
END $$;

SET client_min_messages = warning;
CALL cdc.sp_cdc_disable_db();
DROP SCHEMA src CASCADE;
DROP EXTENSION cdc;
