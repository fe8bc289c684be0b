/*
 * change_writer.cpp
 *	  Batches of source transactions.
 *
 * NOTES
 *	  Every row names a layout that the decoder has announced. The writer checks a layout against
 *	  each leaf that it writes to, and lets the change table follow where it has no place; rows of an instance that today's catalog no longer
 *	  has are discarded, but their transaction keeps its mapping row and its ordinals, so that work
 *	  done again after a crash gets the same numbers.
 */
#include "cdc.hpp"

#include "base/fault.hpp"
#include "base/guc.hpp"
#include "base/scope.hpp"
#include "capture/change_writer.hpp"
#include "capture/ddl_apply.hpp"
#include "capture/instance_gaps.hpp"
#include "capture/pending_drops.hpp"
#include "capture/table_append.hpp"
#include "capture/type_change.hpp"
#include "catalog/catalog.hpp"
#include "catalog/catalog_rows.hpp"
#include "catalog/change_table.hpp"
#include "catalog/instance_rows.hpp"
#include "monitor/scan_sessions.hpp"
#include "worker/registry.hpp"

extern "C" {
#include "access/detoast.h"
#include "access/transam.h"
#include "pgstat.h"
#include "replication/origin.h"
}

namespace cdc::capture
{

namespace
{

/* A batch is committed when its rows reach this. 64 kB batches halved the speed. */
constexpr Size kBatchBytes = Size{4} * 1024 * 1024;
constexpr long kVisibleNapMs = 5;
constexpr int kMappingIndexes = 2;
constexpr int kLeafIndexes = 1;

struct LeafRange
{
	Oid leaf;
	XLogRecPtr low;
	XLogRecPtr high; /* exclusive */
};

/* Values of __$operation are below this. */
constexpr int kOperations = 5;

/* What the writer knows of a capture instance, across batches. */
struct Instance
{
	int32 instance_id;
	Oid change_table;
	bool discarded;	 /* today's catalog does not have it any more */
	char what[128];	 /* for messages */
	LeafRange range; /* of the leaf in use */
	InstanceGap gap;
	BlockNumber summarized;
	TableAppend *append; /* open in the current batch, or NULL */

	monitor::InstanceCounters *counters; /* NULL: not asked for yet, or no room */
	int64 written[kOperations];			 /* rows of the current batch by operation */
	TimestampTz last_time;				 /* commit time of the last of them ... */
	XLogRecPtr last_lsn;				 /* ... and its LSN */

	/* The change table was altered in the open transaction: for ddl_history, unless DDL says why. */
	char *unseen_change;
	Oid unseen_source;
};

/* Each source relation (a leaf of a partitioned table, say) has a layout of its own. */
struct Layout
{
	Instance *instance;
	Oid source;	   /* table or partition that the rows are of */
	bool is_sound; /* it logs what the instance was promised */
	GapCause lost; /* why values of some column cannot be stored */
	Oid leaf;	   /* that has been checked to have a place for the columns; InvalidOid: none yet */
	int ncolumns;
	LayoutColumn *columns;

	/* NULL when rows can be stored as they come, else where each of their columns goes. */
	AttrNumber *places;
	TupleDesc descriptor; /* of rows as they come */
};

} // namespace

struct ChangeWriter
{
	DatabaseEntry *entry;
	Channel *channel;
	MemoryContext memory;		 /* process */
	MemoryContext batch_context; /* reset after each batch */
	MemoryContext moved_context; /* rows whose columns were moved, reset after each chunk */
	catalog::Progress progress;	 /* of the open batch; durable when it commits */
	XLogRecPtr saved_position;	 /* progress.captured_lsn as last committed */

	/*
	 * Where the former writer ended. When that was an error its whole batch was lost, and will be
	 * again: up to there each transaction is a batch, so that everything before the error is visible.
	 */
	XLogRecPtr careful_until;
	ItemPointerData progress_tid;

	Layout *layouts; /* by number - 1 */
	int nlayouts;
	int layouts_size;
	List *instances; /* Instance * */
	int forget_at;	 /* when there are so many of them, those that are gone are looked for */

	bool batch_open;
	int batch_transactions;
	Size batch_bytes;
	uint64 batch_rows;
	uint64 batch_changes;
	monitor::BatchCounts counts; /* of the open batch, for its scan session */
	TableAppend *mapping;

