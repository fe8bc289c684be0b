# The life of the workers, and what happens when something they need is missing: each time a message that
# says what to do, nothing lost, no busy loop in the log, and the server stays up.
use strict;
use warnings;

use FindBin;
use lib "$FindBin::RealBin/lib";

use CdcTest;
use PostgreSQL::Test::Utils;
use ReplayOracle;
use Test::More;

my $node = cdc_node('worker', shared_preload_libraries => '', wal_level => 'replica');
my $db = 'worker';

# refused($dbname, $sql, $state, $hint, $name): an error with that SQLSTATE and a hint that matches.
sub refused
{
	my ($dbname, $sql, $state, $hint, $name) = @_;
	local $Test::Builder::Level = $Test::Builder::Level + 1;
	my ($stdout, $stderr);
	$node->psql($dbname, "\\set VERBOSITY verbose\n$sql", stdout => \$stdout, stderr => \$stderr, timeout => 60);
	like($stderr, qr/ERROR:\s+$state:/, "$name: refused");
	like($stderr, qr/HINT:.*$hint/, "$name: hint");
	return;
}

sub not_enabled
{
	my ($dbname, $name) = @_;
	local $Test::Builder::Level = $Test::Builder::Level + 1;
	is($node->safe_psql($dbname, 'SELECT count(*) FROM cdc._identity'), '0', "$name: not enabled");
	is($node->safe_psql($dbname, "SELECT count(*) FROM pg_replication_slots WHERE plugin = 'cdc'"), '0', "$name: no slot");
	return;
}

sub set_and_restart
{
	my (%settings) = @_;
	$node->append_conf('postgresql.conf', join '', map { "$_ = '$settings{$_}'\n" } sort keys %settings);
	$node->restart;
	return;
}

my $insert = "INSERT INTO t (v) SELECT 'row' FROM generate_series(1, 10)";

#
# What must be there before a database can be enabled
#
$node->safe_psql('postgres', "CREATE DATABASE $db");
$node->safe_psql($db, 'CREATE EXTENSION cdc');
pass('the extension can be created without preloading');
refused($db, 'CALL cdc.sp_cdc_enable_db()', '55000', 'shared_preload_libraries', 'library not preloaded');
is($node->safe_psql($db, "LOAD 'cdc'; SELECT 'alive'"), 'alive', 'loading the library late is harmless');
not_enabled($db, 'library not preloaded');

set_and_restart(shared_preload_libraries => 'cdc');
wait_for_worker($node, 'cdc launcher');
refused($db, 'CALL cdc.sp_cdc_enable_db()', '55000', 'wal_level', 'wal_level is replica');
not_enabled($db, 'wal_level is replica');

set_and_restart(wal_level => 'logical', max_replication_slots => 1);
$node->safe_psql('postgres', "SELECT pg_create_physical_replication_slot('in_the_way')");
refused($db, 'CALL cdc.sp_cdc_enable_db()', '(?:53\d\d\d|55000)', 'max_replication_slots', 'no free slot');
not_enabled($db, 'no free slot');
$node->safe_psql('postgres', "SELECT pg_drop_replication_slot('in_the_way')");

# The server's own logical replication launcher and ours take one each.
set_and_restart(max_replication_slots => 10, max_worker_processes => 2);
refused($db, 'CALL cdc.sp_cdc_enable_db()', '(?:53\d\d\d|55000)', 'max_worker_processes', 'no free worker slot');
not_enabled($db, 'no free worker slot');

set_and_restart(max_worker_processes => 16);
$node->safe_psql($db, 'CALL cdc.sp_cdc_enable_db()');
$node->safe_psql($db, 'CREATE TABLE t (id int GENERATED ALWAYS AS IDENTITY PRIMARY KEY, v text)');
enable_table($node, $db, 't');
$node->safe_psql($db, $insert);
oracle_ok($node, $db, 'enabled after all refusals');
my $postmaster = $node->safe_psql('postgres', 'SELECT pg_postmaster_start_time()');

#
# A worker that is ended is restarted
#
my $writer  = wait_for_worker($node, 'cdc capture worker', $db);
my $decoder = wait_for_worker($node, 'cdc decoder',        $db);
is(stat_value($node, $db, "worker_pid || ' ' || decoder_pid"), "$writer $decoder", 'pg_stat_cdc shows the processes');
is(stat_value($node, $db, "state || ' ' || (captured_lsn <= confirmed_lsn OR captured_lsn > confirmed_lsn)"), 'streaming true', 'and their state');

