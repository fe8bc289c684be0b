# FuzzValues.pm: literals of each base type of the server, the extreme ones among them.
#
# Derived types (arrays, ranges, multiranges, composites, enums, domains) are put together from these by
# fuzz.some_text. A base type of the server that has no line here stops the run: none is forgotten.
package FuzzValues;

use strict;
use warnings;
use utf8;

use Exporter 'import';

our @EXPORT = qw(fuzz_values fuzz_lot fuzz_number);

# fuzz_number($n): 0 .. $n - 1. fuzz_lot(@of): one of them. All random choices of a round go through rand.
sub fuzz_number { return int rand $_[0] }
sub fuzz_lot { return $_[ int rand @_ ] }

# Incompressible, so that it is stored out of line.
sub _noise
{
	my ($length) = @_;
	return join '', map { chr(33 + fuzz_number(90)) } 1 .. $length;
}

sub _digits
{
	my ($length) = @_;
	return join '', 1 + fuzz_number(9), map { fuzz_number(10) } 2 .. $length;
}

sub _hex { return join '', map { sprintf '%02x', fuzz_number(256) } 1 .. $_[0] }

sub _date
{
	return sprintf('%04d-%02d-%02d', 1 + fuzz_number(9999), 1 + fuzz_number(12), 1 + fuzz_number(28)) . fuzz_lot('', '', ' BC');
}

sub _time { return sprintf '%02d:%02d:%02d.%06d', fuzz_number(24), fuzz_number(60), fuzz_number(60), fuzz_number(1_000_000) }
sub _point { return '(' . fuzz_lot(fuzz_number(100), '1e300', '-0', 'NaN', 'Infinity', 0.1) . ',' . fuzz_lot(fuzz_number(100), '-1e-300', 3) . ')' }

my %integers = (
	int2 => [ -32768, 32767, 0, -1 ],
	int4 => [ -2147483648, 2147483647, 0, -1 ],
	int8 => [ '-9223372036854775808', '9223372036854775807', 0, -1 ],
	oid  => [ 0, 4294967295, 1 ],
	xid  => [ 0, 4294967295, 3 ],
	cid  => [ 0, 4294967295 ],
	xid8 => [ 0, '18446744073709551615', 3 ]);

my $text = sub {
	return ('', ' ', 'a', "it's", 'NULL', '\\', '"', '{}', "line\nline\ttab\r", 'žluťoučký 日本語 🐘', '%s %n', '$1', "trailing  ",
		_noise(20), _noise(300), _noise(3000), 'x' x 9000, _noise(12000), _noise(40000), fuzz_number(1000));
};
my $json = sub {
	return ('null', '{}', '[]', '""', '0', '-0', '1e5', '"\u00e9"', '{"a": 1, "a": 2}', '[1, [2, {"b": null}]]', '{"k": "' . ('v' x 5000) . '"}',
		'[' . join(',', map { fuzz_number(1000) } 1 .. 2000) . ']', '123456789012345678901234567890.5', '{"n": ' . fuzz_number(100) . '}', ' {"spaces" :  true } ');
};
my $snapshot = sub { my $x = 1 + fuzz_number(1000); return ("$x:$x:", "$x:" . ($x + 5) . ':' . ($x + 1) . ',' . ($x + 3), '1:9223372036854775807:') };
my $of = sub { my @names = @_; return sub { return @names } };

