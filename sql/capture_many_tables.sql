-- 200 captured tables, changed in one transaction, in many, and by many instances.
\getenv srcdir PG_ABS_SRCDIR
\set include :srcdir '/sql/include/capture.sql'
\set ECHO none
\i :include
\set ECHO all

DO $$
BEGIN
	FOR i IN 1 .. 200 LOOP
		EXECUTE format('CREATE TABLE t%s (id integer PRIMARY KEY, v text)', i);
		CALL cdc.sp_cdc_enable_table('src', 't' || i, NULL);
	END LOOP;
END $$;
-- Each in a transaction of its own, all of them in one, backwards, with some rolled back.
CREATE PROCEDURE each_alone() LANGUAGE plpgsql AS $$
BEGIN
	FOR i IN 1 .. 200 LOOP
		EXECUTE format('INSERT INTO src.t%s VALUES (1, %L)', i, 'alone ' || i);
		COMMIT;
	END LOOP;
END $$;
CALL each_alone();
DO $$
BEGIN
	FOR i IN REVERSE 200 .. 1 LOOP
		EXECUTE format('INSERT INTO src.t%s VALUES (2, %L), (3, NULL)', i, 'together ' || i);
		BEGIN
			EXECUTE format('DELETE FROM src.t%s', i);
			IF i % 2 = 0 THEN
				RAISE EXCEPTION 'odd ones only';
			END IF;
		EXCEPTION WHEN raise_exception THEN
			EXECUTE format('UPDATE src.t%s SET v = ''even'' WHERE id = 1', i);
		END;
	END LOOP;
END $$;
CALL cdc.wait_for_capture(timeout => '3min');
SELECT change_count, count(*) FROM cdc.lsn_time_mapping WHERE change_count > 0 GROUP BY 1 ORDER BY 1;
SELECT rows, string_agg(i::text, ',' ORDER BY i) LIKE '%7,%' AS seven, count(*) AS tables FROM (SELECT i, (SELECT string_agg(op || "row", ' ') FROM (SELECT op, replace("row", i::text, 'i') AS "row" FROM changes('src_t' || i)) c) AS rows FROM generate_series(101, 199, 2) i) r GROUP BY rows;
SELECT * FROM changes('src_t77');
SELECT * FROM changes('src_t200');
SELECT i, problem FROM generate_series(1, 200, 20) i, replay('src_t' || i);
-- some taken away, with changes in flight for the others
DO $$
BEGIN
	FOR i IN 101 .. 200 LOOP
		EXECUTE format('UPDATE src.t%s SET v = ''last''', i - 100);
		CALL cdc.sp_cdc_disable_table('src', 't' || i, 'all');
		EXECUTE format('INSERT INTO src.t%s VALUES (-1, ''nobody looks'')', i);
	END LOOP;
END $$;
CALL cdc.wait_for_capture();
SELECT count(*) FROM cdc.change_tables;
-- (their change tables go when the capture worker comes to it)
SELECT poll_until($$NOT EXISTS (SELECT FROM pg_class WHERE relnamespace = 'cdc'::regnamespace AND relname ~ '^_dropped_')$$);
SELECT count(*) FROM pg_class WHERE relnamespace = 'cdc'::regnamespace AND relkind = 'p' AND relname ~ '^(src_t|_dropped)';
SELECT i, problem FROM generate_series(1, 100, 9) i, replay('src_t' || i);
SELECT * FROM log_problems(whole => false);

SET client_min_messages = warning;
CALL cdc.sp_cdc_disable_db();
DROP EXTENSION cdc;
DROP SCHEMA src CASCADE;
