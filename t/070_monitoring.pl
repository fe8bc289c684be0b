# Errors survive restarts and crashes; what turns critical goes to the server log, once, and so does its end; lag and
# kept WAL while the job is stopped.
use strict;
use warnings;

use FindBin;
use lib "$FindBin::RealBin/lib";

use CdcTest;
use PostgreSQL::Test::Utils;
use Test::More;

my $db   = 'watched';
my $node = cdc_node(
	'monitoring',
	'cdc.health_check_interval' => '1s',
	max_slot_wal_keep_size      => '64MB',
	max_wal_size                => '64MB');
cdc_create($node, $db);
$node->safe_psql($db, 'CREATE TABLE t (id int GENERATED ALWAYS AS IDENTITY PRIMARY KEY, v text)');
enable_table($node, $db, 't');
wait_captured($node, $db);
my $oid    = $node->safe_psql('postgres', "SELECT oid FROM pg_database WHERE datname = '$db'");
my $insert = "INSERT INTO t (v) SELECT 'row' FROM generate_series(1, 10)";
my $leaf   = $node->safe_psql($db, q(SELECT min(inhrelid::regclass::text) FROM pg_inherits, cdc.change_tables WHERE inhparent = object_id));

# status($check): status of a check of health().
sub status
{
	my ($check) = @_;
	return $node->safe_psql($db, "SELECT status FROM cdc.health() WHERE check_name = '$check'");
}

sub poll_status
{
	my ($check, $status) = @_;
	$node->poll_query_until($db, "SELECT status = '$status' FROM cdc.health() WHERE check_name = '$check'") or die "$check never becomes $status";
	pass("$check is $status");
	return;
}

# logged($from, $what): how often the launcher has said so about this database.
sub logged
{
	my ($from, $what) = @_;
	my $times = () = log_since($node, $from) =~ /LOG:\s+change data capture of database $oid: \Q$what\E/g;
	return $times;
}

sub wait_logged
{
	my ($from, $what) = @_;
	wait_until(sub { logged($from, $what) > 0 }, "'$what' in the server log");
	is(logged($from, $what), 1, "'$what' is logged once");
	return;
}

# The error that is stored, without what differs each time.
my $errors = q(SELECT process, sqlstate, regexp_replace(error_message, '_ct_\w+', '...') FROM cdc.dm_cdc_errors ORDER BY entry_time);

#
# The worker fails
#
is($node->safe_psql($db, q(SELECT count(*) FROM cdc.health() WHERE status = 'critical')), '0', 'nothing is critical');
my $from = log_size($node);
$node->safe_psql($db, "ALTER TABLE $leaf ENABLE ROW LEVEL SECURITY; $insert");
poll_status('capture_worker', 'critical');
wait_logged($from, 'capture_worker is critical: "failed"');
like(log_since($node, $from), qr/capture_worker is critical.*\n.*DETAIL:.*row-level security.*\n.*HINT:  Undo the change/, 'with detail and hint');
$node->poll_query_until($db, 'SELECT occurrences >= 3 FROM cdc.dm_cdc_errors') or die 'no repeated error';
my $former = $node->safe_psql($db, $errors);
like($former, qr/^capture\|55000\|table "cdc\.\.\.\." of capture instance "public_t" has been changed$/, 'one error, however often');
is(logged($from, 'capture_worker is critical'), 1, 'and it is told to the log once');

#
# Errors are there after a crash and after a restart, also of a server on which the job is stopped
#
$node->safe_psql($db, 'CALL cdc.sp_cdc_stop_job()');
$node->stop('immediate');
$node->start;
is($node->safe_psql($db, $errors), $former, 'the error survives a crash');
is($node->safe_psql($db, 'SELECT count(*) FROM cdc.dm_cdc_log_scan_sessions WHERE session_id > 0'), '0', 'sessions are of this life of the server');
$node->restart;
is($node->safe_psql($db, $errors), $former, 'and a restart');

$from = log_size($node);
$node->safe_psql($db, 'CALL cdc.sp_cdc_start_job()');
wait_logged($from, 'capture_worker is critical');
$node->safe_psql($db, "ALTER TABLE $leaf DISABLE ROW LEVEL SECURITY; CALL cdc.sp_cdc_start_job()");
wait_captured($node, $db);
poll_status('capture_worker', 'ok');
wait_logged($from, 'capture_worker is no longer critical');

