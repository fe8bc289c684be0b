-- Errors of calls that nobody makes by chance: each says what is wrong, and changes nothing.
CREATE EXTENSION cdc;

-- A slot is made or dropped: not in a transaction block, and not from a function.
BEGIN;
CALL cdc.sp_cdc_enable_db();
ROLLBACK;
CREATE FUNCTION enable_here() RETURNS void LANGUAGE plpgsql AS $$ BEGIN CALL cdc.sp_cdc_enable_db(); END $$;
SELECT enable_here();
DROP FUNCTION enable_here();

-- EXECUTE alone is not enough.
CREATE ROLE errors_rare_somebody;
GRANT USAGE ON SCHEMA cdc TO errors_rare_somebody;
GRANT EXECUTE ON PROCEDURE cdc.sp_cdc_enable_db(), cdc.sp_cdc_disable_db() TO errors_rare_somebody;
SET ROLE errors_rare_somebody;
CALL cdc.sp_cdc_enable_db();
RESET ROLE;

-- No slot is free.
SELECT count(pg_create_physical_replication_slot('errors_rare_' || i)) > 0 AS made
FROM generate_series((SELECT count(*) FROM pg_replication_slots) + 1, current_setting('max_replication_slots')::integer) i;
CALL cdc.sp_cdc_enable_db();
SELECT count(pg_drop_replication_slot(slot_name)) > 0 AS dropped FROM pg_replication_slots WHERE slot_name ~ '^errors_rare_';
SELECT is_cdc_enabled FROM cdc.databases WHERE name = current_database();
SELECT count(*) FROM pg_replication_slots WHERE slot_name LIKE 'cdc%' AND database = current_database();

CALL cdc.sp_cdc_enable_db();

-- A transaction that drops the extension cannot wait for its second phase.
BEGIN;
DROP EXTENSION cdc;
PREPARE TRANSACTION 'errors_rare';

CREATE TABLE item (id integer PRIMARY KEY, v text);
\set VERBOSITY terse
CALL cdc.sp_cdc_enable_table('public', 'item', NULL);
INSERT INTO item VALUES (1, 'one');
CALL cdc.wait_for_capture();

-- There is nothing to go on after, and capture goes on as before.
CALL cdc.resume_after_gap();
\set VERBOSITY default
INSERT INTO item VALUES (2, 'two');
CALL cdc.wait_for_capture();

-- The aggregate of the query functions, called by hand with another row type.
SELECT cdc._net_change(NULL::item, '0/1'::pg_lsn, 1, 2, '\x01'::bytea, 1, 'one'::text);

-- A query function that a superuser has dropped: there is nothing to wrap.
SET client_min_messages = warning;
SET allow_system_table_mods = on;
ALTER EXTENSION cdc DROP FUNCTION cdc.fn_cdc_get_all_changes_public_item(pg_lsn, pg_lsn, text);
DROP FUNCTION cdc.fn_cdc_get_all_changes_public_item(pg_lsn, pg_lsn, text);
RESET allow_system_table_mods;
RESET client_min_messages;
SELECT * FROM cdc.sp_cdc_generate_wrapper_function('public_item');

SELECT "__$operation", id, v FROM cdc.public_item_ct ORDER BY "__$start_lsn", "__$seqval";
CALL cdc.sp_cdc_disable_db();
DROP EXTENSION cdc;
DROP TABLE item;
DROP ROLE errors_rare_somebody;
