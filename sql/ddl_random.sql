-- Random DDL among random DML, in transactions and savepoints, with capture running, stopped and started again.
-- What the log adds up to is the table, whatever came in between.
\getenv srcdir PG_ABS_SRCDIR
\set include :srcdir '/sql/include/capture.sql'
\set ECHO none
\i :include
\set ECHO all
SET client_min_messages = warning;
CREATE TABLE wild (id integer PRIMARY KEY, a text, b integer, c varchar(20), d numeric(10, 2));
CREATE TABLE tree (id integer PRIMARY KEY, a text, b integer, c varchar(20), d numeric(10, 2)) PARTITION BY RANGE (id);
CREATE TABLE tree_1 PARTITION OF tree FOR VALUES FROM (0) TO (20);
CREATE TABLE tree_2 (d numeric(10, 2), gone integer, c varchar(20), id integer NOT NULL, b integer, a text);
ALTER TABLE tree_2 DROP COLUMN gone;
ALTER TABLE tree ATTACH PARTITION tree_2 FOR VALUES FROM (20) TO (100);
CALL cdc.sp_cdc_enable_table('src', 'wild', NULL);
CALL cdc.sp_cdc_enable_table('src', 'tree', NULL);
CREATE TABLE done (n serial, instance text, command text);

-- A column of the table that is neither the key nor new, by its name of today; NULL when there is none.
CREATE FUNCTION some_column(t regclass, type text DEFAULT '.') RETURNS text LANGUAGE sql AS
	$$ SELECT attname FROM pg_attribute WHERE attrelid = t AND attnum > 1 AND NOT attisdropped AND format_type(atttypid, atttypmod) ~ type ORDER BY random() LIMIT 1 $$;
CREATE FUNCTION any_value(t regclass, n integer) RETURNS text LANGUAGE sql AS
	$$ SELECT CASE WHEN random() < 0.1 THEN 'NULL' ELSE format('%L', n) END $$;
CREATE FUNCTION dml(t regclass) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
	n integer := (random() * 60)::integer;
	col text := src.some_column(t);
BEGIN
	EXECUTE format('INSERT INTO %s (id) VALUES (%s) ON CONFLICT (id) DO NOTHING', t, n);
	IF col IS NOT NULL THEN
		EXECUTE format('UPDATE %s SET %I = %s WHERE id BETWEEN %s AND %s', t, col, src.any_value(t, n), n - 10, n + 3);
	END IF;
	IF random() < 0.2 THEN
		EXECUTE format('UPDATE %s SET id = 99 - id WHERE id = %s AND NOT EXISTS (SELECT FROM %1$s WHERE id = 99 - %2$s)', t, n);
	END IF;
	IF random() < 0.3 THEN
		EXECUTE format('DELETE FROM %s WHERE id %% 7 = %s', t, n % 7);
	END IF;
END $$;
CREATE FUNCTION ddl(t regclass) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
	col text := src.some_column(t);
	command text;
BEGIN
	command := CASE (random() * 9)::integer
		WHEN 0 THEN format('ADD COLUMN x%s integer DEFAULT %s', (random() * 1e6)::integer, (random() * 10)::integer)
		WHEN 1 THEN format('ADD COLUMN x%s double precision DEFAULT random()', (random() * 1e6)::integer)
		WHEN 2 THEN 'RENAME COLUMN ' || quote_ident(col) || ' TO r' || (random() * 1e6)::integer
		WHEN 3 THEN CASE WHEN random() < 0.3 THEN 'DROP COLUMN ' || quote_ident(col) END
		WHEN 4 THEN 'ALTER COLUMN ' || quote_ident(src.some_column(t, '^integer$')) || ' TYPE bigint'
		WHEN 5 THEN 'ALTER COLUMN ' || quote_ident(src.some_column(t, '^character varying\(20\)$')) || ' TYPE varchar(40)'
		WHEN 6 THEN 'ALTER COLUMN ' || quote_ident(src.some_column(t, '^(bigint|integer|character varying.*)$')) || ' TYPE text'
		WHEN 7 THEN 'ALTER COLUMN ' || quote_ident(src.some_column(t, '^(bigint|integer)$')) || ' TYPE numeric'
		WHEN 8 THEN 'ALTER COLUMN ' || quote_ident(col) || ' SET DEFAULT NULL'
		ELSE 'ALTER COLUMN id SET STATISTICS 10'
	END;
	IF command IS NOT NULL THEN
		EXECUTE format('ALTER TABLE %s %s', t, command);
		INSERT INTO src.done (instance, command) VALUES (t::text, command);
	END IF;
END $$;
CREATE PROCEDURE work(transactions integer) LANGUAGE plpgsql AS $$
DECLARE
	t regclass;
BEGIN
	FOR i IN 1 .. transactions LOOP
		t := CASE WHEN random() < 0.5 THEN 'src.wild' ELSE 'src.tree' END;
		FOR j IN 1 .. (1 + random() * 4)::integer LOOP
			BEGIN
				PERFORM src.dml(t);
				IF random() < 0.4 THEN
					PERFORM src.ddl(t);
				END IF;
				PERFORM src.dml(t);
				IF random() < 0.2 THEN
					RAISE EXCEPTION 'back';
				END IF;
			EXCEPTION WHEN raise_exception THEN NULL;
			END;
		END LOOP;
		IF random() < 0.1 THEN
			ROLLBACK;
		ELSE
			COMMIT;
		END IF;
	END LOOP;
END $$;
SELECT setseed(0.42);
CALL work(40);
VACUUM FULL wild;
CLUSTER wild USING wild_pkey;
CALL cdc.sp_cdc_stop_job();
CALL work(40);
CALL cdc.sp_cdc_start_job();
CALL work(40);
CALL cdc.wait_for_capture();
SELECT count(*) > 50 AS much, count(*) FILTER (WHERE command ~ 'TYPE') > 5 AS types, count(*) FILTER (WHERE command ~ 'DROP') > 0 AS drops FROM done;
SELECT * FROM replay('src_wild');
SELECT * FROM replay('src_tree');
SELECT * FROM log_problems();
-- the history has each command that is recorded, in this order
SELECT instance, count(*) AS different FROM (
	SELECT instance, row_number() OVER (PARTITION BY instance ORDER BY n) AS n, format('ALTER TABLE %s %s', instance, command) AS command FROM done WHERE command !~ 'SET'
	EXCEPT ALL
	SELECT source_object_id::regclass::text, row_number() OVER (PARTITION BY source_object_id ORDER BY ddl_id), ddl_command FROM cdc.ddl_history) d GROUP BY 1;
SELECT (SELECT count(*) FROM done WHERE command !~ 'SET') - (SELECT count(*) FROM cdc.ddl_history) AS more;
SELECT failures FROM cdc.pg_stat_cdc;
CALL cdc.sp_cdc_disable_db();
DROP EXTENSION cdc;
DROP SCHEMA src CASCADE;
