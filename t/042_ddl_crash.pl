# Captured tables are altered and dropped, and the writer, the decoder or the whole server is killed while they
# come to it. Whatever was committed before the drop is captured once, the history is whole, and of instances that
# are to be removed nothing is left.
use strict;
use warnings;

use FindBin;
use lib "$FindBin::RealBin/lib";

use CdcTest;
use PostgreSQL::Test::Utils;
use ReplayOracle;
use Test::More;

my $seed = random_seed();
my $db   = 'ddl_crash';
my $rounds = 9;

my $node = cdc_node('ddl_crash', fsync => 'on', 'cdc.capture_queue_size' => '512kB');
cdc_create($node, $db);
$node->safe_psql($db, q(
	CREATE TABLE stays (id int PRIMARY KEY, v text);
	INSERT INTO stays SELECT i, 'stays' FROM generate_series(1, 100) i;
	CREATE TABLE stays_before AS TABLE stays;
	CREATE FUNCTION churn(name text, first int, last int) RETURNS void LANGUAGE plpgsql AS $$
	BEGIN
		FOR i IN first .. last LOOP
			EXECUTE format('INSERT INTO %I (id, v) SELECT g, repeat(md5(g::text), 10) FROM generate_series(%s, %s) g', name, i * 1000, i * 1000 + 300);
			EXECUTE format('UPDATE %I SET v = v || %L WHERE id %% 3 = 0', name, i);
			EXECUTE format('DELETE FROM %I WHERE id %% 7 = %s', name, i % 7);
		END LOOP;
	END $$;));
enable_table($node, $db, 'stays');
$node->safe_psql($db, "INSERT INTO stays SELECT i, 'captured' FROM generate_series(101, 200) i");

# The rows that a change table adds up to, against the copy that was made in the transaction of the drop.
sub log_differs_from_copy
{
	my ($name) = @_;
	return $node->safe_psql($db, qq(
		WITH summed AS (
			SELECT id, v, sum(CASE WHEN "__\$operation" IN (2, 4) THEN 1 ELSE -1 END) AS n
			FROM cdc.public_${name}_ct GROUP BY 1, 2 HAVING sum(CASE WHEN "__\$operation" IN (2, 4) THEN 1 ELSE -1 END) <> 0)
		SELECT (SELECT count(*) FROM summed WHERE n <> 1)
			+ (SELECT count(*) FROM (SELECT id, v FROM summed EXCEPT SELECT id, v FROM copy_$name) a)
			+ (SELECT count(*) FROM (SELECT id, v FROM copy_$name EXCEPT SELECT id, v FROM summed) b)));
}

my %kill = (
	writer  => sub { kill 'KILL', worker_pid($node, 'cdc capture worker', $db) },
	decoder => sub { kill 'KILL', worker_pid($node, 'cdc decoder', $db) },
	server  => sub { $node->kill9 });
my @whom = qw(writer decoder writer server);

