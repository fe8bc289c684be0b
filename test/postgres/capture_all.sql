/*
 * capture_all.sql: run in a database before somebody else's tests: captures each table that they make, in the command
 * that makes it, and notes what cannot be judged afterwards, and why.
 *
 * The tests must not notice: what is made here is in schema judge, nothing is said to the client, and an error is kept
 * in judge.problems instead of being raised.
 */
CREATE EXTENSION cdc;
CALL cdc.sp_cdc_enable_db();
CREATE SCHEMA judge;

-- Unlogged: other decoders do not see them. What was captured as what; baseline: the table with the rows that it had before, if it had any.
CREATE UNLOGGED TABLE judge.captured (source oid, name text, instance text, baseline text);
CREATE UNLOGGED TABLE judge.problems (source oid, name text, tag text, sqlstate text, message text, context text);
-- Values that changed without a change row: the command rewrote the table.
CREATE UNLOGGED TABLE judge.rewritten (source oid, reason integer);
CREATE SEQUENCE judge.number;

CREATE FUNCTION judge.capture_new_tables() RETURNS event_trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET client_min_messages = error
SET check_function_bodies = on SET row_security = off SET default_table_access_method = heap SET statement_timeout = 0 AS $$
DECLARE
	made record;
	instance text;
	filled boolean;
	context text;
BEGIN
	FOR made IN
		SELECT DISTINCT c.oid, c.relname, n.nspname FROM pg_event_trigger_ddl_commands() d
		JOIN pg_class c ON d.classid = 'pg_class'::regclass AND c.oid = d.objid JOIN pg_namespace n ON n.oid = c.relnamespace
		WHERE c.relkind IN ('r', 'p') AND c.relpersistence = 'p' AND NOT c.relispartition
			AND d.command_tag IN ('CREATE TABLE', 'CREATE TABLE AS', 'SELECT INTO')
			AND n.nspname NOT IN ('cdc', 'judge') AND n.nspname !~ '^pg_'
		ORDER BY c.oid
	LOOP
		-- Nothing is read here by a query: in a serializable transaction that would be a conflict with others.
		instance := 'i' || nextval('judge.number');
		BEGIN
			-- kept or removed when it is dropped: one after the other
			CALL cdc.sp_cdc_enable_table(made.nspname, made.relname, NULL, capture_instance => instance, truncate_action => 'record',
				drop_action => CASE WHEN made.oid::bigint % 2 = 0 THEN 'keep' ELSE 'remove' END);
			-- What the tests count must not change: no look at a table that cannot have rows yet.
			filled := tg_tag IN ('CREATE TABLE AS', 'SELECT INTO');
			IF filled THEN
				EXECUTE format('CREATE UNLOGGED TABLE judge.%I AS SELECT * FROM ONLY %I.%I', 'before_' || instance, made.nspname, made.relname);
			END IF;
			INSERT INTO judge.captured VALUES (made.oid, made.nspname || '.' || made.relname, instance, CASE WHEN filled THEN 'judge.before_' || instance END);
		EXCEPTION WHEN OTHERS THEN
			GET STACKED DIAGNOSTICS context = PG_EXCEPTION_CONTEXT;
			INSERT INTO judge.problems VALUES (made.oid, made.nspname || '.' || made.relname, tg_tag, sqlstate, sqlerrm, context);
		END;
	END LOOP;
END $$;
CREATE FUNCTION judge.note_rewrite() RETURNS event_trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
	INSERT INTO judge.rewritten VALUES (pg_event_trigger_table_rewrite_oid(), pg_event_trigger_table_rewrite_reason());
END $$;
CREATE EVENT TRIGGER judge_capture ON ddl_command_end EXECUTE FUNCTION judge.capture_new_tables();
CREATE EVENT TRIGGER judge_rewrite ON table_rewrite EXECUTE FUNCTION judge.note_rewrite();
ALTER EVENT TRIGGER judge_capture ENABLE ALWAYS;
ALTER EVENT TRIGGER judge_rewrite ENABLE ALWAYS;
