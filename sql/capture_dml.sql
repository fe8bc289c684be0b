-- What statements leave in the change tables.
\getenv srcdir PG_ABS_SRCDIR
\set include :srcdir '/sql/include/capture.sql'
\set ECHO none
\i :include
\set ECHO all

CREATE TABLE a (id integer PRIMARY KEY, v text, n integer DEFAULT 7);
CREATE TABLE b (id integer PRIMARY KEY, v text);
CREATE TABLE untracked (id integer);
CREATE TABLE before_capture (id integer PRIMARY KEY);
INSERT INTO before_capture VALUES (1), (2);
CALL cdc.sp_cdc_enable_table('src', 'a', NULL);
CALL cdc.sp_cdc_enable_table('src', 'b', NULL);
CALL cdc.sp_cdc_enable_table('src', 'before_capture', NULL);

-- one row each
INSERT INTO a VALUES (1, 'one');
UPDATE a SET v = 'ONE' WHERE id = 1;
DELETE FROM a WHERE id = 1;
-- many rows: one transaction, each row a change of its own
INSERT INTO a SELECT g, 'v' || g FROM generate_series(1, 4) g;
UPDATE a SET n = n + 1, v = v WHERE id > 2;
DELETE FROM a WHERE id IN (1, 4);
CALL cdc.wait_for_capture();
SELECT * FROM changes('src_a');

-- COPY: rows that share a WAL record still have an order
COPY a (id, v) FROM stdin;
10	ten
11	\N
12	twelve
\.
-- enough for several pages, and then a few of them changed and deleted
COPY b FROM PROGRAM 'seq 1 3000 | sed ''s/.*/&\tcopied &/''';
UPDATE b SET v = upper(v) WHERE id % 500 = 0;
DELETE FROM b WHERE id > 3;
CALL cdc.wait_for_capture();
SELECT * FROM changes('src_a') WHERE tx = 7;
SELECT tx, op, mask, count(*), min("row"), count(DISTINCT change) AS changes FROM changes('src_b') GROUP BY tx, op, mask ORDER BY tx, op;
-- in the order of the file
SELECT count(*) FROM (SELECT change, substring("row" FROM '\d+')::int AS id FROM changes('src_b') WHERE tx = 1) c WHERE change <> id;

-- ON CONFLICT: what really happened
INSERT INTO a VALUES (2, 'nothing') ON CONFLICT DO NOTHING;
INSERT INTO a VALUES (2, 'two', 0), (20, 'twenty', 0) ON CONFLICT (id) DO UPDATE SET v = excluded.v;
INSERT INTO a VALUES (2, 'two') ON CONFLICT (id) DO UPDATE SET n = 99 WHERE false;
-- MERGE: all three at once
MERGE INTO a USING (VALUES (2, 'merged'), (3, NULL), (30, 'thirty'), (40, NULL)) AS s (id, v) ON a.id = s.id
WHEN MATCHED AND s.v IS NULL THEN DELETE
WHEN MATCHED THEN UPDATE SET v = s.v
WHEN NOT MATCHED AND s.v IS NULL THEN DO NOTHING
WHEN NOT MATCHED THEN INSERT (id, v) VALUES (s.id, s.v);
-- one statement that writes two tables
WITH moved AS (DELETE FROM b WHERE id = 1 RETURNING id, v), again AS (UPDATE b SET v = 'kept' WHERE id = 2 RETURNING id)
INSERT INTO a SELECT 100 + id, v FROM moved;
CALL cdc.wait_for_capture();
SELECT tx - 7 AS tx, change, op, mask, "row" FROM changes('src_a') WHERE tx > 7;
SELECT * FROM changes('src_b') WHERE tx > 3;

