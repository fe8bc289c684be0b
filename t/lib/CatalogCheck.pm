# CatalogCheck.pm: what must hold between the tables of cdc, the server's catalogs and the slots, whenever nothing is under
# way. Says nothing about change rows: that is ReplayOracle.pm.
package CatalogCheck;

use strict;
use warnings;

use Exporter 'import';
use PostgreSQL::Test::Utils ();
use Test::More;
use Time::HiRes ();

our @EXPORT = qw(catalog_problems catalog_ok);

my $cluster = <<'SQL';
-- A slot and an origin for each database that is enabled, and for no other. Which these are is asked in each database.
SELECT format('slot %s has no database', slot_name) FROM pg_replication_slots s
WHERE plugin = 'cdc' AND NOT EXISTS (SELECT FROM pg_database d WHERE s.slot_name = 'cdc_' || d.oid AND s.database = d.datname)
UNION ALL SELECT format('slot %s is temporary', slot_name) FROM pg_replication_slots WHERE plugin = 'cdc' AND temporary
UNION ALL SELECT format('slot %s is lost', slot_name) FROM pg_replication_slots WHERE plugin = 'cdc' AND wal_status = 'lost'
UNION ALL SELECT format('origin %s has no database', roname) FROM pg_replication_origin
WHERE roname ~ '^cdc_\d+$' AND NOT EXISTS (SELECT FROM pg_database d WHERE roname = 'cdc_' || d.oid)
SQL

my $database = <<'SQL';
WITH us AS (SELECT oid, 'cdc_' || oid AS name FROM pg_database WHERE datname = current_database()),
identity AS (SELECT * FROM cdc._identity),
relation AS (SELECT c.oid, c.relname, c.relkind, c.relispartition FROM pg_class c
	WHERE c.relnamespace = 'cdc'::regnamespace AND c.relkind IN ('r', 'p', 'v')),
instance AS (SELECT t.*, source.relreplident, source.oid AS source_oid FROM cdc.change_tables t
	LEFT JOIN pg_class source ON source.oid = t.source_object_id)
-- Enabled is all of it, or nothing.
SELECT format('%s identity rows, %s progress rows, %s slots, %s origins', i, p, s, o)
FROM (SELECT (SELECT count(*) FROM identity) AS i, (SELECT count(*) FROM cdc._progress) AS p,
	(SELECT count(*) FROM pg_replication_slots, us WHERE slot_name = us.name AND plugin = 'cdc') AS s,
	(SELECT count(*) FROM pg_replication_origin, us WHERE roname = us.name) AS o) n
WHERE (i, p, s, o) NOT IN ((0, 0, 0, 0), (1, 1, 1, 1))
UNION ALL SELECT 'the identity row is another database''s' FROM identity, us
WHERE database_id <> us.oid OR slot_name <> us.name OR system_identifier <> (SELECT system_identifier FROM pg_control_system())
UNION ALL SELECT format('the slot is at %s, captured is up to %s', confirmed_flush_lsn, captured_lsn)
FROM cdc._progress, us JOIN pg_replication_slots ON slot_name = us.name WHERE confirmed_flush_lsn > captured_lsn
UNION ALL SELECT 'captured is more than the log has' FROM cdc._progress WHERE captured_lsn > pg_current_wal_insert_lsn()
UNION ALL SELECT format('gap %s is open', gap_id) FROM cdc.gaps WHERE end_lsn IS NULL

-- An instance is all of it, or nothing.
UNION ALL SELECT format('instance %s in a database that is not enabled', capture_instance) FROM instance WHERE NOT EXISTS (SELECT FROM identity)
UNION ALL SELECT format('change table of %s is missing, or not called like it', capture_instance) FROM instance
WHERE NOT EXISTS (SELECT FROM relation r WHERE r.oid = object_id AND relkind = 'p' AND relname = capture_instance || '_ct')
UNION ALL SELECT format('instance %s has not started', capture_instance) FROM instance WHERE start_lsn IS NULL
UNION ALL SELECT format('instance %s has no columns', capture_instance) FROM instance i
WHERE NOT EXISTS (SELECT FROM cdc.captured_columns c WHERE c.object_id = i.object_id)
UNION ALL SELECT format('instance %s lacks its view or functions', capture_instance) FROM instance i
WHERE NOT EXISTS (SELECT FROM relation WHERE relkind = 'v' AND relname = '_changes_' || instance_id)
	OR NOT EXISTS (SELECT FROM pg_proc WHERE pronamespace = 'cdc'::regnamespace AND proname = 'fn_cdc_get_all_changes_' || capture_instance)
	OR supports_net_changes <> EXISTS (SELECT FROM pg_proc WHERE pronamespace = 'cdc'::regnamespace AND proname = 'fn_cdc_get_net_changes_' || capture_instance)
UNION ALL SELECT format('source of %s is gone', capture_instance) FROM instance WHERE source_oid IS NULL AND drop_action = 'remove'
UNION ALL SELECT format('source of %s has replica identity %s', capture_instance, relreplident) FROM instance
WHERE relreplident <> 'f' AND before_image = 'full'
UNION ALL SELECT format('%s of an instance that is not there: %s', what, id) FROM (
	SELECT 'captured column', object_id FROM cdc.captured_columns
	UNION SELECT 'index column', object_id FROM cdc.index_columns
	UNION SELECT 'history', object_id FROM cdc.ddl_history
	UNION SELECT 'gap', object_id FROM cdc.gaps WHERE object_id IS NOT NULL) AS t(what, id)
