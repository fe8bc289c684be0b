-- Leaves of a change table: made ahead of the rows, side by side without gap or overlap, whatever the step is.
CREATE EXTENSION cdc;
CREATE TABLE leaves (id integer PRIMARY KEY, v text);
ALTER SYSTEM SET cdc.partition_wal_size = '1MB';
SELECT pg_reload_conf();
\c -
SHOW cdc.partition_wal_size;
-- A new session has the setting, so the postmaster has it, and so a worker that starts now.
CALL cdc.sp_cdc_enable_db();
CALL cdc.sp_cdc_enable_table('public', 'leaves', NULL);

-- 12 kB that do not compress.
CREATE FUNCTION wide(i integer) RETURNS text LANGUAGE sql AS $$ SELECT string_agg(md5(i::text || '.' || j::text), '') FROM generate_series(1, 375) j $$;

CREATE VIEW bounds AS
SELECT (regexp_match(bound, '''(.*?)'''))[1]::pg_lsn AS lower, (regexp_match(bound, 'TO \(''(.*)''\)'))[1]::pg_lsn AS upper, leaf
FROM (SELECT pg_get_expr(relpartbound, c.oid) AS bound, c.oid::regclass AS leaf FROM pg_inherits JOIN pg_class c ON c.oid = inhrelid WHERE inhparent = to_regclass('cdc.public_leaves_ct')) b;

-- No gap, no overlap, and each leaf is named after its lower end. Steps in MB.
CREATE VIEW judged AS
SELECT count(*) > 2 AS several, bool_and(next_lower IS NULL OR next_lower = upper) AS contiguous,
	bool_and(right(leaf::text, 16) = lpad(to_hex((lower - '0/0')::bigint), 16, '0')) AS named_well,
	bool_and((upper - lower) <= 4 * 1048576) AS steps
FROM (SELECT *, lead(lower) OVER (ORDER BY lower) AS next_lower FROM bounds) b;

-- Rows over several steps; each commit by itself, or the whole would share one LSN.
DO $$ BEGIN FOR i IN 1..300 LOOP INSERT INTO leaves VALUES (i, wide(i)); COMMIT; END LOOP; END $$;
CALL cdc.wait_for_capture();
SELECT count(*), count(DISTINCT tableoid) > 2 AS spread FROM cdc.public_leaves_ct;
SELECT * FROM judged;
-- The newest leaf is always ahead of the rows.
SELECT max(upper) > (SELECT max("__$start_lsn") FROM cdc.public_leaves_ct) AND
	(SELECT count(*) FROM bounds WHERE lower > (SELECT max("__$start_lsn") FROM cdc.public_leaves_ct)) >= 1 AS ahead FROM bounds;

-- Wider, and narrower again: what exists stays.
ALTER SYSTEM SET cdc.partition_wal_size = '4MB';
SELECT pg_reload_conf();
\c -
CALL cdc.sp_cdc_stop_job();
CALL cdc.sp_cdc_start_job();
DO $$ BEGIN FOR i IN 301..1000 LOOP INSERT INTO leaves VALUES (i, wide(i)); COMMIT; END LOOP; END $$;
CALL cdc.wait_for_capture();
SELECT max(upper - lower) AS widest FROM bounds;
ALTER SYSTEM SET cdc.partition_wal_size = '3MB';
SELECT pg_reload_conf();
\c -
CALL cdc.sp_cdc_stop_job();
CALL cdc.sp_cdc_start_job();
DO $$ BEGIN FOR i IN 1001..1500 LOOP INSERT INTO leaves VALUES (i, wide(i)); COMMIT; END LOOP; END $$;
CALL cdc.wait_for_capture();
SELECT * FROM judged;
SELECT count(*), count(DISTINCT id), bool_and(v = wide(id)) FROM cdc.public_leaves_ct;
-- Every row is where it belongs, and every leaf has its index and is a member of the extension.
SELECT count(*) FROM cdc.public_leaves_ct r JOIN bounds ON r.tableoid = leaf WHERE NOT ("__$start_lsn" >= lower AND "__$start_lsn" < upper);
SELECT count(*) FROM bounds WHERE NOT EXISTS (SELECT FROM pg_index WHERE indrelid = leaf)
	OR NOT EXISTS (SELECT FROM pg_depend WHERE classid = 'pg_class'::regclass AND objid = leaf AND deptype = 'e');
-- A jump of the log over many steps leaves room behind that can still be filled: leaves need not be contiguous then.
SELECT pg_switch_wal() IS NOT NULL;
INSERT INTO leaves VALUES (0, 'after a jump');
CALL cdc.wait_for_capture();
SELECT count(*) FROM cdc.public_leaves_ct WHERE id = 0;

-- Dropped with their table, all of them, shortly after.
CALL cdc.sp_cdc_disable_table('public', 'leaves', 'all');
CALL cdc.wait_for_capture();
DO $$ BEGIN WHILE EXISTS (SELECT FROM pg_class WHERE relname ~ '^_(ct|dropped)_') AND clock_timestamp() < now() + interval '30s' LOOP END LOOP; END $$;
SELECT count(*) FROM pg_class WHERE relname ~ '^_(ct|dropped)_';

ALTER SYSTEM RESET cdc.partition_wal_size;
SELECT pg_reload_conf();
DROP VIEW judged, bounds;
DROP FUNCTION wide;
CALL cdc.sp_cdc_disable_db();
DROP EXTENSION cdc;
DROP TABLE leaves;
