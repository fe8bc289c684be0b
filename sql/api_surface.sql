-- Every object of the extension: privileges, and whether it has a comment. What changes here changes for users.
CREATE EXTENSION cdc;

-- From 17 on row types of relations and array types are members, too: nothing to list.
CREATE VIEW members AS
SELECT d.classid, d.objid, i.type, i.identity
FROM pg_depend AS d, pg_identify_object(d.classid, d.objid, 0) AS i
WHERE NOT EXISTS (SELECT FROM pg_depend AS of WHERE of.classid = d.classid AND of.objid = d.objid
		AND of.classid = 'pg_type'::regclass AND of.deptype = 'i')
	AND d.refclassid = 'pg_extension'::regclass AND d.deptype = 'e'
	AND d.refobjid = (SELECT oid FROM pg_extension WHERE extname = 'cdc');

-- Privileges of others than the owner.
CREATE VIEW acls AS
SELECT 'pg_proc'::regclass AS classid, oid AS objid, coalesce(proacl, acldefault('f', proowner)) AS acl, proowner AS owner FROM pg_proc
UNION ALL SELECT 'pg_class'::regclass, oid, coalesce(relacl, acldefault(CASE relkind WHEN 'S' THEN 's'::"char" ELSE 'r' END, relowner)), relowner FROM pg_class
UNION ALL SELECT 'pg_type'::regclass, oid, coalesce(typacl, acldefault('T', typowner)), typowner FROM pg_type
UNION ALL SELECT 'pg_namespace'::regclass, oid, coalesce(nspacl, acldefault('n', nspowner)), nspowner FROM pg_namespace;
CREATE VIEW privileges AS
SELECT classid, objid, string_agg(
	CASE grantee WHEN 0 THEN 'PUBLIC' ELSE grantee::regrole::text END || '=' || privilege_type, ', '
	ORDER BY CASE grantee WHEN 0 THEN 'PUBLIC' ELSE grantee::regrole::text END COLLATE "C", privilege_type) AS privileges
FROM acls, aclexplode(acl) AS a WHERE a.grantee <> owner GROUP BY classid, objid;

SELECT type, identity, coalesce(privileges, '') AS privileges, obj_description(objid, classid::regclass::name) IS NOT NULL AS comment
FROM members LEFT JOIN privileges USING (classid, objid)
ORDER BY type COLLATE "C", identity COLLATE "C";
SELECT privileges FROM privileges WHERE classid = 'pg_namespace'::regclass AND objid = 'cdc'::regnamespace;

-- Columns of its tables and views, and sequences that belong to columns.
SELECT c.relname, string_agg(a.attname, ', ' ORDER BY a.attnum) AS columns
FROM pg_class AS c JOIN pg_attribute AS a ON a.attrelid = c.oid AND a.attnum > 0
WHERE c.relnamespace = 'cdc'::regnamespace AND c.relkind IN ('r', 'p', 'v') GROUP BY c.relname ORDER BY c.relname COLLATE "C";

-- Without a comment: none.
SELECT type, identity FROM members WHERE obj_description(objid, classid::regclass::name) IS NULL ORDER BY type, identity;
SELECT c.relname, a.attname FROM pg_class AS c JOIN pg_attribute AS a ON a.attrelid = c.oid AND a.attnum > 0
WHERE c.relnamespace = 'cdc'::regnamespace AND c.relkind IN ('r', 'p', 'v') AND col_description(c.oid, a.attnum) IS NULL ORDER BY 1, 2;
SELECT c.relname FROM pg_class AS c
WHERE c.relnamespace = 'cdc'::regnamespace AND c.relkind = 'S' AND obj_description(c.oid, 'pg_class') IS NULL;

-- Nothing is a security definer; nothing is registered for dump; event triggers cannot be switched off by a setting.
SELECT count(*) FROM members JOIN pg_proc AS p ON p.oid = objid AND classid = 'pg_proc'::regclass WHERE p.prosecdef;
SELECT extconfig, extrelocatable FROM pg_extension WHERE extname = 'cdc';
SELECT evtname, evtevent, evtenabled, evttags FROM pg_event_trigger ORDER BY evtname;

-- Settings.
SELECT name, vartype, unit, context, boot_val, min_val, max_val FROM pg_settings WHERE name LIKE 'cdc.%' ORDER BY name;

-- What a capture instance adds. The gating role and the database's owner may call its functions.
CREATE ROLE regress_cdc_surface;
CREATE TEMPORARY TABLE before AS SELECT * FROM members;
CALL cdc.sp_cdc_enable_db();
CREATE TABLE t (id integer PRIMARY KEY, v text);
CALL cdc.sp_cdc_enable_table('public', 't', 'regress_cdc_surface');
SELECT m.type, regexp_replace(regexp_replace(m.identity, '_ct_\d+_[0-9a-f]{16}', '_ct_<id>_<lsn>'), '(changes|ct)_\d+', '\1_<id>') AS identity,
	coalesce(privileges, '') AS privileges, obj_description(objid, classid::regclass::name) AS comment
FROM members AS m LEFT JOIN privileges USING (classid, objid)
WHERE NOT EXISTS (SELECT FROM before AS b WHERE b.classid = m.classid AND b.objid = m.objid)
ORDER BY m.type COLLATE "C", m.identity COLLATE "C";

CALL cdc.sp_cdc_disable_db();
SELECT count(*) FROM members AS m WHERE NOT EXISTS (SELECT FROM before AS b WHERE b.classid = m.classid AND b.objid = m.objid);
DROP VIEW privileges, acls, members;
DROP EXTENSION cdc;
DROP TABLE t;
DROP ROLE regress_cdc_surface;
