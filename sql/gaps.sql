-- Gaps, as readers meet them: SC004 at every bound. The rows are made by hand, so that LSNs are known.
\getenv srcdir PG_ABS_SRCDIR
\set include :srcdir '/sql/include/capture.sql'
\set ECHO none
\i :include
\set ECHO all
\set SHOW_CONTEXT never
SET search_path = public;
CREATE TABLE item (id integer PRIMARY KEY, name text);
CREATE TABLE other (id integer PRIMARY KEY);
CALL cdc.sp_cdc_enable_table('public', 'item', NULL);
CALL cdc.sp_cdc_enable_table('public', 'other', NULL);
CALL cdc.wait_for_capture();
CALL cdc.sp_cdc_stop_job('capture');

-- The SQLSTATE of an error, or the number of rows.
CREATE FUNCTION outcome(query text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
	n bigint;
BEGIN
	EXECUTE format('SELECT count(*) FROM (%s) AS q', query) INTO n;
	RETURN n || ' rows';
EXCEPTION WHEN OTHERS THEN
	RETURN SQLSTATE;
END $$;
CREATE FUNCTION reading(from_lsn pg_lsn, to_lsn pg_lsn, OUT item text, OUT net text, OUT other text) LANGUAGE sql AS $$
SELECT outcome(format('SELECT * FROM cdc.fn_cdc_get_all_changes_public_item(%L, %L, %L)', from_lsn, to_lsn, 'all')),
	outcome(format('SELECT * FROM cdc.fn_cdc_get_net_changes_public_item(%L, %L, %L)', from_lsn, to_lsn, 'all')),
	outcome(format('SELECT * FROM cdc.fn_cdc_get_all_changes_public_other(%L, %L, %L)', from_lsn, to_lsn, 'all'))
$$;

-- The window 0/1000 to 0/8000, one row in it each 0/1000, and no gap.
UPDATE cdc.change_tables SET start_lsn = '0/1000';
DELETE FROM cdc.lsn_time_mapping;
INSERT INTO cdc.lsn_time_mapping
SELECT '0/0'::pg_lsn + 4096 * n, NULL, '2020-01-01'::timestamptz + n * interval '1 day', n::text::xid8, NULL, n, 1 FROM generate_series(1, 8) n;
INSERT INTO cdc.public_item_ct SELECT '0/0'::pg_lsn + 4096 * n, NULL, '0/0'::pg_lsn + 4096 * n - 16, 2, '\x03', n, 'item', 1 FROM generate_series(1, 8) n;
INSERT INTO cdc.public_other_ct SELECT '0/0'::pg_lsn + 4096 * n, NULL, '0/0'::pg_lsn + 4096 * n - 16, 2, '\x01', n, 1 FROM generate_series(1, 8) n;
SELECT * FROM reading('0/1000', '0/8000');

-- A gap of the whole database from 0/3000 to before 0/5000: what touches it is refused.
INSERT INTO cdc.gaps (start_lsn, end_lsn, reason, detail) VALUES ('0/3000', '0/5000', 'the replication slot was lost', 'It was dropped.');
SELECT "from", "to", r.* FROM (VALUES ('0/1000'::pg_lsn, '0/2fff'::pg_lsn), ('0/1000', '0/3000'), ('0/2000', '0/4000'), ('0/3000', '0/3000'),
	('0/3800', '0/3900'), ('0/4fff', '0/4fff'), ('0/4fff', '0/8000'), ('0/5000', '0/5000'), ('0/5000', '0/8000'), ('0/1000', '0/8000')) AS v("from", "to"),
	reading("from", "to") AS r;
SELECT * FROM cdc.fn_cdc_get_all_changes_public_item('0/1000', '0/8000', 'all');
SELECT * FROM cdc.fn_cdc_get_net_changes_public_item('0/3000', '0/8000', 'all');

-- Other complaints: the low end and reversed bounds come first, the high end later.
SELECT "from", "to", r.* FROM (VALUES ('0/fff'::pg_lsn, '0/4000'::pg_lsn), ('0/4000', '0/3000'), ('0/4000', '0/9000'), ('0/8001', '0/8000'), ('0/8001', '0/9000')) AS v("from", "to"),
	reading("from", "to") AS r;

-- Below the low end it does not matter any more.
UPDATE cdc.change_tables SET start_lsn = '0/5000' WHERE capture_instance = 'public_item';
SELECT * FROM reading('0/5000', '0/8000');
UPDATE cdc.change_tables SET start_lsn = '0/1000';

-- A gap of one instance, which touches the other one: refused up to the end of both. The other instance is whole there.
INSERT INTO cdc.gaps (object_id, start_lsn, end_lsn, reason) SELECT object_id, '0/5000', '0/6000', 'TRUNCATE was not refused'
FROM cdc.change_tables WHERE capture_instance = 'public_item';
SELECT "from", "to", r.* FROM (VALUES ('0/1000'::pg_lsn, '0/2fff'::pg_lsn), ('0/5000', '0/5000'), ('0/5fff', '0/8000'), ('0/6000', '0/8000')) AS v("from", "to"),
	reading("from", "to") AS r;
SELECT * FROM cdc.fn_cdc_get_all_changes_public_item('0/1000', '0/8000', 'all');
SELECT * FROM cdc.fn_cdc_get_all_changes_public_other('0/1000', '0/8000', 'all');

-- Open gaps: whatever is behind their start, also beyond the high end.
INSERT INTO cdc.gaps (object_id, start_lsn, reason, detail) SELECT object_id, '0/7000', 'replica identity is too weak', 'ALTER TABLE item REPLICA IDENTITY FULL.'
FROM cdc.change_tables WHERE capture_instance = 'public_item';
SELECT "from", "to", r.* FROM (VALUES ('0/6000'::pg_lsn, '0/6fff'::pg_lsn), ('0/6000', '0/7000'), ('0/7001', '0/8000'), ('0/8000', '0/9000'), ('0/8001', '0/8000')) AS v("from", "to"),
	reading("from", "to") AS r;
SELECT * FROM cdc.fn_cdc_get_all_changes_public_item('0/6000', '0/8000', 'all');
INSERT INTO cdc.gaps (start_lsn, reason) VALUES ('0/7800', 'the database is a copy');
SELECT * FROM reading('0/7000', '0/8000');
SELECT * FROM cdc.fn_cdc_get_all_changes_public_other('0/7000', '0/9000', 'all');
SELECT * FROM cdc.fn_cdc_get_all_changes_public_other('0/7900', '0/7900', 'all');

-- Checked at execution with the latest state, whatever the snapshot and the plan.
DELETE FROM cdc.gaps WHERE end_lsn IS NULL;
PREPARE p(pg_lsn, pg_lsn) AS SELECT count(*) FROM cdc.fn_cdc_get_all_changes_public_other($1, $2, 'all');
SET plan_cache_mode = force_generic_plan;
EXECUTE p('0/6000', '0/8000');
INSERT INTO cdc.gaps (start_lsn, end_lsn, reason) VALUES ('0/7800', '0/7900', 'seen by nobody before');
EXECUTE p('0/6000', '0/8000');
RESET plan_cache_mode;

-- The rights come first; who may look at the table itself.
CREATE ROLE regress_cdc_gaps_reader;
CREATE ROLE regress_cdc_gaps_monitor IN ROLE pg_monitor;
SET ROLE regress_cdc_gaps_reader;
SELECT * FROM cdc.fn_cdc_get_all_changes_public_other('0/7000', '0/8000', 'all');
SELECT count(*) FROM cdc.gaps;
SET ROLE regress_cdc_gaps_monitor;
SELECT gap_id, object_id IS NULL AS every_table, start_lsn, end_lsn, reason, detail, detected_at <= clock_timestamp() AS detected FROM cdc.gaps ORDER BY 1;
DELETE FROM cdc.gaps;
RESET ROLE;
DROP ROLE regress_cdc_gaps_reader, regress_cdc_gaps_monitor;

-- The gaps of an instance go with its change table, all with the database.
CALL cdc.sp_cdc_disable_table('public', 'item', 'all');
CALL cdc.sp_cdc_start_job();
DEALLOCATE p;
SELECT src.poll_until('NOT EXISTS (SELECT FROM cdc.gaps WHERE object_id IS NOT NULL)');
SELECT gap_id, object_id IS NULL AS every_table FROM cdc.gaps ORDER BY 1;
CALL cdc.sp_cdc_disable_db();
SELECT count(*) FROM cdc.gaps;

DROP EXTENSION cdc;
DROP FUNCTION outcome, reading;
DROP TABLE item, other;
SET client_min_messages = warning;
DROP SCHEMA src CASCADE;
