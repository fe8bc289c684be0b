# Calls that meet others at the worst moment: who comes second is told, changes nothing, and capture goes on.
use strict;
use warnings;

use FindBin;
use lib "$FindBin::RealBin/lib";

use CdcTest;
use PostgreSQL::Test::Utils;
use ReplayOracle;
use Test::More;

require_faults();

my $node = cdc_node('meet');
my $db = 'meet';
$node->safe_psql('postgres', "CREATE DATABASE $db");
$node->safe_psql($db, 'CREATE EXTENSION cdc; CREATE TABLE t (id int GENERATED ALWAYS AS IDENTITY PRIMARY KEY, v text)');

# waits_for_lock($query): until a session of that query waits for one.
sub waits_for_lock
{
	my ($query) = @_;
	$node->poll_query_until($db, "SELECT count(*) = 1 FROM pg_stat_activity WHERE query LIKE '$query%' AND wait_event_type = 'Lock'")
	  or die "does not wait for a lock: $query";
	return;
}

# --- Two sessions enable the database ---------------------------------------------------------------
# The second is held up while it looks whether it is enabled; meanwhile the first is ready.
fault_set($node, 'slot-persisted:pause');
my $first = start_psql($node, $db, 'CALL cdc.sp_cdc_enable_db()');
fault_wait($node, 'slot-persisted');
my $error = $node->psql($db, 'CALL cdc.sp_cdc_enable_db()', stderr => \my $stderr);
like($stderr, qr/is being enabled or disabled already.*Another session \(pid \d+\) does it.*HINT: /s, 'enabled while another session does it: refused');
my $holder = $node->background_psql($db);
$holder->query_safe('BEGIN; LOCK TABLE cdc.change_tables');
my $second = start_psql($node, $db, 'CALL cdc.sp_cdc_enable_db()');
waits_for_lock('CALL cdc.sp_cdc_enable_db');
fault_clear($node);
is(finish_psql($first), '', 'the first session enables the database');
$holder->query_safe('COMMIT');
$holder->quit;
like(finish_psql($second), qr/NOTICE: .*database "$db" is already enabled for change data capture/s, 'the second is told that it is');
enable_table($node, $db, 't');
$node->safe_psql($db, q(INSERT INTO t (v) VALUES ('one')));
oracle_ok($node, $db, 'and capture goes on');
$node->safe_psql($db, 'CALL cdc.sp_cdc_disable_db()');

# The second is held up when it has found it not enabled.
fault_set($node, 'enable-db-request:pause');
$second = start_psql($node, $db, 'CALL cdc.sp_cdc_enable_db()');
fault_wait($node, 'enable-db-request');
$node->safe_psql($db, 'CALL cdc.sp_cdc_enable_db(); TRUNCATE t');
enable_table($node, $db, 't');
$node->safe_psql($db, q(INSERT INTO t (v) VALUES ('one')));
wait_captured($node, $db);
fault_clear($node);
like(finish_psql($second), qr/42710: .*database is already enabled for change data capture.*Another session was faster/s, 'enabled since it looked: the second is told');
# Not by wait_for_capture, which would start them.
$node->poll_query_until($db, q(SELECT state = 'streaming' FROM cdc.pg_stat_cdc WHERE database = current_database()))
  or die 'the workers that it has stopped do not come back';
$node->safe_psql($db, q(INSERT INTO t (v) VALUES ('two')));
oracle_ok($node, $db, 'the workers that it has stopped are back');

# --- The job is started while a writer that has read that it is stopped has not said so yet -----------
fault_set($node, 'writer-unwanted:pause');
$node->safe_psql($db, q(UPDATE cdc.cdc_jobs SET started = false WHERE job_type = 'capture';
	SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE backend_type = 'cdc capture worker' AND datname = current_database()));
