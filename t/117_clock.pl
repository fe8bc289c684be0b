# The clock is set forward and back under a running server: times in the mapping never go back, times and LSNs map
# consistently, cleanup and schedules neither run away nor stop for ever, and a back-off is not stuck for as long as
# the clock was set back.
use strict;
use warnings;

use FindBin;
use lib "$FindBin::RealBin/lib";

use CdcTest;
use PostgreSQL::Test::Utils;
use ReplayOracle;
use Test::More;

my $library = PostgreSQL::Test::Utils::tempdir() . '/clock_shift.so';
my @compiler = split ' ', `pg_config --cc`;
plan skip_all => 'there is no compiler for test/clock_shift.c'
  if !@compiler || system(@compiler, '-shared', '-fPIC', '-O1', '-o', $library, "$FindBin::RealBin/../test/clock_shift.c") != 0;

my $node = cdc_node('clock');
my $db = 'clocks';
cdc_create($node, $db);
$node->safe_psql($db, 'CREATE TABLE t (id int GENERATED ALWAYS AS IDENTITY PRIMARY KEY, v text)');
enable_table($node, $db, 't');

# set_clock($days): every process has that clock from now on.
my $clock = $node->basedir . '/clock';
sub set_clock
{
	my ($days) = @_;
	open my $file, -e $clock ? '+<' : '>', $clock or die $!;
	syswrite $file, pack('q<', $days * 86400) or die $!;
	close $file;
	return;
}

$node->stop;
set_clock(0);
{
	local @ENV{qw(LD_PRELOAD CLOCK_SHIFT_FILE)} = ($library, $clock);
	$node->start;
}

sub write_some
{
	$node->safe_psql($db, q(INSERT INTO t (v) SELECT 'row' FROM generate_series(1, 3); UPDATE t SET v = v || '+' WHERE id % 2 = 0));
	return;
}

# times_hold($name): monotone, and each LSN maps to a time that maps back to it or to a later one of the same time.
sub times_hold
{
	my ($name) = @_;
	local $Test::Builder::Level = $Test::Builder::Level + 1;
	write_some();
	oracle_ok($node, $db, "$name: nothing is lost, times are monotone");
	is($node->safe_psql($db, q(
		SELECT count(*) FROM cdc.lsn_time_mapping m
		WHERE cdc.fn_cdc_map_lsn_to_time(start_lsn) <> tran_end_time
			OR cdc.fn_cdc_map_time_to_lsn('smallest greater than or equal', tran_end_time) > start_lsn
			OR cdc.fn_cdc_map_time_to_lsn('largest less than or equal', tran_end_time) < start_lsn)), '0', "$name: times and LSNs agree");
	is(stat_value($node, $db, 'state'), 'streaming', "$name: capture runs");
	return;
}

times_hold('the true time');
my $true = $node->safe_psql($db, 'SELECT clock_timestamp()');

# --- Forward by ten days: cleanup becomes due, once -----------------------------------------------
# No cleanup until the oracle has judged all that is captured: it may be faster.
$node->safe_psql($db, q(CALL cdc.sp_cdc_change_job('cleanup', retention => 20160)));
set_clock(10);
is($node->safe_psql($db, "SELECT clock_timestamp() > timestamptz '$true' + interval '9 days'"), 't', 'the clock is set forward');
times_hold('ten days later');
$node->poll_query_until($db, q(SELECT count(*) > 0 FROM cdc.cleanup_runs WHERE ended_at IS NOT NULL)) or die 'cleanup does not run';
wait_captured($node, $db);
my $runs = $node->safe_psql($db, 'SELECT count(*) FROM cdc.cleanup_runs');
cmp_ok($runs, '<=', 2, 'cleanup does not run once for each missed day');
is($node->safe_psql($db, q(SELECT count(*) FROM cdc.sp_cdc_help_jobs() WHERE job_type = 'cleanup' AND next_run BETWEEN now() AND now() + interval '25 hours')), '1', 'and is due again within a day');
my $kept = $node->safe_psql($db, q(SELECT cdc.fn_cdc_get_min_lsn('public_t')));
$node->safe_psql($db, q(CALL cdc.sp_cdc_change_job('cleanup', retention => 4320); CALL cdc.sp_cdc_start_job('cleanup')));
$node->poll_query_until($db, "SELECT count(*) > $runs AND bool_and(ended_at IS NOT NULL) FROM cdc.cleanup_runs") or die 'cleanup does not run';
is($node->safe_psql($db, "SELECT cdc.fn_cdc_get_min_lsn('public_t') > '$kept'"), 't', 'what is ten days old goes');
$runs = $node->safe_psql($db, 'SELECT count(*) FROM cdc.cleanup_runs');

