# Cleanup while others write; its schedule; crashes in the middle of it. What is left is always the whole truth from
# the low-water mark on. Times are moved by hand: the ages of transactions in the mapping, and of runs in the history.
use strict;
use warnings;

use FindBin;
use lib "$FindBin::RealBin/lib";

use CdcTest;
use PostgreSQL::Test::Utils;
use ReplayOracle;
use Test::More;

my $seed = random_seed();
my $db   = 'cleanup';
my $node = cdc_node('cleanup', 'cdc.partition_wal_size' => '1MB', 'cdc.cleanup_lock_timeout' => '200ms');
cdc_create($node, $db);

$node->safe_psql($db, q(
	CREATE TABLE plain (id int PRIMARY KEY, n int NOT NULL DEFAULT 0, v text);
	CREATE TABLE keyless (n int, v text);
	CREATE TABLE large (id int PRIMARY KEY, body text);
	ALTER TABLE large ALTER body SET STORAGE EXTERNAL;
	INSERT INTO plain SELECT i, 0, 'new' FROM generate_series(1, 300) i;
	INSERT INTO large SELECT i, repeat(md5(i::text), 200) FROM generate_series(1, 20) i;));
my @tables = qw(plain keyless large);
enable_table($node, $db, $_) for @tables;

my $script = $node->basedir . '/load.sql';
append_to_file($script, join "\n", '\set a random(1, 300)', '\set b random(1, 20)', 'BEGIN;',
	'UPDATE plain SET n = n + 1 WHERE id = :a;', "INSERT INTO keyless VALUES (:a, 'x'), (:b, 'y');",
	'DELETE FROM keyless WHERE ctid IN (SELECT ctid FROM keyless LIMIT 1 FOR UPDATE SKIP LOCKED);',
	'UPDATE large SET body = repeat(md5(random()::text), 200) WHERE id = :b;', "COMMIT;\n");

sub job
{
	my ($expression) = @_;
	return $node->safe_psql($db, "SELECT $expression FROM cdc.sp_cdc_help_jobs() WHERE job_type = 'cleanup'");
}

sub runs
{
	my ($where) = @_;
	return $node->safe_psql($db, "SELECT count(*) FROM cdc.cleanup_runs WHERE $where");
}

sub wait_for_sql
{
	my ($condition, $what) = @_;
	$node->poll_query_until($db, "SELECT $condition") or die "never: $what";
	return;
}

sub change_job
{
	my ($parameters) = @_;
	$node->safe_psql($db, "CALL cdc.sp_cdc_change_job('cleanup', $parameters)");
	return;
}

# take_baseline(): what the tables hold now, with nobody writing, and the LSN of the commit that comes next. All
# transactions before it become two hours older, so that a retention of one hour makes it the mark.
my %baseline;

sub take_baseline
{
	wait_captured($node, $db);
	for my $table (@tables)
	{
		$node->safe_psql($db, "DROP TABLE IF EXISTS base_$table; CREATE TABLE base_$table AS TABLE $table");
		$baseline{"public_$table"} = "base_$table";
	}
	my $last = $node->safe_psql($db, 'SELECT max(start_lsn) FROM cdc.lsn_time_mapping');
	$node->safe_psql($db, "INSERT INTO keyless VALUES (-1, 'the mark')");
	wait_captured($node, $db);
	my $mark = $node->safe_psql($db, "SELECT min(start_lsn) FROM cdc.lsn_time_mapping WHERE start_lsn > '$last'");
	$node->safe_psql($db, "UPDATE cdc.lsn_time_mapping SET tran_end_time = tran_end_time - interval '2 hours' WHERE start_lsn < '$mark'");
	return $mark;
}

sub low_ends
{
	return $node->safe_psql($db, 'SELECT string_agg(DISTINCT start_lsn::text, \',\') FROM cdc.change_tables');
}

sub problems_of_leaves
{
	return $node->safe_psql($db, q(
		SELECT (SELECT count(*) FROM pg_inherits WHERE inhdetachpending)
			+ (SELECT count(*) FROM pg_class WHERE relname ~ '^_ct_' AND relkind = 'r' AND NOT relispartition)));
}

