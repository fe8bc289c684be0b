-- Situations from the tests of logical decoding: rows between DDL, subtransactions of all kinds, large transactions.
\getenv srcdir PG_ABS_SRCDIR
\set include :srcdir '/sql/include/capture.sql'
\set ECHO none
\i :include
\set ECHO all
CREATE TABLE item (id integer PRIMARY KEY, kind integer, note varchar(120));
CALL cdc.sp_cdc_enable_table('src', 'item', NULL);

-- Rows between DDL, in transactions of their own and inside one: each row as the table was then.
BEGIN;
INSERT INTO item VALUES (1, 1, 'a'), (2, 1, 'b');
COMMIT;
ALTER TABLE item ADD COLUMN extra integer;
INSERT INTO item VALUES (3, 2, 'c', 30);
ALTER TABLE item DROP COLUMN extra;
INSERT INTO item VALUES (4, 3, '4');
ALTER TABLE item RENAME COLUMN note TO remark;
UPDATE item SET remark = '1' WHERE id = 1;
DELETE FROM item WHERE remark !~ '^[0-9]+$';
ALTER TABLE item ALTER COLUMN remark TYPE integer USING remark::integer;
INSERT INTO item VALUES (5, 5, 5);
BEGIN;
INSERT INTO item VALUES (6, 6, 6);
ALTER TABLE item ADD COLUMN z1 integer DEFAULT 9;
UPDATE item SET remark = remark + 10 WHERE id = 6;
ALTER TABLE item ADD COLUMN z2 integer;
ALTER TABLE item ALTER COLUMN kind TYPE bigint;
INSERT INTO item VALUES (7, 70000000000, 7, 1, 2);
ALTER TABLE item DROP COLUMN z1;
DELETE FROM item WHERE id = 5;
COMMIT;
CALL cdc.wait_for_capture();
SELECT * FROM changes('src_item');
SELECT required_column_update, ddl_command FROM cdc.sp_cdc_get_ddl_history('src_item') ORDER BY ddl_lsn, ddl_command;
SELECT * FROM replay('src_item');

-- A type change that is taken back with its savepoint, and another one in its place.
CREATE TABLE retyped (data integer);
CALL cdc.sp_cdc_enable_table('src', 'retyped', NULL);
BEGIN;
INSERT INTO retyped VALUES (41);
SAVEPOINT a;
ALTER TABLE retyped ALTER COLUMN data TYPE text;
INSERT INTO retyped VALUES ('not for long');
ROLLBACK TO a;
INSERT INTO retyped VALUES (42);
ALTER TABLE retyped ALTER COLUMN data TYPE bigint;
INSERT INTO retyped VALUES (4300000000);
SAVEPOINT b;
ALTER TABLE retyped ADD COLUMN more text;
INSERT INTO retyped VALUES (44, 'seen');
RELEASE b;
COMMIT;
CALL cdc.wait_for_capture();
SELECT * FROM changes('src_retyped');
SELECT * FROM replay('src_retyped');

-- Subtransactions: before, after and between rows of the outer one; nested; ones whose number only the log of something
-- that is not decoded knows (row locks), and ones whose outer transaction has written nothing yet.
CREATE TABLE sub (id integer GENERATED ALWAYS AS IDENTITY PRIMARY KEY, path text);
CALL cdc.sp_cdc_enable_table('src', 'sub', NULL);
BEGIN;
INSERT INTO sub (path) VALUES ('top');
SAVEPOINT a;
INSERT INTO sub (path) VALUES ('a'), ('a, second');
RELEASE a;
SAVEPOINT b;
SAVEPOINT c;
INSERT INTO sub (path) VALUES ('b c');
RELEASE c;
INSERT INTO sub (path) VALUES ('b');
SAVEPOINT d;
INSERT INTO sub (path) VALUES ('b d: lost');
SAVEPOINT e;
INSERT INTO sub (path) VALUES ('b d e: lost');
ROLLBACK TO d;
RELEASE b;
COMMIT;
DO $$
DECLARE
	depth text := '';
