/*
 * cleanup_control.cpp
 *	  Cleanup of each database as shared memory knows it.
 */
#include "cdc.hpp"

#include "base/scope.hpp"
#include "jobs/cleanup_control.hpp"
#include "worker/registry.hpp"

extern "C" {
#include "mb/pg_wchar.h"
#include "pgstat.h"
#include "storage/procarray.h"
}

namespace cdc::jobs
{

namespace
{

constexpr int64 kFirstBackoffUs = 1 * USECS_PER_SEC;
constexpr int64 kLongestBackoffUs = 60 * USECS_PER_SEC;
constexpr long kLookAgainMs = 200;

template <typename Body>
auto
locked(Body body)
{
	return with_lock(shmem_get()->lock, LW_EXCLUSIVE, body);
}

void
copy_text(char *to, const char *from)
{
	strlcpy(to, from, kErrorMessageBytes);
	/* Never cut in the middle of a multibyte character. */
	if (strlen(from) >= kErrorMessageBytes)
		to[pg_mbcliplen(from, strlen(from), kErrorMessageBytes - 1)] = '\0';
}

bool
request_is_pending(const CleanupControl &cleanup)
{
	return cleanup.finished_request_id != cleanup.request_id;
}

/* The caller holds the lock. */
void
end_request(CleanupControl &cleanup, const char *message)
{
	if (!request_is_pending(cleanup))
		return;
	cleanup.finished_request_id = cleanup.request_id;
	cleanup.request_failed = message != nullptr;
	copy_text(cleanup.request_message, message != nullptr ? message : "");
}

/* The caller holds the lock. */
void
back_off(CleanupControl &cleanup)
{
	int64 backoff = kFirstBackoffUs << Min(cleanup.failures, 6);
	cleanup.failures++;
	cleanup.restart_at = GetCurrentTimestamp() + Min(backoff, kLongestBackoffUs);
}

bool said_when = false;

void
detach(int, Datum argument)
{
	DatabaseEntry *entry = reinterpret_cast<DatabaseEntry *>(DatumGetPointer(argument));

	locked([&] {
		CleanupControl &cleanup = entry->cleanup;
		if (cleanup.running == CleanupTask::Table)
			end_request(cleanup, "the cleanup worker has ended, see the server log");
		cleanup.pid = 0;
		cleanup.proc = nullptr;
		cleanup.running = CleanupTask::None;
		cleanup.stop_requested = false;
		cleanup.doing[0] = '\0';
		if (said_when)
			cleanup.failures = 0;
		else
		{
			/* It failed on its way, or was terminated: the job row tells the next one what is left to do. */
			cleanup.due_at = DT_NOBEGIN;
			back_off(cleanup);
		}
	});
	ConditionVariableBroadcast(&entry->progress_cv);
	worker::registry_wake_launcher();
}

} // namespace

void
cleanup_reset(DatabaseEntry *entry)
{
	memset(static_cast<void *>(&entry->cleanup), 0, sizeof(CleanupControl));
	entry->cleanup.due_at = DT_NOEND;
}

void
cleanup_note_capture(DatabaseEntry *entry)
{
	if (!entry->cleanup.looked)
		entry->cleanup.due_at = DT_NOBEGIN;
}

bool
cleanup_is_busy(const DatabaseEntry &entry)
{
	const CleanupControl &cleanup = entry.cleanup;
	return cleanup.registered || cleanup.pid != 0 || cleanup.job_wanted ||
		   request_is_pending(cleanup);
}

bool
cleanup_is_running(const DatabaseEntry &entry)
{
	return entry.cleanup.registered || entry.cleanup.pid != 0;
}

void
cleanup_look_again(DatabaseEntry *entry)
{
	locked([&] {
		entry->cleanup.due_at = DT_NOBEGIN;
		entry->cleanup.restart_at = 0;
	});
	worker::registry_wake_launcher();
}

void
cleanup_run_job(DatabaseEntry *entry)
{
	locked([&] {
		entry->cleanup.job_wanted = true;
		entry->cleanup.restart_at = 0;
	});
	worker::registry_wake_launcher();
}

void
cleanup_stop(DatabaseEntry *entry)
{
	locked([&] {
		entry->cleanup.job_wanted = false;
		if (entry->cleanup.pid != 0)
		{
			entry->cleanup.stop_requested = true;
			SetLatch(&entry->cleanup.proc->procLatch);
		}
	});
}

uint64
cleanup_request_table(DatabaseEntry *entry, int32 instance_id, int64 threshold)
{
	uint64 id = locked([&]() -> uint64 {
		CleanupControl &cleanup = entry->cleanup;
		if (cleanup.requester_pid != 0 || entry->hold_pid != 0 ||
			entry->database_oid != MyDatabaseId)
			return 0;
		cleanup.requester_pid = MyProcPid;
		cleanup.instance_id = instance_id;
		cleanup.threshold = threshold;
		cleanup.restart_at = 0;
		return ++cleanup.request_id;
	});
	if (id != 0)
		worker::registry_wake_launcher();
	return id;
}

bool
cleanup_take_result(DatabaseEntry *entry, const char **message)
{
	char *copy = static_cast<char *>(palloc(kErrorMessageBytes));
	bool failed = locked([&] {
		entry->cleanup.requester_pid = 0;
		memcpy(copy, entry->cleanup.request_message, kErrorMessageBytes);
		return entry->cleanup.request_failed;
	});
	*message = copy;
	return !failed;
}

void
cleanup_wait_until_ended(DatabaseEntry *entry, CleanupTask task)
{
	ConditionVariablePrepareToSleep(&entry->progress_cv);
	while (entry->cleanup.running == task)
	{
		ConditionVariableTimedSleep(&entry->progress_cv, kLookAgainMs, PG_WAIT_EXTENSION);
		CHECK_FOR_INTERRUPTS();
	}
	ConditionVariableCancelSleep();
}

void
cleanup_withdraw(DatabaseEntry *entry)
{
	locked([&] {
		CleanupControl &cleanup = entry->cleanup;
		if (cleanup.requester_pid != MyProcPid)
			return;
		cleanup.requester_pid = 0;
		if (!request_is_pending(cleanup))
			return;
		end_request(cleanup, "withdrawn");
		if (cleanup.running == CleanupTask::Table)
		{
			cleanup.stop_requested = true;
			SetLatch(&cleanup.proc->procLatch);
		}
	});
	ConditionVariableBroadcast(&entry->progress_cv);
}

bool
cleanup_is_due(DatabaseEntry *entry, long *nap)
{
	return with_lock(shmem_get()->lock, LW_SHARED, [&] {
		const CleanupControl &cleanup = entry->cleanup;
		if (entry->hold_pid != 0 || cleanup_is_running(*entry))
			return false;
		TimestampTz due_at =
			cleanup.job_wanted || request_is_pending(cleanup) ? DT_NOBEGIN : cleanup.due_at;
		due_at = Max(due_at, cleanup.restart_at);
		if (due_at == DT_NOEND)
			return false;
		TimestampTz now = GetCurrentTimestamp();
		if (due_at > now)
		{
			int64 left_ms = (due_at - now) / 1000 + 1;
			*nap = static_cast<long>(Min(static_cast<int64>(*nap), left_ms));
			return false;
		}
		return true;
	});
}

void
cleanup_mark_registered(DatabaseEntry *entry, bool registered)
{
	locked([&] { entry->cleanup.registered = registered; });
}

void
cleanup_could_not_start(DatabaseEntry *entry, const char *message)
{
	locked([&] {
		entry->cleanup.registered = false;
		end_request(entry->cleanup, message);
		back_off(entry->cleanup);
	});
	ConditionVariableBroadcast(&entry->progress_cv);
}

void
cleanup_check_requester(DatabaseEntry *entry)
{
	locked([&] {
		CleanupControl &cleanup = entry->cleanup;
		if (cleanup.requester_pid == 0 || BackendPidGetProc(cleanup.requester_pid) != nullptr)
			return;
		cleanup.requester_pid = 0;
		if (!request_is_pending(cleanup))
			return;
		end_request(cleanup, "withdrawn");
		if (cleanup.running == CleanupTask::Table)
			cleanup.stop_requested = true;
	});
}

CleanupWork
cleanup_attach(DatabaseEntry *entry)
{
	CleanupWork work = locked([&] {
		CleanupControl &cleanup = entry->cleanup;
		CleanupWork result = {CleanupTask::None, cleanup.instance_id, cleanup.threshold};

		cleanup.registered = false;
		if (cleanup.pid != 0 || entry->hold_pid != 0)
			return result;
		/* Who waits comes first; the job is asked for by the flag for as long as it has not been begun. */
		if (request_is_pending(cleanup))
			result.task = CleanupTask::Table;
		else if (cleanup.job_wanted)
		{
			cleanup.job_wanted = false;
			result.task = CleanupTask::Job;
		}
		else
			result.task = CleanupTask::Schedule;
		/* Whoever asks for another look from here on gets one. */
		if (result.task != CleanupTask::Table)
		{
			cleanup.due_at = DT_NOEND;
			cleanup.looked = true;
		}
		cleanup.pid = MyProcPid;
		cleanup.proc = MyProc;
		cleanup.running = result.task;
		cleanup.stop_requested = false;
		cleanup.leaves_dropped = 0;
		cleanup.rows_deleted = 0;
		return result;
	});
	if (work.task != CleanupTask::None)
		before_shmem_exit(detach, PointerGetDatum(entry));
	else
		worker::registry_wake_launcher();
	return work;
}

void
cleanup_note_job(DatabaseEntry *entry)
{
	locked([&] { entry->cleanup.running = CleanupTask::Job; });
}

void
cleanup_note_end(DatabaseEntry *entry)
{
	locked([&] { entry->cleanup.running = CleanupTask::None; });
	ConditionVariableBroadcast(&entry->progress_cv);
}

void
cleanup_show(DatabaseEntry *entry, const char *doing, int64 leaves, int64 rows)
{
	locked([&] {
		copy_text(entry->cleanup.doing, doing);
		entry->cleanup.leaves_dropped = leaves;
		entry->cleanup.rows_deleted = rows;
	});
}

void
cleanup_finish_request(DatabaseEntry *entry, const char *message)
{
	locked([&] {
		end_request(entry->cleanup, message);
		/* From here on another request may come in: it is not the one that this worker ends with. */
		entry->cleanup.running = CleanupTask::None;
	});
	ConditionVariableBroadcast(&entry->progress_cv);
}

void
cleanup_look_at(DatabaseEntry *entry, TimestampTz time)
{
	said_when = true;
	/* Somebody may have changed the job meanwhile, and wants it looked at now. */
	locked([&] { entry->cleanup.due_at = Min(entry->cleanup.due_at, time); });
}

} // namespace cdc::jobs
