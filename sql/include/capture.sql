/*
 * include/capture.sql: what the capture_* tests share. Creates the extension, enables the database and makes
 * schema src, which goes first in the search path.
 *
 * A test shows what changes() tells, and then that replay() and log_problems() have nothing to tell: they
 * read the query functions and the catalog with plain SQL and know nothing of how capture works.
 */
CREATE EXTENSION cdc;
CALL cdc.sp_cdc_enable_db();
CREATE SCHEMA src;
SET search_path = src, public;

/*
 * changes(instance): all its change rows in their order, without LSNs. tx: the first, second... transaction
 * that changed the table; change: the first, second... change of this table in it, by __$seqval.
 */
CREATE FUNCTION changes(instance text)
RETURNS TABLE (tx bigint, change bigint, op integer, mask text, "row" text)
LANGUAGE plpgsql AS $$
DECLARE
	columns text;
BEGIN
	SELECT string_agg(quote_ident(column_name), ', ' ORDER BY column_ordinal) INTO columns
	FROM cdc.captured_columns JOIN cdc.change_tables USING (object_id) WHERE capture_instance = instance;
	RETURN QUERY EXECUTE format($q$
		SELECT dense_rank() OVER (ORDER BY "__$start_lsn"),
			dense_rank() OVER (PARTITION BY "__$start_lsn" ORDER BY "__$seqval"),
			"__$operation", encode("__$update_mask", 'hex'), ROW(%s)::text
		FROM cdc.%I(cdc.fn_cdc_get_min_lsn(%L), cdc.fn_cdc_get_max_lsn(), 'all update old')
		ORDER BY "__$start_lsn", "__$seqval", "__$operation"$q$,
		columns, 'fn_cdc_get_all_changes_' || instance, instance);
END $$;

/*
 * replay(instance): applies the change rows, one after the other, to an empty copy, and compares the copy with
 * the table. A before image must find its row, whole. Mask bits must be set where the two images of an
 * update differ, and nowhere else. Values are compared in their text form (md5 of it, when it is long).
 * starting_with: a query for the rows that were there before.
 */
CREATE FUNCTION brief(value text) RETURNS text LANGUAGE sql IMMUTABLE PARALLEL SAFE AS
	$$ SELECT CASE WHEN length(value) > 200 THEN md5(value) ELSE value END $$;
CREATE FUNCTION replay(instance text, starting_with text DEFAULT NULL)
RETURNS TABLE (problem text, example text)
LANGUAGE plpgsql SET client_min_messages = warning AS $$
DECLARE
	source text;
	log_columns text[];
	source_columns text[];
	ordinals integer[];
	list text;
	change record;
	former text[];
	found_ctid tid;
	should boolean;
BEGIN
	-- A column that has been dropped is NULL in new rows; replayed are those that the table has.
	SELECT source_object_id::regclass::text INTO STRICT source FROM cdc.change_tables WHERE capture_instance = instance;
	SELECT array_agg(column_name::text ORDER BY column_ordinal), array_agg(attname::text ORDER BY column_ordinal), array_agg(column_ordinal ORDER BY column_ordinal)
	INTO log_columns, source_columns, ordinals
	FROM cdc.captured_columns c JOIN cdc.change_tables t USING (object_id)
	JOIN pg_attribute a ON a.attrelid = t.source_object_id AND a.attnum = c.column_id AND NOT attisdropped
	WHERE capture_instance = instance;
	SELECT string_agg(format('src.brief(%I::text)', c), ', ' ORDER BY n) INTO list FROM unnest(source_columns) WITH ORDINALITY u (c, n);
	DROP TABLE IF EXISTS replayed;
	CREATE TEMP TABLE replayed (image text[]);
	IF starting_with IS NOT NULL THEN
		EXECUTE format('INSERT INTO replayed SELECT ARRAY[%s] FROM (%s) s', list, starting_with);
	END IF;

	FOR change IN EXECUTE format($q$
		SELECT "__$operation" AS op, "__$update_mask" AS mask, ARRAY[%s] AS image
		FROM cdc.%I(cdc.fn_cdc_get_min_lsn(%L), cdc.fn_cdc_get_max_lsn(), 'all update old')
		ORDER BY "__$start_lsn", "__$seqval", "__$operation"$q$,
		(SELECT string_agg(format('src.brief(%I::text)', c), ', ' ORDER BY n) FROM unnest(log_columns) WITH ORDINALITY u (c, n)),
		'fn_cdc_get_all_changes_' || instance, instance)
	LOOP
		IF change.op IN (1, 3) THEN
			SELECT ctid INTO found_ctid FROM replayed WHERE image IS NOT DISTINCT FROM change.image LIMIT 1;
			IF found_ctid IS NULL THEN
				RETURN QUERY SELECT format('operation %s of a row that is not there', change.op), left(change.image::text, 100);
			END IF;
			DELETE FROM replayed WHERE ctid = found_ctid;
		ELSE
			INSERT INTO replayed VALUES (change.image);
		END IF;
		IF change.op = 4 THEN
			FOR i IN 1 .. cardinality(log_columns) LOOP
				should := former[i] IS DISTINCT FROM change.image[i];
				IF should IS DISTINCT FROM cdc.fn_cdc_is_bit_set(ordinals[i], change.mask) THEN
					RETURN QUERY SELECT format('mask bit of column %s should be %s', log_columns[i], should), left(change.image::text, 100);
				END IF;
			END LOOP;
		END IF;
		former := change.image;
	END LOOP;

	RETURN QUERY EXECUTE format($q$
		SELECT 'missing in the log', left(image::text, 100) FROM (SELECT ARRAY[%1$s] AS image FROM %2$s EXCEPT ALL TABLE replayed) m
		UNION ALL
		SELECT 'only in the log', left(image::text, 100) FROM (TABLE replayed EXCEPT ALL SELECT ARRAY[%1$s] FROM %2$s) o$q$,
		list, source);
	DROP TABLE replayed;
