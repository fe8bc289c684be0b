# FuzzJudge.pm: judges what capture has made of a round, at rest: nothing runs, everything is captured.
#
# NOTES
#	Each judge returns a list of problems. None shares code with the engine: they read the change rows through
#	the query functions or directly, and compare them with what the sources' row triggers wrote, or with the slow and
#	obvious query for what the documentation says.
package FuzzJudge;

use strict;
use warnings;

use Exporter 'import';
use FuzzSchema;
use FuzzValues;
use PostgreSQL::Test::Utils ();

our @EXPORT = qw(judge_all judge_instances $rows_compared);
our $rows_compared = 0;

# One statement list in one session; the lines it printed, or what psql said.
sub _ask
{
	my ($node, $db, $sql) = @_;
	my ($out, $err);
	my $status = $node->psql($db, "SET client_min_messages = warning;\nSET work_mem = '64MB';\n" . $sql,
		stdout => \$out, stderr => \$err, on_error_stop => 1, timeout => 3 * $PostgreSQL::Test::Utils::timeout_default);
	return split(/\n/, $out), $status == 0 ? () : ("the judge failed: " . ($err =~ s/\n+(?=.)/ | /sgr =~ s/^(.{1500}).*/$1/sr));
}

sub _rows
{
	my ($node, $db, $sql) = @_;
	return map { [ split /\x1f/, $_, -1 ] } split /\n/, $node->safe_psql($db, "\\pset fieldsep '\x1f'\n$sql");
}

