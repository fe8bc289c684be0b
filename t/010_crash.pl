# Kills everything, again and again, under load: SIGKILL of decoder, writer, launcher, a backend and the
# postmaster, immediate shutdowns, and polite terminations between them. Afterwards the replay oracle
# proves that nothing was lost, nothing captured twice, nothing out of order.
use strict;
use warnings;

use FindBin;
use lib "$FindBin::RealBin/lib";

use CdcTest;
use PostgreSQL::Test::Utils;
use ReplayOracle;
use Test::More;

my $seed = random_seed();
my $db   = 'crash';

# fsync on: the point of the exercise. Small leaves, so that crashes meet their creation, too; a small
# queue, so that the decoder is found waiting for room.
my $node = cdc_node(
	'crash',
	fsync                     => 'on',
	checkpoint_timeout        => '30s',
	'cdc.partition_wal_size'  => '32MB',
	'cdc.capture_queue_size'  => '512kB',
	max_prepared_transactions => 20);
cdc_create($node, $db);

$node->safe_psql($db, q(
	CREATE SEQUENCE stamps;
	CREATE SEQUENCE ticks;
	CREATE TABLE account (id int PRIMARY KEY, balance int NOT NULL, note text, stamp bigint DEFAULT nextval('stamps'));
	CREATE TABLE wanderer (id bigint PRIMARY KEY DEFAULT nextval('stamps'), hops int DEFAULT 0, stamp bigint DEFAULT nextval('stamps'));
	CREATE TABLE journal (what int, who text);
	CREATE TABLE document (id int PRIMARY KEY, body text, title text, stamp bigint DEFAULT nextval('stamps'));
	ALTER TABLE document ALTER body SET STORAGE EXTERNAL;
	CREATE TABLE box (id bigint DEFAULT nextval('stamps'), shelf int, stamp bigint DEFAULT nextval('stamps'), PRIMARY KEY (id, shelf)) PARTITION BY LIST (shelf);
	CREATE TABLE box_1 PARTITION OF box FOR VALUES IN (1);
	CREATE TABLE box_2 PARTITION OF box FOR VALUES IN (2);
	CREATE TABLE heap (id int PRIMARY KEY, n int DEFAULT 0, pad text DEFAULT repeat('x', 60), stamp bigint DEFAULT nextval('stamps'));
	CREATE TABLE untracked (id int, t text);));
my @tables = qw(account wanderer journal document box heap);
enable_table($node, $db, $_) for @tables;
$node->safe_psql($db, q(
	INSERT INTO account SELECT i, 0, 'new' FROM generate_series(1, 1000) i;
	INSERT INTO wanderer SELECT FROM generate_series(1, 200);
	INSERT INTO document SELECT i, repeat(md5(i::text), 100), 'title' FROM generate_series(1, 50) i;
	INSERT INTO box (shelf) SELECT 1 + i % 2 FROM generate_series(1, 200) i;
	INSERT INTO heap (id) SELECT generate_series(1, 10000);));

