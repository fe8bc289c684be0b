# A transaction of any size streams through: the memory of decoder and writer does not grow with it.
# 200,000 row updates in one transaction; 2,000,000 with CDC_TEST_FULL=1.
use strict;
use warnings;

use FindBin;
use lib "$FindBin::RealBin/lib";

use CdcTest;
use PostgreSQL::Test::Utils;
use ReplayOracle;
use Test::More;

my $rows     = $ENV{CDC_TEST_FULL} ? 2_000_000 : 200_000;
my $limit_kb = 100 * 1024;
my $db       = 'big';

my $node = cdc_node('big', shared_buffers => '128MB', logical_decoding_work_mem => '16MB', max_wal_size => '4GB');
cdc_create($node, $db);
$node->safe_psql($db, 'CREATE TABLE t (id int PRIMARY KEY, n int, pad text)');
enable_table($node, $db, 't');
$node->safe_psql($db, "INSERT INTO t SELECT i, 0, repeat('x', 80) FROM generate_series(1, $rows) i");
wait_captured($node, $db);

# What a process has for itself, in kB. Its peak is VmHWM, which counts the pages of shared memory it has
# touched as well: those are taken off as they are now, when nothing has been given back.
sub own_memory
{
	my ($pid) = @_;
	my %kb = slurp_file("/proc/$pid/status") =~ /^(VmHWM|RssShmem|RssFile):\s+(\d+) kB/mg;
	return $kb{VmHWM} - $kb{RssShmem} - $kb{RssFile};
}

my %pid = map { $_ => worker_pid($node, $_, $db) } 'cdc decoder', 'cdc capture worker';
my %before = map { $_ => own_memory($pid{$_}) } keys %pid;

$node->safe_psql($db, 'UPDATE t SET n = n + 1');
$node->safe_psql($db, "CALL cdc.wait_for_capture(timeout => '10min')");

is($node->safe_psql($db, 'SELECT count(*) FROM cdc.public_t_ct WHERE "__$operation" IN (3, 4)'), 2 * $rows, 'all rows of the update are captured');
is($node->safe_psql($db, 'SELECT count(*) FROM cdc.lsn_time_mapping WHERE change_count = ' . $rows), 2, 'as one transaction');
cmp_ok(stat_value($node, $db, 'spilled_bytes'), '>', 0, 'the transaction was larger than logical_decoding_work_mem');
for my $type (sort keys %pid)
{
	is(worker_pid($node, $type, $db), $pid{$type}, "$type is still the same process");
	my $own = own_memory($pid{$type});
	my $figures = sprintf '%s: %d rows, %d kB of its own, %d kB before', $type, $rows, $own, $before{$type};
	$ENV{CDC_TEST_FULL} ? diag($figures) : note($figures);
	SKIP:
	{
		skip 'a sanitizer keeps what is freed', 1 if readlink("/proc/$pid{$type}/exe") !~ /postgres$/;
		cmp_ok($own, '<', $limit_kb, "$type: memory of its own stays below 100 MB");
	}
	cmp_ok($own, '>', 0, "$type: and was measured");
}
oracle_ok($node, $db, 'the log is the truth');

$node->stop;
done_testing();
