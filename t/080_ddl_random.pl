# Random DDL on captured tables among random DML of several sessions, while the capture job stops and starts, cleanup
# removes what was read, readers keep cursors open, and processes are killed. After each round what the query functions
# say is compared with a log that row triggers on the sources have written: the same images in the same transactions.
use strict;
use warnings;

use FindBin;
use lib "$FindBin::RealBin/lib";

use CdcTest;
use IPC::Run;
use PostgreSQL::Test::Utils;
use Test::More;

my $seed     = random_seed();
my $db       = 'ddl_random';
my $rounds   = $ENV{CDC_TEST_ROUNDS} // 4;
my $sessions = 3;
my $length   = $ENV{CDC_TEST_LENGTH} // 25;

my $node = cdc_node(
	'ddl_random',
	'cdc.partition_wal_size' => '1MB',
	'cdc.capture_queue_size' => '512kB',
	log_min_messages         => 'info',
	deadlock_timeout         => '100ms');
cdc_create($node, $db);

my @types = (
	'numeric(8,2)', 'numeric(10,2)',
	qw(smallint int bigint numeric text varchar(5) varchar(20) char(6) bool date timestamptz timestamp(0) bytea int[] text[]
	  mood pair small_int bit(3) varbit interval jsonb float8 name cidr inet time bigint[]));

