# A superuser damages change tables, their partitions, indexes and functions. What nobody would notice is refused; what
# the writer can see stops it with a state that names the table and the way back, and capture goes on by
# itself from there. Nothing is lost: the replay oracle decides.
use strict;
use warnings;

use FindBin;
use lib "$FindBin::RealBin/lib";

use CdcTest;
use PostgreSQL::Test::Utils;
use ReplayOracle;
use Test::More;

my $node = cdc_node('damage_tables');
my $db = 'damage';
cdc_create($node, $db);
$node->safe_psql($db, q(
	CREATE TABLE t (id int GENERATED ALWAYS AS IDENTITY PRIMARY KEY, v text, n numeric);
	CREATE TABLE other (id int GENERATED ALWAYS AS IDENTITY PRIMARY KEY, v text);
	CREATE TABLE third (id int PRIMARY KEY);));
enable_table($node, $db, $_) for qw(t other third);

sub write_some
{
	$node->safe_psql($db, q(
		INSERT INTO t (v, n) SELECT 'row', i FROM generate_series(1, 10) i;
		UPDATE t SET v = v || '+' WHERE id % 3 = 0;
		DELETE FROM t WHERE id % 7 = 1;
		INSERT INTO other (v) VALUES ('one');));
	return;
}

# refused($sql, $pattern, $name): 55000 that says so, with a hint.
sub refused
{
	my ($sql, $pattern, $name) = @_;
	local $Test::Builder::Level = $Test::Builder::Level + 1;
	my $stderr;
	$node->psql($db, "\\set VERBOSITY verbose\n$sql", stderr => \$stderr);
	like($stderr, qr/ERROR:\s+55000: $pattern/s, $name);
	like($stderr, qr/HINT:/, "$name: with a hint");
	return;
}

# forced($sql): as who says that he knows what he does.
sub forced
{
	my ($sql) = @_;
	$node->safe_psql($db, "SET client_min_messages = error; SET allow_system_table_mods = on; $sql");
	return;
}

write_some();
wait_captured($node, $db);
my $leaf = $node->safe_psql($db, q(SELECT inhrelid::regclass FROM pg_inherits WHERE inhparent = 'cdc.public_t_ct'::regclass ORDER BY inhrelid LIMIT 1));
my $bound = $node->safe_psql($db, "SELECT pg_get_expr(relpartbound, oid) FROM pg_class WHERE oid = '$leaf'::regclass");
my $view = $node->safe_psql($db, q(SELECT 'cdc._changes_' || instance_id FROM cdc.change_tables WHERE capture_instance = 'public_t'));

# --- What nobody would notice ---------------------------------------------------------------------
refused('TRUNCATE cdc.public_t_ct', 'cannot truncate "cdc.public_t_ct".*HINT:.*sp_cdc_cleanup_change_table', 'truncating a change table');
refused("TRUNCATE $leaf", 'cannot truncate "cdc._ct_', 'truncating a partition of it');
refused('TRUNCATE cdc.lsn_time_mapping', 'cannot truncate', 'truncating the mapping');
refused("ALTER TABLE cdc.public_t_ct DETACH PARTITION $leaf", 'cannot detach a partition', 'detaching a partition');
refused("ALTER TABLE cdc.public_t_ct DETACH PARTITION $leaf CONCURRENTLY", 'cannot detach a partition', 'detaching it concurrently');
refused("ALTER TABLE $leaf SET UNLOGGED", 'cannot make unlogged', 'making a partition unlogged');
refused('ALTER TABLE cdc.public_t_ct DROP COLUMN "__$end_lsn"', 'cannot drop a column', 'dropping a column');
refused('ALTER TABLE cdc.public_t_ct ALTER "__$operation" TYPE bigint', 'cannot change the type', 'changing a type');
refused('ALTER TABLE cdc.public_t_ct RENAME COLUMN v TO w', 'cannot rename a column', 'renaming a column');
refused('ALTER TABLE cdc.public_t_ct RENAME TO w', 'cannot rename', 'renaming a change table');
refused('ALTER TABLE cdc.public_t_ct SET SCHEMA public', 'cannot move', 'moving it');
refused("ALTER EXTENSION cdc DROP TABLE $leaf", 'cannot take an object out of extension', 'making its parts droppable');
$node->psql($db, "DROP TABLE $leaf", stderr => \my $stderr);
like($stderr, qr/because extension cdc requires it/, 'dropping a partition: refused by the server');
is(stat_value($node, $db, 'state'), 'streaming', 'none of it has disturbed capture');

