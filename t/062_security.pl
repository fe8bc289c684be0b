# What sessions of other roles and other databases try: replication roles, slots of our name, walsenders, signals, jobs of
# a database that is not theirs, prepared transactions, origins.
use strict;
use warnings;

use FindBin;
use lib "$FindBin::RealBin/lib";

use CdcTest;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = cdc_node('security', max_wal_senders => 10);
my $db   = 'victim';
$node->safe_psql('postgres', q(
	CREATE DATABASE victim;
	CREATE ROLE replicator LOGIN REPLICATION;
	CREATE ROLE signaller LOGIN; GRANT pg_signal_backend TO signaller;
	CREATE ROLE own_a LOGIN; CREATE ROLE own_b LOGIN;
	CREATE ROLE everything LOGIN; GRANT pg_monitor, pg_read_all_settings, pg_checkpoint TO everything;
	CREATE DATABASE other OWNER own_b; ALTER DATABASE victim OWNER TO own_a;));

# as($role, $sql): its error, or what it gives.
sub as
{
	my ($role, $sql, $where) = @_;
	my ($status, $out, $error) = $node->psql($where // $db, $sql, connstr => $node->connstr($where // $db) . " user=$role");
	return $status == 0 ? $out : $error;
}

sub captured
{
	wait_captured($node, $db);
	return $node->safe_psql($db, q(SELECT string_agg(id::text, ' ' ORDER BY "__$start_lsn", "__$seqval") FROM cdc.public_t_ct));
}

# 1. A role with REPLICATION was there first, with a slot of our name and plugin. It proves nothing, and is not used.
my $oid  = $node->safe_psql('postgres', "SELECT oid FROM pg_database WHERE datname = '$db'");
my $slot = "cdc_$oid";
$node->safe_psql($db, 'CREATE EXTENSION cdc; CREATE TABLE t (id int PRIMARY KEY, v text)');
my $made = as('replicator', "SELECT 'made' FROM pg_create_logical_replication_slot('$slot', 'cdc')");
like($made, qr/^made$|output_plugin_libraries|library|can only be used/, 'a slot of our name: made, or refused by the server');
if ($made eq 'made')
{
	like(as('replicator', "SELECT count(*) FROM pg_logical_slot_get_changes('$slot', NULL, NULL)"), qr/can only be used by the cdc extension's own decoder|does not exist/,
		'it gives no changes to who made it');
}
$node->poll_query_until('postgres', "SELECT count(*) = 0 FROM pg_replication_slots WHERE slot_name = '$slot' AND NOT active")
  or die 'an orphan slot is not dropped';
$node->safe_psql($db, 'CALL cdc.sp_cdc_enable_db()');
enable_table($node, $db, 't');
$node->safe_psql($db, 'INSERT INTO t VALUES (1)');
is(captured(), '1', 'enabled and captured after it');

# 2. The slot in use, and slots of other names with our plugin.
like(as('replicator', "SELECT pg_drop_replication_slot('$slot')"), qr/is active for PID/, 'our slot cannot be dropped');
like(as('replicator', "SELECT pg_replication_slot_advance('$slot', pg_current_wal_lsn())"), qr/is active for PID/, 'or advanced');
like(as('replicator', "SELECT count(*) FROM pg_logical_slot_peek_changes('$slot', NULL, NULL)"), qr/is active for PID/, 'or read');
like(as('replicator', "SELECT pg_copy_logical_replication_slot('$slot', 'mine')") , qr/^\(mine|is active|can only be used|library/, 'a copy of it');
like(as('replicator', "SELECT count(*) FROM pg_logical_slot_get_changes('mine', NULL, NULL)"), qr/can only be used by|does not exist|library/, 'gives nothing');
my ($status, undef, $error) = $node->psql($db, "START_REPLICATION SLOT $slot LOGICAL 0/0", replication => 'database', connstr => $node->connstr($db) . ' user=replicator');
like($error, qr/is active for PID/, 'a walsender cannot use our slot');
($status, undef, $error) = $node->psql($db, 'CREATE_REPLICATION_SLOT walsender LOGICAL cdc', replication => 'database', connstr => $node->connstr($db) . ' user=replicator');
note $error;
($status, undef, $error) = $node->psql($db, 'START_REPLICATION SLOT walsender LOGICAL 0/0', replication => 'database', connstr => $node->connstr($db) . ' user=replicator');
like($error, qr/can only be used by|does not exist|library/, 'nor the plugin');
$node->safe_psql('postgres', "SELECT pg_drop_replication_slot(slot_name) FROM pg_replication_slots WHERE slot_name IN ('mine', 'walsender')");
$node->safe_psql($db, 'INSERT INTO t VALUES (2)');
is(captured(), '1 2', 'captured on');

# 3. Signals.
my ($writer, $decoder, $launcher) = (wait_for_worker($node, 'cdc capture worker', $db), wait_for_worker($node, 'cdc decoder', $db), worker_pid($node, 'cdc launcher'));
for my $pid ($writer, $decoder, $launcher)
{
	like(as('signaller', "SELECT $_($pid)"), qr/must be a superuser|not a PostgreSQL|permission denied|^f$/, "$_ of a worker") for 'pg_terminate_backend', 'pg_cancel_backend';
}
is(wait_for_worker($node, 'cdc capture worker', $db), $writer, 'the worker runs on');

# 4. Jobs belong to the database's owner, and to nobody else's.
$node->safe_psql('other', 'CREATE EXTENSION cdc');
$node->safe_psql('other', 'CALL cdc.sp_cdc_enable_db()');
$node->safe_psql('other', 'CREATE TABLE o (id int PRIMARY KEY)');
enable_table($node, 'other', 'o');
for my $call ('sp_cdc_stop_job()', 'sp_cdc_start_job()', 'sp_cdc_scan()', "sp_cdc_drop_job('capture')", "sp_cdc_change_job('capture', maxtrans => 1)", "sp_cdc_cleanup_change_table('public_t', NULL)")
{
	like(as('own_b', "CALL cdc.$call"), qr/must be owner of database|permission denied/, "$call by the owner of another database");
}
is(as('own_b', 'CALL cdc.sp_cdc_stop_job()', 'other'), '', 'by the owner of this one');
is($node->safe_psql($db, 'SELECT state FROM cdc.pg_stat_cdc WHERE database = current_database()'), 'streaming', 'only his own is stopped');
is(as('own_b', "SELECT coalesce(last_error_message, 'hidden') FROM cdc.pg_stat_cdc WHERE database = 'victim'", 'other'), 'hidden', 'errors of others are not shown');
like(as('own_a', 'CALL cdc.sp_cdc_disable_db()'), qr/permission denied/, 'disabling needs EXECUTE as well');
is(as('own_a', q(SELECT count(*) FROM cdc.fn_cdc_get_all_changes_public_t(cdc.fn_cdc_get_min_lsn('public_t'), cdc.fn_cdc_get_max_lsn(), 'all'))), '2', 'the owner reads with the functions');
like(as('own_a', 'SELECT count(*) FROM cdc.public_t_ct'), qr/permission denied/, 'but not the change table');
like(as('own_a', 'UPDATE cdc.cdc_jobs SET maxtrans = 0'), qr/permission denied/, 'nor writes the catalog');
like(as('everything', 'SELECT count(*) FROM cdc.public_t_ct'), qr/permission denied/, 'who monitors reads no change');

# 5. Origins: only who has been granted the functions can use ours, and not while capture runs.
like(as('own_a', "SELECT pg_replication_origin_session_setup('$slot')"), qr/permission denied/, 'origin functions are not for everybody');
(undef, undef, $error) = $node->psql($db, "SELECT pg_replication_origin_session_setup('$slot')");
like($error, qr/already active/, 'and ours is taken');
(undef, undef, $error) = $node->psql($db, "SELECT pg_replication_origin_drop('$slot')");
like($error, qr/in use|being used|could not drop/, 'and cannot be dropped');
$node->safe_psql($db, q(
	SELECT pg_replication_origin_create('mine'); SELECT pg_replication_origin_session_setup('mine');
	INSERT INTO t VALUES (3); SELECT pg_replication_origin_session_reset();));
is(captured(), '1 2 3', 'changes with another origin are captured');

# 6. Prepared transactions: with forged rows of a table called like ours, with enabling, held for long.
$node->safe_psql($db, q(
	CREATE SCHEMA fake; CREATE TABLE fake._ddl_queue (kind "char", instance_id int, object_id oid, source_object_id oid, command text);
	BEGIN; INSERT INTO t VALUES (4); INSERT INTO fake._ddl_queue SELECT 'D', instance_id, object_id, source_object_id, 'x' FROM cdc.change_tables; PREPARE TRANSACTION 'p';
	INSERT INTO t VALUES (5);));
is(captured(), '1 2 3 5', 'a prepared transaction is not captured');
$node->safe_psql($db, "COMMIT PREPARED 'p'");
is(captured(), '1 2 3 5 4', 'before it commits');
$node->safe_psql($db, q(CREATE TABLE second (id int PRIMARY KEY); BEGIN; CALL cdc.sp_cdc_enable_table('public', 'second', NULL); INSERT INTO second VALUES (1); PREPARE TRANSACTION 'enable';));
$node->safe_psql($db, 'INSERT INTO t VALUES (6)');
is(captured(), '1 2 3 5 4 6', 'others are captured while enabling is prepared');
$node->safe_psql($db, "COMMIT PREPARED 'enable'");
wait_captured($node, $db);
is($node->safe_psql($db, 'SELECT count(*) FROM cdc.public_second_ct'), '1', 'and then it, with its rows');

# 7. A superuser may read everything; a setting of a role cannot turn a worker's eye away.
is($node->safe_psql($db, 'SELECT failures FROM cdc.pg_stat_cdc WHERE database = current_database()'), '0', 'nothing has failed');
$node->stop;
done_testing();