	bool in_transaction; /* between Begin and Commit */
	XLogRecPtr commit_lsn;
	XLogRecPtr begin_lsn;
	TimestampTz commit_time;
	HeapTupleHeader row; /* the last one taken, while its chunk is there; else NULL */
	TransactionId xid;
	bool is_visible; /* the source transaction, to us: known, not guessed */
	List *events;	 /* Event *, of the current source transaction, in batch_context */
	PendingDrops drops;
	bool gap_ends;	  /* an instance's gap may be over with the current source transaction */
	bool starts_wait; /* low ends may wait for a row of change_tables that somebody holds */

	PositionItem position; /* the newest, if position.end_lsn is valid */
	TimestampTz last_activity;
};

namespace
{

void
begin_batch(ChangeWriter *writer)
{
	if (writer->batch_open)
		return;
	StartTransactionCommand();
	PushActiveSnapshot(GetTransactionSnapshot());
	MemoryContextSwitchTo(writer->batch_context);
	writer->batch_open = true;
	CDC_FAULT("writer-begin");
}

void
flush_instances(ChangeWriter *writer)
{
	ListCell *cell;
	foreach (cell, writer->instances)
	{
		Instance *instance = static_cast<Instance *>(lfirst(cell));
		if (instance->append != nullptr)
			table_append_flush(instance->append);
	}
}

void
close_instance(Instance *instance)
{
	if (instance->append == nullptr)
		return;
	table_append_flush(instance->append);
	instance->summarized = instance->append->summarized;
	table_append_close(instance->append);
	instance->append = nullptr;
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

/* Instances that are gone, once the decoder has given their layouts' numbers to others. */
void
forget_instances(ChangeWriter *writer)
{
	constexpr int kForgetEvery = 64;
	ListCell *cell;

	if (likely(list_length(writer->instances) < writer->forget_at))
		return;
	foreach (cell, writer->instances)
	{
		Instance *instance = static_cast<Instance *>(lfirst(cell));
		bool is_used = !instance->discarded;
		for (int i = 0; !is_used && i < writer->nlayouts; i++)
			is_used = writer->layouts[i].instance == instance;
		if (is_used)
			continue;
		writer->instances = foreach_delete_current(writer->instances, cell);
		pfree(instance);
	}
	writer->forget_at = list_length(writer->instances) + kForgetEvery;
}

/* Commits the open batch and publishes it. */
void
commit_batch(ChangeWriter *writer)
{
	Assert(writer->batch_open && !writer->in_transaction);

	monitor::scan_session_phase(monitor::ScanPhase::Committing);
	ListCell *cell;
	foreach (cell, writer->instances)
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
	foreach (cell, writer->instances)
		count_rows(static_cast<Instance *>(lfirst(cell)));
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

/* Opens the leaf for the current transaction's commit LSN, creating it when it is missing. */
void
open_instance(ChangeWriter *writer, Instance *instance)
{
	LeafRange *range = &instance->range;
	bool covered = OidIsValid(range->leaf) && writer->commit_lsn >= range->low &&
				   writer->commit_lsn < range->high;

	if (instance->append != nullptr)
	{
		if (covered)
			return;
		close_instance(instance);
	}
	/* Cleanup may have removed the leaf we remember. */
	if (covered)
		instance->append = table_append_open(range->leaf, kLeafIndexes, instance->what);
	if (instance->append == nullptr)
	{
		range->leaf =
			catalog::change_table_leaf(instance->change_table, writer->commit_lsn, nullptr);
		if (!OidIsValid(range->leaf))
		{
			if (ddl_instance_name(instance->instance_id) != nullptr)
				ereport(ERROR,
						(errcode(ERRCODE_UNDEFINED_TABLE),
						 errmsg("change table of %s is missing", instance->what),
						 errdetail("Relation %u has been dropped although its instance is enabled.",
								   instance->change_table),
						 errhint("Disable the capture instance with cdc.sp_cdc_disable_table and "
								 "enable the table again.")));
			/* Disabled since the layout was announced: the event that drops it is on its way. */
			instance->discarded = true;
			return;
		}
		if (!catalog::change_table_leaf_bounds(range->leaf, &range->low, &range->high))
			elog(ERROR, "leaf %u of %s has no range", range->leaf, instance->what);
		instance->summarized = InvalidBlockNumber;
		instance->append = table_append_open(range->leaf, kLeafIndexes, instance->what);
		if (instance->append == nullptr)
			elog(ERROR, "could not open leaf %u of %s", range->leaf, instance->what);
	}
	instance->append->summarized = instance->summarized;
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

/*
 * A commit can be read in the log before others see its effects, for as long as it waits for a
 * synchronous standby. Who looks into today's catalog for what this source transaction did there
 * waits until it can be seen; rows of tables already captured need no such wait.
 */
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

/* The writer's record of an instance; looked up in today's catalog when it is first met. */
Instance *
find_instance(ChangeWriter *writer, int32 instance_id, Oid change_table)
{
	ListCell *cell;
	foreach (cell, writer->instances)
	{
		Instance *instance = static_cast<Instance *>(lfirst(cell));
		if (instance->instance_id == instance_id)
			return instance;
	}

	const char *name = ddl_instance_name(instance_id);
	if (name == nullptr)
	{
		/* Disabled meanwhile, or enabled by this very transaction and not to be seen yet. */
		wait_until_visible(writer);
		name = ddl_instance_name(instance_id);
	}
	return in_context(writer->memory, [&] {
		Instance *instance = static_cast<Instance *>(palloc0(sizeof(Instance)));
		instance->instance_id = instance_id;
		instance->change_table = change_table;
		instance->summarized = InvalidBlockNumber;
		instance->discarded = name == nullptr;
		instance_gap_load(&instance->gap, change_table);
		snprintf(instance->what, sizeof(instance->what), "capture instance \"%s\"",
				 name != nullptr ? name : "");
		writer->instances = lappend(writer->instances, instance);
		return instance;
	});
}

void
forget_places(Layout *layout)
{
	if (layout->places == nullptr)
		return;
	pfree(layout->places);
	FreeTupleDesc(layout->descriptor);
	layout->places = nullptr;
	layout->descriptor = nullptr;
}

TypeChangeRequest
type_change_request(ChangeWriter *writer, const Layout *layout)
{
	return {.entry = writer->entry,
			.instance_id = layout->instance->instance_id,
			.what = layout->instance->what,
			.source = layout->source,
			.commit_lsn = writer->commit_lsn,
			.is_alone = writer->batch_transactions == 0,
			.columns = {layout->columns, static_cast<size_t>(layout->ncolumns)}};
}

/* Lets the change table follow the source's types. Leaves the instance closed when it was altered. */
void
follow_types(ChangeWriter *writer, Layout *layout)
{
	Instance *instance = layout->instance;

	wait_until_visible(writer);
	if (type_change_needed(type_change_request(writer, layout)))
	{
		close_instance(instance);
		/* Rows of this batch were taken out of what a reader with the old functions may ask for. */
		CommandCounterIncrement();
	}
	char *change = type_change_follow(type_change_request(writer, layout));
	if (change != nullptr && instance->unseen_change == nullptr)
	{
		instance->unseen_change = change;
		instance->unseen_source = layout->source;
	}
	for (int i = 0; i < writer->nlayouts; i++)
		if (writer->layouts[i].instance == instance)
			writer->layouts[i].leaf = InvalidOid;
}

/* What the leaf must look like for rows to be stored as they come. */
bool
leaf_fits(const Layout *layout, TupleDesc descriptor)
{
	const int natts = layout->ncolumns + catalog::kChangeMetadataColumns;

	if (descriptor->natts != natts ||
		strcmp(NameStr(TupleDescAttr(descriptor, natts - 1)->attname), "__$command_id") != 0)
		return false;
	for (int i = 0; i < layout->ncolumns; i++)
	{
		Form_pg_attribute attribute = TupleDescAttr(descriptor, catalog::kChangeLeadingColumns + i);
		const LayoutColumn *column = &layout->columns[i];
		if (attribute->attisdropped)
			return false;
		if (column->source_attnum == 0)
			continue; /* dropped in the source: always NULL, which any type can hold */
		if (attribute->atttypid != column->type || attribute->atttypmod != column->typmod ||
			attribute->attcollation != column->collation)
			return false;
	}
	return true;
}

/* Rows as the decoder forms them. */
TupleDesc
row_descriptor(const Layout *layout)
{
	const int natts = layout->ncolumns + catalog::kChangeMetadataColumns;
	TupleDesc descriptor = CreateTemplateTupleDesc(natts);
	auto column = [&](AttrNumber attnum, Oid type) {
		TupleDescInitEntry(descriptor, attnum, nullptr, type, -1, 0);
	};

	column(catalog::kChangeStartLsn, PG_LSNOID);
	column(catalog::kChangeEndLsn, PG_LSNOID);
	column(catalog::kChangeSeqval, PG_LSNOID);
	column(catalog::kChangeOperation, INT4OID);
	column(catalog::kChangeUpdateMask, BYTEAOID);
	for (int i = 0; i < layout->ncolumns; i++)
	{
		column(catalog::kChangeLeadingColumns + i + 1, INT4OID);
		Form_pg_attribute attribute = TupleDescAttr(descriptor, catalog::kChangeLeadingColumns + i);
		attribute->attlen = layout->columns[i].length;
		attribute->attbyval = layout->columns[i].by_value;
		attribute->attalign = layout->columns[i].alignment;
		CDC_ATTRIBUTE_CHANGED(descriptor, catalog::kChangeLeadingColumns + i);
	}
	column(natts, INT4OID);
	return descriptor;
}

/* Makes sure that the open leaf has a place for each column of the layout. */
void
check_columns(ChangeWriter *writer, Layout *layout)
{
	Instance *instance = layout->instance;

	forget_places(layout);
	if (!leaf_fits(layout, RelationGetDescr(instance->append->relation)))
	{
		follow_types(writer, layout);
		open_instance(writer, instance);
		if (instance->discarded)
			return;
		AttrNumber places[MaxHeapAttributeNumber];
		if (!type_change_map(type_change_request(writer, layout),
							 RelationGetDescr(instance->append->relation), places))
			in_context(writer->memory, [&] {
				layout->lost =
					type_change_lost({layout->columns, static_cast<size_t>(layout->ncolumns)},
									 places);
				Size size =
					sizeof(AttrNumber) * (layout->ncolumns + catalog::kChangeMetadataColumns);
				layout->places = static_cast<AttrNumber *>(palloc(size));
				memcpy(layout->places, places, size);
				layout->descriptor = row_descriptor(layout);
			});
	}
	layout->leaf = instance->range.leaf;
}

/*
 * A row whose columns the change table has elsewhere, since a type has changed. Lives until the chunk's rows
 * are flushed.
 */
HeapTuple
move_columns(ChangeWriter *writer, const Layout *layout, HeapTupleHeader row, uint32 length)
{
	TupleDesc leaf = RelationGetDescr(layout->instance->append->relation);
	Datum values[MaxHeapAttributeNumber];
	bool nulls[MaxHeapAttributeNumber];
	Datum moved[MaxHeapAttributeNumber];
	bool moved_nulls[MaxHeapAttributeNumber];
	HeapTupleData tuple = {};

	tuple.t_len = length;
	tuple.t_data = row;
	heap_deform_tuple(&tuple, layout->descriptor, values, nulls);
	memset(moved_nulls, true, leaf->natts);
	for (int i = 0; i < layout->descriptor->natts; i++)
	{
		int to = layout->places[i] - 1;
		if (to < 0)
			continue;
		moved[to] = values[i];
		moved_nulls[to] = nulls[i];
	}
	return in_context(writer->moved_context,
					  [&] { return heap_form_tuple(leaf, moved, moved_nulls); });
}

/* A layout that is new, or that takes the number of one the decoder uses no more. */
Layout *
layout_slot(ChangeWriter *writer, uint32 number)
{
	if (number == 0 || number > static_cast<uint32>(writer->nlayouts) + 1)
		elog(ERROR, "layout %u was announced after %d", number, writer->nlayouts);
	if (number <= static_cast<uint32>(writer->nlayouts))
	{
		Layout *layout = &writer->layouts[number - 1];
		pfree(layout->columns);
		forget_places(layout);
		return layout;
	}
	if (writer->nlayouts == writer->layouts_size)
	{
		writer->layouts_size = Max(16, writer->layouts_size * 2);
		Size size = sizeof(Layout) * writer->layouts_size;
		writer->layouts = static_cast<Layout *>(writer->layouts != nullptr
													? repalloc(writer->layouts, size)
													: MemoryContextAlloc(writer->memory, size));
	}
	return &writer->layouts[writer->nlayouts++];
}

void
take_layout(ChangeWriter *writer, const LayoutItem *item)
{
	Layout *layout = layout_slot(writer, item->layout);
	Size columns_size = sizeof(LayoutColumn) * item->ncolumns;

	layout->instance = find_instance(writer, item->instance_id, item->change_table);
	layout->source = item->source;
	layout->is_sound = item->is_sound;
	layout->lost = GapCause::None;
	layout->leaf = InvalidOid;
	layout->places = nullptr;
	layout->descriptor = nullptr;
	layout->ncolumns = item->ncolumns;
	layout->columns =
		static_cast<LayoutColumn *>(MemoryContextAlloc(writer->memory, Max(columns_size, 1)));
	memcpy(layout->columns, item + 1, columns_size);

	/* DDL that is seen takes effect at its commit, not at the next row. */
	if ((item->header.flags & kLayoutAfterCommand) != 0 && !layout->instance->discarded)
		(void)follow_types(writer, layout);
}

/*
 * A change row is longer than its source row by its metadata, so a source row of many short values that
 * just fits on a page has a change row that does not. The server's own error would not say whose it is.
 */
void
check_row_fits(const ChangeWriter *writer, const Instance *instance, HeapTupleHeader row,
			   uint32 length)
{
	/* What TOAST leaves in the row of a value that it moves out; shorter values stay. */
	constexpr int kShortestMoved = MAXALIGN(TOAST_POINTER_SIZE);
	TupleDesc descriptor = RelationGetDescr(instance->append->relation);
	Datum values[MaxHeapAttributeNumber];
	bool nulls[MaxHeapAttributeNumber];
	HeapTupleData tuple = {};

	tuple.t_len = length;
	tuple.t_data = row;
	heap_deform_tuple(&tuple, descriptor, values, nulls);
	Size needed = row->t_hoff;
	for (int i = 0; i < descriptor->natts; i++)
	{
		Form_pg_attribute attribute = TupleDescAttr(descriptor, i);
		if (nulls[i])
			continue;
		if (attribute->attlen == -1 && attribute->attstorage != TYPSTORAGE_PLAIN &&
			VARSIZE_ANY(DatumGetPointer(values[i])) > kShortestMoved)
		{
			needed += TOAST_POINTER_SIZE;
			continue;
		}
		needed = att_align_datum(needed, attribute->attalign, attribute->attlen, values[i]);
		needed = att_addlength_datum(needed, attribute->attlen, values[i]);
	}
	if (needed <= MaxHeapTupleSize)
		return;
	ereport(ERROR,
			(errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
			 errmsg("change row of %s is too long", instance->what),
			 errdetail(
				 "At %X/%X it needs %zu bytes, of %zu on a page: it is longer than its source row "
				 "by its metadata.",
				 CDC_LSN_FORMAT_ARGS(writer->commit_lsn), needed, MaxHeapTupleSize),
			 errhint(
				 "Disable this capture instance with cdc.sp_cdc_disable_table and enable the table "
				 "again with a captured_column_list of fewer columns.")));
}

void
take_row(ChangeWriter *writer, RowItem *item)
{
	if (item->layout == 0 || item->layout > static_cast<uint32>(writer->nlayouts))
		elog(ERROR, "change row refers to unknown layout %u", item->layout);
	Layout *layout = &writer->layouts[item->layout - 1];
	Instance *instance = layout->instance;
	HeapTupleHeader row =
		reinterpret_cast<HeapTupleHeader>(reinterpret_cast<char *>(item) + kRowTupleOffset);
	if (instance->discarded)
		return;
	writer->row = row;
	if (unlikely(item->header.flags & kRowBeforeImageMissing))
	{
		/* Half a change is none: who reads here is told of the gap. */
		instance_gap_begin(&instance->gap, GapCause::Identity, instance->change_table,
						   instance->what, layout->source, writer->commit_lsn);
		return;
	}
	if (unlikely(instance->gap.cause != GapCause::None) && layout->is_sound &&
		layout->lost == GapCause::None)
	{
		instance_gap_complete_row(&instance->gap, layout->source);
		writer->gap_ends = true;
	}
	open_instance(writer, instance);
	if (unlikely(instance->discarded))
		return;
	if (unlikely(layout->leaf != instance->range.leaf))
	{
		check_columns(writer, layout);
		if (instance->discarded)
			return;
	}
	uint32 length = item->tuple_length;
	if (unlikely(layout->places != nullptr))
	{
		if (layout->lost != GapCause::None)
			instance_gap_begin(&instance->gap, layout->lost, instance->change_table, instance->what,
							   layout->source, writer->commit_lsn);
		HeapTuple moved = move_columns(writer, layout, row, length);
		row = moved->t_data;
		length = moved->t_len;
	}
	if (unlikely(length > MaxHeapTupleSize))
		check_row_fits(writer, instance, row, length);
	table_append_row(instance->append, row, length);
	instance->written[Min(item->header.flags >> kRowOperationShift, kOperations - 1)]++;
	instance->last_lsn = writer->commit_lsn;
	instance->last_time = writer->commit_time;
	writer->batch_bytes += length;
	writer->batch_rows++;
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
