# The replay oracle must notice every kind of damage, or its "nothing is wrong" means nothing. Shown on
# a log written by hand, and on a copy of a log that was captured.
use strict;
use warnings;

use FindBin;
use lib "$FindBin::RealBin/lib";

use CdcTest;
use PostgreSQL::Test::Utils;
use ReplayOracle;
use Test::More;

my $node = cdc_node('oracle');

# The history, four transactions on a table with a key and one without.
my @history = (
	q(INSERT INTO a VALUES (1, 'one'), (2, 'two'); INSERT INTO b VALUES ('x'), ('x')),
	q(UPDATE a SET v = 'uno', stamp = nextval('stamps') WHERE id = 1;
	  UPDATE a SET v = 'dos', stamp = nextval('stamps') WHERE id = 2;
	  DELETE FROM b WHERE ctid = (SELECT min(ctid) FROM b)),
	q(UPDATE a SET id = 5, stamp = nextval('stamps') WHERE id = 2;
	  UPDATE a SET v = 'eins', stamp = nextval('stamps') WHERE id = 1; INSERT INTO b VALUES ('y')),
	q(DELETE FROM a WHERE id = 5; INSERT INTO a VALUES (6, 'six')));

my $tables = q(
	CREATE SEQUENCE stamps;
	CREATE TABLE a (id int PRIMARY KEY, v text, stamp bigint DEFAULT nextval('stamps'));
	CREATE TABLE b (x text););

# The log of that history as it must be: metadata, then what the row holds.
my $by_hand = q(
	CREATE SCHEMA made;
	CREATE TABLE made.a ("__$start_lsn" pg_lsn, "__$end_lsn" pg_lsn, "__$seqval" pg_lsn, "__$operation" int,
		"__$update_mask" bytea, id int, v text, stamp bigint, "__$command_id" int);
	CREATE TABLE made.b ("__$start_lsn" pg_lsn, "__$end_lsn" pg_lsn, "__$seqval" pg_lsn, "__$operation" int,
		"__$update_mask" bytea, x text, "__$command_id" int);
	CREATE TABLE made.mapping (start_lsn pg_lsn, tran_begin_time timestamptz, tran_end_time timestamptz, tran_id xid8,
		tran_begin_lsn pg_lsn, first_ordinal bigint, change_count bigint);
	INSERT INTO made.a VALUES
		('0/1000', NULL, '0/F01', 2, '\x07', 1, 'one', 1, 1),
		('0/1000', NULL, '0/F02', 2, '\x07', 2, 'two', 2, 2),
		('0/2000', NULL, '0/1F01', 3, '\x06', 1, 'one', 1, 1),
		('0/2000', NULL, '0/1F01', 4, '\x06', 1, 'uno', 3, 1),
		('0/2000', NULL, '0/1F02', 3, '\x06', 2, 'two', 2, 2),
		('0/2000', NULL, '0/1F02', 4, '\x06', 2, 'dos', 4, 2),
		('0/3000', NULL, '0/2F01', 1, '\x07', 2, 'dos', 4, 1),
		('0/3000', NULL, '0/2F01', 2, '\x07', 5, 'dos', 5, 1),
		('0/3000', NULL, '0/2F02', 3, '\x06', 1, 'uno', 3, 2),
		('0/3000', NULL, '0/2F02', 4, '\x06', 1, 'eins', 6, 2),
		('0/4000', NULL, '0/3F01', 1, '\x07', 5, 'dos', 5, 1),
		('0/4000', NULL, '0/3F02', 2, '\x07', 6, 'six', 7, 2);
	INSERT INTO made.b VALUES
		('0/1000', NULL, '0/F03', 2, '\x01', 'x', 3),
		('0/1000', NULL, '0/F04', 2, '\x01', 'x', 4),
		('0/2000', NULL, '0/1F03', 1, '\x01', 'x', 3),
		('0/3000', NULL, '0/2F03', 2, '\x01', 'y', 3);
	INSERT INTO made.mapping VALUES
		('0/900', NULL, '2000-01-01 00:00', '0', '0/900', 1, 0),
		('0/1000', NULL, '2000-01-01 00:01', '701', '0/F00', 1, 4),
		('0/2000', '2000-01-01 00:01', '2000-01-01 00:02', '702', '0/1F00', 5, 3),
		('0/3000', '2000-01-01 00:02', '2000-01-01 00:03', '703', '0/2F00', 8, 3),
		('0/4000', '2000-01-01 00:03', '2000-01-01 00:04', '704', '0/3F00', 11, 2););

