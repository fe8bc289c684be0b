#!/usr/bin/perl
# coverage_report.pl TREE LIST COMPARE: for tools/coverage. TREE is a built tree with the counters that tests left, LIST is
# test/uncovered.tsv, COMPARE is yes or no. Exits with 1 when the list and what was counted do not agree.
use strict;
use warnings;

my ($tree, $list, $compare) = @ARGV;
my (%lines, %branches);

# What gcov says: "count:line:text", and after a line its branches. A line of a template or an inline function comes once
# for each object and instance.
sub read_counters
{
	chdir $tree or die "$tree: $!";
	my @objects = split /\n/, `find src -name '*.gcno'`;
	for my $object (@objects)
	{
		# Objects without counters count, too: nothing of them ran.
		open my $in, '-|', "gcov -t -r -b -c '$object' 2>/dev/null" or die $!;
		my ($file, $line, $instance, $first) = ('', 0, 0, 1);
		while (my $text = <$in>)
		{
			if ($text =~ /^\s+-:\s+0:Source:(.*)/) { ($file, $instance) = ($1, 0); }
			elsif ($file !~ m{^src/}) { next; }
			elsif ($text =~ /^-{10,}$/) { $instance = 1; }
			elsif ($text =~ /^\s*(-|[\d]+\*?|#####|=====):\s*(\d+):/)
			{
				my ($count, $number) = ($1, $2);
				$line = $number;
				next if $count eq '-';
				$count =~ s/\*//;
				$lines{$file}{$line} = ($lines{$file}{$line} // 0) + ($count =~ /^\d/ ? $count : 0);
			}
			elsif ($text =~ /^branch\s+(\d+) (?:taken (\d+)|never executed)/)
			{
				$branches{$file}{$line}{$1} = ($branches{$file}{$line}{$1} // 0) + ($2 // 0);
			}
		}
		close $in;
	}
	return;
}

# The file with comments blanked, line for line, strings kept.
sub bare
{
	my ($file) = @_;
	open my $in, '<', $file or die "$file: $!";
	local $/ = undef;
	my $text = <$in>;
	$text =~ s{("(?:\\.|[^"\\\n])*"|'(?:\\.|[^'\\\n])+')|/\*.*?\*/|//[^\n]*}{ my $m = $&; defined $1 ? $1 : $m =~ s/[^\n]//gr }gse;
	return $text;
}

# The end of what begins with the bracket at $from, strings left out of account.
sub closing
{
	my ($text, $from) = @_;
	my $depth = 0;
	pos($text) = $from;
	while ($text =~ /\G(?:[^"'(){}]+|"(?:\\.|[^"\\])*"|'(?:\\.|[^'\\])+'|([({])|([)}])|['"])/g)
	{
		$depth++ if defined $1;
		return pos($text) if defined $2 && --$depth == 0;
	}
	return length $text;
}

# The places of error handling in a file: [function, what, first line, last line].
sub places
{
	my ($file) = @_;
	my $text = bare($file);
	my @found;
	my $line_at = sub { 1 + (substr($text, 0, $_[0]) =~ tr/\n//) };

	# A function's name is at the beginning of a line, below its type; SQL functions have a macro.
	my @functions;
	push @functions, [ $-[0], $1 // $2 ] while $text =~ /^(?:CDC_FUNCTION\((\w+)\)|([a-z]\w*)\((?![^\n]*;\s*$))/gm;
	my $function_at = sub {
		my ($at) = @_;
		my @before = grep { $_->[0] <= $at } @functions;
		return @before ? $before[-1][1] : '-';
	};

	while ($text =~ /\b(?:(ereport|elog)|((?:error|refuse)_(?!log_)\w+|ReThrowError))\s*(?=\()/g)
	{
		my ($from, $bracket, $macro, $call) = ($-[0], $+[0], $1, $2);
		my $end = closing($text, $bracket);
		my $whole = substr($text, $from, $end - $from);
		# What begins a line is a definition, what has a type before it a declaration.
		next if substr($text, 0, $from) =~ /(?:^|\n|void |bool )$/;
		my $what;
		if ($macro)
		{
			next if $whole =~ /^\w+\s*\(\s*(?:LOG|DEBUG\d|INFO|NOTICE|COMMERROR)\b/;
			my ($message) = $whole =~ /\b(?:errmsg(?:_internal|_plural)?\s*\(|elog\s*\(\s*\w+,)\s*((?:"(?:\\.|[^"\\])*"\s*|[A-Z0-9_]+_MODIFIER\s*)+)/;
			$what = defined $message ? join('', $message =~ /"((?:\\.|[^"\\])*)"/g) : $whole =~ s/\s+/ /gr;
			$what =~ s/\\"/"/g;
		}
		else
		{
			# Only those that never return: of the others it is normal that they are called.
			next if $call =~ /^refuse_/;
			$what = "$call()";
		}
		push @found, [ $function_at->($from), $what, $line_at->($from), $line_at->($end) ];
	}
	while ($text =~ /\]\s*\(const ErrorData &\w*\)\s*(?=\{)/g)
	{
		my $bracket = $+[0];
		my $end = closing($text, $bracket);
		next if substr($text, $bracket, $end - $bracket) =~ /^\{\s*\}$/;
		push @found, [ $function_at->($bracket), 'an error is caught', $line_at->($bracket + 1) + 1, $line_at->($end) ];
	}
	return @found;
}

read_counters();
my (%total, @uncovered, $places, $reached) = ();
($places, $reached) = (0, 0);
printf "%-40s %7s %6s %9s %6s\n", 'file', 'lines', '%', 'branches', '%';
for my $file (sort keys %lines)
{
	my %excluded;
	for my $place (places($file))
	{
		my ($function, $what, $from, $to) = @$place;
		my @counts = grep { defined } map { $lines{$file}{$_} } $from .. $to;
		# Branches inside ereport are the server's macro: whether the level is logged.
		if ($what ne 'an error is caught') { $excluded{$_} = 1 for $from .. $to; }
		# Not compiled (for another version of the server), or in a template that nobody uses.
		next unless @counts;
		$places++;
		if (grep { $_ > 0 } @counts) { $reached++; }
		else { push @uncovered, [ $file, $function, $what, $from ]; }
	}
	open my $in, '<', $file or die;
	while (<$in>) { $excluded{$.} = 1 if /\bAssert(?:Macro)?\(|\b(?:elog|ereport)\(/; }
	my @counts = values %{ $lines{$file} };
	my @taken = map { values %{ $branches{$file}{$_} } } grep { !$excluded{$_} } keys %{ $branches{$file} // {} };
	my ($n, $hit, $b, $bhit) = (scalar @counts, scalar(grep { $_ > 0 } @counts), scalar @taken, scalar(grep { $_ > 0 } @taken));
	$total{lines} += $n;
	$total{hit} += $hit;
	$total{branches} += $b;
	$total{taken} += $bhit;
	row($file, $n, $hit, $b, $bhit);
}
row('all', @total{qw(lines hit branches taken)});
printf "error handling: %d places, %d reached by a test, %d not\n", $places, $reached, scalar @uncovered;

sub row
{
	my ($name, $n, $hit, $b, $bhit) = @_;
	printf "%-40s %7d %6.1f %9d %6.1f\n", $name, $n, $n ? 100 * $hit / $n : 100, $b, $b ? 100 * $bhit / $b : 100;
	return;
}

exit 0 if $compare ne 'yes';

# "file function what reason", a line for each place; a reason that begins with "chance: " allows both.
my %listed;
open my $in, '<', $list or die "$list: $!";
while (<$in>)
{
	chomp;
	next if /^#/ || /^file\tfunction\t/;
	my ($file, $function, $what, $reason) = split /\t/;
	die "$list:$.: no reason\n" unless defined $reason && $reason ne '';
	push @{ $listed{"$file\t$function\t$what"} }, $reason;
}
my $bad = 0;
for my $place (@uncovered)
{
	my ($file, $function, $what, $line) = @$place;
	next if defined shift @{ $listed{"$file\t$function\t$what"} // [] };
	print "$file:$line: no test, and not in test/uncovered.tsv:\n$file\t$function\t$what\n";
	$bad = 1;
}
for my $key (sort keys %listed)
{
	for my $reason (grep { !/^chance: / } @{ $listed{$key} })
	{
		print "test/uncovered.tsv: a test reaches it, or it is gone: $key\n";
		$bad = 1;
	}
}
exit $bad;
