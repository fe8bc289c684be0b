-- sp_cdc_enable_table: what a capture instance consists of.
-- Default privileges must not open the catalog to anybody.
ALTER DEFAULT PRIVILEGES GRANT ALL ON TABLES TO PUBLIC;
ALTER DEFAULT PRIVILEGES GRANT ALL ON SEQUENCES TO PUBLIC;
CREATE EXTENSION cdc;
ALTER DEFAULT PRIVILEGES REVOKE ALL ON TABLES FROM PUBLIC;
ALTER DEFAULT PRIVILEGES REVOKE ALL ON SEQUENCES FROM PUBLIC;
SELECT relname, a.grantee::regrole, a.privilege_type, a.is_grantable
FROM pg_class, aclexplode(relacl) AS a
WHERE relnamespace = 'cdc'::regnamespace AND relkind IN ('r', 'S') AND a.grantee <> relowner ORDER BY 1, 2;
CALL cdc.sp_cdc_enable_db();

CREATE ROLE regress_cdc_owner;
CREATE ROLE regress_cdc_gate;
CREATE SCHEMA src AUTHORIZATION regress_cdc_owner;
CREATE SCHEMA "My Schema" AUTHORIZATION regress_cdc_owner;

-- What the tests look at: no oid, id or time.
CREATE VIEW instances AS
SELECT capture_instance, source_object_id::regclass AS source, supports_net_changes AS net, role_name, index_name,
	filegroup_name, partition_switch, before_image, truncate_action, drop_action, start_lsn IS NULL OR start_lsn > '0/0' AS lsn, end_lsn,
	has_drop_pending, version, create_date <= now() AS created
FROM cdc.change_tables;
CREATE VIEW columns AS
SELECT capture_instance, column_ordinal, column_name, column_id, column_type, is_computed
FROM cdc.captured_columns JOIN cdc.change_tables USING (object_id) ORDER BY capture_instance, column_ordinal;
CREATE VIEW keys AS
SELECT capture_instance, index_ordinal, column_name, column_id
FROM cdc.index_columns JOIN cdc.change_tables USING (object_id) ORDER BY capture_instance, index_ordinal;
CREATE VIEW change_columns AS
SELECT capture_instance, attnum, attname, format_type(atttypid, atttypmod) AS type, nullif(attcollation, 0)::regcollation AS collation, attnotnull, atthasdef
FROM cdc.change_tables JOIN pg_attribute ON attrelid = object_id AND attnum > 0 ORDER BY capture_instance, attnum;
CREATE VIEW identities AS
SELECT oid::regclass AS relation, relreplident AS identity,
	(SELECT indexrelid::regclass FROM pg_index WHERE indrelid = c.oid AND indisreplident) AS index
FROM pg_class c WHERE relnamespace IN ('src'::regnamespace, '"My Schema"'::regnamespace) AND relkind IN ('r', 'p') ORDER BY relname;
CREATE VIEW remembered AS
SELECT source_object_id::regclass AS relation, former, index_name FROM cdc._replica_identity ORDER BY source_object_id::regclass::text;

-- Defaults, called by the owner: primary key, net changes, every column, whole before images.
SET ROLE regress_cdc_owner;
CREATE DOMAIN src.positive AS numeric(8,2) CHECK (VALUE > 0);
CREATE TYPE src.mood AS ENUM ('sad', 'happy');
CREATE TABLE src.orders (
	gone integer,
	id bigint GENERATED ALWAYS AS IDENTITY,
	line smallint,
	name varchar(30) COLLATE "C" NOT NULL DEFAULT 'x',
	price src.positive,
	doubled numeric GENERATED ALWAYS AS (price * 2) STORED,
	moods src.mood[],
	at timestamptz(3),
	payload jsonb,
	"Quo""ted, name" text,
	PRIMARY KEY (line, id));
ALTER TABLE src.orders DROP COLUMN gone;
CALL cdc.sp_cdc_enable_table('src', 'orders', NULL);
RESET ROLE;
\x on
SELECT * FROM instances;
\x off
SELECT * FROM columns;
SELECT * FROM keys;
SELECT * FROM change_columns;
SELECT * FROM identities;
SELECT * FROM remembered;

-- The first instance brings the jobs.
SELECT job_type, maxtrans, maxscans, continuous, pollinginterval, retention, threshold, started, database_id = (SELECT oid FROM pg_database WHERE datname = current_database()) AS here FROM cdc.cdc_jobs ORDER BY 1;

