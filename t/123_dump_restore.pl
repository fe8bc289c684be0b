# Logical copies: pg_dump in each format, with the options people use, and pg_dumpall, of captured databases into an empty server and
# into databases that are captured themselves, always stopping at the first error. And copies of a whole database with
# CREATE DATABASE ... TEMPLATE in both strategies, renaming and moving it to another tablespace.
use strict;
use warnings;

use FindBin;
use lib "$FindBin::RealBin/lib";

use CdcTest;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use ReplayOracle;
use Test::More;

my $db = 'dumped';
my $node = cdc_node('one');
cdc_create($node, $db);
$node->safe_psql($db, q(
	CREATE ROLE reader; CREATE ROLE owner_of_it LOGIN; CREATE SCHEMA app AUTHORIZATION owner_of_it;
	CREATE TABLE t (id int GENERATED ALWAYS AS IDENTITY PRIMARY KEY, v text, w bigint GENERATED ALWAYS AS (length(v)) STORED);
	CREATE TABLE app."Odd ""name" (a int NOT NULL CONSTRAINT odd_key UNIQUE, b text); ALTER TABLE app."Odd ""name" OWNER TO owner_of_it;
	ALTER TABLE app."Odd ""name" REPLICA IDENTITY USING INDEX odd_key;
	CREATE TABLE p (id int PRIMARY KEY, v text) PARTITION BY RANGE (id);
	CREATE TABLE p1 PARTITION OF p FOR VALUES FROM (0) TO (10);
	CREATE TABLE p2 PARTITION OF p DEFAULT;
	GRANT SELECT ON t TO reader;));
enable_table($node, $db, $_) for qw(t p);
$node->safe_psql($db, q(CALL cdc.sp_cdc_enable_table('app', 'Odd "name', 'gate', supports_net_changes => true, index_name => 'odd_key')));
$node->safe_psql($db, q(SELECT create_script FROM cdc.sp_cdc_generate_wrapper_function('public_t') \gexec));

my $round = 0;

sub write_some
{
	my ($where, $name) = @_;
	$round++;
	$where->safe_psql($name, qq(
		INSERT INTO t (v) SELECT repeat('row', $round) FROM generate_series(1, 10);
		UPDATE t SET v = v || '+' WHERE id % 3 = 0;
		DELETE FROM t WHERE id % 7 = 1;
		INSERT INTO p SELECT 100 * $round + i, 'p' FROM generate_series(1, 20) i;
		UPDATE p SET v = v || '+' WHERE id % 5 = 0;
		INSERT INTO app."Odd ""name" SELECT 100 * $round + i, 'odd' FROM generate_series(1, 5) i;
		DELETE FROM app."Odd ""name" WHERE a % 2 = 0;));
	return;
}

write_some($node, $db);
# History and a kept physical column, so that there is more to leave out.
$node->safe_psql($db, 'ALTER TABLE t ADD COLUMN x int; ALTER TABLE p ALTER v TYPE varchar(300)');
write_some($node, $db);
wait_captured($node, $db);

my $rows = q(SELECT (SELECT md5(string_agg(t::text, ',' ORDER BY id)) FROM t), (SELECT md5(string_agg(p::text, ',' ORDER BY id)) FROM p), (SELECT md5(string_agg(o::text, ',' ORDER BY a)) FROM app."Odd ""name" o));
my $captured = q(SELECT (SELECT count(*) FROM cdc.change_tables) || ' ' || (SELECT count(*) FROM pg_class WHERE relnamespace = 'cdc'::regnamespace AND relname ~ '_ct$|^_ct_')
	|| ' ' || (SELECT count(*) FROM pg_proc WHERE pronamespace = 'cdc'::regnamespace AND proname ~ '_changes_'));

