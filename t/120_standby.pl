# Hot standbys with the library preloaded, one of them behind another: nothing of ours runs or writes there, what was
# captured can be read as on the primary, what needs the primary says so. Cleanup on the primary while a standby reads:
# its readers get whole answers or an error, never fewer rows.
use strict;
use warnings;

use FindBin;
use lib "$FindBin::RealBin/lib";

use CdcTest;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use ReplayOracle;
use Test::More;

my $db = 'standby';
my $primary = cdc_node('primary', 'cdc.partition_wal_size' => '1MB');
cdc_create($primary, $db);
$primary->safe_psql($db, q(
	CREATE TABLE t (id int GENERATED ALWAYS AS IDENTITY PRIMARY KEY, v text);
	CREATE TABLE p (id int PRIMARY KEY, v text) PARTITION BY RANGE (id);
	CREATE TABLE p1 PARTITION OF p FOR VALUES FROM (0) TO (10);
	CREATE TABLE p2 PARTITION OF p DEFAULT;
	CREATE ROLE reader LOGIN; GRANT SELECT ON t TO reader;));
enable_table($primary, $db, 't');
$primary->safe_psql($db, "CALL cdc.sp_cdc_enable_table('public', 'p', 'gate')");

sub write_some
{
	$primary->safe_psql($db, q(
		INSERT INTO t (v) SELECT 'row' FROM generate_series(1, 20);
		UPDATE t SET v = v || '+' WHERE id % 3 = 0;
		DELETE FROM t WHERE id % 7 = 1;
		INSERT INTO p SELECT i, 'p' FROM generate_series(1, 20) i ON CONFLICT (id) DO UPDATE SET v = p.v || '+';
		UPDATE p SET id = (SELECT max(id) + 1 FROM p) WHERE id = 5;));
	return;
}

# has_all(): both standbys have replayed everything that is captured by now.
my ($standby, $cascade);

sub has_all
{
	wait_captured($primary, $db);
	# The writer commits asynchronously: a commit that does not takes its WAL along.
	$primary->safe_psql('postgres', 'CREATE TABLE IF NOT EXISTS flushed (); DROP TABLE flushed');
	my $lsn = $primary->safe_psql($db, 'SELECT pg_current_wal_flush_lsn()');
	for my $node ($standby, $cascade)
	{
		$node->poll_query_until($db, "SELECT pg_last_wal_replay_lsn() >= '$lsn'") or die 'the standby does not get there';
	}
	return;
}

# refused($node, $sql, $pattern, $name): an error that says so, in full.
sub refused
{
	my ($node, $sql, $pattern, $name) = @_;
	local $Test::Builder::Level = $Test::Builder::Level + 1;
	my $stderr;
	$node->psql($db, "\\set VERBOSITY verbose\n$sql", stderr => \$stderr, timeout => 60);
	like($stderr, $pattern, $name);
	return;
}

write_some();
$primary->backup('base');
$standby = PostgreSQL::Test::Cluster->new('standby');
$standby->init_from_backup($primary, 'base', has_streaming => 1);
# Queries of a standby win against replay, until said otherwise.
$standby->append_conf('postgresql.conf', "max_standby_streaming_delay = -1\nhot_standby_feedback = off\n");
$standby->start;
$standby->backup('of_standby');
$cascade = PostgreSQL::Test::Cluster->new('cascade');
$cascade->init_from_backup($standby, 'of_standby', has_streaming => 1);
$cascade->start;
my @standbys = ([ $standby, 'standby' ], [ $cascade, 'cascading standby' ]);