# An old transaction would alarm whoever watches for them, and is none: it ends when there is no more to read.
ok($node->poll_query_until($db, "SELECT xact_start IS NULL FROM pg_stat_activity WHERE pid = $decoder"), 'a decoder that waits has no transaction');

$node->safe_psql($db, "SELECT pg_terminate_backend($writer)");
$node->safe_psql($db, $insert);
$writer  = wait_for_worker($node, 'cdc capture worker', $db, $writer);
$decoder = wait_for_worker($node, 'cdc decoder',        $db, $decoder);
oracle_ok($node, $db, 'writer ended: restarted with its decoder, nothing lost');

$node->safe_psql($db, "SELECT pg_terminate_backend($decoder)");
$node->safe_psql($db, $insert);
$decoder = wait_for_worker($node, 'cdc decoder', $db, $decoder);
oracle_ok($node, $db, 'decoder ended: restarted, nothing lost');

my $launcher = worker_pid($node, 'cdc launcher');
kill 'TERM', $launcher;
$node->safe_psql($db, $insert);
wait_for_worker($node, 'cdc launcher', undef, $launcher);
oracle_ok($node, $db, 'launcher ended: restarted, nothing lost');
$node->safe_psql($db, 'SELECT pg_terminate_backend(' . wait_for_worker($node, 'cdc capture worker', $db) . ')');
$node->safe_psql($db, $insert);
oracle_ok($node, $db, 'the new launcher still restarts what ends');

# With nothing more to capture, too, all is well again.
$decoder = wait_for_worker($node, 'cdc decoder', $db);
$node->safe_psql($db, "SELECT pg_terminate_backend($decoder)");
wait_for_worker($node, 'cdc decoder', $db, $decoder);
ok($node->poll_query_until($db, "SELECT state = 'streaming' AND failures = 0 FROM cdc.pg_stat_cdc WHERE database = '$db'"), 'the next decoder has read what there is');
is($node->safe_psql($db, q(SELECT status FROM cdc.health() WHERE check_name = 'capture_worker')), 'ok', 'and health() has no complaint');

#
# The job
#
$node->safe_psql($db, 'CALL cdc.sp_cdc_stop_job()');
$node->poll_query_until('postgres', "SELECT count(*) = 0 FROM pg_stat_activity WHERE backend_type IN ('cdc capture worker', 'cdc decoder') AND datname = '$db'")
  or die 'the workers do not stop';
is(stat_value($node, $db, 'state'), 'stopped', 'a stopped job says so');
refused($db, "CALL cdc.wait_for_capture(timeout => '60s')", '55000', 'sp_cdc_start_job', 'waiting while the job is stopped');
my $rows = 'SELECT count(*) FROM cdc.public_t_ct';
my $before = $node->safe_psql($db, $rows);
$node->safe_psql($db, $insert);
$node->restart;
wait_for_worker($node, 'cdc launcher');
$node->poll_query_until($db, "SELECT count(*) = 1 FROM cdc.pg_stat_cdc WHERE database = '$db' AND state = 'stopped'")
  or die 'no state after a restart';
is(worker_pid($node, 'cdc capture worker', $db), '', 'a stopped job stays stopped across a restart');
is($node->safe_psql($db, $rows), $before, 'and captures nothing');
$node->safe_psql($db, 'CALL cdc.sp_cdc_start_job()');
wait_for_worker($node, 'cdc capture worker', $db);
oracle_ok($node, $db, 'started again: nothing lost');
$node->safe_psql($db, $insert);
$node->restart;
wait_for_worker($node, 'cdc capture worker', $db);
oracle_ok($node, $db, 'a started job starts again after a restart');

#
# Configuration
#
my $dummies = $node->safe_psql($db, "SELECT count(*) FROM cdc.lsn_time_mapping WHERE tran_id = '0'");
$node->append_conf('postgresql.conf', "cdc.idle_mapping_interval = '100ms'\n");
$node->reload;
$node->poll_query_until($db, "SELECT pg_switch_wal() IS NOT NULL AND (SELECT count(*) FROM cdc.lsn_time_mapping WHERE tran_id = '0') > $dummies")
  or die 'no dummy row';
pass('a reloaded setting takes effect: dummy mapping rows');
$node->append_conf('postgresql.conf', "cdc.idle_mapping_interval = '5min'\n");
$node->reload;
oracle_ok($node, $db, 'with dummy mapping rows');

#
# A change table that somebody has decorated is refused by name, not run
#
$node->safe_psql($db, q(
	CREATE FUNCTION intruder() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION 'user code ran'; END $$;
	CREATE TRIGGER intruder AFTER INSERT ON cdc.public_t_ct FOR EACH ROW EXECUTE FUNCTION intruder();));
