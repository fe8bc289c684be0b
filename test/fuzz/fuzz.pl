# fuzz.pl: rounds of random tables, statements, sessions and faults; each is judged when it has come to rest.
# Started by tools/fuzz, which makes the folder and says what its options mean.
use strict;
use warnings;

use FindBin;
use lib "$FindBin::RealBin", "$FindBin::RealBin/../../t/lib";

use FuzzRound;
use Getopt::Long;
use Test::More;

my %options = (seed => 0, minutes => 1, rounds => 0, first => 1);
GetOptions(\%options, 'seed=i', 'minutes=f', 'rounds=i', 'first=i') or exit 2;
$options{seed} ||= 1 + int rand 999_999_999;

my $ok = fuzz_rounds(%options, points => $ENV{CDC_TEST_FAULTS});
done_testing();
exit($ok ? 0 : 1);
