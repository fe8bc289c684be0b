# ALTER EXTENSION cdc UPDATE while changes are captured; and that DROP EXTENSION, in each state and with CASCADE,
# leaves nothing behind, and nothing changed when it is refused or rolled back.
use strict;
use warnings;

use FindBin;
use lib "$FindBin::RealBin/lib";

use CdcTest;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = cdc_node('upgrade');

sub captured
{
	my ($db) = @_;
	wait_captured($node, $db);
	return $node->safe_psql($db, q(SELECT string_agg(id::text, ' ' ORDER BY "__$start_lsn", "__$seqval", "__$operation")
		FROM cdc.fn_cdc_get_all_changes_public_t(cdc.fn_cdc_get_min_lsn('public_t'), cdc.fn_cdc_get_max_lsn(), 'all')));
}

# 1. Update. The same worker goes on, and knows nothing of the new columns.
cdc_create($node, 'postgres');
$node->safe_psql('postgres', 'CREATE TABLE t (id int PRIMARY KEY, v text); CREATE TABLE u (id int PRIMARY KEY)');
enable_table($node, 'postgres', 't');
SKIP:
{
	skip 'the versions in test/upgrade are installed by tools/test', 9
	  unless -e $node->config_data('--sharedir') . '/extension/cdc--1.0--1.0.next.sql';
	my $worker = wait_for_worker($node, 'cdc capture worker', 'postgres');
	$node->safe_psql('postgres', 'INSERT INTO t VALUES (1)');
	$node->safe_psql('postgres', q(
		INSERT INTO t VALUES (2);
		ALTER EXTENSION cdc UPDATE TO '1.0.next';
		INSERT INTO t VALUES (3);));
	is(captured('postgres'), '1 2 3', 'captured across an update');
	$node->safe_psql('postgres', q(
		BEGIN; INSERT INTO t VALUES (4);
		ALTER EXTENSION cdc UPDATE TO '1.0.more';
		INSERT INTO t VALUES (5); COMMIT;));
	$node->safe_psql('postgres', 'INSERT INTO t VALUES (6)');
	is(captured('postgres'), '1 2 3 4 5 6', 'captured across an update that adds columns');
	is(wait_for_worker($node, 'cdc capture worker', 'postgres'), $worker, 'by the same worker');
	is($node->safe_psql('postgres', "SELECT extversion FROM pg_extension WHERE extname = 'cdc'"), '1.0.more', 'updated');
	enable_table($node, 'postgres', 'u');
	$node->safe_psql('postgres', 'ALTER TABLE t ADD COLUMN w int; INSERT INTO u VALUES (1)');
	$node->safe_psql('postgres', 'CALL cdc.sp_cdc_stop_job()');
	$node->safe_psql('postgres', 'CALL cdc.sp_cdc_start_job()');
	is(captured('postgres'), '1 2 3 4 5 6', 'jobs, DDL and new instances work with the new columns');
	is($node->safe_psql('postgres', "SELECT later FROM cdc.change_tables WHERE capture_instance = 'public_t' AND later IS NOT NULL UNION ALL SELECT later FROM cdc.change_tables WHERE capture_instance = 'public_u' AND later IS NOT NULL"),
		"7", 'which the running library keeps and leaves empty');
	is($node->safe_psql('postgres', "SELECT later FROM cdc.cdc_jobs WHERE job_type = 'capture'"), 'new', 'also when it writes the row');
	is($node->safe_psql('postgres', 'SELECT failures FROM cdc.pg_stat_cdc'), '0', 'without a failure');
	$node->restart;
	$node->safe_psql('postgres', 'INSERT INTO t VALUES (7)');
	is(captured('postgres'), '1 2 3 4 5 6 7', 'and after a restart');
}

