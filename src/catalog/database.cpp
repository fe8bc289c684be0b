/*
 * database.cpp
 *	  Identity row, progress row, capture job of the current database.
 */
#include "cdc.hpp"

#include "catalog/catalog_rows.hpp"
#include "catalog/database.hpp"

extern "C" {
#include "access/xlog.h"
#include "storage/bufmgr.h"
}

namespace cdc::catalog
{

namespace
{

Row<kPrColumns>
progress_row(const Progress &progress)
{
	Row<kPrColumns> row;
	row.set(kPrCapturedLsn, LSNGetDatum(progress.captured_lsn));
	row.set(kPrNextOrdinal, Int64GetDatum(progress.next_ordinal));
	row.set(kPrLastStartLsn, LSNGetDatum(progress.last_start_lsn));
	row.set(kPrLastEndTime, TimestampTzGetDatum(progress.last_end_time));
	return row;
}

template <int Columns>
void
insert(const char *table, Row<Columns> row)
{
	Relation relation = table_open(cdc_relation_oid(table, false), RowExclusiveLock);
	row_insert(relation, row);
	table_close(relation, NoLock);
}

} // namespace

bool
database_read_identity(Identity *identity)
{
	bool found = false;

	/* Tables of these names prove nothing without the extension: anybody may have a schema cdc. */
	if (!OidIsValid(cdc_extension_oid()))
		return false;
	rows_scan("_identity", nullptr, {}, AccessShareLock, [&](Relation relation, HeapTuple tuple) {
		Row<kIdentityColumns> row = row_deform<kIdentityColumns>(relation, tuple);
		found = true;
		identity->system_identifier = static_cast<uint64>(DatumGetInt64(row[kIdSystemIdentifier]));
		identity->timeline = DatumGetInt32(row[kIdTimeline]);
		identity->database_oid = DatumGetObjectId(row[kIdDatabaseId]);
		identity->slot_name = *DatumGetName(row[kIdSlotName]);
		identity->start_lsn = DatumGetLSN(row[kIdStartLsn]);
	});
	return found;
}

bool
database_has_remains()
{
	bool found = false;

	if (!OidIsValid(cdc_extension_oid()))
		return false;
	for (const char *table : {"change_tables", "_progress"})
		rows_scan(table, nullptr, {}, AccessShareLock, [&](Relation, HeapTuple) { found = true; });
	return found;
}

bool
database_lacks_identity()
{
	Identity identity;

	/* Identity and progress come in one commit. One that comes between the first two looks is seen by the third. */
	return !database_read_identity(&identity) && database_has_remains() &&
		   !database_read_identity(&identity);
}

void
error_identity_missing()
{
	ereport(ERROR,
			(errcode(ERRCODE_DATA_CORRUPTED), errmsg("identity of change data capture is missing"),
			 errdetail("Table cdc._identity has no row, although there are capture instances or a "
					   "progress: it is not known whether they belong to this database."),
			 errhint("CALL cdc.sp_cdc_disable_db(), then CALL cdc.sp_cdc_enable_db().")));
	pg_unreachable();
}

void
database_mark_enabled(const NameData &slot_name, XLogRecPtr start)
{
	Row<kIdentityColumns> row;
	row.set(kIdOneRow, BoolGetDatum(true));
	row.set(kIdSystemIdentifier, Int64GetDatum(static_cast<int64>(GetSystemIdentifier())));
	row.set(kIdTimeline, Int32GetDatum(static_cast<int32>(GetWALInsertionTimeLine())));
	row.set(kIdDatabaseId, ObjectIdGetDatum(MyDatabaseId));
	row.set_name(kIdSlotName, NameStr(slot_name));
	row.set(kIdStartLsn, LSNGetDatum(start));
	row.set(kIdEnabledAt, TimestampTzGetDatum(GetCurrentTimestamp()));
	insert("_identity", row);

	Progress progress = {};
	progress.captured_lsn = start;
	progress.next_ordinal = 1;
	insert("_progress", progress_row(progress));
}

void
database_update_timeline(TimeLineID timeline)
{
	rows_scan("_identity", nullptr, {}, RowExclusiveLock, [&](Relation relation, HeapTuple tuple) {
		Row<kIdentityColumns> row = row_deform<kIdentityColumns>(relation, tuple);
		row.set(kIdTimeline, Int32GetDatum(static_cast<int32>(timeline)));
		CatalogTupleUpdate(relation, &tuple->t_self, row_form(relation, row, tuple));
	});
}

CaptureJob
database_read_capture_job()
{
	CaptureJob job = {};

	rows_scan("cdc_jobs", nullptr, {}, AccessShareLock, [&](Relation relation, HeapTuple tuple) {
		Row<kJbColumns> row = row_deform<kJbColumns>(relation, tuple);
		if (strcmp(TextDatumGetCString(row[kJbJobType]), "capture") != 0)
			return;
		job.exists = true;
		job.maxtrans = DatumGetInt32(row[kJbMaxtrans]);
		job.maxscans = DatumGetInt32(row[kJbMaxscans]);
		job.continuous = DatumGetBool(row[kJbContinuous]);
		job.pollinginterval = DatumGetInt64(row[kJbPollinginterval]);
		job.started = DatumGetBool(row[kJbStarted]);
		if (!row.is_null(kJbActiveWindow))
			job.active_window = TextDatumGetCString(row[kJbActiveWindow]);
	});
	return job;
}

Progress
progress_read(ItemPointer tid)
{
	Progress progress = {};
	bool found = false;

	rows_scan("_progress", nullptr, {}, AccessShareLock, [&](Relation relation, HeapTuple tuple) {
		Row<kPrColumns> row = row_deform<kPrColumns>(relation, tuple);
		found = true;
		progress.captured_lsn = DatumGetLSN(row[kPrCapturedLsn]);
		progress.next_ordinal = DatumGetInt64(row[kPrNextOrdinal]);
		progress.last_start_lsn = DatumGetLSN(row[kPrLastStartLsn]);
		progress.last_end_time = DatumGetTimestampTz(row[kPrLastEndTime]);
		*tid = tuple->t_self;
	});
	if (!found)
		ereport(ERROR,
				(errcode(ERRCODE_DATA_CORRUPTED),
				 errmsg("progress of change data capture is missing"),
				 errdetail("Table cdc._progress has no row, so it is not known what was captured."),
				 errhint("CALL cdc.sp_cdc_disable_db(), then CALL cdc.sp_cdc_enable_db().")));
	return progress;
}

void
progress_write(Relation relation, ItemPointer tid, const Progress &progress)
{
	Row<kPrColumns> row = progress_row(progress);
	HeapTuple tuple = row_form(relation, row);

	CDC_HEAP_UPDATE(relation, tid, tuple);
	*tid = tuple->t_self;
	heap_freetuple(tuple);

	/*
	 * Nothing else reads this table, so nothing else would prune it: without this it would grow by
	 * a row version per batch until vacuum. Cheap, and does nothing when the page has room.
	 */
	Buffer buffer = ReadBuffer(relation, ItemPointerGetBlockNumber(tid));
	heap_page_prune_opt(relation, buffer);
	ReleaseBuffer(buffer);
}

} // namespace cdc::catalog
