# Workers that are killed, ended, cancelled, frozen or shut down under load; settings that would hurt a process that trusted
# them, set for the whole server, the database and the role; reloads of everything that can be reloaded, also with nonsense.
use strict;
use warnings;

use FindBin;
use lib "$FindBin::RealBin/lib";

use CatalogCheck;
use CdcTest;
use PostgreSQL::Test::Utils;
use ReplayOracle;
use Test::More;

my $seed = random_seed();
my $db   = 'signals';
my $node = cdc_node('signals', 'cdc.partition_wal_size' => '1MB', 'cdc.capture_queue_size' => '512kB', autovacuum => 'on', autovacuum_naptime => '1s');
cdc_create($node, $db);
$node->safe_psql($db, q(
	CREATE TABLE t (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, n int DEFAULT 0, v text);
	CREATE TABLE other (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, v text);));
enable_table($node, $db, $_) for qw(t other);

my $file = $node->basedir . '/load.sql';
append_to_file($file, join "\n", '\set a random(1, 500)', 'BEGIN;', q(INSERT INTO t (v) VALUES (repeat('x', :a));),
	'UPDATE t SET n = n + 1 WHERE id = (SELECT max(id) FROM t) - :a % 30;', 'SAVEPOINT s;', 'INSERT INTO other (v) VALUES (:a);',
	'ROLLBACK TO s;', q(INSERT INTO other (v) VALUES ('kept');), 'DELETE FROM t WHERE id = (SELECT max(id) - 50 FROM t);', "COMMIT;\n");
my ($load, $rounds) = (undef, 0);

sub load_start
{
	$load = start_load($node, $db, [ [ $file, 1 ] ], clients => 2, seconds => 300, rate => 150, seed => $seed + $rounds++);
	return;
}

# Until the load has done so many transactions more.
sub load_for
{
	my ($n) = @_;
	my $from = $node->safe_psql($db, 'SELECT coalesce(max(id), 0) FROM t');
	$node->poll_query_until($db, "SELECT max(id) >= $from + $n FROM t") or die "the load does not go on:\n" . load_output($load);
	return;
}

# all_well($name): with the load ended.
sub all_well
{
	my ($name) = @_;
	local $Test::Builder::Level = $Test::Builder::Level + 1;
	finish_load($load, 1) if $load;
	$load = undef;
	oracle_ok($node, $db, "$name: nothing lost, nothing twice");
	catalog_ok($node, $db, "$name: the catalogs agree");
	return;
}

# --- Frozen ----------------------------------------------------------------------------------------
for my $type ('cdc decoder', 'cdc capture worker')
{
	load_start();
	load_for(20);
	my $pid = wait_for_worker($node, $type, $db);
	kill 'STOP', $pid;
	$node->safe_psql($db, q(INSERT INTO t (v) VALUES ('nobody listens')));
	my (undef, undef, $err) = $node->psql($db, q(CALL cdc.wait_for_capture(timeout => '1s')));
	like($err, qr/were not captured in time/, "$type frozen: who waits is told");
	is(stat_value($node, $db, 'read_lsn <= pg_current_wal_lsn() AND lag_bytes > 0'), 't', "$type frozen: pg_stat_cdc shows the lag");
	$node->safe_psql('postgres', q(ALTER SYSTEM SET cdc.health_lag_warning = '1s'));
	$node->safe_psql('postgres', 'SELECT pg_reload_conf()');
	ok($node->poll_query_until($db, q(SELECT status <> 'ok' FROM cdc.health() WHERE check_name = 'lag_time')), "$type frozen: health() warns");
	kill 'CONT', $pid;
	wait_captured($node, $db);
	is(worker_pid($node, $type, $db), $pid, "$type goes on when it is let");
	$node->safe_psql('postgres', 'ALTER SYSTEM RESET cdc.health_lag_warning');
	all_well("$type frozen");
}

# --- A storm of polite signals ----------------------------------------------------------------------
load_start();
for my $round (1 .. 30)
{
	my $signal = (qw(pg_terminate_backend pg_cancel_backend pg_cancel_backend))[ int(rand(3)) ];
	$node->safe_psql('postgres', "SELECT $signal(pid) FROM pg_stat_activity WHERE backend_type ~ '^cdc ' ORDER BY random() LIMIT 2");
	$node->safe_psql($db, q(CALL cdc.sp_cdc_start_job('cleanup'))) if $round % 10 == 0;
	load_for(1 + int(rand(10)));
}
all_well('storm');