for my $round (1 .. $rounds)
{
	my ($kept, $gone) = ("kept_$round", "gone_$round");
	$node->safe_psql($db, "CREATE TABLE $_ (id int PRIMARY KEY, v text)") for $kept, $gone;
	enable_table($node, $db, $kept, drop_action => "'keep'");
	enable_table($node, $db, $gone);
	wait_captured($node, $db);
	$node->safe_psql($db, 'CALL cdc.sp_cdc_stop_job()');
	$node->safe_psql($db, qq(
		SELECT churn('$kept', 1, 3), churn('$gone', 1, 3);
		ALTER TABLE $kept ADD COLUMN w int;
		UPDATE stays SET v = v || '$round';));
	$node->safe_psql($db, qq(
		BEGIN;
		SELECT churn('$gone', 4, 5);
		UPDATE $kept SET w = 1, v = v || 'last' WHERE id % 2 = 0;
		CREATE TABLE copy_$kept AS TABLE $kept;
		ALTER TABLE $kept RENAME COLUMN w TO x;
		DROP TABLE $kept, $gone;
		COMMIT;
		DELETE FROM stays WHERE id = $round;
		INSERT INTO stays VALUES ($round, 'again');));

	# Some moment from before the first change to after the last effect.
	my $whom = $whom[ $round % @whom ];
	$node->safe_psql($db, 'CALL cdc.sp_cdc_start_job()');
	wait_for_worker($node, 'cdc decoder', $db);
	$node->safe_psql('postgres', 'SELECT') for 1 .. int(rand(10));
	note "round $round: $whom";
	my $former = worker_pid($node, 'cdc capture worker', $db);
	$kill{$whom}->();
	start_again($node) if $whom eq 'server';

	# The killed process takes all others along: another writer means that the server is back. Not asked by SQL:
	# a connection that is cut would end the test.
	wait_until(
		sub { grep { $_ ne $former } server_processes($node, qr/cdc capture worker/) },
		'the server comes back');
	wait_captured($node, $db);

	is(log_differs_from_copy($kept), 0, "round $round: everything before the drop is captured, once");
	is( $node->safe_psql($db, "SELECT string_agg(split_part(ddl_command, ' $kept', 1), ',') FROM cdc.sp_cdc_get_ddl_history('public_$kept')"),
		'ALTER TABLE,ALTER TABLE,DROP TABLE',
		"round $round: so is the history, in order");
	ok( $node->poll_query_until($db, qq(
			SELECT NOT EXISTS (SELECT FROM cdc.change_tables WHERE capture_instance = 'public_$gone')
				AND NOT EXISTS (SELECT FROM pg_class WHERE relnamespace = 'cdc'::regnamespace AND (relname ~ '^_dropped_' OR relname ~ 'public_$gone'))
				AND NOT EXISTS (SELECT FROM pg_proc WHERE proname ~ 'public_$gone'))),
		"round $round: of the other nothing is left");
}

# An instance that cannot go yet, since somebody's view is in the way, is not forgotten by a crash.
sub kill_writer
{
	my $former = worker_pid($node, 'cdc capture worker', $db);
	kill 'KILL', $former;
	wait_until(
		sub { grep { $_ ne $former } server_processes($node, qr/cdc capture worker/) },
		'the server comes back');
	return;
}
my $watched = q(SELECT count(*) FROM cdc.change_tables WHERE capture_instance = 'public_watched');
$node->safe_psql($db, 'CREATE TABLE watched (id int PRIMARY KEY)');
enable_table($node, $db, 'watched');
$node->safe_psql($db, q(
	CREATE VIEW watcher AS SELECT id FROM cdc.fn_cdc_get_all_changes_public_watched(cdc.fn_cdc_get_min_lsn('public_watched'), cdc.fn_cdc_get_max_lsn(), 'all');
	INSERT INTO watched VALUES (1);));
$node->safe_psql($db, 'DROP TABLE watched');
wait_captured($node, $db);
is($node->safe_psql($db, 'SELECT count(*) FROM watcher'), 1, 'a view on a query function keeps the instance');
kill_writer();
wait_captured($node, $db);
is($node->safe_psql($db, 'SELECT count(*) FROM watcher'), 1, 'also after a crash');
$node->safe_psql($db, 'DROP VIEW watcher');
kill_writer();
wait_captured($node, $db);
ok($node->poll_query_until($db, "SELECT ($watched) = 0"), 'without the view the next writer removes it');

is($node->safe_psql($db, 'SELECT count(*) FROM cdc._source_drops WHERE instance_id NOT IN (SELECT instance_id FROM cdc.change_tables)'), 0, 'no drop is remembered for nobody');
is( $node->safe_psql($db, q(
		SELECT count(*) FROM cdc.ddl_history WHERE object_id NOT IN (SELECT object_id FROM cdc.change_tables))),
	0, 'nor a command');
# The table that was there all the while, from its first captured row on.
is( $node->safe_psql($db, q(
		WITH summed AS (
			SELECT id, v, sum(CASE WHEN "__$operation" IN (2, 4) THEN 1 ELSE -1 END) AS n FROM (
				SELECT 2 AS "__$operation", id, v FROM stays_before UNION ALL SELECT "__$operation", id, v FROM cdc.public_stays_ct) s
			GROUP BY 1, 2)
		SELECT (SELECT count(*) FROM summed WHERE n NOT IN (0, 1))
			+ (SELECT count(*) FROM (SELECT id, v FROM summed WHERE n = 1 EXCEPT TABLE stays) a)
			+ (SELECT count(*) FROM (TABLE stays EXCEPT SELECT id, v FROM summed WHERE n = 1) b))),
	0, 'the table beside them is whole');
$node->stop;
done_testing();
