-- LSN and time functions.
CREATE EXTENSION cdc;
\set SHOW_CONTEXT never

-- Nothing is enabled: no window, and no error.
SELECT cdc.fn_cdc_get_min_lsn('public_item') AS min, cdc.fn_cdc_get_max_lsn() AS max, cdc.fn_cdc_map_lsn_to_time('0/1') AS time,
	cdc.fn_cdc_map_time_to_lsn('largest less than', now()) AS lsn;

CALL cdc.sp_cdc_enable_db();
CREATE TABLE item (id integer PRIMARY KEY);
CALL cdc.sp_cdc_enable_table('public', 'item', NULL);
CALL cdc.wait_for_capture();

-- Against the engine: the window is valid from the first moment, and moves with each commit.
SELECT cdc.fn_cdc_get_min_lsn('public_item') = start_lsn AS low, cdc.fn_cdc_get_min_lsn('public_item') <= cdc.fn_cdc_get_max_lsn() AS window,
	cdc.fn_cdc_get_max_lsn() = (SELECT max(start_lsn) FROM cdc.lsn_time_mapping) AS high
FROM cdc.change_tables;
SELECT cdc.fn_cdc_get_max_lsn() AS former \gset
SELECT now() AS before \gset
INSERT INTO item VALUES (1);
CALL cdc.wait_for_capture();
SELECT cdc.fn_cdc_get_max_lsn() > :'former' AS moved, cdc.fn_cdc_map_lsn_to_time(cdc.fn_cdc_get_max_lsn()) BETWEEN :'before' AND clock_timestamp() AS now,
	cdc.fn_cdc_map_time_to_lsn('smallest greater than', :'before') = cdc.fn_cdc_get_max_lsn() AS first_after,
	cdc.fn_cdc_map_time_to_lsn('smallest greater than or equal', clock_timestamp()) IS NULL AS not_reached_yet;

-- Names: trailing white space does not count, case does; what does not exist has no window.
SELECT cdc.fn_cdc_get_min_lsn('PUBLIC_ITEM') AS case_counts, cdc.fn_cdc_get_min_lsn('public_item  ') > '0/0' AS trailing_space, cdc.fn_cdc_get_min_lsn(' public_item') AS leading_space,
	cdc.fn_cdc_get_min_lsn('') AS empty, cdc.fn_cdc_get_min_lsn(repeat('x', 1000)) AS too_long, cdc.fn_cdc_get_min_lsn(NULL) AS "null";

-- Arithmetic: the neighbours of a 64-bit number.
SELECT lsn, cdc.fn_cdc_increment_lsn(lsn) AS next, cdc.fn_cdc_decrement_lsn(cdc.fn_cdc_increment_lsn(lsn)) AS back
FROM (VALUES ('0/0'::pg_lsn), ('0/1'), ('0/FFFFFFFF'), ('1/0'), ('FFFFFFFF/FFFFFFFE'), (NULL)) AS v(lsn);
SELECT cdc.fn_cdc_decrement_lsn('1/0'), cdc.fn_cdc_decrement_lsn('FFFFFFFF/FFFFFFFF'), cdc.fn_cdc_decrement_lsn('0/1');
SELECT cdc.fn_cdc_increment_lsn('FFFFFFFF/FFFFFFFF');
SELECT cdc.fn_cdc_decrement_lsn('0/0');

-- Mapping, on known rows: ties in time, and a dummy row.
CALL cdc.sp_cdc_stop_job('capture');
DELETE FROM cdc.lsn_time_mapping;
INSERT INTO cdc.lsn_time_mapping VALUES
	('0/1000', NULL, '2020-01-01 00:00Z', '10', NULL, 1, 1),
	('0/2000', NULL, '2020-01-02 00:00Z', '11', NULL, 2, 1),
	('0/3000', NULL, '2020-01-02 00:00Z', '12', NULL, 3, 1),
	('0/4000', NULL, '2020-01-02 00:00Z', '13', NULL, 4, 1),
	('0/5000', NULL, '2020-01-03 00:00Z', '0', NULL, 5, 0);
SELECT cdc.fn_cdc_get_max_lsn();
SELECT lsn, cdc.fn_cdc_map_lsn_to_time(lsn) AT TIME ZONE 'UTC' AS time
FROM (VALUES ('0/1000'::pg_lsn), ('0/3000'), ('0/5000'), ('0/1001'), ('0/0'), ('0/6000'), (NULL)) AS v(lsn);
SELECT t AT TIME ZONE 'UTC' AS time, cdc.fn_cdc_map_time_to_lsn('largest less than', t) AS "largest <", cdc.fn_cdc_map_time_to_lsn('largest less than or equal', t) AS "largest <=",
	cdc.fn_cdc_map_time_to_lsn('smallest greater than', t) AS "smallest >", cdc.fn_cdc_map_time_to_lsn('smallest greater than or equal', t) AS "smallest >="
