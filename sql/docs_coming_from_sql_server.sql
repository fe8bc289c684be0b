-- The examples of docs/coming-from-sql-server.md, as they stand there: jobs of one's own, by psql.
CREATE EXTENSION cdc;
CALL cdc.sp_cdc_enable_db();
CREATE TABLE orders (id integer PRIMARY KEY);
CREATE TABLE items (id integer PRIMARY KEY);
CALL cdc.sp_cdc_enable_table('public', 'orders', NULL);
CALL cdc.sp_cdc_enable_table('public', 'items', NULL);
CALL cdc.wait_for_capture();

-- Capture, every five minutes
CALL cdc.sp_cdc_stop_job('capture');
INSERT INTO orders VALUES (1), (2);
INSERT INTO items VALUES (1);
CALL cdc.sp_cdc_scan(maxtrans => 10000, maxscans => 1000);
SELECT (SELECT count(*) FROM cdc.public_orders_ct) AS orders, (SELECT count(*) FROM cdc.public_items_ct) AS items;
INSERT INTO orders VALUES (3);
CALL cdc.sp_cdc_scan(maxtrans => 10000, maxscans => 1000);
CALL cdc.sp_cdc_scan(maxtrans => 10000, maxscans => 1000);
SELECT count(*) FROM cdc.public_orders_ct;

-- Cleanup, at night
CALL cdc.sp_cdc_stop_job('cleanup');
\set keep '1 day'
SELECT cdc.fn_cdc_map_time_to_lsn('smallest greater than or equal',
	cdc.fn_cdc_map_lsn_to_time(cdc.fn_cdc_get_max_lsn()) - :'keep'::interval) AS mark \gset
\set ECHO none
SELECT format('CALL cdc.sp_cdc_cleanup_change_table(%L, %L)', capture_instance, :'mark')
FROM cdc.sp_cdc_help_change_data_capture() WHERE start_lsn < :'mark' \gexec
\set ECHO all
SELECT (SELECT count(*) FROM cdc.public_orders_ct) AS orders, (SELECT count(*) FROM cdc.public_items_ct) AS items;
-- the same, keeping nothing but the newest transaction
\set keep '0 seconds'
SELECT cdc.fn_cdc_map_time_to_lsn('smallest greater than or equal',
	cdc.fn_cdc_map_lsn_to_time(cdc.fn_cdc_get_max_lsn()) - :'keep'::interval) AS mark \gset
\set ECHO none
SELECT format('CALL cdc.sp_cdc_cleanup_change_table(%L, %L)', capture_instance, :'mark')
FROM cdc.sp_cdc_help_change_data_capture() WHERE start_lsn < :'mark' \gexec
\set ECHO all
SELECT (SELECT count(*) FROM cdc.public_orders_ct) AS orders, (SELECT count(*) FROM cdc.public_items_ct) AS items,
	(SELECT count(*) FROM cdc.change_tables WHERE start_lsn = :'mark') AS raised;
SELECT job_type, started FROM cdc.cdc_jobs ORDER BY 1;

CALL cdc.sp_cdc_disable_db();
DROP EXTENSION cdc;
DROP TABLE orders, items;
