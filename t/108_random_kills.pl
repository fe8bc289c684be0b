# Each kind of our processes, and sessions in the middle of our procedures, killed or told to end at arbitrary moments under load,
# with tables and another database being enabled and disabled and cleanup running. CDC_TEST_FULL=1 does it for longer.
use strict;
use warnings;

use FindBin;
use lib "$FindBin::RealBin/lib";

use CatalogCheck;
use CdcTest;
use List::Util qw(shuffle);
use PostgreSQL::Test::Utils;
use ReplayOracle;
use Test::More;

my $seed = random_seed();
my $db   = 'kills';
my $node = cdc_node('kills', 'cdc.partition_wal_size' => '1MB', 'cdc.capture_queue_size' => '512kB', 'cdc.cleanup_lock_timeout' => '200ms');
cdc_create($node, $db);
$node->safe_psql($db, q(
	CREATE TABLE t (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, n int DEFAULT 0, v text);
	CREATE TABLE other (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, v text);
	CREATE TABLE extra (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, v text)));
enable_table($node, $db, $_) for qw(t other);
$node->safe_psql('postgres', 'CREATE DATABASE neighbour');
$node->safe_psql('neighbour', 'CREATE EXTENSION cdc; CREATE TABLE t (id int GENERATED ALWAYS AS IDENTITY PRIMARY KEY)');

my $file = $node->basedir . '/load.sql';
append_to_file($file, join "\n", '\set a random(1, 500)', 'BEGIN;', q(INSERT INTO t (v) VALUES (repeat('x', :a));), 'UPDATE t SET n = n + 1 WHERE id = (SELECT max(id) FROM t) - :a % 30;',
	'INSERT INTO other (v) VALUES (:a);', 'DELETE FROM t WHERE id = (SELECT max(id) - 50 FROM t);', 'COMMIT;', q(INSERT INTO extra (v) VALUES ('row');), '');

# What goes on beside the load, each in a session of its own, again and again until it is cut off or has done enough.
my %beside = (
	$db => "CALL cdc.sp_cdc_enable_table('public', 'extra', NULL); CALL cdc.wait_for_capture(); CALL cdc.sp_cdc_start_job('cleanup'); CALL cdc.sp_cdc_disable_table('public', 'extra', 'all'); CALL cdc.wait_for_capture();",
	neighbour => "CALL cdc.sp_cdc_enable_db(); CALL cdc.sp_cdc_enable_table('public', 't', NULL); INSERT INTO t DEFAULT VALUES; CALL cdc.sp_cdc_stop_job(); CALL cdc.sp_cdc_scan(); CALL cdc.sp_cdc_disable_db();");
my %kind = (
	launcher         => qr/cdc launcher/,
	'capture worker' => qr/cdc capture worker/,
	decoder          => qr/cdc decoder/,
	'cleanup worker' => qr/cdc cleanup worker/,
	finder           => qr/cdc finder/,
	session          => qr/\bCALL\b/);

# strike($name, $signal): one of them, at some moment, when there is one: some come and go quickly.
sub strike
{
	my ($name, $signal) = @_;
	my $hit  = 0;
	my $more = int(rand(30));
	my $from = $node->safe_psql($db, 'SELECT coalesce(max(id), 0) FROM other');
	$node->poll_query_until($db, "SELECT max(id) >= $from + $more FROM other") or die 'the load does not go on';
	eval {
		wait_until(sub { my @pids = server_processes($node, $kind{$name}); return $hit = @pids && kill $signal, $pids[ rand @pids ]; }, "no $name", 3);
	};
	return $hit ? 1 : 0;
}

my $rounds = $ENV{CDC_TEST_FULL} ? 20 : 1;
my %struck = map { $_ => 0 } keys %kind;
for my $round (1 .. $rounds)
{
	# What the finder looks for are databases without slot, and it comes when the server starts.
	for my $name (grep({ $_ ne 'launcher' } shuffle(sort keys %kind)), 'launcher')
	{
		my $signal = $name eq 'launcher' ? 'KILL' : (qw(KILL TERM TERM INT))[ int(rand(4)) ];
		my $load = start_load($node, $db, [ [ $file, 1 ] ], clients => 2, seconds => 60, rate => 150, seed => $seed + $round);
		my @beside = map { start_psql($node, $_, $beside{$_} x 20) } sort keys %beside;
		my $log = log_size($node);
		my $hit = strike($name, $signal);
		note "round $round: $signal to $name" . ($hit ? '' : ': there was none');
		$struck{$name} += $hit;
		wait_until(sub { log_since($node, $log) =~ /was terminated by signal 9/ }, "$name killed: the server notices") if $hit && $signal eq 'KILL';
		# The finder comes when the server starts, just now.
		$struck{finder} += eval { wait_until(sub { kill 'TERM', server_processes($node, $kind{finder}) }, 'no finder', 1); 1 } // 0 if $hit && $signal eq 'KILL' && rand() < 0.5;
		finish_load($load, 1);
		for my $session (@beside)
		{
			$session->{run}->signal('TERM');
			finish_psql($session);
		}
		wait_for_server($node);
	}
}
note join ', ', map { "$_: $struck{$_}" } sort keys %struck;
ok($struck{$_} > 0, "a $_ was struck") for grep { $_ ne 'finder' } sort keys %kind; # it may be too quick

# Whatever was under way is all of it or nothing, and can be done again.
$node->safe_psql($db, 'INSERT INTO t (v) VALUES (1)');
wait_captured($node, $db);
$node->safe_psql($db, q(DO $$ BEGIN IF EXISTS (SELECT FROM cdc.change_tables WHERE capture_instance = 'public_extra') THEN CALL cdc.sp_cdc_disable_table('public', 'extra', 'all'); END IF; END $$));
oracle_ok($node, $db, 'nothing lost, nothing twice', whole => 0);
catalog_ok($node, $db, 'the catalogs agree');
is($node->safe_psql($db, 'SELECT count(*) FROM cdc.gaps'), '0', 'no gap');
$node->safe_psql('neighbour', 'SET client_min_messages = error; CALL cdc.sp_cdc_enable_db(); CALL cdc.sp_cdc_disable_db()');
catalog_ok($node, 'neighbour', 'in the other database, too');
is($node->safe_psql('postgres', q(SELECT (SELECT count(*) FROM pg_replication_slots) || ' ' || (SELECT count(*) FROM pg_replication_origin))), '1 1', 'no slot and no origin is left');
enable_table($node, $db, 'extra');
my $from  = $node->safe_psql($db, 'SELECT pg_current_wal_lsn()');
my $begin = oracle_remember($node, $db, 'rows');
$node->safe_psql($db, q(UPDATE extra SET v = 'again' WHERE id % 10 = 0; CALL cdc.sp_cdc_start_job('cleanup')));
wait_captured($node, $db);
oracle_stretch_ok($node, $db, 'the table that came and went is captured', from => $from, begin => $begin);
ok($node->poll_query_until($db, q(SELECT status = 'succeeded' FROM cdc.cleanup_runs ORDER BY run_id DESC LIMIT 1)), 'cleanup runs');
unlike(slurp_file($node->logfile), qr/PANIC|TRAP|was terminated by signal (?!9)|XX000/, 'nobody dies of anything else, no internal error');
$node->stop;
done_testing();
