/*
 * change_writer.cpp
 *	  Batches of source transactions.
 */
#include "cdc.hpp"

#include "base/fault.hpp"
#include "base/guc.hpp"
#include "base/scope.hpp"
#include "capture/change_writer.hpp"
#include "capture/ddl_apply.hpp"
#include "capture/row_writer.hpp"
#include "catalog/catalog.hpp"
#include "catalog/catalog_rows.hpp"
#include "catalog/instance_rows.hpp"
#include "catalog/internal_ddl.hpp"
#include "worker/registry.hpp"

extern "C" {
#include "access/transam.h"
#include "pgstat.h"
#include "replication/origin.h"
#include "utils/inval.h"
}

namespace cdc::capture
{

namespace
{

/* A batch is committed when its rows reach this. 64 kB batches halved the speed. */
constexpr Size kBatchBytes = Size{4} * 1024 * 1024;
constexpr long kVisibleNapMs = 5;
constexpr int kMappingIndexes = 2;
constexpr uint64 kEmptyCachesEvery = 256; /* DDL commands of our own */

/*
 * The server's caches keep for ever what was looked up in vain, and DDL does so for names and oids of its own
 * making: some kB for each leaf or table that has come and gone. It empties them itself when it has missed
 * invalidations, so they are there again at once.
 */
void
empty_caches(ChangeWriter *writer)
{
	uint64 count = catalog::internal_ddl_count();

	if (likely(count - writer->caches_emptied_at < kEmptyCachesEvery))
		return;
	writer->caches_emptied_at = count;
	InvalidateSystemCaches();
}

void
begin_batch(ChangeWriter *writer)
{
	if (writer->batch_open)
		return;
	StartTransactionCommand();
	empty_caches(writer);
	PushActiveSnapshot(GetTransactionSnapshot());
	MemoryContextSwitchTo(writer->batch_context);
	writer->batch_open = true;
	CDC_FAULT("writer-begin");
}

/* Adds what a committed batch has written to the counters of pg_stat_cdc_tables. */
void
count_rows(Instance *instance)
{
	int64 *written = instance->written;
	if (written[1] == 0 && written[2] == 0 && written[4] == 0)
		return;
	if (instance->counters == nullptr)
		instance->counters = monitor::instance_counters_get(instance->instance_id);
	if (monitor::InstanceCounters *counters = instance->counters)
	{
		/* We are the only one who writes them. */
		auto add = [](pg_atomic_uint64 *counter, int64 more) {
			pg_atomic_write_u64(counter, pg_atomic_read_u64(counter) + more);
		};
		add(&counters->deletes, written[1]);
		add(&counters->inserts, written[2]);
		add(&counters->updates, written[4]);
		pg_atomic_write_u64(&counters->last_lsn, instance->last_lsn);
		pg_atomic_write_u64(&counters->last_time, instance->last_time);
	}
	memset(written, 0, sizeof(instance->written));
}

/* Commits the open batch and publishes it. */
void
commit_batch(ChangeWriter *writer)
{
	Assert(writer->batch_open && !writer->in_transaction);

	monitor::scan_session_phase(monitor::ScanPhase::Committing);
	ListCell *cell;
	foreach (cell, writer->batch_instances)
		close_instance(static_cast<Instance *>(lfirst(cell)));
	if (writer->mapping != nullptr)
	{
		table_append_close(writer->mapping);
		writer->mapping = nullptr;
	}
	CDC_FAULT("writer-progress");
	Relation progress = table_open(catalog::cdc_relation_oid("_progress", false), RowExclusiveLock);
	catalog::progress_write(progress, &writer->progress_tid, writer->progress);
	table_close(progress, NoLock);

	replorigin_session_origin_lsn = writer->progress.captured_lsn;
	replorigin_session_origin_timestamp = writer->progress.last_end_time;
	CDC_FAULT("writer-commit");
	PopActiveSnapshot();
	CommitTransactionCommand();
	CDC_FAULT("writer-committed");
	/* Autovacuum knows of our rows by the statistics only. Once a second at most. */
	(void)pgstat_report_stat(false);
	MemoryContextSwitchTo(writer->memory);
	foreach (cell, writer->batch_instances)
	{
		Instance *instance = static_cast<Instance *>(lfirst(cell));
		count_rows(instance);
		instance->in_batch = false;
	}
	writer->batch_instances = NIL;
	MemoryContextReset(writer->batch_context);
	writer->events = NIL;
	writer->batch_open = false;
	writer->batch_transactions = 0;
	writer->batch_bytes = 0;

	/* Our commit is asynchronous: the slot is confirmed when it has reached the disk. */
	Channel *channel = writer->channel;
	SpinLockAcquire(&channel->mutex);
	channel->progress_lsn = writer->progress.captured_lsn;
	channel->own_commit_lsn = XactLastCommitEnd;
	SpinLockRelease(&channel->mutex);
	CDC_FAULT("writer-published");
	writer->saved_position = writer->progress.captured_lsn;

	DatabaseEntry *entry = writer->entry;
	pg_atomic_write_u64(&entry->rows, pg_atomic_read_u64(&entry->rows) + writer->batch_rows);
	pg_atomic_write_u64(&entry->changes,
						pg_atomic_read_u64(&entry->changes) + writer->batch_changes);
	writer->batch_rows = 0;
	writer->batch_changes = 0;
	forget_instances(writer);
	monitor::scan_session_note(writer->counts, writer->progress.captured_lsn);
	writer->counts = {};
	monitor::scan_session_phase(monitor::ScanPhase::Reading);
	worker::registry_note_success(entry);
}

/* Everything up to `lsn` is visible from now on: who waits for it goes on. */
void
publish_captured(ChangeWriter *writer, XLogRecPtr lsn)
{
	if (lsn <= pg_atomic_read_u64(&writer->entry->captured_lsn))
		return;
	pg_atomic_write_u64(&writer->entry->captured_lsn, lsn);
	ConditionVariableBroadcast(&writer->entry->progress_cv);
}

void
take_begin(ChangeWriter *writer, const BeginItem *item)
{
	if (writer->in_transaction || item->end_lsn <= writer->progress.captured_lsn ||
		item->commit_lsn <= writer->progress.last_start_lsn)
		ereport(ERROR,
				(errcode(ERRCODE_DATA_CORRUPTED),
				 errmsg("transaction %X/%X (end %X/%X) was delivered out of order",
						CDC_LSN_FORMAT_ARGS(item->commit_lsn), CDC_LSN_FORMAT_ARGS(item->end_lsn)),
				 errdetail("cdc._progress says that all up to %X/%X is captured, and that the last "
						   "transaction was %X/%X.",
						   CDC_LSN_FORMAT_ARGS(writer->progress.captured_lsn),
						   CDC_LSN_FORMAT_ARGS(writer->progress.last_start_lsn)),
				 errhint("If somebody has changed that row, put the former values back, or CALL "
						 "cdc.discard_kept_wal(true), which records a gap.")));
	begin_batch(writer);
	writer->in_transaction = true;
	writer->commit_lsn = item->commit_lsn;
	writer->begin_lsn = item->begin_lsn;
	writer->commit_time = item->commit_time;
	monitor::scan_session_begin();
	monitor::scan_session_phase(monitor::ScanPhase::Writing);
	pg_atomic_write_u64(&writer->entry->writing_lsn, item->commit_lsn);
	writer->xid = item->xid;
	writer->is_visible = false;
}

/* One row of lsn_time_mapping. */
void
append_mapping(ChangeWriter *writer, XLogRecPtr start_lsn, TimestampTz begin_time,
			   TimestampTz end_time, FullTransactionId xid, XLogRecPtr begin_lsn, int64 nchanges)
{
	if (writer->mapping == nullptr)
	{
		writer->mapping = table_append_open(catalog::cdc_relation_oid("lsn_time_mapping", false),
											kMappingIndexes, "change data capture");
		if (writer->mapping == nullptr)
			elog(ERROR, "could not open cdc.lsn_time_mapping");
	}

	/* Monotone in LSN, so that time windows neither skip nor repeat. */
	end_time = Max(end_time, writer->progress.last_end_time);

	catalog::Row<catalog::kMapColumns> row;
	row.set(catalog::kMapStartLsn, LSNGetDatum(start_lsn));
	row.set(catalog::kMapTranBeginTime, TimestampTzGetDatum(Min(begin_time, end_time)));
	if (begin_time == 0)
		row.set_null(catalog::kMapTranBeginTime);
	row.set(catalog::kMapTranEndTime, TimestampTzGetDatum(end_time));
	row.set(catalog::kMapTranId, UInt64GetDatum(U64FromFullTransactionId(xid)));
	row.set(catalog::kMapTranBeginLsn, LSNGetDatum(begin_lsn));
	if (XLogRecPtrIsInvalid(begin_lsn))
		row.set_null(catalog::kMapTranBeginLsn);
	row.set(catalog::kMapFirstOrdinal, Int64GetDatum(writer->progress.next_ordinal));
	row.set(catalog::kMapChangeCount, Int64GetDatum(nchanges));
	HeapTuple tuple = catalog::row_form(writer->mapping->relation, row);
	table_append_row(writer->mapping, tuple->t_data, tuple->t_len);

	writer->progress.next_ordinal += nchanges;
	writer->progress.last_start_lsn = start_lsn;
	writer->progress.last_end_time = end_time;
}

/* The 32-bit xid of a transaction that ended lately, with its epoch. */
FullTransactionId
full_xid(TransactionId xid)
{
	FullTransactionId next = ReadNextFullTransactionId();
	uint32 epoch = EpochFromFullTransactionId(next);
	if (xid > XidFromFullTransactionId(next))
		epoch--;
	return FullTransactionIdFromEpochAndXid(epoch, xid);
}

/* Types that changed without DDL being seen (event triggers were off) are history, too. */
void
record_unseen_changes(ChangeWriter *writer, const CommitItem *item)
{
	ListCell *cell;

	if (likely(!writer->has_unseen_changes))
		return;
	writer->has_unseen_changes = false;
	foreach (cell, writer->instances)
	{
		Instance *instance = static_cast<Instance *>(lfirst(cell));
		if (instance->unseen_change == nullptr)
			continue;
		bool seen = false;
		ListCell *event_cell;
		foreach (event_cell, writer->events)
		{
			auto *event = static_cast<Event *>(lfirst(event_cell));
			seen = seen || (event->instance_id == instance->instance_id &&
							event->kind == static_cast<char>(catalog::QueueKind::AlterType));
		}
		if (!seen)
			ddl_record_unseen(instance->instance_id, instance->change_table,
							  instance->unseen_source, instance->unseen_change, item->commit_lsn,
							  item->commit_time);
		instance->unseen_change = nullptr;
	}
}

/*
 * Events of the decoder about what a source logs. A weak identity alone is no gap: the first change without
 * its old row is.
 */
bool
take_source_state(ChangeWriter *writer, const Event *event)
{
	auto kind = static_cast<catalog::QueueKind>(event->kind);
	bool is_sound = kind == catalog::QueueKind::Sound;
	bool is_unlogged = kind == catalog::QueueKind::Unlogged;

	if (!is_sound && !is_unlogged && kind != catalog::QueueKind::WeakIdentity)
		return false;
	Instance *instance = find_instance(writer, event->instance_id, event->change_table);
	if (instance->discarded)
		return true;
	if (is_unlogged)
		instance_gap_begin(&instance->gap, GapCause::Unlogged, instance->change_table,
						   instance->what, event->source, writer->commit_lsn);
	else if (is_sound && instance->gap.cause != GapCause::None)
	{
		instance_gap_source_sound(&instance->gap, event->source, writer->commit_lsn);
		writer->gap_ends = true;
	}
	return true;
}

/* Ends gaps whose cause is gone. Returns whether there was one: its end must be readable. */
bool
end_gaps(ChangeWriter *writer)
{
	bool ended = false;
	ListCell *cell;

	if (!writer->gap_ends)
		return false;
	writer->gap_ends = false;
	foreach (cell, writer->instances)
	{
		Instance *instance = static_cast<Instance *>(lfirst(cell));
		if (instance_gap_commit(&instance->gap, instance->change_table, instance->what,
								writer->commit_lsn))
			ended = true;
	}
	return ended;
}

void
take_commit(ChangeWriter *writer, const CommitItem *item)
{
	if (!writer->in_transaction || item->commit_lsn != writer->commit_lsn)
		elog(ERROR, "commit at %X/%X ends no transaction of the queue",
			 CDC_LSN_FORMAT_ARGS(item->commit_lsn));

	bool wants_mapping = item->nchanges > 0;
	bool empties_mapping = false;
	ListCell *cell;
	if (writer->events != NIL)
		wait_until_visible(writer);
	if (writer->events != NIL)
		monitor::scan_session_phase(monitor::ScanPhase::SchemaVersioning);
	foreach (cell, writer->events)
	{
		Event *event = static_cast<Event *>(lfirst(cell));
		if (take_source_state(writer, event))
		{
			/* A gap's start is read up to just before it. */
			wants_mapping =
				wants_mapping || event->kind == static_cast<char>(catalog::QueueKind::Unlogged);
			continue;
		}
		if (!(event->kind == static_cast<char>(catalog::QueueKind::EnableTable) ||
			  event->kind == static_cast<char>(catalog::QueueKind::DisableTable)))
			writer->counts.schema_changes++;
		EventEffect effect = ddl_event_apply(event, item->commit_lsn, item->commit_time);
		CDC_FAULT("event-apply");
		wants_mapping = wants_mapping || effect.wants_mapping;
		empties_mapping = empties_mapping || effect.last_instance_gone;
		writer->starts_wait = writer->starts_wait || effect.may_start_later;
		if (effect.instance_gone || effect.source_gone)
		{
			Instance *instance = find_instance(writer, event->instance_id, event->change_table);
			close_instance(instance);
			instance->discarded = true;
			instance->counters = nullptr;
			monitor::instance_counters_remove(event->instance_id);
			memset(instance->written, 0, sizeof(instance->written));
		}
		if (effect.instance_gone)
			pending_drops_add_table(&writer->drops, event->change_table);
		if (effect.removes_instance)
			pending_drops_add_instance(&writer->drops, event->instance_id);
	}
	record_unseen_changes(writer, item);
	list_free(writer->events);
	writer->events = NIL;
	if (end_gaps(writer))
		wants_mapping = true;

	if (empties_mapping)
	{
		if (writer->mapping != nullptr)
		{
			table_append_close(writer->mapping);
			writer->mapping = nullptr;
		}
		CommandCounterIncrement(); /* rows of this batch go too */
		ddl_empty_mapping();
		wants_mapping = false;
		/* Ordinals go on for ever. */
		writer->progress.next_ordinal += item->nchanges;
		writer->progress.last_start_lsn = item->commit_lsn;
	}
	CDC_FAULT("writer-mapping");
	if (wants_mapping)
		append_mapping(writer, item->commit_lsn, item->begin_time, item->commit_time,
					   item->nchanges > 0 ? full_xid(item->xid) : InvalidFullTransactionId,
					   item->nchanges > 0 ? item->begin_lsn : InvalidXLogRecPtr, item->nchanges);

	writer->progress.captured_lsn = item->end_lsn;
	writer->in_transaction = false;
	writer->batch_transactions++;
	writer->batch_changes += item->nchanges;
	DatabaseEntry *entry = writer->entry;
	if (item->nchanges > 0)
	{
		writer->last_activity = GetCurrentTimestamp();
		pg_atomic_write_u64(&entry->written_lsn, item->end_lsn);
		pg_atomic_write_u64(&entry->last_commit_time, item->commit_time);
		pg_atomic_write_u64(&entry->transactions, pg_atomic_read_u64(&entry->transactions) + 1);
		writer->counts.transactions++;
		writer->counts.changes += item->nchanges;
		if (XLogRecPtrIsInvalid(writer->counts.first_begin_lsn))
			writer->counts.first_begin_lsn = item->begin_lsn;
		writer->counts.last_commit_lsn = item->commit_lsn;
		writer->counts.last_commit_time = item->commit_time;
	}
}

void
take_item(ChangeWriter *writer, ItemHeader *item)
{
	switch (item->kind)
	{
		case ItemKind::Begin:
			take_begin(writer, reinterpret_cast<BeginItem *>(item));
			return;
		case ItemKind::Layout:
			take_layout(writer, reinterpret_cast<LayoutItem *>(item));
			return;
		case ItemKind::Row:
			take_row(writer, reinterpret_cast<RowItem *>(item));
			return;
		case ItemKind::Event:
			writer->events =
				lappend(writer->events, ddl_event_copy(reinterpret_cast<EventItem *>(item)));
			return;
		case ItemKind::Commit:
			take_commit(writer, reinterpret_cast<CommitItem *>(item));
			return;
		case ItemKind::Position:
			writer->position = *reinterpret_cast<PositionItem *>(item);
			return;
	}
	elog(ERROR, "unknown item %d in the capture queue", static_cast<int>(item->kind));
}

/* What waits for other transactions, and does not hold capture up. */
void
run_leftovers(ChangeWriter *writer)
{
	pending_drops_run(&writer->drops);
	if (writer->starts_wait)
		in_transaction([&] { writer->starts_wait = !catalog::instances_start_rest(); });
}

} // namespace

void
wait_until_visible(ChangeWriter *writer)
{
	while (!writer->is_visible && !compat_transaction_has_ended(writer->xid))
	{
		(void)WaitLatch(MyLatch, WL_LATCH_SET | WL_TIMEOUT | WL_EXIT_ON_PM_DEATH, kVisibleNapMs,
						PG_WAIT_EXTENSION);
		ResetLatch(MyLatch);
		CHECK_FOR_INTERRUPTS();
		if (writer->entry->stop_requested)
		{
			worker::registry_writer_exits_cleanly();
			proc_exit(0);
		}
	}
	writer->is_visible = true;
}

ChangeWriter *
change_writer_create(DatabaseEntry *entry, Channel *channel, MemoryContext parent)
{
	MemoryContext old = MemoryContextSwitchTo(parent);
	ChangeWriter *writer = static_cast<ChangeWriter *>(palloc0(sizeof(ChangeWriter)));
	writer->entry = entry;
	writer->channel = channel;
	writer->memory = parent;
	writer->batch_context =
		AllocSetContextCreate(parent, "cdc transaction", ALLOCSET_DEFAULT_SIZES);
	writer->moved_context =
		AllocSetContextCreate(parent, "cdc moved columns", ALLOCSET_DEFAULT_SIZES);
	writer->last_activity = GetCurrentTimestamp();
	in_transaction([&] {
		writer->progress = catalog::progress_read(&writer->progress_tid);
		pending_drops_init(&writer->drops, parent);
	});
	writer->starts_wait = true;
	writer->saved_position = writer->progress.captured_lsn;
	writer->careful_until = pg_atomic_read_u64(&entry->writing_lsn);
	pg_atomic_write_u64(&entry->captured_lsn, writer->progress.captured_lsn);
	pg_atomic_write_u64(&entry->written_lsn, writer->progress.captured_lsn);
	MemoryContextSwitchTo(old);
	return writer;
}

const catalog::Progress &
change_writer_progress(const ChangeWriter *writer)
{
	return writer->progress;
}

Size
change_writer_take(ChangeWriter *writer, char *chunk, Size length, Size offset, int64 *budget)
{
	while (offset < length)
	{
		ItemHeader *item = queue_next_item(chunk, length, &offset);
		take_item(writer, item);
		if (item->kind != ItemKind::Commit)
			continue;

		/* A batch ends at a source commit. What follows in the chunk belongs to the next one. */
		--*budget;
		if (writer->batch_bytes >= kBatchBytes || *budget <= 0 ||
			writer->batch_transactions >= writer->entry->scan.maxtrans ||
			writer->commit_lsn < writer->careful_until)
			change_writer_commit(writer);
		if (*budget <= 0)
			break;
	}

	/* The chunk's memory goes back to the decoder: nothing may point into it any more. */
	if (writer->batch_open)
	{
		flush_instances(writer);
		CDC_FAULT("writer-chunk");
	}
	writer->row = nullptr;

	MemoryContextReset(writer->moved_context);
	return offset;
}

XLogRecPtr
change_writer_transaction(const ChangeWriter *writer)
{
	return writer->in_transaction ? writer->commit_lsn : InvalidXLogRecPtr;
}

ChangePlace
change_writer_place(const ChangeWriter *writer)
{
	ChangePlace place = {};

	if (!writer->in_transaction)
		return place;
	place.begin_lsn = writer->begin_lsn;
	if (writer->row != nullptr)
	{
		/* __$start_lsn, then __$seqval: __$end_lsn between them is NULL. */
		const char *values = reinterpret_cast<const char *>(writer->row) + writer->row->t_hoff;
		memcpy(&place.seqval, values + sizeof(XLogRecPtr), sizeof(XLogRecPtr));
	}
	return place;
}

XLogRecPtr
change_writer_read_lsn(const ChangeWriter *writer)
{
	return Max(writer->progress.captured_lsn, writer->position.end_lsn);
}

bool
change_writer_at_boundary(const ChangeWriter *writer)
{
	return !writer->in_transaction;
}

void
change_writer_commit(ChangeWriter *writer)
{
	if (writer->in_transaction)
		return;
	if (writer->batch_open)
		commit_batch(writer);
	/* Before it is published: who waits for a DROP TABLE to be captured finds the instance gone. */
	run_leftovers(writer);
	publish_captured(writer, Max(writer->progress.captured_lsn, writer->position.end_lsn));
}

void
change_writer_save_position(ChangeWriter *writer, uint64 bytes)
{
	if (writer->in_transaction || writer->position.end_lsn <= writer->saved_position + bytes)
		return;
	begin_batch(writer);
	CDC_FAULT("writer-position");
	writer->progress.captured_lsn = Max(writer->progress.captured_lsn, writer->position.end_lsn);
	change_writer_commit(writer);
}

void
change_writer_idle(ChangeWriter *writer, int64 idle_us)
{
	if (writer->in_transaction || writer->batch_open)
		return;
	run_leftovers(writer);
	if (idle_us == 0 || writer->position.end_lsn <= writer->progress.captured_lsn ||
		writer->position.record_lsn <= writer->progress.last_start_lsn)
		return;
	TimestampTz now = GetCurrentTimestamp();
	/* In the future when the clock has been set back. */
	if (now >= writer->last_activity && now - writer->last_activity < idle_us)
		return;
	writer->last_activity = now;

	begin_batch(writer);
	CDC_FAULT("writer-idle-mapping");
	if (ddl_any_instance())
		append_mapping(writer, writer->position.record_lsn, 0, writer->position.time,
					   InvalidFullTransactionId, InvalidXLogRecPtr, 0);
	writer->progress.captured_lsn = writer->position.end_lsn;
	change_writer_commit(writer);
}

} // namespace cdc::capture