-- Several tables in one transaction: one LSN, one mapping row that counts all changes; the order of changes holds
-- across the tables.
SELECT cdc.fn_cdc_get_max_lsn() AS former \gset
BEGIN;
INSERT INTO a VALUES (50, 'first');
INSERT INTO b VALUES (50, 'second');
INSERT INTO untracked VALUES (1);
UPDATE a SET v = 'third' WHERE id = 50;
DELETE FROM b WHERE id = 50;
INSERT INTO before_capture VALUES (3);
COMMIT;
CALL cdc.wait_for_capture();
SELECT start_lsn > :'former' AS later, change_count, tran_id > '0' AS xid, tran_begin_lsn < start_lsn AS begun_before, tran_begin_time <= tran_end_time AS timed
FROM cdc.lsn_time_mapping WHERE start_lsn > :'former';
SELECT "__$start_lsn" = cdc.fn_cdc_get_max_lsn() AS newest, "__$command_id" AS command, "__$operation" AS op, which, v
FROM (SELECT 'a' AS which, "__$start_lsn", "__$command_id", "__$operation", v FROM cdc.src_a_ct
	UNION ALL SELECT 'b', "__$start_lsn", "__$command_id", "__$operation", v FROM cdc.src_b_ct
	UNION ALL SELECT 'before_capture', "__$start_lsn", "__$command_id", "__$operation", id::text FROM cdc.src_before_capture_ct) c
WHERE "__$start_lsn" > :'former' ORDER BY "__$start_lsn", command, op;
-- two changes of one row in a transaction, the second of what the first has made
BEGIN;
INSERT INTO a VALUES (60, 'new');
UPDATE a SET v = 'newer' WHERE id = 60;
UPDATE a SET v = 'newest', n = NULL WHERE id = 60;
DELETE FROM a WHERE id = 60;
COMMIT;
CALL cdc.wait_for_capture();
SELECT change, op, mask, "row" FROM changes('src_a') WHERE tx = (SELECT max(tx) FROM changes('src_a'));

-- Without row_filter_option 'all update old' the before images are left out.
SELECT "__$operation" AS op, count(*) FROM cdc.fn_cdc_get_all_changes_src_a(cdc.fn_cdc_get_min_lsn('src_a'), cdc.fn_cdc_get_max_lsn(), 'all') GROUP BY 1 ORDER BY 1;
SELECT op, count(*) FROM changes('src_a') GROUP BY 1 ORDER BY 1;

-- Rows that were there before are not in the log until they change.
UPDATE before_capture SET id = id + 10 WHERE id = 1;
DELETE FROM before_capture WHERE id = 2;
-- Rule, trigger, foreign key: what was written, however it came to be.
CREATE TABLE parent (id integer PRIMARY KEY);
CREATE TABLE child (id integer PRIMARY KEY, parent_id integer REFERENCES parent ON DELETE CASCADE ON UPDATE SET NULL, touched integer);
CREATE FUNCTION touch() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN new.touched := coalesce(new.touched, 0) + 1; RETURN new; END $$;
CREATE TRIGGER touch BEFORE INSERT OR UPDATE ON child FOR EACH ROW EXECUTE FUNCTION touch();
CREATE VIEW children AS SELECT * FROM child;
CREATE RULE rid AS ON DELETE TO children DO INSTEAD DELETE FROM child WHERE id = old.id;
CALL cdc.sp_cdc_enable_table('src', 'parent', NULL);
CALL cdc.sp_cdc_enable_table('src', 'child', NULL);
INSERT INTO parent VALUES (1), (2);
INSERT INTO children VALUES (1, 1), (2, 2), (3, NULL);
UPDATE parent SET id = 20 WHERE id = 2;
DELETE FROM parent WHERE id = 1;
DELETE FROM children WHERE id = 3;
CALL cdc.wait_for_capture();
SELECT * FROM changes('src_parent');
SELECT * FROM changes('src_child');
SELECT * FROM changes('src_before_capture');

SELECT * FROM replay('src_a');
SELECT * FROM replay('src_b');
-- (without the rows it started with, the replay notices)
SELECT * FROM replay('src_before_capture');
SELECT * FROM replay('src_before_capture', 'SELECT * FROM generate_series(1, 2) id');
SELECT * FROM replay('src_parent');
SELECT * FROM replay('src_child');
SELECT * FROM log_problems();

SET client_min_messages = warning;
CALL cdc.sp_cdc_disable_db();
DROP EXTENSION cdc;
DROP SCHEMA src CASCADE;
