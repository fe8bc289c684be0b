-- What a round of tools/fuzz needs in its database: the sources' own log of what was done to them, random values of any
-- type, and statements that fit the tables as they are at the moment.
--
-- Each function that draws lots takes a seed, so that a round can be repeated.
CREATE SCHEMA fuzz;

-- What has happened, from the sources' side: images by attribute number, for the table and each partitioned one above it.
CREATE TABLE fuzz.shadow (id bigserial PRIMARY KEY, tx xid8 DEFAULT pg_current_xact_id(), lsn pg_lsn DEFAULT pg_current_wal_insert_lsn(), rel oid, before jsonb, after jsonb);
CREATE INDEX ON fuzz.shadow (rel, id);
-- Instances: the shadow rows from from_id on are theirs, those up to verified have been compared and may be cleaned up.
CREATE TABLE fuzz.marks (instance_id int PRIMARY KEY, from_id bigint, verified bigint);
-- The tables of the round, under whatever name they have now.
CREATE TABLE fuzz.tables (n int PRIMARY KEY, rel oid, make text[]);
-- Types that were changed after values of them were written: their text is no longer what it was.
CREATE TABLE fuzz.changed_types (typ oid PRIMARY KEY);
-- Instances whose source, and relations with a remembered replica identity, that went in a transaction without our event
-- triggers. All others that are in this state are there by mistake.
CREATE TABLE fuzz.unseen (what text, id oid, allowed boolean, PRIMARY KEY (what, id));

CREATE UNLOGGED TABLE fuzz.pool (typ oid, n int, value text, PRIMARY KEY (typ, n));

-- Short enough for a log, long enough to tell values apart.
CREATE FUNCTION fuzz.short(value text) RETURNS text LANGUAGE sql IMMUTABLE AS $$
	SELECT CASE WHEN length(value) > 100 THEN left(value, 20) || '...' || md5(value) || ' ' || length(value) ELSE value END $$;

CREATE FUNCTION fuzz.as_text(expression text) RETURNS text LANGUAGE sql IMMUTABLE AS $$
	SELECT format('fuzz.short(%s::text)', expression) $$;

CREATE FUNCTION fuzz.note() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER
SET TimeZone = 'UTC' SET DateStyle = 'ISO' SET IntervalStyle = 'postgres' SET bytea_output = 'hex' SET extra_float_digits = 1 SET search_path = pg_catalog AS $$
DECLARE
	relation oid;
	list text;
	before jsonb;
	after jsonb;
BEGIN
	FOR relation IN SELECT relid FROM pg_partition_ancestors(TG_RELID) UNION SELECT TG_RELID LOOP
		SELECT format('SELECT jsonb_object(%L, ARRAY[%s])', array_agg(r.attnum::text), string_agg(fuzz.as_text(format('($1).%I', l.attname)), ', ')) INTO list
		FROM pg_attribute l JOIN pg_attribute r ON r.attrelid = relation AND r.attname = l.attname AND NOT r.attisdropped
		WHERE l.attrelid = TG_RELID AND l.attnum > 0 AND NOT l.attisdropped;
		IF TG_OP <> 'INSERT' THEN
			EXECUTE list INTO before USING OLD;
		END IF;
		IF TG_OP <> 'DELETE' THEN
			EXECUTE list INTO after USING NEW;
		END IF;
		INSERT INTO fuzz.shadow (rel, before, after) VALUES (relation, before, after);
	END LOOP;
	RETURN NULL;
END $$;

--------------------------------------------------------------------------------
-- Values
--------------------------------------------------------------------------------

-- Whether this text is a value of the type.
CREATE FUNCTION fuzz.fits(value text, typ oid, typmod int) RETURNS boolean LANGUAGE plpgsql AS $$
BEGIN
	EXECUTE format('SELECT (%L::%s)::text', value, format_type(typ, typmod));
	RETURN true;
EXCEPTION WHEN OTHERS THEN
	RETURN false;
END $$;

