# What only shows when workers live long: statistics that are reported while they run, memory that does not grow with the
# number of tables that came and went, and a cleanup whose tables are disabled meanwhile.
use strict;
use warnings;

use FindBin;
use lib "$FindBin::RealBin/lib";

use CdcTest;
use PostgreSQL::Test::Utils;
use Test::More;

my $db   = 'long';
my $node = cdc_node('long', autovacuum => 'off', 'cdc.partition_wal_size' => '1MB', 'cdc.cleanup_lock_timeout' => '60s');
cdc_create($node, $db);
$node->safe_psql($db, 'CREATE TABLE a (id int PRIMARY KEY, v text); CREATE TABLE b (id int PRIMARY KEY, v text);');
enable_table($node, $db, $_, capture_instance => "'$_'") for qw(a b);

# Autovacuum goes by these numbers: a worker that reports them when it ends is too late.
$node->safe_psql($db, 'INSERT INTO a SELECT i FROM generate_series(1, 100) i');
wait_captured($node, $db);
my $pid = worker_pid($node, 'cdc capture worker', $db);
ok($node->poll_query_until($db, q(SELECT sum(n_tup_ins) = 100 FROM pg_stat_all_tables JOIN pg_inherits ON inhrelid = relid WHERE inhparent = 'cdc.a_ct'::regclass)),
	'the rows of a change table are in the statistics');
ok($node->poll_query_until($db, q(SELECT n_tup_upd > 0 FROM pg_stat_all_tables WHERE relid = 'cdc._progress'::regclass)), 'and what the worker updates');
is(worker_pid($node, 'cdc capture worker', $db), $pid, 'while it runs');

# Cleanup has begun with the first of two instances, and waits there; the second one goes.
$node->safe_psql($db, q(INSERT INTO a SELECT i, repeat('x', 1000) FROM generate_series(1000, 4000) i; INSERT INTO b SELECT i, repeat('x', 1000) FROM generate_series(1, 3000) i;));
$node->safe_psql($db, q(INSERT INTO a VALUES (5000); INSERT INTO b VALUES (5000);));
wait_captured($node, $db);
my $reader = $node->background_psql($db);
$reader->query_safe(q(BEGIN; SELECT count(*) FROM cdc.fn_cdc_get_all_changes_a(cdc.fn_cdc_get_min_lsn('a'), cdc.fn_cdc_get_max_lsn(), 'all')));
$node->safe_psql($db, q(UPDATE cdc.lsn_time_mapping SET tran_end_time = tran_end_time - interval '2 hours' WHERE start_lsn < cdc.fn_cdc_get_max_lsn();
	CALL cdc.sp_cdc_change_job('cleanup', retention => 1); CALL cdc.sp_cdc_start_job('cleanup')));
$node->poll_query_until($db, q(SELECT count(*) > 0 FROM pg_stat_activity WHERE backend_type = 'cdc cleanup worker' AND wait_event_type = 'Lock'))
  or die 'cleanup does not wait';
$node->safe_psql($db, q(CALL cdc.sp_cdc_disable_table('public', 'b', 'b')));
$node->poll_query_until($db, q(SELECT to_regclass('cdc.b_ct') IS NULL AND NOT EXISTS (SELECT FROM pg_class WHERE relname ~ '^_dropped_')))
  or die 'the change table does not go';
$reader->query_safe('COMMIT');
$reader->quit;
ok($node->poll_query_until($db, q(SELECT status <> 'running' FROM cdc.cleanup_runs ORDER BY run_id DESC LIMIT 1)), 'cleanup ends');
is($node->safe_psql($db, q(SELECT status, message FROM cdc.cleanup_runs ORDER BY run_id DESC LIMIT 1)), 'succeeded|', 'a table that is disabled while cleanup runs is no error');

# An instance is loaded with several scans. Disabled between two of them, it is unknown, and not damaged.
$node->safe_psql($db, q(
	CREATE TABLE torn (id int PRIMARY KEY, v text);
	CREATE PROCEDURE enable_and_disable(times int) LANGUAGE plpgsql AS $$
	BEGIN
		FOR i IN 1 .. times LOOP
			CALL cdc.sp_cdc_enable_table('public', 'torn', NULL);
			COMMIT;
			CALL cdc.sp_cdc_disable_table('public', 'torn', 'all');
			COMMIT;
		END LOOP;
	END $$;
	CREATE PROCEDURE load_it(query text, INOUT times int DEFAULT 0) LANGUAGE plpgsql AS $$
	BEGIN
		WHILE to_regclass('enough') IS NULL LOOP
			EXECUTE query;
			COMMIT;
			times := times + 1;
		END LOOP;
	END $$));
my @loaders = map { start_psql($node, $db, "CALL load_it('$_')") }
  q(SELECT cdc.fn_cdc_get_column_ordinal(''public_torn'', ''id'')), 'SELECT count(*) FROM cdc.sp_cdc_generate_wrapper_function()';
$node->safe_psql($db, 'CALL enable_and_disable(150); CREATE TABLE enough ()');
like(finish_psql($_), qr/^\d+$/, 'an instance that goes while it is loaded is no error') for @loaders;

# Tables that come and go: the first fill what is kept for later, the others may not add to it.
sub passing_tables
{
	my ($from, $to) = @_;
	$node->safe_psql($db, join "\n", map { "BEGIN; CREATE TABLE passing_$_ (id int, v text); CALL cdc.sp_cdc_enable_table('public', 'passing_$_', NULL); COMMIT;
		INSERT INTO passing_$_ VALUES (1, 'x'); DROP TABLE passing_$_;" } $from .. $to);
	wait_captured($node, $db);
	$node->poll_query_until($db, 'SELECT count(*) = 1 FROM cdc.change_tables') or die 'the instances do not go';
	return;
}

# Bytes in use by memory contexts.
sub used
{
	my ($type, $context) = @_;
	my $worker = worker_pid($node, $type, $db);
	my $from = log_size($node);
	$node->safe_psql($db, "SELECT pg_log_backend_memory_contexts($worker)");
	wait_until(sub { log_since($node, $from) =~ /Grand total/ }, 'the worker tells of its memory');
	my $log = log_since($node, $from);
	my $sum = 0;
	$sum += $1 while $log =~ /; $context.*; (\d+) used$/mg;
	return $sum;
}

sub all_used
{
	return (
		writer => used('cdc capture worker', 'cdc worker'),
		decoder => used('cdc decoder', 'cdc source map'),
		"writer's caches" => used('cdc capture worker', 'CacheMemoryContext'),
		"decoder's caches" => used('cdc decoder', 'CacheMemoryContext'));
}

passing_tables(1, 200);
my $process = worker_pid($node, 'cdc capture worker', $db);
my %before = all_used();
passing_tables(201, 600);
my %after = all_used();
is(worker_pid($node, 'cdc capture worker', $db), $process, 'the same processes');
# Up to 128 entries of tables that have gone are kept, about 340 bytes each: so much it may differ by. 400 that stay are 136 kB.
cmp_ok($after{$_}, '<', $before{$_} + 80_000, "memory of the $_ does not grow with the tables that have gone") for qw(writer decoder);
# They are emptied now and then, and may be just before or after that: a table leaves more than a kB in them.
cmp_ok($after{$_}, '<', $before{$_} + 250_000, "memory of the $_ does not grow for ever") for "writer's caches", "decoder's caches";
note "$_: $before{$_} bytes, then $after{$_}" for sort keys %after;

$node->stop;
done_testing();
