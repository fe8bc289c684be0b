-- Which commands are in ddl_history, with what text, in which order, and who may see it.
\getenv srcdir PG_ABS_SRCDIR
\set include :srcdir '/sql/include/capture.sql'
\set ECHO none
\i :include
\set ECHO all
CREATE FUNCTION history(instance text) RETURNS TABLE (n bigint, updated boolean, command text) LANGUAGE sql AS
	$$ SELECT row_number() OVER (), required_column_update, ddl_command FROM cdc.sp_cdc_get_ddl_history(instance) $$;
SET client_min_messages = warning;

-- columns: added, changed, dropped, renamed; one row for each command, whatever it holds
CREATE TABLE item (id integer PRIMARY KEY, a text, b integer, c numeric);
CALL cdc.sp_cdc_enable_table('src', 'item', NULL, captured_column_list => 'id, a, c');
INSERT INTO item VALUES (1, 'one', 1, 1);
ALTER TABLE item ADD COLUMN d integer;
ALTER TABLE item ADD COLUMN e integer NOT NULL DEFAULT 7, ADD COLUMN f text;
INSERT INTO item VALUES (2, 'two', 2, 2, 2);
ALTER TABLE item ALTER COLUMN b TYPE bigint;
ALTER TABLE item ALTER COLUMN a SET NOT NULL;
ALTER TABLE item ALTER COLUMN a DROP NOT NULL;
ALTER TABLE item RENAME COLUMN a TO aa;
ALTER TABLE item DROP COLUMN c;
INSERT INTO item VALUES (3, 'three', 3, 3);
ALTER TABLE item DROP COLUMN b;
ALTER TABLE item DROP COLUMN IF EXISTS b;
-- the table itself
ALTER TABLE item REPLICA IDENTITY FULL;
ALTER TABLE item SET LOGGED;
ALTER TABLE item RENAME TO item_2;
CREATE SCHEMA other;
ALTER TABLE item_2 SET SCHEMA other;
ALTER SCHEMA other RENAME TO another;
ALTER SCHEMA another RENAME TO "odd ""schema""";
SELECT source_schema, source_table, capture_instance, object_id::regclass AS change_table FROM cdc.sp_cdc_help_change_data_capture('odd "schema"', 'item_2');
ALTER TABLE "odd ""schema""".item_2 SET SCHEMA src;
ALTER INDEX item_2 RENAME TO item;
-- nothing else is: indexes, constraints, rights, triggers, storage, defaults, comments, statistics
CREATE INDEX ON item (aa);
ALTER TABLE item ADD CONSTRAINT positive CHECK (id > 0);
ALTER TABLE item DROP CONSTRAINT positive;
GRANT SELECT ON item TO PUBLIC;
ALTER TABLE item OWNER TO CURRENT_USER;
ALTER TABLE item ALTER COLUMN d SET DEFAULT 8, ALTER COLUMN d SET STATISTICS 10;
ALTER TABLE item SET (fillfactor = 90), DISABLE TRIGGER ALL;
ALTER TABLE item ENABLE TRIGGER ALL;
COMMENT ON TABLE item IS 'a table';
CREATE TABLE not_captured (id integer);
ALTER TABLE not_captured ADD COLUMN v text;
DROP TABLE not_captured;
INSERT INTO item VALUES (4, 'four', 4);
CALL cdc.wait_for_capture();
SELECT * FROM history('src_item');
SELECT count(*) AS rows, count(DISTINCT ddl_lsn) AS commits, bool_and(source_schema = 'src' AND source_table = 'item' AND capture_instance = 'src_item') AS named,
	bool_and(ddl_time BETWEEN now() - interval '1 minute' AND now()) AS timed FROM cdc.sp_cdc_get_ddl_history('src_item ');
-- what the table was called then is what its rows have; new columns are not there, dropped ones are NULL
SELECT tx, op, "row" FROM changes('src_item');
SELECT * FROM replay('src_item');

-- Transactions: order is kept, what is rolled back was never there, the commit's LSN and time are told.
CREATE TABLE tx (id integer PRIMARY KEY, v text);
CALL cdc.sp_cdc_enable_table('src', 'tx', NULL);
CALL cdc.sp_cdc_enable_table('src', 'tx', NULL, capture_instance => 'second');
BEGIN;
ALTER TABLE tx ADD COLUMN rolled_back integer;
INSERT INTO tx VALUES (1, 'gone', 1);
ROLLBACK;
BEGIN;
INSERT INTO tx VALUES (1, 'before');
ALTER TABLE tx ADD COLUMN a integer;
INSERT INTO tx VALUES (2, 'between', 2);
SAVEPOINT s;
ALTER TABLE tx DROP COLUMN v;
INSERT INTO tx VALUES (3, 3);
ROLLBACK TO s;
UPDATE tx SET v = 'again' WHERE id = 2;
SAVEPOINT s;
ALTER TABLE tx RENAME COLUMN v TO w;
RELEASE s;
DELETE FROM tx WHERE id = 1;
ALTER TABLE tx ADD COLUMN b integer;
INSERT INTO tx VALUES (4, 'after', 4, 4);
COMMIT;
-- statements of one string are told apart; so are those of functions, and of what they execute
ALTER TABLE tx ADD COLUMN c integer \;  ALTER TABLE /* a comment */ tx ADD COLUMN d integer;
DO $$ BEGIN
	ALTER TABLE src.tx ADD COLUMN e integer;
	EXECUTE '  ALTER TABLE src.tx ADD COLUMN f integer ;	ALTER TABLE src.tx ADD COLUMN g integer;';
	BEGIN
		ALTER TABLE src.tx ADD COLUMN h integer;
		RAISE EXCEPTION 'no';
	EXCEPTION WHEN raise_exception THEN NULL;
	END;
