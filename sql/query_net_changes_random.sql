-- Net changes against a slow and obvious query, on random change rows in random order.
CREATE EXTENSION cdc;
CALL cdc.sp_cdc_enable_db();
CREATE TABLE item (k1 integer, k2 text, a numeric, b text, c integer, d integer, e integer, f integer, g integer, h integer, PRIMARY KEY (k2, k1));
CALL cdc.sp_cdc_enable_table('public', 'item', NULL);
CALL cdc.wait_for_capture();
CALL cdc.sp_cdc_stop_job('capture');
DELETE FROM cdc.lsn_time_mapping;
INSERT INTO cdc.lsn_time_mapping SELECT '0/1000'::pg_lsn + i * 16, NULL, '2020-01-01', '0', NULL, i, 1 FROM generate_series(0, 100) AS i;
UPDATE cdc.change_tables SET start_lsn = '0/1000';

-- A failure is repeated with SELECT setseed(<what it prints>).
SELECT random() AS seed \gset
SELECT setseed(:seed) \g /dev/null

-- Change rows as no engine would write them: any operation may follow any other.
INSERT INTO cdc.public_item_ct
SELECT lsn, NULL, lsn, op, decode(lpad(to_hex((random() * 1023)::integer), 4, '0'), 'hex'), (random() * CASE WHEN random() < 0.7 THEN 5 ELSE 200 END)::integer, chr(97 + (random() * 4)::integer),
	nullif((random() * 10)::integer, 0), CASE WHEN random() < 0.8 THEN repeat('b', (random() * 100)::integer) END, 1, 2, 3, 4, 5, 6, command
FROM (SELECT '0/1000'::pg_lsn + (n / 20) * 16 AS lsn, n % 20 AS command, (ARRAY[1, 2, 3, 4, 4])[1 + floor(random() * 5)] AS op
	FROM generate_series(0, 1999) AS n ORDER BY random()) AS r;
-- Both rows of one change with the same key: the delete comes first.
INSERT INTO cdc.public_item_ct
SELECT "__$start_lsn", NULL, "__$seqval", 3 - "__$operation", '\x03ff', k1, k2, a + 100, b, c, d, e, f, g, h, "__$command_id"
FROM cdc.public_item_ct WHERE "__$operation" IN (1, 2) AND random() < 0.1;

-- What the documentation says, word by word.
CREATE FUNCTION expected(from_lsn pg_lsn, to_lsn pg_lsn, option text)
RETURNS TABLE (lsn pg_lsn, op integer, mask text, k1 integer, k2 text, a numeric, b text, h integer) LANGUAGE sql AS $$
WITH changes AS (
	SELECT c.*, row_number() OVER forward AS from_first, row_number() OVER backward AS from_last
	FROM cdc.public_item_ct AS c
	WHERE "__$start_lsn" BETWEEN from_lsn AND to_lsn AND "__$operation" <> 3
	WINDOW forward AS (PARTITION BY c.k1, c.k2 ORDER BY "__$start_lsn", "__$command_id", "__$operation"),
		backward AS (PARTITION BY c.k1, c.k2 ORDER BY "__$start_lsn" DESC, "__$command_id" DESC, "__$operation" DESC)
), net AS (
	SELECT l.*, CASE
			WHEN f."__$operation" = 2 AND l."__$operation" = 1 THEN NULL
			WHEN l."__$operation" = 1 THEN 1
			WHEN f."__$operation" = 2 THEN 2
			ELSE 4 END AS result
	FROM changes AS f JOIN changes AS l ON f.k1 = l.k1 AND f.k2 = l.k2 AND f.from_first = 1 AND l.from_last = 1
)
SELECT n."__$start_lsn",
	CASE WHEN option = 'all with merge' AND n.result <> 1 THEN 5 ELSE n.result END,
	CASE WHEN option = 'all with mask' AND n.result = 4 THEN
		(SELECT lpad(to_hex(bit_or(('x' || encode(m."__$update_mask", 'hex'))::bit(16)::integer)), 4, '0') FROM changes AS m WHERE m.k1 = n.k1 AND m.k2 = n.k2) END,
	n.k1, n.k2, n.a, n.b, n.h