#
# An error that cannot be stored waits in shared memory, and holds up nobody
#
$node->safe_psql($db, 'CALL cdc.sp_cdc_stop_job(); DELETE FROM cdc._errors');
my $locker = $node->background_psql($db);
$locker->query_safe('BEGIN; LOCK TABLE cdc._errors IN SHARE MODE');
$node->safe_psql($db, "ALTER TABLE $leaf ENABLE ROW LEVEL SECURITY; $insert");
my ($out, $err);
isnt($node->psql($db, 'CALL cdc.sp_cdc_scan()', stdout => \$out, stderr => \$err, timeout => 60), 0, 'a scan fails while somebody locks the table of errors');
like($err, qr/log scan failed: table/, 'with its own error');
is($node->safe_psql($db, 'SELECT (SELECT count(*) FROM cdc._errors), count(*), min(process) FROM cdc.dm_cdc_errors'), '0|1|capture', 'it is shown, and not stored');
like(log_since($node, $from), qr/could not store an error of change data capture/, 'the log says so');
$locker->query_safe('ROLLBACK');
$locker->quit;
$node->safe_psql($db, "ALTER TABLE $leaf DISABLE ROW LEVEL SECURITY; CALL cdc.sp_cdc_scan()");
is($node->safe_psql($db, 'SELECT (SELECT count(*) FROM cdc._errors), count(*), min(process) FROM cdc.dm_cdc_errors'), '1|1|capture', 'the next worker stores it');

#
# The decoder fails: it cannot spill a large transaction
#
my $folder = $node->data_dir . "/pg_replslot/cdc_$oid";
chmod 0500, $folder or die "chmod: $!";
$node->safe_psql($db, "INSERT INTO t (v) SELECT repeat('x', 100) FROM generate_series(1, 5000)");
isnt($node->psql($db, 'CALL cdc.sp_cdc_scan()', stderr => \$err, timeout => 60), 0, 'a scan fails when the decoder does');
chmod 0700, $folder or die "chmod: $!";
is( $node->safe_psql($db, q(SELECT process, phase_number, error_number, sqlstate, session_id > 0 FROM cdc.dm_cdc_errors ORDER BY entry_time DESC LIMIT 1)),
	'decoder|2|22859|42501|t', "the decoder's error is the one that is shown");
is($node->safe_psql($db, q(SELECT count(*) FROM cdc._errors WHERE process = 'decoder')), '1', 'and stored');
$node->safe_psql($db, 'CALL cdc.sp_cdc_scan()');
is($node->safe_psql($db, 'SELECT count(*) FROM cdc.public_t_ct'), $node->safe_psql($db, 'SELECT count(*) FROM t'), 'nothing is lost');

#
# 100 sessions are kept
#
$node->safe_psql($db, 'CREATE PROCEDURE scans(n int) LANGUAGE plpgsql AS $$ BEGIN FOR i IN 1 .. n LOOP INSERT INTO t (v) VALUES (i); COMMIT; CALL cdc.sp_cdc_scan(); END LOOP; END $$');
my $before = $node->safe_psql($db, 'SELECT tran_count FROM cdc.dm_cdc_log_scan_sessions WHERE session_id = 0');
$node->safe_psql($db, 'CALL scans(105)');
is($node->safe_psql($db, 'SELECT count(*), max(session_id) - min(session_id), sum(tran_count) FROM cdc.dm_cdc_log_scan_sessions WHERE session_id > 0'), '100|99|100', 'the last 100 sessions');
is($node->safe_psql($db, "SELECT tran_count - $before FROM cdc.dm_cdc_log_scan_sessions WHERE session_id = 0"), '105', 'row 0 has them all');

#
# Lag, and WAL that the slot keeps
#
$from = log_size($node);
is(status('lag_time') . status('lag_bytes') . status('wal_kept'), 'okokok', 'no lag');
$node->append_conf('postgresql.conf', "cdc.health_lag_warning = 1\ncdc.health_lag_critical = 2\ncdc.health_lag_bytes_warning = 8MB\ncdc.health_lag_bytes_critical = 24MB\n");
$node->reload;
$node->safe_psql($db, $insert);
poll_status('lag_time', 'critical');
wait_logged($from, 'lag_time is critical');
my $write = q(SELECT pg_logical_emit_message(false, 'filler', repeat('x', 1024 * 1024)) FROM generate_series(1, %d));
$node->safe_psql($db, sprintf $write, 12);
is(status('lag_bytes'), 'warning', 'lag_bytes is a warning');
$node->safe_psql($db, sprintf $write, 26);
is(status('lag_bytes') . ' ' . status('wal_kept'), 'critical warning', 'lag_bytes is critical, wal_kept a warning');
$node->safe_psql($db, sprintf $write, 18);
is(status('wal_kept'), 'critical', 'wal_kept is critical');
like($node->safe_psql($db, "SELECT threshold, detail, action FROM cdc.health() WHERE check_name = 'wal_kept'"),
	qr/^64 MB\|The slot keeps \d+ % of max_slot_wal_keep_size; beyond it, WAL is removed and changes are lost\.\|Raise max_slot_wal_keep_size/, 'with the limit, and what to do');
