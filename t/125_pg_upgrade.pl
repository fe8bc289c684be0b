# pg_upgrade of a server with captured databases, with the calls before and after it that docs/operations.md names, and
# without them. To the same major version always, and from each older one that is installed beside this one with the
# extension. What was captured comes along and can be read; capture goes on behind a gap; nobody has to ask to be told.
use strict;
use warnings;

use FindBin;
use lib "$FindBin::RealBin/lib";

use CdcTest;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use ReplayOracle;
use Test::More;

my $db = 'up';

# installed($bindir): the major version of a server that has the extension, or undef.
sub installed
{
	my ($bindir) = @_;
	my $config = "$bindir/pg_config";
	return undef unless -x $config && -x "$bindir/pg_upgrade" && -x "$bindir/initdb";
	chomp(my ($version, $share, $lib) = map { scalar `$config --$_` } qw(version sharedir pkglibdir));
	return undef unless -e "$share/extension/cdc.control" && -e "$lib/cdc.so";
	return $version =~ /PostgreSQL (\d+)/ ? $1 : undef;
}

# What must look the same before and after. Function oids change, and so may what is made of them.
my @same = (
	q(SELECT source_object_id::regclass, object_id::regclass, capture_instance, start_lsn, supports_net_changes, has_drop_pending, role_name, index_name, to_jsonb(c) - 'object_id' FROM cdc.change_tables c ORDER BY capture_instance),
	q(SELECT object_id::regclass, * FROM cdc.captured_columns ORDER BY 1, column_ordinal),
	q(SELECT * FROM cdc.index_columns ORDER BY object_id, index_ordinal),
	q(SELECT * FROM cdc.lsn_time_mapping ORDER BY start_lsn),
	q(SELECT * FROM cdc.ddl_history ORDER BY ddl_lsn),
	q(SELECT job_type, job_id, maxtrans, maxscans, continuous, pollinginterval, retention, threshold, started, start_time, every, active_window FROM cdc.cdc_jobs ORDER BY job_type),
	q(SELECT * FROM cdc.sp_cdc_help_change_data_capture() ORDER BY capture_instance),
	q(SELECT relname, relreplident FROM pg_class WHERE relnamespace = 'public'::regnamespace AND relkind IN ('r', 'p') ORDER BY 1),
	q(SELECT relname, reloptions FROM pg_class WHERE relnamespace = 'cdc'::regnamespace AND relkind IN ('r', 'p') ORDER BY 1),
	q(SELECT c.relname, g.* FROM pg_class c, aclexplode(relacl) g WHERE relnamespace = 'cdc'::regnamespace AND grantee <> relowner ORDER BY 1, 3, 4),
	q(SELECT p.oid::regprocedure::text, g.grantee::regrole, privilege_type FROM pg_proc p, aclexplode(coalesce(proacl, acldefault('f', proowner))) g WHERE pronamespace = 'cdc'::regnamespace AND grantee <> proowner ORDER BY 1, 2, 3),
	q(SELECT evtname, evtevent, evtenabled FROM pg_event_trigger ORDER BY 1),
	q(SELECT * FROM cdc._replica_identity ORDER BY 1, 2),
	q(SELECT c.relname FROM pg_depend d JOIN pg_class c ON c.oid = d.objid JOIN pg_extension e ON e.oid = d.refobjid WHERE d.deptype = 'e' AND d.classid = 'pg_class'::regclass AND e.extname = 'cdc' ORDER BY 1),
	(map { my $ci = $_; map { qq(SELECT c.* FROM cdc.fn_cdc_get_${_}_changes_$ci(cdc.fn_cdc_get_min_lsn('$ci'), cdc.fn_cdc_get_max_lsn(), 'all') c ORDER BY c::text) } qw(all net) } qw(public_t orders public_p)),
	q(SELECT c.* FROM cdc.fn_cdc_get_all_changes_public_keyless(cdc.fn_cdc_get_min_lsn('public_keyless'), cdc.fn_cdc_get_max_lsn(), 'all update old') c ORDER BY c::text),
	q(SELECT c.* FROM cdc.fn_cdc_get_all_changes_gone(cdc.fn_cdc_get_min_lsn('gone'), cdc.fn_cdc_get_max_lsn(), 'all') c ORDER BY c::text),
	q(SET ROLE reader; SELECT count(*) FROM cdc.fn_cdc_get_all_changes_public_p(cdc.fn_cdc_get_min_lsn('public_p'), cdc.fn_cdc_get_max_lsn(), 'all')));

