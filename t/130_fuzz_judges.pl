# The judges of tools/fuzz: each finds the damage that it is there for, and nothing in what is right.
use strict;
use warnings;

use FindBin;
use lib "$FindBin::RealBin/lib", "$FindBin::RealBin/../test/fuzz";

use CdcTest;
use FuzzJudge;
use FuzzRound;
use SoakTrend;
use Test::More;

my $db   = 'judged';
my $node = cdc_node('judged', autovacuum => 'off');
$node->safe_psql('postgres', 'CREATE ROLE fuzz_reader; CREATE ROLE fuzz_other');
fuzz_database($node, $db);
$node->safe_psql($db, q(
	CREATE TABLE t (id int PRIMARY KEY, a text, b int, c numeric, d date, e text, f text, g text, h text, i text);
	CREATE TRIGGER note AFTER INSERT OR UPDATE OR DELETE ON t FOR EACH ROW EXECUTE FUNCTION fuzz.note();
	CALL cdc.sp_cdc_enable_table('public', 't', NULL, capture_instance => 't');
	INSERT INTO fuzz.marks SELECT instance_id, nextval('fuzz.shadow_id_seq'), 0 FROM cdc.change_tables;
	INSERT INTO t SELECT n, 'a', n FROM generate_series(1, 9) n;
	BEGIN;
	UPDATE t SET a = 'b' WHERE id = 2;
	UPDATE t SET b = 20, i = 'x' WHERE id = 3;
	UPDATE t SET id = 40 WHERE id = 4;
	DELETE FROM t WHERE id = 5;
	COMMIT;
	UPDATE t SET a = 'c' WHERE id = 2;
	DELETE FROM t WHERE id = 6;
	INSERT INTO t VALUES (6, 'again');
	CALL cdc.wait_for_capture();));

my %round = (wild => 0, shadow => 1);
is(join("\n", judge_all($node, $db, \%round)), '', 'nothing is wrong with what is right');
cmp_ok($FuzzJudge::rows_compared, '>', 15, 'and rows were compared');

# finds($pattern, $damage, $repair): a problem of that kind is there as long as the damage is.
sub finds
{
	my ($pattern, $damage, $repair, $name) = @_;
	$node->safe_psql($db, $damage);
	my @problems = judge_all($node, $db, \%round);
	ok(scalar(grep { /$pattern/ } @problems), $name) or diag join "\n", 'found:', @problems;
	$node->safe_psql($db, $repair);
	return;
}

finds(qr/only written/, 'CREATE TABLE kept AS SELECT * FROM cdc.t_ct WHERE id = 7; DELETE FROM cdc.t_ct WHERE id = 7', 'INSERT INTO cdc.t_ct SELECT * FROM kept; DROP TABLE kept', 'a change that is missing');
finds(qr/only captured/, q(INSERT INTO cdc.t_ct SELECT * FROM cdc.t_ct WHERE id = 8), q(DELETE FROM cdc.t_ct WHERE ctid IN (SELECT max(ctid) FROM cdc.t_ct WHERE id = 8)), 'a change that is there twice');
finds(qr/only captured.*999/, 'UPDATE cdc.t_ct SET b = 999 WHERE id = 9', 'UPDATE cdc.t_ct SET b = 9 WHERE id = 9', 'a wrong value');
my $swap = q(UPDATE cdc.t_ct c SET "__$seqval" = o."__$seqval", "__$command_id" = o."__$command_id" FROM cdc.t_ct o
	WHERE c."__$start_lsn" = o."__$start_lsn" AND c.id IN (8, 9) AND o.id = 17 - c.id AND c."__$operation" = 2 AND o."__$operation" = 2);
