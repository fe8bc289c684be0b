/*
 * ddl_drop.cpp
 *	  Captured tables, partitions and columns that a command has dropped.
 */
#include "cdc.hpp"

#include "catalog/catalog_rows.hpp"
#include "catalog/ddl_drop.hpp"
#include "catalog/ddl_history.hpp"
#include "catalog/ddl_statement.hpp"
#include "catalog/drop_watch.hpp"
#include "catalog/replica_identity.hpp"

namespace cdc::catalog
{

namespace
{

/* What is before the drop in the log is still captured: the instance is only marked here. */
void
mark_instances(Oid source)
{
	List *instances = capture_instances_of_source(source);
	ScanKeyData key = scan_key(kCtSourceObjectId, F_OIDEQ, ObjectIdGetDatum(source));
	ListCell *cell;

	if (instances == NIL)
		return;
	rows_lock("change_tables", "change_tables_source_object_id_idx", {&key, 1});
	rows_scan("change_tables", "change_tables_source_object_id_idx", {&key, 1}, RowExclusiveLock,
			  [&](Relation table, HeapTuple tuple) {
				  auto row = row_deform<kCtColumns>(table, tuple);
				  if (DatumGetBool(row[kCtHasDropPending]))
					  return;
				  row.set(kCtHasDropPending, BoolGetDatum(true));
				  HeapTuple changed = row_form(table, row, tuple);
				  CatalogTupleUpdate(table, &tuple->t_self, changed);
			  });
	CommandCounterIncrement();

	char *text = ddl_statement_text();
	foreach (cell, instances)
		ddl_history_emit(QueueKind::DropSource, static_cast<CaptureInstance *>(lfirst(cell)), text);
}

/* Live instances fed by partitions that are gone, each once. */
List *
instances_of_dropped_partitions()
{
	List *ids = NIL;
	List *result = NIL;
	ListCell *cell;

	foreach (cell, drop_watch_take_partitions())
	{
		auto *dropped = static_cast<DroppedPartition *>(lfirst(cell));
		if (!SearchSysCacheExists1(RELOID, ObjectIdGetDatum(dropped->partition)))
			ids = list_concat_unique_int(ids, dropped->instances);
	}
	foreach (cell, ids)
	{
		CaptureInstance *instance = capture_instance_by_id(lfirst_int(cell), true);
		/* Dropped with its whole table: that is told by another event. */
		if (instance != nullptr && !instance->has_drop_pending)
			result = lappend(result, instance);
	}
	return result;
}

} // namespace

CaptureInstance *
ddl_drop_record(Node *parse_tree, List *dropped)
{
	List *with_columns_dropped = NIL;
	ListCell *cell;

	foreach (cell, dropped)
	{
		auto *object = static_cast<DroppedRelation *>(lfirst(cell));
		if (!object->is_column)
		{
			mark_instances(object->relation);
			replica_identity_forget(object->relation);
		}
		/* ALTER TABLE ... DROP COLUMN is recorded when it ends, as every ALTER TABLE. */
		else if (!IsA(parse_tree, AlterTableStmt) &&
				 SearchSysCacheExists1(RELOID, ObjectIdGetDatum(object->relation)))
			with_columns_dropped = list_append_unique_oid(with_columns_dropped, object->relation);
	}

	List *instances = instances_of_dropped_partitions();
	foreach (cell, instances)
	{
		auto *instance = static_cast<CaptureInstance *>(lfirst(cell));
		if (!instance->partition_switch)
			return instance;
	}
	ddl_history_record_instances(instances, with_columns_dropped);
	return nullptr;
}

} // namespace cdc::catalog