my %values = (
	bool => sub { qw(t f) },
	bytea => sub { '', '\x00', '\xdeadbeef', '\x' . _hex(20), '\x' . _hex(3000), '\x' . ('00' x 9000), '\x' . _hex(9000) },
	# Only ASCII: before 16 the others have no text form in UTF-8.
	char => sub { '', 'a', ' ', '0', "\x7f" },
	name => sub { '', 'a', _noise(63), 'název', 'select' },
	text => $text,
	varchar => $text,
	bpchar => $text,
	refcursor => sub { '', 'c', '<unnamed portal 1>' },
	numeric => sub {
		0, '0.00', '-0.0', 1, '1.0', '1.00', 'NaN', 'Infinity', '-Infinity', _digits(5) . '.' . _digits(3), '-' . _digits(30), '0.' . '0' x 100 . '1',
		_digits(1000), _digits(500) . '.' . _digits(500), '1e1000', '1e-1000', '0.' . _digits(1000), fuzz_number(100)
	},
	float4 => sub { 0, '-0', 1.5, 'NaN', 'Infinity', '-Infinity', '1e-45', '3.4028235e38', '0.1' },
	float8 => sub { 0, '-0', 1.5, 'NaN', 'Infinity', '-Infinity', '5e-324', '1.7976931348623157e308', '0.1', rand },
	money => sub { '0', '-92233720368547758.08', '92233720368547758.07', '1.23' },
	date => sub { 'infinity', '-infinity', '4713-01-01 BC', '5874897-12-31', '2000-02-29', _date(), _date() },
	time => sub { '00:00', '24:00', '23:59:59.999999', _time() },
	timetz => sub { '00:00+15:59', '24:00-15:59', '12:00:00.5+00:00:01', _time() . '+02' },
	timestamp => sub { 'infinity', '-infinity', '4714-11-24 00:00:00 BC', '294276-12-31 23:59:59.999999', '2000-01-01', _date() =~ s/( BC)?$/' ' . _time() . ($1 \/\/ '')/er },
	timestamptz => sub { 'infinity', '-infinity', '4714-11-24 00:00:00+00 BC', '294276-12-31 23:59:59.999999+00', '2000-01-01 00:00:60+00', _date() =~ s/( BC)?$/' ' . _time() . '+05:30' . ($1 \/\/ '')/er },
	interval => sub { '0', '-178000000 years', '178000000 years', '1 mon -1 day 00:00:00.000001', '30 days', '1 mon', '24 hours', '-00:00:01' },
	bit => sub { '0', '1', '101', '11111111' },
	varbit => sub { '', '0', '101', join '', map { fuzz_number(2) } 1 .. 3000 },
	inet => sub { '0.0.0.0/0', '255.255.255.255', '10.1.2.3/8', '::', 'fe80::1/64', '::ffff:1.2.3.4', '10.0.0.' . fuzz_number(256) },
	cidr => sub { '0.0.0.0/0', '10.0.0.0/8', '::/0', '2001:db8::/32' },
	macaddr => sub { '00:00:00:00:00:00', 'ff:ff:ff:ff:ff:ff', '08:00:2b:01:02:03' },
	macaddr8 => sub { '00:00:00:00:00:00:00:00', 'ff:ff:ff:ff:ff:ff:ff:ff', '08:00:2b:01:02:03:04:05' },
	uuid => sub { '00000000-0000-0000-0000-000000000000', 'ffffffff-ffff-ffff-ffff-ffffffffffff', _hex(4) . '-1111-2222-3333-444444444444' },
	pg_lsn => sub { '0/0', 'FFFFFFFF/FFFFFFFF', '16/B374D848' },
	tid => sub { '(0,0)', '(4294967295,65535)', '(7,1)' },
	point => sub { _point(), _point(), '(0,0)' },
	lseg => sub { '[' . _point() . ',' . _point() . ']', '[(0,0),(1,1)]' },
	box => sub { '(1,1),(0,0)', _point() . ',' . _point() },
	path => sub { '[(0,0),(1,1)]', '((0,0),(1,1),(2,0))', '(' . join(',', map { _point() } 1 .. 300) . ')' },
	polygon => sub { '((0,0),(1,1),(2,0))', '(' . join(',', map { "($_,1)" } 1 .. 500) . ')' },
	line => sub { '{1,-1,0}', '{0,1,5}' },
	circle => sub { '<(0,0),0>', '<(1,2),1e100>' },
	json => $json,
	jsonb => $json,
	jsonpath => sub { '$', '$.a[*] ? (@ > 1)', 'strict $.**.b', 'lax $[0 to last]' },
	xml => sub { '<a/>', '<a b="c">text &amp; more</a>', 'only text', '<r>' . ('<x>1</x>' x 1000) . '</r>' },
	tsvector => sub { '', "'a':1A 'b':2,3", join ' ', map { "w$_:$_" } 1 .. 1500 },
	tsquery => sub { '', "'a' & !'b'", "'x':A* <-> 'y' | 'z'" },
	aclitem => sub { '=r/postgres', 'postgres=arwdDxt/postgres' },
	int2vector => sub { '', '1', '1 2 3 -32768' },
	oidvector => sub { '', '0', '1 4294967295' },
	regproc => $of->('-', 'now', '99999999'),
	regprocedure => $of->('-', 'abs(integer)', '99999999'),
	regoper => $of->('0', '99999999'),
	regoperator => $of->('0', '+(integer,integer)', '99999999'),
	regclass => $of->('-', 'pg_class', '99999999'),
	regcollation => $of->('-', '"C"', '99999999'),
	regtype => $of->('-', 'integer', 'text[]', '99999999'),
	regrole => $of->('-', 'postgres', '99999999'),
	regnamespace => $of->('-', 'pg_catalog', '99999999'),
	regconfig => $of->('-', 'simple', '99999999'),
	regdictionary => $of->('-', 'simple', '99999999'),
	regdatabase => $of->('-', 'template1', '99999999'),
	txid_snapshot => $snapshot,
	pg_snapshot => $snapshot,
	oid8 => sub { 0, '18446744073709551615' },
	# They have no input function: columns of these types stay empty.
	(map { $_ => sub { () } } qw(gtsvector pg_node_tree pg_ndistinct pg_dependencies pg_mcv_list pg_brin_bloom_summary pg_brin_minmax_multi_summary)));

# fuzz_values(@types): {type => [literals]} for these base types, drawn anew in each round.
sub fuzz_values
{
	my (@types) = @_;
	my %result;
	for my $type (sort @types)
	{
		if ($integers{$type})
		{
			$result{$type} = [ @{ $integers{$type} }, map { fuzz_number(1000) } 1 .. 3 ];
			next;
		}
		die "no values for type $type: write some in FuzzValues.pm\n" unless $values{$type};
		$result{$type} = [ $values{$type}->() ];
	}
	return \%result;
}

1;