# The load. Nothing in it can fail but by a deadlock, which pgbench tries again.
my %script = (
	several => [ 180, q(
		\set a random(1, 1000)
		\set b random(1, 1000)
		BEGIN;
		UPDATE account SET balance = balance + 1, stamp = nextval('stamps') WHERE id = least(:a, :b);
		SAVEPOINT one;
		INSERT INTO journal VALUES (:a, 'kept'), (:a, 'kept');
		UPDATE account SET balance = balance - 1, stamp = nextval('stamps') WHERE id = greatest(:a, :b);
		SAVEPOINT two;
		INSERT INTO journal VALUES (:b, 'undone');
		DELETE FROM journal WHERE what = :a;
		ROLLBACK TO SAVEPOINT two;
		INSERT INTO untracked VALUES (nextval('ticks'), 'x');
		RELEASE SAVEPOINT one;
		COMMIT;) ],
	hop => [ 60, q(
		BEGIN;
		UPDATE wanderer SET id = nextval('stamps'), hops = hops + 1, stamp = nextval('stamps')
			WHERE id = (SELECT id FROM wanderer ORDER BY random() LIMIT 1 FOR UPDATE SKIP LOCKED);
		INSERT INTO wanderer DEFAULT VALUES;
		DELETE FROM wanderer WHERE id = (SELECT id FROM wanderer ORDER BY random() LIMIT 1 FOR UPDATE SKIP LOCKED);
		COMMIT;) ],
	move => [ 30, q(
		UPDATE box SET shelf = 3 - shelf, stamp = nextval('stamps')
			WHERE (id, shelf) IN (SELECT id, shelf FROM box ORDER BY random() LIMIT 2 FOR UPDATE SKIP LOCKED);) ],
	edit => [ 30, q(
		\set d random(1, 50)
		BEGIN;
		UPDATE document SET title = title || 'x', stamp = nextval('stamps') WHERE id = :d;
		UPDATE document SET body = repeat(md5(random()::text), 200), title = 'title', stamp = nextval('stamps') WHERE id = :d;
		COMMIT;) ],
	undone => [ 30, q(
		\set a random(1, 1000)
		BEGIN;
		UPDATE account SET note = 'never', stamp = nextval('stamps') WHERE id = :a;
		INSERT INTO journal SELECT i, 'never' FROM generate_series(1, 50) i;
		ROLLBACK;) ],
	clean => [ 15, q(DELETE FROM journal WHERE ctid IN (SELECT ctid FROM journal LIMIT 100 FOR UPDATE SKIP LOCKED);) ],
	prepared => [ 15, q(
		\set g random(1, 1000000000)
		BEGIN;
		INSERT INTO journal VALUES (:g, 'prepared');
		INSERT INTO wanderer DEFAULT VALUES;
		PREPARE TRANSACTION 'g:g';
		COMMIT PREPARED 'g:g';) ],
	big => [ 1, q(
		\set from random(1, 5000)
		BEGIN;
		UPDATE heap SET n = n + 1, stamp = nextval('stamps') WHERE id BETWEEN :from AND :from + 5000;
		COMMIT;) ]);
