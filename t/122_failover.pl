# From 17 on the slot is a failover slot. A standby that has it synchronised is promoted after its primary was killed
# under load, again and again, the old primary coming back as the standby by pg_rewind: capture goes on without a call and
# without a gap, and the log is the truth. The slot is never confirmed beyond what the standbys in
# synchronized_standby_slots have, so that no promotion can find a slot that is ahead of the change tables.
use strict;
use warnings;

use FindBin;
use lib "$FindBin::RealBin/lib";

use CdcTest;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use ReplayOracle;
use Test::More;

my $db = 'failover';
my $seed = random_seed();
my $primary = cdc_node('one', wal_log_hints => 'on', wal_keep_size => '1GB', hot_standby_feedback => 'on',
	'cdc.idle_mapping_interval' => '1s', fsync => 'on');
if ($primary->pg_version < 17)
{
	$primary->stop;
	plan skip_all => 'slots are synchronised to standbys from PostgreSQL 17 on';
}
cdc_create($primary, $db);
$primary->safe_psql($db, q(
	CREATE TABLE t (id int PRIMARY KEY, n int NOT NULL, v text);
	CREATE TABLE keyless (n int, v text);
	INSERT INTO t SELECT i, 0, 'new' FROM generate_series(1, 200) i;));
my $baseline = { public_t => 'base_t' };
$primary->safe_psql($db, 'CREATE TABLE base_t AS TABLE t');
enable_table($primary, $db, $_) for qw(t keyless);
wait_captured($primary, $db);
my $slot = $primary->safe_psql($db, q(SELECT 'cdc_' || oid FROM pg_database WHERE datname = current_database()));
is($primary->safe_psql($db, "SELECT failover FROM pg_replication_slots WHERE slot_name = '$slot'"), 't', 'the slot is a failover slot');

my $script = $primary->basedir . '/load.sql';
append_to_file($script, join "\n", '\set a random(1, 200)', 'BEGIN;', 'UPDATE t SET n = n + 1 WHERE id = :a;', 'SAVEPOINT s;',
	"INSERT INTO keyless VALUES (:a, 'x'), (:a, 'y');", 'DELETE FROM keyless WHERE ctid IN (SELECT ctid FROM keyless LIMIT 1 FOR UPDATE SKIP LOCKED);', "COMMIT;\n");

# follow($node, $upstream): makes it a standby of the other one, whose slots it synchronises; both know that the other's
# slots must not get ahead.
sub follow
{
	my ($node, $upstream) = @_;
	my $physical = 'to_' . $node->name;
	$upstream->safe_psql('postgres', "SELECT pg_create_physical_replication_slot('$physical', true) WHERE NOT EXISTS (SELECT FROM pg_replication_slots WHERE slot_name = '$physical')");
	my $connstr = $upstream->connstr('postgres');
	$connstr =~ s/'/''/g;
	$node->append_conf('postgresql.conf', join "\n", '', "port = " . $node->port, "primary_conninfo = '$connstr application_name=" . $node->name . "'",
		"primary_slot_name = '$physical'", 'sync_replication_slots = on', "synchronized_standby_slots = ''", '');
	$node->set_standby_mode;
	$node->start;
	$upstream->append_conf('postgresql.conf', "synchronized_standby_slots = '$physical'\n");
	$upstream->reload;
	return;
}

# is_synchronised($standby, $primary): what the primary has confirmed by now is there, for good.
sub is_synchronised
{
	my ($standby, $primary) = @_;
	my $lsn = $primary->safe_psql($db, "SELECT confirmed_flush_lsn FROM pg_replication_slots WHERE slot_name = '$slot'");
	$standby->poll_query_until('postgres',
		"SELECT count(*) = 1 FROM pg_replication_slots WHERE slot_name = '$slot' AND synced AND NOT temporary AND confirmed_flush_lsn >= '$lsn' AND invalidation_reason IS NULL")
	  or die 'the slot is not synchronised';
	return;
}

$primary->backup('base');
my $standby = PostgreSQL::Test::Cluster->new('two');
$standby->init_from_backup($primary, 'base');
follow($standby, $primary);
is_synchronised($standby, $primary);

