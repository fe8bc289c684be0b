/*
 * monitor_state.cpp
 *	  Reserves and initialises the shared memory of monitor_state.hpp.
 */
#include "cdc.hpp"

#include "base/scope.hpp"
#include "monitor/monitor_state.hpp"

extern "C" {
#include "storage/shmem.h"
#include "utils/hsearch.h"
}

namespace cdc::monitor
{

namespace
{

MonitorState *state = nullptr;
HTAB *counters_hash = nullptr;

Size
entries_size(int nentries)
{
	return add_size(offsetof(MonitorState, entries), mul_size(sizeof(MonitorEntry), nentries));
}

InstanceCounters::Key
counters_key(int32 instance_id)
{
	return {MyDatabaseId, instance_id};
}

} // namespace

Size
monitor_state_size(int nentries)
{
	return add_size(entries_size(nentries),
					hash_estimate_size(kInstanceCounters, sizeof(InstanceCounters)));
}

void
monitor_state_create(int nentries, LWLock *lock)
{
	bool found;
	state =
		static_cast<MonitorState *>(ShmemInitStruct("cdc monitor", entries_size(nentries), &found));
	if (!found)
	{
		memset(static_cast<void *>(state), 0, entries_size(nentries));
		state->lock = lock;
		for (int i = 0; i < nentries; i++)
		{
			MonitorEntry &entry = state->entries[i];
			pg_atomic_init_u32(&entry.phase, 0);
			for (pg_atomic_uint64 *number :
				 {&entry.records_read, &entry.last_commit_lsn, &entry.last_commit_time,
				  &entry.drained_at, &entry.caught_up_at})
				pg_atomic_init_u64(number, 0);
		}
	}

	HASHCTL control;
	memset(&control, 0, sizeof(control));
	control.keysize = sizeof(InstanceCounters::Key);
	control.entrysize = sizeof(InstanceCounters);
	counters_hash = ShmemInitHash("cdc instance counters", kInstanceCounters, kInstanceCounters,
								  &control, HASH_ELEM | HASH_BLOBS);
}

MonitorState *
monitor_state()
{
	return state;
}

MonitorEntry *
monitor_entry(const DatabaseEntry *entry)
{
	return &state->entries[entry - shmem_get()->entries];
}

void
monitor_state_forget(const DatabaseEntry *entry)
{
	MonitorEntry *mine = monitor_entry(entry);

	with_lock(state->lock, LW_EXCLUSIVE, [&] {
		mine->last_session = 0;
		memset(static_cast<void *>(mine->sessions), 0, sizeof(mine->sessions));
		memset(static_cast<void *>(&mine->total), 0, sizeof(mine->total));
		memset(static_cast<void *>(mine->errors), 0, sizeof(mine->errors));
		memset(static_cast<void *>(mine->health), 0, sizeof(mine->health));
		mine->counted_records = 0;
		mine->had_slot = false;
		mine->next_error = 0;
		pg_atomic_write_u32(&mine->phase, 0);
		for (pg_atomic_uint64 *number :
			 {&mine->records_read, &mine->last_commit_lsn, &mine->last_commit_time,
			  &mine->drained_at, &mine->caught_up_at})
			pg_atomic_write_u64(number, 0);

		HASH_SEQ_STATUS scan;
		hash_seq_init(&scan, counters_hash);
		while (auto *one = static_cast<InstanceCounters *>(hash_seq_search(&scan)))
			if (one->key.database_oid == entry->database_oid)
				hash_search(counters_hash, &one->key, HASH_REMOVE, nullptr);
	});
}

InstanceCounters *
instance_counters_get(int32 instance_id)
{
	InstanceCounters::Key key = counters_key(instance_id);

	return with_lock(state->lock, LW_EXCLUSIVE, [&] {
		bool found;
		auto *one = static_cast<InstanceCounters *>(
			hash_search(counters_hash, &key, HASH_ENTER_NULL, &found));
		if (one != nullptr && !found)
			for (pg_atomic_uint64 *number :
				 {&one->inserts, &one->updates, &one->deletes, &one->last_lsn, &one->last_time})
				pg_atomic_init_u64(number, 0);
		return one;
	});
}

void
instance_counters_remove(int32 instance_id)
{
	InstanceCounters::Key key = counters_key(instance_id);

	with_lock(state->lock, LW_EXCLUSIVE,
			  [&] { hash_search(counters_hash, &key, HASH_REMOVE, nullptr); });
}

bool
instance_counters_read(int32 instance_id, InstanceCounts *counts)
{
	InstanceCounters::Key key = counters_key(instance_id);

	return with_lock(state->lock, LW_SHARED, [&] {
		auto *one =
			static_cast<InstanceCounters *>(hash_search(counters_hash, &key, HASH_FIND, nullptr));
		if (one == nullptr)
			return false;
		counts->inserts = pg_atomic_read_u64(&one->inserts);
		counts->updates = pg_atomic_read_u64(&one->updates);
		counts->deletes = pg_atomic_read_u64(&one->deletes);
		counts->last_lsn = pg_atomic_read_u64(&one->last_lsn);
		counts->last_time = pg_atomic_read_u64(&one->last_time);
		return true;
	});
}

} // namespace cdc::monitor
