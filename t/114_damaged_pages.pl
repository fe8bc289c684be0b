# Damaged pages (with checksums): in a change table, its index and the mapping. Nobody crashes and nobody is given other
# values: readers and capture get the server's error, the state says so, other databases go on, and with the page put back
# capture goes on, with nothing lost.
use strict;
use warnings;

use FindBin;
use lib "$FindBin::RealBin/lib";

use CdcTest;
use PostgreSQL::Test::Utils;
use ReplayOracle;
use Test::More;

my $node = cdc_node('damaged_pages');
$node->stop;
# From 18 on a new cluster has them.
command_ok([ 'pg_checksums', '--enable', '-D', $node->data_dir ], 'with checksums') if $node->pg_version < 18;
$node->start;
my $db = 'pages';
for my $dbname ($db, 'healthy')
{
	cdc_create($node, $dbname);
	$node->safe_psql($dbname, 'CREATE TABLE t (id int GENERATED ALWAYS AS IDENTITY PRIMARY KEY, v text)');
	enable_table($node, $dbname, 't');
	$node->safe_psql($dbname, q(INSERT INTO t (v) SELECT 'row' FROM generate_series(1, 50)));
	wait_captured($node, $dbname);
}

my $leaf = $node->safe_psql($db, q(SELECT inhrelid::regclass FROM pg_inherits WHERE inhparent = 'cdc.public_t_ct'::regclass ORDER BY inhrelid::regclass::text LIMIT 1));
my $read = q(SELECT count(*) FROM cdc.fn_cdc_get_all_changes_public_t(cdc.fn_cdc_get_min_lsn('public_t'), cdc.fn_cdc_get_max_lsn(), 'all'));
for my $case (
	[ 'a change table', $leaf ],
	[ 'its index', $node->safe_psql($db, "SELECT indexrelid::regclass FROM pg_index WHERE indrelid = '$leaf'::regclass") ],
	[ 'the mapping', 'cdc.lsn_time_mapping' ],
	[ 'the index of the mapping', 'cdc.lsn_time_mapping_pkey' ],
	[ 'the progress', 'cdc._progress' ])
{
	my ($name, $relation) = @$case;
	my $path = $node->data_dir . '/' . $node->safe_psql($db, "SELECT pg_relation_filepath('$relation')");
	$node->safe_psql($db, 'CALL cdc.sp_cdc_stop_job()');
	$node->stop;
	my $whole = slurp_file($path);
	my $broken = $whole;
	substr($broken, $_ * 8192 + 4000, 200) = "\xa5" x 200 for 0 .. length($broken) / 8192 - 1;
	open my $file, '>', $path or die $!;
	binmode $file;
	print $file $broken;
	close $file;
	$node->start;
	$node->psql($db, 'CALL cdc.sp_cdc_start_job()');
	$node->safe_psql($_, q(INSERT INTO t (v) VALUES ('more'))) for $db, 'healthy';
	$node->poll_query_until('healthy', q(SELECT state = 'failed' AND last_error_code = 'XX001' FROM cdc.pg_stat_cdc WHERE database = 'pages')) or die "$name: not noticed";
	like($node->safe_psql('healthy', q(SELECT last_error_message FROM cdc.pg_stat_cdc WHERE database = 'pages')), qr/invalid page in block \d+ of relation/, "$name: the state says so");
	oracle_ok($node, 'healthy', "$name: another database goes on");
	# It reads the progress itself: then the server's error is the answer.
	$node->psql($db, q(SELECT status FROM cdc.health() WHERE check_name = 'capture_worker'), stdout => \my $status, stderr => \my $said);
	like("$status $said", $relation eq 'cdc._progress' ? qr/invalid page/ : qr/critical|warning/, "$name: health says so");
	$node->psql($db, $read, stdout => \my $rows, stderr => \my $stderr);
	ok($stderr =~ /invalid page/ || $rows > 0, "$name: who reads is told, or gets what there is");
	$node->stop;
	open $file, '>', $path or die $!;
	binmode $file;
	print $file $whole;
	close $file;
	$node->start;
	# It could not be started before, where the start itself reads the page.
	$node->safe_psql($db, 'CALL cdc.sp_cdc_start_job()');
	oracle_ok($node, $db, "$name: put back, nothing is lost");
}
unlike(slurp_file($node->logfile), qr/PANIC|TRAP|was terminated by signal/, 'no process crashed');
$node->stop;
done_testing();