# --- Shutdown under load: fast, and smart, which waits for sessions but not for us --------------------
for my $mode ('fast', 'smart')
{
	load_start();
	load_for(50);
	# Smart would wait for the load, too.
	finish_load($load, 1) if $mode eq 'smart';
	my $from = log_size($node);
	$node->stop($mode);
	unlike(log_since($node, $from), qr/ERROR:|PANIC|was terminated by signal/, "$mode shutdown: nothing fails in it") if $mode eq 'smart';
	unlike(log_since($node, $from), qr/PANIC|was terminated by signal/, "$mode shutdown: nothing dies");
	finish_load($load, 1) if $mode eq 'fast';
	$node->start;
	all_well("$mode shutdown");
}

# --- Settings that a worker must not be hurt by -------------------------------------------------------
my $major   = $node->safe_psql('postgres', q(SELECT current_setting('server_version_num')::int / 10000));
my %hostile = (
	statement_timeout                   => '1ms',
	lock_timeout                        => '1ms',
	idle_in_transaction_session_timeout => '1ms',
	default_transaction_read_only       => 'on',
	default_transaction_isolation       => 'serializable',
	default_transaction_deferrable      => 'on',
	search_path                         => 'nowhere, public',
	session_replication_role            => 'replica',
	row_security                        => 'off',
	synchronous_commit                  => 'off',
	default_tablespace                  => '',
	default_toast_compression           => 'pglz',
	check_function_bodies               => 'off',
	enable_indexscan                    => 'off',
	enable_seqscan                      => 'off',
	client_min_messages                 => 'debug1',
	bytea_output                        => 'escape',
	DateStyle                           => 'SQL, DMY',
	IntervalStyle                       => 'sql_standard',
	TimeZone                            => 'Pacific/Chatham',
	lc_messages                         => 'C',
	extra_float_digits                  => '-15',
	xmlbinary                           => 'hex',
	work_mem                            => '64kB',
	temp_file_limit                     => '0',
	vacuum_freeze_min_age               => '0',
	backslash_quote                     => 'off',
	$major >= 17 ? (transaction_timeout => '1ms', event_triggers => 'off') : ());

# What the test itself needs to be able to do with such settings in force.
my %calm = (
	statement_timeout => '0', lock_timeout => '0', idle_in_transaction_session_timeout => '0', default_transaction_read_only => 'off',
	default_transaction_isolation => '"read committed"', default_transaction_deferrable => 'off', search_path => 'public',
	session_replication_role => 'origin', client_min_messages => 'warning', DateStyle => 'ISO', bytea_output => 'hex',
	extra_float_digits => '1', enable_seqscan => 'on', temp_file_limit => '-1', work_mem => '"64MB"',
	$major >= 17 ? (transaction_timeout => '0', event_triggers => 'on') : ());
