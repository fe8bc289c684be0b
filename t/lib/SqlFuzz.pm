# SqlFuzz.pm: hostile calls of everything in schema cdc, made up from the catalogs at run time, and what judges them.
#
# NOTES
#	A round is a psql script of steps. A step takes on a role, some settings, says one thing to the server in one of
#	many ways (plainly, in a transaction, from a trigger, ...), and comes back as the superuser. What is called comes
#	from pg_proc and pg_class, so that new functions, tables and types are tried without a line here; arguments are
#	made by type, and half of the time by name, so that they mean something.
#
#	After each step fuzz_judge.note() looks at a list of everything that sessions can change (fuzz_judge.state_lines):
#	after an error, or a rollback, nothing may differ. What the workers do by themselves (progress, mapping, leaves, low
#	ends) is left out; after a step that did change something they are waited for, and the list is taken anew.
#
#	Errors are judged by the server's log, which says in verbose form where each comes from: an error of ours (a .cpp
#	file) has an SQLSTATE, and a hint; nobody raises an internal error.
#
#	Everything in a script is ASCII: with other client encodings or standard_conforming_strings off, it must still end
#	where it ends.
package SqlFuzz;

use strict;
use warnings;

use Exporter 'import';
use JSON::PP;
use CdcTest;
use PostgreSQL::Test::Utils;
use Test::More;

our @EXPORT = qw(fuzz_prepare fuzz_catalog fuzz_round fuzz_script fuzz_run fuzz_judge fuzz_log_problems fuzz_rights
  fuzz_roles fuzz_secret fuzz_call);

# What only those may read who may read the kept table.
my $secret = 'S3cr3tValue';
sub fuzz_secret { return $secret }

# Names that are hard to quote. The last has 63 bytes, the most that a name can have.
my $odd_role  = "fuzz \"odd\" 'role' \\ \$fuzz\$";
my $long_name = 'x' x 60 . "\x{20ac}";

# Roles, by what they are allowed to.
my %roles = (
	nobody => 'fuzz_nobody',
	gate   => 'fuzz_gate',
	owner  => 'fuzz_owner',
	odd    => $odd_role,
	dba    => 'fuzz_dba',
	inner  => 'fuzz_inner',
	super  => '');
sub fuzz_roles { return \%roles }

sub pick { return $_[ int rand @_ ] }
sub chance { return rand() < $_[0] }

# ident($name), literal($text): SQL in ASCII, whatever is in it. E'' and U&"" mean the same under all settings but
# standard_conforming_strings = off, under which U&"" is refused.
sub ident
{
	my ($name) = @_;
	$name =~ s/"/""/g;
	return qq("$name") if $name !~ /[^\x20-\x7e]/;
	$name =~ s/\\/\\\\/g;
	$name =~ s/([^\x20-\x7e])/sprintf '\\+%06X', ord $1/ge;
	return qq(U&"$name");
}

sub literal
{
	my ($text) = @_;
	$text =~ s/\\/\\\\/g;
	$text =~ s/'/''/g;
	$text =~ s/([^\x20-\x7e])/ord $1 < 0x10000 ? sprintf '\\u%04X', ord $1 : sprintf '\\U%08X', ord $1/ge;
	return "E'$text'";
}

