-- fn_cdc_get_net_changes_<ci>: one row per changed key.
CREATE EXTENSION cdc;
\set SHOW_CONTEXT never
CALL cdc.sp_cdc_enable_db();

CREATE TABLE item (id integer PRIMARY KEY, a text, b text);
CALL cdc.sp_cdc_enable_table('public', 'item', NULL);
CALL cdc.wait_for_capture();

-- What is before the window: rows that exist and rows that do not.
INSERT INTO item SELECT id, 'old', 'old' FROM generate_series(10, 29) AS id;
CALL cdc.wait_for_capture();
SELECT cdc.fn_cdc_increment_lsn(cdc.fn_cdc_get_max_lsn()) AS "from" \gset

-- Each cell of the table FIRST x LAST, by keys; in several transactions.
-- insert ... insert, update, delete
INSERT INTO item VALUES (1, 'new', 'new'), (2, 'new', 'new'), (3, 'new', 'new'), (4, 'new', 'new'), (5, 'new', 'new');
UPDATE item SET a = 'newer' WHERE id IN (2, 3);
DELETE FROM item WHERE id IN (3, 4);
DELETE FROM item WHERE id = 5;
INSERT INTO item VALUES (4, 'again', 'again'), (5, 'again', 'again');
DELETE FROM item WHERE id = 5;
-- update ... insert, update, delete
UPDATE item SET a = 'newer' WHERE id IN (10, 11, 12, 13);
UPDATE item SET b = 'newer' WHERE id IN (11);
DELETE FROM item WHERE id IN (12, 13);
INSERT INTO item VALUES (13, 'again', 'again');
-- delete ... insert, update, delete
DELETE FROM item WHERE id IN (20, 21, 22, 23);
INSERT INTO item VALUES (21, 'again', 'again'), (22, 'again', 'again'), (23, 'again', 'again');
UPDATE item SET a = 'newer' WHERE id = 22;
DELETE FROM item WHERE id = 23;
-- all in one transaction
BEGIN;
DELETE FROM item WHERE id = 24;
INSERT INTO item VALUES (24, 'one', 'one'), (6, 'one', 'one');
UPDATE item SET a = 'two' WHERE id IN (24, 6);
COMMIT;
BEGIN;
INSERT INTO item VALUES (7, 'gone', 'gone');
DELETE FROM item WHERE id = 7;
COMMIT;
-- to a value and back; and without any change
UPDATE item SET a = 'other' WHERE id = 25;
UPDATE item SET a = 'old' WHERE id = 25;
UPDATE item SET a = a WHERE id = 26;
-- the key: changed; changed and changed back; one takes the other's place
UPDATE item SET id = 127 WHERE id = 27;
UPDATE item SET id = 128 WHERE id = 28;
UPDATE item SET id = 28 WHERE id = 128;
DELETE FROM item WHERE id = 29;
UPDATE item SET id = 29 WHERE id = 19;
CALL cdc.wait_for_capture();
SELECT cdc.fn_cdc_get_max_lsn() AS "to" \gset

CREATE FUNCTION net(from_lsn pg_lsn, to_lsn pg_lsn, option text) RETURNS TABLE (id integer, op integer, mask bytea, a text, b text, newest boolean)
LANGUAGE sql AS $$
SELECT n.id, n."__$operation", n."__$update_mask", n.a, n.b,
	n."__$start_lsn" = (SELECT max(c."__$start_lsn") FROM cdc.fn_cdc_get_all_changes_public_item(from_lsn, to_lsn, 'all') AS c WHERE c.id = n.id)
FROM cdc.fn_cdc_get_net_changes_public_item(from_lsn, to_lsn, option) AS n ORDER BY n.id
$$;
SELECT * FROM net(:'from', :'to', 'all');
SELECT id, op, mask FROM net(:'from', :'to', 'all with mask');
SELECT id, op, mask FROM net(:'from', :'to', 'all with merge');
-- With everything before it in the window too, nothing is an update but what was there before.
SELECT op, count(*), min(id), max(id) FROM net(cdc.fn_cdc_get_min_lsn('public_item'), :'to', 'all') GROUP BY 1 ORDER BY 1;
-- Applying the net changes to the old state gives the new one.
CREATE TABLE replayed AS SELECT id, 'old' AS a, 'old' AS b FROM generate_series(10, 29) AS id;
BEGIN;
DELETE FROM replayed USING net(:'from', :'to', 'all with merge') AS n WHERE n.op = 1 AND n.id = replayed.id;
MERGE INTO replayed USING (SELECT * FROM net(:'from', :'to', 'all with merge') WHERE op = 5) AS n ON n.id = replayed.id
WHEN MATCHED THEN UPDATE SET a = n.a, b = n.b
WHEN NOT MATCHED THEN INSERT VALUES (n.id, n.a, n.b);
COMMIT;
(TABLE item EXCEPT ALL TABLE replayed) UNION ALL (TABLE replayed EXCEPT ALL TABLE item);

