# Slots and origins: copies of our slot, a slot that is held or moved by hand, no free slot or origin when a database is
# enabled, when it goes on after a gap and when a worker starts; the process that makes the slot is ended at each of its
# steps.
use strict;
use warnings;

use FindBin;
use lib "$FindBin::RealBin/lib";

use CatalogCheck;
use CdcTest;
use PostgreSQL::Test::Utils;
use ReplayOracle;
use Test::More;

require_faults();

my $node = cdc_node('slots', max_replication_slots => '4', max_wal_size => '64MB', min_wal_size => '32MB', wal_recycle => 'off', 'cdc.health_check_interval' => '1s'); # then the launcher looks each second
my $db   = 'slots';
my $major = $node->safe_psql('postgres', q(SELECT current_setting('server_version_num')::int / 10000));
cdc_create($node, $db);
$node->safe_psql($db, 'CREATE TABLE t (id int GENERATED ALWAYS AS IDENTITY PRIMARY KEY, v text)');
enable_table($node, $db, 't');
my $slot = $node->safe_psql($db, q(SELECT 'cdc_' || oid FROM pg_database WHERE datname = current_database()));

sub write_some
{
	$node->safe_psql($db, q(INSERT INTO t (v) SELECT 'row' FROM generate_series(1, 20); UPDATE t SET v = v || '+' WHERE id % 3 = 0; DELETE FROM t WHERE id % 7 = 1;));
	return;
}

# fails($dbname, $sql, $pattern, $name): with a message like that.
sub fails
{
	my ($dbname, $sql, $pattern, $name) = @_;
	local $Test::Builder::Level = $Test::Builder::Level + 1;
	my $status = $node->psql($dbname, "\\set VERBOSITY verbose\n$sql", stderr => \my $stderr, on_error_stop => 1);
	isnt($status, 0, "$name: refused");
	like($stderr, $pattern, "$name: says why");
	return;
}

# health_of($check): status, value, detail and action.
sub health_of
{
	my ($check) = @_;
	return $node->safe_psql($db, "SELECT concat_ws(' ', status, value, detail, action) FROM cdc.health() WHERE check_name = '$check'");
}

# --- Ours is held ---------------------------------------------------------------------------------
write_some();
wait_captured($node, $db);
for my $call ("pg_replication_slot_advance('$slot', pg_current_wal_lsn())", "pg_drop_replication_slot('$slot')", "pg_logical_slot_get_changes('$slot', NULL, NULL)")
{
	fails($db, "SELECT $call", qr/ERROR:  55006: replication slot "$slot" is active for PID \d+/, "while capture runs, $call");
}

