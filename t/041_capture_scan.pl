# sp_cdc_scan from several sessions: one at a time, and none that outlives the session that asked for it.
use strict;
use warnings;

use FindBin;
use lib "$FindBin::RealBin/lib";

use CdcTest;
use PostgreSQL::Test::Utils;
use ReplayOracle;
use Test::More;

my $db   = 'scan';
my $node = cdc_node('scan');
cdc_create($node, $db);
$node->safe_psql($db, 'CREATE TABLE t (id int GENERATED ALWAYS AS IDENTITY PRIMARY KEY, v text)');
enable_table($node, $db, 't');
$node->safe_psql($db, 'CALL cdc.sp_cdc_stop_job()');

my $insert = "INSERT INTO t (v) SELECT 'row' FROM generate_series(1, 10)";
my $rows   = 'SELECT count(*) FROM cdc.public_t_ct';

sub call
{
	my ($sql) = @_;
	my ($stdout, $stderr);
	my $status = $node->psql($db, "\\set VERBOSITY verbose\n$sql", stdout => \$stdout, stderr => \$stderr, on_error_stop => 1, timeout => 60);
	return $status == 0 ? 'done' : $stderr;
}

# scanning(): a session that scans until it is stopped; its pid.
my @sessions;

sub scanning
{
	my ($arguments) = @_;
	my %session = (out => '');
	$session{run} = IPC::Run::start [
		$node->installed_command('psql'), '-XqAt', '-c', q(SET application_name = 'scanner'), '-c', "CALL cdc.sp_cdc_scan($arguments)",
		$node->connstr($db) ], '<', \undef, '>&', \$session{out};
	push @sessions, \%session;
	$node->poll_query_until($db, q(SELECT count(*) = 1 FROM pg_stat_activity WHERE backend_type = 'cdc capture worker' AND datname = current_database()))
	  or die 'no scan began';
	return $node->safe_psql($db, q(SELECT max(pid) FROM pg_stat_activity WHERE application_name = 'scanner'));
}

sub no_workers
{
	my ($name) = @_;
	ok($node->poll_query_until($db, q(SELECT count(*) = 0 FROM pg_stat_activity WHERE backend_type IN ('cdc capture worker', 'cdc decoder') AND datname = current_database())), $name);
	return;
}

my $scanner = scanning('continuous => true');
$node->safe_psql($db, $insert);
ok($node->poll_query_until($db, "SELECT ($rows) = 10"), 'a continuous scan captures what comes');
like(call('CALL cdc.sp_cdc_scan()'), qr/55006.*DETAIL:.*22903/s, 'a second scan is refused');
like(call('CALL cdc.sp_cdc_scan(continuous => true)'), qr/55006/, 'also a continuous one');
is(call("$insert; CALL cdc.wait_for_capture()"), 'done', 'others can wait for its changes');
$node->safe_psql($db, "SELECT pg_cancel_backend($scanner)");
no_workers('cancelled, the scan ends');
is(call('CALL cdc.sp_cdc_scan()'), 'done', 'and the next one can begin');

$scanner = scanning('continuous => true, pollinginterval => 3600');
$node->safe_psql($db, $insert);
$node->safe_psql($db, "SELECT pg_terminate_backend($scanner)");
no_workers('its session ended, the scan ends, also while it waits for the next round');
is(call("$insert; CALL cdc.sp_cdc_scan()"), 'done', 'and the next one can begin');

# The worker of a scan ends on its own: the caller is told, and can try again.
$scanner = scanning('continuous => true');
my $from = log_size($node);
$node->safe_psql($db, 'SELECT pg_terminate_backend(' . worker_pid($node, 'cdc capture worker', $db) . ')');
ok($node->poll_query_until($db, "SELECT count(*) = 0 FROM pg_stat_activity WHERE pid = $scanner AND state = 'active'"), 'a scan whose worker is gone returns');
like(log_since($node, $from), qr/ERROR:  log scan failed: its worker was terminated\n.*DETAIL:  .*22859.*\n.*HINT:  CALL cdc\.sp_cdc_scan/, 'it says why, and what to do');
no_workers('and nothing is left of it');
is(call("$insert; CALL cdc.sp_cdc_scan()"), 'done', 'the next one can begin');

# The job is started while a scan runs, and stopped while it is asked for.
$scanner = scanning('continuous => true');
is(call('CALL cdc.sp_cdc_start_job()'), 'done', 'the job can be started while somebody scans');
$node->safe_psql($db, $insert);
is(call(q(CALL cdc.wait_for_capture(timeout => '30s'))), 'done', 'changes come');
$node->safe_psql($db, "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'scanner'");
$node->safe_psql($db, $insert);
is(call(q(CALL cdc.wait_for_capture(timeout => '30s'))), 'done', 'and go on to come when the scan has been ended');
is($node->safe_psql($db, q(SELECT started FROM cdc.cdc_jobs WHERE job_type = 'capture')), 't', 'the job is started');
is(call('CALL cdc.sp_cdc_stop_job()'), 'done', 'the job can be stopped');
no_workers('and is');

$node->safe_psql($db, $insert);
is(call('CALL cdc.sp_cdc_scan()'), 'done', 'scanned by hand again');
oracle_ok($node, $db, 'nothing lost in any of it', wait => 0);
eval { $_->{run}->finish } for @sessions;
unlike(slurp_file($node->logfile), qr/PANIC|TRAP/, 'nothing crashed');
$node->stop;
done_testing();