# fuzz_prepare($node, $db): roles, tables, hostile objects and the judge, in a database that is enabled here.
sub fuzz_prepare
{
	my ($node, $db, $encoding) = @_;
	my $odd = ident($odd_role);
	my $marker = "PERFORM fuzz_judge.mark();";

	unless ($node->safe_psql('postgres', "SELECT count(*) FROM pg_roles WHERE rolname = 'fuzz_nobody'"))
	{
		$node->safe_psql('postgres', qq(
			CREATE ROLE fuzz_nobody LOGIN; CREATE ROLE fuzz_gate LOGIN; CREATE ROLE fuzz_owner LOGIN; CREATE ROLE $odd LOGIN;
			CREATE ROLE fuzz_dba LOGIN; CREATE ROLE fuzz_inner LOGIN; CREATE ROLE fuzz_repl LOGIN REPLICATION;
			CREATE ROLE fuzz_gating; GRANT fuzz_gating TO fuzz_gate;
			CREATE ROLE "fuzz gating ""2""";
			GRANT fuzz_owner TO $odd;));
	}
	$node->safe_psql('postgres', "CREATE DATABASE $db OWNER fuzz_dba TEMPLATE template0 ENCODING '$encoding' LOCALE 'C'");
	$node->safe_psql($db, q(CREATE EXTENSION cdc));
	$node->safe_psql($db, q(CALL cdc.sp_cdc_enable_db()));

	# The judge. Hostile code leaves a mark when it runs as a superuser, or in a process that is nobody's.
	$node->safe_psql($db, <<'SQL');
CREATE SCHEMA fuzz_judge;
CREATE TABLE fuzz_judge.steps (step int, call text, failed boolean, sqlstate text);
CREATE TABLE fuzz_judge.problems (step int, problem text);
CREATE TABLE fuzz_judge.state (line text);
CREATE TABLE fuzz_judge.marker (who name, session name, backend text, query text, stack text);
CREATE FUNCTION fuzz_judge.mark() RETURNS void LANGUAGE plpgsql SET search_path = pg_catalog AS $$
DECLARE
	stack text;
BEGIN
	IF (SELECT rolsuper FROM pg_catalog.pg_roles WHERE rolname OPERATOR(pg_catalog.=) current_user) THEN
		GET DIAGNOSTICS stack = PG_CONTEXT;
		INSERT INTO fuzz_judge.marker SELECT current_user, session_user, backend_type, pg_catalog.current_query(), stack
		FROM pg_catalog.pg_stat_activity WHERE pid OPERATOR(pg_catalog.=) pg_catalog.pg_backend_pid();
	END IF;
END $$;
GRANT USAGE ON SCHEMA fuzz_judge TO PUBLIC;

-- Relations that the workers make and drop by themselves.
CREATE FUNCTION fuzz_judge.by_workers(name) RETURNS boolean IMMUTABLE LANGUAGE sql
	AS $$ SELECT $1 ~ '^_*(_ct_|_dropped_)|^pg_toast|^pg_temp' $$;

CREATE FUNCTION fuzz_judge.state_lines() RETURNS SETOF text VOLATILE LANGUAGE plpgsql SET search_path = pg_catalog SET row_security = off
	SET DateStyle = 'ISO' SET IntervalStyle = 'postgres' SET extra_float_digits = 1 SET bytea_output = 'hex' SET quote_all_identifiers = off AS $$
DECLARE
	name text;
BEGIN
	IF to_regclass('pg_temp.fuzz_moving') IS NULL THEN
		CREATE TEMP TABLE fuzz_moving (oid oid);
	END IF;
	TRUNCATE fuzz_moving;
	INSERT INTO fuzz_moving
		SELECT oid FROM pg_class WHERE oid >= 16384 AND (fuzz_judge.by_workers(relname) OR relpersistence = 't' OR relnamespace = 'fuzz_judge'::regnamespace)
		UNION ALL SELECT indexrelid FROM pg_index JOIN pg_class c ON c.oid = indrelid WHERE c.oid >= 16384 AND fuzz_judge.by_workers(relname)
		UNION ALL SELECT oid FROM pg_type WHERE oid >= 16384 AND (fuzz_judge.by_workers(typname) OR typnamespace IN (SELECT oid FROM pg_namespace WHERE nspname ~ '^pg_(toast_)?temp'));
	RETURN QUERY
		SELECT format('relation %s: %s', c.oid::regclass, md5(ROW(c.oid, relname, relnamespace, relowner, relkind, relpersistence, relreplident, relacl, reloptions,
			relhasrules, relhastriggers, relrowsecurity, reltablespace, relispartition,
			(SELECT array_agg(ROW(a.attname, a.atttypid, a.attacl, a.attisdropped, a.attnotnull, a.atttypmod) ORDER BY attnum) FROM pg_attribute a WHERE attrelid = c.oid AND attnum > 0))::text))
		FROM pg_class c WHERE c.oid >= 16384 AND c.oid NOT IN (SELECT oid FROM fuzz_moving)
		UNION ALL SELECT format('function %s: %s', p.oid::regprocedure, md5(ROW(p.*)::text)) FROM pg_proc p WHERE p.oid >= 16384 AND pronamespace <> 'fuzz_judge'::regnamespace
		UNION ALL SELECT format('type %s: %s', format_type(t.oid, NULL), md5(ROW(t.oid, typname, typnamespace, typowner, typtype, typacl, typrelid)::text)) FROM pg_type t
			WHERE t.oid >= 16384 AND t.oid NOT IN (SELECT oid FROM fuzz_moving)
		UNION ALL SELECT format('extension member %s', pg_describe_object(d.classid, d.objid, d.objsubid)) FROM pg_depend d
			WHERE refclassid = 'pg_extension'::regclass AND deptype = 'e' AND objid >= 16384 AND objid NOT IN (SELECT oid FROM fuzz_moving)
		UNION ALL SELECT format('initial privileges of %s %s: %s', classoid, objoid, initprivs) FROM pg_init_privs WHERE objoid >= 16384 AND objoid NOT IN (SELECT oid FROM fuzz_moving)
		UNION ALL SELECT 'dependencies ' || classid::regclass || ' ' || sum(hashtextextended(d::text, 0)) FROM pg_depend d WHERE objid >= 16384
			AND classid IN ('pg_class'::regclass, 'pg_proc'::regclass, 'pg_extension'::regclass, 'pg_event_trigger'::regclass)
			AND objid NOT IN (SELECT oid FROM fuzz_moving) AND refobjid NOT IN (SELECT oid FROM fuzz_moving) GROUP BY classid
		UNION ALL SELECT 'owners and grants ' || classid::regclass || ' ' || sum(hashtextextended(d::text, 0)) FROM pg_shdepend d WHERE dbid = (SELECT oid FROM pg_database WHERE datname = current_database())
			AND objid NOT IN (SELECT oid FROM fuzz_moving) AND classid <> 'pg_type'::regclass GROUP BY classid
		UNION ALL SELECT 'comments ' || sum(hashtextextended(d::text, 0)) FROM pg_description d WHERE objoid >= 16384 AND objoid NOT IN (SELECT oid FROM fuzz_moving)
		UNION ALL SELECT format('slot %s: %s %s %s', slot_name, plugin, slot_type, database) FROM pg_replication_slots WHERE NOT temporary
		UNION ALL SELECT format('origin %s', roname) FROM pg_replication_origin
		UNION ALL SELECT format('role %s: %s', rolname, md5(r::text)) FROM pg_authid r
		UNION ALL SELECT 'member ' || m FROM pg_auth_members m
		UNION ALL SELECT 'role setting ' || s FROM pg_db_role_setting s
		UNION ALL SELECT 'schema ' || ROW(nspname, nspowner, nspacl)::text FROM pg_namespace WHERE nspname !~ '^pg_(toast_)?temp'
		UNION ALL SELECT 'event trigger ' || t FROM pg_event_trigger t
		UNION ALL SELECT 'publication ' || p FROM pg_publication p
		UNION ALL SELECT 'operator ' || o.oid::regoperator FROM pg_operator o WHERE oid >= 16384
		UNION ALL SELECT 'default privileges ' || d FROM pg_default_acl d
		UNION ALL SELECT 'database ' || ROW(datname, datdba, datacl, datallowconn, datconnlimit)::text FROM pg_database
		UNION ALL SELECT 'prepared ' || gid FROM pg_prepared_xacts WHERE pg_prepared_xacts.database = current_database();
	IF to_regclass('cdc._identity') IS NULL THEN
		RETURN;
	END IF;
	FOR name IN VALUES ('captured_columns'), ('index_columns'), ('cdc_jobs'), ('_replica_identity'), ('_ddl_queue') LOOP
		RETURN QUERY EXECUTE format('SELECT %L || r FROM cdc.%I r', name || ' ', name);
	END LOOP;
	RETURN QUERY EXECUTE $q$ SELECT 'change_tables ' || ROW(t.object_id, source_object_id, capture_instance, supports_net_changes, role_name, t.index_name, filegroup_name,
			partition_switch, t.instance_id, before_image, truncate_action, drop_action)::text FROM cdc.change_tables t
		UNION ALL SELECT '_identity ' || ROW(system_identifier, database_id, slot_name)::text FROM cdc._identity $q$;
END $$;

-- Called after each step; true when the state has changed.
CREATE FUNCTION fuzz_judge.note(step int, call text, unchanged boolean, failed boolean, sqlstate text) RETURNS boolean LANGUAGE plpgsql AS $$
DECLARE
	differs text;
BEGIN
	INSERT INTO fuzz_judge.steps VALUES (step, call, failed, sqlstate);
	CREATE TEMP TABLE now AS SELECT fuzz_judge.state_lines() AS line;
	SELECT string_agg(sign || line, chr(10)) INTO differs FROM (
		(SELECT '- ' AS sign, line FROM fuzz_judge.state EXCEPT ALL SELECT '- ', line FROM now)
		UNION ALL (SELECT '+ ', line FROM now EXCEPT ALL SELECT '+ ', line FROM fuzz_judge.state)) AS d;
	DROP TABLE now;
	IF differs IS NOT NULL AND unchanged THEN
		INSERT INTO fuzz_judge.problems VALUES (step, format('changed after %s: %s', CASE WHEN failed THEN 'error ' || sqlstate ELSE 'a rollback' END, differs));
	END IF;
	RETURN differs IS NOT NULL;
END $$;
CREATE FUNCTION fuzz_judge.rebase() RETURNS void LANGUAGE sql
	AS $$ DELETE FROM fuzz_judge.state; INSERT INTO fuzz_judge.state SELECT fuzz_judge.state_lines() $$;
SQL

	# Objects of an owner who means harm: everything that resolves by name, under the names we use.
	my $hostile = "SET ROLE fuzz_owner;\n";
	my %operators = (
		'=' => [ qw(pg_lsn name text oid integer bigint boolean "char" timestamptz) ],
		'<' => [ qw(pg_lsn bigint text timestamptz name) ],
		'>' => [ qw(pg_lsn bigint timestamptz interval) ],
		'>=' => [ qw(pg_lsn bigint) ], '<=' => [ qw(pg_lsn bigint) ],
		'<>' => [ qw(pg_lsn name text oid integer "char") ],
		'+' => [ qw(bigint integer) ], '-' => [ qw(pg_lsn bigint timestamptz) ]);
	my $n = 0;
	for my $operator (sort keys %operators)
	{
		for my $type (@{ $operators{$operator} })
		{
			$n++;
			my $result = $operator =~ /[+-]/ ? $type : 'boolean';
			$hostile .= "CREATE FUNCTION hostile.op$n(a $type, b $type) RETURNS $result LANGUAGE plpgsql AS \$\$ BEGIN $marker RETURN NULL; END \$\$;
				CREATE OPERATOR hostile.$operator (LEFTARG = $type, RIGHTARG = $type, FUNCTION = hostile.op$n);\n";
		}
	}
	for my $function ('now()', 'current_database()', 'format(text, name)', 'format(text, text)', 'concat(text, text)', 'quote_ident(text)', 'quote_literal(text)',
		'md5(text)', 'current_setting(text)', 'current_setting(text, boolean)', 'pg_current_wal_lsn()', 'pg_is_in_recovery()', 'count(bigint)', 'fn_cdc_get_max_lsn()', 'fn_cdc_get_min_lsn(text)',
		'_check_window(integer, boolean, pg_lsn, pg_lsn, text)', '_may_read(integer)', '_option_is(text, text)', '_wrapper_window(text, boolean, boolean, timestamptz, timestamptz, text)',
		'to_regclass(text)', 'has_table_privilege(oid, text)', 'pg_has_role(name, text)', 'lower(text)', 'btrim(text)', 'gen_random_uuid()')
	{
		$hostile .= "CREATE FUNCTION hostile.$function RETURNS text LANGUAGE plpgsql AS \$\$ BEGIN $marker RETURN NULL; END \$\$;\n";
	}
	for my $table (qw(change_tables captured_columns index_columns cdc_jobs _identity _progress lsn_time_mapping gaps _ddl_queue pg_class pg_database pg_roles))
	{
		$hostile .= "CREATE TABLE hostile.$table (LIKE " . ($table =~ /^pg_/ ? 'pg_catalog' : 'cdc') . ".$table);\n" unless $table eq 'gaps';
	}
	$hostile .= "RESET ROLE;\n";
	my $long = $encoding eq 'UTF8' ? ident($long_name) : ident('y' x 63);
	$node->safe_psql($db, <<SQL);
CREATE SCHEMA hostile AUTHORIZATION fuzz_owner;
GRANT USAGE, CREATE ON SCHEMA hostile TO PUBLIC;
GRANT SELECT ON ALL TABLES IN SCHEMA cdc TO fuzz_owner;
$hostile
SET ROLE fuzz_owner;
SET search_path = pg_catalog;
CREATE VIEW hostile.gaps AS SELECT 1 / 0 AS gap_id;
CREATE FUNCTION hostile.check_it(integer) RETURNS boolean LANGUAGE plpgsql AS \$\$ BEGIN $marker IF \$1 < 0 THEN RAISE 'hostile'; END IF; RETURN true; END \$\$;
CREATE DOMAIN hostile.checked AS integer CHECK (hostile.check_it(VALUE));
CREATE DOMAIN hostile.text AS text CHECK (hostile.check_it(length(VALUE)));
CREATE TYPE hostile.pair AS (a integer, b text);
CREATE FUNCTION hostile.pair_text(hostile.pair) RETURNS text IMMUTABLE LANGUAGE plpgsql AS \$\$ BEGIN $marker RETURN 'x'; END \$\$;
CREATE CAST (hostile.pair AS text) WITH FUNCTION hostile.pair_text(hostile.pair) AS IMPLICIT;
CREATE FUNCTION hostile.text_pair(text) RETURNS hostile.pair LANGUAGE plpgsql AS \$\$ BEGIN $marker RETURN NULL; END \$\$;
CREATE CAST (text AS hostile.pair) WITH FUNCTION hostile.text_pair(text) AS IMPLICIT;
CREATE TYPE hostile.net AS (l pg_lsn, o integer, m bytea, a integer, b text);
CREATE TYPE hostile.mood AS ENUM ('a', 'b "c"');
CREATE FUNCTION hostile.default_it() RETURNS text LANGUAGE plpgsql AS \$\$ BEGIN $marker RETURN 'd'; END \$\$;
-- What runs the call is qualified: only what the call runs under the search path of the step is judged.
CREATE FUNCTION hostile.run() RETURNS integer LANGUAGE plpgsql AS \$\$ BEGIN EXECUTE pg_catalog.current_setting('fuzz.call'); RETURN 1; END \$\$;
CREATE FUNCTION hostile.run_guarded() RETURNS integer LANGUAGE plpgsql AS \$\$ BEGIN EXECUTE pg_catalog.current_setting('fuzz.call'); RETURN 1;
	EXCEPTION WHEN OTHERS THEN RAISE LOG USING MESSAGE = 'caught ' OPERATOR(pg_catalog.||) SQLERRM, ERRCODE = SQLSTATE; PERFORM pg_catalog.set_config('fuzz.caught', SQLSTATE, false); RETURN 0; END \$\$;
CREATE FUNCTION hostile.run_trigger() RETURNS trigger LANGUAGE plpgsql AS \$\$ BEGIN IF pg_catalog.current_setting('fuzz.call', true) OPERATOR(pg_catalog.<>) '' THEN EXECUTE pg_catalog.current_setting('fuzz.call'); END IF; RETURN NEW; END \$\$;
GRANT EXECUTE ON ALL FUNCTIONS IN SCHEMA hostile TO PUBLIC;
CREATE TABLE hostile.fires (id integer);
GRANT ALL ON hostile.fires TO PUBLIC;
CREATE TRIGGER t AFTER INSERT ON hostile.fires FOR EACH ROW EXECUTE FUNCTION hostile.run_trigger();
CREATE TABLE hostile.plain (id integer PRIMARY KEY, v text, n numeric);
CREATE TABLE hostile.odd (id integer PRIMARY KEY DEFAULT 1, c hostile.checked, t hostile.text, p hostile.pair, m hostile.mood, d text DEFAULT hostile.default_it(),
	CHECK (hostile.check_it(id)));
CREATE INDEX ON hostile.odd ((hostile.pair_text(p)));
CREATE TRIGGER t AFTER INSERT ON hostile.odd FOR EACH ROW EXECUTE FUNCTION hostile.run_trigger();
CREATE RULE r AS ON DELETE TO hostile.odd DO ALSO SELECT hostile.default_it();
CREATE TABLE hostile.$long ("a ""b'\\" integer NOT NULL, $long text);
CREATE UNIQUE INDEX "odd ""index""" ON hostile.$long ("a ""b'\\");
CREATE TABLE hostile.parts (id integer, v text, PRIMARY KEY (id)) PARTITION BY RANGE (id);
CREATE TABLE hostile.part1 PARTITION OF hostile.parts FOR VALUES FROM (0) TO (10);
CREATE TABLE hostile.part2 PARTITION OF hostile.parts DEFAULT;
CREATE TABLE hostile.secured (id integer PRIMARY KEY, v text);
ALTER TABLE hostile.secured ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY;
CREATE POLICY p ON hostile.secured USING (hostile.check_it(id));
CREATE TABLE hostile.no_key (v text);
CREATE VIEW hostile.a_view AS SELECT 1 AS id;
CREATE SEQUENCE hostile.a_sequence;
CREATE UNLOGGED TABLE hostile.unlogged (id integer PRIMARY KEY);
RESET ROLE;
REVOKE SELECT ON ALL TABLES IN SCHEMA cdc FROM fuzz_owner;
-- A type whose output raises. Only superusers can make one; the tables that use it are anybody's.
SET search_path = pg_catalog;
CREATE TYPE hostile.evil;
CREATE FUNCTION hostile.evil_in(cstring) RETURNS hostile.evil LANGUAGE internal IMMUTABLE STRICT AS 'int4in';
CREATE FUNCTION hostile.evil_out(hostile.evil) RETURNS cstring LANGUAGE internal IMMUTABLE STRICT AS 'internal_out';
CREATE TYPE hostile.evil (INPUT = hostile.evil_in, OUTPUT = hostile.evil_out, LIKE = integer);
GRANT USAGE ON TYPE hostile.evil TO PUBLIC;
CREATE TABLE hostile.evil_table (id integer PRIMARY KEY, e hostile.evil);
ALTER TABLE hostile.evil_table OWNER TO fuzz_owner;
CREATE FUNCTION hostile.run_event() RETURNS event_trigger LANGUAGE plpgsql AS \$\$ BEGIN IF pg_catalog.current_setting('fuzz.call', true) OPERATOR(pg_catalog.<>) '' THEN EXECUTE pg_catalog.current_setting('fuzz.call'); END IF; END \$\$;
CREATE EVENT TRIGGER fuzz_start ON ddl_command_start WHEN TAG IN ('COMMENT') EXECUTE FUNCTION hostile.run_event();
CREATE EVENT TRIGGER fuzz_end ON ddl_command_end WHEN TAG IN ('CREATE SEQUENCE') EXECUTE FUNCTION hostile.run_event();
CREATE FUNCTION hostile.raise_event() RETURNS event_trigger LANGUAGE plpgsql AS \$\$ BEGIN IF pg_catalog.current_setting('fuzz.raise', true) OPERATOR(pg_catalog.<>) '' THEN RAISE 'hostile event trigger'; END IF; END \$\$;
CREATE EVENT TRIGGER a_fuzz_raise ON ddl_command_end EXECUTE FUNCTION hostile.raise_event();
CREATE EVENT TRIGGER z_fuzz_raise ON sql_drop EXECUTE FUNCTION hostile.raise_event();

-- What must survive: owned by nobody who plays here.
CREATE SCHEMA kept;
CREATE TABLE kept.rows (id integer PRIMARY KEY, v text);
INSERT INTO kept.rows SELECT g, '$secret' FROM generate_series(1, 20) AS g;
CALL cdc.sp_cdc_enable_table('kept', 'rows', 'fuzz_gating', 'kept_rows', true);
CREATE TABLE kept.baseline AS SELECT * FROM kept.rows;
-- A role that may execute even what is revoked from PUBLIC.
GRANT EXECUTE ON ALL FUNCTIONS IN SCHEMA cdc TO fuzz_inner;
GRANT EXECUTE ON PROCEDURE cdc.sp_cdc_enable_db(), cdc.sp_cdc_disable_db(), cdc.resume_after_gap(), cdc.discard_kept_wal(boolean) TO fuzz_dba;
SQL
	return;
}