# --- A copy of it ---------------------------------------------------------------------------------
# Its plugin serves nobody but our decoder; minor releases that know output_plugin_libraries say so before we do. With another
# plugin it is somebody else's slot, at our position.
my $not_our_plugin = qr/ERROR:  \w+: (?:output plugin "cdc" can only be used by the cdc extension's own decoder|library "cdc" may not be used as an output plugin)/;
write_some();
fails($db, "SELECT pg_copy_logical_replication_slot('$slot', 'copied')", $not_our_plugin, 'a copy');
is($node->safe_psql('postgres', 'SELECT string_agg(slot_name, $$ $$) FROM pg_replication_slots'), $slot, 'a copy: nothing is left of it');
$node->safe_psql($db, "SELECT pg_copy_logical_replication_slot('$slot', 'copied', false, 'pgoutput')");
for (1 .. 3)
{
	write_some();
	$node->safe_psql($db, 'SELECT pg_switch_wal()');
	wait_captured($node, $db);
}
oracle_ok($node, $db, 'a copy with another plugin: capture goes on');
$node->restart;
write_some();
oracle_ok($node, $db, 'a copy with another plugin: also after a restart');
# Put in the place of ours it is none of ours, whatever its plugin is made to be.
$node->safe_psql($db, "CALL cdc.sp_cdc_stop_job(); SELECT pg_drop_replication_slot('$slot')");
fails($db, "SELECT pg_copy_logical_replication_slot('copied', '$slot', false, 'cdc')", $not_our_plugin, 'a copy of the copy in the place of ours');
$node->safe_psql($db, "SELECT pg_copy_logical_replication_slot('copied', '$slot')");
fails($db, 'CALL cdc.sp_cdc_start_job()', qr/ERROR:  55000: .*DETAIL:.*belongs to another plugin.*HINT:  .*resume_after_gap/s, 'one of another plugin in the place of ours');
like(health_of('slot'), qr/^critical of another plugin/, 'health() says so, too');
is($node->safe_psql($db, 'SELECT count(*) FROM cdc.gaps WHERE end_lsn IS NULL'), '1', 'it is a gap');
fails($db, 'CALL cdc.resume_after_gap()', qr/ERROR:  42710: .*HINT:  SELECT pg_drop_replication_slot/s, 'it is not taken away');

# --- No free slot ---------------------------------------------------------------------------------
# Going on after the gap needs one, enabling another database, too. The message says so, and nothing is left half done.
$node->safe_psql($db, "SELECT pg_drop_replication_slot('$slot')");
$node->safe_psql($db, "SELECT pg_create_physical_replication_slot('free' || i) FROM generate_series(1, 3) i");
like(health_of('replication_slots'), qr/^warning 0 free No other database can be enabled/, 'no free slot: health() says so');
fails($db, 'CALL cdc.resume_after_gap()', qr/ERROR:  53400: no free replication slot.*DETAIL:  max_replication_slots is 4.*HINT:  .*or drop a slot/s, 'no free slot after a gap');
is($node->safe_psql($db, 'SELECT count(*) FROM cdc.gaps WHERE end_lsn IS NULL'), '1', 'no free slot: the gap stays');
$node->safe_psql('postgres', 'CREATE DATABASE another');
$node->safe_psql('another', 'CREATE EXTENSION cdc; CREATE TABLE t (id int PRIMARY KEY)');
fails('another', 'CALL cdc.sp_cdc_enable_db()', qr/ERROR:  53400: no free replication slot.*HINT:  .*or drop a slot/s, 'no free slot when a database is enabled');
is($node->safe_psql('another', 'SELECT count(*) FROM cdc.databases WHERE name = current_database() AND NOT is_cdc_enabled'), '1', 'no free slot: the database is not enabled');
# Taken away between the look and the making: another session is faster.
$node->safe_psql($db, q(SELECT pg_drop_replication_slot('free1')));
fault_set($node, 'slot-begin:pause');
my $session = start_psql($node, 'another', 'CALL cdc.sp_cdc_enable_db()');
fault_wait($node, 'slot-begin');
$node->safe_psql($db, q(SELECT pg_create_physical_replication_slot('free1')));
fault_clear($node);
like(finish_psql($session), qr/ERROR:  53400: could not create the replication slot of change data capture: all replication slots are in use.*HINT:/s, 'no free slot when it is to be made: says so');
is($node->safe_psql('another', 'SELECT count(*) FROM cdc._identity'), '0', 'no free slot when it is to be made: the database is not enabled');

# With one free, both calls go on.
$node->safe_psql($db, q(SELECT pg_drop_replication_slot('free1')));
$node->safe_psql($db, 'SET client_min_messages = error; CALL cdc.resume_after_gap(); CALL cdc.sp_cdc_start_job()');
my $from  = $node->safe_psql($db, 'SELECT max(end_lsn) FROM cdc.gaps');
my $begin = oracle_remember($node, $db, 'from_here');
write_some();
wait_captured($node, $db);
oracle_stretch_ok($node, $db, 'with a free slot capture goes on: whole after the gap', from => $from, begin => $begin);
$node->safe_psql($db, q(SELECT pg_drop_replication_slot('free2'), pg_drop_replication_slot('copied')));

# --- No free origin -------------------------------------------------------------------------------
# There are as many states of origins as slots (to 17). A database whose first worker finds none is enabled, fails with
# the server's message, and is captured when there is one.
if ($major < 18)
{
	$node->safe_psql($db, q(SELECT pg_replication_origin_create('o' || i) FROM generate_series(1, 3) i));
	$node->safe_psql($db, q(SELECT pg_replication_origin_advance('o' || i, '0/1') FROM generate_series(1, 3) i));
	$node->safe_psql('another', 'CALL cdc.sp_cdc_enable_db()');
	enable_table($node, 'another', 't');
	$node->safe_psql('another', 'INSERT INTO t VALUES (1)');
	$node->poll_query_until('another', q(SELECT state = 'failed' AND last_error_code = '53400' FROM cdc.pg_stat_cdc WHERE database = current_database())) or die 'nobody misses an origin';
	like(stat_value($node, 'another', q(concat_ws(' ', last_error_message, last_error_hint))), qr/could not find free replication state slot.*[Ii]ncrease.*max_replication_slots/, 'no free origin: the state says so');
	like($node->safe_psql('another', q(SELECT concat_ws(' ', status, value, detail, action) FROM cdc.health() WHERE check_name = 'capture_worker')), qr/^critical .*could not find free replication state/, 'no free origin: health() says so');
	is(stat_value($node, $db, 'state'), 'streaming', 'no free origin: the other database goes on');
	# Also after a restart: ours are then the ones that come too late.
	$node->restart;
	$node->poll_query_until($db, q(SELECT count(*) = 1 FROM cdc.pg_stat_cdc WHERE last_error_code = '53400')) or die 'nobody misses an origin after a restart';
	pass('no free origin after a restart: said again');
	$node->safe_psql($db, q(SELECT pg_replication_origin_drop('o' || i) FROM generate_series(1, 3) i));
	for my $dbname ('another', $db)
	{
		$node->poll_query_until($dbname, q(SELECT state = 'streaming' FROM cdc.pg_stat_cdc WHERE database = current_database())) or die "$dbname is not captured again";
	}
	oracle_ok($node, 'another', 'with a free origin: whole');
}
else
{
	$node->safe_psql('another', 'CALL cdc.sp_cdc_enable_db()');
	enable_table($node, 'another', 't');
}
write_some();
wait_captured($node, $db);
oracle_stretch_ok($node, $db, 'the first database: whole', from => $from, begin => $begin);

# --- Who makes the slot is ended ------------------------------------------------------------------
# Paused at each step, and ended politely or with the caller's session. Nothing is left, and the same call can be made again.
my $seed  = random_seed();
my @steps = ('slot-request', 'slot-begin', 'slot-create', 'slot-persist', 'slot-persisted', 'enable-commit');
for my $step (@steps)
{
	my $who = ('slot creator', 'session')[ int(rand(2)) ];
	$node->safe_psql('another', 'CALL cdc.sp_cdc_disable_db()');
	fault_set($node, "$step:pause");
	my $call = start_psql($node, 'another', 'CALL cdc.sp_cdc_enable_db()');
	fault_wait($node, $step);
	my ($creator) = fault_reached($node, $step) =~ /pause (\d+)/;
	is($node->safe_psql('postgres', $who eq 'session' ? q(SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE datname = 'another' AND backend_type = 'client backend') : "SELECT pg_terminate_backend($creator)::int"),
		'1', "$step: the $who is told to end");
	my $said = finish_psql($call);
	$who eq 'session' ? like($said, qr/terminating connection/, "$step: the session ends") : like($said, qr/ERROR:  \w+: could not create the replication slot of change data capture: the decoder has ended.*HINT:  /s, "$step: the caller is told");
	wait_for_exit($node, $creator);
	fault_clear($node);
	# What is left, if anything, is found by the worker that the launcher sends.
	ok($node->poll_query_until('another', q(SELECT (SELECT count(*) FROM cdc._identity) = (SELECT count(*) FROM pg_replication_slots WHERE database = current_database()))), "$step: slot and identity row are both there or both not");
	$node->safe_psql('another', 'CALL cdc.sp_cdc_enable_db()');
	wait_captured($node, 'another');
	catalog_ok($node, 'another', "$step: the same call goes through");
}
$node->safe_psql('another', 'DELETE FROM t');
enable_table($node, 'another', 't');
$node->safe_psql('another', 'INSERT INTO t VALUES (2)');
oracle_ok($node, 'another', 'and then it is captured');
oracle_stretch_ok($node, $db, 'the first database: whole all the while', from => $from, begin => $begin);
unlike(slurp_file($node->logfile), qr/PANIC|TRAP|was terminated by signal|XX000/, 'no process crashed, no internal error');
$node->stop;
done_testing();
