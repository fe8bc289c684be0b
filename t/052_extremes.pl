# Extremes at once: leaves of 1 MB, the smallest queue, decoding that spills everything, transactions with
# many subtransactions, with rows larger than the queue, with more than 100,000 rows, and with DDL
# between their rows, while the processes are stopped, frozen and terminated. The replay oracle decides.
use strict;
use warnings;

use FindBin;
use lib "$FindBin::RealBin/lib";

use CdcTest;
use PostgreSQL::Test::Utils;
use ReplayOracle;
use Test::More;

my $db   = 'extremes';
my $node = cdc_node(
	'extremes',
	'cdc.partition_wal_size'  => '1MB',
	'cdc.capture_queue_size'  => '512kB',
	logical_decoding_work_mem => '64kB');
cdc_create($node, $db);

$node->safe_psql($db, q(
	CREATE TABLE small (id int PRIMARY KEY, n int DEFAULT 0);
	CREATE TABLE wide (id int PRIMARY KEY, body text, other bytea, n int DEFAULT 0);
	ALTER TABLE wide ALTER body SET STORAGE EXTERNAL, ALTER other SET STORAGE EXTERNAL;
	CREATE TABLE mass (id int PRIMARY KEY, n int DEFAULT 0, pad text);
	CREATE TABLE many (id int);
	CREATE TABLE shape (id int PRIMARY KEY, a int, b text, c numeric, gone text DEFAULT 'gone', n int DEFAULT 0);));
enable_table($node, $db, $_) for qw(small wide mass many shape);
enable_table($node, $db, 'shape', capture_instance => q('second'), captured_column_list => q('id, c, a'));
enable_table($node, $db, 'mass', capture_instance => q('mass_key'), captured_column_list => q('id, n'));

# Each piece of work is run by several sessions at a time. `p` makes keys of a session its own.
my %work = (
	subtransactions => q(
		DO $$
		BEGIN
			FOR i IN 1..300 LOOP
				BEGIN
					INSERT INTO small VALUES (:p * 1000000 + i) ON CONFLICT (id) DO UPDATE SET n = small.n + 1;
					UPDATE small SET n = n + 1 WHERE id = :p * 1000000 + i;
					IF i % 3 = 0 THEN RAISE EXCEPTION 'undone'; END IF;
				EXCEPTION WHEN raise_exception THEN
					INSERT INTO small VALUES (:p * 1000000 + 500000 + i) ON CONFLICT DO NOTHING;
				END;
			END LOOP;
		END $$;),
	huge => q(
		INSERT INTO wide SELECT :p * 1000 + i, repeat(chr(64 + i), 3000000), decode(repeat('ab', 700000), 'hex')
			FROM generate_series(1, 3) i ON CONFLICT (id) DO UPDATE SET n = wide.n + 1;
		UPDATE wide SET body = body || 'x' WHERE id = :p * 1000 + 1;
		UPDATE wide SET other = NULL, n = n + 1 WHERE id = :p * 1000 + 2;
		DELETE FROM wide WHERE id = :p * 1000 + 3;),
	mass => q(
		BEGIN;
		INSERT INTO mass SELECT :p * 1000000 + i, 0, repeat('y', 50) FROM generate_series(1, 4000) i ON CONFLICT DO NOTHING;
		SAVEPOINT a;
		UPDATE mass SET n = n + 1 WHERE id / 1000000 = :p;
		ROLLBACK TO a;
		UPDATE mass SET n = n + 1 WHERE id / 1000000 = :p;
		DELETE FROM mass WHERE id / 1000000 = :p AND id % 3 = 0;
		COMMIT;),
	shape => q(
		BEGIN;
		LOCK TABLE shape IN ACCESS EXCLUSIVE MODE;
		INSERT INTO shape (id, a, b, c) SELECT :p * 1000 + i, i, 'b', i FROM generate_series(1, 20) i ON CONFLICT (id) DO UPDATE SET n = shape.n + 1;
		ALTER TABLE shape ADD COLUMN new_:p text DEFAULT 'new', ADD COLUMN more_:p int;
		UPDATE shape SET a = a + 1, new_:p = 'set' WHERE id / 1000 = :p;
		SAVEPOINT one;
		ALTER TABLE shape DROP COLUMN IF EXISTS gone;
		UPDATE shape SET b = 'never' WHERE id / 1000 = :p;
		ROLLBACK TO one;
		ALTER TABLE shape DROP COLUMN new_:p;
		DELETE FROM shape WHERE id / 1000 = :p AND id % 2 = 0;
		ALTER TABLE shape RENAME COLUMN c TO d;
		INSERT INTO shape (id, a, b, d) SELECT :p * 1000 + 100 + i, i, 'b', i FROM generate_series(1, 20) i ON CONFLICT (id) DO NOTHING;
		ALTER TABLE shape RENAME COLUMN d TO c;
		ALTER TABLE shape DROP COLUMN more_:p;
		COMMIT;),
	prepared => q(
		BEGIN;
		INSERT INTO small VALUES (:p * 1000000 + 900000) ON CONFLICT (id) DO UPDATE SET n = small.n + 10;
		INSERT INTO small SELECT :p * 1000000 + 910000 + i FROM generate_series(1, 2000) i ON CONFLICT DO NOTHING;
		PREPARE TRANSACTION 'p:p';
		COMMIT PREPARED 'p:p';));

