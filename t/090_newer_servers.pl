# What servers after 15 have and capture must respect.
#
# From 17 on the slot is a failover slot: it is confirmed only when the standbys of synchronized_standby_slots have the
# WAL with our batch, so that no standby ever has the slot ahead of the progress. Capture does not wait for them.
# 18 may give up a slot that nobody holds, has columns without a value in the log, and shows which libraries it has loaded.
use strict;
use warnings;

use FindBin;
use lib "$FindBin::RealBin/lib";

use CdcTest;
use PostgreSQL::Test::Utils;
use ReplayOracle;
use Test::More;

my ($version) = `pg_config --version` =~ /(\d+)/;
plan skip_all => 'nothing of this is in a server before 17' if $version < 17;

my $node = cdc_node('newer');
my $db = 'newer';

cdc_create($node, $db);
$node->safe_psql($db, 'CREATE TABLE t (id int PRIMARY KEY, v text)');
enable_table($node, $db, 't');
wait_captured($node, $db);
my $ours = "FROM pg_replication_slots WHERE slot_name LIKE 'cdc\\_%'";
is($node->safe_psql($db, "SELECT failover, synced $ours"), 't|f', 'the slot is synchronised to standbys');

# A standby's slot without a standby. The decoder knows the setting before the next change is made.
$node->safe_psql($db, "SELECT pg_create_physical_replication_slot('standby', true)");
$node->safe_psql($db, "ALTER SYSTEM SET synchronized_standby_slots = 'standby'");
my $from = log_size($node);
$node->reload;
$node->safe_psql($db, "INSERT INTO t VALUES (1, 'a')");
wait_captured($node, $db);
my $health = q(SELECT status || '|' || value FROM cdc.health() WHERE check_name = 'decoder');
$node->poll_query_until($db, $health, 'warning|waits for standbys') or die 'nobody waits for the standby';
my $confirmed = $node->safe_psql($db, "SELECT confirmed_flush_lsn $ours");

$node->safe_psql($db, "UPDATE t SET v = 'b'");
wait_captured($node, $db);
my $last_commit = 'SELECT max(start_lsn) FROM cdc.lsn_time_mapping';
my $commit = $node->safe_psql($db, $last_commit);
is($node->safe_psql($db, "SELECT '$commit'::pg_lsn >= '$confirmed'::pg_lsn"), 't', 'capture goes on without the standby');
wait_until(sub { log_since($node, $from) =~ /"standby" specified in parameter "synchronized_standby_slots" does not have active_pid/ },
	'the log tells of the standby');
is($node->safe_psql($db, "SELECT confirmed_flush_lsn $ours"), $confirmed, 'nothing is confirmed before the standby has it');

# The standby gets what there is, again and again: our own progress is in the log, too.
wait_until(sub {
	$node->safe_psql($db, "SELECT pg_replication_slot_advance('standby', pg_current_wal_flush_lsn())");
	return $node->safe_psql($db, "SELECT confirmed_flush_lsn > '$commit' $ours") eq 't';
}, 'confirmed when the standby has it');
wait_until(sub {
	$node->safe_psql($db, "SELECT pg_replication_slot_advance('standby', pg_current_wal_flush_lsn())");
	return $node->safe_psql($db, $health) eq 'ok|running';
}, 'the check ends');

# Given up.
$node->safe_psql($db, 'ALTER SYSTEM RESET synchronized_standby_slots');
$node->reload;
$node->safe_psql($db, "SELECT pg_drop_replication_slot('standby')");
$node->safe_psql($db, 'DELETE FROM t');
wait_captured($node, $db);
$commit = $node->safe_psql($db, $last_commit);
$node->poll_query_until($db, "SELECT confirmed_flush_lsn > '$commit' $ours") or die 'the slot is not confirmed';
oracle_ok($node, $db, 'with and without a standby');

