/*
 * cleanup.cpp
 *	  One run of cleanup.
 *
 * NOTES
 *	  The order is what makes it right. First the low ends are raised, in one transaction that is committed
 *	  before anything goes: from then on a reader that begins below gets an error, and one that has passed its check
 *	  before holds a lock on its change table, or an older snapshot, that the steps below respect. Then, one
 *	  transaction each: leaves that lie below as a whole are detached and dropped; rows below in the one
 *	  leaf that the mark divides are deleted, `threshold` at a time; and so are rows of the mapping. A crash anywhere
 *	  leaves the low ends where they are, and the next run goes on.
 *
 *	  What is removed is decided by each instance's own low end, which can be above the mark: nobody can
 *	  read below it, and this is how a cleanup that has failed is made up for.
 *
 *	  The writer is not in the way: its leaf covers commits that are not mapped yet, above every mark. Nothing of
 *	  the user's runs here: rows go below the executor, DDL through internal entry points.
 */
#include "cdc.hpp"

#include "base/fault.hpp"
#include "base/guc.hpp"
#include "base/scope.hpp"
#include "catalog/capture_instance.hpp"
#include "catalog/catalog_rows.hpp"
#include "catalog/change_table.hpp"
#include "catalog/instance_remove.hpp"
#include "catalog/lsn_time.hpp"
#include "jobs/cleanup.hpp"
#include "jobs/cleanup_control.hpp"
#include "monitor/error_log.hpp"

extern "C" {
#include "commands/dbcommands.h"
#include "pgstat.h"
#include "postmaster/interrupt.h"
}

