# Copies of a server that run beside it, same system identifier and all: a base backup; one that somebody has put the slot
# of the first into, older or newer than it; a copy of all files made while the server ran. And recovery to a point in time: before
# the database was enabled, between two batches, to the end. Each copy goes on only where its slot, its change tables and its
# log belong together, else there is a gap; nothing of it reaches the first server.
use strict;
use warnings;

use FindBin;
use lib "$FindBin::RealBin/lib";

use CdcTest;
use File::Basename;
use File::Copy ();
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::RecursiveCopy;
use PostgreSQL::Test::Utils;
use ReplayOracle;
use Test::More;

my $db = 'copied';
my $primary = cdc_node('primary', wal_keep_size => '1GB');
$primary->enable_archiving;
$primary->restart;
$primary->backup('before_enable');

sub write_some
{
	my ($node) = @_;
	$node->safe_psql($db, q(
		INSERT INTO t (v) SELECT 'row' FROM generate_series(1, 10);
		UPDATE t SET v = v || '+' WHERE id % 3 = 0;
		DELETE FROM t WHERE id % 7 = 1;));
	return;
}

$primary->safe_psql('postgres', "CREATE DATABASE $db");
$primary->safe_psql($db, 'CREATE TABLE t (id int GENERATED ALWAYS AS IDENTITY PRIMARY KEY, v text); CREATE EXTENSION cdc');
$primary->safe_psql('postgres', "SELECT pg_create_restore_point('not_enabled')");
$primary->safe_psql($db, 'CALL cdc.sp_cdc_enable_db()');
enable_table($primary, $db, 't');
write_some($primary);
wait_captured($primary, $db);
$primary->backup('base');
my $slot = $primary->safe_psql($db, q(SELECT 'cdc_' || oid FROM pg_database WHERE datname = current_database()));

# gap_there($node, $reason, $name): noticed by itself; then on with the call, and the truth on both sides of it.
sub gap_there
{
	my ($node, $reason, $name) = @_;
	local $Test::Builder::Level = $Test::Builder::Level + 1;
	wait_until(sub { slurp_file($node->logfile) =~ /LOG:  [^\n]*$reason/ }, "$name: the server log says nothing");
	$node->poll_query_until($db, q(SELECT count(*) = 1 FROM cdc.gaps WHERE end_lsn IS NULL)) or die 'no gap';
	like($node->safe_psql($db, 'SELECT reason || $$. $$ || detail FROM cdc.gaps WHERE end_lsn IS NULL'), $reason, "$name: a gap, recorded without a call");
	my $before = oracle_remember($node, $db, 'before');
	my $from = $node->safe_psql($db, 'SELECT start_lsn FROM cdc.gaps WHERE end_lsn IS NULL');
	write_some($node);
	$node->safe_psql($db, 'CALL cdc.resume_after_gap()');
	my $to = $node->safe_psql($db, 'SELECT end_lsn FROM cdc.gaps ORDER BY gap_id DESC LIMIT 1');
	my $after = oracle_remember($node, $db, 'after');
	write_some($node);
	wait_captured($node, $db);
	oracle_stretch_ok($node, $db, "$name: before the gap nothing is missing", to => $from, end => $before);
	oracle_stretch_ok($node, $db, "$name: after the gap nothing is missing", from => $to, begin => $after);
	my $stderr;
	$node->psql($db, q(SELECT * FROM cdc.fn_cdc_get_all_changes_public_t(cdc.fn_cdc_get_min_lsn('public_t'), cdc.fn_cdc_get_max_lsn(), 'all')), stderr => \$stderr);
	like($stderr, qr/changes of capture instance "public_t" are missing/, "$name: across it is refused");
	return;
}

# unharmed($name): the first server goes on as if nothing were.
sub unharmed
{
	my ($name) = @_;
	local $Test::Builder::Level = $Test::Builder::Level + 1;
	write_some($primary);
	oracle_ok($primary, $db, "$name: the first server is whole");
	is($primary->safe_psql($db, q(SELECT (SELECT count(*) FROM cdc.gaps) || ' ' || state FROM cdc.pg_stat_cdc WHERE database = current_database())), '0 streaming',
		"$name: without a gap");
	return;
}

