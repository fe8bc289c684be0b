-- Partitioned tables: captured at the root, whatever leaf a row is in.
\getenv srcdir PG_ABS_SRCDIR
\set include :srcdir '/sql/include/capture.sql'
\set ECHO none
\i :include
\set ECHO all

CREATE TABLE parts (id integer, region text, v text, PRIMARY KEY (region, id)) PARTITION BY LIST (region);
CREATE TABLE parts_a PARTITION OF parts FOR VALUES IN ('a');
-- leaves whose columns are in another order, with dropped ones between
CREATE TABLE parts_b (x integer, v text, gone text, id integer NOT NULL, y integer, region text NOT NULL);
ALTER TABLE parts_b DROP COLUMN gone, DROP COLUMN x, DROP COLUMN y;
ALTER TABLE parts ATTACH PARTITION parts_b FOR VALUES IN ('b');
-- several levels
CREATE TABLE parts_c PARTITION OF parts FOR VALUES IN ('c', 'd') PARTITION BY RANGE (id);
CREATE TABLE parts_c1 PARTITION OF parts_c FOR VALUES FROM (0) TO (100);
CREATE TABLE parts_c2 (region text NOT NULL, id integer NOT NULL, v text);
ALTER TABLE parts_c ATTACH PARTITION parts_c2 FOR VALUES FROM (100) TO (200);
CALL cdc.sp_cdc_enable_table('src', 'parts', NULL);
CALL cdc.sp_cdc_enable_table('src', 'parts', NULL, 'some', captured_column_list => 'v, id, region');
CALL cdc.sp_cdc_enable_table('src', 'parts', NULL, 'third');

INSERT INTO parts VALUES (1, 'a', 'one'), (2, 'b', 'two'), (3, 'c', 'three'), (104, 'd', 'four');
-- straight into a leaf is the same
INSERT INTO parts_b (id, region, v) VALUES (5, 'b', 'five');
UPDATE parts SET v = upper(v) WHERE id IN (2, 3, 104);
DELETE FROM parts_c2 WHERE id = 104;
-- Row movement: a delete and an insert, two changes; between leaves, between levels, and back.
UPDATE parts SET region = 'b' WHERE id = 1;
UPDATE parts SET region = 'd', v = 'moved' WHERE id = 1;
UPDATE parts SET id = 101 WHERE id = 1;
-- within its leaf: one change
UPDATE parts SET region = 'c' WHERE id = 101;
UPDATE parts SET id = 6 WHERE id = 5;
CALL cdc.wait_for_capture();
SELECT * FROM changes('src_parts');
SELECT change_count, count(*) FROM cdc.lsn_time_mapping WHERE change_count > 0 GROUP BY 1 ORDER BY 1;
SELECT op, mask, "row" FROM changes('some') WHERE tx > 4;

-- Leaves that come later are captured from their first row, however they are made.
CREATE TABLE parts_e PARTITION OF parts FOR VALUES IN ('e');
INSERT INTO parts VALUES (7, 'e', repeat('large ', 10000));
UPDATE parts SET id = 8 WHERE id = 7;
BEGIN;
CREATE TABLE parts_f (v text, id integer NOT NULL, region text NOT NULL);
INSERT INTO parts_f VALUES ('was there before', 20, 'f');
ALTER TABLE parts ATTACH PARTITION parts_f FOR VALUES IN ('f');
UPDATE parts SET v = 'changed in the same transaction' WHERE region = 'f';
INSERT INTO parts VALUES (21, 'f', 'in the same transaction');
COMMIT;
CREATE TABLE parts_default PARTITION OF parts DEFAULT PARTITION BY HASH (id);
CREATE TABLE parts_default_0 PARTITION OF parts_default FOR VALUES WITH (MODULUS 2, REMAINDER 0);
CREATE TABLE parts_default_1 PARTITION OF parts_default FOR VALUES WITH (MODULUS 2, REMAINDER 1);
INSERT INTO parts SELECT g, 'r' || g, 'default' FROM generate_series(30, 33) g;
UPDATE parts SET v = v || '!' WHERE id BETWEEN 30 AND 33;
MERGE INTO parts p USING (VALUES (30, 'r30'), (31, 'r31'), (34, 'r34')) s (id, region) ON p.id = s.id AND p.region = s.region
WHEN MATCHED AND s.id = 30 THEN DELETE WHEN MATCHED THEN UPDATE SET v = 'merged' WHEN NOT MATCHED THEN INSERT VALUES (s.id, s.region, 'merged');
COPY parts FROM stdin;
40	a	copied
41	b	copied
42	e	copied
43	zz	copied
\.
INSERT INTO parts VALUES (40, 'a', 'conflict') ON CONFLICT (region, id) DO UPDATE SET v = excluded.v;
CALL cdc.wait_for_capture();
SELECT tx - 10 AS tx, op, mask, left("row", 50) AS "row" FROM changes('src_parts') WHERE tx > 10;

