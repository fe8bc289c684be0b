-- Updates of the row identifier, of tables without one, and updates that change nothing.
\getenv srcdir PG_ABS_SRCDIR
\set include :srcdir '/sql/include/capture.sql'
\set ECHO none
\i :include
\set ECHO all

CREATE TABLE keyed (a integer, b text, v text, n integer, PRIMARY KEY (b, a));
CREATE TABLE indexed (id integer PRIMARY KEY, code text NOT NULL, v text);
CREATE UNIQUE INDEX indexed_code ON indexed (code);
CREATE TABLE indexed_too (id integer PRIMARY KEY, code text NOT NULL, v text);
CREATE UNIQUE INDEX indexed_too_code ON indexed_too (code) INCLUDE (v);
CREATE TABLE keyless (a integer, v text);
CREATE TABLE keyed_later (a integer NOT NULL, v text);
CREATE TABLE slim (id integer PRIMARY KEY, v text, n integer);
CALL cdc.sp_cdc_enable_table('src', 'keyed', NULL);
CALL cdc.sp_cdc_enable_table('src', 'indexed', NULL, 'by_key');
CALL cdc.sp_cdc_enable_table('src', 'indexed', NULL, 'by_code', index_name => 'indexed_code');
CALL cdc.sp_cdc_enable_table('src', 'indexed_too', NULL, index_name => 'indexed_too_code');
CALL cdc.sp_cdc_enable_table('src', 'keyless', NULL);
CALL cdc.sp_cdc_enable_table('src', 'keyed_later', NULL);
CALL cdc.sp_cdc_enable_table('src', 'slim', NULL, before_image => 'key');

-- 1 then 2, both with all bits, one __$seqval, one __$command_id: one change. Any column of the key will do.
INSERT INTO keyed VALUES (1, 'x', 'v', 0);
UPDATE keyed SET a = 2;
UPDATE keyed SET b = 'y', n = 1;
UPDATE keyed SET a = 3, b = 'z', v = NULL;
-- set, but not changed: 3 and 4
UPDATE keyed SET a = 3, b = 'z', n = 2;
-- forth and back again in one transaction: two changes
BEGIN;
UPDATE keyed SET a = 4;
UPDATE keyed SET a = 3;
COMMIT;
CALL cdc.wait_for_capture();
SELECT * FROM changes('src_keyed');
SELECT change_count, count(*) FROM cdc.lsn_time_mapping WHERE change_count > 0 GROUP BY 1 ORDER BY 1;
-- many rows, whose keys change places
INSERT INTO keyed SELECT g, 'many', 'row ' || g, g FROM generate_series(1, 3) g;
BEGIN;
UPDATE keyed SET a = -a WHERE b = 'many';
UPDATE keyed SET a = 4 + a WHERE b = 'many';
COMMIT;
CALL cdc.wait_for_capture();
SELECT op, mask, "row" FROM changes('src_keyed') WHERE tx = (SELECT max(tx) FROM changes('src_keyed'));

-- index_name: that index is the identifier, for this instance only; included columns are not part of it.
INSERT INTO indexed VALUES (1, 'one', 'v');
UPDATE indexed SET code = 'uno';
UPDATE indexed SET id = 10;
UPDATE indexed SET v = 'w';
UPDATE indexed SET id = 11, code = 'undici';
INSERT INTO indexed_too VALUES (1, 'one', 'v');
UPDATE indexed_too SET v = 'w';
UPDATE indexed_too SET code = 'uno';
UPDATE indexed_too SET id = 2;
CALL cdc.wait_for_capture();
SELECT * FROM changes('by_key');
SELECT * FROM changes('by_code');
SELECT * FROM changes('src_indexed_too');
-- the same change has the same LSNs and command in both instances
SELECT count(*) AS changes, count(*) FILTER (WHERE k."__$seqval" = c."__$seqval" AND k."__$command_id" = c."__$command_id") AS alike
FROM (SELECT DISTINCT "__$start_lsn", "__$seqval", "__$command_id" FROM cdc.by_key_ct) k
FULL JOIN (SELECT DISTINCT "__$start_lsn", "__$seqval", "__$command_id" FROM cdc.by_code_ct) c USING ("__$start_lsn");

-- No key: always 3 and 4. Rows that are alike stay apart by their order.
INSERT INTO keyless VALUES (1, 'same'), (1, 'same'), (NULL, NULL);
UPDATE keyless SET a = 2;
DELETE FROM keyless WHERE ctid = (SELECT min(ctid) FROM keyless);
DELETE FROM keyless WHERE v IS NULL;
-- A primary key that comes later is not the identifier.
INSERT INTO keyed_later VALUES (1, 'v');
ALTER TABLE keyed_later ADD PRIMARY KEY (a);
UPDATE keyed_later SET a = 2;
ALTER TABLE keyed_later DROP CONSTRAINT keyed_later_pkey;
UPDATE keyed_later SET a = 3;
CALL cdc.wait_for_capture();
SELECT * FROM changes('src_keyless');
SELECT * FROM changes('src_keyed_later');

