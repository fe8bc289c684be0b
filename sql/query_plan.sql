-- The query functions are inlined: a caller's WHERE and the bounds reach the leaves of the change table.
CREATE EXTENSION cdc;
\set SHOW_CONTEXT never
CALL cdc.sp_cdc_enable_db();
CREATE TABLE item (id integer PRIMARY KEY, name text, price numeric, amount numeric(8,2));
CALL cdc.sp_cdc_enable_table('public', 'item', NULL);
CALL cdc.wait_for_capture();
CALL cdc.sp_cdc_stop_job('capture');

-- Three leaves of known bounds, one transaction in each.
SET allow_system_table_mods = on;
SELECT format('ALTER TABLE cdc.public_item_ct DETACH PARTITION %s', oid::regclass) FROM pg_class WHERE relname ~ '^_ct_\d' AND relispartition AND relkind = 'r' \gexec
CREATE TABLE cdc.leaf_a PARTITION OF cdc.public_item_ct FOR VALUES FROM ('0/0') TO ('1/0');
CREATE TABLE cdc.leaf_b PARTITION OF cdc.public_item_ct FOR VALUES FROM ('1/0') TO ('2/0');
CREATE TABLE cdc.leaf_c PARTITION OF cdc.public_item_ct FOR VALUES FROM ('2/0') TO ('3/0');
DELETE FROM cdc.lsn_time_mapping;
INSERT INTO cdc.lsn_time_mapping VALUES ('0/1000', NULL, '2020-01-01', '1', NULL, 1, 1), ('1/1000', NULL, '2020-01-02', '2', NULL, 2, 1), ('2/1000', NULL, '2020-01-03', '3', NULL, 3, 1);
INSERT INTO cdc.public_item_ct SELECT lsn, NULL, lsn, 2, '\x0f', id, 'name', 1, 1, 1 FROM (VALUES (1, '0/1000'::pg_lsn), (2, '1/1000'), (3, '2/1000')) AS v(id, lsn);
UPDATE cdc.change_tables SET start_lsn = '0/1000';
SET max_parallel_workers_per_gather = 0;

-- The parts of a plan that matter here. Names of views and instances are made the same.
CREATE FUNCTION plan(query text, run boolean DEFAULT false) RETURNS SETOF text LANGUAGE plpgsql AS $$
DECLARE
	line text;
BEGIN
	FOR line IN EXECUTE format('EXPLAIN (COSTS OFF, BUFFERS OFF, TIMING OFF, SUMMARY OFF, ANALYZE %s) %s', CASE WHEN run THEN 'on' ELSE 'off' END, query) LOOP
		line := regexp_replace(line, '_(changes|may_read\()_?\d+', '_\1N', 'g');
		IF line !~ 'Memory|Buckets|Batches|Sort Method|Disabled'
			-- From 17 on a grouping column that is a constant is not shown.
			AND NOT (query ~ 'WHERE id = 2$' AND line ~ 'Group Key: c\.id$') THEN
			RETURN NEXT regexp_replace(line, ' \(actual rows=(\d+)(\.\d+)? loops=\d+\)', ' (rows=\1)');
		END IF;
	END LOOP;
END $$;

-- Bounds known when planning: one leaf, and the filter in its scan.
SELECT * FROM plan($$SELECT * FROM cdc.fn_cdc_get_all_changes_public_item('1/0', '1/2000', 'all') WHERE id = 7 AND name = 'x'$$);
-- Only what is not leakproof stays one node higher, away from rows and statistics.
SELECT * FROM plan($$SELECT * FROM cdc.fn_cdc_get_all_changes_public_item('1/0', '1/2000', 'all update old') WHERE id = 7 AND name LIKE '%x'$$);
-- Bounds from our own functions: pruned when execution starts.
SELECT * FROM plan($$SELECT * FROM cdc.fn_cdc_get_all_changes_public_item('1/0', cdc.fn_cdc_get_max_lsn(), 'all') WHERE "__$operation" = 4$$);
SELECT * FROM plan($$SELECT * FROM cdc.fn_cdc_get_all_changes_public_item(cdc.fn_cdc_increment_lsn('1/fff'), cdc.fn_cdc_decrement_lsn('2/1000'), 'all') WHERE id > 7$$);
-- LIMIT stops after the first leaf.
SELECT * FROM plan($$SELECT * FROM cdc.fn_cdc_get_all_changes_public_item('0/1000', '2/1000', 'all') LIMIT 1$$, true);
-- Parameters: custom and generic plans.
PREPARE p(pg_lsn, pg_lsn, text) AS SELECT * FROM cdc.fn_cdc_get_all_changes_public_item($1, $2, $3) WHERE id = 2;
SELECT * FROM plan($$EXECUTE p('1/0', '1/2000', 'all')$$, true);
SET plan_cache_mode = force_generic_plan;
SELECT * FROM plan($$EXECUTE p('1/0', '1/2000', 'all')$$, true);
RESET plan_cache_mode;
-- Every leaf pruned, when planning or later: the check is still there.
SELECT * FROM plan($$SELECT * FROM cdc.fn_cdc_get_all_changes_public_item('4/0', '5/0', 'all')$$);
SELECT * FROM cdc.fn_cdc_get_all_changes_public_item('4/0', '5/0', 'all');
SELECT * FROM plan($$SELECT * FROM cdc.fn_cdc_get_all_changes_public_item('4/0', cdc.fn_cdc_get_max_lsn(), 'all')$$);
SELECT * FROM cdc.fn_cdc_get_all_changes_public_item('4/0', cdc.fn_cdc_get_max_lsn(), 'all');
SET plan_cache_mode = force_generic_plan;
SELECT * FROM plan($$EXECUTE p('4/0', '5/0', 'all')$$);
EXECUTE p('4/0', '5/0', 'all');
RESET plan_cache_mode;
-- Our functions as bounds give good estimates too.
ANALYZE cdc.leaf_a, cdc.leaf_b, cdc.leaf_c;
SELECT * FROM plan($$SELECT * FROM cdc.fn_cdc_get_all_changes_public_item(cdc.fn_cdc_get_min_lsn('public_item'), cdc.fn_cdc_get_max_lsn(), 'all') AS c JOIN item USING (id)$$);