# A call on the standby says where to go; the slot there is the server's.
my $stderr;
$standby->psql($db, 'CALL cdc.resume_after_gap()', stderr => \$stderr);
like($stderr, qr/during recovery/, 'nothing can be resumed on the standby');

# --- Killed under load, promoted, and back --------------------------------------------------------
for my $round (1 .. ($ENV{CDC_TEST_FULL} ? 6 : 2))
{
	my $load = start_load($primary, $db, [ [ $script, 1 ] ], clients => 3, seconds => 60, seed => $seed + $round);
	$primary->poll_query_until($db, "SELECT count(*) > 300 * $round FROM cdc.lsn_time_mapping") or die 'no load';
	is_synchronised($standby, $primary);
	$primary->stop('immediate');
	finish_load($load);
	$standby->promote;
	# Before anything else is written: what was replicated is captured, and what the old primary had captured is not again.
	my $old = $primary;
	$primary = $standby;
	my $more = start_load($primary, $db, [ [ $script, 1 ] ], clients => 3, seconds => 2, seed => $seed + 100 + $round);
	finish_load($more);
	oracle_ok($primary, $db, "promotion $round: nothing lost, nothing twice", baseline => $baseline);
	is($primary->safe_psql($db, 'SELECT count(*) FROM cdc.gaps'), '0', "promotion $round: no gap");
	is($primary->safe_psql($db, 'SELECT timeline FROM cdc._identity'), $round + 1, "promotion $round: the new timeline");
	is(stat_value($primary, $db, 'state'), 'streaming', "promotion $round: capture runs, without a call");

	# The old primary has more than it has sent: rewound, without its slots, it is the next standby.
	$primary->safe_psql('postgres', 'CHECKPOINT');
	command_ok([ 'pg_rewind', '--source-server', $primary->connstr('postgres'), '--target-pgdata', $old->data_dir, '--no-sync' ],
		"promotion $round: the old primary is rewound");
	follow($old, $primary);
	$standby = $old;
	is_synchronised($standby, $primary);
}

# --- A standby that does not get on holds the slot back -------------------------------------------
my $physical = 'to_' . $standby->name;
my ($receiver) = server_processes($standby, qr/walreceiver/);
kill 'STOP', $receiver or die "cannot stop process $receiver";
my $there = $primary->safe_psql('postgres', "SELECT restart_lsn FROM pg_replication_slots WHERE slot_name = '$physical'");
for (1 .. 20)
{
	$primary->safe_psql($db, "INSERT INTO keyless SELECT i, repeat('z', 1000) FROM generate_series(1, 200) i");
	wait_captured($primary, $db);
}
pass('capture does not wait for the standby');
# Whatever is confirmed now must be on the standby; give it occasion to be wrong.
$primary->safe_psql($db, 'CALL cdc.sp_cdc_stop_job(); CALL cdc.sp_cdc_start_job()');
wait_captured($primary, $db);
is($primary->safe_psql('postgres', "SELECT count(*) FROM pg_replication_slots WHERE slot_name = '$slot' AND confirmed_flush_lsn > (SELECT restart_lsn FROM pg_replication_slots WHERE slot_name = '$physical')"), '0',
	'the slot is not confirmed beyond what the standby has');
my $before = $primary->safe_psql($db, 'SELECT count(*) FROM keyless');
$primary->stop('immediate');
kill 'CONT', $receiver;
$standby->promote;
($primary, $standby) = ($standby, $primary);
$primary->safe_psql($db, "INSERT INTO keyless VALUES (0, 'after')");
oracle_ok($primary, $db, 'a standby that lacks the last batches is promoted: nothing lost, nothing twice', baseline => $baseline);
is($primary->safe_psql($db, 'SELECT count(*) FROM cdc.gaps'), '0', 'and no gap');

unlike(slurp_file($_->logfile), qr/PANIC|TRAP|terminated by signal/, $_->name . ': no process crashed') for $primary, $standby;
$primary->stop;
done_testing();
