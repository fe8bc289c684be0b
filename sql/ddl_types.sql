-- required_column_update: the type of a captured column changed, in whatever way; and types that go.
\getenv srcdir PG_ABS_SRCDIR
\set include :srcdir '/sql/include/capture.sql'
\set ECHO none
\i :include
\set ECHO all
SET client_min_messages = warning;
CREATE FUNCTION history(instance text) RETURNS TABLE (n bigint, updated boolean, command text) LANGUAGE sql AS
	$$ SELECT row_number() OVER (), required_column_update, ddl_command FROM cdc.sp_cdc_get_ddl_history(instance) $$;
CREATE TYPE mood AS ENUM ('sad', 'ok');
CREATE TYPE pair AS (a integer, b text);
CREATE DOMAIN nested AS pair;
CREATE TYPE mood_range AS RANGE (subtype = mood);
CREATE TABLE held (id integer PRIMARY KEY, m mood, p nested[], r mood_range, not_captured mood);
CREATE TABLE only_uncaptured (id integer PRIMARY KEY, m mood);
CALL cdc.sp_cdc_enable_table('src', 'held', NULL, captured_column_list => 'id, m, p, r');
CALL cdc.sp_cdc_enable_table('src', 'only_uncaptured', NULL, captured_column_list => 'id');
INSERT INTO held VALUES (1, 'sad', ARRAY[ROW(1, 'x')::pair], '[sad,ok]', 'ok');
-- types that columns hold, directly or inside others
ALTER TYPE mood ADD VALUE 'happy';
ALTER TYPE mood RENAME VALUE 'ok' TO 'fine';
ALTER TYPE pair ADD ATTRIBUTE c integer;
INSERT INTO held VALUES (2, 'happy', ARRAY[ROW(1, 'x', 2)::pair], '[sad,happy]', 'fine');
ALTER TYPE pair RENAME ATTRIBUTE c TO cc;
ALTER TYPE pair DROP ATTRIBUTE cc;
CREATE TYPE elsewhere AS ENUM ('a');
ALTER TYPE elsewhere ADD VALUE 'b';
INSERT INTO held VALUES (3, 'fine', ARRAY[ROW(1, 'x')::pair], '[fine,happy]', 'fine');
CALL cdc.wait_for_capture();
SELECT * FROM history('src_held');
SELECT * FROM history('src_only_uncaptured');
SELECT op, "row" FROM changes('src_held');
SELECT * FROM replay('src_held');

-- the row type of another table
CREATE TABLE inner_row (a integer, b text);
CREATE TABLE unused_row (a integer);
CREATE TABLE outer_row (id integer PRIMARY KEY, i inner_row[], v text);
CALL cdc.sp_cdc_enable_table('src', 'outer_row', NULL);
INSERT INTO outer_row VALUES (1, ARRAY[ROW(1, 'x')::inner_row], 'v');
ALTER TABLE inner_row ADD COLUMN c integer;
ALTER TABLE unused_row ADD COLUMN c integer;
INSERT INTO outer_row VALUES (2, ARRAY[ROW(1, 'x', 2)::inner_row], 'v');
-- to what it was is no change; another collation is one
ALTER TABLE outer_row ALTER COLUMN v TYPE text;
ALTER TABLE outer_row ALTER COLUMN v TYPE text COLLATE "C";
ALTER TABLE outer_row ALTER COLUMN v TYPE varchar;
ALTER TABLE outer_row ALTER COLUMN v TYPE varchar(10);
CALL cdc.wait_for_capture();
SELECT * FROM history('src_outer_row');
SELECT op, "row" FROM changes('src_outer_row');

-- ALTER COLUMN ... TYPE: a captured column, another, both, through a parent, of a partitioned table
CREATE TABLE parent (a varchar(10), b integer);
CREATE TABLE child (id integer PRIMARY KEY) INHERITS (parent);
CALL cdc.sp_cdc_enable_table('src', 'child', NULL, captured_column_list => 'id, a');
CALL cdc.sp_cdc_enable_table('src', 'child', NULL, capture_instance => 'with_b', captured_column_list => 'id, b');
ALTER TABLE parent ALTER COLUMN a TYPE varchar(20);
ALTER TABLE parent ALTER COLUMN b TYPE bigint;
ALTER TABLE parent ADD COLUMN c integer, ALTER COLUMN a TYPE text, ALTER COLUMN b TYPE numeric;
CREATE TABLE root (id integer PRIMARY KEY, v varchar(10), w integer) PARTITION BY RANGE (id);
CREATE TABLE leaf (w integer, v varchar(10), id integer NOT NULL);
ALTER TABLE root ATTACH PARTITION leaf DEFAULT;
CALL cdc.sp_cdc_enable_table('src', 'root', NULL, captured_column_list => 'id, v');
ALTER TABLE root ALTER COLUMN v TYPE varchar(20);
ALTER TABLE root ALTER COLUMN w TYPE bigint;
CALL cdc.wait_for_capture();
SELECT * FROM history('src_child');
SELECT * FROM history('with_b');
SELECT * FROM history('src_root');

-- However deep it is inside others.
CREATE TYPE deep_0 AS ENUM ('a');
DO $$
BEGIN
	FOR i IN 1 .. 40 LOOP
		EXECUTE format('CREATE TYPE deep_%s AS (a integer, v deep_%s)', i, i - 1);
	END LOOP;
END $$;
CREATE TABLE holds_deep (id integer PRIMARY KEY, v deep_40);
CALL cdc.sp_cdc_enable_table('src', 'holds_deep', NULL);
ALTER TYPE deep_0 ADD VALUE 'b';
CALL cdc.wait_for_capture();
SELECT * FROM history('src_holds_deep');

-- A type that goes with CASCADE takes columns along. Of a captured column it cannot go: its change table has it, too.
CREATE TYPE going AS ENUM ('a');
CREATE TABLE loses (id integer PRIMARY KEY, v going, w text);
CALL cdc.sp_cdc_enable_table('src', 'loses', NULL, captured_column_list => 'id, w');
INSERT INTO loses VALUES (1, 'a', 'one');
DROP TYPE going CASCADE;
INSERT INTO loses VALUES (2, 'two');
DROP TYPE mood;
DROP TYPE mood CASCADE;
-- with its schema: refused in the end
DROP SCHEMA src CASCADE;
CALL cdc.wait_for_capture();
SELECT * FROM history('src_loses');
SELECT * FROM replay('src_loses');
CALL cdc.sp_cdc_disable_db();
DROP EXTENSION cdc;
DROP SCHEMA src CASCADE;