-- The change table: partitioned, two leaves ahead, each with an index; all of the extension's owner, members of the
-- extension, of no use to anybody else.
SELECT c.relkind, pg_get_partkeydef(c.oid), count(i.inhrelid) AS leaves FROM pg_class c JOIN cdc.change_tables ON object_id = c.oid LEFT JOIN pg_inherits i ON i.inhparent = c.oid GROUP BY c.oid, c.relkind;
SELECT regexp_replace(inhrelid::regclass::text, '_[0-9]+_[0-9a-f]{16}$', '_<id>_<lower>') AS leaf,
	relowner = (SELECT extowner FROM pg_extension WHERE extname = 'cdc') AS owner, relacl, reltoastrelid <> 0 AS toast, a.amname,
	EXISTS (SELECT FROM pg_depend d WHERE d.objid = c.oid AND d.deptype = 'e' AND refclassid = 'pg_extension'::regclass) AS member,
	(SELECT string_agg(am.amname, ',') FROM pg_index x JOIN pg_class ic ON ic.oid = x.indexrelid JOIN pg_am am ON am.oid = ic.relam WHERE x.indrelid = c.oid) AS indexes,
	(SELECT array_agg(attnum::text || attname ORDER BY attnum) FROM pg_attribute WHERE attrelid = c.oid AND attnum > 0)
		= (SELECT array_agg(attnum::text || attname ORDER BY attnum) FROM pg_attribute WHERE attrelid = inhparent AND attnum > 0) AS same_layout
FROM pg_inherits JOIN cdc.change_tables ON inhparent = object_id JOIN pg_class c ON c.oid = inhrelid JOIN pg_am a ON a.oid = c.relam;
SELECT count(*) FROM cdc._ddl_queue;
SET ROLE regress_cdc_owner;
SELECT count(*) FROM cdc.src_orders_ct;
RESET ROLE;

-- A second instance needs a name of its own; everything given. The identity stays, and what it was.
CREATE TABLE src.named (id integer, u integer NOT NULL, v integer NOT NULL, w text, x text);
CREATE UNIQUE INDEX named_uv ON src.named (v, u) INCLUDE (w);
SET allow_in_place_tablespaces = on;
CREATE TABLESPACE regress_cdc_space LOCATION '';
SET default_tablespace = regress_cdc_space;
CALL cdc.sp_cdc_enable_table(source_schema => 'src', source_name => 'named', role_name => 'regress_cdc_gate', capture_instance => 'All Options ', supports_net_changes => false,
	index_name => 'named_uv', captured_column_list => ' W ,[v], "u"', filegroup_name => 'regress_cdc_space', allow_partition_switch => true,
	before_image => 'FULL', truncate_action => 'Record', drop_action => 'keep');
CALL cdc.sp_cdc_enable_table('src', 'named', NULL);
RESET default_tablespace;
\x on
SELECT * FROM instances WHERE source = 'src.named'::regclass ORDER BY capture_instance;
\x off
SELECT * FROM columns WHERE capture_instance IN ('All Options', 'src_named');
SELECT * FROM keys WHERE capture_instance IN ('All Options', 'src_named');
SELECT relation.relname ~ '^_ct_' AS leaf, relation.relkind, spcname FROM cdc.change_tables, pg_class relation LEFT JOIN pg_tablespace t ON t.oid = reltablespace
WHERE capture_instance = 'All Options' AND (relation.oid = object_id OR relation.oid IN (SELECT inhrelid FROM pg_inherits WHERE inhparent = object_id)
	OR relation.oid IN (SELECT indexrelid FROM pg_index WHERE indrelid = object_id OR indrelid IN (SELECT inhrelid FROM pg_inherits WHERE inhparent = object_id))) ORDER BY 1, 2;
SELECT count(*) FROM pg_class WHERE reltablespace = (SELECT oid FROM pg_tablespace WHERE spcname = 'regress_cdc_space') AND oid IN
	(SELECT inhrelid FROM pg_inherits JOIN cdc.change_tables ON inhparent = object_id WHERE capture_instance = 'src_named');

