# Age of the oldest transaction: the slot of a capture that stands still keeps VACUUM from freezing the system catalogs.
# Long before the server's own limits health() and the server log warn. When capture goes on nothing is lost and
# the age is gone.
use strict;
use warnings;

use FindBin;
use lib "$FindBin::RealBin/lib";

use CdcTest;
use PostgreSQL::Test::Utils;
use ReplayOracle;
use Test::More;

my $node = cdc_node('old_xmin', autovacuum_freeze_max_age => '100000', 'cdc.health_check_interval' => '1s');
my $db = 'aged';
cdc_create($node, $db);
$node->safe_psql($db, 'CREATE TABLE t (id int PRIMARY KEY, v text)');
enable_table($node, $db, 't');
$node->safe_psql($db, q(INSERT INTO t VALUES (1, 'one')));
wait_captured($node, $db);

sub xmin_says
{
	my ($pattern, $name) = @_;
	local $Test::Builder::Level = $Test::Builder::Level + 1;
	like($node->safe_psql($db, q(SELECT concat_ws(' ', status, value, threshold, detail, action) FROM cdc.health() WHERE check_name = 'catalog_xmin')), $pattern, $name);
	# The slot may move on between the two looks.
	is($node->safe_psql($db, q(SELECT abs(catalog_xmin_age - (SELECT value::int FROM cdc.health() WHERE check_name = 'catalog_xmin')) < 10000 FROM cdc.pg_stat_cdc WHERE database = current_database())),
		't', "$name: pg_stat_cdc has the same");
	return;
}

# burn($n): transaction numbers, by subtransactions.
sub burn
{
	my ($n) = @_;
	$node->safe_psql($db, "DO \$\$ BEGIN FOR i IN 1..$n LOOP BEGIN INSERT INTO t VALUES (-1, 'no'); RAISE EXCEPTION USING ERRCODE = 'P0001'; EXCEPTION WHEN SQLSTATE 'P0001' THEN END; END LOOP; END \$\$");
	return;
}

xmin_says(qr/^ok \d{1,4} 100000$/, 'young: nothing to say');
$node->safe_psql($db, 'CALL cdc.sp_cdc_stop_job()');
my ($warning, $critical) = split /\|/, $node->safe_psql($db, q(SELECT current_setting('cdc.health_warning_percent'), current_setting('cdc.health_critical_percent')));
my $from = log_size($node);
burn(int(100_000 * $warning / 100) + 500);
xmin_says(qr/^warning \d+ 100000 The slot keeps VACUUM from freezing.*Get capture going.*discard_kept_wal\(true\)/, 'aged: a warning');
burn(int(100_000 * ($critical - $warning) / 100));
xmin_says(qr/^critical \d+ 100000 .*discard_kept_wal\(true\)/, 'older: critical');
wait_until(sub { log_since($node, $from) =~ /LOG:  change data capture of database \d+: catalog_xmin is critical.*?HINT:  Get capture going/s }, 'the server log says nothing');
pass('and in the server log');
is(stat_value($node, $db, 'state'), 'stopped', 'the job is stopped all the while');
# What VACUUM cannot freeze meanwhile.
$node->safe_psql($db, 'VACUUM FREEZE pg_class');
cmp_ok($node->safe_psql($db, q(SELECT age(relfrozenxid) FROM pg_class WHERE relname = 'pg_class')), '>', 50_000, 'the catalog cannot be frozen');
$node->safe_psql($db, q(UPDATE t SET v = v || '+'; INSERT INTO t VALUES (2, 'two'); CALL cdc.sp_cdc_start_job()));
oracle_ok($node, $db, 'capture goes on, nothing is lost');
# The slot moves on with what is captured, to where a checkpoint has told which transactions run.
$node->safe_psql($db, q(CHECKPOINT; UPDATE t SET v = v || '-'));
wait_captured($node, $db);
$node->poll_query_until($db, q(SELECT status = 'ok' FROM cdc.health() WHERE check_name = 'catalog_xmin')) or die 'the age stays';
$node->safe_psql($db, 'VACUUM FREEZE pg_class');
cmp_ok($node->safe_psql($db, q(SELECT age(relfrozenxid) FROM pg_class WHERE relname = 'pg_class')), '<', 50_000, 'and can be frozen then');

# --- Two thousand million transactions at once ----------------------------------------------------
# pg_resetwal moves the counter on while the server is stopped. What the slot needs is there, so it is a reset log: a gap.
$node->safe_psql($db, q(INSERT INTO t VALUES (3, 'three')));
wait_captured($node, $db);
$node->safe_psql($db, 'CALL cdc.sp_cdc_stop_job(); INSERT INTO t VALUES (4, 4)');
$node->stop;
my $next = 1_500_000_000;
command_ok([ 'pg_resetwal', '-f', '-x', $next, '-D', $node->data_dir ], 'the counter is moved on');
# The status of the transactions in between: as if all had been aborted.
my $segment = sprintf '%s/pg_xact/%04X', $node->data_dir, $next / 1_048_576;
open my $file, '>>', $segment or die $!;
print $file "\0" x 262144;
close $file;
$node->start;
$node->poll_query_until($db, q(SELECT state = 'needs action' FROM cdc.pg_stat_cdc WHERE database = current_database())) or die 'not noticed';
pass('a reset log is a gap, also with old numbers in the slot');
xmin_says(qr/^critical 1\d{9} 100000/, 'the age is said, not wrapped around');
$node->safe_psql($db, 'SET client_min_messages = error; CALL cdc.resume_after_gap(); INSERT INTO t VALUES (5, 5)');
wait_captured($node, $db);
is($node->safe_psql($db, q(SELECT string_agg(id::text, ' ') FROM cdc.fn_cdc_get_all_changes_public_t((SELECT max(end_lsn) FROM cdc.gaps), cdc.fn_cdc_get_max_lsn(), 'all'))), '5', 'and capture goes on');
xmin_says(qr/^ok \d{1,4} 100000/, 'with a young slot');
is($node->safe_psql($db, q(SELECT tran_id::text::bigint >= 1500000000 FROM cdc.lsn_time_mapping ORDER BY start_lsn DESC LIMIT 1)), 't', 'transaction ids go on');
unlike(slurp_file($node->logfile), qr/PANIC|TRAP|was terminated by signal|XX000/, 'no process crashed, no internal error');
$node->stop;
done_testing();
