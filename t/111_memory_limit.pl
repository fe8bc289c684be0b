# Real limits of memory (RLIMIT_AS) on all processes that the server starts: a transaction far larger than the limit is captured within
# it; rows for which there is no memory are an error that is recorded and shown, the source and other sessions go on, no process
# dies of it, and when there is memory everything is captured.
use strict;
use warnings;

use FindBin;
use lib "$FindBin::RealBin/lib";

use CatalogCheck;
use CdcTest;
use PostgreSQL::Test::Utils;
use ReplayOracle;
use Test::More;

my $megabyte = 1024 * 1024;
my $db       = 'memory';
my $node = cdc_node('memory_limit', logical_decoding_work_mem => '64kB', 'cdc.capture_queue_size' => '512kB');
cdc_create($node, $db);
$node->safe_psql($db, q(
	CREATE TABLE t (id int PRIMARY KEY, n int DEFAULT 0, v text);
	ALTER TABLE t ALTER v SET STORAGE EXTERNAL;
	CREATE TABLE other (id int GENERATED ALWAYS AS IDENTITY PRIMARY KEY, v text)));
enable_table($node, $db, $_) for qw(t other);
wait_captured($node, $db);

my ($postmaster) = slurp_file($node->data_dir . '/postmaster.pid') =~ /^(\d+)/;

# address_space($pid, $which): in bytes, now (VmSize) or at most so far (VmPeak).
sub address_space
{
	my ($pid, $which) = @_;
	my ($kilobytes) = slurp_file("/proc/$pid/status") =~ /^$which:\s+(\d+) kB/m;
	return $kilobytes * 1024;
}

# limit($bytes): what processes that are started from now on may have; undef: as much as they like.
sub limit
{
	my ($bytes) = @_;
	my $value = defined $bytes ? "$bytes:" : 'unlimited:';
	system('prlimit', '--pid', $postmaster, "--as=$value") == 0 or die 'cannot set the limit';
	return;
}

# An idle worker with what it has read of the catalog is the measure.
my $worker = wait_for_worker($node, 'cdc capture worker', $db);
my $idle   = address_space($worker, 'VmPeak');
note sprintf 'an idle worker has %.0f MB', $idle / $megabyte;
plan skip_all => 'below valgrind or a sanitizer address space says nothing about memory' if readlink("/proc/$postmaster/exe") !~ /postgres$/ || $idle > 1024 * $megabyte;
my $limit = $idle + 32 * $megabyte;

# --- A transaction that is larger than the limit --------------------------------------------------
$node->safe_psql($db, 'CALL cdc.sp_cdc_stop_job()');
my $rows = $ENV{CDC_TEST_FULL} ? 60_000 : 10_000;
$node->safe_psql($db, "BEGIN; INSERT INTO t SELECT i, 0, repeat('x', 4000) FROM generate_series(1, $rows) i; UPDATE t SET n = 1; COMMIT");
cmp_ok($node->safe_psql($db, q(SELECT pg_current_wal_lsn() - captured_lsn FROM cdc._progress)), '>', 2 * ($limit - $idle), 'there is much more log than memory');
limit($limit);
$node->safe_psql($db, 'CALL cdc.sp_cdc_start_job()');
$node->safe_psql($db, q(CALL cdc.wait_for_capture(timeout => '170s')));
is(stat_value($node, $db, 'failures || concat(last_error_message)'), '0', 'a transaction larger than the limit: captured, without an error');
note sprintf '%s had %.0f MB', $_, address_space(worker_pid($node, $_, $db), 'VmPeak') / $megabyte for 'cdc capture worker', 'cdc decoder';

# --- Rows for which there is no memory ------------------------------------------------------------
$node->safe_psql($db, 'CALL cdc.sp_cdc_stop_job()');
limit(undef);
$node->safe_psql($db, q(INSERT INTO t VALUES (-1, 0, repeat('y', 50000000)); UPDATE t SET n = 2 WHERE id = -1; INSERT INTO other (v) VALUES ('behind it')));
limit($limit);
$node->safe_psql($db, 'CALL cdc.sp_cdc_start_job()');
$node->poll_query_until($db, q(SELECT failures >= 2 FROM cdc.pg_stat_cdc WHERE database = current_database())) or die 'there is memory enough';
like(stat_value($node, $db, q(concat_ws(' ', last_error_code, last_error_message, last_error_detail))), qr/^53200 out of memory Failed on request of size/, 'a row for which there is no memory: the state says so');
like($node->safe_psql($db, q(SELECT concat_ws(' ', status, detail) FROM cdc.health() WHERE check_name = 'capture_worker')), qr/^(critical|warning) .*out of memory/, 'health(), too');
cmp_ok($node->safe_psql($db, q(SELECT count(*) FROM cdc.dm_cdc_errors WHERE sqlstate = '53200')), '>', 0, 'and the error is there');
is($node->safe_psql($db, q(SELECT count(*) FROM cdc.public_t_ct WHERE id = -1)), '0', 'nothing of it is captured');
$node->safe_psql($db, q(INSERT INTO other (v) SELECT 'meanwhile' FROM generate_series(1, 100); UPDATE other SET v = v || '+'));
isnt($node->psql($db, q(SELECT length(v || v) FROM t WHERE id = -1), stderr => \my $stderr), 0, 'a session that wants as much');
like($stderr, qr/out of memory/, 'is told the same');

limit(undef);
$node->safe_psql($db, 'CALL cdc.sp_cdc_start_job()');
oracle_ok($node, $db, 'with memory: nothing is lost, nothing twice');
is($node->safe_psql($db, 'SELECT count(*) FROM cdc.gaps'), '0', 'no gap');
is(stat_value($node, $db, q(state || ' ' || failures)), 'streaming 0', 'capture runs');
catalog_ok($node, $db, 'the catalogs agree');
is((slurp_file($node->data_dir . '/postmaster.pid') =~ /^(\d+)/)[0], $postmaster, 'the server was not restarted');
unlike(slurp_file($node->logfile), qr/PANIC|TRAP|was terminated by signal|XX000/, 'no process crashed, no internal error');
$node->stop;
done_testing();