my @load;
for my $name (sort keys %script)
{
	my $file = $node->basedir . "/$name.sql";
	append_to_file($file, join("\n", map { s/^\s+//r } split /\n/, $script{$name}[1]) . "\n");
	push @load, [ $file, $script{$name}[0] ];
}

my $load;
my $rounds = 0;

sub load_start
{
	$load = start_load($node, $db, \@load, clients => 4, seconds => 600, rate => 400, seed => $seed + $rounds++);
	return;
}

# Until the load has done so many of its most frequent transactions more: some point in the middle of
# whatever is going on.
sub load_for
{
	my ($ticks) = @_;
	my $from = $node->safe_psql($db, 'SELECT last_value FROM ticks');
	$node->poll_query_until($db, "SELECT last_value >= $from + $ticks FROM ticks")
	  or die "the load does not go on:\n" . load_output($load);
	return;
}

# After a crash: the load has lost its connections, the server is back, and prepared transactions of
# the load are decided, some this way and some that.
sub server_back
{
	finish_load($load);
	wait_until(
		sub { system('pg_isready', '--quiet', '--host', $node->host, '--port', $node->port) == 0 },
		'the server comes back');
	finish_prepared();
	return;
}

sub finish_prepared
{
	my $n = 0;
	for my $gid (split /\n/, $node->safe_psql($db, 'SELECT gid FROM pg_prepared_xacts ORDER BY gid'))
	{
		$node->safe_psql($db, ($n++ % 2 ? 'ROLLBACK' : 'COMMIT') . " PREPARED '$gid'");
	}
	return;
}

my %kill = (
	decoder => sub { kill 'KILL', wait_for_worker($node, 'cdc decoder', $db) },
	writer => sub { kill 'KILL', wait_for_worker($node, 'cdc capture worker', $db) },
	launcher => sub { kill 'KILL', wait_for_worker($node, 'cdc launcher') },
	backend => sub {
		kill 'KILL', $node->safe_psql('postgres',
			"SELECT min(pid) FROM pg_stat_activity WHERE backend_type = 'client backend' AND datname = '$db'");
	},
	immediate  => sub { $node->stop('immediate') },
	postmaster => sub { $node->kill9 });

my @plan = (('decoder') x 6, ('writer') x 6, ('launcher') x 1, ('backend') x 2, ('immediate') x 4, ('postmaster') x 4);
# A random order, the same for the same seed.
for my $i (reverse 1 .. $#plan)
{
	my $j = int(rand($i + 1));
	@plan[ $i, $j ] = @plan[ $j, $i ];
}
cmp_ok(scalar(@plan), '>=', 20, 'kills planned');

# Once without any kill: the load itself must be in order, or it would not be a load.
load_start();
load_for(500);
unlike(finish_load($load, 1), qr/ERROR|aborted/, 'the load runs without errors');
finish_prepared();
oracle_ok($node, $db, 'before the first kill', stamp => 'stamp');

my %done;
for my $n (0 .. $#plan)
{
	my $what = $plan[$n];
	load_start();
	load_for(50 + int(rand(500)));

	# Every third time somebody ends a worker politely before, and a checkpoint saves the slot.
	if ($n % 3 == 0)
	{
		my $type = rand() < 0.5 ? 'cdc decoder' : 'cdc capture worker';
		my $pid = wait_for_worker($node, $type, $db);
		$node->safe_psql($db, "SELECT pg_terminate_backend($pid)");
		wait_for_worker($node, $type, $db, $pid);
		$done{terminate}++;
		load_for(20 + int(rand(200)));
	}
	$node->safe_psql($db, 'CHECKPOINT') if $n % 4 == 1;

	note "kill $n: $what";
	$kill{$what}->();
	$done{$what}++;
	start_again($node) if $what eq 'immediate' || $what eq 'postmaster';
	server_back();

	oracle_ok($node, $db, 'half way', stamp => 'stamp') if $n == int(@plan / 2);
}
is(join(' ', map { "$_=$done{$_}" } sort grep { $_ ne 'terminate' } keys %done),
	'backend=2 decoder=6 immediate=4 launcher=1 postmaster=4 writer=6', 'every kill happened');

load_start();
load_for(300);
unlike(finish_load($load, 1), qr/ERROR|aborted/, 'the load runs without errors at the end');
finish_prepared();
oracle_ok($node, $db, 'after all kills, the change rows alone rebuild every table', stamp => 'stamp');

# The test would prove little if little had been captured, or if one kind of work had not happened.
for my $table (@tables)
{
	my $kinds = $node->safe_psql($db,
		qq(SELECT string_agg(DISTINCT "__\$operation"::text, '' ORDER BY "__\$operation"::text) FROM cdc.public_${table}_ct));
	is($kinds, { journal => '12', wanderer => '12', box => '12', account => '234', document => '234', heap => '234' }->{$table},
		"$table: operations captured");
}
cmp_ok($node->safe_psql($db, 'SELECT max(change_count) FROM cdc.lsn_time_mapping'), '>=', 5000, 'big transactions were captured');
cmp_ok($node->safe_psql($db, 'SELECT count(*) FROM cdc.lsn_time_mapping'), '>=', 2000, 'many transactions were captured');
is($node->safe_psql($db, q(SELECT count(*) FROM cdc.public_journal_ct WHERE who IN ('never', 'undone'))), '0', 'nothing that was rolled back');
is($node->safe_psql($db, "SELECT count(*) FROM pg_replication_slots WHERE plugin = 'cdc'"), '1', 'one slot');

$node->stop;
done_testing();
