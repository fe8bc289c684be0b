# Publications and subscriptions beside cdc: FOR ALL TABLES and FOR TABLE of captured tables, before and after cdc came,
# on a subscriber that captures what it applies and on one that has no cdc. Replication knows nothing of
# cdc's own tables, and both see every change.
use strict;
use warnings;

use FindBin;
use lib "$FindBin::RealBin/lib";

use CdcTest;
use PostgreSQL::Test::Utils;
use Test::More;

my $pub = cdc_node('pub');
# From 18 on each subscription may have parallel workers besides its own.
my $sub = cdc_node('sub', max_logical_replication_workers => 16);
my $conn = $pub->connstr('postgres') =~ s/'/''/gr;

# rows($node, $db, $table): a table as text.
sub rows
{
	my ($node, $db, $table) = @_;
	return $node->safe_psql($db, "SELECT string_agg(t::text, ' ' ORDER BY t::text) FROM (SELECT id, left(v, 5), length(v) FROM $table) AS t");
}

sub captured
{
	my ($node, $db, $table) = @_;
	wait_captured($node, $db);
	return $node->safe_psql($db, qq(
		SELECT string_agg("__\$operation" || ':' || id || ':' || coalesce(left(v, 5), ''), ' ' ORDER BY "__\$start_lsn", "__\$seqval", "__\$operation")
		FROM cdc.fn_cdc_get_all_changes_public_$table(cdc.fn_cdc_get_min_lsn('public_$table'), cdc.fn_cdc_get_max_lsn(), 'all')));
}

my $tables = q(
	CREATE TABLE t (id int PRIMARY KEY, v text);
	CREATE TABLE p (id int PRIMARY KEY, v text) PARTITION BY RANGE (id);
	CREATE TABLE p1 PARTITION OF p FOR VALUES FROM (0) TO (100);
	CREATE TABLE other (id int PRIMARY KEY, v text););
$pub->safe_psql('postgres', "$tables INSERT INTO t VALUES (1, 'old'); CREATE PUBLICATION everything FOR ALL TABLES; CREATE PUBLICATION one FOR TABLE t;");
for my $db ('early', 'single', 'late')
{
	$sub->safe_psql('postgres', "CREATE DATABASE $db");
	$sub->safe_psql($db, $tables);
}

# The subscriber captures what it applies. Replication is there before cdc comes to the publisher.
$sub->safe_psql('early', 'CREATE EXTENSION cdc');
$sub->safe_psql('early', 'CALL cdc.sp_cdc_enable_db()');
enable_table($sub, 'early', 't');
$sub->safe_psql('early', "CREATE SUBSCRIPTION early CONNECTION '$conn' PUBLICATION everything");
$sub->safe_psql('single', "CREATE SUBSCRIPTION single CONNECTION '$conn' PUBLICATION one");
$sub->wait_for_subscription_sync($pub, 'early', 'early');
$sub->wait_for_subscription_sync($pub, 'single', 'single');
cdc_create($pub, 'postgres');
enable_table($pub, 'postgres', 't');
enable_table($pub, 'postgres', 'p');

# Everything that cdc writes: change rows (plain and out of line), catalog rows by users and workers, jobs, TRUNCATE.
my $long = q((SELECT string_agg(md5(i::text), '') FROM generate_series(1, 2000) AS i));
$pub->safe_psql('postgres', qq(
	INSERT INTO t VALUES (2, 'two'), (3, $long);
	UPDATE t SET v = v || 'x' WHERE id IN (1, 3);
	UPDATE t SET id = 4 WHERE id = 2;
	DELETE FROM t WHERE id = 1;
	INSERT INTO p VALUES (1, 'part');
	UPDATE p SET v = 'parts';
	INSERT INTO other SELECT i, 'o' FROM generate_series(1, 10) AS i;
	BEGIN; INSERT INTO t VALUES (5, 'five'); SAVEPOINT s; INSERT INTO t VALUES (6, 'six'); ROLLBACK TO s; COMMIT;));
$pub->safe_psql('postgres', "CALL cdc.sp_cdc_stop_job()");
$pub->safe_psql('postgres', "UPDATE cdc.cdc_jobs SET pollinginterval = 0; INSERT INTO t VALUES (7, 'seven')");
$pub->safe_psql('postgres', "CALL cdc.sp_cdc_start_job()");
enable_table($pub, 'postgres', 't', capture_instance => "'second'", captured_column_list => "'id'");
wait_captured($pub, 'postgres');
$pub->safe_psql('postgres', "CALL cdc.sp_cdc_disable_table('public', 't', 'second')");

