# What other sessions can do to the engine: commits that are not visible yet, settings of the database's
# owner, an uncommitted disable_table, slots made or moved by others, jobs started and stopped during
# a scan, enabling that is cancelled at any moment.
use strict;
use warnings;

use FindBin;
use lib "$FindBin::RealBin/lib";

use CdcTest;
use PostgreSQL::Test::Utils;
use Test::More;

my $db   = 'hostile';
my $node = cdc_node('hostile');
my $former = log_size($node);

my $nsessions = 0;

# session($sql...): psql in the background, with what it has to do.
sub session
{
	my %session = (out => '');
	my $file    = $node->basedir . '/session' . ++$nsessions . '.sql';
	append_to_file($file, join("\n", @_));
	$session{run} = IPC::Run::start [ $node->installed_command('psql'), '-XAtq', '-f', $file, '-d', $node->connstr($db) ],
	  '<', \undef, '>&', \$session{out};
	return \%session;
}

sub wait_for_query
{
	my ($what) = @_;
	$node->poll_query_until('postgres', "SELECT count(*) > 0 FROM pg_stat_activity WHERE datname = '$db' AND $what")
	  or die "no session with $what";
	return;
}

# Enabling, cancelled at any moment while a prepared transaction holds it up: nothing stays, it can be called again.
$node->safe_psql('postgres', "CREATE DATABASE $db");
$node->safe_psql($db, q(
	CREATE EXTENSION cdc;
	CREATE TABLE a (id int PRIMARY KEY, v text);
	CREATE TABLE b (id int PRIMARY KEY, v text);
	BEGIN; INSERT INTO a VALUES (0, 'before'); PREPARE TRANSACTION 'old';));
my $slot = $node->safe_psql($db, 'SELECT \'cdc_\' || oid FROM pg_database WHERE datname = current_database()');
for my $ms (1, 5, 10, 20, 50, 300)
{
	my (undef, undef, $error) = $node->psql($db, "SET statement_timeout = '${ms}ms'; CALL cdc.sp_cdc_enable_db()");
	like($error, qr/statement timeout/, "cancelled after $ms ms");
}
$node->poll_query_until('postgres',
	q(SELECT count(*) = 0 FROM pg_stat_activity WHERE backend_type = 'cdc decoder')) or die 'a decoder stays';
is($node->safe_psql($db, 'SELECT count(*) FROM pg_replication_slots UNION ALL SELECT count(*) FROM cdc._identity'),
	"0\n0", 'nothing is left');

# A slot of our name that is not ours is not taken away from who made it.
$node->safe_psql($db, "COMMIT PREPARED 'old'; SELECT pg_create_logical_replication_slot('$slot', 'test_decoding');")
  if -e $node->config_data('--pkglibdir') . '/test_decoding.so';
SKIP:
{
	skip 'no other output plugin', 2 unless $node->safe_psql($db, 'SELECT count(*) FROM pg_replication_slots');
	my (undef, undef, $error) = $node->psql($db, 'CALL cdc.sp_cdc_enable_db()');
	like($error, qr/slot "$slot" exists already/, 'refused');
	is($node->safe_psql($db, 'SELECT plugin FROM pg_replication_slots'), 'test_decoding', 'and left alone');
	$node->safe_psql($db, "SELECT pg_drop_replication_slot('$slot')");
}
$node->psql($db, "COMMIT PREPARED 'old'");

$node->safe_psql($db, 'CALL cdc.sp_cdc_enable_db()');
enable_table($node, $db, $_, truncate_action => q('record')) for qw(a b);
wait_captured($node, $db);

# A commit waits for a synchronous standby: it is in the log, and nobody sees it.
$node->safe_psql($db, q(
	CREATE TABLE late (id int PRIMARY KEY);));
$node->safe_psql($db, q(ALTER SYSTEM SET synchronous_standby_names = 'nobody'));
$node->reload;
$node->poll_query_until($db, q(SELECT current_setting('synchronous_standby_names') = 'nobody'));
my $late = session(q(
	BEGIN;
	CALL cdc.sp_cdc_enable_table('public', 'late', NULL);
	INSERT INTO late VALUES (1), (2);
	COMMIT;));
wait_for_query(q(wait_event = 'SyncRep'));
my $lsn = $node->safe_psql($db, 'SELECT pg_current_wal_lsn()');
$node->poll_query_until($db, "SELECT read_lsn >= '$lsn' FROM cdc.pg_stat_cdc WHERE database = current_database()")
  or die 'the decoder does not go on';
select undef, undef, undef, 0.3;
$node->safe_psql($db, q(SET synchronous_commit = local; ALTER SYSTEM RESET synchronous_standby_names));
$node->reload;
$late->{run}->finish;
wait_captured($node, $db);
is($node->safe_psql($db, 'SELECT string_agg(id::text, \' \' ORDER BY id) FROM cdc.public_late_ct'), '1 2', 'rows of a table enabled by a commit that was not visible yet');
is($node->safe_psql($db, q(SELECT start_lsn IS NOT NULL FROM cdc.change_tables WHERE capture_instance = 'public_late')), 't', 'and its low end');

