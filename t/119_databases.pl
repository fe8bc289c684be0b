# Many databases: ten captured at once under load, a crash and a restart; databases dropped while they are captured, also
# in vain; more databases than worker slots. None starves, nothing is lost, nothing of a dropped one is left.
use strict;
use warnings;

use FindBin;
use lib "$FindBin::RealBin/lib";

use CdcTest;
use PostgreSQL::Test::Utils;
use ReplayOracle;
use Test::More;

my $node = cdc_node('databases', max_connections => '100', shared_buffers => '128MB');
my @databases = map { "many$_" } 1 .. 10;

# prepare($dbname): a database of its own, captured.
sub prepare
{
	my ($dbname) = @_;
	cdc_create($node, $dbname);
	$node->safe_psql($dbname, 'CREATE TABLE t (id int GENERATED ALWAYS AS IDENTITY PRIMARY KEY, v text)');
	enable_table($node, $dbname, 't');
	return;
}

my $script = $node->basedir . '/work.sql';
append_to_file($script, "INSERT INTO t (v) SELECT 'row' FROM generate_series(1, 5);\nUPDATE t SET v = v || '+' WHERE id % 7 = 0 AND id > (SELECT max(id) FROM t) - 20;\nDELETE FROM t WHERE id % 11 = 0;\n");
prepare($_) for @databases;

# --- Ten at once ----------------------------------------------------------------------------------
my @loads = map { start_load($node, $_, [ [ $script, 1 ] ], clients => 1, seconds => 3, rate => 20) } @databases;
finish_load($_) for @loads;
wait_captured($node, $_) for @databases;
is($node->safe_psql('postgres', q(SELECT count(*) FROM pg_stat_activity WHERE backend_type LIKE 'cdc capture%')), '10', 'ten are captured at once');
@loads = map { start_load($node, $_, [ [ $script, 1 ] ], clients => 1, seconds => 30, rate => 20) } @databases;
$node->poll_query_until($databases[9], 'SELECT count(*) > 200 FROM t') or die 'no load';
$node->stop('immediate');
finish_load($_, 1) for @loads;
$node->start;
oracle_ok($node, $_, "$_: whole after a crash under load") for @databases[ 0, 4, 9 ];
is($node->safe_psql($databases[0], q(SELECT count(*) FROM cdc.pg_stat_cdc WHERE state IN ('streaming', 'catching up'))), '10', 'all ten run again');

# --- Dropped under load ---------------------------------------------------------------------------
my $load = start_load($node, $databases[8], [ [ $script, 1 ] ], clients => 2, seconds => 60, rate => 50);
$node->poll_query_until('postgres', "SELECT count(*) >= 2 FROM pg_stat_activity WHERE datname = '$databases[8]' AND backend_type = 'client backend'") or die 'no load';
for my $try (1 .. 2)
{
	isnt($node->psql('postgres', "DROP DATABASE $databases[8]", stderr => \my $stderr), 0, "in vain while others are connected, $try");
	like($stderr, qr/being accessed by other users/, 'the server says why');
	wait_for_worker($node, 'cdc decoder', $databases[8]);
}
is($node->psql('postgres', "DROP DATABASE $databases[8] WITH (FORCE)", stderr => \my $ignored), 0, 'with force it goes');
finish_load($load);
my $oid = $node->safe_psql('postgres', "SELECT oid FROM pg_database WHERE datname = '$databases[7]'");
is($node->psql('postgres', "DROP DATABASE $databases[7]", stderr => \$ignored), 0, 'one that nobody uses goes without');
is($node->safe_psql('postgres', "SELECT (SELECT count(*) FROM pg_replication_slots) || ' ' || (SELECT count(*) FROM pg_replication_origin) || ' ' || (SELECT count(*) FROM pg_replication_slots WHERE slot_name = 'cdc_$oid')"),
	'8 8 0', 'nothing of them is left');

# --- More databases than worker slots -------------------------------------------------------------
# Eight need sixteen, the server has a few less: some wait, say so, and come when there is room.
$node->append_conf('postgresql.conf', 'max_worker_processes = 14');
$node->restart;
my @left = @databases[ 0 .. 6, 9 ];
$node->poll_query_until('postgres', q(SELECT count(*) >= 6 FROM pg_stat_activity WHERE backend_type = 'cdc decoder')) or die 'not even six are captured';
$node->poll_query_until($left[0], q(SELECT count(*) > 0 FROM cdc.pg_stat_cdc WHERE last_error_code = '53400' AND last_error_hint ~ 'Raise max_worker_processes')) or die 'nobody says that slots are missing';
pass('who has no worker slot says so');
$node->safe_psql($_, q(INSERT INTO t (v) VALUES ('short of slots'))) for @left;
# One after the other makes room: each comes to its turn.
my $running = $node->safe_psql($left[0], q(SELECT string_agg(database, ' ') FROM cdc.pg_stat_cdc WHERE state = 'streaming'));
my @stopped = (split / /, $running)[ 0 .. 2 ];
$node->safe_psql($_, 'CALL cdc.sp_cdc_stop_job()') for @stopped;
for my $dbname (grep { my $name = $_; !grep { $_ eq $name } @stopped } @left)
{
	oracle_ok($node, $dbname, "$dbname: captured when there is room");
}
$node->append_conf('postgresql.conf', 'max_worker_processes = 32');
$node->restart;
$node->safe_psql($_, 'CALL cdc.sp_cdc_start_job()') for @stopped;
oracle_ok($node, $_, "$_: whole with slots for all") for @stopped;
unlike(slurp_file($node->logfile), qr/PANIC|TRAP|was terminated by signal/, 'no process crashed');
$node->stop;
done_testing();
