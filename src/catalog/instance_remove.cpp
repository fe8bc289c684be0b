/*
 * instance_remove.cpp
 *	  Taking a capture instance away, and what is left to do when its source table was dropped.
 */
#include "cdc.hpp"

#include "base/fault.hpp"
#include "base/scope.hpp"
#include "catalog/catalog_rows.hpp"
#include "catalog/instance_remove.hpp"
#include "catalog/instance_rows.hpp"
#include "catalog/internal_ddl.hpp"
#include "jobs/job_catalog.hpp"
#include "query/query_functions.hpp"

extern "C" {
#include "catalog/pg_inherits.h"
#include "commands/tablecmds.h"
#include "storage/lmgr.h"
#include "utils/inval.h"
}

namespace cdc::catalog
{

namespace
{

constexpr const char *kShortLockTimeout = "100ms";

/* Locks what others may hold for long. False, at once, when somebody does. */
bool
lock_without_waiting(int32 instance_id, Oid change_table)
{
	Oid view = query::query_functions_view(instance_id);
	ListCell *cell;

	/* In the order of readers. */
	if (OidIsValid(view) && !ConditionalLockRelationOid(view, AccessExclusiveLock))
		return false;
	if (!ConditionalLockRelationOid(change_table, AccessExclusiveLock))
		return false;
	/* Gone since the instance was loaded: the caller looks again. */
	if (!SearchSysCacheExists1(RELOID, ObjectIdGetDatum(change_table)))
		return true;
	foreach (cell, find_inheritance_children(change_table, NoLock))
		if (!ConditionalLockRelationOid(lfirst_oid(cell), AccessExclusiveLock))
			return false;
	return true;
}

/* The body of instance_remove_dropped; raises. */
RemoveOutcome
remove_dropped(int32 instance_id, bool in_writer, Oid *change_table)
{
	CaptureInstance *instance = capture_instance_by_id(instance_id, true);
	RemoveOutcome outcome = RemoveOutcome::Removed;

	if (instance == nullptr || !instance->has_drop_pending)
	{
		source_drop_forget(instance_id);
		return outcome;
	}
	*change_table = instance->change_table;
	if (!lock_without_waiting(instance_id, instance->change_table))
		return RemoveOutcome::Busy;

	with_neutral_settings(nullptr, [&]() {
		with_lock_timeout(kShortLockTimeout, [&] {
			instance_set_lock_to_remove();
			/* Somebody may have disabled it before we had the locks. */
			if (capture_instance_by_id(instance_id, true) != nullptr)
				instance_remove(*instance);
			CDC_FAULT("instance-remove");
			if (!instance_set_is_empty())
				return;
			/* The worker goes on without its job: it moves the slot on, and drops what is left. */
			jobs::jobs_delete_all();
			if (in_writer)
				rows_delete("lsn_time_mapping", nullptr, {});
		});
	});
	return outcome;
}

} // namespace

void
instance_remove(const CaptureInstance &instance)
{
	instance_name_lock(NameStr(instance.name));
	query::query_functions_drop(instance.instance_id, NameStr(instance.name));

	/*
	 * Leaves are invalidated too: the writer's idea of where rows of this instance go hangs on
	 * them.
	 */
	if (SearchSysCacheExists1(RELOID, ObjectIdGetDatum(instance.change_table)))
	{
		ListCell *cell;
		RenameRelationInternal(instance.change_table, psprintf("_dropped_%d", instance.instance_id),
							   true, false);
		CommandCounterIncrement();
		foreach (cell, find_inheritance_children(instance.change_table, NoLock))
			CacheInvalidateRelcacheByRelid(lfirst_oid(cell));
	}
	instance_rows_delete(instance.change_table);
	source_drop_forget(instance.instance_id);
	ddl_queue_emit(QueueKind::DisableTable, instance.instance_id, instance.change_table,
				   instance.source, nullptr);
}

void
source_drop_record(int32 instance_id, XLogRecPtr drop_lsn)
{
	Relation table = table_open(cdc_relation_oid("_source_drops", false), RowExclusiveLock);
	Row<kSdColumns> row;

	row.set(kSdInstanceId, Int32GetDatum(instance_id));
	row.set(kSdDropLsn, LSNGetDatum(drop_lsn));
	row_insert(table, row);
	table_close(table, NoLock);
	CommandCounterIncrement();
}

void
source_drop_forget(int32 instance_id)
{
	ScanKeyData key = scan_key(kSdInstanceId, F_INT4EQ, Int32GetDatum(instance_id));
	if (rows_delete("_source_drops", "_source_drops_pkey", {&key, 1}) > 0)
		CommandCounterIncrement();
}

XLogRecPtr
source_drop_lsn(int32 instance_id)
{
	ScanKeyData key = scan_key(kSdInstanceId, F_INT4EQ, Int32GetDatum(instance_id));
	XLogRecPtr lsn = InvalidXLogRecPtr;

	rows_scan("_source_drops", "_source_drops_pkey", {&key, 1}, AccessShareLock,
			  [&](Relation table, HeapTuple tuple) {
				  lsn = DatumGetLSN(row_deform<kSdColumns>(table, tuple)[kSdDropLsn]);
			  });
	return lsn;
}

List *
source_drops_to_remove()
{
	List *dropped = NIL;
	List *result = NIL;
	ListCell *cell;

	rows_scan("_source_drops", nullptr, {}, AccessShareLock, [&](Relation table, HeapTuple tuple) {
		dropped = lappend_int(dropped,
							  DatumGetInt32(row_deform<kSdColumns>(table, tuple)[kSdInstanceId]));
	});
	foreach (cell, dropped)
	{
		CaptureInstance *instance = capture_instance_by_id(lfirst_int(cell), true);
		if (instance == nullptr || !instance->kept_after_drop)
			result = lappend_int(result, lfirst_int(cell));
	}
	return result;
}

bool
instance_is_used_up(const CaptureInstance &instance)
{
	if (!instance.has_drop_pending || !instance.kept_after_drop)
		return false;
	XLogRecPtr drop_lsn = source_drop_lsn(instance.instance_id);
	return !XLogRecPtrIsInvalid(drop_lsn) && instance.start_lsn > drop_lsn;
}

RemoveOutcome
instance_remove_dropped(int32 instance_id, bool in_writer, bool log_errors, Oid *change_table)
{
	RemoveOutcome outcome = RemoveOutcome::Removed;

	*change_table = InvalidOid;
	in_transaction([&] {
		CaptureInstance *instance = capture_instance_by_id(instance_id, true);
		const char *name = instance != nullptr ? NameStr(instance->name) : "";
		(void)in_subtransaction(
			[&] { outcome = remove_dropped(instance_id, in_writer, change_table); },
			[&](const ErrorData &error) {
				if (error.sqlerrcode == ERRCODE_LOCK_NOT_AVAILABLE ||
					error.sqlerrcode == ERRCODE_T_R_DEADLOCK_DETECTED)
				{
					outcome = RemoveOutcome::Busy;
					return;
				}
				outcome = RemoveOutcome::Depended;
				if (!log_errors)
					return;
				ereport(LOG,
						(errcode(error.sqlerrcode),
						 errmsg("capture instance \"%s\" stays although its source table was "
								"dropped: %s",
								name, error.message),
						 error.detail != nullptr ? errdetail_internal("%s", error.detail) : 0,
						 errhint("Drop what depends on it; it is then removed within a minute.")));
			});
	});
	return outcome;
}

} // namespace cdc::catalog
