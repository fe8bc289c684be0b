# Hostile calls of everything in schema cdc (t/lib/SqlFuzz.pm), by roles without rights, owners of tables and of the
# database, and a superuser: no crash, no internal error, nothing changed by what fails, nothing gained, capture goes on.
# CDC_TEST_FULL=1 runs longer, and in a SQL_ASCII database too; CDC_TEST_CALLS sets the number of calls.
use strict;
use warnings;

use FindBin;
use lib "$FindBin::RealBin/lib";

use CdcTest;
use PostgreSQL::Test::Utils;
use ReplayOracle;
use SqlFuzz;
use Test::More;

my $seed  = random_seed();
my $full  = $ENV{CDC_TEST_FULL};
my $calls = $ENV{CDC_TEST_CALLS} // ($full ? 20_000 : 400);
my $batch = 250;

my $node = cdc_node(
	'sql_fuzz',
	log_line_prefix         => '%m [%p] %a ',
	log_error_verbosity     => 'verbose',
	log_min_error_statement => 'panic',
	log_statement           => 'none',
	'cdc.idle_mapping_interval' => 0);
my @databases = ([ 'fuzz_keep', 'UTF8', 1 ], [ 'fuzz_wild', 'UTF8', 0 ], $full ? [ 'fuzz_ascii', 'SQL_ASCII', 0 ] : ());
my $script = 0;
my $step   = 1;

sub script_file { return $node->basedir . '/fuzz' . ++$script . '.sql' }