sub write_some
{
	my ($node) = @_;
	$node->safe_psql($db, q(
		INSERT INTO t (v) SELECT 'row' FROM generate_series(1, 10);
		UPDATE t SET v = v || '+' WHERE id % 3 = 0;
		DELETE FROM t WHERE id % 7 = 1;
		INSERT INTO p SELECT i, 'p' FROM generate_series(1, 20) i ON CONFLICT (id) DO UPDATE SET v = p.v || '+';
		UPDATE p SET id = (SELECT max(id) + 1 FROM p) WHERE id = 5;
		INSERT INTO keyless VALUES (1, 'a'), (1, 'a');
		DELETE FROM keyless WHERE ctid = (SELECT min(ctid) FROM keyless);));
	return;
}

sub refused
{
	my ($node, $sql, $pattern, $name) = @_;
	local $Test::Builder::Level = $Test::Builder::Level + 1;
	my $stderr;
	$node->psql($db, "\\set VERBOSITY verbose\n$sql", stderr => \$stderr, timeout => 60);
	like($stderr, $pattern, $name);
	return;
}

# make_old($name, @path): the server to be upgraded.
sub make_old
{
	my ($name, @path) = @_;
	my $old = PostgreSQL::Test::Cluster->new("old_$name", @path);
	$old->init(allows_streaming => 'logical', extra => [ '--locale=C', '--encoding=UTF8' ]);
	$old->append_conf('postgresql.conf', slurp_file("$FindBin::RealBin/../test/cdc.conf"));
	# What the test modules of a newer version put there.
	$old->adjust_conf('postgresql.conf', 'autovacuum_worker_slots', undef) if $old->pg_version < 18;
	$old->start;
	cdc_create($old, $db);
	$old->safe_psql($db, q(
		CREATE ROLE reader LOGIN; CREATE ROLE gate; GRANT gate TO reader;
		CREATE TABLE t (id int GENERATED ALWAYS AS IDENTITY PRIMARY KEY, v text);
		CREATE TABLE "My Orders" (number bigint, "Total, gross" numeric, note text, CONSTRAINT orders_key UNIQUE (number));
		ALTER TABLE "My Orders" ALTER number SET NOT NULL, REPLICA IDENTITY USING INDEX orders_key;
		CREATE TABLE p (id int PRIMARY KEY, v text) PARTITION BY RANGE (id);
		CREATE TABLE p1 PARTITION OF p FOR VALUES FROM (0) TO (10);
		CREATE TABLE p2 PARTITION OF p DEFAULT;
		CREATE TABLE keyless (n int, v text);
		CREATE TABLE going (id int PRIMARY KEY);
		GRANT SELECT ON p TO reader;));
	enable_table($old, $db, 't');
	enable_table($old, $db, 'My Orders', capture_instance => "'orders'", index_name => "'orders_key'", before_image => "'key'");
	enable_table($old, $db, 'keyless');
	enable_table($old, $db, 'going', capture_instance => "'gone'", drop_action => "'keep'");
	$old->safe_psql($db, q(CALL cdc.sp_cdc_enable_table('public', 'p', 'gate')));
	$old->safe_psql($db, q(
		INSERT INTO "My Orders" VALUES (1, 1.50, 'first'), (2, 2.50, 'second'); UPDATE "My Orders" SET note = 'third' WHERE number = 2;
		INSERT INTO going VALUES (1), (2)));
	write_some($old);
	# Old physical columns, history, changed jobs.
	$old->safe_psql($db, q(
		ALTER TABLE t ALTER v TYPE varchar(200);
		ALTER TABLE "My Orders" ALTER "Total, gross" TYPE text;
		UPDATE "My Orders" SET "Total, gross" = 'much' WHERE number = 1;
		DROP TABLE going;
		CALL cdc.sp_cdc_change_job('cleanup', retention => 9999, start_time => '03:30');
		CALL cdc.sp_cdc_change_job('capture', maxtrans => 777);));
	write_some($old);
	wait_captured($old, $db);
	$old->poll_query_until($db, q(SELECT has_drop_pending FROM cdc.change_tables WHERE capture_instance = 'gone')) or die 'the drop is not captured';
	# A second one, in which nothing is captured yet.
	cdc_create($old, 'quiet');
	return $old;
}

