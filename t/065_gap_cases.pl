# Rare ways into a gap of a whole database, and calls that meet others: another system, another history, a log that was
# reset; two sessions that go on at the same moment, tables that are enabled and disabled meanwhile; what is given
# up really goes.
use strict;
use warnings;

use FindBin;
use lib "$FindBin::RealBin/lib";

use CdcTest;
use IPC::Run;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = cdc_node('gap_cases', wal_level => 'logical', min_wal_size => '32MB', wal_recycle => 'off');
my $db = 'cases';
cdc_create($node, $db);
$node->safe_psql($db, 'CREATE TABLE t (id int GENERATED ALWAYS AS IDENTITY PRIMARY KEY, v text)');
enable_table($node, $db, 't');
my $slot = $node->safe_psql($db, q(SELECT 'cdc_' || oid FROM pg_database WHERE datname = current_database()));
my $resume = 'CALL cdc.resume_after_gap()';

# background($sql): a session that runs it.
sub background
{
	my ($sql) = @_;
	my %session = (in => "$sql;\n", out => '', err => '');
	$session{run} = IPC::Run::start [ 'psql', '-XAtq', '-v', 'VERBOSITY=verbose', '-d', $node->connstr($db) ], '<', \$session{in}, '>', \$session{out}, '2>', \$session{err};
	$session{run}->pump while length $session{in};
	return \%session;
}

# told($session, $pattern): until it has said so.
sub told
{
	my ($session, $pattern) = @_;
	wait_until(sub { $session->{run}->pump_nb; $session->{out} =~ $pattern }, "not said: $pattern");
	return;
}

