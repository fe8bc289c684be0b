/*
 * wake.cpp
 *	  A commit wakes the decoder of its database.
 *
 * NOTES
 *	  Every backend has the callback. It costs one comparison when the transaction wrote no WAL, and
 *	  one shared-memory read when the decoder is awake. Only who takes the sleeping flag down sets the
 *	  latch, so a burst of commits sends one signal.
 *
 *	  Barriers: the commit's WAL is flushed before we read the flag; the decoder raises the flag
 *	  before it looks at the flush position again. One of the two sees the other. A commit with
 *	  synchronous_commit = off is not flushed yet and is picked up with the WAL writer's next round.
 */
#include "cdc.hpp"

#include "base/shmem.hpp"
#include "worker/registry.hpp"
#include "worker/wake.hpp"

namespace cdc::worker
{

namespace
{

/* Start of the last WAL record of this process that we have looked at. */
XLogRecPtr seen_record = InvalidXLogRecPtr;
DatabaseEntry *own_entry = nullptr;

void
wake_decoder(XactEvent event, void *)
{
	if (event != XACT_EVENT_COMMIT || ProcLastRecPtr == seen_record)
		return;
	seen_record = ProcLastRecPtr;

	/* Entries move only when a database is disabled and another enabled. */
	if (own_entry == nullptr || own_entry->database_oid != MyDatabaseId)
	{
		SharedState *shared = shmem_get();
		own_entry = nullptr;
		for (int i = 0; i < shared->nentries; i++)
			if (shared->entries[i].database_oid == MyDatabaseId)
				own_entry = &shared->entries[i];
		if (own_entry == nullptr)
			return;
	}
	/* The writer's own commits hold nothing to capture. */
	if (own_entry->writer_pid == MyProcPid)
		return;

	pg_memory_barrier();
	if (pg_atomic_read_u32(&own_entry->decoder_sleeping) != 0 &&
		pg_atomic_exchange_u32(&own_entry->decoder_sleeping, 0) != 0)
		registry_wake_decoder(own_entry);
}

} // namespace

void
wake_init()
{
	RegisterXactCallback(wake_decoder, nullptr);
}

} // namespace cdc::worker