FROM net AS n WHERE n.result IS NOT NULL
$$;
CREATE FUNCTION actual(from_lsn pg_lsn, to_lsn pg_lsn, option text)
RETURNS TABLE (lsn pg_lsn, op integer, mask text, k1 integer, k2 text, a numeric, b text, h integer) LANGUAGE sql AS $$
SELECT "__$start_lsn", "__$operation", encode("__$update_mask", 'hex'), k1, k2, a, b, h FROM cdc.fn_cdc_get_net_changes_public_item(from_lsn, to_lsn, option)
$$;

CREATE TABLE windows AS
SELECT least(x, y) AS from_lsn, greatest(x, y) AS to_lsn, option
FROM (SELECT '0/1000'::pg_lsn + (random() * 1600)::integer AS x, '0/1000'::pg_lsn + (random() * 1600)::integer AS y FROM generate_series(1, 6)) AS r,
	(VALUES ('all'), ('all with mask'), ('all with merge')) AS o(option);
INSERT INTO windows SELECT '0/1000', '0/1640', option FROM (VALUES ('all'), ('all with mask'), ('all with merge')) AS o(option);
CREATE TABLE wanted AS SELECT w.*, e.* FROM windows AS w, expected(w.from_lsn, w.to_lsn, w.option) AS e;
-- There is something of everything in it.
SELECT DISTINCT option, op, mask IS NOT NULL AS masked FROM wanted ORDER BY 1, 2;

CREATE FUNCTION mismatches() RETURNS TABLE (seed text, from_lsn pg_lsn, to_lsn pg_lsn, option text, lsn pg_lsn, op integer, mask text, k1 integer, k2 text)
LANGUAGE plpgsql AS $$
BEGIN
	CREATE TEMPORARY TABLE got ON COMMIT DROP AS SELECT w.*, a.* FROM windows AS w, actual(w.from_lsn, w.to_lsn, w.option) AS a;
	RETURN QUERY SELECT current_setting('test.seed'), d.from_lsn, d.to_lsn, d.option, d.lsn, d.op, d.mask, d.k1, d.k2
		FROM ((TABLE got EXCEPT ALL TABLE wanted) UNION ALL (TABLE wanted EXCEPT ALL TABLE got)) AS d LIMIT 10;
	DROP TABLE got;
END $$;
SELECT set_config('test.seed', :'seed', false) \g /dev/null
-- Hashed; hashed and spilled; sorted; in parallel.
SET enable_sort = off;
SELECT * FROM mismatches();
SET work_mem = '64kB';
CREATE FUNCTION spilled() RETURNS boolean LANGUAGE plpgsql AS $$
DECLARE
	line text;
BEGIN
	FOR line IN EXPLAIN ANALYZE SELECT * FROM cdc.fn_cdc_get_net_changes_public_item('0/1000', '0/1640', 'all with mask') LOOP
		IF substring(line FROM 'Batches: (\d+)')::integer > 1 THEN
			RETURN true;
		END IF;
	END LOOP;
	RETURN false;
END $$;
SELECT spilled();
SELECT * FROM mismatches();
RESET enable_sort;
SET enable_hashagg = off;
SELECT * FROM mismatches();
RESET work_mem;
RESET enable_hashagg;
SET parallel_setup_cost = 0;
SET parallel_tuple_cost = 0;
SET min_parallel_table_scan_size = 0;
SELECT * FROM mismatches();
RESET parallel_setup_cost;
RESET parallel_tuple_cost;
RESET min_parallel_table_scan_size;

CALL cdc.sp_cdc_disable_db();
DROP EXTENSION cdc;
DROP FUNCTION expected, actual, mismatches, spilled;
DROP TABLE item, windows, wanted;
