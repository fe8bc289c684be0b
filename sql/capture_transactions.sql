-- Transactions: what commits is in the log, once, at its commit; nothing else is.
\getenv srcdir PG_ABS_SRCDIR
\set include :srcdir '/sql/include/capture.sql'
\set ECHO none
\i :include
\set ECHO all

CREATE TABLE a (id integer PRIMARY KEY, v text);
CREATE TABLE b (id integer PRIMARY KEY, v text);
CREATE TABLE untracked (id integer PRIMARY KEY);
CALL cdc.sp_cdc_enable_table('src', 'a', NULL);
CALL cdc.sp_cdc_enable_table('src', 'b', NULL);

-- Rolled back, by the user and by an error.
BEGIN;
INSERT INTO a VALUES (1, 'rolled back');
ROLLBACK;
BEGIN;
INSERT INTO a VALUES (1, 'failed');
INSERT INTO a VALUES (1, 'duplicate');
COMMIT;
INSERT INTO a SELECT g, repeat('x', 10) FROM unnest(ARRAY[2, 3, 4, 2]) g;
CALL cdc.wait_for_capture();
SELECT cdc.fn_cdc_get_max_lsn() AS former \gset

-- Savepoints: released, rolled back to, nested, and used again after a rollback.
BEGIN;
INSERT INTO a VALUES (1, 'outer');
SAVEPOINT one;
INSERT INTO a VALUES (2, 'in one');
SAVEPOINT two;
INSERT INTO a VALUES (3, 'in two: rolled back');
UPDATE a SET v = 'rolled back' WHERE id < 3;
ROLLBACK TO two;
INSERT INTO b VALUES (1, 'in two, again');
RELEASE two;
RELEASE one;
SAVEPOINT three;
INSERT INTO a VALUES (4, 'in three');
SAVEPOINT four;
INSERT INTO a VALUES (5, 'in four, released');
RELEASE four;
ROLLBACK TO three;
UPDATE a SET v = v || ', changed' WHERE id = 2;
SAVEPOINT three;
DELETE FROM a WHERE id = 2;
ROLLBACK TO three;
COMMIT;
-- an exception block is a savepoint, too
DO $$
BEGIN
	FOR i IN 10 .. 15 LOOP
		BEGIN
			INSERT INTO a VALUES (i, 'block ' || i);
			IF i % 2 = 1 THEN
				RAISE EXCEPTION 'no odd numbers';
			END IF;
		EXCEPTION WHEN raise_exception THEN
			INSERT INTO b VALUES (i, 'handled');
		END;
	END LOOP;
END $$;
-- everything rolled back but the transaction: nothing to be seen
BEGIN;
SAVEPOINT s;
INSERT INTO a VALUES (99, 'gone');
ROLLBACK TO s;
COMMIT;
CALL cdc.wait_for_capture();
SELECT * FROM changes('src_a');
SELECT * FROM changes('src_b');
SELECT change_count FROM cdc.lsn_time_mapping WHERE start_lsn > :'former' ORDER BY start_lsn;
-- more subtransactions than the server keeps in memory (64)
DO $$
BEGIN
	FOR i IN 101 .. 300 LOOP
		BEGIN
			INSERT INTO a VALUES (i, 'sub');
			IF i % 3 = 0 THEN
				RAISE EXCEPTION 'not this one';
			END IF;
		EXCEPTION WHEN raise_exception THEN
			NULL;
		END;
	END LOOP;
END $$;
-- and one that is spilled to disk with a part of it rolled back (logical_decoding_work_mem is 64kB here)
BEGIN;
INSERT INTO b SELECT g, repeat('stays ', 20) FROM generate_series(1001, 3000) g;
SAVEPOINT s;
UPDATE b SET v = repeat('goes ', 20) WHERE id > 1000;
INSERT INTO b SELECT g, repeat('goes ', 20) FROM generate_series(3001, 5000) g;
ROLLBACK TO s;
DELETE FROM b WHERE id BETWEEN 1501 AND 2990;
COMMIT;
CALL cdc.wait_for_capture();
SELECT op, count(*) FROM changes('src_a') WHERE tx = (SELECT max(tx) FROM changes('src_a')) GROUP BY op;
SELECT op, count(*), min("row") FROM changes('src_b') WHERE tx = (SELECT max(tx) FROM changes('src_b')) GROUP BY op ORDER BY op;
SELECT spilled_transactions > 0 AS spilled FROM cdc.pg_stat_cdc WHERE database = current_database();

