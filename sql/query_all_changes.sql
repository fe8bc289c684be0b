-- fn_cdc_get_all_changes_<ci>: what comes out, and that its columns are those of the source.
CREATE EXTENSION cdc;
\set SHOW_CONTEXT never
CALL cdc.sp_cdc_enable_db();

CREATE TABLE item (id integer PRIMARY KEY, name varchar(20) COLLATE "C", price numeric(10,2), note text);
CALL cdc.sp_cdc_enable_table('public', 'item', NULL);
CALL cdc.wait_for_capture();

INSERT INTO item VALUES (1, 'one', 1, NULL), (2, 'two', 2, 'n');
UPDATE item SET price = price + 1 WHERE id = 2;
BEGIN;
UPDATE item SET name = 'uno', note = 'x' WHERE id = 1;
UPDATE item SET id = 3 WHERE id = 2;
DELETE FROM item WHERE id = 1;
COMMIT;
UPDATE item SET note = note;
CALL cdc.wait_for_capture();

-- Transactions are numbered by their commit, changes inside one by seqval.
CREATE VIEW changes AS
SELECT dense_rank() OVER (ORDER BY "__$start_lsn") AS tran, dense_rank() OVER (PARTITION BY "__$start_lsn" ORDER BY "__$seqval") AS change,
	"__$operation" AS op, "__$update_mask" AS mask, id, name, price, note
FROM cdc.fn_cdc_get_all_changes_public_item(cdc.fn_cdc_get_min_lsn('public_item'), cdc.fn_cdc_get_max_lsn(), 'all update old')
ORDER BY "__$start_lsn", "__$seqval", "__$operation";
SELECT * FROM changes;
-- 'all': no images before an update.
SELECT "__$operation" AS op, id, name, price, note
FROM cdc.fn_cdc_get_all_changes_public_item(cdc.fn_cdc_get_min_lsn('public_item'), cdc.fn_cdc_get_max_lsn(), 'all')
ORDER BY "__$start_lsn", "__$seqval", "__$operation";
-- Each transaction by its own LSN.
SELECT count(*) AS transactions, sum((SELECT count(*) FROM cdc.fn_cdc_get_all_changes_public_item(m.start_lsn, m.start_lsn, 'all update old'))) AS rows
FROM cdc.lsn_time_mapping AS m WHERE change_count > 0;
-- The loop of a consumer: nothing twice, nothing left out.
DO $$
DECLARE
	next pg_lsn := cdc.fn_cdc_get_min_lsn('public_item');
	upto pg_lsn;
	read bigint := 0;
	n bigint;
BEGIN
	FOR upto IN SELECT start_lsn FROM cdc.lsn_time_mapping WHERE start_lsn >= next ORDER BY 1 LOOP
		SELECT count(*) INTO n FROM cdc.fn_cdc_get_all_changes_public_item(next, upto, 'all');
		read := read + n;
		next := cdc.fn_cdc_increment_lsn(upto);
	END LOOP;
	RAISE NOTICE 'read % rows', read;
	PERFORM cdc.fn_cdc_get_all_changes_public_item(next, cdc.fn_cdc_get_max_lsn(), 'all');
EXCEPTION WHEN SQLSTATE 'SC003' THEN
	RAISE NOTICE 'nothing new';
END $$;

-- Columns: names, types with modifiers, collations; no __$end_lsn, no __$command_id.
SELECT attname, format_type(atttypid, atttypmod) AS type, nullif(attcollation, 0)::regcollation AS collation
FROM pg_attribute WHERE attrelid = (SELECT typrelid FROM pg_type JOIN pg_proc ON prorettype = pg_type.oid
	WHERE proname = 'fn_cdc_get_all_changes_public_item') ORDER BY attnum;
CREATE TABLE copied AS SELECT * FROM cdc.fn_cdc_get_all_changes_public_item(cdc.fn_cdc_get_min_lsn('public_item'), cdc.fn_cdc_get_max_lsn(), 'all') WITH NO DATA;
SELECT attname, format_type(atttypid, atttypmod) AS type, nullif(attcollation, 0)::regcollation AS collation
FROM pg_attribute WHERE attrelid = 'copied'::regclass AND attnum > 4 ORDER BY attnum;

-- Joins, aggregates, subqueries, INSERT ... SELECT.
SELECT c."__$operation" AS op, count(*), max(o.n)
FROM cdc.fn_cdc_get_all_changes_public_item(cdc.fn_cdc_get_min_lsn('public_item'), cdc.fn_cdc_get_max_lsn(), 'all') AS c
JOIN (VALUES (1, 'a'), (3, 'c')) AS o(id, n) USING (id) GROUP BY 1 ORDER BY 1;
INSERT INTO copied SELECT * FROM cdc.fn_cdc_get_all_changes_public_item(cdc.fn_cdc_get_min_lsn('public_item'), cdc.fn_cdc_get_max_lsn(), 'all') WHERE price > 2;
SELECT "__$operation" AS op, id, name, price FROM copied ORDER BY "__$start_lsn", "__$seqval", 1;
SELECT id, (SELECT count(*) FROM cdc.fn_cdc_get_all_changes_public_item(cdc.fn_cdc_get_min_lsn('public_item'), cdc.fn_cdc_get_max_lsn(), 'all') AS c WHERE c.id = i.id)
FROM (VALUES (1), (2), (3), (4)) AS i(id) ORDER BY id;

