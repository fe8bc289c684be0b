# FuzzRound.pm: one round from its seed: tables, sessions, faults, rest, judgement.
#
# NOTES
#	Everything random about a round is drawn before its first statement runs, from its seed and number alone. What
#	the sessions do to each other, and when a fault meets them, is the server's business.
package FuzzRound;

use strict;
use warnings;

use Exporter 'import';
use CdcTest;
use FuzzJudge;
use FuzzSchema;
use FuzzSession;
use FuzzValues;
use POSIX ':sys_wait_h';
use PostgreSQL::Test::Utils;
use ReplayOracle;
use Test::More;
use Time::HiRes qw(time);

our @EXPORT = qw(fuzz_database fuzz_rounds);

my @settings = (
	'cdc.partition_wal_size' => [ '1MB', '1MB', '4MB', '16GB' ],
	'cdc.capture_queue_size' => [ '512kB', '512kB', '8MB' ],
	'logical_decoding_work_mem' => [ '64kB', '64kB', '1MB', '64MB' ],
	'cdc.cleanup_lock_timeout' => [ '10ms', '2s' ],
	'cdc.idle_mapping_interval' => [ '1s', '5min', '0' ],
	'checkpoint_timeout' => [ '30s', '5min' ],
	'autovacuum' => [ 'on', 'off' ]);

sub _configure
{
	my ($node) = @_;
	my @pairs = @settings;
	my $sql = '';
	while (my ($name, $values) = splice @pairs, 0, 2) { $sql .= "ALTER SYSTEM SET $name = '" . fuzz_lot(@$values) . "';\n" }
	return $sql . 'SELECT pg_reload_conf();';
}