my $from = log_size($node);
$node->safe_psql($db, $insert);
$node->poll_query_until($db, "SELECT count(*) = 1 FROM cdc.pg_stat_cdc WHERE database = '$db' AND failures > 0 AND last_error_message ~ 'public_t' AND last_error_hint <> ''")
  or die 'the decorated change table is not refused: ' . stat_value($node, $db, "concat_ws(' | ', state, failures, last_error_message, last_error_hint)");
pass('a change table with a trigger is refused by name, with a hint');
like(log_since($node, $from), qr/ERROR: .*public_t/, 'and in the log');
unlike(log_since($node, $from), qr/user code ran/, 'the trigger did not run');
$node->poll_query_until($db, "SELECT failures >= 3 FROM cdc.pg_stat_cdc WHERE database = '$db'") or die 'it is not tried again';
cmp_ok(scalar(() = log_since($node, $from) =~ /ERROR: .*public_t/g), '<=', 4, 'it is tried again, with growing pauses');
$node->safe_psql($db, 'DROP TRIGGER intruder ON cdc.public_t_ct');
oracle_ok($node, $db, 'without the trigger capture goes on, nothing lost');

#
# A held slot cannot be taken away; a slot that is dropped while nobody holds it is a gap
#
my $slot = $node->safe_psql($db, q(SELECT 'cdc_' || oid FROM pg_database WHERE datname = current_database()));
my ($out, $err);
$node->psql($db, "SELECT pg_drop_replication_slot('$slot')", stderr => \$err);
like($err, qr/is active/, 'the slot of a running worker cannot be dropped');
$node->psql($db, "SELECT * FROM pg_logical_slot_get_changes('$slot', NULL, NULL)", stderr => \$err);
like($err, qr/is active/, 'nor read');

$node->safe_psql($db, 'CALL cdc.sp_cdc_stop_job()');
$node->poll_query_until('postgres', "SELECT NOT active FROM pg_replication_slots WHERE slot_name = '$slot'") or die 'the slot stays active';
$node->psql($db, "SELECT * FROM pg_logical_slot_get_changes('$slot', NULL, NULL)", stderr => \$err);
like($err, qr/ERROR/, 'the slot of a stopped job cannot be read through SQL');
$node->safe_psql($db, "SELECT pg_drop_replication_slot('$slot')");
$node->safe_psql($db, $insert);
$from = log_size($node);
refused($db, 'CALL cdc.sp_cdc_start_job()', '55000', 'resume_after_gap', 'starting the job at a gap');
$node->safe_psql($db, "UPDATE cdc.cdc_jobs SET started = true WHERE job_type = 'capture'");
$node->psql($db, 'CALL cdc.wait_for_capture()');
$node->poll_query_until($db, "SELECT count(*) = 1 FROM cdc.pg_stat_cdc WHERE database = '$db' AND state = 'needs action' AND last_error_message ~ '$slot' AND last_error_hint <> ''")
  or die 'the lost slot is not reported: ' . stat_value($node, $db, "concat_ws(' | ', state, failures, last_error_message, last_error_hint)");
pass('a lost slot is reported, with a hint');
refused($db, "CALL cdc.wait_for_capture(timeout => '60s')", '\w{5}', '\w', 'waiting when capture cannot go on');
# Whatever wakes workers must not make this one fail again and again: thousands of commits.
my $script = $node->basedir . '/insert.sql';
append_to_file($script, "INSERT INTO t (v) VALUES ('more');\n");
command_ok([ 'pgbench', '-n', '-c', 2, '-t', 2000, '-f', $script, $node->connstr($db) ], 'the application goes on');
my $complaints = () = log_since($node, $from) =~ /(?:ERROR|FATAL|WARNING|LOG): .*(?:\Q$slot\E|cdc)/g;
cmp_ok($complaints, '<=', 12, 'without a busy loop in the log');
is($node->safe_psql($db, $rows . ' WHERE "__$start_lsn" > (SELECT captured_lsn FROM cdc._progress)'), '0', 'nothing was captured beyond the gap');

# The way out that always works: disable and enable again.
$node->safe_psql($db, 'CALL cdc.sp_cdc_disable_db()');
is($node->safe_psql($db, "SELECT relreplident FROM pg_class WHERE oid = 't'::regclass"), 'd', 'disable_db: the former replica identity is back');
is($node->safe_psql($db, "SELECT count(*) FROM pg_stat_activity WHERE datname = '$db' AND backend_type LIKE 'cdc %'"), '0', 'disable_db: no worker is left');
is($node->safe_psql($db, "SELECT count(*) FROM pg_replication_slots WHERE plugin = 'cdc'"), '0', 'disable_db: no slot is left');
$node->safe_psql($db, 'TRUNCATE t; CALL cdc.sp_cdc_enable_db()');
enable_table($node, $db, 't');
$node->safe_psql($db, $insert);
oracle_ok($node, $db, 'enabled again');