fault_wait($node, 'writer-unwanted');
$node->safe_psql($db, 'CALL cdc.sp_cdc_start_job()');
fault_clear($node);
$node->safe_psql($db, q(INSERT INTO t (v) VALUES ('started')));
# Not by wait_for_capture, which would start it.
$node->poll_query_until($db, q(SELECT state = 'streaming' FROM cdc.pg_stat_cdc WHERE database = current_database()))
  or die 'a start is lost when a worker finds the job stopped';
oracle_ok($node, $db, 'the start is not lost');

# --- The slot is moved on between the writer's look at it and the decoder's -------------------------
my $slot = $node->safe_psql($db, q(SELECT 'cdc_' || oid FROM pg_database WHERE datname = current_database()));
$node->safe_psql($db, 'CALL cdc.sp_cdc_stop_job()');
fault_set($node, 'writer-start:pause');
$node->safe_psql($db, q(INSERT INTO t (v) VALUES ('lost')));
$node->safe_psql($db, 'CALL cdc.sp_cdc_start_job()');
fault_wait($node, 'writer-start');
$node->safe_psql($db, "SELECT pg_replication_slot_advance('$slot', pg_current_wal_lsn())");
my $from = log_size($node);
fault_clear($node);
$node->poll_query_until($db, q(SELECT count(*) = 1 FROM cdc.gaps WHERE end_lsn IS NULL)) or die 'not noticed';
like(log_since($node, $from), qr/ERROR:  replication slot "$slot" was changed while capture started/, 'a slot that moves while capture starts: noticed');
like($node->safe_psql($db, 'SELECT reason FROM cdc.gaps WHERE end_lsn IS NULL'), qr/moved past/, 'and a gap');

# --- Two sessions go on after the gap ---------------------------------------------------------------
fault_set($node, 'resume-stopped:pause');
$first = start_psql($node, $db, 'SET client_min_messages = error; CALL cdc.resume_after_gap()');
fault_wait($node, 'resume-stopped');
for my $call ('resume_after_gap()', 'discard_kept_wal(true)', 'prepare_upgrade()', 'sp_cdc_disable_db()')
{
	$node->psql($db, "CALL cdc.$call", stderr => \$stderr);
	like($stderr, qr/is being enabled or disabled already.*HINT: /s, "$call while another session resumes: refused");
}
fault_set($node, 'slot-begin:pause');
fault_continue($node, 'resume-stopped');
fault_wait($node, 'slot-begin');
for my $call ('resume_after_gap()', 'discard_kept_wal(true)')
{
	$node->psql($db, "CALL cdc.$call", stderr => \$stderr);
	like($stderr, qr/is being enabled or disabled already.*HINT: /s, "$call while the slot is made: refused");
}
fault_clear($node);
is(finish_psql($first), '', 'the first session resumes');
is($node->safe_psql($db, 'SELECT count(*) FROM cdc.gaps WHERE end_lsn IS NULL'), '0', 'the gap is closed');
$node->safe_psql($db, q(INSERT INTO t (v) VALUES ('three')));
wait_captured($node, $db);
is($node->safe_psql($db, q(SELECT string_agg(v, ' ') FROM cdc.fn_cdc_get_all_changes_public_t((SELECT max(end_lsn) FROM cdc.gaps), cdc.fn_cdc_get_max_lsn(), 'all'))),
	'three', 'and capture goes on');

# --- The database is disabled while another session waits to resume ---------------------------------
fault_set($node, 'disable-db-committed:pause');
$first = start_psql($node, $db, 'CALL cdc.sp_cdc_disable_db()');
fault_wait($node, 'disable-db-committed');
$node->psql($db, 'CALL cdc.discard_kept_wal(true)', stderr => \$stderr);
like($stderr, qr/change data capture is not enabled|is being enabled or disabled already/, 'disabled meanwhile: said');
fault_clear($node);
is(finish_psql($first), '', 'the database is disabled');
is($node->safe_psql('postgres', 'SELECT count(*) FROM pg_replication_slots'), '0', 'no slot is left');

$node->stop;
done_testing();
