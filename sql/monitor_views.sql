-- databases, tables, pg_stat_cdc_tables: what they show, and to whom.
\getenv srcdir PG_ABS_SRCDIR
\set include :srcdir '/sql/include/capture.sql'
\set ECHO none
\i :include
\set ECHO all

CREATE TABLE t (id integer PRIMARY KEY, v text);
CREATE TABLE u (id integer PRIMARY KEY, v text);
CREATE TABLE other (id integer);
CREATE TABLE parted (id integer PRIMARY KEY) PARTITION BY RANGE (id);
CREATE TABLE parted_1 PARTITION OF parted FOR VALUES FROM (0) TO (10) PARTITION BY RANGE (id);
CREATE TABLE parted_11 PARTITION OF parted_1 FOR VALUES FROM (0) TO (5);
CREATE TEMPORARY TABLE temporary_one (id integer);
CALL cdc.sp_cdc_enable_table('src', 't', NULL);
CALL cdc.sp_cdc_enable_table('src', 'u', NULL, before_image => 'key');
CALL cdc.sp_cdc_enable_table('src', 'parted', NULL);

-- databases: this one by its identity row, the others by their slots.
SELECT name = current_database() AS this, is_cdc_enabled, count(*) FROM cdc.databases WHERE name IN (current_database(), 'template0', 'template1') GROUP BY 1, 2 ORDER BY 1;
SELECT count(*) FROM cdc.databases AS d JOIN pg_database AS p ON p.oid = database_id AND datname = name;

-- tables: partitions of a captured table are captured.
SELECT object_id = format('src.%I', name)::regclass AS oid, schema_name, name, is_tracked_by_cdc FROM cdc.tables WHERE schema_name = 'src' ORDER BY name COLLATE "C";
SELECT count(*) FROM cdc.tables WHERE schema_name IN ('cdc', 'pg_catalog', 'information_schema') OR name = 'temporary_one';

-- pg_stat_cdc_tables: what was captured, by operation.
INSERT INTO t SELECT i, 'new' FROM generate_series(1, 10) AS i;
UPDATE t SET v = 'changed' WHERE id <= 4;
UPDATE t SET id = id + 100 WHERE id = 10;
DELETE FROM t WHERE id <= 2;
INSERT INTO u VALUES (1, 'one');
BEGIN;
INSERT INTO u VALUES (2, 'two');
ROLLBACK;
INSERT INTO parted VALUES (1), (2);
CALL cdc.wait_for_capture();
SELECT capture_instance, source_schema, source_table, source_object_id = format('%I.%I', source_schema, source_table)::regclass AS source, object_id::regclass AS change_table,
	state, state_detail, inserts, updates, deletes, low_lsn = cdc.fn_cdc_get_min_lsn(capture_instance) AS low_lsn, low_time = cdc.fn_cdc_map_lsn_to_time(low_lsn) AS low_time,
	last_change_lsn > low_lsn AS lsn, last_change_time = cdc.fn_cdc_map_lsn_to_time(last_change_lsn) AS time, leaves, size_bytes > 0 AS size
FROM cdc.pg_stat_cdc_tables ORDER BY capture_instance COLLATE "C";
SELECT s.rows = sum(inserts + deletes + 2 * updates) AS rows FROM cdc.pg_stat_cdc_tables, cdc.pg_stat_cdc AS s WHERE s.database = current_database() GROUP BY s.rows;

