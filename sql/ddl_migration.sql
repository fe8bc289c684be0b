-- A new column, captured from a known point on without a loss: the procedure of docs/ddl.md, word by word.
\getenv srcdir PG_ABS_SRCDIR
\set include :srcdir '/sql/include/capture.sql'
\set ECHO none
\i :include
\set ECHO all
SET client_min_messages = warning;
CREATE TABLE orders (id integer PRIMARY KEY, customer text, amount numeric);
CALL cdc.sp_cdc_enable_table('src', 'orders', NULL, capture_instance => 'orders_v1');
-- the consumer: a copy, and the LSN it has read up to
CREATE TABLE copy (id integer PRIMARY KEY, customer text, amount numeric, currency text);
CREATE TABLE read_changes (instance text, start_lsn pg_lsn, seqval pg_lsn, op integer);
CREATE TABLE position (up_to pg_lsn);
INSERT INTO position VALUES (NULL);
-- consume(instance, up_to): reads from where it stands up to that LSN, applies, moves on
CREATE FUNCTION consume(instance text, until pg_lsn) RETURNS bigint LANGUAGE plpgsql AS $$
DECLARE
	lower pg_lsn;
	change record;
	read bigint := 0;
BEGIN
	SELECT coalesce(cdc.fn_cdc_increment_lsn(up_to), cdc.fn_cdc_get_min_lsn(instance)) INTO lower FROM src.position;
	IF lower > until THEN
		RETURN 0;
	END IF;
	FOR change IN EXECUTE format('SELECT c."__$start_lsn" AS start_lsn, c."__$seqval" AS seqval, c."__$operation" AS op, c.id, to_jsonb(c) AS image FROM cdc.%I($1, $2, ''all'') c ORDER BY 1, 2, 3',
		'fn_cdc_get_all_changes_' || instance) USING lower, until
	LOOP
		read := read + 1;
		INSERT INTO src.read_changes VALUES (instance, change.start_lsn, change.seqval, change.op);
		DELETE FROM src.copy WHERE id = change.id;
		IF change.op <> 1 THEN
			INSERT INTO src.copy SELECT * FROM jsonb_populate_record(NULL::src.copy, change.image);
		END IF;
	END LOOP;
	UPDATE src.position SET up_to = until;
	RETURN read;
END $$;
INSERT INTO orders VALUES (1, 'Ann', 10), (2, 'Ben', 20);
CALL cdc.wait_for_capture();
SELECT consume('orders_v1', cdc.fn_cdc_get_max_lsn()) AS read;

-- 1. the column
ALTER TABLE orders ADD COLUMN currency text DEFAULT 'EUR';
-- known to nobody but the table: a change between the two steps has the column ignored
INSERT INTO orders VALUES (3, 'Cid', 30, 'USD');
-- 2. a second instance, which has it
CALL cdc.sp_cdc_enable_table('src', 'orders', NULL, capture_instance => 'orders_v2');
-- 3. both are filled; a third must wait
INSERT INTO orders VALUES (4, 'Dot', 40, 'USD');
UPDATE orders SET amount = 11 WHERE id = 1;
DELETE FROM orders WHERE id = 2;
CALL cdc.sp_cdc_enable_table('src', 'orders', NULL, capture_instance => 'orders_v3');
CALL cdc.wait_for_capture();
SELECT a.op, a."row" AS v1, b."row" AS v2 FROM changes('orders_v1') a JOIN changes('orders_v2') b ON a.tx = b.tx + 2 AND a.change = b.change AND a.op = b.op ORDER BY a.tx, a.op;
-- the same change has the same LSNs in both
SELECT count(*) AS both FROM cdc.orders_v1_ct a JOIN cdc.orders_v2_ct b USING ("__$start_lsn", "__$seqval", "__$operation", "__$command_id");
-- 4. the consumer reads the old one up to some X that the new one has already
SELECT cdc.fn_cdc_get_max_lsn() AS x \gset
SELECT cdc.fn_cdc_get_min_lsn('orders_v2') <= :'x' AS new_has_x, cdc.fn_cdc_get_min_lsn('orders_v1') < cdc.fn_cdc_get_min_lsn('orders_v2') AS later;
SELECT consume('orders_v1', :'x') AS read;
-- 5. and goes on behind X with the new one
INSERT INTO orders VALUES (5, 'Eve', 50, 'GBP');
UPDATE orders SET currency = 'CHF' WHERE id = 4;
DELETE FROM orders WHERE id = 3;
CALL cdc.wait_for_capture();
SELECT consume('orders_v2', cdc.fn_cdc_get_max_lsn()) AS read;
-- 6. the old one goes
CALL cdc.sp_cdc_disable_table('src', 'orders', 'orders_v1');
UPDATE orders SET currency = 'DKK' WHERE id = 5;
CALL cdc.wait_for_capture();
SELECT consume('orders_v2', cdc.fn_cdc_get_max_lsn()) AS read;
-- no change was missed or read twice; the copy lacks the column where only the old instance had told of the row
SELECT * FROM orders EXCEPT TABLE copy;
SELECT * FROM copy ORDER BY id;
SELECT count(*) AS changes, count(DISTINCT (start_lsn, seqval, op)) AS different FROM read_changes;
SELECT instance, array_agg(op ORDER BY start_lsn, seqval, op) FROM read_changes GROUP BY 1 ORDER BY 1;
SELECT * FROM replay('orders_v2', $$SELECT * FROM (VALUES (1, 'Ann', 10, 'EUR'), (2, 'Ben', 20, 'EUR'), (3, 'Cid', 30, 'USD')) v (id, customer, amount, currency)$$);
SELECT ddl_command FROM cdc.sp_cdc_get_ddl_history('orders_v2');
-- and there is room for the next
CALL cdc.sp_cdc_enable_table('src', 'orders', NULL, capture_instance => 'orders_v3');
CALL cdc.sp_cdc_disable_db();
DROP EXTENSION cdc;
DROP SCHEMA src CASCADE;