#
# Databases and the extension go away while capture runs
#
cdc_create($node, 'goes');
$node->safe_psql('goes', 'CREATE TABLE t (id int GENERATED ALWAYS AS IDENTITY PRIMARY KEY, v text)');
enable_table($node, 'goes', 't');
$node->safe_psql('goes', $insert);
oracle_ok($node, 'goes', 'a second database');
wait_for_worker($node, 'cdc capture worker', 'goes');
for my $command ('ALTER DATABASE goes RENAME TO went', 'ALTER DATABASE goes SET TABLESPACE pg_default', 'CREATE DATABASE went TEMPLATE goes')
{
	my $first = $command =~ /TABLESPACE/ ? 'prepare_upgrade' : 'sp_cdc_stop_job';
	refused('postgres', $command, '55006', qr/CALL cdc\.$first\(\)/, "$command while capturing");
}
$node->safe_psql('goes', 'CALL cdc.sp_cdc_stop_job()');
$node->safe_psql('postgres', 'ALTER DATABASE goes RENAME TO went');
$node->safe_psql('postgres', 'ALTER DATABASE went RENAME TO goes');
$node->safe_psql('goes', 'CALL cdc.sp_cdc_start_job()');
$node->safe_psql('goes', $insert);
oracle_ok($node, 'goes', 'renamed while the job was stopped');
wait_for_worker($node, 'cdc capture worker', 'goes');
$node->safe_psql('postgres', 'DROP DATABASE goes');
is($node->safe_psql('postgres', "SELECT count(*) FROM pg_replication_slots WHERE plugin = 'cdc'"), '1', 'DROP DATABASE while capturing: its slot is gone');

$node->safe_psql($db, $insert);
oracle_ok($node, $db, 'the other database goes on');
wait_for_worker($node, 'cdc capture worker', $db);
$node->safe_psql($db, 'DROP EXTENSION cdc');
is($node->safe_psql('postgres', "SELECT count(*) FROM pg_replication_slots WHERE plugin = 'cdc'"), '0', 'DROP EXTENSION while capturing: no slot is left');
is($node->safe_psql($db, "SELECT relreplident FROM pg_class WHERE oid = 't'::regclass"), 'd', 'and the former replica identity is back');
$node->poll_query_until('postgres', "SELECT count(*) = 0 FROM pg_stat_activity WHERE backend_type IN ('cdc capture worker', 'cdc decoder')") or die 'workers stay';
$node->safe_psql($db, 'TRUNCATE t; CREATE EXTENSION cdc');
$node->safe_psql($db, 'CALL cdc.sp_cdc_enable_db()');
enable_table($node, $db, 't');
$node->safe_psql($db, $insert);
oracle_ok($node, $db, 'created and enabled once more');

is(scalar(server_processes($node, qr/cdc launcher/)), 1, 'one launcher');
unlike(slurp_file($node->logfile), qr/PANIC|was terminated by signal/, 'no process crashed');

# --- As many worker slots as are asked for: after a restart everybody gets what he needs -----------
# The server's launcher, ours, two for each database, one for cleanup; all databases are looked at at once.
my $tight = cdc_node('tight', max_worker_processes => 9);
my @databases = map { "tight_$_" } 1 .. 3;
for my $name (@databases)
{
	cdc_create($tight, $name);
	$tight->safe_psql($name, 'CREATE TABLE t (id int PRIMARY KEY)');
	enable_table($tight, $name, 't');
	wait_captured($tight, $name);
	$tight->safe_psql($name, 'DELETE FROM cdc._errors');
}
$tight->restart;
for my $name (@databases)
{
	$tight->poll_query_until($name, "SELECT state = 'streaming' FROM cdc.pg_stat_cdc WHERE database = current_database()") or die "$name is not captured";
	$tight->poll_query_until($name, "SELECT next_run IS NOT NULL FROM cdc.sp_cdc_help_jobs() WHERE job_type = 'cleanup'") or die "cleanup of $name is not looked at";
	is($tight->safe_psql($name, 'SELECT string_agg(process || $$: $$ || error_message, $$, $$) FROM cdc._errors'), '', "$name: stopped and started without an error");
}
$tight->stop;

$node->stop;
done_testing();
