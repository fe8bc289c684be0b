-- Details of SQL Server's behaviour that no other test is about.
\getenv srcdir PG_ABS_SRCDIR
\set include :srcdir '/sql/include/capture.sql'
\set ECHO none
\i :include
\set ECHO all
CREATE TABLE item (id integer PRIMARY KEY, v text);
INSERT INTO item VALUES (1, 'before');

-- An instance that capture has not recognised yet: shown, without a low end, with min 0/0, and reading says what to wait for.
CALL cdc.sp_cdc_enable_table('src', 'item', NULL);
CALL cdc.wait_for_capture();
CALL cdc.sp_cdc_stop_job('capture');
CREATE TABLE late (id integer PRIMARY KEY, v text);
CALL cdc.sp_cdc_enable_table('src', 'late', NULL);
INSERT INTO late VALUES (1, 'x');
SELECT capture_instance, start_lsn IS NULL AS not_established, end_lsn, cdc.fn_cdc_get_min_lsn(capture_instance) = '0/0' AS min FROM cdc.sp_cdc_help_change_data_capture() ORDER BY 1;
\set VERBOSITY terse
SELECT count(*) FROM cdc.fn_cdc_get_all_changes_src_late('0/1', '0/1', 'all');
\set VERBOSITY default
CALL cdc.sp_cdc_start_job('capture');
CALL cdc.wait_for_capture();
SELECT capture_instance, start_lsn IS NULL AS not_established, end_lsn FROM cdc.sp_cdc_help_change_data_capture() ORDER BY 1;
SELECT * FROM changes('src_late');

-- Rows that were there before are not captured; they are when they change, with their before image.
SELECT count(*) FROM changes('src_item');
UPDATE item SET v = 'after';

-- ADD COLUMN ... NOT NULL DEFAULT: unknown to the instance; in a new one old rows have the default, which SQL Server shows as NULL.
ALTER TABLE item ADD COLUMN added integer NOT NULL DEFAULT 7;
INSERT INTO item VALUES (2, 'x', 8);
CALL cdc.sp_cdc_enable_table('src', 'item', NULL, 'src_item_2');
UPDATE item SET v = 'again';
DELETE FROM item WHERE id = 2;
CALL cdc.wait_for_capture();
SELECT op, "row" FROM changes('src_item');
SELECT op, mask, "row" FROM changes('src_item_2');
-- the same change has the same LSNs in both
SELECT count(*), bool_and(a."__$seqval" = b."__$seqval" AND a."__$operation" = b."__$operation") AS same
FROM cdc.fn_cdc_get_all_changes_src_item(cdc.fn_cdc_get_min_lsn('src_item_2'), cdc.fn_cdc_get_max_lsn(), 'all') AS a
FULL JOIN cdc.fn_cdc_get_all_changes_src_item_2(cdc.fn_cdc_get_min_lsn('src_item_2'), cdc.fn_cdc_get_max_lsn(), 'all') AS b USING ("__$start_lsn", "__$seqval", "__$operation");
-- the low end of the newer instance is higher; the high end is common
SELECT cdc.fn_cdc_get_min_lsn('src_item') < cdc.fn_cdc_get_min_lsn('src_item_2') AS later;

-- Cleanup's cut-off with equal times: the smallest LSN of the group, so that the whole group stays; the base is the newest
-- captured commit, not the clock.
CALL cdc.sp_cdc_stop_job('capture');
UPDATE cdc.lsn_time_mapping SET tran_end_time = '2001-01-10 12:00';
CREATE TEMP TABLE numbered AS SELECT start_lsn, row_number() OVER (ORDER BY start_lsn) AS n, count(*) OVER () AS of FROM cdc.lsn_time_mapping;
UPDATE cdc.lsn_time_mapping AS m SET tran_end_time = CASE WHEN n < of - 3 THEN '2001-01-01 12:00' WHEN n < of THEN '2001-01-07 12:00'::timestamptz ELSE '2001-01-10 12:00' END
FROM numbered AS n WHERE n.start_lsn = m.start_lsn;
CALL cdc.sp_cdc_start_job('cleanup');
SELECT poll_until($$EXISTS (SELECT FROM cdc.cleanup_runs WHERE status = 'succeeded')$$);
SELECT capture_instance, n - of AS place FROM cdc.change_tables LEFT JOIN numbered USING (start_lsn) ORDER BY 1;
SELECT count(*) AS kept FROM cdc.lsn_time_mapping;

-- A publication that leaves columns out of a table with whole before images: the server will refuse UPDATE and DELETE.
CREATE TABLE published (id integer PRIMARY KEY, a integer);
CREATE TABLE keyed (id integer PRIMARY KEY, a integer);
CALL cdc.sp_cdc_enable_table('src', 'published', NULL);
CALL cdc.sp_cdc_enable_table('src', 'keyed', NULL, before_image => 'key');
CREATE PUBLICATION regress_cdc_inserts FOR TABLE published (id) WITH (publish = 'insert');
CREATE PUBLICATION regress_cdc_narrow FOR TABLE keyed (id);
ALTER PUBLICATION regress_cdc_narrow ADD TABLE published (id);
INSERT INTO published VALUES (1, 1);
UPDATE published SET a = 2;
ALTER PUBLICATION regress_cdc_narrow SET TABLE published;
UPDATE published SET a = 2;
DROP PUBLICATION regress_cdc_inserts, regress_cdc_narrow;
-- Tables of ours cannot be published: whoever tries is told.
CREATE PUBLICATION regress_cdc_ours FOR TABLE cdc.src_published_ct, published, TABLES IN SCHEMA cdc;
ALTER PUBLICATION regress_cdc_ours ADD TABLE cdc.lsn_time_mapping;
ALTER PUBLICATION regress_cdc_ours DROP TABLE published;
DROP PUBLICATION regress_cdc_ours;

-- A predefined role may be the gating role; white space after names does not count.
CREATE TABLE gated (id integer PRIMARY KEY);
CALL cdc.sp_cdc_enable_table('src', 'gated', 'pg_monitor  ', E'gated \t ');
SELECT capture_instance || '.' AS capture_instance, role_name || '.' AS role_name FROM cdc.change_tables WHERE role_name IS NOT NULL;
CALL cdc.sp_cdc_disable_table('src', 'gated', 'gated ');

CALL cdc.sp_cdc_disable_db();
DROP EXTENSION cdc;
SET client_min_messages = warning;
DROP SCHEMA src CASCADE;
