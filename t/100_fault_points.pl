# Fault points themselves: what each action does, how often, and that nobody but a superuser can ask for one.
use strict;
use warnings;

use FindBin;
use lib "$FindBin::RealBin/lib";

use CdcTest;
use FaultMatrix;
use PostgreSQL::Test::Utils;
use ReplayOracle;
use Test::More;

require_faults();

my $node = cdc_node('fault_points');
my $db   = 'faults';
cdc_create($node, $db);
$node->safe_psql($db, 'CREATE TABLE t (id int GENERATED ALWAYS AS IDENTITY PRIMARY KEY, v text); CREATE ROLE plain LOGIN');
enable_table($node, $db, 't');
wait_captured($node, $db);

my %points = map { $_ => 1 } fault_points($node);
cmp_ok(scalar(keys %points), '>', 50, 'there are fault points');
is(join(' ', sort keys %points), join(' ', sort(matrix_points())), 'and each has the work that reaches it in FaultMatrix.pm, which the next files do');

# --- The setting ------------------------------------------------------------------------------------
for my $wrong ('nowhere:kill', 'writer-commit', 'writer-commit:explode', 'writer-commit:kill:x', 'writer-commit:kill:1:2', ':', ',')
{
	my (undef, undef, $err) = $node->psql($db, "LOAD 'cdc'; SET cdc.fault = '$wrong'");
	like($err, qr/invalid value for parameter "cdc.fault"/, "'$wrong' is refused");
}
is($node->safe_psql($db, "LOAD 'cdc'; SET cdc.fault = ' writer-commit : kill : 3 , decoder-send:oom:2+ '; SHOW cdc.fault"),
	' writer-commit : kill : 3 , decoder-send:oom:2+ ', 'a list is taken');
my (undef, undef, $denied) = $node->psql($db, "SET ROLE plain; SET cdc.fault = 'writer-commit:kill'");
like($denied, qr/permission denied to set parameter "cdc.fault"/, 'only superusers may');

# --- Actions, in a session ---------------------------------------------------------------------------
# attempt($fault, $times): its error at disabling the table, which is rolled back.
sub attempt
{
	my ($fault, $times) = @_;
	my $sql = "SET cdc.fault = '$fault';\n" . "CALL cdc.sp_cdc_disable_table('public', 't', 'all');\n" x ($times // 1);
	my (undef, undef, $err) = $node->psql($db, "BEGIN; LOAD 'cdc'; $sql ROLLBACK", extra_params => [ '--set', 'VERBOSITY=verbose' ], on_error_stop => 1);
	return $err;
}
like(attempt('disable-table-end:error'), qr/ERROR:  58030: fault point "disable-table-end" was reached/, 'error');
like(fault_reached($node, 'disable-table-end'), qr/^error \d+$/, 'leaves a mark');
is(attempt('disable-table-end:error'), '', 'and happens once, as long as the mark is there');
like(attempt('disable-table-end:error:1+'), qr/58030/, 'with + each time');
fault_rearm($node);
like(attempt('disable-table-end:oom'), qr/ERROR:  53200: out of memory/, 'oom');
fault_rearm($node);
is(attempt('disable-table-end:error:2'), '', 'not at the first passing when it shall be the second');
is(fault_reached($node, 'disable-table-end'), '', 'and no mark');

# A pause ends when its mark goes, or by a cancel.
fault_set($node, 'disable-table-end:pause');
my $session = start_psql($node, $db, "BEGIN; CALL cdc.sp_cdc_disable_table('public', 't', 'all'); ROLLBACK; SELECT 'over'");
fault_wait($node, 'disable-table-end');
my ($pid) = fault_reached($node, 'disable-table-end') =~ /(\d+)$/;
is($node->safe_psql($db, "SELECT state FROM pg_stat_activity WHERE pid = $pid"), 'active', 'pause: it waits');
fault_continue($node, 'disable-table-end');
is(finish_psql($session), "over\n", 'and goes on');
fault_rearm($node, 'disable-table-end');
$session = start_psql($node, $db, "CALL cdc.sp_cdc_disable_table('public', 't', 'all')");
fault_wait($node, 'disable-table-end');
($pid) = fault_reached($node, 'disable-table-end') =~ /(\d+)$/;
$node->safe_psql($db, "SELECT pg_cancel_backend($pid)");
like(finish_psql($session), qr/canceling statement due to user request/, 'a pause can be cancelled');
is($node->safe_psql($db, 'SELECT count(*) FROM cdc.change_tables'), '1', 'and its command is undone');

# --- In a worker --------------------------------------------------------------------------------------
fault_set($node, 'writer-commit:kill');
my $from = log_size($node);
$node->psql($db, q(INSERT INTO t (v) VALUES ('one'))); # its connection may be cut
fault_wait($node, 'writer-commit');
wait_until(sub { log_since($node, $from) =~ /was terminated by signal 9/ }, 'kill: the server notices');
wait_for_server($node);
wait_captured($node, $db);
like(fault_reached($node, 'writer-commit'), qr/^kill /, 'kill: once, though the setting is still there');

fault_set($node, 'writer-commit:panic');
$from = log_size($node);
$node->psql($db, q(INSERT INTO t (v) VALUES ('two')));
wait_until(sub { log_since($node, $from) =~ /PANIC:  fault point "writer-commit"/ }, 'panic');
wait_until(sub { log_since($node, $from) =~ /was terminated by signal 6/ }, 'panic: the server notices');
wait_for_server($node);
wait_captured($node, $db);
fault_clear($node);

oracle_ok($node, $db, 'nothing is lost');
$node->stop;
done_testing();
