# FaultMatrix.pm: each fault point, and the piece of work that reaches it. What can be driven through all of them: crashes
# (SIGKILL of the process, immediate shutdown of the server while it is there), polite terminations, and errors.
#
# A piece of work has: `before`, what must be so; `sql`, what is done; `after`, what must be true once it has been done
# in the end; `revive`, what somebody has to do for capture to go on, where a crash stops it. After a crash in the middle the server comes back, capture goes on, the
# catalogs agree (CatalogCheck.pm), and the same work can be done again, to its end. In the end of each file the replay
# oracle says that nothing is lost, doubled or out of order.
package FaultMatrix;

use strict;
use warnings;

use CatalogCheck;
use CdcTest;
use Exporter 'import';
use PostgreSQL::Test::Utils;
use Test::More;

our @EXPORT = qw(matrix_points matrix_cluster matrix_crashes matrix_stop_amid matrix_errors matrix_cleanup_fails);

# Point => [work, passing up to which one is drawn, faults that lead there]. The order is that of a run.
my %matrix = (
	capture => [
		'decoder-start'           => ['restart'],
		'decoder-change'          => [ 'rows', 30 ],
		'decoder-commit'          => [ 'rows', 5 ],
		'decoder-send'            => [ 'rows', 3 ],
		'decoder-sent'            => [ 'rows', 3 ],
		'decoder-mid-transaction' => [ 'big', 4 ],
		'decoder-confirm'         => ['rows'],
		'decoder-confirmed'       => ['rows'],
		'writer-start'            => ['restart'],
		'writer-begin'            => [ 'rows', 2 ],
		'writer-chunk'            => [ 'big', 4 ],
		'writer-multi-insert'     => [ 'big', 4 ],
		'writer-mapping'          => [ 'rows', 5 ],
		'writer-progress'         => [ 'rows', 2 ],
		'writer-commit'           => [ 'rows', 2 ],
		'writer-committed'        => [ 'rows', 2 ],
		'writer-published'        => [ 'rows', 2 ],
		'writer-position'         => ['foreign'],
		'writer-leave'            => ['stop'],
		'writer-idle-mapping'     => ['idle'],
		'leaf-create'             => [ 'leaf', 2 ],
		'leaf-attach'             => [ 'leaf', 2 ],
	],
	ddl => [
		'decoder-event'         => ['enable'],
		'event-apply'           => ['enable'],
		'enable-table-identity' => ['enable'],
		'enable-table-create'   => ['enable'],
		'enable-table-end'      => ['enable'],
		'disable-table-removed' => ['disable'],
		'disable-table-end'     => ['disable'],
		'change-table-drop'     => ['disable'],
		'instance-remove'       => ['drop'],
		'ddl-queue'             => ['alter'],
		'type-change-begin'     => ['type'],
		'type-change-columns'   => ['type'],
		'type-change-end'       => ['type'],
	],
	database => [
		'writer-unwanted'      => ['look'],
		'slot-request'         => ['enable_db'],
		'slot-begin'           => ['enable_db'],
		'slot-create'          => ['enable_db'],
		'slot-persist'         => ['enable_db'],
		'slot-persisted'       => ['enable_db'],
		'creator-gone'         => ['enable_db'],
		'enable-commit'        => ['enable_db'],
		'enable-done'          => ['enable_db'],
		'enable-db-request'    => ['enable_db'],
		'enable-db-wait'       => ['enable_db'],
		'disable-db-stopped'   => ['disable_db'],
		'disable-db-removed'   => ['disable_db'],
		'disable-db-committed' => ['disable_db'],
		'disable-db-end'       => ['disable_db'],
		'scan-wait'            => ['scan'],
		'gap-record'           => ['lose_slot'],
		'resume-stopped'       => ['resume'],
		'gap-close'            => ['resume'],
		'resume-commit'        => ['resume'],
		'discard-recorded'     => ['discard'],
		'launcher-register'    => ['restart'],
		'launcher-registered'  => ['restart'],
		'launcher-start'       => ['crash'],
		'finder-look'          => ['crash'],
		'error-note'           => [ 'rows', 1, 'writer-commit:error:1+' ],
		'error-store'          => [ 'rows', 1, 'writer-commit:error:1+' ],
	],
	cleanup => [
		'cleanup-begin'       => ['clean'],
		'cleanup-mark'        => ['clean'],
		'cleanup-marked'      => ['clean'],
		'cleanup-detach'      => [ 'clean', 3 ],
		'cleanup-drop'        => [ 'clean', 3 ],
		'cleanup-dropped'     => [ 'clean', 3 ],
		'cleanup-delete'      => ['clean'],
		'cleanup-mapping'     => ['clean'],
		'cleanup-end'         => ['clean'],
		'cleanup-mark-stored' => ['clean_table'],
	]);

