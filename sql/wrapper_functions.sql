-- sp_cdc_generate_wrapper_function, and the functions it writes: changes by commit time.
\set SHOW_CONTEXT never
\set VERBOSITY terse
CREATE EXTENSION cdc;
SELECT * FROM cdc.sp_cdc_generate_wrapper_function();
CALL cdc.sp_cdc_enable_db();
SET client_min_messages = warning;
DROP ROLE IF EXISTS regress_cdc_reader, regress_cdc_nobody;
RESET client_min_messages;
CREATE ROLE regress_cdc_reader;
CREATE ROLE regress_cdc_nobody;
SELECT * FROM cdc.sp_cdc_generate_wrapper_function();

CREATE TABLE item (id integer PRIMARY KEY, name varchar(20), price numeric(8,2));
CREATE TABLE keyless (v text);
CALL cdc.sp_cdc_enable_table('public', 'item', NULL);
CALL cdc.sp_cdc_enable_table('public', 'keyless', NULL, 'odd "name"');
CALL cdc.wait_for_capture();

-- What is generated: one or two rows for each instance; scripts are shown whole.
SELECT function_name, length(create_script) > 0 AS script FROM cdc.sp_cdc_generate_wrapper_function();
\pset format unaligned
SELECT create_script FROM cdc.sp_cdc_generate_wrapper_function('public_item', true, 'name, [id]', '"price",NAME');
SELECT create_script FROM cdc.sp_cdc_generate_wrapper_function('odd "name"', false);
\pset format aligned
-- The script is what the caller runs; it names no schema.
CREATE SCHEMA mine;
SET search_path = mine, public;
SELECT create_script FROM cdc.sp_cdc_generate_wrapper_function('public_item  ', update_flag_list => 'name, price, id') \gexec
SELECT create_script FROM cdc.sp_cdc_generate_wrapper_function('odd "name"', closed_high_end_point => NULL, column_list => '', update_flag_list => '  ') \gexec
SELECT p.oid::regprocedure, prosecdef, proconfig, provolatile FROM pg_proc AS p WHERE pronamespace = 'mine'::regnamespace ORDER BY proname;
CREATE SCHEMA open_end;
SET search_path = open_end, public;
SELECT create_script FROM cdc.sp_cdc_generate_wrapper_function('public_item', false, 'id', 'name') \gexec
SET search_path = public;

-- Three transactions, with known times.
CREATE TEMP TABLE moment (n integer, at timestamptz);
INSERT INTO moment SELECT 0, max(tran_end_time) FROM cdc.lsn_time_mapping;
INSERT INTO item VALUES (1, 'one', 1), (2, 'two', 2);
CALL cdc.wait_for_capture();
INSERT INTO moment SELECT 1, max(tran_end_time) FROM cdc.lsn_time_mapping;
BEGIN; UPDATE item SET name = 'uno' WHERE id = 1; DELETE FROM item WHERE id = 2; INSERT INTO item VALUES (3, 'three', 3); UPDATE item SET id = 4 WHERE id = 3; COMMIT;
CALL cdc.wait_for_capture();
INSERT INTO moment SELECT 2, max(tran_end_time) FROM cdc.lsn_time_mapping;
UPDATE item SET price = 10 WHERE id = 1;
CALL cdc.wait_for_capture();
INSERT INTO moment SELECT 3, max(tran_end_time) FROM cdc.lsn_time_mapping;
SELECT (SELECT at FROM moment WHERE n = 0) AS t0, (SELECT at FROM moment WHERE n = 1) AS t1, (SELECT at FROM moment WHERE n = 2) AS t2, (SELECT at FROM moment WHERE n = 3) AS t3 \gset
SELECT count(DISTINCT at) FROM moment;