if ($version >= 18)
{
	# A slot that nobody holds can be given up by the server. Stopped capture says so before, and what was lost after.
	$node->safe_psql($db, "ALTER SYSTEM SET idle_replication_slot_timeout = '1s'");
	$node->reload;
	$node->safe_psql($db, 'CALL cdc.sp_cdc_stop_job()');
	like($node->safe_psql($db, "SELECT detail FROM cdc.health() WHERE check_name = 'capture_worker'"),
		qr/not longer than idle_replication_slot_timeout, 1 s/, 'a stopped job says how long WAL is kept');
	wait_until(sub {
		$node->safe_psql($db, 'CHECKPOINT');
		return $node->safe_psql($db, "SELECT invalidation_reason $ours") eq 'idle_timeout';
	}, 'the server gives the slot up');
	$node->safe_psql($db, 'ALTER SYSTEM RESET idle_replication_slot_timeout');
	$node->reload;
	my $stderr;
	$node->psql($db, 'CALL cdc.sp_cdc_start_job()', stderr => \$stderr);
	like($stderr, qr/capture cannot go on.*Capture was stopped for longer than idle_replication_slot_timeout\./s,
		'the job cannot be started, and says why');
	$node->safe_psql($db, 'CALL cdc.resume_after_gap()');
	$node->safe_psql($db, 'CALL cdc.sp_cdc_start_job()');
	like($node->safe_psql($db, 'SELECT detail FROM cdc.gaps'), qr/Capture was stopped for longer than idle_replication_slot_timeout\./,
		'so does the gap');
	$node->safe_psql($db, "INSERT INTO t VALUES (2, 'c')");
	wait_captured($node, $db);
	is($node->safe_psql($db, 'SELECT count(*) FROM cdc.public_t_ct WHERE id = 2'), '1', 'capture goes on after the gap');

	# Virtual generated columns have no value in the log: left out, refused when asked for.
	my $other = 'generated';
	cdc_create($node, $other);
	$node->safe_psql($other, 'CREATE TABLE v (id int PRIMARY KEY, a int, twice int GENERATED ALWAYS AS (a * 2) VIRTUAL, z int)');
	$node->psql($other, q(CALL cdc.sp_cdc_enable_table('public', 'v', NULL, captured_column_list => 'id, twice')), stderr => \$stderr);
	like($stderr, qr/virtual generated column "twice" cannot be captured/, 'a virtual column is refused');
	enable_table($node, $other, 'v');
	$node->safe_psql($other, q(
		INSERT INTO v VALUES (1, 1, DEFAULT, 10), (2, 2, DEFAULT, 20);
		UPDATE v SET a = 3, z = NULL WHERE id = 1;
		ALTER TABLE v ADD COLUMN thrice int GENERATED ALWAYS AS (a * 3);
		ALTER TABLE v ALTER COLUMN thrice TYPE bigint;
		UPDATE v SET z = 30 WHERE id = 2;
		DELETE FROM v WHERE id = 1;));
	wait_captured($node, $other);
	is($node->safe_psql($other, q(
			SELECT string_agg(concat_ws(':', "__$operation", id, a, z), ' ' ORDER BY "__$start_lsn", "__$seqval", "__$operation")
			FROM cdc.fn_cdc_get_all_changes_public_v(cdc.fn_cdc_get_min_lsn('public_v'), cdc.fn_cdc_get_max_lsn(), 'all update old'))),
		'2:1:1:10 2:2:2:20 3:1:1:10 4:1:3 3:2:2:20 4:2:2:30 1:1:3', 'a table with virtual columns is captured without them');

	# A publication without a table's stored generated column makes UPDATE fail where the identity is FULL.
	$node->safe_psql($other, q(
		CREATE TABLE s (id int PRIMARY KEY, a int, twice int GENERATED ALWAYS AS (a * 2) STORED);
		CREATE PUBLICATION all_of_s FOR TABLE s;));
	$node->psql($other, q(CALL cdc.sp_cdc_enable_table('public', 's', NULL)), stderr => \$stderr);
	like($stderr, qr/does not publish all columns of table "public\.s".*before_image => 'key'/s, 'an unpublished stored column is refused');
	$node->safe_psql($other, 'ALTER PUBLICATION all_of_s SET (publish_generated_columns = stored)');
	enable_table($node, $other, 's');
	$node->safe_psql($other, 'INSERT INTO s VALUES (1, 1); UPDATE s SET a = 2');
	wait_captured($node, $other);
	oracle_ok($node, $other, 'generated columns');

	is($node->safe_psql($other, q(SELECT m.version = e.extversion FROM pg_get_loaded_modules() AS m, pg_extension AS e
			WHERE m.module_name = 'cdc' AND e.extname = 'cdc')), 't', 'the server knows the version of the library');
}

$node->stop;
done_testing();
