# Copies of a server: with and without the slot, and a standby that is promoted. Where slot and progress fit
# together capture goes on without a gap, also on a new timeline; else there is one.
use strict;
use warnings;

use FindBin;
use lib "$FindBin::RealBin/lib";

use CdcTest;
use PostgreSQL::Test::Utils;
use ReplayOracle;
use Test::More;

my $db = 'copies';
my $primary = cdc_node('primary', wal_level => 'logical', wal_keep_size => '1GB');
cdc_create($primary, $db);
$primary->safe_psql($db, 'CREATE TABLE t (id int GENERATED ALWAYS AS IDENTITY PRIMARY KEY, v text)');
enable_table($primary, $db, 't');

sub write_some
{
	my ($node) = @_;
	$node->safe_psql($db, q(
		INSERT INTO t (v) SELECT 'row' FROM generate_series(1, 10);
		UPDATE t SET v = v || '+' WHERE id % 3 = 0;
		DELETE FROM t WHERE id % 7 = 1;));
	return;
}

write_some($primary);
wait_captured($primary, $db);

# --- A base backup does not have the slot ---------------------------------------------------------
$primary->backup('base');
my $restored = PostgreSQL::Test::Cluster->new('restored');
$restored->init_from_backup($primary, 'base');
$restored->start;
# Nobody has called anything there: it is noticed all the same, and told to who looks from another database.
$restored->safe_psql('postgres', 'CREATE EXTENSION cdc');
$restored->poll_query_until('postgres', "SELECT count(*) = 1 FROM cdc.pg_stat_cdc WHERE database = '$db' AND state = 'needs action' AND last_error_message LIKE '%is missing'")
	or die 'the missing slot is not noticed';
like(slurp_file($restored->logfile), qr/LOG:  replication slot "cdc_\d+" of change data capture is missing\n.*HINT:  [^\n]*resume_after_gap/s,
	'restored base backup: the server log says so');
is($restored->safe_psql($db, 'SELECT count(*) FROM cdc.gaps WHERE end_lsn IS NULL'), '1', 'restored base backup: recorded by itself');
$restored->safe_psql('postgres', 'DROP EXTENSION cdc');
like($restored->safe_psql($db, 'SELECT state, last_error_message, last_error_hint FROM cdc.pg_stat_cdc WHERE database = current_database()'),
	qr/needs action\|.* is missing\|.*resume_after_gap/, 'restored base backup: the gap is shown at once');
$restored->safe_psql($db, 'CREATE TABLE before AS TABLE t');
write_some($restored);
my $stderr;
$restored->psql($db, 'CALL cdc.wait_for_capture()', stderr => \$stderr);
like($stderr, qr/capture cannot go on.*resume_after_gap/s, 'restored base backup: waiting says so');
is($restored->safe_psql($db, 'SELECT count(*) FROM cdc.gaps WHERE end_lsn IS NULL'), '1', 'restored base backup: recorded');
$restored->safe_psql($db, 'CALL cdc.resume_after_gap()');
$restored->safe_psql($db, q(
	CREATE TABLE at_its_end AS TABLE t;
	CREATE VIEW log_before AS SELECT l.* FROM cdc.public_t_ct l, cdc.gaps g WHERE "__$start_lsn" < g.start_lsn;
	CREATE VIEW log_after AS SELECT l.* FROM cdc.public_t_ct l, cdc.gaps g WHERE "__$start_lsn" >= g.end_lsn));
write_some($restored);
wait_captured($restored, $db);
my ($instance) = oracle_instances($restored, $db);
my @problems = oracle_problems($restored, $db, instances => [ { %$instance, log => 'log_before', source => 'before' } ],
	mapping => q((SELECT m.* FROM cdc.lsn_time_mapping m, cdc.gaps g WHERE m.start_lsn < g.start_lsn) m));
ok(!@problems, 'restored base backup: before the gap nothing is missing') or diag(@problems);
@problems = oracle_problems($restored, $db, instances => [ { %$instance, log => 'log_after' } ], baseline => { public_t => 'at_its_end' }, whole => 0,
	mapping => q((SELECT m.start_lsn, tran_begin_time, tran_end_time, tran_id, tran_begin_lsn, first_ordinal - min(first_ordinal) OVER () + 1 AS first_ordinal, change_count
		FROM cdc.lsn_time_mapping m, cdc.gaps g WHERE m.start_lsn >= g.end_lsn) m));
