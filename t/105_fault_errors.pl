# An error, or no memory, at each fault point between decoding and confirming, and where enabled, disabled, altered and dropped
# tables are met: capture goes on by itself, the error is recorded, nothing is lost or done twice. In a session: it is told, and
# nothing has happened.
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
my $node = matrix_cluster('fault_errors', 'faults');

for my $point (matrix_points('capture', 'ddl'))
{
	matrix_errors($_, $point) for $ENV{CDC_TEST_FULL} ? qw(error oom) : (qw(error oom))[ rand 2 ];
}
oracle_ok($node, 'faults', 'the change rows alone rebuild every table', whole => 0,
	instances => [ grep { $_->{name} ne 'public_typed' } oracle_instances($node, 'faults') ]);
$node->stop;
done_testing();