# Somebody disables a table and does not commit; rows of it and of another wait to be written.
$node->safe_psql($db, q(CALL cdc.sp_cdc_stop_job()));
$node->safe_psql($db, q(INSERT INTO a VALUES (1, 'a')));
$node->safe_psql($db, q(CREATE TABLE gate (); BEGIN; LOCK TABLE gate; PREPARE TRANSACTION 'gate';));
my $open = session(q(BEGIN; CALL cdc.sp_cdc_disable_table('public', 'a', 'all'); SELECT FROM gate; ROLLBACK;));
wait_for_query(q(query LIKE '%FROM gate%' AND wait_event_type = 'Lock'));
$node->safe_psql($db, q(INSERT INTO b VALUES (1, 'b')));
$node->safe_psql($db, q(CALL cdc.sp_cdc_start_job()));
wait_captured($node, $db);
is($node->safe_psql($db, 'SELECT count(*) FROM cdc.public_b_ct'), '1', 'another table is captured meanwhile');
$node->safe_psql($db, q(COMMIT PREPARED 'gate'));
$open->{run}->finish;
wait_captured($node, $db);
is($node->safe_psql($db, q(SELECT count(*) FROM cdc.public_a_ct WHERE id = 1)), '1', 'and so was the table itself');

# Settings of the database's owner.
$node->safe_psql('postgres', 'CREATE ROLE nobody_special');
my $n = 10;
for my $setting (
	'role = nobody_special',
	'session_authorization = nobody_special',
	'default_transaction_read_only = on',
	'default_transaction_isolation = serializable',
	'default_transaction_deferrable = on',
	"statement_timeout = '1ms'",
	"lock_timeout = '1ms'",
	"search_path = 'nowhere'",
	'session_replication_role = replica',
	'debug_discard_caches = 1',
	"session_preload_libraries = 'nothing_like_that'")
{
	next if $setting =~ /discard/ && $node->safe_psql('postgres', q(SELECT max_val FROM pg_settings WHERE name = 'debug_discard_caches')) eq '0';
	$node->safe_psql('postgres', "ALTER DATABASE $db SET $setting");
	my $writer = wait_for_worker($node, 'cdc capture worker', $db);
	$node->safe_psql('postgres', "SELECT pg_terminate_backend($writer)");
	wait_for_worker($node, 'cdc capture worker', $db, $writer);
	$node->safe_psql('postgres', "ALTER DATABASE $db RESET ALL");
	$n++;
	$node->safe_psql($db, "TRUNCATE a; INSERT INTO a VALUES ($n, 'x'); CREATE TABLE t$n (id int);");
	enable_table($node, $db, "t$n");
	$node->safe_psql($db, "INSERT INTO t$n VALUES (1)");
	wait_captured($node, $db);
	is($node->safe_psql($db, "SELECT (SELECT count(*) FROM cdc.public_t${n}_ct) + (SELECT count(*) FROM cdc.public_a_ct WHERE id = $n)"), '2', $setting);
}

# New sessions are kept out of the database; our processes are not.
$node->safe_psql('postgres', "ALTER DATABASE $db ALLOW_CONNECTIONS false");
my $kept_out = wait_for_worker($node, 'cdc capture worker', $db);
$node->safe_psql('postgres', "SELECT pg_terminate_backend($kept_out)");
ok(wait_for_worker($node, 'cdc decoder', $db) && wait_for_worker($node, 'cdc capture worker', $db, $kept_out), 'capture goes on');
$node->safe_psql('postgres', "ALTER DATABASE $db ALLOW_CONNECTIONS true");
wait_captured($node, $db);

# The job is stopped, or started, while somebody scans.
$node->safe_psql($db, 'CALL cdc.sp_cdc_stop_job()');
my $scan = session('CALL cdc.sp_cdc_scan(continuous => true);');
wait_for_query(q(backend_type = 'cdc decoder'));
$node->safe_psql($db, 'CALL cdc.sp_cdc_stop_job()');
$scan->{run}->finish;
is($scan->{out}, '', 'stopping the job ends a scan, and its caller');
$scan = session(q(SET statement_timeout = '1500ms'; CALL cdc.sp_cdc_scan(continuous => true);));
wait_for_query(q(backend_type = 'cdc decoder'));
$node->safe_psql($db, 'CALL cdc.sp_cdc_start_job()');
$scan->{run}->finish;
like($scan->{out}, qr/statement timeout/, 'a scan goes on when the job is started');
$node->safe_psql($db, q(INSERT INTO b VALUES (2, 'b')));
wait_captured($node, $db);
is($node->safe_psql($db, 'SELECT count(*) FROM cdc.public_b_ct'), '2', 'the job runs after it');

# The slot is moved by somebody while nobody holds it.
$node->safe_psql($db, q(CALL cdc.sp_cdc_stop_job()));
$node->safe_psql($db, qq(INSERT INTO b VALUES (3, 'b'); SELECT pg_replication_slot_advance('$slot', pg_current_wal_lsn())));
my (undef, undef, $error) = $node->psql($db, 'CALL cdc.sp_cdc_start_job()');
like($error, qr/has moved past what was captured/, 'a moved slot is a gap');
$node->safe_psql($db, q(CALL cdc.sp_cdc_disable_db()));
is($node->safe_psql('postgres', 'SELECT count(*) FROM pg_replication_slots UNION ALL SELECT count(*) FROM pg_replication_origin'), "0\n0", 'disabling leaves neither slot nor origin');

unlike(log_since($node, $former), qr/TRAP:|PANIC:|XX000/, 'no failed assertion, no internal error');
$node->stop;
done_testing();
