/*
 * instance_rows.cpp
 *	  The rows that make a capture instance, and the locks under which they come and go.
 */
#include "cdc.hpp"

#include "catalog/catalog_rows.hpp"
#include "catalog/instance_rows.hpp"

extern "C" {
#include "common/hashfn.h"
#include "storage/lmgr.h"
}

namespace cdc::catalog
{

namespace
{

/* Sub-object numbers of change_tables as lock tags; the table itself is never locked this way. */
constexpr uint16 kLockName = 1;
constexpr uint16 kLockSet = 2;

} // namespace

void
instance_name_lock(const char *name)
{
	uint32 hash = DatumGetUInt32(
		hash_any(reinterpret_cast<const unsigned char *>(name), static_cast<int>(strlen(name))));
	LockDatabaseObject(cdc_relation_oid("change_tables", false), hash, kLockName, ExclusiveLock);
}

bool
instance_set_lock_to_add()
{
	Oid change_tables = cdc_relation_oid("change_tables", false);
	bool first = instance_set_is_empty();

	LockDatabaseObject(change_tables, InvalidOid, kLockSet, first ? ExclusiveLock : ShareLock);

	/* The set may have been emptied, or got its first member, while we waited. */
	if (!first && instance_set_is_empty())
		LockDatabaseObject(change_tables, InvalidOid, kLockSet, ExclusiveLock);
	return instance_set_is_empty();
}

void
instance_set_lock_to_remove()
{
	LockDatabaseObject(cdc_relation_oid("change_tables", false), InvalidOid, kLockSet,
					   ExclusiveLock);
}

bool
instance_set_is_empty()
{
	bool empty = true;
	rows_scan("change_tables", nullptr, {}, AccessShareLock,
			  [&](Relation, HeapTuple) { empty = false; });
	return empty;
}

namespace
{

enum class StartOutcome : uint8
{
	Done,
	Gone, /* there is no such instance */
	Held, /* by another transaction */
};

StartOutcome
set_start_lsn(int32 instance_id, XLogRecPtr lsn)
{
	StartOutcome outcome = StartOutcome::Gone;
	ScanKeyData key = scan_key(kCtInstanceId, F_INT4EQ, Int32GetDatum(instance_id));

	/* A backend may be disabling the instance, or dropping its table, at this moment. */
	if (!rows_try_lock("change_tables", "change_tables_instance_id_key", {&key, 1}))
		return StartOutcome::Held;
	rows_scan("change_tables", "change_tables_instance_id_key", {&key, 1}, RowExclusiveLock,
			  [&](Relation relation, HeapTuple tuple) {
				  Row<kCtColumns> row = row_deform<kCtColumns>(relation, tuple);
				  outcome = StartOutcome::Done;
				  if (!row.is_null(kCtStartLsn) && DatumGetLSN(row[kCtStartLsn]) >= lsn)
					  return;
				  row.set(kCtStartLsn, LSNGetDatum(lsn));
				  CatalogTupleUpdate(relation, &tuple->t_self, row_form(relation, row, tuple));
			  });
	return outcome;
}

void
forget_start(int32 instance_id)
{
	ScanKeyData key = scan_key(kIsInstanceId, F_INT4EQ, Int32GetDatum(instance_id));

	rows_delete("_instance_start", "_instance_start_pkey", {&key, 1});
	CommandCounterIncrement();
}

} // namespace

bool
instance_start(int32 instance_id, XLogRecPtr lsn)
{
	StartOutcome outcome = set_start_lsn(instance_id, lsn);

	if (outcome == StartOutcome::Held)
	{
		forget_start(instance_id);
		Relation relation =
			table_open(cdc_relation_oid("_instance_start", false), RowExclusiveLock);
		Row<kIsColumns> row;
		row.set(kIsInstanceId, Int32GetDatum(instance_id));
		row.set(kIsStartLsn, LSNGetDatum(lsn));
		row_insert(relation, row);
		table_close(relation, NoLock);
		CommandCounterIncrement();
	}
	return outcome != StartOutcome::Gone;
}

bool
instances_start_rest()
{
	struct Start
	{
		int32 instance_id;
		XLogRecPtr lsn;
	};
	List *starts = NIL;
	ListCell *cell;
	bool nothing_left = true;

	rows_scan("_instance_start", nullptr, {}, AccessShareLock,
			  [&](Relation relation, HeapTuple tuple) {
				  Row<kIsColumns> row = row_deform<kIsColumns>(relation, tuple);
				  auto *start = static_cast<Start *>(palloc(sizeof(Start)));
				  *start = {DatumGetInt32(row[kIsInstanceId]), DatumGetLSN(row[kIsStartLsn])};
				  starts = lappend(starts, start);
			  });
	foreach (cell, starts)
	{
		const Start *start = static_cast<const Start *>(lfirst(cell));
		if (set_start_lsn(start->instance_id, start->lsn) == StartOutcome::Held)
			nothing_left = false;
		else
			forget_start(start->instance_id);
	}
	return nothing_left;
}

void
instance_rows_insert(const NewInstance &instance)
{
	Relation change_tables = table_open(cdc_relation_oid("change_tables", false), RowExclusiveLock);
	Row<kCtColumns> row;

	row.set(kCtObjectId, ObjectIdGetDatum(instance.change_table));
	row.set(kCtVersion, Int32GetDatum(0));
	row.set(kCtSourceObjectId, ObjectIdGetDatum(instance.source));
	row.set_name(kCtCaptureInstance, instance.name);
	row.set_null(kCtStartLsn);
	row.set_null(kCtEndLsn);
	row.set(kCtSupportsNetChanges, BoolGetDatum(instance.supports_net_changes));
	row.set(kCtHasDropPending, BoolGetDatum(false));
	row.set_name(kCtRoleName, instance.role_name);
	row.set_name(kCtIndexName,
				 instance.identifier == nullptr ? nullptr : instance.identifier->index_name);
	row.set_name(kCtFilegroupName, instance.filegroup_name);
	row.set(kCtCreateDate, TimestampTzGetDatum(GetCurrentTransactionStartTimestamp()));
	row.set(kCtPartitionSwitch, BoolGetDatum(instance.partition_switch));
	row.set(kCtInstanceId, Int32GetDatum(instance.instance_id));
	row.set_name(kCtBeforeImage, instance.before_image);
	row.set_name(kCtTruncateAction, instance.truncate_action);
	row.set_name(kCtDropAction, instance.drop_action);
	row_insert(change_tables, row);
	table_close(change_tables, NoLock);

	Relation captured_columns =
		table_open(cdc_relation_oid("captured_columns", false), RowExclusiveLock);
	int ordinal = 0;
	for (const SourceColumn &column : instance.columns)
	{
		Row<kCcColumns> captured;
		captured.set(kCcObjectId, ObjectIdGetDatum(instance.change_table));
		captured.set_name(kCcColumnName, column.name);
		captured.set(kCcColumnId, Int32GetDatum(column.attnum));
		captured.set(kCcColumnType, CStringGetTextDatum(column.type_name));
		captured.set(kCcColumnOrdinal, Int32GetDatum(++ordinal));
		captured.set(kCcIsComputed, BoolGetDatum(column.is_computed));
		row_insert(captured_columns, captured);
	}
	table_close(captured_columns, NoLock);

	Relation index_columns = table_open(cdc_relation_oid("index_columns", false), RowExclusiveLock);
	for (int i = 0; instance.identifier != nullptr && i < instance.identifier->columns; i++)
	{
		AttrNumber attnum = instance.identifier->column[i];
		Row<kIcColumns> key;
		key.set(kIcObjectId, ObjectIdGetDatum(instance.change_table));
		key.set_name(kIcColumnName, get_attname(instance.source, attnum, false));
		key.set(kIcIndexOrdinal, Int16GetDatum(i + 1));
		key.set(kIcColumnId, Int32GetDatum(attnum));
		row_insert(index_columns, key);
	}
	table_close(index_columns, NoLock);
	CommandCounterIncrement();
}

void
instance_rows_delete(Oid change_table)
{
	ScanKeyData key = scan_key(kCtObjectId, F_OIDEQ, ObjectIdGetDatum(change_table));
	rows_lock("change_tables", "change_tables_pkey", {&key, 1});
	rows_delete("change_tables", "change_tables_pkey", {&key, 1});
	key = scan_key(kCcObjectId, F_OIDEQ, ObjectIdGetDatum(change_table));
	rows_delete("captured_columns", "captured_columns_pkey", {&key, 1});
	key = scan_key(kIcObjectId, F_OIDEQ, ObjectIdGetDatum(change_table));
	rows_delete("index_columns", "index_columns_pkey", {&key, 1});
	key = scan_key(kDhObjectId, F_OIDEQ, ObjectIdGetDatum(change_table));
	rows_delete("ddl_history", "ddl_history_object_id_idx", {&key, 1});
	CommandCounterIncrement();
}

} // namespace cdc::catalog
