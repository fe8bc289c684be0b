# compare.pl: results of somebody else's tests without and with cdc: nothing may differ but what a list explains.
#
# usage: compare.pl SUITE LIST FOLDER FOLDER
#
# The list has lines of suite, test, pattern and reason, separated by tabs. A test may be "*": any. A pattern is a regular
# expression for a line that may be there with cdc only or without it only; "*" for a test whose output is not compared.
# An entry that explains nothing any more is an error, too, unless its reason begins with "maybe".
use strict;
use warnings;

my ($suite, $list, $plain, $captured) = @ARGV;
die "usage: compare.pl SUITE LIST FOLDER FOLDER\n" unless defined $captured;

my (@patterns, %whole, %used, %maybe);
open my $in, '<', $list or die "$list: $!\n";
while (<$in>)
{
	chomp;
	next if /^#/ || /^suite\t/;
	my ($of, $test, $pattern, $reason) = split /\t/;
	die "$list: line $. has no reason\n" unless defined $reason && $reason ne '';
	next if $of ne $suite;
	$maybe{$.} = 1 if $reason =~ /^maybe:/;
	if ($pattern eq '*') { $whole{$test} = $. }
	else                 { push @patterns, [ $test, qr/$pattern/, $. ] }
}
close $in;

opendir my $dir, $plain or die "$plain: $!\n";
my @tests = sort map { /^(.*)\.out$/ ? $1 : () } readdir $dir;
closedir $dir;
die "$plain: no results\n" unless @tests;
my ($differences, $explained) = (0, 0);

for my $test (@tests)
{
	open my $diff, '-|', 'diff', '-U0', "$plain/$test.out", "$captured/$test.out" or die "diff: $!\n";
	my @lines = grep { /^[-+]/ && !/^(---|\+\+\+) / } <$diff>;
	close $diff;
	next unless @lines;
	if ($whole{$test})
	{
		$used{ $whole{$test} } = 1;
		$explained++;
		next;
	}
	my @unexplained;
	for my $line (@lines)
	{
		chomp $line;
		my $text  = substr $line, 1;
		my @entry = grep { ($_->[0] eq '*' || $_->[0] eq $test) && $text =~ $_->[1] } @patterns;
		$used{ $_->[2] } = 1 for @entry;
		push @unexplained, $line unless @entry;
	}
	$explained++ unless @unexplained;
	next unless @unexplained;
	$differences++;
	print "$test differs:\n", map { "    $_\n" } @unexplained > 30 ? (@unexplained[ 0 .. 29 ], '... and ' . (@unexplained - 30) . ' more') : @unexplained;
}
for my $entry (@patterns, map { [ $_, '*', $whole{$_} ] } sort keys %whole)
{
	next if $used{ $entry->[2] } || $maybe{ $entry->[2] };
	print "differences.tsv line $entry->[2]: explains nothing any more\n";
	$differences++;
}
print "$suite: ", scalar @tests, " tests, $explained with differences that are explained, $differences unexplained\n";
exit($differences ? 1 : 0);