ok(!@problems, 'restored base backup: after the gap nothing is missing') or diag(@problems);
$restored->psql($db, q(SELECT * FROM cdc.fn_cdc_get_all_changes_public_t(cdc.fn_cdc_get_min_lsn('public_t'), cdc.fn_cdc_get_max_lsn(), 'all')), stderr => \$stderr);
like($stderr, qr/changes of capture instance "public_t" are missing/, 'restored base backup: across the gap is refused');
$restored->stop;

# --- A standby that was there before the enabling, and has no slot, is promoted --------------------
# (From 17 on it may have the slot.)
my $later = 'later';
my $without = PostgreSQL::Test::Cluster->new('without');
$without->init_from_backup($primary, 'base', has_streaming => 1);
$without->start;
cdc_create($primary, $later);
$primary->safe_psql($later, 'CREATE TABLE t (id int GENERATED ALWAYS AS IDENTITY PRIMARY KEY, v text)');
enable_table($primary, $later, 't');
$primary->safe_psql($later, 'CALL cdc.sp_cdc_stop_job()');
write_some($primary);
wait_captured($primary, $db);
$primary->wait_for_catchup($without, 'replay', $primary->lsn('insert'));
is($without->safe_psql('postgres', "SELECT count(*) FROM pg_stat_activity WHERE backend_type LIKE 'cdc%'"), '0', 'a standby does nothing');
unlike(slurp_file($without->logfile), qr/is missing/, 'and says nothing');
SKIP:
{
	skip 'slots on standbys are looked after by the server', 3 if $primary->pg_version >= 17;
	$without->promote;
	$without->safe_psql('postgres', 'CREATE EXTENSION cdc');
	for my $name ($db, $later)
	{
		$without->poll_query_until('postgres', "SELECT count(*) = 1 FROM cdc.pg_stat_cdc WHERE database = '$name' AND state = 'needs action'")
			or die "the missing slot of $name is not noticed";
		is($without->safe_psql($name, 'SELECT count(*) FROM cdc.gaps WHERE end_lsn IS NULL'), '1', "promotion without the slot: the gap of $name is recorded by itself");
	}
	$without->safe_psql($db, 'CALL cdc.resume_after_gap()');
	wait_captured($without, $db);
	pass('and capture goes on after the call');
}
$without->stop;
$primary->safe_psql('postgres', "DROP DATABASE $later");

# --- A copy of the whole data directory has the slot ----------------------------------------------
write_some($primary);
$primary->stop;
$primary->backup_fs_cold('cold');
$primary->start;
my $copy = PostgreSQL::Test::Cluster->new('copy');
$copy->init_from_backup($primary, 'cold');
$copy->start;
write_some($copy);
oracle_ok($copy, $db, 'a copy with its slot goes on without a gap');
is($copy->safe_psql($db, 'SELECT count(*) FROM cdc.gaps'), '0', 'and has none');
$copy->stop;

# --- A standby that has the slot is promoted: a new timeline ---------------------------------------
# (From 16 on the server may invalidate slots on a standby by itself.)
SKIP:
{
	skip 'slots on standbys are looked after by the server', 4 if $primary->pg_version >= 16;
	my $standby = PostgreSQL::Test::Cluster->new('standby');
	$standby->init_from_backup($primary, 'cold', has_streaming => 1);
	$standby->start;
	write_some($primary);
	wait_captured($primary, $db);
	write_some($primary);
	$primary->safe_psql($db, 'SELECT pg_switch_wal()');
	$primary->wait_for_catchup($standby, 'replay', $primary->lsn('insert'));
	is($standby->safe_psql($db, q(SELECT count(*) > 0 FROM cdc.fn_cdc_get_all_changes_public_t(cdc.fn_cdc_get_min_lsn('public_t'), cdc.fn_cdc_get_max_lsn(), 'all'))), 't',
		'a standby can be read');
	$primary->stop('immediate');
	$standby->promote;
	write_some($standby);
	oracle_ok($standby, $db, 'a promoted standby with the slot goes on without a gap');
	is($standby->safe_psql($db, 'SELECT count(*) FROM cdc.gaps'), '0', 'and has none');
	is($standby->safe_psql($db, 'SELECT timeline FROM cdc._identity'), '2', 'the identity is on the new timeline');
	$standby->stop;
}
done_testing();
