# judge.pl: after somebody else's tests have run with capture_all.sql: is what was captured the whole truth?
#
# usage: judge.pl HOST PORT DBNAME
#
# Each table that is left is rebuilt from its change rows alone and compared (t/lib/ReplayOracle.pm); of tables that were
# dropped and whose changes were kept, the change rows are checked among themselves. What cannot be judged is said with its
# reason and counted: what changed the table without change rows (TRUNCATE, partitions that came or went with their rows,
# a rewrite that computed new values).
use strict;
use warnings;

use FindBin;
use lib "$FindBin::RealBin/../../t/lib";

# The server's test modules would send what is printed here into a log file; of them, the oracle needs a timeout only.
BEGIN
{
	$INC{'PostgreSQL/Test/Utils.pm'} = __FILE__;
	$PostgreSQL::Test::Utils::timeout_default = 600;
}

use IPC::Run;
use JSON::PP;
use ReplayOracle;

# What the oracle needs of a node.
package Server;

sub psql
{
	my ($self, $dbname, $sql, %options) = @_;
	my @command = (
		'psql', '--no-psqlrc', '--no-align', '--tuples-only', '--quiet', '--host', $self->{host}, '--port', $self->{port},
		'--dbname', $dbname, '--file', '-', '--variable', 'ON_ERROR_STOP=1');
	my ($out, $err) = ('', '');
	IPC::Run::run(\@command, '<', \$sql, '>', \$out, '2>', \$err);
	my $status = $? >> 8;
	chomp $out;
	${ $options{stdout} } = $out if $options{stdout};
	${ $options{stderr} } = $err if $options{stderr};
	return $status;
}

sub safe_psql
{
	my ($self, $dbname, $sql) = @_;
	my ($out, $err);
	my $status = $self->psql($dbname, $sql, stdout => \$out, stderr => \$err);
	die "psql: $err\nin: $sql\n" if $status != 0;
	return $out;
}

package main;

$SIG{PIPE} = 'IGNORE';

my ($host, $port, $db) = @ARGV;
die "usage: judge.pl HOST PORT DBNAME\n" unless defined $db;
my $server = bless { host => $host, port => $port }, 'Server';
my @problems;

# All of them: a view for the log (types that changed), reasons not to be judged.
$server->safe_psql($db, q(CALL cdc.wait_for_capture(timeout => '600s')));
my $json = $server->safe_psql($db, <<'SQL');
SELECT coalesce(json_agg(i ORDER BY i.instance_id), '[]') FROM (
	SELECT t.instance_id, t.capture_instance AS name, c.oid IS NOT NULL AS lives, made.name AS table, t.has_drop_pending AS dropped,
		t.object_id::regclass AS log, h.retyped,
		CASE WHEN c.relkind = 'p' THEN '' ELSE 'ONLY ' END || quote_ident(n.nspname) || '.' || quote_ident(c.relname) AS source,
		(SELECT json_agg(json_build_array(cc.column_name, a.attname) ORDER BY cc.column_ordinal)
			FROM cdc.captured_columns cc LEFT JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum = cc.column_id AND NOT a.attisdropped
			WHERE cc.object_id = t.object_id) AS columns,
		(SELECT json_object_agg(cc.column_name, cc.column_ordinal) FROM cdc.captured_columns cc WHERE cc.object_id = t.object_id) AS ordinals,
		(SELECT coalesce(json_agg(ic.column_name ORDER BY ic.index_ordinal), '[]') FROM cdc.index_columns ic WHERE ic.object_id = t.object_id) AS key,
		made.baseline,
		CASE
			WHEN EXISTS (SELECT FROM cdc.gaps g WHERE g.object_id = t.object_id) THEN 'gap'
			WHEN h.truncated THEN 'TRUNCATE'
			WHEN h.partitions OR (h.drops AND c.relkind = 'p') OR EXISTS (SELECT FROM pg_inherits WHERE inhparent = c.oid AND inhdetachpending) THEN 'partitions with rows'
			WHEN h.drops_column AND c.oid IS NULL THEN 'columns dropped, of a dropped table'
			WHEN h.retyped AND EXISTS (SELECT FROM judge.rewritten r WHERE r.source = t.source_object_id
				OR r.source IN (SELECT relid FROM pg_partition_tree(t.source_object_id))) THEN 'rewrite with another type'
			WHEN h.retyped AND c.oid IS NULL THEN 'another type of a dropped table'
		END AS reason
	FROM cdc.change_tables t
	LEFT JOIN judge.captured made ON made.instance = t.capture_instance
	LEFT JOIN (pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace) ON c.oid = t.source_object_id AND NOT t.has_drop_pending
	CROSS JOIN LATERAL (SELECT bool_or(ddl_command ~* '\mTRUNCATE\M') AS truncated,
			bool_or(ddl_command ~* '\m(ATTACH|DETACH)\M') AS partitions,
			bool_or(ddl_command ~* '^\s*DROP\M') AS drops,
			bool_or(ddl_command ~* '^\s*(ALTER\M.*\mDROP\M|DROP (TYPE|DOMAIN))') AS drops_column,
			bool_or(required_column_update) AS retyped
		FROM cdc.ddl_history dh WHERE dh.object_id = t.object_id) h
) i
SQL
my @instances = @{ JSON::PP->new->decode($json) };
my %count;
my (@live, @kept);