-- Two-phase commit: at COMMIT PREPARED, in its order, and never when it is rolled back.
BEGIN;
INSERT INTO a VALUES (1000, 'prepared');
SAVEPOINT s;
INSERT INTO a VALUES (1001, 'prepared, rolled back to savepoint');
ROLLBACK TO s;
UPDATE b SET v = 'prepared' WHERE id = 1;
PREPARE TRANSACTION 'regress_cdc_1';
BEGIN;
INSERT INTO a VALUES (1002, 'never');
PREPARE TRANSACTION 'regress_cdc_2';
INSERT INTO a VALUES (1003, 'began later, committed first');
CALL cdc.wait_for_capture();
SELECT "row" FROM changes('src_a') WHERE "row" LIKE '(100_,%';
ROLLBACK PREPARED 'regress_cdc_2';
COMMIT PREPARED 'regress_cdc_1';
CALL cdc.wait_for_capture();
SELECT "row" FROM changes('src_a') WHERE "row" LIKE '(100_,%';
SELECT op, mask, "row" FROM changes('src_b') WHERE tx = (SELECT max(tx) FROM changes('src_b'));
SELECT change_count, tran_id > '0' AS xid FROM cdc.lsn_time_mapping ORDER BY start_lsn DESC LIMIT 1;

-- Transactions that touch untracked tables only: nothing is stored, nothing moves.
SELECT cdc.fn_cdc_get_max_lsn() AS former, transactions, rows FROM cdc.pg_stat_cdc WHERE database = current_database() \gset
INSERT INTO untracked SELECT generate_series(1, 1000);
UPDATE untracked SET id = -id;
DELETE FROM untracked;
TRUNCATE untracked;
CREATE TABLE also_untracked AS SELECT 1 AS one;
SELECT count(*) FROM (SELECT * FROM a FOR UPDATE) locked;
UPDATE a SET v = 'no row' WHERE id = -1;
CALL cdc.wait_for_capture();
SELECT cdc.fn_cdc_get_max_lsn() = :'former' AS same_lsn, transactions - :transactions AS transactions, rows - :rows AS rows
FROM cdc.pg_stat_cdc WHERE database = current_database();

-- Procedures that commit on their own: each part is a transaction.
CREATE PROCEDURE in_parts() LANGUAGE plpgsql AS $$
BEGIN
	FOR i IN 2001 .. 2004 LOOP
		INSERT INTO src.a VALUES (i, 'part');
		IF i % 2 = 0 THEN
			COMMIT;
		ELSE
			ROLLBACK;
		END IF;
	END LOOP;
END $$;
CALL in_parts();
-- COMMIT AND CHAIN
BEGIN;
INSERT INTO a VALUES (2010, 'chained');
COMMIT AND CHAIN;
INSERT INTO a VALUES (2011, 'to this');
COMMIT;
-- synchronous_commit = off: wait_for_capture sees to it that it is on disk
SET synchronous_commit = off;
INSERT INTO a VALUES (2020, 'not flushed');
CALL cdc.wait_for_capture();
RESET synchronous_commit;
SELECT tx - min(tx) OVER () AS tx, "row" FROM changes('src_a') WHERE "row" LIKE '(20__,%';
-- In the isolation levels above, and under a deferred constraint that fails at commit.
CREATE TABLE deferred (id integer PRIMARY KEY, a_id integer REFERENCES a DEFERRABLE INITIALLY DEFERRED);
CALL cdc.sp_cdc_enable_table('src', 'deferred', NULL);
BEGIN ISOLATION LEVEL SERIALIZABLE;
INSERT INTO deferred VALUES (1, 1);
COMMIT;
BEGIN ISOLATION LEVEL REPEATABLE READ;
INSERT INTO deferred VALUES (2, -2);
COMMIT;
-- row locks with a multixact, and a frozen and cluster-rewritten table: no changes
BEGIN;
SELECT id FROM a WHERE id = 1 FOR SHARE;
SAVEPOINT s;
UPDATE a SET v = v || '!' WHERE id = 1;
COMMIT;
VACUUM (FREEZE) a;
VACUUM FULL a;
CLUSTER b USING b_pkey;
REINDEX TABLE a;
UPDATE a SET v = v || '!' WHERE id = 1;
CALL cdc.wait_for_capture();
SELECT * FROM changes('src_deferred');
SELECT op, mask, "row" FROM changes('src_a') WHERE "row" LIKE '(1,%';

-- What was applied for others: with triggers off, and under another replication origin. Only our own origin is left out.
SET session_replication_role = replica;
INSERT INTO a VALUES (3000, 'as a replica');
RESET session_replication_role;
SELECT pg_replication_origin_create('regress_cdc_origin') > 0 AS made;
SELECT pg_replication_origin_session_setup('regress_cdc_origin');
BEGIN;
INSERT INTO a VALUES (3001, 'from elsewhere');
SELECT pg_replication_origin_xact_setup('0/1234', '2020-01-01 00:00:00+00');
COMMIT;
SELECT pg_replication_origin_session_reset();
SELECT pg_replication_origin_drop('regress_cdc_origin');
CALL cdc.wait_for_capture();
SELECT op, mask, "row" FROM changes('src_a') WHERE "row" LIKE '(300_,%';
-- a commit time of the past does not turn the mapping's time back (log_problems, below)

SELECT * FROM replay('src_a');
SELECT * FROM replay('src_b');
SELECT * FROM replay('src_deferred');
SELECT * FROM log_problems();

SET client_min_messages = warning;
CALL cdc.sp_cdc_disable_db();
DROP EXTENSION cdc;
DROP SCHEMA src CASCADE;
