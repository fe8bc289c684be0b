# Logical replication beside capture, both ways: subscribers whose tables differ from the publisher's and that capture what is applied
# (initial copies, row filters, other column orders, unchanged large values, partitions, prepared and streamed
# transactions, applied in binary, and after errors), publishers that capture what they publish. On newer servers also
# virtual generated columns and temporal keys; and a database with another encoding. Each ends in the oracle.
use strict;
use warnings;

use FindBin;
use lib "$FindBin::RealBin/lib";

use CdcTest;
use PostgreSQL::Test::Utils;
use ReplayOracle;
use Test::More;

my $pub = cdc_node('pub', logical_decoding_work_mem => '64kB');
my $sub = cdc_node('sub', max_prepared_transactions => 10, max_logical_replication_workers => 8);
my $conn = $pub->connstr('postgres') =~ s/'/''/gr;
my $version = $pub->safe_psql('postgres', "SELECT current_setting('server_version_num')::int / 10000");
my $long = q((SELECT string_agg(md5(i::text || random()), '') FROM generate_series(1, 500) AS i));

cdc_create($_, 'postgres') for $pub, $sub;
$pub->safe_psql('postgres', q(
	CREATE TABLE plain (id int PRIMARY KEY, a text, b int, c text);
	CREATE TABLE whole (id int, v text);
	ALTER TABLE whole REPLICA IDENTITY FULL;
	CREATE TABLE narrow (id int PRIMARY KEY, v text, secret text);
	CREATE TABLE parts (id int PRIMARY KEY, v text) PARTITION BY RANGE (id);
	CREATE TABLE parts_low PARTITION OF parts FOR VALUES FROM (0) TO (100);
	CREATE TABLE parts_high PARTITION OF parts FOR VALUES FROM (100) TO (200);
	CREATE TABLE many (id int PRIMARY KEY, v text);
	CREATE TABLE fails (id int PRIMARY KEY, v text);
	INSERT INTO plain SELECT i, 'before ' || i, i, NULL FROM generate_series(1, 20) i;
	INSERT INTO parts SELECT i, 'before' FROM generate_series(90, 110) i;));

# Other column orders, more columns, stored generated ones, partitions where the publisher has none and the reverse.
$sub->safe_psql('postgres', q(
	CREATE TABLE plain (gone int, c text, extra text DEFAULT 'local', b bigint, id int PRIMARY KEY, a varchar, twice bigint GENERATED ALWAYS AS (b * 2) STORED) PARTITION BY RANGE (id);
	ALTER TABLE plain DROP COLUMN gone;
	CREATE TABLE plain_1 PARTITION OF plain FOR VALUES FROM (0) TO (10);
	CREATE TABLE plain_2 (twice bigint GENERATED ALWAYS AS (b * 2) STORED, a varchar, id int NOT NULL, b bigint, extra text DEFAULT 'local', c text);
	ALTER TABLE plain ATTACH PARTITION plain_2 FOR VALUES FROM (10) TO (1000);
	CREATE TABLE whole (v text, id int);
	CREATE TABLE narrow (id int PRIMARY KEY, v text);
	CREATE TABLE parts (v text, id int PRIMARY KEY);
	CREATE TABLE many (id int PRIMARY KEY, v text);
	CREATE TABLE fails (id int PRIMARY KEY, v text CHECK (v <> 'refused'));));
enable_table($_, 'postgres', 'plain') for $pub, $sub;
enable_table($_, 'postgres', 'whole', supports_net_changes => 'false') for $pub, $sub;
for my $table ('parts', 'many', 'fails')
{
	enable_table($_, 'postgres', $table) for $pub, $sub;
}
# A publication with a column list goes together with key images only.
enable_table($pub, 'postgres', 'narrow', before_image => "'key'");
enable_table($sub, 'postgres', 'narrow');
$pub->safe_psql('postgres', 'CREATE TABLE baseline AS TABLE plain; CREATE TABLE baseline_parts AS TABLE parts');
$pub->safe_psql('postgres', q(
	CREATE PUBLICATION wide FOR TABLE plain, whole, parts WITH (publish_via_partition_root = true);
	CREATE PUBLICATION narrow FOR TABLE narrow (id, v) WHERE (id > 10);
	CREATE PUBLICATION many FOR TABLE many;
	CREATE PUBLICATION fails FOR TABLE fails;));