# finish($session, $sql): the rest, to its end. Returns its errors.
sub finish
{
	my ($session, $sql) = @_;
	$session->{in} .= ($sql // '') . "\n\\q\n";
	eval { $session->{run}->finish };
	return $session->{err};
}

sub needs_action
{
	my ($pattern, $name) = @_;
	local $Test::Builder::Level = $Test::Builder::Level + 1;
	$node->poll_query_until($db, q(SELECT state = 'needs action' FROM cdc.pg_stat_cdc WHERE database = current_database())) or die "$name: not noticed";
	$node->poll_query_until($db, 'SELECT count(*) = 1 FROM cdc.gaps WHERE end_lsn IS NULL') or die "$name: not recorded";
	like($node->safe_psql($db, q(SELECT reason || ' ' || detail FROM cdc.gaps WHERE end_lsn IS NULL)), $pattern, "$name: recorded");
	return;
}

# goes_on($name): what is committed after the gap can be read.
sub goes_on
{
	my ($name) = @_;
	local $Test::Builder::Level = $Test::Builder::Level + 1;
	my $id = $node->safe_psql($db, "INSERT INTO t (v) VALUES ('after') RETURNING id");
	wait_captured($node, $db);
	is($node->safe_psql($db, q(SELECT string_agg(id::text, ' ') FROM cdc.fn_cdc_get_all_changes_public_t((SELECT max(end_lsn) FROM cdc.gaps), cdc.fn_cdc_get_max_lsn(), 'all'))),
		$id, "$name: capture goes on");
	is($node->safe_psql($db, 'SELECT count(*) FROM cdc.gaps WHERE end_lsn IS NULL'), '0', "$name: the gap is closed");
	return;
}

# loses_slot(): a gap to go on after.
sub loses_slot
{
	$node->safe_psql($db, 'CALL cdc.sp_cdc_stop_job()');
	$node->safe_psql($db, "SELECT pg_drop_replication_slot('$slot'); INSERT INTO t (v) VALUES ('lost')");
	return;
}

# --- Another system, another history --------------------------------------------------------------
# What a server with another system identifier, or one whose history does not know what was captured, finds.
for my $case (
	[ 'another system', 'system_identifier = 1', qr/copy.*of system 1, this is/ ],
	[ 'another history', 'timeline = 99', qr/history does not contain.*of timeline 99, the server is on timeline 1/ ])
{
	my ($name, $change, $pattern) = @$case;
	$node->safe_psql($db, 'CALL cdc.sp_cdc_stop_job()');
	$node->safe_psql($db, "UPDATE cdc._identity SET $change");
	$node->safe_psql($db, "INSERT INTO t (v) VALUES ('lost')");
	$node->restart;
	needs_action($pattern, $name);
	$node->safe_psql($db, $resume);
	goes_on($name);
}
is($node->safe_psql($db, 'SELECT system_identifier = (SELECT s.system_identifier FROM pg_control_system() s) AND timeline = 1 FROM cdc._identity'), 't',
	'the identity is this server again');

# --- The log is reset: the slot is there, what it needs is not ------------------------------------
for my $stopped (1, 0)
{
	my $name = $stopped ? 'log reset, job stopped' : 'log reset';
	$node->safe_psql($db, 'CALL cdc.sp_cdc_stop_job()') if $stopped;
	$node->safe_psql($db, "INSERT INTO t (v) VALUES ('lost')");
	$node->stop;
	command_ok([ 'pg_resetwal', '-f', '-D', $node->data_dir ], "$name: done");
	$node->start;
	needs_action(qr/cannot be used.*WAL/, $name);
	$node->safe_psql($db, $resume);
	goes_on($name);
}

# --- Two sessions go on at the same moment --------------------------------------------------------
for my $try (1 .. 3)
{
	loses_slot();
	my $gaps = $node->safe_psql($db, 'SELECT count(*) FROM cdc.gaps');
	my @calls = map { background($resume) } 1 .. 2;
	my @errors = grep { /ERROR/ } map { finish($_) } @calls;
	cmp_ok(scalar(@errors), '<=', 1, 'two calls: at least one goes on') or diag(@errors);
	is(scalar(grep { !/ERROR:  (55006: .*enabled or disabled already|55000: there is no gap|42710: .*already enabled)/ } @errors), '0', 'the other says why') or diag(@errors);
	is($node->safe_psql($db, 'SELECT count(*) FROM cdc.gaps'), $gaps + 1, 'one gap');
	goes_on("two calls, $try");
}

# --- Tables are enabled and disabled while it goes on ---------------------------------------------
$node->safe_psql($db, 'CREATE TABLE coming (id int PRIMARY KEY); CREATE TABLE going (id int PRIMARY KEY); CREATE TABLE rolled (id int PRIMARY KEY)');
enable_table($node, $db, 'going');
wait_captured($node, $db);
loses_slot();
my $session = background("BEGIN; CALL cdc.sp_cdc_enable_table('public', 'coming', NULL); CALL cdc.sp_cdc_disable_table('public', 'going', 'all'); SELECT 'done';");
told($session, qr/done/);
my $call = background($resume);
$node->poll_query_until('postgres', "SELECT count(*) = 1 FROM pg_replication_slots WHERE slot_name = '$slot' AND active") or die 'no slot is being made';
# Waits for the first one, which has locked the set of instances.
my $rolled = background("BEGIN; CALL cdc.sp_cdc_enable_table('public', 'rolled', NULL); SELECT 'done';");
is(finish($session, 'COMMIT;'), '', 'committed while the new slot is made');
told($rolled, qr/done/);
$node->safe_psql($db, 'INSERT INTO coming VALUES (1); INSERT INTO going VALUES (1)');
is(finish($rolled, 'ROLLBACK;'), '', 'rolled back while the new slot is made');
unlike(finish($call), qr/ERROR/, 'the call goes on');
goes_on('tables enabled and disabled meanwhile');
$node->safe_psql($db, 'INSERT INTO coming VALUES (2)');
wait_captured($node, $db);
is($node->safe_psql($db, q(SELECT string_agg(id::text, ' ') FROM cdc.fn_cdc_get_all_changes_public_coming(
	greatest((SELECT max(end_lsn) FROM cdc.gaps), cdc.fn_cdc_get_min_lsn('public_coming')), cdc.fn_cdc_get_max_lsn(), 'all') WHERE id = 2)), '2', 'the new instance is captured');
is($node->safe_psql($db, q(SELECT string_agg(capture_instance, $$ $$ ORDER BY capture_instance) FROM cdc.change_tables)), 'public_coming public_t', 'and the other two are not there');
$node->poll_query_until($db, q(SELECT count(*) = 0 FROM pg_class WHERE relname ~ '^_dropped_')) or die 'the change table stays';

# --- What is given up goes with the next checkpoint -----------------------------------------------
$node->safe_psql($db, 'CALL cdc.sp_cdc_stop_job()');
my $kept = $node->safe_psql('postgres', "SELECT pg_walfile_name(restart_lsn) FROM pg_replication_slots WHERE slot_name = '$slot'");
for (1 .. 3)
{
	$node->safe_psql($db, "INSERT INTO t (v) VALUES ('lost'); SELECT pg_switch_wal()");
}
my $is_there = "SELECT count(*) FROM pg_ls_waldir() WHERE name = '$kept'";
$node->safe_psql('postgres', 'CHECKPOINT');
is($node->safe_psql('postgres', $is_there), '1', 'a stopped job keeps its WAL');
$node->safe_psql($db, 'CALL cdc.discard_kept_wal(true)');
$node->safe_psql('postgres', 'CHECKPOINT');
is($node->safe_psql('postgres', $is_there), '0', 'what is given up is removed');
goes_on('WAL given up while the job is stopped');

unlike(slurp_file($node->logfile), qr/PANIC|TRAP|was terminated by signal/, 'no process crashed');
$node->stop;
done_testing();
