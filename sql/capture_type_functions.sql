-- What is made on top of the query functions when a type changes: privileges stay, a view of a user's is neither dropped nor given wrong values.
\getenv srcdir PG_ABS_SRCDIR
\set include :srcdir '/sql/include/capture.sql'
\set ECHO none
\i :include
\set ECHO all

CREATE ROLE regress_types_reader;
CREATE ROLE regress_types_other;
CREATE TABLE t (id integer PRIMARY KEY, v varchar(5), n integer, k integer);
CALL cdc.sp_cdc_enable_table('src', 't', NULL);
GRANT EXECUTE ON FUNCTION cdc.fn_cdc_get_all_changes_src_t TO regress_types_reader WITH GRANT OPTION;
REVOKE EXECUTE ON FUNCTION cdc.fn_cdc_get_all_changes_src_t FROM PUBLIC;
CREATE VIEW rights AS
SELECT proname, proacl::text FROM pg_proc WHERE proname LIKE 'fn_cdc_get%_src_t'
UNION ALL
SELECT relname, relacl::text FROM pg_class WHERE relname = '_changes_1';
CREATE TABLE rights_before AS TABLE rights;
-- the window of all changes, up to now
CREATE FUNCTION now_lsn() RETURNS pg_lsn LANGUAGE sql AS 'SELECT cdc.fn_cdc_get_max_lsn()';

-- Event triggers of others have no say in what the workers do.
CREATE FUNCTION no_ddl_in_workers() RETURNS event_trigger LANGUAGE plpgsql AS $$
BEGIN
	IF (SELECT backend_type FROM pg_stat_activity WHERE pid = pg_backend_pid()) LIKE 'cdc %' THEN
		RAISE 'no DDL here';
	END IF;
END $$;
CREATE EVENT TRIGGER regress_start ON ddl_command_start EXECUTE FUNCTION no_ddl_in_workers();
CREATE EVENT TRIGGER regress_end ON ddl_command_end EXECUTE FUNCTION no_ddl_in_workers();
CREATE EVENT TRIGGER regress_drop ON sql_drop EXECUTE FUNCTION no_ddl_in_workers();
CREATE EVENT TRIGGER regress_rewrite ON table_rewrite EXECUTE FUNCTION no_ddl_in_workers();

INSERT INTO t VALUES (1, 'a', 1, 1);
ALTER TABLE t ALTER COLUMN n TYPE bigint;
INSERT INTO t VALUES (2, 'b', 5000000000, 2);
CALL cdc.wait_for_capture();
SELECT id, v, n FROM cdc.fn_cdc_get_all_changes_src_t(cdc.fn_cdc_get_min_lsn('src_t'), now_lsn(), 'all');
SELECT * FROM rights EXCEPT TABLE rights_before;
SELECT obj_description('cdc.fn_cdc_get_all_changes_src_t'::regproc);
-- still members of the extension, with their dependencies
SELECT count(*) FROM pg_depend WHERE deptype = 'e' AND refclassid = 'pg_extension'::regclass AND objid IN ('cdc.fn_cdc_get_all_changes_src_t'::regproc, 'cdc.fn_cdc_get_net_changes_src_t'::regproc, 'cdc._changes_1'::regclass, 'cdc._all_changes_1'::regtype, 'cdc._net_changes_1'::regtype);

-- A prepared statement, and an open transaction that has read before.
PREPARE reader AS SELECT id, n FROM cdc.fn_cdc_get_all_changes_src_t(cdc.fn_cdc_get_min_lsn('src_t'), now_lsn(), 'all') WHERE id > 1 ORDER BY id;
EXECUTE reader;
ALTER TABLE t ALTER COLUMN n TYPE text;
UPDATE t SET n = n || '!' WHERE id = 2;
CALL cdc.wait_for_capture();
EXECUTE reader;
DEALLOCATE reader;

