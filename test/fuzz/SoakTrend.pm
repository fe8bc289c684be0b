# SoakTrend.pm: whether a figure that was sampled at equal distances grows.
package SoakTrend;

use strict;
use warnings;

use Exporter 'import';
use List::Util qw(sum0);

our @EXPORT = qw(trend grows);

# trend(@y): by least squares, the rise over the whole time, the mean, and how far the points are from the line.
sub trend
{
	my (@y) = @_;
	my $n = @y;
	my $mx = ($n - 1) / 2;
	my $my = sum0(@y) / $n;
	my $sxx = sum0(map { ($_ - $mx)**2 } 0 .. $n - 1);
	my $slope = $sxx ? sum0(map { ($_ - $mx) * ($y[$_] - $my) } 0 .. $n - 1) / $sxx : 0;
	my $rest = sum0(map { ($y[$_] - $my - $slope * ($_ - $mx))**2 } 0 .. $n - 1);
	return ($slope * ($n - 1), $my, sqrt($rest / ($n > 2 ? $n - 2 : 1)));
}

# grows(@y): by a tenth at least, and by more than it goes up and down.
sub grows
{
	my (@y) = @_;
	my ($rise, $mean, $scatter) = trend(@y);
	return $rise > 0.1 * $mean && $rise > 2 * $scatter;
}

1;