my $streaming = $version >= 16 ? 'parallel' : 'on';
$sub->safe_psql('postgres', $_)
  for "CREATE SUBSCRIPTION wide CONNECTION '$conn' PUBLICATION wide",
  "CREATE SUBSCRIPTION narrow CONNECTION '$conn' PUBLICATION narrow WITH (binary = true)",
  "CREATE SUBSCRIPTION many CONNECTION '$conn' PUBLICATION many WITH (streaming = $streaming, two_phase = true)",
  "CREATE SUBSCRIPTION fails CONNECTION '$conn' PUBLICATION fails WITH (disable_on_error = true)";
$sub->wait_for_subscription_sync($pub, $_) for 'wide', 'narrow', 'many', 'fails';

# Initial copies are captured as the COPY they are.
oracle_ok($sub, 'postgres', 'the subscriber has captured the initial copies');

$pub->safe_psql('postgres', qq(
	UPDATE plain SET c = $long WHERE id IN (1, 15);
	UPDATE plain SET b = b + 1 WHERE id IN (1, 15);
	UPDATE plain SET id = 500 WHERE id = 2;
	UPDATE plain SET id = id + 600, a = NULL WHERE id = 3;
	DELETE FROM plain WHERE id = 4;
	INSERT INTO whole VALUES (1, 'a'), (1, 'a'), (2, $long);
	UPDATE whole SET id = id + 10 WHERE v <> 'a';
	DELETE FROM whole WHERE ctid = (SELECT min(ctid) FROM whole WHERE id = 1);
	UPDATE parts SET id = id + 60 WHERE id = 95;
	UPDATE parts SET id = 5 WHERE id = 108;
	DELETE FROM parts WHERE id = 100;
	INSERT INTO narrow VALUES (5, 'filtered', 's'), (15, 'seen', 's');
	UPDATE narrow SET id = id + 100 WHERE id = 5;
	UPDATE narrow SET id = 6 WHERE id = 15;
	UPDATE narrow SET secret = 'other', v = $long;));
# Large transactions, sent while they run, with a part that is rolled back; one that is rolled back as a whole; prepared ones.
$pub->safe_psql('postgres', q(
	BEGIN; INSERT INTO many SELECT i, md5(i::text) FROM generate_series(1, 1500) i; SAVEPOINT s; UPDATE many SET v = 'lost'; ROLLBACK TO s;
	DELETE FROM many WHERE id % 3 = 0; COMMIT;
	BEGIN; INSERT INTO many SELECT i, 'lost' FROM generate_series(5000, 6500) i; ROLLBACK;
	BEGIN; UPDATE many SET v = 'prepared' WHERE id < 50; PREPARE TRANSACTION 'regress_cdc_yes';
	BEGIN; INSERT INTO many VALUES (9000, 'never'); PREPARE TRANSACTION 'regress_cdc_no';));
$pub->wait_for_catchup('many');
is($sub->safe_psql('postgres', 'SELECT count(*) FROM pg_prepared_xacts'), '2', 'the prepared transactions are prepared there');
oracle_ok($sub, 'postgres', 'while transactions are prepared');
$pub->safe_psql('postgres', "COMMIT PREPARED 'regress_cdc_yes'");
$pub->safe_psql('postgres', "ROLLBACK PREPARED 'regress_cdc_no'");

# An applied transaction that fails is captured when it is applied, once.
$pub->safe_psql('postgres', q(INSERT INTO fails VALUES (1, 'fine'); BEGIN; INSERT INTO fails VALUES (2, 'first'), (3, 'refused'); COMMIT;));
$sub->poll_query_until('postgres', "SELECT NOT subenabled FROM pg_subscription WHERE subname = 'fails'") or die 'not disabled';
$sub->safe_psql('postgres', 'ALTER TABLE fails DROP CONSTRAINT fails_v_check');
$sub->safe_psql('postgres', 'ALTER SUBSCRIPTION fails ENABLE');
$pub->safe_psql('postgres', q(UPDATE fails SET v = 'later' WHERE id = 2));

# DDL on both sides, in step, and rows before and after it; the apply worker restarts between them.
$sub->safe_psql('postgres', 'ALTER TABLE many ADD COLUMN n int');
$pub->safe_psql('postgres', "ALTER TABLE many ADD COLUMN n int; INSERT INTO many VALUES (7000, 'with n', 7); ALTER TABLE many DROP COLUMN v; INSERT INTO many VALUES (7001, 8);");
$sub->safe_psql('postgres', 'ALTER SUBSCRIPTION wide DISABLE');
$pub->safe_psql('postgres', q(UPDATE plain SET a = 'while disabled' WHERE id > 10));
$sub->safe_psql('postgres', 'ALTER SUBSCRIPTION wide ENABLE');
$pub->wait_for_catchup($_) for 'wide', 'narrow', 'many', 'fails';
is($sub->safe_psql('postgres', 'SELECT count(*), sum(twice - 2 * b), count(DISTINCT extra) FROM plain'),
	$pub->safe_psql('postgres', 'SELECT count(*), 0, 1 FROM plain'), 'plain is replicated');