# upgrade($old, $name, @mode): the new server, started.
sub upgrade
{
	my ($old, $name, @mode) = @_;
	local $Test::Builder::Level = $Test::Builder::Level + 1;
	my $new = PostgreSQL::Test::Cluster->new("new_" . $name =~ s{\W+}{_}gr);
	# From 18 on checksums are the default.
	$new->init(allows_streaming => 'logical', extra => [ '--locale=C', '--encoding=UTF8', ($new->pg_version >= 18 && $old->pg_version < 18 ? '--no-data-checksums' : ()) ]);
	$new->append_conf('postgresql.conf', slurp_file("$FindBin::RealBin/../test/cdc.conf"));
	chdir $PostgreSQL::Test::Utils::tmp_check or die $!;
	my $bindir = $old->config_data('--bindir');
	command_ok([ 'pg_upgrade', '--no-sync', '-d', $old->data_dir, '-D', $new->data_dir, '-b', $bindir, '-B', $new->config_data('--bindir'),
		'-s', $new->host, '-p', $old->port, '-P', $new->port, @mode ], "$name: pg_upgrade");
	$new->start;
	return $new;
}

# goes_on($new, $name, $reason, $captured, $before, $expected): what the new server has and says, the call, and
# the truth before and after. $captured: what the old server had captured.
sub goes_on
{
	my ($new, $name, $reason, $captured, $before, $expected) = @_;
	local $Test::Builder::Level = $Test::Builder::Level + 1;
	# Nobody calls anything in the database, and it is noticed.
	wait_until(sub { slurp_file($new->logfile) =~ /LOG:  $reason[^\n]*\n.*HINT:  [^\n]*resume_after_gap/s }, "$name: the server log says nothing");
	$new->poll_query_until($db, q(SELECT count(*) = 1 FROM cdc.gaps WHERE end_lsn IS NULL)) or die 'no gap';
	like($new->safe_psql($db, q(SELECT reason FROM cdc.gaps)), $reason, "$name: the gap is recorded by itself");
	is($new->safe_psql($db, q(SELECT state FROM cdc.pg_stat_cdc WHERE database = current_database())), 'needs action', "$name: the state says so");
	like($new->safe_psql($db, q(SELECT string_agg(action, ' ') FROM cdc.health() WHERE status = 'critical')), qr/CALL cdc\.resume_after_gap\(\);/, "$name: so does health()");
	# The queries that read up to the end of what is captured.
	for my $i (0 .. $#same)
	{
		is($new->safe_psql($db, $same[$i]), $expected->[$i], "$name: as before: " . substr($same[$i], 0, 100));
	}
	refused($new, 'CALL cdc.wait_for_capture()', qr/ERROR:  55000: capture cannot go on.*HINT:.*resume_after_gap/s, "$name: waiting is refused");
	refused($new, q(SELECT * FROM cdc.fn_cdc_get_all_changes_public_t(cdc.fn_cdc_get_min_lsn('public_t'), pg_current_wal_lsn(), 'all')), qr/ERROR:  SC004.*resume_after_gap/s,
		"$name: reading beyond is refused");
	write_some($new);
	refused($new, 'CALL cdc.sp_cdc_start_job()', qr/ERROR:  55000.*resume_after_gap/s, "$name: the job cannot be started");
	my ($status, undef, $said) = $new->psql($db, 'CALL cdc.resume_after_gap()', timeout => 60);
	is($status, 0, "$name: goes on") or diag($said);
	my ($from, $to) = split /\|/, $new->safe_psql($db, 'SELECT start_lsn, end_lsn FROM cdc.gaps');
	is($from, $captured, "$name: the gap begins where capture had come to");
	my $after = oracle_remember($new, $db, 'after');
	write_some($new);
	$new->safe_psql($db, q(UPDATE "My Orders" SET "Total, gross" = 'more' WHERE number = 2));
	wait_captured($new, $db);
	oracle_stretch_ok($new, $db, "$name: before the upgrade nothing is missing", to => $from, end => $before, without => ['orders']);
	oracle_stretch_ok($new, $db, "$name: after it nothing is missing", from => $to, begin => $after, without => ['orders']);
	refused($new, q(SELECT * FROM cdc.fn_cdc_get_net_changes_public_t(cdc.fn_cdc_get_min_lsn('public_t'), cdc.fn_cdc_get_max_lsn(), 'all')), qr/ERROR:  SC004.*from_lsn/s,
		"$name: across is refused");
	is($new->safe_psql($db, q(SELECT string_agg(check_name, ' ') FROM cdc.health() WHERE status = 'critical')), '', "$name: health is content");
	# Everything else works as on any server: DDL, new instances, other databases, dumps, restarts, the end.
	$new->safe_psql($db, 'CREATE TABLE fresh (id int PRIMARY KEY); ALTER TABLE t ADD more int; INSERT INTO t (v, more) VALUES (1, 2)');
	enable_table($new, $db, 'fresh');
	$new->safe_psql($db, 'ALTER TABLE t ALTER v TYPE text; INSERT INTO fresh VALUES (1); DROP TABLE p1; UPDATE t SET v = 2 WHERE more = 2');
	refused($new, 'TRUNCATE t', qr/cannot truncate/, "$name: TRUNCATE is refused");
	$new->safe_psql('quiet', 'CALL cdc.resume_after_gap()');
	$new->restart;
	wait_captured($new, $db);
	wait_captured($new, 'quiet');
	is($new->safe_psql($db, q(SELECT count(*) FROM cdc.fn_cdc_get_all_changes_public_fresh(cdc.fn_cdc_get_min_lsn('public_fresh'), cdc.fn_cdc_get_max_lsn(), 'all'))), '1', "$name: a new instance");
	is($new->safe_psql($db, q(SELECT string_agg(v, ' ' ORDER BY "__$seqval") FROM cdc.fn_cdc_get_all_changes_public_t((SELECT end_lsn FROM cdc.gaps WHERE object_id IS NULL), cdc.fn_cdc_get_max_lsn(), 'all') WHERE v IN ('1', '2'))), '1 2', "$name: a type change");
	my $dump = $new->basedir . '/dump.sql';
	$new->command_ok([ 'pg_dump', '-f', $dump, $new->connstr($db) ], "$name: dump");
	$new->safe_psql('postgres', 'CREATE DATABASE restored');
	$new->command_ok([ 'psql', '-qX', '-v', 'ON_ERROR_STOP=1', '-f', $dump, $new->connstr('restored') ], "$name: restore");
	$new->safe_psql($db, 'DROP EXTENSION cdc');
	is($new->safe_psql($db, q(SELECT relname FROM pg_class WHERE relname ~ '_ct|^_changes|_dropped' UNION ALL SELECT proname FROM pg_proc WHERE proname ~ 'cdc'
		UNION ALL SELECT relname || relreplident::text FROM pg_class WHERE relname IN ('t', 'keyless') AND relreplident <> 'd')), '', "$name: dropped, and nothing is left");
	unlike(slurp_file($new->logfile), qr/PANIC|TRAP|terminated by signal/, "$name: no crash");
	$new->stop;
	return;
}

# with_calls($old, $name, @mode): as the documentation says.
sub with_calls
{
	my ($old, $name, @mode) = @_;
	refused($old, 'BEGIN; CALL cdc.prepare_upgrade()', qr/ERROR:  25001/, "$name: not in a transaction");
	refused($old, q(CALL cdc.prepare_upgrade('-1s')), qr/ERROR:  22023/, "$name: no negative timeout");
	refused($old, 'SET ROLE reader; CALL cdc.prepare_upgrade()', qr/ERROR:  42501/, "$name: not for everybody");
	$old->safe_psql($db, 'CALL cdc.sp_cdc_stop_job()');
	write_some($old);
	refused($old, 'CALL cdc.prepare_upgrade()', qr/ERROR:  55000: capture job is stopped.*HINT/s, "$name: not while the job is stopped");
	$old->safe_psql($db, 'CALL cdc.sp_cdc_start_job()');
	oracle_ok($old, $db, "$name: in vain, nothing has happened", instances => [ grep { $_->{name} =~ /public/ } oracle_instances($old, $db) ], whole => 0);
	write_some($old);
	my $before = oracle_remember($old, $db, 'before');
	my $said;
	is($old->psql($db, 'CALL cdc.prepare_upgrade()', stderr => \$said), 0, "$name: prepared") or diag($said);
	like($said, qr/NOTICE:  capture of database "up" has ended.*HINT:.*resume_after_gap/s, "$name: and says what comes next");
	is($old->safe_psql($db, q(SELECT count(*) FROM pg_replication_slots WHERE database = current_database())), '0', "$name: there is no slot");
	my $captured = $old->safe_psql($db, 'SELECT start_lsn FROM cdc.gaps WHERE end_lsn IS NULL');
	$old->poll_query_until($db, q(SELECT state = 'needs action' FROM cdc.pg_stat_cdc WHERE database = current_database())) or die 'the state does not say so';
	is($old->psql($db, 'CALL cdc.prepare_upgrade()', stderr => \$said), 0, "$name: a second call does no harm") or diag($said);
	$old->safe_psql('quiet', 'CALL cdc.prepare_upgrade()');
	my @expected = map { $old->safe_psql($db, $_) } @same;
	$old->stop;
	my $new = upgrade($old, $name, @mode);
	goes_on($new, $name, qr/capture was ended by cdc\.prepare_upgrade\(\)/, $captured, $before, \@expected);
	return;
}

# without_calls($old, $name, @mode): somebody has forgotten them.
sub without_calls
{
	my ($old, $name, @mode) = @_;
	my $before = oracle_remember($old, $db, 'before');
	$old->safe_psql($db, 'CALL cdc.sp_cdc_stop_job(); CALL cdc.sp_cdc_start_job()');
	wait_captured($old, $db);
	$old->safe_psql($db, 'CALL cdc.sp_cdc_stop_job()');
	my $captured = $old->safe_psql($db, 'SELECT captured_lsn FROM cdc._progress');
	write_some($old);
	$old->safe_psql($db, 'UPDATE cdc.cdc_jobs SET started = true');
	my @expected = map { $old->safe_psql($db, $_) } @same;
	$old->stop;
	my $new = upgrade($old, $name, @mode);
	goes_on($new, $name, qr/database is a copy of one that was enabled/, $captured, $before, \@expected);
	return;
}

# refused_while_slots($old, $name): from 17 on pg_upgrade takes logical slots along, but none that has something to read:
# it refuses before it touches anything, and the old server goes on.
sub refused_while_slots
{
	my ($old, $name) = @_;
	local $Test::Builder::Level = $Test::Builder::Level + 1;
	$old->stop;
	my $new = PostgreSQL::Test::Cluster->new("check_" . $name =~ s{\W+}{_}gr);
	$new->init(allows_streaming => 'logical', extra => [ '--locale=C', '--encoding=UTF8', ($new->pg_version >= 18 && $old->pg_version < 18 ? '--no-data-checksums' : ()) ]);
	$new->append_conf('postgresql.conf', slurp_file("$FindBin::RealBin/../test/cdc.conf"));
	command_checks_all([ 'pg_upgrade', '--no-sync', '--check', '-d', $old->data_dir, '-D', $new->data_dir, '-b', $old->config_data('--bindir'), '-B', $new->config_data('--bindir'),
		'-s', $new->host, '-p', $old->port, '-P', $new->port ], 1, [qr/logical replication slots that cannot be upgraded/], [], "$name: without the call pg_upgrade refuses");
	$old->start;
	return;
}

# run($name, $forget, $mode, @path): one upgrade.
sub run
{
	my ($name, $forget, $mode, @path) = @_;
	(my $word = $name) =~ s/\W+/_/g;
	my $old = make_old($word, @path);
	if ($forget && $old->pg_version < 17)
	{
		without_calls($old, $name, @$mode);
		return $old;
	}
	refused_while_slots($old, $name) if $forget;
	with_calls($old, $name, @$mode);
	return $old;
}

# refuses_tables_of($version, $path): why this server cannot take any table of that older one, or ''. Minor releases from 15.20
# on store an option with each column, which a server of a later major version knows only if it is as recent.
sub refuses_tables_of
{
	my ($version, $path) = @_;
	my @nodes = (PostgreSQL::Test::Cluster->new("probe_$version", install_path => $path), PostgreSQL::Test::Cluster->new("probe_for_$version"));
	for my $node (@nodes)
	{
		$node->init;
		$node->adjust_conf('postgresql.conf', 'autovacuum_worker_slots', undef) if $node->pg_version < 18;
		$node->start;
		$node->safe_psql('postgres', 'CREATE TABLE plain (n int)');
	}
	my $options = $nodes[0]->safe_psql('postgres', q(SELECT array_to_string(attoptions, ', ') FROM pg_attribute WHERE attrelid = 'plain'::regclass AND attname = 'n'));
	my $error = '';
	$nodes[1]->psql('postgres', "ALTER TABLE plain ALTER n SET ($options)", stderr => \$error) if $options ne '';
	$_->stop('immediate') for @nodes;
	return $error;
}

my $bindir = PostgreSQL::Test::Cluster->new('probe')->config_data('--bindir');
my $this = installed($bindir);

# To the same version, which is pg_upgrade all the same; and on second thoughts the old server goes on.
my $old = run('same version, copied', 0, []);
$old->start;
$old->safe_psql($db, 'CALL cdc.resume_after_gap()');
my $after = oracle_remember($old, $db, 'after');
write_some($old);
wait_captured($old, $db);
oracle_stretch_ok($old, $db, 'on second thoughts: the old server goes on', from => $old->safe_psql($db, 'SELECT end_lsn FROM cdc.gaps'), begin => $after, without => ['orders']);
$old->stop;
run('same version, linked, calls forgotten', 1, ['--link']) if $ENV{CDC_TEST_FULL};

# From older versions.
my @older = grep { my $version = installed("$_/bin"); defined $version && $version < $this } glob '/usr/lib/postgresql/*';
SKIP:
{
	skip 'no older server with the extension is installed beside this one', 1 unless @older;
}
for my $path (@older)
{
	my $version = installed("$path/bin");
	SKIP:
	{
		my $why = refuses_tables_of($version, $path);
		skip "this server takes no table of $version at all: $why", 1 if $why ne '';
		run("from $version, linked, calls forgotten", 1, ['--link'], install_path => $path);
		run("from $version, copied", 0, [], install_path => $path) if $ENV{CDC_TEST_FULL};
	}
}
done_testing();