-- Updates that change nothing: rows 3 and 4 with an empty mask, never a bit too much.
UPDATE keyed SET v = v, n = n + 0 WHERE b = 'z';
UPDATE keyed SET v = v WHERE false;
UPDATE keyed SET v = 'back', n = 3 WHERE b = 'z';
UPDATE keyed SET v = NULL WHERE b = 'z';
UPDATE keyed SET v = NULL, n = NULL WHERE b = 'z';
UPDATE keyed SET v = '' WHERE b = 'z';
-- a trigger that undoes it, and one that the server leaves out
CREATE TRIGGER nothing BEFORE UPDATE ON keyed FOR EACH ROW WHEN (old.* IS DISTINCT FROM new.*) EXECUTE FUNCTION suppress_redundant_updates_trigger();
CREATE TRIGGER redundant BEFORE UPDATE ON keyless FOR EACH ROW EXECUTE FUNCTION suppress_redundant_updates_trigger();
UPDATE keyed SET n = n WHERE b = 'z';
UPDATE keyless SET v = v;
CALL cdc.wait_for_capture();
SELECT op, mask, "row" FROM changes('src_keyed') WHERE tx > (SELECT max(tx) - 6 FROM changes('src_keyed'));
SELECT count(*) FROM changes('src_keyless');
-- equal for the type and still not the same value: the mask tells that something is different
CREATE TABLE subtle (id integer PRIMARY KEY, f float8, n numeric, c char(5), i interval, u text);
CALL cdc.sp_cdc_enable_table('src', 'subtle', NULL);
INSERT INTO subtle VALUES (1, 0, 1.0, 'a', '1 day', 'é');
UPDATE subtle SET f = '-0', n = 1.00, c = 'a ', i = '24 hours', u = U&'e\0301';
UPDATE subtle SET f = 'NaN', n = 'NaN';
UPDATE subtle SET f = 'NaN', n = 'NaN';
CALL cdc.wait_for_capture();
SELECT op, mask, "row" FROM changes('src_subtle');

-- before_image => 'key': the before image holds the identifier, the mask says what is in the after image.
INSERT INTO slim VALUES (1, 'v', 1);
UPDATE slim SET n = 2;
UPDATE slim SET n = n;
UPDATE slim SET id = 2;
UPDATE slim SET id = 3, v = 'w';
DELETE FROM slim;
CALL cdc.wait_for_capture();
SELECT * FROM changes('src_slim');

-- Two instances with narrow before images that follow the rows by different indexes: one identity cannot serve both, so
-- the whole row is logged, and what the log has is captured.
CREATE TABLE two (id integer PRIMARY KEY, code text NOT NULL UNIQUE, v text);
CALL cdc.sp_cdc_enable_table('src', 'two', NULL, 'two_by_key', before_image => 'key');
INSERT INTO two VALUES (1, 'a', 'v');
UPDATE two SET v = 'w';
SELECT relreplident FROM pg_class WHERE oid = 'two'::regclass;
CALL cdc.sp_cdc_enable_table('src', 'two', NULL, 'two_by_code', index_name => 'two_code_key', before_image => 'key');
SELECT relreplident FROM pg_class WHERE oid = 'two'::regclass;
UPDATE two SET v = 'x';
UPDATE two SET code = 'b';
UPDATE two SET id = 2;
CALL cdc.sp_cdc_disable_table('src', 'two', 'two_by_key');
DELETE FROM two;
CALL cdc.wait_for_capture();
SELECT * FROM changes('two_by_code');
CALL cdc.sp_cdc_disable_table('src', 'two', 'all');
SELECT relreplident FROM pg_class WHERE oid = 'two'::regclass;
-- A full one beside a narrow one: as long as it is there, and after it, until the last one goes.
CALL cdc.sp_cdc_enable_table('src', 'two', NULL, 'two_by_key', before_image => 'key');
INSERT INTO two VALUES (3, 'c', 'v');
UPDATE two SET v = 'w';
CALL cdc.sp_cdc_enable_table('src', 'two', NULL, 'two_full');
UPDATE two SET v = 'x';
CALL cdc.sp_cdc_disable_table('src', 'two', 'two_full');
UPDATE two SET v = 'y';
DELETE FROM two;
CALL cdc.wait_for_capture();
SELECT * FROM changes('two_by_key');
CALL cdc.sp_cdc_disable_table('src', 'two', 'all');
SELECT relreplident FROM pg_class WHERE oid = 'two'::regclass;

SELECT * FROM replay('src_keyed');
SELECT * FROM replay('by_key');
SELECT * FROM replay('by_code');
SELECT * FROM replay('src_indexed_too');
SELECT * FROM replay('src_keyless');
SELECT * FROM replay('src_keyed_later');
SELECT * FROM replay('src_subtle');
SELECT * FROM log_problems(whole => false);

SET client_min_messages = warning;
CALL cdc.sp_cdc_disable_db();
DROP EXTENSION cdc;
DROP SCHEMA src CASCADE;