-- A view on a function. What has the same bytes goes on as if nothing had happened, for the view too.
CREATE VIEW mine AS SELECT id, v, n, k FROM cdc.fn_cdc_get_all_changes_src_t(cdc.fn_cdc_get_min_lsn('src_t'), now_lsn(), 'all') f;
ALTER TABLE t ALTER COLUMN v TYPE varchar(50);
INSERT INTO t VALUES (3, 'longer than five', 'x', 3);
CALL cdc.wait_for_capture();
SELECT * FROM mine WHERE id = 3;
-- It is tried again with each command, which is no type change each time.
ALTER TABLE t ADD COLUMN beside integer;
INSERT INTO t VALUES (31, 'also longer than five', 'x', 3);
DELETE FROM t WHERE id = 31;
CALL cdc.wait_for_capture();
SELECT required_column_update, ddl_command FROM cdc.ddl_history ORDER BY ddl_id;
SELECT now_lsn() AS before \gset
-- A new physical column. Readers see the same type: nothing to be seen, except the values.
ALTER TABLE t ALTER COLUMN n TYPE integer USING length(n);
ALTER TABLE t ALTER COLUMN k TYPE smallint;
UPDATE t SET n = 33, k = 34 WHERE id = 3;
CALL cdc.wait_for_capture();
SELECT * FROM mine WHERE id = 3;
-- Another type for readers: the old function stays, and gives nothing wrong.
SELECT now_lsn() AS before \gset
ALTER TABLE t ALTER COLUMN k TYPE bigint;
UPDATE t SET k = 5000000000 WHERE id = 3;
CALL cdc.wait_for_capture();
SELECT state FROM cdc.pg_stat_cdc WHERE database = current_database();
\set VERBOSITY default
SELECT * FROM mine WHERE id = 3;
SELECT status, value, detail, action FROM cdc.health() WHERE check_name = 'query_functions';
SELECT count(*) FROM cdc.fn_cdc_get_net_changes_src_t(cdc.fn_cdc_get_min_lsn('src_t'), now_lsn(), 'all');
CALL cdc.renew_query_functions('src_t');
DROP VIEW mine;
SET ROLE regress_types_other;
CALL cdc.renew_query_functions('src_t');
CALL cdc.renew_query_functions('not there');
RESET ROLE;
CALL cdc.renew_query_functions(NULL);
CALL cdc.renew_query_functions('src_t');
CALL cdc.renew_query_functions('src_t');
SELECT id, v, n, k FROM cdc.fn_cdc_get_all_changes_src_t(cdc.fn_cdc_get_min_lsn('src_t'), now_lsn(), 'all') WHERE id = 3;
SELECT * FROM rights EXCEPT TABLE rights_before;

-- Capture renews them by itself, at the next change of the table's shape, when nothing is in the way any more.
CREATE VIEW mine AS SELECT id, v FROM cdc.fn_cdc_get_all_changes_src_t(cdc.fn_cdc_get_min_lsn('src_t'), now_lsn(), 'all') f;
ALTER TABLE t ALTER COLUMN v TYPE bytea USING v::bytea;
ALTER TABLE t ALTER COLUMN k TYPE numeric;
UPDATE t SET v = 'x', k = 0.5 WHERE id = 3;
CALL cdc.wait_for_capture();
SELECT id FROM mine;
DROP VIEW mine;
ALTER TABLE t ADD COLUMN extra integer;
CALL cdc.wait_for_capture();
SELECT id, v, n, k FROM cdc.fn_cdc_get_all_changes_src_t(cdc.fn_cdc_get_min_lsn('src_t'), now_lsn(), 'all') WHERE id = 3;

-- Casts of a user's own are nobody's to run: neither the writer's nor that of whoever reads.
CREATE TYPE mood AS ENUM ('ok', 'bad');
CREATE TYPE pair AS (a integer, b mood);
CREATE TABLE own (id integer PRIMARY KEY, m mood, p pair, a mood[]);
CREATE FUNCTION trap(anyelement) RETURNS text LANGUAGE plpgsql AS $$ BEGIN RAISE 'ran as %', current_user; END $$;
CREATE FUNCTION trap_mood(mood) RETURNS text LANGUAGE sql AS 'SELECT trap(1)';
CREATE FUNCTION trap_pair(pair) RETURNS text LANGUAGE sql AS 'SELECT trap(1)';
CREATE FUNCTION trap_array(mood[]) RETURNS text LANGUAGE sql AS 'SELECT trap(1)';
CREATE CAST (mood AS text) WITH FUNCTION trap_mood(mood) AS IMPLICIT;
CREATE CAST (pair AS text) WITH FUNCTION trap_pair(pair) AS IMPLICIT;
CREATE CAST (mood[] AS text) WITH FUNCTION trap_array(mood[]) AS IMPLICIT;
CALL cdc.sp_cdc_enable_table('src', 'own', NULL);
INSERT INTO own VALUES (1, 'ok', (1, NULL), '{ok,bad}'), (2, NULL, NULL, NULL);
ALTER TABLE own ALTER COLUMN m TYPE text USING 'x', ALTER COLUMN p TYPE text USING 'x', ALTER COLUMN a TYPE text[] USING '{x}';
INSERT INTO own VALUES (3, 'three', 'three', '{three}');
CALL cdc.wait_for_capture();
SELECT id, m, p, a, pg_typeof(a) FROM cdc.fn_cdc_get_all_changes_src_own(cdc.fn_cdc_get_min_lsn('src_own'), now_lsn(), 'all');
SELECT id, m, p, a FROM cdc.fn_cdc_get_net_changes_src_own(cdc.fn_cdc_get_min_lsn('src_own'), now_lsn(), 'all') ORDER BY id;

SELECT * FROM log_problems();
SELECT state, failures FROM cdc.pg_stat_cdc WHERE database = current_database();
SET client_min_messages = warning;
DROP EVENT TRIGGER regress_start;
DROP EVENT TRIGGER regress_end;
DROP EVENT TRIGGER regress_drop;
DROP EVENT TRIGGER regress_rewrite;
CALL cdc.sp_cdc_disable_db();
DROP SCHEMA src CASCADE;
DROP EXTENSION cdc;
DROP ROLE regress_types_reader, regress_types_other;
