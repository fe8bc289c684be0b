# Gaps of a whole database: whatever takes slot, log and progress apart is noticed and recorded once, and stops
# capture; cdc.resume_after_gap() goes on. After each: a query across is refused, and what was captured before and
# after is the whole truth about its stretch of time.
use strict;
use warnings;

use FindBin;
use lib "$FindBin::RealBin/lib";

use CdcTest;
use IPC::Run;
use PostgreSQL::Test::Utils;
use ReplayOracle;
use Test::More;

my $node = cdc_node('gaps', wal_level => 'logical');
my $db = 'gaps';
cdc_create($node, $db);
$node->safe_psql($db, 'CREATE TABLE t (id int GENERATED ALWAYS AS IDENTITY PRIMARY KEY, v text)');
enable_table($node, $db, 't');

# What each database knows of its stretches: [from, table with the rows of t at that time].
my %stretch = ($db => { from => '0/0', number => 0 });

# Transactions with changes of all kinds.
sub changes
{
	return (
		q(INSERT INTO t (v) SELECT 'row' FROM generate_series(1, 10)),
		q(UPDATE t SET v = v || '+' WHERE id % 3 = 0),
		q(DELETE FROM t WHERE id % 7 = 1));
}

sub write_some
{
	my ($dbname) = @_;
	$node->safe_psql($dbname, join ";\n", changes());
	return;
}

# refused($dbname, $sql, $state, $pattern, $name): an error with that SQLSTATE that says so.
sub refused
{
	my ($dbname, $sql, $state, $pattern, $name) = @_;
	local $Test::Builder::Level = $Test::Builder::Level + 1;
	my $stderr;
	$node->psql($dbname, "\\set VERBOSITY verbose\n$sql", stderr => \$stderr, timeout => 60);
	like($stderr, qr/ERROR:\s+$state:.*$pattern/s, $name);
	return;
}

