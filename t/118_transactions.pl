# Long and deep transactions: held open across many others and across restarts of the workers, spilled; a thousand
# subtransactions (ten thousand with CDC_TEST_FULL=1), deep nesting; many relations in one; prepared ones across a restart and a
# crash, with enabling, disabling and DDL before they are committed, and while a database is being enabled.
use strict;
use warnings;

use FindBin;
use lib "$FindBin::RealBin/lib";

use CdcTest;
use IPC::Run;
use PostgreSQL::Test::Utils;
use ReplayOracle;
use Test::More;

my $node = cdc_node('transactions', logical_decoding_work_mem => '64kB', max_locks_per_transaction => '256');
my $db = 'deep';
cdc_create($node, $db);
$node->safe_psql($db, join ';', map { "CREATE TABLE $_ (id int PRIMARY KEY, n int DEFAULT 0, v text)" } qw(t other later gone), map { "many$_" } 1 .. 60);
enable_table($node, $db, $_) for qw(t other gone), map { "many$_" } 1 .. 60;

# open_session($sql): a session that stays in its transaction.
sub open_session
{
	my ($sql) = @_;
	my %session = (in => "BEGIN; $sql; SELECT 'in it';\n", out => '');
	$session{run} = IPC::Run::start [ $node->installed_command('psql'), '-XAtq', '-v', 'ON_ERROR_STOP=1', '-d', $node->connstr($db) ], '<', \$session{in}, '>&', \$session{out};
	wait_until(sub { $session{run}->pump_nb; $session{out} =~ /in it/ }, 'not in its transaction');
	return \%session;
}

sub end_session
{
	my ($session, $sql) = @_;
	$session->{in} .= "$sql;\n\\q\n";
	$session->{run}->finish;
	return;
}

# --- Held open ------------------------------------------------------------------------------------
my $long = open_session(q(INSERT INTO t SELECT i, 0, repeat('x', 500) FROM generate_series(1, 2000) i));
$node->safe_psql($db, "INSERT INTO other VALUES ($_); UPDATE other SET n = n + 1") for 1 .. 20;
for (1 .. 2)
{
	my $pid = wait_for_worker($node, 'cdc decoder', $db);
	$node->safe_psql($db, "SELECT pg_terminate_backend($pid)");
	wait_for_worker($node, 'cdc decoder', $db, $pid);
	$node->safe_psql($db, 'UPDATE other SET n = n + 1');
}
wait_captured($node, $db);
is($node->safe_psql($db, 'SELECT count(*) FROM cdc.public_t_ct'), '0', 'a transaction that is open is not captured, others are');
end_session($long, 'UPDATE t SET n = 1; COMMIT');
oracle_ok($node, $db, 'held open across restarts of the workers');
is($node->safe_psql($db, 'SELECT max(change_count) FROM cdc.lsn_time_mapping'), '4000', 'as one transaction');

# --- Subtransactions ------------------------------------------------------------------------------
my $many = $ENV{CDC_TEST_FULL} ? 10_000 : 1000;
$node->safe_psql($db, qq(DO \$\$ BEGIN FOR i IN 1..$many LOOP
	BEGIN
		INSERT INTO t VALUES (100000 + i);
		UPDATE other SET n = n + 1 WHERE id = i % 20 + 1;
		IF i % 3 = 0 THEN RAISE EXCEPTION USING ERRCODE = 'P0001'; END IF;
	EXCEPTION WHEN SQLSTATE 'P0001' THEN
		UPDATE t SET n = n - 1 WHERE id = 1;
	END; END LOOP; END \$\$));
$node->safe_psql($db, join ' ', 'BEGIN;', (map { "SAVEPOINT s$_; INSERT INTO t VALUES (200000 + $_);" . ($_ % 50 == 0 ? " SAVEPOINT gone; UPDATE t SET n = 0; ROLLBACK TO gone;" : '') } 1 .. 400), 'ROLLBACK TO s300; RELEASE s10; COMMIT;');
oracle_ok($node, $db, "$many subtransactions, and 400 levels");
is($node->safe_psql($db, 'SELECT count(*) FROM t WHERE id > 200000'), '299', 'what was rolled back is not there');

# --- Many relations in one ------------------------------------------------------------------------
$node->safe_psql($db, join ' ', 'BEGIN;', (map { "INSERT INTO many$_ VALUES (1), (2); UPDATE many$_ SET n = 1 WHERE id = 1;" } 1 .. 60), (map { "DELETE FROM many$_ WHERE id = 2;" } reverse 1 .. 60), 'COMMIT;');
oracle_ok($node, $db, 'sixty tables in one transaction');

# --- Prepared -------------------------------------------------------------------------------------
$node->safe_psql($db, q(BEGIN; INSERT INTO t VALUES (300001); UPDATE other SET n = 7 WHERE id = 1; PREPARE TRANSACTION 'one'));
$node->safe_psql($db, q(BEGIN; INSERT INTO t VALUES (300002); SAVEPOINT a; INSERT INTO t VALUES (300003); ROLLBACK TO a; PREPARE TRANSACTION 'two'));
$node->safe_psql($db, q(BEGIN; INSERT INTO many1 VALUES (3); PREPARE TRANSACTION 'vain'));
enable_table($node, $db, 'later');
$node->safe_psql($db, q(INSERT INTO later VALUES (1); CALL cdc.sp_cdc_disable_table('public', 'gone', 'all'); ALTER TABLE many2 ADD COLUMN more int; INSERT INTO many2 VALUES (3)));
$node->restart;
$node->safe_psql($db, q(COMMIT PREPARED 'one'; INSERT INTO later VALUES (2)));
$node->stop('immediate');
$node->start;
$node->safe_psql($db, q(COMMIT PREPARED 'two'; ROLLBACK PREPARED 'vain'; INSERT INTO t VALUES (300004)));
oracle_ok($node, $db, 'prepared ones across a restart and a crash, enabling, disabling and DDL', whole => 0);
is($node->safe_psql($db, q(SELECT string_agg(id::text, ' ' ORDER BY "__$start_lsn") FROM cdc.public_t_ct WHERE id > 300000)), '300001 300002 300004', 'in the order of their commits');

# A prepared transaction holds enabling up: it says so, and can be cancelled.
$node->safe_psql('postgres', 'CREATE DATABASE waiting');
$node->safe_psql('waiting', q(CREATE EXTENSION cdc; CREATE TABLE x (id int)));
$node->safe_psql('waiting', q(BEGIN; INSERT INTO x VALUES (1); PREPARE TRANSACTION 'hindrance'));
my $stderr;
isnt($node->psql('waiting', q(SET statement_timeout = '4s'; CALL cdc.sp_cdc_enable_db()), stderr => \$stderr), 0, 'a prepared transaction holds enabling up');
like($stderr, qr/NOTICE:  waiting for older transactions.*prepared transaction 'hindrance' of database waiting.*HINT/s, 'it says for whom it waits');
$node->poll_query_until('postgres', q(SELECT count(*) = 1 FROM pg_replication_slots)) or die 'a slot is left over';
$node->safe_psql('waiting', q(ROLLBACK PREPARED 'hindrance'));
$node->safe_psql('waiting', 'CALL cdc.sp_cdc_enable_db()');
enable_table($node, 'waiting', 'x');
$node->safe_psql('waiting', 'INSERT INTO x VALUES (2)');
oracle_ok($node, 'waiting', 'and then it is enabled');
unlike(slurp_file($node->logfile), qr/PANIC|TRAP|was terminated by signal|XX000/, 'no process crashed, no internal error');
$node->stop;
done_testing();
