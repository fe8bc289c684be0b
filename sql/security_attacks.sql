-- What roles without rights try against the engine, and what names and code of users could do to it. Each attack must
-- fail, and capture must go on as if nothing had happened: replay() and log_problems() at the end.
\set SHOW_CONTEXT never
\getenv srcdir PG_ABS_SRCDIR
\set include :srcdir '/sql/include/capture.sql'
SELECT current_database() AS db \gset
\set ECHO none
\i :include
\set ECHO all
SET client_min_messages = warning;
DROP ROLE IF EXISTS regress_cdc_attacker, regress_cdc_owner, regress_cdc_gate, regress_cdc_maker;
RESET client_min_messages;
CREATE ROLE regress_cdc_attacker;
CREATE ROLE regress_cdc_owner;
CREATE ROLE regress_cdc_gate;
CREATE ROLE regress_cdc_maker CREATEROLE;
GRANT CREATE, USAGE ON SCHEMA src, public TO regress_cdc_owner, regress_cdc_attacker;
CREATE TABLE secret (id integer PRIMARY KEY, v text);
CALL cdc.sp_cdc_enable_table('src', 'secret', 'regress_cdc_gate');
INSERT INTO secret VALUES (1, 'secret');
CALL cdc.wait_for_capture();

-- outcome(role, command): what happens when that role runs it, as SQLSTATE or the first value.
CREATE FUNCTION outcome(role text, command text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
	result text;
BEGIN
	EXECUTE format('SET LOCAL ROLE %I', role);
	BEGIN
		EXECUTE command INTO result;
	EXCEPTION
		WHEN syntax_error OR undefined_function OR undefined_column THEN result := 'test is wrong: ' || SQLERRM;
		WHEN OTHERS THEN result := SQLSTATE;
	END;
	RESET ROLE;
	RETURN result;
END $$;

-- 1. Nothing in schema cdc can be written, locked, decorated, or read directly.
SELECT count(*) > 15 AS relations, count(*) FILTER (WHERE has_table_privilege('regress_cdc_attacker', oid, 'INSERT, UPDATE, DELETE, TRUNCATE, REFERENCES, TRIGGER')
	OR has_any_column_privilege('regress_cdc_attacker', oid, 'INSERT, UPDATE, REFERENCES')) AS writable
FROM pg_class WHERE relnamespace = 'cdc'::regnamespace AND relkind IN ('r', 'p', 'v');
SELECT relname FROM pg_class WHERE relnamespace = 'cdc'::regnamespace AND relkind IN ('r', 'p', 'v', 'S')
	AND CASE WHEN relkind = 'S' THEN has_sequence_privilege('regress_cdc_attacker', oid, 'USAGE, SELECT, UPDATE') ELSE has_table_privilege('regress_cdc_attacker', oid, 'SELECT') END ORDER BY relname COLLATE "C";
SELECT has_schema_privilege('regress_cdc_attacker', 'cdc', 'CREATE') AS "create";
SELECT 'cdc._ct_' || instance_id || '_' || repeat('0', 16) AS leaf, 'cdc._changes_' || instance_id AS view, instance_id AS id FROM cdc.change_tables \gset
SELECT command, outcome('regress_cdc_attacker', command) FROM (VALUES
	(1, $$INSERT INTO cdc._ddl_queue VALUES ('D', 1, 0, 0, NULL)$$),
	(2, $$UPDATE cdc.change_tables SET start_lsn = '0/1'$$),
	(3, $$DELETE FROM cdc._progress$$),
	(4, $$TRUNCATE cdc.lsn_time_mapping$$),
	(5, $$SELECT count(*) FROM cdc.src_secret_ct$$),
	(6, $$SELECT count(*) FROM cdc.src_secret_ct TABLESAMPLE SYSTEM (100)$$),
	(7, $$LOCK TABLE cdc.src_secret_ct IN ACCESS SHARE MODE$$),
	(8, $$CREATE TRIGGER t BEFORE INSERT ON cdc.src_secret_ct FOR EACH ROW EXECUTE FUNCTION suppress_redundant_updates_trigger()$$),
	(9, $$CREATE RULE r AS ON INSERT TO cdc.src_secret_ct DO INSTEAD NOTHING$$),
	(10, $$CREATE INDEX ON cdc.src_secret_ct (id)$$),
	(11, $$ALTER TABLE cdc.src_secret_ct ENABLE ROW LEVEL SECURITY$$),
	(12, $$CREATE STATISTICS src.s ON id, v FROM cdc.src_secret_ct$$),

	(14, $$CREATE TABLE src.child () INHERITS (cdc.cdc_jobs)$$),
	(15, $$CREATE TABLE src.mine (LIKE cdc.src_secret_ct INCLUDING ALL)$$),
	(16, $$CREATE FUNCTION cdc.fn_cdc_get_min_lsn(name) RETURNS pg_lsn LANGUAGE sql AS 'SELECT NULL::pg_lsn'$$),
	(17, $$CREATE TABLE cdc.mine (id integer)$$),
	(18, $$COMMENT ON EXTENSION cdc IS 'mine'$$),
	(19, $$ALTER EXTENSION cdc UPDATE$$),
	(20, $$ALTER EXTENSION cdc ADD TABLE src.secret$$),
	(21, $$ALTER EXTENSION cdc DROP FUNCTION cdc._may_read(integer)$$),
	(22, $$DROP EXTENSION cdc CASCADE$$),
	(23, $$DROP SCHEMA cdc CASCADE$$),
	(24, $$DROP EVENT TRIGGER cdc_sql_drop$$),
	(25, $$ALTER EVENT TRIGGER cdc_ddl_command_end DISABLE$$),
	(26, $$SELECT nextval('cdc._instance_id_seq')$$),
	(27, $$GRANT SELECT ON cdc.src_secret_ct TO regress_cdc_attacker$$),
	(28, $$SELECT pg_replication_origin_session_setup('x')$$),
	(29, $$SELECT pg_replication_origin_drop((SELECT roname FROM pg_replication_origin LIMIT 1))$$),
	(30, $$SELECT pg_create_logical_replication_slot('regress_mine', 'cdc')$$),
	(31, $$SELECT count(*) FROM pg_logical_slot_peek_changes((SELECT slot_name FROM pg_replication_slots WHERE plugin = 'cdc' LIMIT 1), NULL, NULL)$$),
	(32, $$SELECT pg_drop_replication_slot((SELECT slot_name FROM pg_replication_slots WHERE plugin = 'cdc' LIMIT 1))$$),
	(33, $$SET session_replication_role = replica$$),
	(34, $$SET cdc.partition_wal_size = 1$$)) AS v(n, command) ORDER BY n;
SELECT outcome('regress_cdc_attacker', format('SELECT count(*) FROM %s', :'leaf')) AS leaf, outcome('regress_cdc_attacker', format('SELECT count(*) FROM %s', :'view')) AS view,
	outcome('regress_cdc_attacker', 'SELECT count(*) FROM pg_stats WHERE schemaname = ''cdc''') AS statistics;
-- The rights to procedures.
SELECT command, outcome('regress_cdc_attacker', command) FROM (VALUES
	(1, $$CALL cdc.sp_cdc_enable_db()$$), (2, $$CALL cdc.sp_cdc_disable_db()$$),
	(3, $$CALL cdc.sp_cdc_enable_table('src', 'secret', NULL, 'mine')$$), (4, $$CALL cdc.sp_cdc_disable_table('src', 'secret', 'all')$$),
	(5, $$CALL cdc.sp_cdc_start_job()$$), (6, $$CALL cdc.sp_cdc_stop_job()$$), (7, $$CALL cdc.sp_cdc_scan()$$),
	(8, $$CALL cdc.sp_cdc_add_job('capture')$$), (9, $$CALL cdc.sp_cdc_change_job('cleanup', retention => 1)$$), (10, $$CALL cdc.sp_cdc_drop_job('capture')$$),
	(11, $$SELECT count(*) FROM cdc.sp_cdc_help_jobs()$$), (12, $$CALL cdc.sp_cdc_cleanup_change_table('src_secret', NULL)$$),
	(13, $$CALL cdc.resume_after_gap()$$), (14, $$CALL cdc.discard_kept_wal()$$)) AS v(n, command) ORDER BY n;

-- 2. Log messages, whatever their prefix, carry no meaning.
SET ROLE regress_cdc_attacker;
SELECT count(pg_logical_emit_message(transactional, prefix, content)) FROM (VALUES (true), (false)) AS t(transactional),
	(VALUES ('cdc'), ('_ddl_queue'), ('cdc._ddl_queue'), (''), (repeat('x', 1000))) AS p(prefix), (VALUES (''), ('D'), (repeat('y', 100000))) AS c(content);
SELECT count(pg_logical_emit_message(true, 'cdc', '\x00ff'::bytea));
-- Tables that are called like ours are not ours.
CREATE TABLE src._ddl_queue (kind "char", instance_id integer, object_id oid, source_object_id oid, command text);
INSERT INTO src._ddl_queue SELECT k, :id, 0, 0, 'x' FROM unnest('{D,E,T,C,X}'::"char"[]) AS k;
CREATE TEMP TABLE change_tables (object_id oid);
CREATE TEMP TABLE lsn_time_mapping (start_lsn pg_lsn);
SET search_path = pg_temp, pg_catalog, src;
SELECT cdc.fn_cdc_get_max_lsn() IS NOT NULL AS max;
RESET search_path;
RESET ROLE;
SET search_path = src, public;
DROP TABLE src._ddl_queue, pg_temp.change_tables, pg_temp.lsn_time_mapping;

-- 3. Every function of ours, called by hand with odd arguments, by who may call it: errors, NULL or nothing.
CREATE FUNCTION odd_calls() RETURNS TABLE (state text, calls bigint, functions text) LANGUAGE plpgsql AS $$
DECLARE
	f record;
	arguments text;
	variant integer;
	n bigint;
BEGIN
	CREATE TEMP TABLE odd_call (name text, state text);
	FOR f IN SELECT p.oid, p.proname, p.prokind, p.proretset, p.proargtypes, p.proallargtypes, p.pronargs, t.typtype = 'p' AND p.prorettype = 'record'::regtype AND p.proallargtypes IS NULL AS untyped
		FROM pg_proc AS p JOIN pg_type AS t ON t.oid = p.prorettype
		WHERE pronamespace = 'cdc'::regnamespace AND proname <> 'wait_for_capture' AND prokind IN ('f', 'p')
		AND prorettype <> 'event_trigger'::regtype AND NOT 'internal'::regtype = ANY (p.proargtypes) LOOP
		FOR variant IN 1 .. 4 LOOP
			SELECT string_agg(CASE
				WHEN variant = 1 THEN 'NULL'
				WHEN t = 'text'::regtype THEN quote_literal((ARRAY['', repeat('x', 70), 'src_secret'])[variant - 1])
				WHEN t = 'integer'::regtype OR t = 'bigint'::regtype THEN (ARRAY['-1', '2147483647', '1'])[variant - 1]
				WHEN t = 'pg_lsn'::regtype THEN quote_literal((ARRAY['0/0', 'FFFFFFFF/FFFFFFFF', '0/1'])[variant - 1])
				WHEN t = 'boolean'::regtype THEN 'true'
				WHEN t = 'bytea'::regtype THEN $q$''$q$
				WHEN t = 'timestamptz'::regtype THEN quote_literal((ARRAY['-infinity', 'infinity', 'now'])[variant - 1])
				ELSE 'NULL' END || '::' || t::text, ', ' ORDER BY i) INTO arguments
			FROM unnest(f.proargtypes::oid[]::regtype[]) WITH ORDINALITY AS a(t, i);
			BEGIN
				EXECUTE CASE WHEN f.prokind = 'p' THEN format('CALL cdc.%I(%s)', f.proname, arguments)
					ELSE format('SELECT count(*) FROM cdc.%I(%s)%s', f.proname, arguments, CASE WHEN f.untyped THEN ' AS (x integer)' END) END;
				INSERT INTO odd_call VALUES (f.proname, 'no error');
			EXCEPTION WHEN OTHERS THEN
				INSERT INTO odd_call VALUES (f.proname, SQLSTATE);
			END;
		END LOOP;
	END LOOP;
	RETURN QUERY SELECT o.state, count(*), CASE WHEN o.state NOT IN ('42501', 'no error') THEN string_agg(DISTINCT o.name, ' ' ORDER BY o.name) END FROM odd_call AS o GROUP BY 1;
	DROP TABLE odd_call;
END $$;
SET ROLE regress_cdc_attacker;
-- no internal error (XX000) and no crash; rows of nothing
SELECT state, calls > 0 AS calls FROM odd_calls() WHERE state IN ('no error', '42501', 'XX000') ORDER BY 1;
RESET ROLE;

-- 4. Names: quotes, dollars, newlines, 63 bytes of UTF-8, names of the server's own functions and types.
CREATE SCHEMA "o'dd ""$$ schema" AUTHORIZATION regress_cdc_owner;
SET ROLE regress_cdc_owner;
SET search_path = "o'dd ""$$ schema", src, public;
CREATE TYPE "o'dd ""$$ type" AS ENUM ('o''dd', '$$');
CREATE TYPE "pg_lsn" AS (a integer);
CREATE COLLATION "o'dd ""$$ collation" FROM "C";
CREATE TABLE "ta'b""le$$;--
" ("now()" integer PRIMARY KEY, "'; DROP TABLE secret; --" text COLLATE "o'dd ""$$ collation", "$cdc$" "o'dd ""$$ type",
	"ääääääääääääääääääääääääääääääq" text, "select" "o'dd ""$$ schema"."pg_lsn", "%s%n%%" text, c integer NOT NULL, v integer, w integer);