# The server may be on its way back from a crash.
sub _wait_for_server
{
	my ($node) = @_;
	wait_until(sub { (eval { ($node->psql('postgres', 'SELECT 1'))[0] } // 1) == 0 }, 'the server comes back');
	return;
}

# A session goes on with its next part when the server, or somebody, has ended its connection.
sub _start_session
{
	my ($node, $db, $stem, $parts) = @_;
	my @files = map { "${stem}_$_.sql" } 1 .. @$parts;
	append_to_file($files[$_], $parts->[$_]) for 0 .. $#files;
	my $psql = $node->installed_command('psql');
	my $ready = $node->installed_command('pg_isready');
	my $pid = fork // die "fork: $!";
	if ($pid == 0)
	{
		open STDIN, '<', '/dev/null' or die;
		open STDOUT, '>', "$stem.out" or die;
		open STDERR, '>&', \*STDOUT or die;
		my $server = $node->connstr($db);
		for my $file (@files)
		{
			eval { wait_until(sub { system($ready, '-q', '-d', $server) == 0 }, 'the server comes back'); 1 } or POSIX::_exit(1);
			system $psql, '-XAtq', '-d', $server, '-f', $file;
		}
		POSIX::_exit(0);
	}
	return { pid => $pid, out => "$stem.out", alive => 1 };
}

sub _alive
{
	my ($run) = @_;
	$run->{alive} = 0 if $run->{alive} && waitpid($run->{pid}, WNOHANG) != 0;
	return $run->{alive};
}

sub _end_sessions
{
	my ($node, $db, @running) = @_;
	for my $run (@running)
	{
		kill 'TERM', $run->{pid} if _alive($run);
		waitpid $run->{pid}, 0 if $run->{alive};
	}
	_wait_for_server($node);
	# A session that is gone leaves its psql behind for a moment.
	wait_until(
		sub {
			(eval { $node->psql('postgres', "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '$db' AND backend_type = 'client backend'") } // '') eq '0'
			  && (eval { $node->safe_psql('postgres', "SELECT count(*) FROM pg_stat_activity WHERE datname = '$db' AND backend_type = 'client backend'") } // 1) eq '0';
		},
		'the sessions have ended');
	return;
}

sub _do_fault
{
	my ($node, $what, $whom, $action) = @_;
	if ($what =~ /^(kill|terminate|cancel)$/)
	{
		my $title = $whom eq 'client' ? qr/^postgres: .*fuzz_\d+ \[local\]/ : qr/\Q$whom\E/;
		my $pid = fuzz_lot(server_processes($node, $title));
		kill { kill => 'KILL', terminate => 'TERM', cancel => 'INT' }->{$what}, $pid if $pid;
		# From the moment that the postmaster knows, nobody gets a connection until the server is back.
		wait_until(sub { !kill 0, $pid }, "process $pid is gone") if $pid && $what eq 'kill';
	}
	elsif ($what eq 'reload') { $node->psql('postgres', _configure($node)) }
	elsif ($what eq 'point')
	{
		_wait_for_server($node);
		# What fails at ddl-queue is not in the history: the judges do not know of that.
		my @points = grep { $_ ne 'ddl-queue' } eval { fault_points($node) };
		eval { fault_set($node, "$points[$whom * @points]:$action") } if @points;
	}
	elsif ($what eq 'checkpoint') { $node->psql('postgres', 'CHECKPOINT') }
	else
	{
		_wait_for_server($node);
		$node->stop($what eq 'restart_fast' ? 'fast' : 'immediate', fail_ok => 1);
		start_again($node);
	}
	return;
}

# Errors of the sessions that no session may see.
sub _session_problems
{
	my ($file, $points) = @_;
	my @problems;
	my $last = '';
	for my $line (split /\n/, slurp_file($file))
	{
		if ($line =~ /(?:ERROR|FATAL|PANIC):  (\w{5}): (.*)/)
		{
			my ($state, $text) = ($1, $2);
			next unless $state =~ /^(XX|58|53200)/;
			# The functions are made anew while a reader is being planned: the server has no lock against that.
			next if $text =~ /could not open relation|cache lookup failed/ && $last =~ /fn_cdc_get_/;
			next if $text =~ /fault point|out of memory/ && $points;
			# The server's own answer to two sessions that change one object.
			next if $text =~ /tuple concurrently (?:updated|deleted)/ && $last !~ /cdc\.|fuzz\.(?:capture|release)/;
			push @problems, "$state $text in: " . substr($last, 0, 300);
		}
		elsif ($line !~ /^(?:DETAIL|HINT|CONTEXT|LOCATION|STATEMENT|LINE \d)/) { $last = $line }
	}
	return @problems;
}

sub _log_problems
{
	my ($node, $from, $points) = @_;
	my @problems;
	for (split /\n/, log_since($node, $from))
	{
		next if $points && /fault point|out of memory/;
		push @problems, "log: $_" if /TRAP:|PANIC|AddressSanitizer|runtime error:|terminated by signal (?!9)|could not follow this command/
		  || /\bcdc [a-z ]*: .*(?:ERROR|FATAL):  /
		  && !/terminating|canceling|decoder has ended|is in use|is being recovered|already active|shutting down|starting up|the database system|could not send|in recovery mode|does not accept/;
	}
	return @problems > 8 ? (@problems[ 0 .. 7 ], scalar(@problems) . ' such lines') : @problems;
}

# fuzz_database($node, $db): an enabled database with what a round needs.
sub fuzz_database
{
	my ($node, $db) = @_;
	$node->safe_psql('postgres', "CREATE DATABASE $db TEMPLATE template0 ENCODING 'UTF8'");
	$node->safe_psql($db, 'CREATE EXTENSION cdc');
	$node->psql($db, 'CREATE EXTENSION amcheck');
	$node->safe_psql($db, 'CALL cdc.sp_cdc_enable_db()');
	$node->safe_psql($db, '\\i ' . (__FILE__ =~ s/FuzzRound\.pm$//r) . 'fuzz.sql');
	$node->safe_psql($db, join ";\n", fuzz_own_types());
	return;
}

# One round. Returns its problems.
sub _round
{
	my ($node, $seed, $number, $types, $base, $kind, $points) = @_;
	srand(($seed * 1_000_003 + $number * 7919) % 4_294_967_291);
	fuzz_number(2) for 1 .. 10;
	my $db = "fuzz_$number";
	my $wild = rand() < 0.6;
	$wild = $kind eq 'wild' if $kind;
	my %round = (
		wild => $wild,
		ddl => $wild ? fuzz_lot(0.1, 0.25, 0.35) : fuzz_lot(0, 0.05, 0.15),
		shadow => $wild || rand() < 0.5,
		length => fuzz_lot(10, 25, 40),
		phases => fuzz_lot(1, 2, 2, 3));
	my @tables = fuzz_schema($types, shadow => $round{shadow});
	$round{numbers} = [ map { $_->{n} } @tables ];
	my $sessions = fuzz_lot(2, 3, 3, 4, 6);
	my $values = fuzz_values(@$base);
	my $configuration = _configure($node);
	my (@setup, @phases);
	for my $t (@tables)
	{
		my $options = $wild ? ", truncate_action => ''record'', drop_action => ''" . fuzz_lot('keep', 'remove') . "''" : '';
		push @setup, "CALL fuzz.capture($t->{n}, 'i$t->{n}_a', " . fuzz_number(999_000) . ", '$options')" if rand() < 0.85;
		push @setup, "CALL fuzz.capture($t->{n}, 'i$t->{n}_b', " . fuzz_number(999_000) . ')' if rand() < 0.2;
	}
	for (1 .. $round{phases})
	{
		push @phases, { scripts => [ map { fuzz_script(\%round, $_) } 1 .. $sessions ], faults => [ fuzz_faults($points) ] };
	}
	my $end = fuzz_lot('DROP DATABASE', 'sp_cdc_disable_db', 'DROP EXTENSION', 'disable all');

	# From here on nothing of the round is drawn any more.
	my $log_from = log_size($node);
	my @problems;
	my $folder = "$PostgreSQL::Test::Utils::tmp_check/round_$number";
	mkdir $folder;
	note sprintf 'round %d: %s, %d tables, %d sessions, %d phases, %s, faults: %s', $number, $wild ? 'wild' : 'calm', scalar @tables, $sessions,
	  scalar @phases, $round{shadow} ? 'shadow' : 'no triggers', join ' ', map { map { "$_->[1] $_->[2]" } @{ $_->{faults} } } @phases;
	$node->safe_psql('postgres', $configuration);
	fuzz_database($node, $db);
	my $pool = '';
	for my $type (sort keys %$values)
	{
		my $literals = join ', ', map { fuzz_literal($_) } @{ $values->{$type} };
		$pool .= qq(INSERT INTO fuzz.pool SELECT 'pg_catalog."$type"'::regtype, row_number() OVER () - 1, v FROM unnest(ARRAY[$literals]::text[]) v WHERE fuzz.fits(v, 'pg_catalog."$type"'::regtype, -1);\n);
	}
	$node->safe_psql($db, $pool);
	for my $t (@tables)
	{
		my $make = join ', ', map { fuzz_literal($_) } @{ $t->{make} };
		my ($status, undef, $err) = $node->psql($db, "INSERT INTO fuzz.tables VALUES ($t->{n}, NULL, ARRAY[$make]); SELECT fuzz.make($t->{n})");
		push @problems, "table $t->{n} cannot be made: $err" if $status;
	}
	for (grep { defined } map { $_->{link} } @tables)
	{
		my ($status, undef, $err) = $node->psql($db, $_);
		push @problems, "$_: $err" if $status;
	}
	for (@setup)
	{
		# Some cannot be: an index with nullable columns, net changes without a key.
		my (undef, undef, $err) = $node->psql($db, "\\set VERBOSITY verbose\n$_");
		push @problems, "$_: $err" if $err =~ /ERROR:  XX/;
	}

	my $clock = time();
	my $lap = sub { my $before = $clock; $clock = time(); return sprintf '%s %.1f s', $_[0], $clock - $before };
	for my $phase (1 .. @phases)
	{
		my @running;
		my $p = $phases[ $phase - 1 ];
		push @running, _start_session($node, $db, "$folder/${phase}_$_", $p->{scripts}[ $_ - 1 ]) for 1 .. $sessions;
		for my $fault (@{ $p->{faults} })
		{
			my $until = time() + $fault->[0];
			while (time() < $until && grep { _alive($_) } @running) { select undef, undef, undef, 0.05 }
			_do_fault($node, @$fault[ 1 .. $#$fault ]);
		}
		# Sessions that wait for each other's locks most of the time are not worth waiting for.
		my $until = time() + 40;
		while (time() < $until && grep { _alive($_) } @running) { select undef, undef, undef, 0.05 }
		_end_sessions($node, $db, @running);
		for my $run (@running)
		{
			my @found = _session_problems($run->{out}, $points);
			push @problems, map { "$run->{out}: $_" } @found > 3 ? @found[ 0 .. 2 ] : @found;
		}
		my $laps = $lap->('sessions');
		_wait_for_server($node);
		fault_clear($node) if $points;
		for my $gid (split /\n/, $node->safe_psql($db, 'SELECT gid FROM pg_prepared_xacts WHERE database = current_database()'))
		{
			$node->safe_psql($db, "COMMIT PREPARED '$gid'");
		}
		$node->psql($db, 'CALL cdc.sp_cdc_start_job()');
		$node->safe_psql($db, "ALTER EVENT TRIGGER $_ ENABLE ALWAYS") for qw(cdc_ddl_command_start cdc_ddl_command_end cdc_sql_drop);
		push @problems, _rest($node, $db);
		$laps .= ', ' . $lap->('rest');
		unless (@problems)
		{
			push @problems, map { "phase $phase: $_" } judge_all($node, $db, \%round);
			push @problems, map { "phase $phase, oracle: $_" } _oracle($node, $db) unless $wild;
		}
		push @problems, _log_problems($node, $log_from, $points);
		note "round $number, phase $phase: $laps, " . $lap->('judges');
		last if @problems;
	}
	return @problems if @problems;

	push @problems, _end($node, $db, $end);
	PostgreSQL::Test::Utils::system_or_bail('rm', '-rf', $folder) unless @problems;
	return @problems;
}

# Everything is captured, what was dropped is gone, no cleanup runs.
sub _rest
{
	my ($node, $db) = @_;
	my (undef, undef, $err) = $node->psql($db, "CALL cdc.wait_for_capture(timeout => '180s')");
	return "capture does not get there: $err" . $node->safe_psql($db, 'SELECT * FROM cdc.pg_stat_cdc; SELECT error_message, detail, hint FROM cdc.dm_cdc_errors') if $err;
	# What waits for a pending drop is removed by the writer in its own time, unless somebody's view is in the way.
	$node->safe_psql($db, "DO \$\$ DECLARE v text; BEGIN FOR v IN SELECT oid::regclass FROM pg_class WHERE relname ~ '^of_' AND relkind = 'v' LOOP EXECUTE 'DROP VIEW IF EXISTS ' || v || ' CASCADE'; END LOOP; END \$\$");
	my $query = q(SELECT NOT EXISTS (SELECT FROM cdc.cleanup_runs WHERE status = 'running') AND NOT EXISTS (SELECT FROM cdc._instance_start)
		AND NOT EXISTS (SELECT FROM pg_class WHERE relnamespace = 'cdc'::regnamespace AND relname ~ '^_dropped_')
		AND NOT EXISTS (SELECT FROM cdc.change_tables WHERE has_drop_pending AND drop_action = 'remove')
		AND NOT EXISTS (SELECT FROM pg_stat_activity WHERE backend_type = 'cdc cleanup worker' AND datname = current_database())
		AND NOT EXISTS (SELECT FROM cdc.change_tables WHERE start_lsn IS NULL));
	return 'no rest: ' . $node->safe_psql($db, q(SELECT status, message FROM cdc.cleanup_runs WHERE status = 'running'; TABLE cdc._instance_start;
		SELECT relname FROM pg_class WHERE relname ~ '^_dropped_'; SELECT capture_instance, start_lsn, has_drop_pending, drop_action FROM cdc.change_tables))
	  unless $node->poll_query_until($db, $query);
	return;
}

# Rebuilds the tables from their changes; for rounds in which nothing but changes of rows changed them.
sub _oracle
{
	my ($node, $db) = @_;
	my $full = $node->safe_psql($db, q(SELECT string_agg(capture_instance, E'\n') FROM cdc.change_tables WHERE before_image = 'full'));
	my %is_full = map { $_ => 1 } split /\n/, $full;
	my $cleaned = $node->safe_psql($db, "SELECT count(*) > 0 FROM cdc.cleanup_runs WHERE rows_deleted > 0 OR leaves_dropped > 0 OR mapping_rows_deleted > 0");
	my @instances = grep { $is_full{ $_->{name} } } oracle_instances($node, $db);
	return () if !@instances || $cleaned eq 't';
	return oracle_problems($node, $db, instances => \@instances, whole => 0);
}

# The end of a database leaves nothing of it behind.
sub _end
{
	my ($node, $db, $how) = @_;
	my @problems;
	my $try = sub {
		my ($where, $sql) = @_;
		my (undef, undef, $err) = $node->psql($where, $sql);
		push @problems, "$sql: $err" if $err =~ /ERROR|FATAL/;
	};
	$try->($db, 'CALL cdc.sp_cdc_disable_db()') if $how eq 'sp_cdc_disable_db';
	$try->($db, 'DROP EXTENSION cdc') if $how eq 'DROP EXTENSION';
	if ($how eq 'disable all')
	{
		# One by one: what the tables' replica identities were must be there again.
		$try->($db, 'DO $$ DECLARE i record; BEGIN FOR i IN SELECT t.*, nspname, relname FROM cdc.change_tables t LEFT JOIN (pg_class c JOIN pg_namespace s ON s.oid = relnamespace) ON c.oid = source_object_id LOOP
			CALL cdc.sp_cdc_disable_table(coalesce(i.nspname, \'public\'), coalesce(i.relname, \'x\'), i.capture_instance); END LOOP; END $$');
		$try->($db, "CALL cdc.wait_for_capture(timeout => '60s')");
		push @problems, $node->safe_psql($db, "SELECT 'left: ' || relname FROM pg_class WHERE relnamespace = 'cdc'::regnamespace AND relname ~ '_ct\$|^_(ct|changes|all_changes|net_changes)_'
			UNION ALL SELECT 'left: replica identity of ' || source_object_id FROM cdc._replica_identity
				WHERE source_object_id NOT IN (SELECT u.id FROM fuzz.unseen u JOIN pg_class c ON c.oid = u.id WHERE what = 'identity' AND allowed) UNION ALL SELECT 'left: jobs' FROM cdc.cdc_jobs UNION ALL SELECT 'left: mapping' FROM cdc.lsn_time_mapping")
		  =~ /(.+)/g;
	}
	$try->('postgres', "DROP DATABASE $db");
	$node->poll_query_until('postgres', "SELECT NOT EXISTS (SELECT FROM pg_replication_slots WHERE plugin = 'cdc') AND NOT EXISTS (SELECT FROM pg_replication_origin)")
	  or push @problems, 'left: ' . $node->safe_psql('postgres', 'SELECT slot_name FROM pg_replication_slots UNION ALL SELECT roname FROM pg_replication_origin');
	return @problems;
}

# fuzz_rounds(%options): seed, minutes, rounds, first, kind (wild or calm, for all rounds), points (whether to use
# the library's fault points). Rounds until the time is over, or as many as asked; true when
# none had a problem. Stops at the first that has, and leaves the server's folder behind.
sub fuzz_rounds
{
	my (%options) = @_;
	my $node = cdc_node(
		'fuzz',
		log_min_messages => 'info',
		log_line_prefix => '%m [%p] %b %d: ',
		deadlock_timeout => '100ms',
		log_error_verbosity => 'verbose',
		backtrace_functions => 'has_subclass',
		max_prepared_transactions => 50,
		max_connections => 60);
	$node->safe_psql('postgres', 'CREATE ROLE fuzz_reader; CREATE ROLE fuzz_other');
	# Every base type that a column may have, ranges, multiranges, and arrays of these.
	my @types = split /\n/, $node->safe_psql('postgres', q(
		SELECT format_type(t.oid, NULL) FROM pg_type t LEFT JOIN pg_type e ON e.oid = t.typelem AND t.typcategory = 'A'
		WHERE t.typnamespace = 'pg_catalog'::regnamespace AND t.typisdefined AND t.typtype IN ('b', 'r', 'm') AND (e.oid IS NULL OR e.typtype IN ('b', 'r', 'm'))
		ORDER BY t.oid));
	my @base = split /\n/, $node->safe_psql('postgres', q(
		SELECT typname FROM pg_type WHERE typnamespace = 'pg_catalog'::regnamespace AND typisdefined AND typtype = 'b' AND (typcategory <> 'A' OR typname IN ('int2vector', 'oidvector')) ORDER BY oid));
	my $start = time();
	my $number = $options{first};
	note "seed $options{seed}";
	while (1)
	{
		my @problems = eval { _round($node, $options{seed}, $number, \@types, \@base, $options{kind}, $options{points}) };
		push @problems, "the round failed: $@" if $@;
		unless (ok(!@problems, sprintf 'round %d of seed %d (%.0f s)', $number, $options{seed}, time() - $start))
		{
			diag join "\n", @problems;
			diag sprintf "repeat with: tools/fuzz --seed %d --first %d --rounds 1\nserver log: %s\nstatements: %s/round_%d\ndata: %s",
			  $options{seed}, $number, $node->logfile, $PostgreSQL::Test::Utils::tmp_check, $number, $node->data_dir;
			return 0;
		}
		$number++;
		last if $options{rounds} ? $number >= $options{first} + $options{rounds} : time() - $start >= 60 * $options{minutes};
	}
	diag sprintf '%d rounds, %d change rows compared with the triggers\' log', $number - $options{first}, $FuzzJudge::rows_compared;
	$node->stop;
	return 1;
}

1;
