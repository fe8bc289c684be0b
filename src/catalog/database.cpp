/*
 * database.cpp
 *	  Identity row, progress row, capture job of the current database.
 */
#include "cdc.hpp"

#include "catalog/catalog.hpp"
#include "catalog/database.hpp"

extern "C" {
#include "access/xlog.h"
#include "catalog/indexing.h"
#include "storage/bufmgr.h"
}

namespace cdc::catalog
{

namespace
{

/* Calls visit(tuple, descriptor) for each row of a small table of ours, with the newest snapshot. */
template <typename Visit>
bool
scan_table(const char *name, Visit visit)
{
	Oid oid = cdc_relation_oid(name, true);
	if (!OidIsValid(oid))
		return false;
	Relation table = table_open(oid, AccessShareLock);
	Snapshot snapshot = RegisterSnapshot(GetLatestSnapshot());
	TableScanDesc scan = table_beginscan(table, snapshot, 0, nullptr);
	while (HeapTuple tuple = heap_getnext(scan, ForwardScanDirection))
		visit(tuple, RelationGetDescr(table));
	table_endscan(scan);
	UnregisterSnapshot(snapshot);
	table_close(table, AccessShareLock);
	return true;
}

Datum
column(HeapTuple tuple, TupleDesc descriptor, AttrNumber attnum)
{
	bool isnull;
	Datum value = heap_getattr(tuple, attnum, descriptor, &isnull);
	if (isnull)
		elog(ERROR, "unexpected null in column %d of a cdc table", attnum);
	return value;
}

void
fill_progress(const Progress &progress, Datum *values)
{
	values[kPrCapturedLsn - 1] = LSNGetDatum(progress.captured_lsn);
	values[kPrNextOrdinal - 1] = Int64GetDatum(progress.next_ordinal);
	values[kPrLastStartLsn - 1] = LSNGetDatum(progress.last_start_lsn);
	values[kPrLastEndTime - 1] = TimestampTzGetDatum(progress.last_end_time);
}

void
insert_row(const char *table_name, Datum *values, bool *nulls)
{
	Relation table = table_open(cdc_relation_oid(table_name, false), RowExclusiveLock);
	HeapTuple tuple = heap_form_tuple(RelationGetDescr(table), values, nulls);
	CatalogTupleInsert(table, tuple);
	table_close(table, NoLock);
}

} // namespace

bool
database_read_identity(Identity *identity)
{
	bool found = false;

	/* Tables of these names prove nothing without the extension: anybody may have a schema cdc. */
	if (!OidIsValid(cdc_extension_oid()))
		return false;
	scan_table("_identity", [&](HeapTuple tuple, TupleDesc descriptor) {
		found = true;
		identity->system_identifier =
			static_cast<uint64>(DatumGetInt64(column(tuple, descriptor, kIdSystemIdentifier)));
		identity->timeline = DatumGetInt32(column(tuple, descriptor, kIdTimeline));
		identity->database_oid = DatumGetObjectId(column(tuple, descriptor, kIdDatabaseId));
		identity->slot_name = *DatumGetName(column(tuple, descriptor, kIdSlotName));
		identity->start_lsn = DatumGetLSN(column(tuple, descriptor, kIdStartLsn));
	});
	return found;
}

void
database_mark_enabled(const NameData &slot_name, XLogRecPtr start)
{
	Identity former;
	if (database_read_identity(&former))
		ereport(ERROR,
				(errcode(ERRCODE_DUPLICATE_OBJECT),
				 errmsg("database is already enabled for change data capture"),
				 errdetail("Its slot is \"%s\".", NameStr(former.slot_name))));

	NameData name = slot_name;
	Datum values[kIdentityColumns];
	bool nulls[kIdentityColumns] = {};
	values[kIdOneRow - 1] = BoolGetDatum(true);
	values[kIdSystemIdentifier - 1] = Int64GetDatum(static_cast<int64>(GetSystemIdentifier()));
	values[kIdTimeline - 1] = Int32GetDatum(static_cast<int32>(GetWALInsertionTimeLine()));
	values[kIdDatabaseId - 1] = ObjectIdGetDatum(MyDatabaseId);
	values[kIdSlotName - 1] = NameGetDatum(&name);
	values[kIdStartLsn - 1] = LSNGetDatum(start);
	values[kIdEnabledAt - 1] = TimestampTzGetDatum(GetCurrentTimestamp());
	insert_row("_identity", values, nulls);

	Progress progress = {};
	progress.captured_lsn = start;
	progress.next_ordinal = 1;
	Datum progress_values[kPrColumns];
	bool progress_nulls[kPrColumns] = {};
	fill_progress(progress, progress_values);
	insert_row("_progress", progress_values, progress_nulls);
}

void
database_update_timeline(TimeLineID timeline)
{
	Relation table = table_open(cdc_relation_oid("_identity", false), RowExclusiveLock);
	scan_table("_identity", [&](HeapTuple tuple, TupleDesc descriptor) {
		Datum values[kIdentityColumns] = {};
		bool nulls[kIdentityColumns] = {};
		bool replace[kIdentityColumns] = {};
		values[kIdTimeline - 1] = Int32GetDatum(static_cast<int32>(timeline));
		replace[kIdTimeline - 1] = true;
		HeapTuple changed = heap_modify_tuple(tuple, descriptor, values, nulls, replace);
		CatalogTupleUpdate(table, &tuple->t_self, changed);
	});
	table_close(table, NoLock);
}

CaptureJob
database_read_capture_job()
{
	CaptureJob job = {};
	scan_table("cdc_jobs", [&](HeapTuple tuple, TupleDesc descriptor) {
		char *type = TextDatumGetCString(column(tuple, descriptor, kJobType));
		if (strcmp(type, "capture") != 0)
			return;
		job.exists = true;
		job.maxtrans = DatumGetInt32(column(tuple, descriptor, kJobMaxtrans));
		job.maxscans = DatumGetInt32(column(tuple, descriptor, kJobMaxscans));
		job.continuous = DatumGetBool(column(tuple, descriptor, kJobContinuous));
		job.pollinginterval = DatumGetInt64(column(tuple, descriptor, kJobPollinginterval));
		job.started = DatumGetBool(column(tuple, descriptor, kJobStarted));
	});
	return job;
}

Progress
progress_read(ItemPointer tid)
{
	Progress progress = {};
	bool found = false;

	scan_table("_progress", [&](HeapTuple tuple, TupleDesc descriptor) {
		found = true;
		progress.captured_lsn = DatumGetLSN(column(tuple, descriptor, kPrCapturedLsn));
		progress.next_ordinal = DatumGetInt64(column(tuple, descriptor, kPrNextOrdinal));
		progress.last_start_lsn = DatumGetLSN(column(tuple, descriptor, kPrLastStartLsn));
		progress.last_end_time = DatumGetTimestampTz(column(tuple, descriptor, kPrLastEndTime));
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
	Datum values[kPrColumns];
	bool nulls[kPrColumns] = {};

	fill_progress(progress, values);
	HeapTuple tuple = heap_form_tuple(RelationGetDescr(relation), values, nulls);
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
