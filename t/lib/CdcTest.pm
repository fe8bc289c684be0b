# CdcTest.pm: what the TAP tests share: clusters, enabling, waiting for a state, killing by pid.
package CdcTest;

use strict;
use warnings;

use Exporter 'import';
use File::Basename;
use IPC::Run;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes ();

our @EXPORT = qw(cdc_node cdc_create enable_table wait_captured stat_value worker_pid server_processes wait_for_worker
  wait_for_exit wait_until start_again wait_for_server start_load finish_load load_output start_psql finish_psql log_size log_since random_seed
  require_faults fault_points fault_set fault_reached fault_wait fault_continue fault_rearm fault_clear);

# cdc_node($name, %settings): a running cluster with test/cdc.conf, and settings on top of it. -install_path: of another
# installation than the one that is tested.
sub cdc_node
{
	my ($name, %settings) = @_;
	my $path = delete $settings{-install_path};
	my $node = PostgreSQL::Test::Cluster->new($name, defined $path ? (install_path => $path) : ());
	$node->init(allows_streaming => 'logical');
	$node->append_conf('postgresql.conf',
		slurp_file(dirname(__FILE__) . '/../../test/cdc.conf'));
	my %all = (
		log_statement       => 'none',
		max_connections     => 50,
		shared_buffers      => '64MB',
		max_wal_size        => '1GB',
		restart_after_crash => 'on',
		%settings);
	$node->append_conf('postgresql.conf',
		join '', map { "$_ = '$all{$_}'\n" } sort keys %all);
	$node->start;
	return $node;
}

# cdc_create($node, $dbname): the extension, enabled.
sub cdc_create
{
	my ($node, $dbname) = @_;
	$node->safe_psql('postgres', "CREATE DATABASE $dbname") if $dbname ne 'postgres';
	$node->safe_psql($dbname, 'CREATE EXTENSION cdc');
	$node->safe_psql($dbname, 'CALL cdc.sp_cdc_enable_db()');
	return;
}

# enable_table($node, $dbname, $table, %parameters): a table of schema public, ungated. Parameters are SQL text.
sub enable_table
{
	my ($node, $dbname, $table, %parameters) = @_;
	my $more = join '', map { ", $_ => $parameters{$_}" } sort keys %parameters;
	$node->safe_psql($dbname,
		"CALL cdc.sp_cdc_enable_table(source_schema => 'public', source_name => '$table', role_name => NULL$more)");
	return;
}

# wait_captured($node, $dbname): everything committed so far is visible in the change tables.
sub wait_captured
{
	my ($node, $dbname) = @_;
	$node->safe_psql($dbname, "CALL cdc.wait_for_capture(timeout => '60s')");
	return;
}

# stat_value($node, $dbname, $expression): from pg_stat_cdc's row of this database.
sub stat_value
{
	my ($node, $dbname, $expression) = @_;
	return $node->safe_psql($dbname,
		"SELECT $expression FROM cdc.pg_stat_cdc WHERE database = current_database()");
}

