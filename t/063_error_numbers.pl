# SQL Server's error numbers that take a second session, a setting or a superuser's mistake to be met: in messages, and in
# dm_cdc_errors.
use strict;
use warnings;

use FindBin;
use lib "$FindBin::RealBin/lib";

use CdcTest;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = cdc_node('numbers', 'cdc.cleanup_lock_timeout' => '10ms');
my $db   = 'numbers';
cdc_create($node, $db);
$node->safe_psql($db, 'CREATE TABLE t (id int PRIMARY KEY, v text)');
enable_table($node, $db, 't');
$node->safe_psql($db, 'INSERT INTO t VALUES (1)');
wait_captured($node, $db);

sub said
{
	my ($sql, $number, $what) = @_;
	my (undef, undef, $error) = $node->psql($db, $sql);
	like($error, qr/SQL Server error $number\b/, "$number: $what");
	return;
}

# noted($number): the worker or the job has kept an error of this number.
sub noted
{
	my ($number, $what) = @_;
	ok($node->poll_query_until($db, "SELECT count(*) > 0 FROM cdc.dm_cdc_errors WHERE error_number = $number"), "$number: $what");
	return;
}

said('CALL cdc.sp_cdc_enable_db()', 22905, 'enabled already');
said(q(CREATE ROLE granted; GRANT EXECUTE ON PROCEDURE cdc.sp_cdc_enable_db TO granted; SET ROLE granted; CALL cdc.sp_cdc_enable_db()), 22902, 'EXECUTE alone is not enough');
said(q(CALL cdc.sp_cdc_cleanup_change_table('public_t', '0/1')), 22964, 'no mapping row');
$node->safe_psql($db, "INSERT INTO t VALUES ($_)") for 2 .. 4;
wait_captured($node, $db);
my ($first, $last) = split /\n/, $node->safe_psql($db, 'SELECT min(start_lsn) FROM cdc.lsn_time_mapping UNION ALL SELECT max(start_lsn) FROM cdc.lsn_time_mapping');
$node->safe_psql($db, "CALL cdc.sp_cdc_cleanup_change_table('public_t', '$last')");
said("CALL cdc.sp_cdc_cleanup_change_table('public_t', '$first')", 22957, 'below the low end');

# Rows cannot be written, and then can.
$node->safe_psql($db, q(
	CREATE FUNCTION f() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NULL; END';
	CREATE TRIGGER mistake BEFORE INSERT ON cdc.public_t_ct FOR EACH ROW EXECUTE FUNCTION f();
	INSERT INTO t VALUES (5);));
noted(22863, 'change rows could not be inserted');
$node->safe_psql($db, 'DROP TRIGGER mistake ON cdc.public_t_ct');
$node->safe_psql($db, 'CALL cdc.sp_cdc_start_job()');
wait_captured($node, $db);

# A DDL event cannot be recorded, and then can.
$node->safe_psql($db, 'SET allow_system_table_mods = on; ALTER TABLE cdc.ddl_history RENAME TO ddl_history_away; ALTER TABLE t ADD COLUMN w int');
noted(22860, 'a DDL record could not be handled');
$node->safe_psql($db, 'SET allow_system_table_mods = on; ALTER TABLE cdc.ddl_history_away RENAME TO ddl_history');
$node->safe_psql($db, 'CALL cdc.sp_cdc_start_job()');
wait_captured($node, $db);
is($node->safe_psql($db, 'SELECT count(*) FROM cdc.ddl_history'), '1', 'it is recorded afterwards');

# Cleanup meets locks that are not given back in time. Prepared transactions hold them.
$node->safe_psql($db, q(ALTER SYSTEM SET cdc.idle_mapping_interval = '1s'));
$node->reload;
$node->safe_psql($db, q(CALL cdc.sp_cdc_stop_job('capture'); UPDATE cdc.lsn_time_mapping SET tran_end_time = tran_end_time - interval '4 days' WHERE start_lsn < (SELECT max(start_lsn) FROM cdc.lsn_time_mapping);));
for (['change_tables', 22923, 'the low-water mark cannot be stored'], ['lsn_time_mapping', 22853, 'mapping rows cannot be removed'], ['gaps', 22924, 'the end of a cleanup fails'])
{
	my ($table, $number, $what) = @$_;
	$node->safe_psql($db, "BEGIN; LOCK TABLE cdc.$table IN SHARE MODE; PREPARE TRANSACTION 'lock'");
	$node->safe_psql($db, "CALL cdc.sp_cdc_start_job('cleanup')");
	noted($number, $what);
	$node->safe_psql($db, "COMMIT PREPARED 'lock'");
	$node->poll_query_until($db, q(SELECT count(*) = 0 FROM pg_stat_activity WHERE backend_type = 'cdc cleanup worker')) or die 'cleanup does not end';
}

# No worker can be started.
$node->safe_psql('postgres', 'ALTER SYSTEM SET max_worker_processes = 2');
$node->safe_psql($db, q(CALL cdc.sp_cdc_start_job('capture')));
$node->restart;
noted(22864, 'the capture job could not be started');
$node->safe_psql('postgres', 'ALTER SYSTEM RESET max_worker_processes');
$node->restart;
$node->safe_psql($db, 'INSERT INTO t VALUES (6)');
wait_captured($node, $db);
is($node->safe_psql($db, 'SELECT state FROM cdc.pg_stat_cdc WHERE database = current_database()'), 'streaming', 'all is well again');

# Errors are kept over a restart, scan sessions are not.
is($node->safe_psql($db, q(SELECT string_agg(DISTINCT error_number::text, ' ') FROM cdc.dm_cdc_errors WHERE error_number IN (22863, 22860, 22853) AND entry_time < pg_postmaster_start_time())), '22853 22860 22863', 'errors from before the restart');
is($node->safe_psql($db, 'SELECT count(*) FROM cdc.dm_cdc_log_scan_sessions WHERE session_id > 0 AND start_time < pg_postmaster_start_time()'), '0', 'scan sessions are those since the server started');

$node->stop;
done_testing();