END $$;
BEGIN;
ALTER TABLE tx ADD COLUMN i integer;
PREPARE TRANSACTION 'cdc_ddl_history';
COMMIT PREPARED 'cdc_ddl_history';
CALL cdc.wait_for_capture();
SELECT * FROM history('src_tx');
SELECT count(DISTINCT ddl_lsn) AS commits FROM cdc.sp_cdc_get_ddl_history('src_tx');
SELECT count(*) AS beside_changes FROM cdc.sp_cdc_get_ddl_history('src_tx') h JOIN cdc.lsn_time_mapping m ON m.start_lsn = h.ddl_lsn;
-- one row for each of the two instances
SELECT count(*) AS different FROM (
	(SELECT ddl_command, ddl_lsn, ddl_time FROM cdc.sp_cdc_get_ddl_history('src_tx') EXCEPT ALL
	 SELECT ddl_command, ddl_lsn, ddl_time FROM cdc.sp_cdc_get_ddl_history('second')) UNION ALL
	(SELECT ddl_command, ddl_lsn, ddl_time FROM cdc.sp_cdc_get_ddl_history('second') EXCEPT ALL
	 SELECT ddl_command, ddl_lsn, ddl_time FROM cdc.sp_cdc_get_ddl_history('src_tx'))) d;
SELECT * FROM replay('src_tx');

-- Commands inside commands: an event trigger of somebody's that runs some, and one that fails, before ours is called.
CREATE TABLE nest (id integer PRIMARY KEY) PARTITION BY RANGE (id);
CALL cdc.sp_cdc_enable_table('src', 'nest', NULL);
CREATE FUNCTION meddle() RETURNS event_trigger LANGUAGE plpgsql AS $$
BEGIN
	IF current_setting('src.meddling', true) = 'on' THEN
		RETURN;
	END IF;
	PERFORM set_config('src.meddling', 'on', true);
	EXECUTE 'ALTER TABLE src.nest ADD COLUMN IF NOT EXISTS inside integer';
	BEGIN
		EXECUTE 'ALTER TABLE src.nest ADD COLUMN fails integer REFERENCES nobody';
	EXCEPTION WHEN undefined_table THEN NULL;
	END;
END $$;
CREATE EVENT TRIGGER aaa_regress_meddle ON ddl_command_end WHEN TAG IN ('CREATE TABLE') EXECUTE FUNCTION meddle();
CREATE TABLE nest_1 PARTITION OF nest FOR VALUES FROM (0) TO (10);
INSERT INTO nest VALUES (1, 1);
DROP EVENT TRIGGER aaa_regress_meddle;
CALL cdc.wait_for_capture();
SELECT * FROM history('src_nest');
SELECT * FROM replay('src_nest');

-- A long statement is cut, not lost.
SELECT format('ALTER TABLE tx %s', string_agg(format('ADD COLUMN %I integer', 'ä' || repeat('x', 50) || n), ', ')) AS long FROM generate_series(1, 600) n \gset
:long;
CALL cdc.wait_for_capture();
SELECT octet_length(ddl_command) AS bytes, right(ddl_command, 3) AS "end", left(ddl_command, 30) AS start FROM cdc.sp_cdc_get_ddl_history('src_tx') ORDER BY ddl_lsn DESC LIMIT 1;

-- Rights: as to read the changes; missing and forbidden are not told apart.
CREATE ROLE regress_cdc_reader;
CREATE ROLE regress_cdc_gate;
GRANT USAGE ON SCHEMA src TO regress_cdc_reader;
CREATE TABLE gated (id integer PRIMARY KEY, v text);
CALL cdc.sp_cdc_enable_table('src', 'gated', 'regress_cdc_gate');
ALTER TABLE gated ADD COLUMN w integer;
CALL cdc.wait_for_capture();
SET ROLE regress_cdc_reader;
SELECT * FROM cdc.sp_cdc_get_ddl_history('src_gated');
SELECT * FROM cdc.sp_cdc_get_ddl_history('missing');
SELECT * FROM cdc.ddl_history;
RESET ROLE;
GRANT SELECT (id, v) ON gated TO regress_cdc_reader;
SET ROLE regress_cdc_reader;
SELECT * FROM cdc.sp_cdc_get_ddl_history('src_gated');
RESET ROLE;
GRANT regress_cdc_gate TO regress_cdc_reader;
SET ROLE regress_cdc_reader;
SELECT ddl_command FROM cdc.sp_cdc_get_ddl_history('src_gated');
RESET ROLE;
SELECT * FROM cdc.sp_cdc_get_ddl_history(NULL);
SELECT * FROM cdc.sp_cdc_get_ddl_history('');

-- Disabling takes the history along.
CALL cdc.sp_cdc_disable_table('src', 'gated', 'all');
SELECT * FROM cdc.sp_cdc_get_ddl_history('src_gated');
CALL cdc.wait_for_capture();
SELECT count(*) FROM cdc.ddl_history WHERE object_id NOT IN (SELECT object_id FROM cdc.change_tables);
SELECT * FROM log_problems(false);
CALL cdc.sp_cdc_disable_db();
SELECT * FROM cdc.sp_cdc_get_ddl_history('src_tx');
DROP EXTENSION cdc;
DROP SCHEMA src CASCADE;
DROP SCHEMA "odd ""schema""";
DROP ROLE regress_cdc_reader, regress_cdc_gate;
