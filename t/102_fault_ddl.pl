# Each fault point of enabling, disabling, altering and dropping tables, in the session that does it and in the writer that
# meets it in the log: the process is killed or terminated there, or the server shut down.
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
my $node = matrix_cluster('fault_ddl', 'faults');

for my $point (matrix_points('ddl'))
{
	matrix_crashes($_, $point) for $ENV{CDC_TEST_FULL} ? qw(kill immediate terminate) : (qw(kill immediate terminate))[ rand 3 ];
}
# Values of former types are in other columns: that table has been looked at after each change of its types.
oracle_ok($node, 'faults', 'the change rows alone rebuild every table', whole => 0,
	instances => [ grep { $_->{name} ne 'public_typed' } oracle_instances($node, 'faults') ]);
$node->stop;
done_testing();
