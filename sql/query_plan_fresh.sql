-- A change table that nobody has analyzed: a query of its newest rows uses the index all the same.
CREATE EXTENSION cdc;
CALL cdc.sp_cdc_enable_db();
CREATE TABLE item (id integer PRIMARY KEY, note text);
CALL cdc.sp_cdc_enable_table('public', 'item', NULL);
INSERT INTO item SELECT i, repeat('x', 100) FROM generate_series(1, 20000) AS i;
INSERT INTO item VALUES (0, 'newest');
CALL cdc.wait_for_capture();

CREATE FUNCTION scans(query text) RETURNS SETOF text LANGUAGE plpgsql AS $$
DECLARE
	line text;
BEGIN
	FOR line IN EXECUTE format('EXPLAIN (COSTS OFF) %s', query) LOOP
		RETURN QUERY SELECT m[1] FROM regexp_match(line, '(Seq Scan|Bitmap Index Scan|Bitmap Heap Scan)') AS m WHERE m IS NOT NULL;
	END LOOP;
END $$;
SELECT cdc.fn_cdc_get_max_lsn() AS newest \gset
SELECT * FROM scans(format('SELECT * FROM cdc.fn_cdc_get_all_changes_public_item(%L, %L, ''all'')', :'newest', :'newest'));
PREPARE p(pg_lsn, pg_lsn) AS SELECT id, note FROM cdc.fn_cdc_get_all_changes_public_item($1, $2, 'all');
SET plan_cache_mode = force_generic_plan;
SELECT DISTINCT * FROM scans(format('EXECUTE p(%L, %L)', :'newest', :'newest')) ORDER BY 1;
EXECUTE p(:'newest', :'newest');

-- ANALYZE replaces what the leaf was given when it was made.
ANALYZE cdc.public_item_ct;
SELECT * FROM scans(format('SELECT * FROM cdc.fn_cdc_get_all_changes_public_item(%L, %L, ''all'')', :'newest', :'newest'));

CALL cdc.sp_cdc_disable_db();
-- Dropped leaves leave nothing behind.
SELECT count(*) FROM pg_statistic WHERE NOT EXISTS (SELECT FROM pg_class WHERE oid = starelid);
DROP EXTENSION cdc;
DROP FUNCTION scans;
DROP TABLE item;
