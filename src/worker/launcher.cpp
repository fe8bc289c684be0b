/*
 * launcher.cpp
 *	  The static worker: finds enabled databases, starts and restarts their workers.
 *
 * NOTES
 *	  Shared memory only, no database connection: a database can be dropped at any time. Candidates
 *	  are the slots named cdc_<database oid> of plugin cdc, and what the finder adds. A slot proves nothing (a role with
 *	  REPLICATION may be able to make one): the worker checks the identity row and leaves.
 */
#include "cdc.hpp"

#include "base/fault.hpp"
#include "base/scope.hpp"
#include "base/shmem.hpp"
#include "jobs/cleanup_control.hpp"
#include "monitor/error_log.hpp"
#include "monitor/health_checks.hpp"
#include "worker/finder.hpp"
#include "worker/launcher.hpp"
#include "worker/register_process.hpp"
#include "worker/registry.hpp"

extern "C" {
#include "pgstat.h"
#include "postmaster/bgworker.h"
#include "postmaster/interrupt.h"
#include "replication/slot.h"
#include "storage/procarray.h"
#include "tcop/tcopprot.h"
#include "utils/memutils.h"

PGDLLEXPORT void cdc_launcher_main(Datum argument);
}

namespace cdc::worker
{

namespace
{

constexpr long kLongestNapMs = 10L * 1000;
constexpr int64 kClockStepUs = 5 * USECS_PER_SEC; /* less than this is not worth a word */
constexpr int kCaptureJobFailed = 22864;

/*
 * For so long after the launcher's start, when all databases are looked at at once, what can wait leaves the free
 * worker slots to capture, and comes one by one.
 */
constexpr int64 kCaptureFirstUs = 10 * USECS_PER_SEC;
constexpr long kLookForRoomMs = 100;

/* Failures in a row, within half a minute, after which a database without slot counts as gone. */
constexpr int kFailuresWithoutSlot = 5;

/* Handles of the workers this process has registered, by entry. */
BackgroundWorkerHandle **handles = nullptr;
BackgroundWorkerHandle **cleanup_handles = nullptr;

bool
database_has_slot(Oid database_oid)
{
	NameData name = slot_name_for(database_oid);
	return SearchNamedReplicationSlot(NameStr(name), true) != nullptr;
}

/*
 * Starts what is captured: databases that have a slot but no entry, and at the launcher's own start
 * those whose entry a backend has made before us. A job that was stopped stops again by itself.
 */
void
find_databases(bool first_look)
{
	Oid *found = static_cast<Oid *>(palloc(sizeof(Oid) * max_replication_slots));
	int nfound = 0;

	with_lock(ReplicationSlotControlLock, LW_SHARED, [&] {
		for (int i = 0; i < max_replication_slots; i++)
		{
			ReplicationSlot *slot = &ReplicationSlotCtl->replication_slots[i];
			if (!slot->in_use)
				continue;
			SpinLockAcquire(&slot->mutex);
			Oid database = slot->data.database;
			bool ours = OidIsValid(database) && slot->data.persistency == RS_PERSISTENT &&
						strcmp(NameStr(slot->data.plugin), "cdc") == 0;
			NameData name = slot->data.name;
			SpinLockRelease(&slot->mutex);
			if (ours && database_of_slot(NameStr(name)) == database)
				found[nfound++] = database;
		}
	});
	for (int i = 0; i < nfound; i++)
	{
		bool known = registry_find(found[i]) != nullptr;
		DatabaseEntry *entry = registry_assign(found[i]);
		if (entry != nullptr && (!known || (first_look && entry->mode == WorkerMode::Stopped)))
			registry_start(entry);
		/* What is due, nobody but a worker in the database can read. */
		if (entry != nullptr && (!known || first_look))
			jobs::cleanup_look_again(entry);
	}
	pfree(found);
}

/*
 * A worker that fails again and again where there is no slot has no database any more (it says so itself when
 * only the slot is gone): without this it would be started for ever.
 */
void
give_up_without_slot(DatabaseEntry *entry)
{
	if (entry->state == CaptureState::Failed && entry->mode == WorkerMode::Continuous &&
		entry->failures >= kFailuresWithoutSlot && !database_has_slot(entry->database_oid))
		registry_stop(entry);
}

/* Clears what a backend that is gone has left behind. */
void
check_holders(DatabaseEntry *entry)
{
	bool withdraw = with_lock(shmem_get()->lock, LW_EXCLUSIVE, [&] {
		if (entry->hold_pid != 0 && BackendPidGetProc(entry->hold_pid) == nullptr)
			entry->hold_pid = 0;
		return entry->requester_pid != 0 && BackendPidGetProc(entry->requester_pid) == nullptr;
	});
	if (withdraw)
		registry_cancel_request(entry);
}

/* Notes that a registered worker has ended without attaching (its database is gone, say). */
void
check_registered(int index)
{
	DatabaseEntry *entry = &shmem_get()->entries[index];
	pid_t pid;

	if (cleanup_handles[index] != nullptr &&
		GetBackgroundWorkerPid(cleanup_handles[index], &pid) == BGWH_STOPPED)
	{
		pfree(cleanup_handles[index]);
		cleanup_handles[index] = nullptr;
		if (entry->cleanup.registered)
			jobs::cleanup_could_not_start(entry, "the cleanup worker could not connect");
	}
	if (handles[index] == nullptr || GetBackgroundWorkerPid(handles[index], &pid) != BGWH_STOPPED)
		return;
	pfree(handles[index]);
	handles[index] = nullptr;
	with_lock(shmem_get()->lock, LW_EXCLUSIVE, [&] { entry->registered = false; });
}

/* Worker slots that our other processes have without being processes. */
int
slots_reserved()
{
	int count = finder_only_has_slot() ? 1 : 0;

	for (int i = 0; i < shmem_get()->nentries; i++)
		count += process_only_has_slot(cleanup_handles[i]) ? 1 : 0;
	return count;
}

void
start_worker(int index, WorkerMode mode)
{
	DatabaseEntry *entry = &shmem_get()->entries[index];
	bool creates_slot = mode == WorkerMode::CreateSlot;

	with_lock(shmem_get()->lock, LW_EXCLUSIVE, [&] {
		entry->registered = true;
		entry->state = CaptureState::Starting;
	});
	CDC_FAULT("launcher-register");
	handles[index] =
		register_process(creates_slot ? "cdc decoder" : "cdc capture worker",
						 creates_slot ? "cdc_slot_creator_main" : "cdc_capture_worker_main",
						 Int32GetDatum(index));
	if (handles[index] != nullptr)
	{
		CDC_FAULT("launcher-registered");
		return;
	}

	ErrorData error;
	memset(static_cast<void *>(&error), 0, sizeof(error));
	error.sqlerrcode = ERRCODE_CONFIGURATION_LIMIT_EXCEEDED;
	error.message = pstrdup("could not start a worker: no free background worker slot");
	error.detail = psprintf(
		"max_worker_processes is %d and all are in use; capture needs two for each database.",
		max_worker_processes);
	error.hint = pstrdup("Raise max_worker_processes and restart the server.");
	ereport(LOG, (errcode(error.sqlerrcode), errmsg_internal("%s", error.message),
				  errdetail_internal("%s", error.detail), errhint("%s", error.hint)));
	monitor::error_log_note(entry, "launcher", error, kCaptureJobFailed);
	if (mode == WorkerMode::Continuous)
		registry_record_error(entry, error);
	else
		registry_finish_request(entry, &error);
	with_lock(shmem_get()->lock, LW_EXCLUSIVE, [&] {
		entry->registered = false;
		entry->state =
			mode == WorkerMode::Continuous ? CaptureState::Failed : CaptureState::Stopped;
		entry->failures++;
		entry->restart_at =
			GetCurrentTimestamp() + Min(60, 1 << Min(entry->failures, 6)) * USECS_PER_SEC;
	});
	ConditionVariableBroadcast(&entry->progress_cv);
}

void
start_cleanup_worker(int index)
{
	DatabaseEntry *entry = &shmem_get()->entries[index];

	jobs::cleanup_mark_registered(entry, true);
	cleanup_handles[index] =
		register_process("cdc cleanup worker", "cdc_cleanup_worker_main", Int32GetDatum(index));
	if (cleanup_handles[index] != nullptr)
		return;
	jobs::cleanup_could_not_start(entry,
								  "could not start a worker: no free background worker slot");
	ereport(LOG, (errcode(ERRCODE_CONFIGURATION_LIMIT_EXCEEDED),
				  errmsg("could not start a cleanup worker: no free background worker slot"),
				  errdetail("max_worker_processes is %d and all are in use; it is tried again.",
							max_worker_processes),
				  errhint("Raise max_worker_processes and restart the server.")));
}

/* What to start for an entry now; *nap shrinks to the time until it may be started. */
WorkerMode
due(DatabaseEntry *entry, long *nap)
{
	return with_lock(shmem_get()->lock, LW_SHARED, [&] {
		if (!OidIsValid(entry->database_oid) || entry->mode == WorkerMode::Stopped ||
			entry->hold_pid != 0 || registry_is_running(*entry))
			return WorkerMode::Stopped;
		TimestampTz now = GetCurrentTimestamp();
		if (entry->restart_at > now)
		{
			*nap = Min(*nap, static_cast<long>((entry->restart_at - now) / 1000) + 1);
			return WorkerMode::Stopped;
		}
		return entry->mode;
	});
}

/* Set back, the clock would keep what is to come soon waiting for as long as it was set back. */
void
look_at_clock()
{
	static TimestampTz former = 0;
	SharedState *shared = shmem_get();
	TimestampTz now = GetCurrentTimestamp();

	if (now + kClockStepUs < former)
		for (int i = 0; i < shared->nentries; i++)
			if (OidIsValid(shared->entries[i].database_oid))
			{
				registry_clock_set_back(&shared->entries[i]);
				jobs::cleanup_look_again(&shared->entries[i]);
			}
	former = now;
}

void
forget_launcher(int, Datum)
{
	SharedState *shared = shmem_get();
	with_lock(shared->lock, LW_EXCLUSIVE, [&] {
		shared->launcher_pid = 0;
		shared->launcher_latch = nullptr;
	});
}

void
launcher_loop()
{
	SharedState *shared = shmem_get();
	TimestampTz started_at = GetCurrentTimestamp();
	bool capture_first = true;

	for (bool first_look = true;; first_look = false)
	{
		long nap = kLongestNapMs;

		CHECK_FOR_INTERRUPTS();
		if (ConfigReloadPending)
		{
			ConfigReloadPending = false;
			ProcessConfigFile(PGC_SIGHUP);
		}
		look_at_clock();
		find_databases(first_look);
		TimestampTz now = GetCurrentTimestamp();
		capture_first = capture_first && now >= started_at && now - started_at < kCaptureFirstUs;
		bool others_too = !capture_first || registry_has_room_beside_capture(slots_reserved());
		if (!others_too)
			nap = kLookForRoomMs;
		else if (finder_attend(&nap) && capture_first)
			others_too = false;
		for (int i = 0; i < shared->nentries; i++)
		{
			DatabaseEntry *entry = &shared->entries[i];
			check_registered(i);
			if (!OidIsValid(entry->database_oid))
				continue;
			check_holders(entry);
			jobs::cleanup_check_requester(entry);
			if (jobs::cleanup_is_due(entry, &nap))
			{
				if (others_too)
					start_cleanup_worker(i);
				if (capture_first)
				{
					others_too = false;
					nap = Min(nap, kLookForRoomMs);
				}
			}
			give_up_without_slot(entry);
			WorkerMode mode = due(entry, &nap);
			if (mode != WorkerMode::Stopped)
				start_worker(i, mode);
			else if (entry->state == CaptureState::Stopped &&
					 !database_has_slot(entry->database_oid) && !monitor::health_misses_slot(entry))
				registry_release_unused(entry);
		}
		nap = monitor::health_watch(nap);
		(void)WaitLatch(MyLatch, WL_LATCH_SET | WL_TIMEOUT | WL_EXIT_ON_PM_DEATH, nap,
						PG_WAIT_EXTENSION);
		ResetLatch(MyLatch);
	}
}

} // namespace

void
launcher_register()
{
	BackgroundWorker worker;

	memset(&worker, 0, sizeof(worker));
	worker.bgw_flags = BGWORKER_SHMEM_ACCESS;
	worker.bgw_start_time = BgWorkerStart_RecoveryFinished;
	worker.bgw_restart_time = 5;
	strlcpy(worker.bgw_library_name, "cdc", sizeof(worker.bgw_library_name));
	strlcpy(worker.bgw_function_name, "cdc_launcher_main", sizeof(worker.bgw_function_name));
	strlcpy(worker.bgw_name, "cdc launcher", BGW_MAXLEN);
	strlcpy(worker.bgw_type, "cdc launcher", BGW_MAXLEN);
	RegisterBackgroundWorker(&worker);
}

} // namespace cdc::worker

