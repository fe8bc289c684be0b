-- Gaps of single instances: what the log does not hold of one table is recorded, and capture of all goes on.
\getenv srcdir PG_ABS_SRCDIR
\set include :srcdir '/sql/include/capture.sql'
\set ECHO none
\i :include
\set ECHO all
\set SHOW_CONTEXT never
SET client_min_messages = warning;

CREATE TABLE t (id integer PRIMARY KEY, v text);
CREATE TABLE o (id integer PRIMARY KEY, v text);
CALL cdc.sp_cdc_enable_table('src', 't', NULL);
CALL cdc.sp_cdc_enable_table('src', 't', NULL, 't_key', before_image => 'key');
CALL cdc.sp_cdc_enable_table('src', 'o', NULL);

/*
 * gaps(): by number, with names for LSNs. readable: what all changes from the gap's end on are.
 */
CREATE VIEW gaps AS
SELECT gap_id, capture_instance::text AS instance, g.end_lsn IS NULL AS open, g.end_lsn > g.start_lsn AS forward, reason, detail
FROM cdc.gaps g LEFT JOIN cdc.change_tables USING (object_id) ORDER BY gap_id;
CREATE FUNCTION readable(instance text, of_gap bigint) RETURNS TABLE (op integer, "row" text) LANGUAGE plpgsql AS $$
DECLARE
	gap record;
BEGIN
	SELECT * INTO gap FROM cdc.gaps WHERE gap_id = of_gap;
	RETURN QUERY EXECUTE format('SELECT "__$operation", ROW(id, v)::text FROM cdc.%I(%L, cdc.fn_cdc_get_max_lsn(), %L) ORDER BY "__$start_lsn", "__$seqval", "__$operation"',
		'fn_cdc_get_all_changes_' || instance, gap.end_lsn, 'all update old');