-- Names that need quotes; a table without a key; the longest name.
CREATE TABLE "My Schema"."Ta.ble" ("Id" integer, "[b]" text, "c""c" text, "d,d" text, plain text, "PLAIN" text);
CALL cdc.sp_cdc_enable_table('My Schema', 'Ta.ble', NULL, captured_column_list => '"c""c", [[b]]], [d,d], PLAIN, plain, ID');
CALL cdc.sp_cdc_enable_table('My Schema', 'Ta.ble', NULL, captured_column_list => '"c""c", [[b]]], [d,d], PLAIN, plain');
CALL cdc.sp_cdc_enable_table('My Schema', 'Ta.ble', NULL, rpad('n', 40, 'x'));
SELECT capture_instance, net, index_name FROM instances WHERE source = '"My Schema"."Ta.ble"'::regclass ORDER BY 1;
SELECT column_ordinal, column_name, column_id FROM columns WHERE capture_instance = 'My Schema_Ta.ble';

-- Reserved names do not matter where they are not captured.
CREATE TABLE src.reserved (id integer PRIMARY KEY, "__$operation" integer, ok text);
CALL cdc.sp_cdc_enable_table('src', 'reserved', NULL, captured_column_list => 'id,ok');

-- before_image => 'key': the identity is left alone where it holds the row identifier, else narrowed to it.
CREATE TABLE src.key_pk (id integer PRIMARY KEY, v text);
CREATE TABLE src.key_index (id integer PRIMARY KEY, u integer NOT NULL UNIQUE, v text);
CREATE TABLE src.key_nothing (id integer PRIMARY KEY, v text);
ALTER TABLE src.key_nothing REPLICA IDENTITY NOTHING;
CALL cdc.sp_cdc_enable_table('src', 'key_pk', NULL, before_image => 'key');
CALL cdc.sp_cdc_enable_table('src', 'key_index', NULL, index_name => 'key_index_u_key', before_image => 'key');
CALL cdc.sp_cdc_enable_table('src', 'key_nothing', NULL, before_image => 'key');
SELECT * FROM identities WHERE relation::text ~ 'key_';
-- a second instance with whole before images widens it, and the first state is still the one remembered
CALL cdc.sp_cdc_enable_table('src', 'key_index', NULL, 'key_index_full');
SELECT * FROM identities WHERE relation::text ~ 'key_index';
-- a table that was FULL is left alone
CREATE TABLE src.was_full (id integer);
ALTER TABLE src.was_full REPLICA IDENTITY FULL;
CALL cdc.sp_cdc_enable_table('src', 'was_full', NULL);
SELECT * FROM remembered;

-- Inheritance is not partitioning: the child is a table of its own.
CREATE TABLE src.child () INHERITS (src.named);
CALL cdc.sp_cdc_enable_table('src', 'child', NULL);