-- Column names that look like parameters, aliases and quotes of ours.
CREATE TABLE "Odd "" one" (
	from_lsn integer, to_lsn integer, row_filter_option text, v text, w text, n text, c text, "select" text, "A ""b"" 'c'" text, "__$key1" text,
	"__$change" text, instance_id integer, "$1" text, PRIMARY KEY (to_lsn, from_lsn));
CALL cdc.sp_cdc_enable_table('public', 'Odd " one', NULL, 'It''s "odd"');
CALL cdc.wait_for_capture();
INSERT INTO "Odd "" one" VALUES (1, 2, 'r', 'v', 'w', 'n', 'c', 's', 'a', 'k', 'ch', 3, 'one');
UPDATE "Odd "" one" SET row_filter_option = 'all', "$1" = 'uno';
CALL cdc.wait_for_capture();
\x on
SELECT "__$operation" AS op, "__$update_mask" AS mask, from_lsn, to_lsn, row_filter_option, v, w, n, c, "select", "A ""b"" 'c'", "__$key1", "__$change", instance_id, "$1"
FROM cdc."fn_cdc_get_all_changes_It's ""odd"""(from_lsn => cdc.fn_cdc_get_min_lsn('It''s "odd"'), to_lsn => cdc.fn_cdc_get_max_lsn(), row_filter_option => 'all')
WHERE row_filter_option IS NOT NULL ORDER BY "__$start_lsn";
SELECT "__$operation" AS op, "__$update_mask" AS mask, from_lsn, to_lsn, row_filter_option, v, w, n, c, "select", "A ""b"" 'c'", "__$key1", "__$change", instance_id, "$1"
FROM cdc."fn_cdc_get_net_changes_It's ""odd"""(from_lsn => cdc.fn_cdc_get_min_lsn('It''s "odd"'), to_lsn => cdc.fn_cdc_get_max_lsn(), row_filter_option => 'all with mask')
WHERE row_filter_option = 'all';
\x off

-- The longest name there is.
SELECT repeat('x', 40) AS longest \gset
CALL cdc.sp_cdc_enable_table('public', 'item', NULL, :'longest', captured_column_list => 'id, note');
CALL cdc.wait_for_capture();
INSERT INTO item VALUES (9, 'nine', 9, 'new');
CALL cdc.wait_for_capture();
SELECT length(proname), proname, (cdc.fn_cdc_get_min_lsn(:'longest') > '0/0') AS started FROM pg_proc WHERE proname ~ 'x{40}$' ORDER BY 1;
SELECT 'fn_cdc_get_all_changes_' || :'longest' AS function \gset
SELECT "__$operation" AS op, "__$update_mask" AS mask, id, note FROM cdc.:"function"(cdc.fn_cdc_get_min_lsn(:'longest'), cdc.fn_cdc_get_max_lsn(), 'all');

-- No net changes without row identifier, or when they are not wanted.
CREATE TABLE heap (a integer, b text);
CALL cdc.sp_cdc_enable_table('public', 'heap', NULL);
CREATE TABLE plain (a integer PRIMARY KEY, b text);
CALL cdc.sp_cdc_enable_table('public', 'plain', NULL, supports_net_changes => false);
SELECT proname FROM pg_proc WHERE pronamespace = 'cdc'::regnamespace AND proname ~ '^fn_cdc_get_(all|net)_changes_public_(heap|plain)' ORDER BY 1;
CALL cdc.wait_for_capture();
INSERT INTO heap VALUES (1, 'x'), (1, 'x');
UPDATE heap SET b = 'y';
CALL cdc.wait_for_capture();
SELECT "__$operation" AS op, "__$update_mask" AS mask, a, b
FROM cdc.fn_cdc_get_all_changes_public_heap(cdc.fn_cdc_get_min_lsn('public_heap'), cdc.fn_cdc_get_max_lsn(), 'all update old') ORDER BY "__$start_lsn", "__$seqval", 1;

-- Disabling takes the objects of the instance along; what a user has built on them is in the way.
CREATE VIEW mine AS SELECT a FROM cdc.fn_cdc_get_all_changes_public_heap('0/1', '0/1', 'all');
CALL cdc.sp_cdc_disable_table('public', 'heap', 'all');
DROP VIEW mine;
CALL cdc.sp_cdc_disable_table('public', 'heap', 'all');
CALL cdc.sp_cdc_disable_table('public', 'plain', 'all');
DROP VIEW changes;
CALL cdc.sp_cdc_disable_table('public', 'item', 'all');
CALL cdc.sp_cdc_disable_table('public', 'Odd " one', 'all');
SELECT proname FROM pg_proc WHERE pronamespace = 'cdc'::regnamespace AND proname ~ '^fn_cdc_get_(all|net)_changes_';
SELECT regexp_replace(typname, '\d+', 'N') FROM pg_type WHERE typnamespace = 'cdc'::regnamespace AND typname ~ '^_(all|net|)_?changes_\d';

CALL cdc.sp_cdc_disable_db();
DROP EXTENSION cdc;
DROP TABLE item, copied, "Odd "" one", heap, plain;