END $$;

/*
 * log_problems(): what is wrong with the metadata of all change rows together and with the mapping. whole: no instance
 * has been taken away, so each change that was counted is still there.
 */
CREATE FUNCTION log_problems(whole boolean DEFAULT true)
RETURNS TABLE (problem text, times bigint)
LANGUAGE plpgsql SET client_min_messages = warning AS $$
DECLARE
	instance record;
BEGIN
	DROP TABLE IF EXISTS log;
	CREATE TEMP TABLE log (instance text, start_lsn pg_lsn, end_lsn pg_lsn, seqval pg_lsn, op integer, mask bytea, command_id integer);
	FOR instance IN SELECT capture_instance AS name, object_id::regclass AS change_table FROM cdc.change_tables LOOP
		EXECUTE format('INSERT INTO log SELECT %L, "__$start_lsn", "__$end_lsn", "__$seqval", "__$operation", "__$update_mask", "__$command_id" FROM %s',
			instance.name, instance.change_table);
	END LOOP;
	RETURN QUERY
	SELECT * FROM (
		SELECT '__$end_lsn is not NULL', count(*) FROM log WHERE end_lsn IS NOT NULL
		UNION ALL
		SELECT 'not the operations of one change', count(*) FROM (
			SELECT FROM log GROUP BY log.instance, start_lsn, command_id
			HAVING array_agg(op ORDER BY op) NOT IN ('{1}', '{2}', '{3,4}', '{1,2}') OR count(DISTINCT mask) FILTER (WHERE op > 2) > 1) w
		UNION ALL
		SELECT 'a change with several __$seqval', count(*) FROM (
			SELECT FROM log GROUP BY start_lsn, command_id HAVING count(DISTINCT seqval) > 1) w
		UNION ALL
		SELECT '__$seqval and __$command_id order differently', count(*) FROM (
			SELECT seqval <= lag(seqval) OVER (PARTITION BY start_lsn ORDER BY command_id) AS wrong
			FROM (SELECT DISTINCT start_lsn, command_id, seqval FROM log) c) w WHERE wrong
		UNION ALL
		SELECT 'no mapping row', count(*) FROM log WHERE start_lsn NOT IN (SELECT m.start_lsn FROM cdc.lsn_time_mapping m)
		UNION ALL
		SELECT 'a mapping row that counts what is not there', count(*) FROM cdc.lsn_time_mapping m
		LEFT JOIN (SELECT start_lsn, count(DISTINCT command_id) AS n, max(command_id) AS highest FROM log GROUP BY start_lsn) l USING (start_lsn)
		WHERE whole AND (change_count <> coalesce(n, 0) OR change_count <> coalesce(highest, 0))
		UNION ALL
		SELECT 'ordinals with a hole', count(*) FROM (
			SELECT first_ordinal + change_count <> lead(first_ordinal) OVER (ORDER BY start_lsn) AS wrong FROM cdc.lsn_time_mapping) w WHERE wrong
		UNION ALL
		SELECT 'times that go back', count(*) FROM (
			SELECT tran_end_time < lag(tran_end_time) OVER (ORDER BY start_lsn) OR tran_begin_time > tran_end_time AS wrong FROM cdc.lsn_time_mapping) w WHERE wrong
		UNION ALL
		SELECT 'a transaction id that is not one', count(*) FROM cdc.lsn_time_mapping WHERE (tran_id = '0') <> (change_count = 0)
	) p (problem, times) WHERE p.times > 0;
	DROP TABLE log;
END $$;

/* poll_until(condition): for states that nothing announces. Never longer than 10 s. */
CREATE FUNCTION poll_until(condition text) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
	reached boolean;
BEGIN
	WHILE clock_timestamp() < now() + interval '10s' LOOP
		EXECUTE 'SELECT ' || condition INTO reached;
		IF reached THEN
			RETURN;
		END IF;
		-- a wait of 10 ms: nobody ever gets there; no wait while capture is stopped
		BEGIN
			CALL cdc.wait_for_capture('FFFFFFFF/FFFFFFFF', '10ms');
		EXCEPTION WHEN SQLSTATE 'SC006' OR object_not_in_prerequisite_state THEN
			NULL;
		END;
	END LOOP;
	RAISE EXCEPTION 'never: %', condition;
END $$;
