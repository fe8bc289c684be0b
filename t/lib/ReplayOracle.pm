# ReplayOracle.pm: proves that a change log is the whole truth about its tables.
#
# NOTES
#	Rebuilds each captured table from its change rows alone and compares the result with the live
#	table. It shares no code with the engine: it reads the change tables, the mapping and the live
#	tables with plain SQL, compares values in their text form, and knows nothing else.
#
#	The replay is done by counting. Every change row adds one row image (operations 2 and 4) to its
#	table or takes one away (1 and 3). In log order the count of an image may never fall below
#	zero (a before image that was not there: something is missing or out of order), and in the end it
#	must be the live table's count. This holds for tables without a key, where equal rows are alike; with
#	a key, the count per key must also stay between zero and one.
#
#	Beside that: no row twice, both rows of an update alike in their metadata, __$seqval and
#	__$command_id in the same order, one mapping row for each transaction, ordinals dense, times
#	monotone, mask bits exactly where values differ. t/001_oracle.pl shows that each damage is found.
#
#	Optional: `stamp`, a column that the workload fills from one sequence. Inside a transaction, the
#	stamps of the after images must rise with __$command_id: the only witness for the order of two
#	changes that have nothing to do with each other.
package ReplayOracle;

use strict;
use warnings;

use Exporter 'import';
use JSON::PP;
use PostgreSQL::Test::Utils ();
use Test::More;

our @EXPORT = qw(oracle_instances oracle_problems oracle_ok oracle_remember oracle_stretch_ok);

sub _ident
{
	my ($name) = @_;
	$name =~ s/"/""/g;
	return qq("$name");
}

sub _literal
{
	my ($value) = @_;
	$value =~ s/'/''/g;
	return "'$value'";
}

# oracle_instances($node, $dbname): all capture instances of a database, as oracle_problems wants them:
# name, log and source (SQL names), columns ([log column, source column]...), key (log columns).
# A captured column that the source has dropped is left out.
sub oracle_instances
{
	my ($node, $dbname) = @_;

	my $json = $node->safe_psql($dbname, <<'SQL');
SELECT coalesce(json_agg(json_build_object(
	'name', t.capture_instance,
	'log', t.object_id::regclass::text,
	'source', CASE WHEN c.relkind = 'p' THEN '' ELSE 'ONLY ' END || format('%I.%I', n.nspname, c.relname),
	'columns', (SELECT json_agg(json_build_array(cc.column_name, a.attname) ORDER BY cc.column_ordinal)
		FROM cdc.captured_columns cc
		JOIN pg_attribute a ON a.attrelid = t.source_object_id AND a.attnum = cc.column_id AND NOT a.attisdropped
		WHERE cc.object_id = t.object_id),
	'ordinals', (SELECT json_object_agg(cc.column_name, cc.column_ordinal)
		FROM cdc.captured_columns cc WHERE cc.object_id = t.object_id),
	'key', (SELECT coalesce(json_agg(ic.column_name ORDER BY ic.index_ordinal), '[]')
		FROM cdc.index_columns ic WHERE ic.object_id = t.object_id)
	) ORDER BY t.capture_instance), '[]')
FROM cdc.change_tables t JOIN pg_class c ON c.oid = t.source_object_id JOIN pg_namespace n ON n.oid = c.relnamespace
SQL
	return @{ JSON::PP->new->utf8->decode($json) };
}

# The select list that makes one comparable text of a row.
sub _image
{
	my (@columns) = @_;
	return "md5(ROW(" . join(', ', map { _ident($_) . '::text' } @columns) . ")::text)";
}

