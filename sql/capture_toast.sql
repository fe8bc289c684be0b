-- Large values: compressed, out of line, changed and unchanged, with whole and with narrow before images.
\getenv srcdir PG_ABS_SRCDIR
\set include :srcdir '/sql/include/capture.sql'
\set ECHO none
\i :include
\set ECHO all

CREATE FUNCTION noise(length integer, seed integer) RETURNS text LANGUAGE sql IMMUTABLE AS
	$$ SELECT left(string_agg(md5(seed || '/' || g), '' ORDER BY g), length) FROM generate_series(1, length / 32 + 1) g $$;

CREATE TABLE big (id integer PRIMARY KEY, small text, packed text, outside text, plain text, bin bytea, js jsonb, arr text[]);
ALTER TABLE big ALTER COLUMN packed SET STORAGE MAIN, ALTER COLUMN outside SET STORAGE EXTERNAL, ALTER COLUMN plain SET STORAGE PLAIN;
CREATE TABLE keyless (n integer, v text);
CREATE TABLE slim (id integer PRIMARY KEY, small text, v text, w text);
CALL cdc.sp_cdc_enable_table('src', 'big', NULL);
CALL cdc.sp_cdc_enable_table('src', 'keyless', NULL);
CALL cdc.sp_cdc_enable_table('src', 'slim', NULL, before_image => 'key');

-- What is large: bytes of each value as the change table has it; its text agrees (replay, below).
CREATE VIEW sizes AS
SELECT dense_rank() OVER (ORDER BY "__$start_lsn") AS tx, "__$operation" AS op, encode("__$update_mask", 'hex') AS mask, id, small,
	length(packed) AS packed, length(outside) AS outside, length(plain) AS plain, length(bin) AS bin, length(js::text) AS js, length(arr::text) AS arr,
	"__$start_lsn", "__$command_id"
FROM cdc.src_big_ct;

-- Compressed in line; out of line, compressed and not; more than 1 MB; in a compressed jsonb and an array.
INSERT INTO big VALUES (1, 's', repeat('packed ', 1000), noise(20000, 1), repeat('p', 3000), convert_to(noise(1200000, 2), 'UTF8'),
	jsonb_build_object('k', noise(100000, 3)), ARRAY[noise(3000, 4), NULL, repeat('a', 100000)]);
-- unchanged large values, beside a small one that changes
UPDATE big SET small = 't';
-- one at a time
UPDATE big SET packed = packed || 'more';
UPDATE big SET outside = 'x' || outside;
UPDATE big SET bin = bin || 'x'::bytea;
UPDATE big SET js = js || '{"l": 1}';
UPDATE big SET arr[2] = noise(5000, 5);
-- set to an equal value: stored anew, but not different
UPDATE big SET outside = left(outside, 5000) || substr(outside, 5001), bin = bin || ''::bytea, arr = arr || '{}';
-- out of line becomes small, NULL, and large again
UPDATE big SET outside = 'in line', bin = NULL;
UPDATE big SET outside = noise(30000, 6), bin = convert_to(noise(1300000, 7), 'UTF8'), small = NULL;
-- equal but compressed before and not now: not different
ALTER TABLE big ALTER COLUMN packed SET STORAGE EXTERNAL;
UPDATE big SET packed = packed || '';
ALTER TABLE big ALTER COLUMN packed SET STORAGE EXTENDED;
-- the key changes: large values that have not changed are in both rows
UPDATE big SET id = 2;
-- all of that once more, in one transaction, with rolled-back values between
BEGIN;
UPDATE big SET outside = noise(40000, 8);
SAVEPOINT s;
UPDATE big SET outside = noise(40000, 9), js = NULL;
ROLLBACK TO s;
UPDATE big SET small = 'after';
INSERT INTO big (id, outside) SELECT g, noise(9000, g) FROM generate_series(10, 12) g;
DELETE FROM big WHERE id = 11;
UPDATE big SET small = 'z' WHERE id = 10;
COMMIT;
DELETE FROM big WHERE id = 2;
CALL cdc.wait_for_capture();
SELECT tx, op, mask, id, small, packed, outside, plain, bin, js, arr FROM sizes ORDER BY "__$start_lsn", "__$command_id", op;
SELECT * FROM replay('src_big');
-- The values are the change table's own: after the source's are gone, they are still there.
DELETE FROM big;
VACUUM FULL big;
CALL cdc.wait_for_capture();
SELECT md5(outside) = md5(noise(20000, 1)) AS outside, md5(bin) = md5(convert_to(noise(1200000, 2), 'UTF8')) AS bin, arr[3] = repeat('a', 100000) AS arr
FROM cdc.fn_cdc_get_all_changes_src_big(cdc.fn_cdc_get_min_lsn('src_big'), cdc.fn_cdc_get_max_lsn(), 'all') ORDER BY "__$start_lsn" LIMIT 1;
-- They are out of line in the change table, too.
SELECT count(*) FILTER (WHERE pg_column_size(bin) > 1000000) > 0 AS external FROM cdc.src_big_ct;