-- All changes: both options, NULL for either end, flags only in the new row of an update.
CREATE VIEW tx AS SELECT start_lsn, dense_rank() OVER (ORDER BY start_lsn) AS tx FROM cdc.lsn_time_mapping WHERE change_count > 0;
SELECT tx, dense_rank() OVER (PARTITION BY tx ORDER BY __cdc_seqval) AS change, id, name, price, __CDC_OPERATION, name_uflag, price_uflag, id_uflag
FROM mine.fn_all_changes_public_item(NULL, NULL, 'all') JOIN tx ON start_lsn = __CDC_STARTLSN ORDER BY __CDC_STARTLSN, __CDC_SEQVAL, __CDC_OPERATION;
SELECT tx, id, name, price, __CDC_OPERATION, name_uflag, price_uflag, id_uflag
FROM mine.fn_all_changes_public_item(NULL, :'t2', ' All UPDATE old ') JOIN tx ON start_lsn = __CDC_STARTLSN WHERE __cdc_operation LIKE 'U%' ORDER BY __CDC_STARTLSN, __CDC_SEQVAL, __CDC_OPERATION DESC;
-- sorted by the first two columns as it comes
SELECT bool_and(sorted) FROM (SELECT row_number() OVER () = row_number() OVER (ORDER BY __cdc_startlsn, __cdc_seqval, CASE __cdc_operation WHEN 'D' THEN 1 WHEN 'UO' THEN 2 ELSE 3 END) AS sorted
	FROM mine.fn_all_changes_public_item(NULL, NULL, 'all update old')) AS s;

-- Net changes: three options; flags only with the mask.
SELECT * FROM mine.fn_net_changes_public_item(NULL, NULL, 'all') ORDER BY id;
SELECT * FROM mine.fn_net_changes_public_item(:'t1', NULL, 'all with mask') ORDER BY id;
SELECT * FROM mine.fn_net_changes_public_item(:'t1', NULL, 'all with merge') ORDER BY id;

-- (start, end]: the change at the start is not in it, the one at the end is.
CREATE FUNCTION in_window(open_end boolean, a timestamptz, b timestamptz) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
	result text;
BEGIN
	EXECUTE format('SELECT coalesce(string_agg(DISTINCT tx::text, %L), %L) FROM %I.fn_all_changes_public_item($1, $2, %L) JOIN tx ON start_lsn = __cdc_startlsn',
		',', 'none', CASE WHEN open_end THEN 'open_end' ELSE 'mine' END, 'all') INTO result USING a, b;
	RETURN result;
EXCEPTION WHEN OTHERS THEN
	RETURN SQLSTATE;
END $$;
SELECT a.n AS a, b.n AS b, in_window(false, a.at, b.at) AS closed, in_window(true, a.at, b.at) AS open
FROM (TABLE moment UNION ALL SELECT NULL, NULL) AS a, (TABLE moment UNION ALL SELECT NULL, NULL) AS b
ORDER BY 1 NULLS LAST, 2 NULLS LAST;
-- between two commits
SELECT in_window(e, :'t1'::timestamptz + (:'t2'::timestamptz - :'t1') / 2, :'t2'::timestamptz + (:'t3'::timestamptz - :'t2') / 2) FROM (VALUES (false), (true)) AS v(e);

-- Consecutive windows: every cut of the times loses nothing and repeats nothing, at commit times and beside them.
CREATE FUNCTION windows(schema text, width interval) RETURNS TABLE (lost bigint, repeated bigint, calls integer) LANGUAGE plpgsql AS $$
DECLARE
	a timestamptz := (SELECT at FROM moment WHERE n = 0);
	last timestamptz := (SELECT at FROM moment WHERE n = 3);
	b timestamptz;
