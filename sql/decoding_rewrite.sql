-- Catalogs, and the tables that decoding reads, are rewritten while what was written before waits to be decoded.
\getenv srcdir PG_ABS_SRCDIR
\set include :srcdir '/sql/include/capture.sql'
\set ECHO none
\i :include
\set ECHO all
SET client_min_messages = warning;
CREATE TABLE t (id integer PRIMARY KEY, n integer, long text);
ALTER TABLE t ALTER COLUMN long SET STORAGE EXTERNAL;
CREATE INDEX t_n ON t (n);
CALL cdc.sp_cdc_enable_table('src', 't', NULL);
-- catalogs with values out of line
CREATE FUNCTION long_function() RETURNS text IMMUTABLE LANGUAGE sql AS $$ SELECT string_agg(md5(g::text), '') FROM generate_series(1, 200) g $$;
DO $$ BEGIN EXECUTE format('COMMENT ON FUNCTION src.long_function() IS %L', src.long_function()); END $$;
CALL cdc.sp_cdc_stop_job();

INSERT INTO t VALUES (1, 1, long_function());
BEGIN;
INSERT INTO t VALUES (2, 2, 'b');
ALTER TABLE t ADD COLUMN c1 integer;
UPDATE t SET n = n + 10, c1 = 1;
COMMIT;
VACUUM FULL pg_class;
VACUUM FULL pg_attribute;
VACUUM FULL pg_type;
VACUUM FULL pg_proc;
VACUUM FULL pg_description;
VACUUM FULL pg_index;
VACUUM FULL pg_namespace;
VACUUM FULL pg_inherits;
UPDATE t SET n = n + 10;
-- again and again in one transaction, taken back and not
BEGIN;
CLUSTER pg_class USING pg_class_oid_index;
CLUSTER pg_class USING pg_class_oid_index;
UPDATE t SET n = n + 1000;
ROLLBACK;
BEGIN;
INSERT INTO t VALUES (3, 3, 'c');
CLUSTER pg_class USING pg_class_oid_index;
ALTER TABLE t DROP COLUMN c1;
CLUSTER pg_class USING pg_class_oid_index;
INSERT INTO t VALUES (4, 4, 'd');
COMMIT;
REINDEX TABLE pg_class;
REINDEX INDEX pg_attribute_relid_attnum_index;
-- the captured table itself
VACUUM FULL t;
UPDATE t SET n = n + 10 WHERE id = 1;
CLUSTER t USING t_n;
BEGIN;
DELETE FROM t WHERE id = 2;
CLUSTER t USING t_pkey;
INSERT INTO t VALUES (5, 5, repeat('e', 3000));
COMMIT;
REINDEX TABLE t;
ALTER TABLE t ALTER COLUMN n TYPE bigint;
-- our own tables that decoding reads as they were
VACUUM FULL cdc.change_tables;
VACUUM FULL cdc.captured_columns;
CLUSTER cdc.index_columns USING index_columns_pkey;
UPDATE t SET n = n + 10 WHERE id = 5;
CALL cdc.sp_cdc_enable_table('src', 't', NULL, capture_instance => 'second', captured_column_list => 'id, n');
VACUUM FULL cdc.change_tables;
INSERT INTO t VALUES (6, 6, 'f');
REINDEX SCHEMA cdc;
INSERT INTO t VALUES (8, 8, NULL);
REINDEX INDEX CONCURRENTLY cdc.captured_columns_pkey;
REINDEX TABLE CONCURRENTLY cdc.change_tables;
VACUUM FULL cdc._progress;
VACUUM FULL cdc.lsn_time_mapping;
CHECKPOINT;
UPDATE t SET long = 'g' WHERE id = 6;
CALL cdc.sp_cdc_start_job();
CALL cdc.wait_for_capture();
SELECT tx, change, op, mask, CASE WHEN length("row") > 60 THEN left("row", 10) || '... ' || length("row") ELSE "row" END AS "row" FROM changes('src_t');
SELECT tx, change, op, mask, "row" FROM changes('second');
SELECT * FROM replay('src_t');

-- Once more while capture runs, and of change table and view's table, too.
INSERT INTO t VALUES (7, 7, long_function());
VACUUM FULL pg_class;
UPDATE t SET n = 70 WHERE id = 7;
VACUUM FULL cdc.captured_columns;
VACUUM FULL cdc.src_t_ct;
UPDATE t SET long = 'short' WHERE id = 7;
VACUUM FULL pg_attribute;
ANALYZE cdc.src_t_ct;
DELETE FROM t WHERE id = 7;
CALL cdc.wait_for_capture();
SELECT tx, op, left("row", 10) AS "row" FROM changes('src_t') WHERE "row" ~ '^\(7,';
SELECT * FROM replay('src_t');
SELECT * FROM log_problems();
SELECT failures FROM cdc.pg_stat_cdc WHERE database = current_database();
CALL cdc.sp_cdc_disable_db();
DROP EXTENSION cdc;
DROP SCHEMA src CASCADE;