# A cursor in an open transaction knows all leaves: none can be detached for good.
sub reader
{
	my $reader = $node->background_psql($db, on_error_die => 1, timeout => $PostgreSQL::Test::Utils::timeout_default);
	$reader->query_safe('BEGIN; SELECT count(*) FROM cdc.public_plain_ct;');
	return $reader;
}

#
# A job that runs all the time, against a load
#
my $load = start_load($node, $db, [ [ $script, 1 ] ], clients => 2, seconds => 2, seed => $seed);
finish_load($load);
my $mark = take_baseline();
change_job("retention => 60, threshold => 7, every => '1 second'");
$load = start_load($node, $db, [ [ $script, 1 ] ], clients => 2, seconds => 4, seed => $seed);
for (1 .. 5)
{
	$node->safe_psql($db, "CALL cdc.sp_cdc_cleanup_change_table('public_$_', NULL)") for @tables;
}
my $output = finish_load($load);
unlike($output, qr/ERROR|FATAL/, 'nobody who writes notices cleanup');
wait_for_sql("count(*) >= 3 FROM cdc.cleanup_runs WHERE status = 'succeeded' AND request = 'job'", 'three runs');
change_job("every => '1 day'");
is(low_ends(), $mark, 'all low ends are at the mark');
is($node->safe_psql($db, 'SELECT min(start_lsn) FROM cdc.lsn_time_mapping'), $mark, 'and so is the mapping');
cmp_ok($node->safe_psql($db, 'SELECT sum(leaves_dropped) FROM cdc.cleanup_runs'), '>', 3, 'leaves were dropped');
is(problems_of_leaves(), 0, 'no leaf is left behind');
oracle_ok($node, $db, 'the rest is whole after cleanup under load', baseline => \%baseline, cleaned => 1);
ok(runs("status = 'failed'") == 0 || $node->safe_psql($db, "SELECT count(*) FROM cdc.dm_cdc_errors WHERE process = 'cleanup'") > 0,
	'a run that failed has left an error');

#
# A run that cannot get on: it is visible, it fails, and comes again
#
$load = start_load($node, $db, [ [ $script, 1 ] ], clients => 2, seconds => 1, seed => $seed);
finish_load($load);
$mark = take_baseline();
my $reader = reader();
$node->safe_psql($db, "CALL cdc.sp_cdc_start_job('cleanup')");
wait_for_sql("running AND doing LIKE 'dropping leaf 1 of%' FROM cdc.sp_cdc_help_jobs() WHERE job_type = 'cleanup'", 'the run is shown');
my ($stdout, $stderr);
$node->psql($db, "CALL cdc.sp_cdc_start_job('cleanup')", stderr => \$stderr);
like($stderr, qr/is running already.*SQL Server error 22022/s, 'it is not started twice');
is($node->safe_psql($db, "SELECT state || ': ' || (query LIKE 'dropping leaf%') FROM pg_stat_activity WHERE backend_type = 'cdc cleanup worker'"),
	'active: true', 'pg_stat_activity shows it');
wait_for_sql("NOT running AND last_run_status = 'failed' FROM cdc.sp_cdc_help_jobs() WHERE job_type = 'cleanup'", 'the run has failed');
like(job('last_run_message'), qr/public_plain.*lock timeout/, 'it says why');
is(low_ends(), $mark, 'the low ends are raised');
is($node->safe_psql($db, "SELECT count(*) FROM cdc.dm_cdc_errors WHERE process = 'cleanup' AND error_number = 22852") > 0 ? 1 : 0, 1, 'and there is an error record');
wait_for_sql("next_run BETWEEN now() AND now() + interval '61 seconds' FROM cdc.sp_cdc_help_jobs() WHERE job_type = 'cleanup'",
	'it is tried again before the next day');