is($sub->safe_psql('postgres', 'SELECT string_agg(id::text, $$,$$ ORDER BY id) FROM narrow'), '105', 'rows come and go with the filter');
is($sub->safe_psql('postgres', "SELECT count(*) FILTER (WHERE v = 'prepared'), count(*) FILTER (WHERE v IN ('lost', 'never')) FROM many"), '33|0',
	'prepared transactions are decided');
is($sub->safe_psql('postgres', "SELECT string_agg(v, ',' ORDER BY id) FROM fails"), 'fine,later,refused', 'the one that failed is applied');
oracle_ok($sub, 'postgres', 'the subscriber has captured what was applied');
my @whole_images = grep { $_->{name} ne 'public_narrow' } oracle_instances($pub, 'postgres');
oracle_ok($pub, 'postgres', 'the publisher has captured what it published',
	instances => \@whole_images, whole => 0,
	baseline => { public_plain => 'baseline', public_parts => 'baseline_parts' });
is($pub->safe_psql('postgres', q(SELECT count(*) FROM cdc.public_narrow_ct WHERE "__$operation" = 4 AND v IS NOT NULL AND secret IS NOT NULL)),
	$pub->safe_psql('postgres', q(SELECT count(*) FROM cdc.public_narrow_ct WHERE "__$operation" = 4)), 'after images are whole, whatever is published');

# Another encoding: names and values of it.
local $ENV{PGCLIENTENCODING} = 'UTF8';
$pub->safe_psql('postgres', "CREATE DATABASE latin ENCODING 'LATIN1' LC_COLLATE 'C' LC_CTYPE 'C' TEMPLATE template0");
$pub->safe_psql('latin', $_) for 'CREATE EXTENSION cdc', 'CALL cdc.sp_cdc_enable_db()';
$pub->safe_psql('latin', qq(
	CREATE TABLE "gr\xc3\xb6\xc3\x9fe" (id int PRIMARY KEY, "l\xc3\xa4nge" text, j jsonb);
	CALL cdc.sp_cdc_enable_table('public', 'gr\xc3\xb6\xc3\x9fe', NULL);
	INSERT INTO "gr\xc3\xb6\xc3\x9fe" VALUES (1, 'f\xc3\xbcnf', '{"\xc3\xa4": "\xc3\xb6"}'), (2, repeat('\xc3\xbc', 9000), NULL);
	UPDATE "gr\xc3\xb6\xc3\x9fe" SET "l\xc3\xa4nge" = "l\xc3\xa4nge" || '\xc3\x84';
	ALTER TABLE "gr\xc3\xb6\xc3\x9fe" RENAME COLUMN "l\xc3\xa4nge" TO "\xc3\xa4";
	DELETE FROM "gr\xc3\xb6\xc3\x9fe" WHERE id = 1;));
oracle_ok($pub, 'latin', 'a database with encoding LATIN1');

# What only newer servers have.
if ($version >= 18)
{
	cdc_create($pub, 'newer');
	$pub->safe_psql('newer', q(
		CREATE TABLE temporal (id int4range, during daterange, v text, PRIMARY KEY (id, during WITHOUT OVERLAPS));
		CREATE TABLE virtual (id int PRIMARY KEY, a int, stored int GENERATED ALWAYS AS (a * 2) STORED, v int GENERATED ALWAYS AS (a * 3) VIRTUAL);));
	enable_table($pub, 'newer', 'temporal');
	enable_table($pub, 'newer', 'virtual', captured_column_list => "'id, a, stored'");
	$pub->safe_psql('newer', q{
		INSERT INTO temporal VALUES ('[1,2)', '[2024-01-01,2024-02-01)', 'a'), ('[1,2)', '[2024-02-01,)', 'b');
		UPDATE temporal SET v = 'c' WHERE during @> date '2024-03-01';
		UPDATE temporal SET during = '[2024-03-01,)' WHERE v = 'c';
		DELETE FROM temporal WHERE v = 'a';
		INSERT INTO virtual (id, a) VALUES (1, 1), (2, 2);
		UPDATE virtual SET a = 5;
		DELETE FROM virtual WHERE id = 2;});
	oracle_ok($pub, 'newer', 'temporal keys and virtual columns');
}

done_testing();