-- States. A change table that capture refuses is named, with the reason; only partitions that capture writes to count.
CALL cdc.sp_cdc_stop_job();
CREATE TABLE late (id integer PRIMARY KEY);
CALL cdc.sp_cdc_enable_table('src', 'late', NULL);
SELECT inhrelid::regclass AS leaf FROM pg_inherits, cdc.change_tables WHERE inhparent = object_id AND capture_instance = 'src_t' ORDER BY inhrelid::regclass::text LIMIT 1 \gset
CREATE VIEW state AS SELECT capture_instance, state, regexp_replace(state_detail, '_ct_\w+', '_ct_...') AS detail FROM cdc.pg_stat_cdc_tables WHERE state <> 'capturing' ORDER BY 1;
SELECT * FROM state;
ALTER TABLE :leaf ENABLE ROW LEVEL SECURITY;
SELECT * FROM state WHERE state = 'refused';
ALTER TABLE :leaf DISABLE ROW LEVEL SECURITY;
CREATE FUNCTION nothing() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NULL; END';
CREATE TRIGGER tr AFTER INSERT ON :leaf EXECUTE FUNCTION nothing();
SELECT * FROM state WHERE state = 'refused';
DROP TRIGGER tr ON :leaf;
CREATE RULE r AS ON INSERT TO :leaf DO ALSO NOTHING;
SELECT * FROM state WHERE state = 'refused';
DROP RULE r ON :leaf;
ALTER TABLE :leaf ADD CONSTRAINT regress_cdc_check CHECK (id > 0);
SELECT * FROM state WHERE state = 'refused';
ALTER TABLE :leaf DROP CONSTRAINT regress_cdc_check;
CREATE INDEX extra ON :leaf (id);
SELECT * FROM state WHERE state = 'refused';
DROP INDEX cdc.extra;
SELECT count(*) FROM state WHERE state = 'refused';
INSERT INTO cdc.gaps (object_id, start_lsn, reason) VALUES ('cdc.src_u_ct'::regclass, '0/1', 'a test');
SELECT * FROM state;
DELETE FROM cdc.gaps;
CALL cdc.sp_cdc_start_job();
CALL cdc.wait_for_capture();
SELECT * FROM state;

-- An instance that goes takes its counters along.
CALL cdc.sp_cdc_disable_table('src', 'u', 'all');
CALL cdc.sp_cdc_enable_table('src', 'u', NULL);
CALL cdc.wait_for_capture();
SELECT inserts, last_change_lsn FROM cdc.pg_stat_cdc_tables WHERE capture_instance = 'src_u';

-- Rights. What a role may do nothing with, it does not see; pg_monitor and the database's owner see all.
CREATE ROLE regress_cdc_reader;
CREATE ROLE regress_cdc_monitor IN ROLE pg_monitor;
CREATE ROLE regress_cdc_owner;
GRANT USAGE ON SCHEMA src TO regress_cdc_reader;
GRANT SELECT (id) ON t TO regress_cdc_reader;
SET ROLE regress_cdc_reader;
SELECT name, is_tracked_by_cdc FROM cdc.tables WHERE schema_name = 'src';
CREATE FUNCTION pg_temp.leak(n name) RETURNS boolean LANGUAGE plpgsql COST 0.0000001 AS $$ BEGIN RAISE NOTICE 'seen: %', n; RETURN true; END $$;
SELECT count(*) FROM cdc.tables WHERE schema_name = 'src' AND pg_temp.leak(name);
DROP FUNCTION pg_temp.leak(name);
SELECT is_cdc_enabled FROM cdc.databases WHERE name = current_database();
SELECT count(*) FROM cdc.pg_stat_cdc_tables;
SELECT count(*) FROM cdc._instance_counters();
SELECT count(*) FROM cdc._change_table_problems;
SELECT count(*) FROM cdc.health();
SELECT count(*) FROM cdc._health;
SELECT count(*) FROM cdc._health_checks(true);
SET ROLE regress_cdc_monitor;
SELECT count(*) FROM cdc.tables WHERE schema_name = 'src';
SELECT count(*) FROM cdc.pg_stat_cdc_tables;
SELECT count(*) > 15 AS health FROM cdc.health();
RESET ROLE;
SELECT datname AS database, datdba::regrole AS former_owner FROM pg_database WHERE datname = current_database() \gset
ALTER DATABASE :database OWNER TO regress_cdc_owner;
SET ROLE regress_cdc_owner;
SELECT count(*) FROM cdc.tables WHERE schema_name = 'src';
SELECT count(*) FROM cdc.pg_stat_cdc_tables;
SELECT count(*) > 15 AS health, (SELECT count(*) FROM cdc.dm_cdc_errors) AS errors, (SELECT count(*) > 0 FROM cdc.dm_cdc_log_scan_sessions) AS sessions FROM cdc.health();
RESET ROLE;
ALTER DATABASE :database OWNER TO :former_owner;

SET client_min_messages = warning;
CALL cdc.sp_cdc_disable_db();
SELECT is_cdc_enabled, (SELECT count(*) FROM cdc.tables WHERE is_tracked_by_cdc) AS tracked, (SELECT count(*) FROM cdc.pg_stat_cdc_tables) AS instances FROM cdc.databases WHERE name = current_database();
DROP SCHEMA src CASCADE;
DROP EXTENSION cdc;
DROP ROLE regress_cdc_reader, regress_cdc_monitor, regress_cdc_owner;
