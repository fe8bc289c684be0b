# Random DDL on captured tables among random DML of several sessions, while the capture job stops and starts, cleanup
# removes what was read, readers keep cursors open, and processes are killed: some rounds of tools/fuzz, of those with DDL
# that changes what capture has to do. Each is compared with a log that row triggers on the sources have written.
use strict;
use warnings;

use FindBin;
use lib "$FindBin::RealBin/lib", "$FindBin::RealBin/../test/fuzz";

use CdcTest;
use FuzzRound;
use Test::More;

fuzz_rounds(seed => random_seed(), rounds => $ENV{CDC_TEST_ROUNDS} // 2, kind => 'wild');
done_testing();
