/*
 * identity_guard.cpp
 *	  The warning after ALTER TABLE ... REPLICA IDENTITY.
 */
#include "cdc.hpp"

#include "catalog/capture_instance.hpp"
#include "catalog/catalog.hpp"
#include "catalog/ddl_history.hpp"
#include "catalog/identity_guard.hpp"
#include "catalog/replica_identity.hpp"

extern "C" {
#include "catalog/namespace.h"
#include "utils/relcache.h"
}

namespace cdc::catalog
{

namespace
{

bool
alters_identity(const AlterTableStmt *stmt)
{
	ListCell *cell;
	foreach (cell, stmt->cmds)
		if (castNode(AlterTableCmd, lfirst(cell))->subtype == AT_ReplicaIdentity)
			return true;
	return false;
}

/* Whether the old row of a change still has the row identifier; columns of a partition by their names. */
bool
has_key(Oid relation_oid, const CaptureInstance &instance)
{
	Relation relation = RelationIdGetRelation(relation_oid);
	Bitmapset *identity = RelationGetIndexAttrBitmap(relation, INDEX_ATTR_BITMAP_IDENTITY_KEY);
	bool complete = true;

	for (const KeyColumn &column : instance.key)
	{
		char *name = get_attname(instance.source, column.column_id, true);
		AttrNumber attribute = name != nullptr ? get_attnum(relation_oid, name) : InvalidAttrNumber;
		complete = complete && attribute != InvalidAttrNumber &&
				   bms_is_member(attribute - FirstLowInvalidHeapAttributeNumber, identity);
	}
	RelationClose(relation);
	return complete;
}

} // namespace

void
identity_guard_after_alter(AlterTableStmt *stmt)
{
	if (!alters_identity(stmt))
		return;
	Oid relation = RangeVarGetRelid(stmt->relation, NoLock, true);
	/* Rows are in partitions; that of a partitioned table itself means nothing. */
	if (!OidIsValid(relation) || get_rel_relkind(relation) != RELKIND_RELATION ||
		replica_identity_suffices(relation, InvalidOid))
		return;

	ListCell *cell;
	foreach (cell, instances_fed_by(relation))
	{
		auto *instance = static_cast<CaptureInstance *>(lfirst(cell));
		if (!instance->before_image_full && has_key(relation, *instance))
			continue;
		const char *table =
			quote_qualified_identifier(get_namespace_name(get_rel_namespace(relation)),
									   get_rel_name(relation));
		ereport(WARNING,
				(errmsg("updates and deletes of table %s will be lost to capture instance \"%s\"",
						table, NameStr(instance->name)),
				 errdetail("With this replica identity the log does not hold the old row that the "
						   "instance needs. From the next one on there is a gap in cdc.gaps."),
				 errhint("ALTER TABLE %s REPLICA IDENTITY FULL.", table)));
	}
}

} // namespace cdc::catalog