END $$;
CREATE FUNCTION across(instance text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
	n bigint;
BEGIN
	EXECUTE format('SELECT count(*) FROM cdc.%I(cdc.fn_cdc_get_min_lsn(%L), cdc.fn_cdc_get_max_lsn(), %L)',
		'fn_cdc_get_all_changes_' || instance, instance, 'all') INTO n;
	RETURN n || ' rows';
EXCEPTION WHEN SQLSTATE 'SC004' THEN
	RETURN SQLSTATE;
END $$;

-- A weaker replica identity. Inserts are complete; the gap begins with the first change without its old row.
INSERT INTO t SELECT g, 'a' FROM generate_series(1, 9) g;
INSERT INTO o SELECT g, 'a' FROM generate_series(1, 9) g;
ALTER TABLE t REPLICA IDENTITY NOTHING;
INSERT INTO t VALUES (10, 'complete');
CALL cdc.wait_for_capture();
SELECT * FROM gaps;
UPDATE t SET v = 'lost' WHERE id = 1;
UPDATE o SET v = 'b' WHERE id = 1;
DELETE FROM t WHERE id = 2;
CALL cdc.wait_for_capture();
SELECT * FROM gaps;
SELECT across('src_t') AS t, across('t_key') AS key, across('src_o') AS o;
-- The worker that comes next knows of it.
CALL cdc.sp_cdc_stop_job();
CALL cdc.sp_cdc_start_job();
DELETE FROM t WHERE id = 3;
CALL cdc.wait_for_capture();
-- The primary key is enough for one of the two: its gap ends with the command.
ALTER TABLE t REPLICA IDENTITY DEFAULT;
CALL cdc.wait_for_capture();
SELECT gap_id, instance, open FROM gaps;
DELETE FROM t WHERE id = 4;
CALL cdc.wait_for_capture();
SELECT gap_id, instance, open FROM gaps;
SELECT * FROM readable('t_key', 2);
SELECT status, action FROM cdc.health() WHERE check_name = 'gaps';
-- Complete again. What the same transaction has changed before is still in the gap, what it changes after as well.
BEGIN;
UPDATE t SET v = 'lost' WHERE id = 5;
ALTER TABLE t REPLICA IDENTITY FULL;
UPDATE t SET v = 'in the gap' WHERE id = 6;
COMMIT;
UPDATE t SET v = 'seen' WHERE id = 7;
CALL cdc.wait_for_capture();
SELECT * FROM gaps;
SELECT * FROM readable('src_t', 1);
SELECT across('src_t') AS t, across('t_key') AS key, across('src_o') AS o;
-- A rolled back change of the identity is none.
BEGIN;
ALTER TABLE t REPLICA IDENTITY NOTHING;
ROLLBACK;
UPDATE t SET v = 'seen, too' WHERE id = 7;
CALL cdc.wait_for_capture();
SELECT count(*) FROM gaps;

-- A partition: sound ones do not end the gap of another.
CREATE TABLE p (id integer, v text) PARTITION BY RANGE (id);
CREATE TABLE p1 PARTITION OF p FOR VALUES FROM (0) TO (100);
CREATE TABLE p2 PARTITION OF p FOR VALUES FROM (100) TO (200);
CALL cdc.sp_cdc_enable_table('src', 'p', NULL);
INSERT INTO p SELECT g, 'a' FROM generate_series(1, 199) g;
ALTER TABLE p1 REPLICA IDENTITY DEFAULT;
DELETE FROM p WHERE id = 1;
DELETE FROM p WHERE id = 101;
ALTER TABLE p2 ALTER COLUMN v SET STATISTICS 10;
CALL cdc.wait_for_capture();
SELECT instance, open, detail FROM gaps WHERE gap_id = 3;
ALTER TABLE p1 REPLICA IDENTITY FULL;
CALL cdc.wait_for_capture();
SELECT instance, open FROM gaps WHERE gap_id = 3;
DELETE FROM p WHERE id IN (2, 102);
CALL cdc.wait_for_capture();
SELECT * FROM readable('src_p', 3);
-- The warning, where it belongs: not for what is enough, not for the partitioned table itself, not for others' tables.
ALTER TABLE t REPLICA IDENTITY USING INDEX t_pkey;
ALTER TABLE t REPLICA IDENTITY FULL;
ALTER TABLE p REPLICA IDENTITY NOTHING;
CREATE TABLE n (id integer PRIMARY KEY);
ALTER TABLE n REPLICA IDENTITY NOTHING;

-- SET UNLOGGED that passes the event triggers, of the table and of a partition; with a restart of the worker between.
SET client_min_messages = error;
ALTER EVENT TRIGGER cdc_ddl_command_start DISABLE;
ALTER EVENT TRIGGER cdc_ddl_command_end DISABLE;
ALTER TABLE t SET UNLOGGED;
INSERT INTO t VALUES (20, 'lost');
ALTER TABLE p2 SET UNLOGGED;
INSERT INTO p VALUES (50, 'logged'), (150, 'lost');
CALL cdc.wait_for_capture();
SELECT * FROM gaps WHERE gap_id > 3 ORDER BY gap_id;
CALL cdc.sp_cdc_stop_job();
CALL cdc.sp_cdc_start_job();
INSERT INTO p VALUES (51, 'logged, and no proof');
ALTER TABLE p1 ALTER COLUMN v SET STATISTICS 10;
CALL cdc.wait_for_capture();
SELECT count(*) FILTER (WHERE open) AS open FROM gaps;
ALTER TABLE t SET LOGGED;
ALTER TABLE p2 SET LOGGED;
ALTER EVENT TRIGGER cdc_ddl_command_start ENABLE ALWAYS;
ALTER EVENT TRIGGER cdc_ddl_command_end ENABLE ALWAYS;
INSERT INTO t VALUES (21, 'seen');
INSERT INTO p VALUES (151, 'seen');
CALL cdc.wait_for_capture();
SELECT count(*) FILTER (WHERE open) AS open FROM gaps;
SELECT gap_id, instance, r.* FROM gaps, readable(instance, gap_id) AS r WHERE gap_id > 3 ORDER BY gap_id;

-- TRUNCATE that is refused but arrives (made so by changing the catalog): a gap of one transaction.
CALL cdc.sp_cdc_stop_job();
UPDATE cdc.change_tables SET truncate_action = 'record' WHERE capture_instance = 'src_o';
INSERT INTO o VALUES (30, 'before');
TRUNCATE o;
UPDATE cdc.change_tables SET truncate_action = 'refuse' WHERE capture_instance = 'src_o';
INSERT INTO o VALUES (31, 'after');
CALL cdc.sp_cdc_start_job();
CALL cdc.wait_for_capture();
SELECT instance, open, forward, reason, detail FROM gaps WHERE instance = 'src_o';
SELECT across('src_o') AS o, across('src_t') AS t;
SELECT r.* FROM gaps, readable(instance, gap_id) AS r WHERE instance = 'src_o';
SELECT DISTINCT ddl_command FROM cdc.ddl_history WHERE source_object_id = 'o'::regclass;
-- With 'record' it is no gap.
UPDATE cdc.change_tables SET truncate_action = 'record' WHERE capture_instance = 'src_o';
TRUNCATE o;
CALL cdc.wait_for_capture();
SELECT count(*) FROM gaps WHERE instance = 'src_o';

SELECT state, last_error_message FROM cdc.pg_stat_cdc WHERE database = current_database();
SELECT problem, sum(times) > 0 FROM log_problems(whole => false) GROUP BY 1;
SET client_min_messages = warning;
DROP VIEW gaps;
CALL cdc.sp_cdc_disable_db();
DROP EXTENSION cdc;
DROP SCHEMA src CASCADE;
