/*
 * writer_state.hpp
 *	  What the writer's two halves share: row_writer puts rows into leaves, change_writer makes transactions of them.
 *
 * NOTES
 *	  No other file looks in here. All of it lives in ChangeWriter::memory unless it is said otherwise.
 */
#pragma once

#include "cdc.hpp"

#include "capture/change_writer.hpp"
#include "capture/instance_gaps.hpp"
#include "capture/pending_drops.hpp"
#include "capture/table_append.hpp"
#include "monitor/scan_sessions.hpp"

namespace cdc::capture
{

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
	bool in_batch;	 /* one of ChangeWriter::batch_instances */
	char what[128];	 /* for messages */
	LeafRange range; /* of the leaf in use */
	InstanceGap gap;
	SummarizedRanges ranges; /* of the leaf */
	TableAppend *append;	 /* open in the current batch, or NULL */

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

struct ChangeWriter
{
	DatabaseEntry *entry;
	Channel *channel;
	MemoryContext memory;		 /* process */
	MemoryContext batch_context; /* reset after each batch */
	MemoryContext moved_context; /* rows whose columns were moved, reset after each chunk */
	uint64 caches_emptied_at;	 /* internal_ddl_count() then */
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
	List *batch_instances; /* those of them that it writes to; in batch_context */
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
	bool has_unseen_changes; /* some instance has Instance::unseen_change */
	bool gap_ends;			 /* an instance's gap may be over with the current source transaction */
	bool starts_wait;		 /* low ends may wait for a row of change_tables that somebody holds */

	PositionItem position; /* the newest, if position.end_lsn is valid */
	TimestampTz last_activity;
};

/*
 * A commit can be read in the log before others see its effects, for as long as it waits for a
 * synchronous standby. Who looks into today's catalog for what this source transaction did there
 * waits until it can be seen; rows of tables already captured need no such wait.
 */
void wait_until_visible(ChangeWriter *writer);

} // namespace cdc::capture