BEGIN
	-- 90 levels deep: more than the log notes for a transaction at once
	FOR i IN 1 .. 90 LOOP
		depth := depth || format('BEGIN INSERT INTO sub (path) SELECT %L WHERE %s %% 30 = 0; ', 'level ' || i, i);
	END LOOP;
	EXECUTE 'DO $d$ ' || depth || repeat('EXCEPTION WHEN division_by_zero THEN NULL; END; ', 90) || ' $d$';
END $$;
BEGIN;
SELECT count(*) FROM (SELECT FROM sub FOR UPDATE) l;
SAVEPOINT a;
INSERT INTO sub (path) VALUES ('after row locks of the outer one');
COMMIT;
BEGIN;
INSERT INTO sub (path) VALUES ('before row locks of the inner one');
SAVEPOINT a;
SELECT count(*) FROM (SELECT FROM sub LIMIT 1 FOR UPDATE) l;
COMMIT;
BEGIN;
SELECT pg_current_xact_id() IS NOT NULL AS numbered;
SAVEPOINT a;
INSERT INTO sub (path) VALUES ('inner, of a numbered outer one');
RELEASE a;
COMMIT;
BEGIN;
SAVEPOINT a;
INSERT INTO sub (path) VALUES ('inner, of an outer one without a number');
COMMIT;
BEGIN;
SAVEPOINT a;
SAVEPOINT b;
INSERT INTO sub (path) VALUES ('lost');
ROLLBACK TO a;
COMMIT;
CALL cdc.wait_for_capture();
SELECT tx, change, op, "row" FROM changes('src_sub');
SELECT * FROM replay('src_sub');

-- Large ones, spilled while they are decoded: the outer transaction, inner ones, both, one after the other, one in the other,
-- rolled back ones among them; with a table that comes and goes in the same transaction.
CREATE TABLE big (id integer PRIMARY KEY, v text);
CALL cdc.sp_cdc_enable_table('src', 'big', NULL);
BEGIN;
INSERT INTO big SELECT g, 'top' FROM generate_series(1, 600) g;
COMMIT;
BEGIN;
SAVEPOINT s;
INSERT INTO big SELECT g, 'inner alone' FROM generate_series(601, 1200) g;
RELEASE s;
COMMIT;
BEGIN;
SAVEPOINT s;
INSERT INTO big SELECT g, 'inner, then outer' FROM generate_series(1201, 1800) g;
RELEASE s;
INSERT INTO big SELECT g, 'outer' FROM generate_series(1801, 2400) g;
SAVEPOINT t;
UPDATE big SET v = 'lost' WHERE id <= 600;
ROLLBACK TO t;
INSERT INTO big VALUES (2401, 'small end');
COMMIT;
BEGIN;
INSERT INTO big VALUES (2402, 'small beginning');
SAVEPOINT s1;
DELETE FROM big WHERE id <= 300;
SAVEPOINT s2;
UPDATE big SET v = v || ', changed' WHERE id BETWEEN 301 AND 900;
RELEASE s2;
SAVEPOINT s3;
DELETE FROM big;
ROLLBACK TO s3;
RELEASE s1;
COMMIT;
BEGIN;
CREATE TABLE spooled AS SELECT g AS id FROM generate_series(1, 600) g;
CALL cdc.sp_cdc_enable_table('src', 'spooled', NULL);
UPDATE big SET id = -id WHERE id = 1500;
UPDATE spooled SET id = -id;
UPDATE big SET id = 1500, v = 'back' WHERE id = -1500;
DELETE FROM spooled;
DROP TABLE spooled;
COMMIT;
INSERT INTO big SELECT g, 'upsert ' || g FROM generate_series(2100, 2700) g ON CONFLICT (id) DO UPDATE SET v = excluded.v;
CALL cdc.wait_for_capture();
SELECT tx, op, count(*), min(change), max(change) FROM changes('src_big') GROUP BY tx, op ORDER BY tx, op;
SELECT tx, op, "row" FROM changes('src_big') WHERE "row" ~ '^\(-?1500,' ORDER BY tx, change, op;
SELECT * FROM replay('src_big');

SELECT * FROM log_problems(false);
SELECT failures, spilled_transactions > 0 AS spilled FROM cdc.pg_stat_cdc WHERE database = current_database();
SET client_min_messages = warning;
CALL cdc.sp_cdc_disable_db();
DROP EXTENSION cdc;
DROP SCHEMA src CASCADE;
