/*
 * drop_watch.cpp
 *	  What is about to be dropped, while it can still be asked who it belongs to.
 */
#include "cdc.hpp"

#include "base/scope.hpp"
#include "catalog/capture_instance.hpp"
#include "catalog/catalog.hpp"
#include "catalog/ddl_history.hpp"
#include "catalog/drop_watch.hpp"
#include "catalog/key_guard.hpp"

extern "C" {
#include "access/xact.h"
#include "catalog/dependency.h"
#include "catalog/index.h"
#include "catalog/objectaccess.h"
#include "catalog/partition.h"
#include "catalog/pg_class.h"
}

namespace cdc::catalog
{

namespace
{

object_access_hook_type previous_hook = nullptr;

/* Of the current transaction, in its memory. */
List *partitions = NIL;
List *keys = NIL;

void
forget_at_end(XactEvent event, void *)
{
	/* A command that commits in its middle (DETACH ... CONCURRENTLY, DROP INDEX CONCURRENTLY), too. */
	switch (event)
	{
		case XACT_EVENT_COMMIT:
		case XACT_EVENT_ABORT:
		case XACT_EVENT_PREPARE:
			partitions = NIL;
			keys = NIL;
			break;
		default:
			break;
	}
}

/* While the extension itself is dropped, or is not there, its tables cannot be read. */
bool
catalog_is_whole()
{
	for (const char *name :
		 {"change_tables", "change_tables_source_object_id_idx", "change_tables_instance_id_key",
		  "captured_columns", "captured_columns_pkey", "index_columns", "index_columns_pkey"})
		if (!OidIsValid(cdc_relation_oid(name, true)))
			return false;
	return true;
}

void
note_partition(Oid partition)
{
	List *ids = NIL;
	ListCell *cell;

	foreach (cell, get_partition_ancestors(partition))
	{
		ListCell *instance_cell;
		foreach (instance_cell, capture_instances_of_source(lfirst_oid(cell)))
			ids = lappend_int(ids,
							  static_cast<CaptureInstance *>(lfirst(instance_cell))->instance_id);
	}
	if (ids == NIL)
		return;
	in_context(TopTransactionContext, [&] {
		auto *dropped = static_cast<DroppedPartition *>(palloc(sizeof(DroppedPartition)));
		*dropped = {.partition = partition, .instances = list_copy(ids)};
		partitions = lappend(partitions, dropped);
	});
}

void
note_index(Oid index, bool concurrently)
{
	Oid table = IndexGetRelation(index, true);
	const char *name = get_rel_name(index);
	ListCell *cell;

	if (!OidIsValid(table) || name == nullptr)
		return;
	foreach (cell, capture_instances_of_source(table))
	{
		auto *instance = static_cast<CaptureInstance *>(lfirst(cell));
		if (!instance->has_index || strcmp(NameStr(instance->index_name), name) != 0)
			continue;
		bool is_constraint = OidIsValid(get_index_constraint(index));

		/* The first of its transactions makes the index useless: later is too late. */
		if (concurrently)
			error_key_dropped(instance, is_constraint);
		in_context(TopTransactionContext, [&] {
			auto *dropped = static_cast<DroppedKey *>(palloc(sizeof(DroppedKey)));
			*dropped = {.instance_id = instance->instance_id,
						.index = index,
						.is_constraint = is_constraint};
			keys = lappend(keys, dropped);
		});
	}
}

void
hook(ObjectAccessType access, Oid class_id, Oid object_id, int sub_id, void *argument)
{
	if (previous_hook != nullptr)
		previous_hook(access, class_id, object_id, sub_id, argument);
	if (access != OAT_DROP || class_id != RelationRelationId || sub_id != 0)
		return;

	char relkind = get_rel_relkind(object_id);
	bool is_index = relkind == RELKIND_INDEX || relkind == RELKIND_PARTITIONED_INDEX;
	bool is_partition = !is_index && get_rel_relispartition(object_id);
	if ((!is_index && !is_partition) ||
		get_rel_namespace(object_id) == get_namespace_oid(kSchema, true) || !catalog_is_whole())
		return;
	if (is_partition)
		note_partition(object_id);
	else
		note_index(object_id, (static_cast<ObjectAccessDrop *>(argument)->dropflags &
							   PERFORM_DELETION_CONCURRENTLY) != 0);
}

} // namespace

void
drop_watch_init()
{
	previous_hook = object_access_hook;
	object_access_hook = hook;
	RegisterXactCallback(forget_at_end, nullptr);
}

List *
drop_watch_take_partitions()
{
	List *result = partitions;
	partitions = NIL;
	return result;
}

List *
drop_watch_keys()
{
	return keys;
}

} // namespace cdc::catalog
