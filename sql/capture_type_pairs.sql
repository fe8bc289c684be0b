-- For each pair of types: what readers see, with a value captured before and one after. No pair stops capture.
\getenv srcdir PG_ABS_SRCDIR
\set include :srcdir '/sql/include/capture.sql'
\set ECHO none
\i :include
\set ECHO all
SET timezone = 'UTC';
SET datestyle = 'ISO';

CREATE TYPE mood AS ENUM ('ok');
CREATE DOMAIN short AS varchar(3) CHECK (value <> 'no');
CREATE TYPE pair AS (a integer, b text);
CREATE TABLE pairs (n serial, former text, before text, new text, after text);
INSERT INTO pairs (former, before, new, after) VALUES
	-- the conversions that are known to break capture elsewhere
	('bigint', '5000000000', 'integer', '7'), ('text', 'not one', 'uuid', '00000000-0000-0000-0000-000000000007'), ('text', 'not one', 'date', '2020-02-03'),
	('text', 'not one', 'numeric', '7.50'), ('text', 'not one', 'integer', '7'), ('char(5)', 'abc', 'uuid', '00000000-0000-0000-0000-000000000007'),
	('varchar(50)', 'longer than five', 'varchar(5)', 'short'), ('text', 'longer than five', 'varchar(5)', 'short'), ('numeric(10,4)', '123456.7891', 'numeric(3,1)', '12.3'),
	-- wider, and back
	('smallint', '-7', 'integer', '70000'), ('integer', '7', 'numeric(10,2)', '7.25'), ('integer', '2147483647', 'real', '0.5'), ('integer', '2147483647', 'double precision', '0.5'),
	('bigint', '9007199254740993', 'double precision', '0.5'), ('real', '0.1', 'double precision', '0.1'), ('double precision', '1e300', 'numeric', '1.5'), ('numeric(10,2)', '1.25', 'numeric(12,2)', '1234567890.25'),
	('numeric(10,2)', '1.25', 'numeric(10,3)', '1.125'), ('numeric', '1.255', 'numeric(10,2)', '1.25'),
	('varchar(3)', 'abc', 'varchar(30)', 'longer than three'), ('varchar(3)', 'abc', 'text', 'longer than three'), ('char(3)', 'a', 'char(5)', 'b'), ('char(3)', 'a', 'text', 'b '), ('char(3)', 'a', 'bpchar', 'b'),
	('text', 'a', 'text COLLATE "C"', 'b'), ('name', 'a', 'text', 'b'), ('bit(3)', '101', 'bit(5)', '10101'), ('bit(3)', '101', 'varbit', '1'), ('varbit(3)', '101', 'varbit(5)', '10101'),
	-- times: what depends on a setting of the reader's, or can fail, is text
	('timestamp(0)', '2020-01-01 01:02:03', 'timestamp', '2020-01-01 01:02:03.000004'), ('timestamp', '2020-01-01 01:02:03.000004', 'timestamp(0)', '2020-01-01 01:02:03'), ('timestamp', '2020-01-01', 'timestamptz', '2020-01-01'),
	('date', '5000000-01-01', 'timestamp', '2020-01-01'), ('time', '01:02', 'interval', '1 day'), ('interval', '1 day 01:02', 'interval hour to minute', '01:03'),
	-- others
	('integer', '-1', 'oid', '4000000000'), ('boolean', 't', 'integer', '1'), ('integer', '1', 'boolean', 't'), ('json', '{"a":  1}', 'jsonb', '{"b":  1}'), ('cidr', '10.0.0.0/8', 'inet', '10.0.0.1'), ('inet', '10.0.0.1', 'cidr', '10.0.0.0/8'),
	('macaddr', '08:00:2b:01:02:03', 'macaddr8', '08:00:2b:01:02:03:04:05'), ('bytea', '\x01ff', 'text', 'x'), ('money', '1', 'numeric', '1.5'),
	('integer[]', '{1,NULL}', 'bigint[]', '{5000000000}'), ('integer[]', '{1,2}', 'text[]', '{a}'), ('integer', '1', 'integer[]', '{1}'), ('int4range', '[1,3)', 'int8range', '[1,5000000000)'), ('point', '(1,2)', 'circle', '<(1,2),3>'),
	('src.mood', 'ok', 'text', 'free'), ('text', 'free', 'src.mood', 'ok'), ('src.pair', '(1,x)', 'jsonb', '{}'),
	-- domains count as their base types
	('varchar(3)', 'abc', 'src.short', 'yes'), ('src.short', 'yes', 'varchar(30)', 'longer than three'), ('src.short', 'yes', 'integer', '7');
CREATE FUNCTION pg_temp.typed(value text, type text) RETURNS text LANGUAGE sql AS $$ SELECT format('CAST(%L AS %s)', value, split_part(type, ' COLLATE', 1)) $$;

DO $$
DECLARE
	p record;
BEGIN
	FOR p IN SELECT * FROM pairs LOOP
		EXECUTE format('CREATE TABLE src.pair_%s (id integer PRIMARY KEY, v %s)', p.n, p.former);
		CALL cdc.sp_cdc_enable_table('src', 'pair_' || p.n, NULL);
		EXECUTE format('INSERT INTO src.pair_%s VALUES (1, %s), (2, NULL)', p.n, pg_temp.typed(p.before, p.former));
		EXECUTE format('ALTER TABLE src.pair_%s ALTER COLUMN v TYPE %s USING NULL', p.n, p.new);
		EXECUTE format('INSERT INTO src.pair_%s VALUES (3, %s), (4, NULL)', p.n, pg_temp.typed(p.after, p.new));
		COMMIT;
	END LOOP;
END $$;
CALL cdc.wait_for_capture(timeout => '60s');
CREATE FUNCTION seen(n integer, OUT readers text, OUT old_value text, OUT new_value text, OUT nulls bigint) LANGUAGE plpgsql AS $$
BEGIN
	EXECUTE format($q$
		SELECT string_agg(v::text, '') FILTER (WHERE id = 1), string_agg(v::text, '') FILTER (WHERE id = 3), count(*) FILTER (WHERE id IN (2, 4) AND v IS NULL)
		FROM cdc.fn_cdc_get_all_changes_src_pair_%1$s(cdc.fn_cdc_get_min_lsn('src_pair_%1$s'), cdc.fn_cdc_get_max_lsn(), 'all')$q$, n) INTO old_value, new_value, nulls;
	SELECT format_type(atttypid, atttypmod) INTO readers FROM cdc.change_tables JOIN pg_attribute ON attrelid = format('cdc._all_changes_%s', instance_id)::regclass AND attname = 'v'
	WHERE capture_instance = 'src_pair_' || n;
END $$;
SELECT former, new, readers, nulls, old_value, new_value FROM pairs, seen(n) ORDER BY n;
-- values in the type that readers see are the values that were put in
SELECT former, new, readers, before, old_value, after, new_value FROM pairs, seen(n)
WHERE old_value IS DISTINCT FROM before OR new_value IS DISTINCT FROM after ORDER BY n;
SELECT state, failures FROM cdc.pg_stat_cdc WHERE database = current_database();
SELECT count(*) AS required FROM cdc.ddl_history WHERE required_column_update;
SELECT * FROM log_problems();

SET client_min_messages = warning;
CALL cdc.sp_cdc_disable_db();
DROP SCHEMA src CASCADE;
DROP EXTENSION cdc;
