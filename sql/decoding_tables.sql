-- Tables and commands as the server's own regression tests have them: rows that come about by triggers, rules, cascades, views, MERGE,
-- COPY and the like, and columns of every origin. What counts is what the table has in the end: replay() rebuilds it.
\getenv srcdir PG_ABS_SRCDIR
\set include :srcdir '/sql/include/capture.sql'
\set ECHO none
\i :include
\set ECHO all
SET client_min_messages = warning;

-- BEFORE triggers that change or suppress rows, AFTER triggers that write more, INSTEAD OF, rules, security barrier views, RLS.
CREATE TABLE account (id integer PRIMARY KEY, owner text, balance numeric(10,2) CHECK (balance > -100), touched integer DEFAULT 0);
CREATE TABLE journal (n integer GENERATED ALWAYS AS IDENTITY, what text);
CREATE FUNCTION touch() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
	IF new.owner = 'nobody' THEN
		RETURN NULL;
	END IF;
	new.touched := new.touched + 1;
	RETURN new;
END $$;
CREATE FUNCTION note() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
	INSERT INTO src.journal (what) VALUES (format('%s %s', tg_op, coalesce(new.id, old.id)));
	RETURN NULL;
END $$;
CREATE TRIGGER touch BEFORE INSERT OR UPDATE ON account FOR EACH ROW EXECUTE FUNCTION touch();
CREATE TRIGGER note AFTER INSERT OR UPDATE OR DELETE ON account FOR EACH ROW EXECUTE FUNCTION note();
CREATE VIEW rich WITH (security_barrier) AS SELECT * FROM account WHERE balance > 50 WITH CHECK OPTION;
CREATE TABLE wish (id integer, owner text);
CREATE RULE wish_granted AS ON INSERT TO wish DO ALSO INSERT INTO account VALUES (new.id, new.owner, 0);
CREATE RULE wish_kept AS ON DELETE TO wish DO INSTEAD UPDATE wish SET owner = owner || ' (kept)' WHERE id = old.id;
CALL cdc.sp_cdc_enable_table('src', 'account', NULL);
CALL cdc.sp_cdc_enable_table('src', 'journal', NULL);
CALL cdc.sp_cdc_enable_table('src', 'wish', NULL);
INSERT INTO account VALUES (1, 'a', 10), (2, 'nobody', 10), (3, 'c', 99);
INSERT INTO wish VALUES (4, 'd'), (5, 'e');
DELETE FROM wish WHERE id = 4;
UPDATE rich SET balance = balance + 1;
INSERT INTO rich VALUES (6, 'f', 60);
DELETE FROM rich WHERE id = 6;
INSERT INTO rich VALUES (7, 'poor', 1);
UPDATE account SET balance = -200 WHERE id = 1;
ALTER TABLE account ENABLE ROW LEVEL SECURITY;
ALTER TABLE account FORCE ROW LEVEL SECURITY;
CREATE POLICY own ON account USING (owner < 'd');
UPDATE account SET owner = owner || '!' RETURNING id;
ALTER TABLE account DISABLE TRIGGER touch;
WITH gone AS (DELETE FROM account WHERE id = 5 RETURNING *), again AS (INSERT INTO account SELECT id + 10, owner, balance FROM gone RETURNING id)
UPDATE account SET touched = -1 FROM again WHERE account.id = 1;
MERGE INTO account a USING (VALUES (1, 'merged'), (3, NULL), (20, 'new')) s (id, owner) ON a.id = s.id
	WHEN MATCHED AND s.owner IS NULL THEN DELETE
	WHEN MATCHED THEN UPDATE SET owner = s.owner
	WHEN NOT MATCHED THEN INSERT VALUES (s.id, s.owner, 1);
CALL cdc.wait_for_capture();
SELECT tx, change, op, "row" FROM changes('src_account');
SELECT tx, change, op, "row" FROM changes('src_wish');
SELECT * FROM replay('src_account') UNION ALL SELECT * FROM replay('src_journal') UNION ALL SELECT * FROM replay('src_wish');

-- Foreign keys that cascade, set null and default; deferred constraints; exclusion constraints; keys that are exchanged.
CREATE TABLE parent (id integer PRIMARY KEY, v text);
CREATE TABLE child (id integer PRIMARY KEY, p integer REFERENCES parent ON DELETE CASCADE ON UPDATE CASCADE, q integer DEFAULT 9 REFERENCES parent ON DELETE SET DEFAULT, r integer REFERENCES parent ON DELETE SET NULL,
	during int4range, EXCLUDE USING gist (during WITH &&), UNIQUE (p, q) DEFERRABLE INITIALLY DEFERRED);
