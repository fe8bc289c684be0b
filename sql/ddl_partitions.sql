-- Partitions of a captured table in ddl_history, and what allow_partition_switch refuses.
\getenv srcdir PG_ABS_SRCDIR
\set include :srcdir '/sql/include/capture.sql'
\set ECHO none
\i :include
\set ECHO all
CREATE FUNCTION history(instance text) RETURNS TABLE (n bigint, updated boolean, command text) LANGUAGE sql AS
	$$ SELECT row_number() OVER (), required_column_update, ddl_command FROM cdc.sp_cdc_get_ddl_history(instance) $$;

-- the warnings at enabling, each with its number
CREATE TABLE free (id integer, region text, v text, PRIMARY KEY (region, id)) PARTITION BY LIST (region);
CREATE TABLE free_a PARTITION OF free FOR VALUES IN ('a');
CREATE TABLE bound (id integer, region text, v text, PRIMARY KEY (region, id)) PARTITION BY LIST (region);
CREATE TABLE bound_a PARTITION OF bound FOR VALUES IN ('a');
CREATE TABLE plain (id integer PRIMARY KEY, v text);
CALL cdc.sp_cdc_enable_table('src', 'free', NULL);
CALL cdc.sp_cdc_enable_table('src', 'bound', NULL, allow_partition_switch => false);
CALL cdc.sp_cdc_enable_table('src', 'plain', NULL, allow_partition_switch => false);
SELECT capture_instance, partition_switch FROM cdc.change_tables ORDER BY 1;
SET client_min_messages = warning;

-- allowed: not captured as changes, but recorded, of whatever level
CREATE TABLE free_b (v text, id integer NOT NULL, region text NOT NULL);
INSERT INTO free_b VALUES ('was there', 1, 'b');
INSERT INTO free VALUES (1, 'a', 'one');
ALTER TABLE free ATTACH PARTITION free_b FOR VALUES IN ('b');
UPDATE free SET v = 'changed' WHERE region = 'b';
CREATE TABLE free_c PARTITION OF free FOR VALUES IN ('c', 'd') PARTITION BY LIST (region);
CREATE TABLE free_c1 PARTITION OF free_c DEFAULT;
INSERT INTO free VALUES (2, 'c', 'two');
ALTER TABLE free_c DETACH PARTITION free_c1;
INSERT INTO free_c1 VALUES (3, 'c', 'not captured');
ALTER TABLE free_c ATTACH PARTITION free_c1 DEFAULT;
ALTER TABLE free DETACH PARTITION free_a CONCURRENTLY;
INSERT INTO free_a VALUES (4, 'a', 'not captured');
DROP TABLE free_a;
-- what concerns a partition only: its columns' NOT NULL, its name, its schema, its replica identity
ALTER TABLE free_b ALTER COLUMN v SET NOT NULL;
ALTER TABLE free_b RENAME TO free_bb;
CREATE SCHEMA leaves;
ALTER TABLE free_bb SET SCHEMA leaves;
ALTER SCHEMA leaves RENAME TO leaves_2;
ALTER TABLE leaves_2.free_bb REPLICA IDENTITY FULL;
-- the root's columns, in all partitions
ALTER TABLE free ADD COLUMN more integer;
ALTER TABLE free RENAME COLUMN v TO w;
-- created with a schema, and gone with it
CREATE SCHEMA made
	CREATE TABLE free_e PARTITION OF src.free FOR VALUES IN ('e')
	CREATE TABLE free_f PARTITION OF src.free FOR VALUES IN ('f');
INSERT INTO free VALUES (5, 'e', 'captured');
SELECT relname, relreplident FROM pg_class WHERE relname ~ '^free_..?$' AND relkind IN ('r', 'p') ORDER BY 1;
DROP SCHEMA made CASCADE;
CALL cdc.wait_for_capture();
SELECT * FROM history('src_free');
SELECT tx, op, "row" FROM changes('src_free');
-- what came and went with partitions is all that differs
SELECT * FROM replay('src_free', $$SELECT 1 AS id, 'b' AS region, 'was there' AS w$$);

-- refused: attaching 22842, detaching 22843, in any disguise; a new partition is no switch
CREATE TABLE bound_b (LIKE bound);
ALTER TABLE bound ATTACH PARTITION bound_b FOR VALUES IN ('b');
ALTER TABLE bound DETACH PARTITION bound_a;
ALTER TABLE bound DETACH PARTITION bound_a CONCURRENTLY;
\set VERBOSITY terse
DROP TABLE bound_a;
CREATE TABLE bound_c PARTITION OF bound FOR VALUES IN ('c') PARTITION BY LIST (region);
CREATE TABLE bound_c1 PARTITION OF bound_c DEFAULT;
ALTER TABLE bound_c DETACH PARTITION bound_c1;
DROP TABLE bound_c;
DROP TABLE bound_c1, plain;
CREATE SCHEMA made CREATE TABLE bound_d PARTITION OF src.bound FOR VALUES IN ('d');
DROP SCHEMA made CASCADE;
INSERT INTO bound VALUES (1, 'd', 'd');
CALL cdc.wait_for_capture();
SELECT * FROM history('src_bound');
SELECT * FROM replay('src_bound');
-- the whole table may go, with all partitions; a partition once the instance is gone
BEGIN;
DROP TABLE bound;
ROLLBACK;
CALL cdc.sp_cdc_disable_table('src', 'bound', 'all');
DROP TABLE bound_a;
DROP TABLE bound;

-- inheritance: a parent's command reaches the captured child, being inherited from reaches nobody
CREATE TABLE parent (id integer, v text);
CREATE TABLE child (id integer PRIMARY KEY, v text, own text);
CALL cdc.sp_cdc_enable_table('src', 'child', NULL);
ALTER TABLE child INHERIT parent;
INSERT INTO child VALUES (1, 'one', 'own');
ALTER TABLE parent ADD COLUMN more integer;
ALTER TABLE ONLY parent ADD CONSTRAINT c CHECK (id > 0) NO INHERIT;
ALTER TABLE parent RENAME COLUMN v TO w;
ALTER TABLE parent RENAME TO parent_2;
CREATE TABLE grandchild () INHERITS (child);
INSERT INTO grandchild VALUES (2, 'not captured');
UPDATE parent_2 SET w = 'two';
ALTER TABLE parent_2 DROP COLUMN more;
ALTER TABLE child NO INHERIT parent_2;
CALL cdc.wait_for_capture();
SELECT * FROM history('src_child');
SELECT op, "row" FROM changes('src_child');

CALL cdc.sp_cdc_disable_db();
DROP EXTENSION cdc;
DROP SCHEMA src, leaves_2 CASCADE;
