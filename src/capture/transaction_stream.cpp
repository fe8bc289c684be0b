/*
 * transaction_stream.cpp
 *	  Numbers the changes of a transaction and hands them to row_image; brackets them with Begin
 *	  and Commit.
 */
#include "cdc.hpp"

#include "base/fault.hpp"
#include "base/scope.hpp"
#include "capture/row_image.hpp"
#include "capture/source_map.hpp"
#include "capture/source_watch.hpp"
#include "capture/transaction_stream.hpp"

namespace cdc::capture
{

namespace
{

/*
 * Commits decoded lately, in WAL order: from them the begin time of a later transaction is
 * estimated. A transaction that began before the oldest of them gets no estimate.
 */
struct RecentCommit
{
	XLogRecPtr lsn;
	TimestampTz time;
};

constexpr uint32 kRecentCommits = 4096; /* a power of two */

struct Stream
{
	QueueSender *sender;
	RepOriginId origin;
	MemoryContext change_context; /* reset after each change */
	ReorderBufferTXN *txn;
	bool begun;			   /* a Begin item was sent for txn */
	int32 command_id;	   /* of the last captured change */
	XLogRecPtr record_lsn; /* WAL record of the last change ... */
	uint32 record_index;   /* ... and its place among that record's changes */
	List *altered;		   /* Oid of relations that txn had DDL on */
	uint64 transactions;
	uint64 ncommits;
	RecentCommit commits[kRecentCommits];
};

Stream *stream = nullptr;

/* Commit time of the newest transaction that committed before lsn; 0 when not known. */
TimestampTz
newest_commit_before(XLogRecPtr lsn)
{
	uint64 low = stream->ncommits > kRecentCommits ? stream->ncommits - kRecentCommits : 0;
	uint64 high = stream->ncommits;

	/* Finds the first commit at or after lsn; the one before it is the answer. */
	uint64 oldest = low;
	while (low < high)
	{
		uint64 middle = low + (high - low) / 2;
		if (stream->commits[middle % kRecentCommits].lsn < lsn)
			low = middle + 1;
		else
			high = middle;
	}
	return low == oldest ? 0 : stream->commits[(low - 1) % kRecentCommits].time;
}

void
send_begin()
{
	if (stream->begun)
		return;
	stream->begun = true;
	BeginItem *item = queue_item<BeginItem>(stream->sender, ItemKind::Begin);
	item->commit_lsn = stream->txn->final_lsn;
	item->end_lsn = stream->txn->end_lsn;
	item->begin_lsn = stream->txn->first_lsn;
	item->commit_time = stream->txn->xact_time.commit_time;
	item->xid = stream->txn->xid;
}

void
send_event_item(char kind, int32 instance_id, Oid change_table, Oid source, const char *command,
				Size command_length)
{
	send_begin();
	EventItem *item = reinterpret_cast<EventItem *>(
		queue_reserve(stream->sender, ItemKind::Event, sizeof(EventItem) + command_length));
	item->kind = kind;
	item->instance_id = instance_id;
	item->change_table = change_table;
	item->source = source;
	item->command_length = command_length;
	if (command_length > 0)
		memcpy(item + 1, command, command_length);
}

/* A row of _ddl_queue: only inserts count, the row is deleted again by who inserted it. */
void
send_event(Relation relation, ReorderBufferChange *change)
{
	if (change->action != REORDER_BUFFER_CHANGE_INSERT)
		return;
	if (RelationGetDescr(relation)->natts < catalog::kDqColumns)
		elog(ERROR, "cdc._ddl_queue has %d columns, expected %d", RelationGetDescr(relation)->natts,
			 catalog::kDqColumns);

	Datum values[MaxHeapAttributeNumber];
	bool nulls[MaxHeapAttributeNumber];
	heap_deform_tuple(CDC_DECODED_TUPLE(change->data.tp.newtuple), RelationGetDescr(relation),
					  values, nulls);

	/* A long text arrives out of line, in the reorder buffer's memory. */
	text *command =
		nulls[catalog::kDqCommand - 1] ? nullptr : DatumGetTextPP(values[catalog::kDqCommand - 1]);
	Size command_length = command != nullptr ? VARSIZE_ANY_EXHDR(command) : 0;
	Oid source = DatumGetObjectId(values[catalog::kDqSourceObjectId - 1]);
	send_event_item(DatumGetChar(values[catalog::kDqKind - 1]),
					DatumGetInt32(values[catalog::kDqInstanceId - 1]),
					DatumGetObjectId(values[catalog::kDqObjectId - 1]), source,
					command != nullptr ? VARDATA_ANY(command) : nullptr, command_length);
}

/*
 * A table whose catalog entry this transaction has changed, whatever event triggers say. Its columns as
 * they are at the end of the transaction, so that the change table follows at the commit and not at
 * some later row; what they were in between does not matter when no row was of it.
 */
void
send_source_state(const Target &target, Relation relation, SourceFlaw flaw)
{
	catalog::QueueKind kind = catalog::QueueKind::Sound;

	switch (flaw)
	{
		case SourceFlaw::None:
			break;
		case SourceFlaw::Identity:
			kind = catalog::QueueKind::WeakIdentity;
			break;
		case SourceFlaw::Unlogged:
			kind = catalog::QueueKind::Unlogged;
			break;
	}
	send_event_item(static_cast<char>(kind), target.instance_id, target.change_table,
					RelationGetRelid(relation), nullptr, 0);
	row_image_announce(stream->sender, source_map_lookup(relation), relation, kLayoutAfterCommand);
}

} // namespace

void
transaction_stream_init(QueueSender *sender, RepOriginId origin, MemoryContext parent)
{
	stream = static_cast<Stream *>(MemoryContextAllocZero(parent, sizeof(Stream)));
	stream->sender = sender;
	stream->origin = origin;
	stream->change_context = AllocSetContextCreate(parent, "cdc change", ALLOCSET_DEFAULT_SIZES);
	source_map_init(parent);
}

bool
transaction_stream_active()
{
	return stream != nullptr;
}

RepOriginId
transaction_stream_origin()
{
	return stream->origin;
}

XLogRecPtr
transaction_stream_last_commit(TimestampTz *commit_time)
{
	if (stream->ncommits == 0)
		return InvalidXLogRecPtr;
	const RecentCommit &last = stream->commits[(stream->ncommits - 1) % kRecentCommits];
	*commit_time = last.time;
	return last.lsn;
}

uint64
transaction_stream_count()
{
	return stream->transactions;
}

void
transaction_stream_begin(ReorderBufferTXN *txn)
{
	source_map_trim();
	source_watch_reset();
	stream->txn = txn;
	stream->begun = false;
	stream->command_id = 0;
	stream->record_lsn = InvalidXLogRecPtr;
	stream->record_index = 0;
	stream->transactions++;
}

void
transaction_stream_change(Relation relation, ReorderBufferChange *change)
{
	/*
	 * A multi-insert record holds several changes that share its LSN. Each tuple takes bytes of
	 * the record, so LSN + index stays below the next record. Counted before any filter: both
	 * instances of a table, and a repeated decoding, must agree.
	 */
	if (change->lsn == stream->record_lsn)
		stream->record_index++;
	else
	{
		stream->record_lsn = change->lsn;
		stream->record_index = 0;
	}

	Source *source = source_map_lookup(relation);
	if (likely(source->kind == SourceKind::Untracked))
		return;

	in_context(stream->change_context, [&] {
		if (source->kind == SourceKind::DdlQueue)
		{
			send_event(relation, change);
			CDC_FAULT("decoder-event");
			return;
		}

		DecodedChange decoded;
		switch (change->action)
		{
			case REORDER_BUFFER_CHANGE_INSERT:
				decoded.action = ChangeAction::Insert;
				break;
			case REORDER_BUFFER_CHANGE_UPDATE:
				decoded.action = ChangeAction::Update;
				break;
			case REORDER_BUFFER_CHANGE_DELETE:
				decoded.action = ChangeAction::Delete;
				break;
			default:
				elog(ERROR, "unexpected change of kind %d", static_cast<int>(change->action));
		}
		if (stream->command_id == PG_INT32_MAX)
			elog(ERROR, "transaction %u has more than %d captured changes", stream->txn->xid,
				 PG_INT32_MAX);
		send_begin();
		decoded.relation = relation;
		decoded.old_tuple = CDC_DECODED_TUPLE(change->data.tp.oldtuple);
		decoded.new_tuple = CDC_DECODED_TUPLE(change->data.tp.newtuple);
		decoded.commit_lsn = stream->txn->final_lsn;
		decoded.seqval = change->lsn + stream->record_index;
		decoded.command_id = ++stream->command_id;
		row_image_send(stream->sender, source, decoded);
		CDC_FAULT("decoder-change");
	});
	MemoryContextReset(stream->change_context);
}

void
transaction_stream_truncate(Relation relation)
{
	constexpr std::string_view kCommand = "TRUNCATE";
	Source *source = source_map_lookup(relation);

	for (int t = 0; t < source->ntargets; t++)
		send_event_item(static_cast<char>(catalog::QueueKind::Truncate),
						source->targets[t].instance_id, source->targets[t].change_table,
						RelationGetRelid(relation), kCommand.data(), kCommand.size());
}

void
transaction_stream_commit(ReorderBufferTXN *txn)
{
	if (unlikely(source_watch_pending()))
	{
		in_context(stream->change_context, [&] { source_watch_check(send_source_state); });
		MemoryContextReset(stream->change_context);
	}
	if (stream->begun)
	{
		CommitItem *item = queue_item<CommitItem>(stream->sender, ItemKind::Commit);
		item->commit_lsn = txn->final_lsn;
		item->end_lsn = txn->end_lsn;
		item->begin_lsn = txn->first_lsn;
		item->commit_time = txn->xact_time.commit_time;
		item->begin_time = newest_commit_before(txn->first_lsn);
		item->xid = txn->xid;
		item->nchanges = stream->command_id;
		CDC_FAULT("decoder-commit");
	}
	stream->commits[stream->ncommits++ % kRecentCommits] = {txn->final_lsn,
															txn->xact_time.commit_time};
	stream->txn = nullptr;
}

} // namespace cdc::capture