# --- Everything can be read, and is what the primary says -----------------------------------------
$primary->safe_psql($db, q(ALTER TABLE t ADD COLUMN more int; CREATE TABLE later (id int PRIMARY KEY)));
enable_table($primary, $db, 'later');
write_some();
$primary->safe_psql($db, 'INSERT INTO later VALUES (1); ALTER TABLE t ALTER v TYPE varchar(50)');
has_all();
for my $query (
	q(SELECT * FROM cdc.change_tables ORDER BY capture_instance),
	q(SELECT * FROM cdc.captured_columns ORDER BY object_id, column_ordinal),
	q(SELECT * FROM cdc.index_columns ORDER BY object_id, index_ordinal),
	q(SELECT * FROM cdc.lsn_time_mapping ORDER BY start_lsn),
	q(SELECT * FROM cdc.ddl_history ORDER BY ddl_lsn),
	q(SELECT * FROM cdc.cdc_jobs ORDER BY job_type),
	q(SELECT name, is_cdc_enabled FROM cdc.databases ORDER BY name),
	q(SELECT * FROM cdc.tables ORDER BY name),
	q(SELECT * FROM cdc.sp_cdc_help_change_data_capture() ORDER BY capture_instance),
	q(SELECT * FROM cdc.sp_cdc_get_captured_columns('public_t') ORDER BY column_ordinal),
	q(SELECT * FROM cdc.sp_cdc_get_ddl_history('public_t') ORDER BY ddl_lsn),
	q(SELECT * FROM cdc.sp_cdc_generate_wrapper_function('public_t') ORDER BY 1),
	q(SELECT cdc.fn_cdc_get_max_lsn(), cdc.fn_cdc_get_min_lsn('public_t'), cdc.fn_cdc_get_min_lsn('public_later')),
	q(SELECT cdc.fn_cdc_map_lsn_to_time(start_lsn), cdc.fn_cdc_map_time_to_lsn('smallest greater than', tran_end_time) FROM cdc.lsn_time_mapping ORDER BY start_lsn),
	q(SELECT c.*, cdc.fn_cdc_is_bit_set(cdc.fn_cdc_get_column_ordinal('public_t', 'v'), "__$update_mask")
		FROM cdc.fn_cdc_get_all_changes_public_t(cdc.fn_cdc_get_min_lsn('public_t'), cdc.fn_cdc_get_max_lsn(), 'all update old') c ORDER BY "__$start_lsn", "__$seqval", "__$operation"),
	q(SELECT * FROM cdc.fn_cdc_get_net_changes_public_t(cdc.fn_cdc_get_min_lsn('public_t'), cdc.fn_cdc_get_max_lsn(), 'all with mask') ORDER BY id, "__$operation"),
	q(SELECT * FROM cdc.fn_cdc_get_all_changes_public_p(cdc.fn_cdc_get_min_lsn('public_p'), cdc.fn_cdc_get_max_lsn(), 'all') ORDER BY "__$start_lsn", "__$seqval", "__$operation"),
	q(SELECT capture_instance, state, state_detail, low_lsn, leaves FROM cdc.pg_stat_cdc_tables ORDER BY capture_instance),
	q(SELECT * FROM cdc.gaps))
{
	my $expected = $primary->safe_psql($db, $query);
	is($_->[0]->safe_psql($db, $query), $expected, "$_->[1]: " . substr($query, 0, 90)) for @standbys;
}
refused($standby, q(SET ROLE reader; SELECT * FROM cdc.fn_cdc_get_all_changes_public_p('0/1', '0/1', 'all')), qr/ERROR:  42501/, 'rights are checked there, too');
refused($standby, q(SELECT * FROM cdc.fn_cdc_get_all_changes_public_t('0/1', cdc.fn_cdc_get_max_lsn(), 'all')), qr/ERROR:  SC001.*HINT/s, 'and so is the window');
is($standby->safe_psql($db, q(SET ROLE reader; SELECT count(*) > 0 FROM cdc.fn_cdc_get_net_changes_public_t(cdc.fn_cdc_get_min_lsn('public_t'), cdc.fn_cdc_get_max_lsn(), 'all'))), 't',
	'who may read there reads');