my ($node, $db, $load_file);

# matrix_points(@groups): those of these groups, or of all, in order. To repeat only some: CDC_TEST_POINTS="a b".
sub matrix_points
{
	my (@groups) = @_;
	my @points;

	return split ' ', $ENV{CDC_TEST_POINTS} if $ENV{CDC_TEST_POINTS} && @groups;

	for my $group (@groups ? @groups : sort keys %matrix)
	{
		my @list = @{ $matrix{$group} };
		push @points, $list[ 2 * $_ ] for 0 .. @list / 2 - 1;
	}
	return @points;
}

sub _plan
{
	my ($point) = @_;
	for my $list (values %matrix)
	{
		my %of = @$list;
		return @{ $of{$point} } if $of{$point};
	}
	die "no way to fault point $point is known";
}

# Whatever happens to the connection.
sub _try
{
	my ($sql) = @_;
	my ($stdout, $stderr) = ('', '');
	my $status = $node->psql($db, $sql, stdout => \$stdout, stderr => \$stderr, on_error_stop => 1);
	return ($status, $stdout, $stderr);
}

sub _value
{
	my ($sql) = @_;
	return $node->safe_psql($db, $sql);
}

sub _is_enabled
{
	return _value('SELECT count(*) FROM cdc._identity') eq '1';
}

sub _instance
{
	my ($name) = @_;
	return _value("SELECT count(*) FROM cdc.change_tables WHERE capture_instance = '$name'") eq '1';
}

sub _captured
{
	wait_captured($node, $db) if _is_enabled();
	return;
}

my $enable = "CALL cdc.sp_cdc_enable_table('public', '%s', NULL);";

sub _enable_all
{
	for my $table (qw(t p typed))
	{
		_value(sprintf $enable, $table) unless _instance("public_$table");
	}
	return;
}

sub _extra
{
	my ($enabled) = @_;
	_value('CREATE TABLE IF NOT EXISTS extra (id int GENERATED ALWAYS AS IDENTITY PRIMARY KEY, v text)');
	# One whose source was dropped in the last round may still be on its way out.
	_captured();
	_value("CALL cdc.sp_cdc_disable_table('public', 'extra', 'all')") if !$enabled && _instance('public_extra');
	_value(sprintf $enable, 'extra') if $enabled && !_instance('public_extra');
	_captured();
	return;
}

my $rows = q(
	INSERT INTO t (v) SELECT 'row' || g FROM generate_series(1, 20) g;
	UPDATE t SET n = n + 1 WHERE id > (SELECT max(id) - 100 FROM t) AND id % 3 = 0;
	DELETE FROM t WHERE id IN (SELECT id FROM t ORDER BY id LIMIT 3);
	BEGIN;
	INSERT INTO p (shelf, v) SELECT 1 + g % 2, 'box' FROM generate_series(1, 10) g;
	SAVEPOINT s;
	INSERT INTO t (v) VALUES ('undone');
	ROLLBACK TO SAVEPOINT s;
	UPDATE p SET shelf = 3 - shelf WHERE id > (SELECT max(id) - 4 FROM p);
	COMMIT;
	INSERT INTO t (v) VALUES ('last'););