CALL cdc.sp_cdc_enable_table('src', 'parent', NULL);
CALL cdc.sp_cdc_enable_table('src', 'child', NULL);
INSERT INTO parent SELECT g, 'p' || g FROM generate_series(1, 9) g;
INSERT INTO child VALUES (1, 1, 2, 3, '[1,5)'), (2, 2, 1, 1, '[5,9)'), (3, 3, 3, 3, 'empty');
INSERT INTO child VALUES (4, 4, 4, 4, '[4,6)');
UPDATE parent SET id = 100 WHERE id = 2;
DELETE FROM parent WHERE id = 1;
BEGIN;
INSERT INTO child VALUES (5, 3, 3, NULL, NULL);
UPDATE child SET q = 4 WHERE id = 5;
UPDATE child SET id = id + 10;
COMMIT;
CALL cdc.wait_for_capture();
SELECT tx, change, op, "row" FROM changes('src_child');
SELECT * FROM replay('src_parent') UNION ALL SELECT * FROM replay('src_child');

-- Partitions: rows that move, several levels, other column orders, a default partition that is split; COPY into it; inheritance.
CREATE TABLE measure (day date, place text, n integer) PARTITION BY LIST (place);
CREATE TABLE measure_a PARTITION OF measure FOR VALUES IN ('a') PARTITION BY RANGE (day);
CREATE TABLE measure_a1 PARTITION OF measure_a FOR VALUES FROM ('2024-01-01') TO ('2024-07-01');
CREATE TABLE measure_a2 (n integer, extra text, day date, place text);
ALTER TABLE measure_a2 DROP COLUMN extra;
ALTER TABLE measure_a ATTACH PARTITION measure_a2 FOR VALUES FROM ('2024-07-01') TO ('2025-01-01');
CREATE TABLE measure_rest PARTITION OF measure DEFAULT;
CREATE TABLE family (id integer, v text);
CREATE TABLE family_child (more text) INHERITS (family);
CALL cdc.sp_cdc_enable_table('src', 'measure', NULL);
CALL cdc.sp_cdc_enable_table('src', 'family', NULL);
CALL cdc.sp_cdc_enable_table('src', 'family_child', NULL);
COPY measure FROM stdin;
2024-02-01	a	1
2024-08-01	a	2
2024-02-01	b	3
2024-02-01	\N	4
\.
UPDATE measure SET day = day + 200 WHERE n = 1;
UPDATE measure SET place = 'a', n = n * 10 WHERE n > 2;
DELETE FROM measure WHERE n = 2;
INSERT INTO measure_a2 VALUES (7, '2024-12-31', 'a');
CREATE TABLE measure_c PARTITION OF measure FOR VALUES IN ('c');
INSERT INTO measure VALUES ('2024-01-01', 'c', 8);
UPDATE measure SET place = 'c' WHERE n = 7;
INSERT INTO family VALUES (1, 'parent');
INSERT INTO family_child VALUES (2, 'child', 'more');
UPDATE family SET v = v || '!';
DELETE FROM ONLY family;
CALL cdc.wait_for_capture();
SELECT tx, change, op, "row" FROM changes('src_measure');
SELECT tx, change, op, "row" FROM changes('src_family') UNION ALL SELECT tx, change, op, "row" FROM changes('src_family_child');
SELECT * FROM replay('src_measure') UNION ALL SELECT * FROM replay('src_family_child');

-- Columns: generated, identity, of domains, enums that grow, ranges, composites, arrays of domains, typed tables, and columns that old
-- rows do not have in their place (added with a default before the table was captured), in leaves as in plain tables.
CREATE DOMAIN positive AS integer CHECK (VALUE > 0);
CREATE DOMAIN positives AS positive[] CHECK (cardinality(VALUE) < 5);
CREATE TYPE mood AS ENUM ('low', 'high');
CREATE TYPE pair AS (a integer, b mood);
CREATE TYPE shape AS (id integer, name text, at point);
CREATE TABLE typed OF shape (PRIMARY KEY (id), name WITH OPTIONS DEFAULT 'x');
CREATE TABLE wide (id integer GENERATED BY DEFAULT AS IDENTITY PRIMARY KEY, p positive, ps positives, m mood, pr pair, prs pair[], r int4range, mr nummultirange, twice integer GENERATED ALWAYS AS (p * 2) STORED,
	"odd ""name" text COLLATE "C", "__x" bit(3), tv tsvector, x interval DAY TO SECOND(2), oids oid, rel regclass, j jsonb, "char" "char", nm name, mac macaddr8, ts timestamp(3), money numeric[]);
CREATE TABLE aged (id integer PRIMARY KEY, v text);
INSERT INTO aged VALUES (1, 'old'), (2, 'old');
ALTER TABLE aged ADD COLUMN a integer DEFAULT 7, ADD COLUMN b text DEFAULT 'given', ADD COLUMN c pair DEFAULT (1, 'high');
INSERT INTO aged VALUES (3, 'new', NULL, NULL, NULL);
CREATE TABLE aged_parts (id integer, v text) PARTITION BY RANGE (id);
CREATE TABLE aged_part PARTITION OF aged_parts DEFAULT;
INSERT INTO aged_parts VALUES (1, 'old');
ALTER TABLE aged_parts ADD COLUMN d text DEFAULT 'given', ADD COLUMN e mood DEFAULT 'low';
CALL cdc.sp_cdc_enable_table('src', 'typed', NULL);
CALL cdc.sp_cdc_enable_table('src', 'wide', NULL);
CALL cdc.sp_cdc_enable_table('src', 'aged', NULL);
CALL cdc.sp_cdc_enable_table('src', 'aged_parts', NULL);
INSERT INTO typed VALUES (1, DEFAULT, '(1,2)');
UPDATE typed SET at = at + '(1,1)'::point;
INSERT INTO wide (p, ps, m, pr, prs, r, mr, "odd ""name", "__x", tv, x, oids, rel, j, "char", nm, mac, ts, money) VALUES
	(3, '{1,2}', 'low', (1, 'high'), ARRAY[(1, 'low'), NULL]::pair[], '[1,4)', '{[1,2),(5,)}', 'ä "q"', '101', 'a fat cat', '1 day 02:03:04.567', 4000000000, 'pg_class', '{"a": [1, null]}', 'c', 'name', '08:00:2b:01:02:03:04:05', '2024-01-01 00:00:00.1239', '{1.50,NaN}');