# judge_instances($node, $db): those that can be read, with columns, key and the windows between gaps.
sub judge_instances
{
	my ($node, $db) = @_;
	my @instances;
	for (_rows($node, $db, 'SELECT instance_id, capture_instance, object_id, source_object_id, supports_net_changes, before_image, fn_cdc_get_min_lsn, fn_cdc_get_max_lsn
			FROM cdc.change_tables, cdc.fn_cdc_get_min_lsn(capture_instance), cdc.fn_cdc_get_max_lsn() WHERE NOT has_drop_pending ORDER BY 1'))
	{
		my %i;
		@i{qw(id name object source net image low high)} = @$_;
		$i{columns} = [
			map { my %c; @c{qw(ordinal attnum name typ len formers key)} = @$_; $c{key} = $c{key} eq 't'; \%c } _rows($node, $db, qq(
				SELECT cc.column_ordinal, cc.column_id, quote_ident(cc.column_name), coalesce(a.atttypid, 0), coalesce(a.attlen, -1),
					(SELECT string_agg(v.atttypid::text, ' ') FROM pg_attribute v WHERE v.attrelid = cc.object_id AND v.attname ~ ('^__\\\$' || cc.column_ordinal || '_[0-9]+_*\$') AND NOT v.attisdropped),
					EXISTS (SELECT FROM cdc.index_columns k WHERE k.object_id = cc.object_id AND k.column_id = cc.column_id)
				FROM cdc.captured_columns cc LEFT JOIN pg_attribute a ON a.attrelid = $i{source} AND a.attnum = cc.column_id AND NOT a.attisdropped
				WHERE cc.object_id = $i{object} ORDER BY 1)) ];
		$i{bytes} = int((@{ $i{columns} } + 7) / 8);
		$i{windows} = [
			_rows($node, $db, qq(
				WITH g AS (SELECT start_lsn, coalesce(end_lsn, 'FFFFFFFF/FFFFFFFF') AS end_lsn FROM cdc.gaps WHERE object_id = $i{object} OR object_id IS NULL),
				e AS (SELECT pg_lsn '$i{low}' AS l UNION SELECT end_lsn FROM g WHERE end_lsn BETWEEN '$i{low}' AND '$i{high}'),
				w AS (SELECT l, least((SELECT min(start_lsn) - 1 FROM g WHERE start_lsn > e.l), '$i{high}') AS h FROM e
					WHERE NOT EXISTS (SELECT FROM g WHERE g.start_lsn <= e.l AND e.l < g.end_lsn))
				SELECT l, h FROM w WHERE l <= h ORDER BY 1)) ] if $i{low} ne '0/0' && $i{high} ne '';
		push @instances, \%i;
	}
	return @instances;
}

sub _changes
{
	my ($i, $function, $option, $windows) = @_;
	my $name = fuzz_ident("fn_cdc_get_${function}_changes_$i->{name}");
	return join ' UNION ALL ', map { "SELECT * FROM cdc.$name('$_->[0]', '$_->[1]', '$option')" } @$windows;
}

# The log of the sources' triggers: the same images in the same transactions, in the same order.
sub _judge_shadow
{
	my ($node, $db, $i) = @_;

	# Types whose text has changed since, also of values from before the column got another one; of large values before_image => 'key' may know nothing.
	my %changed = map { $_->[0] => 1 } _rows($node, $db, q(WITH RECURSIVE
		uses AS MATERIALIZED (SELECT oid AS typ, typelem AS used FROM pg_type WHERE oid >= 16384 AND typelem <> 0 UNION ALL SELECT oid, typbasetype FROM pg_type WHERE oid >= 16384 AND typbasetype <> 0
			UNION ALL SELECT reltype, atttypid FROM pg_class JOIN pg_attribute ON attrelid = pg_class.oid WHERE reltype >= 16384 AND atttypid >= 16384),
		c AS (SELECT typ FROM fuzz.changed_types UNION SELECT u.typ FROM c JOIN uses u ON u.used = c.typ) SELECT typ FROM c));
	my @columns = grep { my $column = $_; !grep { $changed{$_} } $column->{typ}, split / /, $column->{formers} } @{ $i->{columns} };
	@columns = grep { $_->{key} || $_->{len} > 0 } @columns if $i->{image} eq 'key';
	my @old = $i->{image} eq 'key' ? grep { $_->{key} } @columns : @columns;
	my $array = sub { 'ARRAY[' . join(', ', @_) . ']::text[]' };
	# The type that readers see decides about the text form.
	my %text = map { $_->[0] => $_->[1] } _rows($node, $db, "SELECT quote_ident(attname), fuzz.as_text(quote_ident(attname)) FROM pg_attribute
		WHERE attrelid = 'cdc._all_changes_$i->{id}'::regclass AND attnum > 0 AND NOT attisdropped");
	my $seen = sub { $array->(map { $text{ $_->{name} } } @_) };
	my $wrote = sub { my $image = shift; $array->(map { "$image->>'$_->{attnum}'" } @_) };
	my $changes = _changes($i, 'all', 'all update old', $i->{windows});
	return () if $changes eq '';

	my @out = _ask($node, $db, qq(
		SET TimeZone = 'UTC'; SET DateStyle = 'ISO'; SET IntervalStyle = 'postgres'; SET extra_float_digits = 1;
		CREATE TEMP TABLE got AS SELECT (SELECT tran_id FROM cdc.lsn_time_mapping m WHERE m.start_lsn = c."__\$start_lsn") AS tx, row_number() OVER (ORDER BY "__\$start_lsn", "__\$seqval", "__\$operation") AS at,
				"__\$operation" IN (1, 3) AS old, CASE WHEN "__\$operation" IN (1, 3) THEN ${\ $seen->(@old) } ELSE ${\ $seen->(@columns) } END AS image
			FROM ($changes) c;
		CREATE TEMP TABLE want AS SELECT s.id, s.tx, s.lsn, old, image FROM fuzz.shadow s, fuzz.marks k,
			LATERAL (VALUES (true, before, ${\ $wrote->('before', @old) }), (false, after, ${\ $wrote->('after', @columns) })) i (old, is_there, image)
			WHERE rel = $i->{source} AND k.instance_id = $i->{id} AND s.id > k.from_id AND i.is_there IS NOT NULL;
		ANALYZE got; ANALYZE want;
		CREATE TEMP TABLE surplus AS SELECT tx, old, image FROM got EXCEPT ALL SELECT tx, old, image FROM want;
		CREATE TEMP TABLE missing AS SELECT tx, old, image FROM want EXCEPT ALL SELECT tx, old, image FROM got;
		CREATE TEMP TABLE lost AS SELECT start_lsn, coalesce(end_lsn, 'FFFFFFFF/FFFFFFFF') AS end_lsn FROM cdc.gaps WHERE object_id = $i->{object} OR object_id IS NULL;
		DELETE FROM missing y USING cdc.lsn_time_mapping m, lost g WHERE m.tran_id = y.tx AND m.start_lsn >= g.start_lsn AND m.start_lsn < g.end_lsn;
		-- A transaction of which nothing was logged has no mapping row.
		DELETE FROM missing y USING want w, lost g WHERE w.tx = y.tx AND w.lsn < g.end_lsn AND NOT EXISTS (SELECT FROM cdc.lsn_time_mapping m WHERE m.tran_id = y.tx);
		-- Cleanup takes only what was compared before.
		DELETE FROM missing y USING want w, fuzz.marks k WHERE w.tx = y.tx AND k.instance_id = $i->{id} AND w.id <= k.verified
			AND NOT EXISTS (SELECT FROM cdc.lsn_time_mapping m WHERE m.tran_id = y.tx AND m.start_lsn >= '$i->{low}');
		SELECT format('$i->{name}: only %s: transaction %s, %s %s', side, tx, CASE WHEN old THEN 'before' ELSE 'after' END, left(image::text, 400))
		FROM (SELECT 'captured' AS side, * FROM surplus UNION ALL SELECT 'written', * FROM missing) d ORDER BY 1 LIMIT 6;
		SELECT format('$i->{name}: transaction %s has its changes in another order', g.tx)
		FROM (SELECT tx, array_agg(md5(old || image::text) ORDER BY at) AS list FROM got GROUP BY tx) g
			JOIN (SELECT tx, array_agg(md5(old || image::text) ORDER BY id, NOT old) AS list FROM want GROUP BY tx) w USING (tx)
		WHERE g.list <> w.list AND (SELECT array_agg(x ORDER BY x) FROM unnest(g.list) x) = (SELECT array_agg(x ORDER BY x) FROM unnest(w.list) x) LIMIT 3;
		SELECT 'count ' || count(*) FROM got;
		UPDATE fuzz.marks SET verified = (SELECT coalesce(max(id), 0) FROM want) WHERE instance_id = $i->{id}));
	for (@out) { $rows_compared += $1 if /^count (\d+)$/ }
	return grep { !/^count \d+$/ } @out;
}

# Net changes by window functions over all changes, in all three modes, for some windows.
sub _judge_net
{
	my ($node, $db, $i, @windows) = @_;
	return () if $i->{net} ne 't';
	my @keys = map { $_->{name} } grep { $_->{key} } @{ $i->{columns} };
	return () unless @keys;
	my $keys = join ', ', @keys;
	my $image = "md5(ROW(" . join(', ', map { "$_->{name}::text" } @{ $i->{columns} }) . ")::text)";
	my @problems;
	for my $window (@windows)
	{
		my $all = _changes($i, 'all', 'all', [$window]);
		my $sql = qq(
			CREATE TEMP TABLE o AS SELECT "__\$start_lsn" AS lsn, "__\$operation" AS op, "__\$update_mask" AS mask, dense_rank() OVER (ORDER BY $keys) AS k, $image AS image,
				row_number() OVER (PARTITION BY $keys ORDER BY "__\$start_lsn", "__\$seqval", "__\$operation") AS forward,
				row_number() OVER (PARTITION BY $keys ORDER BY "__\$start_lsn" DESC, "__\$seqval" DESC, "__\$operation" DESC) AS backward
			FROM ($all) c;
			CREATE TEMP TABLE masks AS SELECT k, decode(string_agg(lpad(to_hex(bits), 2, '0'), '' ORDER BY at), 'hex') AS mask FROM (
				SELECT k, at, bit_or(get_byte(mask, at)) AS bits FROM o, generate_series(0, $i->{bytes} - 1) at GROUP BY k, at) b GROUP BY k;
			CREATE TEMP TABLE net AS SELECT l.lsn, l.image, l.k, CASE WHEN l.op = 1 THEN CASE WHEN f.op <> 2 THEN 1 END WHEN f.op = 2 THEN 2 ELSE 4 END AS op
				FROM o f JOIN o l USING (k) WHERE f.forward = 1 AND l.backward = 1;);
		for my $option ('all', 'all with mask', 'all with merge')
		{
			my $function = _changes($i, 'net', $option, [$window]);
			my $op = $option eq 'all with merge' ? 'CASE WHEN op = 1 THEN 1 ELSE 5 END' : 'op';
			my $mask = $option eq 'all with mask' ? 'CASE WHEN op = 4 THEN mask END' : 'NULL::bytea';
			$sql .= qq(
				CREATE TEMP TABLE got AS SELECT "__\$start_lsn" AS lsn, "__\$operation" AS op, "__\$update_mask" AS mask, $image AS image FROM ($function) c;
				CREATE TEMP TABLE want AS SELECT lsn, $op AS op, $mask AS mask, image FROM net JOIN masks USING (k) WHERE op IS NOT NULL;
				SELECT format('$i->{name}: net changes of [$window->[0], $window->[1]], $option: %s %s %s %s', side, lsn, op, mask) FROM (
					SELECT 'only the function has' AS side, * FROM (TABLE got EXCEPT ALL TABLE want) x UNION ALL
					SELECT 'only the slow version has', * FROM (TABLE want EXCEPT ALL TABLE got) y) d ORDER BY 1 LIMIT 4;
				DROP TABLE got, want;);
		}
		push @problems, _ask($node, $db, $sql);
	}
	return @problems;
}

# Masks: a bit is set exactly where the binary images differ; the mask functions say what the bits say.
sub _judge_masks
{
	my ($node, $db, $i) = @_;
	my $table = 'cdc.' . fuzz_ident("$i->{name}_ct");
	my $ci = fuzz_literal($i->{name});
	my $differ = join ', ', map { "record_image_ne(ROW(a.$_->{name}), ROW(b.$_->{name}))" } @{ $i->{columns} };
	my $sql = qq(CREATE TEMP TABLE since AS SELECT coalesce(max(ddl_lsn), '0/0') AS lsn FROM cdc.ddl_history WHERE object_id = $i->{object} AND required_column_update;
		SELECT '$i->{name}: mask ' || "__\$update_mask"::text || ' of operation ' || "__\$operation"::text FROM $table, since
			WHERE "__\$start_lsn" > since.lsn AND octet_length("__\$update_mask") IS DISTINCT FROM $i->{bytes} LIMIT 2;
		CREATE TEMP TABLE pairs AS SELECT a."__\$update_mask" AS mask, b."__\$update_mask" AS other, ARRAY[$differ]::bool[] AS differs,
				a."__\$start_lsn" AS lsn, a."__\$command_id" AS command
			FROM $table a JOIN $table b ON a."__\$start_lsn" = b."__\$start_lsn" AND a."__\$command_id" = b."__\$command_id", since
			WHERE a."__\$operation" = 3 AND b."__\$operation" = 4 AND a."__\$start_lsn" > since.lsn;);
	my $exact = $i->{image} eq 'full';
	# A key image: nothing is known of the other columns before.
	$sql .= qq(SELECT format('$i->{name}: mask %s of update %s of %s, bits differ at %s', mask, command, lsn, n) FROM pairs, generate_subscripts(differs, 1) n
		WHERE mask IS DISTINCT FROM other OR octet_length(mask) = $i->{bytes} AND ((get_byte(mask, $i->{bytes} - 1 - (n - 1) / 8) >> ((n - 1) % 8)) & 1 = 1) <> differs[n] LIMIT 3;) if $exact;
	my $masks = join ', ', map { "('\\x" . join('', map { sprintf '%02x', fuzz_number(256) } 1 .. $i->{bytes}) . "'::bytea)" } 1 .. 3;
	$sql .= qq(SELECT format('$i->{name}: mask functions of column %s of %s', c.column_name, m.mask) FROM cdc.captured_columns c, (VALUES $masks) m (mask),
			LATERAL (SELECT (get_byte(mask, $i->{bytes} - 1 - (column_ordinal - 1) / 8) >> ((column_ordinal - 1) % 8)) & 1 = 1 AS is_set) s
		WHERE object_id = $i->{object} AND (cdc.fn_cdc_get_column_ordinal($ci, column_name) IS DISTINCT FROM column_ordinal
			OR cdc.fn_cdc_is_bit_set(column_ordinal, mask) IS DISTINCT FROM is_set OR cdc.fn_cdc_has_column_changed($ci, column_name, mask) IS DISTINCT FROM is_set
			OR cdc.fn_cdc_is_bit_set(8 * $i->{bytes} + column_ordinal, mask)) LIMIT 3;);
	return _ask($node, $db, $sql);
}

# Roles without rights of their own: whether they read all rows, or are refused.
sub _judge_rights
{
	my ($node, $db, $i) = @_;
	my $changes = _changes($i, 'all', 'all update old', $i->{windows});
	return () if $changes eq '';
	my $query = fuzz_literal("SELECT count(*) FROM ($changes) c");
	return _ask($node, $db, qq(
		SELECT format('$i->{name}: %s reads %s, and should %s', role, got, want) FROM (VALUES ('fuzz_reader'), ('fuzz_other')) r (role),
			LATERAL (SELECT fuzz.count_as(role, $query) AS got, CASE WHEN fuzz.may_read(role, $i->{id}) THEN fuzz.count_as('postgres', $query) ELSE '42501' END AS want) x
		WHERE got IS DISTINCT FROM want));
}

# Time and LSN functions.
sub _judge_times
{
	my ($node, $db) = @_;
	my $sql = q(CREATE TEMP TABLE times AS SELECT t + d AS t FROM (SELECT DISTINCT tran_end_time AS t FROM cdc.lsn_time_mapping ORDER BY 1 LIMIT 40) m,
		(VALUES (interval '0'), (interval '1 microsecond'), (interval '-1 microsecond')) o (d) UNION VALUES ('infinity'::timestamptz), ('-infinity'), ('2000-01-01');
		SELECT 'map_lsn_to_time ' || start_lsn FROM cdc.lsn_time_mapping WHERE cdc.fn_cdc_map_lsn_to_time(start_lsn) IS DISTINCT FROM tran_end_time
			OR start_lsn > '0/0' AND cdc.fn_cdc_map_lsn_to_time(start_lsn - 1) IS NOT NULL AND NOT EXISTS (SELECT FROM cdc.lsn_time_mapping b WHERE b.start_lsn = lsn_time_mapping.start_lsn - 1)
			OR cdc.fn_cdc_increment_lsn(start_lsn) <> start_lsn + 1 OR cdc.fn_cdc_decrement_lsn(start_lsn) <> start_lsn - 1 LIMIT 3;
		SELECT 'max_lsn' WHERE cdc.fn_cdc_get_max_lsn() IS DISTINCT FROM (SELECT max(start_lsn) FROM cdc.lsn_time_mapping);
		SELECT 'min_lsn of ' || capture_instance FROM cdc.change_tables WHERE cdc.fn_cdc_get_min_lsn(capture_instance) IS DISTINCT FROM start_lsn;);
	for (
		[ 'largest less than', '<', 'DESC' ], [ 'largest less than or equal', '<=', 'DESC' ],
		[ 'smallest greater than', '>', 'ASC' ], [ 'smallest greater than or equal', '>=', 'ASC' ])
	{
		my ($name, $operator, $order) = @$_;
		$sql .= qq(SELECT '$name ' || t FROM times WHERE cdc.fn_cdc_map_time_to_lsn('$name', t) IS DISTINCT FROM
			(SELECT start_lsn FROM cdc.lsn_time_mapping WHERE tran_end_time $operator t ORDER BY tran_end_time $order, start_lsn $order LIMIT 1) LIMIT 3;);
	}
	return _ask($node, $db, $sql);
}

# judge_all($node, $db, \%round): every problem.
sub judge_all
{
	my ($node, $db, $round) = @_;
	my @problems;
	for my $i (judge_instances($node, $db))
	{
		unless ($i->{windows})
		{
			push @problems, "$i->{name} has no LSN window";
			next;
		}
		# A view on a query function may have kept it from following a type.
		push @problems, _ask($node, $db, "SET client_min_messages = error; DROP VIEW IF EXISTS public." . fuzz_ident("of_$i->{name}") . '; CALL cdc.renew_query_functions(' . fuzz_literal($i->{name}) . ');')
		  if $round->{wild};
		push @problems, _judge_shadow($node, $db, $i) if $round->{shadow};
		push @problems, _judge_masks($node, $db, $i);
		push @problems, _judge_rights($node, $db, $i);
		my @windows;
		for my $whole (@{ $i->{windows} })
		{
			push @windows, $whole;
			push @windows, _rows($node, $db, "SELECT least(a, b), greatest(a, b) FROM (SELECT '$whole->[0]'::pg_lsn + trunc(" . rand() . "::numeric * ('$whole->[1]'::pg_lsn - '$whole->[0]')) AS a,
				'$whole->[0]'::pg_lsn + trunc(" . rand() . "::numeric * ('$whole->[1]'::pg_lsn - '$whole->[0]')) AS b) x");
		}
		push @problems, _judge_net($node, $db, $i, @windows[ 0 .. (@windows > 3 ? 3 : $#windows) ]);
	}
	push @problems, _judge_times($node, $db);
	push @problems, _ask($node, $db, 'SELECT * FROM fuzz.invariants(); SELECT * FROM fuzz.damage()');
	push @problems, _ask($node, $db, q(SELECT format('health: %s is %s: %s %s', check_name, status, value, detail) FROM cdc.health() WHERE status <> 'ok'
		AND check_name IN ('settings', 'database', 'launcher', 'capture_worker', 'decoder', 'lag_time', 'lag_bytes', 'slot', 'worker_slots', 'change_tables', 'event_triggers')));
	push @problems, map { "calm, and yet: $_" } _ask($node, $db, q(SELECT 'gap ' || reason || ' ' || coalesce(detail, '') FROM cdc.gaps
		UNION ALL SELECT format('health: %s: %s', check_name, detail) FROM cdc.health() WHERE status <> 'ok' AND check_name IN ('gaps', 'replica_identity', 'query_functions'))) unless $round->{wild};
	return @problems;
}

1;