# use_it($where, $name, $what): what was restored can be captured, from the beginning, and is whole.
sub use_it
{
	my ($where, $name, $what) = @_;
	local $Test::Builder::Level = $Test::Builder::Level + 1;
	$where->safe_psql($name, 'CALL cdc.sp_cdc_enable_db()');
	enable_table($where, $name, $_) for qw(t p);
	$where->safe_psql($name, q(CALL cdc.sp_cdc_enable_table('app', 'Odd "name', 'gate')));
	my $base = oracle_remember($where, $name, 'base');
	write_some($where, $name);
	oracle_ok($where, $name, "$what: enabled there, it is whole", baseline => $base);
	$where->safe_psql($name, 'CALL cdc.sp_cdc_disable_db()');
	return;
}

# --- pg_dump and pg_restore, into a server that knows nothing --------------------------------------
my $other = cdc_node('two');
$other->safe_psql('postgres', 'CREATE ROLE reader; CREATE ROLE owner_of_it LOGIN; CREATE ROLE gate');
my $folder = $node->basedir;
my @cases = (
	[ 'plain', ['-Fp'], undef ],
	[ 'custom', ['-Fc'], [] ],
	[ 'directory, parallel', [ '-Fd', '-j2' ], ['-j2'] ],
	[ 'clean', ['-Fc'], [ '--clean', '--if-exists' ] ],
	[ 'schema first, then data', ['-Fc'], 'twice' ]);
for my $case (@cases)
{
	my ($what, $dump_options, $restore_options) = @$case;
	(my $name = $what) =~ s/\W+/_/g;
	$node->command_ok([ 'pg_dump', @$dump_options, '-f', "$folder/$name", $node->connstr($db) ], "$what: dumped while it is captured");
	$other->safe_psql('postgres', "CREATE DATABASE $name");
	my @restore = ('pg_restore', '--exit-on-error', '-d', $other->connstr($name));
	if (!defined $restore_options)
	{
		$other->command_ok([ 'psql', '-qX', '-v', 'ON_ERROR_STOP=1', '-f', "$folder/$name", $other->connstr($name) ], "$what: restored");
	}
	elsif (!ref $restore_options)
	{
		$other->command_ok([ @restore, "--section=$_", "$folder/$name" ], "$what: $_") for 'pre-data', 'data', 'post-data';
	}
	else
	{
		$other->command_ok([ @restore, @$restore_options, "$folder/$name" ], "$what: restored");
	}
	is($other->safe_psql($name, $rows), $node->safe_psql($db, $rows), "$what: all rows");
	is($other->safe_psql($name, $captured), '0 0 0', "$what: nothing of the captured changes");
	is($other->safe_psql($name, q(SELECT string_agg(proname, ' ' ORDER BY proname) FROM pg_proc WHERE pronamespace = 'public'::regnamespace)), 'fn_all_changes_public_t fn_net_changes_public_t', "$what: functions of users");
	is($other->safe_psql($name, q(SELECT count(*) FROM cdc.health() WHERE status = 'critical')), '0', "$what: health has no alarm");
}
use_it($other, 'plain', 'plain');
use_it($other, 'schema_first_then_data', 'schema first, then data');

# One schema only; without the extension the target does not need it.
$node->command_ok([ 'pg_dump', '-Fc', '--schema=app', '-f', "$folder/app", $node->connstr($db) ], 'one schema: dumped');
$other->safe_psql('postgres', 'CREATE DATABASE one_schema');
$other->command_ok([ 'pg_restore', '--exit-on-error', '-d', $other->connstr('one_schema'), "$folder/app" ], 'one schema: restored');
is($other->safe_psql('one_schema', q(SELECT count(*) > 0 FROM app."Odd ""name")), 't', 'one schema: rows');
is($other->safe_psql('one_schema', q(SELECT count(*) FROM pg_extension WHERE extname = 'cdc')), '0', 'one schema: no extension');

