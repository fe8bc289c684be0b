# Each fault point of cleanup: its worker, or the session that asked, is killed or terminated there, or the server shut down. What
# is old goes all the same, nothing else does, and no leaf is left without its table.
use strict;
use warnings;

use FindBin;
use lib "$FindBin::RealBin/lib";

use CdcTest;
use FaultMatrix;
use Test::More;

require_faults();

my $seed = random_seed();
my $node = matrix_cluster('fault_cleanup', 'faults');

for my $point (matrix_points('cleanup'))
{
	matrix_crashes($_, $point) for $ENV{CDC_TEST_FULL} ? qw(kill immediate terminate) : (qw(kill immediate terminate))[ rand 3 ];
}
$node->stop;
done_testing();