my %work = (
	rows => { sql => $rows },
	big  => { sql => 'INSERT INTO t (v) SELECT repeat(md5(g::text), 15) FROM generate_series(1, 1500) g; UPDATE t SET n = n + 1 WHERE id % 5 = 0;' },
	leaf => {
		sql => 'SELECT pg_switch_wal(); ' . $rows . "INSERT INTO typed (v) VALUES ('leaf'); SELECT pg_switch_wal();" . $rows },
	restart => {
		sql => $rows . q(SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE backend_type = 'cdc capture worker' AND datname = current_database();) . $rows },
	stop => {
		sql => q(INSERT INTO untracked SELECT generate_series(1, 100); CALL cdc.sp_cdc_stop_job();) . $rows . 'CALL cdc.sp_cdc_start_job();',
		before => sub { _try('CALL cdc.sp_cdc_start_job()'); _captured(); },
		revive => sub { _try('CALL cdc.sp_cdc_start_job()'); } },
	# A writer that finds its job stopped: it is stopped behind the launcher's back.
	look => {
		sql => q(UPDATE cdc.cdc_jobs SET started = false WHERE job_type = 'capture';
			SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE backend_type = 'cdc capture worker' AND datname = current_database();
			DO $$ BEGIN
				FOR i IN 1 .. 600 LOOP
					EXIT WHEN (SELECT state = 'stopped' FROM cdc.pg_stat_cdc WHERE database = current_database());
					-- a wait of 50 ms: nobody ever gets there
					BEGIN
						CALL cdc.wait_for_capture('FFFFFFFF/FFFFFFFF', '50ms');
					EXCEPTION WHEN OTHERS THEN
						NULL;
					END;
				END LOOP;
			END $$;
			CALL cdc.sp_cdc_start_job();) . $rows,
		before => sub { _try('CALL cdc.sp_cdc_start_job()'); _captured(); },
		revive => sub { _try('CALL cdc.sp_cdc_start_job()'); } },
	foreign => {
		sql   => 'SELECT pg_switch_wal(); INSERT INTO untracked VALUES (1); SELECT pg_switch_wal(); INSERT INTO untracked VALUES (2);' . $rows,
		quiet => 1 },
	idle => {
		sql   => q(ALTER SYSTEM SET cdc.idle_mapping_interval = '1s'; SELECT pg_reload_conf(); INSERT INTO t (v) VALUES ('quiet'); INSERT INTO untracked VALUES (1);),
		quiet => 1 },
	enable => {
		before => sub { _extra(0) },
		sql    => "INSERT INTO extra (v) VALUES ('before');" . sprintf($enable, 'extra') . "INSERT INTO extra (v) VALUES ('after');",
		after  => sub {
			is(_value(q(SELECT count(*) FROM cdc.public_extra_ct WHERE v = 'after')), 1, '... an enabled table is captured');
		} },
	disable => {
		before => sub { _extra(1) },
		sql    => "INSERT INTO extra (v) VALUES ('before'); CALL cdc.sp_cdc_disable_table('public', 'extra', 'all'); INSERT INTO extra (v) VALUES ('after');",
		after  => sub {
			is(_value(q(SELECT relreplident FROM pg_class WHERE oid = 'extra'::regclass)), 'd', '... a disabled table has its replica identity back');
		} },
	drop => {
		before => sub { _extra(1) },
		sql    => "INSERT INTO extra (v) VALUES ('before'); DROP TABLE extra;",
		after  => sub {
			ok( $node->poll_query_until($db, q(SELECT count(*) = 0 FROM cdc.change_tables WHERE capture_instance = 'public_extra')),
				'... the instance of a dropped table goes');
		} },
	alter => { sql => 'ALTER TABLE t ADD COLUMN IF NOT EXISTS added int; ALTER TABLE t DROP COLUMN added;' . $rows },
	type  => {
		sql => q(
			INSERT INTO typed (v) VALUES ('before');
			DO $$ BEGIN IF 'text'::regtype = (SELECT atttypid FROM pg_attribute WHERE attrelid = 'typed'::regclass AND attname = 'n') THEN
				ALTER TABLE typed ALTER n TYPE int USING n::int; ELSE ALTER TABLE typed ALTER n TYPE text; END IF; END $$;
			INSERT INTO typed (v) VALUES ('after'); UPDATE typed SET v = v || 'x' WHERE id IN (SELECT max(id) FROM typed);),
		after => \&_typed_is_whole },
	enable_db => {
		before => sub { _try('CALL cdc.sp_cdc_disable_db()'); },
		sql    => 'CALL cdc.sp_cdc_enable_db(); ' . join(' ', map { sprintf $enable, $_ } qw(t p typed)) . $rows },
	disable_db => {
		before => sub { _try('CALL cdc.sp_cdc_enable_db()'); _enable_all(); _captured(); },
		sql    => $rows . 'CALL cdc.sp_cdc_disable_db();' . $rows,
		after  => sub {
			is(_value(q(SELECT string_agg(relname || relreplident::text, ' ' ORDER BY relname) FROM pg_class WHERE relname IN ('t', 'p', 'p_1', 'p_2', 'typed') AND relnamespace = 'public'::regnamespace)),
				'pd p_1d p_2d td typedd', '... after disable_db all tables have their replica identity back');
		} },
	scan => {
		before => sub { _try('CALL cdc.sp_cdc_enable_db()'); _enable_all(); _try('CALL cdc.sp_cdc_stop_job()'); },
		sql   => $rows . 'CALL cdc.sp_cdc_scan();',
		revive => sub { _try('CALL cdc.sp_cdc_start_job()') },
		after  => sub { _try('CALL cdc.sp_cdc_start_job()') } },
	lose_slot => {
		before => \&_no_gap,
		sql    => _lose_slot(),
		revive => \&_no_gap,
		after  => \&_no_gap },
	resume => {
		before => \&_at_gap,
		sql    => 'CALL cdc.resume_after_gap();' . $rows,
		# The gap is still there, and the same call ends it.
		revive => sub {
			my ($status, undef, $err) = _try('CALL cdc.resume_after_gap()');
			is($status, 0, '... resume_after_gap can be called again') or diag($err);
		} },
	discard => {
		before => \&_no_gap,
		sql    => 'CALL cdc.sp_cdc_stop_job();' . $rows . 'CALL cdc.discard_kept_wal(true);' . $rows,
		revive => sub {
			my ($status, undef, $err) = _try('CALL cdc.discard_kept_wal(true)');
			is($status, 0, '... discard_kept_wal can be called again') or diag($err);
		} },
	crash => {
		sql => sub {
			my ($checkpointer) = server_processes($node, qr/checkpointer/);
			kill 'KILL', $checkpointer;
			wait_until(sub { !kill 0, $checkpointer }, 'the server notices');
			wait_for_server($node);
		} },
	clean => {
		before => \&_age,
		sql    => q(CALL cdc.sp_cdc_start_job('cleanup');),
		# The next look at the job begins the interrupted run again by itself.
		after => \&_is_clean },
	clean_table => {
		before => \&_age,
		sql    => "SELECT max(start_lsn) AS mark FROM cdc.lsn_time_mapping \\gset\nCALL cdc.sp_cdc_cleanup_change_table('public_t', :'mark');",
		after => sub { is(_value(q(SELECT count(*) FROM cdc._change_table_problems)), 0, '... change tables are as they should be'); } });