# copy($name, $backup, %options): a server from a backup. What is in a backup that matters to a test is put there by with_slot.
sub copy
{
	my ($name, $backup, %options) = @_;
	my $node = PostgreSQL::Test::Cluster->new($name);
	my $settings = delete $options{settings};
	$node->init_from_backup($primary, $backup, %options);
	$node->append_conf('postgresql.conf', "archive_mode = off\n" . ($settings // ''));
	return $node;
}

sub put_slot
{
	my ($node, $from) = @_;
	PostgreSQL::Test::RecursiveCopy::copypath($from, $node->data_dir . "/pg_replslot/$slot");
	return;
}

# --- A base backup beside the first ---------------------------------------------------------------
my $beside = copy('beside', 'base');
$beside->start;
is($beside->safe_psql('postgres', 'SELECT system_identifier FROM pg_control_system()'), $primary->safe_psql('postgres', 'SELECT system_identifier FROM pg_control_system()'),
	'the copy has the same system identifier');
gap_there($beside, qr/is missing/, 'base backup');
unharmed('base backup beside it');
# Its own slot is a slot of its own: it survives what happens to the first.
$primary->safe_psql($db, 'CALL cdc.sp_cdc_stop_job(); CALL cdc.sp_cdc_start_job()');
$beside->restart;
write_some($beside);
wait_captured($beside, $db);
is($beside->safe_psql($db, 'SELECT count(*) FROM cdc.gaps WHERE end_lsn IS NULL'), '0', 'base backup: goes on after a restart');
$beside->stop;

# --- A base backup and a slot of another moment ---------------------------------------------------
# The slot as it is now is ahead of what the backup has captured.
write_some($primary);
oracle_ok($primary, $db, 'all is captured');
$primary->safe_psql($db, 'CALL cdc.sp_cdc_stop_job()');
$primary->stop;
my $newer = copy('newer', 'base');
put_slot($newer, $primary->data_dir . "/pg_replslot/$slot");
my $older = $primary->basedir . '/older_slot';
PostgreSQL::Test::RecursiveCopy::copypath($primary->data_dir . "/pg_replslot/$slot", $older);
$primary->start;
$primary->safe_psql($db, 'CALL cdc.sp_cdc_start_job()');
$newer->start;
gap_there($newer, qr/moved past|cannot be used/, 'a newer slot');
$newer->stop;
unharmed('a newer slot');

# A slot that is older than the backup: where the log it needs is there, it may go on; else not. Here it is not.
for (1 .. 3)
{
	write_some($primary);
	$primary->safe_psql('postgres', 'SELECT pg_switch_wal()');
}
wait_captured($primary, $db);
$primary->safe_psql('postgres', 'CHECKPOINT');
$primary->backup('later');
my $old = copy('old', 'later');
put_slot($old, $older);
$old->start;
gap_there($old, qr/cannot be used.*no longer the WAL/s, 'an older slot without its log');
$old->stop;
unharmed('an older slot');

# The same with its log: nothing is between slot and change tables, so it goes on, and is whole.
my $with_log = copy('with_log', 'later');
put_slot($with_log, $older);
for my $segment (glob $primary->data_dir . '/pg_wal/0000000*')
{
	my $name = basename($segment);
	next if -e $with_log->data_dir . "/pg_wal/$name";
	File::Copy::copy($segment, $with_log->data_dir . "/pg_wal/$name") or die "$segment: $!";
}
$with_log->start;
write_some($with_log);
oracle_ok($with_log, $db, 'an older slot with its log: the copy goes on and is whole');
is($with_log->safe_psql($db, 'SELECT count(*) FROM cdc.gaps'), '0', 'without a gap');
unharmed('an older slot with its log');
$with_log->stop;

# --- A copy of all files while the server runs ----------------------------------------------------
my $load_script = $primary->basedir . '/load.sql';
append_to_file($load_script, "INSERT INTO t (v) VALUES ('load');\n");
my $load = start_load($primary, $db, [ [ $load_script, 1 ] ], clients => 2, seconds => 60, rate => 200);
my $session = $primary->background_psql('postgres', on_error_die => 1, timeout => $PostgreSQL::Test::Utils::timeout_default);
$session->query_safe("SELECT pg_backup_start('hot', true);");
my $folder = $primary->backup_dir . '/hot';
# Others write meanwhile: a file may be gone before it is copied, so the program of the operating system does it.
mkdir $primary->backup_dir;
system('cp', '-a', '--', $primary->data_dir, $folder);
my $label = $session->query_safe('SELECT labelfile FROM pg_backup_stop(false);');
$session->quit;
finish_load($load, 1);
append_to_file("$folder/backup_label", "$label\n");
unlink "$folder/postmaster.pid", "$folder/postmaster.opts";
ok(-e "$folder/pg_replslot/$slot/state", 'a copy of all files has the slot');
wait_captured($primary, $db);
# The log to the end of the backup comes from the archive.
my $hot = copy('hot', 'hot', has_restoring => 1, standby => 0);
$hot->start;
$hot->poll_query_until($db, 'SELECT NOT pg_is_in_recovery()') or die 'recovery does not end';
$hot->poll_query_until($db, q(SELECT state IN ('streaming', 'needs action') FROM cdc.pg_stat_cdc WHERE database = current_database())) or die 'nobody looks';
if ($hot->safe_psql($db, 'SELECT count(*) FROM cdc.gaps') eq '0')
{
	write_some($hot);
	oracle_ok($hot, $db, 'a copy of all files goes on and is whole');
}
else
{
	gap_there($hot, qr/./, 'a copy of all files');
}
$hot->stop;
unharmed('a copy of all files');

# --- Recovery to a point in time ------------------------------------------------------------------
my %rows;
for my $point ('first', 'second')
{
	write_some($primary);
	wait_captured($primary, $db);
	$rows{$point} = $primary->safe_psql($db, 'SELECT count(*), md5(string_agg(t::text, $$,$$ ORDER BY id)) FROM t');
	$primary->safe_psql('postgres', "SELECT pg_create_restore_point('$point')");
}
# Between two batches: changes that are in the log, and not captured.
$primary->safe_psql($db, 'CALL cdc.sp_cdc_stop_job()');
write_some($primary);
$rows{between} = $primary->safe_psql($db, 'SELECT count(*), md5(string_agg(t::text, $$,$$ ORDER BY id)) FROM t');
$primary->safe_psql('postgres', "SELECT pg_create_restore_point('between')");
$primary->safe_psql($db, 'CALL cdc.sp_cdc_start_job()');
write_some($primary);
wait_captured($primary, $db);
$primary->safe_psql('postgres', 'SELECT pg_switch_wal()');
my $archived = $primary->safe_psql('postgres', 'SELECT pg_walfile_name(pg_current_wal_lsn() - 1)');
$primary->poll_query_until('postgres', "SELECT last_archived_wal >= '$archived' FROM pg_stat_archiver") or die 'not archived';

for my $point ('first', 'between')
{
	my $node = copy("to_$point", 'base', has_restoring => 1, standby => 0, settings => "recovery_target_name = '$point'\nrecovery_target_action = 'promote'\n");
	$node->start;
	$node->poll_query_until($db, 'SELECT NOT pg_is_in_recovery()') or die 'recovery does not end';
	is($node->safe_psql($db, 'SELECT count(*), md5(string_agg(t::text, $$,$$ ORDER BY id)) FROM t'), $rows{$point}, "recovered to \"$point\"");
	if ($point eq 'between')
	{
		# The rows of the source are there, their changes are in the gap: before it is the state of the point before.
		$node->poll_query_until($db, q(SELECT count(*) = 1 FROM cdc.gaps WHERE end_lsn IS NULL)) or die 'no gap';
		my $from = $node->safe_psql($db, 'SELECT start_lsn FROM cdc.gaps');
		my ($instance) = oracle_instances($node, $db);
		my $rebuilt = $node->safe_psql($db, qq(SELECT count(*), md5(string_agg(ROW(id, v)::text, ',' ORDER BY id)) FROM
			(SELECT DISTINCT ON (id) id, v, "__\$operation" AS o FROM $instance->{log} WHERE "__\$start_lsn" < '$from' AND "__\$operation" <> 3 ORDER BY id, "__\$start_lsn" DESC, "__\$seqval" DESC) l WHERE o <> 1));
		is($rebuilt, $rows{second}, 'what was captured rebuilds the rows as they were at the last batch');
		$node->safe_psql($db, 'CALL cdc.resume_after_gap()');
		write_some($node);
		wait_captured($node, $db);
		is(stat_value($node, $db, 'state'), 'streaming', 'and capture goes on behind the gap');
	}
	else
	{
		gap_there($node, qr/is missing/, "recovered to \"$point\"");
		is($node->safe_psql($db, 'SELECT timeline FROM cdc._identity'), '2', 'on a timeline of its own');
	}
	$node->stop;
}

# To a moment when the database existed and was not enabled: nothing of capture is there, and it can be enabled.
my $before = copy('to_not_enabled', 'before_enable', has_restoring => 1, standby => 0, settings => "recovery_target_name = 'not_enabled'\nrecovery_target_action = 'promote'\n");
$before->start;
$before->poll_query_until($db, 'SELECT NOT pg_is_in_recovery()') or die 'recovery does not end';
is($before->safe_psql($db, 'SELECT is_cdc_enabled FROM cdc.databases WHERE name = current_database()'), 'f', 'recovered to before it was enabled');
$before->safe_psql($db, 'CALL cdc.sp_cdc_enable_db()');
enable_table($before, $db, 't');
write_some($before);
oracle_ok($before, $db, 'enabled there, it is whole');
is($before->safe_psql($db, 'SELECT count(*) FROM cdc.gaps'), '0', 'without a gap');
$before->stop;

# To the end of the log, all the same without the slot.
my $end = copy('to_end', 'base', has_restoring => 1, standby => 0);
$end->start;
$end->poll_query_until($db, 'SELECT NOT pg_is_in_recovery()') or die 'recovery does not end';
gap_there($end, qr/is missing/, 'recovered to the end');
$end->stop;
unharmed('recovery beside it');
unlike(slurp_file($_->logfile), qr/PANIC|TRAP|terminated by signal/, $_->name . ': no crash') for $primary, $beside, $newer, $old, $with_log, $hot, $end;
$primary->stop;
done_testing();