# Each damage: what, done with, and which of the oracle's checks must be among those that notice.
# pg_temp.t(n) is the n-th transaction.
my $helper = q(CREATE FUNCTION pg_temp.t(n int) RETURNS pg_lsn LANGUAGE sql STABLE AS
	'SELECT start_lsn FROM mapping WHERE change_count > 0 ORDER BY start_lsn OFFSET n - 1 LIMIT 1';);
my @damages = (
	[ 'a row is missing', q(DELETE FROM a WHERE id = 6), '5|10' ],
	[ 'a row is missing, the mapping agrees', q(DELETE FROM a WHERE id = 6;
		UPDATE mapping SET change_count = 1 WHERE start_lsn = pg_temp.t(4)), '10' ],
	[ 'a row without key is missing', q(DELETE FROM b WHERE x = 'y'), '5|10' ],
	[ 'an update lacks its before image', q(DELETE FROM a WHERE "__$operation" = 3 AND id = 2), '2' ],
	[ 'an update lacks its after image', q(DELETE FROM a WHERE "__$operation" = 4 AND id = 2), '2' ],
	[ 'an update is missing', q(DELETE FROM a WHERE "__$operation" IN (3, 4) AND "__$start_lsn" = pg_temp.t(2) AND id = 1), '8' ],
	[ 'a row is doubled', q(INSERT INTO a SELECT * FROM a WHERE id = 6), '2' ],
	[ 'a row is doubled as a change of its own', q(
		INSERT INTO b SELECT "__$start_lsn", NULL, "__$seqval" + 1, 2, "__$update_mask", x, 4 FROM b WHERE x = 'y';
		UPDATE mapping SET change_count = 4 WHERE start_lsn = pg_temp.t(3);
		UPDATE mapping SET first_ordinal = 12 WHERE start_lsn = pg_temp.t(4)), '10' ],
	[ 'a row with a key is doubled as a change of its own', q(
		INSERT INTO a SELECT "__$start_lsn", NULL, "__$seqval" + 1, 2, "__$update_mask", id, v, stamp, 3 FROM a WHERE id = 6;
		UPDATE mapping SET change_count = 3 WHERE start_lsn = pg_temp.t(4)), '9' ],
	[ 'two updates of a row are swapped', q(
		UPDATE a SET "__$start_lsn" = CASE "__$start_lsn" WHEN pg_temp.t(2) THEN pg_temp.t(3) ELSE pg_temp.t(2) END,
			"__$command_id" = 3 - "__$command_id", "__$seqval" = o."__$seqval"
		FROM (SELECT "__$seqval", "__$start_lsn" AS lsn FROM a WHERE "__$operation" = 3 AND id = 1) o
		WHERE a.id = 1 AND a."__$operation" > 2 AND o.lsn <> a."__$start_lsn"), '8' ],
	[ 'an insert and the delete of the row are swapped', q(
		UPDATE a SET "__$operation" = 3 - "__$operation" WHERE id = 5), '8' ],
	[ 'two changes that have nothing to do with each other are swapped', q(
		UPDATE a SET id = 3 - id, v = CASE v WHEN 'one' THEN 'two' ELSE 'one' END, stamp = 3 - stamp
		WHERE "__$start_lsn" = pg_temp.t(1)), '12' ],
	[ 'command ids are swapped', q(UPDATE a SET "__$command_id" = 3 - "__$command_id" WHERE "__$start_lsn" = pg_temp.t(1)), '4' ],
	[ 'sequence values are swapped', q(UPDATE a SET "__$seqval" = o."__$seqval" FROM a o WHERE o."__$start_lsn" = pg_temp.t(1)
		AND a."__$start_lsn" = pg_temp.t(1) AND o.id <> a.id), '4' ],
	[ 'images of an update are swapped', q(UPDATE a SET "__$operation" = 7 - "__$operation" WHERE "__$operation" > 2 AND "__$command_id" = 1), '8' ],
	[ 'a transaction is missing', q(DELETE FROM a WHERE "__$start_lsn" = pg_temp.t(2);
		DELETE FROM b WHERE "__$start_lsn" = pg_temp.t(2); DELETE FROM mapping WHERE start_lsn = pg_temp.t(2)), '6' ],
	[ 'a transaction is missing, ordinals are closed up', q(DELETE FROM a WHERE "__$start_lsn" = pg_temp.t(4);
		DELETE FROM mapping WHERE start_lsn = pg_temp.t(4)), '10' ],
	[ 'a transaction is missing in one table', q(DELETE FROM b WHERE "__$start_lsn" = pg_temp.t(2)), '5' ],
	[ 'a transaction was captured twice', q(INSERT INTO mapping SELECT start_lsn + 16, tran_begin_time, tran_end_time, tran_id,
		tran_begin_lsn, 13, 2 FROM mapping WHERE start_lsn = pg_temp.t(4);
		INSERT INTO a SELECT "__$start_lsn" + 16, NULL, "__$seqval" + 16, 3 - "__$operation", '\x07', id, v, stamp, 3 - "__$command_id"
		FROM a WHERE "__$start_lsn" = pg_temp.t(4)), '7' ],
	[ 'a mapping row is missing', q(DELETE FROM mapping WHERE start_lsn = pg_temp.t(2)), '5' ],
	[ 'a mapping row is doubled', q(INSERT INTO mapping SELECT * FROM mapping WHERE start_lsn = pg_temp.t(2)), '5' ],
	[ 'ordinals have a gap', q(UPDATE mapping SET first_ordinal = first_ordinal + 1 WHERE start_lsn >= pg_temp.t(3)), '6' ],
	[ 'the first ordinal is not one', q(UPDATE mapping SET first_ordinal = first_ordinal + 1), '6' ],
	[ 'ordinals overlap', q(UPDATE mapping SET first_ordinal = first_ordinal - 1 WHERE start_lsn = pg_temp.t(4)), '6' ],
	[ 'time goes back', q(UPDATE mapping SET tran_end_time = '1999-01-01' WHERE start_lsn = pg_temp.t(3)), '7' ],
	[ 'a transaction begins after its end', q(UPDATE mapping SET tran_begin_time = tran_end_time + interval '1s' WHERE start_lsn = pg_temp.t(3)), '7' ],
	[ 'a mask bit is missing', q(UPDATE a SET "__$update_mask" = '\x04' WHERE "__$operation" > 2 AND "__$start_lsn" = pg_temp.t(3)), '11' ],
	[ 'a mask bit is too many', q(UPDATE a SET "__$update_mask" = '\x07' WHERE "__$operation" > 2 AND "__$start_lsn" = pg_temp.t(3)), '11' ],
	[ 'the images have different masks', q(UPDATE a SET "__$update_mask" = '\x07' WHERE "__$operation" = 4 AND "__$start_lsn" = pg_temp.t(3)), '3' ],
	[ 'the mask of an insert is not full', q(UPDATE a SET "__$update_mask" = '\x03' WHERE id = 6), '11' ],
	[ 'a mask is too long', q(UPDATE a SET "__$update_mask" = '\x0007' WHERE "__$operation" > 2), '11' ],
	[ 'a value is wrong', q(UPDATE a SET v = 'seven' WHERE id = 6), '10' ],
	[ 'a value is NULL', q(UPDATE a SET v = NULL WHERE id = 6), '10' ],
	[ 'a before image is wrong', q(UPDATE a SET v = 'wrong' WHERE "__$operation" = 3 AND id = 2), '8' ],
	[ 'a key update is shown as an ordinary one', q(UPDATE a SET "__$operation" = "__$operation" + 2 WHERE "__$start_lsn" = pg_temp.t(3) AND "__$command_id" = 1), '3' ],
	[ 'an ordinary update is shown as a key update', q(UPDATE a SET "__$operation" = "__$operation" - 2 WHERE "__$start_lsn" = pg_temp.t(2)), '3' ],
	[ 'metadata are missing', q(UPDATE a SET "__$seqval" = NULL WHERE id = 6), '1' ],
	[ 'an end LSN is set', q(UPDATE a SET "__$end_lsn" = "__$start_lsn" WHERE id = 6), '1' ],
	[ 'a sequence value lies behind the commit', q(UPDATE a SET "__$seqval" = "__$start_lsn" + 1 WHERE id = 6), '4' ]);