# whole_stretch($dbname, $to, $name): from the last gap's end to before $to the log is the truth, as the rows
# were at both ends.
sub whole_stretch
{
	my ($dbname, $to, $name) = @_;
	local $Test::Builder::Level = $Test::Builder::Level + 1;
	my $own = $stretch{$dbname};
	my ($instance) = grep { $_->{name} eq 'public_t' } oracle_instances($node, $dbname);
	my $range = "BETWEEN '$own->{from}' AND '" . ($to // 'FFFFFFFF/FFFFFFFF') . "'";
	$node->safe_psql($dbname, qq(
		CREATE VIEW stretch_log AS SELECT * FROM $instance->{log} WHERE "__\$start_lsn" $range;
		CREATE VIEW stretch_mapping AS SELECT start_lsn, tran_begin_time, tran_end_time, tran_id, tran_begin_lsn,
			first_ordinal - min(first_ordinal) OVER () + 1 AS first_ordinal, change_count
		FROM cdc.lsn_time_mapping WHERE start_lsn $range;));
	$instance->{log} = 'stretch_log';
	$instance->{source} = 'before_gap' if defined $to;
	my @problems = oracle_problems($node, $dbname, instances => [$instance], mapping => 'stretch_mapping', whole => 0,
		($own->{base} ? (baseline => { public_t => $own->{base} }) : ()));
	ok(!@problems, $name) or diag(join "\n", @problems);
	$node->safe_psql($dbname, 'DROP VIEW stretch_log, stretch_mapping');
	return;
}

# captured($dbname): writes, captures, and remembers the rows: the last moment before the gap.
sub captured
{
	my ($dbname) = @_;
	write_some($dbname);
	wait_captured($node, $dbname);
	$node->safe_psql($dbname, 'DROP TABLE IF EXISTS before_gap; CREATE TABLE before_gap AS TABLE t');
	return;
}

# stands($dbname, $reason, $name): there is a gap, it is shown and recorded once, and nothing goes on behind it.
sub stands
{
	my ($dbname, $reason, $name) = @_;
	local $Test::Builder::Level = $Test::Builder::Level + 1;
	write_some($dbname);
	refused($dbname, 'CALL cdc.sp_cdc_start_job()', '55000', 'resume_after_gap', "$name: the job cannot be started");
	$node->poll_query_until($dbname, 'SELECT count(*) = 1 FROM cdc.gaps WHERE end_lsn IS NULL') or die "$name: not recorded";
	like($node->safe_psql($dbname, 'SELECT reason FROM cdc.gaps WHERE end_lsn IS NULL'), $reason, "$name: recorded");
	refused($dbname, 'CALL cdc.wait_for_capture()', '55000', 'resume_after_gap', "$name: waiting is refused");
	is($node->safe_psql($dbname, q(SELECT string_agg(DISTINCT status || ' ' || action, '') FROM cdc.health() WHERE check_name IN ('slot', 'gaps'))),
		'critical CALL cdc.resume_after_gap();', "$name: health says so");
	refused($dbname, 'CALL cdc.sp_cdc_scan()', '55\w\w\w', 'resume_after_gap|already scans', "$name: a scan is refused");
	my $from = $stretch{$dbname}{base} ? "'$stretch{$dbname}{from}'" : q(cdc.fn_cdc_get_min_lsn('public_t'));
	refused($dbname, qq(SELECT * FROM cdc.fn_cdc_get_all_changes_public_t($from, pg_current_wal_lsn(), 'all')),
		'SC004', 'resume_after_gap', "$name: reading into it is refused");
	return;
}

# resumes($dbname, $call, $name): the call goes on; before and after are whole, across is refused.
sub resumes
{
	my ($dbname, $call, $name) = @_;
	local $Test::Builder::Level = $Test::Builder::Level + 1;
	my $own = $stretch{$dbname};
	my $ordinal = $node->safe_psql($dbname, 'SELECT next_ordinal FROM cdc._progress');
	my $said;
	is($node->psql($dbname, $call, stderr => \$said, timeout => 60), 0, "$name: goes on") or diag($said);
	like($said, qr/NOTICE:  capture goes on from .*DETAIL:.*HINT:.*from_lsn/s, "$name: says what is lost");
	my ($from, $to) = split /\|/, $node->safe_psql($dbname, 'SELECT start_lsn, end_lsn FROM cdc.gaps WHERE object_id IS NULL ORDER BY start_lsn DESC LIMIT 1');
	is($node->safe_psql($dbname, 'SELECT count(*) FROM cdc.gaps WHERE end_lsn IS NULL'), '0', "$name: the gap is closed");
	is($node->safe_psql($dbname, qq(SELECT cdc.fn_cdc_get_max_lsn() >= '$to')), 't', "$name: its end can be read at once");
	is($node->safe_psql($dbname, qq(SELECT count(*) FROM cdc.fn_cdc_get_all_changes_public_t('$to', '$to', 'all'))), '0', "$name: as an empty range");
	whole_stretch($dbname, $from, "$name: before the gap nothing is missing");
	$own->{from} = $to;
	$own->{base} = 'base_' . ++$own->{number};
	$node->safe_psql($dbname, "CREATE TABLE $own->{base} AS TABLE t");
	write_some($dbname);
	wait_captured($node, $dbname);
	whole_stretch($dbname, undef, "$name: after the gap nothing is missing");
	is($node->safe_psql($dbname, "SELECT min(first_ordinal) FROM cdc.lsn_time_mapping WHERE start_lsn >= '$to'"), $ordinal, "$name: ordinals go on");
	for my $function ('all', 'net')
	{
		refused($dbname, qq(SELECT * FROM cdc.fn_cdc_get_${function}_changes_public_t(cdc.fn_cdc_get_min_lsn('public_t'), cdc.fn_cdc_get_max_lsn(), 'all')),
			'SC004', 'from_lsn', "$name: $function changes across it are refused");
		isnt($node->safe_psql($dbname, qq(SELECT count(*) FROM cdc.fn_cdc_get_${function}_changes_public_t('$to', cdc.fn_cdc_get_max_lsn(), 'all'))), '0',
			"$name: $function changes after it can be read");
	}
	is(stat_value($node, $dbname, 'state'), 'streaming', "$name: capture runs");
	return;
}

my $slot = $node->safe_psql($db, q(SELECT 'cdc_' || oid FROM pg_database WHERE datname = current_database()));
my $resume = 'CALL cdc.resume_after_gap()';

# --- No gap, no call; rights ----------------------------------------------------------------------
captured($db);
refused($db, $resume, '55000', 'no gap.*sp_cdc_start_job', 'without a gap there is nothing to resume after');
refused($db, "BEGIN; $resume", '25001', 'statement of its own', 'not in a transaction');
$node->safe_psql($db, 'CREATE ROLE somebody LOGIN');
for my $call ($resume, 'CALL cdc.discard_kept_wal(true)')
{
	refused($db, "SET ROLE somebody; $call", '42501', 'permission denied', "$call: not for everybody");
}
$node->safe_psql($db, 'GRANT EXECUTE ON PROCEDURE cdc.resume_after_gap() TO somebody');
refused($db, "SET ROLE somebody; $resume", '42501', '22902', 'nor for who has EXECUTE only');
oracle_ok($node, $db, 'all that was in vain: capture goes on');

# --- The slot is dropped by hand ------------------------------------------------------------------
$node->safe_psql($db, 'CREATE TABLE dropped (id int PRIMARY KEY); CREATE TABLE dropped_kept (id int PRIMARY KEY)');
enable_table($node, $db, 'dropped');
enable_table($node, $db, 'dropped_kept', drop_action => q('keep'));
captured($db);
$node->safe_psql($db, 'CALL cdc.sp_cdc_stop_job()');
$node->safe_psql($db, "SELECT pg_drop_replication_slot('$slot')");
stands($db, qr/"$slot" .* missing/, 'slot dropped');
my $from = log_size($node);
$node->restart;
wait_until(sub { log_since($node, $from) =~ /LOG:  replication slot "$slot" of change data capture is missing/ }, 'the server log says nothing');
is(stat_value($node, $db, 'state'), 'needs action', 'slot dropped: shown after a restart');
stands($db, qr/"$slot" .* missing/, 'slot dropped, after a restart');
# In the lost stretch one table is enabled, one disabled, and columns are added.
$node->safe_psql($db, 'CREATE TABLE fresh (id int PRIMARY KEY); ALTER TABLE t ADD COLUMN more int; INSERT INTO t (v, more) VALUES (1, 2)');
enable_table($node, $db, 'fresh');
$node->safe_psql($db, 'CREATE TABLE gone (id int PRIMARY KEY)');
enable_table($node, $db, 'gone');
$node->safe_psql($db, q(INSERT INTO fresh VALUES (1); CALL cdc.sp_cdc_disable_table('public', 'gone', 'all')));
# Two were captured before and are dropped now; of one the changes are kept.
$node->safe_psql($db, 'DROP TABLE dropped, dropped_kept');
resumes($db, $resume, 'slot dropped');
refused($db, q(SELECT * FROM cdc.fn_cdc_get_all_changes_public_fresh(cdc.fn_cdc_get_min_lsn('public_fresh'), cdc.fn_cdc_get_max_lsn(), 'all')),
	'SC004', 'from_lsn', 'a table enabled in the gap says that its first changes are missing');
$node->safe_psql($db, 'INSERT INTO fresh VALUES (2)');
wait_captured($node, $db);
is($node->safe_psql($db, 'SELECT string_agg(c.id::text, $$,$$) FROM cdc.gaps, cdc.fn_cdc_get_all_changes_public_fresh(end_lsn, cdc.fn_cdc_get_max_lsn(), $$all$$) c'),
	'2', 'and is captured from its end on');
$node->poll_query_until($db, q(SELECT count(*) = 0 FROM cdc.change_tables WHERE capture_instance = 'public_dropped')) or die 'its instance stays';
is($node->safe_psql($db, q(SELECT has_drop_pending FROM cdc.change_tables WHERE capture_instance = 'public_dropped_kept')), 't',
	'tables dropped in the gap: the instance goes, or stays where that was asked for');
$node->poll_query_until($db, q(SELECT count(*) = 0 FROM pg_class WHERE relname ~ '^_dropped_')) or die 'the change table stays';
pass('the change table of one that was disabled in the gap is gone');
refused($db, $resume, '55000', 'no gap', 'a second call finds no gap');

# --- It is advanced by hand -----------------------------------------------------------------------
captured($db);
$node->safe_psql($db, 'CALL cdc.sp_cdc_stop_job()');
write_some($db);
$node->safe_psql($db, "SELECT pg_replication_slot_advance('$slot', pg_current_wal_lsn())");
stands($db, qr/moved past/, 'slot advanced');
resumes($db, $resume, 'slot advanced');

# --- Somebody makes one of that name --------------------------------------------------------------
captured($db);
$node->safe_psql($db, 'CALL cdc.sp_cdc_stop_job()');
$node->safe_psql($db, "SELECT pg_drop_replication_slot('$slot')");
$node->safe_psql($db, "SELECT pg_create_logical_replication_slot('$slot', 'pgoutput')");
stands($db, qr/cannot be used/, 'slot recreated');
refused($db, $resume, '42710', 'pg_drop_replication_slot', 'slot recreated: somebody else\'s slot is not dropped');
stands($db, qr/cannot be used/, 'slot recreated, after a vain call');
$node->safe_psql($db, "SELECT pg_drop_replication_slot('$slot')");
# The owner of the database may do it, with EXECUTE, and see what was lost.
$node->safe_psql('postgres', "CREATE ROLE dba; ALTER DATABASE $db OWNER TO dba");
refused($db, "SET ROLE dba; $resume", '42501', 'permission denied for procedure', 'the owner of the database without EXECUTE');
$node->safe_psql($db, 'GRANT EXECUTE ON PROCEDURE cdc.resume_after_gap() TO dba');
is($node->safe_psql($db, 'SET ROLE dba; SELECT count(*) FROM cdc.gaps WHERE end_lsn IS NULL'), '1', 'the owner of the database sees the gap');
resumes($db, "SET ROLE dba; $resume", 'slot recreated');

# --- The server invalidates it --------------------------------------------------------------------
captured($db);
$node->safe_psql($db, 'CALL cdc.sp_cdc_stop_job()');
$node->safe_psql('postgres', "ALTER SYSTEM SET max_slot_wal_keep_size = '1MB'");
$node->reload;
for (1 .. 3)
{
	write_some($db);
	$node->safe_psql('postgres', 'SELECT pg_switch_wal()');
}
$node->safe_psql('postgres', 'CHECKPOINT');
is($node->safe_psql('postgres', "SELECT wal_status FROM pg_replication_slots WHERE slot_name = '$slot'"), 'lost', 'the slot is invalidated');
$node->safe_psql('postgres', 'ALTER SYSTEM RESET max_slot_wal_keep_size');
$node->reload;
stands($db, qr/cannot be used/, 'slot invalidated');
resumes($db, $resume, 'slot invalidated');

# --- wal_level is turned down for a while ---------------------------------------------------------
captured($db);
$node->safe_psql($db, 'CALL cdc.sp_cdc_stop_job()');
$node->safe_psql($db, "SELECT pg_drop_replication_slot('$slot')");
$node->append_conf('postgresql.conf', "wal_level = 'replica'\n");
$node->restart;
stands($db, qr/missing/, 'wal_level turned down');
refused($db, $resume, '55000', 'wal_level = logical', 'wal_level turned down: no slot with that');
$node->append_conf('postgresql.conf', "wal_level = 'logical'\n");
$node->restart;
stands($db, qr/missing/, 'wal_level turned up again');
resumes($db, $resume, 'wal_level turned down and up');

# --- The kept WAL is given up ---------------------------------------------------------------------
captured($db);
$node->safe_psql($db, 'CALL cdc.sp_cdc_stop_job()');
write_some($db);
my $kept = $node->safe_psql('postgres', "SELECT restart_lsn FROM pg_replication_slots WHERE slot_name = '$slot'");
refused($db, 'CALL cdc.discard_kept_wal()', '55000', 'bytes.*discard_kept_wal\(true\)', 'giving up WAL must be confirmed');
is($node->safe_psql('postgres', "SELECT restart_lsn FROM pg_replication_slots WHERE slot_name = '$slot'"), $kept, 'until then it is kept');
resumes($db, 'CALL cdc.discard_kept_wal(true)', 'WAL given up');
is($node->safe_psql('postgres', "SELECT restart_lsn > '$kept' FROM pg_replication_slots WHERE slot_name = '$slot'"), 't', 'and then it is not');
like($node->safe_psql($db, 'SELECT reason FROM cdc.gaps ORDER BY gap_id DESC LIMIT 1'), qr/given up/, 'the gap says so');
# Also while capture runs.
captured($db);
resumes($db, 'CALL cdc.discard_kept_wal(true)', 'WAL given up of a running job');

# --- Invalidated while capture runs, held up by a lock --------------------------------------------
# How much of what the decoder had sent is captured then depends on when the writer notices that the decoder has gone: any
# number of whole transactions, and the gap begins behind them.
captured($db);
my $last = $node->safe_psql($db, 'SELECT max(start_lsn) FROM cdc.lsn_time_mapping');
my %hindrance = (in => "BEGIN; LOCK TABLE cdc.lsn_time_mapping IN ACCESS EXCLUSIVE MODE; SELECT 'locked';\n", out => '');
$hindrance{run} = IPC::Run::start [ 'psql', '-XAtq', '-d', $node->connstr($db) ], '<', \$hindrance{in}, '>', \$hindrance{out};
wait_until(sub { $hindrance{run}->pump_nb; $hindrance{out} =~ /locked/ }, 'no lock');
$node->safe_psql('postgres', "ALTER SYSTEM SET max_slot_wal_keep_size = '1MB'");
$node->reload;
my @states = ('before_gap');
for (1 .. 3)
{
	for my $change (changes())
	{
		push @states, 'state_' . @states;
		$node->safe_psql($db, "$change; CREATE TABLE $states[-1] AS TABLE t");
	}
	$node->safe_psql('postgres', 'SELECT pg_switch_wal()');
}
$node->safe_psql('postgres', 'CHECKPOINT');
$node->poll_query_until('postgres', "SELECT wal_status = 'lost' FROM pg_replication_slots WHERE slot_name = '$slot'") or die 'not invalidated';
$node->safe_psql('postgres', 'ALTER SYSTEM RESET max_slot_wal_keep_size');
$node->reload;
$hindrance{in} .= "ROLLBACK;\n\\q\n";
$hindrance{run}->finish;
$node->poll_query_until($db, q(SELECT state = 'needs action' FROM cdc.pg_stat_cdc WHERE database = current_database())) or die 'not noticed';
my $taken = $node->safe_psql($db, "SELECT count(*) FROM cdc.lsn_time_mapping WHERE start_lsn > '$last' AND change_count > 0");
note "$taken of $#states transactions are captured";
$node->safe_psql($db, "DROP TABLE before_gap; ALTER TABLE $states[$taken] RENAME TO before_gap") if $taken > 0;
stands($db, qr/cannot be used/, 'invalidated while running');
resumes($db, $resume, 'invalidated while running');

# --- Cancelled, killed, called twice --------------------------------------------------------------
captured($db);
$node->safe_psql($db, 'CALL cdc.sp_cdc_stop_job()');
$node->safe_psql($db, "SELECT pg_drop_replication_slot('$slot')");

# The new slot waits for this transaction: it is unfinished, and not the one that a decoder holds.
sub hold_slots
{
	my %session = (in => "BEGIN; SELECT pg_current_xact_id();\n", out => '');
	$session{run} = IPC::Run::start [ 'psql', '-XAtq', '-d', $node->connstr('postgres') ], '<', \$session{in}, '>', \$session{out};
	wait_until(sub { $session{run}->pump_nb; $session{out} =~ /\d/ }, 'no transaction');
	return \%session;
}

sub resume_in_background
{
	my %session = (in => '', out => '', err => '');
	$session{run} = IPC::Run::start [ 'psql', '-XAtq', '-c', $resume, '-d', $node->connstr($db) ], '<', \$session{in}, '>', \$session{out}, '2>', \$session{err};
	$node->poll_query_until('postgres', "SELECT count(*) = 1 FROM pg_replication_slots WHERE slot_name = '$slot' AND active AND restart_lsn IS NOT NULL AND confirmed_flush_lsn IS NULL")
	  or die 'no slot is being made';
	return \%session;
}
my $holder = hold_slots();
my $call   = resume_in_background();
refused($db, $resume, '55006', 'Another session', 'a second call meanwhile');
$node->safe_psql('postgres', "SELECT pg_cancel_backend(pid) FROM pg_stat_activity WHERE query = '$resume' AND backend_type = 'client backend'");
eval { $call->{run}->finish };
like($call->{err}, qr/canceling statement/, 'cancelled');
$node->poll_query_until('postgres', "SELECT count(*) = 0 FROM pg_replication_slots WHERE slot_name = '$slot'") or die 'half a slot is left';
stands($db, qr/missing/, 'cancelled');

$call = resume_in_background();
$node->stop('immediate');
eval { $_->{run}->finish } for $holder, $call;
start_again($node);
stands($db, qr/missing/, 'crashed while the slot was made');

# Giving up WAL, cancelled: what was kept is gone, and that is recorded. Who was making the slot is slow to end meanwhile.
$node->safe_psql($db, $resume);
wait_captured($node, $db);
$stretch{$db}{from} = $node->safe_psql($db, 'SELECT max(end_lsn) FROM cdc.gaps');
$stretch{$db}{base} = 'base_' . ++$stretch{$db}{number};
$node->safe_psql($db, "CREATE TABLE $stretch{$db}{base} AS TABLE t");
captured($db);
$holder = hold_slots();
$resume = 'CALL cdc.discard_kept_wal(true)';
fault_set($node, 'creator-gone:pause') if $ENV{CDC_TEST_FAULTS};
$call = resume_in_background();
$node->safe_psql('postgres', "SELECT pg_cancel_backend(pid) FROM pg_stat_activity WHERE query = '$resume' AND backend_type = 'client backend'");
eval { $call->{run}->finish };
fault_wait($node, 'creator-gone') if $ENV{CDC_TEST_FAULTS};
$resume = 'CALL cdc.resume_after_gap()';
stands($db, qr/given up/, 'giving up WAL, cancelled');
fault_clear($node) if $ENV{CDC_TEST_FAULTS};
$holder->{in} .= "ROLLBACK;\n\\q\n";
$holder->{run}->finish;
stands($db, qr/given up/, 'giving up WAL, cancelled, and nobody left');

# The slot is there, what hangs on it is not committed yet.
my %lock = (in => "BEGIN; LOCK TABLE cdc.gaps IN SHARE MODE; SELECT 'locked';\n", out => '');
$lock{run} = IPC::Run::start [ 'psql', '-XAtq', '-d', $node->connstr($db) ], '<', \$lock{in}, '>', \$lock{out};
wait_until(sub { $lock{run}->pump_nb; $lock{out} =~ /locked/ }, 'no lock');
$call = { in => '', out => '', err => '' };
$call->{run} = IPC::Run::start [ 'psql', '-XAtq', '-c', $resume, '-d', $node->connstr($db) ], '<', \$call->{in}, '>', \$call->{out}, '2>', \$call->{err};
$node->poll_query_until($db, "SELECT count(*) = 1 FROM pg_locks WHERE NOT granted AND relation = 'cdc.gaps'::regclass") or die 'nobody waits';
$node->stop('immediate');
eval { $_->{run}->finish } for \%lock, $call;
start_again($node);
stands($db, qr/given up/, 'crashed after the slot was made');
resumes($db, $resume, 'after cancellation and two crashes');

# --- A copy by CREATE DATABASE ... TEMPLATE -------------------------------------------------------
captured($db);
$node->safe_psql($db, 'CALL cdc.sp_cdc_stop_job()');
$node->safe_psql('postgres', "CREATE DATABASE copy TEMPLATE $db");
$node->safe_psql($db, 'CALL cdc.sp_cdc_start_job()');
$stretch{copy} = { %{ $stretch{$db} } };
is(stat_value($node, 'copy', 'state'), 'needs action', 'copy: shown at once');
like(stat_value($node, 'copy', 'last_error_message || last_error_hint'), qr/copy.*resume_after_gap/s, 'copy: with what to do');
refused('copy', 'CALL cdc.wait_for_capture()', '55000', 'resume_after_gap', 'copy: waiting is refused');
stands('copy', qr/copy/, 'copy');
resumes('copy', $resume, 'copy');
is($node->safe_psql('copy', 'SELECT bool_and(j.database_id = d.oid AND i.database_id = d.oid) FROM cdc.cdc_jobs j, cdc._identity i, pg_database d WHERE datname = current_database()'), 't', 'copy: jobs and identity are its own');
wait_captured($node, $db);
whole_stretch($db, undef, 'the original goes on');

# --- A log that is behind, as after pg_resetwal: positions would repeat -----------------------------
$node->safe_psql('postgres', 'CREATE DATABASE reset');
$node->safe_psql('reset', 'CREATE EXTENSION cdc');
$node->safe_psql('reset', 'CALL cdc.sp_cdc_enable_db()');
$node->safe_psql('reset', 'CREATE TABLE t (id int PRIMARY KEY)');
enable_table($node, 'reset', 't');
wait_captured($node, 'reset');
$node->safe_psql('reset', 'CALL cdc.sp_cdc_stop_job()');
$node->safe_psql('reset', "UPDATE cdc._progress SET captured_lsn = 'FF/0', last_start_lsn = 'FE/0'");
$node->safe_psql('reset', 'INSERT INTO t VALUES (1)');
refused('reset', 'CALL cdc.sp_cdc_start_job()', '55000', 'log of this server is behind', 'a log that is behind: nothing is captured');
refused('reset', 'CALL cdc.resume_after_gap()', '55000', 'behind what was captured.*sp_cdc_disable_db', 'nor can it be gone on');
ok($node->poll_query_until('reset', 'SELECT count(*) = 1 FROM cdc.gaps WHERE end_lsn IS NULL'), 'the gap stays open');
$node->safe_psql('reset', 'CALL cdc.sp_cdc_disable_db()');
$node->safe_psql('reset', 'CALL cdc.sp_cdc_enable_db()');
enable_table($node, 'reset', 't');
$node->safe_psql('reset', 'INSERT INTO t VALUES (2)');
wait_captured($node, 'reset');
is($node->safe_psql('reset', 'SELECT id FROM cdc.public_t_ct'), '2', 'disabled and enabled again');
$node->safe_psql('postgres', 'DROP DATABASE reset');

# --- DROP DATABASE of one that lost its slot, which nobody knows after a restart ------------------
$node->safe_psql('copy', 'CALL cdc.sp_cdc_stop_job()');
$node->safe_psql('copy', "SELECT pg_drop_replication_slot('cdc_' || oid) FROM pg_database WHERE datname = 'copy'");
$node->restart;
is($node->safe_psql('postgres', 'SELECT count(*) FROM pg_replication_origin'), '2', 'two origins');
$node->safe_psql('postgres', 'DROP DATABASE copy');
is($node->safe_psql('postgres', 'SELECT roname FROM pg_replication_origin'), $slot, 'a dropped database leaves no origin behind');
$node->safe_psql($db, 'CALL cdc.sp_cdc_stop_job()');
$node->safe_psql($db, "SELECT pg_drop_replication_slot('$slot')");
$node->restart;
$node->safe_psql($db, 'DROP EXTENSION cdc CASCADE');
is($node->safe_psql('postgres', 'SELECT count(*) FROM pg_replication_origin'), '0', 'nor does a dropped extension');

unlike(slurp_file($node->logfile), qr/PANIC|TRAP|was terminated by signal/, 'no process crashed');
$node->stop;
done_testing();