BEGIN
	calls := 0;
	CREATE TEMP TABLE seen (lsn pg_lsn, seqval pg_lsn, op text);
	WHILE a < last LOOP
		b := least(a + width, last);
		EXECUTE format('INSERT INTO seen SELECT __cdc_startlsn, __cdc_seqval, __cdc_operation FROM %I.fn_all_changes_public_item($1, $2, %L)', schema, 'all') USING a, b;
		a := b;
		calls := calls + 1;
	END LOOP;
	-- what commits at the last moment is for the next window when the end is open
	IF schema = 'open_end' THEN
		INSERT INTO seen SELECT __cdc_startlsn, __cdc_seqval, __cdc_operation FROM open_end.fn_all_changes_public_item(a, NULL, 'all');
	END IF;
	SELECT count(*) INTO lost FROM (SELECT __cdc_startlsn, __cdc_seqval, __cdc_operation FROM mine.fn_all_changes_public_item(NULL, NULL, 'all') EXCEPT ALL TABLE seen) AS l;
	SELECT count(*) INTO repeated FROM (TABLE seen EXCEPT ALL SELECT __cdc_startlsn, __cdc_seqval, __cdc_operation FROM mine.fn_all_changes_public_item(NULL, NULL, 'all')) AS r;
	DROP TABLE seen;
	RETURN NEXT;
END $$;
SELECT v.*, w.lost, w.repeated, w.calls >= parts AS calls FROM (VALUES (1), (2), (3), (7), (50)) AS p(parts), (VALUES ('mine'), ('open_end')) AS v(schema),
	windows(v.schema, (:'t3'::timestamptz - :'t0'::timestamptz) / parts) AS w;
SELECT w.lost, w.repeated FROM (VALUES ('mine'), ('open_end')) AS v(schema), windows(v.schema, :'t1'::timestamptz - :'t0'::timestamptz) AS w;

-- Outside the times that are covered, and bad arguments: errors, not fewer rows.
\set VERBOSITY sqlstate
SELECT * FROM mine.fn_all_changes_public_item('-infinity', NULL, 'all');
SELECT * FROM mine.fn_net_changes_public_item(NULL, '2000-01-01', 'all');
SELECT * FROM mine.fn_all_changes_public_item(NULL, 'infinity', 'all');
SELECT * FROM mine.fn_net_changes_public_item('infinity', NULL, 'all');
SELECT * FROM open_end.fn_net_changes_public_item('infinity', NULL, 'all');
SELECT * FROM mine.fn_all_changes_public_item(:'t2', :'t1', 'all');
SELECT * FROM mine.fn_all_changes_public_item(NULL, NULL, NULL);
SELECT * FROM mine.fn_all_changes_public_item(:'t3', NULL, 'all with mask');
SELECT * FROM mine.fn_net_changes_public_item(:'t3', NULL, 'all update old');
\set VERBOSITY default
DO $$
DECLARE
	message text;
	detail text;
	hint text;
	call text;
BEGIN
	FOREACH call IN ARRAY ARRAY['(''2000-01-01'', NULL, ''all'')', '(NULL, ''2200-01-01'', ''all'')', '(''2100-01-01'', ''2000-01-01'', ''all'')'] LOOP
		BEGIN
			EXECUTE 'SELECT * FROM mine.fn_all_changes_public_item' || call;
		EXCEPTION WHEN OTHERS THEN
			GET STACKED DIAGNOSTICS message = MESSAGE_TEXT, detail = PG_EXCEPTION_DETAIL, hint = PG_EXCEPTION_HINT;
			RAISE NOTICE E'% %\n%\n%', SQLSTATE, regexp_replace(message, '\d{4}-\d\d-\d\d \d\d:\d\d:[\d.]+[-+]\d\d', '<time>', 'g'), regexp_replace(detail, '\d{4}-\d\d-\d\d \d\d:\d\d:[\d.]+[-+]\d\d', '<time>', 'g'), hint;
		END;
	END LOOP;
END $$;

-- Errors of the generator.
SELECT * FROM cdc.sp_cdc_generate_wrapper_function('public_item', column_list => 'id, nothing');
SELECT * FROM cdc.sp_cdc_generate_wrapper_function('public_item', update_flag_list => '"ID"');
SELECT * FROM cdc.sp_cdc_generate_wrapper_function('no_such');
SELECT * FROM cdc.sp_cdc_generate_wrapper_function(NULL, true, 'id');
SELECT * FROM cdc.sp_cdc_generate_wrapper_function(update_flag_list => 'id');
SELECT * FROM cdc.sp_cdc_generate_wrapper_function('public_item', column_list => 'id,,name');
SELECT * FROM cdc.sp_cdc_generate_wrapper_function('public_item', column_list => '"id');
SELECT * FROM cdc.sp_cdc_generate_wrapper_function('public_item', column_list => 'id, id');