# oracle_problems($node, $dbname, %options): a list of what is wrong, empty when nothing is.
# Options: instances (default: oracle_instances), mapping (default cdc.lsn_time_mapping), baseline
# ({instance => table with the rows the source had when it was enabled}), stamp (column name),
# whole (default 1: all instances that ever captured still exist, so that command ids are dense),
# cleaned (default 0: nothing has been removed by cleanup, so that ordinals begin with 1; with 1 the baseline
# is what the source had at the low-water mark).
sub oracle_problems
{
	my ($node, $dbname, %options) = @_;
	my @instances = @{ $options{instances} // [ oracle_instances($node, $dbname) ] };
	my $mapping = $options{mapping} // 'cdc.lsn_time_mapping';
	my $whole   = $options{whole}   // 1;
	my $first   = $options{cleaned} ? 'first_ordinal' : '1';
	my @problems;

	return ('there is no capture instance') unless @instances;

	my $sql = <<'SQL';
SET client_min_messages = warning;
SET work_mem = '256MB';
-- Change tables have no statistics here: a nested loop would take for ever.
SET enable_nestloop = off;
BEGIN ISOLATION LEVEL REPEATABLE READ;
CREATE TEMP TABLE ev (inst text, start_lsn pg_lsn, end_lsn pg_lsn, seqval pg_lsn, op int, mask bytea,
	command_id int, image text, key text, stamp bigint) ON COMMIT DROP;
CREATE TEMP TABLE live (inst text, image text, n bigint) ON COMMIT DROP;
CREATE TEMP TABLE base (inst text, image text, key text, n bigint) ON COMMIT DROP;
CREATE TEMP TABLE found (number int, problem text) ON COMMIT DROP;
SQL
	for my $inst (@instances)
	{
		my $name   = _literal($inst->{name});
		my @log    = map { $_->[0] } @{ $inst->{columns} };
		my @source = map { $_->[1] } @{ $inst->{columns} };
		my @key    = @{ $inst->{key} // [] };
		my $key    = @key ? _image(@key) : 'NULL';
		my $stamp =
		  defined $options{stamp} && grep({ $_ eq $options{stamp} } @log)
		  ? _ident($options{stamp})
		  : 'NULL';
		$sql .= qq(
INSERT INTO ev SELECT $name, "__\$start_lsn", "__\$end_lsn", "__\$seqval", "__\$operation", "__\$update_mask",
	"__\$command_id", ${\ _image(@log) }, $key, $stamp FROM $inst->{log};
INSERT INTO live SELECT $name, ${\ _image(@source) }, count(*) FROM $inst->{source} GROUP BY 2;
);
		if (my $baseline = ($options{baseline} // {})->{ $inst->{name} })
		{
			# The baseline has the source's column names; the key is known by the log's.
			my %source_name = map { $_->[0] => $_->[1] } @{ $inst->{columns} };
			my $base_key = @key ? _image(map { $source_name{$_} } @key) : 'NULL::text';
			$sql .= qq(
INSERT INTO base SELECT $name, ${\ _image(@source) }, $base_key, count(*) FROM $baseline GROUP BY 2, 3;
);
		}

		# A mask has a bit for each captured column, ordinal 1 lowest in the last byte.
		my $i = 0;
		my $ordinals = $inst->{ordinals} // { map { $_ => ++$i } @log };
		my $bytes = int((scalar(keys %$ordinals) + 7) / 8);
		my $bit   = sub {
			my ($ordinal) = @_;
			return sprintf('(get_byte(a."__$update_mask", %d) >> %d) & 1',
				$bytes - 1 - int(($ordinal - 1) / 8), ($ordinal - 1) % 8);
		};
		for my $column (@log)
		{
			my $c = _ident($column);
			my $b = $bit->($ordinals->{$column});
			my $l = _literal($column);
			$sql .= qq(
INSERT INTO found SELECT 11, format('%s: mask bit of column %s is wrong at %s command %s', $name, $l, a."__\$start_lsn", a."__\$command_id")
FROM $inst->{log} a JOIN $inst->{log} b ON a."__\$start_lsn" = b."__\$start_lsn" AND a."__\$command_id" = b."__\$command_id"
	AND a."__\$operation" = 3 AND b."__\$operation" = 4
WHERE octet_length(a."__\$update_mask") = $bytes
	AND ($b) <> (a.$c\::text IS DISTINCT FROM b.$c\::text)::int LIMIT 3;
);
		}
		my $all = join ' AND ', map { '(' . $bit->($_) . ') = 1' } sort { $a <=> $b } values %$ordinals;
		$sql .= qq(
INSERT INTO found SELECT 11, format('%s: mask %s of operation %s is not "all columns" at %s', $name, a."__\$update_mask", a."__\$operation", a."__\$start_lsn")
FROM $inst->{log} a WHERE a."__\$operation" IN (1, 2)
	AND (a."__\$update_mask" IS NULL OR octet_length(a."__\$update_mask") <> $bytes OR NOT ($all)) LIMIT 3;
INSERT INTO found SELECT 11, format('%s: mask of an update is %s bytes long at %s', $name, octet_length(a."__\$update_mask"), a."__\$start_lsn")
FROM $inst->{log} a WHERE a."__\$operation" IN (3, 4) AND octet_length(a."__\$update_mask") IS DISTINCT FROM $bytes LIMIT 3;
);
	}
	$sql .= qq(CREATE TEMP VIEW mapping AS SELECT * FROM $mapping;\n);
	$sql .= <<'SQL';
ANALYZE ev; ANALYZE live; ANALYZE base;

-- 1. Metadata that must be there, and end_lsn, which never is.
INSERT INTO found SELECT 1, format('%s: incomplete metadata in a row of %s', inst, start_lsn) FROM ev
WHERE start_lsn IS NULL OR seqval IS NULL OR op IS NULL OR command_id IS NULL OR mask IS NULL OR end_lsn IS NOT NULL LIMIT 3;

-- 2. What one change may consist of: nothing twice, no half of an update.
INSERT INTO found SELECT 2, format('%s: change %s of transaction %s consists of operations %s', inst, command_id, start_lsn, ops)
FROM (SELECT inst, start_lsn, command_id, array_agg(op ORDER BY op) AS ops FROM ev GROUP BY 1, 2, 3) c
WHERE ops NOT IN ('{1}', '{2}', '{1,2}', '{3,4}') LIMIT 3;

-- 3. Its rows share sequence value (in all instances), and mask; the identifier decides about the form.
INSERT INTO found SELECT 3, format('change %s of transaction %s has several sequence values', command_id, start_lsn)
FROM ev GROUP BY start_lsn, command_id HAVING min(seqval) <> max(seqval) LIMIT 3;
INSERT INTO found SELECT 3, format('%s: the rows of update %s of transaction %s have several masks', inst, command_id, start_lsn)
FROM ev WHERE op IN (3, 4) GROUP BY inst, start_lsn, command_id HAVING count(DISTINCT mask) > 1 LIMIT 3;
INSERT INTO found SELECT 3, format('%s: update %s of transaction %s and its row identifier do not agree', inst, command_id, start_lsn)
FROM ev WHERE key IS NOT NULL GROUP BY inst, start_lsn, command_id
HAVING count(*) = 2 AND (count(DISTINCT key) = 1) <> (min(op) = 3) LIMIT 3;

-- 4. Inside a transaction, sequence values rise with command ids, and all lie before the commit.
INSERT INTO found SELECT 4, format('transaction %s: change %s has sequence value %s, the one before it %s', start_lsn, command_id, seqval, former)
FROM (SELECT start_lsn, command_id, seqval, lag(seqval) OVER (PARTITION BY start_lsn ORDER BY command_id) AS former
	FROM (SELECT DISTINCT start_lsn, command_id, seqval FROM ev) d) o
WHERE seqval <= former OR seqval >= start_lsn LIMIT 3;

-- 5. Each transaction has its mapping row, and the row tells its number of changes.
INSERT INTO found SELECT 5, format('transaction %s has no mapping row', start_lsn)
FROM (SELECT DISTINCT start_lsn FROM ev) e WHERE NOT EXISTS (SELECT FROM mapping m WHERE m.start_lsn = e.start_lsn) LIMIT 3;
INSERT INTO found SELECT 5, format('transaction %s has %s mapping rows', start_lsn, count(*)) FROM mapping GROUP BY start_lsn HAVING count(*) > 1 LIMIT 3;
INSERT INTO found SELECT 5, format('transaction %s: the mapping tells of %s changes, the log has %s, numbered %s to %s', m.start_lsn, m.change_count, coalesce(n, 0), least, most)
FROM mapping m LEFT JOIN (SELECT start_lsn, count(DISTINCT command_id) AS n, min(command_id) AS least, max(command_id) AS most FROM ev GROUP BY 1) e USING (start_lsn)
WHERE :whole AND (m.change_count, m.change_count) IS DISTINCT FROM (coalesce(n, 0), coalesce(most, 0)) LIMIT 3;

-- 6. Ordinals are dense, in commit order, from 1 on (or from what cleanup has left).
INSERT INTO found SELECT 6, format('transaction %s begins at ordinal %s instead of %s', start_lsn, first_ordinal, expected)
FROM (SELECT start_lsn, first_ordinal, coalesce(lag(first_ordinal + change_count) OVER (ORDER BY start_lsn), :first) AS expected FROM mapping) o
WHERE first_ordinal <> expected LIMIT 3;

-- 7. Times never go back; a transaction comes once; dummy rows have no transaction and no change.
INSERT INTO found SELECT 7, format('transaction %s ends at %s, before an earlier one', start_lsn, tran_end_time)
FROM (SELECT *, lag(tran_end_time) OVER (ORDER BY start_lsn) AS former FROM mapping) o WHERE tran_end_time < former LIMIT 3;
INSERT INTO found SELECT 7, format('transaction %s begins after its end', start_lsn) FROM mapping
WHERE tran_begin_time > tran_end_time OR tran_begin_lsn > start_lsn LIMIT 3;
INSERT INTO found SELECT 7, format('transaction id %s was captured %s times', tran_id, count(*)) FROM mapping
WHERE change_count > 0 GROUP BY tran_id HAVING count(*) > 1 OR tran_id = '0' LIMIT 3;

-- 8. Replay: the image that a delete or an update takes away is there at that moment.
INSERT INTO found SELECT 8, format('%s: operation %s of change %s of transaction %s takes away a row that is not there', inst, op, command_id, start_lsn)
FROM (SELECT ev.*, coalesce(b.n, 0) + sum(CASE WHEN op IN (2, 4) THEN 1 ELSE -1 END)
		OVER (PARTITION BY ev.inst, ev.image ORDER BY start_lsn, command_id, op) AS n
	FROM ev LEFT JOIN (SELECT inst, image, sum(n) AS n FROM base GROUP BY 1, 2) b ON b.inst = ev.inst AND b.image = ev.image) r
WHERE n < 0 LIMIT 3;

-- 9. With a key: no key is there twice, none is taken away that is not there.
INSERT INTO found SELECT 9, format('%s: after operation %s of change %s of transaction %s the table has %s rows of one key', inst, op, command_id, start_lsn, n)
FROM (SELECT ev.*, coalesce(b.n, 0) + sum(CASE WHEN op IN (2, 4) THEN 1 ELSE -1 END)
		OVER (PARTITION BY ev.inst, ev.key ORDER BY start_lsn, command_id, op) AS n
	FROM ev LEFT JOIN (SELECT inst, key, sum(n) AS n FROM base GROUP BY 1, 2) b ON b.inst = ev.inst AND b.key = ev.key
	WHERE ev.key IS NOT NULL) r
WHERE n NOT IN (0, 1) LIMIT 3;

-- 10. What is left equals the live table.
INSERT INTO found SELECT 10, format('%s: %s rows of the live table are not rebuilt, %s rebuilt rows are not in the live table', inst,
	sum(greatest(live - rebuilt, 0)), sum(greatest(rebuilt - live, 0)))
FROM (SELECT inst, image, sum(live) AS live, sum(rebuilt) AS rebuilt
	FROM (SELECT inst, image, n AS live, 0 AS rebuilt FROM live
		UNION ALL SELECT inst, image, 0, n FROM base
		UNION ALL SELECT inst, image, 0, CASE WHEN op IN (2, 4) THEN 1 ELSE -1 END FROM ev) u
	GROUP BY 1, 2) d
GROUP BY inst HAVING sum(abs(live - rebuilt)) > 0;

-- 12. The workload's own stamps rise.
INSERT INTO found SELECT 12, format('transaction %s: change %s is stamped %s, an earlier one %s', start_lsn, command_id, stamp, former)
FROM (SELECT start_lsn, command_id, stamp, lag(stamp) OVER (PARTITION BY start_lsn ORDER BY command_id) AS former
	FROM (SELECT DISTINCT start_lsn, command_id, stamp FROM ev WHERE op IN (2, 4) AND stamp IS NOT NULL) s) o
WHERE stamp <= former LIMIT 3;

SELECT number || ' ' || problem FROM found ORDER BY number, problem;
ROLLBACK;
SQL
	$sql =~ s/:first/$first/;
	$sql =~ s/:whole/$whole ? 'true' : 'false'/e;

	# Names are characters, what goes to psql is bytes.
	utf8::encode($sql);
	my ($stdout, $stderr);
	my $status = $node->psql($dbname, $sql,
		stdout => \$stdout, stderr => \$stderr, on_error_stop => 1,
		timeout => 2 * $PostgreSQL::Test::Utils::timeout_default);
	return ("the oracle itself failed: $stderr") if $status != 0;
	return split /\n/, $stdout;
}

# oracle_remember($node, $dbname, $prefix): keeps the rows of all captured tables as they are now. Returns
# {instance => table}, for oracle_stretch_ok.
sub oracle_remember
{
	my ($node, $dbname, $prefix) = @_;
	my %remembered;
	for my $inst (oracle_instances($node, $dbname))
	{
		next unless $inst->{source} =~ /\S/;
		my $table = _ident("${prefix}_$inst->{name}");
		$node->safe_psql($dbname, "DROP TABLE IF EXISTS $table; CREATE TABLE $table AS SELECT * FROM $inst->{source}");
		$remembered{ $inst->{name} } = $table;
	}
	return \%remembered;
}

# oracle_stretch_ok($node, $dbname, $name, %options): one test: the log is the truth about a stretch of it, as before
# and after a gap. Options: from, to (LSNs, __$start_lsn >= from and < to), begin and end (what oracle_remember
# returned at from and at to; end is the live tables when it is left out), without (instances whose before images are keys
# only). Instances that only one end knows are left out, too.
sub oracle_stretch_ok
{
	my ($node, $dbname, $name, %options) = @_;
	local $Test::Builder::Level = $Test::Builder::Level + 1;

	my $range = '"__$start_lsn" >= ' . _literal($options{from} // '0/0') . ' AND "__$start_lsn" < ' . _literal($options{to} // 'FFFFFFFF/FFFFFFFF');
	my $sql = '';
	my @instances;
	for my $inst (oracle_instances($node, $dbname))
	{
		next if grep { $_ eq $inst->{name} } @{ $options{without} // [] };
		next if $options{begin} && !$options{begin}{ $inst->{name} };
		next if $options{end} && !$options{end}{ $inst->{name} };
		my $view = _ident("stretch_$inst->{name}");
		$sql .= "CREATE VIEW $view AS SELECT * FROM $inst->{log} WHERE $range;\n";
		$inst->{log} = $view;
		$inst->{source} = $options{end}{ $inst->{name} } if $options{end};
		push @instances, $inst;
	}
	(my $mapped = $range) =~ s/"__\$start_lsn"/start_lsn/g;
	$sql .= "CREATE VIEW stretch_mapping AS SELECT start_lsn, tran_begin_time, tran_end_time, tran_id, tran_begin_lsn,
		first_ordinal - min(first_ordinal) OVER () + 1 AS first_ordinal, change_count FROM cdc.lsn_time_mapping WHERE $mapped;\n";
	$node->safe_psql($dbname, $sql);
	my @problems = oracle_problems($node, $dbname, instances => \@instances, mapping => 'stretch_mapping', whole => 0,
		($options{begin} ? (baseline => $options{begin}) : ()));
	$node->safe_psql($dbname, join '', 'DROP VIEW stretch_mapping;', map { "DROP VIEW $_->{log};" } @instances);
	ok(!@problems, $name) or diag(join "\n", "The log is not the truth:", @problems);
	return !@problems;
}

# oracle_ok($node, $dbname, $name, %options): one test. Waits until capture has all that is committed,
# unless wait => 0.
sub oracle_ok
{
	my ($node, $dbname, $name, %options) = @_;
	local $Test::Builder::Level = $Test::Builder::Level + 1;

	my ($status, $stderr) = (0, '');
	$status = $node->psql($dbname, "CALL cdc.wait_for_capture(timeout => '120s')", stderr => \$stderr)
	  if $options{wait} // 1;
	my @problems =
	  $status == 0
	  ? oracle_problems($node, $dbname, %options)
	  : ("capture does not get there: $stderr");
	ok(!@problems, $name) or diag(join "\n", "The log is not the truth:", @problems);
	return !@problems;
}

1;