$node->safe_psql($db, q(
	CREATE TYPE mood AS ENUM ('low', 'high');
	CREATE TYPE pair AS (a int, b text);
	CREATE DOMAIN small_int AS int CHECK (VALUE < 10000);
	CREATE SCHEMA s;

	-- What has happened, from the source's side: images by attribute number, for the table and each partitioned one above it.
	CREATE TABLE shadow (id bigserial PRIMARY KEY, tx xid8 DEFAULT pg_current_xact_id(), lsn pg_lsn DEFAULT pg_current_wal_insert_lsn(), rel oid, before jsonb, after jsonb);
	CREATE INDEX ON shadow (rel, id);
	CREATE TABLE marks (instance_id int PRIMARY KEY, from_id bigint, verified bigint);
	CREATE FUNCTION note() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER AS $$
	DECLARE
		relation oid;
		list text;
		before jsonb;
		after jsonb;
	BEGIN
		FOR relation IN SELECT relid FROM pg_partition_ancestors(TG_RELID) UNION SELECT TG_RELID LOOP
			SELECT string_agg(format('%L, ($1).%I::text', r.attnum, l.attname), ', ') INTO list
			FROM pg_attribute l JOIN pg_attribute r ON r.attrelid = relation AND r.attname = l.attname AND NOT r.attisdropped
			WHERE l.attrelid = TG_RELID AND l.attnum > 0 AND NOT l.attisdropped;
			IF TG_OP <> 'INSERT' THEN
				EXECUTE 'SELECT jsonb_build_object(' || list || ')' INTO before USING OLD;
			END IF;
			IF TG_OP <> 'DELETE' THEN
				EXECUTE 'SELECT jsonb_build_object(' || list || ')' INTO after USING NEW;
			END IF;
			INSERT INTO shadow (rel, before, after) VALUES (relation, before, after);
		END LOOP;
		RETURN NULL;
	END $$;

	CREATE FUNCTION value_for(type oid) RETURNS text LANGUAGE sql AS $$
		SELECT quote_literal(CASE
			WHEN random() < 0.15 THEN NULL
			WHEN format_type(type, NULL) ~ '\[\]$' THEN format('{%s,%s}', k, k + 1)
			WHEN type = 'mood'::regtype THEN CASE WHEN k % 2 = 0 THEN 'low' ELSE 'high' END
			WHEN type = 'pair'::regtype THEN format('(%s,x)', k)
			WHEN type = 'bool'::regtype THEN CASE WHEN k % 2 = 0 THEN 't' ELSE 'f' END
			WHEN type IN ('date'::regtype, 'timestamp'::regtype, 'timestamptz'::regtype) THEN format('2024-02-%s', k % 28 + 1)
			WHEN type = 'bytea'::regtype THEN '\x0' || k % 10
			WHEN type IN ('bit'::regtype, 'varbit'::regtype) THEN '101'
			WHEN type IN ('cidr'::regtype, 'inet'::regtype) THEN format('10.0.0.%s', k)
			WHEN type = 'time'::regtype THEN format('10:%s', lpad((k % 60)::text, 2, '0'))
			WHEN type = 'text'::regtype AND k < 10 THEN repeat(md5(k::text || random()::text), 200)
			ELSE k::text END)
		FROM (SELECT (random() * 99)::int AS k) r $$;

	-- Some random DML on one table, whatever its columns are called and of which type they are now.
	CREATE FUNCTION dml(relation regclass, times int) RETURNS void LANGUAGE plpgsql AS $$
	DECLARE
		id text;
		names text;
		vals text;
		sets text;
	BEGIN
		FOR i IN 1 .. times LOOP
			id := (random() * 200)::int::text;
			SELECT string_agg(quote_ident(attname), ', '), string_agg(coalesce(value_for(atttypid), 'NULL'), ', '),
				string_agg(format('%I = %s', attname, coalesce(value_for(atttypid), 'NULL')), ', ')
			INTO names, vals, sets FROM pg_attribute
			WHERE attrelid = relation AND attnum > 1 AND NOT attisdropped AND attgenerated = '' AND random() < 0.7;
			BEGIN
				CASE (random() * 6)::int
					WHEN 0 THEN EXECUTE format('DELETE FROM %s WHERE id = %s', relation, id);
					WHEN 1 THEN EXECUTE format('UPDATE %s SET id = id + 60 WHERE id = %s', relation, id);
					WHEN 2 THEN EXECUTE format('UPDATE %s SET %s WHERE id BETWEEN %s AND %s + 5', relation, sets, id, id);
					WHEN 3 THEN EXECUTE format('INSERT INTO %s (id, %s) SELECT g, %s FROM generate_series(%s, %s + 9) g ON CONFLICT DO NOTHING', relation, names, vals, id, id);
					ELSE EXECUTE format('INSERT INTO %s (id, %s) VALUES (%s, %s) ON CONFLICT (id) DO UPDATE SET %s', relation, names, id, vals, sets);
				END CASE;
			EXCEPTION WHEN data_exception OR integrity_constraint_violation OR syntax_error OR datatype_mismatch THEN NULL;
			END;
		END LOOP;
	END $$;

	CREATE PROCEDURE make_plain(name text) LANGUAGE plpgsql AS $$
	BEGIN
		EXECUTE format('CREATE TABLE %s (id int PRIMARY KEY, a int, b text, c varchar(5), d numeric)', name);
		EXECUTE format('CREATE TRIGGER note AFTER INSERT OR UPDATE OR DELETE ON %s FOR EACH ROW EXECUTE FUNCTION note()', name);
	END $$;
	CREATE PROCEDURE capture(schema text, name text, instance text, keeps text, identity text) LANGUAGE plpgsql AS $$
	BEGIN
		CALL cdc.sp_cdc_enable_table(schema, name, NULL, capture_instance => instance, truncate_action => 'record', drop_action => keeps);
		INSERT INTO marks SELECT instance_id, nextval('shadow_id_seq'), 0 FROM cdc.change_tables WHERE capture_instance = instance;
	END $$;
	CALL make_plain('t1');
	CALL make_plain('s.t2');
	CALL make_plain('again');
	CREATE TABLE p (id int PRIMARY KEY, a int, b text, c varchar(5), d numeric) PARTITION BY RANGE (id);
	CREATE TRIGGER note AFTER INSERT OR UPDATE OR DELETE ON p FOR EACH ROW EXECUTE FUNCTION note();
	CREATE TABLE p0 PARTITION OF p FOR VALUES FROM (0) TO (100);
	CREATE TABLE p1 PARTITION OF p FOR VALUES FROM (100) TO (200);
	CREATE TABLE p2 (d numeric, c varchar(5), gone int, b text, a int, id int NOT NULL);
	ALTER TABLE p2 DROP COLUMN gone;
	ALTER TABLE p ATTACH PARTITION p2 FOR VALUES FROM (200) TO (300);
	CALL capture('public', 't1', 't1_a', 'remove', 'full');
	CALL capture('public', 'p', 'p_a', 'remove', 'full');
	CALL cdc.sp_cdc_change_job('cleanup', retention => 1);
));

my @tables = (
	[ 'public', 't1' ], [ 's', 't2' ], [ 'public', 'again' ], [ 'public', 'p' ]);
my @triggers = qw(cdc_ddl_command_start cdc_ddl_command_end cdc_sql_drop);
my @watermarks;    # [instance, LSN]: what was compared up to there

sub pick { return $_[ int rand @_ ] }

sub dml
{
	my ($table) = @_;
	return "SELECT dml('$table', " . (1 + int rand 8) . ')';
}