-- Names: quotes, dollars, commas, the wrapper's own names, 63 bytes, another schema's type.
CREATE TYPE mine."Odd $wrapper$" AS ENUM ('a');
CREATE TABLE "O'dd $wrapper$" (start_time integer PRIMARY KEY, "a,b]""c" mine."Odd $wrapper$", "quo'te\" text, end_time text, row_filter_option text, "select" date);
CALL cdc.sp_cdc_enable_table('public', 'O''dd $wrapper$', NULL, 'o''dd $wrapper$"%');
CALL cdc.wait_for_capture();
INSERT INTO "O'dd $wrapper$" VALUES (1, 'a', 'x', 'y', 'z', '2020-02-02');
UPDATE "O'dd $wrapper$" SET "quo'te\" = 'new';
CALL cdc.wait_for_capture();
SELECT create_script FROM cdc.sp_cdc_generate_wrapper_function('o''dd $wrapper$"%', update_flag_list => '[a,b]]"c], "quo''te\"') \gexec
SELECT start_time, "a,b]""c", "quo'te\", end_time, row_filter_option, "select", __cdc_operation, "a,b]""c_uflag", "quo'te\_uflag"
FROM "fn_all_changes_o'dd $wrapper$""%"(NULL, NULL, 'all update old');
SELECT start_time, __cdc_operation, "quo'te\_uflag" FROM "fn_net_changes_o'dd $wrapper$""%"(NULL, NULL, 'all');
CREATE TABLE clash (id integer PRIMARY KEY, id_uflag text, __cdc_operation text, "äääääääääääääääääääääääääääää" text);
CALL cdc.sp_cdc_enable_table('public', 'clash', NULL);
SELECT function_name FROM cdc.sp_cdc_generate_wrapper_function('public_clash');
SELECT function_name FROM cdc.sp_cdc_generate_wrapper_function('public_clash', column_list => 'id, id_uflag', update_flag_list => 'id');
SELECT function_name FROM cdc.sp_cdc_generate_wrapper_function('public_clash', column_list => 'id', update_flag_list => '"äääääääääääääääääääääääääääää"');
SELECT function_name FROM cdc.sp_cdc_generate_wrapper_function('public_clash', column_list => 'id', update_flag_list => 'id_uflag, id');

-- Rights: those of the caller, at each call. Only what he may read is generated or returned.
GRANT SELECT ON item TO regress_cdc_reader;
GRANT USAGE ON SCHEMA mine, open_end TO regress_cdc_reader, regress_cdc_nobody;
SET ROLE regress_cdc_reader;
SELECT function_name FROM cdc.sp_cdc_generate_wrapper_function();
SELECT count(*) FROM mine.fn_all_changes_public_item(NULL, NULL, 'all');
SET ROLE regress_cdc_nobody;
SELECT function_name FROM cdc.sp_cdc_generate_wrapper_function();
SELECT function_name FROM cdc.sp_cdc_generate_wrapper_function('public_item');
SELECT count(*) FROM mine.fn_all_changes_public_item(NULL, NULL, 'all');
SELECT count(*) FROM mine.fn_net_changes_public_item('infinity', NULL, 'x');
SELECT * FROM cdc._wrapper_window('public_item', true, true, NULL, NULL, 'all');
SELECT * FROM cdc._wrapper_window('no_such', true, true, NULL, NULL, 'all');
RESET ROLE;
-- What a caller puts first into his search_path is not used.
CREATE SCHEMA trap;
CREATE FUNCTION trap.lie(integer, integer) RETURNS boolean LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION 'trapped'; END $$;
CREATE OPERATOR trap.= (LEFTARG = integer, RIGHTARG = integer, FUNCTION = trap.lie);
CREATE DOMAIN trap.text AS pg_catalog.text CHECK (false);
SET search_path = trap, pg_catalog, public;
SELECT create_script FROM cdc.sp_cdc_generate_wrapper_function('public_item') \gexec
SELECT pg_get_function_result(oid) FROM pg_proc WHERE pronamespace = 'trap'::regnamespace AND proname LIKE 'fn%' ORDER BY 1;
SELECT count(*) FROM fn_all_changes_public_item(NULL, NULL, 'all');
SELECT count(*) FROM mine.fn_all_changes_public_item(NULL, NULL, 'all'), pg_catalog.concat(name_uflag);
RESET search_path;