-- COPY of large rows that compress well, in a table without a key
COPY keyless FROM PROGRAM 'for i in 1 2 3; do printf "$i\t"; head -c 20000 /dev/zero | tr "\0" $i; echo; done';
UPDATE keyless SET n = n + 10;
UPDATE keyless SET v = v || 'x' WHERE n = 12;
DELETE FROM keyless WHERE n = 13;
CALL cdc.wait_for_capture();
SELECT "__$operation" AS op, encode("__$update_mask", 'hex') AS mask, n, length(v), left(v, 3) AS v
FROM cdc.src_keyless_ct ORDER BY "__$start_lsn", "__$command_id", 1;
SELECT * FROM replay('src_keyless');

-- before_image => 'key': before images hold the identifier only; a large value that did not change is not in the log: NULL, mask bit 0.
INSERT INTO slim VALUES (1, 's', noise(20000, 1), repeat('w', 100000));
UPDATE slim SET small = 't';
UPDATE slim SET w = w || 'x';
UPDATE slim SET v = NULL;
UPDATE slim SET small = 'u';
UPDATE slim SET v = noise(20000, 2);
UPDATE slim SET id = 2;
DELETE FROM slim;
CALL cdc.wait_for_capture();
SELECT dense_rank() OVER (ORDER BY "__$start_lsn") AS tx, "__$operation" AS op, encode("__$update_mask", 'hex') AS mask, id, small, length(v) AS v, length(w) AS w
FROM cdc.src_slim_ct ORDER BY "__$start_lsn", "__$command_id", op;

-- A row identifier that is out of line itself: unchanged, it is in the old row of the log only.
CREATE TABLE slim_key (k text PRIMARY KEY, v text, pad text);
ALTER TABLE slim_key ALTER COLUMN k SET STORAGE EXTERNAL;
CALL cdc.sp_cdc_enable_table('src', 'slim_key', NULL, before_image => 'key');
INSERT INTO slim_key VALUES (noise(2500, 1), 'v', noise(1500, 2));
UPDATE slim_key SET v = 'w';
UPDATE slim_key SET k = k || 'x';
UPDATE slim_key SET v = 'x';
DELETE FROM slim_key;
VACUUM FULL slim_key;
CALL cdc.wait_for_capture();
SELECT "__$operation" AS op, encode("__$update_mask", 'hex') AS mask, length(k) AS k, left(k, 2500) = noise(2500, 1) AS same, v, length(pad) AS pad
FROM cdc.src_slim_key_ct ORDER BY "__$start_lsn", "__$command_id", op;

-- A row larger than the queue between decoder and writer (8 MB), and than a batch.
INSERT INTO keyless VALUES (100, repeat(noise(1000000, 1), 12));
UPDATE keyless SET n = 101 WHERE n = 100;
INSERT INTO keyless VALUES (102, 'after it');
CALL cdc.wait_for_capture(timeout => '30s');
SELECT "__$operation" AS op, n, length(v), md5(v) = md5(repeat(noise(1000000, 1), 12)) AS same FROM cdc.src_keyless_ct WHERE n >= 100 ORDER BY "__$start_lsn", 1;
SELECT * FROM replay('src_keyless');
SELECT * FROM log_problems();

SET client_min_messages = warning;
CALL cdc.sp_cdc_disable_db();
DROP EXTENSION cdc;
DROP SCHEMA src CASCADE;