# Others are not in the way of each other meanwhile.
$node->safe_psql($db, "SET lock_timeout = '10s'; SELECT count(*) FROM cdc.fn_cdc_get_all_changes_public_plain(cdc.fn_cdc_get_min_lsn('public_plain'), cdc.fn_cdc_get_max_lsn(), 'all')");
$node->safe_psql($db, "UPDATE plain SET v = 'half detached'");
wait_captured($node, $db);
$reader->quit;
$node->safe_psql($db, "CALL cdc.sp_cdc_start_job('cleanup')");
wait_for_sql("NOT running AND last_run_status = 'succeeded' FROM cdc.sp_cdc_help_jobs() WHERE job_type = 'cleanup'", 'the next run gets on');
is(problems_of_leaves(), 0, 'what was half detached is gone');
oracle_ok($node, $db, 'whole after a run that failed', baseline => \%baseline, cleaned => 1);

#
# An instance that somebody is disabling keeps only itself from expiring
#
$load = start_load($node, $db, [ [ $script, 1 ] ], clients => 2, seconds => 1, seed => $seed);
finish_load($load);
my $former = $mark;
$mark = take_baseline();
$reader = $node->background_psql($db, on_error_die => 1, timeout => $PostgreSQL::Test::Utils::timeout_default);
$reader->query_safe("BEGIN; CALL cdc.sp_cdc_disable_table('public', 'large', 'all')");
$node->safe_psql($db, "CALL cdc.sp_cdc_start_job('cleanup')");
wait_for_sql("NOT running AND last_run_status = 'failed' FROM cdc.sp_cdc_help_jobs() WHERE job_type = 'cleanup'", 'the run has failed');
like(job('last_run_message'), qr/public_large.*another transaction/, 'it says for which instance');
is($node->safe_psql($db, "SELECT string_agg(capture_instance, ',' ORDER BY capture_instance) FROM cdc.change_tables WHERE start_lsn = '$mark'"),
	'public_keyless,public_plain', 'the low ends of the others are raised');
is($node->safe_psql($db, 'SELECT min(start_lsn) FROM cdc.lsn_time_mapping'), $former, 'the mapping goes as far back as the one that is held');
$reader->query_safe('ROLLBACK');
$reader->quit;
$node->safe_psql($db, "CALL cdc.sp_cdc_start_job('cleanup')");
wait_for_sql("NOT running AND last_run_status = 'succeeded' FROM cdc.sp_cdc_help_jobs() WHERE job_type = 'cleanup'", 'the next run gets on');
is(low_ends(), $mark, 'all are at the mark');
oracle_ok($node, $db, 'whole after the disabling was taken back', baseline => \%baseline, cleaned => 1);

#
# Stopping a run
#
$load = start_load($node, $db, [ [ $script, 1 ] ], clients => 2, seconds => 1, seed => $seed);
finish_load($load);
$mark = take_baseline();
$reader = reader();
$node->safe_psql($db, "CALL cdc.sp_cdc_start_job('cleanup')");
wait_for_sql("running AND doing LIKE 'dropping%' FROM cdc.sp_cdc_help_jobs() WHERE job_type = 'cleanup'", 'the run is under way');
$node->safe_psql($db, "CALL cdc.sp_cdc_stop_job('cleanup')");
is(job("started, running, last_run_status, next_run"), 'f|f|stopped|', 'a run is stopped, and the schedule with it');

#
# Stopped stays stopped, over restart and crash, with the capture job stopped as well
#
change_job("every => '1 second'");
$node->safe_psql($db, 'CALL cdc.sp_cdc_stop_job()');
$node->restart;
is($node->safe_psql($db, 'SELECT bool_or(started) FROM cdc.sp_cdc_help_jobs()'), 'f', 'both jobs are stopped after a restart');
$node->stop('immediate');
$node->start;
is($node->safe_psql($db, 'SELECT bool_or(started) FROM cdc.sp_cdc_help_jobs()'), 'f', 'and after a crash');
# Whoever looks at the job when the server has started is running for a moment; a call by hand comes after him.
wait_for_sql('NOT bool_or(running) FROM cdc.sp_cdc_help_jobs()', 'nor does either run');
wait_for_worker($node, 'cdc launcher');
$node->safe_psql($db, "CALL cdc.sp_cdc_cleanup_change_table('public_plain', NULL)");
is(job('started'), 'f', 'a custom cleanup works all the same');
$node->safe_psql($db, "CALL cdc.sp_cdc_cleanup_change_table('public_keyless', NULL)");
is(runs("request = 'job' AND run_id > (SELECT max(run_id) FROM cdc.cleanup_runs WHERE status = 'stopped')"), 0, 'and no run of the job was made');
change_job("every => '1 day', start_time => '02:00'");

