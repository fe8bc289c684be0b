-- The index that identifies the rows of an instance cannot be dropped, whichever way; a rename is followed.
\getenv srcdir PG_ABS_SRCDIR
\set include :srcdir '/sql/include/capture.sql'
\set ECHO none
\i :include
\set ECHO all
SET client_min_messages = warning;
-- also when net changes are off
CREATE TABLE keyed (id integer, code text NOT NULL, other text NOT NULL, v text, CONSTRAINT keyed_key PRIMARY KEY (id));
CALL cdc.sp_cdc_enable_table('src', 'keyed', NULL, supports_net_changes => false);
CREATE UNIQUE INDEX keyed_code ON keyed (code, other);
CALL cdc.sp_cdc_enable_table('src', 'keyed', NULL, capture_instance => 'by_code', index_name => 'keyed_code');
SELECT capture_instance, index_name FROM cdc.change_tables ORDER BY 1;
INSERT INTO keyed VALUES (1, 'a', 'b', 'c');

ALTER TABLE keyed DROP CONSTRAINT keyed_key;
\set VERBOSITY terse
ALTER TABLE keyed DROP COLUMN id;
ALTER TABLE keyed DROP COLUMN id, ADD COLUMN id2 integer;
DROP INDEX keyed_key;
-- another index under its name: on another column, not unique, on more, deferrable
ALTER TABLE keyed DROP CONSTRAINT keyed_key, ADD CONSTRAINT keyed_key PRIMARY KEY (code);
ALTER TABLE keyed DROP CONSTRAINT keyed_key, ADD CONSTRAINT keyed_key EXCLUDE (id WITH =);
ALTER TABLE keyed DROP CONSTRAINT keyed_key, ADD CONSTRAINT keyed_key PRIMARY KEY (id, code);
ALTER TABLE keyed DROP CONSTRAINT keyed_key, ADD CONSTRAINT keyed_key PRIMARY KEY (id) DEFERRABLE;
ALTER TABLE keyed DROP CONSTRAINT keyed_key, ADD CONSTRAINT keyed_key PRIMARY KEY (id) INCLUDE (code);
\set VERBOSITY default
DROP INDEX keyed_code;
DROP INDEX CONCURRENTLY keyed_code;
\set VERBOSITY terse
ALTER TABLE keyed DROP COLUMN other;
\set VERBOSITY default
ALTER TABLE keyed ALTER COLUMN code DROP NOT NULL;
\set VERBOSITY terse
ALTER TABLE keyed ALTER COLUMN v SET NOT NULL, ALTER COLUMN other DROP NOT NULL;
-- as a side effect of what a column of the key needs
CREATE ROLE regress_cdc_domain;
CREATE DOMAIN key_type AS integer;
ALTER DOMAIN key_type OWNER TO regress_cdc_domain;
CREATE TABLE typed (id key_type PRIMARY KEY, v text);
CALL cdc.sp_cdc_enable_table('src', 'typed', NULL);
DROP DOMAIN key_type CASCADE;
DROP OWNED BY regress_cdc_domain CASCADE;
BEGIN;
SAVEPOINT s;
DROP INDEX keyed_code;
ROLLBACK TO s;
-- nothing was dropped in the end: this one is not refused for that
CREATE INDEX keyed_v ON keyed (v);
DROP INDEX keyed_v;
COMMIT;

-- Not refused: another key, what rebuilds it, what has nothing to do with it
ALTER TABLE keyed ALTER COLUMN v DROP NOT NULL;
ALTER TABLE keyed ADD CONSTRAINT keyed_v UNIQUE (v);
ALTER TABLE keyed DROP CONSTRAINT keyed_v;
ALTER TABLE keyed ALTER COLUMN id TYPE integer;
REINDEX TABLE keyed;
REINDEX TABLE CONCURRENTLY keyed;
CLUSTER keyed USING keyed_code;
VACUUM FULL keyed;
ALTER TABLE keyed SET WITHOUT CLUSTER;
INSERT INTO keyed VALUES (2, 'a', 'c', 'd');
DROP INDEX keyed_code;

