# The server gives our slot up (max_slot_wal_keep_size) while several sessions write and one of our processes, or both, is frozen: a
# gap with both its ends. What was captured before and after is whole, nothing between is reported as captured, and capture goes on amid
# the load.
use strict;
use warnings;

use FindBin;
use lib "$FindBin::RealBin/lib";

use CatalogCheck;
use CdcTest;
use PostgreSQL::Test::Utils;
use ReplayOracle;
use Test::More;

my $seed = random_seed();
my $node = cdc_node('slot_lost', max_wal_size => '64MB', min_wal_size => '32MB', wal_recycle => 'off', 'cdc.capture_queue_size' => '512kB');
my $db   = 'lost';
cdc_create($node, $db);
$node->safe_psql($db, q(
	CREATE TABLE t (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, n int DEFAULT 0, v text);
	CREATE TABLE other (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, v text);
	CREATE TABLE untracked (v text)));
enable_table($node, $db, $_) for qw(t other);
my $slot = $node->safe_psql($db, q(SELECT 'cdc_' || oid FROM pg_database WHERE datname = current_database()));

my $file = $node->basedir . '/load.sql';
append_to_file($file, join "\n", '\set a random(1, 2000)', 'BEGIN;', q(INSERT INTO t (v) VALUES (repeat('x', :a));), 'UPDATE t SET n = n + 1 WHERE id = (SELECT max(id) FROM t) - :a % 30;',
	q(INSERT INTO other (v) VALUES ('kept');), 'DELETE FROM t WHERE id = (SELECT max(id) - 50 FROM t);', 'COMMIT;', q(INSERT INTO untracked SELECT repeat('u', 1000) FROM generate_series(1, 10);), '');

# load_for($n): until the load has done so many transactions more.
sub load_for
{
	my ($load, $n) = @_;
	my $from = $node->safe_psql($db, 'SELECT coalesce(max(id), 0) FROM other');
	$node->poll_query_until($db, "SELECT max(id) >= $from + $n FROM other") or die "the load does not go on:\n$load->{output}";
	return;
}

sub keep_size
{
	my ($size) = @_;
	$node->safe_psql('postgres', "ALTER SYSTEM SET max_slot_wal_keep_size = $size");
	$node->safe_psql('postgres', 'SELECT pg_reload_conf()');
	return;
}

# lose_slot($load): WAL until the server has given it up.
sub lose_slot
{
	my ($load, $name) = @_;
	for (1 .. 200)
	{
		load_for($load, 5);
		$node->safe_psql('postgres', 'SELECT pg_switch_wal()');
		$node->safe_psql('postgres', 'CHECKPOINT');
		return if $node->safe_psql('postgres', "SELECT wal_status FROM pg_replication_slots WHERE slot_name = '$slot'") eq 'lost';
	}
	die "$name: the slot is not given up";
}