#
# The schedule after downtime: a run that was missed is made up for, once; one that is not due is not run
#
$node->safe_psql($db, "CALL cdc.sp_cdc_start_job('cleanup')");
wait_for_sql("NOT running AND last_run_status = 'succeeded' AND next_run > now() FROM cdc.sp_cdc_help_jobs() WHERE job_type = 'cleanup'", 'a run');
my $count = runs("request = 'job'");
$node->restart;
wait_for_sql("next_run > now() FROM cdc.sp_cdc_help_jobs() WHERE job_type = 'cleanup'", 'somebody has looked at the job while capture is stopped');
is(runs("request = 'job'"), $count, 'what is not due is not run');
is(job("next_run::time"), '02:00:00', 'it is due at its time of day');
$node->safe_psql($db, q(
	UPDATE cdc.cleanup_runs SET started_at = started_at - interval '3 days';
	UPDATE cdc.cdc_jobs SET schedule_from = schedule_from - interval '3 days' WHERE job_type = 'cleanup';));
$node->stop('immediate');
$node->start;
wait_for_sql("next_run > now() AND last_run_start > now() - interval '1 day' FROM cdc.sp_cdc_help_jobs() WHERE job_type = 'cleanup'", 'what was missed is made up for');
is(runs("request = 'job'"), $count + 1, 'once');
$node->safe_psql($db, 'CALL cdc.sp_cdc_start_job()');
oracle_ok($node, $db, 'whole after restarts', baseline => \%baseline, cleaned => 1);

#
# The worker is killed while a leaf is half detached, and so the whole server goes down
#
$load = start_load($node, $db, [ [ $script, 1 ] ], clients => 2, seconds => 1, seed => $seed);
finish_load($load);
$mark = take_baseline();
$node->safe_psql('postgres', "ALTER SYSTEM SET cdc.cleanup_lock_timeout = '20s'");
$node->reload;
$reader = reader();
# Nobody else brings to the disk what cleanup commits: that the run had begun is there all the same.
my $walwriter = $node->safe_psql($db, q(SELECT pid FROM pg_stat_activity WHERE backend_type = 'walwriter'));
kill 'STOP', $walwriter;
$node->safe_psql($db, "CALL cdc.sp_cdc_start_job('cleanup')");
wait_for_sql('count(*) = 1 FROM pg_inherits WHERE inhdetachpending', 'a leaf is half detached');
my $pid = worker_pid($node, 'cdc cleanup worker', $db);
my $before = log_size($node);
kill 'KILL', $pid;
wait_until(sub { log_since($node, $before) =~ /terminating any other active server processes/ }, 'the server goes down');
kill 'CONT', $walwriter;
eval { $reader->quit };
wait_for_sql("count(*) = 1 FROM cdc.cleanup_runs WHERE status = 'interrupted'", 'the run is known to be interrupted');
wait_for_sql("NOT running AND last_run_status = 'succeeded' FROM cdc.sp_cdc_help_jobs() WHERE job_type = 'cleanup'", 'it is done again at once');
is(problems_of_leaves(), 0, 'the half detached leaf is gone');
is(low_ends(), $mark, 'the low ends are at the mark');
oracle_ok($node, $db, 'whole after a crash in the middle of cleanup', baseline => \%baseline, cleaned => 1);
$node->safe_psql('postgres', 'ALTER SYSTEM RESET cdc.cleanup_lock_timeout');
$node->reload;