-- Keys of several columns, in another order than the table's, and of types whose equal values differ.
CREATE TABLE pair (x text, k2 numeric, y integer, k1 varchar(10), PRIMARY KEY (k1, k2));
CALL cdc.sp_cdc_enable_table('public', 'pair', NULL);
CALL cdc.wait_for_capture();
INSERT INTO pair VALUES ('a', 1.0, 1, 'k'), ('b', 2.0, 1, 'k'), ('c', 1.0, 1, 'K');
CALL cdc.wait_for_capture();
SELECT cdc.fn_cdc_increment_lsn(cdc.fn_cdc_get_max_lsn()) AS "from" \gset
UPDATE pair SET k2 = 1.00 WHERE x = 'a';
UPDATE pair SET y = 2 WHERE x = 'b';
UPDATE pair SET x = 'bb' WHERE x = 'b';
UPDATE pair SET k1 = 'kk' WHERE x = 'c';
CALL cdc.wait_for_capture();
SELECT "__$operation" AS op, "__$update_mask" AS mask, x, k2, y, k1
FROM cdc.fn_cdc_get_net_changes_public_pair(:'from', cdc.fn_cdc_get_max_lsn(), 'all with mask') ORDER BY k1 COLLATE "C", k2;
SELECT "__$operation" AS op, x, k2, y, k1
FROM cdc.fn_cdc_get_net_changes_public_pair(:'from', cdc.fn_cdc_get_max_lsn(), 'all') WHERE k1 = 'k' AND k2 = 1 ORDER BY x;

-- A unique index as the row identifier, and a column list.
CREATE TABLE coded (id integer PRIMARY KEY, code text NOT NULL, name text, secret text);
CREATE UNIQUE INDEX coded_code ON coded (code);
CALL cdc.sp_cdc_enable_table('public', 'coded', NULL, index_name => 'coded_code', captured_column_list => 'name, code');
CALL cdc.wait_for_capture();
INSERT INTO coded VALUES (1, 'a', 'A', 's'), (2, 'b', 'B', 's');
UPDATE coded SET id = 3, secret = 't' WHERE code = 'a';
UPDATE coded SET code = 'c' WHERE code = 'b';
CALL cdc.wait_for_capture();
SELECT "__$operation" AS op, "__$update_mask" AS mask, code, name
FROM cdc.fn_cdc_get_net_changes_public_coded(cdc.fn_cdc_get_min_lsn('public_coded'), cdc.fn_cdc_get_max_lsn(), 'all') ORDER BY code;

-- More than one mask byte, and out-of-line values: kept as they are, also through a spilled hash table.
CREATE TABLE wide (id integer PRIMARY KEY, c2 integer, c3 integer, c4 integer, c5 integer, c6 integer, c7 integer, c8 integer, c9 integer, doc text);
ALTER TABLE wide ALTER doc SET STORAGE EXTERNAL;
CALL cdc.sp_cdc_enable_table('public', 'wide', NULL);
CALL cdc.wait_for_capture();
INSERT INTO wide (id, doc) SELECT i, repeat(i::text || ',', 2000) FROM generate_series(1, 500) AS i;
CALL cdc.wait_for_capture();
SELECT cdc.fn_cdc_increment_lsn(cdc.fn_cdc_get_max_lsn()) AS "from" \gset
UPDATE wide SET c9 = id;
UPDATE wide SET c2 = 1 WHERE id % 2 = 0;
UPDATE wide SET doc = 'short' WHERE id % 100 = 0;
CALL cdc.wait_for_capture();
SET work_mem = '64kB';
SELECT "__$operation" AS op, "__$update_mask" AS mask, count(*), count(*) FILTER (WHERE doc = repeat(id::text || ',', 2000)) AS whole, count(c9) AS c9
FROM cdc.fn_cdc_get_net_changes_public_wide(:'from', cdc.fn_cdc_get_max_lsn(), 'all with mask') GROUP BY 1, 2 ORDER BY 1, 2;
CREATE TABLE kept AS SELECT * FROM cdc.fn_cdc_get_net_changes_public_wide(:'from', cdc.fn_cdc_get_max_lsn(), 'all');
SELECT count(*), bool_and(k.doc = w.doc) FROM kept AS k JOIN wide AS w USING (id);
SELECT id, length(doc) FROM cdc.fn_cdc_get_net_changes_public_wide(:'from', cdc.fn_cdc_get_max_lsn(), 'all') ORDER BY doc DESC, id LIMIT 3;
RESET work_mem;

