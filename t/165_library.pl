# The library and the extension are of different versions; the library is replaced and removed, on a running server and
# with slots left behind; the steps of docs/operations.md, "Replacing and removing the library". The server is a copy of the
# installation, so that files can be changed.
use strict;
use warnings;

use FindBin;
use lib "$FindBin::RealBin/lib";

use CdcTest;
use File::Basename;
use File::Copy;
use PostgreSQL::Test::Utils;
use ReplayOracle;
use Test::More;

my $db = 'postgres';

# A copy of the installation: programs find what is theirs from where they lie, so only they must be files of their own.
my $top    = PostgreSQL::Test::Utils::tempdir();
my %former = map { my $path = `pg_config --$_`; chomp $path; ($_ => $path) } qw(bindir sharedir pkglibdir);
for my $part (qw(sharedir pkglibdir bindir))
{
	system_or_bail('mkdir', '-p', "$top$former{$part}");
	system_or_bail('cp', $part eq 'bindir' ? '-rL' : '-rs', "$former{$part}/.", "$top$former{$part}");
}
my $library = "$top$former{pkglibdir}/cdc.so";
my $scripts = "$top$former{sharedir}/extension";
my $whole   = slurp_file("$former{pkglibdir}/cdc.so");
for my $file ("$former{pkglibdir}/cdc.so", glob("$former{sharedir}/extension/cdc*"))
{
	my $copy = "$top$file";
	unlink $copy;
	copy($file, $copy) or die "$copy: $!";
}
unlink glob("$scripts/cdc--1.0*--*.sql");

# put_library($version, $oldest): as a package does it, a new file in place of the former one.
sub put_library
{
	my ($version, $oldest) = @_;
	my $bytes = $whole;
	$bytes =~ s/cdc library \d\.\d serves from \d\.\d/cdc library $version serves from $oldest/ or die 'no version in the library';
	open my $file, '>:raw', "$library.new" or die $!;
	print $file $bytes;
	close $file;
	rename "$library.new", $library or die $!;
	return;
}

# put_extension($from, $to): a script and the control file of another version.
sub put_extension
{
	my ($from, $to) = @_;
	open my $script, '>', "$scripts/cdc--$from--$to.sql" or die $!;
	print $script "SELECT cdc._require_library('$to');\n";
	close $script;
	my $control = slurp_file("$scripts/cdc.control");
	$control =~ s/^default_version.*/default_version = '$to'/m;
	open my $file, '>', "$scripts/cdc.control" or die $!;
	print $file $control;
	close $file;
	return;
}

my $node = cdc_node('library', -install_path => dirname("$top$former{bindir}"));

sub state { return stat_value($node, $db, 'state') }
sub version { return $node->safe_psql($db, "SELECT status, value, action FROM cdc.health() WHERE check_name = 'version'") }
sub change { $node->safe_psql($db, "INSERT INTO t SELECT max(id) + 1, 'x' FROM t; UPDATE t SET v = 'y' WHERE id % 3 = 0"); return }