finds(qr/another order/, $swap, $swap, 'two changes of a transaction in the wrong order');
my $flip = q(UPDATE cdc.t_ct SET "__$update_mask" = set_byte("__$update_mask", 0, get_byte("__$update_mask", 0) # 1) WHERE id = 3 AND "__$operation" = 4);
finds(qr/mask .* bits? differ/, $flip, $flip, 'a mask with a wrong bit in one row of an update');
(my $both = $flip) =~ s/ = 4/ IN (3, 4)/;
finds(qr/mask .* bits? differ at 9/, $both, $both, 'a mask with a wrong bit');
finds(qr/net changes .* only the slow version has/, q(ALTER FUNCTION cdc.fn_cdc_get_net_changes_t(pg_lsn, pg_lsn, text) RENAME TO right_one;
		CREATE FUNCTION cdc.fn_cdc_get_net_changes_t(pg_lsn, pg_lsn, text) RETURNS SETOF cdc._net_changes_1 LANGUAGE sql AS 'SELECT * FROM cdc.right_one($1, $2, $3) WHERE "__$operation" <> 2'),
	'DROP FUNCTION cdc.fn_cdc_get_net_changes_t(pg_lsn, pg_lsn, text); ALTER FUNCTION cdc.right_one(pg_lsn, pg_lsn, text) RENAME TO fn_cdc_get_net_changes_t', 'a net change that is missing');
finds(qr/no member of the extension/, 'CREATE TABLE cdc.stranger (a int)', 'DROP TABLE cdc.stranger', 'a table that does not belong there');
finds(qr/captured_columns without an instance/, q(INSERT INTO cdc.captured_columns VALUES (1, 'x', 1, 'int', 1, false)), 'DELETE FROM cdc.captured_columns WHERE object_id = 1', 'a captured column of nothing');
finds(qr/index and its columns do not agree/, 'CREATE TABLE kept AS TABLE cdc.index_columns; DELETE FROM cdc.index_columns', 'INSERT INTO cdc.index_columns TABLE kept; DROP TABLE kept', 'a row identifier without columns');
finds(qr/begins at ordinal/, 'UPDATE cdc.lsn_time_mapping SET change_count = change_count + 1 WHERE change_count = 4', 'UPDATE cdc.lsn_time_mapping SET change_count = change_count - 1 WHERE change_count = 5', 'an ordinal of a change that is left out');
finds(qr/is remembered for/, q(INSERT INTO cdc._replica_identity VALUES ('pg_class'::regclass, 'd')), q(DELETE FROM cdc._replica_identity WHERE source_object_id = 'pg_class'::regclass), 'a replica identity of nothing');
finds(qr/replica_identity/, 'ALTER TABLE t REPLICA IDENTITY DEFAULT', 'ALTER TABLE t REPLICA IDENTITY FULL', 'a replica identity that was changed');
finds(qr/relation _dropped_5 belongs to nothing/, 'CREATE TABLE cdc._dropped_5 (a int)', 'DROP TABLE cdc._dropped_5', 'a change table that was left behind');
finds(qr/function .* belongs to nothing/, 'CREATE FUNCTION cdc.fn_cdc_get_all_changes_x() RETURNS int LANGUAGE sql AS $$ SELECT 1 $$', 'DROP FUNCTION cdc.fn_cdc_get_all_changes_x', 'a query function that was left behind');
finds(qr/t: fuzz_reader reads 42501, and should \d+/, 'GRANT SELECT ON t TO fuzz_reader; REVOKE EXECUTE ON FUNCTION cdc.fn_cdc_get_all_changes_t FROM PUBLIC',
	'REVOKE SELECT ON t FROM fuzz_reader; GRANT EXECUTE ON FUNCTION cdc.fn_cdc_get_all_changes_t TO PUBLIC', 'a reader who is refused without a reason');
finds(qr/t: fuzz_other reads \d+, and should 42501/, q(ALTER FUNCTION cdc.fn_cdc_get_all_changes_t(pg_lsn, pg_lsn, text) RENAME TO right_one;
		CREATE FUNCTION cdc.fn_cdc_get_all_changes_t(pg_lsn, pg_lsn, text) RETURNS SETOF cdc._all_changes_1 SECURITY DEFINER LANGUAGE sql AS 'SELECT * FROM cdc.right_one($1, $2, $3)'),
	'DROP FUNCTION cdc.fn_cdc_get_all_changes_t(pg_lsn, pg_lsn, text); ALTER FUNCTION cdc.right_one(pg_lsn, pg_lsn, text) RENAME TO fn_cdc_get_all_changes_t', 'a reader who sees what is not for him');
finds(qr/t: ALTER TABLE t DETACH PARTITION p, although/, q(UPDATE cdc.change_tables SET partition_switch = false;
		INSERT INTO cdc.ddl_history SELECT source_object_id, object_id, false, 'ALTER TABLE t DETACH PARTITION p', '0/1', now() FROM cdc.change_tables),
	'UPDATE cdc.change_tables SET partition_switch = true; DELETE FROM cdc.ddl_history', 'a partition switch that should have been refused');
my $off = join '', map { "ALTER EVENT TRIGGER $_ DISABLE;" } qw(cdc_ddl_command_start cdc_ddl_command_end cdc_sql_drop);
my $on = $off =~ s/DISABLE/ENABLE ALWAYS/gr;
finds(qr/u: its source is gone/, "CREATE TABLE u (id int PRIMARY KEY); CALL cdc.sp_cdc_enable_table('public', 'u', NULL, capture_instance => 'u');
		$off DROP TABLE u; $on CALL cdc.wait_for_capture()",
	'SELECT fuzz.note_unseen(true)', 'an instance whose source went without a mark');
is(join("\n", judge_all($node, $db, \%round)), '', 'which is right when no event trigger could see it, and health() says so');
finds(qr/health\(\) says of the catalog: critical, 2 problems/, 'SET allow_system_table_mods = on; ALTER EXTENSION cdc DROP TABLE cdc._errors', 'ALTER EXTENSION cdc ADD TABLE cdc._errors', 'anything else that health() says of the catalog');
$node->safe_psql($db, q(CALL cdc.sp_cdc_disable_table('-', '-', 'u'); CALL cdc.wait_for_capture()));
finds(qr/earlier than the row before/, q(UPDATE cdc.lsn_time_mapping SET tran_end_time = tran_end_time + '1 day' WHERE change_count = 4), q(UPDATE cdc.lsn_time_mapping SET tran_end_time = tran_end_time - interval '1 day' WHERE change_count = 4), 'a time that goes back');
is(join("\n", judge_all($node, $db, \%round)), '', 'everything was repaired');
$node->stop;

# What tools/soak calls growth.
my @waves = map { 20 * sin($_) } 0 .. 79;
ok(grows(map { 1000 + 2 * $_ + $waves[$_] } 0 .. 79), 'what grows steadily');
ok(grows(map { 1000 + 40 * int($_ / 10) + $waves[$_] } 0 .. 79), 'what grows in steps that go on');
ok(grows(map { ($_ < 24 ? 1000 : 1200) + $waves[$_] } 0 .. 79), 'a step, too');
ok(!grows(map { 1000 + 5 * $waves[$_] } 0 .. 79), 'not what goes up and down');
ok(!grows(map { 1000 + $_ / 2 + $waves[$_] } 0 .. 79), 'nor less than a tenth');
done_testing();
