-- Gaps of one instance end when their cause is gone, also when it went with a partition or unseen, and a change table
-- that can get no more columns is a gap of its instance and does not stop capture.
\set VERBOSITY terse
SET client_min_messages = error;
\set ECHO none
\i sql/include/capture.sql
\set ECHO all

CREATE TABLE p (id int PRIMARY KEY, v text) PARTITION BY RANGE (id);
CREATE TABLE p1 PARTITION OF p FOR VALUES FROM (0) TO (100);
CREATE TABLE p2 PARTITION OF p FOR VALUES FROM (100) TO (200);
CREATE TABLE t (id int PRIMARY KEY, v text);
CALL cdc.sp_cdc_enable_table('src', 'p', NULL);
CALL cdc.sp_cdc_enable_table('src', 't', NULL);

CREATE FUNCTION gaps() RETURNS TABLE (instance name, reason text, is_open boolean)
BEGIN ATOMIC
	SELECT capture_instance, g.reason, g.end_lsn IS NULL FROM cdc.gaps g LEFT JOIN cdc.change_tables USING (object_id) ORDER BY gap_id;
END;

-- A partition whose identity is too weak, and then it is dropped.
INSERT INTO p VALUES (1, 'a'), (101, 'b');
ALTER TABLE p1 REPLICA IDENTITY DEFAULT;
DELETE FROM p WHERE id = 1;
CALL cdc.wait_for_capture();
SELECT * FROM gaps();
INSERT INTO p VALUES (102, 'the gap is of the other partition');
CALL cdc.wait_for_capture();
SELECT * FROM gaps();
DROP TABLE p1;
INSERT INTO p VALUES (103, 'sound');
CALL cdc.wait_for_capture();
SELECT * FROM gaps();
SELECT id, v FROM cdc.fn_cdc_get_all_changes_src_p((SELECT max(end_lsn) FROM cdc.gaps), cdc.fn_cdc_get_max_lsn(), 'all');

-- The same with one that was detached.
CREATE TABLE p1 PARTITION OF p FOR VALUES FROM (0) TO (100);
INSERT INTO p VALUES (2, 'a');
ALTER TABLE p1 REPLICA IDENTITY DEFAULT;
DELETE FROM p WHERE id = 2;
ALTER TABLE p DETACH PARTITION p1;
INSERT INTO p VALUES (104, 'sound');
CALL cdc.wait_for_capture();
SELECT * FROM gaps();

-- An unlogged partition that is dropped.
CREATE TABLE p3 PARTITION OF p FOR VALUES FROM (200) TO (300);
BEGIN;
ALTER EVENT TRIGGER cdc_ddl_command_start DISABLE;
ALTER TABLE p3 SET UNLOGGED;
ALTER EVENT TRIGGER cdc_ddl_command_start ENABLE ALWAYS;
COMMIT;
CALL cdc.wait_for_capture();
SELECT * FROM gaps() WHERE is_open;
DROP TABLE p3;
CALL cdc.wait_for_capture();
SELECT * FROM gaps() WHERE is_open;

-- What ended it was in the log that was given up.
BEGIN;
ALTER EVENT TRIGGER cdc_ddl_command_start DISABLE;
ALTER TABLE t SET UNLOGGED;
ALTER EVENT TRIGGER cdc_ddl_command_start ENABLE ALWAYS;
COMMIT;
CALL cdc.wait_for_capture();
SELECT * FROM gaps() WHERE is_open;
CALL cdc.sp_cdc_stop_job();
ALTER TABLE t SET LOGGED;
CALL cdc.discard_kept_wal(true);
INSERT INTO t VALUES (1, 'captured');
CALL cdc.wait_for_capture();
SELECT * FROM gaps() WHERE is_open;
SELECT id, v FROM cdc.fn_cdc_get_all_changes_src_t((SELECT max(end_lsn) FROM cdc.gaps), cdc.fn_cdc_get_max_lsn(), 'all');

-- Each type takes a column, and a change table can have 1600.
DO $$ BEGIN
	EXECUTE (SELECT format('CREATE TABLE wide (id int PRIMARY KEY, %s)', string_agg(format('c%s int', g), ', ')) FROM generate_series(1, 1591) g);
END $$;
CALL cdc.sp_cdc_enable_table('src', 'wide', NULL);
INSERT INTO wide (id, c1, c2, c3, c4) VALUES (1, 1, 2, 3, 4);
ALTER TABLE wide ALTER c1 TYPE text, ALTER c2 TYPE text, ALTER c3 TYPE text, ALTER c4 TYPE text;
INSERT INTO wide (id, c1, c2, c3, c4) VALUES (2, 'a', 'b', 'c', 'd');
INSERT INTO t VALUES (2, 'other tables go on');
CALL cdc.wait_for_capture();
SELECT * FROM gaps() WHERE is_open;
SELECT id, c1, c2, c3, c4 FROM cdc.fn_cdc_get_all_changes_src_wide(cdc.fn_cdc_get_min_lsn('src_wide'),
	cdc.fn_cdc_decrement_lsn((SELECT start_lsn FROM cdc.gaps WHERE end_lsn IS NULL)), 'all');