sub _lose_slot
{
	return q(
		CALL cdc.sp_cdc_stop_job();
		SELECT pg_drop_replication_slot(slot_name) FROM pg_replication_slots WHERE database = current_database() AND plugin = 'cdc';
		DO $$ BEGIN CALL cdc.sp_cdc_start_job(); EXCEPTION WHEN object_not_in_prerequisite_state THEN NULL; /* it says so */ END $$;);
}

sub _at_gap
{
	_no_gap();
	_value(_lose_slot());
	$node->poll_query_until($db, 'SELECT count(*) = 1 FROM cdc.gaps WHERE end_lsn IS NULL') or die 'the gap is not recorded';
	return;
}

sub _no_gap
{
	_try('CALL cdc.sp_cdc_enable_db()');
	_try('CALL cdc.resume_after_gap()');
	_try('CALL cdc.sp_cdc_start_job()');
	_enable_all();
	_captured();
	return;
}

# The rows as readers see them add up to the table: values of a former type are in another physical column.
sub _typed_is_whole
{
	is(_value(q(
		WITH summed AS (
			SELECT id, n::text AS n, v, sum(CASE WHEN "__$operation" IN (2, 4) THEN 1 ELSE -1 END) AS count
			FROM cdc.fn_cdc_get_all_changes_public_typed(cdc.fn_cdc_get_min_lsn('public_typed'), cdc.fn_cdc_get_max_lsn(), 'all update old') GROUP BY 1, 2, 3)
		SELECT (SELECT count(*) FROM summed WHERE count NOT IN (0, 1))
			+ (SELECT count(*) FROM (SELECT id, n, v FROM summed WHERE count = 1 EXCEPT SELECT id, n::text, v FROM typed) a)
			+ (SELECT count(*) FROM (SELECT id, n::text, v FROM typed EXCEPT SELECT id, n, v FROM summed WHERE count = 1) b))),
		0, '... the table whose types change is whole');
	return;
}

