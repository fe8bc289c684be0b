# Positions when nothing, or nothing of ours, is written: dummy mapping rows, the slot over foreign WAL,
# and a commit record that starts exactly where the progress stands.
use strict;
use warnings;

use FindBin;
use lib "$FindBin::RealBin/lib";
use CdcTest;
use IPC::Run;
use PostgreSQL::Test::Utils;
use ReplayOracle;
use Test::More;

my $node = cdc_node('positions', fsync => 'off', 'cdc.idle_mapping_interval' => '0');
cdc_create($node, 'postgres');
$node->safe_psql('postgres', 'CREATE TABLE t (id int PRIMARY KEY, v text)');
enable_table($node, 'postgres', 't');
$node->safe_psql('postgres', q{INSERT INTO t VALUES (1, 'one')});
wait_captured($node, 'postgres');

# A psql session that stays open; say() sends SQL and returns when it has been answered.
sub session
{
	my %session = (in => '', out => '');
	$session{run} = IPC::Run::start(
		[ $node->installed_command('psql'), '-XAtq', '-v', 'ON_ERROR_STOP=1', '-d', $node->connstr('postgres') ],
		'<', \$session{in}, '>', \$session{out}, '2>', '/dev/null');
	return \%session;
}

sub say_to
{
	my ($session, $sql) = @_;
	$session->{out} = '';
	$session->{in} .= "$sql\n\\echo answered\n";
	wait_until(sub { $session->{run}->pump_nb; return $session->{out} =~ /answered/ }, "answer to $sql");
	return;
}

sub scalar_of { return $node->safe_psql('postgres', shift) }

# --- Dummy mapping rows -------------------------------------------------------------------------
is(scalar_of(q{SELECT count(*) FROM cdc.lsn_time_mapping WHERE tran_id = '0' AND change_count = 0}),
	1, 'one dummy row so far: the commit that enabled the table');
my $max = scalar_of('SELECT cdc.fn_cdc_get_max_lsn()');
$node->append_conf('postgresql.conf', q{cdc.idle_mapping_interval = '50ms'});
$node->reload;
$node->safe_psql('postgres', 'CREATE TABLE untracked (a int); INSERT INTO untracked VALUES (1)');
ok($node->poll_query_until('postgres', "SELECT cdc.fn_cdc_get_max_lsn() > '$max'"),
	'a quiet period moves the high end on, and the setting is reloaded');
is(scalar_of(q{SELECT count(*) FROM cdc.lsn_time_mapping m WHERE tran_id = '0' AND (change_count <> 0
	OR first_ordinal <> (SELECT sum(change_count) + 1 FROM cdc.lsn_time_mapping b WHERE b.start_lsn < m.start_lsn)
		AND m.start_lsn > (SELECT min(start_lsn) FROM cdc.lsn_time_mapping))}),
	0, 'dummy rows hold no change and no ordinal');
$node->append_conf('postgresql.conf', q{cdc.idle_mapping_interval = 0});
$node->reload;

# --- The slot goes on over WAL that holds nothing for us ----------------------------------------
my $confirmed = scalar_of(q{SELECT confirmed_flush_lsn FROM pg_replication_slots});
for (1 .. 3)
{
	$node->safe_psql('postgres', q{SELECT pg_logical_emit_message(false, 'noise', repeat('x', 17000000))});
}
ok( $node->poll_query_until('postgres',
		"SELECT confirmed_flush_lsn > '$confirmed'::pg_lsn + 32000000 FROM pg_replication_slots"),
	'the slot is confirmed over foreign WAL');

# --- A commit record that starts exactly at a progress made by foreign WAL ----------------------
# The writer is held at saving the progress P, then a commit is written at P, then P is made durable and
# the writer is ended before it can capture that commit. Its successor starts from P.
my $hit = 0;
for my $attempt (1 .. 5)
{
	my $id = 100 + $attempt;
	wait_captured($node, 'postgres');
	$node->poll_query_until('postgres', 'SELECT pg_current_wal_insert_lsn() - captured_lsn < 16000000 FROM cdc._progress')
	  or die 'earlier noise was not saved';
	my $former = scalar_of('SELECT captured_lsn FROM cdc._progress');
	my ($source, $mapping, $progress) = map { session() } 1 .. 3;
	say_to($source, "BEGIN; INSERT INTO t VALUES ($id, 'at the border');");
	say_to($mapping, 'BEGIN; LOCK TABLE cdc.lsn_time_mapping IN ACCESS EXCLUSIVE MODE;');
	say_to($progress, 'BEGIN; LOCK TABLE cdc._progress IN ACCESS EXCLUSIVE MODE;');
	my $writer = worker_pid($node, 'cdc capture worker', 'postgres');
	$node->safe_psql('postgres', q{SELECT pg_logical_emit_message(false, 'noise', repeat('x', 17000000))});
	$node->poll_query_until('postgres',
		"SELECT EXISTS (SELECT FROM pg_locks WHERE pid = $writer AND NOT granted AND relation = 'cdc._progress'::regclass)")
	  or die 'the writer does not save its position';
	say_to($source, 'COMMIT;');
	say_to($progress, 'ROLLBACK;');
	$node->poll_query_until('postgres', "SELECT captured_lsn <> '$former' FROM cdc._progress")
	  or die 'the progress was not saved';
	my $saved = scalar_of('SELECT captured_lsn FROM cdc._progress');
	$node->safe_psql('postgres', "SELECT pg_terminate_backend($writer)");
	wait_for_exit($node, $writer);
	say_to($mapping, 'ROLLBACK;');
	$_->{in} .= "\\q\n", $_->{run}->finish for $source, $mapping, $progress;
	wait_captured($node, 'postgres');
	is(scalar_of(qq{SELECT count(*) FROM cdc.public_t_ct WHERE id = $id}),
		1, "attempt $attempt: the transaction at the border is captured exactly once");
	$hit = scalar_of(qq{SELECT "__\$start_lsn" = '$saved' FROM cdc.public_t_ct WHERE id = $id}) eq 't';
	last if $hit;
}
ok($hit, 'its commit record started exactly at the saved progress');

oracle_ok($node, 'postgres', 'after all');

# --- A slot that is lost while the server is down, or before anybody looks, is not silent ---------
$node->safe_psql('postgres', 'CALL cdc.sp_cdc_stop_job()');
$node->safe_psql('postgres', 'SELECT pg_drop_replication_slot(slot_name) FROM pg_replication_slots');
$node->restart;
is(stat_value($node, 'postgres', 'state'), 'needs action', 'a lost slot shows after a restart');
like(stat_value($node, 'postgres', 'last_error_hint'), qr/resume_after_gap/, 'and what to do about it');
$node->stop;
done_testing();
