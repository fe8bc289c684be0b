/*
 * resume.cpp
 *	  Identity, progress, jobs, instances and mapping after a gap of the whole database.
 *
 * NOTES
 *	  The record at `record` is what made the new slot consistent, so no transaction committed there:
 *	  its position can end the gap and be the dummy mapping row's, below every commit to come.
 *
 *	  Events in the lost stretch never reach the writer. Change tables of instances disabled there are
 *	  dropped at its start anyway, and instances whose source was dropped are marked for it. An instance enabled there has no low end yet: it gets the gap's start,
 *	  so that whoever has read its source table since then is told. One whose enabling commits behind the
 *	  new slot's start gets its own low end when the writer meets it.
 */
#include "cdc.hpp"

#include "base/fault.hpp"
#include "catalog/capture_instance.hpp"
#include "catalog/catalog_rows.hpp"
#include "catalog/database.hpp"
#include "catalog/instance_remove.hpp"
#include "catalog/instance_rows.hpp"
#include "catalog/resume.hpp"

extern "C" {
#include "access/xlog.h"
#include "catalog/pg_inherits.h"
#include "utils/inval.h"
}

namespace cdc::catalog
{

namespace
{

/* Replaces each row of a table by what change makes of it. */
template <int Columns, typename Change>
void
rows_update(const char *table, Change change)
{
	rows_scan(table, nullptr, {}, RowExclusiveLock, [&](Relation relation, HeapTuple tuple) {
		Row<Columns> row = row_deform<Columns>(relation, tuple);
		change(row);
		CatalogTupleUpdate(relation, &tuple->t_self, row_form(relation, row, tuple));
	});
	CommandCounterIncrement();
}

} // namespace

void
resume_require_log_ahead(const Progress &progress, XLogRecPtr record)
{
	if (record > progress.last_start_lsn && record >= progress.captured_lsn)
		return;
	ereport(ERROR,
			(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
			 errmsg("the log of this server is behind what was captured"),
			 errdetail("Changes are captured up to %X/%X, the log is at %X/%X: commit LSNs would "
					   "repeat.",
					   CDC_LSN_FORMAT_ARGS(progress.captured_lsn), CDC_LSN_FORMAT_ARGS(record)),
			 errhint("Read what is there, then CALL cdc.sp_cdc_disable_db() and CALL "
					 "cdc.sp_cdc_enable_db(), and enable the tables again.")));
}

namespace
{

void
append_dummy_mapping(const Progress &progress, XLogRecPtr lsn)
{
	Relation relation = table_open(cdc_relation_oid("lsn_time_mapping", false), RowExclusiveLock);
	Row<kMapColumns> row;
	row.set(kMapStartLsn, LSNGetDatum(lsn));
	row.set_null(kMapTranBeginTime);
	row.set(kMapTranEndTime, TimestampTzGetDatum(progress.last_end_time));
	row.set(kMapTranId, UInt64GetDatum(0));
	row.set_null(kMapTranBeginLsn);
	row.set(kMapFirstOrdinal, Int64GetDatum(progress.next_ordinal));
	row.set(kMapChangeCount, Int64GetDatum(0));
	row_insert(relation, row);
	table_close(relation, NoLock);
}

/* Low ends for instances whose enabling the writer will never meet. */
void
start_instances(XLogRecPtr lsn)
{
	List *waiting = NIL;
	ListCell *cell;

	rows_scan("change_tables", nullptr, {}, AccessShareLock,
			  [&](Relation relation, HeapTuple tuple) {
				  Row<kCtColumns> row = row_deform<kCtColumns>(relation, tuple);
				  if (row.is_null(kCtStartLsn))
					  waiting = lappend_int(waiting, DatumGetInt32(row[kCtInstanceId]));
			  });
	foreach (cell, waiting)
		(void)instance_start(lfirst_int(cell), lsn);
}

/* Sources that were dropped in the lost stretch: nothing of them will come any more. */
void
end_dropped_sources(XLogRecPtr lsn)
{
	ListCell *cell;

	foreach (cell, capture_instances_all())
	{
		auto *instance = static_cast<CaptureInstance *>(lfirst(cell));
		if (instance->has_drop_pending &&
			!SearchSysCacheExists1(RELOID, ObjectIdGetDatum(instance->source)) &&
			XLogRecPtrIsInvalid(source_drop_lsn(instance->instance_id)))
			source_drop_record(instance->instance_id, lsn);
	}
}

/* The decoder looks at sources when they change, and what happened in the lost stretch it will not see. */
void
have_sources_looked_at()
{
	ListCell *cell;

	foreach (cell, capture_instances_all())
	{
		Oid source = static_cast<CaptureInstance *>(lfirst(cell))->source;
		ListCell *member;
		/* One that has been dropped has no tree to look for; to ask is an error. */
		if (!SearchSysCacheExists1(RELOID, ObjectIdGetDatum(source)))
			continue;
		foreach (member, find_all_inheritors(source, NoLock, nullptr))
			if (SearchSysCacheExists1(RELOID, ObjectIdGetDatum(lfirst_oid(member))))
				CacheInvalidateRelcacheByRelid(lfirst_oid(member));
	}
}

} // namespace

void
database_resume(const NameData &slot_name, XLogRecPtr record, XLogRecPtr start, const Gap &gap)
{
	ItemPointerData tid;
	Progress progress = progress_read(&tid);

	resume_require_log_ahead(progress, record);
	gap_record(gap);
	gap_close(InvalidOid, record);
	start_instances(gap.start);
	end_dropped_sources(record);
	have_sources_looked_at();

	progress.captured_lsn = start;
	progress.last_start_lsn = record;
	progress.last_end_time = Max(progress.last_end_time, GetCurrentTimestamp());
	if (instance_set_is_empty())
		rows_delete("lsn_time_mapping", nullptr, {});
	else
		append_dummy_mapping(progress, record);
	Relation relation = table_open(cdc_relation_oid("_progress", false), RowExclusiveLock);
	progress_write(relation, &tid, progress);
	table_close(relation, NoLock);

	rows_update<kJbColumns>("cdc_jobs", [](Row<kJbColumns> &row) {
		row.set(kJbDatabaseId, ObjectIdGetDatum(MyDatabaseId));
		if (strcmp(TextDatumGetCString(row[kJbJobType]), "capture") == 0)
			row.set(kJbStarted, BoolGetDatum(true));
	});
	rows_update<kIdentityColumns>("_identity", [&](Row<kIdentityColumns> &row) {
		row.set(kIdSystemIdentifier, Int64GetDatum(static_cast<int64>(GetSystemIdentifier())));
		row.set(kIdTimeline, Int32GetDatum(static_cast<int32>(GetWALInsertionTimeLine())));
		row.set(kIdDatabaseId, ObjectIdGetDatum(MyDatabaseId));
		row.set_name(kIdSlotName, NameStr(slot_name));
		row.set(kIdStartLsn, LSNGetDatum(start));
	});
	CDC_FAULT("resume-commit");
}

} // namespace cdc::catalog