# --- What the writer sees -------------------------------------------------------------------------
# [name, damage, what the error's detail says, hint, undo]
for my $case (
	[ 'a constraint', 'ALTER TABLE cdc.public_t_ct ADD CONSTRAINT c CHECK (n > 0) NOT VALID', qr/has got a constraint/, qr/Undo/, 'ALTER TABLE cdc.public_t_ct DROP CONSTRAINT c' ],
	[ 'NOT NULL', q(ALTER TABLE cdc.public_t_ct ALTER n SET NOT NULL), qr/has got a NOT NULL constraint/, qr/Undo/, 'ALTER TABLE cdc.public_t_ct ALTER n DROP NOT NULL' ],
	[ 'an index', 'CREATE INDEX extra ON cdc.public_t_ct (n)', qr/has got an index/, qr/Undo/, 'DROP INDEX cdc.extra' ],
	[ 'a lost index', q(SELECT format('DROP INDEX %s', indexrelid::regclass) FROM pg_index WHERE indrelid = 'cdc.public_t_ct'::regclass \gexec), qr/has lost its index/,
		qr/CREATE INDEX ON cdc\.public_t_ct USING brin \("__\$start_lsn"\) WITH \(pages_per_range = 64\)/, 'CREATE INDEX ON cdc.public_t_ct USING brin ("__$start_lsn") WITH (pages_per_range = 64)' ],
	[ 'another index', q(SELECT format('DROP INDEX %s', indexrelid::regclass) FROM pg_index WHERE indrelid = 'cdc.public_t_ct'::regclass \gexec
		CREATE INDEX odd ON cdc.public_t_ct USING brin ("__$start_lsn") WHERE n > 0), qr/has got an index in place of its own/, qr/Undo/,
		'DROP INDEX cdc.odd; CREATE INDEX ON cdc.public_t_ct USING brin ("__$start_lsn")' ],
	[ 'a row-level policy', "ALTER TABLE $leaf ENABLE ROW LEVEL SECURITY", qr/has got row-level security/, qr/Undo/, "ALTER TABLE $leaf DISABLE ROW LEVEL SECURITY" ],
	[ 'unlogged', "SET allow_system_table_mods = on; ALTER TABLE $leaf SET UNLOGGED", qr/has become unlogged/, qr/Undo/, "ALTER TABLE $leaf SET LOGGED" ])
{
	my ($name, $damage, $detail, $hint, $undo) = @$case;
	$node->safe_psql($db, $damage);
	write_some();
	$node->poll_query_until($db, q(SELECT state = 'failed' FROM cdc.pg_stat_cdc WHERE database = current_database())) or die "$name: not noticed";
	like(stat_value($node, $db, q(last_error_message || ' ' || last_error_detail)), qr/of capture instance "public_t" has been changed.*$detail/, "$name: the state says which table");
	like(stat_value($node, $db, 'last_error_hint'), $hint, "$name: and the way back");
	like($node->safe_psql($db, q(SELECT string_agg(status || ' ' || detail || ' ' || action, '') FROM cdc.health() WHERE check_name = 'change_tables')),
		qr/critical Partition _ct_\w+ of capture instance "public_t" $detail.*(Undo|CREATE INDEX)/, "$name: health, too");
	is($node->safe_psql($db, q(SELECT string_agg(capture_instance || ' ' || state, ', ' ORDER BY capture_instance) FROM cdc.pg_stat_cdc_tables WHERE state = 'refused')),
		'public_t refused', "$name: the others are not accused");
	$node->safe_psql($db, $undo);
	wait_captured($node, $db);
	is(stat_value($node, $db, 'state'), 'streaming', "$name: goes on by itself");
}
oracle_ok($node, $db, 'after all that the writer saw');

# --- What it need not mind ------------------------------------------------------------------------
$node->safe_psql($db, 'ALTER TABLE cdc.public_t_ct ADD COLUMN extra int; ALTER TABLE cdc.public_t_ct ALTER v SET STATISTICS 1000');
forced('ALTER TABLE cdc.public_other_ct RENAME TO renamed');
write_some();
oracle_ok($node, $db, 'a column more, another name: capture goes on');

# --- Forced, and seen by health -------------------------------------------------------------------
# catalog_problem($pattern, $name): what health has to say.
sub catalog_problem
{
	my ($pattern, $name) = @_;
	local $Test::Builder::Level = $Test::Builder::Level + 1;
	like($node->safe_psql($db, q(SELECT string_agg(status || ' ' || concat_ws(' ', detail, action), '') FROM cdc.health() WHERE check_name IN ('catalog', 'query_functions') AND status <> 'ok')),
		$pattern, "$name: health says so");
	return;
}

forced("ALTER TABLE cdc.public_t_ct DETACH PARTITION $leaf");
catalog_problem(qr/critical Partition cdc\._ct_\w+ has been detached.*ATTACH/, 'a detached partition');
forced("ALTER TABLE cdc.public_t_ct ATTACH PARTITION $leaf $bound");
oracle_ok($node, $db, 'attached again, it is whole');