CREATE UNIQUE INDEX "i'nd""ex$$" ON "ta'b""le$$;--
" (c);
CALL cdc.sp_cdc_enable_table('o''dd "$$ schema', E'ta\'b"le$$;--\n', NULL, 'x''y"z$$ %s \', index_name => 'i''nd"ex$$');
RESET ROLE;
INSERT INTO "ta'b""le$$;--
" VALUES (1, 'a', '$$', 'b', ROW(1), '%s', 1), (2, 'c', 'o''dd', 'd', ROW(2), '%n', 2);
UPDATE "ta'b""le$$;--
" SET "'; DROP TABLE secret; --" = 'x' WHERE "now()" = 1;
ALTER TABLE "ta'b""le$$;--
" RENAME "$cdc$" TO "'";
ALTER TABLE "ta'b""le$$;--
" ALTER "%s%n%%" TYPE varchar(50), ADD "new ""$$" text;
ALTER TABLE "ta'b""le$$;--
" RENAME TO "$$'";
DELETE FROM "$$'" WHERE "now()" = 2;
CALL cdc.wait_for_capture();
SELECT "__$operation" AS op, "now()", "'; DROP TABLE secret; --" AS b, "$cdc$" AS c, "ääääääääääääääääääääääääääääääq" AS d, "select" AS e, "%s%n%%" AS f
FROM cdc."fn_cdc_get_net_changes_x'y""z$$ %s \"(cdc.fn_cdc_get_min_lsn('x''y"z$$ %s \'), cdc.fn_cdc_get_max_lsn(), 'all') ORDER BY 2;
SELECT count(*) FROM cdc.sp_cdc_get_captured_columns('x''y"z$$ %s \');
SELECT count(*) > 0 AS history FROM cdc.sp_cdc_get_ddl_history('x''y"z$$ %s \');
SELECT count(*) AS wrappers FROM cdc.sp_cdc_generate_wrapper_function('x''y"z$$ %s \');
SELECT * FROM src.replay('x''y"z$$ %s \');

-- 5. Code of users: functions, operators, casts and types first in the search_path of who calls, and of the owner of the
-- database; domain checks, defaults and triggers on the source. None of it runs as somebody else.
CREATE TABLE src.ran_as (who name, what text);
GRANT INSERT, SELECT ON src.ran_as TO PUBLIC;
CREATE FUNCTION src.trap(text) RETURNS text LANGUAGE plpgsql AS $$ BEGIN INSERT INTO src.ran_as VALUES (current_user, $1); RETURN $1; END $$;
CREATE SCHEMA trap AUTHORIZATION regress_cdc_owner;
SET ROLE regress_cdc_owner;
CREATE FUNCTION trap.quote_ident(text) RETURNS text LANGUAGE sql AS $$ SELECT src.trap('quote_ident') $$;
CREATE FUNCTION trap.format(text, VARIADIC text[]) RETURNS text LANGUAGE sql AS $$ SELECT src.trap('format') $$;
CREATE FUNCTION trap.equal(text, text) RETURNS boolean LANGUAGE sql AS $$ SELECT src.trap('equal') IS NOT NULL $$;
CREATE FUNCTION trap.equal(name, name) RETURNS boolean LANGUAGE sql AS $$ SELECT src.trap('equal') IS NOT NULL $$;
CREATE FUNCTION trap.equal(oid, oid) RETURNS boolean LANGUAGE sql AS $$ SELECT src.trap('equal') IS NOT NULL $$;
CREATE FUNCTION trap.equal(pg_catalog.pg_lsn, pg_catalog.pg_lsn) RETURNS boolean LANGUAGE sql AS $$ SELECT src.trap('equal') IS NOT NULL $$;
CREATE OPERATOR trap.= (LEFTARG = text, RIGHTARG = text, FUNCTION = trap.equal);
CREATE OPERATOR trap.= (LEFTARG = name, RIGHTARG = name, FUNCTION = trap.equal);
CREATE OPERATOR trap.= (LEFTARG = oid, RIGHTARG = oid, FUNCTION = trap.equal);
CREATE OPERATOR trap.>= (LEFTARG = pg_catalog.pg_lsn, RIGHTARG = pg_catalog.pg_lsn, FUNCTION = trap.equal);
CREATE OPERATOR trap.<= (LEFTARG = pg_catalog.pg_lsn, RIGHTARG = pg_catalog.pg_lsn, FUNCTION = trap.equal);
CREATE DOMAIN trap.text AS pg_catalog.text CHECK (src.trap('text') IS NOT NULL);
CREATE DOMAIN trap.oid AS pg_catalog.oid CHECK (src.trap('oid') IS NOT NULL);
CREATE DOMAIN src.checked AS integer CHECK (src.trap('check') IS NOT NULL);
CREATE TYPE src.composite AS (a src.checked);
CREATE FUNCTION src.made(integer) RETURNS src.composite LANGUAGE plpgsql AS $$ BEGIN PERFORM src.trap('cast'); RETURN ROW($1)::src.composite; END $$;
CREATE TABLE src.coded (id src.checked PRIMARY KEY, v src.checked DEFAULT length(src.trap('default')), w src.composite, u text, i integer);
CREATE FUNCTION src.on_change() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN PERFORM src.trap('trigger'); RETURN new; END $$;
CREATE TRIGGER on_change BEFORE INSERT ON src.coded FOR EACH ROW EXECUTE FUNCTION src.on_change();
ALTER TABLE src.coded ENABLE ALWAYS TRIGGER on_change;
CREATE FUNCTION src.on_index(text) RETURNS text LANGUAGE plpgsql IMMUTABLE AS $$ BEGIN PERFORM src.trap('index'); RETURN $1; END $$;
CREATE INDEX ON src.coded (length(src.on_index(u)));
SET search_path = trap, pg_catalog, src, public;
CALL cdc.sp_cdc_enable_table('src', 'coded', NULL);
SELECT pg_catalog.count(*) FROM cdc.sp_cdc_help_change_data_capture('src', 'coded');
INSERT INTO src.coded VALUES (1, 1, ROW(1), 'x', 1);
ALTER TABLE src.coded ALTER i TYPE bigint;
UPDATE src.coded SET v = 2;
RESET ROLE;
SELECT who, what FROM src.ran_as GROUP BY who, what ORDER BY who, what;
DELETE FROM src.ran_as WHERE who OPERATOR(pg_catalog.=) 'regress_cdc_owner'::pg_catalog.name;
-- a superuser with that path
ALTER DATABASE :"db" SET search_path = trap, pg_catalog, src, public;
CALL cdc.wait_for_capture();
SELECT pg_catalog.count(*) FROM cdc.fn_cdc_get_net_changes_src_coded(cdc.fn_cdc_get_min_lsn('src_coded'), cdc.fn_cdc_get_max_lsn(), 'all');
SELECT pg_catalog.count(*) FROM cdc.sp_cdc_help_change_data_capture();
SELECT pg_catalog.count(*) FROM cdc.sp_cdc_get_captured_columns('src_coded');
SELECT pg_catalog.count(*) OPERATOR(pg_catalog.>) 0 AS health FROM cdc.health();
SELECT pg_catalog.count(*) FROM cdc.sp_cdc_generate_wrapper_function();
SELECT pg_catalog.count(*) OPERATOR(pg_catalog.>) 0 AS stat FROM cdc.pg_stat_cdc;
SELECT pg_catalog.count(*) OPERATOR(pg_catalog.>) 0 AS tables FROM cdc.tables;
CALL cdc.sp_cdc_enable_table('src', 'coded', NULL, 'again');
CALL cdc.sp_cdc_disable_table('src', 'coded', 'again');
RESET search_path;
SET search_path = src, public;
SELECT who, what FROM src.ran_as GROUP BY who, what ORDER BY who, what;
SELECT * FROM replay('src_coded');

-- 6. The gating role: renamed, taken over by its old name, dropped; and who may make roles.
GRANT USAGE ON SCHEMA src TO regress_cdc_maker;
GRANT SELECT ON secret TO regress_cdc_attacker;
CREATE FUNCTION reads(role text) RETURNS text LANGUAGE sql AS
	$$ SELECT outcome(role, $q$SELECT count(*) FROM cdc.fn_cdc_get_all_changes_src_secret(cdc.fn_cdc_get_min_lsn('src_secret'), cdc.fn_cdc_get_max_lsn(), 'all')$q$) || ' ' || outcome(role, $q$SELECT cdc.fn_cdc_get_min_lsn('src_secret') > '0/0'$q$) $$;
SELECT reads('regress_cdc_attacker') AS without_role;
GRANT regress_cdc_gate TO regress_cdc_attacker;
SELECT reads('regress_cdc_attacker') AS with_role;
ALTER ROLE regress_cdc_gate RENAME TO regress_cdc_gate_renamed;
SELECT reads('regress_cdc_attacker') AS renamed;
CREATE ROLE regress_cdc_gate;
REVOKE regress_cdc_gate_renamed FROM regress_cdc_attacker;
GRANT regress_cdc_gate TO regress_cdc_attacker;
SELECT reads('regress_cdc_attacker') AS another_role_of_that_name;
DROP ROLE regress_cdc_gate;
ALTER ROLE regress_cdc_gate_renamed RENAME TO regress_cdc_gate;
\set VERBOSITY terse
DROP ROLE regress_cdc_gate;
\set VERBOSITY default
-- who may make roles gets into the gating role, and reads nothing for it
GRANT regress_cdc_gate TO regress_cdc_maker;
SELECT reads('regress_cdc_maker') AS maker;
REVOKE regress_cdc_gate FROM regress_cdc_maker;
-- a role that is missing is made for whom may make roles, and stays
SET ROLE regress_cdc_owner;
CREATE TABLE own (id integer PRIMARY KEY);
CALL cdc.sp_cdc_enable_table('src', 'own', 'regress_cdc_new_gate');
RESET ROLE;
SELECT count(*) FROM pg_roles WHERE rolname = 'regress_cdc_new_gate';

-- 7. A superuser's mistakes on a change table: refused by name, nothing lost, nothing run.
CREATE FUNCTION src.mistake() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN INSERT INTO src.ran_as VALUES (current_user, 'change table'); RETURN NULL; END $$;
CREATE FUNCTION mistake(undo text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
	result text;
BEGIN
	PERFORM poll_until($q$(SELECT state = 'failed' FROM cdc.pg_stat_cdc WHERE database = current_database())$q$);
	SELECT regexp_replace(last_error_message, '_ct_\d+_[0-9a-f]{16}', 'LEAF') INTO result FROM cdc.pg_stat_cdc WHERE database = current_database();
	EXECUTE undo;
	RETURN result;
END $$;
CREATE TRIGGER mistake BEFORE INSERT ON cdc.src_secret_ct FOR EACH ROW EXECUTE FUNCTION src.mistake();
INSERT INTO secret VALUES (2, 'two');
SELECT mistake('DROP TRIGGER mistake ON cdc.src_secret_ct');
CALL cdc.sp_cdc_start_job();
CALL cdc.wait_for_capture();
SELECT 'CREATE RULE mistake AS ON INSERT TO ' || :'leaf' || ' DO INSTEAD NOTHING' \gexec
INSERT INTO secret VALUES (3, 'three');
SELECT mistake('DROP RULE mistake ON ' || :'leaf');
CALL cdc.sp_cdc_start_job();
CALL cdc.wait_for_capture();
SELECT 'ALTER TABLE ' || :'leaf' || ' ADD CONSTRAINT mistake CHECK (src.trap(v) IS NULL) NOT VALID' \gexec
INSERT INTO secret VALUES (4, 'four');
SELECT mistake('ALTER TABLE ' || :'leaf' || ' DROP CONSTRAINT mistake');
CALL cdc.sp_cdc_start_job();
CALL cdc.wait_for_capture();
SELECT 'ALTER TABLE ' || :'leaf' || ' ENABLE ROW LEVEL SECURITY' \gexec
INSERT INTO secret VALUES (5, 'five');
SELECT mistake('ALTER TABLE ' || :'leaf' || ' DISABLE ROW LEVEL SECURITY');
CALL cdc.sp_cdc_start_job();
CALL cdc.wait_for_capture();
CREATE FUNCTION src.on_value(text) RETURNS text LANGUAGE plpgsql IMMUTABLE AS $$ BEGIN PERFORM src.trap('index'); RETURN $1; END $$;
SELECT 'CREATE INDEX mistake ON ' || :'leaf' || ' (src.on_value(v)) WHERE id > 4' \gexec
DELETE FROM src.ran_as;
INSERT INTO secret VALUES (6, 'six');
SELECT mistake('DROP INDEX cdc.mistake');
CALL cdc.sp_cdc_start_job();
CALL cdc.wait_for_capture();
SELECT * FROM changes('src_secret');
SELECT * FROM ran_as;

-- 8. Default privileges of whoever installs and enables give nobody a right to change rows.
GRANT regress_cdc_gate TO regress_cdc_maker;
ALTER DEFAULT PRIVILEGES GRANT EXECUTE ON FUNCTIONS TO regress_cdc_attacker;
ALTER DEFAULT PRIVILEGES GRANT ALL ON TABLES TO regress_cdc_attacker;
CREATE TABLE later (id integer PRIMARY KEY);
REVOKE ALL ON later FROM regress_cdc_attacker;
CALL cdc.sp_cdc_enable_table('src', 'later', 'regress_cdc_gate');
INSERT INTO later VALUES (1);
CALL cdc.wait_for_capture();
SELECT outcome('regress_cdc_attacker', $$SELECT count(*) FROM cdc.fn_cdc_get_all_changes_src_later('0/1', '0/1', 'all')$$) AS function,
	outcome('regress_cdc_attacker', 'SELECT count(*) FROM cdc.src_later_ct') AS change_table, outcome('regress_cdc_attacker', $$SELECT cdc.fn_cdc_get_min_lsn('src_later')$$) AS min_lsn;
ALTER DEFAULT PRIVILEGES REVOKE EXECUTE ON FUNCTIONS FROM regress_cdc_attacker;
ALTER DEFAULT PRIVILEGES REVOKE ALL ON TABLES FROM regress_cdc_attacker;

-- 9. ANALYZE works as the owner of a table, and a change table belongs to a superuser. For a range it calls a function that
-- comes with the type, whose owner is anybody.
SET ROLE regress_cdc_owner;
CREATE FUNCTION src.distance(float8, float8) RETURNS float8 LANGUAGE plpgsql IMMUTABLE AS $$ BEGIN PERFORM src.trap('distance'); RETURN $1 - $2; END $$;
CREATE TYPE src.span AS RANGE (subtype = float8, subtype_diff = src.distance, multirange_type_name = src.spans);
CREATE TABLE src.ranged (id integer PRIMARY KEY, r src.span, m src.spans, later text);
CALL cdc.sp_cdc_enable_table('src', 'ranged', NULL);
INSERT INTO src.ranged SELECT g, src.span(g, g + 1), src.spans(src.span(g, g + 1)) FROM generate_series(1, 50) AS g;
ALTER TABLE src.ranged ALTER later TYPE src.span USING r;
UPDATE src.ranged SET later = r;
RESET ROLE;
CALL cdc.wait_for_capture();
DELETE FROM src.ran_as;
ANALYZE cdc.src_ranged_ct;
SELECT who, what FROM src.ran_as GROUP BY who, what ORDER BY who, what;
-- what it may see it has seen
SELECT attname FROM pg_statistic JOIN pg_attribute ON attrelid = starelid AND attnum = staattnum
WHERE starelid IN (SELECT relid FROM pg_partition_tree('cdc.src_ranged_ct')) AND attname IN ('id', 'r', 'm', 'later') GROUP BY attname ORDER BY attname;
-- the same on a table of its own, where that is right
ANALYZE src.ranged;
SELECT DISTINCT who, what FROM src.ran_as;

-- 10. Anybody may make a view on a table that he cannot read, and the server does not change the type of a column that a view uses.
SET ROLE regress_cdc_owner;
CREATE TABLE src.labelled (id integer PRIMARY KEY, v varchar(3));
CALL cdc.sp_cdc_enable_table('src', 'labelled', NULL);
INSERT INTO src.labelled VALUES (1, 'abc');
CALL cdc.wait_for_capture();
SET ROLE regress_cdc_attacker;
CREATE VIEW src.hindrance AS SELECT id, v FROM cdc.src_labelled_ct;
SET ROLE regress_cdc_owner;
ALTER TABLE src.labelled ALTER v TYPE varchar(5);
INSERT INTO src.labelled VALUES (2, 'abcde');
ALTER TABLE src.labelled ALTER v TYPE text;
INSERT INTO src.labelled VALUES (3, 'abcdefg');
CALL cdc.wait_for_capture();
SELECT "__$operation", id, v, length(v) FROM cdc.fn_cdc_get_all_changes_src_labelled(cdc.fn_cdc_get_min_lsn('src_labelled'), cdc.fn_cdc_get_max_lsn(), 'all') ORDER BY id;
RESET ROLE;
SELECT state, failures FROM cdc.pg_stat_cdc WHERE database = current_database();
DROP VIEW src.hindrance;
INSERT INTO src.labelled VALUES (4, 'x');
ALTER TABLE src.labelled ALTER v TYPE varchar(9);
INSERT INTO src.labelled VALUES (5, 'y');
CALL cdc.wait_for_capture();
SELECT count(*) FROM cdc.fn_cdc_get_all_changes_src_labelled(cdc.fn_cdc_get_min_lsn('src_labelled'), cdc.fn_cdc_get_max_lsn(), 'all');
-- The row before the last change may have gone on as the rows before it, or it was the first of a new leaf and the column text at once.
SELECT format_type(atttypid, atttypmod) IN ('character varying(9)', 'text') AS follows FROM pg_attribute
WHERE attrelid = 'cdc.src_labelled_ct'::regclass AND attname = 'v';
SELECT * FROM src.replay('src_labelled');

-- As if nothing had happened.
SELECT state, failures FROM cdc.pg_stat_cdc WHERE database = current_database();
SELECT * FROM replay('src_secret');
SELECT * FROM log_problems(false);

SET client_min_messages = warning;
ALTER DATABASE :"db" RESET search_path;
CALL cdc.sp_cdc_disable_db();
DROP EXTENSION cdc;
DROP SCHEMA "o'dd ""$$ schema", trap, src CASCADE;
REVOKE ALL ON SCHEMA public FROM regress_cdc_owner, regress_cdc_attacker;
DROP ROLE regress_cdc_attacker, regress_cdc_owner, regress_cdc_gate, regress_cdc_maker;
