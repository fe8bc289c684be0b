# An error, or no memory, at each fault point of enabling and disabling a database, of a gap and its end, of scans by hand, of
# cleanup, of the launcher, and of recording an error. Who called is told, and it can be done again; workers go on by themselves.
use strict;
use warnings;

use FindBin;
use lib "$FindBin::RealBin/lib";

use CdcTest;
use FaultMatrix;
use ReplayOracle;
use Test::More;

require_faults();

my $seed = random_seed();
my $node = matrix_cluster('fault_database_errors', 'faults');

for my $point (matrix_points('database', 'cleanup'))
{
	matrix_errors($_, $point) for $ENV{CDC_TEST_FULL} ? qw(error oom) : (qw(error oom))[ rand 2 ];
}
# A step of cleanup that fails again and again: the run has failed and says why, the next one does it all.
for my $fault ('cleanup-mark:error:1+', 'cleanup-detach:oom:1+', 'cleanup-mapping:error:1+')
{
	matrix_cleanup_fails($fault);
}

# After gaps the log is not the whole truth any more: enabled anew it is.
$node->safe_psql('faults', 'CALL cdc.sp_cdc_disable_db()');
$node->safe_psql('faults', 'TRUNCATE t, p, typed');
$node->safe_psql('faults', 'CALL cdc.sp_cdc_enable_db()');
enable_table($node, 'faults', $_) for qw(t p typed);
$node->safe_psql('faults', q(INSERT INTO t (v) SELECT 'new' FROM generate_series(1, 100); UPDATE t SET n = 1; DELETE FROM t WHERE id % 2 = 0;));
oracle_ok($node, 'faults', 'in the end capture is whole');
$node->stop;
done_testing();
