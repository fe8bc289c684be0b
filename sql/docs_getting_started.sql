-- The examples of README.md and docs/getting-started.md, docs/concepts.md, docs/monitoring.md and docs/operations.md, as
-- they stand there. Columns with LSNs and times are left out.
CREATE EXTENSION cdc;
CALL cdc.sp_cdc_enable_db();
CREATE TABLE orders (id integer PRIMARY KEY, customer text NOT NULL, amount numeric(10,2));
CALL cdc.sp_cdc_enable_table('public', 'orders', role_name => NULL);
SELECT source_table, capture_instance, supports_net_changes, index_column_list, captured_column_list
FROM cdc.sp_cdc_help_change_data_capture();

INSERT INTO orders VALUES (1, 'ann', 10), (2, 'bob', 20);
UPDATE orders SET amount = 25 WHERE id = 2;
DELETE FROM orders WHERE id = 1;
CALL cdc.wait_for_capture();

-- Read all changes
SELECT "__$operation", "__$update_mask", id, customer, amount
FROM cdc.fn_cdc_get_all_changes_public_orders(
	cdc.fn_cdc_get_min_lsn('public_orders'), cdc.fn_cdc_get_max_lsn(), 'all update old')
ORDER BY "__$start_lsn", "__$seqval", "__$operation";

-- Decode the mask
SELECT "__$operation", id,
	(SELECT string_agg(column_name, ', ' ORDER BY column_ordinal)
	 FROM cdc.sp_cdc_get_captured_columns('public_orders')
	 WHERE cdc.fn_cdc_is_bit_set(column_ordinal, "__$update_mask")) AS changed
FROM cdc.fn_cdc_get_all_changes_public_orders(
	cdc.fn_cdc_get_min_lsn('public_orders'), cdc.fn_cdc_get_max_lsn(), 'all')
WHERE "__$operation" = 4;

-- Read net changes
SELECT "__$operation", id, customer, amount
FROM cdc.fn_cdc_get_net_changes_public_orders(
	cdc.fn_cdc_get_min_lsn('public_orders'), cdc.fn_cdc_get_max_lsn(), 'all');

-- Changes of a time
SELECT count(*)
FROM cdc.fn_cdc_get_all_changes_public_orders(
	greatest(cdc.fn_cdc_map_time_to_lsn('smallest greater than', now() - interval '1 hour'),
			 cdc.fn_cdc_get_min_lsn('public_orders')),
	cdc.fn_cdc_map_time_to_lsn('largest less than or equal', now()), 'all');

-- Follow the changes
CREATE TABLE orders_copy (LIKE orders INCLUDING ALL);
CREATE TABLE consumer_position (capture_instance text PRIMARY KEY, next_lsn pg_lsn NOT NULL);
INSERT INTO consumer_position VALUES ('public_orders', cdc.fn_cdc_get_min_lsn('public_orders'));
CREATE PROCEDURE follow() LANGUAGE plpgsql AS $$
DECLARE
	from_lsn pg_lsn := (SELECT next_lsn FROM consumer_position WHERE capture_instance = 'public_orders' FOR UPDATE);
	to_lsn pg_lsn := cdc.fn_cdc_get_max_lsn();
BEGIN
	IF from_lsn > to_lsn THEN
		RETURN; -- nothing new
	END IF;
	MERGE INTO orders_copy AS c
	USING cdc.fn_cdc_get_net_changes_public_orders(from_lsn, to_lsn, 'all with merge') AS n
	ON c.id = n.id
	WHEN MATCHED AND n."__$operation" = 1 THEN DELETE
	WHEN MATCHED THEN UPDATE SET customer = n.customer, amount = n.amount
	WHEN NOT MATCHED AND n."__$operation" = 5 THEN INSERT VALUES (n.id, n.customer, n.amount);
	UPDATE consumer_position SET next_lsn = cdc.fn_cdc_increment_lsn(to_lsn)
	WHERE capture_instance = 'public_orders';
END
$$;
CALL follow();
CALL follow();
TABLE orders_copy ORDER BY id;
INSERT INTO orders VALUES (3, 'cy', 30), (4, 'di', 40);
UPDATE orders SET id = 5 WHERE id = 3;
DELETE FROM orders WHERE id = 2;
CALL cdc.wait_for_capture();
CALL follow();
TABLE orders_copy ORDER BY id;
(TABLE orders EXCEPT TABLE orders_copy) UNION ALL (TABLE orders_copy EXCEPT TABLE orders);

