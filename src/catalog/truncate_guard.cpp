/*
 * truncate_guard.cpp
 *	  The object access hook that refuses TRUNCATE.
 *
 * NOTES
 *	  TRUNCATE removes rows without a change for each, so the change table would no longer explain the
 *	  source. No trigger on the source is needed: the server asks the hook for each relation that it
 *	  is about to truncate, leaves of a partitioned table included. What arrives in the log all the same
 *	  (instances that record it) is put into ddl_history by the writer.
 */
#include "cdc.hpp"

#include "catalog/capture_instance.hpp"
#include "catalog/catalog.hpp"
#include "catalog/truncate_guard.hpp"

extern "C" {
#include "catalog/objectaccess.h"
#include "catalog/partition.h"
#include "catalog/pg_class.h"
}

namespace cdc::catalog
{

namespace
{

object_access_hook_type previous_hook = nullptr;

void
refuse_if_captured(Oid relation, Oid source)
{
	ListCell *cell;

	foreach (cell, capture_instances_of_source(source))
	{
		auto *instance = static_cast<CaptureInstance *>(lfirst(cell));
		if (instance->truncate_recorded)
			continue;
		ereport(
			ERROR,
			(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
			 errmsg("cannot truncate table \"%s.%s\" because it is captured",
					get_namespace_name(get_rel_namespace(relation)), get_rel_name(relation)),
			 errdetail(
				 "SQL Server error 4711: capture instance \"%s\" would miss the rows that go.",
				 NameStr(instance->name)),
			 errhint(
				 "Use DELETE. To let TRUNCATE pass and be recorded, disable the instance and enable "
				 "the table again with truncate_action => 'record'.")));
	}
}

void
hook(ObjectAccessType access, Oid class_id, Oid object_id, int sub_id, void *argument)
{
	if (previous_hook != nullptr)
		previous_hook(access, class_id, object_id, sub_id, argument);
	if (access != OAT_TRUNCATE || class_id != RelationRelationId ||
		!OidIsValid(cdc_extension_oid()))
		return;

	refuse_if_captured(object_id, object_id);
	if (get_rel_relispartition(object_id))
	{
		ListCell *cell;
		foreach (cell, get_partition_ancestors(object_id))
			refuse_if_captured(object_id, lfirst_oid(cell));
	}
}

} // namespace

void
truncate_guard_init()
{
	previous_hook = object_access_hook;
	object_access_hook = hook;
}

} // namespace cdc::catalog