# check($problems, $what): fails with the first of them.
sub check
{
	my ($problems, $what) = @_;
	ok(!@$problems, $what) or diag join "\n", map { substr $_, 0, 3000 } @$problems[ 0 .. ($#$problems > 9 ? 9 : $#$problems) ];
	return;
}

# revive($db): what a round may have done on purpose is undone: capture runs, and some tables are captured.
sub revive
{
	my ($db, $keep) = @_;
	if (!$keep)
	{
		$node->safe_psql($db, 'CREATE EXTENSION IF NOT EXISTS cdc');
		$node->psql($db, 'CALL cdc.sp_cdc_enable_db()');
		$node->psql($db, 'CALL cdc.resume_after_gap()');
	}
	$node->psql($db, q(CALL cdc.sp_cdc_add_job('capture')));
	$node->psql($db, 'CALL cdc.sp_cdc_start_job()');
	return if $keep;
	$node->psql($db, "CALL cdc.sp_cdc_enable_table('hostile', '$_', NULL, capture_instance => '$_')") for 'plain', 'odd', 'parts', 'evil_table';
	return;
}

# changes($db): rows of the kept table, so that there is something to lose.
sub changes
{
	my ($db) = @_;
	my $secret = fuzz_secret();
	$node->safe_psql($db, "UPDATE kept.rows SET v = '$secret ' || random() WHERE id % 5 = " . int(rand 5) . "; DELETE FROM kept.rows WHERE id > 100; INSERT INTO kept.rows SELECT max(id) + 1, '$secret' FROM kept.rows;");
	return;
}

for my $database (@databases)
{
	my ($db, $encoding, $keep) = @$database;
	fuzz_prepare($node, $db, $encoding);
	my $left = $calls / @databases;
	my $round = 0;
	while ($left > 0)
	{
		$round++;
		revive($db, $keep);
		changes($db);
		my $former  = log_size($node);
		my $catalog = fuzz_catalog($node, $db);
		my @steps = fuzz_round($catalog, $step, $left < $batch ? $left : $batch, keep => $keep, every => $round == 1);
		$step += @steps;
		$left -= $batch;
		my $run = fuzz_run($node, $db, fuzz_script(\@steps, 1), script_file());
		eval { $run->{run}->finish };
		my @problems = fuzz_judge($node, $db, \@steps, ${ $run->{output} });
		push @problems, fuzz_log_problems(log_since($node, $former), \@steps);
		push @problems, fuzz_rights($node, $db);
		check(\@problems, "$db, round $round: " . @steps . ' calls one by one');
	}
	revive($db, $keep);
	changes($db) if $keep;
	wait_captured($node, $db);
	is($node->safe_psql($db, "SELECT state FROM cdc.pg_stat_cdc WHERE database = '$db'"), 'streaming', "$db is captured on");
}

# Several sessions at once, each logged in as what it is. Nobody looks at the state now, only at how it ends.
for my $database (@databases)
{
	my ($db, $encoding, $keep) = @$database;
	for my $round (1 .. ($full ? 20 : 1))
	{
		revive($db, $keep);
		my $former  = log_size($node);
		my $catalog = fuzz_catalog($node, $db);
		my (@all, @runs);
		for my $user ('owner', 'owner', 'odd', $keep ? () : 'dba', 'super')
		{
			my @steps = fuzz_round($catalog, $step, 40, keep => $keep || $user eq 'super', drops => 1);
			$step += @steps;
			@steps = grep { ($_->{role} eq 'super') == ($user eq 'super') } @steps;
			push @all, @steps;
			push @runs, fuzz_run($node, $db, fuzz_script(\@steps, 0), script_file(), $user eq 'super' ? undef : fuzz_roles()->{$user});
		}
		changes($db) for 1 .. 10;
		my @problems;
		for my $run (@runs)
		{
			eval { $run->{run}->finish };
			push @problems, 'a session has not come to its end: ' . substr ${ $run->{output} }, -500 unless ${ $run->{output} } =~ /^\@\@ end$/m;
		}
		# What the server says of objects that go while a statement that has found them is being planned.
		push @problems, fuzz_log_problems(log_since($node, $former), \@all,
			[ qr/^(caught )?could not open relation with OID \d+$/, qr/^(caught )?cache lookup failed for (function|relation|type|attribute) /, qr/^(caught )?tuple concurrently (updated|deleted)$/ ]);
		push @problems, fuzz_rights($node, $db);
		$node->safe_psql('postgres', "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE pid <> pg_backend_pid() AND backend_type = 'client backend'");
		push @problems, "hostile code ran as a superuser: $_" for split /\n/, $node->safe_psql($db, 'SELECT DISTINCT concat_ws($$ / $$, who, session, backend, left(query, 300)) FROM fuzz_judge.marker');
		check(\@problems, "$db: several sessions at once, round $round");
	}
	revive($db, $keep);
	changes($db) if $keep;
	wait_captured($node, $db);
	is($node->safe_psql($db, "SELECT state FROM cdc.pg_stat_cdc WHERE database = '$db'"), 'streaming', "$db is captured on");
}

# The replication protocol, and slots, with our plugin and our names.
{
	my $former = log_size($node);
	my $slot   = fuzz_catalog($node, 'fuzz_keep')->{slot};
	my $lines  = "\\set VERBOSITY terse\n" . join '', map { "$_;\n" } 'IDENTIFY_SYSTEM',
	  'CREATE_REPLICATION_SLOT fuzz_a LOGICAL cdc', 'CREATE_REPLICATION_SLOT fuzz_b TEMPORARY LOGICAL cdc EXPORT_SNAPSHOT',
	  'CREATE_REPLICATION_SLOT fuzz_d TEMPORARY LOGICAL cdc (SNAPSHOT \'nothing\', TWO_PHASE)', "CREATE_REPLICATION_SLOT $slot LOGICAL cdc", "CREATE_REPLICATION_SLOT $slot PHYSICAL", 'CREATE_REPLICATION_SLOT cdc_0 LOGICAL cdc',
	  'START_REPLICATION SLOT fuzz_a LOGICAL 0/0', 'START_REPLICATION SLOT fuzz_a LOGICAL FFFFFFFF/FFFFFFFF ("proto_version" \'1\', "x" \'\', "" \'\')', "START_REPLICATION SLOT $slot LOGICAL 0/0", "START_REPLICATION SLOT $slot LOGICAL 0/0 (\"skip-empty-xacts\" '1')", "START_REPLICATION SLOT $slot PHYSICAL 0/0",
	  "START_REPLICATION SLOT $slot 0/0", "DROP_REPLICATION_SLOT $slot", "DROP_REPLICATION_SLOT $slot WAIT", "READ_REPLICATION_SLOT $slot", "SELECT * FROM cdc.databases", "CALL cdc.wait_for_capture(timeout => '1s')", 'CALL cdc.sp_cdc_enable_db()', 'CALL cdc.sp_cdc_scan()', 'BASE_BACKUP (LABEL \'x\', TARGET \'blackhole\', WAL false, CHECKPOINT \'fast\')';
	for my $user ('fuzz_repl', undef)
	{
		my $run = fuzz_run($node, 'fuzz_keep', $lines =~ s/;\nDROP_REPLICATION_SLOT \S+ WAIT//r, script_file(), $user, 'database');
		eval { $run->{run}->finish };
		unlike(${ $run->{output} }, qr/\Q${\fuzz_secret()}\E/, 'nothing is read by the replication protocol');
		$run = fuzz_run($node, 'fuzz_keep', join("\n", map { "$_;" } "SET statement_timeout = '2s'", map { ("SELECT pg_create_logical_replication_slot('fuzz_e', 'cdc', true)", "SELECT * FROM $_", "SELECT pg_drop_replication_slot('fuzz_e')") }
			"pg_logical_slot_get_changes('fuzz_e', NULL, NULL)", "pg_logical_slot_peek_binary_changes('fuzz_e', NULL, 1, 'x', 'y')", "pg_replication_slot_advance('fuzz_e', pg_current_wal_lsn())", "pg_copy_logical_replication_slot('fuzz_e', 'fuzz_f', true)", "pg_logical_slot_get_changes('$slot', NULL, NULL)", "pg_copy_logical_replication_slot('$slot', 'fuzz_g', false)", "pg_logical_slot_get_changes('fuzz_g', NULL, NULL)"), script_file(), $user);
		eval { $run->{run}->finish };
		unlike(${ $run->{output} }, qr/\Q${\fuzz_secret()}\E/, 'nor by the functions of slots');
	}
	$node->safe_psql('postgres', "SELECT pg_drop_replication_slot(slot_name) FROM pg_replication_slots WHERE slot_name ~ '^fuzz_|^cdc_0'");
	check([ fuzz_log_problems(log_since($node, $former), []) ], 'without an internal error');
}

# A session that fails for ever does not grow. What is used counts: a context takes its blocks by the megabyte.
{
	my $db      = 'fuzz_keep';
	my $catalog = fuzz_catalog($node, $db);
	my @list    = map { my $call = fuzz_call($catalog)->[0]; $call =~ /wait_for_capture|scan|stop_job|start_job/ ? () : $call } 1 .. 200;
	my $sum  = "RESET ROLE;\nSELECT '\@\@' || pg_catalog.sum(used_bytes) FROM pg_catalog.pg_backend_memory_contexts;\nSET ROLE fuzz_owner;\n";
	my $once = join '', map { "BEGIN;\n$_;\nROLLBACK;\n" } @list;
	my $run  = fuzz_run($node, $db, "\\set VERBOSITY terse\nSET statement_timeout = '400ms';\nSET ROLE fuzz_owner;\n" . $once x 3 . $sum . $once x ($full ? 50 : 8) . $sum, script_file());
	eval { $run->{run}->finish };
	my @bytes = ${ $run->{output} } =~ /^\@\@(\d+)$/mg;
	note "memory of the session: @bytes";
	cmp_ok($bytes[1] - $bytes[0], '<', 100_000, 'calls that fail leave no memory behind');
}

oracle_ok($node, 'fuzz_keep', 'the kept table', instances => [ grep { $_->{name} eq 'kept_rows' } oracle_instances($node, 'fuzz_keep') ], baseline => { kept_rows => 'kept.baseline' }, whole => 0);
# The judges see what they are there to see.
{
	my $db     = 'fuzz_wild';
	my $secret = fuzz_secret();
	$node->safe_psql($db, qq(
		CREATE PROCEDURE cdc.bad_commit() LANGUAGE plpgsql AS \$\$ BEGIN CREATE TABLE hostile.left_behind (id integer); COMMIT; RAISE 'x'; END \$\$;
		CREATE FUNCTION cdc.bad_internal() RETURNS void LANGUAGE plpgsql AS \$\$ BEGIN RAISE 'x' USING ERRCODE = 'XX000'; END \$\$;
		CREATE FUNCTION cdc.bad_definer() RETURNS text LANGUAGE plpgsql SECURITY DEFINER AS \$\$ BEGIN RETURN default_it(); END \$\$;
		CREATE FUNCTION cdc.bad_leak() RETURNS text LANGUAGE sql SECURITY DEFINER AS \$\$ SELECT v FROM kept.rows WHERE v = '$secret' LIMIT 1 \$\$;
		GRANT UPDATE ON cdc.cdc_jobs TO fuzz_owner;
		GRANT CREATE ON SCHEMA hostile TO PUBLIC;));
	my @bad = (
		[ 'owner', 'CALL cdc.bad_commit()', [], qr/changed after error P0001:.*left_behind/ ],
		[ 'nobody', 'SELECT cdc.bad_internal()', [], qr/internal error x/ ],
		[ 'nobody', 'SELECT cdc.bad_definer()', ['search_path = hostile, pg_catalog'], qr/hostile code ran as a superuser/ ],
		[ 'nobody', 'SELECT cdc.bad_leak()', [], qr/a nobody reads what he may not/ ],
		[ 'nobody', 'SELECT 1', [], qr/fuzz_owner may write cdc_jobs/ ]);
	for my $bad (@bad)
	{
		my ($role, $call, $settings, $problem) = @$bad;
		my $former = log_size($node);
		my @steps = ({ number => $step++, role => $role, settings => $settings, name => 'bad', statements => [$call], unchanged => 'on error' });
		my $run = fuzz_run($node, $db, fuzz_script(\@steps, 1), script_file());
		eval { $run->{run}->finish };
		my @problems = (fuzz_judge($node, $db, \@steps, ${ $run->{output} }), fuzz_log_problems(log_since($node, $former), \@steps), fuzz_rights($node, $db));
		like(join("\n", @problems), $problem, "$call is noticed");
	}
}

$node->stop;
done_testing();