$ENV{PGOPTIONS} = join ' ', map { "-c $_=" . ($calm{$_} =~ s/"//gr =~ s/ /\\ /gr) } sort keys %calm;

my %place = (
	'ALTER SYSTEM'          => [ 'ALTER SYSTEM', 'postgres' ],
	"ALTER DATABASE $db"    => [ "ALTER DATABASE $db", 'postgres' ],
	'ALTER ROLE'            => [ 'ALTER ROLE ' . $node->safe_psql('postgres', 'SELECT quote_ident(current_user)'), 'postgres' ]);
for my $place (sort keys %place)
{
	for my $name (sort keys %hostile)
	{
		# For the whole server it ends sessions while they connect, before they can set theirs.
		next if $name eq 'transaction_timeout' && $place eq 'ALTER SYSTEM';
		my $value = $name eq 'search_path' ? $hostile{$name} : "'$hostile{$name}'";
		$node->safe_psql('postgres', "$place{$place}[0] SET $name = $value");
	}
	load_start();
	$node->safe_psql($db, 'DELETE FROM cdc._errors');
	$node->safe_psql('postgres', 'SELECT pg_reload_conf()');
	load_for(20);
	# All workers are started anew with them.
	$node->safe_psql('postgres', q(SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE backend_type ~ '^cdc '));
	load_for(20);
	$node->safe_psql($db, 'DROP TABLE IF EXISTS extra; CREATE TABLE extra (id int PRIMARY KEY, v text)');
	enable_table($node, $db, 'extra');
	$node->safe_psql($db, q(INSERT INTO extra VALUES (1, 'one'); ALTER TABLE extra ALTER v TYPE varchar(20); UPDATE extra SET v = 'two'));
	wait_captured($node, $db);
	is($node->safe_psql($db, 'SELECT count(*) FROM cdc.public_extra_ct'), 3, "$place: a table is enabled, altered and captured");
	$node->safe_psql($db, q(CALL cdc.sp_cdc_disable_table('public', 'extra', 'all'); CALL cdc.sp_cdc_start_job('cleanup')));
	ok($node->poll_query_until($db, q(SELECT status = 'succeeded' FROM cdc.cleanup_runs ORDER BY run_id DESC LIMIT 1)), "$place: cleanup runs");
	finish_load($load, 1);
	$load = undef;
	oracle_ok($node, $db, "$place: nothing lost, nothing twice", whole => 0);
	catalog_ok($node, $db, "$place: the catalogs agree");
	is($node->safe_psql($db, q(SELECT string_agg(DISTINCT error_message, '; ') FROM cdc.dm_cdc_errors WHERE error_message !~ 'decoder has ended|is in use|terminat')), '', "$place: no errors of workers");

	# The database can be disabled and enabled with them, too.
	$node->safe_psql($db, 'CALL cdc.sp_cdc_disable_db()');
	$node->safe_psql($db, 'TRUNCATE t, other');
	$node->safe_psql($db, 'CALL cdc.sp_cdc_enable_db()');
	enable_table($node, $db, $_) for qw(t other);
	wait_captured($node, $db);
	catalog_ok($node, $db, "$place: disabled and enabled again");
	$node->safe_psql('postgres', $place eq 'ALTER SYSTEM' ? "ALTER SYSTEM RESET $_" : "$place{$place}[0] RESET $_") for sort keys %hostile;
	$node->safe_psql('postgres', 'SELECT pg_reload_conf()');
}
delete $ENV{PGOPTIONS};

# --- Reloads under load: all our settings, from one end of their range to the other, and nonsense --------
my @ours = map { [ split /\|/ ] } split /\n/, $node->safe_psql($db, q(
	SELECT name, min_val, max_val FROM pg_settings WHERE name LIKE 'cdc.%' AND vartype = 'integer' AND context IN ('sighup', 'superuser', 'user')));
cmp_ok(scalar(@ours), '>', 10, 'our settings are found');
load_start();
for my $round (1 .. 10)
{
	for my $setting (@ours)
	{
		my ($name, $min, $max) = @$setting;
		my $value = (sub { $min }, sub { $max }, sub { $min + int(rand($max - $min + 1)) })[ int(rand(3)) ]->();
		# Tiny leaves by the thousand, or a cleanup that waits for weeks, are what was asked for, not what is tested.
		next if $name =~ /^cdc\.(cleanup_lock_timeout|capture_queue_size)$/ && $value > 4096;
		$node->safe_psql('postgres', "ALTER SYSTEM SET $name = $value");
	}
	$node->safe_psql('postgres', 'SELECT pg_reload_conf()');
	load_for(5);
}
all_well('reloads');
$node->safe_psql('postgres', "ALTER SYSTEM RESET $_->[0]") for @ours;

# Nonsense in the file: said in the log, the former value stays, nobody ends.
my $writer = worker_pid($node, 'cdc capture worker', $db);
my $conf   = slurp_file($node->data_dir . '/postgresql.conf');
load_start();
for my $line ('cdc.partition_wal_size = -5', "cdc.capture_queue_size = 'many'", "cdc.no_such_setting = 1", 'cdc.idle_mapping_interval = 10 parsecs', '= = =')
{
	my $from = log_size($node);
	$node->append_conf('postgresql.conf', $line);
	$node->safe_psql('postgres', 'SELECT pg_reload_conf()');
	wait_until(sub { log_since($node, $from) =~ /errors|invalid|unaffected/ }, "$line is noticed");
	load_for(5);
	open my $out, '>', $node->data_dir . '/postgresql.conf' or die $!;
	print $out $conf;
	close $out;
}
$node->safe_psql('postgres', 'SELECT pg_reload_conf()');
all_well('nonsense');
is(worker_pid($node, 'cdc capture worker', $db), $writer, 'nonsense: nobody has ended');

$node->stop;
done_testing();
