-- Update masks and the functions that read them.
CREATE EXTENSION cdc;
CALL cdc.sp_cdc_enable_db();

-- The layout: big-endian, ordinal 1 is the least significant bit of the last byte.
SELECT n AS columns, format('CREATE TABLE t%s (%s)', n, string_agg(format('c%s integer%s', i, CASE i WHEN 1 THEN ' PRIMARY KEY' ELSE '' END), ', ' ORDER BY i)) AS ddl
INTO TEMPORARY ddl FROM (VALUES (1), (4), (7), (8), (9), (16), (17), (130)) AS v(n), generate_series(1, n) AS i GROUP BY n;
\t on
SELECT ddl FROM ddl WHERE columns < 130 ORDER BY columns \gexec
SELECT ddl FROM ddl WHERE columns = 130 \gset
:ddl;
\t off
SELECT format('CALL cdc.sp_cdc_enable_table(%L, %L, NULL)', 'public', 't' || columns) FROM ddl ORDER BY columns \gexec
CALL cdc.wait_for_capture();
SELECT format('INSERT INTO t%s (c1) VALUES (1)', columns) FROM ddl ORDER BY columns \gexec
SELECT format('UPDATE t%s SET c3 = 1', columns) FROM ddl WHERE columns > 1 ORDER BY columns \gexec
SELECT format('UPDATE t%1$s SET c%1$s = 1', columns) FROM ddl WHERE columns > 1 ORDER BY columns \gexec
SELECT format('UPDATE t%s SET c1 = 2', columns) FROM ddl ORDER BY columns \gexec
CALL cdc.wait_for_capture();
CREATE FUNCTION masks(columns integer) RETURNS TABLE (number bigint, op integer, mask text, changed text) LANGUAGE plpgsql AS $$
BEGIN
	RETURN QUERY EXECUTE format($q$
		SELECT row_number() OVER (ORDER BY "__$start_lsn", "__$seqval", "__$operation"), "__$operation", CASE WHEN %1$s < 130 THEN "__$update_mask"::text ELSE length("__$update_mask") || ' bytes' END,
			CASE WHEN "__$operation" = 4 THEN (SELECT string_agg(i::text, ',' ORDER BY i) FROM generate_series(-1, %1$s + 20) AS i WHERE cdc.fn_cdc_is_bit_set(i, "__$update_mask"))
				ELSE (SELECT count(*) || ' bits' FROM generate_series(-1, %1$s + 20) AS i WHERE cdc.fn_cdc_is_bit_set(i, "__$update_mask")) END
		FROM cdc.fn_cdc_get_all_changes_public_t%1$s(cdc.fn_cdc_get_min_lsn('public_t%1$s'), cdc.fn_cdc_get_max_lsn(), 'all') ORDER BY 1$q$, columns);
END $$;
SELECT columns, m.* FROM ddl, masks(columns) AS m ORDER BY columns, number;

-- Ordinals: of captured columns, not of the source.
CREATE TABLE item (gone integer, id integer PRIMARY KEY, hidden text, "Na me" text, later text);
ALTER TABLE item DROP gone;
CALL cdc.sp_cdc_enable_table('public', 'item', NULL, captured_column_list => 'later, "Na me", id');
CALL cdc.wait_for_capture();
SELECT left(name, 10) AS name, cdc.fn_cdc_get_column_ordinal('public_item', name) AS ordinal, cdc.fn_cdc_get_column_ordinal(column_name => name, capture_instance => 'public_item ') AS named,
	cdc.fn_cdc_has_column_changed('public_item', name, '\x05') AS changed
FROM (VALUES ('id'), ('Na me'), ('later'), ('hidden'), ('gone'), ('na me'), ('"Na me"'), ('ID'), (''), (repeat('x', 300)), (NULL)) AS v(name);
SELECT cdc.fn_cdc_get_column_ordinal('public_none', 'id') AS no_instance, cdc.fn_cdc_get_column_ordinal(NULL, 'id') AS "null", cdc.fn_cdc_get_column_ordinal('', 'id') AS empty,
	cdc.fn_cdc_has_column_changed('public_none', 'id', '\x01') AS no_instance, cdc.fn_cdc_has_column_changed('public_item', 'id', NULL) AS no_mask;
INSERT INTO item VALUES (1, 'h', 'n', 'l');
UPDATE item SET "Na me" = 'm', hidden = 'x';
UPDATE item SET later = 'k', "Na me" = 'm';
CALL cdc.wait_for_capture();
SELECT "__$operation" AS op, "__$update_mask" AS mask, cdc.fn_cdc_has_column_changed('public_item', 'id', "__$update_mask") AS id,
	cdc.fn_cdc_has_column_changed('public_item', 'Na me', "__$update_mask") AS name, cdc.fn_cdc_has_column_changed('public_item', 'later', "__$update_mask") AS later
FROM cdc.fn_cdc_get_all_changes_public_item(cdc.fn_cdc_get_min_lsn('public_item'), cdc.fn_cdc_get_max_lsn(), 'all') ORDER BY "__$start_lsn";
-- A renamed column keeps its captured name.
ALTER TABLE item RENAME later TO latest;
SELECT cdc.fn_cdc_get_column_ordinal('public_item', 'later') AS later, cdc.fn_cdc_get_column_ordinal('public_item', 'latest') AS latest;

-- Bits outside the mask, and no mask.
SELECT position, cdc.fn_cdc_is_bit_set(position, '\x8001') AS bit
FROM (VALUES (-2147483648), (-1), (0), (1), (2), (8), (15), (16), (17), (1600), (1601), (2147483647), (NULL)) AS v(position);
SELECT cdc.fn_cdc_is_bit_set(1, NULL) AS no_mask, cdc.fn_cdc_is_bit_set(1, '') AS empty, cdc.fn_cdc_is_bit_set("position" => 2, update_mask => '\x02') AS named;
-- Against the definition, bit by bit.
SELECT count(*) AS compared, count(*) FILTER (WHERE cdc.fn_cdc_is_bit_set(p, mask) <> (get_byte(mask, length(mask) - 1 - (p - 1) / 8) >> ((p - 1) % 8) & 1 = 1)) AS different
FROM (SELECT decode(string_agg(md5((i * 100 + j)::text), ''), 'hex') AS mask FROM generate_series(1, 10) AS i, generate_series(1, 8) AS j GROUP BY i) AS m, generate_series(1, 1024) AS p;

CALL cdc.sp_cdc_disable_db();
DROP EXTENSION cdc;
DROP FUNCTION masks;
DROP TABLE t1, t4, t7, t8, t9, t16, t17, t130, item, ddl;