# --- Monitoring tells the truth -------------------------------------------------------------------
for (@standbys)
{
	my ($node, $what) = @$_;
	is($node->safe_psql($db, 'SELECT count(*) FROM cdc.pg_stat_cdc'), '0', "$what: no capture");
	is($node->safe_psql($db, q(SELECT count(*) FROM cdc.dm_cdc_log_scan_sessions)), '0', "$what: no scan session");
	is($node->safe_psql($db, q(SELECT string_agg(check_name, ' ') FROM cdc.health() WHERE status <> 'ok')), '', "$what: health has nothing to say");
	is($node->safe_psql($db, q(SELECT detail FROM cdc.health() WHERE check_name = 'settings')), 'This is a standby: capture runs on the primary.', "$what: but where capture runs");
	is($node->safe_psql($db, q(SELECT string_agg(running::text || coalesce(doing, ''), ' ') FROM cdc.sp_cdc_help_jobs())), 'false false', "$what: no job runs");
	is(join(' ', server_processes($node, qr/cdc (launcher|finder|capture|decoder|cleanup)/)), '', "$what: nothing of ours runs");
	# Of all that was done until here, including the start, the log has what was provoked.
	is(join("\n", grep { !/SC001|42501|permission denied|low end|LSN window|precedes/ } grep { /ERROR:|WARNING:|FATAL:|PANIC:|cdc / } split /\n/, slurp_file($node->logfile) =~ s/STATEMENT:.*//gr), '',
		"$what: and nothing is in its log");
}

# --- What needs the primary says so ---------------------------------------------------------------
for my $call (
	'wait_for_capture()', 'sp_cdc_enable_db()', 'sp_cdc_disable_db()', q(sp_cdc_enable_table('public', 't', NULL)),
	q(sp_cdc_disable_table('public', 't', 'all')), 'sp_cdc_start_job()', 'sp_cdc_stop_job()', 'sp_cdc_scan()', q(sp_cdc_add_job('cleanup')),
	'sp_cdc_change_job(maxtrans => 5)', q(sp_cdc_drop_job('cleanup')), q(sp_cdc_cleanup_change_table('public_t', '0/1')),
	'resume_after_gap()', 'discard_kept_wal(true)')
{
	refused($standby, "CALL cdc.$call", qr/ERROR:  25006: cannot execute \w+ during recovery.*DETAIL:  This server is a standby.*HINT:  Call it on the primary/s, "refused there: $call");
}
is($primary->safe_psql($db, q(SELECT count(*) FROM cdc.change_tables)), '3', 'and nothing has come of it');

# --- Cleanup on the primary meets readers on a standby --------------------------------------------
# Old leaves, and the mark behind them.
for (1 .. 4)
{
	write_some();
	$primary->safe_psql($db, q(SELECT pg_switch_wal()));
}
has_all();
my $from = $primary->safe_psql($db, q(SELECT cdc.fn_cdc_get_min_lsn('public_t')));
$primary->safe_psql($db, "INSERT INTO t (v) VALUES ('mark')");
has_all();
my $mark = $primary->safe_psql($db, 'SELECT cdc.fn_cdc_get_max_lsn()');
my $whole = "SELECT count(*), md5(string_agg(c::text, ',' ORDER BY \"__\$start_lsn\", \"__\$seqval\", \"__\$operation\")) FROM cdc.fn_cdc_get_all_changes_public_t('$from', '$mark', 'all') c";
my $expected = $primary->safe_psql($db, $whole);

# A cursor holds replay up, and reads to its end.
my $reader = $standby->background_psql($db, on_error_die => 1, timeout => $PostgreSQL::Test::Utils::timeout_default);
$reader->query_safe("BEGIN; DECLARE c CURSOR FOR SELECT c FROM cdc.fn_cdc_get_all_changes_public_t('$from', '$mark', 'all') c;");
$reader->query_safe('FETCH 1 FROM c;');
# An old snapshot that has locked nothing: replay passes it by, and it is told when it comes.
my $old = $cascade->background_psql($db, on_error_stop => 0, timeout => $PostgreSQL::Test::Utils::timeout_default);
$old->query_safe('BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT count(*) FROM cdc.gaps;');
$primary->safe_psql($db, "CALL cdc.sp_cdc_cleanup_change_table('public_t', '$mark')");
is($primary->safe_psql($db, q(SELECT cdc.fn_cdc_get_min_lsn('public_t'))), $mark, 'cleaned');
$primary->poll_query_until($db, q(SELECT leaves <= 2 FROM cdc.pg_stat_cdc_tables WHERE capture_instance = 'public_t')) or die 'leaves stay';
$standby->poll_query_until($db, q(SELECT count(*) > 0 FROM pg_stat_activity WHERE backend_type = 'startup' AND wait_event_type IN ('Lock', 'IPC', 'BufferPin')))
	or die 'replay does not wait for the reader';
my $rows = () = $reader->query_safe('FETCH ALL FROM c;') =~ /\(/g;
is($rows + 1, (split /\|/, $expected)[0], 'a cursor on a standby reads to its end while cleanup waits');
$reader->query_safe('COMMIT;');
has_all();
$reader->quit;
refused($standby, $whole, qr/ERROR:  SC001.*HINT/s, 'the next one is told that the range is gone');
my ($stdout) = $old->query($whole);
unlike($stdout // '', qr/\|/, 'an old snapshot gets no rows of it');
like($old->{stderr}, qr/precedes|before|low/, 'but the same error') or diag($old->{stderr});
$old->quit;

# Where replay wins the reader is cancelled, and can ask again.
$primary->safe_psql($db, q(INSERT INTO t (v) SELECT 'more' FROM generate_series(1, 50); SELECT pg_switch_wal()));
write_some();
has_all();
$from = $primary->safe_psql($db, q(SELECT cdc.fn_cdc_get_min_lsn('public_t')));
$primary->safe_psql($db, "INSERT INTO t (v) VALUES ('mark')");
has_all();
$mark = $primary->safe_psql($db, 'SELECT cdc.fn_cdc_get_max_lsn()');
$standby->append_conf('postgresql.conf', "max_standby_streaming_delay = 0\n");
$standby->reload;
my $size = log_size($standby);
my $loser = $standby->background_psql($db, on_error_stop => 0, timeout => $PostgreSQL::Test::Utils::timeout_default);
$loser->query_safe("BEGIN; DECLARE c CURSOR FOR SELECT c FROM cdc.fn_cdc_get_all_changes_public_t('$from', '$mark', 'all') c;");
$loser->query_safe('FETCH 1 FROM c;');
$primary->safe_psql($db, "CALL cdc.sp_cdc_cleanup_change_table('public_t', '$mark')");
has_all();
eval { $loser->query('FETCH ALL FROM c;') };
eval { $loser->quit };
like(log_since($standby, $size), qr/due to conflict with recovery/, 'a reader that loses against replay is cancelled');
refused($standby, "SELECT * FROM cdc.fn_cdc_get_all_changes_public_t('$from', '$mark', 'all')", qr/ERROR:  SC001/, 'and told, when it asks again');

# --- A restart changes nothing; the primary is whole ----------------------------------------------
$standby->restart;
write_some();
has_all();
is($_->[0]->safe_psql($db, "SELECT count(*) FROM cdc.fn_cdc_get_all_changes_public_t('$mark', cdc.fn_cdc_get_max_lsn(), 'all')"),
	$primary->safe_psql($db, "SELECT count(*) FROM cdc.fn_cdc_get_all_changes_public_t('$mark', cdc.fn_cdc_get_max_lsn(), 'all')"),
	"$_->[1]: goes on after restarts and conflicts") for @standbys;
unlike(slurp_file($_->[0]->logfile), qr/TRAP|PANIC|terminated by signal/, "$_->[1]: no crash") for @standbys;
my ($p) = grep { $_->{name} eq 'public_p' } oracle_instances($primary, $db);
my ($l) = grep { $_->{name} eq 'public_later' } oracle_instances($primary, $db);
oracle_ok($primary, $db, 'the log of the primary is the truth', instances => [ $p, $l ], whole => 0);

$cascade->stop;
$standby->stop;
$primary->stop;
done_testing();
