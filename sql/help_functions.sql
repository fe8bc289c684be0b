-- sp_cdc_help_change_data_capture and sp_cdc_get_captured_columns.
CREATE EXTENSION cdc;
\set SHOW_CONTEXT never

-- Not enabled.
SELECT * FROM cdc.sp_cdc_help_change_data_capture();
SELECT * FROM cdc.sp_cdc_get_captured_columns('public_item');

CALL cdc.sp_cdc_enable_db();
SELECT count(*) FROM cdc.sp_cdc_help_change_data_capture();

SET client_min_messages = warning;
DROP ROLE IF EXISTS regress_cdc_gate, regress_cdc_reader, regress_cdc_nobody, regress_cdc_owner;
RESET client_min_messages;
CREATE ROLE regress_cdc_gate;
CREATE ROLE regress_cdc_reader IN ROLE regress_cdc_gate;
CREATE ROLE regress_cdc_nobody;
CREATE ROLE regress_cdc_owner;
CREATE SCHEMA "My Schema";
CREATE DOMAIN amount AS numeric(10,2) CHECK (VALUE > 0);
CREATE TABLE item (gone integer, id bigint PRIMARY KEY, name varchar(20), plain text);
ALTER TABLE item DROP gone;
CREATE TABLE "My Schema"."My ""Table""" (a integer, "B b" text NOT NULL, c integer NOT NULL);
CREATE UNIQUE INDEX "My Index" ON "My Schema"."My ""Table""" ("B b", c);
CREATE TABLE untracked (id integer PRIMARY KEY);
ALTER TABLE untracked OWNER TO regress_cdc_owner;
GRANT USAGE ON SCHEMA "My Schema" TO PUBLIC;
GRANT SELECT ON item, untracked TO regress_cdc_reader;
CALL cdc.sp_cdc_enable_table('public', 'item', 'regress_cdc_gate');
CALL cdc.sp_cdc_enable_table('public', 'item', NULL, 'second', supports_net_changes => false, captured_column_list => 'id, plain', filegroup_name => 'pg_default');
CALL cdc.sp_cdc_enable_table('My Schema', 'My "Table"', NULL, 'mine', index_name => 'My Index');
CALL cdc.wait_for_capture();

\x on
SELECT source_schema, source_table, capture_instance, object_id::regclass, source_object_id::regclass, start_lsn = cdc.fn_cdc_get_min_lsn(capture_instance) AS start_lsn, end_lsn,
	supports_net_changes, has_drop_pending, role_name, index_name, filegroup_name, create_date BETWEEN now() - interval '1 hour' AND now() AS create_date, index_column_list, captured_column_list
FROM cdc.sp_cdc_help_change_data_capture();
\x off
-- The names and types of the result.
SELECT * FROM cdc.sp_cdc_help_change_data_capture() LIMIT 0 \gdesc
SELECT * FROM cdc.sp_cdc_get_captured_columns('mine') LIMIT 0 \gdesc
-- One table: none, one or two instances.
SELECT capture_instance FROM cdc.sp_cdc_help_change_data_capture('public', 'item');
SELECT capture_instance FROM cdc.sp_cdc_help_change_data_capture(source_name => 'My "Table"  ', source_schema => 'My Schema');
SELECT capture_instance FROM cdc.sp_cdc_help_change_data_capture(NULL, NULL) ORDER BY 1;

-- Errors.
SELECT * FROM cdc.sp_cdc_help_change_data_capture('public');
SELECT * FROM cdc.sp_cdc_help_change_data_capture(source_name => 'item');
SELECT * FROM cdc.sp_cdc_help_change_data_capture('public', 'nowhere');
SELECT * FROM cdc.sp_cdc_help_change_data_capture('nowhere', 'item');
SELECT * FROM cdc.sp_cdc_help_change_data_capture('', '');
SELECT * FROM cdc.sp_cdc_help_change_data_capture('public', 'untracked');
SELECT * FROM cdc.sp_cdc_get_captured_columns(NULL);
SELECT * FROM cdc.sp_cdc_get_captured_columns('  ');
SELECT * FROM cdc.sp_cdc_get_captured_columns('nowhere');

