-- The BRIN index of a leaf: whether rows come one by one or many at once, each is found, and all pages but the newest are in it.
CREATE EXTENSION cdc;
CREATE TABLE item (id integer PRIMARY KEY, v text);
CALL cdc.sp_cdc_enable_db();
CALL cdc.sp_cdc_enable_table('public', 'item', NULL);
CREATE PROCEDURE one_by_one(first integer, last integer) LANGUAGE plpgsql AS $$ BEGIN
	FOR i IN first .. last LOOP
		INSERT INTO item VALUES (i, repeat(md5(i::text), 40));
		COMMIT;
		-- So that the writer cannot wait and take many together.
		IF i % 10 = 0 THEN
			CALL cdc.wait_for_capture();
		END IF;
	END LOOP;
END $$;
-- Pages that a look at one LSN reads, which must be those of its own range and of the newest.
CREATE FUNCTION pages_read(lsn pg_lsn) RETURNS integer LANGUAGE plpgsql SET enable_seqscan = off SET max_parallel_workers_per_gather = 0 AS $$
DECLARE
	plan json;
BEGIN
	EXECUTE format('EXPLAIN (ANALYZE, TIMING OFF, FORMAT json) SELECT * FROM cdc.public_item_ct WHERE "__$start_lsn" = %L', lsn) INTO plan;
	RETURN coalesce(plan -> 0 -> 'Plan' ->> 'Exact Heap Blocks', '0')::integer + coalesce(plan -> 0 -> 'Plan' ->> 'Lossy Heap Blocks', '0')::integer;
END $$;
CREATE VIEW judged AS
SELECT pg_relation_size(max(leaf)) / 8192 > 4 * 64 AS many_pages, count(DISTINCT leaf) AS leaves, max(pages) <= 2 * 64 AS few_read, min(pages) > 0 AS by_the_index
FROM (SELECT tableoid AS leaf, pages_read("__$start_lsn") AS pages FROM cdc.public_item_ct
	WHERE id % 20 = 0 AND id NOT BETWEEN 2251 AND 3000 OFFSET 0) AS r; -- those share one LSN and many pages
CREATE FUNCTION found() RETURNS bigint LANGUAGE sql SET enable_seqscan = off
	AS $$ SELECT count(*) FROM (SELECT start_lsn FROM cdc.lsn_time_mapping OFFSET 0) AS m, LATERAL (SELECT FROM cdc.public_item_ct WHERE "__$start_lsn" = start_lsn OFFSET 0) AS r $$;

CALL one_by_one(1, 2000);
SELECT * FROM judged;
SELECT found();
-- Many at once, and one by one again, each beginning where the other ended; a new worker knows nothing of what is in the index.
INSERT INTO item SELECT i, repeat(md5(i::text), 40) FROM generate_series(2001, 2100) AS i;
CALL one_by_one(2101, 2250);
INSERT INTO item SELECT i, repeat(md5(i::text), 40) FROM generate_series(2251, 3000) AS i;
CALL one_by_one(3001, 3040);
CALL cdc.sp_cdc_stop_job();
CALL cdc.sp_cdc_start_job();
CALL one_by_one(3041, 3300);
SELECT * FROM judged;
SELECT found();
-- Somebody else has put the newest pages into it.
SELECT brin_summarize_new_values(indexrelid) > 0 AS done FROM pg_index WHERE indrelid = (SELECT max(tableoid) FROM cdc.public_item_ct);
CALL one_by_one(3301, 3320);
SELECT found();

DROP EXTENSION cdc;
DROP FUNCTION pages_read, found;
DROP PROCEDURE one_by_one;
DROP TABLE item;