-- A partitioned table: root and every partition, of other owners and layouts too.
CREATE TABLE src.parts (id integer, region text, v text, PRIMARY KEY (id, region)) PARTITION BY LIST (region);
CREATE TABLE src.parts_a PARTITION OF src.parts FOR VALUES IN ('a') PARTITION BY RANGE (id);
CREATE TABLE src.parts_a1 PARTITION OF src.parts_a FOR VALUES FROM (0) TO (10);
CREATE TABLE src.parts_b (x integer, v text, region text NOT NULL, id integer NOT NULL);
ALTER TABLE src.parts_b DROP COLUMN x;
ALTER TABLE src.parts ATTACH PARTITION src.parts_b FOR VALUES IN ('b');
ALTER TABLE src.parts OWNER TO regress_cdc_owner;
ALTER TABLE src.parts_a1 REPLICA IDENTITY NOTHING;
SET ROLE regress_cdc_owner;
CALL cdc.sp_cdc_enable_table('src', 'parts', NULL);
RESET ROLE;
SELECT * FROM identities WHERE relation::text ~ 'parts';
-- Partitions that come later are covered by the same command, whatever it is called from.
CREATE TABLE src.parts_c PARTITION OF src.parts FOR VALUES IN ('c');
CREATE TABLE src.parts_d (LIKE src.parts INCLUDING INDEXES) PARTITION BY RANGE (id);
CREATE TABLE src.parts_d1 PARTITION OF src.parts_d FOR VALUES FROM (0) TO (10);
ALTER TABLE src.parts ATTACH PARTITION src.parts_d FOR VALUES IN ('d');
DO $$ BEGIN CREATE TABLE src.parts_a2 PARTITION OF src.parts_a FOR VALUES FROM (10) TO (20); END $$;
SET session_replication_role = replica;
CREATE TABLE src.parts_a3 PARTITION OF src.parts_a FOR VALUES FROM (20) TO (30);
RESET session_replication_role;
CREATE SCHEMA later CREATE TABLE parts_e PARTITION OF src.parts FOR VALUES IN ('e');
SELECT * FROM identities WHERE relation::text ~ 'parts';
SELECT relreplident FROM pg_class WHERE oid = 'later.parts_e'::regclass;
-- An unlogged one is refused, and a detached one gets back what it had.
CREATE UNLOGGED TABLE src.parts_f PARTITION OF src.parts FOR VALUES IN ('f');
-- What the trigger cannot do is a warning, never the user's error.
CREATE TABLE src.parts_h (LIKE src.parts INCLUDING INDEXES);
CREATE PUBLICATION regress_cdc_narrow FOR TABLE src.parts_h (id, region);
ALTER TABLE src.parts ATTACH PARTITION src.parts_h FOR VALUES IN ('h');
DROP PUBLICATION regress_cdc_narrow;
SELECT * FROM identities WHERE relation = 'src.parts_h'::regclass;
ALTER TABLE src.parts DETACH PARTITION src.parts_h;
ALTER TABLE src.parts_a DETACH PARTITION src.parts_a1;
ALTER TABLE src.parts DETACH PARTITION src.parts_d CONCURRENTLY;
SELECT * FROM identities WHERE relation::text ~ 'parts_(a1|d)';
SELECT * FROM remembered WHERE relation::text ~ 'parts';
-- with a narrow identity, new partitions get it on their own index
CREATE TABLE src.slim (id integer, u integer NOT NULL, PRIMARY KEY (id)) PARTITION BY RANGE (id);
CREATE UNIQUE INDEX slim_u ON src.slim (u, id);
CREATE TABLE src.slim_1 PARTITION OF src.slim FOR VALUES FROM (0) TO (10);
CALL cdc.sp_cdc_enable_table('src', 'slim', NULL, index_name => 'slim_u', before_image => 'key');
CREATE TABLE src.slim_2 PARTITION OF src.slim FOR VALUES FROM (10) TO (20);
SELECT * FROM identities WHERE relation::text ~ 'slim';
-- allow_partition_switch => false refuses attaching and detaching at any level, not new empty partitions
CREATE TABLE src.fixed (id integer) PARTITION BY RANGE (id);
CREATE TABLE src.fixed_1 PARTITION OF src.fixed FOR VALUES FROM (0) TO (10) PARTITION BY RANGE (id);
CREATE TABLE src.fixed_1a PARTITION OF src.fixed_1 FOR VALUES FROM (0) TO (5);
CREATE TABLE src.fixed_1b (id integer);
CALL cdc.sp_cdc_enable_table('src', 'fixed', NULL, allow_partition_switch => false);
ALTER TABLE src.fixed_1 ATTACH PARTITION src.fixed_1b FOR VALUES FROM (5) TO (10);
ALTER TABLE src.fixed DETACH PARTITION src.fixed_1;
ALTER TABLE src.fixed DETACH PARTITION src.fixed_1 CONCURRENTLY;
CREATE TABLE src.fixed_2 PARTITION OF src.fixed FOR VALUES FROM (10) TO (20);
SELECT count(*) FROM pg_partition_tree('src.fixed');
-- it is ignored where there is nothing to switch
CREATE TABLE src.plain (id integer PRIMARY KEY);
CALL cdc.sp_cdc_enable_table('src', 'plain', NULL, allow_partition_switch => false);
SELECT capture_instance, partition_switch FROM cdc.change_tables WHERE capture_instance IN ('src_plain', 'src_parts', 'src_fixed') ORDER BY 1;

-- From a function, in a transaction, in a subtransaction; taken back with it.
CREATE TABLE src.t1 (id integer PRIMARY KEY);
CREATE TABLE src.t2 (id integer PRIMARY KEY);
CREATE FUNCTION enable(name text) RETURNS void LANGUAGE plpgsql AS $$ BEGIN CALL cdc.sp_cdc_enable_table('src', name, NULL); END $$;
BEGIN;
INSERT INTO src.t1 VALUES (1);
SELECT enable('t1');
INSERT INTO src.t1 VALUES (2);
SAVEPOINT s;
SELECT enable('t2');
ROLLBACK TO s;
COMMIT;
SELECT capture_instance FROM cdc.change_tables WHERE capture_instance ~ '^src_t[12]$';
SELECT * FROM identities WHERE relation::text ~ 'src.t[12]';
-- what was written before the call in the same transaction is not captured, what comes after it is
CALL cdc.wait_for_capture();
SELECT "__$operation", id FROM cdc.src_t1_ct;
-- enabled and disabled in one transaction, and the name used again
BEGIN;
SELECT enable('t2');
CALL cdc.sp_cdc_disable_table('src', 't2', 'src_t2');
SELECT enable('t2');
COMMIT;
SELECT capture_instance FROM cdc.change_tables WHERE capture_instance ~ '^src_t[12]$' ORDER BY 1;