extern "C" void
cdc_launcher_main(Datum)
{
	using namespace cdc;
	using namespace cdc::worker;

	pqsignal(SIGTERM, die);
	pqsignal(SIGHUP, SignalHandlerForConfigReload);
	BackgroundWorkerUnblockSignals();

	SharedState *shared = shmem_get();
	MemoryContextSwitchTo(
		AllocSetContextCreate(TopMemoryContext, "cdc worker", ALLOCSET_DEFAULT_SIZES));
	handles = static_cast<BackgroundWorkerHandle **>(
		palloc0(sizeof(BackgroundWorkerHandle *) * shared->nentries));
	cleanup_handles = static_cast<BackgroundWorkerHandle **>(
		palloc0(sizeof(BackgroundWorkerHandle *) * shared->nentries));
	with_lock(shared->lock, LW_EXCLUSIVE, [&] {
		/* What a former launcher registered has attached or ended by now; its handles are lost. */
		for (int i = 0; i < shared->nentries; i++)
		{
			shared->entries[i].registered = false;
			shared->entries[i].cleanup.registered = false;
		}
		shared->launcher_pid = MyProcPid;
		shared->launcher_latch = MyLatch;
	});
	finder_begin();
	before_shmem_exit(forget_launcher, 0);
	CDC_FAULT("launcher-start");
	launcher_loop();
}