$pub->wait_for_catchup($_) for 'early', 'single';
for my $table ('t', 'p', 'other')
{
	is(rows($sub, 'early', $table), rows($pub, 'postgres', $table), "$table is replicated");
}
is(rows($sub, 'single', 't'), rows($pub, 'postgres', 't'), 't is replicated by a publication of one table');
my $expected = '2:2:two 2:3:c4ca4 4:1:oldx 4:3:c4ca4 1:2:two 2:4:two 1:1:oldx 2:5:five 2:7:seven';
is(captured($pub, 'postgres', 't'), $expected, 'and captured');
is(captured($pub, 'postgres', 'p'), '2:1:part 4:1:parts', 'and so is the partitioned table');
is(captured($sub, 'early', 't'), "2:1:old $expected", 'the subscriber captures what it applies');

# What the publisher offers: a refresh and a new subscriber without cdc find no table of ours.
$sub->safe_psql('early', 'ALTER SUBSCRIPTION early REFRESH PUBLICATION');
$sub->safe_psql('late', "CREATE SUBSCRIPTION late CONNECTION '$conn' PUBLICATION everything");
$sub->wait_for_subscription_sync($pub, 'late', 'late');
is($sub->safe_psql('early', "SELECT string_agg(srrelid::regclass::text, ' ' ORDER BY srrelid::regclass::text) FROM pg_subscription_rel WHERE srsubid = (SELECT oid FROM pg_subscription WHERE subname = 'early')"),
	'other p1 t', 'a refreshed subscription has the tables of users');
is(rows($sub, 'late', 't'), rows($pub, 'postgres', 't'), 'a new one too, with their rows');

# Identity FULL does not disturb an UPDATE that is applied; DDL that rewrites; TRUNCATE where it is recorded.
$pub->safe_psql('postgres', "INSERT INTO t VALUES (8, 'eight'); UPDATE t SET v = 'acht' WHERE id = 8; DELETE FROM t WHERE id = 7");
$pub->safe_psql('postgres', 'ALTER TABLE other ALTER id TYPE bigint; INSERT INTO other VALUES (11); VACUUM FULL other');
$pub->safe_psql('postgres', "CALL cdc.sp_cdc_disable_table('public', 'p', 'all')");
$pub->safe_psql('postgres', "CALL cdc.sp_cdc_enable_table('public', 'p', NULL, truncate_action => 'record')");
$pub->safe_psql('postgres', "TRUNCATE p; INSERT INTO p VALUES (2, 'after')");
$pub->wait_for_catchup($_) for 'early', 'late', 'single';
is(rows($sub, $_, 't'), rows($pub, 'postgres', 't'), "t in $_") for 'early', 'late', 'single';
is(rows($sub, $_, 'p'), rows($pub, 'postgres', 'p'), "p in $_") for 'early', 'late';
is(rows($sub, 'early', 'other'), rows($pub, 'postgres', 'other'), 'a rewritten table');
is(captured($pub, 'postgres', 't'), "$expected 2:8:eight 4:8:acht 1:7:seven", 'captured on');

# A type change, large values; everything of ours stays hidden (also TOAST tables), other tables are not.
$_->[0]->safe_psql($_->[1], 'CREATE TABLE n (id int PRIMARY KEY, a int)') for [$pub, 'postgres'], [$sub, 'early'], [$sub, 'late'];
$sub->safe_psql('early', 'ALTER SUBSCRIPTION early REFRESH PUBLICATION');
$sub->wait_for_subscription_sync($pub, 'early', 'early');
enable_table($pub, 'postgres', 'n');
$pub->safe_psql('postgres', 'INSERT INTO n VALUES (1, 1)');
$pub->wait_for_catchup('early');
$sub->safe_psql('early', 'ALTER TABLE n ALTER a TYPE text');
$pub->safe_psql('postgres', "ALTER TABLE n ALTER a TYPE text; INSERT INTO n VALUES (2, $long)");
wait_captured($pub, 'postgres');
$pub->wait_for_catchup('early');
is($sub->safe_psql('early', 'SELECT count(*), max(length(a)) FROM n'), '2|64000', 'a column that got large values');
is($pub->safe_psql('postgres', q(
	SELECT c.relname FROM pg_class AS c LEFT JOIN pg_class AS t ON t.oid = c.reltoastrelid
	WHERE c.relkind = 'r' AND (c.relnamespace = 'cdc'::regnamespace) <> (c.relrewrite = c.oid AND coalesce(t.relrewrite = t.oid, true)))),
	'', 'tables of schema cdc are hidden, and no others');

