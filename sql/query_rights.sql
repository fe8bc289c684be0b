-- Who may read changes, and that nobody else gets at them.
CREATE EXTENSION cdc;
\set SHOW_CONTEXT never
CALL cdc.sp_cdc_enable_db();
SET client_min_messages = warning;
DROP ROLE IF EXISTS regress_cdc_gate, regress_cdc_member, regress_cdc_selecter, regress_cdc_reader, regress_cdc_nobody, regress_cdc_owner, regress_cdc_dbowner;
RESET client_min_messages;
CREATE ROLE regress_cdc_gate;
CREATE ROLE regress_cdc_member IN ROLE regress_cdc_gate;      -- gating role only
CREATE ROLE regress_cdc_selecter;                             -- SELECT only
CREATE ROLE regress_cdc_reader IN ROLE regress_cdc_gate;      -- both
CREATE ROLE regress_cdc_nobody;
CREATE ROLE regress_cdc_owner;                                -- of the tables
CREATE ROLE regress_cdc_dbowner;
GRANT CREATE ON SCHEMA public TO regress_cdc_nobody;

CREATE TABLE gated (id integer PRIMARY KEY, name text, extra text);
CREATE TABLE open (id integer PRIMARY KEY, name text);
CREATE TABLE guarded (id integer PRIMARY KEY, name text);
ALTER TABLE gated OWNER TO regress_cdc_owner;
ALTER TABLE open OWNER TO regress_cdc_owner;
ALTER TABLE guarded OWNER TO regress_cdc_owner;
ALTER TABLE guarded ENABLE ROW LEVEL SECURITY;
CREATE POLICY all_rows ON guarded USING (true);
GRANT SELECT (id, name) ON gated TO regress_cdc_selecter, regress_cdc_reader;
GRANT SELECT ON open, guarded TO regress_cdc_selecter, regress_cdc_reader;
CALL cdc.sp_cdc_enable_table('public', 'gated', 'regress_cdc_gate', captured_column_list => 'id, name');
CALL cdc.sp_cdc_enable_table('public', 'open', NULL);
CALL cdc.sp_cdc_enable_table('public', 'guarded', NULL);
CALL cdc.wait_for_capture();
INSERT INTO gated VALUES (1, 'secret');
INSERT INTO open VALUES (1, 'secret');
INSERT INTO guarded VALUES (1, 'secret');
CALL cdc.wait_for_capture();
SELECT cdc.fn_cdc_get_max_lsn() AS "to" \gset
-- The statistics of the leaves hold the secret too, once it is common enough.
INSERT INTO open SELECT i, 'common secret' FROM generate_series(2, 30) AS i;
CALL cdc.wait_for_capture();
SELECT format('ANALYZE %s', string_agg(oid::regclass::text, ', ')) FROM pg_class WHERE relname ~ '^_ct_\d' AND relispartition \gexec
SELECT attname, most_common_vals FROM pg_stats WHERE schemaname = 'cdc' AND attname = 'name' AND most_common_vals IS NOT NULL;

SELECT set_config('test.to', :'to', false) \g /dev/null