-- Two instances: the old one up to where the new one begins, then the new one; nothing lost, nothing twice
ALTER TABLE orders ADD COLUMN note text DEFAULT 'none';
INSERT INTO orders VALUES (6, 'ed', 60);
CALL cdc.sp_cdc_enable_table('public', 'orders', role_name => NULL, capture_instance => 'orders_v2');
INSERT INTO orders VALUES (7, 'fay', 70, 'urgent');
CALL cdc.wait_for_capture();
SELECT id, customer FROM cdc.fn_cdc_get_all_changes_public_orders(cdc.fn_cdc_get_min_lsn('public_orders'),
	cdc.fn_cdc_decrement_lsn(cdc.fn_cdc_get_min_lsn('orders_v2')), 'all') WHERE id > 5;
SELECT id, customer, note FROM cdc.fn_cdc_get_all_changes_orders_v2(cdc.fn_cdc_get_min_lsn('orders_v2'), cdc.fn_cdc_get_max_lsn(), 'all');
SELECT count(*) FROM cdc.public_orders_ct AS a JOIN cdc.orders_v2_ct AS b USING ("__$start_lsn", "__$seqval");
CALL cdc.sp_cdc_disable_table('public', 'orders', 'public_orders');

-- A type change is followed; the instance that was there is gone in the same transaction
BEGIN;
CALL cdc.sp_cdc_disable_table('public', 'orders', 'orders_v2');
CALL cdc.sp_cdc_enable_table('public', 'orders', role_name => NULL);
INSERT INTO orders VALUES (8, 'gus', 80, NULL);
ALTER TABLE orders ALTER COLUMN amount TYPE numeric(12,2);
COMMIT;
INSERT INTO orders VALUES (9, 'hal', 90, NULL);
CALL cdc.wait_for_capture();
SELECT id, amount FROM cdc.fn_cdc_get_all_changes_public_orders(cdc.fn_cdc_get_min_lsn('public_orders'), cdc.fn_cdc_get_max_lsn(), 'all');

-- Monitoring
SELECT state IN ('streaming', 'catching up') AS state, lag_bytes >= 0 AS lag_bytes, lag_seconds >= 0 AS lag_seconds, changes > 0 AS changes, failures
FROM cdc.pg_stat_cdc WHERE database = current_database();
SELECT now() - cdc.fn_cdc_map_lsn_to_time(cdc.fn_cdc_get_max_lsn()) < '1min' AS behind;
SELECT count(*), count(DISTINCT backend_type) FROM pg_stat_activity WHERE backend_type IN ('cdc capture worker', 'cdc decoder') AND datname = current_database();
SELECT active, wal_status, safe_wal_size, pg_wal_lsn_diff(pg_current_wal_lsn(), restart_lsn) >= 0 AS kept
FROM pg_replication_slots WHERE plugin = 'cdc' AND database = current_database();
SELECT c.capture_instance, pg_size_pretty(sum(pg_total_relation_size(i.inhrelid))) <> '' AS size
FROM cdc.change_tables AS c JOIN pg_inherits AS i ON i.inhparent = c.object_id
GROUP BY c.capture_instance;

-- Cleanup from a scheduler of one's own: an instance that is younger than its retention is left out.
SELECT i.capture_instance, mark
FROM (VALUES ('public_orders', interval '7 days'), ('public_orders', '0')) AS r (capture_instance, keep)
JOIN cdc.sp_cdc_help_change_data_capture() AS i USING (capture_instance)
CROSS JOIN LATERAL cdc.fn_cdc_map_time_to_lsn('smallest greater than or equal',
	cdc.fn_cdc_map_lsn_to_time(cdc.fn_cdc_get_max_lsn()) - r.keep) AS mark
WHERE i.start_lsn < mark \gset
CALL cdc.sp_cdc_cleanup_change_table(:'capture_instance', :'mark');
SELECT count(*) AS left FROM cdc.fn_cdc_get_all_changes_public_orders(cdc.fn_cdc_get_min_lsn('public_orders'), cdc.fn_cdc_get_max_lsn(), 'all');
-- Stop
CALL cdc.sp_cdc_stop_job();
INSERT INTO orders VALUES (10, 'ida', 100, NULL);
CALL cdc.sp_cdc_scan(maxtrans => 500, maxscans => 1);
SELECT count(*) FROM cdc.fn_cdc_get_all_changes_public_orders(cdc.fn_cdc_get_min_lsn('public_orders'), cdc.fn_cdc_get_max_lsn(), 'all');
CALL cdc.sp_cdc_start_job();
CALL cdc.sp_cdc_disable_table('public', 'orders', 'all');
CALL cdc.sp_cdc_disable_db();
DROP EXTENSION cdc;
DROP PROCEDURE follow();
DROP TABLE orders, orders_copy, consumer_position;
