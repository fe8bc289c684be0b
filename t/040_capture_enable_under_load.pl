# Tables are enabled, disabled and enabled again while others write to them; partitions come, go and
# change places with other tables; columns are added and dropped; the job is stopped and started. Each
# instance is enabled in one transaction with a copy of its table: exactly what is changed after it must be in the log.
use strict;
use warnings;

use FindBin;
use lib "$FindBin::RealBin/lib";

use CdcTest;
use PostgreSQL::Test::Utils;
use ReplayOracle;
use Test::More;

my $seed = random_seed();
my $db   = 'load';
my $node = cdc_node('load', 'cdc.partition_wal_size' => '16MB', 'cdc.capture_queue_size' => '1MB');
cdc_create($node, $db);

$node->safe_psql($db, q(
	CREATE SEQUENCE stamps;
	CREATE SEQUENCE ticks;
	CREATE TABLE plain (id int PRIMARY KEY, n int NOT NULL DEFAULT 0, v text, stamp bigint DEFAULT nextval('stamps'));
	CREATE TABLE keyless (n int, v text);
	CREATE TABLE large (id int PRIMARY KEY, body text, n int DEFAULT 0, stamp bigint DEFAULT nextval('stamps'));
	ALTER TABLE large ALTER body SET STORAGE EXTERNAL;
	CREATE TABLE parts (id bigint DEFAULT nextval('stamps'), shelf int, v text, stamp bigint DEFAULT nextval('stamps'), PRIMARY KEY (id, shelf)) PARTITION BY LIST (shelf);
	CREATE TABLE parts_1 PARTITION OF parts FOR VALUES IN (1);
	CREATE TABLE parts_2 (stamp bigint DEFAULT nextval('stamps'), v text, gone int, shelf int NOT NULL, id bigint NOT NULL DEFAULT nextval('stamps'), PRIMARY KEY (id, shelf));
	ALTER TABLE parts_2 DROP COLUMN gone;
	ALTER TABLE parts ATTACH PARTITION parts_2 FOR VALUES IN (2);
	CREATE TABLE parts_3 PARTITION OF parts FOR VALUES IN (3) PARTITION BY RANGE (id);
	CREATE TABLE parts_3a PARTITION OF parts_3 FOR VALUES FROM (MINVALUE) TO (MAXVALUE);
	INSERT INTO plain SELECT i, 0, 'new' FROM generate_series(1, 300) i;
	INSERT INTO large SELECT i, repeat(md5(i::text), 200) FROM generate_series(1, 20) i;
	INSERT INTO parts (shelf, v) SELECT 1 + i % 3, 'new' FROM generate_series(1, 150) i;));

my %script = (
	plain => [ 40, q(
		\set a random(1, 300)
		BEGIN;
		UPDATE plain SET n = n + 1, stamp = nextval('stamps') WHERE id = :a;
		SAVEPOINT s;
		UPDATE plain SET v = 'undone' WHERE id = :a;
		ROLLBACK TO s;
		INSERT INTO keyless VALUES (:a, 'x'), (:a, 'x');
		SELECT nextval('ticks');
		COMMIT;) ],
	exchange => [ 10, q(
		\set a random(1, 300)
		BEGIN;
		DELETE FROM plain WHERE id = :a;
		INSERT INTO plain VALUES (:a, 0, 'again') ON CONFLICT (id) DO UPDATE SET v = 'again, conflict', stamp = nextval('stamps');
		COMMIT;) ],
	clean => [ 5, q(DELETE FROM keyless WHERE ctid IN (SELECT ctid FROM keyless LIMIT 50 FOR UPDATE SKIP LOCKED);) ],
	large => [ 8, q(
		\set a random(1, 20)
		BEGIN;
		UPDATE large SET n = n + 1, stamp = nextval('stamps') WHERE id = :a;
		UPDATE large SET body = repeat(md5(random()::text), 200), stamp = nextval('stamps') WHERE id = :a;
		COMMIT;) ],
	move => [ 20, q(
		UPDATE parts SET shelf = 1 + shelf % 3, stamp = nextval('stamps')
			WHERE (id, shelf) IN (SELECT id, shelf FROM parts ORDER BY random() LIMIT 2 FOR UPDATE SKIP LOCKED);) ],
	rekey => [ 5, q(
		UPDATE parts SET id = nextval('stamps'), stamp = nextval('stamps')
			WHERE (id, shelf) IN (SELECT id, shelf FROM parts ORDER BY random() LIMIT 1 FOR UPDATE SKIP LOCKED);) ],
	prepared => [ 3, q(
		\set g random(1, 1000000000)
		BEGIN;
		INSERT INTO keyless VALUES (:g, 'prepared');
		UPDATE plain SET n = n - 1, stamp = nextval('stamps') WHERE id = 1 + :g % 300;
		PREPARE TRANSACTION 'g:g';
		COMMIT PREPARED 'g:g';) ]);
