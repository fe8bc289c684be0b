# Each fault point of enabling and disabling a database, of a gap and its end, of scans by hand, of the launcher, and of
# recording an error: the process is killed or terminated there, or the server shut down. Nothing half done is left, and it can
# be done again.
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
my $node = matrix_cluster('fault_database', 'faults');

for my $point (matrix_points('database'))
{
	matrix_crashes($_, $point) for $ENV{CDC_TEST_FULL} ? qw(kill immediate terminate) : (qw(kill immediate terminate))[ rand 3 ];
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