sub ddl
{
	my ($session) = @_;
	my ($schema, $name) = @{ pick(@tables) };
	my $table  = "$schema.$name";
	my $column = pick(qw(a b c d));
	my $type   = pick(@types);
	my $using  = pick('USING NULL', 'USING NULL', "USING left($column\::text, 2)::$type", '');
	my $leaf   = int rand 3;
	my $bounds = "FOR VALUES FROM (${leaf}00) TO (" . ($leaf + 1) . '00)';
	my $keep   = pick(qw(remove keep));
	return pick(
		sub { "ALTER TABLE $table ALTER COLUMN $column TYPE $type $using" },
		sub { "ALTER TABLE $table ALTER COLUMN $column TYPE $type $using" },
		sub { "ALTER TABLE $table ALTER COLUMN $column TYPE $type $using, ALTER COLUMN a TYPE " . pick(@types) . ' USING NULL' },
		sub { "ALTER TABLE $table ADD COLUMN IF NOT EXISTS $column $type" },
		sub { "ALTER TABLE $table ADD COLUMN e$session " . pick('int DEFAULT 7', "text DEFAULT 'e'", 'int GENERATED ALWAYS AS (id * 2) STORED') },
		sub { "ALTER TABLE $table DROP COLUMN " . pick($column, 'e1', 'e2', 'e3') },
		sub { "ALTER TABLE $table RENAME COLUMN $column TO r; " . dml($table) . "; ALTER TABLE $table RENAME COLUMN r TO $column" },
		sub { "ALTER TABLE $table RENAME TO moved; " . dml("$schema.moved") . "; ALTER TABLE $schema.moved RENAME TO $name" },
		sub { "ALTER TABLE $table SET SCHEMA cdc_other; ALTER TABLE cdc_other.$name SET SCHEMA $schema" },
		sub { 'ALTER SCHEMA s RENAME TO s_other; ' . dml('s_other.t2') . '; ALTER SCHEMA s_other RENAME TO s' },
		sub { "ALTER TABLE p DETACH PARTITION p$leaf; " . pick('', "TRUNCATE p$leaf; ") . "ALTER TABLE p ATTACH PARTITION p$leaf $bounds" },
		sub { "DROP TABLE p$leaf; CREATE TABLE p$leaf PARTITION OF p $bounds" },
		sub { "DROP TABLE IF EXISTS again; CALL make_plain('again')" },
		sub { "DROP TABLE IF EXISTS again; CALL make_plain('again'); CALL capture('public', 'again', 'again_b', '$keep', 'full'); " . dml('again') },
		sub { "TRUNCATE $table" },
		sub { "ALTER TABLE " . pick($table, "p$leaf") . " REPLICA IDENTITY " . pick('DEFAULT', 'FULL', 'FULL', 'NOTHING') },
		sub { "ALTER TABLE " . pick($table, "p$leaf") . " SET " . pick('LOGGED', 'UNLOGGED', 'LOGGED') },
		sub { "ALTER TABLE $table ALTER COLUMN a TYPE " . pick(@types) . " USING NULL, ALTER COLUMN b TYPE " . pick(@types) . ' USING NULL' },
		sub { "ALTER TABLE $table ALTER COLUMN a TYPE bigint USING NULL; " . dml($table) . "; ALTER TABLE $table ALTER COLUMN a TYPE int USING NULL; " . dml($table) },
		sub { "CREATE OR REPLACE VIEW of_$name AS SELECT * FROM cdc.fn_cdc_get_all_changes_${name}_a('0/1', '0/1', 'all')" },
		sub { "DROP VIEW IF EXISTS of_$name; CALL cdc.renew_query_functions('${name}_a')" },
		sub { "ALTER TABLE $table ALTER COLUMN c TYPE " . pick('varchar(3)', 'varchar(8)', 'varchar', 'text') . ' USING NULL' },
		sub { "BEGIN; ALTER TABLE $table ALTER COLUMN $column TYPE $type USING NULL; " . dml($table) . "; PREPARE TRANSACTION 'x$session'; ROLLBACK; COMMIT PREPARED 'x$session'" },
		sub { pick('VACUUM FULL', 'CLUSTER', 'ANALYZE') . " $table" . '' },
		(
			map {
				my $ci = $name . pick(qw(_a _b));
				(
					sub { "CALL capture('$schema', '$name', '$ci', '$keep', 'full')" },
					sub { "CALL cdc.sp_cdc_disable_table('$schema', '$name', '" . pick($ci, 'all') . "')" })
			} 1 .. 2),
		sub { "CALL capture('$schema', '$name', '${name}_a', '$keep', 'full'); " . dml($table) },
	)->();
}

