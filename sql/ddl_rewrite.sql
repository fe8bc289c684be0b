-- Commands that rewrite the table or move it: no change rows, before and after them everything is captured.
\getenv srcdir PG_ABS_SRCDIR
\set include :srcdir '/sql/include/capture.sql'
\set ECHO none
\i :include
\set ECHO all
SET client_min_messages = warning;
CREATE TABLE item (id integer PRIMARY KEY, v text, large text);
ALTER TABLE item ALTER COLUMN large SET STORAGE EXTERNAL;
CALL cdc.sp_cdc_enable_table('src', 'item', NULL);
INSERT INTO item SELECT n, 'v' || n, repeat('large ', 1000 * n) FROM generate_series(1, 4) n;
CREATE FUNCTION touch() RETURNS void LANGUAGE sql AS
	$$ UPDATE src.item SET v = v || '+' WHERE id % 2 = 0; DELETE FROM src.item WHERE id = 1; INSERT INTO src.item VALUES (1, 'new', 'small') $$;
-- volatile default, with the table's rows before and after in one transaction
BEGIN;
SELECT touch();
ALTER TABLE item ADD COLUMN r double precision DEFAULT random();
SELECT touch();
COMMIT;
-- stored generated columns, a domain's check, identity
ALTER TABLE item ADD COLUMN g text GENERATED ALWAYS AS (v || '!') STORED;
SELECT touch();
CREATE DOMAIN positive AS integer CHECK (value > 0);
ALTER TABLE item ADD COLUMN p positive DEFAULT 1;
ALTER TABLE item ADD COLUMN i integer GENERATED ALWAYS AS IDENTITY;
SELECT touch();
-- the type of a column that is not captured
ALTER TABLE item ALTER COLUMN r TYPE numeric USING r * 100;
SELECT touch();
VACUUM FULL item;
CLUSTER item USING item_pkey;
REINDEX TABLE item;
REINDEX TABLE CONCURRENTLY item;
SELECT touch();
ALTER TABLE item SET ACCESS METHOD heap;
SET allow_in_place_tablespaces = on;
CREATE TABLESPACE regress_cdc_rewrite LOCATION '';
ALTER TABLE item SET TABLESPACE regress_cdc_rewrite;
SELECT touch();
ALTER TABLE item SET LOGGED;
ALTER TABLE item SET (fillfactor = 50);
VACUUM (FREEZE) item;
SELECT touch();
CALL cdc.wait_for_capture();
-- 4 rows inserted, then eight times: two updated, one deleted, one inserted
SELECT op, count(*) FROM changes('src_item') GROUP BY 1 ORDER BY 1;
SELECT * FROM replay('src_item');
SELECT * FROM log_problems();
CALL cdc.sp_cdc_disable_db();
DROP EXTENSION cdc;
DROP SCHEMA src CASCADE;
DROP TABLESPACE regress_cdc_rewrite;