# --- Back to the true time ------------------------------------------------------------------------
# While capture waits before another try: it must not wait for ten days.
my $leaf = $node->safe_psql($db, q(SELECT inhrelid::regclass FROM pg_inherits WHERE inhparent = 'cdc.public_t_ct'::regclass ORDER BY inhrelid::regclass::text LIMIT 1));
$node->safe_psql($db, "ALTER TABLE $leaf ENABLE ROW LEVEL SECURITY");
write_some();
$node->poll_query_until($db, q(SELECT state = 'failed' FROM cdc.pg_stat_cdc WHERE database = current_database())) or die 'does not fail';
set_clock(0);
$node->safe_psql($db, "ALTER TABLE $leaf DISABLE ROW LEVEL SECURITY");
$node->poll_query_until($db, q(SELECT state = 'streaming' FROM cdc.pg_stat_cdc WHERE database = current_database())) or die 'the back-off is stuck';
pass('set back: the back-off is over soon');
write_some();
wait_captured($node, $db);
is($node->safe_psql($db, q(SELECT tran_end_time > now() + interval '9 days' FROM cdc.lsn_time_mapping ORDER BY start_lsn DESC LIMIT 1)), 't', 'set back: time in the mapping stands still, it does not go back');
is($node->safe_psql($db, q(SELECT count(*) FROM cdc.sp_cdc_help_jobs() WHERE job_type = 'cleanup' AND next_run <= now() + interval '25 hours')), '1', 'set back: cleanup is not due in eleven days only');
is($node->safe_psql($db, q(SELECT count(*) FROM cdc.sp_cdc_help_jobs() WHERE job_type = 'capture')), '1', 'and the jobs are there');
is($node->safe_psql($db, q(SELECT lag_seconds >= 0 AND lag_seconds < 3600 FROM cdc.pg_stat_cdc WHERE database = current_database())), 't', 'set back: the lag is not counted in days');
$node->safe_psql($db, q(CALL cdc.sp_cdc_change_job('capture', pollinginterval => 1)));
$node->safe_psql($db, q(CALL cdc.sp_cdc_stop_job('capture')));
$node->safe_psql($db, q(CALL cdc.sp_cdc_start_job('capture')));
write_some();
wait_captured($node, $db);
set_clock(-3);
write_some();
wait_captured($node, $db);
pass('set back while it polls: the wait is over soon');
is($node->safe_psql($db, q(SELECT count(*) FROM (SELECT tran_end_time < lag(tran_end_time) OVER (ORDER BY start_lsn) AS back FROM cdc.lsn_time_mapping) m WHERE back)), '0', 'times are monotone');
# The boundary of retention lies in the mapping's time; nothing that is newer goes.
my $low = $node->safe_psql($db, q(SELECT cdc.fn_cdc_get_min_lsn('public_t')));
$node->safe_psql($db, q(CALL cdc.sp_cdc_start_job('cleanup')));
$node->poll_query_until($db, "SELECT count(*) > $runs AND bool_and(ended_at IS NOT NULL) FROM cdc.cleanup_runs") or die 'cleanup does not run';
is($node->safe_psql($db, q(SELECT cdc.fn_cdc_get_min_lsn('public_t'))), $low, 'set back: cleanup removes nothing that is kept');

unlike(slurp_file($node->logfile), qr/PANIC|TRAP|was terminated by signal|XX000/, 'no process crashed, no internal error');
$node->stop;
done_testing();
