-- Rows of all shapes arrive as they were. Where the captured columns lie in the change row as in the source row, the decoder copies their data in
-- one piece; whether it can depends on how many columns there are (the mask in front of them), how the first one is aligned, and on NULLs.
\getenv srcdir PG_ABS_SRCDIR
\set include :srcdir '/sql/include/capture.sql'
\set ECHO none
\i :include
\set ECHO all

CREATE TABLE shapes (name text PRIMARY KEY, first_type text, columns integer, definition text);
-- One column of the first type, then types of every alignment in turn.
INSERT INTO shapes
SELECT format('s_%s_%s', translate(first_type, ' ()"', '_'), n), first_type, n,
	format('c1 %s', first_type) || coalesce((SELECT string_agg(format(', c%s %s', i, (ARRAY['bigint', 'text', 'smallint', 'boolean', 'integer', '"char"', 'numeric', 'float8', 'uuid', 'varchar(20)', 'name', 'point'])[i % 12 + 1]), '' ORDER BY i)
		FROM generate_series(2, n) i), '')
FROM unnest(ARRAY['bigint', 'integer', 'smallint', 'text', 'boolean', '"char"', 'uuid', 'numeric', 'point', 'integer[]', 'float8[]']) first_type,
	unnest(ARRAY[1, 2, 8, 9, 16, 17, 24, 25, 32, 33, 57]) n;
-- So many columns that the mask is no short value any more.
INSERT INTO shapes SELECT 's_many_' || n, 'integer', n, 'c1 integer' || (SELECT string_agg(format(', c%s integer', i), '' ORDER BY i) FROM generate_series(2, n) i)
FROM unnest(ARRAY[1007, 1008, 1009, 1017]) n;

-- A value of a column: number `row` of it.
CREATE FUNCTION shape_value(type text, row_number integer, column_number integer) RETURNS text LANGUAGE sql RETURN CASE
	WHEN (row_number * 7 + column_number * 3) % 5 = 0 AND row_number % 3 <> 0 OR row_number % 7 = 0 THEN NULL
	WHEN type IN ('bigint', 'integer', 'smallint', 'numeric', 'double precision') THEN (row_number * 100 + column_number)::text
	WHEN type = 'boolean' THEN (row_number % 2 = 0)::text
	WHEN type = '"char"' THEN chr(65 + row_number % 20)
	WHEN type = 'uuid' THEN md5(row_number::text || column_number)
	WHEN type = 'point' THEN format('(%s,%s)', row_number, column_number)
	WHEN type LIKE '%[]' THEN format('{%s,NULL,%s}', row_number, column_number)
	-- short, longer than a short value, stored out of line
	WHEN type = 'text' THEN CASE row_number % 4 WHEN 0 THEN '' WHEN 1 THEN 'v' || column_number WHEN 2 THEN repeat('x', 200) ELSE (SELECT string_agg(md5((row_number * i)::text), '') FROM generate_series(1, 100 / column_number + 1) i) END
	ELSE 'w' || row_number END;

CREATE PROCEDURE make_shapes() LANGUAGE plpgsql AS $$
DECLARE shape record; list text;
BEGIN
	FOR shape IN SELECT * FROM shapes LOOP
		EXECUTE format('CREATE TABLE %I (%s)', shape.name, shape.definition);
		CALL cdc.sp_cdc_enable_table('src', shape.name, NULL);
		SELECT string_agg(format('shape_value(%L, i, %s)::%s', atttypid::regtype, attnum, atttypid::regtype), ', ' ORDER BY attnum)
		INTO list FROM pg_attribute WHERE attrelid = shape.name::regclass AND attnum > 0;
		COMMIT;
		EXECUTE format('INSERT INTO %I SELECT %s FROM generate_series(1, 15) i', shape.name, list);
		COMMIT;
		-- a row's last column becomes NULL, and first columns that were NULL get a value
		EXECUTE format('UPDATE %I SET c%s = NULL WHERE ctid = ''(0,1)''', shape.name, shape.columns);
		EXECUTE format('UPDATE %I SET c1 = (SELECT c1 FROM %1$I WHERE c1 IS NOT NULL LIMIT 1) WHERE c1 IS NULL', shape.name);
		COMMIT;
		EXECUTE format('DELETE FROM %I WHERE c%s IS NULL OR c1::text LIKE ''%%5%%''', shape.name, shape.columns);
		COMMIT;
	END LOOP;
END $$;
CALL make_shapes();
CALL cdc.wait_for_capture();
SELECT name, problem, example FROM shapes, replay('src_' || name);
SELECT count(*) AS tables, sum((SELECT count(*) FROM changes('src_' || name))) AS change_rows FROM shapes;
SELECT * FROM log_problems();
-- What NULL does: where the first column is none, what comes after it lies elsewhere.
SELECT * FROM changes('src_s_bigint_2');
SELECT * FROM changes('src_s_smallint_2');

SET client_min_messages = warning;
CALL cdc.sp_cdc_disable_db();
DROP EXTENSION cdc;
DROP SCHEMA src CASCADE;