my @load;
for my $name (sort keys %script)
{
	my $file = $node->basedir . "/$name.sql";
	append_to_file($file, join("\n", map { s/^\s+//r } split /\n/, $script{$name}[1]) . "\n");
	push @load, [ $file, $script{$name}[0] ];
}
my $load = start_load($node, $db, \@load, clients => 4, seconds => 600, rate => 500, seed => $seed);

sub load_for
{
	my ($ticks) = @_;
	my $from = $node->safe_psql($db, 'SELECT last_value FROM ticks');
	$node->poll_query_until($db, "SELECT last_value >= $from + $ticks FROM ticks")
	  or die "the load does not go on:\n" . load_output($load);
	return;
}

# enabled($table, $instance, $columns): with a copy of what is there at that moment. Nobody can write between the two.
my (%baseline, %table_of);

sub enabled
{
	my ($table, $instance, $columns) = @_;
	my $list = defined $columns ? ", captured_column_list => '$columns'" : '';
	my $base = "base_$instance";
	$node->safe_psql($db, qq(
		SET client_min_messages = warning;
		DROP TABLE IF EXISTS $base;
		BEGIN;
		CALL cdc.sp_cdc_enable_table('public', '$table', NULL, '$instance'$list);
		CREATE TABLE $base AS TABLE $table;
		COMMIT;));
	$baseline{$instance} = $base;
	$table_of{$instance} = $table;
	return;
}

sub disabled
{
	my ($instance) = @_;
	$node->safe_psql($db, "CALL cdc.sp_cdc_disable_table('public', '$table_of{$instance}', '$instance')");
	delete $baseline{$instance};
	return;
}

# With the load ended: what is in the log is the truth. Then the load begins again.
sub truth
{
	my ($name) = @_;
	finish_load($load, 1);
	$node->poll_query_until($db, q(SELECT count(*) = 0 FROM pg_stat_activity WHERE backend_type = 'client backend' AND pid <> pg_backend_pid()))
	  or die 'the load does not end';
	$node->safe_psql($db, "COMMIT PREPARED '$_'")
	  for split /\n/, $node->safe_psql($db, 'SELECT gid FROM pg_prepared_xacts WHERE database = current_database()');
	oracle_ok($node, $db, $name, baseline => \%baseline, whole => 0, stamp => 'stamp');
	$load = start_load($node, $db, \@load, clients => 4, seconds => 600, rate => 500, seed => $seed + int(rand 1000));
	return;
}

load_for(20);
enabled('plain', 'plain_1');
enabled('keyless', 'keyless_1');
enabled('large', 'large_1');
load_for(60);
enabled('parts', 'parts_1');
enabled('plain', 'plain_2', 'id, v, stamp');
load_for(60);
truth('enabled under load');

for my $round (1 .. 4)
{
	load_for(20);
	disabled('plain_1');
	enabled('plain', 'plain_1');
	disabled('parts_1');
	load_for(10);
	enabled('parts', 'parts_1', $round % 2 ? 'v, id, shelf, stamp' : undef);
	disabled('keyless_1');
	enabled('keyless', 'keyless_1');
	load_for(10);
}
truth('disabled and enabled again under load');

# An enabling that does not get its lock in time changes nothing; sooner or later one does.
disabled('large_1');
my ($tries, $failed) = (0, 0);
my $holder = $node->background_psql($db);
$holder->query_safe('BEGIN; SELECT * FROM large WHERE id = 1 FOR UPDATE;');
for (1 .. 3)
{
	my ($stdout, $stderr);
	my $status = $node->psql($db, "SET lock_timeout = '20ms'; CALL cdc.sp_cdc_enable_table('public', 'large', NULL, 'large_1')",
		stdout => \$stdout, stderr => \$stderr);
	$failed++ if $status != 0 && $stderr =~ /lock timeout/;
}
is($failed, 3, 'enabling gives up when it may not wait for a lock');
is($node->safe_psql($db, q(SELECT count(*) FROM cdc.change_tables WHERE capture_instance = 'large_1')), '0', 'and leaves nothing behind');
is($node->safe_psql($db, q(SELECT relreplident FROM pg_class WHERE oid = 'large'::regclass)), 'd', 'nor a replica identity');
$holder->query_safe('COMMIT;');
$holder->quit;
enabled('large', 'large_1');
load_for(20);

# The job stopped, scanned by hand, and started, in the middle of it.
$node->safe_psql($db, 'CALL cdc.sp_cdc_stop_job()');
load_for(20);
disabled('plain_2');
enabled('plain', 'plain_2', 'id, n, stamp');
load_for(20);
$node->safe_psql($db, 'CALL cdc.sp_cdc_scan(maxtrans => 7, maxscans => 5)');
$node->safe_psql($db, 'CALL cdc.sp_cdc_scan()');
load_for(20);
$node->safe_psql($db, 'CALL cdc.sp_cdc_start_job()');
load_for(20);
truth('stopped, scanned and started under load');

# DDL between the changes: columns that nobody captures come and go, others are renamed; a partition is replaced by
# another table with the same rows, in one transaction, which the log does not see and need not see.
for my $round (1 .. 4)
{
	load_for(15);
	$node->safe_psql($db, "ALTER TABLE plain ADD COLUMN extra$round int DEFAULT $round");
	$node->safe_psql($db, "ALTER TABLE large ADD COLUMN extra$round text DEFAULT 'x'");
	$node->safe_psql($db, q(ALTER TABLE keyless RENAME COLUMN v TO w));
	load_for(5);
	$node->safe_psql($db, "ALTER TABLE plain DROP COLUMN extra$round");
	$node->safe_psql($db, q(ALTER TABLE keyless RENAME COLUMN w TO v));
	$node->safe_psql($db, qq(
		BEGIN;
		LOCK TABLE parts IN ACCESS EXCLUSIVE MODE;
		CREATE TABLE replacement (v text, id bigint NOT NULL DEFAULT nextval('stamps'), stamp bigint DEFAULT nextval('stamps'), shelf int NOT NULL, PRIMARY KEY (id, shelf));
		INSERT INTO replacement (v, id, stamp, shelf) SELECT v, id, stamp, shelf FROM parts WHERE shelf = 2;
		ALTER TABLE parts DETACH PARTITION parts_2;
		DROP TABLE parts_2;
		ALTER TABLE replacement RENAME TO parts_2;
		ALTER TABLE parts ATTACH PARTITION parts_2 FOR VALUES IN (2);
		COMMIT;));
}
load_for(20);
truth('DDL under load');
finish_load($load, 1);

cmp_ok(stat_value($node, $db, 'changes'), '>', 2000, 'there was something to capture');
is($node->safe_psql($db, q(SELECT failures || ' ' || state FROM cdc.pg_stat_cdc WHERE database = current_database())), '0 streaming', 'without a single failure');
unlike(slurp_file($node->logfile), qr/cdc (?:capture worker|decoder).*(?:ERROR|FATAL|PANIC)/, 'and none in the log');
$node->stop;
done_testing();
