-- Values of all types arrive as they were.
\getenv srcdir PG_ABS_SRCDIR
\set include :srcdir '/sql/include/capture.sql'
\set ECHO none
\i :include
\set ECHO all

CREATE TYPE mood AS ENUM ('sad', 'ok', 'happy');
CREATE TYPE pair AS (a integer, b text);
CREATE TYPE nested AS (p pair, moods mood[], t timestamptz);
CREATE DOMAIN positive AS integer CHECK (VALUE > 0);
CREATE DOMAIN positives AS positive[];
CREATE DOMAIN of_domain AS positive CHECK (VALUE < 1000);
CREATE DOMAIN named AS varchar(10) COLLATE "C" NOT NULL DEFAULT 'x';
CREATE DOMAIN of_pair AS pair CHECK (VALUE IS NULL OR (VALUE).a > 0);
CREATE TYPE float_range AS RANGE (subtype = float8, subtype_diff = float8mi);
CREATE TYPE base_like AS RANGE (subtype = text, collation = "C");

-- Two values of each type that a column can have: what the server brings, what a user can make, and what contrib
-- modules bring that happen to be installed.
CREATE TABLE sample (type text PRIMARY KEY, a text, b text);
INSERT INTO sample VALUES
	('boolean', 't', 'f'), ('bytea', '\x00ff', '\x'), ('"char"', 'x', ''), ('name', 'a name', ''), ('bigint', '-9223372036854775808', '9223372036854775807'),
	('smallint', '-32768', '32767'), ('integer', '-2147483648', '2147483647'), ('int2vector', '1 2 3', '-1'), ('oidvector', '1 4294967295', '0'),
	('regproc', 'now', '-'), ('regprocedure', 'abs(integer)', '-'), ('regoper', '||/', '0'), ('regoperator', '+(integer,integer)', '0'), ('regclass', 'pg_class', '-'),
	('regcollation', '"C"', '-'), ('regtype', 'integer', '-'), ('regrole', '-', '0'), ('regnamespace', 'pg_catalog', '-'), ('regconfig', 'simple', '-'), ('regdictionary', 'simple', '-'),
	('text', 'tëxt', ''), ('oid', '4294967295', '0'), ('tid', '(1,2)', '(4294967295,65535)'), ('xid', '4294967295', '3'), ('cid', '7', '0'), ('xid8', '18446744073709551615', '3'),
	('json', '{"b": 1,  "a": [null]}', '""'), ('jsonb', '{"a": [1.50, null, {"b": "é"}]}', '[]'), ('jsonpath', '$."a"[*] ? (@ > 1)', '$'), ('xml', '<a b="1">é</a>', ''),
	('point', '(1,2)', '(-1e+300,NaN)'), ('lseg', '[(1,2),(3,4)]', '[(0,0),(0,0)]'), ('path', '[(1,2),(3,4)]', '((1,2))'), ('box', '(3,4),(1,2)', '(0,0),(0,0)'),
	('polygon', '((1,2),(3,4),(5,6))', '((0,0))'), ('line', '{1,2,3}', '{-1,0,0}'), ('circle', '<(1,2),3>', '<(0,0),0>'),
	('real', '1.17549435e-38', '-Infinity'), ('double precision', '2.2250738585072014e-308', 'NaN'), ('money', '$12.34', '-$0.01'), ('numeric', '1.2300', '1e-200'), ('numeric(1000,-2)', '123400', '0'), ('numeric(6,3)', '1.5', '-999.999'),
	('macaddr', '08:00:2b:01:02:03', '00:00:00:00:00:00'), ('macaddr8', '08:00:2b:01:02:03:04:05', '00:00:00:00:00:00:00:00'), ('inet', '192.168.1.5/24', '::ffff:1.2.3.4'), ('cidr', '10.0.0.0/8', '::/0'),
	('aclitem', '=r/' || current_user, '=/' || current_user), ('character(10)', 'ab', ''), ('character varying(10)', 'ab ', ''), ('character', 'x', ''), ('character varying', 'xy', ''),
	('date', '0044-03-15 BC', 'infinity'), ('time without time zone', '24:00:00', '00:00:00.000001'), ('time(2) without time zone', '01:02:03.456', '0:0'), ('timestamp without time zone', '294276-12-31 23:59:59.999999', '-infinity'),
	('timestamp with time zone', '2022-03-01 12:00:00.123456+05:45', 'infinity'), ('timestamp(0) with time zone', '2000-01-01 00:00:00.6+00', 'epoch'), ('interval', '1 year -2 mons 3 days -04:05:06.789', '0'), ('interval(0)', '1.5 seconds', '0'), ('interval year to month', '1-2', '0'), ('time with time zone', '12:00:00+05:45', '24:00:00-15:59'),
	('bit', '1', '0'), ('bit(5)', '10101', '00000'), ('bit varying', '101', ''), ('bit varying(5)', '101', ''), ('uuid', 'a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11', '00000000-0000-0000-0000-000000000000'), ('pg_lsn', 'FFFFFFFF/FFFFFFFF', '0/0'),
	('tsvector', '''a'':1A ''b'':2', ''), ('tsquery', '''a'' & !''b''', '''c'''), ('txid_snapshot', '10:20:10,14', '1:1:'), ('pg_snapshot', '10:20:10,14', '1:1:'), ('refcursor', 'c', ''),
	('int4range', '[1,10)', 'empty'), ('int8range', '(,5)', '(,)'), ('numrange', '[1.10,2.2]', 'empty'), ('tsrange', '["2000-01-01 00:00:00",)', 'empty'), ('tstzrange', '[,"2000-01-01 00:00:00+00"]', 'empty'), ('daterange', '[2000-01-01,2000-02-01)', 'empty'),
	('int4multirange', '{[1,3),[5,7)}', '{}'), ('int8multirange', '{(,)}', '{}'), ('nummultirange', '{[1.0,1.1],(2,3)}', '{}'), ('tsmultirange', '{[2000-01-01,)}', '{}'), ('tstzmultirange', '{[2000-01-01 00:00:00+00,)}', '{}'), ('datemultirange', '{[2000-01-01,)}', '{}'),
	('mood', 'happy', 'sad'), ('pair', '(1,"a ""quoted"" text, with a comma")', '(,)'), ('nested', '("(1,x)","{ok,NULL}","2000-01-01 00:00:00+00")', '(,,)'), ('positive', '5', '2147483647'), ('positives', '{1,2,3}', '{}'), ('of_domain', '999', '1'),
	('named', 'a name', ''), ('of_pair', '(1,x)', '(2,)'), ('float_range', '[1.5,2.5)', 'empty'), ('float_multirange', '{[1.5,2.5),[3,4]}', '{}'), ('base_like', '[a,b)', 'empty'), ('base_like_multirange', '{[a,b)}', '{}');
DO $$
DECLARE
	extra record;
BEGIN
	SET LOCAL client_min_messages = warning;
	FOR extra IN SELECT * FROM (VALUES ('hstore', 'hstore', '"a"=>"1", "b"=>NULL', ''), ('citext', 'citext', 'MiXed', ''), ('ltree', 'ltree', 'a.b.c', ''), ('ltree', 'lquery', '*.b{1,2}', 'x'),
		('cube', 'cube', '(1, 2),(3, 4)', '(0)'), ('isn', 'isbn13', '978-0-11-000222-4', '978-0-393-04002-9'), ('seg', 'seg', '1.5 .. 2.5', '1'), ('intarray', 'query_int', '1 & 2', '1')) v (extension, type, a, b)
		WHERE extension IN (SELECT name FROM pg_available_extensions)
	LOOP
		EXECUTE format('CREATE EXTENSION IF NOT EXISTS %I SCHEMA public', extra.extension);
		INSERT INTO sample VALUES (extra.type, extra.a, extra.b);
	END LOOP;
	-- a server without libxml has the type but no values
	BEGIN
		PERFORM xml '<a/>';
	EXCEPTION WHEN feature_not_supported THEN
		UPDATE sample SET a = NULL, b = NULL WHERE type = 'xml';
	END;
END $$;
-- none is forgotten but those that only system tables have
SELECT format_type(oid, NULL) AS type_without_sample FROM pg_type
WHERE typtype IN ('b', 'r', 'm') AND typcategory <> 'A' AND typisdefined AND typnamespace = 'pg_catalog'::regnamespace
	AND typname NOT IN ('gtsvector', 'pg_node_tree', 'pg_ndistinct', 'pg_dependencies', 'pg_mcv_list', 'pg_brin_bloom_summary', 'pg_brin_minmax_multi_summary')
	AND NOT EXISTS (SELECT FROM sample WHERE type::regtype = pg_type.oid)
ORDER BY 1;

-- A table with a column c<n> of each of them, and one a<n> of arrays.
SELECT format('CREATE TABLE typed (id integer PRIMARY KEY, %s)', string_agg(format('c%s %s, a%1$s %2$s[]', n, type), ', ')) AS create_table,
	format('INSERT INTO typed VALUES (1, %s)', string_agg(format('%L::%s, ARRAY[[%1$L, %3$L]]::%2$s[]', a, type, b), ', ' ORDER BY n)) AS insert_1,
	format('INSERT INTO typed VALUES (2, %s)', string_agg(format('%L::%s, %3$L', b, type, '{}'), ', ' ORDER BY n)) AS insert_2,
	format('UPDATE typed SET %s WHERE id = 1', string_agg(format('c%s = %L::%s, a%1$s = ARRAY[%2$L, %4$L, NULL]::%3$s[]', n, b, type, a), ', ') FILTER (WHERE type <> 'named')) AS update_1,
	format('UPDATE typed SET %s WHERE id = 2', string_agg(format('c%s = NULL, a%1$s = NULL', n), ', ') FILTER (WHERE type <> 'named')) AS update_2,
	format('UPDATE typed SET %s', string_agg(format('c%s = c%1$s, a%1$s = a%1$s', n), ', ')) AS update_3,
	count(*) AS types
FROM (SELECT row_number() OVER (ORDER BY type COLLATE "C") AS n, * FROM sample) s \gset
SELECT :types > 90 AS enough;
:create_table;
CALL cdc.sp_cdc_enable_table('src', 'typed', NULL);
:insert_1;
:insert_2;
INSERT INTO typed (id) VALUES (3);
:update_1;
:update_2;
:update_3;
DELETE FROM typed WHERE id = 1;
:insert_1;
CALL cdc.wait_for_capture();
-- bits: of 2 columns for each type, and of the key
SELECT tx, op, sign(bits) AS some, bits > :types AS most, bits = :types * 2 + 1 AS all
FROM (SELECT tx, change, op, bit_count(decode(mask, 'hex')) AS bits FROM changes('src_typed')) c ORDER BY tx, change, op;
SELECT * FROM replay('src_typed');
-- the types of the change table: a domain's is its base type
SELECT s.atttypid::regtype AS source_type, format_type(c.atttypid, c.atttypmod) AS captured_type, c.attcollation::regcollation::text AS collation
FROM pg_attribute s JOIN pg_attribute c USING (attname) WHERE s.attrelid = 'typed'::regclass AND c.attrelid = 'cdc.src_typed_ct'::regclass AND s.attnum > 0
	AND (s.atttypid, s.atttypmod, s.attcollation) <> (c.atttypid, c.atttypmod, c.attcollation) ORDER BY 1::text COLLATE "C";
-- the same once more, column by column
DO $$
DECLARE
	name text;
	missing bigint;
	total bigint := 0;
BEGIN
	FOR name IN SELECT attname FROM pg_attribute WHERE attrelid = 'src.typed'::regclass AND attnum > 0 LOOP
		EXECUTE format('SELECT count(*) FROM (SELECT id, %1$I::text FROM src.typed EXCEPT
			SELECT id, %1$I::text FROM cdc.fn_cdc_get_all_changes_src_typed(cdc.fn_cdc_get_min_lsn(''src_typed''), cdc.fn_cdc_get_max_lsn(), ''all'') WHERE "__$operation" <> 1) m', name) INTO missing;
		total := total + missing;
	END LOOP;
	RAISE NOTICE '% values are missing', total;
END $$;

-- Values that are easily damaged: array bounds, empty and nested arrays, precision, white space, a composite with a large value, and with nothing.
CREATE TABLE edges (id integer PRIMARY KEY, i integer[], p pair, ps pair[], n numeric, t text, j json, ts timestamptz, m mood, h nested);
CALL cdc.sp_cdc_enable_table('src', 'edges', NULL);
INSERT INTO edges VALUES (1, '[-2:-1][0:1]={{1,NULL},{3,4}}', (1, repeat('x', 5000)), ARRAY[(1, NULL), (NULL, 'y'), NULL]::pair[], 1e130000 / 3, E' \t\n\\', '{"a": 1,   "a": 2}', '4713-11-24 BC', 'ok', ((1, 'p'), '{sad}', 'infinity'));
INSERT INTO edges (id) VALUES (2);
UPDATE edges SET i[-2][0] = 9, p.b = 'changed', ps[2].a = 5, h.p.b = 'deep' WHERE id = 1;
UPDATE edges SET p = ROW(NULL, NULL), ps = '{}', t = '' WHERE id = 2;
UPDATE edges SET p = NULL WHERE id = 2;
-- an enum value that came later, and one that is renamed
ALTER TYPE mood ADD VALUE 'ecstatic';
INSERT INTO edges (id, m) VALUES (3, 'ecstatic');
ALTER TYPE mood RENAME VALUE 'sad' TO 'blue';
CALL cdc.wait_for_capture();
SELECT tx, op, mask, left("row", 60) AS "row" FROM changes('src_edges');
SELECT * FROM replay('src_edges');
SELECT * FROM log_problems();
-- A domain that has become stricter is not asked: change tables have the base type.
CREATE TABLE strict (id integer PRIMARY KEY, p positive);
CALL cdc.sp_cdc_enable_table('src', 'strict', NULL);
CALL cdc.sp_cdc_stop_job();
INSERT INTO strict VALUES (1, 50);
DELETE FROM strict;
ALTER DOMAIN positive ADD CHECK (VALUE < 10) NOT VALID;
CALL cdc.sp_cdc_start_job();
CALL cdc.wait_for_capture();
SELECT op, mask, "row" FROM changes('src_strict');

-- A type, a domain's base type or a collation that a captured column has does not take the change tables along when somebody drops it:
-- they would take the extension, and with it the changes of all tables.
CREATE TYPE soon_gone AS ENUM ('a');
CREATE COLLATION soon_gone (LOCALE = 'C');
CREATE DOMAIN soon_gone_domain AS soon_gone[];
CREATE TABLE leaving (id integer PRIMARY KEY, t soon_gone, d soon_gone_domain, c text COLLATE soon_gone);
CALL cdc.sp_cdc_enable_table('src', 'leaving', NULL);
INSERT INTO leaving VALUES (1, 'a', '{a}', 'c');
SET client_min_messages = warning;
DROP TYPE soon_gone CASCADE;
DROP COLLATION soon_gone CASCADE;
RESET client_min_messages;
INSERT INTO leaving VALUES (2, 'a', '{}', 'c');
CALL cdc.wait_for_capture();
SELECT * FROM changes('src_leaving');
-- after that they go
CALL cdc.sp_cdc_disable_table('src', 'leaving', 'all');
CALL cdc.wait_for_capture();
SELECT poll_until($$NOT EXISTS (SELECT FROM pg_class WHERE relnamespace = 'cdc'::regnamespace AND relname ~ '^_dropped_')$$);
SET client_min_messages = warning;
DROP TYPE soon_gone CASCADE;
DROP COLLATION soon_gone CASCADE;
SELECT * FROM leaving;
RESET client_min_messages;
SELECT * FROM log_problems(whole => false);

SET client_min_messages = warning;
CALL cdc.sp_cdc_disable_db();
DROP EXTENSION cdc;
DROP SCHEMA src CASCADE;
DROP EXTENSION IF EXISTS hstore, citext, ltree, cube, isn, seg, intarray;