-- Net changes: one hash aggregation, and a WHERE on the key goes below it.
SET enable_sort = off;
SELECT * FROM plan($$SELECT * FROM cdc.fn_cdc_get_net_changes_public_item('0/1000', cdc.fn_cdc_get_max_lsn(), 'all with merge') WHERE id = 2$$, true);
SELECT * FROM plan($$SELECT id, name FROM cdc.fn_cdc_get_net_changes_public_item('0/1000', '1/1000', 'all with mask') WHERE price = 1$$);
RESET enable_sort;
-- With a join, as a consumer that applies them would write it.
SELECT count(*) FROM item FULL JOIN cdc.fn_cdc_get_net_changes_public_item('0/1000', '2/1000', 'all') AS n USING (id) WHERE n."__$operation" IS NOT NULL;

INSERT INTO cdc.leaf_b SELECT '1/2000', NULL, '1/0', 4, '\x01', i, 'name', 1, 1, i FROM generate_series(10, 5000) AS i;
ANALYZE cdc.leaf_b;
-- In parallel: the check stays in the leader, the leaves are shared.
SET max_parallel_workers_per_gather = 2;
SET parallel_setup_cost = 0;
SET parallel_tuple_cost = 0;
SET min_parallel_table_scan_size = 0;
SELECT bool_or(line ~ 'Gather') AS gather, bool_or(line ~ 'Parallel Seq Scan on leaf') AS parallel_scan
FROM plan($$SELECT * FROM cdc.fn_cdc_get_all_changes_public_item('0/1000', '2/1000', 'all') WHERE id > 0$$) AS line;
SELECT bool_or(line ~ 'Gather') AS gather, bool_or(line ~ 'Parallel Seq Scan on leaf') AS parallel_scan
FROM plan($$SELECT * FROM cdc.fn_cdc_get_net_changes_public_item('0/1000', '2/1000', 'all') WHERE id > 0$$) AS line;
SELECT count(*), sum(id) FROM cdc.fn_cdc_get_all_changes_public_item('0/1000', '2/1000', 'all') WHERE id > 0;
SELECT count(*), sum(id) FROM cdc.fn_cdc_get_net_changes_public_item('0/1000', '2/1000', 'all') WHERE id > 0;
SELECT id FROM cdc.fn_cdc_get_all_changes_public_item('0/1', '2/1000', 'all') WHERE id > 0;
RESET max_parallel_workers_per_gather;
RESET parallel_setup_cost;
RESET parallel_tuple_cost;
RESET min_parallel_table_scan_size;

-- Where a function cannot be inlined it answers the same, only slower: a volatile or a subselect argument.
CREATE FUNCTION bound() RETURNS pg_lsn LANGUAGE plpgsql VOLATILE AS $$BEGIN RETURN '0/1000'; END$$;
SELECT * FROM plan($$SELECT * FROM cdc.fn_cdc_get_all_changes_public_item(bound(), '2/1000', 'all')$$);
SELECT count(*) FROM cdc.fn_cdc_get_all_changes_public_item(bound(), '2/1000', 'all');
SELECT count(*) FROM cdc.fn_cdc_get_net_changes_public_item((SELECT '1/0'::pg_lsn), '2/1000', 'all');

-- No leaf at all.
DROP TABLE cdc.leaf_a, cdc.leaf_b, cdc.leaf_c;
SELECT * FROM cdc.fn_cdc_get_all_changes_public_item('0/1000', '2/1000', 'all');
SELECT * FROM cdc.fn_cdc_get_net_changes_public_item('0/1000', '2/1000', 'all');
SELECT * FROM cdc.fn_cdc_get_all_changes_public_item('0/fff', '2/1000', 'all');
EXECUTE p('0/fff', '1/2000', 'all');

DEALLOCATE p;
CALL cdc.sp_cdc_disable_db();
SET client_min_messages = warning;
DROP EXTENSION cdc;
DROP FUNCTION plan, bound;
DROP TABLE item;