# A TRUNCATE that a subscription applies to a captured table is not refused, which would break the subscription: it is a
# gap of the instance. Where it is recorded there is none.
$_->[0]->safe_psql($_->[1], 'CREATE TABLE cut (id int PRIMARY KEY, v text); CREATE TABLE cut_p (id int PRIMARY KEY, v text) PARTITION BY RANGE (id);
	CREATE TABLE cut_p1 PARTITION OF cut_p FOR VALUES FROM (0) TO (100); CREATE TABLE noted (id int PRIMARY KEY, v text)') for [$pub, 'postgres'], [$sub, 'early'], [$sub, 'late'];
$sub->safe_psql('early', 'ALTER SUBSCRIPTION early REFRESH PUBLICATION');
$sub->wait_for_subscription_sync($pub, 'early', 'early');
enable_table($sub, 'early', $_) for 'cut', 'cut_p';
enable_table($sub, 'early', 'noted', truncate_action => "'record'");
my $size = log_size($sub);
for my $table ('cut', 'cut_p', 'noted')
{
	$pub->safe_psql('postgres', "INSERT INTO $table VALUES (1, 'one'), (2, 'two'); TRUNCATE $table; INSERT INTO $table VALUES (3, 'three')");
}
$pub->wait_for_catchup('early');
is(rows($sub, 'early', $_), '(3,three,5)', "a TRUNCATE of $_ is applied") for 'cut', 'cut_p', 'noted';
is(captured($sub, 'early', 'noted'), '2:1:one 2:2:two 2:3:three', 'captured and recorded');
for my $table ('cut', 'cut_p')
{
	is($sub->safe_psql('early', "SELECT reason, end_lsn IS NOT NULL FROM cdc.gaps WHERE object_id = 'cdc.public_${table}_ct'::regclass"),
		'the table was truncated although that is refused|t', "$table: a gap that has ended");
	my $stderr;
	$sub->psql('early', "SELECT * FROM cdc.fn_cdc_get_all_changes_public_$table(cdc.fn_cdc_get_min_lsn('public_$table'), cdc.fn_cdc_get_max_lsn(), 'all')", stderr => \$stderr);
	like($stderr, qr/changes of capture instance "public_$table" are missing/, "$table: reading across it is refused");
	is($sub->safe_psql('early', "SELECT c.id FROM cdc.gaps g, cdc.fn_cdc_get_all_changes_public_$table(g.end_lsn, cdc.fn_cdc_get_max_lsn(), 'all') c WHERE g.object_id = 'cdc.public_${table}_ct'::regclass"),
		'3', "$table: and captured on");
}
unlike(log_since($sub, $size), qr/cannot truncate/, 'nothing was refused');
# Before its TRUNCATE was captured the apply worker of this subscriber has gone on.
is($sub->safe_psql('early', 'SELECT count(*) FROM cdc.gaps WHERE end_lsn IS NULL'), '0', 'no gap is open');

# Disabling and dropping cdc disturb nobody, either.
$pub->safe_psql('postgres', 'CALL cdc.sp_cdc_disable_db()');
$pub->safe_psql('postgres', "INSERT INTO t VALUES (9, 'nine')");
$pub->safe_psql('postgres', 'DROP EXTENSION cdc');
$pub->safe_psql('postgres', "UPDATE t SET v = 'neun' WHERE id = 9");
$pub->wait_for_catchup('early');
is(rows($sub, 'early', 't'), rows($pub, 'postgres', 't'), 'replication goes on without cdc');
is($sub->safe_psql('early', "SELECT count(*) FROM pg_stat_subscription_stats WHERE apply_error_count > 0 OR sync_error_count > 0"), '0', 'no subscription has met an error');

$sub->safe_psql($_, "DROP SUBSCRIPTION $_") for 'early', 'late', 'single';
$sub->stop;
$pub->stop;
done_testing();