# --- Into a database that is captured itself --------------------------------------------------------
# Data only, into the same tables: it is captured as what it is, inserted rows.
$other->safe_psql('clean', 'TRUNCATE t, p, app."Odd ""name"; CALL cdc.sp_cdc_enable_db()');
enable_table($other, 'clean', $_) for qw(t p);
$other->safe_psql('clean', q(CALL cdc.sp_cdc_enable_table('app', 'Odd "name', 'gate')));
$other->command_ok([ 'pg_restore', '--exit-on-error', '--data-only', '--schema=public', '--schema=app', '-d', $other->connstr('clean'), "$folder/custom" ], 'data only: restored into captured tables');
is($other->safe_psql('clean', $rows), $node->safe_psql($db, $rows), 'data only: all rows');
oracle_ok($other, 'clean', 'data only: and captured');
# --clean drops what identifies captured rows: refused, with what to call first. After that it works.
command_fails_like([ 'pg_restore', '--exit-on-error', '--single-transaction', '--clean', '--if-exists', '-d', $other->connstr('clean'), "$folder/custom" ],
	qr/cannot drop constraint "t_pkey" of captured table.*HINT:  Disable the instance first/s, 'clean: refused over a captured database');
$other->safe_psql('clean', q(INSERT INTO t (v) VALUES ('still')));
oracle_ok($other, 'clean', 'clean: and nothing has happened');
$other->safe_psql('clean', 'CALL cdc.sp_cdc_disable_db()');
# What pg_dump writes to drop the key of a partition is refused by the server itself.
$other->safe_psql('clean', 'DROP TABLE p');
$other->command_ok([ 'pg_restore', '--exit-on-error', '--clean', '--if-exists', '-d', $other->connstr('clean'), "$folder/custom" ], 'clean: restored when it is disabled');
is($other->safe_psql('clean', $rows), $node->safe_psql($db, $rows), 'clean: all rows');
is($other->safe_psql('clean', $captured), '0 0 0', 'clean: nothing of what was captured there');
$other->poll_query_until('postgres', q(SELECT count(*) = 0 FROM pg_replication_slots WHERE database = 'clean')) or die 'the slot stays';
use_it($other, 'clean', 'clean');
$other->stop;

# --- pg_dumpall -----------------------------------------------------------------------------------
$node->command_ok([ 'pg_dumpall', '-f', "$folder/all", '-d', $node->connstr('postgres') ], 'pg_dumpall');
my $third = cdc_node('three');
my $superuser = $node->safe_psql('postgres', 'SELECT current_user');
# The role of this session exists everywhere.
my $all = slurp_file("$folder/all");
$all =~ s/^CREATE ROLE "?\Q$superuser\E"?;$//m;
append_to_file("$folder/all_but_me", $all);
$third->command_ok([ 'psql', '-qX', '-v', 'ON_ERROR_STOP=1', '-f', "$folder/all_but_me", $third->connstr('postgres') ], 'pg_dumpall: restored');
is($third->safe_psql($db, $rows), $node->safe_psql($db, $rows), 'pg_dumpall: all rows');
is($third->safe_psql($db, $captured), '0 0 0', 'pg_dumpall: nothing of the captured changes');
use_it($third, $db, 'pg_dumpall');
$third->stop;
oracle_ok($node, $db, 'dumping has not disturbed the first', instances => [ grep { $_->{name} ne 'app_Odd "name' } oracle_instances($node, $db) ], whole => 0);