-- What each role sees of each instance, through every door.
CREATE FUNCTION outcome(query text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
	n bigint;
BEGIN
	EXECUTE query INTO n;
	RETURN n;
EXCEPTION WHEN OTHERS THEN
	RETURN SQLSTATE;
END $$;
CREATE FUNCTION doors(role text) RETURNS TABLE (reader text, instance text, "all" text, net text, min_lsn text, ordinal text, changed text, help text, columns text, view text, change_table text)
LANGUAGE plpgsql AS $$
DECLARE
	ct record;
	low pg_lsn;
BEGIN
	FOR ct IN SELECT c.capture_instance AS name, c.instance_id, c.start_lsn FROM cdc.change_tables AS c ORDER BY 1 LOOP
		EXECUTE format('SET LOCAL ROLE %I', role);
		RETURN QUERY SELECT role, ct.name::text,
			outcome(format('SELECT count(*) FROM cdc.fn_cdc_get_all_changes_%s(%L, %L, %L)', ct.name, ct.start_lsn, current_setting('test.to'), 'all')),
			outcome(format('SELECT count(*) FROM cdc.fn_cdc_get_net_changes_%s(%L, %L, %L)', ct.name, ct.start_lsn, current_setting('test.to'), 'all')),
			outcome(format('SELECT (cdc.fn_cdc_get_min_lsn(%L) > %L)::integer', ct.name, '0/0')),
			outcome(format('SELECT cdc.fn_cdc_get_column_ordinal(%L, %L)', ct.name, 'name')),
			outcome(format('SELECT cdc.fn_cdc_has_column_changed(%L, %L, %L)::integer', ct.name, 'name', '\x02')),
			outcome(format('SELECT count(*) FROM cdc.sp_cdc_help_change_data_capture() WHERE capture_instance = %L', ct.name)),
			outcome(format('SELECT count(*) FROM cdc.sp_cdc_get_captured_columns(%L)', ct.name)),
			outcome(format('SELECT count(*) FROM cdc._changes_%s WHERE "__$start_lsn" <= %L', ct.instance_id, current_setting('test.to'))),
			outcome(format('SELECT count(*) FROM cdc.%I', ct.name || '_ct'));
		RESET ROLE;
	END LOOP;
END $$;
SELECT d.* FROM (VALUES (1, 'regress_cdc_member'), (2, 'regress_cdc_selecter'), (3, 'regress_cdc_reader'), (4, 'regress_cdc_nobody'), (5, 'regress_cdc_owner')) AS r(n, role),
	doors(role) AS d ORDER BY n, instance;

-- The database's owner needs neither role nor rights.
SELECT current_database() AS db, (SELECT datdba::regrole FROM pg_database WHERE datname = current_database()) AS former \gset
ALTER DATABASE :"db" OWNER TO regress_cdc_dbowner;
SELECT * FROM doors('regress_cdc_dbowner');
ALTER DATABASE :"db" OWNER TO :former;
SELECT * FROM doors('regress_cdc_dbowner');
-- BYPASSRLS lets its role read what is behind row-level security.
ALTER ROLE regress_cdc_reader BYPASSRLS;
SELECT * FROM doors('regress_cdc_reader') WHERE instance = 'public_guarded';
-- A membership that is not inherited does not count until it is taken on.
-- Until 15 the role decides, from 16 on each grant, whose default the role is.
REVOKE regress_cdc_gate FROM regress_cdc_reader;
ALTER ROLE regress_cdc_reader NOINHERIT;
GRANT regress_cdc_gate TO regress_cdc_reader;
SELECT * FROM doors('regress_cdc_reader') WHERE instance = 'public_gated';
REVOKE regress_cdc_gate FROM regress_cdc_reader;
ALTER ROLE regress_cdc_reader INHERIT NOBYPASSRLS;
GRANT regress_cdc_gate TO regress_cdc_reader;

-- The messages.
SET ROLE regress_cdc_selecter;
SELECT * FROM cdc.fn_cdc_get_all_changes_public_gated('0/0', '0/0', 'all');
SET ROLE regress_cdc_member;
SELECT * FROM cdc.fn_cdc_get_all_changes_public_gated('0/0', '0/0', 'all');
SELECT * FROM cdc.fn_cdc_get_net_changes_public_open(NULL, NULL, NULL);
SELECT * FROM cdc.public_open_ct;
SET ROLE regress_cdc_reader;
SELECT * FROM cdc.fn_cdc_get_all_changes_public_guarded('0/0', '0/0', 'all');
-- who may execute the function of a gated instance is still no member
RESET ROLE;
GRANT EXECUTE ON FUNCTION cdc.fn_cdc_get_all_changes_public_gated(pg_lsn, pg_lsn, text) TO regress_cdc_selecter;
SET ROLE regress_cdc_selecter;
SELECT * FROM cdc.fn_cdc_get_all_changes_public_gated('0/0', '0/0', 'all');
RESET ROLE;
REVOKE EXECUTE ON FUNCTION cdc.fn_cdc_get_all_changes_public_gated(pg_lsn, pg_lsn, text) FROM regress_cdc_selecter;

-- A plan made for one role does not serve another.
SET plan_cache_mode = force_generic_plan;
SELECT cdc.fn_cdc_get_min_lsn('public_open') AS min_open, cdc.fn_cdc_get_min_lsn('public_gated') AS min_gated \gset
PREPARE open AS SELECT name FROM cdc.fn_cdc_get_all_changes_public_open(:'min_open', :'to', 'all');
PREPARE gated AS SELECT name FROM cdc.fn_cdc_get_net_changes_public_gated(:'min_gated', :'to', 'all');
EXECUTE open;
EXECUTE gated;
SET ROLE regress_cdc_nobody;
EXECUTE open;
EXECUTE gated;
SET ROLE regress_cdc_reader;
EXECUTE open;
EXECUTE gated;
RESET ROLE;
RESET plan_cache_mode;
DEALLOCATE ALL;

-- A function of its owner's rights reads for others; a view reads with those of who asks.
SET ROLE regress_cdc_owner;
SELECT cdc.fn_cdc_get_min_lsn('public_open') > '0/0' AS visible;
RESET ROLE;
CREATE FUNCTION for_others() RETURNS boolean LANGUAGE sql SECURITY DEFINER SET search_path = pg_catalog AS $$
SELECT count(*) > 0 FROM cdc.fn_cdc_get_all_changes_public_open(cdc.fn_cdc_get_min_lsn('public_open'), cdc.fn_cdc_get_max_lsn(), 'all')
$$;
CREATE VIEW with_own AS SELECT name FROM cdc.fn_cdc_get_all_changes_public_open('0/0', '0/0', 'all');
GRANT SELECT ON with_own TO PUBLIC;
SET ROLE regress_cdc_nobody;
SELECT for_others();
SELECT * FROM with_own;
RESET ROLE;

-- Functions and operators of somebody without rights are shown no value: not while the query runs,
-- and not while it is planned.
SET ROLE regress_cdc_nobody;
CREATE FUNCTION leak(text, text DEFAULT '') RETURNS boolean LANGUAGE plpgsql COST 0.0001 AS $$
BEGIN
	RAISE WARNING 'leaked: %', $1;
	RETURN true;
END $$;
CREATE OPERATOR === (LEFTARG = text, RIGHTARG = text, FUNCTION = leak, RESTRICT = eqsel, JOIN = eqjoinsel);
RESET ROLE;
SELECT 'cdc._changes_' || instance_id AS view FROM cdc.change_tables WHERE capture_instance = 'public_open' \gset
SET ROLE regress_cdc_nobody;
SELECT count(*) FROM :view WHERE leak(name);
SELECT count(*) FROM :view WHERE name === 'x';
SELECT count(*) FROM (VALUES (1)) AS x(id) LEFT JOIN :view AS c ON leak(c.name);
SELECT count(*) FROM (VALUES ('x')) AS x(y) JOIN :view AS c ON c.name === y;
SELECT count(*) FROM (VALUES ('x')) AS x(y) FULL JOIN (:view AS c JOIN (VALUES (1)) AS z(id) USING (id)) ON c.name = y WHERE leak(c.name);
SELECT count(*) FROM cdc.fn_cdc_get_all_changes_public_open(:'min_open', :'to', 'all') WHERE name === 'x';
SELECT count(*) FROM cdc.fn_cdc_get_net_changes_public_open(:'min_open', :'to', 'all') WHERE leak(name);
EXPLAIN (COSTS OFF) SELECT count(*) FROM cdc.fn_cdc_get_all_changes_public_open(:'min_open', :'to', 'all') WHERE name === 'x' AND leak(name) \g /dev/null
RESET ROLE;
-- The reader's own may see them.
SET ROLE regress_cdc_reader;
SELECT count(*) FROM cdc.fn_cdc_get_all_changes_public_open(:'min_open', :'to', 'all') WHERE public.leak(name);
RESET ROLE;

-- Nobody can write, lock or change what is read.
SET ROLE regress_cdc_reader;
DELETE FROM :view;
INSERT INTO :view (id) VALUES (2);
SELECT 1 FROM :view FOR UPDATE;
CREATE OR REPLACE VIEW :view AS SELECT 1;
RESET ROLE;

-- What is granted, and that default privileges have no say.
SELECT regexp_replace(relname, '\d+', 'N') AS view, relacl::text ~ 'regress_cdc_gate=r/' AS gate, relacl::text ~ '[{,]=r/' AS public,
	relacl::text ~ 'pg_database_owner=r/' AS dbowner, array_length(relacl, 1) AS entries
FROM pg_class WHERE relnamespace = 'cdc'::regnamespace AND relkind = 'v' AND relname ~ '^_changes' ORDER BY oid;
SELECT proname, proacl::text ~ 'regress_cdc_gate=X/' AS gate, proacl::text ~ '[{,]=X/' AS public, proacl::text ~ 'pg_database_owner=X/' AS dbowner
FROM pg_proc WHERE pronamespace = 'cdc'::regnamespace AND proname ~ '^fn_cdc_get_(all|net)_changes_' ORDER BY 1;
ALTER DEFAULT PRIVILEGES GRANT ALL ON TABLES TO regress_cdc_nobody;
ALTER DEFAULT PRIVILEGES IN SCHEMA cdc GRANT ALL ON TABLES TO PUBLIC;
CREATE TABLE later (id integer PRIMARY KEY, name text);
CALL cdc.sp_cdc_enable_table('public', 'later', 'regress_cdc_gate');
ALTER DEFAULT PRIVILEGES REVOKE ALL ON TABLES FROM regress_cdc_nobody;
ALTER DEFAULT PRIVILEGES IN SCHEMA cdc REVOKE ALL ON TABLES FROM PUBLIC;
SELECT relkind, relacl IS NULL AS none, relacl::text ~ 'regress_cdc_nobody|[{,]=' AS others
FROM pg_class WHERE relnamespace = 'cdc'::regnamespace AND relkind IN ('v', 'p', 'r') AND relname ~ (SELECT format('^(_changes_%s|_ct_%s_.*|public_later_ct)$', instance_id, instance_id)
	FROM cdc.change_tables WHERE capture_instance = 'public_later') ORDER BY 1;

DROP VIEW with_own;
DROP FUNCTION for_others;
CALL cdc.sp_cdc_disable_db();
DROP EXTENSION cdc;
DROP FUNCTION outcome, doors;
DROP TABLE gated, open, guarded, later;
DROP OPERATOR === (text, text);
DROP FUNCTION leak;
REVOKE CREATE ON SCHEMA public FROM regress_cdc_nobody;
DROP ROLE regress_cdc_gate, regress_cdc_member, regress_cdc_selecter, regress_cdc_reader, regress_cdc_nobody, regress_cdc_owner, regress_cdc_dbowner;
