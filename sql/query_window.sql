-- The LSN window of the query functions: every error, and what is no error. The change rows are made
-- by hand, so that LSNs are known.
CREATE EXTENSION cdc;
\set SHOW_CONTEXT never
CALL cdc.sp_cdc_enable_db();
CREATE TABLE item (id integer PRIMARY KEY, name text);
CALL cdc.sp_cdc_enable_table('public', 'item', NULL);
CALL cdc.wait_for_capture();
CALL cdc.sp_cdc_stop_job('capture');

-- The SQLSTATE of an error, or the number of rows.
CREATE FUNCTION outcome(query text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
	n bigint;
BEGIN
	EXECUTE format('SELECT count(*) FROM (%s) AS q', query) INTO n;
	RETURN n || ' rows';
EXCEPTION WHEN OTHERS THEN
	RETURN SQLSTATE;
END $$;
CREATE FUNCTION all_changes(from_lsn pg_lsn, to_lsn pg_lsn, option text DEFAULT 'all') RETURNS text
LANGUAGE sql AS $$
SELECT outcome(format('SELECT * FROM cdc.fn_cdc_get_all_changes_public_item(%L, %L, %L)', from_lsn, to_lsn, option))
$$;
CREATE FUNCTION net_changes(from_lsn pg_lsn, to_lsn pg_lsn, option text DEFAULT 'all') RETURNS text
LANGUAGE sql AS $$
SELECT outcome(format('SELECT * FROM cdc.fn_cdc_get_net_changes_public_item(%L, %L, %L)', from_lsn, to_lsn, option))
$$;

-- Not started: the writer has not passed the commit of enable_table.
UPDATE cdc.change_tables SET start_lsn = NULL;
DELETE FROM cdc.lsn_time_mapping;
SELECT cdc.fn_cdc_get_min_lsn('public_item') AS min, cdc.fn_cdc_get_max_lsn() AS max;
SELECT * FROM cdc.fn_cdc_get_all_changes_public_item('0/0', '0/0', 'all');
SELECT all_changes('0/0', '0/0'), net_changes('0/0', '0/0');

-- Started, but this snapshot sees nothing captured: as in an old REPEATABLE READ transaction.
UPDATE cdc.change_tables SET start_lsn = '0/1000';
SELECT * FROM cdc.fn_cdc_get_all_changes_public_item('0/1000', '0/1000', 'all');
BEGIN ISOLATION LEVEL REPEATABLE READ;
SELECT * FROM cdc.fn_cdc_get_all_changes_public_item('0/1000', '0/1000', 'all');
ROLLBACK;

-- The window 0/1000 to 0/2000 with rows at 0/1000, 0/1800 and 0/2000; more outside.
INSERT INTO cdc.lsn_time_mapping VALUES
	('0/1000', NULL, '2020-01-01', '0', NULL, 1, 0),
	('0/1800', NULL, '2020-01-02', '1', NULL, 1, 1),
	('0/2000', NULL, '2020-01-03', '2', NULL, 2, 3);
INSERT INTO cdc.public_item_ct VALUES
	('0/0800', NULL, '0/0700', 2, '\x03', 1, 'removed by cleanup', 1),
	('0/1800', NULL, '0/1700', 2, '\x03', 2, 'two', 1),
	('0/2000', NULL, '0/1900', 3, '\x02', 2, 'two', 1),
	('0/2000', NULL, '0/1900', 4, '\x02', 2, 'zwei', 1),
	('0/2000', NULL, '0/1910', 2, '\x03', 3, 'three', 2),
	('0/2800', NULL, '0/2700', 2, '\x03', 4, 'not yet committed', 1);
SELECT cdc.fn_cdc_get_min_lsn('public_item') AS min, cdc.fn_cdc_get_max_lsn() AS max;

-- Both ends included, any LSN between them will do.
SELECT "from", "to", all_changes("from", "to"), all_changes("from", "to", 'all update old') AS old, net_changes("from", "to")
FROM (VALUES ('0/1000'::pg_lsn, '0/2000'::pg_lsn), ('0/1000', '0/1000'), ('0/1800', '0/1800'), ('0/1801', '0/1fff'),
	('0/1801', '0/2000'), ('0/17ff', '0/1fff'), ('0/2000', '0/2000')) AS v("from", "to");

-- Options: case and white space around them do not count.
SELECT option, all_changes('0/1000', '0/2000', option), net_changes('0/1000', '0/2000', option)
FROM (VALUES ('all'), (' ALL '), (E'\t All\n'), ('all update old'), ('All Update Old '), ('all with mask'), ('ALL WITH MERGE'),
	('all  with mask'), (''), ('al'), ('alll'), ('all update'), (NULL)) AS v(option);

-- Before the low end.
SELECT * FROM cdc.fn_cdc_get_all_changes_public_item('0/fff', '0/2000', 'all');
SELECT * FROM cdc.fn_cdc_get_net_changes_public_item('0/0', '0/2000', 'all');
-- Beyond the high end.
SELECT * FROM cdc.fn_cdc_get_all_changes_public_item('0/1000', '0/2001', 'all');
SELECT * FROM cdc.fn_cdc_get_all_changes_public_item('0/2001', '0/2001', 'all');
BEGIN ISOLATION LEVEL REPEATABLE READ;
SELECT * FROM cdc.fn_cdc_get_all_changes_public_item('0/1000', '0/2001', 'all');
ROLLBACK;
-- Nothing new: the next LSN after the high end, up to the high end or below.
SELECT * FROM cdc.fn_cdc_get_all_changes_public_item(cdc.fn_cdc_increment_lsn('0/2000'), cdc.fn_cdc_get_max_lsn(), 'all');
SELECT net_changes('0/2001', '0/1fff') AS below, net_changes('0/2002', '0/2000') AS not_next, net_changes('0/2001', '0/2001') AS beyond;
-- The wrong way round.
SELECT * FROM cdc.fn_cdc_get_all_changes_public_item('0/1800', '0/1000', 'all');
-- Lost changes come before that.
SELECT all_changes('0/fff', '0/ffe');
-- NULL, and other bad arguments.
SELECT * FROM cdc.fn_cdc_get_all_changes_public_item(NULL, '0/2000', 'all');
SELECT * FROM cdc.fn_cdc_get_all_changes_public_item('0/1000', NULL, 'all');
SELECT * FROM cdc.fn_cdc_get_all_changes_public_item('0/1000', '0/2000', NULL);
SELECT * FROM cdc.fn_cdc_get_all_changes_public_item('0/1000', '0/2000', 'all with mask');
SELECT * FROM cdc.fn_cdc_get_net_changes_public_item('0/1000', '0/2000', 'all update old');
SELECT all_changes(NULL, '0/2000'), all_changes('0/1000', NULL), all_changes('0/1000', '0/2000', 'none'), all_changes('0/1800', '0/1000') AS reversed,
	all_changes('0/fff', '0/2000') AS before, all_changes('0/1000', '0/2001') AS beyond, all_changes('0/2001', '0/2000') AS nothing_new;

-- The parameters keep their documented names.
SELECT count(*) FROM cdc.fn_cdc_get_all_changes_public_item(row_filter_option => 'all', to_lsn => '0/2000', from_lsn => '0/1000');

-- No WHERE can plan the check away, and no shape of the query.
SELECT outcome($$SELECT * FROM cdc.fn_cdc_get_all_changes_public_item('0/1', '0/2', 'all') WHERE id = 1$$),
	outcome($$SELECT * FROM cdc.fn_cdc_get_all_changes_public_item('0/1', '0/2', 'all') WHERE "__$operation" = 7$$),
	outcome($$SELECT * FROM cdc.fn_cdc_get_all_changes_public_item('0/1', '0/2', 'all') WHERE "__$start_lsn" IS NULL$$),
	outcome($$SELECT * FROM cdc.fn_cdc_get_all_changes_public_item('0/1', '0/2', 'all') ORDER BY "__$start_lsn" LIMIT 1$$),
	outcome($$SELECT count(*) FROM cdc.fn_cdc_get_all_changes_public_item('0/1', '0/2', 'all') GROUP BY id$$),
	outcome($$SELECT 1 WHERE EXISTS (SELECT FROM cdc.fn_cdc_get_all_changes_public_item('0/1', '0/2', 'all'))$$),
	outcome($$SELECT * FROM item RIGHT JOIN cdc.fn_cdc_get_all_changes_public_item('0/1', '0/2', 'all') c ON c.id = item.id$$),
	outcome($$SELECT * FROM cdc.fn_cdc_get_all_changes_public_item('0/1', '0/2', 'all') WITH ORDINALITY$$),
	outcome($$SELECT * FROM (VALUES ('0/1'::pg_lsn)) v(x), LATERAL cdc.fn_cdc_get_all_changes_public_item(x, '0/2', 'all')$$),
	outcome($$SELECT cdc.fn_cdc_get_all_changes_public_item('0/1', '0/2', 'all')$$),
	outcome($$SELECT * FROM cdc.fn_cdc_get_all_changes_public_item((SELECT '0/1'::pg_lsn), '0/2', 'all')$$);
-- Where no row is asked for, none is looked for.
SELECT * FROM cdc.fn_cdc_get_all_changes_public_item('0/1', '0/2', 'all') LIMIT 0;

-- Cursors and prepared statements: checked when they run, with the low end of that moment.
BEGIN;
DECLARE c CURSOR FOR SELECT id FROM cdc.fn_cdc_get_all_changes_public_item('0/1000', '0/2000', 'all') ORDER BY id;
UPDATE cdc.change_tables SET start_lsn = '0/1900';
SAVEPOINT s;
FETCH 1 FROM c;
ROLLBACK;
PREPARE p(pg_lsn, pg_lsn) AS SELECT id, name FROM cdc.fn_cdc_get_all_changes_public_item($1, $2, 'all') ORDER BY "__$start_lsn", id;
SET plan_cache_mode = force_generic_plan;
EXECUTE p('0/1000', '0/2000');
-- The check by itself, with another list of columns than the query functions have.
SELECT * FROM cdc._check_window(1, false, '0/1000', '0/2000', 'all') AS w(a record);
SELECT * FROM cdc._check_window(1, true, '0/1000', '0/2000', 'all') AS w(a integer, b text, c text, d text, e text, f text, g text, h text, i text);
SELECT cdc._check_window(1, false, '0/1000', '0/2000', 'all');
UPDATE cdc.change_tables SET start_lsn = '0/1900';
EXECUTE p('0/1000', '0/2000');
EXECUTE p('0/1900', '0/2000');
DELETE FROM cdc.lsn_time_mapping WHERE start_lsn = '0/2000';
EXECUTE p('0/1900', '0/2000');

-- The check itself: nobody else's business, and harmless.
SELECT * FROM cdc._check_window(-1, false, '0/1900', '0/2000', 'all') AS w(a integer);
SELECT * FROM cdc._check_window(NULL, NULL, NULL, NULL, NULL) AS w(a integer);
SELECT cdc._may_read(-1), cdc._option_is(NULL, 'all');

-- Two queries that were made before the instance was disabled: the names mean nothing any more.
CALL cdc.sp_cdc_disable_table('public', 'item', 'public_item');
EXECUTE p('0/1900', '0/2000');

DEALLOCATE p;
CALL cdc.sp_cdc_disable_db();
DROP EXTENSION cdc;
DROP FUNCTION outcome, all_changes, net_changes;
DROP TABLE item;