# server_processes($node, $title): pids of the server's processes whose title matches, from the process
# list: by SQL, those without a database connection cannot be seen.
sub server_processes
{
	my ($node, $title) = @_;
	my $data = $node->data_dir;
	my @pids;
	for my $pid (map { m{/proc/(\d+)} } glob('/proc/[0-9]*'))
	{
		next if (readlink("/proc/$pid/cwd") // '') ne $data;
		open my $file, '<', "/proc/$pid/cmdline" or next;
		my $line = <$file> // '';
		push @pids, $pid if $line =~ $title;
	}
	return @pids;
}

# worker_pid($node, $type, $dbname): pid of a process of ours, '' when there is none. No database for the launcher.
sub worker_pid
{
	my ($node, $type, $dbname) = @_;
	return (server_processes($node, qr/\Q$type\E/))[0] // '' unless defined $dbname;
	return $node->safe_psql('postgres',
		"SELECT pid FROM pg_stat_activity WHERE backend_type = '$type' AND datname = '$dbname'");
}

# wait_for_worker($node, $type, $dbname, $former): until there is one, other than $former; its pid.
sub wait_for_worker
{
	my ($node, $type, $dbname, $former) = @_;
	my $pid;
	wait_until(
		sub {
			$pid = worker_pid($node, $type, $dbname);
			return $pid ne '' && $pid ne ($former // '');
		},
		"no $type started");
	return $pid;
}

# wait_for_exit($node, $pid): until the server no longer knows that process.
sub wait_for_exit
{
	my ($node, $pid) = @_;
	$node->poll_query_until('postgres',
		"SELECT count(*) = 0 FROM pg_stat_activity WHERE pid = $pid")
	  or die "process $pid did not end";
	return;
}

# wait_until($condition, $what, $seconds): polls a Perl condition, for states that SQL cannot ask about. Dies when it
# takes longer than these, or than all tests wait at most.
sub wait_until
{
	my ($condition, $what, $seconds) = @_;
	my $deadline = Time::HiRes::time() + ($seconds // $PostgreSQL::Test::Utils::timeout_default);
	until ($condition->())
	{
		die "timed out: $what" if Time::HiRes::time() > $deadline;
		select undef, undef, undef, 0.05;
	}
	return;
}

# start_again($node): after the postmaster was killed. Its orphans hold the shared memory until they
# notice, and the server refuses to start until then. They are known by their working directory.
sub start_again
{
	my ($node) = @_;
	my $data = $node->data_dir;
	my $postmaster;
	($postmaster) = slurp_file("$data/postmaster.pid") =~ /^(\d+)/ if -e "$data/postmaster.pid";
	wait_until(
		sub {
			return 0 if defined $postmaster && kill 0, $postmaster;
			return !server_processes($node, qr/./);
		},
		'the old processes are gone');
	$node->start;
	return;
}

# wait_for_server($node): until it takes connections again, after a process was killed.
sub wait_for_server
{
	my ($node) = @_;
	wait_until(
		sub {
			system($node->installed_command('pg_isready'), '--quiet', '--host', $node->host, '--port', $node->port) == 0;
		},
		'the server comes back');
	return;
}

# Fault points: src/base/fault.hpp. Here is who asks for them.

# require_faults(): skips the whole test where the library has none. tools/test sees to it that it has.
sub require_faults
{
	return if $ENV{CDC_TEST_FAULTS};
	plan skip_all => 'needs the library with fault points: tools/test';
}

# fault_points($node): all there are.
sub fault_points
{
	my ($node) = @_;
	return split /,/, $node->safe_psql('postgres', "LOAD 'cdc'; SHOW cdc.fault_points");
}

# fault_set($node, $faults): from now on. All sessions that begin later know; a worker knows when it comes round to
# reading its configuration.
sub fault_set
{
	my ($node, $faults) = @_;
	# Marks of former faults stay: until a worker has read the new setting, they keep it from repeating what was asked for before.
	fault_rearm($node, $faults =~ /([\w-]+):\w/g) if $faults ne '';
	$node->safe_psql('postgres', "ALTER SYSTEM SET cdc.fault = '$faults'");
	# It may happen at once, and take our connection along.
	$node->psql('postgres', 'SELECT pg_reload_conf()');
	wait_until(sub { (eval { $node->safe_psql('postgres', "SELECT current_setting('cdc.fault') = '$faults'") } // '') eq 't' },
		"cdc.fault = '$faults' gets through");
	return;
}

# fault_clear($node): none any more; who pauses goes on.
sub fault_clear
{
	my ($node) = @_;
	fault_set($node, '');
	fault_continue($node);
	return;
}

# fault_reached($node, $point): what happened at it, as "action pid", or ''.
sub fault_reached
{
	my ($node, $point) = @_;
	my $mark = $node->data_dir . "/cdc_fault/$point";
	return '' unless -e $mark;
	return (slurp_file($mark) =~ s/\n//r) || 'continued';
}

# fault_wait($node, $point): until it has been reached.
sub fault_wait
{
	my ($node, $point) = @_;
	wait_until(sub { fault_reached($node, $point) ne q() }, "fault point $point is reached", 60);
	return;
}

# fault_continue($node, @points): who pauses there, or anywhere, goes on.
sub fault_continue
{
	my ($node, @points) = @_;
	my $folder = $node->data_dir . '/cdc_fault';
	for my $mark (@points ? map { "$folder/$_" } @points : glob("$folder/*"))
	{
		next unless -e $mark;
		open my $file, '>', $mark or die "$mark: $!";
		close $file;
	}
	return;
}

# fault_rearm($node, @points): removes their marks, or all: who pauses there goes on, and it can happen again.
sub fault_rearm
{
	my ($node, @points) = @_;
	my $folder = $node->data_dir . '/cdc_fault';
	unlink @points ? map { "$folder/$_" } @points : glob("$folder/*");
	return;
}

my $loads = 0;

# start_load($node, $dbname, $scripts, %options): pgbench in the background; scripts are [file, weight].
# Options: clients, seconds, rate, seed. It goes on to connect after a crash only when it is started again.
sub start_load
{
	my ($node, $dbname, $scripts, %options) = @_;
	my @command = (
		$node->installed_command('pgbench'), '--no-vacuum',
		'--client', $options{clients} // 4, '--time', $options{seconds} // 60,
		'--random-seed', $options{seed} // 1, '--max-tries=5');
	push @command, "--rate=$options{rate}" if $options{rate};
	push @command, map { ('--file', "$_->[0]\@$_->[1]") } @$scripts;
	# Not into a pipe, which nobody empties meanwhile: notices would fill it, and the load stand still.
	my %load = (output => $node->basedir . '/load_' . ++$loads . '.out');
	$load{run} = IPC::Run::start [ @command, $node->connstr($dbname) ], '<', \undef, '>&', $load{output};
	return \%load;
}

# finish_load($load, $kill): waits for its end, or ends it. Returns what pgbench said.
sub finish_load
{
	my ($load, $kill) = @_;
	$load->{run}->signal('TERM') if $kill;
	eval { $load->{run}->finish };
	return load_output($load);
}

# load_output($load): what pgbench has said so far.
sub load_output
{
	my ($load) = @_;
	return slurp_file($load->{output});
}

# start_psql($node, $dbname, $sql): a session that runs it in the background, statement by statement, and ends.
sub start_psql
{
	my ($node, $dbname, $sql) = @_;
	my %session = (input => "$sql;\n\\q\n", output => '');
	$session{run} = IPC::Run::start [
		$node->installed_command('psql'), '--no-psqlrc', '--quiet', '--no-align', '--tuples-only',
		'--set', 'VERBOSITY=verbose', '--dbname', $node->connstr($dbname) ],
	  '<', \$session{input}, '>&', \$session{output};
	$session{run}->pump while length $session{input};
	return \%session;
}

# finish_psql($session): waits for its end. Returns what psql said.
sub finish_psql
{
	my ($session) = @_;
	eval { $session->{run}->finish };
	return $session->{output};
}

# log_size($node), log_since($node, $from): the server log from a remembered place on.
sub log_size
{
	my ($node) = @_;
	return -s $node->logfile;
}

sub log_since
{
	my ($node, $from) = @_;
	return substr(slurp_file($node->logfile), $from);
}

# random_seed(): the seed of a random test, said when it fails, so that it can be repeated (CDC_TEST_SEED).
my $seed;

sub random_seed
{
	$seed = $ENV{CDC_TEST_SEED} || int(rand(1_000_000_000)) || 1;
	srand $seed;
	note "CDC_TEST_SEED=$seed";
	return $seed;
}

END
{
	my $status = $?;
	diag "repeat with CDC_TEST_SEED=$seed"
	  if defined $seed && ($status != 0 || !Test::More->builder->is_passing);
	$? = $status;
}

1;