-- Inlined: what the caller asks for goes down to the change table.
CREATE FUNCTION plan_has(query text, pattern text) RETURNS boolean LANGUAGE plpgsql AS $$
DECLARE
	line text;
BEGIN
	FOR line IN EXECUTE 'EXPLAIN (COSTS OFF) ' || query LOOP
		IF line ~ pattern THEN RETURN true; END IF;
	END LOOP;
	RETURN false;
END $$;
SELECT plan_has($$SELECT id FROM mine.fn_all_changes_public_item(NULL, NULL, 'all') WHERE id = 1$$, '_check_window') AS inlined;

-- Not started yet; across a gap, and beside it.
\set VERBOSITY terse
CALL cdc.sp_cdc_stop_job('capture');
CREATE TABLE late (id integer PRIMARY KEY);
CALL cdc.sp_cdc_enable_table('public', 'late', NULL);
SELECT count(*) FROM (SELECT create_script FROM cdc.sp_cdc_generate_wrapper_function('public_late')) AS s;
SELECT * FROM cdc._wrapper_window('public_late', false, true, NULL, NULL, 'all');
CALL cdc.sp_cdc_start_job('capture');
CALL cdc.wait_for_capture();
SELECT start_lsn AS second FROM cdc.lsn_time_mapping WHERE tran_end_time = :'t2' \gset
INSERT INTO cdc.gaps (start_lsn, end_lsn, reason, detected_at) VALUES (:'second', cdc.fn_cdc_increment_lsn(:'second'), 'made by hand', now());
SELECT in_window(false, NULL, :'t1') AS before, in_window(false, :'t1', :'t2') AS across, in_window(false, :'t2', :'t3') AS after, in_window(false, NULL, NULL) AS whole,
	in_window(true, :'t1', :'t2') AS open_before, in_window(true, :'t2', :'t3') AS open_across;
DELETE FROM cdc.gaps;
\set VERBOSITY default

-- Nothing of ours depends on them: the instance goes, they stay and say so; the same name works again.
CALL cdc.sp_cdc_disable_table('public', 'item', 'all');
\set VERBOSITY terse
SELECT count(*) FROM mine.fn_all_changes_public_item(NULL, NULL, 'all');
CALL cdc.sp_cdc_enable_table('public', 'item', NULL, captured_column_list => 'price, name, id');
CALL cdc.wait_for_capture();
UPDATE item SET name = 'again' WHERE id = 1;
CALL cdc.wait_for_capture();
SELECT id, name, price, __cdc_operation, name_uflag, price_uflag, id_uflag FROM mine.fn_all_changes_public_item(NULL, NULL, 'all');

DROP VIEW tx;
CALL cdc.sp_cdc_disable_db();
DROP EXTENSION cdc;
SELECT count(*) FROM mine.fn_all_changes_public_item(NULL, NULL, 'all');
SET client_min_messages = warning;
DROP SCHEMA trap, mine, open_end CASCADE;
DROP TABLE item, keyless, late, "O'dd $wrapper$", clash;
DROP FUNCTION in_window, windows, plan_has;
DROP ROLE regress_cdc_reader, regress_cdc_nobody;