my $type = $node->safe_psql($db, q(SELECT prorettype::regtype FROM pg_proc WHERE proname = 'fn_cdc_get_all_changes_public_t'));
my $arguments = $node->safe_psql($db, q(SELECT pg_get_function_arguments(oid) FROM pg_proc WHERE proname = 'fn_cdc_get_all_changes_public_t'));
my $rows = $node->safe_psql($db, q(SELECT count(*) FROM cdc.fn_cdc_get_all_changes_public_t(cdc.fn_cdc_get_min_lsn('public_t'), cdc.fn_cdc_get_max_lsn(), 'all')));
$node->safe_psql($db, "CREATE OR REPLACE FUNCTION cdc.fn_cdc_get_all_changes_public_t($arguments) RETURNS SETOF $type LANGUAGE sql STABLE AS 'SELECT NULL::$type LIMIT 0'");
catalog_problem(qr/warning .*dropped or replaced.*renew_query_functions\('public_t'\)/, 'a query function that was replaced');
$node->safe_psql($db, q(CALL cdc.renew_query_functions('public_t')));
is($node->safe_psql($db, q(SELECT count(*) FROM cdc.fn_cdc_get_all_changes_public_t(cdc.fn_cdc_get_min_lsn('public_t'), cdc.fn_cdc_get_max_lsn(), 'all'))),
	$rows, 'renewed, it reads what is there');
forced('ALTER EXTENSION cdc DROP FUNCTION cdc.fn_cdc_get_net_changes_public_t; DROP FUNCTION cdc.fn_cdc_get_net_changes_public_t');
catalog_problem(qr/warning .*dropped or replaced.*renew_query_functions\('public_t'\)/, 'a query function that was dropped');
$node->safe_psql($db, q(CALL cdc.renew_query_functions('public_t')));
cmp_ok($node->safe_psql($db, q(SELECT count(*) FROM cdc.fn_cdc_get_net_changes_public_t(cdc.fn_cdc_get_min_lsn('public_t'), cdc.fn_cdc_get_max_lsn(), 'all'))),
	'>', 0, 'renewed, it is there again');

# The change table goes with all that hangs on it.
my $third = $node->safe_psql($db, q(SELECT string_agg(format('ALTER EXTENSION cdc DROP %s %s;', kind, name), ' ') FROM (
	SELECT CASE relkind WHEN 'v' THEN 'VIEW' ELSE 'TABLE' END AS kind, oid::regclass::text AS name FROM pg_class
	WHERE oid = 'cdc.public_third_ct'::regclass OR oid IN (SELECT inhrelid FROM pg_inherits WHERE inhparent = 'cdc.public_third_ct'::regclass)
		OR oid = (SELECT ('cdc._changes_' || instance_id)::regclass FROM cdc.change_tables WHERE capture_instance = 'public_third')
	UNION ALL SELECT 'TYPE', prorettype::regtype::text FROM pg_proc WHERE proname ~ '^fn_cdc_get_.*_public_third$'
	UNION ALL SELECT 'FUNCTION', oid::regprocedure::text FROM pg_proc WHERE proname ~ '^fn_cdc_get_.*_public_third$') m));
forced("$third DROP TABLE cdc.public_third_ct CASCADE");
catalog_problem(qr/critical The change table of capture instance "public_third" is missing.*sp_cdc_disable_table/, 'a change table that was dropped');
$node->safe_psql($db, 'INSERT INTO third VALUES (1)');
write_some();
$node->poll_query_until($db, q(SELECT state = 'failed' FROM cdc.pg_stat_cdc WHERE database = current_database())) or die 'not noticed';
like(stat_value($node, $db, q(concat_ws(' ', last_error_message, last_error_detail, last_error_hint))),
	qr/change table of capture instance "public_third" is missing.*sp_cdc_disable_table/, 'the state says which');
$node->safe_psql($db, q(CALL cdc.sp_cdc_disable_table('public', 'third', 'all')));
oracle_ok($node, $db, 'without that instance capture goes on, and the others have lost nothing', whole => 0);
enable_table($node, $db, 'third');
$node->safe_psql($db, 'INSERT INTO third VALUES (2)');
wait_captured($node, $db);
is($node->safe_psql($db, q(SELECT string_agg(id::text, ' ') FROM cdc.fn_cdc_get_all_changes_public_third(cdc.fn_cdc_get_min_lsn('public_third'), cdc.fn_cdc_get_max_lsn(), 'all'))),
	'2', 'enabled again it is captured again');
is($node->safe_psql($db, q(SELECT string_agg(check_name, ' ') FROM cdc.health() WHERE status = 'critical')), '', 'nothing is left to repair');

unlike(slurp_file($node->logfile), qr/PANIC|TRAP|was terminated by signal|XX000/, 'no process crashed, no internal error');
$node->stop;
done_testing();
