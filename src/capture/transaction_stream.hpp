/*
 * transaction_stream.hpp
 *	  One decoded transaction after the other, as items in the queue.
 *
 * NOTES
 *	  State of the decoder process. A transaction that touches no captured table leaves no item.
 */
#pragma once

#include "cdc.hpp"

#include "capture/change_queue.hpp"

extern "C" {
#include "replication/logical.h"
#include "replication/reorderbuffer.h"
}

namespace cdc::capture
{

/* Must run once per decoder process; `origin` is the writer's own, whose changes are dropped. */
void transaction_stream_init(QueueSender *sender, RepOriginId origin, MemoryContext parent);

/* True between init and process end: the output plugin serves no other decoding context. */
bool transaction_stream_active();

RepOriginId transaction_stream_origin();

void transaction_stream_begin(ReorderBufferTXN *txn);
void transaction_stream_change(Relation relation, ReorderBufferChange *change);
void transaction_stream_truncate(Relation relation);
void transaction_stream_commit(ReorderBufferTXN *txn);

/* Transactions of this database delivered so far, captured or not: the measure of how busy it is. */
uint64 transaction_stream_count();

/* The last commit that was decoded, captured or not; invalid when there is none. */
XLogRecPtr transaction_stream_last_commit(TimestampTz *commit_time);

} // namespace cdc::capture