# Only one session: the server does not let two switch the same event trigger at a time.
sub unseen
{
	my $body = ddl(1);
	my @off = @triggers[0 .. pick(1, 2)];
	my $off = join '; ', map { "ALTER EVENT TRIGGER $_ DISABLE" } @off;
	my $on = join '; ', map { "ALTER EVENT TRIGGER $_ ENABLE ALWAYS" } @off;
	return "BEGIN; $off; $body; " . dml(join '.', @{ pick(@tables) }) . "; $on; COMMIT";
}

sub reader
{
	my $ci = pick(qw(t1_a t1_b t2_a t2_b again_a again_b p_a p_b));
	my $function = pick(qw(all net));
	return "BEGIN ISOLATION LEVEL " . pick('READ COMMITTED', 'REPEATABLE READ') . ";
		DECLARE c CURSOR FOR SELECT * FROM cdc.fn_cdc_get_${function}_changes_$ci(cdc.fn_cdc_get_min_lsn('$ci'), cdc.fn_cdc_get_max_lsn(), 'all');
		FETCH 2 FROM c; SELECT count(*) FROM generate_series(1, " . int(rand 500000) . "); FETCH ALL FROM c; COMMIT";
}

sub transaction
{
	my ($session) = @_;
	my @parts = ('BEGIN');
	my $open = 0;
	for (1 .. 1 + int rand 6)
	{
		push @parts, rand() < 0.35 ? ddl($session) : dml(join '.', @{ pick(@tables) });
		if (rand() < 0.4)
		{
			push @parts, $open && rand() < 0.6 ? 'ROLLBACK TO sp' : 'SAVEPOINT sp';
			$open = 1;
		}
	}
	return join '; ', @parts, rand() < 0.85 ? 'COMMIT' : 'ROLLBACK';
}

sub script
{
	my ($session) = @_;
	my @statements = ("SET lock_timeout = '700ms'; SET statement_timeout = '20s'; SET client_min_messages = error");
	for (1 .. $length)
	{
		my $dice = rand;
		my $mark = pick(@watermarks);
		push @statements,
		    $dice < 0.30 ? transaction($session)
		  : $dice < 0.50 ? ddl($session)
		  : $dice < 0.75 ? dml(join '.', @{ pick(@tables) })
		  : $dice < 0.85 ? reader()
		  : $dice < 0.92 ? ($session == 1 ? unseen() : transaction($session))
		  : $dice < 0.94 ? "CALL cdc.sp_cdc_start_job('cleanup')"
		  : $dice < 0.96 && $mark ? "CALL cdc.sp_cdc_cleanup_change_table('$mark->[0]', '$mark->[1]', 10)"
		  : $dice < 0.97 && $session == 2 ? 'CALL cdc.sp_cdc_stop_job(); ' . dml('t1') . '; CALL cdc.sp_cdc_start_job()'
		  : $dice < 0.98 ? "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE backend_type IN ('cdc capture worker', 'cdc decoder') AND random() < 0.5"
		  :                'SELECT * FROM cdc.health()';
	}
	return join ";\n", @statements, '';
}

