# FuzzSession.pm: what the sessions of a round do: scripts for psql, drawn before any of them runs.
#
# A script names tables by number and has seeds in it. The statements themselves are made when their turn comes
# (\gexec), so that they fit the tables as the other sessions have left them.
package FuzzSession;

use strict;
use warnings;

use Exporter 'import';
use FuzzValues;

our @EXPORT = qw(fuzz_script fuzz_faults);

sub _seed { return 1 + fuzz_number(999_000) }

sub _dml
{
	my ($round) = @_;
	return 'SELECT fuzz.dml(' . fuzz_lot(@{ $round->{numbers} }) . ', ' . _seed() . ") \\gexec\n";
}

sub _ddl
{
	my ($round) = @_;
	return 'SELECT fuzz.ddl(' . fuzz_lot(@{ $round->{numbers} }) . ', ' . _seed() . ', ' . ($round->{wild} ? 'true' : 'false') . ") \\gexec\n";
}

sub _burst
{
	my ($round) = @_;
	return 'SELECT fuzz.burst(' . fuzz_lot(@{ $round->{numbers} }) . ', ' . _seed() . ', ' . fuzz_lot(3, 4, 6, 12) . ");\n";
}

my $prepared = 0;

sub _transaction
{
	my ($round, $session) = @_;
	my $text = fuzz_lot("BEGIN;\n", "BEGIN;\n", "BEGIN ISOLATION LEVEL REPEATABLE READ;\n", "BEGIN ISOLATION LEVEL SERIALIZABLE;\n");
	my @open;
	my $saves = 0;
	for (1 .. fuzz_lot(1, 2, 3, 4, 6, 10))
	{
		my $dice = rand;
		$text .= $dice < $round->{ddl} ? _ddl($round) : $dice > 0.95 ? _burst($round) : _dml($round);
		next unless rand() < 0.5;
		if (@open && rand() < 0.55)
		{
			# To any of them; what was opened later goes with it.
			my $at = fuzz_number(scalar @open);
			my $release = rand() < 0.4;
			$text .= ($release ? 'RELEASE' : 'ROLLBACK TO') . " $open[$at];\n";
			$#open = $release ? $at - 1 : $at;
		}
		else
		{
			$saves++;
			push @open, "sp$saves";
			$text .= "SAVEPOINT sp$saves;\n";
		}
	}
	my $dice = rand;
	return $text . "COMMIT;\n" if $dice < 0.78;
	return $text . "ROLLBACK;\n" if $dice < 0.90;
	my $gid = "'x${session}_" . ++$prepared . "'";
	return $text . "PREPARE TRANSACTION $gid;\nROLLBACK;\n"
	  . (rand() < 0.7 ? _dml($round) : '')
	  . (rand() < 0.05 ? '' : fuzz_lot('COMMIT', 'COMMIT', 'COMMIT', 'ROLLBACK') . " PREPARED $gid;\n");
}

sub _control
{
	my ($round, $session) = @_;
	return fuzz_lot(
		sub { "CALL cdc.sp_cdc_start_job('cleanup');\n" },
		sub { 'SELECT fuzz.cleanup(' . _seed() . ") \\gexec\n" },
		sub { "CALL cdc.sp_cdc_stop_job();\n" . _dml($round) . "CALL cdc.sp_cdc_scan(5, 2);\n" . _dml($round) . "CALL cdc.sp_cdc_start_job();\n" },
		sub { "CALL cdc.sp_cdc_stop_job();\n" . _ddl($round) . _dml($round) . "CALL cdc.sp_cdc_start_job();\n" },
		sub { "CALL cdc.sp_cdc_change_job('capture', maxtrans => " . fuzz_lot(1, 2, 10, 1000) . ', maxscans => ' . fuzz_lot(1, 10) . ");\nCALL cdc.sp_cdc_stop_job();\nCALL cdc.sp_cdc_start_job();\n" },
		sub { "SELECT count(*) FROM cdc.health();\nSELECT * FROM cdc.pg_stat_cdc;\nSELECT count(*) FROM cdc.pg_stat_cdc_tables;\n" },
		sub { "CALL cdc.wait_for_capture(timeout => '2s');\n" },
		sub { "SELECT pg_" . fuzz_lot('terminate', 'cancel') . "_backend(pid) FROM pg_stat_activity WHERE datname = current_database() AND backend_type = '"
			. fuzz_lot('cdc capture worker', 'cdc decoder', 'cdc cleanup worker', 'client backend') . "' AND random() < 0.5;\n" },
		sub { "CHECKPOINT;\n" },
		sub { "SELECT count(*) FROM cdc.sp_cdc_generate_wrapper_function();\n" })->();
}