my ($from, $begin, $round) = ('0/0', undef, 0);
my @who = ('cdc decoder', 'cdc capture worker', 'both');
splice @who, int(rand(@who)), 1 unless $ENV{CDC_TEST_FULL};
for my $who (@who)
{
	my $name = "$who frozen";
	my $load = start_load($node, $db, [ [ $file, 1 ] ], clients => 3, seconds => 300, seed => $seed + $round++);
	load_for($load, 20);
	wait_captured($node, $db);
	my @pids = map { wait_for_worker($node, $_, $db) } $who eq 'both' ? ('cdc capture worker', 'cdc decoder') : ($who);
	kill 'STOP', @pids;
	load_for($load, 20);
	keep_size(q('1MB'));
	if ($who eq 'cdc capture worker')
	{
		# The decoder, which holds the slot, is there: the checkpointer ends it.
		lose_slot($load, $name);
		keep_size(-1);
		kill 'CONT', @pids;
	}
	else
	{
		# The checkpointer waits for the process that holds the slot, which cannot end before it goes on.
		my $checkpoint = start_psql($node, 'postgres', 'SELECT pg_switch_wal(); CHECKPOINT');
		load_for($load, 10);
		$node->safe_psql('postgres', 'SELECT pg_switch_wal()');
		kill 'CONT', @pids;
		finish_psql($checkpoint);
		lose_slot($load, $name);
		keep_size(-1);
	}
	$node->poll_query_until($db, q(SELECT state = 'needs action' FROM cdc.pg_stat_cdc WHERE database = current_database())) or die "$name: not noticed";
	is($node->safe_psql($db, q(SELECT string_agg(CASE WHEN end_lsn IS NULL THEN reason ELSE 'closed' END, ' ' ORDER BY gap_id DESC) FROM cdc.gaps WHERE end_lsn IS NULL)),
		qq(replication slot "$slot" of change data capture cannot be used), "$name: a gap, recorded once");
	like($node->safe_psql($db, q(SELECT concat_ws(' ', status, value, action) FROM cdc.health() WHERE check_name = 'slot')), qr/^critical lost CALL cdc.resume_after_gap/, "$name: health() says so");
	# Nothing beyond is reported as captured.
	my $start = $node->safe_psql($db, 'SELECT start_lsn FROM cdc.gaps WHERE end_lsn IS NULL');
	is($node->safe_psql($db, q(SELECT (SELECT captured_lsn FROM cdc._progress) = start_lsn AND NOT EXISTS (SELECT FROM cdc.lsn_time_mapping m WHERE m.start_lsn > g.start_lsn)
		AND NOT EXISTS (SELECT FROM cdc.public_t_ct c WHERE c."__$start_lsn" > g.start_lsn) FROM cdc.gaps g WHERE end_lsn IS NULL)), 't', "$name: nothing is captured beyond its start");
	my (undef, undef, $err) = $node->psql($db, qq(\\set VERBOSITY verbose\nSELECT count(*) FROM cdc.fn_cdc_get_all_changes_public_t('$start', pg_current_wal_lsn(), 'all')));
	like($err, qr/ERROR:  SC004/, "$name: reading into it is refused");
	(undef, undef, $err) = $node->psql($db, 'CALL cdc.wait_for_capture()');
	like($err, qr/resume_after_gap/, "$name: waiting is refused");

	# Goes on amid the load.
	$node->safe_psql($db, 'SET client_min_messages = error; CALL cdc.resume_after_gap()');
	load_for($load, 20);
	finish_load($load, 1);
	wait_captured($node, $db);
	is($node->safe_psql($db, q(SELECT (SELECT count(*) FROM cdc.gaps) || ' ' || (SELECT count(*) FROM cdc.gaps WHERE end_lsn IS NULL))), "$round 0", "$name: one gap, closed");
	catalog_ok($node, $db, "$name: the catalogs agree");

	# What was captured before the gap is whole as far as it goes: only the tables are not known as they were at its start.
	my @instances = oracle_instances($node, $db);
	$node->safe_psql($db, join '', map { qq(CREATE VIEW before_$_->{name} AS SELECT * FROM $_->{log} WHERE "__\$start_lsn" >= '$from' AND "__\$start_lsn" <= '$start';) } @instances);
	$node->safe_psql($db, "CREATE VIEW before_mapping AS SELECT start_lsn, tran_begin_time, tran_end_time, tran_id, tran_begin_lsn, first_ordinal - min(first_ordinal) OVER () + 1 AS first_ordinal, change_count
		FROM cdc.lsn_time_mapping WHERE start_lsn >= '$from' AND start_lsn <= '$start'");
	$_->{log} = "before_$_->{name}" for @instances;
	my @problems = grep { !/^10 / } oracle_problems($node, $db, instances => \@instances, mapping => 'before_mapping', ($begin ? (baseline => $begin) : ()));
	is(join("\n", @problems), '', "$name: whole before it, transaction by transaction");
	$node->safe_psql($db, join '', 'DROP VIEW before_mapping;', map { "DROP VIEW before_$_->{name};" } @instances);

	my $stop = $node->safe_psql($db, 'SELECT max(end_lsn) FROM cdc.gaps');
	is($node->safe_psql($db, qq(SELECT count(*) FROM cdc.lsn_time_mapping WHERE start_lsn > '$start' AND start_lsn < '$stop')), '0', "$name: nothing is captured within it");
	# Whole from its end on: a quiet moment is the base.
	$from  = $node->safe_psql($db, 'SELECT pg_current_wal_lsn()');
	$begin = oracle_remember($node, $db, "rows_$round");
	$load  = start_load($node, $db, [ [ $file, 1 ] ], clients => 3, seconds => 300, seed => $seed + 100 + $round);
	load_for($load, 30);
	finish_load($load, 1);
	wait_captured($node, $db);
	oracle_stretch_ok($node, $db, "$name: whole after it", from => $from, begin => $begin);
}
unlike(slurp_file($node->logfile), qr/PANIC|TRAP|was terminated by signal|XX000/, 'no process crashed, no internal error');
$node->stop;
done_testing();
