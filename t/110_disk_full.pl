# Full disks: the tablespace of change tables, temporary files (of the server, and of a tablespace), pg_replslot (what decoding spills), the data
# directory's own tablespace, pg_wal. The state says it, the source goes on where the server does, and when there is room again
# capture goes on by itself: nothing lost, nothing twice.
#
# tools/test makes two small file systems; a file that fills one is removed again to heal it.
use strict;
use warnings;

use FindBin;
use lib "$FindBin::RealBin/lib";

use CdcTest;
use PostgreSQL::Test::Utils;
use ReplayOracle;
use Test::More;

my @disks = split /:/, $ENV{CDC_TEST_DISKS} // '';
plan skip_all => 'there are no small file systems: tools/test makes them where it may mount' if @disks < 2;
my ($disk, $wal_disk) = @disks;

# leave_room($path, $kilobytes): fills the file system up to there. make_room: the opposite.
sub leave_room
{
	my ($path, $kilobytes) = @_;
	my ($available) = `df -k --output=avail $path` =~ /(\d+)\s*$/;
	my $size = ($available - $kilobytes) * 1024;
	system('fallocate', '-l', $size, "$path/filler") == 0 or die "cannot fill $path" if $size > 0;
	return;
}

sub make_room
{
	my ($path) = @_;
	unlink "$path/filler" or die "cannot make room in $path: $!";
	return;
}

my $node = cdc_node('disk_full', logical_decoding_work_mem => '64kB', temp_file_limit => '0', wal_keep_size => '0', max_wal_size => '64MB', min_wal_size => '32MB');
my $db = 'disks';

# move_to($path, $name): part of the data directory lives there from now on; the server is stopped.
sub move_to
{
	my ($path, $name) = @_;
	my $from = $node->data_dir . "/$name";
	system('mv', $from, "$path/$name") == 0 or die "cannot move $name";
	symlink "$path/$name", $from or die "cannot link $name: $!";
	return;
}

sub move_back
{
	my ($path, $name) = @_;
	my $to = $node->data_dir . "/$name";
	unlink $to or die "cannot unlink $name: $!";
	system('mv', "$path/$name", $to) == 0 or die "cannot move $name back";
	return;
}

cdc_create($node, $db);
mkdir "$disk/changes";
$node->safe_psql($db, qq(CREATE TABLESPACE small LOCATION '$disk/changes'));
$node->safe_psql($db, 'CREATE TABLE t (id int PRIMARY KEY, v text); CREATE TABLE other (id int PRIMARY KEY, v text)');
enable_table($node, $db, 't', filegroup_name => q('small'));
enable_table($node, $db, 'other');

my $round = 0;

# write_much(): some MB in one transaction, some rows in others, for both tables.
sub write_much
{
	my $from = ++$round * 10_000;
	$node->safe_psql($db, qq(
		INSERT INTO t SELECT $from + i, repeat(md5(i::text), 40) FROM generate_series(1, 4000) i;
		INSERT INTO other VALUES ($from, 'one');
		UPDATE t SET v = v || '+' WHERE id > $from AND id % 10 = 0;
		DELETE FROM t WHERE id > $from AND id % 3 = 0;));
	return;
}

# stands_still($pattern, $name): capture has failed for want of room, says so, and the source goes on.
sub stands_still
{
	my ($pattern, $name) = @_;
	local $Test::Builder::Level = $Test::Builder::Level + 1;
	$node->poll_query_until($db, q(SELECT last_error_code = '53100' AND failures > 0 FROM cdc.pg_stat_cdc WHERE database = current_database())) or die "$name: not noticed";
	like(stat_value($node, $db, q(concat_ws(' ', last_error_message, last_error_hint))), $pattern, "$name: the state says so");
	like($node->safe_psql($db, q(SELECT string_agg(concat_ws(' ', status, detail, action), '') FROM cdc.health() WHERE check_name = 'capture_worker' AND status <> 'ok')), qr/No space left/, "$name: health, too");
	cmp_ok($node->safe_psql($db, q(SELECT count(*) FROM cdc.dm_cdc_errors WHERE sqlstate = '53100')), '>', 0, "$name: and the error is there");
	return;
}