#
# The administrator ends the worker, and a session goes away that waits for it
#
$mark = take_baseline();
$node->safe_psql($db, "UPDATE plain SET n = n + 1");
wait_captured($node, $db);
$reader = $node->background_psql($db, on_error_die => 1);
my $first = $node->safe_psql($db, "SELECT min(\"__\$start_lsn\") FROM cdc.public_keyless_ct WHERE \"__\$start_lsn\" < '$mark'");
SKIP:
{
	skip 'no row is left below the mark', 2 if $first eq '';
	$reader->query_safe("BEGIN; DELETE FROM cdc.public_keyless_ct WHERE \"__\$start_lsn\" < '$mark'");
	$node->psql($db, "SET statement_timeout = '100ms'; CALL cdc.sp_cdc_cleanup_change_table('public_keyless', '$mark')", stderr => \$stderr);
	like($stderr, qr/canceling statement due to statement timeout/, 'a call can be cancelled');
	is($node->safe_psql($db, "SELECT start_lsn FROM cdc.change_tables WHERE capture_instance = 'public_keyless'"), $mark, 'the mark stands');
	$reader->query_safe('ROLLBACK');
}
$reader->quit;
$node->safe_psql($db, "CALL cdc.sp_cdc_start_job('cleanup')");
wait_for_sql("NOT running AND last_run_status = 'succeeded' FROM cdc.sp_cdc_help_jobs() WHERE job_type = 'cleanup'", 'a run');
oracle_ok($node, $db, 'whole in the end', baseline => \%baseline, cleaned => 1);

#
# No room for one more process: said to who waits, and the job waits for its turn
#
$node->append_conf('postgresql.conf', 'max_worker_processes = 4');    # ours, and the server's own launcher
$node->restart;
wait_captured($node, $db);
wait_for_worker($node, 'cdc decoder', $db);
$node->psql($db, "CALL cdc.sp_cdc_cleanup_change_table('public_plain', NULL)", stdout => \$stdout, stderr => \$stderr);
is($stdout, 't', 'no free worker slot: the call fails softly');
like($stderr, qr/WARNING:.*SQL Server error 22852: could not start a worker: no free background worker slot/s, 'and says why');
like(slurp_file($node->logfile), qr/could not start a cleanup worker: no free background worker slot/, 'so does the server log');
$node->append_conf('postgresql.conf', 'max_worker_processes = 32');
$node->restart;
wait_for_sql("next_run > now() FROM cdc.sp_cdc_help_jobs() WHERE job_type = 'cleanup'", 'the schedule goes on');

#
# In a copy of the database, once capture goes on there
#
$node->safe_psql($db, 'CALL cdc.sp_cdc_stop_job()');
wait_for_sql("count(*) = 0 FROM pg_stat_activity WHERE datname = '$db' AND backend_type LIKE 'cdc %'", 'no worker is connected');
$node->safe_psql('postgres', "CREATE DATABASE copied TEMPLATE $db");
$node->safe_psql($db, 'CALL cdc.sp_cdc_start_job()');
$node->safe_psql('copied', 'CALL cdc.resume_after_gap()');
$node->poll_query_until('copied', "SELECT next_run > now() FROM cdc.sp_cdc_help_jobs() WHERE job_type = 'cleanup'") or die 'never: a schedule';
pass('the schedule of a copy begins when its capture goes on');
$node->safe_psql('copied', 'CALL cdc.sp_cdc_disable_db()');

#
# Commands that need the database for themselves
#
$node->safe_psql($db, "CALL cdc.sp_cdc_change_job('cleanup', every => '1 second')");
$node->safe_psql($db, 'DROP EXTENSION cdc');
is($node->safe_psql($db, "SELECT count(*) FROM pg_replication_slots WHERE plugin = 'cdc'"), 0, 'DROP EXTENSION while the job runs all the time');
cdc_create($node, 'gone');
$node->safe_psql('gone', 'CREATE TABLE t (id int PRIMARY KEY)');
enable_table($node, 'gone', 't');
$node->safe_psql('gone', "CALL cdc.sp_cdc_change_job('cleanup', every => '1 second')");
$node->safe_psql('postgres', 'DROP DATABASE gone');
pass('DROP DATABASE while the job runs all the time');
$node->stop;
unlike(slurp_file($node->logfile), qr/TRAP|PANIC/, 'no crash but the one that was made');
done_testing();