-- Columns of every kind of type, as the information schema describes them.
CREATE TYPE mood AS ENUM ('sad', 'happy');
CREATE TABLE types (
	id integer PRIMARY KEY, i2 smallint, i8 bigint, n numeric, n5 numeric(5), n52 numeric(5,2), n5m2 numeric(5,-2), r real, d double precision, m money, a amount,
	c char, c5 char(5), v varchar, v7 varchar(7), t text, nm name, b bit(3), vb varbit(4), dt date, tm time, tm3 time(3), ttz timetz(1), ts timestamp, ts0 timestamp(0), tstz timestamptz(4),
	iv interval, iv2 interval(2), ivd interval day to second(1), ivm interval year to month, by bytea, j jsonb, u uuid, arr integer[], varr varchar(3)[], e mood, rg int4range, computed integer GENERATED ALWAYS AS (id * 2) STORED);
CALL cdc.sp_cdc_enable_table('public', 'types', NULL);
SELECT column_name, column_id AS id, column_ordinal AS ord, data_type, character_maximum_length AS length, numeric_precision AS precision, numeric_precision_radix AS radix, numeric_scale AS scale, datetime_precision AS fraction
FROM cdc.sp_cdc_get_captured_columns('public_types') ORDER BY column_ordinal;
SELECT count(*) AS compared, count(*) FILTER (WHERE (c.character_maximum_length, c.numeric_precision, c.numeric_precision_radix, c.numeric_scale, c.datetime_precision)
	IS DISTINCT FROM (CASE WHEN i.data_type NOT LIKE 'bit%' THEN i.character_maximum_length END, i.numeric_precision, i.numeric_precision_radix, i.numeric_scale, i.datetime_precision)) AS different
FROM cdc.sp_cdc_get_captured_columns('public_types') AS c JOIN information_schema.columns AS i ON i.table_name = c.source_table AND i.column_name = c.column_name
WHERE c.column_name <> 'n5m2'; -- the information schema of 15 shows its negative scale as 2046
-- Ids are the source's, ordinals the instance's; both lists may differ between two instances.
SELECT source_schema, source_table, capture_instance, column_name, column_id, column_ordinal FROM cdc.sp_cdc_get_captured_columns('public_item') ORDER BY column_ordinal;
SELECT source_schema, source_table, capture_instance, column_name, column_id, column_ordinal FROM cdc.sp_cdc_get_captured_columns('second ') ORDER BY column_ordinal;
-- They follow the table's name, and keep the column's.
ALTER TABLE item RENAME plain TO simple;
ALTER TABLE item RENAME TO thing;
SELECT source_table, column_name FROM cdc.sp_cdc_get_captured_columns('second') ORDER BY column_ordinal;
ALTER TABLE thing RENAME TO item;

-- Who sees what.
SET ROLE regress_cdc_reader;
SELECT capture_instance FROM cdc.sp_cdc_help_change_data_capture() ORDER BY 1;
SELECT capture_instance FROM cdc.sp_cdc_help_change_data_capture('public', 'item') ORDER BY 1;
SELECT * FROM cdc.sp_cdc_help_change_data_capture('My Schema', 'My "Table"');
SELECT * FROM cdc.sp_cdc_help_change_data_capture('public', 'untracked');
SELECT * FROM cdc.sp_cdc_get_captured_columns('mine');
SELECT count(*) FROM cdc.sp_cdc_get_captured_columns('public_item');
SET ROLE regress_cdc_nobody;
SELECT capture_instance FROM cdc.sp_cdc_help_change_data_capture();
SELECT * FROM cdc.sp_cdc_help_change_data_capture('public', 'item');
SELECT * FROM cdc.sp_cdc_get_captured_columns('public_item');
SET ROLE regress_cdc_owner;
SELECT * FROM cdc.sp_cdc_help_change_data_capture('public', 'untracked');
RESET ROLE;

CALL cdc.sp_cdc_disable_db();
DROP EXTENSION cdc;
DROP TABLE item, untracked, types;
DROP SCHEMA "My Schema" CASCADE;
DROP TYPE mood;
DROP DOMAIN amount;
DROP ROLE regress_cdc_gate, regress_cdc_reader, regress_cdc_nobody, regress_cdc_owner;
