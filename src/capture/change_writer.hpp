/*
 * change_writer.hpp
 *	  Queue -> change tables, lsn_time_mapping and progress, atomically.
 *
 * NOTES
 *	  Owned by the capture worker. Source transactions are collected into local transactions
 *	  ("batches") of a few megabytes; a batch ends only at a source commit. Its rows in all change
 *	  tables, its mapping rows and the progress commit together: after a crash either all are
 *	  there and decoding goes on after them, or none. Errors are not caught: the process ends, the batch is
 *	  aborted, and the next process goes on from the durable progress.
 */
#pragma once

#include "cdc.hpp"

#include "base/shmem.hpp"
#include "capture/change_queue.hpp"
#include "catalog/database.hpp"

namespace cdc::capture
{

struct ChangeWriter;

/* Reads the progress; needs no transaction open. Allocates in `parent`. */
ChangeWriter *change_writer_create(DatabaseEntry *entry, Channel *channel, MemoryContext parent);

/* Where capture stands: everything that ends at or before is durable or committed. */
const catalog::Progress &change_writer_progress(const ChangeWriter *writer);

/*
 * Takes a chunk from the queue, from `offset` on; its rows are written before it returns. Commits full
 * batches. Stops after the source commit that brings *budget, counted in source transactions, to 0.
 * Returns how far it came; the rest is for a later call, and the chunk must stay until then.
 */
Size change_writer_take(ChangeWriter *writer, char *chunk, Size length, Size offset, int64 *budget);

/* Commit LSN of the source transaction that is being taken; invalid between two. */
XLogRecPtr change_writer_transaction(const ChangeWriter *writer);

/* What the writer is at inside a source transaction, for messages; zeros between two. */
struct ChangePlace
{
	XLogRecPtr begin_lsn; /* the transaction's first WAL record */
	XLogRecPtr seqval;	  /* of the last row taken, while that is known */
};

ChangePlace change_writer_place(const ChangeWriter *writer);

/* End of the log that was read and taken. */
XLogRecPtr change_writer_read_lsn(const ChangeWriter *writer);

/* True between two source transactions: a batch may end here. */
bool change_writer_at_boundary(const ChangeWriter *writer);

/* Commits what was collected, if at a boundary. Called when the queue is empty. */
void change_writer_commit(ChangeWriter *writer);

/*
 * Commits with a durable progress even when only foreign WAL went by, when more than `bytes` of it
 * did. 0: any.
 */
void change_writer_save_position(ChangeWriter *writer, uint64 bytes);

/* Writes a dummy mapping row when nothing was captured for so long, and retries pending drops. */
void change_writer_idle(ChangeWriter *writer, int64 idle_us);

} // namespace cdc::capture