sub goes_on
{
	my ($name) = @_;
	local $Test::Builder::Level = $Test::Builder::Level + 1;
	my $postmaster = (slurp_file($node->data_dir . '/postmaster.pid') =~ /^(\d+)/)[0];
	oracle_ok($node, $db, "$name: with room again, nothing is lost");
	is(stat_value($node, $db, q(state || ' ' || failures)), 'streaming 0', "$name: capture runs");
	is($node->safe_psql($db, 'SELECT count(*) FROM cdc.gaps'), '0', "$name: no gap");
	is((slurp_file($node->data_dir . '/postmaster.pid') =~ /^(\d+)/)[0], $postmaster, "$name: the server was not restarted");
	return;
}

# --- The tablespace of change tables --------------------------------------------------------------
write_much();
wait_captured($node, $db);
leave_room($disk, 1000);
write_much();
stands_still(qr/could not extend file "pg_tblspc.*No space left on device.*free disk space/, 'tablespace of change tables');
write_much();
make_room($disk);
# The oracle sorts: temp_file_limit is for the others.
$node->safe_psql('postgres', q(ALTER SYSTEM SET temp_file_limit = -1));
$node->reload;
goes_on('tablespace of change tables');

# --- Temporary files ------------------------------------------------------------------------------
# Those of readers, who are told. Capture, cleanup and enabling need none.
mkdir "$wal_disk/pgsql_tmp";
mkdir "$wal_disk/temporary";
my $temporary = $node->data_dir . '/base/pgsql_tmp';
rmdir $temporary if -e $temporary;
symlink "$wal_disk/pgsql_tmp", $temporary or die "cannot link pgsql_tmp: $!";
$node->safe_psql('postgres', qq(CREATE TABLESPACE temporary LOCATION '$wal_disk/temporary'));
for my $place ('', 'temporary')
{
	my $name  = $place ? 'temp_tablespaces' : 'base/pgsql_tmp';
	my $extra = "extra$place";
	my $sort = qq(SET temp_tablespaces = '$place'; SET work_mem = '64kB'; SET enable_hashagg = off;
		SELECT count(*) > 1000 FROM (SELECT DISTINCT v, id FROM cdc.fn_cdc_get_all_changes_public_t(cdc.fn_cdc_get_min_lsn('public_t'), cdc.fn_cdc_get_max_lsn(), 'all') ORDER BY 1) r);
	my $aggregate = qq(SET temp_tablespaces = '$place'; SET work_mem = '64kB'; SET hash_mem_multiplier = 1;
		SELECT count(*) > 1000 FROM cdc.fn_cdc_get_net_changes_public_t(cdc.fn_cdc_get_min_lsn('public_t'), cdc.fn_cdc_get_max_lsn(), 'all'));
	leave_room($wal_disk, 100);
	for my $sql ($sort, $aggregate)
	{
		isnt($node->psql($db, $sql, stderr => \my $stderr), 0, "$name full: a reader that spills fails");
		like($stderr, qr/could not write to file "(base\/pgsql_tmp|pg_tblspc).*No space left on device/, "$name full: and is told");
	}
	write_much();
	$node->safe_psql($db, qq(CREATE TABLE $extra (id int PRIMARY KEY); ALTER SYSTEM SET temp_tablespaces = '$place'; SELECT pg_reload_conf()));
	enable_table($node, $db, $extra);
	$node->safe_psql($db, qq(INSERT INTO $extra SELECT generate_series(1, 1000); CALL cdc.sp_cdc_start_job('cleanup')));
	wait_captured($node, $db);
	is($node->safe_psql($db, "SELECT count(*) FROM cdc.public_${extra}_ct"), '1000', "$name full: capture and enabling go on");
	ok($node->poll_query_until($db, q(SELECT status = 'succeeded' FROM cdc.cleanup_runs ORDER BY run_id DESC LIMIT 1)), "$name full: cleanup, too");
	make_room($wal_disk);
	is($node->safe_psql($db, $_), 't', "$name: with room again readers spill") for $sort, $aggregate;
	goes_on($name);
}
$node->safe_psql('postgres', 'ALTER SYSTEM RESET temp_tablespaces; SELECT pg_reload_conf()');
$node->safe_psql('postgres', 'DROP TABLESPACE temporary');
unlink $temporary or die "cannot unlink pgsql_tmp: $!";

# --- What decoding spills -------------------------------------------------------------------------
$node->stop;
move_to($disk, 'pg_replslot');
$node->start;
wait_for_worker($node, 'cdc decoder', $db);
wait_captured($node, $db);
leave_room($disk, 300);
write_much();
stands_still(qr/could not write to data file.*No space left on device/, 'pg_replslot');
write_much();
make_room($disk);
goes_on('pg_replslot');
$node->stop;
move_back($disk, 'pg_replslot');

# --- The data directory's own tablespace ----------------------------------------------------------
# Where the source writes, too: its commands fail by themselves, and those that have committed are captured.
move_to($disk, 'base');
$node->start;
wait_for_worker($node, 'cdc decoder', $db);
$node->safe_psql($db, 'CALL cdc.sp_cdc_stop_job()');
write_much();
$node->safe_psql($db, 'VACUUM t; CHECKPOINT');
leave_room($disk, 200);
$node->safe_psql($db, 'CALL cdc.sp_cdc_start_job()');
stands_still(qr/No space left on device/, 'the main tablespace');
make_room($disk);
write_much();
goes_on('the main tablespace');
$node->stop;
move_back($disk, 'base');

# --- pg_wal ---------------------------------------------------------------------------------------
# The server itself cannot go on: it panics. Whatever it has committed is captured when there is room again.
move_to($wal_disk, 'pg_wal');
# Segments that are kept for new log would let the load go on, until there is no room for what capture writes of it.
$node->append_conf('postgresql.conf', "restart_after_crash = off\nwal_recycle = off");
$node->start;
wait_for_worker($node, 'cdc decoder', $db);
write_much();
# What has been captured has to leave the disk first: as much as is filled now there will be room for later.
my $small = 0;
wait_until(
	sub {
		$small--;
		$node->safe_psql($db, "CHECKPOINT; INSERT INTO other VALUES ($small, 'moves the slot on')");
		wait_captured($node, $db);
		return $node->safe_psql($db, q(SELECT pg_current_wal_lsn() - restart_lsn < 4000000 FROM pg_replication_slots)) eq 't';
	},
	'the slot moves on');
# From the beginning of a segment of 16 MB, and with room for two more: write_much writes 30 MB, then it becomes full.
$node->safe_psql($db, 'SELECT pg_switch_wal()');
$node->safe_psql($db, 'CHECKPOINT');
leave_room($wal_disk, 40_000);
$node->safe_psql($db, 'CALL cdc.sp_cdc_stop_job()');
write_much();
like($node->safe_psql($db, q(SELECT concat_ws(' ', status, detail, action) FROM cdc.health() WHERE check_name = 'wal_disk')),
	qr/free in pg_wal/, 'pg_wal: health looks at its file system');
my $acknowledged = 0;
while ($round < 200)
{
	last if $node->psql($db, "INSERT INTO other SELECT 1000000 + $round * 1000 + i, repeat('x', 2000) FROM generate_series(1, 500) i", stderr => \my $ignored) != 0;
	$round++;
	$acknowledged++;
}
wait_until(sub { slurp_file($node->logfile) =~ /PANIC:.*No space left on device/ }, 'pg_wal is never full');
cmp_ok($acknowledged, '>', 0, 'pg_wal: full in the middle of the load');
wait_until(sub { !server_processes($node, qr/./) }, 'the server has not ended');
$node->{_pid} = undef;
make_room($wal_disk);
$node->start;
is($node->safe_psql($db, q(SELECT count(*) FROM other WHERE id >= 1000000)) >= $acknowledged * 500 ? 'all' : 'not all', 'all', 'pg_wal: what was acknowledged is there');
$node->safe_psql($db, 'CALL cdc.sp_cdc_start_job()');
write_much();
goes_on('pg_wal');
$node->stop;
move_back($wal_disk, 'pg_wal');
$node->start;
oracle_ok($node, $db, 'after all');
$node->stop;

unlike(slurp_file($node->logfile), qr/TRAP|was terminated by signal (?!6)/, 'no failed assertion');
done_testing();