CREATE FUNCTION fuzz.quoted(value text) RETURNS text LANGUAGE sql IMMUTABLE AS $$
	SELECT '"' || replace(replace(value, '\', '\\'), '"', '\"') || '"' $$;

CREATE FUNCTION fuzz.some_text(wanted oid, depth int DEFAULT 0) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
	t pg_type;
	result text;
	parts text[] := '{}';
	part text;
	a text;
	b text;
	size int;
	bounds text;
	sub record;
BEGIN
	SELECT * INTO t FROM pg_type WHERE oid = wanted;
	SELECT count(*) INTO size FROM fuzz.pool WHERE typ = wanted;
	IF size > 0 THEN
		SELECT value INTO result FROM fuzz.pool WHERE typ = wanted AND n = floor(random() * size);
		-- The largest only at the top: a value made of many of them would be larger than a row may be.
		IF depth > 0 AND length(result) > 3000 THEN
			result := left(result, 3000);
			IF NOT fuzz.fits(result, wanted, -1) THEN
				RETURN NULL;
			END IF;
		END IF;
		RETURN result;
	END IF;
	IF depth > 6 THEN
		RETURN NULL;
	END IF;
	CASE
	WHEN t.typtype = 'd' THEN
		RETURN fuzz.some_text(t.typbasetype, depth + 1);
	WHEN t.typtype = 'e' THEN
		SELECT enumlabel INTO result FROM (SELECT enumlabel, row_number() OVER (ORDER BY enumsortorder) - 1 AS at, count(*) OVER () AS of FROM pg_enum WHERE enumtypid = wanted) e
		WHERE at = (SELECT floor(random() * count(*)) FROM pg_enum WHERE enumtypid = wanted);
		RETURN result;
	WHEN t.typtype = 'c' THEN
		FOR sub IN SELECT atttypid FROM pg_attribute WHERE attrelid = t.typrelid AND attnum > 0 AND NOT attisdropped ORDER BY attnum LOOP
			part := CASE WHEN random() < 0.2 THEN NULL ELSE fuzz.some_text(sub.atttypid, depth + 1) END;
			parts := parts || coalesce(fuzz.quoted(part), '');
		END LOOP;
		RETURN '(' || array_to_string(parts, ',') || ')';
	WHEN t.typtype = 'r' THEN
		IF random() < 0.15 THEN
			RETURN 'empty';
		END IF;
		SELECT rngsubtype INTO sub FROM pg_range WHERE rngtypid = wanted;
		a := CASE WHEN random() < 0.15 THEN '' ELSE fuzz.quoted(fuzz.some_text(sub.rngsubtype, depth + 1)) END;
		b := CASE WHEN random() < 0.15 THEN '' ELSE fuzz.quoted(fuzz.some_text(sub.rngsubtype, depth + 1)) END;
		bounds := (ARRAY['[)', '[)', '[]', '(]', '()'])[1 + floor(random() * 5)];
		result := left(bounds, 1) || coalesce(a, '') || ',' || coalesce(b, '') || right(bounds, 1);
		IF fuzz.fits(result, wanted, -1) THEN
			RETURN result;
		END IF;
		RETURN left(bounds, 1) || coalesce(b, '') || ',' || coalesce(a, '') || right(bounds, 1);
	WHEN t.typtype = 'm' THEN
		SELECT rngtypid INTO sub FROM pg_range WHERE rngmultitypid = wanted;
		FOR i IN 1 .. floor(random() * 4) LOOP
			part := fuzz.some_text(sub.rngtypid, depth + 1);
			IF fuzz.fits(part, sub.rngtypid, -1) THEN
				parts := parts || part;
			END IF;
		END LOOP;
		RETURN '{' || array_to_string(parts, ',') || '}';
	WHEN t.typelem <> 0 AND t.typlen = -1 THEN
		size := floor(random() * 5);
		IF size = 0 THEN
			RETURN '{}';
		END IF;
		FOR i IN 1 .. 2 * size LOOP
			part := CASE WHEN random() < 0.2 THEN NULL ELSE fuzz.some_text(t.typelem, depth + 1) END;
			parts := parts || coalesce(fuzz.quoted(part), 'NULL');
		END LOOP;
		SELECT typdelim::text INTO part FROM pg_type WHERE oid = t.typelem;
		RETURN CASE floor(random() * 4)
			WHEN 0 THEN format('[-2:%s]={%s}', 2 * size - 3, array_to_string(parts, part))
			WHEN 1 THEN format('{{%s}%s{%s}}', array_to_string(parts[1:size], part), part, array_to_string(parts[size + 1:], part))
			WHEN 2 THEN format('[0:1][5:%s]={{%s}%s{%s}}', size + 4, array_to_string(parts[1:size], part), part, array_to_string(parts[size + 1:], part))
			ELSE format('{%s}', array_to_string(parts, part)) END;
	ELSE
		RETURN NULL;
	END CASE;
END $$;

-- A literal of the type, NULL sometimes and where no lot fits.
CREATE FUNCTION fuzz.literal(typ oid, typmod int) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
	value text;
BEGIN
	IF random() > 0.12 THEN
		FOR i IN 1 .. 3 LOOP
			value := fuzz.some_text(typ);
			EXIT WHEN value IS NULL;
			-- What the pool has fits; ranges have their order, domains their checks, type modifiers their limits.
			IF typmod = -1 AND EXISTS (SELECT FROM fuzz.pool p WHERE p.typ = literal.typ) OR fuzz.fits(value, typ, typmod) THEN
				RETURN format('%L::%s', value, format_type(typ, typmod));
			END IF;
		END LOOP;
	END IF;
	RETURN format('NULL::%s', format_type(typ, typmod));
END $$;

-- Of a key column: of a small set, so that rows are met again.
CREATE FUNCTION fuzz.key_literal(typ oid, typmod int) RETURNS text LANGUAGE plpgsql AS $$
BEGIN
	RETURN CASE
		WHEN typ IN ('int2'::regtype, 'int4'::regtype, 'int8'::regtype, 'oid'::regtype, 'float8'::regtype) THEN floor(random() * 300)::text
		WHEN typ = 'numeric'::regtype THEN round((random() * 100)::numeric, floor(random() * 3)::int)::text
		WHEN typ IN ('text'::regtype, 'varchar'::regtype, 'bpchar'::regtype, 'name'::regtype) THEN quote_literal((ARRAY['k', 'K ', 'ключ', ''])[1 + floor(random() * 4)] || floor(random() * 40))
		ELSE fuzz.literal(typ, typmod) END;
END $$;

-- For a column of a table: mostly a key that is there where it is a foreign one.
CREATE FUNCTION fuzz.value(relation oid, num int, typ oid, typmod int, is_key boolean) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
	target record;
BEGIN
	SELECT confrelid::regclass AS name, quote_ident(attname) AS col, atttypid, atttypmod INTO target
	FROM pg_constraint JOIN pg_attribute ON attrelid = confrelid AND attnum = confkey[1]
	WHERE conrelid = relation AND contype = 'f' AND conkey = ARRAY[value.num::smallint] ORDER BY pg_constraint.oid LIMIT 1;
	IF FOUND AND random() < 0.85 THEN
		RETURN format('(SELECT min(%s) FROM %s WHERE %1$s >= %3$s)', target.col, target.name, fuzz.key_literal(target.atttypid, target.atttypmod));
	END IF;
	RETURN CASE WHEN is_key THEN fuzz.key_literal(typ, typmod) ELSE fuzz.literal(typ, typmod) END;
END $$;

--------------------------------------------------------------------------------
-- Statements
--------------------------------------------------------------------------------

CREATE FUNCTION fuzz.name_of(number int) RETURNS text LANGUAGE sql STABLE AS $$
	SELECT format('%I.%I', nspname, relname) FROM fuzz.tables t JOIN pg_class c ON c.oid = t.rel JOIN pg_namespace s ON s.oid = relnamespace WHERE n = number $$;

CREATE TYPE fuzz.col AS (num int, col text, typ oid, typmod int, is_key boolean, settable boolean, storage "char");

CREATE FUNCTION fuzz.columns(relation oid) RETURNS SETOF fuzz.col LANGUAGE sql STABLE AS $$
	SELECT attnum::int, quote_ident(attname), atttypid, atttypmod,
		EXISTS (SELECT FROM pg_index WHERE indrelid = relation AND indisunique AND attnum = ANY (indkey))
		OR attname IN (SELECT k.attname FROM pg_partition_tree(relation) p JOIN pg_partitioned_table pt ON pt.partrelid = p.relid
			JOIN pg_attribute k ON k.attrelid = pt.partrelid AND k.attnum = ANY (pt.partattrs)),
		attgenerated = '' AND attidentity <> 'a', attstorage
	FROM pg_attribute WHERE attrelid = relation AND attnum > 0 AND NOT attisdropped ORDER BY attnum $$;

-- Random DML that fits the table as it is now.
CREATE FUNCTION fuzz.dml(number int, seed int) RETURNS SETOF text LANGUAGE plpgsql AS $$
DECLARE
	rel oid;
	t text := fuzz.name_of(number);
	cols text;
	sets text;
	excluded text;
	touch text;
	keys text[];
	conflict text;
	row_values text[] := '{}';
	vals text;
	key_equal text;
	pick text;
	all_rows text;
	file text;
	width int;
	dice int;
	c record;
	chosen int[];
	all_columns fuzz.col[];
BEGIN
	PERFORM setseed((seed % 1000000) / 1000000.0);
	SELECT f.rel INTO rel FROM fuzz.tables f WHERE n = number;
	SELECT array_agg(k), count(*) INTO all_columns, width FROM fuzz.columns(rel) k;
	IF t IS NULL OR width = 0 THEN
		RETURN;
	END IF;
	dice := floor(random() * 26);
	pick := format('(tableoid, ctid) IN (SELECT tableoid, ctid FROM %s ORDER BY hashtext(ctid::text || %L) LIMIT %s)', t, seed, 1 + floor(random() * 6));

	SELECT array_agg(num) INTO chosen FROM unnest(all_columns) WHERE settable AND (is_key OR random() < greatest(0.1, least(0.8, 8.0 / width)));
	SELECT string_agg(col, ', '), string_agg(format('%s = EXCLUDED.%s', col, col), ', ') FILTER (WHERE NOT is_key OR random() < 0.1)
	INTO cols, excluded FROM unnest(all_columns) WHERE num = ANY (chosen);
	-- By loops: the planner may not decide how often lots are drawn.
	sets := NULL;
	FOR c IN SELECT * FROM unnest(all_columns) WHERE settable LOOP
		CONTINUE WHEN c.is_key OR random() > greatest(0.03, least(0.6, 3.0 / width));
		sets := coalesce(sets || ', ', '') || c.col || ' = ' || fuzz.value(rel, c.num, c.typ, c.typmod, false);
	END LOOP;
	SELECT string_agg(col || ' = ' || col, ', ') INTO touch FROM unnest(all_columns) WHERE settable AND random() < 0.5;
	SELECT coalesce(touch, string_agg(col || ' = ' || col, ', ')) INTO touch FROM unnest(all_columns) WHERE settable;
	sets := coalesce(sets, touch);
	IF sets IS NULL THEN
		RETURN NEXT format('INSERT INTO %s DEFAULT VALUES', t);
		RETURN;
	END IF;

	IF dice BETWEEN 0 AND 11 OR dice = 24 THEN
		IF cols IS NULL THEN
			RETURN NEXT format('INSERT INTO %s DEFAULT VALUES', t);
			RETURN;
		END IF;
		FOR i IN 1 .. CASE WHEN dice <= 2 THEN 1 WHEN dice IN (5, 6) THEN 1 + floor(random() * 12) ELSE 1 + floor(random() * 3) END LOOP
			vals := NULL;
			FOR c IN SELECT * FROM unnest(all_columns) WHERE num = ANY (chosen) LOOP
				vals := coalesce(vals || ', ', '') || fuzz.value(rel, c.num, c.typ, c.typmod, c.is_key);
			END LOOP;
			row_values := row_values || format('(%s)', vals);
		END LOOP;
		all_rows := array_to_string(row_values, ', ');
	END IF;
	SELECT array_agg(quote_ident(attname)) INTO keys FROM (SELECT a.attname FROM pg_index i JOIN pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = ANY (i.indkey)
		WHERE i.indexrelid = (SELECT indexrelid FROM pg_index WHERE indrelid = rel AND indisunique AND indisvalid AND indimmediate AND indexprs IS NULL AND indpred IS NULL
			ORDER BY indisprimary DESC, random() LIMIT 1)) k;
	SELECT string_agg(format('t.%s = s.%s', k, k), ' AND ') INTO key_equal FROM unnest(keys) k;

	CASE
	WHEN dice <= 4 OR (dice IN (7, 8, 9) AND keys IS NULL) THEN
		RETURN NEXT format('INSERT INTO %s (%s) VALUES %s', t, cols, all_rows);
	WHEN dice IN (5, 6) THEN
		-- Both ends of COPY are files, since the statement is not typed by a client.
		file := format('%s/fuzz_copy_%s', current_setting('data_directory'), seed);
		EXECUTE format('COPY (SELECT * FROM (VALUES %s) v) TO %L', all_rows, file);
		RETURN NEXT format('COPY %s (%s) FROM %L', t, cols, file);
	WHEN dice = 7 THEN
		RETURN NEXT format('INSERT INTO %s (%s) VALUES %s ON CONFLICT DO NOTHING', t, cols, all_rows);
	WHEN dice IN (8, 9) THEN
		RETURN NEXT format('INSERT INTO %s (%s) VALUES %s ON CONFLICT (%s) DO UPDATE SET %s', t, cols, row_values[1], array_to_string(keys, ', '), coalesce(excluded, keys[1] || ' = EXCLUDED.' || keys[1]));
	WHEN dice IN (10, 11) AND keys IS NOT NULL THEN
		RETURN NEXT format('MERGE INTO %s t USING (VALUES %s) s (%s) ON %s WHEN MATCHED AND %s THEN DELETE WHEN MATCHED THEN UPDATE SET %s WHEN NOT MATCHED THEN INSERT (%s) VALUES (%s)',
			t, all_rows, cols, key_equal, CASE WHEN random() < 0.3 THEN 'true' ELSE 'false' END, replace(coalesce(excluded, keys[1] || ' = EXCLUDED.' || keys[1]), 'EXCLUDED.', 's.'), cols, 's.' || replace(cols, ', ', ', s.'));
	WHEN dice IN (12, 13) OR keys IS NULL AND dice <= 16 THEN
		RETURN NEXT format('UPDATE %s SET %s WHERE %s', t, sets, pick);
	WHEN dice = 14 AND sets <> touch THEN
		RETURN NEXT format('UPDATE %s t SET %s FROM (SELECT * FROM %s ORDER BY hashtext(ctid::text || %L) LIMIT 5) s WHERE %s', t, sets, t, seed, key_equal);
	WHEN dice IN (15, 16) THEN
		sets := NULL;
		FOR c IN SELECT * FROM unnest(all_columns) WHERE is_key AND settable LOOP
			CONTINUE WHEN sets IS NOT NULL AND random() < 0.5;
			sets := coalesce(sets || ', ', '') || c.col || ' = ' || CASE
				WHEN c.typ IN ('int4'::regtype, 'int8'::regtype) AND random() < 0.5 THEN format('(%s + %s) %% 300', c.col, floor(random() * 200))
				ELSE fuzz.key_literal(c.typ, c.typmod) END;
		END LOOP;
		RETURN NEXT format('UPDATE %s SET %s WHERE %s', t, coalesce(sets, touch), pick);
	WHEN dice = 17 THEN
		RETURN NEXT format('UPDATE %s SET %s WHERE %s', t, coalesce(touch, sets), pick);
	WHEN dice = 18 THEN
		-- One column of those that can be stored out of line, or one of the others.
		SELECT format('%s = %s', col, fuzz.literal(typ, typmod)) INTO sets FROM unnest(all_columns)
		WHERE settable AND NOT is_key AND (storage IN ('x', 'e')) = (seed % 2 = 0) ORDER BY random() LIMIT 1;
		RETURN NEXT format('UPDATE %s SET %s WHERE %s', t, coalesce(sets, touch), pick);
	WHEN dice = 19 THEN
		RETURN NEXT format('UPDATE %s SET %s', t, sets);
	WHEN dice IN (20, 21) THEN
		RETURN NEXT format('DELETE FROM %s WHERE %s', t, pick);
	WHEN dice = 22 THEN
		RETURN NEXT format('WITH d AS (DELETE FROM %s WHERE %s RETURNING *), u AS (UPDATE %s SET %s WHERE %s RETURNING *) SELECT count(*) FROM d, u',
			t, pick, t, sets, replace(pick, quote_literal(seed), quote_literal(seed + 1)));
	WHEN dice = 23 AND cols IS NOT NULL THEN
		RETURN NEXT format('WITH d AS (DELETE FROM %s WHERE %s RETURNING %s) INSERT INTO %s (%s) SELECT * FROM d', t, pick, cols, t, cols);
	WHEN dice = 24 THEN
		RETURN NEXT format('WITH i AS (INSERT INTO %s (%s) VALUES %s RETURNING 1), u AS (UPDATE %s SET %s WHERE %s) SELECT count(*) FROM i', t, cols, row_values[1], t, sets, pick);
	ELSE
		RETURN NEXT format('SELECT count(*) FROM (SELECT 1 FROM %s WHERE %s FOR %s) l', t, pick, (ARRAY['UPDATE', 'NO KEY UPDATE', 'SHARE', 'KEY SHARE'])[1 + seed % 4]);
	END CASE;
END $$;

-- Many small subtransactions in one: some undone, some nested.
CREATE FUNCTION fuzz.burst(number int, seed int, times int) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
	statement text;
BEGIN
	FOR i IN 1 .. times LOOP
		BEGIN
			FOR statement IN SELECT fuzz.dml(number, seed + i) LOOP
				EXECUTE statement;
			END LOOP;
			IF i % 4 = 2 THEN
				PERFORM fuzz.burst(number, seed + 1000 * i, times / 3);
			END IF;
			IF i % 5 = 3 THEN
				RAISE 'undone' USING ERRCODE = 'ZZ001';
			END IF;
		EXCEPTION WHEN SQLSTATE 'ZZ001' OR data_exception OR integrity_constraint_violation OR program_limit_exceeded OR syntax_error_or_access_rule_violation THEN NULL;
		END;
	END LOOP;
END $$;

--------------------------------------------------------------------------------
-- Tables and instances
--------------------------------------------------------------------------------

CREATE FUNCTION fuzz.make(number int) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
	statement text;
	statements text[];
BEGIN
	SELECT make INTO statements FROM fuzz.tables WHERE n = number;
	FOREACH statement IN ARRAY statements[2:] LOOP
		EXECUTE statement;
	END LOOP;
	UPDATE fuzz.tables SET rel = statements[1]::regclass WHERE n = number;
END $$;

CREATE PROCEDURE fuzz.capture(number int, instance text, seed int, options text DEFAULT '') LANGUAGE plpgsql AS $$
DECLARE
	schema text;
	name text;
	relation oid;
	list text;
	index text;
	statement text;
BEGIN
	PERFORM setseed((seed % 1000000) / 1000000.0);
	SELECT nspname, relname, c.oid INTO schema, name, relation
	FROM fuzz.tables t JOIN pg_class c ON c.oid = t.rel JOIN pg_namespace s ON s.oid = relnamespace WHERE n = number;
	statement := format('CALL cdc.sp_cdc_enable_table(%L, %L, %L, capture_instance => %L%s', schema, name,
		CASE WHEN random() < 0.2 THEN 'fuzz_reader' END, instance, options);
	IF random() < 0.4 THEN
		SELECT i.indexrelid INTO relation FROM pg_index i WHERE indrelid = relation AND indisunique ORDER BY random() LIMIT 1;
		SELECT relname INTO index FROM pg_class WHERE oid = relation AND relkind IN ('i', 'I');
		SELECT rel INTO relation FROM fuzz.tables WHERE n = number;
		IF index IS NOT NULL THEN
			statement := statement || format(', index_name => %L', index);
		END IF;
	END IF;
	IF random() < 0.3 THEN
		SELECT string_agg('"' || replace(attname, '"', '""') || '"', ', ') INTO list FROM fuzz.columns(relation) k JOIN pg_attribute a ON a.attrelid = relation AND a.attnum = k.num
		WHERE is_key OR random() < 0.6;
		IF list IS NOT NULL THEN
			statement := statement || format(', captured_column_list => %L', list);
		END IF;
	END IF;
	IF random() < 0.15 THEN
		statement := statement || ', supports_net_changes => false';
	END IF;
	IF random() < 0.15 THEN
		statement := statement || ', before_image => ''key''';
	END IF;
	IF random() < 0.3 AND EXISTS (SELECT FROM pg_class WHERE oid = relation AND relkind = 'p') THEN
		statement := statement || ', allow_partition_switch => false';
	END IF;
	EXECUTE statement || ')';
	INSERT INTO fuzz.marks SELECT instance_id, nextval('fuzz.shadow_id_seq'), 0 FROM cdc.change_tables WHERE capture_instance = instance;
END $$;

CREATE PROCEDURE fuzz.release(number int, instance text) LANGUAGE plpgsql AS $$
DECLARE
	schema text;
	name text;
BEGIN
	SELECT nspname, relname INTO schema, name FROM fuzz.tables t JOIN pg_class c ON c.oid = t.rel JOIN pg_namespace s ON s.oid = relnamespace WHERE n = number;
	CALL cdc.sp_cdc_disable_table(schema, name, instance);
END $$;

-- What nobody has noticed the end of: instances without a source, replica identities of what is not captured.
CREATE FUNCTION fuzz.unnoticed() RETURNS TABLE (what text, id oid) LANGUAGE sql AS $$
	SELECT 'source', instance_id::oid FROM cdc.change_tables t WHERE NOT has_drop_pending AND NOT EXISTS (SELECT FROM pg_class WHERE oid = source_object_id)
	UNION ALL
	SELECT 'identity', r.source_object_id FROM cdc._replica_identity r WHERE NOT EXISTS (SELECT FROM cdc.change_tables t
		WHERE t.source_object_id = r.source_object_id OR t.source_object_id IN (SELECT relid FROM pg_partition_ancestors(r.source_object_id::regclass))) $$;

-- At the beginning, and before the end, of a transaction without event triggers.
CREATE FUNCTION fuzz.note_unseen(at_end boolean) RETURNS void LANGUAGE sql AS $$
	INSERT INTO fuzz.unseen SELECT what, id, at_end FROM fuzz.unnoticed() ON CONFLICT DO NOTHING $$;

--------------------------------------------------------------------------------
-- The catalogue's own invariants, at rest: nothing is running, everything is captured.
--------------------------------------------------------------------------------
CREATE FUNCTION fuzz.invariants() RETURNS SETOF text LANGUAGE plpgsql AS $$
DECLARE
	instance record;
	extension oid;
	place record;
	is_gone boolean;
BEGIN
	SELECT oid INTO extension FROM pg_extension WHERE extname = 'cdc';

	-- Every instance has its objects.
	FOR instance IN SELECT * FROM cdc.change_tables LOOP
		IF NOT EXISTS (SELECT FROM pg_class WHERE oid = instance.object_id AND relname = instance.capture_instance || '_ct' AND relnamespace = 'cdc'::regnamespace AND relkind = 'p') THEN
			RETURN NEXT format('%s: no change table', instance.capture_instance);
		END IF;
		is_gone := NOT EXISTS (SELECT FROM pg_class WHERE oid = instance.source_object_id);
		IF is_gone AND NOT instance.has_drop_pending AND NOT EXISTS (SELECT FROM fuzz.unseen WHERE what = 'source' AND id = instance.instance_id::oid AND allowed) THEN
			RETURN NEXT format('%s: its source is gone', instance.capture_instance);
		END IF;
		IF instance.start_lsn IS NULL THEN
			RETURN NEXT format('%s: no low end', instance.capture_instance);
		END IF;
		IF to_regclass(format('cdc._changes_%s', instance.instance_id)) IS NULL THEN
			RETURN NEXT format('%s: no view', instance.capture_instance);
		END IF;
		IF (SELECT count(*) FROM pg_proc WHERE pronamespace = 'cdc'::regnamespace AND proname = 'fn_cdc_get_all_changes_' || instance.capture_instance) <> 1
			OR (SELECT count(*) FROM pg_proc WHERE pronamespace = 'cdc'::regnamespace AND proname = 'fn_cdc_get_net_changes_' || instance.capture_instance) <> instance.supports_net_changes::int THEN
			RETURN NEXT format('%s: query functions', instance.capture_instance);
		END IF;
		IF EXISTS (SELECT FROM cdc.captured_columns c WHERE c.object_id = instance.object_id
			AND NOT EXISTS (SELECT FROM pg_attribute WHERE attrelid = instance.object_id AND attname = c.column_name AND NOT attisdropped)) THEN
			RETURN NEXT format('%s: a captured column is not in the change table', instance.capture_instance);
		END IF;
		IF EXISTS (SELECT FROM cdc.captured_columns c WHERE c.object_id = instance.object_id HAVING count(*) <> max(column_ordinal) OR min(column_ordinal) <> 1) THEN
			RETURN NEXT format('%s: ordinals are not dense', instance.capture_instance);
		END IF;
		IF EXISTS (SELECT FROM cdc.index_columns i WHERE i.object_id = instance.object_id
			AND NOT EXISTS (SELECT FROM cdc.captured_columns c WHERE c.object_id = i.object_id AND (c.column_name, c.column_id) = (i.column_name, i.column_id))) THEN
			RETURN NEXT format('%s: a column of the row identifier is not captured', instance.capture_instance);
		END IF;
		IF EXISTS (SELECT FROM cdc.index_columns i WHERE i.object_id = instance.object_id HAVING count(*) <> max(index_ordinal) OR min(index_ordinal) <> 1) THEN
			RETURN NEXT format('%s: the row identifier is not dense', instance.capture_instance);
		END IF;
		IF (instance.index_name IS NULL) <> (NOT EXISTS (SELECT FROM cdc.index_columns i WHERE i.object_id = instance.object_id)) THEN
			RETURN NEXT format('%s: index and its columns do not agree', instance.capture_instance);
		END IF;
		IF NOT is_gone AND NOT instance.has_drop_pending AND instance.index_name IS NOT NULL AND NOT EXISTS (SELECT FROM pg_index i JOIN pg_class c ON c.oid = indexrelid
			WHERE indrelid = instance.source_object_id AND relname = instance.index_name AND indisunique AND indisvalid) THEN
			RETURN NEXT format('%s: the index %s is gone', instance.capture_instance, instance.index_name);
		END IF;
		-- Refused, so never recorded.
		RETURN QUERY SELECT format('%s: %s, although allow_partition_switch is false', instance.capture_instance, left(ddl_command, 100)) FROM cdc.ddl_history
			WHERE object_id = instance.object_id AND NOT instance.partition_switch AND ddl_command ~* '^ALTER TABLE .* (ATTACH|DETACH) PARTITION' LIMIT 2;
		-- Each row in the leaf of its place, leaves side by side.
		FOR place IN
			SELECT c.relname, pg_get_expr(c.relpartbound, c.oid) AS bound, c.relkind,
				substring(pg_get_expr(c.relpartbound, c.oid) FROM 'FROM \(''([0-9A-F/]+)''\)')::pg_lsn AS low,
				substring(pg_get_expr(c.relpartbound, c.oid) FROM 'TO \(''([0-9A-F/]+)''\)')::pg_lsn AS high,
				i.inhdetachpending
			FROM pg_inherits i JOIN pg_class c ON c.oid = inhrelid WHERE inhparent = instance.object_id
		LOOP
			IF place.low IS NULL OR place.high IS NULL OR place.low >= place.high THEN
				RETURN NEXT format('%s: leaf %s has bounds %s', instance.capture_instance, place.relname, place.bound);
			ELSIF place.relname <> format('_ct_%s_%s', instance.instance_id, lpad(to_hex((place.low - '0/0')::bigint), 16, '0'))
				AND place.relname <> format('_ct_%s_%s', instance.instance_id, upper(lpad(to_hex((place.low - '0/0')::bigint), 16, '0'))) THEN
				RETURN NEXT format('%s: leaf %s of %s has another name', instance.capture_instance, place.relname, place.bound);
			END IF;
		END LOOP;
	END LOOP;

	-- The reverse: nothing without its instance.
	RETURN QUERY SELECT format('%s: rows of %s without an instance', x.object_id, x.what) FROM (
		SELECT DISTINCT object_id, 'captured_columns' AS what FROM cdc.captured_columns
		UNION SELECT DISTINCT object_id, 'index_columns' FROM cdc.index_columns
		UNION SELECT DISTINCT object_id, 'ddl_history' FROM cdc.ddl_history
		UNION SELECT DISTINCT object_id, 'gaps' FROM cdc.gaps WHERE object_id IS NOT NULL) x
		WHERE NOT EXISTS (SELECT FROM cdc.change_tables t WHERE t.object_id = x.object_id);
	RETURN QUERY SELECT format('relation %s belongs to nothing', c.relname) FROM pg_class c
		WHERE relnamespace = 'cdc'::regnamespace AND (relname ~ '_ct$' OR relname ~ '^_(ct|changes|dropped|all_changes|net_changes)_') AND relkind IN ('r', 'p', 'v', 'c')
		AND NOT EXISTS (SELECT FROM cdc.change_tables t WHERE t.object_id = c.oid OR EXISTS (SELECT FROM pg_inherits WHERE inhrelid = c.oid AND inhparent = t.object_id)
			OR c.relname IN (format('_changes_%s', t.instance_id), format('_all_changes_%s', t.instance_id), format('_net_changes_%s', t.instance_id)))
		AND c.relname <> 'change_tables';
	RETURN QUERY SELECT format('function %s belongs to nothing', proname) FROM pg_proc p WHERE pronamespace = 'cdc'::regnamespace AND proname ~ '^fn_cdc_get_(all|net)_changes_'
		AND NOT EXISTS (SELECT FROM cdc.change_tables t WHERE p.proname IN ('fn_cdc_get_all_changes_' || capture_instance, 'fn_cdc_get_net_changes_' || capture_instance));
	RETURN QUERY SELECT format('_instance_start has a row of instance %s', instance_id) FROM cdc._instance_start;
	RETURN QUERY SELECT format('_source_drops: instance %s does not exist', s.instance_id) FROM cdc._source_drops s
		WHERE NOT EXISTS (SELECT FROM cdc.change_tables t WHERE t.instance_id = s.instance_id);
	RETURN QUERY SELECT 'the queue of events is not empty' FROM cdc._ddl_queue LIMIT 1;

	-- Everything in the schema is the extension's, and nothing else is.
	RETURN QUERY SELECT format('%s is no member of the extension', c.oid::regclass) FROM pg_class c
		WHERE relnamespace = 'cdc'::regnamespace AND relkind IN ('r', 'p', 'v', 'S') AND NOT relispartition
		AND NOT EXISTS (SELECT FROM pg_depend WHERE classid = 'pg_class'::regclass AND objid = c.oid AND refclassid = 'pg_extension'::regclass AND refobjid = extension AND deptype = 'e')
		AND NOT (relkind = 'S' AND EXISTS (SELECT FROM pg_depend WHERE classid = 'pg_class'::regclass AND objid = c.oid AND deptype IN ('i', 'a')));
	RETURN QUERY SELECT format('function %s is no member of the extension', p.oid::regprocedure) FROM pg_proc p
		WHERE pronamespace = 'cdc'::regnamespace
		AND NOT EXISTS (SELECT FROM pg_depend WHERE classid = 'pg_proc'::regclass AND objid = p.oid AND refclassid = 'pg_extension'::regclass AND refobjid = extension AND deptype = 'e');
	RETURN QUERY SELECT format('a dependency of the extension has no object: %s %s', classid::regclass, objid) FROM pg_depend d
		WHERE refclassid = 'pg_extension'::regclass AND refobjid = extension AND deptype = 'e' AND (
			classid = 'pg_class'::regclass AND NOT EXISTS (SELECT FROM pg_class WHERE oid = objid)
			OR classid = 'pg_proc'::regclass AND NOT EXISTS (SELECT FROM pg_proc WHERE oid = objid)
			OR classid = 'pg_type'::regclass AND NOT EXISTS (SELECT FROM pg_type WHERE oid = objid));
	RETURN QUERY SELECT format('initial privileges without an object: %s %s', classoid::regclass, objoid) FROM pg_init_privs
		WHERE classoid = 'pg_class'::regclass AND NOT EXISTS (SELECT FROM pg_class WHERE oid = objoid) OR classoid = 'pg_proc'::regclass AND NOT EXISTS (SELECT FROM pg_proc WHERE oid = objoid);

	-- Replica identities: remembered for captured tables and their partitions only.
	RETURN QUERY SELECT format('a replica identity is remembered for %s, which is not captured', id::regclass) FROM fuzz.unnoticed() u
		WHERE what = 'identity' AND NOT EXISTS (SELECT FROM fuzz.unseen s WHERE s.what = u.what AND s.id = u.id AND allowed);
	-- health() names each source that went unseen, and nothing else of the catalog.
	RETURN QUERY SELECT format('health() says of the catalog: %s, %s: %s', status, value, detail) FROM cdc.health(),
			(SELECT count(*) AS n, min(capture_instance) AS name FROM fuzz.unnoticed() JOIN cdc.change_tables ON instance_id = id::int WHERE what = 'source') u
		WHERE check_name = 'catalog' AND (status, value, coalesce(detail, ''), coalesce(action, '')) IS DISTINCT FROM (
			CASE WHEN n > 0 THEN 'critical' ELSE 'ok' END, format('%s problems', n),
			CASE WHEN n > 0 THEN format('The source of capture instance "%s" does not exist, and its drop was not noticed.', name) ELSE '' END,
			CASE WHEN n > 0 THEN format('CALL cdc.sp_cdc_disable_table(''-'', ''-'', %L);', name) ELSE '' END);

	-- The mapping is dense, its times do not go back.
	RETURN QUERY SELECT format('mapping: %s begins at ordinal %s, not %s', start_lsn, first_ordinal, expected) FROM (
		SELECT start_lsn, first_ordinal, lag(first_ordinal + change_count) OVER (ORDER BY start_lsn) AS expected FROM cdc.lsn_time_mapping) m WHERE first_ordinal <> expected;
	RETURN QUERY SELECT format('mapping: %s is earlier than the row before', start_lsn) FROM (
		SELECT start_lsn, tran_end_time, lag(tran_end_time) OVER (ORDER BY start_lsn) AS former FROM cdc.lsn_time_mapping) m WHERE tran_end_time < former;
	RETURN QUERY SELECT format('mapping: transaction %s is there twice', tran_id) FROM cdc.lsn_time_mapping WHERE tran_id <> '0' GROUP BY tran_id HAVING count(*) > 1;
	RETURN QUERY SELECT 'progress is behind the mapping' FROM cdc._progress WHERE captured_lsn < (SELECT max(start_lsn) FROM cdc.lsn_time_mapping);
	IF (SELECT count(*) FROM cdc._progress) <> 1 OR (SELECT count(*) FROM cdc._identity) <> 1 THEN
		RETURN NEXT 'progress or identity';
	END IF;
	IF (SELECT count(*) FROM cdc.cdc_jobs) <> 2 * (EXISTS (SELECT FROM cdc.change_tables))::int THEN
		RETURN NEXT 'jobs';
	END IF;

	-- Of the server: one slot, one origin for each database.
	IF (SELECT count(*) FROM pg_replication_slots WHERE plugin = 'cdc' AND database = current_database()) <> 1 THEN
		RETURN NEXT 'slots of this database: ' || (SELECT count(*) FROM pg_replication_slots WHERE plugin = 'cdc' AND database = current_database());
	END IF;
	RETURN QUERY SELECT format('slot %s is nobody''s', slot_name) FROM pg_replication_slots WHERE plugin = 'cdc' AND database IS NULL;
END $$;

-- Heap and indexes of ours, where the server has amcheck.
CREATE FUNCTION fuzz.damage() RETURNS SETOF text LANGUAGE plpgsql AS $$
DECLARE
	relation record;
BEGIN
	IF to_regproc('public.verify_heapam') IS NULL THEN
		RETURN;
	END IF;
	FOR relation IN SELECT c.oid, c.relkind, a.amname FROM pg_class c LEFT JOIN pg_am a ON a.oid = c.relam
		WHERE relnamespace = 'cdc'::regnamespace AND relkind IN ('r', 'i') LOOP
		BEGIN
			IF relation.relkind = 'r' THEN
				RETURN QUERY SELECT format('%s: %s', relation.oid::regclass, v.msg) FROM public.verify_heapam(relation.oid::regclass) v LIMIT 3;
			ELSIF relation.amname = 'btree' THEN
				PERFORM public.bt_index_check(relation.oid::regclass, true);
			END IF;
		EXCEPTION WHEN undefined_table THEN NULL;
		WHEN OTHERS THEN
			RETURN NEXT format('%s: %s', relation.oid::regclass, SQLERRM);
		END;
	END LOOP;
END $$;

--------------------------------------------------------------------------------
-- DDL
--------------------------------------------------------------------------------

-- Types between which columns change: their values have one text form, whatever they are cast to on the way.
CREATE FUNCTION fuzz.some_type() RETURNS text LANGUAGE sql VOLATILE AS $$
	SELECT (ARRAY['numeric(8,2)', 'numeric(10,2)', 'smallint', 'int', 'bigint', 'numeric', 'text', 'varchar(5)', 'varchar(20)', 'char(6)', 'bool', 'date',
		'timestamptz', 'timestamp(0)', 'bytea', 'int[]', 'text[]', 'public.mood', 'public.pair', 'public.small_int', 'bit(3)', 'varbit', 'interval', 'jsonb',
		'float8', 'name', 'cidr', 'inet', 'time', 'bigint[]', 'int4range', 'uuid', 'tsvector', 'point', 'public.deep', 'int4multirange', 'macaddr'])[1 + floor(random() * 37)] $$;

-- Random DDL on a table of the round. Calm: what leaves every change row as it would be without it.
CREATE FUNCTION fuzz.ddl(number int, seed int, wild boolean) RETURNS SETOF text LANGUAGE plpgsql AS $$
DECLARE
	relation oid;
	kind "char";
	schema text;
	name text;
	t text := fuzz.name_of(number);
	c record;
	any_column text;
	leaf text;
	leaf_parent text;
	bound text;
	type text;
	using_clause text;
	instance text;
	child text;
	parent text;
	role text;
	dice int;
BEGIN
	PERFORM setseed((seed % 1000000) / 1000000.0);
	SELECT o.oid, relkind, quote_ident(nspname), quote_ident(relname) INTO relation, kind, schema, name
	FROM fuzz.tables JOIN pg_class o ON o.oid = rel JOIN pg_namespace s ON s.oid = relnamespace WHERE n = number;
	instance := 'i' || number || (ARRAY['_a', '_b'])[1 + floor(random() * 2)];
	IF t IS NULL THEN
		IF wild THEN
			RETURN NEXT format('SELECT fuzz.make(%s)', number);
			RETURN NEXT format('CALL fuzz.capture(%s, %L, %s, '', drop_action => ''''%s'''', truncate_action => ''''record'''''')', number, instance, seed, (ARRAY['remove', 'keep'])[1 + seed % 2]);
		END IF;
		RETURN;
	END IF;
	SELECT * INTO c FROM fuzz.columns(relation) WHERE NOT is_key ORDER BY random() LIMIT 1;
	SELECT col INTO any_column FROM fuzz.columns(relation) ORDER BY random() LIMIT 1;
	SELECT relid::regclass::text, parentrelid::regclass::text, pg_get_expr(relpartbound, o.oid) INTO leaf, leaf_parent, bound
	FROM pg_partition_tree(relation) p JOIN pg_class o ON o.oid = relid WHERE level > 0 ORDER BY random() LIMIT 1;
	SELECT inhrelid::regclass, inhparent::regclass INTO child, parent FROM pg_inherits JOIN pg_class o ON o.oid = inhrelid
	WHERE NOT relispartition AND relkind = 'r' AND inhparent IN (SELECT rel FROM fuzz.tables) ORDER BY random() LIMIT 1;
	role := (ARRAY['fuzz_reader', 'fuzz_other'])[1 + seed % 2];
	type := fuzz.some_type();
	-- Between the elements of an array of boxes is a semicolon; in no other array.
	IF type = 'text[]' AND EXISTS (SELECT FROM pg_type a JOIN pg_type e ON e.oid = a.typelem WHERE a.oid = c.typ AND e.typdelim <> ',') THEN
		type := 'text';
	END IF;
	using_clause := (ARRAY['USING NULL', 'USING NULL', format('USING left(%s::text, 2)::%s', c.col, type), ''])[1 + floor(random() * 4)];

	dice := floor(random() * CASE WHEN wild THEN 46 ELSE 24 END);
	CASE dice
	WHEN 0 THEN RETURN NEXT format('ALTER TABLE %s ADD COLUMN IF NOT EXISTS a%s %s', t, seed % 10, type);
	WHEN 1 THEN RETURN NEXT format('ALTER TABLE %s ADD COLUMN a%s %s', t, seed % 10,
		(ARRAY['int DEFAULT 7', 'text DEFAULT ''e''', 'float8 DEFAULT random()', 'int GENERATED ALWAYS AS (3) STORED', 'int GENERATED BY DEFAULT AS IDENTITY', 'public.small_int DEFAULT 5', 'serial'])[1 + floor(random() * 7)]);
	WHEN 2 THEN IF c.col IS NOT NULL AND random() < 0.5 THEN RETURN NEXT format('ALTER TABLE %s DROP COLUMN %s', t, c.col); END IF;
	WHEN 3 THEN RETURN NEXT format('ALTER TABLE %s RENAME COLUMN %s TO %I', t, any_column, 'r' || seed % 100);
	WHEN 4 THEN RETURN NEXT format('ALTER TABLE %s RENAME TO %I', t, 'moved' || number || '_' || seed % 10);
	WHEN 5 THEN RETURN NEXT format('ALTER TABLE %s SET SCHEMA %s', t, (ARRAY['public', '"Schéma ""2"""'])[1 + floor(random() * 2)]);
	WHEN 6 THEN RETURN NEXT format('CREATE INDEX ON %s (%s)', t, any_column);
	WHEN 7 THEN RETURN NEXT format('ALTER TABLE %s ALTER COLUMN %s %s', t, any_column, (ARRAY['DROP NOT NULL', 'SET NOT NULL', 'SET STATISTICS 10', 'SET STORAGE EXTERNAL', 'SET STORAGE PLAIN', 'SET COMPRESSION pglz', 'DROP EXPRESSION IF EXISTS', 'DROP DEFAULT'])[1 + floor(random() * 8)]);
	WHEN 8 THEN RETURN NEXT format('%s %s', (ARRAY['VACUUM FULL', 'VACUUM FREEZE', 'ANALYZE', 'CLUSTER', 'REINDEX TABLE'])[1 + floor(random() * 5)], t);
	WHEN 9 THEN RETURN NEXT format('ALTER TYPE public.mood ADD VALUE IF NOT EXISTS %L', 'm' || seed % 20);
	WHEN 10 THEN RETURN NEXT format('COMMENT ON COLUMN %s.%s IS %L', t, any_column, seed);
	WHEN 11 THEN IF kind = 'r' THEN RETURN NEXT format('ALTER TABLE %s SET (fillfactor = %s)', t, 10 + seed % 90); END IF;
	WHEN 12 THEN RETURN NEXT format('ALTER TABLE %s ADD CONSTRAINT k%s CHECK (%s IS NOT NULL OR true) NOT VALID', t, seed % 100, any_column);
	WHEN 13 THEN RETURN NEXT format('CREATE TEMP TABLE IF NOT EXISTS x%s AS SELECT * FROM %s LIMIT 10', seed % 10, t);
	WHEN 14 THEN RETURN NEXT format('CREATE TABLE IF NOT EXISTS neighbour%s (LIKE %s)', seed % 5, t);
		RETURN NEXT format('INSERT INTO neighbour%s SELECT * FROM %s LIMIT 5', seed % 5, t);
	WHEN 15 THEN RETURN NEXT format('CREATE UNLOGGED TABLE IF NOT EXISTS unlogged%s AS SELECT * FROM %s', seed % 3, t);
	WHEN 16 THEN RETURN NEXT format('DROP TABLE IF EXISTS neighbour%s, unlogged%s', seed % 5, seed % 3);
	WHEN 17 THEN RETURN NEXT 'ALTER SCHEMA "Schéma ""2""" RENAME TO s3'; RETURN NEXT 'ALTER SCHEMA s3 RENAME TO "Schéma ""2"""';
	WHEN 18 THEN RETURN NEXT format('LOCK TABLE %s IN %s MODE', t, (ARRAY['SHARE', 'EXCLUSIVE', 'ACCESS EXCLUSIVE'])[1 + floor(random() * 3)]);
	WHEN 19 THEN RETURN NEXT format('TRUNCATE %s', CASE WHEN wild THEN t ELSE 'neighbour1' END);
	WHEN 20 THEN RETURN NEXT format('CREATE PUBLICATION pub%s FOR %s', seed % 5, CASE WHEN random() < 0.3 THEN 'ALL TABLES' ELSE 'TABLE ' || t END);
	WHEN 21 THEN RETURN NEXT format('DROP PUBLICATION IF EXISTS pub%s', seed % 5);
	WHEN 22 THEN CASE floor(random() * 6)
		WHEN 0 THEN RETURN NEXT format('REVOKE SELECT ON %s FROM %s', t, role);
		WHEN 1 THEN RETURN NEXT format('GRANT SELECT (%s) ON %s TO %s', any_column, t, role);
		WHEN 2 THEN RETURN NEXT format('GRANT SELECT (%s) ON %s TO %s', (SELECT string_agg(col, ', ') FROM fuzz.columns(relation)), t, role);
		WHEN 3 THEN RETURN NEXT format('ALTER TABLE %s %s ROW LEVEL SECURITY', t, (ARRAY['ENABLE', 'DISABLE', 'DISABLE'])[1 + floor(random() * 3)]);
		ELSE RETURN NEXT format('GRANT SELECT ON %s TO %s', t, role);
		END CASE;
	WHEN 23 THEN RETURN NEXT format('SELECT pg_logical_emit_message(%s, ''cdc'', repeat(''m'', %s))', random() < 0.5, seed % 5000);
	-- Wild from here on.
	WHEN 24, 25, 26 THEN RETURN NEXT format('ALTER TABLE %s ALTER COLUMN %s TYPE %s %s', t, c.col, type, using_clause);
	WHEN 27 THEN RETURN NEXT format('ALTER TABLE %s ALTER COLUMN %s TYPE %s USING NULL, ADD COLUMN b%s int DEFAULT 3', t, c.col, type, seed % 10);
	WHEN 28 THEN RETURN NEXT format('ALTER TABLE %s ALTER COLUMN %s TYPE %s USING NULL', t, c.col, type);
		RETURN NEXT fuzz.dml(number, seed);
		RETURN NEXT format('ALTER TABLE %s ALTER COLUMN %s TYPE %s USING NULL', t, c.col, fuzz.some_type());
	WHEN 29 THEN RETURN NEXT format('DROP TABLE %s', t);
	WHEN 30 THEN RETURN NEXT format('DROP TABLE %s CASCADE', t);
		RETURN NEXT format('SELECT fuzz.make(%s)', number);
		RETURN NEXT format('CALL fuzz.capture(%s, %L, %s, '', drop_action => ''''keep'''''')', number, instance, seed);
	WHEN 31, 32 THEN IF leaf IS NOT NULL THEN
			RETURN NEXT format('ALTER TABLE %s DETACH PARTITION %s', leaf_parent, leaf);
			IF random() < 0.5 THEN RETURN NEXT format('TRUNCATE %s', leaf); END IF;
			RETURN NEXT format('ALTER TABLE %s ATTACH PARTITION %s %s', leaf_parent, leaf, bound);
		END IF;
	WHEN 33 THEN IF leaf IS NOT NULL THEN
			RETURN NEXT format('DROP TABLE %s', leaf);
			RETURN NEXT format('CREATE TABLE %s PARTITION OF %s %s', leaf, leaf_parent, bound);
		END IF;
	WHEN 34 THEN RETURN NEXT format('ALTER TABLE %s REPLICA IDENTITY %s', coalesce(CASE WHEN random() < 0.5 THEN leaf END, t), (ARRAY['DEFAULT', 'FULL', 'FULL', 'NOTHING'])[1 + floor(random() * 4)]);
	WHEN 35 THEN RETURN NEXT format('ALTER TABLE %s SET %s', coalesce(CASE WHEN random() < 0.5 THEN leaf END, t), (ARRAY['LOGGED', 'UNLOGGED'])[1 + floor(random() * 2)]);
	WHEN 36, 37 THEN RETURN NEXT format('CALL fuzz.capture(%s, %L, %s, '', drop_action => ''''%s'''', truncate_action => ''''%s'''''')', number, instance, seed,
			(ARRAY['remove', 'keep'])[1 + seed % 2], (ARRAY['record', 'refuse'])[1 + floor(random() * 2)]);
	WHEN 38, 39 THEN RETURN NEXT format('CALL fuzz.release(%s, %L)', number, CASE WHEN random() < 0.7 THEN instance ELSE 'all' END);
	WHEN 40 THEN RETURN NEXT format('CREATE OR REPLACE VIEW public.of_%s AS SELECT * FROM cdc.fn_cdc_get_all_changes_%s(''0/1'', ''0/1'', ''all'')', instance, instance);
	WHEN 41 THEN RETURN NEXT format('DROP VIEW IF EXISTS public.of_%s', instance);
		RETURN NEXT format('CALL cdc.renew_query_functions(%L)', instance);
	WHEN 42 THEN INSERT INTO fuzz.changed_types SELECT oid FROM pg_type WHERE typname IN ('pair', 'deep', 'pairs') ON CONFLICT DO NOTHING;
		RETURN NEXT format('ALTER TYPE public.pair ' || (ARRAY['ADD ATTRIBUTE x%s text', 'DROP ATTRIBUTE IF EXISTS x%s', 'RENAME ATTRIBUTE x%s TO y%1$s', 'ADD ATTRIBUTE x%s int'])[1 + floor(random() * 4)], seed % 5);
	WHEN 43 THEN IF child IS NOT NULL THEN
			RETURN NEXT format('ALTER TABLE %s NO INHERIT %s', child, parent);
			RETURN NEXT format('ALTER TABLE %s ADD COLUMN IF NOT EXISTS a%s %s', parent, seed % 10, type);
			RETURN NEXT format('ALTER TABLE %s ADD COLUMN IF NOT EXISTS a%s %s', child, seed % 10, type);
			RETURN NEXT format('ALTER TABLE %s INHERIT %s', child, parent);
		END IF;
	WHEN 44 THEN RETURN NEXT format('CALL fuzz.release(%s, ''all'')', number);
		RETURN NEXT format('CALL fuzz.capture(%s, %L, %s)', number, instance, seed);
	ELSE RETURN NEXT format('ALTER TABLE %s ALTER COLUMN %s TYPE %s USING NULL, ALTER COLUMN %s TYPE %s USING NULL', t, c.col, type, any_column, fuzz.some_type());
	END CASE;
END $$;

-- A reader of some instance, in statements.
CREATE FUNCTION fuzz.reader(seed int) RETURNS SETOF text LANGUAGE plpgsql AS $$
DECLARE
	ci text;
	net boolean;
	source text;
	role text;
BEGIN
	PERFORM setseed((seed % 1000000) / 1000000.0);
	role := CASE WHEN random() < 0.3 THEN (ARRAY['fuzz_reader', 'fuzz_other'])[1 + seed % 2] END;
	SELECT capture_instance, supports_net_changes AND random() < 0.6 INTO ci, net FROM cdc.change_tables ORDER BY hashtext(capture_instance || seed) LIMIT 1;
	IF ci IS NULL THEN
		RETURN;
	END IF;
	source := format('cdc.%I(cdc.fn_cdc_get_min_lsn(%L), cdc.fn_cdc_get_max_lsn(), %L)',
		CASE WHEN net THEN 'fn_cdc_get_net_changes_' ELSE 'fn_cdc_get_all_changes_' END || ci, ci,
		CASE WHEN net THEN (ARRAY['all', 'all with mask', ' ALL with merge '])[1 + floor(random() * 3)] ELSE (ARRAY['all', 'all update old'])[1 + floor(random() * 2)] END);
	IF role IS NOT NULL THEN
		RETURN NEXT 'SET ROLE ' || role;
	END IF;
	CASE floor(random() * 5)
	WHEN 0 THEN
		RETURN NEXT 'BEGIN ISOLATION LEVEL ' || (ARRAY['READ COMMITTED', 'REPEATABLE READ', 'SERIALIZABLE'])[1 + floor(random() * 3)];
		RETURN NEXT 'DECLARE c CURSOR FOR SELECT * FROM ' || source;
		RETURN NEXT 'FETCH 3 FROM c';
		RETURN NEXT format('SELECT count(*) FROM generate_series(1, %s)', floor(random() * 300000));
		RETURN NEXT 'MOVE FORWARD ALL FROM c';
		RETURN NEXT 'COMMIT';
	WHEN 1 THEN
		RETURN NEXT format('PREPARE r%s AS SELECT count(*), max("__$operation") FROM %s', seed % 5, source);
		RETURN NEXT format('EXECUTE r%s', seed % 5);
		RETURN NEXT format('DEALLOCATE r%s', seed % 5);
	WHEN 2 THEN RETURN NEXT format('SELECT count(*) FROM %s WHERE "__$operation" = 2', source);
	WHEN 3 THEN RETURN NEXT format('SELECT count(*) FROM (SELECT * FROM %s ORDER BY "__$start_lsn" LIMIT 7) x', source);
	ELSE RETURN NEXT format('SELECT count(*) FROM cdc.sp_cdc_help_change_data_capture(), cdc.sp_cdc_get_captured_columns(%L)', ci);
	END CASE;
	IF role IS NOT NULL THEN
		RETURN NEXT 'RESET ROLE';
	END IF;
END $$;

-- What a role gets from a query that counts: the number, or the SQLSTATE of its refusal.
CREATE FUNCTION fuzz.count_as(role text, query text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
	found bigint;
BEGIN
	EXECUTE format('SET LOCAL ROLE %I', role);
	EXECUTE query INTO found;
	RESET ROLE;
	RETURN found;
EXCEPTION WHEN OTHERS THEN
	RETURN SQLSTATE;
END $$;

-- Who may read an instance, as the documentation says it, for roles that own nothing.
CREATE FUNCTION fuzz.may_read(role text, instance int) RETURNS boolean LANGUAGE sql AS $$
	SELECT (role_name IS NULL OR pg_has_role(role, role_name, 'USAGE')) AND NOT coalesce((SELECT relrowsecurity FROM pg_class WHERE oid = source_object_id), true)
		AND (has_table_privilege(role, source_object_id, 'SELECT') OR NOT EXISTS (SELECT FROM cdc.captured_columns c WHERE c.object_id = t.object_id
			AND NOT EXISTS (SELECT FROM pg_attribute WHERE attrelid = source_object_id AND attnum = column_id AND NOT attisdropped AND has_column_privilege(role, source_object_id, attnum, 'SELECT'))))
	FROM cdc.change_tables t WHERE instance_id = instance $$;

-- Cleanup of one instance up to some place that has been read and compared.
CREATE FUNCTION fuzz.cleanup(seed int) RETURNS SETOF text LANGUAGE plpgsql AS $$
DECLARE
	ci text;
	id int;
	mark pg_lsn;
BEGIN
	SELECT capture_instance, instance_id INTO ci, id FROM cdc.change_tables ORDER BY hashtext(capture_instance || seed) LIMIT 1;
	SELECT max(m.start_lsn) INTO mark FROM cdc.lsn_time_mapping m, fuzz.marks k, fuzz.shadow s
	WHERE k.instance_id = cleanup.id AND s.id = k.verified AND m.tran_id = s.tx;
	IF mark IS NOT NULL THEN
		RETURN NEXT format('CALL cdc.sp_cdc_cleanup_change_table(%L, %L, %s)', ci, mark, 1 + seed % 50);
	END IF;
END $$;