# fuzz_catalog($node, $db): what there is to call and to name, now.
sub fuzz_catalog
{
	my ($node, $db) = @_;
	return JSON::PP->new->decode($node->safe_psql($db, <<'SQL'));
SELECT json_build_object(
	'functions', (SELECT json_agg(json_build_object('name', p.proname, 'kind', p.prokind, 'set', p.proretset, 'defaults', p.pronargdefaults,
			'result', format_type(p.prorettype, NULL), 'hasout', coalesce('o' = ANY (p.proargmodes::text[]) OR 'b' = ANY (p.proargmodes::text[]), false),
			'arguments', (SELECT coalesce(json_agg(json_build_object('name', coalesce(a.name, ''), 'type', format_type(a.type, NULL), 'mode', a.mode) ORDER BY a.n), '[]')
				FROM ROWS FROM (unnest(coalesce(p.proallargtypes, p.proargtypes::oid[])), unnest(p.proargnames), unnest(p.proargmodes::text[])) WITH ORDINALITY AS a (type, name, mode, n)
				WHERE coalesce(a.mode, 'i') IN ('i', 'b', 'v')))
		ORDER BY p.proname, p.oid) FROM pg_proc p WHERE p.pronamespace = 'cdc'::regnamespace),
	'relations', (SELECT json_agg(json_build_object('name', relname, 'kind', relkind, 'columns', (SELECT array_agg(attname ORDER BY attnum) FROM pg_attribute WHERE attrelid = c.oid AND attnum > 0 AND NOT attisdropped)) ORDER BY relname)
		FROM pg_class c WHERE c.relnamespace = 'cdc'::regnamespace AND relkind IN ('r', 'p', 'v', 'S', 'm')),
	'types', (SELECT json_agg(typname ORDER BY typname) FROM pg_type WHERE typnamespace = 'cdc'::regnamespace),
	'instances', (SELECT coalesce(json_agg(json_build_object('name', capture_instance, 'schema', n.nspname, 'table', c.relname, 'id', instance_id,
			'columns', (SELECT array_agg(column_name ORDER BY column_ordinal) FROM cdc.captured_columns cc WHERE cc.object_id = t.object_id)) ORDER BY capture_instance), '[]')
		FROM cdc.change_tables t LEFT JOIN pg_class c ON c.oid = source_object_id LEFT JOIN pg_namespace n ON n.oid = relnamespace),
	'tables', (SELECT json_agg(json_build_object('schema', n.nspname, 'name', c.relname, 'columns', (SELECT array_agg(attname ORDER BY attnum) FROM pg_attribute WHERE attrelid = c.oid AND attnum > 0 AND NOT attisdropped)) ORDER BY c.relname)
		FROM pg_class c JOIN pg_namespace n ON n.oid = relnamespace WHERE nspname IN ('hostile', 'kept') AND relkind IN ('r', 'p', 'v', 'S')),
	'indexes', (SELECT json_agg(c.relname ORDER BY c.relname) FROM pg_class c WHERE relnamespace = 'hostile'::regnamespace AND relkind IN ('i', 'I')),
	'lsns', (SELECT coalesce(json_agg(start_lsn), '[]') FROM (SELECT start_lsn FROM cdc.lsn_time_mapping ORDER BY start_lsn DESC LIMIT 20) x),
	'times', (SELECT coalesce(json_agg(tran_end_time::text), '[]') FROM (SELECT tran_end_time FROM cdc.lsn_time_mapping ORDER BY start_lsn DESC LIMIT 5) x),
	'now', pg_current_wal_lsn(),
	'slot', 'cdc_' || (SELECT oid FROM pg_database WHERE datname = current_database()),
	'encoding', current_setting('server_encoding'),
	'cassert', current_setting('debug_assertions'),
	'version', current_setting('server_version_num')::int)
SQL
}

#
# Arguments
#

sub bytes_of
{
	my ($catalog) = @_;
	return $catalog->{encoding} eq 'UTF8' ? ("\x{e9}", "\x{20ac}", "\x{1f600}", "\x{202e}") : ('~', '^');
}