-- More columns than a call can have arguments.
SELECT format('CREATE TABLE broad (id integer PRIMARY KEY, %s)', string_agg(format('c%s %s', i, CASE i % 3 WHEN 0 THEN 'text' WHEN 1 THEN 'integer' ELSE 'numeric(9,2)' END), ', '))
FROM generate_series(1, 150) AS i \gexec
ALTER TABLE broad ALTER c150 SET STORAGE EXTERNAL;
CALL cdc.sp_cdc_enable_table('public', 'broad', NULL);
CALL cdc.wait_for_capture();
INSERT INTO broad (id, c1, c2, c150) SELECT i, i, i, repeat('x', 5000) FROM generate_series(1, 10) AS i;
UPDATE broad SET c149 = id, c150 = c150 || id WHERE id < 9;
DELETE FROM broad WHERE id = 2;
CALL cdc.wait_for_capture();
SELECT "__$operation" AS op, id, c1, c2, c3, c149, length(c150) AS c150
FROM cdc.fn_cdc_get_net_changes_public_broad(cdc.fn_cdc_get_min_lsn('public_broad'), cdc.fn_cdc_get_max_lsn(), 'all') ORDER BY id;

-- The aggregate behind it is open to everybody: it trusts nobody.
CREATE TYPE net_row AS (lsn pg_lsn, op integer, mask bytea, a integer);
SELECT cdc._net_change(NULL::net_row, '0/1', 1, 2, NULL, 1), (cdc._net_change(NULL::net_row, '0/1', 1, 4, '\x01', 1)).mask,
	cdc._net_change(NULL::net_row, '0/1', 1, 2, NULL, ROW(1)) FROM (VALUES (1)) AS v;
SELECT cdc._net_change(NULL::net_row, '0/1', 1, 2, NULL, 1) FROM (VALUES (1)) AS v WHERE false;
SELECT cdc._net_change(NULL::net_row, '0/1', 1, 2, NULL, 'x'::text);
SELECT cdc._net_change(NULL::net_row, '0/1', 1, 2, NULL, 1, 2);
SELECT cdc._net_change(NULL::net_row, '0/1', 1, 2, NULL, ROW('x'::text));
SELECT cdc._net_change(NULL::net_row, '0/1', 1, 2, NULL, ROW(1, 2));
SELECT cdc._net_change(NULL::net_row, '0/1', 1, 2, NULL, NULL::record);
SELECT cdc._net_change(NULL::net_row, '0/1', 1, 2, NULL, VARIADIC ARRAY[1]);
SELECT cdc._net_change(NULL::pg_class, '0/1', 1, 2, NULL, 1);
SELECT cdc._net_change(1, '0/1', 1, 2, NULL, 1);
SELECT cdc._net_change(NULL::net_row, NULL, 1, 2, NULL, 1);
SELECT cdc._net_change(NULL::net_row, '0/1', 1, NULL, NULL, 1);
CREATE FUNCTION alter_row() RETURNS integer LANGUAGE plpgsql AS $$
BEGIN
	ALTER TYPE net_row ALTER ATTRIBUTE a TYPE text;
	RETURN 1;
END $$;
SELECT cdc._net_change(NULL::net_row, '0/1', g, 2, NULL, 77) FROM generate_series(1, 2) AS g WHERE g = 1 OR alter_row() = 1;
SELECT cdc._net_change(NULL::net_row, lsn, 1, op, mask, a) OVER (ORDER BY lsn)
FROM (VALUES ('0/1'::pg_lsn, 4, '\x01'::bytea, 1), ('0/2', 4, '\x0100', 2), ('0/3', 4, '\x02', 3), ('0/4', 1, '\xff', 4)) AS v(lsn, op, mask, a);

CALL cdc.sp_cdc_disable_db();
DROP EXTENSION cdc;
DROP FUNCTION net, alter_row;
DROP TYPE net_row;
DROP TABLE item, replayed, pair, coded, wide, kept, broad;