# Images that differ between the instance and the shadow log; what was compared before may have been cleaned up.
sub differences
{
	my ($id, $name, $object, $source) = @_;

	# A view on a query function may have kept it from following.
	my $view = 'of_' . ($name =~ s/_[ab]$//r);
	$node->safe_psql($db, "SET client_min_messages = error; DROP VIEW IF EXISTS $view; CALL cdc.renew_query_functions('$name')");
	my @columns = map { [ split /\|/ ] } split /\n/,
	  $node->safe_psql($db, "SELECT column_ordinal, column_id, quote_ident(column_name) FROM cdc.captured_columns WHERE object_id = $object ORDER BY 1");
	my $seen  = join ', ', map { "'$_->[0]', $_->[2]::text" } @columns;
	my $wrote = sub {
		my ($image) = @_;
		return 'jsonb_build_object(' . join(', ', map { "'$_->[0]', $image->>'$_->[1]'" } @columns) . ')';
	};
	my ($low, $high) = split /\|/,
	  $node->safe_psql($db, "SELECT cdc.fn_cdc_get_min_lsn('$name'), cdc.fn_cdc_get_max_lsn()");
	return "no low end" if $low eq '' || $low eq '0/0';
	return "no high end" if $high eq '';

	# Between the gaps.
	my $windows = $node->safe_psql($db, qq(
		WITH g AS (SELECT start_lsn, coalesce(end_lsn, 'FFFFFFFF/FFFFFFFF') AS end_lsn FROM cdc.gaps WHERE object_id = $object OR object_id IS NULL),
		e AS (SELECT pg_lsn '$low' AS l UNION SELECT end_lsn FROM g WHERE end_lsn BETWEEN '$low' AND '$high'),
		w AS (SELECT l, least((SELECT min(start_lsn) - 1 FROM g WHERE start_lsn > e.l), '$high') AS h FROM e
			WHERE NOT EXISTS (SELECT FROM g WHERE g.start_lsn <= e.l AND e.l < g.end_lsn))
		SELECT format('SELECT * FROM cdc.fn_cdc_get_all_changes_%s(%L, %L, %L)', '$name', l, h, 'all update old') FROM w WHERE l <= h));
	my $changes = join ' UNION ALL ', split /\n/, $windows;
	return '' if $changes eq '';
	my ($first) = split /\n/, $windows;
	my $net = $first =~ s/get_all_changes/get_net_changes/r =~ s/all update old/all/r;
	my ($status, $out, $err) = $node->psql($db, qq(
		SET client_min_messages = warning;
		CREATE TEMP TABLE got AS SELECT m.tran_id AS tx, c."__\$operation" IN (1, 3) AS old, jsonb_build_object($seen) AS image
			FROM ($changes) c JOIN cdc.lsn_time_mapping m ON m.start_lsn = c."__\$start_lsn"
			WHERE "__\$operation" IN (1, 2) OR "__\$update_mask"::text ~ '[1-9a-f]';
		CREATE TEMP TABLE want AS SELECT s.id, s.tx, s.lsn, old, image FROM shadow s, marks k,
			LATERAL (VALUES (true, before, ${\ $wrote->('before') }), (false, after, ${\ $wrote->('after') })) i (old, is_there, image)
			WHERE rel = $source AND k.instance_id = $id AND s.id > k.from_id AND i.is_there IS NOT NULL
			AND (before IS NULL OR after IS NULL OR ${\ $wrote->('before') } <> ${\ $wrote->('after') });
		SELECT format('only %s: %s %s %s', side, tx, old, left(image::text, 150)) FROM (
			SELECT 'captured' AS side, * FROM (SELECT tx, old, image FROM got EXCEPT ALL SELECT tx, old, image FROM want) x
			UNION ALL
			SELECT 'written', * FROM (SELECT tx, old, image FROM want EXCEPT ALL SELECT tx, old, image FROM got) y
				WHERE NOT EXISTS (SELECT FROM cdc.lsn_time_mapping m JOIN cdc.gaps g ON (g.object_id = $object OR g.object_id IS NULL)
					AND m.start_lsn >= g.start_lsn AND (g.end_lsn IS NULL OR m.start_lsn < g.end_lsn) WHERE m.tran_id = y.tx)
				-- A transaction of which nothing was logged has no mapping row.
				AND NOT (NOT EXISTS (SELECT FROM cdc.lsn_time_mapping m WHERE m.tran_id = y.tx) AND EXISTS (SELECT FROM want w JOIN cdc.gaps g
					ON (g.object_id = $object OR g.object_id IS NULL) AND (g.end_lsn IS NULL OR w.lsn < g.end_lsn) WHERE w.tx = y.tx))
				AND NOT (EXISTS (SELECT FROM want w, marks k WHERE w.tx = y.tx AND k.instance_id = $id AND w.id <= k.verified)
					AND NOT EXISTS (SELECT FROM cdc.lsn_time_mapping m WHERE m.tran_id = y.tx AND m.start_lsn >= '$low'))) d
		ORDER BY 1 LIMIT 5;
		-- Net changes are what the first and the last change of each key make of it.
		WITH a AS (SELECT id, "__\$start_lsn" AS lsn, "__\$seqval" AS seqval, "__\$operation" AS op, jsonb_build_object($seen) AS image FROM ($first) c),
		f AS (SELECT DISTINCT ON (id) id, op FROM a ORDER BY id, lsn, seqval, op),
		l AS (SELECT DISTINCT ON (id) id, op, image FROM a ORDER BY id, lsn DESC, seqval DESC, op DESC),
		want AS (SELECT id, l.op = 1 AS gone, CASE WHEN l.op <> 1 THEN image END AS image FROM f JOIN l USING (id) WHERE NOT (f.op = 2 AND l.op = 1)),
		got AS (SELECT id, "__\$operation" = 1 AS gone, CASE WHEN "__\$operation" <> 1 THEN jsonb_build_object($seen) END AS image FROM ($net) c),
		d AS (SELECT 'net only' AS side, * FROM (TABLE got EXCEPT ALL TABLE want) x UNION ALL SELECT 'not in net', * FROM (TABLE want EXCEPT ALL TABLE got) y)
		SELECT format('%s: %s %s %s', side, id, gone, left(image::text, 150)) FROM d ORDER BY 1 LIMIT 5;
		SELECT 'count ' || count(*) FROM got;
		UPDATE marks SET verified = (SELECT coalesce(max(id), 0) FROM want) WHERE instance_id = $id));
	push @watermarks, [ $name, $high ];
	our $compared;
	$compared += $1 if $out =~ s/^count (\d+)$//m;
	$out =~ s/\s+$//;
	return $err . $out;
}

our $compared = 0;
my %errors;
my @internal;
$node->safe_psql($db, 'CREATE SCHEMA cdc_other');
for my $round (1 .. $rounds)
{
	my @running;
	for my $session (1 .. $sessions)
	{
		my %run = (in => "\\set VERBOSITY verbose\n\\set ECHO errors\n\\set ON_ERROR_ROLLBACK " . pick('on', 'on', 'off') . "\n" . script($session), out => '', err => '');
		# A crash ends the session.
		$run{handle} = IPC::Run::start [ $node->installed_command('psql'), '-XAtq', '-d', $node->connstr($db) ],
		  '<', \$run{in}, '>', \$run{out}, '2>', \$run{err};
		push @running, \%run;
	}
	if ($round % 3 == 2)
	{
		select undef, undef, undef, rand 3;
		my $whom = pick('cdc decoder', 'cdc capture worker');
		my ($pid) = server_processes($node, qr/$whom/);
		kill 'KILL', $pid if $pid;
	}
	for my $run (@running)
	{
		eval { $run->{handle}->finish };
		while ($run->{err} =~ /ERROR:  (\w{5}): ([^\n]*)/g)
		{
			$errors{"$1 $2"}++;
			my ($state, $text) = ($1, $2);
			next unless $state =~ /^XX|^58/;
			# The functions are made anew while a reader is being planned: the server has no lock against that.
			my ($statement) = substr($run->{err}, pos $run->{err}) =~ /^STATEMENT:  ([^\n]*)/m;
			next if $text =~ /could not open relation|cache lookup failed/ && ($statement // '') =~ /^DECLARE c /;
			push @internal, "round $round: $text in: " . ($statement // '');
		}
	}
	wait_until(sub { (eval { ($node->psql($db, 'SELECT 1'))[0] } // 1) == 0 }, 'the server comes back');
	$node->psql($db, 'CALL cdc.sp_cdc_start_job()');
	$node->safe_psql($db, "ALTER EVENT TRIGGER $_ ENABLE ALWAYS") for @triggers;

	my ($status, undef, $err) = $node->psql($db, "CALL cdc.wait_for_capture(timeout => '60s')");
	is($err, '', "round $round: capture goes on") or diag $node->safe_psql($db, 'SELECT * FROM cdc.pg_stat_cdc; SELECT * FROM cdc.dm_cdc_errors');
	last if $err ne '';
	@watermarks = ();
	for (split /\n/, $node->safe_psql($db, 'SELECT instance_id, capture_instance, object_id, source_object_id FROM cdc.change_tables WHERE NOT has_drop_pending ORDER BY 1'))
	{
		my @instance = split /\|/;
		is(differences(@instance), '', "round $round: $instance[1] ($instance[0]) says what was done");
	}
}
cmp_ok($compared, '>', 0, 'rows were compared');
note "$compared rows were compared, gaps: " . $node->safe_psql($db, 'SELECT count(*) FROM cdc.gaps');
note join "\n", map { "$errors{$_} $_" } sort keys %errors;
is(join("\n", @internal), '', 'no internal errors in the sessions');
is(join("\n", grep { /TRAP:|PANIC|signal (?!9)|could not follow/ } split /\n/, slurp_file($node->logfile)), '', 'nothing unexpected in the log');
is($node->safe_psql($db, "SELECT error_message, sqlstate FROM cdc.dm_cdc_errors WHERE error_message !~ 'terminat|decoder has ended|is in use'"), '', 'no errors of the engine');
$node->stop;
done_testing();
