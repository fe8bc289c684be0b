/*
 * change_queue.hpp
 *	  What a decoder tells its writer, and the shared-memory queue it goes through.
 *
 * NOTES
 *	  The queue is an shm_mq in a dynamic segment that the writer creates. One queue message is a
 *	  *chunk*: items one after the other, each MAXALIGNed and headed by ItemHeader. Chunks are about
 *	  kChunkBytes, so that the writer can insert rows straight from the ring; a single larger
 *	  row makes a larger chunk. A chunk is also sent when WAL runs out, so latency never waits
 *	  for one to fill.
 *
 *	  Order is the protocol: Begin, then Layout, Row and Event items, then Commit; Position only
 *	  between transactions. A transaction of any size streams through because it has already
 *	  committed when decoding delivers it; the ring bounds memory on both sides.
 *
 *	  The other direction is two numbers: what the slot may be confirmed to, and the end of the
 *	  writer's own commit that must be on disk before.
 */
#pragma once

#include "cdc.hpp"

extern "C" {
#include "replication/origin.h"
#include "storage/dsm.h"
#include "storage/shm_mq.h"
#include "storage/spin.h"
}

namespace cdc::capture
{

constexpr Size kChunkBytes = 128 * 1024;

enum class ItemKind : uint16
{
	Begin,	  /* BeginItem */
	Layout,	  /* LayoutItem, then ncolumns LayoutColumn */
	Row,	  /* RowItem, then the tuple at kRowTupleOffset */
	Event,	  /* EventItem, then the command text without terminator */
	Commit,	  /* CommitItem */
	Position, /* PositionItem */
};

struct ItemHeader
{
	ItemKind kind;
	uint16 flags;
	uint32 length; /* of the whole item, MAXALIGNed */
};

/* RowItem.header.flags: the old row was not in the log although the instance was promised it. */
constexpr uint16 kRowBeforeImageMissing = 1;
/* ... the item stands for a whole change, and has no row: a row image is longer than kLongestRow. */
constexpr uint16 kRowTooLarge = 2;
/* ... and the operation of the row, so that it can be counted without a look inside. */
constexpr int kRowOperationShift = 8;

/* LayoutItem.header.flags: DDL was met; the change table follows now and not at the next row. */
constexpr uint16 kLayoutAfterCommand = 1;

struct BeginItem
{
	ItemHeader header;
	XLogRecPtr commit_lsn; /* start of the commit record: __$start_lsn */
	XLogRecPtr end_lsn;	   /* end of the commit record: what progress compares with */
	XLogRecPtr begin_lsn;  /* the transaction's first WAL record */
	TimestampTz commit_time;
	TransactionId xid;
};

struct LayoutColumn
{
	Oid type; /* base type of a domain */
	int32 typmod;
	Oid collation;
	int32 source_attnum; /* 0: dropped in the source, always NULL from here */

	/* How values lie in a row, also when the type is gone today. */
	int16 length;
	bool by_value;
	char alignment;
};

struct LayoutItem
{
	ItemHeader header;
	uint32 layout; /* number the rows refer to, from 1; replaces an earlier layout of that number */
	int32 instance_id;
	Oid change_table;
	Oid source;
	int32 ncolumns;
	bool is_sound; /* the source logs what the instance was promised */
};

struct RowItem
{
	ItemHeader header;
	uint32 layout;
	uint32 tuple_length;
};

constexpr Size kRowTupleOffset = MAXALIGN(sizeof(RowItem));

/*
 * A source row may be longer than any allocation, as its large values lie elsewhere. A change row goes through the
 * queue, and into the server, in one piece. The rest is for what it may grow by when its columns are moved.
 */
constexpr Size kLongestRow = MaxAllocSize - Size{64} * 1024;

struct EventItem
{
	ItemHeader header;
	char kind; /* catalog::QueueKind */
	int32 instance_id;
	Oid change_table;
	Oid source;
	uint32 command_length;
};

struct CommitItem
{
	ItemHeader header;
	XLogRecPtr commit_lsn;
	XLogRecPtr end_lsn;
	XLogRecPtr begin_lsn; /* the transaction's first WAL record */
	TimestampTz commit_time;
	TimestampTz begin_time; /* estimate: newest commit decoded before begin_lsn */
	TransactionId xid;
	int32 nchanges; /* source row changes = highest __$command_id */
};

struct PositionItem
{
	ItemHeader header;
	XLogRecPtr end_lsn;	   /* everything that ends at or before was decoded and sent */
	XLogRecPtr record_lsn; /* start of the last record read */
	TimestampTz time;	   /* when */
};

/* Head of the dynamic segment; the ring follows at kChannelRingOffset. */
struct Channel
{
	/* set by the writer before the decoder starts */
	Oid database_oid;
	int entry_index; /* in SharedState::entries */
	int writer_pid;
	NameData slot_name;
	XLogRecPtr
		start_lsn;		/* the writer's progress: transactions that end at or before are skipped */
	RepOriginId origin; /* the writer's own, dropped by the decoder at the first test */

	/* set by the writer after each commit of its own */
	slock_t mutex;
	XLogRecPtr progress_lsn;   /* the slot may be confirmed up to here ... */
	XLogRecPtr own_commit_lsn; /* ... once WAL is flushed up to here */

	pg_atomic_uint32 chunks_begun; /* by the decoder: counted before it sends one */
};

constexpr Size kChannelRingOffset = MAXALIGN(sizeof(Channel));

/*
 * Sending side, in the decoder. Items are built in place: queue_reserve returns room for `length`
 * bytes in the current chunk, sending what is there first when it is full. Both end the process when the writer is gone.
 */
struct QueueSender
{
	Channel *channel;
	shm_mq_handle *handle;
	char *buffer; /* in the context that was current at queue_sender_create */
	Size size;
	Size used;
};

QueueSender *queue_sender_create(Channel *channel, shm_mq_handle *handle);

/* Room for an item of `length` bytes, header filled in, payload not zeroed. */
char *queue_reserve(QueueSender *sender, ItemKind kind, Size length);

/* Sends what was collected, and wakes the writer. */
void queue_flush(QueueSender *sender);

/* Typed shorthand for items of fixed size. */
template <typename Item>
inline Item *
queue_item(QueueSender *sender, ItemKind kind)
{
	return reinterpret_cast<Item *>(queue_reserve(sender, kind, sizeof(Item)));
}

/* Receiving side, in the writer: the item at *offset, which moves on. Raises when lengths do not add up. */
inline ItemHeader *
queue_next_item(char *chunk, Size length, Size *offset)
{
	ItemHeader *item = reinterpret_cast<ItemHeader *>(chunk + *offset);
	if (length - *offset < sizeof(ItemHeader) || item->length < sizeof(ItemHeader) ||
		item->length > length - *offset)
		elog(ERROR, "malformed chunk of %zu bytes in the capture queue at offset %zu", length,
			 *offset);
	*offset += item->length;
	return item;
}

} // namespace cdc::capture
