# Each fault point between decoding, writing, committing and confirming: the process is killed or terminated there, or the server
# shut down without a word while it is there. Afterwards capture goes on from where it had come to.
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
my $node = matrix_cluster('fault_capture', 'faults');
my @points = matrix_points('capture');

# Who ends politely in the middle of a batch rolls it back in the process itself, with all that it has attached to.
matrix_crashes('terminate', 'writer-chunk');
matrix_stop_amid();

# All ways for each point; by default one way, drawn anew each time.
for my $point (@points)
{
	matrix_crashes($_, $point) for $ENV{CDC_TEST_FULL} ? qw(kill immediate terminate) : (qw(kill immediate terminate))[ rand 3 ];
}
oracle_ok($node, 'faults', 'the change rows alone rebuild every table');
$node->stop;
done_testing();
