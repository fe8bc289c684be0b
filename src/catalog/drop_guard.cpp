/*
 * drop_guard.cpp
 *	  Refuses to drop the extension as a side effect of another drop.
 *
 * NOTES
 *	  Change tables, their views and functions are members of the extension, and they depend on the
 *	  types and collations of the captured columns. A cascade that reaches a member goes on to its
 *	  extension, so DROP TYPE ... CASCADE by the owner of one captured table would take the history of
 *	  all tables along. Nobody but who says DROP EXTENSION wants that.
 *
 *	  The server refuses in the end, and before that it has locked all that depends on the extension, exclusively: it
 *	  waits for every reader of any change table, and capture waits behind it. DROP TYPE without CASCADE does so,
 *	  too, and then hints at CASCADE. So a drop that names such a type is refused before it locks anything.
 */
#include "cdc.hpp"

#include "catalog/catalog.hpp"
#include "catalog/drop_guard.hpp"

extern "C" {
#include "access/genam.h"
#include "access/xlog.h"
#include "catalog/indexing.h"
#include "catalog/namespace.h"
#include "catalog/objectaccess.h"
#include "catalog/pg_class.h"
#include "catalog/pg_collation.h"
#include "catalog/pg_depend.h"
#include "catalog/pg_extension.h"
#include "catalog/pg_type.h"
#include "parser/parse_type.h"
#include "utils/acl.h"
}

namespace cdc::catalog
{

namespace
{

object_access_hook_type previous_hook = nullptr;
bool is_allowed = false;

constexpr const char *kHint =
	"CALL cdc.sp_cdc_disable_table(...) for the tables that use it and wait until capture has come to "
	"it, CALL cdc.wait_for_capture().";

void
hook(ObjectAccessType access, Oid class_id, Oid object_id, int sub_id, void *argument)
{
	if (previous_hook != nullptr)
		previous_hook(access, class_id, object_id, sub_id, argument);
	if (access != OAT_DROP || class_id != ExtensionRelationId || is_allowed ||
		object_id != cdc_extension_oid())
		return;
	ereport(
		ERROR,
		(errcode(ERRCODE_DEPENDENT_OBJECTS_STILL_EXIST),
		 errmsg("cannot drop extension \"cdc\" as a side effect"),
		 errdetail(
			 "What is to be dropped is used by a captured column, or belongs to cdc itself; all "
			 "captured changes of this database would go with it."),
		 errhint("%s To drop everything: DROP EXTENSION cdc.", kHint)));
}

/* A change table with a column of that type or collation, or InvalidOid. */
Oid
change_table_with(Oid class_id, Oid object_id)
{
	Oid schema = get_namespace_oid(kSchema, true);
	Oid found = InvalidOid;
	ScanKeyData keys[2];

	ScanKeyInit(&keys[0], Anum_pg_depend_refclassid, BTEqualStrategyNumber, F_OIDEQ,
				ObjectIdGetDatum(class_id));
	ScanKeyInit(&keys[1], Anum_pg_depend_refobjid, BTEqualStrategyNumber, F_OIDEQ,
				ObjectIdGetDatum(object_id));
	Relation depend = table_open(DependRelationId, AccessShareLock);
	SysScanDesc scan =
		systable_beginscan(depend, DependReferenceIndexId, true, nullptr, lengthof(keys), keys);
	while (HeapTuple tuple = systable_getnext(scan))
	{
		auto *dependency = reinterpret_cast<Form_pg_depend>(GETSTRUCT(tuple));
		if (dependency->classid == RelationRelationId &&
			get_rel_namespace(dependency->objid) == schema &&
			get_rel_relkind(dependency->objid) == RELKIND_PARTITIONED_TABLE)
			found = dependency->objid;
	}
	systable_endscan(scan);
	table_close(depend, AccessShareLock);
	return found;
}

void
refuse_if_captured(Oid class_id, Oid object_id, const char *kind, const char *name)
{
	Oid table = change_table_with(class_id, object_id);

	if (!OidIsValid(table))
		return;
	ereport(
		ERROR,
		(errcode(ERRCODE_DEPENDENT_OBJECTS_STILL_EXIST),
		 errmsg("cannot drop %s %s because a captured column uses it", kind, name),
		 errdetail("Change table \"%s.%s\" has values of it. With CASCADE the extension would go "
				   "along, and all captured changes of this database.",
				   kSchema, get_rel_name(table)),
		 errhint("%s", kHint)));
}

/* Whom the server refuses it is not ours to. */
void
check_type(const TypeName *name)
{
	Oid type = LookupTypeNameOid(nullptr, name, true);
	HeapTuple tuple = OidIsValid(type) ? SearchSysCache1(TYPEOID, ObjectIdGetDatum(type)) : nullptr;

	if (!HeapTupleIsValid(tuple))
		return;
	auto *form = reinterpret_cast<Form_pg_type>(GETSTRUCT(tuple));
	Oid array = form->typarray;
	Oid owner = form->typowner;
	ReleaseSysCache(tuple);
	if (!has_privs_of_role(GetUserId(), owner))
		return;
	refuse_if_captured(TypeRelationId, type, "type", format_type_be(type));
	if (OidIsValid(array))
		refuse_if_captured(TypeRelationId, array, "type", format_type_be(type));
}

void
check_collation(List *name)
{
	Oid collation = get_collation_oid(name, true);
	HeapTuple tuple =
		OidIsValid(collation) ? SearchSysCache1(COLLOID, ObjectIdGetDatum(collation)) : nullptr;

	if (!HeapTupleIsValid(tuple))
		return;
	Oid owner = reinterpret_cast<Form_pg_collation>(GETSTRUCT(tuple))->collowner;
	ReleaseSysCache(tuple);
	if (has_privs_of_role(GetUserId(), owner))
		refuse_if_captured(CollationRelationId, collation, "collation", NameListToString(name));
}

} // namespace

void
drop_guard_check(Node *parse_tree)
{
	ListCell *cell;

	if (!IsA(parse_tree, DropStmt) || RecoveryInProgress())
		return;
	auto *drop = castNode(DropStmt, parse_tree);
	bool types = drop->removeType == OBJECT_TYPE;
	if ((!types && drop->removeType != OBJECT_COLLATION) || !OidIsValid(cdc_extension_oid()))
		return;
	foreach (cell, drop->objects)
	{
		if (types)
			check_type(castNode(TypeName, lfirst(cell)));
		else
			check_collation(castNode(List, lfirst(cell)));
	}
}

void
drop_guard_init()
{
	previous_hook = object_access_hook;
	object_access_hook = hook;
}

void
drop_guard_allow(bool allowed)
{
	is_allowed = allowed;
}

} // namespace cdc::catalog