for my $inst (@instances)
{
	push @problems, "$inst->{name}: captured by nobody that is known" unless $inst->{table};
	push @problems, "$inst->{name} ($inst->{table}): the source is gone and the instance does not know" if !$inst->{lives} && !$inst->{dropped};
	if ($inst->{reason})
	{
		$count{"not judged: $inst->{reason}"}++;
		next;
	}
	$inst->{key} = [] unless $inst->{lives};
	if ($inst->{retyped})
	{
		# A column is several in the change table: read as readers do.
		$server->safe_psql($db, qq(CREATE OR REPLACE VIEW judge.log_$inst->{instance_id} AS
			SELECT NULL::pg_lsn AS "__\$end_lsn", c.* FROM cdc._changes_$inst->{instance_id} c));
		$inst->{log} = "judge.log_$inst->{instance_id}";
	}
	if ($inst->{lives})
	{
		# A column that the source has dropped is left out.
		$inst->{columns} = [ grep { defined $_->[1] } @{ $inst->{columns} } ];
		push @live, $inst;
	}
	else
	{
		$inst->{columns} = [ map { [ $_->[0], $_->[0] ] } @{ $inst->{columns} } ];
		$inst->{source} = "(SELECT * FROM $inst->{log} LIMIT 0) AS nothing";
		push @kept, $inst;
	}
	if (!@{ $inst->{columns} })
	{
		$count{'not judged: all captured columns were dropped'}++;
		@live = grep { $_ != $inst } @live;
		next;
	}
	# The rows before have the names of that time, which are those of the log.
	$inst->{baseline} = '(SELECT ' . join(', ', map { sprintf '"%s" AS "%s"', map { s/"/""/gr } @$_ } @{ $inst->{columns} })
	  . " FROM $inst->{baseline}) AS before"
	  if defined $inst->{baseline};
}

# Many at a time; where the oracle itself fails, one by one, to know which.
sub judge
{
	my ($replays, @batch) = @_;
	my @found = oracle_problems($server, $db,
		instances => \@batch,
		whole     => 0,
		# With the only table there was, the mapping went.
		cleaned   => 1,
		baseline  => { map { defined $_->{baseline} ? ($_->{name} => $_->{baseline}) : () } @batch });
	@found = grep { !/^10 / } @found unless $replays;
	# Of the mapping, once is enough.
	if (@found && $found[0] =~ /^the oracle itself failed/ && @batch > 1)
	{
		@found = map { judge($replays, $_) } @batch;
	}
	elsif (@found && $found[0] =~ /^the oracle itself failed/)
	{
		$found[0] = "$batch[0]{name} ($batch[0]{source}): $found[0]";
	}
	return @found;
}

my %seen;
for my $part ([ 1, \@live ], [ 0, \@kept ])
{
	my ($replays, $list) = @$part;
	$count{ $replays ? 'rebuilt and equal' : 'dropped, change rows checked' } = @$list;
	my @rest = @$list;
	while (my @batch = splice @rest, 0, 40)
	{
		push @problems, grep { !$seen{$_}++ } judge($replays, @batch);
	}
}

# A table that was captured and is still there has its instance.
push @problems, map { "captured, still there, and without an instance: $_" } split /\n/, $server->safe_psql($db, <<'SQL');
SELECT m.name || ' ' || m.instance FROM judge.captured m JOIN pg_class c ON c.oid = m.source
WHERE NOT EXISTS (SELECT FROM cdc.change_tables t WHERE t.capture_instance = m.instance) ORDER BY 1
SQL
# Errors while enabling: those that say what cannot be captured are right.
push @problems, map { "enabling failed: $_" } split /\n/, $server->safe_psql($db, <<'SQL');
SELECT DISTINCT sqlstate || ' ' || name || ': ' || message FROM judge.problems
WHERE message !~ 'has no column to capture|does not use table access method "heap"' ORDER BY 1
SQL
push @problems, map { "error of capture: $_" } split /\n/, $server->safe_psql($db,
	q(SELECT process || ' ' || sqlstate || ': ' || error_message || ' (' || occurrences || ' times)' FROM cdc._errors ORDER BY error_id));
push @problems, map { "state of capture: $_" } split /\n/, $server->safe_psql($db,
	q(SELECT state FROM cdc.pg_stat_cdc WHERE database = current_database() AND state NOT IN ('streaming', 'catching up')));

print "$_: $count{$_}\n" for sort keys %count;
my ($rows) = $server->safe_psql($db, q(SELECT sum(change_count) FROM cdc.lsn_time_mapping));
print "changes: $rows\n";
print "PROBLEM $_\n" for @problems;
exit(@problems ? 1 : 0);