ALTER TYPE mood ADD VALUE 'middle' BEFORE 'high';
UPDATE wide SET m = 'middle', pr.b = 'middle', prs[2] = (9, 'middle'), p = 4, ps[4] = 8, r = NULL, j = j || '{"b": {}}', money[4] = 'Infinity';
ALTER TYPE mood RENAME VALUE 'low' TO 'lowest';
UPDATE wide SET m = 'lowest', mr = mr * '{[0,6)}';
ALTER TYPE pair ADD ATTRIBUTE c text;
UPDATE wide SET pr = (2, 'high', 'third');
UPDATE aged SET v = 'changed' WHERE id = 1;
ALTER TABLE aged ALTER COLUMN a SET DEFAULT 8;
UPDATE aged SET a = a + 1 WHERE id = 2;
DELETE FROM aged WHERE id = 1;
UPDATE aged_parts SET v = 'changed';
DELETE FROM aged_parts;
VACUUM FULL aged;
UPDATE aged SET v = 'changed' WHERE id > 1;
CALL cdc.wait_for_capture();
SELECT tx, change, op, mask, "row" FROM changes('src_typed');
SELECT tx, change, op, mask, "row" FROM changes('src_wide');
SELECT tx, change, op, mask, "row" FROM changes('src_aged');
SELECT tx, change, op, mask, "row" FROM changes('src_aged_parts');
SELECT * FROM replay('src_typed') UNION ALL SELECT * FROM replay('src_wide');
SELECT * FROM replay('src_aged', $$SELECT * FROM (VALUES (1, 'old', 7, 'given', (1, 'high', NULL)::src.pair), (2, 'old', 7, 'given', (1, 'high', NULL)::src.pair), (3, 'new', NULL, NULL, NULL::src.pair)) s (id, v, a, b, c)$$);

-- What is beside it: temporary and unlogged tables, materialized views, large objects, sequences, cursors, prepared statements,
-- LISTEN, TRUNCATE of others, COPY out of and into it in binary, statements that change nothing.
CREATE TABLE moved (id integer PRIMARY KEY, v text);
CREATE TABLE copied (LIKE moved INCLUDING ALL);
CREATE UNLOGGED TABLE unlogged (LIKE moved);
CREATE TEMP TABLE temporary (LIKE moved);
CREATE MATERIALIZED VIEW material AS TABLE moved WITH NO DATA;
CALL cdc.sp_cdc_enable_table('src', 'moved', NULL);
CALL cdc.sp_cdc_enable_table('src', 'copied', NULL);
PREPARE put (integer, text) AS INSERT INTO moved VALUES ($1, $2);
EXECUTE put(1, 'prepared');
EXECUTE put(2, 'prepared');
INSERT INTO temporary VALUES (3, 'temporary');
INSERT INTO unlogged VALUES (4, 'unlogged');
INSERT INTO moved TABLE temporary;
INSERT INTO moved TABLE unlogged;
BEGIN;
DECLARE c CURSOR FOR SELECT * FROM moved ORDER BY id FOR UPDATE;
MOVE 2 FROM c;
UPDATE moved SET v = 'by cursor' WHERE CURRENT OF c;
SELECT lo_from_bytea(0, '\x616263') > 0 AS made;
FETCH 1 FROM c;
DELETE FROM moved WHERE CURRENT OF c;
NOTIFY regress_cdc_channel;
COMMIT;
TRUNCATE unlogged, temporary;
REFRESH MATERIALIZED VIEW material;
UPDATE moved SET v = v WHERE id = 1;
UPDATE moved SET v = 'x' WHERE false;
SELECT lo_unlink(oid) FROM pg_largeobject_metadata;
INSERT INTO copied SELECT * FROM material;
COPY (TABLE moved) TO PROGRAM 'cat > /dev/null' (FORMAT binary);
CALL cdc.wait_for_capture();
SELECT tx, change, op, mask, "row" FROM changes('src_moved');
SELECT * FROM replay('src_moved') UNION ALL SELECT * FROM replay('src_copied');
SELECT * FROM log_problems();
SELECT failures FROM cdc.pg_stat_cdc WHERE database = current_database();
CALL cdc.sp_cdc_disable_db();
DROP EXTENSION cdc;
DROP SCHEMA src CASCADE;