namespace cdc::jobs
{

using namespace catalog;

namespace
{

constexpr int kTries = 3;
constexpr long kPauseMs = 200; /* between two tries of a step */

struct Cleanup
{
	DatabaseEntry *entry;
	CleanupRun run;
	int64 threshold;
	bool stopped;
	MemoryContext memory; /* of the run */
	MemoryContext step;	  /* reset after each */
};

/* What is to be done for one change table. */
struct Target
{
	int32 instance_id;
	Oid change_table;
	XLogRecPtr low_end; /* nothing below can be read */
	const char *name;
};

void
show(Cleanup *cleanup, const char *doing)
{
	cleanup_show(cleanup->entry, doing, cleanup->run.leaves_dropped, cleanup->run.rows_deleted);
	pgstat_report_activity(STATE_RUNNING, doing);
}

void
apply_settings()
{
	SetConfigOption("lock_timeout", psprintf("%dms", guc_cleanup_lock_timeout_ms), PGC_SUSET,
					PGC_S_OVERRIDE);
}

/* Between two steps: whether the run shall end here. */
bool
shall_stop(Cleanup *cleanup)
{
	CHECK_FOR_INTERRUPTS();
	if (ConfigReloadPending)
	{
		ConfigReloadPending = false;
		ProcessConfigFile(PGC_SIGHUP);
		apply_settings();
	}
	cleanup->stopped = cleanup->stopped || cleanup->entry->cleanup.stop_requested;
	return cleanup->stopped;
}

void
note_failure(Cleanup *cleanup, const char *message)
{
	if (cleanup->run.message == nullptr)
		cleanup->run.message = MemoryContextStrdup(cleanup->memory, message);
	cleanup->run.status = RunStatus::Failed;
}

void
pause_before_retry()
{
	(void)WaitLatch(MyLatch, WL_LATCH_SET | WL_TIMEOUT | WL_EXIT_ON_PM_DEATH, kPauseMs,
					PG_WAIT_EXTENSION);
	ResetLatch(MyLatch);
}

/*
 * One step in a transaction of its own, tried again when it has failed. on_error(const ErrorData &) is called for the
 * last failure.
 */
template <typename Body, typename OnError>
bool
run_step(Cleanup *cleanup, Body body, OnError on_error)
{
	for (int i = 1;; i++)
	{
		bool last = i == kTries;
		bool done = in_context(cleanup->step, [&] {
			return try_transaction(body, [&](const ErrorData &error) {
				if (last || cleanup->stopped || cleanup->entry->cleanup.stop_requested)
					on_error(error);
			});
		});
		MemoryContextReset(cleanup->step);
		if (done || last || shall_stop(cleanup))
			return done;
		pause_before_retry();
	}
}

const char *
detail_of(const ErrorData &error)
{
	return error.detail != nullptr ? psprintf("%s: %s", error.message, error.detail)
								   : error.message;
}

/* For dm_cdc_errors; stored at the end of the run. */
void
note_error(Cleanup *cleanup, const ErrorData &error, int number)
{
	monitor::error_log_note(cleanup->entry, "cleanup", error, number);
}

void
warn_rows_remain(Cleanup *cleanup, const Target &target, const ErrorData &error)
{
	ereport(WARNING,
			(errcode(error.sqlerrcode),
			 errmsg("expired change rows of capture instance \"%s\" could not be removed",
					target.name),
			 errdetail("SQL Server error 22852: %s", detail_of(error)),
			 errhint(
				 "They cannot be read any more; the next run of the cleanup job tries again.")));
	note_failure(cleanup, psprintf("capture instance \"%s\": %s", target.name, error.message));
	note_error(cleanup, error, 22852);
}

void
warn_held(Cleanup *cleanup, const Target &target)
{
	ErrorData error;
	memset(static_cast<void *>(&error), 0, sizeof(error));
	error.elevel = WARNING;
	error.sqlerrcode = ERRCODE_LOCK_NOT_AVAILABLE;
	error.message = pstrdup("another transaction is changing the instance");
	warn_rows_remain(cleanup, target, error);
}

/* The instances that have started, by their change table's oid, or only one of them. In the run's memory. */
List *
read_targets(Cleanup *cleanup, int32 instance_id)
{
	List *targets = NIL;

	rows_scan("change_tables", "change_tables_pkey", {}, AccessShareLock,
			  [&](Relation relation, HeapTuple tuple) {
				  Row<kCtColumns> row = row_deform<kCtColumns>(relation, tuple);
				  if (row.is_null(kCtStartLsn) ||
					  (instance_id != 0 && DatumGetInt32(row[kCtInstanceId]) != instance_id))
					  return;
				  in_context(cleanup->memory, [&] {
					  auto *target = static_cast<Target *>(palloc(sizeof(Target)));
					  target->instance_id = DatumGetInt32(row[kCtInstanceId]);
					  target->change_table = DatumGetObjectId(row[kCtObjectId]);
					  target->low_end = DatumGetLSN(row[kCtStartLsn]);
					  target->name = pstrdup(NameStr(*DatumGetName(row[kCtCaptureInstance])));
					  targets = lappend(targets, target);
				  });
			  });
	list_sort(targets, [](const ListCell *a, const ListCell *b) {
		auto *left = static_cast<const Target *>(lfirst(a));
		auto *right = static_cast<const Target *>(lfirst(b));
		return left->change_table < right->change_table ? -1 : 1;
	});
	return targets;
}

/* The mark: the smallest mapped LSN that is not older than the cut-off; none when nothing is mapped. */
std::optional<XLogRecPtr>
find_mark(int64 retention_minutes)
{
	std::optional<XLogRecPtr> newest = lsn_time_max(nullptr);
	if (!newest)
		return std::nullopt;
	/* The newest captured commit and not the clock: data stays its full time also when capture is behind. */
	std::optional<TimestampTz> base = lsn_time_of(*newest, nullptr);
	if (!base)
		return std::nullopt;
	return lsn_time_find(TimeRelation::SmallestGreaterThanOrEqual,
						 *base - retention_minutes * USECS_PER_MINUTE, nullptr);
}

/* Raises the low end of one instance; false: another transaction is changing its row. */
bool
raise_low_end(int32 instance_id, XLogRecPtr mark)
{
	ScanKeyData key = scan_key(kCtInstanceId, F_INT4EQ, Int32GetDatum(instance_id));

	if (!rows_try_lock("change_tables", "change_tables_instance_id_key", {&key, 1}))
		return false;
	rows_scan("change_tables", "change_tables_instance_id_key", {&key, 1}, RowExclusiveLock,
			  [&](Relation relation, HeapTuple tuple) {
				  Row<kCtColumns> row = row_deform<kCtColumns>(relation, tuple);
				  if (row.is_null(kCtStartLsn) || DatumGetLSN(row[kCtStartLsn]) >= mark)
					  return;
				  row.set(kCtStartLsn, LSNGetDatum(mark));
				  CatalogTupleUpdate(relation, &tuple->t_self, row_form(relation, row, tuple));
			  });
	return true;
}

/*
 * Raises the low end of every instance that has a lower one. Instances whose row somebody holds, to
 * disable them most likely, are left as they are and returned: nobody's open transaction shall keep the others'
 * changes from expiring. Nothing at or above such a low end is removed, neither here nor in the mapping.
 */
List *
raise_low_ends(Cleanup *cleanup, XLogRecPtr mark)
{
	List *held = NIL;
	ListCell *cell;

	foreach (cell, read_targets(cleanup, 0))
	{
		auto *target = static_cast<Target *>(lfirst(cell));
		if (target->low_end < mark && !raise_low_end(target->instance_id, mark))
			in_context(cleanup->memory, [&] { held = lappend(held, target); });
	}
	return held;
}

void
drop_leaves(Cleanup *cleanup, const Target &target)
{
	List *leaves = NIL;
	ListCell *cell;

	in_transaction([&] {
		in_context(cleanup->memory, [&] {
			leaves = change_table_leaves_below(target.change_table, target.low_end);
		});
	});
	foreach (cell, leaves)
	{
		Oid leaf = lfirst_oid(cell);
		if (shall_stop(cleanup))
			return;
		show(cleanup, psprintf("dropping leaf %d of %d of capture instance \"%s\"",
							   foreach_current_index(cell) + 1, list_length(leaves), target.name));
		/* One that is half detached keeps the others of its table from being detached. */
		if (!run_step(
				cleanup, [&] { change_table_leaf_drop(target.change_table, leaf); },
				[&](const ErrorData &error) { warn_rows_remain(cleanup, target, error); }))
			return;
		cleanup->run.leaves_dropped++;
	}
}

/* Where a deletion in steps has come to. */
struct Deletion
{
	BlockNumber block; /* nothing is left before it */
	int64 deleted;	   /* by the last step */
	bool finished;
};

/*
 * One step in the leaf that the low end divides. Rows lie in the order of their commit LSN, since leaves are only
 * ever appended to: the first one that stays ends it.
 */
void
delete_rows(Oid leaf, XLogRecPtr low_end, int64 threshold, Deletion *deletion)
{
	deletion->deleted = 0;
	deletion->finished = true;
	Relation relation = try_table_open(leaf, RowExclusiveLock);
	if (relation == nullptr)
		return;
	TableScanDesc scan =
		table_beginscan_strat(relation, GetActiveSnapshot(), 0, nullptr, true, false);
	BlockNumber blocks = reinterpret_cast<HeapScanDesc>(scan)->rs_nblocks;
	if (deletion->block < blocks)
	{
		heap_setscanlimits(scan, deletion->block, blocks - deletion->block);
		while (HeapTuple tuple = heap_getnext(scan, ForwardScanDirection))
		{
			bool isnull;
			Datum lsn = heap_getattr(tuple, kChangeStartLsn, RelationGetDescr(relation), &isnull);
			if (!isnull && DatumGetLSN(lsn) >= low_end)
				break;
			deletion->block = ItemPointerGetBlockNumber(&tuple->t_self);
			simple_heap_delete(relation, &tuple->t_self);
			if (++deletion->deleted < threshold)
				continue;
			deletion->finished = false;
			break;
		}
	}
	table_endscan(scan);
	table_close(relation, NoLock);
}

void
delete_boundary_rows(Cleanup *cleanup, const Target &target)
{
	Oid leaf = InvalidOid;
	Deletion deletion = {};

	in_transaction([&] { leaf = change_table_leaf_around(target.change_table, target.low_end); });
	while (OidIsValid(leaf) && !deletion.finished && !shall_stop(cleanup))
	{
		show(cleanup, psprintf("deleting expired rows of capture instance \"%s\"", target.name));
		Deletion next = deletion;
		if (!run_step(
				cleanup,
				[&] {
					next = deletion; /* of an attempt that failed nothing is left */
					delete_rows(leaf, target.low_end, cleanup->threshold, &next);
					CDC_FAULT("cleanup-delete");
				},
				[&](const ErrorData &error) { warn_rows_remain(cleanup, target, error); }))
			return;
		deletion = next;
		cleanup->run.rows_deleted += deletion.deleted;
	}
}

/* One step of the mapping, from *from on. Returns how many rows went. */
int64
delete_mapping(XLogRecPtr *from, XLogRecPtr mark, int64 threshold)
{
	Relation table = table_open(cdc_relation_oid("lsn_time_mapping", false), RowExclusiveLock);
	Relation index = index_open(cdc_relation_oid("lsn_time_mapping_pkey", false), AccessShareLock);
	ScanKeyData keys[2];
	ScanKeyInit(&keys[0], kMapStartLsn, BTGreaterEqualStrategyNumber, F_PG_LSN_GE,
				LSNGetDatum(*from));
	ScanKeyInit(&keys[1], kMapStartLsn, BTLessStrategyNumber, F_PG_LSN_LT, LSNGetDatum(mark));
	SysScanDesc scan = systable_beginscan_ordered(table, index, nullptr, 2, keys);
	int64 count = 0;

	while (count < threshold)
	{
		HeapTuple tuple = systable_getnext_ordered(scan, ForwardScanDirection);
		if (!HeapTupleIsValid(tuple))
			break;
		bool isnull;
		*from = DatumGetLSN(heap_getattr(tuple, kMapStartLsn, RelationGetDescr(table), &isnull));
		CatalogTupleDelete(table, &tuple->t_self);
		count++;
	}
	systable_endscan_ordered(scan);
	index_close(index, AccessShareLock);
	table_close(table, NoLock);
	return count;
}

/* Rows of the mapping below every low end; the row of the mark itself stays, as an anchor in time. */
void
trim_mapping(Cleanup *cleanup, XLogRecPtr mark)
{
	XLogRecPtr from = InvalidXLogRecPtr;
	int64 count = cleanup->threshold;

	while (count == cleanup->threshold && !shall_stop(cleanup))
	{
		show(cleanup, "deleting expired rows of cdc.lsn_time_mapping");
		XLogRecPtr next = from;
		if (!run_step(
				cleanup,
				[&] {
					next = from;
					count = delete_mapping(&next, mark, cleanup->threshold);
					CDC_FAULT("cleanup-mapping");
				},
				[&](const ErrorData &error) {
					ereport(WARNING,
							(errcode(error.sqlerrcode),
							 errmsg("expired rows of cdc.lsn_time_mapping could not be removed"),
							 errdetail("SQL Server error 22853: %s", detail_of(error)),
							 errhint("The next run of the cleanup job tries again.")));
					note_failure(cleanup, psprintf("cdc.lsn_time_mapping: %s", error.message));
					note_error(cleanup, error, 22853);
				}))
			return;
		from = next;
		cleanup->run.mapping_rows_deleted += count;
	}
}

/* Gaps that nobody can come across any more. */
void
forget_gaps(XLogRecPtr mark)
{
	rows_scan("gaps", nullptr, {}, RowExclusiveLock, [&](Relation relation, HeapTuple tuple) {
		Row<kGpColumns> row = row_deform<kGpColumns>(relation, tuple);
		if (!row.is_null(kGpEndLsn) && DatumGetLSN(row[kGpEndLsn]) <= mark)
			CatalogTupleDelete(relation, &tuple->t_self);
	});
}

Cleanup *
begin(DatabaseEntry *entry, bool is_job, int64 threshold)
{
	auto *cleanup = static_cast<Cleanup *>(palloc0(sizeof(Cleanup)));
	cleanup->entry = entry;
	cleanup->threshold = threshold;
	cleanup->memory = CurrentMemoryContext;
	cleanup->step =
		AllocSetContextCreate(CurrentMemoryContext, "cdc cleanup step", ALLOCSET_DEFAULT_SIZES);
	cleanup->run.is_job = is_job;
	cleanup->run.started_at = GetCurrentTimestamp();
	cleanup->run.status = RunStatus::Running;
	apply_settings();
	in_transaction([&] {
		cleanup_run_store(cleanup->run);
		/* A run that a crash ends is known afterwards, and made again. */
		ForceSyncCommit();
	});
	CDC_FAULT("cleanup-begin");
	return cleanup;
}

void
end(Cleanup *cleanup)
{
	cleanup->run.ended_at = GetCurrentTimestamp();
	if (cleanup->stopped)
		cleanup->run.status = RunStatus::Stopped;
	else if (cleanup->run.status == RunStatus::Running)
		cleanup->run.status = RunStatus::Succeeded;
	CDC_FAULT("cleanup-end");
	/* Before it can be seen that it has ended: who sees it may ask for the next one. */
	if (cleanup->run.is_job)
		cleanup_note_end(cleanup->entry);
	in_transaction([&] { cleanup_run_store(cleanup->run); });
	if (cleanup->run.message != nullptr)
		monitor::error_log_store(cleanup->entry);
	pgstat_report_activity(STATE_IDLE, nullptr);
}

/* An instance that was kept when its source was dropped goes when nothing of it can be read any more. */
void
remove_used_up(const Target &target)
{
	bool used_up = false;
	Oid change_table;

	in_transaction([&] {
		CaptureInstance *instance = capture_instance_by_id(target.instance_id, true);
		used_up = instance != nullptr && instance_is_used_up(*instance);
	});
	/* Somebody reads it, or has made something on top of it: the next run comes by. */
	if (used_up)
		(void)instance_remove_dropped(target.instance_id, false, true, &change_table);
}

void
clean_targets(Cleanup *cleanup, List *targets)
{
	ListCell *cell;
	foreach (cell, targets)
	{
		auto *target = static_cast<Target *>(lfirst(cell));
		if (shall_stop(cleanup))
			return;
		drop_leaves(cleanup, *target);
		if (!shall_stop(cleanup))
			delete_boundary_rows(cleanup, *target);
		remove_used_up(*target);
		/* So far, for those who look, and for the row that a crash would leave. */
		in_transaction([&] { cleanup_run_store(cleanup->run); });
	}
}

} // namespace

CleanupRun
cleanup_run_all(DatabaseEntry *entry, int64 retention_minutes, int64 threshold)
{
	Cleanup *cleanup = begin(entry, true, threshold);
	std::optional<XLogRecPtr> mark;
	List *held = NIL;
	List *targets = NIL;

	show(cleanup, "raising the low-water mark");
	bool raised = run_step(
		cleanup,
		[&] {
			mark = find_mark(retention_minutes);
			held = NIL;
			if (mark)
			{
				held = raise_low_ends(cleanup, *mark);
				CDC_FAULT("cleanup-mark");
			}
		},
		[&](const ErrorData &error) {
			ereport(
				WARNING,
				(errcode(error.sqlerrcode), errmsg("cleanup of change tables failed"),
				 errdetail("SQL Server errors 22923 and 22924: the new low-water mark could not "
						   "be stored: %s",
						   detail_of(error)),
				 errhint("Nothing was removed; the next run of the cleanup job tries again.")));
			note_failure(cleanup, error.message);
			note_error(cleanup, error, 22923);
		});
	if (raised && mark)
	{
		XLogRecPtr lowest = *mark;
		ListCell *cell;

		foreach (cell, held)
			warn_held(cleanup, *static_cast<Target *>(lfirst(cell)));
		cleanup->run.low_water_mark = *mark;
		CDC_FAULT("cleanup-marked");
		in_transaction([&] {
			targets = read_targets(cleanup, 0);
			cleanup_run_store(cleanup->run);
		});
		/* One that was enabled meanwhile begins above; nothing can be below but by hand. */
		foreach (cell, targets)
			lowest = Min(lowest, static_cast<Target *>(lfirst(cell))->low_end);
		clean_targets(cleanup, targets);
		trim_mapping(cleanup, lowest);
		if (!shall_stop(cleanup))
			run_step(
				cleanup, [&] { forget_gaps(lowest); },
				[&](const ErrorData &error) {
					note_failure(cleanup, psprintf("cdc.gaps: %s", error.message));
					note_error(cleanup, error, 22924);
				});
	}
	end(cleanup);
	return cleanup->run;
}

CleanupRun
cleanup_run_table(DatabaseEntry *entry, int32 instance_id, int64 threshold)
{
	Cleanup *cleanup = begin(entry, false, threshold);
	List *targets = NIL;

	in_transaction([&] { targets = read_targets(cleanup, instance_id); });
	if (targets != NIL)
		cleanup->run.low_water_mark = static_cast<Target *>(linitial(targets))->low_end;
	clean_targets(cleanup, targets);
	end(cleanup);
	if (cleanup->stopped && cleanup->run.message == nullptr)
		cleanup->run.message = "the run was stopped";
	return cleanup->run;
}

} // namespace cdc::jobs
