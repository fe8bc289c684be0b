/*
 * shmem.cpp
 *	  Reserves and initialises the shared memory of shmem.hpp.
 */
#include "cdc.hpp"

#include "base/scope.hpp"
#include "base/shmem.hpp"
#include "monitor/monitor_state.hpp"

extern "C" {
#include "replication/slot.h"
#include "storage/shmem.h"
}

namespace cdc
{

namespace
{

constexpr const char *kTrancheName = "cdc";

SharedState *shared_state = nullptr;
shmem_request_hook_type previous_request_hook = nullptr;
shmem_startup_hook_type previous_startup_hook = nullptr;

/* A captured database has a slot, so there can be no more of them than slots. */
Size
shared_state_size()
{
	return add_size(offsetof(SharedState, entries),
					mul_size(sizeof(DatabaseEntry), Max(max_replication_slots, 1)));
}

void
request_hook()
{
	if (previous_request_hook)
		previous_request_hook();
	RequestAddinShmemSpace(shared_state_size());
	RequestAddinShmemSpace(monitor::monitor_state_size(Max(max_replication_slots, 1)));
	RequestNamedLWLockTranche(kTrancheName, 2);
}

void
startup_hook()
{
	if (previous_startup_hook)
		previous_startup_hook();

	with_lock(AddinShmemInitLock, LW_EXCLUSIVE, [] {
		bool found;
		monitor::monitor_state_create(Max(max_replication_slots, 1),
									  &GetNamedLWLockTranche(kTrancheName)[1].lock);
		shared_state =
			static_cast<SharedState *>(ShmemInitStruct("cdc", shared_state_size(), &found));
		if (found)
			return;
		memset(static_cast<void *>(shared_state), 0, shared_state_size());
		shared_state->lock = &GetNamedLWLockTranche(kTrancheName)->lock;
		shared_state->nentries = Max(max_replication_slots, 1);
		for (int i = 0; i < shared_state->nentries; i++)
		{
			DatabaseEntry &entry = shared_state->entries[i];
			for (pg_atomic_uint64 *counter :
				 {&entry.captured_lsn, &entry.written_lsn, &entry.read_lsn, &entry.confirmed_lsn,
				  &entry.standbys_awaited_since, &entry.last_commit_time, &entry.transactions,
				  &entry.changes, &entry.rows, &entry.writing_lsn, &entry.wanted_lsn})
				pg_atomic_init_u64(counter, 0);
			pg_atomic_init_u32(&entry.decoder_sleeping, 0);
			ConditionVariableInit(&entry.progress_cv);
		}
	});
}

} // namespace

void
shmem_init()
{
	previous_request_hook = shmem_request_hook;
	shmem_request_hook = request_hook;
	previous_startup_hook = shmem_startup_hook;
	shmem_startup_hook = startup_hook;
}

SharedState *
shmem_get()
{
	return shared_state;
}

SharedState *
shmem_require()
{
	if (shared_state == nullptr)
		ereport(
			ERROR,
			(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE), errmsg("cdc is not preloaded"),
			 errdetail("shared_preload_libraries is \"%s\", without \"cdc\": no worker can run.",
					   shared_preload_libraries_string ? shared_preload_libraries_string : ""),
			 errhint("Add cdc to shared_preload_libraries in postgresql.conf, for example "
					 "shared_preload_libraries = 'cdc', and restart the server.")));
	return shared_state;
}

} // namespace cdc
