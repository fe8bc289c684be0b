# Errors that need a server, or a database, in a state of its own: each says what to do, changes nothing, and afterwards
# capture goes on.
use strict;
use warnings;

use FindBin;
use lib "$FindBin::RealBin/lib";

use CdcTest;
use PostgreSQL::Test::Utils;
use ReplayOracle;
use Test::More;

# refused($db, $sql, $pattern, $name): the call fails with that message, and with a hint.
my $node = cdc_node('errors', max_worker_processes => 0);

sub refused
{
	my ($db, $sql, $pattern, $name) = @_;
	local $Test::Builder::Level = $Test::Builder::Level + 1;
	my $stderr = '';
	my $status = $node->psql($db, $sql, stderr => \$stderr);
	isnt($status, 0, "$name: refused");
	like($stderr, $pattern, "$name: with its message");
	like($stderr, qr/^HINT: /m, "$name: and a hint");
	return;
}

# No process for the launcher.
$node->safe_psql('postgres', 'CREATE DATABASE captured');
$node->safe_psql('captured', 'CREATE EXTENSION cdc');
refused('captured', 'CALL cdc.sp_cdc_enable_db()', qr/cdc launcher does not run.*max_worker_processes is 0/s, 'no launcher');
is($node->safe_psql('postgres', 'SELECT count(*) FROM pg_replication_slots'), '0', 'no slot is left');

# With processes, the same database is enabled.
$node->append_conf('postgresql.conf', 'max_worker_processes = 32');
$node->restart;
$node->safe_psql('captured', 'CALL cdc.sp_cdc_enable_db()');
$node->safe_psql('captured', 'CREATE TABLE t (id int PRIMARY KEY, v text)');

# From the script of an extension: the change table would become its member.
SKIP:
{
	skip 'the versions in test/upgrade are installed by tools/test', 4
	  unless -e $node->config_data('--sharedir') . '/extension/cdc--1.0--1.0.calls.sql';
	refused('captured', q(ALTER EXTENSION cdc UPDATE TO '1.0.calls'),
		qr/sp_cdc_enable_table cannot be called from the script of an extension/, 'in a script');
	is($node->safe_psql('captured', 'SELECT count(*) FROM cdc.change_tables'), '0', 'nothing is enabled');
}
enable_table($node, 'captured', 't');
$node->safe_psql('captured', q(INSERT INTO t VALUES (1, 'one')));
wait_captured($node, 'captured');

# A database with workers in it cannot be renamed, nor be a template: the server would only say that somebody is connected.
wait_for_worker($node, 'cdc capture worker', 'captured');
refused('postgres', 'ALTER DATABASE captured RENAME TO other', qr/database "captured" is being captured/, 'a new name');
refused('postgres', 'CREATE DATABASE other TEMPLATE captured', qr/database "captured" is being captured/, 'a copy');
$node->safe_psql('captured', q(INSERT INTO t VALUES (2, 'two')));
oracle_ok($node, 'captured', 'nothing is lost');

$node->stop;
done_testing();