wait_logged($from, 'wal_kept is critical');
$node->safe_psql($db, 'CALL cdc.sp_cdc_start_job()');
wait_captured($node, $db);
poll_status('lag_time', 'ok');
poll_status('lag_bytes', 'ok');
# (a checkpoint logs what decoding needs to let go of older WAL, and it does so with the next batch)
wait_until(
	sub {
		$node->safe_psql($db, "CHECKPOINT; $insert");
		wait_captured($node, $db);
		return status('wal_kept') eq 'ok';
	},
	'wal_kept stays');
wait_logged($from, 'wal_kept is no longer critical');
wait_logged($from, 'lag_time is no longer critical');
is(logged($from, 'lag_time is critical'), 1, 'no line without news');

# Somebody drops the slot while the job is stopped.
$from = log_size($node);
$node->safe_psql($db, 'CALL cdc.sp_cdc_stop_job()');
$node->safe_psql($db, "SELECT pg_drop_replication_slot('cdc_$oid')");
is(status('slot'), 'critical', 'a missing slot is critical');
wait_logged($from, 'slot is critical: "missing"');
isnt($node->psql($db, 'CALL cdc.sp_cdc_scan()', stderr => \$err, timeout => 60), 0, 'a scan says so, too');
$node->poll_query_until($db, q(SELECT status = 'critical' FROM cdc.health() WHERE check_name = 'gaps')) or die 'no gap';
pass('the gap is open');
is($node->safe_psql('postgres', 'SELECT count(*) FROM pg_extension WHERE extname = \'cdc\''), '0', '(the other database has no extension)');
$node->safe_psql('postgres', 'CREATE EXTENSION cdc');
is($node->safe_psql('postgres', "SELECT is_cdc_enabled FROM cdc.databases WHERE name = '$db'"), 't', 'seen from elsewhere it is enabled still');
is($node->safe_psql('postgres', "SELECT is_cdc_enabled FROM cdc.databases WHERE name = 'postgres'"), 'f', 'and the other is not');

#
# No worker can be started: the launcher still tells
#
$node->safe_psql($db, "SET client_min_messages = 'error'; CALL cdc.sp_cdc_disable_db()");
$node->safe_psql($db, 'CALL cdc.sp_cdc_enable_db()');
enable_table($node, $db, 't');
$from = log_size($node);
$node->append_conf('postgresql.conf', "max_worker_processes = 2\n");
$node->restart;
poll_status('capture_worker', 'critical');
is(status('worker_slots'), 'critical', 'no worker slot is free');
wait_logged($from, 'worker_slots is critical: "0 free"');
is($node->safe_psql($db, 'SELECT DISTINCT process, error_number, (SELECT count(*) FROM cdc._errors) FROM cdc.dm_cdc_errors'), 'launcher|22864|0', "the launcher's error is in shared memory");
$node->append_conf('postgresql.conf', "max_worker_processes = 32\n");
$node->restart;
wait_captured($node, $db);
is($node->safe_psql($db, q(SELECT count(*) FROM cdc.health() WHERE status = 'critical')), '0', 'all is well again');

# Not preloaded: the views are there, and health() says what is wrong.
$node->append_conf('postgresql.conf', "shared_preload_libraries = ''\n");
$node->restart;
is($node->safe_psql($db, q(SELECT check_name, value FROM cdc.health() WHERE status <> 'ok' AND check_name <> 'server_version')), 'settings|wal_level logical, not preloaded', 'not preloaded: critical');
is($node->safe_psql($db, 'SELECT (SELECT count(*) FROM cdc.dm_cdc_log_scan_sessions), (SELECT count(*) FROM cdc.pg_stat_cdc_tables), (SELECT count(*) FROM cdc.databases WHERE is_cdc_enabled)'), '0|1|1', 'and the views work');
unlike(slurp_file($node->logfile), qr/PANIC|TRAP|was terminated by signal/, 'no process crashed');

$node->stop;
done_testing();