# The server does not let two sessions switch one event trigger at a time: only the first does it.
sub _unseen
{
	my ($round) = @_;
	my @triggers = qw(cdc_ddl_command_start cdc_ddl_command_end cdc_sql_drop);
	return "BEGIN;\n" . join('', map { "ALTER EVENT TRIGGER $_ DISABLE;\n" } @triggers)
	  . "SELECT fuzz.note_unseen(false);\n" . _ddl($round) . _dml($round) . "SELECT fuzz.note_unseen(true);\n"
	  . join('', map { "ALTER EVENT TRIGGER $_ ENABLE ALWAYS;\n" } @triggers) . "COMMIT;\n";
}

# fuzz_script(\%round, $session): parts of a script, each for a connection of its own. Of the round: numbers (of its
# tables), wild, ddl (share of DDL), length.
sub fuzz_script
{
	my ($round, $session) = @_;
	my @parts;
	for (1 .. $round->{length})
	{
		my $dice = rand;
		push @parts, "\\set VERBOSITY verbose\n\\set ECHO all\n\\set ON_ERROR_ROLLBACK " . fuzz_lot('on', 'on', 'on', 'off') . "\n"
		  . "SET lock_timeout = '300ms';\nSET statement_timeout = '20s';\nSET client_min_messages = error;\n"
		  if !@parts || rand() < 0.1;
		$parts[-1] .=
		    $dice < 0.36 ? _transaction($round, $session)
		  : $dice < 0.74 ? _dml($round)
		  : $dice < 0.74 + $round->{ddl} / 2 ? ($round->{wild} && $session == 1 && rand() < 0.3 ? _unseen($round) : _ddl($round))
		  : $dice < 0.91 ? 'SELECT fuzz.reader(' . _seed() . ") \\gexec\n"
		  : $dice < 0.95 ? _burst($round)
		  : $dice < 0.97 ? "SET synchronous_commit = " . fuzz_lot('on', 'off') . ";\n"
		  :                _control($round, $session);
	}
	return [@parts];
}

# fuzz_faults($points): what happens to the server meanwhile: [seconds to wait, what, to whom]; with fault points or without.
sub fuzz_faults
{
	my ($points) = @_;
	my @plan;
	for (1 .. fuzz_lot(0, 0, 1, 1, 2, 4))
	{
		my $what = fuzz_lot(qw(kill kill kill terminate terminate cancel restart_immediate restart_fast reload reload checkpoint));
		push @plan, [ 0.2 + rand 3, $what, fuzz_lot('cdc decoder', 'cdc capture worker', 'cdc launcher', 'cdc cleanup worker', 'checkpointer', 'walwriter', 'client') ];
	}
	return @plan unless $points;
	# Points of the code, by their place in the library's list, at one of the next passings.
	for (1 .. fuzz_lot(0, 1, 1, 2, 4))
	{
		push @plan, [ 0.1 + rand 1.5, 'point', rand, fuzz_lot('kill', 'kill', 'error', 'oom') . ':' . fuzz_lot(1, 1, 2, 5) ];
	}
	return @plan;
}

1;