sub error_of
{
	my ($sql, $where) = @_;
	my (undef, undef, $error) = $node->psql($where // $db, $sql);
	return $error;
}

sub whole { wait_captured($node, $db); oracle_ok($node, $db, $_[0]); return }

cdc_create($node, $db);
$node->safe_psql($db, q(CREATE TABLE t (id int PRIMARY KEY, v text)));
enable_table($node, $db, 't');
$node->safe_psql($db, q(INSERT INTO t VALUES (1, 'x')));
wait_captured($node, $db);
is(version(), 'ok|library 1.0, extension 1.0|', 'library and extension as they are installed');

# 1. Replaced on a running server: nothing happens before the restart, also not in new processes.
put_library('1.1', '1.0');
my $writer = wait_for_worker($node, 'cdc capture worker', $db);
$node->safe_psql($db, "SELECT pg_terminate_backend($writer)");
wait_for_worker($node, 'cdc capture worker', $db, $writer);
change();
wait_captured($node, $db);
is(version(), 'ok|library 1.0, extension 1.0|', 'replaced: new sessions and workers still run what the server has loaded');
put_extension('1.0', '1.1');
like(error_of('ALTER EXTENSION cdc UPDATE'), qr/the library of extension "cdc" is too old for it.*is 1\.1.*restart the server/s, 'the extension cannot get ahead of it');
$node->safe_psql($db, 'CREATE DATABASE other');
like(error_of('CREATE EXTENSION cdc', 'other'), qr/the library of extension "cdc" is too old for it/, 'nor be made ahead of it');
change();
wait_captured($node, $db);
$node->restart;
change();
is(version(), 'warning|library 1.1, extension 1.0|ALTER EXTENSION cdc UPDATE;', 'after the restart it serves the former extension');
whole('with a newer library');
$node->safe_psql($db, 'ALTER EXTENSION cdc UPDATE');
is(version(), 'ok|library 1.1, extension 1.1|', 'updated');
change();
whole('updated');

# 2. A library that is too old, and one that is too new, for the extension.
my %too = (
	old => [ '1.0', '1.0', qr/the library of extension "cdc" is too old for it.*The library that runs is 1\.0.*extension in database "postgres" is 1\.1.*Install the library of version 1\.1/s ],
	new => [ '2.0', '2.0', qr/extension "cdc" is too old for its library.*The library that runs is 2\.0 and serves versions from 2\.0 on.*ALTER EXTENSION cdc UPDATE/s ]);
for my $how (qw(old new))
{
	my ($version, $oldest, $message) = @{ $too{$how} };
	$node->stop;
	put_library($version, $oldest);
	$node->start;
	$node->poll_query_until($db, "SELECT state = 'needs action' FROM cdc.pg_stat_cdc WHERE database = '$db'") or die 'not noticed';
	like($node->safe_psql($db, 'SELECT concat_ws(chr(10), last_error_message, last_error_detail, last_error_hint) FROM cdc.pg_stat_cdc'), $message, "too $how: the worker says so");
	for my $call (
		'CALL cdc.sp_cdc_enable_db()', 'CALL cdc.sp_cdc_disable_db()', q(CALL cdc.sp_cdc_enable_table('public', 't', NULL, 'again')), q(CALL cdc.sp_cdc_disable_table('public', 't', 'all')), 'CALL cdc.sp_cdc_start_job()', 'CALL cdc.sp_cdc_stop_job()',
		'CALL cdc.sp_cdc_scan()', 'CALL cdc.wait_for_capture()', 'CALL cdc.resume_after_gap()', 'CALL cdc.discard_kept_wal(true)', q(CALL cdc.sp_cdc_change_job(maxtrans => 1)), q(CALL cdc.sp_cdc_drop_job('cleanup')), q(CALL cdc.sp_cdc_cleanup_change_table('public_t', NULL)), q(CALL cdc.renew_query_functions('public_t')),
		q(SELECT * FROM cdc.fn_cdc_get_all_changes_public_t('0/1', '0/2', 'all')), q(SELECT cdc.fn_cdc_get_min_lsn('public_t')), q(SELECT cdc.fn_cdc_get_column_ordinal('public_t', 'id')), q(SELECT cdc.fn_cdc_has_column_changed('public_t', 'id', '\x01')), 'SELECT * FROM cdc.sp_cdc_help_change_data_capture()',
		q(SELECT * FROM cdc.sp_cdc_get_captured_columns('public_t')), q(SELECT * FROM cdc.sp_cdc_get_ddl_history('public_t')), 'SELECT * FROM cdc.sp_cdc_help_jobs()', 'SELECT * FROM cdc.sp_cdc_generate_wrapper_function()', 'DROP EXTENSION cdc')
	{
		like(error_of($call), $message, "too $how: $call");
	}
	like(version(), qr/^critical\|/, "too $how: health");
	change();
	like(error_of("ALTER TABLE t ADD COLUMN $how int"), qr/WARNING.*could not follow this command: .*too old for.*The command itself is not affected/s, "too $how: DDL is warned");
	is($node->safe_psql($db, q(SELECT active FROM pg_replication_slots)), 'f', "too $how: the slot keeps the log");
	if ($how eq 'old')
	{
		$node->stop;
		put_library('1.1', '1.0');
		$node->start;
	}
	else
	{
		put_extension('1.1', '2.0');
		$node->safe_psql($db, 'ALTER EXTENSION cdc UPDATE');
		$node->safe_psql($db, 'CALL cdc.sp_cdc_start_job()');
	}
	whole("too $how: nothing is lost when it has been put right");
}
is(version(), 'ok|library 2.0, extension 2.0|', 'put right');

# 3. The file is gone: what runs goes on, and what has to look for a function of ours fails, also with the library in memory.
my $seen = 'SELECT count(*) FROM cdc.public_t_ct';
unlink $library or die $!;
my $former = $node->safe_psql($db, $seen);
change();
$node->poll_query_until($db, "SELECT ($seen) > $former") or die 'not captured';
pass('the file is gone: workers that run go on');
like(error_of('CREATE TABLE x ()'), qr/could not access file "(\$libdir\/)?cdc"/, 'but not the event triggers');
like(error_of('CALL cdc.wait_for_capture()'), qr/could not access file "(\$libdir\/)?cdc"/, 'nor any call');
put_library('2.0', '2.0');
change();
whole('put back: nothing else to do');
unlink $library or die $!;
$node->stop;
is($node->start(fail_ok => 1), 0, 'gone again: the server does not start');
like(slurp_file($node->logfile), qr/could not access file "cdc": No such file/, 'and says why');

# 4. Started without it: the slot keeps the log, commands fail, rows can be written.
$node->append_conf('postgresql.conf', q(shared_preload_libraries = ''));
$node->start;
like(error_of('CREATE TABLE x ()'), qr/could not access file/, 'without file and preloading: the event triggers cannot run');
change();
is($node->safe_psql($db, q(SELECT plugin, active FROM pg_replication_slots)), 'cdc|f', 'the slot is still there');
like(error_of('SELECT * FROM cdc.health()'), qr/could not access file/, 'health() cannot say it');

# 5. The file is back, but not preloaded.
put_library('2.0', '2.0');
is($node->safe_psql($db, q(SELECT status, value FROM cdc.health() WHERE check_name = 'settings')), 'critical|wal_level logical, not preloaded', 'the file is back: health() says what is missing');
like(error_of('CALL cdc.wait_for_capture()'), qr/cdc is not preloaded/, 'calls say it, too');
$node->safe_psql($db, 'CREATE TABLE x ()');
is($node->safe_psql($db, q(SELECT active FROM pg_replication_slots)), 'f', 'the slot keeps the log');
change();
$node->stop;
$node->append_conf('postgresql.conf', q(shared_preload_libraries = 'cdc'));
$node->start;
change();
whole('preloaded again: everything since is captured');

# 6. Removing it from a running system, where it is preloaded, where it is not, and where the file is gone.
sub left
{
	return $node->safe_psql($db, q(
		SELECT 'slot ' || slot_name FROM pg_replication_slots UNION ALL SELECT 'origin ' || roname FROM pg_replication_origin
		UNION ALL SELECT 'schema' FROM pg_namespace WHERE nspname = 'cdc' UNION ALL SELECT 'function ' || proname FROM pg_proc WHERE probin LIKE '%cdc%'
		UNION ALL SELECT 'trigger ' || evtname FROM pg_event_trigger UNION ALL SELECT 'identity of ' || relname FROM pg_class WHERE relreplident <> 'd' AND relname = 't'));
}
sub again
{
	$node->safe_psql($db, 'CREATE EXTENSION cdc');
	$node->safe_psql($db, 'CALL cdc.sp_cdc_enable_db()');
	$node->safe_psql($db, 'TRUNCATE t');
	enable_table($node, $db, 't');
	$node->safe_psql($db, q(INSERT INTO t VALUES (1, 'x')));
	return;
}
copy("$former{sharedir}/extension/cdc.control", "$scripts/cdc.control");
put_extension('1.0', '2.0');
$node->safe_psql($db, 'CALL cdc.sp_cdc_disable_db()');
$node->safe_psql($db, 'DROP EXTENSION cdc');
is(left(), '', 'removed while it is preloaded');
put_library('2.0', '1.0');
$node->restart;
again();
whole('installed again');

$node->stop;
$node->append_conf('postgresql.conf', q(shared_preload_libraries = ''));
$node->start;
$node->safe_psql($db, 'CALL cdc.sp_cdc_disable_db()');
$node->safe_psql($db, 'DROP EXTENSION cdc');
is(left(), '', 'removed without preloading');

$node->append_conf('postgresql.conf', q(shared_preload_libraries = 'cdc'));
$node->restart;
again();
whole('installed once more');
$node->stop;
unlink $library or die $!;
$node->append_conf('postgresql.conf', q(shared_preload_libraries = ''));
$node->start;
$node->safe_psql($db, q(
	ALTER EVENT TRIGGER cdc_ddl_command_start DISABLE; ALTER EVENT TRIGGER cdc_ddl_command_end DISABLE; ALTER EVENT TRIGGER cdc_sql_drop DISABLE;
	SELECT format('ALTER TABLE %s REPLICA IDENTITY DEFAULT;', source_object_id::regclass) FROM cdc._replica_identity WHERE former = 'd' \gexec
	DROP EXTENSION cdc;));
$node->safe_psql($db, q(SELECT pg_drop_replication_slot(slot_name) FROM pg_replication_slots WHERE plugin = 'cdc'));
$node->safe_psql($db, q(SELECT pg_replication_origin_drop(roname) FROM pg_replication_origin WHERE roname ~ '^cdc_[0-9]+$'));
is(left(), '', 'removed without the file');
$node->safe_psql($db, 'CREATE TABLE y (); DROP TABLE x, y');
$node->stop;
done_testing();