-- Detached, at any level: no longer captured; attached again: captured; a leaf that is dropped takes its rows along in silence.
ALTER TABLE parts DETACH PARTITION parts_a;
INSERT INTO parts_a VALUES (50, 'a', 'not captured');
ALTER TABLE parts DETACH PARTITION parts_c;
INSERT INTO parts_c VALUES (51, 'c', 'not captured, by its root');
INSERT INTO parts_c1 VALUES (52, 'c', 'not captured, by its leaf');
UPDATE parts_c1 SET v = 'not captured' WHERE id = 3;
INSERT INTO parts VALUES (53, 'b', 'captured');
CALL cdc.wait_for_capture();
SELECT op, "row" FROM changes('src_parts') WHERE "row" ~ '^\(5\d';
DELETE FROM parts_c1 WHERE id = 52;
ALTER TABLE parts ATTACH PARTITION parts_c FOR VALUES IN ('c', 'd');
UPDATE parts SET v = 'captured again' WHERE id = 51;
DROP TABLE parts_f;
INSERT INTO parts VALUES (54, 'b', 'captured');
CALL cdc.wait_for_capture();
SELECT op, "row" FROM changes('src_parts') WHERE "row" ~ '^\(5\d';

-- Columns of a root that are renamed, dropped and added: as in an ordinary table, in all leaves.
ALTER TABLE parts RENAME COLUMN v TO value;
INSERT INTO parts VALUES (60, 'b', 'renamed'), (61, 'c', 'renamed');
ALTER TABLE parts ADD COLUMN more integer DEFAULT 7;
UPDATE parts SET more = 8 WHERE id = 60;
ALTER TABLE parts DROP COLUMN value;
INSERT INTO parts VALUES (62, 'b'), (63, 'c');
CALL cdc.wait_for_capture();
SELECT op, mask, "row" FROM changes('src_parts') WHERE "row" ~ '^\(6\d';

-- A leaf cannot be captured by itself; a captured table that becomes a leaf is captured twice, as one change each.
CREATE TABLE both_ways (id integer PRIMARY KEY, v text) PARTITION BY RANGE (id);
CREATE TABLE both_ways_1 PARTITION OF both_ways FOR VALUES FROM (0) TO (10);
CREATE TABLE both_ways_2 (v text, id integer NOT NULL PRIMARY KEY);
CALL cdc.sp_cdc_enable_table('src', 'both_ways', NULL);
CALL cdc.sp_cdc_enable_table('src', 'both_ways_1', NULL);
CALL cdc.sp_cdc_enable_table('src', 'both_ways_2', NULL);
INSERT INTO both_ways_2 VALUES ('not yet a leaf', 11);
ALTER TABLE both_ways ATTACH PARTITION both_ways_2 FOR VALUES FROM (10) TO (20);
INSERT INTO both_ways VALUES (1, 'one'), (12, 'twelve');
UPDATE both_ways SET v = upper(v);
UPDATE both_ways SET id = 19 WHERE id = 1;
DELETE FROM both_ways WHERE id = 12;
CALL cdc.wait_for_capture();
SELECT * FROM changes('src_both_ways');
SELECT * FROM changes('src_both_ways_2');
SELECT * FROM replay('src_both_ways', $$SELECT 11 AS id, 'not yet a leaf' AS v$$);
SELECT * FROM replay('src_both_ways_2');

-- An inheritance child is not its parent: only the table itself is captured.
CREATE TABLE parent (id integer PRIMARY KEY, v text);
CREATE TABLE child (extra integer) INHERITS (parent);
CALL cdc.sp_cdc_enable_table('src', 'parent', NULL);
INSERT INTO parent VALUES (1, 'parent');
INSERT INTO child VALUES (2, 'child', 3);
UPDATE parent SET v = v || '!';
CALL cdc.wait_for_capture();
SELECT * FROM changes('src_parent');

-- before_image => 'key': by the leaf's own index
CREATE TABLE slim (id integer PRIMARY KEY, v text) PARTITION BY RANGE (id);
CREATE TABLE slim_1 (v text, id integer NOT NULL PRIMARY KEY);
ALTER TABLE slim ATTACH PARTITION slim_1 FOR VALUES FROM (0) TO (10);
CREATE TABLE slim_2 PARTITION OF slim FOR VALUES FROM (10) TO (20);
CALL cdc.sp_cdc_enable_table('src', 'slim', NULL, before_image => 'key');
INSERT INTO slim VALUES (1, 'one');
UPDATE slim SET v = 'two';
UPDATE slim SET id = 2;
UPDATE slim SET id = 12;
DELETE FROM slim;
CALL cdc.wait_for_capture();
SELECT * FROM changes('src_slim');

-- Everything at once, replayed.
CREATE TABLE whole (id integer, region text, v text, PRIMARY KEY (id, region)) PARTITION BY HASH (region);
SELECT format('CREATE TABLE whole_%s PARTITION OF whole FOR VALUES WITH (MODULUS 3, REMAINDER %1$s)', r) FROM generate_series(0, 2) r \gexec
CALL cdc.sp_cdc_enable_table('src', 'whole', NULL);
INSERT INTO whole SELECT g, 'r' || g % 7, 'v' || g FROM generate_series(1, 100) g;
UPDATE whole SET region = 'r' || id % 5, v = v || '*' WHERE id % 3 = 0;
UPDATE whole SET id = -id WHERE id % 4 = 0;
DELETE FROM whole WHERE id % 10 = 3;
CALL cdc.wait_for_capture();
SELECT op, count(*) FROM changes('src_whole') GROUP BY op ORDER BY op;
SELECT * FROM replay('src_whole');
SELECT * FROM log_problems();

SET client_min_messages = warning;
CALL cdc.sp_cdc_disable_db();
DROP EXTENSION cdc;
DROP SCHEMA src CASCADE;