SELECT id, c1, c2, c3, c4 FROM cdc.fn_cdc_get_all_changes_src_wide(cdc.fn_cdc_get_min_lsn('src_wide'), cdc.fn_cdc_get_max_lsn(), 'all');
-- Back to a type that there is a column of.
ALTER TABLE wide ALTER c3 TYPE int USING NULL, ALTER c4 TYPE int USING NULL;
INSERT INTO wide (id, c1, c4) VALUES (3, 'a', 4);
CALL cdc.wait_for_capture();
SELECT * FROM gaps() WHERE is_open;
SELECT id, c1, c4 FROM cdc.fn_cdc_get_all_changes_src_wide((SELECT max(end_lsn) FROM cdc.gaps), cdc.fn_cdc_get_max_lsn(), 'all');

-- A row of many short values that fits on a page, and its change row, with its metadata, does not. Its owner cannot stop
-- capture of other tables with it, not even by dropping the table.
DO $$ BEGIN
	EXECUTE (SELECT format('CREATE TABLE long (id int PRIMARY KEY, %s)', string_agg(format('c%s text', g), ', ')) FROM generate_series(1, 336) g);
END $$;
CALL cdc.sp_cdc_enable_table('src', 'long', NULL);
CREATE PROCEDURE long_row(id int, length int) LANGUAGE plpgsql AS $$ BEGIN
	EXECUTE format('INSERT INTO long VALUES (%s%s)', id, repeat(format(', %L', repeat('x', length)), 336));
END $$;
CALL long_row(1, 1);
CALL long_row(2, 23);
CALL long_row(3, 23);
INSERT INTO t VALUES (3, 'other tables go on');
CALL cdc.wait_for_capture();
SELECT * FROM gaps() WHERE is_open;
SELECT id, c1 FROM cdc.fn_cdc_get_all_changes_src_long(cdc.fn_cdc_get_min_lsn('src_long'), cdc.fn_cdc_get_max_lsn(), 'all');
SELECT count(*) FROM cdc.src_t_ct WHERE id = 3;
-- Found again by a worker that has just started; it ends with a row that fits, though not with the half of a change.
CALL cdc.sp_cdc_stop_job();
CALL cdc.sp_cdc_start_job();
UPDATE long SET c1 = 'y', c2 = 'y' WHERE id = 2;
UPDATE long SET c1 = repeat('x', 23) WHERE id = 1;
CALL cdc.wait_for_capture();
SELECT * FROM gaps() WHERE is_open;
SELECT id, c1 FROM cdc.fn_cdc_get_all_changes_src_long((SELECT max(end_lsn) FROM cdc.gaps), cdc.fn_cdc_get_max_lsn(), 'all update old');
CALL long_row(4, 23);
DROP TABLE long;
INSERT INTO t VALUES (4, 'also after the drop');
CALL cdc.wait_for_capture();
SELECT count(*) FROM cdc.src_t_ct WHERE id = 4;
SELECT failures FROM cdc.pg_stat_cdc WHERE database = current_database();

-- While such a gap is open, another partition becomes unlogged: no row that fits ends that.
DO $$ BEGIN
	EXECUTE (SELECT format('CREATE TABLE long (id int PRIMARY KEY, %s) PARTITION BY RANGE (id)', string_agg(format('c%s text', g), ', ')) FROM generate_series(1, 336) g);
END $$;
CREATE TABLE long1 PARTITION OF long FOR VALUES FROM (0) TO (100);
CREATE TABLE long2 PARTITION OF long FOR VALUES FROM (100) TO (200);
CALL cdc.sp_cdc_enable_table('src', 'long', NULL);
CALL long_row(1, 23);
CALL cdc.wait_for_capture();
SELECT * FROM gaps() WHERE is_open;
BEGIN;
ALTER EVENT TRIGGER cdc_ddl_command_start DISABLE;
ALTER TABLE long2 SET UNLOGGED;
ALTER EVENT TRIGGER cdc_ddl_command_start ENABLE ALWAYS;
COMMIT;
INSERT INTO long (id) VALUES (2), (101);
CALL cdc.wait_for_capture();
SELECT * FROM gaps() WHERE is_open;
ALTER TABLE long2 SET LOGGED;
INSERT INTO long (id) VALUES (3), (102);
CALL cdc.wait_for_capture();
SELECT * FROM gaps() WHERE is_open;
SELECT id FROM cdc.fn_cdc_get_all_changes_src_long((SELECT max(end_lsn) FROM cdc.gaps), cdc.fn_cdc_get_max_lsn(), 'all');

DROP FUNCTION gaps;
DROP EXTENSION cdc;
DROP SCHEMA src CASCADE;
