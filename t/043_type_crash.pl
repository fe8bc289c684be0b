# Types of captured columns change, and the writer, the decoder or the whole server is killed while they come to
# it: the change table is altered in the same transaction as the rows around it, or not at all.
use strict;
use warnings;

use FindBin;
use lib "$FindBin::RealBin/lib";

use CdcTest;
use PostgreSQL::Test::Utils;
use Test::More;

my $seed   = random_seed();
my $db     = 'type_crash';
my $rounds = 5;

my $node = cdc_node('type_crash', fsync => 'on', 'cdc.capture_queue_size' => '512kB');
cdc_create($node, $db);
# Text that is the same whatever of these types the column has.
$node->safe_psql($db, q(
	CREATE TABLE t (id int PRIMARY KEY, v int, w varchar(4));
	CREATE TABLE beside (id int PRIMARY KEY, v text);
	CREATE PROCEDURE churn(round int) LANGUAGE plpgsql AS $$
	BEGIN
		FOR i IN 1 .. 3 LOOP
			INSERT INTO t SELECT g, (g % 100)::text::int, left(g::text, 4) FROM generate_series(round * 10000 + i * 1000, round * 10000 + i * 1000 + 200) g;
			INSERT INTO beside SELECT round * 10 + i, 'beside';
			COMMIT;
			DELETE FROM t WHERE id % 5 = i;
			COMMIT;
		END LOOP;
	END $$;));
enable_table($node, $db, $_) for qw(t beside);

my %kill = (
	writer  => sub { kill 'KILL', worker_pid($node, 'cdc capture worker', $db) },
	decoder => sub { kill 'KILL', worker_pid($node, 'cdc decoder', $db) },
	server  => sub { $node->kill9 });
my @whom  = qw(writer decoder writer server);
my @types = qw(bigint numeric text smallint bigint int);

# Sums the change rows up, as readers see them.
sub log_differs
{
	my ($table, @columns) = @_;
	my $list = join ', ', 'id', map { "$_\::text AS $_" } @columns;
	my $names = join ', ', 'id', @columns;
	return $node->safe_psql($db, qq(
		WITH log AS MATERIALIZED (
			SELECT "__\$operation" AS op, $list FROM cdc.fn_cdc_get_all_changes_public_$table(
				cdc.fn_cdc_get_min_lsn('public_$table'), cdc.fn_cdc_get_max_lsn(), 'all update old')),
		summed AS (
			SELECT $names, sum(CASE WHEN op IN (2, 4) THEN 1 ELSE -1 END) AS n FROM log GROUP BY $names
			HAVING sum(CASE WHEN op IN (2, 4) THEN 1 ELSE -1 END) <> 0)
		SELECT (SELECT count(*) FROM summed WHERE n <> 1)
			+ (SELECT count(*) FROM (SELECT $names FROM summed EXCEPT SELECT $list FROM $table) a)
			+ (SELECT count(*) FROM (SELECT $list FROM $table EXCEPT SELECT $names FROM summed) b)));
}

for my $round (1 .. $rounds)
{
	my $type  = $types[ $round % @types ];
	my $width = 4 + $round;
	$node->safe_psql($db, 'CALL cdc.sp_cdc_stop_job()');
	# A USING that changes what is there would be a change without change rows: all rows go before.
	$node->safe_psql($db, "CALL churn($round)");
	$node->safe_psql($db, qq(
		BEGIN;
		INSERT INTO t (id, w) VALUES (-$round, 'in');
		UPDATE t SET v = NULL WHERE id > 0;
		ALTER TABLE t ALTER COLUMN v TYPE $type USING NULL, ALTER COLUMN w TYPE varchar($width);
		INSERT INTO t VALUES (-1000 - $round, 7, repeat('x', $width));
		DELETE FROM t WHERE id BETWEEN -$round - 1 AND -$round + 1;
		COMMIT;));
	$node->safe_psql($db, "INSERT INTO t (id, w) SELECT -$round * 100000 - g, 'after' FROM generate_series(1, 500) g; INSERT INTO beside VALUES (-$round, 'behind')");
	$node->safe_psql($db, 'UPDATE t SET v = NULL WHERE v IS NOT NULL');

	# Some moment from before the first change to after the last effect.
	my $whom = $whom[ $round % @whom ];
	$node->safe_psql($db, 'CALL cdc.sp_cdc_start_job()');
	wait_for_worker($node, 'cdc decoder', $db);
	$node->safe_psql('postgres', 'SELECT') for 1 .. int(rand(12));
	my $former = worker_pid($node, 'cdc capture worker', $db);
	$kill{$whom}->();
	start_again($node) if $whom eq 'server';
	wait_until(
		sub { grep { $_ ne $former } server_processes($node, qr/cdc capture worker/) },
		'the server comes back');
	wait_captured($node, $db);

	is(log_differs('t', 'v', 'w'), 0, "round $round ($whom, $type): the log adds up to the table");
	is(log_differs('beside', 'v'), 0, "round $round: so does the table's beside it");
	is( $node->safe_psql($db, q(SELECT count(*) FROM cdc.ddl_history WHERE required_column_update)),
		$round, "round $round: each command is in the history once");
	is( $node->safe_psql($db, q(SELECT column_type FROM cdc.captured_columns WHERE column_name = 'w')),
		"character varying($width)", "round $round: the catalog knows the type");
}
is( $node->safe_psql($db, q(
		SELECT count(*) FROM (
			SELECT first_ordinal + change_count <> lead(first_ordinal) OVER (ORDER BY start_lsn) AS wrong FROM cdc.lsn_time_mapping) m WHERE wrong)),
	0, 'ordinals have no hole');
$node->stop;
done_testing();