# What is captured becomes old, in several leaves; what comes afterwards is not.
sub _age
{
	_enable_all();
	_captured();
	# disable_db has taken the job along.
	_value(q(CALL cdc.sp_cdc_change_job('cleanup', retention => 60)));
	for my $i (1 .. 3)
	{
		_value("SELECT pg_switch_wal(); $rows");
		_captured();
	}
	_value(q(UPDATE cdc.lsn_time_mapping SET tran_end_time = tran_end_time - interval '2 hours' WHERE tran_end_time > now() - interval '1 hour'));
	_value($rows);
	_captured();
	return;
}

sub _is_clean
{
	ok( $node->poll_query_until($db, q(
			SELECT NOT EXISTS (SELECT FROM cdc.lsn_time_mapping WHERE tran_end_time < now() - interval '1 hour')
				AND (SELECT status FROM cdc.cleanup_runs ORDER BY run_id DESC LIMIT 1) = 'succeeded'
				AND NOT EXISTS (SELECT FROM cdc.sp_cdc_help_jobs() WHERE running AND job_type = 'cleanup'))),
		'... what is old is gone') or diag(_value('TABLE cdc.cleanup_runs'));
	return;
}

# matrix_cluster($name, $dbname): with everything that the work needs, enabled.
sub matrix_cluster
{
	my ($name, $dbname) = @_;
	$db   = $dbname;
	$node = cdc_node(
		$name,
		'cdc.partition_wal_size'   => '1MB',
		'cdc.capture_queue_size'   => '512kB',
		'cdc.cleanup_lock_timeout' => '200ms',
		checkpoint_timeout         => '30s');
	cdc_create($node, $db);
	_value(q(
		CREATE TABLE t (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, n int DEFAULT 0, v text);
		CREATE TABLE p (id bigint GENERATED ALWAYS AS IDENTITY, shelf int, v text, PRIMARY KEY (id, shelf)) PARTITION BY LIST (shelf);
		CREATE TABLE p_1 PARTITION OF p FOR VALUES IN (1);
		CREATE TABLE p_2 PARTITION OF p FOR VALUES IN (2);
		CREATE TABLE typed (id int GENERATED ALWAYS AS IDENTITY PRIMARY KEY, n int DEFAULT 7, v text);
		CREATE TABLE untracked (id int);));
	_enable_all();
	_value($rows);
	_captured();
	$load_file = $node->basedir . '/load.sql';
	append_to_file($load_file, "INSERT INTO t (v) VALUES ('load');\nUPDATE t SET n = n + 1 WHERE id = (SELECT max(id) FROM t);\nINSERT INTO p (shelf, v) VALUES (1, 'load');\n");
	return $node;
}