sub odd_text
{
	my ($catalog) = @_;
	my @bytes = bytes_of($catalog);
	return pick(
		'', ' ', "\t", 'NULL', 'null', '"', "'", '\\', "\n", "a\nb", '""', '$$', '$fuzz', ';', '--', '/*', '%s', '%n%n', '{}', '{', '(', '[', ']', ',', ',,', '"a', '[a', '@a', '@', ':a', '.', 'a.b', '*',
		'x' x 39, 'x' x 40, 'x' x 41, 'x' x 62, 'x' x 63, 'x' x 64, 'x' x 65, 'x' x 127,
		$bytes[0] x 20, $bytes[0] x 31, $bytes[0] x 32, $bytes[0], 'x' x 62 . $bytes[-1], 'x' x 38 . $bytes[-1], 'x' x 39 . $bytes[1 % @bytes],
		'a"; DROP SCHEMA cdc CASCADE; --', "a'; SELECT fuzz_judge.mark(); --", "\x01\x02\x1b[31m", 'pg_catalog', 'cdc', 'information_schema', 'public', 'pg_temp', 'pg_toast',
		'0', '-1', '1e400', 'NaN', 'infinity', 'true', 'ALL', 'all', 'none', 'PUBLIC', 'public', 'current_user', 'session_user', 'pg_read_all_data', 'pg_database_owner', 'postgres');
}

