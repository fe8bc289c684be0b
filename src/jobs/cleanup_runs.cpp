/*
 * cleanup_runs.cpp
 *	  cdc.cleanup_runs.
 */
#include "cdc.hpp"

#include "catalog/catalog_rows.hpp"
#include "jobs/cleanup_runs.hpp"

extern "C" {
#include "commands/sequence.h"
}

namespace cdc::jobs
{

using namespace catalog;

namespace
{

constexpr const char *kTable = "cleanup_runs";
constexpr const char *kIndex = "cleanup_runs_pkey";
constexpr int64 kKeptRuns = 100;
constexpr const char *kStatusTexts[] = {"running", "succeeded", "failed", "stopped", "interrupted"};

RunStatus
status_from(const char *text)
{
	for (size_t i = 0; i < std::size(kStatusTexts); i++)
		if (strcmp(text, kStatusTexts[i]) == 0)
			return static_cast<RunStatus>(i);
	return RunStatus::Failed;
}

CleanupRun
run_from_row(const Row<kCrColumns> &row)
{
	CleanupRun run = {};
	run.run_id = DatumGetInt64(row[kCrRunId]);
	run.is_job = strcmp(TextDatumGetCString(row[kCrRequest]), "job") == 0;
	run.started_at = DatumGetTimestampTz(row[kCrStartedAt]);
	run.ended_at = row.is_null(kCrEndedAt) ? 0 : DatumGetTimestampTz(row[kCrEndedAt]);
	run.status = status_from(TextDatumGetCString(row[kCrStatus]));
	run.low_water_mark = row.is_null(kCrLowWaterMark) ? 0 : DatumGetLSN(row[kCrLowWaterMark]);
	run.leaves_dropped = DatumGetInt64(row[kCrLeavesDropped]);
	run.rows_deleted = DatumGetInt64(row[kCrRowsDeleted]);
	run.mapping_rows_deleted = DatumGetInt64(row[kCrMappingRowsDeleted]);
	run.message = row.is_null(kCrMessage) ? nullptr : TextDatumGetCString(row[kCrMessage]);
	return run;
}

Row<kCrColumns>
row_from_run(const CleanupRun &run)
{
	Row<kCrColumns> row;
	row.set(kCrRunId, Int64GetDatum(run.run_id));
	row.set(kCrRequest, CStringGetTextDatum(run.is_job ? "job" : "change table"));
	row.set(kCrStartedAt, TimestampTzGetDatum(run.started_at));
	row.set_null(kCrEndedAt);
	if (run.ended_at != 0)
		row.set(kCrEndedAt, TimestampTzGetDatum(run.ended_at));
	row.set(kCrStatus, CStringGetTextDatum(run_status_text(run.status)));
	row.set_null(kCrLowWaterMark);
	if (run.low_water_mark != InvalidXLogRecPtr)
		row.set(kCrLowWaterMark, LSNGetDatum(run.low_water_mark));
	row.set(kCrLeavesDropped, Int64GetDatum(run.leaves_dropped));
	row.set(kCrRowsDeleted, Int64GetDatum(run.rows_deleted));
	row.set(kCrMappingRowsDeleted, Int64GetDatum(run.mapping_rows_deleted));
	row.set_null(kCrMessage);
	if (run.message != nullptr)
		row.set(kCrMessage, CStringGetTextDatum(run.message));
	return row;
}

/* Calls body(run) for each run, the newest first, until it returns false. */
template <typename Body>
void
newest_first(Body body)
{
	Relation table = table_open(cdc_relation_oid(kTable, false), AccessShareLock);
	Relation index = index_open(cdc_relation_oid(kIndex, false), AccessShareLock);
	SysScanDesc scan = systable_beginscan_ordered(table, index, nullptr, 0, nullptr);

	while (HeapTuple tuple = systable_getnext_ordered(scan, BackwardScanDirection))
		if (!body(run_from_row(row_deform<kCrColumns>(table, tuple))))
			break;
	systable_endscan_ordered(scan);
	index_close(index, AccessShareLock);
	table_close(table, AccessShareLock);
}

void
forget_old_runs(int64 newest)
{
	rows_scan(kTable, nullptr, {}, RowExclusiveLock, [&](Relation relation, HeapTuple tuple) {
		if (run_from_row(row_deform<kCrColumns>(relation, tuple)).run_id <= newest - kKeptRuns)
			CatalogTupleDelete(relation, &tuple->t_self);
	});
}

} // namespace

const char *
run_status_text(RunStatus status)
{
	return kStatusTexts[static_cast<int>(status)];
}

void
cleanup_run_store(CleanupRun &run)
{
	if (run.run_id == 0)
	{
		Oid sequence = cdc_relation_oid("cleanup_runs_run_id_seq", false);
		run.run_id = DatumGetInt64(DirectFunctionCall1(nextval_oid, ObjectIdGetDatum(sequence)));
		forget_old_runs(run.run_id);
		Relation relation = table_open(cdc_relation_oid(kTable, false), RowExclusiveLock);
		Row<kCrColumns> row = row_from_run(run);
		row_insert(relation, row);
		table_close(relation, NoLock);
		CommandCounterIncrement();
		return;
	}
	ScanKeyData key = scan_key(kCrRunId, F_INT8EQ, Int64GetDatum(run.run_id));
	rows_scan(kTable, kIndex, {&key, 1}, RowExclusiveLock, [&](Relation relation, HeapTuple tuple) {
		Row<kCrColumns> row = row_from_run(run);
		CatalogTupleUpdate(relation, &tuple->t_self, row_form(relation, row, tuple));
	});
	CommandCounterIncrement();
}

std::optional<CleanupRun>
cleanup_run_last_job()
{
	std::optional<CleanupRun> last;
	newest_first([&](const CleanupRun &run) {
		if (run.is_job)
			last = run;
		return !run.is_job;
	});
	return last;
}

bool
cleanup_runs_mark_interrupted()
{
	bool found = false;
	List *left = NIL;
	ListCell *cell;

	newest_first([&](const CleanupRun &run) {
		if (run.status != RunStatus::Running)
			return true;
		auto *copy = static_cast<CleanupRun *>(palloc(sizeof(CleanupRun)));
		*copy = run;
		left = lappend(left, copy);
		return true;
	});
	foreach (cell, left)
	{
		auto *run = static_cast<CleanupRun *>(lfirst(cell));
		run->status = RunStatus::Interrupted;
		run->ended_at = GetCurrentTimestamp();
		run->message = "the cleanup worker has ended before its time";
		cleanup_run_store(*run);
		found = found || run->is_job;
	}
	return found;
}

int
cleanup_runs_failed_in_a_row()
{
	int count = 0;
	newest_first([&](const CleanupRun &run) {
		if (!run.is_job)
			return true;
		if (run.status != RunStatus::Failed && run.status != RunStatus::Interrupted)
			return false;
		count++;
		return true;
	});
	return count;
}

} // namespace cdc::jobs