sub _at
{
	my ($limit) = @_;
	return 1 + int(rand($limit // 1));
}

# What a crash at that point has left behind: nothing. Then the work, to its end.
sub _recover
{
	my ($what, $work) = @_;

	$work->{revive}->() if $work->{revive};
	_captured();
	catalog_ok($node, $db, "$what: the catalogs agree");
	if (ref $work->{sql} eq 'CODE')
	{
		_captured();
		return;
	}
	$work->{before}->() if $work->{before};
	my ($status, undef, $err) = _try($work->{sql});
	is($status, 0, "$what: it can be done again") or diag($err);
	_captured() unless $work->{revive};
	$work->{after}->() if $work->{after};
	_captured();
	catalog_ok($node, $db, "$what: and then they agree, too");
	return;
}

# matrix_crashes($how, @points): $how is 'kill' (of the process), 'immediate' (shutdown of the server), or 'terminate': no
# crash at all, the process alone ends, and rolls back what it has open.
sub matrix_crashes
{
	my ($how, @points) = @_;
	my $seed = 1;

	for my $point (@points)
	{
		my ($name, $limit, $others) = _plan($point);
		my $work = $work{$name};
		my $at   = _at($limit);
		my $what = "$how at $point";

		note "$what, passing $at";
		$work->{before}->() if $work->{before};
		my $load;
		$load = start_load($node, $db, [ [ $load_file, 1 ] ], clients => 2, seconds => 60, rate => 100, seed => $seed++)
		  unless $work->{quiet} || !_is_enabled();
		my $from = log_size($node);
		fault_set($node, join ',', "$point:" . ($how eq 'kill' ? 'kill' : 'pause') . ":$at", $others // ());
		my $session;
		if (ref $work->{sql} eq 'CODE')
		{
			$work->{sql}->();
		}
		else
		{
			$session = start_psql($node, $db, $work->{sql});
		}
		fault_wait($node, $point);
		if ($how eq 'kill')
		{
			wait_until(sub { log_since($node, $from) =~ /was terminated by signal 9/ }, "$what: the server notices");
		}
		elsif ($how eq 'terminate')
		{
			my ($pid) = fault_reached($node, $point) =~ /(\d+)/;
			kill 'TERM', $pid;
			fault_continue($node, $point) if $point eq 'creator-gone'; # it ends anyway, and heeds no signal any more
			wait_until(sub { !kill 0, $pid }, "$what: it ends");
		}
		else
		{
			$node->stop('immediate');
			$node->start;
		}
		finish_load($load, $how eq 'terminate') if $load;
		finish_psql($session) if $session;
		wait_for_server($node);
		fault_clear($node) if $others;
		_recover($what, $work);
		unlike(log_since($node, $from), qr/TRAP:|PANIC|was terminated by signal/, "$what: nothing has crashed") if $how eq 'terminate' && ref $work->{sql} ne 'CODE';
	}
	return;
}

# matrix_stop_amid(): the job is stopped while the writer is in the middle of a transaction, which it gives up.
sub matrix_stop_amid
{
	my $work = $work{big};
	_captured();
	my $from   = log_size($node);
	my $before = _value('SELECT count(*) FROM cdc.public_t_ct');
	# Not the same as the fault before, which would not count anew.
	fault_set($node, 'writer-chunk:pause:1+');
	my $session = start_psql($node, $db, $work->{sql});
	fault_wait($node, 'writer-chunk');
	my $stop = start_psql($node, $db, 'CALL cdc.sp_cdc_stop_job()');
	$node->poll_query_until($db, q(SELECT count(*) = 1 FROM pg_stat_activity WHERE query LIKE 'CALL cdc.sp_cdc_stop_job%' AND wait_event_type = 'Extension' AND backend_type = 'client backend'))
	  or die 'stopping waits for nobody';
	fault_clear($node);
	is(finish_psql($stop), '', 'the job is stopped in the middle of a transaction');
	is(finish_psql($session), '', '... of which the source has nothing noticed');
	is(_value('SELECT count(*) FROM cdc.public_t_ct'), $before, '... nothing of it is captured');
	_try('CALL cdc.sp_cdc_start_job()');
	_captured();
	catalog_ok($node, $db, '... all of it is later');
	unlike(log_since($node, $from), qr/TRAP:|PANIC|was terminated by signal/, '... nothing has crashed');
	return;
}

# matrix_cleanup_fails($fault): a run of cleanup that cannot get on.
sub matrix_cleanup_fails
{
	my ($fault) = @_;

	_age();
	_value('DELETE FROM cdc._errors');
	fault_set($node, $fault);
	_value(q(CALL cdc.sp_cdc_start_job('cleanup')));
	ok($node->poll_query_until($db, q(SELECT status = 'failed' FROM cdc.cleanup_runs ORDER BY run_id DESC LIMIT 1)), "$fault: the run has failed");
	ok($node->poll_query_until($db, q(SELECT count(*) > 0 FROM cdc.dm_cdc_errors WHERE process = 'cleanup')), "$fault: it is recorded");
	is(_value(q(SELECT status FROM cdc.health() WHERE check_name = 'cleanup')), 'warning', "$fault: health() shows it");
	fault_clear($node);
	# The run has said how it ended; its process is gone a little later.
	ok($node->poll_query_until($db, q(SELECT count(*) = 0 FROM pg_stat_activity WHERE backend_type = 'cdc cleanup worker')), "$fault: the worker ends");
	_value(q(CALL cdc.sp_cdc_start_job('cleanup')));
	_is_clean();
	catalog_ok($node, $db, "$fault: and then the catalogs agree");
	return;
}

# The process whose error is to be found in dm_cdc_errors, '' when nobody's is.
sub _who_fails
{
	my ($point) = @_;
	return 'log' if $point =~ /^(instance-remove|change-table-drop)$/; # tried again later, and capture goes on
	return 'retry' if $point =~ /^cleanup-(mark|detach|drop|dropped|delete|mapping)$/; # a step that is tried again at once
	return 'decoder' if $point =~ /^decoder-/;
	return 'capture' if $point =~ /^(writer-|leaf-|event-|type-|gap-record)/;
	return 'enable' if $point =~ /^(slot-|enable-commit|enable-done|resume-commit|gap-close)/;
	return 'cleanup' if $point =~ /^cleanup-/ && $point ne 'cleanup-mark-stored';
	return '';
}

# matrix_errors($how, @points): $how is 'error' or 'oom'. The process goes on by itself, or the session is told and
# nothing has happened.
sub matrix_errors
{
	my ($how, @points) = @_;
	my $message = { error => 'fault point "%s" was reached', oom => 'out of memory' }->{$how};

	for my $point (@points)
	{
		my ($name, $limit, $others) = _plan($point);
		my $work   = $work{$name};
		my $at     = ($limit // 1) >= 4 ? _at($limit) : 1; # without a load there may be one batch only
		my $what   = "$how at $point";
		my $expect = $how eq 'error' ? sprintf($message, $point) : $message;

		note "$what, passing $at";
		$work->{before}->() if $work->{before};
		_value('DELETE FROM cdc._errors');
		my $from = log_size($node);
		fault_set($node, join ',', "$point:$how:$at", $others // ());
		my $said = '';
		if (ref $work->{sql} eq 'CODE')
		{
			$work->{sql}->();
		}
		else
		{
			$said = finish_psql(start_psql($node, $db, $work->{sql}));
		}
		fault_wait($node, $point);
		fault_clear($node) if $others;
		my $process = _who_fails($point);
		wait_until(sub { log_since($node, $from) =~ /\Q$expect\E/ }, "$what: it is in the server log") if $process ne 'retry';
		$work->{revive}->() if $work->{revive};
		_captured();
		if ($process =~ /^(decoder|capture|enable|cleanup)$/)
		{
			ok( $node->poll_query_until($db, "SELECT count(*) > 0 FROM cdc.dm_cdc_errors WHERE process = '$process' AND error_message = \$\$$expect\$\$"),
				"$what: it is recorded") or diag(_value('SELECT process, error_message FROM cdc.dm_cdc_errors'));
		}
		if ($point eq 'ddl-queue')
		{
			like($said, qr/WARNING/, "$what: a warning");
			unlike($said, qr/ERROR/, "$what: and the user's command is carried out");
		}
		$work->{after}->() if $work->{after} && $process eq 'retry';
		catalog_ok($node, $db, "$what: the catalogs agree");
		unlike(log_since($node, $from), qr/TRAP:|PANIC|was terminated by signal/, "$what: no process has died") if ref $work->{sql} ne 'CODE';
		# A session's own error has undone all; what failed in a worker has been done by now, and after crashes it is tried again.
		next if ref $work->{sql} eq 'CODE' || _who_fails($point) ne '';
		$work->{before}->() if $work->{before};
		my ($status, undef, $err) = _try($work->{sql});
		is($status, 0, "$what: it can be done again") or diag($err);
		_captured() unless $work->{revive};
		$work->{after}->() if $work->{after};
		_captured();
		catalog_ok($node, $db, "$what: and then they agree, too");
	}
	return;
}

1;