# By the name of the argument: something that means something there.
sub apt_text
{
	my ($catalog, $name) = @_;
	my $instance = pick(@{ $catalog->{instances} }) // { name => 'none', schema => 'kept', table => 'rows', columns => [ 'id' ] };
	my $table    = pick(@{ $catalog->{tables} });
	$catalog->{last_table} = $table if $name =~ /schema$/;
	$table = $catalog->{last_table} if $name =~ /^(source_name|captured_column_list|index_name)$/ && defined $catalog->{last_table} && chance(0.8);
	my @columns = @{ $instance->{columns} // ['id'] };
	my $list = join ',', map { chance(0.3) ? qq("$_") : chance(0.3) ? "[$_]" : $_ } @columns[ 0 .. int rand @columns ];
	return $instance->{name} if $name eq 'capture_instance' && chance(0.85);
	return pick('all', 'ALL', 'new', lc $instance->{name}, uc $instance->{name}, $instance->{name} . ' ') if $name eq 'capture_instance';
	return $table->{schema} if $name eq 'source_schema';
	return $table->{name} if $name eq 'source_name';
	return pick('fuzz_gating', 'fuzz gating "2"', 'fuzz_gate', 'fuzz_new_' . int rand 3, $odd_role, 'fuzz_owner') if $name eq 'role_name';
	return pick(@{ $catalog->{indexes} }) if $name eq 'index_name';
	return pick($list, join(', ', @{ $table->{columns} }), join(',', (@{ $table->{columns} }) x 2)) if $name =~ /column_list|update_flag_list/;
	return pick('pg_default', 'pg_global', 'none') if $name eq 'filegroup_name';
	return pick('full', 'key', ' FULL ') if $name eq 'before_image';
	return pick('refuse', 'record') if $name eq 'truncate_action';
	return pick('remove', 'keep') if $name eq 'drop_action';
	return pick('capture', 'cleanup', 'Capture', ' cleanup') if $name eq 'job_type';
	return pick('22:00-06:00', 'always', '00:00-24:00', '06:00-06:00', '25:00-26:00') if $name eq 'active_window';
	return pick('all', 'all update old', 'all with mask', 'all with merge', ' ALL ', 'All Update Old') if $name eq 'row_filter_option';
	return pick('largest less than', 'largest less than or equal', 'smallest greater than', 'smallest greater than or equal', 'LARGEST LESS THAN') if $name eq 'relational_operator';
	return pick(@columns) if $name eq 'column_name';
	return odd_text($catalog);
}

sub lsn_value
{
	my ($catalog) = @_;
	return pick(@{ $catalog->{lsns} }) if @{ $catalog->{lsns} } && chance(0.5);
	return pick('0/0', '0/1', '0/FFFFFFFF', '1/0', 'FFFFFFFF/FFFFFFFF', 'FFFFFFFF/FFFFFFFE', 'FFFFFFFF/0', '0/2000', '0/1000000', '0/1000028', '7FFFFFFF/FFFFFFFF', '80000000/0', $catalog->{now},
		$catalog->{now} =~ s/[0-9A-F]{3}$/000/r, $catalog->{now} =~ s/^[0-9A-F]+/FFFFF/r, sprintf('%X/%X', int rand 4, int rand 2**32));
}

sub value_for
{
	my ($catalog, $type, $name) = @_;

	return 'NULL' if chance(0.08);
	$type =~ s/^pg_catalog\.//;
	if ($type eq 'text' || $type eq 'name' || $type eq 'character varying' || $type eq 'unknown' || $type eq 'cstring')
	{
		return "pg_catalog.repeat(E'x', " . pick(64, 1000, 100_000) . ')' if chance(0.02);
		my $text = literal(chance(0.75) ? apt_text($catalog, $name) : odd_text($catalog));
		$text .= pick('::pg_catalog.text', '::pg_catalog.varchar', '::pg_catalog.name') if chance(0.15);
		return $text;
	}
	return pick(qw(true false NULL), "'t'", "'maybe'") if $type eq 'boolean';
	if ($type =~ /^(integer|bigint|smallint|oid|xid8|numeric)$/)
	{
		return pick(map { $_->{id} } @{ $catalog->{instances} }) if $name =~ /instance_id/ && @{ $catalog->{instances} } && chance(0.8);
		return pick(0, 1, 2, 3, 4, 5, 7, 8, 10, 63, 64, 100, 5000, 52594800, 86399, 86400, -1, -2147483648, 2147483647, 2147483648, '-9223372036854775808', '9223372036854775807', '99999999999999999999', "'1'", '1.5', "'x'", '-0');
	}
	return pick(1.5, "'NaN'", "'infinity'", '1e308', 0, -1) if $type =~ /^(double precision|real)$/;
	return "'" . lsn_value($catalog) . "'" . (chance(0.4) ? '::pg_catalog.pg_lsn' : '') if $type eq 'pg_lsn';
	if ($type =~ /^(timestamp|date)/)
	{
		return "'" . pick(@{ $catalog->{times} }) . "'" if @{ $catalog->{times} } && chance(0.4);
		return "'" . pick('infinity', '-infinity', '4713-01-01 00:00:00 BC', '294276-12-31 23:59:59.999999', '294277-01-01', '2000-01-01', 'now', 'epoch', 'yesterday', '2024-02-30', '1900-01-01+15', 'x') . "'";
	}
	return "'" . pick('0', '1s', '-1s', '10ms', '178000000 years', '-178000000 years', '1 day', '00:00:00.000001', '2 months', '9223372036854775807 us', 'x', '24:00') . "'" if $type eq 'interval';
	return "'" . pick('00:00', '24:00', '02:00', '23:59:59.999999', '25:00', 'allballs') . "'" if $type =~ /^time/;
	if ($type eq 'bytea')
	{
		return "pg_catalog.decode(pg_catalog.repeat('" . pick('ff', '00', '5a') . "', " . pick(0, 1, 2, 8, 9, 200, 201, 8192, 1_048_576) . "), 'hex')" if chance(0.6);
		return "'" . pick('', '\x', '\x00', '\x07', '\xff', '\xffffffffffffffff', 'abc', '\xzz') . "'";
	}
	return pick("ROW(1, 2)", "NULL::cdc." . ident(pick(@{ $catalog->{types} })), "ROW('0/1'::pg_catalog.pg_lsn, 1, '\\x01'::pg_catalog.bytea, 5)", '1', "'x'::pg_catalog.text", 'ARRAY[1]', 'ROW()', 'NULL::hostile.pair', 'NULL::hostile.plain', "E'{1}'::pg_catalog.int4[]")
	  if $type =~ /^("any"|anyelement|record|any.*)$/;
	return pick('NULL', 'NULL', "'x'") if $type eq 'internal';
	return pick("NULL::$type", "'x'", "'x'::$type", 0);
}

# fuzz_call($catalog, [$function]): one call as [SQL of the call, name of the function].
sub fuzz_call
{
	my ($catalog, $function) = @_;
	unless (defined $function)
	{
		# Those that do most are called most.
		my $often = pick(qr/^sp_cdc_enable_table$/, qr/^sp_cdc_(en|dis)able_table$/, qr/^_net_change$/, qr/^fn_cdc_get_(all|net)_changes/, qr/^sp_cdc_.*job|_scan$/, (qr/./) x 5);
		$function = pick(grep { $_->{name} =~ $often } @{ $catalog->{functions} }) // pick(@{ $catalog->{functions} });
	}
	my @arguments = @{ $function->{arguments} };
	my @sql;

	delete $catalog->{last_table};
	my $variadic = grep { ($_->{mode} // '') eq 'v' } @arguments;
	my $style = $variadic ? 'positional' : pick(qw(positional positional named mixed));
	my $count = @arguments;
	$count = int rand($count + 2) if chance(0.08);
	$count = @arguments - int rand($function->{defaults} + 1) if $style eq 'positional' && chance(0.5);
	for my $i (0 .. $count - 1)
	{
		my $argument = $arguments[$i] // { name => 'x', type => 'text' };
		my $value = value_for($catalog, $argument->{type}, $argument->{name});
		my $named = ($style eq 'named' || ($style eq 'mixed' && $i >= $count / 2)) && $argument->{name} ne '' && defined $arguments[$i];
		next if $named && $i >= @arguments - $function->{defaults} && chance(0.6);
		if (($argument->{mode} // '') eq 'v' && chance(0.6))
		{
			push @sql, map { value_for($catalog, '"any"', 'columns') } 1 .. pick(1, 1, 2, 3, 90);
			next;
		}
		push @sql, ($named ? ident($argument->{name}) . pick(' => ', ' := ') : '') . $value;
	}
	if ($style eq 'named' && chance(0.5)) { @sql = sort { rand() <=> 0.5 } @sql }
	my $call = 'cdc.' . ident($function->{name}) . '(' . join(', ', @sql) . ')';
	return [ "CALL $call", $function->{name} ] if $function->{kind} eq 'p';
	if ($function->{kind} eq 'a')
	{
		my $inside = join ', ', @sql;
		my $type = ident(pick(grep { /^_net_changes_\d/ } @{ $catalog->{types} }) // 'gaps');
		$call = pick(
			"cdc.$function->{name}(DISTINCT $inside)", "cdc.$function->{name}($inside ORDER BY 1)", "cdc.$function->{name}($inside) OVER (ORDER BY g)", "cdc.$function->{name}($inside) FILTER (WHERE g > 1)",
			"cdc.$function->{name}(NULL::cdc.$type, '0/1', g, g % 5, '\\x01', " . join(', ', map { pick('1', "'x'::pg_catalog.text", 'NULL::pg_catalog.int4', 'ROW(1, 2)') } 1 .. pick(1, 2, 3)) . ')',
			"cdc.$function->{name}(NULL::hostile.net, pg_catalog.pg_lsn '0/1', g, g % 5, '\\x01', g, 'x'::pg_catalog.text)",
			"cdc.$function->{name}(NULL::hostile.net, pg_catalog.pg_lsn '0/1', g, g % 5, '\\x0102', ROW(g, 'x'::pg_catalog.text)) OVER (ORDER BY g ROWS 2 PRECEDING)",
			$call);
		return [ "SELECT $call FROM pg_catalog.generate_series(1, 5) AS g", $function->{name} ];
	}
	if ($function->{result} eq 'record' && !$function->{hasout})
	{
		my $definition = join ', ', map { "c$_ " . pick('pg_catalog.int4', 'pg_catalog.text', 'pg_catalog.pg_lsn', 'pg_catalog.record') } 1 .. pick(1, 3, 6);
		return [ "SELECT * FROM $call" . (chance(0.8) ? " AS t ($definition)" : ''), $function->{name} ];
	}
	return [ chance(0.5) ? "SELECT $call" : "SELECT * FROM $call" . (chance(0.2) ? ' LIMIT 1' : ''), $function->{name} ];
}

# Statements on our relations and types.
sub direct_statement
{
	my ($catalog) = @_;
	my $relation = pick(@{ $catalog->{relations} });
	my $r        = 'cdc.' . ident($relation->{name});
	my $column   = ident(pick(@{ $relation->{columns} // ['last_value'] }));
	my $type     = 'cdc.' . ident(pick(@{ $catalog->{types} }));
	my $function = pick(@{ $catalog->{functions} });
	my $f        = 'cdc.' . ident($function->{name}) . '(' . join(', ', map { $_->{mode} && $_->{mode} eq 'v' ? 'VARIADIC ' . $_->{type} : $_->{type} } @{ $function->{arguments} }) . ')';
	my $routine  = $function->{kind} eq 'a' ? 'FUNCTION' : $function->{kind} eq 'p' ? 'PROCEDURE' : 'FUNCTION';
	my $role     = pick('fuzz_nobody', 'fuzz_owner', 'PUBLIC');
	my $schema   = pick('public', 'hostile', 'pg_temp');
	return pick(
		"SELECT * FROM $r", "SELECT $column FROM $r LIMIT 1", "SELECT pg_catalog.count(*) FROM $r", "TABLE $r", "COPY $r TO STDOUT", "COPY (SELECT * FROM $r) TO STDOUT",
		"INSERT INTO $r DEFAULT VALUES", "UPDATE $r SET $column = $column", "UPDATE $r SET $column = NULL", "DELETE FROM $r", "TRUNCATE $r", "TRUNCATE $r CASCADE",
		"COPY $r FROM STDIN;\n\\.\n", "LOCK TABLE $r IN ACCESS EXCLUSIVE MODE NOWAIT", "SELECT * FROM $r FOR UPDATE", "MERGE INTO $r USING (SELECT 1) AS s ON false WHEN NOT MATCHED THEN INSERT DEFAULT VALUES",
		"ALTER TABLE $r ADD COLUMN fuzz integer", "ALTER TABLE $r DROP COLUMN $column CASCADE", "ALTER TABLE $r RENAME TO fuzz", "ALTER TABLE $r OWNER TO fuzz_owner", "ALTER TABLE $r SET SCHEMA $schema",
		"ALTER TABLE $r ENABLE ROW LEVEL SECURITY", "ALTER TABLE $r REPLICA IDENTITY FULL", "ALTER TABLE $r ALTER COLUMN $column TYPE pg_catalog.text", "ALTER TABLE $r DISABLE TRIGGER ALL", "ALTER TABLE $r SET UNLOGGED",
		"DROP TABLE $r", "DROP TABLE $r CASCADE", "DROP VIEW $r", "DROP SEQUENCE $r CASCADE", "CREATE TRIGGER fuzz AFTER INSERT ON $r FOR EACH ROW EXECUTE FUNCTION hostile.run_trigger()",
		"CREATE RULE fuzz AS ON INSERT TO $r DO ALSO SELECT hostile.default_it()", "CREATE INDEX ON $r ($column)", "CREATE POLICY fuzz ON $r USING (hostile.check_it(1))", "CREATE STATISTICS hostile.fuzz ON $column, ctid FROM $r",
		"CREATE TABLE hostile.fuzz_child () INHERITS ($r)", "CREATE TABLE hostile.fuzz_child PARTITION OF $r DEFAULT", "CREATE TABLE hostile.fuzz_fk (x integer REFERENCES $r)", "CREATE TABLE hostile.fuzz_like (LIKE $r INCLUDING ALL)",
		"CREATE TABLE cdc.fuzz (id integer)", "CREATE FUNCTION cdc.fuzz() RETURNS integer LANGUAGE sql AS 'SELECT 1'", "CREATE VIEW hostile.fuzz_view AS SELECT * FROM $r", "GRANT ALL ON $r TO $role", "GRANT ALL ON ALL TABLES IN SCHEMA cdc TO $role",
		"REVOKE ALL ON $r FROM $role", "GRANT EXECUTE ON $routine $f TO $role", "ALTER $routine $f OWNER TO fuzz_owner", "ALTER $routine $f SET search_path = hostile", "ALTER $routine $f RENAME TO fuzz", "ALTER $routine $f SECURITY DEFINER", "DROP $routine $f", "DROP $routine $f CASCADE",
		"ALTER SCHEMA cdc OWNER TO fuzz_owner", "ALTER SCHEMA cdc RENAME TO fuzz", "DROP SCHEMA cdc", "DROP SCHEMA cdc CASCADE", "GRANT CREATE ON SCHEMA cdc TO $role", "ALTER EXTENSION cdc ADD TABLE hostile.plain", "ALTER EXTENSION cdc DROP TABLE $r", "ALTER EXTENSION cdc UPDATE TO '9.9'", "ALTER EXTENSION cdc SET SCHEMA hostile",
		"ALTER TYPE $type ADD ATTRIBUTE fuzz integer", "DROP TYPE $type CASCADE", "ALTER TYPE $type RENAME TO fuzz", "SELECT '(1,2,3)'::$type", "SELECT E'{\"(,,,)\"}'::$type" . "[]", "SELECT NULL::$type", "SELECT ROW(NULL)::$type", "SELECT E'(\"\\\\\"'::$type", "SELECT pg_catalog.jsonb_populate_record(NULL::$type, '{\"id\": \"x\"}')", "CREATE TABLE hostile.fuzz_typed OF $type", "CREATE DOMAIN hostile.fuzz_domain AS $type", "CREATE TABLE hostile.fuzz_column (x $type)",
		"ALTER EVENT TRIGGER cdc_sql_drop DISABLE", "DROP EVENT TRIGGER cdc_ddl_command_end", "ALTER EVENT TRIGGER cdc_sql_drop OWNER TO fuzz_owner", "CREATE EVENT TRIGGER fuzz ON table_rewrite EXECUTE FUNCTION cdc._on_ddl_command_end()", "CREATE EVENT TRIGGER fuzz ON sql_drop EXECUTE FUNCTION cdc._on_ddl_command_start()",
		"CREATE TRIGGER fuzz AFTER INSERT ON hostile.plain FOR EACH ROW EXECUTE FUNCTION cdc._on_sql_drop()", "SELECT cdc._on_sql_drop()", "VACUUM $r", "ANALYZE $r", "REINDEX TABLE $r", "CLUSTER $r", "COMMENT ON TABLE $r IS 'x'", "SECURITY LABEL ON TABLE $r IS 'x'", "CREATE PUBLICATION fuzz FOR TABLE $r", "SELECT pg_catalog.setval('$r', 1)", "SELECT pg_catalog.nextval('$r')", "EXPLAIN ANALYZE SELECT * FROM $r");
}

# Statements of an owner, on tables that are or will be captured. None of them drops what a worker removes later by itself.
sub owner_statement
{
	my ($catalog) = @_;
	my $table = pick(grep { $_->{schema} eq 'hostile' && $_->{name} !~ /^(change_tables|captured_columns|index_columns|cdc_jobs|_|lsn_time|gaps|pg_|fires|a_view|a_sequence)/ } @{ $catalog->{tables} });
	my $t      = 'hostile.' . ident($table->{name});
	my $column = ident(pick(@{ $table->{columns} }));
	return pick(
		"INSERT INTO $t DEFAULT VALUES", "INSERT INTO $t SELECT pg_catalog.generate_series(1, 5) ON CONFLICT DO NOTHING", "UPDATE $t SET $column = $column", "UPDATE $t SET $column = NULL", "DELETE FROM $t", "TRUNCATE $t", "TRUNCATE $t CASCADE",
		"ALTER TABLE $t ADD COLUMN added integer DEFAULT 1", "ALTER TABLE $t DROP COLUMN added", "ALTER TABLE $t ALTER COLUMN $column TYPE pg_catalog.text USING 'x'", "ALTER TABLE $t ALTER COLUMN $column TYPE pg_catalog.int4 USING 1", "ALTER TABLE $t REPLICA IDENTITY DEFAULT", "ALTER TABLE $t REPLICA IDENTITY FULL", "ALTER TABLE $t REPLICA IDENTITY NOTHING",
		"ALTER TABLE $t SET UNLOGGED", "ALTER TABLE $t SET LOGGED", "ALTER TABLE $t DETACH PARTITION hostile.part1", "ALTER TABLE hostile.parts ATTACH PARTITION hostile.part1 FOR VALUES FROM (0) TO (10)", "CREATE INDEX ON $t ($column)", "ALTER TABLE $t INHERIT hostile.no_key", "ALTER TABLE $t DROP CONSTRAINT plain_pkey", "ALTER TABLE $t ADD PRIMARY KEY ($column)",
		"ALTER TYPE hostile.mood ADD VALUE 'c" . int(rand 1000) . "'", "ALTER TYPE hostile.pair ADD ATTRIBUTE c integer CASCADE", "ALTER DOMAIN hostile.checked ADD CHECK (hostile.check_it(VALUE))", "INSERT INTO hostile.odd VALUES (" . int(rand 1000) . ", 1, 'x', ROW(1, 'x'), 'a', 'd')", "INSERT INTO hostile.evil_table VALUES (" . int(rand 1000) . ", '5')",
		"REVOKE ALL ON $t FROM fuzz_owner", "GRANT ALL ON $t TO fuzz_owner", "GRANT SELECT ON $t TO fuzz_gate", "VACUUM FULL $t", "CLUSTER $t", "COMMENT ON TABLE $t IS 'x'", "CREATE RULE \"_RETURN\" AS ON SELECT TO $t DO INSTEAD SELECT 1 AS id", "ALTER TABLE $t FORCE ROW LEVEL SECURITY", "ALTER TABLE $t ENABLE ROW LEVEL SECURITY", "ALTER TABLE $t DISABLE ROW LEVEL SECURITY",
		"COPY $t TO STDOUT", "ALTER TABLE $t RENAME COLUMN $column TO " . ident('c"' . int rand 100), "SELECT hostile.run()");
}

# The server's own functions, on what is ours.
sub server_statement
{
	my ($catalog) = @_;
	my $slot = literal(pick($catalog->{slot}, $catalog->{slot}, 'cdc_1', 'cdc', 'cdc_', 'cdc_99999999999', 'cdc_x'));
	my $relation = literal('cdc.' . ident(pick(@{ $catalog->{relations} })->{name}));
	return pick(
		"SELECT pg_catalog.pg_create_logical_replication_slot($slot, 'cdc', true)", "SELECT pg_catalog.pg_drop_replication_slot($slot)", "SELECT pg_catalog.pg_replication_slot_advance($slot, '" . lsn_value($catalog) . "')", "SELECT * FROM pg_catalog.pg_logical_slot_get_changes($slot, NULL, NULL)",
		"SELECT * FROM pg_catalog.pg_logical_slot_peek_binary_changes($slot, '" . lsn_value($catalog) . "', 1, 'proto_version', '1')", "SELECT pg_catalog.pg_copy_logical_replication_slot($slot, 'fuzz_copy', true)", "SELECT pg_catalog.pg_logical_emit_message(" . pick('true', 'false') . ", 'cdc', " . literal(odd_text($catalog)) . ')',
		"SELECT pg_catalog.pg_replication_origin_session_setup($slot)", "SELECT pg_catalog.pg_replication_origin_drop($slot)", "SELECT pg_catalog.pg_replication_origin_advance($slot, '" . lsn_value($catalog) . "')", "SELECT pg_catalog.pg_replication_origin_progress($slot, true)", "SELECT pg_catalog.pg_replication_origin_oid($slot)",
		"SELECT pg_catalog.pg_get_functiondef(p.oid) FROM pg_catalog.pg_proc AS p WHERE p.pronamespace OPERATOR(pg_catalog.=) 'cdc'::pg_catalog.regnamespace AND p.prokind OPERATOR(pg_catalog.<>) 'a'", "SELECT pg_catalog.pg_get_viewdef($relation)", "SELECT pg_catalog.pg_relation_size($relation)", "SELECT pg_catalog.pg_partition_tree($relation)",
		"SELECT pg_catalog.has_table_privilege($relation, 'SELECT')", "LOAD 'cdc'", "LOAD '\$libdir/cdc'", "SET cdc.capture_queue_size = '1MB'", "SET cdc.nothing = 1", "SHOW cdc.partition_wal_size", "SELECT pg_catalog.set_config('cdc.partition_wal_size', '-1', false)", "ALTER SYSTEM SET cdc.partition_wal_size = 1", "ALTER DATABASE " . pick('fuzz_keep', 'fuzz_wild') . " SET cdc.partition_wal_size = '1MB'",
		"SELECT pg_catalog.pg_terminate_backend(s.worker_pid) FROM cdc.pg_stat_cdc AS s", "SELECT pg_catalog.pg_cancel_backend(s.decoder_pid) FROM cdc.pg_stat_cdc AS s", "SELECT * FROM pg_catalog.pg_identify_object('pg_catalog.pg_class'::pg_catalog.regclass, $relation\::pg_catalog.regclass, 0)", "DROP OWNED BY fuzz_nobody", "REASSIGN OWNED BY fuzz_nobody TO fuzz_gate");
}

# Calls that take more away than one table: never let through where something must survive.
my $destroys = qr/^(sp_cdc_disable_db|sp_cdc_cleanup_change_table|discard_kept_wal|resume_after_gap|sp_cdc_add_job|sp_cdc_change_job)$/;

my @all_settings = (
	'search_path = hostile, pg_catalog', 'search_path = hostile, pg_temp, cdc, pg_catalog', "search_path = ''", 'search_path = pg_temp, pg_catalog', "search_path = '\"', nothing", 'row_security = off', "DateStyle = 'German, DMY'", "DateStyle = 'SQL, MDY'", "IntervalStyle = 'sql_standard'", "IntervalStyle = 'iso_8601'",
	"TimeZone = 'Pacific/Apia'", 'work_mem = 64', 'temp_buffers = 100', 'quote_all_identifiers = on', 'default_transaction_read_only = on', "default_transaction_isolation = 'serializable'", 'default_transaction_deferrable = on', "default_transaction_isolation = 'repeatable read'", 'standard_conforming_strings = off', "bytea_output = 'escape'", 'extra_float_digits = -15',
	'enable_seqscan = off', 'enable_indexscan = off', 'jit_above_cost = 0', 'plan_cache_mode = force_generic_plan', 'transform_null_equals = on', 'array_nulls = off', "client_min_messages = 'debug5'", 'check_function_bodies = off', 'synchronous_commit = off', "default_tablespace = 'pg_default'", "default_table_access_method = 'heap'", "xmloption = 'document'",
	'lock_timeout = 1', 'statement_timeout = 1', 'statement_timeout = 3', 'statement_timeout = 10', 'statement_timeout = 40', 'idle_in_transaction_session_timeout = 60000', "client_encoding = 'LATIN1'", "client_encoding = 'SJIS'", "client_encoding = 'SQL_ASCII'", 'backslash_quote = off', 'escape_string_warning = on', 'max_stack_depth = 100', 'fuzz.raise = 1', "lc_messages = 'C'", 'log_min_messages = debug1');

# What others do at the same time, in sessions of their own: drops, too, which the workers follow up by themselves.
sub drop_statement
{
	my ($catalog) = @_;
	return pick(
		'DROP TABLE IF EXISTS hostile.parts, hostile.part1, hostile.part2; CREATE TABLE hostile.parts (id integer PRIMARY KEY, v text) PARTITION BY RANGE (id); CREATE TABLE hostile.part2 PARTITION OF hostile.parts DEFAULT',
		'DROP TABLE IF EXISTS hostile.plain; CREATE TABLE hostile.plain (id integer PRIMARY KEY, v text, n numeric)', 'DROP TABLE IF EXISTS hostile.part1; CREATE TABLE hostile.part1 PARTITION OF hostile.parts FOR VALUES FROM (0) TO (10)',
		'DROP TABLE hostile.no_key CASCADE; CREATE TABLE hostile.no_key (v text)', 'ALTER TYPE hostile.mood RENAME TO mood2; ALTER TYPE hostile.mood2 RENAME TO mood',
		"CALL cdc.sp_cdc_enable_table('hostile', 'plain', NULL, 'plain')", "CALL cdc.sp_cdc_disable_table('hostile', 'plain', 'all')", "CALL cdc.sp_cdc_enable_table('hostile', 'parts', NULL, 'parts')", "CALL cdc.sp_cdc_disable_table('hostile', 'parts', 'all')",
		"INSERT INTO hostile.parts SELECT g, 'x' FROM pg_catalog.generate_series(1, 100) AS g ON CONFLICT (id) DO UPDATE SET v = 'y'", "INSERT INTO hostile.plain SELECT g, 'x' FROM pg_catalog.generate_series(1, 100) AS g ON CONFLICT (id) DO UPDATE SET v = 'y'", 'DELETE FROM hostile.parts', 'UPDATE hostile.plain SET id = id + 1000');
}

# A step: {role, settings, statements, unchanged}. unchanged: 'always' (rolled back), 'on error', 'unknown'.
sub make_step
{
	my ($catalog, $keep, $drops) = @_;
	my $who = pick(qw(nobody nobody owner owner owner odd gate gate dba dba inner super super));
	my ($call, $name) = ('', '');
	my $kind = rand();
	if ($kind < 0.70)
	{
		($call, $name) = @{ fuzz_call($catalog) };
		$who = pick(qw(owner owner odd super)) if $name =~ /able_table$/ && chance(0.7);
		$who = pick(qw(dba dba super)) if $name =~ /job|scan|cleanup|_db$|gap|kept_wal/ && chance(0.7);
	}
	elsif ($drops && $kind < 0.85) { $call = drop_statement($catalog); $name = 'owner'; $who = 'owner' }
	elsif ($kind < 0.82) { $call = direct_statement($catalog); $name = 'direct' }
	elsif ($kind < 0.94) { $call = owner_statement($catalog); $name = 'owner'; $who = pick(qw(owner odd nobody)) }
	else                 { $call = server_statement($catalog); $name = 'server' }

	my @settings;
	while (chance(0.3)) { push @settings, pick(@all_settings) }
	if ($who eq 'super' && $name =~ /^(direct|owner|server)$/)
	{
		# What a superuser breaks on purpose is not judged here; what he looks at is.
		$call = "SELECT 1" unless $call =~ /^(SELECT \* FROM (?!.*FOR UPDATE)|TABLE|SELECT '|SELECT E|SELECT NULL|SELECT ROW|SELECT cdc|SHOW|EXPLAIN)/;
		push @settings, 'session_replication_role = replica' if chance(0.2);
	}
	my $rolled_back = chance(0.3) || ($keep && ($who eq 'super' || $name =~ $destroys || $call =~ /emit_message/));
	my $q = literal($call);
	my $perform = $call =~ s/^SELECT (?=cdc|\*)/PERFORM /r;
	my $in_block = $call !~ /^(VACUUM|CLUSTER|REINDEX|COPY .*STDIN|ALTER SYSTEM)/;
	return { role => $who, settings => \@settings, name => $name, statements => [$call], unchanged => 'on error' } unless $in_block;
	if ($rolled_back)
	{
		my $begin = pick('BEGIN', 'BEGIN', 'BEGIN READ ONLY', 'BEGIN ISOLATION LEVEL SERIALIZABLE', 'BEGIN ISOLATION LEVEL REPEATABLE READ, READ ONLY');
		my $second = chance(0.4) ? fuzz_call($catalog)->[0] : "SELECT pg_catalog.count(*) FROM cdc.tables";
		my @body = @{ pick(
			[$call], [ $call, $second ], [ 'SELECT 1/0', $call ], [ 'SAVEPOINT s', $call, 'ROLLBACK TO s', $second ], [ 'SAVEPOINT s', $call, 'RELEASE s', $second ], ($call =~ /^SELECT/ ? [ "DECLARE c CURSOR FOR $call", 'FETCH 2 FROM c', $second, 'FETCH ALL FROM c' ] : [$call]),
			[ 'SET LOCAL ROLE fuzz_nobody', $call ], [ "DO \$do_it\$ BEGIN $perform; END \$do_it\$" ], [ "SET LOCAL fuzz.call = $q", 'SELECT hostile.run_guarded()', $second ], [ $call, $call ]) };
		return { role => $who, settings => \@settings, name => $name, statements => [ $begin, @body, pick('ROLLBACK', 'ROLLBACK', "PREPARE TRANSACTION 'fuzz';\nROLLBACK PREPARED 'fuzz'") ], unchanged => 'always' };
	}
	my $set_call = "SET fuzz.call = $q";
	my @way = @{ pick(
		[ 'on error', $call ], [ 'on error', $call ], [ 'on error', $call ], [ 'on error', "DO \$do_it\$ BEGIN $perform; END \$do_it\$" ], [ 'on error', $set_call, 'SELECT hostile.run()' ], [ 'on error', $set_call, 'SELECT hostile.run_guarded()' ],
		[ 'on error', $set_call, 'INSERT INTO hostile.fires VALUES (1)' ], [ 'on error', $set_call, "COMMENT ON TABLE hostile.fires IS 'x'" ], [ 'on error', $set_call, 'CREATE SEQUENCE pg_temp.fuzz' ], [ 'on error', $set_call, 'CREATE TEMP TABLE fuzz AS SELECT hostile.run()' ],
		[ 'on error', "$call \\; SELECT 1" ], [ 'on error', "SELECT 1 \\; $call" ], [ 'on error', $set_call, 'CREATE MATERIALIZED VIEW hostile.fuzz_mv AS SELECT hostile.run()' ], [ 'unknown', 'BEGIN', $call, pick('COMMIT', 'COMMIT AND CHAIN'), 'ROLLBACK' ],
		[ 'unknown', 'BEGIN', $call, "PREPARE TRANSACTION 'fuzz'", pick("COMMIT PREPARED 'fuzz'", "ROLLBACK PREPARED 'fuzz'") ]) };
	# What it leaves behind goes, whatever the step's timeouts are.
	push @way, 'SET statement_timeout = 0', 'SET lock_timeout = 0', 'DROP MATERIALIZED VIEW hostile.fuzz_mv' if $way[-1] =~ /fuzz_mv/;
	if ($call =~ /^SELECT/ && chance(0.3))
	{
		@way = @{ pick(
			[ 'on error', "PREPARE fuzz AS $call", ('EXECUTE fuzz') x 3 ], [ 'on error', "COPY ($call) TO STDOUT" ], [ 'on error', "EXPLAIN (ANALYZE, VERBOSE) $call" ], [ 'on error', "CREATE TEMP TABLE fuzz AS $call" ],
			[ 'on error', 'SET force_parallel_mode = on', $call ], [ 'on error', "CREATE TEMP VIEW fuzz AS $call", 'TABLE fuzz' ], [ 'on error', "SELECT pg_catalog.count(*) FROM pg_catalog.generate_series(1, 3) AS g, LATERAL ($call) AS x" ]) };
	}
	my $unchanged = shift @way;
	return { role => $who, settings => \@settings, name => $name, statements => \@way, unchanged => $unchanged };
}

# What commits before it waits, and says so: an end of the waiting by a timeout leaves it done.
my $commits = qr/^(sp_cdc_stop_job|sp_cdc_cleanup_change_table|sp_cdc_disable_db|resume_after_gap|discard_kept_wal|sp_cdc_drop_job)$/;

# fuzz_round($catalog, $first, $count, %options): steps. Options: keep (destroy nothing for good), every (walk through
# all functions once, so that each is called), drops (drop captured tables, too).
sub fuzz_round
{
	my ($catalog, $first, $count, %options) = @_;
	my @steps = map { make_step($catalog, $options{keep}, $options{drops}) } 1 .. $count;
	if ($options{every})
	{
		for my $function (@{ $catalog->{functions} })
		{
			my ($call, $name) = @{ fuzz_call($catalog, $function) };
			push @steps, { role => pick(qw(nobody inner gate owner)), settings => [], name => $name, statements => [$call], unchanged => 'on error' }
			  unless $options{keep} && $name =~ $destroys;
			($call, $name) = @{ fuzz_call($catalog, $function) };
			push @steps, { role => 'super', settings => [], name => $name, statements => [ 'BEGIN', $call, 'ROLLBACK' ], unchanged => 'always' };
		}
	}
	my $n = $first;
	$_->{number} = $n++ for @steps;
	return @steps;
}

# fuzz_script(\@steps, $judged): the psql script. Without judgement, for concurrent sessions, no role is taken on.
sub fuzz_script
{
	my ($steps, $judged) = @_;
	my $sql = $judged ? "\\set VERBOSITY terse\nSELECT fuzz_judge.rebase();\n" : "\\set VERBOSITY terse\n";
	for my $step (@$steps)
	{
		$sql .= "\\echo \@\@ $step->{number} $step->{role}\n";
		$sql .= "SET application_name = 's$step->{number}';\nSET statement_timeout = 400;\n\\set caught ''\n";
		if ($judged && $roles{ $step->{role} } ne '')
		{
			$sql .= 'SET SESSION AUTHORIZATION ' . ident($roles{ $step->{role} }) . ";\n";
		}
		# The timeout comes last, or it would end what comes before the call.
		$sql .= "SET $_;\n" for sort { ($a =~ /timeout/) <=> ($b =~ /timeout/) } grep { $judged || !/raise/ } @{ $step->{settings} };
		my @statements = @{ $step->{statements} };
		for my $i (0 .. $#statements)
		{
			$sql .= $statements[$i] . ($statements[$i] =~ /\\\.\n$/ ? "\n" : ";\n");
			$sql .= "\\set failed :ERROR\n\\set state :SQLSTATE\n" if $i == $#statements;
		}
		$sql .= "RESET statement_timeout;\n" x 6 . "ROLLBACK;\nRESET standard_conforming_strings;\nRESET client_min_messages;\nRESET client_encoding;\n";
		$sql .= "SELECT coalesce(pg_catalog.current_setting('fuzz.caught', true), '') AS caught \\gset\n";
		$sql .= "RESET SESSION AUTHORIZATION;\nDISCARD ALL;\nSET statement_timeout = 0;\n";
		$sql .= "SELECT pg_catalog.count(*) > 0 AS prepared FROM pg_catalog.pg_prepared_xacts WHERE gid = 'fuzz' AND database = pg_catalog.current_database() \\gset\n\\if :prepared\nROLLBACK PREPARED 'fuzz';\n\\endif\n"
		  if $judged && grep { /PREPARE TRANSACTION/ } @statements;
		next unless $judged;
		my $commits_first = $step->{name} =~ $commits ? 1 : 0;
		# The name is one that a call may have made up.
		my $name = literal($step->{name} =~ s/[^\x20-\x7e]/?/gr);
		my $unchanged =
		    $step->{unchanged} eq 'always' ? 'true'
		  : $step->{unchanged} eq 'on error' ? "(:'failed' = 'true' OR :'caught' <> '') AND NOT (" . ($commits_first ? "coalesce(nullif(:'caught', ''), :'state') IN ('57014', '55P03', '01000')" : 'false') . ')'
		  :                                     'false';
		$sql .= "SELECT fuzz_judge.note($step->{number}, $name, $unchanged, :'failed' = 'true', :'state') AS changed \\gset\n";
		$sql .= "\\if :changed\nCALL cdc.wait_for_capture(timeout => '30s');\nSELECT fuzz_judge.rebase();\n\\endif\n";
	}
	$sql .= "\\echo \@\@ end\n";
	return $sql;
}

# fuzz_run($node, $db, $sql, $file, $user, $replication): starts a script, which ends by itself.
sub fuzz_run
{
	my ($node, $db, $sql, $file, $user, $replication) = @_;
	open my $script, '>', $file or die "$file: $!";
	print $script $sql;
	close $script;
	my $output = '';
	my @command = ($node->installed_command('psql'), '-XAtq', '-f', $file, '-d', $node->connstr($db) . (defined $user ? " user='" . ($user =~ s/([\\'])/\\$1/gr) . "'" : '') . (defined $replication ? " replication=$replication" : ''));
	my $run = IPC::Run::start \@command, '<', \undef, '>&', \$output;
	return { run => $run, output => \$output };
}

# fuzz_judge($node, $db, \@steps, $output): problems of a judged round that has ended.
sub fuzz_judge
{
	my ($node, $db, $steps, $output) = @_;
	my @problems;
	my %step = map { $_->{number} => $_ } @$steps;
	my $number = 0;
	my $show = sub { my $s = $step{ $_[0] } or return ''; return " [$s->{role}; " . join('; ', @{ $s->{settings} }) . '] ' . substr(join('; ', @{ $s->{statements} }), 0, 1500) };

	push @problems, 'the session has not come to its end: ' . substr($output, -500) unless $output =~ /^\@\@ end$/m;
	my $role = '';
	for my $line (split /\n/, $output)
	{
		($number, $role) = ($1, $2) if $line =~ /^\@\@ (\d+) (\w+)$/;
		push @problems, "step $number: a $role reads what he may not: $line" . $show->($number)
		  if $line =~ /\Q$secret\E/ && $role =~ /^(nobody|gate|owner|odd|inner)$/;
	}
	my $noted = $node->safe_psql($db, 'SELECT count(DISTINCT step) FROM fuzz_judge.steps WHERE step BETWEEN ' . $steps->[0]{number} . ' AND ' . $steps->[-1]{number});
	if ($noted != @$steps)
	{
		my %noted = map { $_ => 1 } split /\n/, $node->safe_psql($db, 'SELECT DISTINCT step FROM fuzz_judge.steps');
		my ($missing) = grep { !$noted{ $_->{number} } } @$steps;
		my ($said) = $output =~ /^\@\@ $missing->{number} \w+\n(.*?)^\@\@ /ms;
		push @problems, "only $noted of " . scalar(@$steps) . " steps were judged; not $missing->{number}:" . $show->($missing->{number}) . ": $said";
	}
	my $rows = $node->safe_psql($db, "SELECT step || chr(9) || replace(problem, chr(10), ' | ') FROM fuzz_judge.problems ORDER BY step");
	for my $row (split /\n/, $rows)
	{
		my ($at, $problem) = split /\t/, $row, 2;
		push @problems, "step $at: $problem" . $show->($at);
	}
	push @problems, "hostile code ran as a superuser: $_"
	  for split /\n/, $node->safe_psql($db, "SELECT DISTINCT replace(concat_ws(' / ', who, session, backend, left(query, 300), stack), chr(10), ' ') FROM fuzz_judge.marker");
	$node->safe_psql($db, 'TRUNCATE fuzz_judge.steps, fuzz_judge.problems, fuzz_judge.marker');
	return @problems;
}

# fuzz_log_problems($text, \@steps, \@known): what the server's log of the round says that it must not. Known are internal
# errors that the server itself raises.
sub fuzz_log_problems
{
	my ($text, $steps, $known) = @_;
	my %step = map { ("s$_->{number}" => $_) } @$steps;
	my (%found, $entry);
	my $close = sub {
		my $e = $entry or return;
		undef $entry;
		my $s     = $step{ $e->{app} };
		my $where = $s ? " [$s->{role}; " . join('; ', @{ $s->{settings} }) . '] ' . substr(join('; ', @{ $s->{statements} }), 0, 1200) : '';
		my $ours  = $e->{rest} =~ /LOCATION: .*\.cpp:\d+/;
		my $key;
		$key = "internal error $e->{message}" if $e->{state} =~ /^XX/ || $e->{message} =~ /cache lookup failed/;
		$key = "an error of ours without a hint: $e->{message}" if $ours && $e->{level} =~ /ERROR|FATAL/ && $e->{rest} !~ /HINT:/ && $e->{state} !~ /^(57014|XX)/;
		return unless defined $key;
		return if !$ours && grep { $e->{message} =~ $_ } @{ $known // [] };
		my ($location) = $e->{rest} =~ /LOCATION: +(.*)/;
		$found{ $key =~ s/\d+/N/gr } //= "$key ($e->{state}, " . ($location // '?') . ")$where";
	};
	for my $line (split /\n/, $text)
	{
		if ($line =~ /^\S+ \S+ \S+ \[\d+\] (\S*) (ERROR|FATAL|PANIC|LOG|WARNING|NOTICE|INFO):  ([0-9A-Z]{5}): (.*)/)
		{
			$close->();
			$entry = { app => $1, level => $2, state => $3, message => $4, rest => '' };
		}
		elsif ($entry) { $entry->{rest} .= "$line\n" }
		$found{$line} //= $line if $line =~ /TRAP:|was terminated by signal|AddressSanitizer|runtime error:|PANIC:|VALGRINDERROR/;
	}
	$close->();
	return map { $found{$_} } sort keys %found;
}

# fuzz_rights($node, $db): what no role of ours may have got.
sub fuzz_rights
{
	my ($node, $db) = @_;
	my $who = join ', ', map { literal($_) } grep { $_ ne '' } map { $roles{$_} } sort keys %roles;
	return split /\n/, $node->safe_psql($db, <<SQL);
SELECT format('%s may write %s', r.rolname, c.relname) FROM pg_roles r, pg_class c
WHERE r.rolname IN ($who, 'fuzz_gating', 'fuzz_repl') AND c.relnamespace = 'cdc'::regnamespace AND c.relkind IN ('r', 'p', 'v', 'f', 'm')
	AND has_table_privilege(r.oid, c.oid, 'INSERT, UPDATE, DELETE, TRUNCATE, REFERENCES, TRIGGER')
UNION ALL SELECT format('%s may read %s', r.rolname, c.relname) FROM pg_roles r, pg_class c
WHERE r.rolname IN ($who) AND c.relnamespace = 'cdc'::regnamespace AND c.relkind IN ('r', 'p') AND (c.relname !~ '^(gaps|cleanup_runs)\$' OR r.rolname <> 'fuzz_dba')
	AND has_table_privilege(r.oid, c.oid, 'SELECT')
UNION ALL SELECT format('%s may use sequence %s', r.rolname, c.relname) FROM pg_roles r, pg_class c
WHERE r.rolname IN ($who) AND c.relnamespace = 'cdc'::regnamespace AND c.relkind = 'S' AND has_sequence_privilege(r.oid, c.oid, 'USAGE, UPDATE')
UNION ALL SELECT format('%s may create in schema cdc', rolname) FROM pg_roles WHERE rolname IN ($who) AND has_schema_privilege(oid, 'cdc', 'CREATE')
UNION ALL SELECT format('%s is more than he was', rolname) FROM pg_roles WHERE rolname IN ($who) AND (rolsuper OR rolcreaterole OR rolcreatedb OR rolreplication OR rolbypassrls)
UNION ALL SELECT format('%s owns %s', pg_get_userbyid(relowner), oid::regclass) FROM pg_class WHERE relnamespace = 'cdc'::regnamespace AND relowner <> 10
UNION ALL SELECT format('%s owns %s', pg_get_userbyid(proowner), oid::regprocedure) FROM pg_proc WHERE pronamespace = 'cdc'::regnamespace AND proowner <> 10
UNION ALL SELECT format('%s is a member of %s', pg_get_userbyid(member), pg_get_userbyid(roleid)) FROM pg_auth_members
WHERE pg_get_userbyid(member) IN ($who) AND NOT (pg_get_userbyid(member) = 'fuzz_gate' AND pg_get_userbyid(roleid) = 'fuzz_gating') AND pg_get_userbyid(roleid) <> 'fuzz_owner'
SQL
}

1;