FROM (VALUES ('-infinity'::timestamptz), ('2019-12-31 00:00Z'), ('2020-01-01 00:00Z'), ('2020-01-01 00:00:00.000001Z'), ('2020-01-02 00:00Z'), ('2020-01-02 12:00Z'), ('2020-01-03 00:00Z'),
	('2020-01-04 00:00Z'), ('infinity'), (NULL)) AS v(t);
-- The same as an obvious query has it, at many times.
SELECT count(*) AS compared, count(*) FILTER (WHERE got IS DISTINCT FROM wanted) AS different
FROM generate_series('2019-12-31 00:00Z'::timestamptz, '2020-01-04 00:00Z', '6 hours') AS t,
	LATERAL (VALUES
		(cdc.fn_cdc_map_time_to_lsn('largest less than', t), (SELECT start_lsn FROM cdc.lsn_time_mapping WHERE tran_end_time < t ORDER BY tran_end_time DESC, start_lsn DESC LIMIT 1)),
		(cdc.fn_cdc_map_time_to_lsn('largest less than or equal', t), (SELECT start_lsn FROM cdc.lsn_time_mapping WHERE tran_end_time <= t ORDER BY tran_end_time DESC, start_lsn DESC LIMIT 1)),
		(cdc.fn_cdc_map_time_to_lsn('smallest greater than', t), (SELECT start_lsn FROM cdc.lsn_time_mapping WHERE tran_end_time > t ORDER BY tran_end_time, start_lsn LIMIT 1)),
		(cdc.fn_cdc_map_time_to_lsn('smallest greater than or equal', t), (SELECT start_lsn FROM cdc.lsn_time_mapping WHERE tran_end_time >= t ORDER BY tran_end_time, start_lsn LIMIT 1)))
	AS v(got, wanted);
SELECT cdc.fn_cdc_map_time_to_lsn(' Largest Less Than ', '2020-01-02 00:00Z') AS same, cdc.fn_cdc_map_time_to_lsn(NULL, now()) AS "null",
	cdc.fn_cdc_map_time_to_lsn(relational_operator => 'smallest greater than', tracking_time => '2020-01-01 00:00Z') AS named;
SELECT cdc.fn_cdc_map_time_to_lsn('less than', now());
SELECT cdc.fn_cdc_map_time_to_lsn('', now());

-- Remembered within a statement, never longer: loops in PL/pgSQL keep their expressions.
DO $$
DECLARE
	seen pg_lsn[];
	low pg_lsn[];
	at timestamptz[];
BEGIN
	FOR i IN 1 .. 3 LOOP
		seen := seen || cdc.fn_cdc_get_max_lsn();
		low := low || cdc.fn_cdc_get_min_lsn('public_item');
		at := at || cdc.fn_cdc_map_lsn_to_time('0/3000');
		DELETE FROM cdc.lsn_time_mapping WHERE start_lsn = cdc.fn_cdc_get_max_lsn();
		UPDATE cdc.lsn_time_mapping SET tran_end_time = tran_end_time + interval '1 hour' WHERE start_lsn = '0/3000';
		UPDATE cdc.change_tables SET start_lsn = ('0/' || i)::pg_lsn;
	END LOOP;
	RAISE NOTICE '% % %', seen, low[2:], (SELECT array_agg(t AT TIME ZONE 'UTC') FROM unnest(at) AS t);
END $$;
-- The same call site, other arguments and other users.
SELECT i, cdc.fn_cdc_get_min_lsn(CASE WHEN i % 2 = 0 THEN 'public_item' ELSE repeat('x', i * 100) END) FROM generate_series(1, 4) AS i;
CREATE ROLE regress_cdc_other;
CREATE FUNCTION minimum(role text) RETURNS pg_lsn LANGUAGE plpgsql AS $$
BEGIN
	PERFORM set_config('role', role, true);
	RETURN cdc.fn_cdc_get_min_lsn('public_item');
END $$;
SELECT role, minimum(role) FROM (VALUES ('none'), ('regress_cdc_other'), ('none')) AS v(role);
DROP FUNCTION minimum;
DROP ROLE regress_cdc_other;

-- What the planner may do with them.
SELECT provolatile, proisstrict, proparallel, array_agg(proname ORDER BY proname) FROM pg_proc
WHERE pronamespace = 'cdc'::regnamespace AND proname ~ '^fn_cdc_(get_m|map|incr|decr)' GROUP BY 1, 2, 3 ORDER BY 1;

CALL cdc.sp_cdc_disable_db();
SELECT cdc.fn_cdc_get_max_lsn();
DROP EXTENSION cdc;
DROP TABLE item;