# 2. Drop. left(): everything that could be left behind, in the database and in the cluster.
sub left
{
	my ($db) = @_;
	my $oid = $node->safe_psql('postgres', "SELECT oid FROM pg_database WHERE datname = '$db'");
	$node->poll_query_until('postgres', "SELECT count(*) = 0 FROM pg_replication_slots WHERE database = '$db'") or die 'slot';
	$node->poll_query_until('postgres', "SELECT count(*) = 0 FROM pg_stat_activity WHERE datname = '$db' AND backend_type LIKE 'cdc%'") or die 'worker';
	return $node->safe_psql($db, qq(
		SELECT 'origin' FROM pg_replication_origin WHERE roname = 'cdc_$oid'
		UNION ALL SELECT 'schema' FROM pg_namespace WHERE nspname = 'cdc'
		UNION ALL SELECT 'relation ' || relname FROM pg_class WHERE relname ~ '^_ct_|_ct\$|^_dropped|^_changes'
		UNION ALL SELECT 'function ' || proname FROM pg_proc WHERE proname ~ 'cdc'
		UNION ALL SELECT 'type ' || typname FROM pg_type WHERE typname ~ 'cdc|_changes'
		UNION ALL SELECT 'event trigger ' || evtname FROM pg_event_trigger
		UNION ALL SELECT 'extension' FROM pg_extension WHERE extname = 'cdc'
		UNION ALL SELECT 'identity of ' || relname || ': ' || relreplident::text FROM pg_class WHERE relname IN ('t', 'u', 'root', 'leaf', 'nothing') AND relreplident <> CASE relname WHEN 'nothing' THEN 'n' WHEN 'u' THEN 'i' ELSE 'd' END
		UNION ALL SELECT 'initial privilege' FROM pg_init_privs AS i WHERE classoid = 'pg_class'::regclass AND NOT EXISTS (SELECT FROM pg_class WHERE oid = objoid)
		UNION ALL SELECT 'default privilege' FROM pg_default_acl
		UNION ALL SELECT 'dependency' FROM pg_depend AS d WHERE refclassid = 'pg_extension'::regclass AND NOT EXISTS (SELECT FROM pg_extension WHERE oid = refobjid)
		UNION ALL SELECT 'TOAST without table' FROM pg_class AS c WHERE relkind = 't' AND oid >= 16384 AND NOT EXISTS (SELECT FROM pg_class WHERE reltoastrelid = c.oid)));
}

my $tables = q(
	CREATE TABLE t (id int PRIMARY KEY, v text);
	CREATE TABLE u (id int NOT NULL, v text); CREATE UNIQUE INDEX u_idx ON u (id); ALTER TABLE u REPLICA IDENTITY USING INDEX u_idx;
	CREATE TABLE nothing (id int PRIMARY KEY); ALTER TABLE nothing REPLICA IDENTITY NOTHING;
	CREATE TABLE root (id int PRIMARY KEY, v text) PARTITION BY RANGE (id);
	CREATE TABLE leaf PARTITION OF root DEFAULT;);
my $n = 0;

# prepared($sql...): a new database with captured tables and changes.
sub prepared
{
	my $db = 'drop' . ++$n;
	cdc_create($node, $db);
	$node->safe_psql($db, $tables);
	$node->safe_psql($db, "CALL cdc.sp_cdc_enable_table('public', '$_', 'drop_gate')") for 'u', 't', 'root', 'nothing';
	$node->safe_psql($db, 'INSERT INTO t VALUES (1), (2); INSERT INTO root VALUES (1)');
	wait_captured($node, $db);
	return $db;
}

my $db = prepared();
$node->safe_psql($db, 'DROP EXTENSION cdc');
is(left($db), '', 'dropped while capturing');
$node->safe_psql($db, 'CREATE EXTENSION cdc');
$node->safe_psql($db, 'CALL cdc.sp_cdc_enable_db()');
enable_table($node, $db, 't');
$node->safe_psql($db, 'INSERT INTO t VALUES (3)');
is(captured($db), '3', 'and made again');
$node->safe_psql($db, 'CALL cdc.sp_cdc_disable_db()');
$node->safe_psql($db, 'DROP EXTENSION cdc');
is(left($db), '', 'dropped after it was disabled');

$db = prepared();
$node->safe_psql($db, 'CALL cdc.sp_cdc_stop_job()');
$node->safe_psql($db, 'UPDATE t SET v = 1; DROP TABLE root');
$node->safe_psql($db, 'DROP EXTENSION cdc CASCADE');
is(left($db), '', 'dropped while the job is stopped and there is more to capture');

