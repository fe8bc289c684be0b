/*
 * change_queue.cpp
 *	  Sending side of the queue between decoder and writer.
 */
#include "cdc.hpp"

#include "base/fault.hpp"
#include "capture/change_queue.hpp"

namespace cdc::capture
{

QueueSender *
queue_sender_create(Channel *channel, shm_mq_handle *handle)
{
	QueueSender *sender = static_cast<QueueSender *>(palloc0(sizeof(QueueSender)));
	sender->channel = channel;
	sender->handle = handle;
	sender->size = kChunkBytes + kChunkBytes / 4;
	sender->buffer = static_cast<char *>(palloc(sender->size));
	return sender;
}

void
queue_flush(QueueSender *sender)
{
	if (sender->used == 0)
		return;

	CDC_FAULT("decoder-send");
	pg_atomic_fetch_add_u32(&sender->channel->chunks_begun, 1);
	/* Waits while the ring is full: this is the back-pressure that bounds memory. */
	shm_mq_result result = shm_mq_send(sender->handle, sender->used, sender->buffer, false, true);
	if (result != SHM_MQ_SUCCESS)
	{
		/* The writer has ended, and said why; there is nobody left to decode for. */
		ereport(DEBUG1, (errmsg("capture worker has gone away, decoder ends")));
		proc_exit(0);
	}
	sender->used = 0;
	CDC_FAULT("decoder-sent");

	/* One huge row must not keep its memory for ever. */
	if (sender->size > 16 * kChunkBytes)
	{
		MemoryContext owner = GetMemoryChunkContext(sender->buffer);
		pfree(sender->buffer);
		sender->size = kChunkBytes + kChunkBytes / 4;
		sender->buffer = static_cast<char *>(MemoryContextAlloc(owner, sender->size));
	}
}

char *
queue_reserve(QueueSender *sender, ItemKind kind, Size length)
{
	Size aligned = MAXALIGN(length);

	if (sender->used > 0 && sender->used + aligned > kChunkBytes)
	{
		queue_flush(sender);
		CDC_FAULT("decoder-mid-transaction");
	}
	if (aligned > sender->size)
	{
		/* shm_mq refuses messages above MaxAllocSize. Who sends rows has looked at their length. */
		if (aligned > MaxAllocSize)
			elog(ERROR, "item of %zu bytes is too long for the capture queue", aligned);
		sender->buffer = static_cast<char *>(repalloc(sender->buffer, aligned));
		sender->size = aligned;
	}

	char *place = sender->buffer + sender->used;
	ItemHeader *header = reinterpret_cast<ItemHeader *>(place);
	header->kind = kind;
	header->flags = 0;
	header->length = aligned;
	sender->used += aligned;
	return place;
}

} // namespace cdc::capture