-- From an event trigger: every new table of a schema is captured.
CREATE SCHEMA watched;
CREATE FUNCTION capture_new_tables() RETURNS event_trigger LANGUAGE plpgsql AS $$
DECLARE t record;
BEGIN
	FOR t IN SELECT c.schema_name, relname FROM pg_event_trigger_ddl_commands() c JOIN pg_class ON oid = objid WHERE object_type = 'table' AND schema_name = 'watched' LOOP
		CALL cdc.sp_cdc_enable_table(t.schema_name, t.relname, NULL);
	END LOOP;
END $$;
CREATE EVENT TRIGGER regress_cdc_capture ON ddl_command_end WHEN TAG IN ('CREATE TABLE', 'CREATE TABLE AS', 'SELECT INTO') EXECUTE FUNCTION capture_new_tables();
CREATE TABLE watched.a (id integer PRIMARY KEY);
CREATE TABLE watched.b AS SELECT 1 AS id;
DROP EVENT TRIGGER regress_cdc_capture;
SELECT capture_instance FROM cdc.change_tables WHERE capture_instance ~ '^watched' ORDER BY 1;

-- A hostile caller: operators and types of her own in front, default privileges, another access method.
CREATE SCHEMA trap;
CREATE FUNCTION trap.eq(name, name) RETURNS boolean LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION 'trapped'; END $$;
CREATE OPERATOR trap.= (LEFTARG = name, RIGHTARG = name, FUNCTION = trap.eq);
CREATE DOMAIN trap.pg_lsn AS text;
CREATE DOMAIN trap.int4 AS text;
CREATE TABLE src.trapped (id integer PRIMARY KEY);
ALTER DEFAULT PRIVILEGES GRANT ALL ON TABLES TO PUBLIC;
CREATE ACCESS METHOD regress_cdc_heap TYPE TABLE HANDLER heap_tableam_handler;
SET search_path = trap, pg_catalog, public;
SET default_table_access_method = regress_cdc_heap;
SET default_toast_compression = 'pglz';
CALL cdc.sp_cdc_enable_table('src', 'trapped', NULL);
CREATE TABLE src.parts_g PARTITION OF src.parts FOR VALUES IN ('g') USING heap;
RESET default_table_access_method;
SHOW search_path;
RESET search_path;
ALTER DEFAULT PRIVILEGES REVOKE ALL ON TABLES FROM PUBLIC;
SELECT attname, atttypid::regtype FROM pg_attribute WHERE attrelid = 'cdc.src_trapped_ct'::regclass AND attnum > 0 ORDER BY attnum;
SELECT c.relkind, c.relacl, amname FROM pg_class c LEFT JOIN pg_am a ON a.oid = c.relam WHERE c.oid = 'cdc.src_trapped_ct'::regclass OR c.oid IN (SELECT inhrelid FROM pg_inherits WHERE inhparent = 'cdc.src_trapped_ct'::regclass);
SELECT identity FROM identities WHERE relation = 'src.parts_g'::regclass;

-- Dropping a captured table is possible, and remembered.
BEGIN;
DROP TABLE src.plain;
SELECT capture_instance, has_drop_pending FROM cdc.change_tables WHERE has_drop_pending;
ROLLBACK;

-- Everything that is left in the schema belongs to the extension.
SELECT relkind, count(*) FROM pg_class c WHERE relnamespace = 'cdc'::regnamespace AND relkind IN ('r', 'p', 'v', 'S')
	AND NOT EXISTS (SELECT FROM pg_depend d WHERE d.classid = 'pg_class'::regclass AND d.objid = c.oid AND d.deptype = 'e') GROUP BY 1;

SET client_min_messages = warning;
DROP VIEW instances, columns, keys, change_columns, identities, remembered;
CALL cdc.sp_cdc_disable_db();
DROP EXTENSION cdc;
SELECT count(*) FROM pg_event_trigger WHERE evtname ~ '^cdc';
DROP SCHEMA src, "My Schema", later, watched, trap CASCADE;
DROP FUNCTION enable, capture_new_tables;
DROP ACCESS METHOD regress_cdc_heap;
DROP TABLESPACE regress_cdc_space;
DROP ROLE regress_cdc_owner, regress_cdc_gate;