-- Renamed: index_name follows, and so does the guard
ALTER TABLE keyed RENAME CONSTRAINT keyed_key TO keyed_key_2;
ALTER INDEX keyed_code RENAME TO keyed_code_2;
SELECT capture_instance, index_name FROM cdc.change_tables WHERE source_object_id = 'keyed'::regclass ORDER BY 1;
ALTER TABLE keyed_code_2 RENAME TO keyed_code_3;
ALTER TABLE keyed DROP CONSTRAINT keyed_key_2;
DROP INDEX keyed_code_3;
BEGIN;
ALTER INDEX keyed_code_3 RENAME TO rolled_back;
ROLLBACK;
DROP INDEX keyed_code_3;
-- another index takes the name of one that was renamed
ALTER INDEX keyed_code_3 RENAME TO keyed_code_4;
CREATE INDEX keyed_code_3 ON keyed (v);
DROP INDEX keyed_code_3;
DROP INDEX keyed_code_4;
SELECT capture_instance, index_name FROM cdc.change_tables WHERE source_object_id = 'keyed'::regclass ORDER BY 1;

-- a constraint that takes the index over, and renames it
ALTER TABLE keyed ADD CONSTRAINT keyed_constraint UNIQUE USING INDEX keyed_code_4;
ALTER TABLE keyed DROP CONSTRAINT keyed_constraint;
SELECT index_name FROM cdc.change_tables WHERE capture_instance = 'by_code';

-- A key that comes later is allowed, ignored, and free to go
CREATE TABLE keyless (id integer NOT NULL, v text);
CALL cdc.sp_cdc_enable_table('src', 'keyless', NULL);
ALTER TABLE keyless ADD PRIMARY KEY (id);
INSERT INTO keyless VALUES (1, 'one');
UPDATE keyless SET id = 2;
ALTER TABLE keyless DROP CONSTRAINT keyless_pkey;
ALTER TABLE keyless ALTER COLUMN id DROP NOT NULL;
UPDATE keyless SET id = NULL;

-- Partitioned: the root's index; those of leaves go with it
CREATE TABLE root (id integer PRIMARY KEY, code text NOT NULL, v text) PARTITION BY RANGE (id);
CREATE TABLE leaf PARTITION OF root FOR VALUES FROM (0) TO (100);
CREATE UNIQUE INDEX root_code ON root (id, code);
CALL cdc.sp_cdc_enable_table('src', 'root', NULL, before_image => 'key', index_name => 'root_code');
DROP INDEX root_code;
ALTER INDEX root_code RENAME TO root_code_2;
CREATE TABLE leaf_2 PARTITION OF root FOR VALUES FROM (100) TO (200) PARTITION BY RANGE (id);
CREATE TABLE leaf_3 PARTITION OF leaf_2 FOR VALUES FROM (100) TO (200);
INSERT INTO root SELECT n, 'c', 'v' FROM generate_series(0, 199, 50) n;
UPDATE root SET v = 'w' WHERE id > 50;
DELETE FROM root WHERE id < 50;
CALL cdc.wait_for_capture();
SELECT op, "row" FROM changes('src_root');
-- a detached partition, with what is below it, is its own master; its replica identity is what it was
SELECT relname, relreplident FROM pg_class WHERE relname IN ('root', 'leaf', 'leaf_2', 'leaf_3') ORDER BY 1;
ALTER TABLE root DETACH PARTITION leaf;
ALTER TABLE root DETACH PARTITION leaf_2;
SELECT relname, relreplident FROM pg_class WHERE relname IN ('root', 'leaf', 'leaf_2', 'leaf_3') ORDER BY 1;
ALTER TABLE leaf DROP COLUMN code;

-- Whole tables go, keys and all
DROP TABLE keyed, typed, root, leaf, leaf_2, keyless;
CALL cdc.wait_for_capture();
SELECT capture_instance FROM cdc.change_tables;
\set VERBOSITY default
CALL cdc.sp_cdc_disable_db();
DROP EXTENSION cdc;
DROP SCHEMA src CASCADE;
DROP ROLE regress_cdc_domain;
