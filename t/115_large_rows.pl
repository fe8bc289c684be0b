# Rows that are too large for a change row. A source row can have more than 1 GB, with its large values out of line; a
# change row cannot. What cannot be captured is a gap of its instance, no longer than its transaction: capture goes on, and
# instances that leave the large columns out have everything. The limit is lowered here; with CDC_TEST_FULL=1 also with rows
# of more than 1 GB.
use strict;
use warnings;

use FindBin;
use lib "$FindBin::RealBin/lib";

use CatalogCheck;
use CdcTest;
use PostgreSQL::Test::Utils;
use ReplayOracle;
use Test::More;

require_faults();

my $node = cdc_node('limited_rows', 'cdc.fault_longest_row' => '100000');
my $db   = 'long';
cdc_create($node, $db);
$node->safe_psql($db, q(
	CREATE TABLE t (id int PRIMARY KEY, n int DEFAULT 0, a text, b text);
	ALTER TABLE t ALTER a SET STORAGE EXTERNAL, ALTER b SET STORAGE EXTERNAL;
	CREATE TABLE keyed (id int PRIMARY KEY, n int DEFAULT 0, a text, b text);
	ALTER TABLE keyed ALTER a SET STORAGE EXTERNAL, ALTER b SET STORAGE EXTERNAL;
	CREATE TABLE other (id int PRIMARY KEY, v text)));
enable_table($node, $db, $_) for qw(t other);
enable_table($node, $db, 't', capture_instance => q('narrow'), captured_column_list => q('id, n'));
enable_table($node, $db, 'keyed', before_image => q('key'));

# Lengths are in units of 1000: two of 60 are too large together, one is not.
sub text_of
{
	my ($length) = @_;
	return "repeat('x', $length * 1000)";
}

my ($gaps, $from, $begin, $number) = (0, '0/0', undef, 0);

# gap_is($sql, $name): does it; it costs the instance public_t its transaction, and no more.
sub gap_is
{
	my ($sql, $name) = @_;
	local $Test::Builder::Level = $Test::Builder::Level + 1;
	$node->safe_psql($db, q(INSERT INTO t (id, a) SELECT coalesce(max(id), 0) + 1, 'before' FROM t WHERE id < 10000; UPDATE t SET n = n + 1 WHERE octet_length(a) < 100));
	wait_captured($node, $db);
	my $end = oracle_remember($node, $db, 'rows_' . ++$number);
	$node->safe_psql($db, $sql);
	$node->safe_psql($db, q(INSERT INTO other SELECT count(*), 'after' FROM other));
	wait_captured($node, $db);
	is($node->safe_psql($db, q(SELECT count(*) FROM cdc.gaps WHERE object_id = 'cdc.public_t_ct'::regclass)) - $gaps, 1, "$name: one gap");
	$gaps++;
	my ($start, $stop, $what) = split /\|/, $node->safe_psql($db, q(
		SELECT start_lsn, end_lsn, g.reason || ' ' || (g.end_lsn - g.start_lsn) || ' ' || (SELECT count(*) FROM cdc.lsn_time_mapping m WHERE m.start_lsn >= g.start_lsn AND m.start_lsn < g.end_lsn)
		FROM cdc.gaps g WHERE object_id = 'cdc.public_t_ct'::regclass ORDER BY gap_id DESC LIMIT 1));
	is($what, 'a row was too large for a change row 1 1', "$name: it is recorded, as long as the transaction");
	oracle_stretch_ok($node, $db, "$name: whole before it", from => $from, to => $start, end => $end, ($begin ? (begin => $begin) : ()), without => [ 'narrow', 'public_other', 'public_keyed' ]);
	my (undef, undef, $err) = $node->psql($db, qq(\\set VERBOSITY verbose\nSELECT * FROM cdc.fn_cdc_get_all_changes_public_t('$start', cdc.fn_cdc_get_max_lsn(), 'all')));
	like($err, qr/SC004/, "$name: reading across it is refused");
	$from  = $stop;
	$begin = oracle_remember($node, $db, 'rows_' . ++$number);
	return;
}

my $long = text_of(60);

gap_is("INSERT INTO t (id, a, b) VALUES (10001, $long, $long)", 'an insert');
gap_is("UPDATE t SET n = n + 1 WHERE id = 10001", 'an update, both rows too long');
gap_is("UPDATE t SET id = 10002 WHERE id = 10001", 'an update of the key');
gap_is("UPDATE t SET b = 'short' WHERE id = 10002", 'an update that makes the row shorter');
gap_is("UPDATE t SET b = $long WHERE id = 10002", 'an update that makes it too long with a value that does not change');
gap_is('DELETE FROM t WHERE id = 10002', 'a delete');
gap_is("BEGIN; INSERT INTO t (id, a) VALUES (20001, 'one'); INSERT INTO t (id, a, b) VALUES (20002, $long, $long), (20003, $long, 'short'), (20004, $long, $long); UPDATE t SET n = 7 WHERE id = 20001; SAVEPOINT s; DELETE FROM t WHERE id = 20001; ROLLBACK TO s; COMMIT",
	'several in a transaction among rows that fit');
# The writer fails, and does it again.
fault_set($node, 'writer-commit:error');
gap_is("INSERT INTO t (id, a, b) VALUES (30001, $long, $long)", 'the writer fails meanwhile');

# What the log does not have of an unchanged value does not count.
$node->safe_psql($db, "INSERT INTO keyed VALUES (1, 0, $long, 'short'); UPDATE keyed SET b = $long; UPDATE keyed SET n = 1");
wait_captured($node, $db);
is($node->safe_psql($db, q(SELECT string_agg(concat_ws(' ', "__$operation", octet_length(a), octet_length(b)), ', ' ORDER BY "__$start_lsn", "__$operation") FROM cdc.public_keyed_ct)),
	'2 60000 5, 3, 4 60000, 3, 4', 'without the old row: values that did not change are not there') or diag($node->safe_psql($db, 'SELECT * FROM cdc.gaps'));