# --- CREATE DATABASE ... TEMPLATE, rename, move ----------------------------------------------------
my $stderr;
$node->psql('postgres', "CREATE DATABASE copy TEMPLATE $db", stderr => \$stderr);
like($stderr, qr/is being captured.*sp_cdc_stop_job/s, 'a captured database is no template while capture runs');
for my $strategy ('wal_log', 'file_copy')
{
	$node->safe_psql($db, 'CALL cdc.sp_cdc_stop_job()');
	write_some($node, $db);
	$node->safe_psql('postgres', "CREATE DATABASE copy_$strategy TEMPLATE $db STRATEGY $strategy");
	$node->safe_psql($db, 'CALL cdc.sp_cdc_start_job()');
	write_some($node, $db);
	oracle_ok($node, $db, "$strategy: the template is whole");
	is($node->safe_psql($db, 'SELECT count(*) FROM cdc.gaps'), '0', "$strategy: and has no gap");
}
# Nobody has called anything in the copies: a restart of the server finds them.
$node->restart;
for my $strategy ('wal_log', 'file_copy')
{
	my $name = "copy_$strategy";
	$node->poll_query_until($name, q(SELECT count(*) = 1 FROM cdc.gaps WHERE end_lsn IS NULL)) or die 'the copy is not found';
	like($node->safe_psql($name, q(SELECT reason FROM cdc.gaps)), qr/is a copy of one that was enabled/, "$strategy: the copy says so by itself after a restart");
	my $before = $node->safe_psql($name, 'SELECT start_lsn FROM cdc.gaps');
	$node->safe_psql($name, 'CALL cdc.resume_after_gap()');
	my $after = oracle_remember($node, $name, 'after');
	write_some($node, $name);
	wait_captured($node, $name);
	oracle_stretch_ok($node, $name, "$strategy: the copy is whole behind its gap", from => $node->safe_psql($name, 'SELECT end_lsn FROM cdc.gaps'), begin => $after);
}
wait_captured($node, $db);
my $tablespace = $node->basedir . '/space';
mkdir $tablespace or die;
$node->safe_psql('postgres', "CREATE TABLESPACE space LOCATION '$tablespace'");
$node->psql('postgres', "ALTER DATABASE $db RENAME TO renamed", stderr => \$stderr);
like($stderr, qr/is being captured.*sp_cdc_stop_job/s, 'no renaming while capture runs');
$node->safe_psql($db, 'CALL cdc.sp_cdc_stop_job()');
write_some($node, $db);
$node->safe_psql('postgres', "ALTER DATABASE $db RENAME TO renamed");
$node->safe_psql('renamed', 'CALL cdc.sp_cdc_start_job()');
write_some($node, 'renamed');
oracle_ok($node, 'renamed', 'renamed: whole');
is($node->safe_psql('renamed', 'SELECT count(*) FROM cdc.gaps'), '0', 'renamed without a gap');

# The log of a database that has moved cannot be decoded: refused while there is a slot, also when nothing runs.
for my $job ('start', 'stop')
{
	$node->safe_psql('renamed', "CALL cdc.sp_cdc_${job}_job()");
	$node->psql('postgres', 'ALTER DATABASE renamed SET TABLESPACE space', stderr => \$stderr);
	like($stderr, qr/is being captured.*prepare_upgrade.*resume_after_gap/s, "no move, job: $job");
}
$node->safe_psql('renamed', 'CALL cdc.sp_cdc_start_job()');
my $last = oracle_remember($node, 'renamed', 'last');
write_some($node, 'renamed');
$last = oracle_remember($node, 'renamed', 'last');
$node->safe_psql('renamed', 'CALL cdc.prepare_upgrade()');
$node->poll_query_until('postgres', q(SELECT count(*) = 0 FROM pg_stat_activity WHERE datname = 'renamed')) or die 'somebody is there';
$node->safe_psql('postgres', 'ALTER DATABASE renamed SET TABLESPACE space');
$node->safe_psql('renamed', 'CALL cdc.resume_after_gap()');
my $first = oracle_remember($node, 'renamed', 'first');
write_some($node, 'renamed');
wait_captured($node, 'renamed');
my ($from, $to) = split /\|/, $node->safe_psql('renamed', 'SELECT start_lsn, end_lsn FROM cdc.gaps');
oracle_stretch_ok($node, 'renamed', 'moved: whole before the gap', to => $from, end => $last);
oracle_stretch_ok($node, 'renamed', 'moved: whole behind it', from => $to, begin => $first);
$node->restart;
write_some($node, 'renamed');
wait_captured($node, 'renamed');
oracle_stretch_ok($node, 'renamed', 'moved: and after a restart', from => $to, begin => $first);
unlike(slurp_file($node->logfile), qr/PANIC|TRAP|terminated by signal/, 'no crash');
$node->stop;
done_testing();