my @files;
for my $name (sort keys %work)
{
	my $file = $node->basedir . "/$name.sql";
	my $sql  = $work{$name};
	$sql =~ s/new_:p/"new_:p"/g;
	$sql =~ s/more_:p/"more_:p"/g;
	append_to_file($file, $sql);
	push @files, $file;
}

# One round: every piece by two sessions, psql's variable p replaced beforehand (it is not known inside quotes).
sub round
{
	my ($round) = @_;
	my @runs;
	for my $file (@files)
	{
		for my $session (1 .. 2)
		{
			my $p   = $round * 10 + $session;
			my $sql = slurp_file($file);
			$sql =~ s/:p\b/$p/g;
			my %run = (out => '');
			append_to_file("$file.$p", $sql);
			$run{run} = IPC::Run::start [ $node->installed_command('psql'), '-X', '-q', '-v', 'ON_ERROR_STOP=1', '-f', "$file.$p", '-d', $node->connstr($db) ],
			  '<', \undef, '>&', \$run{out};
			push @runs, \%run;
		}
	}
	return @runs;
}

sub finish
{
	for my $run (@_)
	{
		$run->{run}->finish;
		is($run->{out}, '', 'a piece of work');
	}
	return;
}

# Disturbed in another way each time.
my @disturb = (
	sub {
		my $pid = wait_for_worker($node, 'cdc capture worker', $db);
		kill 'STOP', $pid;
		select undef, undef, undef, 1.5;
		kill 'CONT', $pid;
	},
	sub {
		for (1 .. 4)
		{
			my $pid = wait_for_worker($node, 'cdc decoder', $db);
			$node->safe_psql($db, "SELECT pg_terminate_backend($pid)");
			wait_for_worker($node, 'cdc decoder', $db, $pid);
			select undef, undef, undef, 0.3;
		}
	},
	sub {
		$node->safe_psql($db, 'CALL cdc.sp_cdc_stop_job()');
		$node->safe_psql($db, 'CALL cdc.sp_cdc_scan(maxtrans => 1, maxscans => 3)') for 1 .. 3;
		$node->psql($db, q(SET statement_timeout = '300ms'; CALL cdc.sp_cdc_scan(maxtrans => 1)), stderr => \my $ignored);
		$node->safe_psql($db, 'CALL cdc.sp_cdc_start_job()');
	});
my $round = 0;
for my $disturb (@disturb)
{
	my @runs = round(++$round);
	$disturb->();
	finish(@runs);
	wait_captured($node, $db);
}

# A single transaction of more than 100,000 rows while the worker is away, frozen in the middle.
$node->safe_psql($db, 'INSERT INTO many SELECT generate_series(1, 110000)');
my $pid = wait_for_worker($node, 'cdc capture worker', $db);
kill 'STOP', $pid;
select undef, undef, undef, 0.5;
kill 'CONT', $pid;
$node->restart;
$node->safe_psql($db, 'ALTER TABLE shape DROP COLUMN gone; UPDATE shape SET a = a + 1;');
oracle_ok($node, $db, 'after all');

cmp_ok($node->safe_psql($db, 'SELECT max(change_count) FROM cdc.lsn_time_mapping'), '>', 100_000, 'a big transaction');
cmp_ok($node->safe_psql($db, q(SELECT count(*) FROM pg_inherits WHERE inhparent = 'cdc.public_small_ct'::regclass)),
	'>=', 4, 'several leaves');
cmp_ok($node->safe_psql($db, q(SELECT max(octet_length(body)) FROM cdc.public_wide_ct)), '>', 2_999_999, 'huge rows');
is($node->safe_psql($db, q(SELECT bool_or(b = 'never') FROM cdc.public_shape_ct)), 'f', 'nothing that was rolled back');
cmp_ok($node->safe_psql('postgres', "SELECT spill_txns FROM pg_stat_replication_slots WHERE slot_name LIKE 'cdc%'"), '>', 0, 'decoding spilled');
unlike(slurp_file($node->logfile), qr/TRAP:|PANIC:|XX000/, 'no failed assertion, no internal error');

$node->stop;
done_testing();
