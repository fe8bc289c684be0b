# docs/operations.md as somebody would use it: its SQL is taken out of the page and run in the situations that it is for,
# and no check or state of the product is without a row on the page.
use strict;
use warnings;

use FindBin;
use lib "$FindBin::RealBin/lib";

use CdcTest;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use ReplayOracle;
use Test::More;

my $docs = "$FindBin::RealBin/../docs";
my $page = slurp_file("$docs/operations.md");

# section($heading): its text, up to the next heading of the same or a higher level.
sub section
{
	my ($heading, $text) = @_;
	$text //= $page;
	my ($level, $start);
	for my $match ($text =~ /^(#+ \Q$heading\E)$/m)
	{
		$start = index($text, "\n$match\n") + 1;
		($level) = $match =~ /^(#+)/;
	}
	die "the page has no section \"$heading\"" unless defined $start;
	my $rest = substr($text, index($text, "\n", $start) + 1);
	my $deep = length $level;
	$rest =~ s/^#{1,$deep} .*//ms;
	return $rest;
}

# sql($heading): the SQL blocks of a section, in order.
sub sql
{
	my ($heading) = @_;
	my @blocks;
	my $text = section($heading);
	while ($text =~ /^([ ]*)```sql\n(.*?)^\1```/msg)
	{
		my ($indent, $block) = ($1, $2);
		$block =~ s/^$indent//mg;
		push @blocks, $block;
	}
	die "section \"$heading\" has no SQL" unless @blocks;
	return @blocks;
}

# named(column of a table): what the first cells of a section's tables name.
sub named
{
	my ($text, $header) = @_;
	my ($table) = $text =~ /^\| $header \|[^\n]*\n((?:\|[^\n]*\n)+)/m or die "no table of $header";
	my %names;
	for my $line (split /\n/, $table)
	{
		my ($cell) = $line =~ /^\| ([^|]*) \|/;
		$names{$_} = 1 for $cell =~ /`([^`]+)`/g;
	}
	return join ' ', sort keys %names;
}

my $db = 'shop';
my $node = cdc_node('operations', 'cdc.partition_wal_size' => '1MB');
cdc_create($node, $db);
$node->safe_psql($db, q(
	CREATE TABLE orders (id int PRIMARY KEY, "Total, gross" numeric, note text, number bigint NOT NULL CONSTRAINT number_key UNIQUE);
	CREATE TABLE keyless (v text);));
enable_table($node, $db, 'keyless');
$node->safe_psql($db, q(CALL cdc.sp_cdc_enable_table('public', 'orders', 'readers', capture_instance => 'orders', index_name => 'number_key', captured_column_list => 'id, number, "Total, gross"')));

my $n = 0;

sub write_some
{
	$node->safe_psql($db, 'INSERT INTO orders VALUES ' . join(', ', map { $n++; "($n, $n.5, 'note', $n)" } 1 .. 10) . q(;
		UPDATE orders SET "Total, gross" = 0 WHERE id % 3 = 0; DELETE FROM orders WHERE id % 7 = 1; INSERT INTO keyless VALUES ('a'), ('b')));
	return;
}

write_some();

# --- Nothing is left out ---------------------------------------------------------------------------
my $alarm = section('At an alarm');
is(named($alarm, 'check'), $node->safe_psql($db, q(SELECT string_agg(check_name, ' ' ORDER BY check_name COLLATE "C") FROM cdc.health())), 'each check of health() is on the page, and no other');
is(named($alarm, 'state'), named(section('cdc.pg_stat_cdc', slurp_file("$docs/reference/views.md")), 'state'), 'each state is on the page, and no other');

# --- All is well ----------------------------------------------------------------------------------
my ($what, $where, $errors, $well) = sql('At an alarm');
$node->safe_psql($db, $well);
is($node->safe_psql($db, "SELECT count(*) FROM (" . $what =~ s/;\s*\z//r . ") h WHERE status = 'critical'"), '0', 'all is well: no check is critical');
like($node->safe_psql($db, $where), qr/^shop\|streaming\|/, 'all is well: capture streams');
is($node->safe_psql($db, $errors), '', 'all is well: no error, no gap');

# --- Stopping, retention, growth ------------------------------------------------------------------
$node->safe_psql($db, $_) for sql('Stopping capture for a while'), sql('Retention'), sql('Disk and slot growth'), sql('Disk full');
my ($kept) = sql('Disk and slot growth');
like($node->safe_psql($db, $kept), qr/^cdc_\d+\|[tf]\|reserved\|.*(bytes|kB|MB)/, 'what the slot keeps is shown');
my (undef, $sizes) = sql('Disk and slot growth');
like($node->safe_psql($db, $sizes), qr/^(keyless|orders|public_keyless)\|\d+ kB/m, 'and the sizes of change tables');
is($node->safe_psql($db, q(SELECT retention FROM cdc.cdc_jobs WHERE job_type = 'cleanup')), '1440', 'the retention is as the last command says');
$node->poll_query_until($db, q(SELECT count(*) >= 1 FROM cdc.cleanup_runs WHERE status = 'succeeded')) or die 'cleanup has not run';
write_some();
oracle_ok($node, $db, 'nothing is lost by any of it');

# The job is stopped: the page's table of states says what to call.
$node->safe_psql($db, 'CALL cdc.sp_cdc_stop_job()');
like($node->safe_psql($db, $where), qr/^shop\|stopped\|/, 'stopped: shown');
my ($cure) = $alarm =~ /^\| `stopped` \| `(CALL [^`]+;)`/m;
$node->safe_psql($db, $cure);
$node->safe_psql($db, $well);
like($node->safe_psql($db, $where), qr/^shop\|streaming\|/, 'stopped: the command of the page starts it');

# --- A failure that is repaired -------------------------------------------------------------------
$node->safe_psql($db, q(CREATE FUNCTION nothing() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NULL; END';
	DO $$ DECLARE leaf regclass; BEGIN FOR leaf IN SELECT inhrelid FROM pg_inherits WHERE inhparent = 'cdc.public_keyless_ct'::regclass LOOP
		EXECUTE format('CREATE TRIGGER hindrance BEFORE INSERT ON %s FOR EACH ROW EXECUTE FUNCTION nothing()', leaf); END LOOP; END $$));
write_some();
$node->poll_query_until($db, q(SELECT state = 'failed' FROM cdc.pg_stat_cdc WHERE database = current_database())) or die 'it does not fail';
like($node->safe_psql($db, $what), qr/^change_tables\|critical\|/m, 'failed: the check names the cause');
like($node->safe_psql($db, $errors), qr/has been changed/, 'failed: the error is kept');
my $action = $node->safe_psql($db, q(SELECT action FROM cdc.health() WHERE check_name = 'change_tables'));
$node->safe_psql($db, 'DROP FUNCTION nothing() CASCADE; CALL cdc.sp_cdc_start_job()');
$node->safe_psql($db, $well);
isnt($action, '', 'failed: with a command');
oracle_ok($node, $db, 'failed: repaired, and nothing is lost');

# --- The slot is lost -----------------------------------------------------------------------------
my ($resume, $bounds) = sql('After a gap');
$node->safe_psql($db, 'CALL cdc.sp_cdc_stop_job()');
$node->safe_psql($db, q(SELECT pg_drop_replication_slot(slot_name) FROM pg_replication_slots WHERE plugin = 'cdc'));
my $before = oracle_remember($node, $db, 'before');
write_some();
$node->psql($db, 'CALL cdc.sp_cdc_start_job()');
$node->poll_query_until($db, q(SELECT count(*) = 1 FROM cdc.gaps WHERE end_lsn IS NULL)) or die 'no gap';
like($node->safe_psql($db, $where), qr/^shop\|needs action\|.*resume_after_gap/, 'gap: the state, and what to call');
like($node->safe_psql($db, $what), qr/^gaps\|critical\|.*CALL cdc\.resume_after_gap\(\);$/m, 'gap: the check, and what to call');
$node->safe_psql($db, $resume);
my ($start, $up_to, $go_on) = split /\|/, $node->safe_psql($db, $bounds);
my $count = 'SELECT count(*) FROM cdc.fn_cdc_get_all_changes_public_keyless(';
is($node->safe_psql($db, "$count cdc.fn_cdc_get_min_lsn('public_keyless'), '$up_to', 'all')"), '6', 'gap: a consumer reads up to it');
is($node->safe_psql($db, "$count '$go_on', cdc.fn_cdc_get_max_lsn(), 'all')"), '0', 'gap: and goes on behind it');
my $after = oracle_remember($node, $db, 'after');
write_some();
$node->safe_psql($db, $well);
is($node->safe_psql($db, "$count '$go_on', cdc.fn_cdc_get_max_lsn(), 'all')"), '2', 'gap: with what comes then');
oracle_stretch_ok($node, $db, 'gap: before it nothing is missing', to => $start, end => $before);
oracle_stretch_ok($node, $db, 'gap: after it nothing is missing', from => $go_on, begin => $after);

# --- The emergency: WAL is given up ---------------------------------------------------------------
my $growth = section('Disk and slot growth');
my @discard = $growth =~ /`(CALL cdc\.discard_kept_wal\([a-z]*\);)`/g;
is(scalar(@discard), 2, 'the page has both calls');
my $stderr;
$node->psql($db, $discard[0], stderr => \$stderr);
like($stderr, qr/must be confirmed.*bytes of WAL.*would be freed/s, 'the first says what would be lost');
$node->safe_psql($db, $discard[1]);
$node->safe_psql($db, $well);
is($node->safe_psql($db, 'SELECT count(*) FROM cdc.gaps WHERE end_lsn IS NULL'), '0', 'the second goes on');

# --- A dump, and the same tables again ------------------------------------------------------------
my ($calls) = sql('Backup and restore');
my $script = $node->safe_psql($db, $calls);
my $dump = $node->basedir . '/dump';
$node->command_ok([ 'pg_dump', '-Fc', '-f', $dump, $node->connstr($db) ], 'dump');
$node->safe_psql('postgres', 'CREATE DATABASE restored');
$node->command_ok([ 'pg_restore', '--exit-on-error', '-d', $node->connstr('restored'), $dump ], 'restore');
$node->safe_psql('restored', 'CALL cdc.sp_cdc_enable_db()');
$node->safe_psql('restored', $script);
my $instances = q(SELECT source_schema, source_table, capture_instance, supports_net_changes, role_name, index_name, captured_column_list FROM cdc.sp_cdc_help_change_data_capture() ORDER BY 3);
is($node->safe_psql('restored', $instances), $node->safe_psql($db, $instances), 'the calls that the page makes enable the same tables');
$node->safe_psql('restored', q(CREATE TABLE base_orders AS TABLE orders; CREATE TABLE base_keyless AS TABLE keyless; UPDATE orders SET note = 'x'; UPDATE orders SET "Total, gross" = 7; DELETE FROM keyless));
oracle_ok($node, 'restored', 'and capture in the restored database is whole', baseline => { orders => 'base_orders', public_keyless => 'base_keyless' });

# --- Removing it ----------------------------------------------------------------------------------
$node->safe_psql('restored', $_) for (sql('Removing it'))[0];
is($node->safe_psql('postgres', q(SELECT count(*) FROM pg_replication_slots WHERE database = 'restored')), '0', 'removed: no slot is left');

# --- The rest must at least be what the server understands ----------------------------------------
SKIP:
{
	skip 'slots are synchronised from 17 on', 1 if $node->pg_version < 17;
	is($node->safe_psql('postgres', (sql('17 and later'))[0]), $node->safe_psql('postgres', q(SELECT slot_name, false FROM pg_replication_slots WHERE plugin = 'cdc')), 'the query before a failover; this is no standby');
}
$node->stop;
done_testing();