WHERE id NOT IN (SELECT object_id FROM instance)
UNION ALL SELECT format('%s of an instance that is not there: %s', what, id) FROM (
	SELECT 'source drop', instance_id FROM cdc._source_drops
	UNION SELECT 'start', instance_id FROM cdc._instance_start
	UNION SELECT 'view', substr(relname, 10)::int FROM relation WHERE relkind = 'v' AND relname ~ '^_changes_\d+$') AS t(what, id)
WHERE id NOT IN (SELECT instance_id FROM instance)
UNION ALL SELECT format('function %s belongs to no instance', proname) FROM pg_proc
WHERE pronamespace = 'cdc'::regnamespace AND proname ~ '^fn_cdc_get_(all|net)_changes_'
	AND regexp_replace(proname, '^fn_cdc_get_(all|net)_changes_', '') NOT IN (SELECT capture_instance FROM instance)
UNION ALL SELECT format('change table %s belongs to no instance', relname) FROM relation r
WHERE relkind = 'p' AND oid NOT IN (SELECT object_id FROM instance)
UNION ALL SELECT format('replica identity of %s is remembered for nobody', source_object_id::regclass) FROM cdc._replica_identity r
WHERE NOT EXISTS (SELECT FROM instance i WHERE r.source_object_id = i.source_object_id
	OR r.source_object_id IN (SELECT relid FROM pg_partition_tree(i.source_object_id)))
	AND EXISTS (SELECT FROM pg_class WHERE oid = r.source_object_id)

-- Leaves: each attached as a whole, with its index, and one beside the other.
UNION ALL SELECT format('leaf %s is not attached', relname) FROM relation r WHERE relkind = 'r' AND relname ~ '^_ct_'
	AND NOT EXISTS (SELECT FROM pg_inherits h JOIN relation p ON p.oid = h.inhparent WHERE h.inhrelid = r.oid AND NOT inhdetachpending)
UNION ALL SELECT format('leaf %s has %s indexes', relname, n) FROM relation r, LATERAL (SELECT count(*) AS n FROM pg_index WHERE indrelid = r.oid AND indisvalid) i
WHERE relkind = 'r' AND relname ~ '^_ct_' AND n <> 1
UNION ALL SELECT format('%s is no member of the extension', relname) FROM relation r
WHERE NOT EXISTS (SELECT FROM pg_depend d WHERE d.classid = 'pg_class'::regclass AND d.objid = r.oid AND d.refclassid = 'pg_extension'::regclass AND d.deptype = 'e')

-- Jobs come with the first instance and go with the last; nothing is left of work under way.
UNION ALL SELECT format('%s jobs for %s instances', j, i) FROM (SELECT (SELECT count(*) FROM cdc.cdc_jobs) AS j, (SELECT count(*) FROM instance) AS i) n
WHERE i = 0 AND j > 0
UNION ALL SELECT format('%s rows in _ddl_queue', count(*)) FROM cdc._ddl_queue HAVING count(*) > 0
UNION ALL SELECT format('cleanup run %s is running', run_id) FROM cdc.cleanup_runs WHERE status = 'running'
UNION ALL SELECT format('mapping of %s instances', (SELECT count(*) FROM instance)) FROM cdc.lsn_time_mapping HAVING count(*) > 0 AND NOT EXISTS (SELECT FROM instance)
UNION ALL SELECT 'ordinals do not follow each other' FROM (
	SELECT first_ordinal, lag(first_ordinal + change_count) OVER (ORDER BY start_lsn) AS expected FROM cdc.lsn_time_mapping) m WHERE first_ordinal < expected
UNION ALL SELECT 'the mapping is ahead of the progress' FROM cdc.lsn_time_mapping, cdc._progress HAVING max(start_lsn) > max(last_start_lsn)

-- Nothing of ours depends on what is not there.
UNION ALL SELECT format('dependency of %s on nothing', pg_describe_object(classid, objid, objsubid)) FROM pg_depend d
WHERE refclassid = 'pg_class'::regclass AND NOT EXISTS (SELECT FROM pg_class WHERE oid = refobjid)
UNION ALL SELECT 'an initial privilege of nothing' FROM pg_init_privs WHERE classoid = 'pg_class'::regclass AND NOT EXISTS (SELECT FROM pg_class WHERE oid = objoid)
UNION ALL SELECT format('_dropped_: %s', relname) FROM relation WHERE relname ~ '^_dropped_'
SQL

# catalog_problems($node, $dbname): a list, empty when all is well. To be asked when nothing is under way.
sub catalog_problems
{
	my ($node, $dbname) = @_;
	my @problems;

	for my $sql ($cluster, $database)
	{
		my ($stdout, $stderr);
		my $status = $node->psql($dbname, $sql, stdout => \$stdout, stderr => \$stderr, on_error_stop => 1);
		push @problems, $status == 0 ? split(/\n/, $stdout) : "the catalogs cannot be read: $stderr";
	}
	return @problems;
}

# catalog_ok($node, $dbname, $name): one test. What workers still have to put away after a crash they are given time for.
sub catalog_ok
{
	my ($node, $dbname, $name) = @_;
	local $Test::Builder::Level = $Test::Builder::Level + 1;
	my $deadline = Time::HiRes::time() + $PostgreSQL::Test::Utils::timeout_default / 3;
	my @problems;

	while (@problems = catalog_problems($node, $dbname))
	{
		last if Time::HiRes::time() > $deadline;
		select undef, undef, undef, 0.1;
	}
	ok(!@problems, $name) or diag(join "\n", "The catalogs do not agree:", @problems);
	return !@problems;
}

1;
