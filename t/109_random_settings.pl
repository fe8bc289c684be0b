# The server's own settings at random while capture is under load: some of all that can be changed without a restart, from one
# end of their range to the other, reloaded, with workers that are started anew, tables that come and go, and cleanup.
# CDC_TEST_FULL=1 does it for longer.
use strict;
use warnings;

use FindBin;
use lib "$FindBin::RealBin/lib";

use CatalogCheck;
use CdcTest;
use List::Util qw(shuffle);
use PostgreSQL::Test::Utils;
use ReplayOracle;
use Test::More;

my $seed = random_seed();
my $db   = 'settings';
my $node = cdc_node('random_settings', 'cdc.partition_wal_size' => '1MB', 'cdc.capture_queue_size' => '512kB');
cdc_create($node, $db);
$node->safe_psql($db, q(
	CREATE TABLE t (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, n int DEFAULT 0, v text);
	CREATE TABLE other (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, f float8, ts timestamptz DEFAULT now(), b bytea DEFAULT '\x00ff', d interval DEFAULT '1 day 2 hours', v text);
	CREATE TABLE extra (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, v text)));
enable_table($node, $db, $_) for qw(t other);

# What is left out: what makes a server one that nobody can use or see (who may connect, where things are, what is logged), what gives
# the slot up, waits for standbys, or is about crashes and damage; what no session of this test could live with.
my $left_out = join '|', qw(
	log_.* .*_log_.* debug_print_.* debug_pretty_print debug_discard_caches debug_deadlocks trace_.* .*statistics_stats log_.*_stats
	max_slot_wal_keep_size idle_replication_slot_timeout synchronous_standby_names fsync data_sync_retry restart_after_crash send_abort_for_crash
	zero_damaged_pages ignore_checksum_failure ignore_invalid_pages allow_system_table_mods allow_alter_system event_triggers
	db_user_namespace pre_auth_delay post_auth_delay ssl ssl_.* krb_.* gss_.* unix_.* update_process_title max_stack_depth
	transaction_(isolation|read_only|deferrable) seed is_superuser session_authorization role);
my @settings = map { [ split /\|/, $_, -1 ] } split /\n/, $node->safe_psql('postgres', qq(
	SELECT name, vartype, min_val, max_val, array_to_string(enumvals, ','), reset_val FROM pg_settings
	WHERE context IN ('sighup', 'superuser', 'user') AND vartype IN ('bool', 'enum', 'integer', 'real') AND name !~ '[.]' AND name !~ '^($left_out)\$' ORDER BY name COLLATE "C"));
cmp_ok(scalar(@settings), '>', 100, 'there are many settings');

# What the sessions of this test need.
my $major = $node->safe_psql('postgres', q(SELECT current_setting('server_version_num')::int / 10000));
my %calm  = (
	statement_timeout => 0, lock_timeout => 0, idle_in_transaction_session_timeout => 0, idle_session_timeout => 0, default_transaction_read_only => 'off',
	default_transaction_isolation => 'read\ committed', default_transaction_deferrable => 'off', exit_on_error => 'off', client_min_messages => 'warning',
	session_replication_role => 'origin', standard_conforming_strings => 'on', extra_float_digits => 1, bytea_output => 'hex', temp_file_limit => -1,
	row_security => 'on', $major >= 17 ? (transaction_timeout => 0) : ());
$ENV{PGOPTIONS} = join ' ', map { "-c $_=$calm{$_}" } sort keys %calm;

# value_of($setting): anything it may be. Numbers are small more often than large, as their meaning is.
sub value_of
{
	my ($name, $type, $min, $max, $values) = @{ $_[0] };
	return (qw(on off))[ int(rand(2)) ] if $type eq 'bool';
	return (split /,/, $values)[ rand(split /,/, $values) ] if $type eq 'enum';
	my $range = $max - $min;
	my $value = (sub { $min }, sub { $min + $range * rand()**20 }, sub { $min + $range * rand()**8 }, sub { $range < 1e6 ? $max : $min + 1e6 })[ int(rand(4)) ]->();
	return $type eq 'integer' ? int($value) : $value;
}

my $file = $node->basedir . '/load.sql';
append_to_file($file, join "\n", '\set a random(1, 500)', 'BEGIN;', q(INSERT INTO t (v) VALUES (repeat('x', :a));), 'UPDATE t SET n = n + 1 WHERE id = (SELECT max(id) FROM t) - :a % 30;', 'SAVEPOINT s;',
	'INSERT INTO other (f, v) VALUES (random(), :a);', 'ROLLBACK TO s;', q(INSERT INTO other (f, v) VALUES (:a / 7.0, 'kept');), 'DELETE FROM t WHERE id = (SELECT max(id) - 50 FROM t);', "COMMIT;\n");
my $load = start_load($node, $db, [ [ $file, 1 ] ], clients => 2, seconds => 3600, rate => 150, seed => $seed);

# Until the load has done so many transactions more.
sub load_for
{
	my ($n) = @_;
	my $from = $node->safe_psql($db, 'SELECT coalesce(max(id), 0) FROM t');
	$node->poll_query_until($db, "SELECT max(id) >= $from + $n FROM t") or die "the load does not go on:\n$load->{output}";
	return;
}

my $taken = 0;
my $rounds = $ENV{CDC_TEST_FULL} ? 60 : 6;
for my $round (1 .. $rounds)
{
	my %now = map { $_->[0] => value_of($_) } (shuffle @settings)[ 0 .. 39 ];
	my $sql = join '', map { "ALTER SYSTEM SET $_ = '$now{$_}';\n" } sort keys %now;
	$node->psql('postgres', "ALTER SYSTEM RESET ALL;\n$sql", stderr => \my $refused, on_error_stop => 0);
	$taken += keys(%now) - (() = $refused =~ /ERROR:/g);
	note "round $round: " . join ', ', map { "$_ = $now{$_}" } sort keys %now;
	$node->safe_psql('postgres', 'SELECT pg_reload_conf()');
	load_for(10);
	# Half of the time with processes that begin with them.
	$node->safe_psql('postgres', q(SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE backend_type ~ '^cdc (capture|decoder)')) if $round % 2;
	enable_table($node, $db, 'extra');
	$node->safe_psql($db, q(INSERT INTO extra (v) VALUES ('one'); ALTER TABLE extra ADD COLUMN more int; UPDATE extra SET v = 'two'; CALL cdc.sp_cdc_start_job('cleanup')));
	load_for(10);
	$node->safe_psql($db, "CALL cdc.wait_for_capture(timeout => '120s')");
	$node->safe_psql($db, q(CALL cdc.sp_cdc_disable_table('public', 'extra', 'all'); ALTER TABLE extra DROP COLUMN more));
}
cmp_ok($taken, '>', 20 * $rounds, 'most of the values are taken');
$node->safe_psql('postgres', 'ALTER SYSTEM RESET ALL');
$node->safe_psql('postgres', 'SELECT pg_reload_conf()');
finish_load($load, 1);
oracle_ok($node, $db, 'nothing lost, nothing twice', whole => 0);
catalog_ok($node, $db, 'the catalogs agree');
is($node->safe_psql($db, 'SELECT count(*) FROM cdc.gaps'), '0', 'no gap');
is($node->safe_psql($db, q(SELECT string_agg(DISTINCT error_message, '; ') FROM cdc.dm_cdc_errors WHERE error_message !~ 'decoder has ended|is in use|terminat|lock timeout')), '', 'no errors of workers');
unlike(slurp_file($node->logfile), qr/PANIC|TRAP|was terminated by signal|XX000/, 'no process crashed, no internal error');
$node->stop;
done_testing();