# What users have made on top keeps it, and goes with CASCADE.
$db = prepared();
$node->safe_psql($db, q(
	CREATE VIEW mine AS SELECT * FROM cdc.fn_cdc_get_all_changes_public_t('0/1', '0/1', 'all');
	CREATE FUNCTION mine_too() RETURNS bigint LANGUAGE sql BEGIN ATOMIC SELECT count(*) FROM cdc.fn_cdc_get_net_changes_public_t('0/1', '0/1', 'all'); END;
	CREATE TABLE cdc.not_ours (id int);
	SELECT create_script FROM cdc.sp_cdc_generate_wrapper_function('public_t') \gexec));
my ($status, undef, $error) = $node->psql($db, 'DROP EXTENSION cdc');
isnt($status, 0, 'refused while objects of users depend on it');
like($error, qr/view mine|mine_too|not_ours/, 'and says which');
$node->safe_psql($db, 'INSERT INTO t VALUES (8)');
is(captured($db), '1 2 8', 'captured on');
is($node->safe_psql($db, "SELECT relreplident FROM pg_class WHERE relname = 't'"), 'f', 'with its replica identity');
$node->safe_psql($db, 'DROP EXTENSION cdc CASCADE');
is(left($db), '', 'dropped with what depends on it');
is($node->safe_psql($db, "SELECT string_agg(proname, ' ' ORDER BY proname) FROM pg_proc WHERE pronamespace = 'public'::regnamespace"),
	'fn_all_changes_public_t fn_net_changes_public_t', 'generated wrappers belong to their owner and depend on nothing');

# Rolled back: nothing has happened. Then for good, in a transaction, from a function.
$db = prepared();
$node->safe_psql($db, 'BEGIN; DROP EXTENSION cdc; ROLLBACK');
$node->safe_psql($db, 'BEGIN; SAVEPOINT s; DROP EXTENSION cdc CASCADE; ROLLBACK TO s; INSERT INTO t VALUES (9); COMMIT');
is(captured($db), '1 2 9', 'rolled back: captured on');
$node->safe_psql($db, q(DO $$ BEGIN DROP EXTENSION cdc; END $$));
is(left($db), '', 'dropped in a function');

# A schema that was there before stays.
$node->safe_psql($db, 'CREATE SCHEMA cdc; CREATE EXTENSION cdc; DROP EXTENSION cdc');
is(left($db), 'schema', 'a schema cdc that was there before stays');
($status, undef, $error) = $node->psql($db, 'DROP SCHEMA cdc; CREATE ROLE drop_other; CREATE SCHEMA cdc AUTHORIZATION drop_other; CREATE EXTENSION cdc');
like($error, qr/22906/, 'and is refused when it is not a superuser\'s');
($status, undef, $error) = $node->psql($db, 'DROP SCHEMA cdc; CREATE SCHEMA cdc; GRANT CREATE ON SCHEMA cdc TO drop_other; CREATE EXTENSION cdc');
like($error, qr/22906/, 'or others may create in it');
$node->safe_psql($db, 'DROP SCHEMA cdc; ALTER DEFAULT PRIVILEGES GRANT ALL ON SCHEMAS TO drop_other; CREATE EXTENSION cdc');
is($node->safe_psql($db, "SELECT has_schema_privilege('drop_other', 'cdc', 'CREATE')"), 'f', 'default privileges let nobody create in it');

is($node->safe_psql('postgres', "SELECT rolname FROM pg_roles WHERE rolname = 'drop_gate'"), 'drop_gate', 'gating roles stay');

# A dump of a captured database is restored, with an error on the first problem, where nothing is captured.
$db = prepared();
$node->safe_psql($db, q(SELECT create_script FROM cdc.sp_cdc_generate_wrapper_function('public_t') \gexec));
my $dump = $node->basedir . '/dump.sql';
$node->command_ok([ 'pg_dump', '-f', $dump, $node->connstr($db) ], 'dump');
$node->safe_psql('postgres', 'CREATE DATABASE restored');
$node->command_ok([ 'psql', '-qX', '-v', 'ON_ERROR_STOP=1', '-f', $dump, $node->connstr('restored') ], 'restore');
is($node->safe_psql('restored', 'SELECT count(*) FROM t UNION ALL SELECT count(*) FROM cdc.change_tables'), "2\n0", 'rows, but no instances');

$node->stop;
done_testing();