my @others = grep { $_->{name} =~ /^(narrow|public_other)$/ } oracle_instances($node, $db);
is(scalar(@others), 2, 'there are two other instances');
my @problems = oracle_problems($node, $db, instances => \@others, whole => 0);
is(join("\n", @problems), '', 'instances without the large columns have everything');
is($node->safe_psql($db, q(SELECT count(*) FROM cdc.gaps WHERE object_id <> 'cdc.public_t_ct'::regclass)), '0', 'without a gap');

# Something else is missing in the same transaction, of the other instance, too.
gap_is("BEGIN; UPDATE t SET n = 8 WHERE id = 20002; ALTER TABLE t REPLICA IDENTITY DEFAULT; UPDATE t SET n = 9 WHERE id = 20001; ALTER TABLE t REPLICA IDENTITY FULL; COMMIT;
	UPDATE t SET n = 10 WHERE id = 20001", 'a weak identity in the same transaction');

is($node->safe_psql($db, q(SELECT count(*) FROM (SELECT first_ordinal, lag(first_ordinal + change_count) OVER (ORDER BY start_lsn) AS expected FROM cdc.lsn_time_mapping) m WHERE first_ordinal <> expected)),
	'0', 'ordinals count what was too long');
is(stat_value($node, $db, 'state'), 'streaming', 'capture runs');
is($node->safe_psql($db, q(SELECT count(*) FROM cdc.gaps WHERE end_lsn IS NULL)), '0', 'no gap is open');
catalog_ok($node, $db, 'the catalogs agree');
unlike(slurp_file($node->logfile), qr/PANIC|TRAP|was terminated by signal|XX000/, 'no process crashed, no internal error');
$node->stop;

# --- More than 1 GB -------------------------------------------------------------------------------
if ($ENV{CDC_TEST_FULL})
{
	my $large = cdc_node('large_rows', max_wal_size => '8GB', shared_buffers => '256MB', logical_decoding_work_mem => '64MB');
	cdc_create($large, $db);
	$large->safe_psql($db, q(
		CREATE TABLE piece (a bytea);
		ALTER TABLE piece ALTER a SET STORAGE EXTERNAL;
		INSERT INTO piece SELECT decode(repeat('ab', 290000000), 'hex');
		CREATE TABLE t (id int PRIMARY KEY, a bytea, b bytea, c bytea, d bytea);
		CREATE TABLE keyed (LIKE t INCLUDING ALL);
		CREATE TABLE other (id int PRIMARY KEY);) . join '', map { my $table = $_; map { "ALTER TABLE $table ALTER $_ SET STORAGE EXTERNAL;" } qw(a b c d) } qw(t keyed));
	enable_table($large, $db, $_) for qw(t other);
	enable_table($large, $db, 'keyed', before_image => q('key'));
	my $captured = sub { $large->safe_psql($db, q(CALL cdc.wait_for_capture(timeout => '20min'))) };

	$large->safe_psql($db, 'INSERT INTO t SELECT 1, a, a, a FROM piece; INSERT INTO other VALUES (1)');
	$captured->();
	is($large->safe_psql($db, q(SELECT c.a = p.a AND c.b = p.a AND c.c = p.a AND c.d IS NULL FROM cdc.public_t_ct c, piece p)), 't', 'a row of 870 MB is captured');
	$large->safe_psql($db, 'INSERT INTO t SELECT 2, a, a, a, a FROM piece; INSERT INTO other VALUES (2)');
	$captured->();
	is($large->safe_psql($db, q(SELECT reason || ' ' || (end_lsn - start_lsn) FROM cdc.gaps)), 'a row was too large for a change row 1', 'one of 1160 MB is a gap');
	# The server itself cannot log the old row of such a one.
	for my $command ('UPDATE t SET id = 3 WHERE id = 2', 'DELETE FROM t WHERE id = 2')
	{
		isnt($large->psql($db, $command, stderr => \my $stderr), 0, "$command: with REPLICA IDENTITY FULL it cannot be changed any more");
		like($stderr, qr/invalid memory alloc request size 11\d{8}/, 'the server says so');
	}
	$large->safe_psql($db, 'INSERT INTO keyed SELECT 1, a, a, a, a FROM piece; UPDATE keyed SET id = 2; DELETE FROM keyed; INSERT INTO other VALUES (3)');
	$captured->();
	is($large->safe_psql($db, q(SELECT string_agg("__$operation" || ' ' || id, ', ' ORDER BY "__$start_lsn", "__$operation") FROM cdc.public_keyed_ct)), '1 1, 2 2, 1 2', q(with before_image => 'key' it can));
	is($large->safe_psql($db, 'SELECT count(*) FROM cdc.gaps'), '2', 'and its insert is a gap');
	$large->safe_psql($db, 'DELETE FROM t WHERE id = 1; INSERT INTO other VALUES (4)');
	$captured->();
	is($large->safe_psql($db, q(SELECT string_agg("__$operation" || ' ' || id, ', ' ORDER BY "__$start_lsn") FROM cdc.public_t_ct)), '2 1, 1 1', 'the one of 870 MB can be deleted');
	@others = grep { $_->{name} eq 'public_other' } oracle_instances($large, $db);
	@problems = oracle_problems($large, $db, instances => \@others, whole => 0);
	is(join("\n", @problems), '', 'and other tables have everything');
	unlike(slurp_file($large->logfile), qr/PANIC|TRAP|was terminated by signal/, 'no process crashed');
	$large->stop;
}
done_testing();