my @instances = (
	{
		name    => 'a',
		columns => [ [ 'id', 'id' ], [ 'v', 'v' ], [ 'stamp', 'stamp' ] ],
		key     => ['id'],
		source  => 'ONLY public.a',
	},
	{ name => 'b', columns => [ [ 'x', 'x' ] ], key => [], source => 'ONLY public.b' });

# Runs all damages on the log in schema made, each on a copy of its own.
sub show_all
{
	my ($dbname, $origin) = @_;
	my $look = sub {
		my ($schema) = @_;
		return oracle_problems(
			$node, $dbname,
			instances => [ map { { %$_, log => "$schema.$_->{name}" } } @instances ],
			mapping   => "$schema.mapping",
			stamp     => 'stamp');
	};
	is(join("\n", $look->('made')), '', "$origin: nothing is wrong with the log as it is");
	for my $damage (@damages)
	{
		my ($what, $sql, $checks) = @$damage;
		$node->safe_psql($dbname, qq(
			DROP SCHEMA IF EXISTS broken CASCADE;
			CREATE SCHEMA broken;
			CREATE TABLE broken.a AS SELECT * FROM made.a;
			CREATE TABLE broken.b AS SELECT * FROM made.b;
			CREATE TABLE broken.mapping AS SELECT * FROM made.mapping;
			SET search_path = broken;
			$helper
			$sql;));
		like(join("\n", $look->('broken')), qr/^(?:$checks) /m, "$origin: $what");
	}
	return;
}

# 1. By hand: the extension is not even there.
$node->safe_psql('postgres', 'CREATE DATABASE by_hand');
$node->safe_psql('by_hand', $tables);
$node->safe_psql('by_hand', "BEGIN; $_; COMMIT") for @history;
$node->safe_psql('by_hand', $by_hand);
show_all('by_hand', 'by hand');

# 2. Captured.
cdc_create($node, 'captured');
$node->safe_psql('captured', $tables);
enable_table($node, 'captured', $_) for qw(a b);
$node->safe_psql('captured', "BEGIN; $_; COMMIT") for @history;
oracle_ok($node, 'captured', 'captured: the change tables themselves', stamp => 'stamp');
$node->safe_psql('captured', q(
	CREATE SCHEMA made;
	CREATE TABLE made.a AS SELECT * FROM cdc.public_a_ct;
	CREATE TABLE made.b AS SELECT * FROM cdc.public_b_ct;
	CREATE TABLE made.mapping AS SELECT * FROM cdc.lsn_time_mapping;));
show_all('captured', 'captured');

$node->stop;
done_testing();
