/*
 * registry.cpp
 *	  Operations on the entries of SharedState.
 *
 * NOTES
 *	  State machine of an entry, as the launcher drives it:
 *
 *		Stopped --start--> Starting --attach--> CatchingUp <--> Streaming
 *		   ^                   ^                      |
 *		   |                   +----- back-off ---- Failed   (error, process gone)
 *		   +--- stop, hold, end of a request -------- +
 *		   NeedsAction: like Stopped, but not by anybody's wish
 *
 *	  A worker that dies takes itself out in before_shmem_exit; one that is killed takes the whole
 *	  server through a restart, which clears this memory.
 */
#include "cdc.hpp"

#include "base/fault.hpp"
#include "base/scope.hpp"
#include "jobs/cleanup_control.hpp"
#include "monitor/health_checks.hpp"
#include "monitor/monitor_state.hpp"
#include "worker/registry.hpp"

extern "C" {
#include "catalog/pg_authid_d.h"
#include "commands/dbcommands.h"
#include "mb/pg_wchar.h"
#include "postmaster/bgworker.h"
#include "replication/slot.h"
#include "storage/proc.h"
#include "storage/procarray.h"
#include "utils/elog.h"
#include "utils/ps_status.h"
}

namespace cdc::worker
{

namespace
{

constexpr int64 kFirstBackoffUs = 1 * USECS_PER_SEC;
constexpr int64 kLongestBackoffUs = 60 * USECS_PER_SEC;
/* Who was given an entry uses it within this time. */
constexpr int64 kKeepUnusedUs = 30 * USECS_PER_SEC;

enum class AtCommit : uint8
{
	Start,
	Stop,
	CleanupLook,
	CleanupRun,
	CleanupStop,
};

/*
 * What this transaction has asked for, the last one for each job counts; in TopTransactionContext. Each with its
 * nesting level: what was asked for in a subtransaction goes with it.
 */
struct Asked
{
	int level;
	AtCommit action;
};

List *asked = NIL; /* Asked * */
bool callback_registered = false;
bool clean_exit = false;
uint64 starts_at_attach = 0; /* of a writer */

/* Whether this process has made a slot that no committed identity row speaks of yet. */
bool slot_is_unclaimed = false;
TimestampTz sleep_until = 0; /* clean exit of a started job: not before */

template <typename Body>
auto
locked(Body body)
{
	return with_lock(shmem_get()->lock, LW_EXCLUSIVE, body);
}

void
copy_message(char *to, const char *from)
{
	strlcpy(to, from != nullptr ? from : "", kErrorMessageBytes);
	/* Never cut in the middle of a multibyte character. */
	if (from != nullptr && strlen(from) >= kErrorMessageBytes)
		to[pg_mbcliplen(from, strlen(from), kErrorMessageBytes - 1)] = '\0';
}

void
store_error(DatabaseEntry *entry, const ErrorData &error)
{
	entry->last_error_code = error.sqlerrcode;
	entry->last_error_time = GetCurrentTimestamp();
	copy_message(entry->last_error_message, error.message);
	copy_message(entry->last_error_detail, error.detail);
	copy_message(entry->last_error_hint, error.hint);
}

/* Counters, positions and the last error of an earlier life. */
void
forget_history(DatabaseEntry *entry)
{
	entry->last_error_code = 0;
	entry->last_error_time = 0;
	entry->last_error_message[0] = '\0';
	entry->last_error_detail[0] = '\0';
	entry->last_error_hint[0] = '\0';
	for (pg_atomic_uint64 *counter :
		 {&entry->captured_lsn, &entry->written_lsn, &entry->read_lsn, &entry->confirmed_lsn,
		  &entry->standbys_awaited_since, &entry->last_commit_time, &entry->transactions,
		  &entry->changes, &entry->rows, &entry->writing_lsn, &entry->wanted_lsn})
		pg_atomic_write_u64(counter, 0);
	monitor::monitor_state_forget(entry);
}

bool
is_request_pending(const DatabaseEntry &entry)
{
	return entry.finished_request_id != entry.request_id;
}

/* Whatever the mode is by now: the job may have been started or stopped while a scan ran. */
void
end_request(DatabaseEntry *entry, bool failed)
{
	if (!is_request_pending(*entry))
		return;
	entry->finished_request_id = entry->request_id;
	entry->request_failed = failed;
	entry->requester_pid = 0;
	if (entry->mode == WorkerMode::Scan || entry->mode == WorkerMode::CreateSlot)
		entry->mode = WorkerMode::Stopped;
}

/* A worker that is on its way ends at once: nobody wants it any more. */
void
turn_away(DatabaseEntry *entry)
{
	entry->stop_requested = false;
	if (entry->state == CaptureState::Starting)
		entry->state = CaptureState::Stopped;
}

void
detach_writer(int, Datum argument)
{
	DatabaseEntry *entry = reinterpret_cast<DatabaseEntry *>(DatumGetPointer(argument));

	locked([&] {
		entry->writer_pid = 0;
		entry->writer_proc = nullptr;
		entry->stop_requested = false;
		if (entry->decoder_proc != nullptr)
			SetLatch(&entry->decoder_proc->procLatch);
		end_request(entry, !clean_exit); /* a writer runs with a request for its own scan only */
		if (entry->state == CaptureState::NeedsAction)
			return;
		if (clean_exit)
		{
			bool sleeps = sleep_until != 0 && entry->mode == WorkerMode::Continuous;
			entry->state = sleeps ? CaptureState::OutsideWindow : CaptureState::Stopped;
			entry->restart_at = sleeps ? sleep_until : 0;
			return;
		}
		entry->state = CaptureState::Failed;
		int64 backoff = kFirstBackoffUs << Min(entry->failures, 6);
		entry->failures++;
		entry->restart_at = GetCurrentTimestamp() + Min(backoff, kLongestBackoffUs);
	});
	ConditionVariableBroadcast(&entry->progress_cv);
	registry_wake_launcher();
}

void
detach_decoder(int, Datum argument)
{
	DatabaseEntry *entry = reinterpret_cast<DatabaseEntry *>(DatumGetPointer(argument));

	locked([&] {
		if (entry->decoder_pid != MyProcPid)
			return;
		entry->decoder_pid = 0;
		entry->decoder_proc = nullptr;
		if (entry->mode == WorkerMode::CreateSlot)
			end_request(entry, true);
		/* Nobody has asked again meanwhile: a worker looks whose the slot is. */
		if (slot_is_unclaimed && entry->mode == WorkerMode::Stopped)
		{
			entry->mode = WorkerMode::Continuous;
			entry->restart_at = 0;
			entry->failures = 0;
			entry->state = CaptureState::Starting;
		}
	});
	ConditionVariableBroadcast(&entry->progress_cv);
	registry_wake_launcher();
}

/*
 * The server lets go of an unfinished slot later than this. Until then a worker that looks would take it for one that
 * keeps WAL.
 */
void
detach_slot_creator(int code, Datum argument)
{
	if (MyReplicationSlot != nullptr)
		ReplicationSlotRelease();
	detach_decoder(code, argument);
	CDC_FAULT("creator-gone");
}

/* The last word for each job. */
void
do_asked(DatabaseEntry *entry)
{
	std::optional<AtCommit> capture;
	std::optional<AtCommit> cleanup;
	ListCell *cell;

	foreach (cell, asked)
	{
		AtCommit action = static_cast<Asked *>(lfirst(cell))->action;
		if (action == AtCommit::Start || action == AtCommit::Stop)
			capture = action;
		else if (action != AtCommit::CleanupLook || !cleanup)
			cleanup = action; /* every other one makes the worker look, too */
	}
	if (capture)
	{
		if (*capture == AtCommit::Start)
			registry_start(entry);
		else
			registry_stop(entry);
	}
	if (!cleanup)
		return;
	if (*cleanup == AtCommit::CleanupStop)
		jobs::cleanup_stop(entry);
	else if (*cleanup == AtCommit::CleanupRun)
		jobs::cleanup_run_job(entry);
	jobs::cleanup_look_again(entry);
}

void
transaction_callback(XactEvent event, void *)
{
	if (asked == NIL)
		return;
	switch (event)
	{
		case XACT_EVENT_PRE_PREPARE:
			ereport(ERROR,
					(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
					 errmsg("cannot prepare a transaction that starts, stops or changes a job"),
					 errdetail("The first table that is enabled starts it, too."),
					 errhint("Start and stop the job in a transaction of its own.")));
		case XACT_EVENT_COMMIT:
			if (DatabaseEntry *entry = registry_assign(MyDatabaseId))
				do_asked(entry);
			asked = NIL;
			break;
		case XACT_EVENT_ABORT:
			asked = NIL;
			break;
		default:
			break;
	}
}

void
subtransaction_callback(SubXactEvent event, SubTransactionId, SubTransactionId, void *)
{
	int level = GetCurrentTransactionNestLevel();

	if (event == SUBXACT_EVENT_ABORT_SUB)
	{
		while (asked != NIL && static_cast<Asked *>(llast(asked))->level >= level)
			asked = list_delete_last(asked);
	}
	else if (event == SUBXACT_EVENT_COMMIT_SUB)
	{
		ListCell *cell;
		foreach (cell, asked)
		{
			Asked *one = static_cast<Asked *>(lfirst(cell));
			one->level = Min(one->level, level - 1);
		}
	}
}

void
remember(AtCommit action)
{
	if (shmem_get() == nullptr)
		return;
	if (!callback_registered)
	{
		RegisterXactCallback(transaction_callback, nullptr);
		RegisterSubXactCallback(subtransaction_callback, nullptr);
		callback_registered = true;
	}
	in_context(TopTransactionContext, [&] {
		Asked *one = static_cast<Asked *>(palloc(sizeof(Asked)));
		*one = {GetCurrentTransactionNestLevel(), action};
		asked = lappend(asked, one);
	});
}

} // namespace

NameData
slot_name_for(Oid database_oid)
{
	NameData name;
	memset(&name, 0, sizeof(name));
	snprintf(NameStr(name), NAMEDATALEN, "cdc_%u", database_oid);
	return name;
}

Oid
database_of_slot(const char *slot_name)
{
	constexpr std::string_view kPrefix = "cdc_";

	if (strncmp(slot_name, kPrefix.data(), kPrefix.size()) != 0)
		return InvalidOid;
	Oid oid = static_cast<Oid>(strtoul(slot_name + kPrefix.size(), nullptr, 10));
	/* Only as it is written here: no leading zeros, nothing behind it, no number that is too large. */
	NameData name = slot_name_for(oid);
	return strcmp(NameStr(name), slot_name) == 0 ? oid : InvalidOid;
}

DatabaseEntry *
registry_find(Oid database_oid)
{
	SharedState *shared = shmem_get();
	if (shared == nullptr)
		return nullptr;
	return with_lock(shared->lock, LW_SHARED, [&]() -> DatabaseEntry * {
		for (int i = 0; i < shared->nentries; i++)
			if (shared->entries[i].database_oid == database_oid)
				return &shared->entries[i];
		return nullptr;
	});
}

DatabaseEntry *
registry_assign(Oid database_oid)
{
	SharedState *shared = shmem_get();
	if (shared == nullptr)
		return nullptr;
	return locked([&]() -> DatabaseEntry * {
		DatabaseEntry *unused = nullptr;
		for (int i = 0; i < shared->nentries; i++)
		{
			DatabaseEntry *entry = &shared->entries[i];
			if (entry->database_oid == database_oid)
			{
				entry->assigned_at = GetCurrentTimestamp();
				return entry;
			}
			if (!OidIsValid(entry->database_oid) && unused == nullptr)
				unused = entry;
		}
		if (unused == nullptr)
			return nullptr;

		unused->mode = WorkerMode::Stopped;
		unused->state = CaptureState::Stopped;
		unused->stop_requested = false;
		unused->hold_pid = 0;
		unused->requester_pid = 0;
		unused->registered = false;
		unused->failures = 0;
		unused->restart_at = 0;
		jobs::cleanup_reset(unused);
		unused->assigned_at = GetCurrentTimestamp();
		unused->database_oid = database_oid;
		forget_history(unused);
		return unused;
	});
}

void
registry_release_unused(DatabaseEntry *entry)
{
	locked([&] {
		if (!registry_is_running(*entry) && !jobs::cleanup_is_busy(*entry) &&
			entry->mode == WorkerMode::Stopped && !is_request_pending(*entry) &&
			entry->hold_pid == 0 && entry->assigned_at + kKeepUnusedUs < GetCurrentTimestamp())
			entry->database_oid = InvalidOid;
	});
}

bool
registry_is_running(const DatabaseEntry &entry)
{
	return entry.registered || entry.writer_pid != 0 || entry.decoder_pid != 0;
}

bool
registry_has_room_beside_capture(int reserved)
{
	SharedState *shared = shmem_get();
	int needed = 0;

	with_lock(shared->lock, LW_SHARED, [&] {
		for (int i = 0; i < shared->nentries; i++)
		{
			const DatabaseEntry &entry = shared->entries[i];
			if (OidIsValid(entry.database_oid) && entry.mode == WorkerMode::Continuous &&
				entry.state != CaptureState::OutsideWindow)
				needed += (entry.writer_pid == 0 ? 1 : 0) + (entry.decoder_pid == 0 ? 1 : 0);
		}
	});
	/* One more: a decoder that has just ended has given back its process, and its worker slot a moment later. */
	return needed == 0 || compat_free_worker_processes() > needed + reserved + 1;
}

void
registry_wake_launcher()
{
	SharedState *shared = shmem_get();
	with_lock(shared->lock, LW_SHARED, [&] {
		if (shared->launcher_latch != nullptr)
			SetLatch(shared->launcher_latch);
	});
}

void
registry_wake_writer(DatabaseEntry *entry)
{
	with_lock(shmem_get()->lock, LW_SHARED, [&] {
		if (entry->writer_proc != nullptr)
			SetLatch(&entry->writer_proc->procLatch);
	});
}

void
registry_wake_decoder(DatabaseEntry *entry)
{
	with_lock(shmem_get()->lock, LW_SHARED, [&] {
		if (entry->decoder_proc != nullptr)
			SetLatch(&entry->decoder_proc->procLatch);
	});
}

void
registry_start_at_commit()
{
	remember(AtCommit::Start);
}

void
registry_stop_at_commit()
{
	remember(AtCommit::Stop);
}

void
registry_cleanup_look_at_commit()
{
	remember(AtCommit::CleanupLook);
}

void
registry_cleanup_run_at_commit()
{
	remember(AtCommit::CleanupRun);
}

void
registry_cleanup_stop_at_commit()
{
	remember(AtCommit::CleanupStop);
}

void
registry_start(DatabaseEntry *entry)
{
	locked([&] {
		entry->mode = WorkerMode::Continuous;
		entry->starts++;
		entry->stop_requested = false;
		entry->restart_at = 0;
		entry->failures = 0;
		/* The former decoder may still be on its way out. */
		if (entry->writer_pid == 0)
			entry->state = CaptureState::Starting;
	});
	registry_wake_launcher();
}

void
registry_start_unless_asked(DatabaseEntry *entry)
{
	bool ours = locked([&] {
		bool asked_by_other = is_request_pending(*entry) && entry->requester_pid != MyProcPid;
		bool held_by_other = entry->hold_pid != 0 && entry->hold_pid != MyProcPid;
		return !asked_by_other && !held_by_other;
	});
	if (ours)
		registry_start(entry);
}

void
registry_start_if_idle(DatabaseEntry *entry)
{
	locked([&] {
		if (entry->mode != WorkerMode::Stopped || entry->hold_pid != 0 ||
			entry->state == CaptureState::NeedsAction || is_request_pending(*entry) ||
			registry_is_running(*entry))
			return;
		entry->mode = WorkerMode::Continuous;
		entry->restart_at = 0;
		entry->failures = 0;
		entry->state = CaptureState::Starting;
	});
	registry_wake_launcher();
}

void
registry_stop(DatabaseEntry *entry)
{
	locked([&] {
		entry->mode = WorkerMode::Stopped;
		if (registry_is_running(*entry))
			entry->stop_requested = true;
		else
			entry->state = CaptureState::Stopped;
	});
	registry_wake_writer(entry);
	registry_wake_launcher();
}

void
registry_stop_by_writer(DatabaseEntry *entry)
{
	locked([&] {
		if (entry->starts == starts_at_attach)
			entry->mode = WorkerMode::Stopped;
	});
}

void
registry_clock_set_back(DatabaseEntry *entry)
{
	locked([&] {
		entry->restart_at = Min(entry->restart_at, GetCurrentTimestamp() + kFirstBackoffUs);
		entry->assigned_at = Min(entry->assigned_at, GetCurrentTimestamp());
	});
}

uint64
registry_request(DatabaseEntry *entry, WorkerMode mode, const ScanParameters *scan)
{
	uint64 id = locked([&]() -> uint64 {
		if (registry_is_running(*entry) || entry->mode == WorkerMode::Continuous ||
			is_request_pending(*entry) || entry->hold_pid != 0 ||
			entry->database_oid != MyDatabaseId)
			return 0;
		if (mode == WorkerMode::CreateSlot)
			forget_history(entry);
		entry->mode = mode;
		entry->state = CaptureState::Starting;
		entry->requester_pid = MyProcPid;
		entry->stop_requested = false;
		entry->restart_at = 0;
		if (scan != nullptr)
			entry->scan = *scan;
		return ++entry->request_id;
	});
	if (id != 0)
		registry_wake_launcher();
	return id;
}

void
registry_finish_request(DatabaseEntry *entry, const ErrorData *error)
{
	locked([&] {
		if (error != nullptr)
			store_error(entry, *error);
		end_request(entry, error != nullptr);
		if (entry->state == CaptureState::Starting)
			entry->state = CaptureState::Stopped;
	});
	ConditionVariableBroadcast(&entry->progress_cv);
}

void
registry_cancel_request(DatabaseEntry *entry)
{
	locked([&] {
		if (!is_request_pending(*entry))
			return;
		bool creating = entry->mode == WorkerMode::CreateSlot;
		end_request(entry, true);
		if (entry->writer_pid != 0)
			entry->stop_requested = true;
		/* It may wait for other transactions to end: only a signal reaches it there. */
		if (creating && entry->decoder_pid != 0)
			kill(entry->decoder_pid, SIGTERM);
	});
	registry_wake_writer(entry);
	registry_wake_launcher();
}

void
registry_terminate(DatabaseEntry *entry)
{
	locked([&] {
		bool held = entry->hold_pid != 0; /* then nobody may be left, else cleanup is not meant */
		for (int pid : {entry->writer_pid, entry->decoder_pid, held ? entry->cleanup.pid : 0})
			if (pid != 0)
				kill(pid, SIGTERM);
	});
}

bool
registry_hold(DatabaseEntry *entry)
{
	bool ours = locked([&] {
		if (entry->hold_pid != 0 && entry->hold_pid != MyProcPid &&
			BackendPidGetProc(entry->hold_pid) != nullptr)
			return false;
		entry->hold_pid = MyProcPid;
		if (registry_is_running(*entry))
			entry->stop_requested = true;
		return true;
	});
	if (!ours)
		return false;
	monitor::health_expect_no_slot(entry);
	jobs::cleanup_stop(entry);
	registry_wake_writer(entry);
	return true;
}

void
registry_unhold(DatabaseEntry *entry)
{
	monitor::health_expect_no_slot(entry);
	locked([&] {
		if (entry->hold_pid == MyProcPid)
			entry->hold_pid = 0;
	});
	registry_wake_launcher();
}

WorkerMode
registry_attach_writer(DatabaseEntry *entry)
{
	WorkerMode mode = locked([&] {
		entry->registered = false;
		if (entry->mode == WorkerMode::Stopped || entry->mode == WorkerMode::CreateSlot ||
			entry->writer_pid != 0 || entry->hold_pid != 0)
		{
			if (entry->writer_pid == 0)
				turn_away(entry);
			return WorkerMode::Stopped;
		}
		entry->writer_pid = MyProcPid;
		entry->writer_proc = MyProc;
		entry->stop_requested = false;
		entry->started_at = GetCurrentTimestamp();
		starts_at_attach = entry->starts;
		entry->state = CaptureState::CatchingUp;
		/* In a copy, or after a lost slot, nobody else comes by here before the next server start. */
		jobs::cleanup_note_capture(entry);
		return entry->mode;
	});
	if (mode == WorkerMode::Stopped)
	{
		ConditionVariableBroadcast(&entry->progress_cv);
		registry_wake_launcher();
	}
	else
	{
		before_shmem_exit(detach_writer, PointerGetDatum(entry));
		registry_wake_launcher();
	}
	return mode;
}

void
registry_slot_unclaimed(bool unclaimed)
{
	slot_is_unclaimed = unclaimed;
}

bool
registry_attach_slot_creator(DatabaseEntry *entry)
{
	/* The requester may have been cancelled meanwhile, and nobody could cancel us any more. */
	bool wanted = locked([&] {
		entry->registered = false;
		if (entry->mode != WorkerMode::CreateSlot || entry->decoder_pid != 0)
		{
			turn_away(entry);
			return false;
		}
		entry->decoder_pid = MyProcPid;
		entry->decoder_proc = MyProc;
		return true;
	});
	if (wanted)
		before_shmem_exit(detach_slot_creator, PointerGetDatum(entry));
	else
	{
		ConditionVariableBroadcast(&entry->progress_cv);
		registry_wake_launcher();
	}
	return wanted;
}

bool
registry_attach_decoder(DatabaseEntry *entry)
{
	/* A writer that has ended meanwhile waits for nobody: others may count on the slot being free. */
	bool wanted = locked([&] {
		if (entry->writer_pid != MyBgworkerEntry->bgw_notify_pid || entry->decoder_pid != 0)
			return false;
		entry->decoder_pid = MyProcPid;
		entry->decoder_proc = MyProc;
		return true;
	});
	if (!wanted)
		return false;
	pg_atomic_write_u32(&entry->decoder_sleeping, 0);
	before_shmem_exit(detach_decoder, PointerGetDatum(entry));
	return true;
}

void
settings_of_our_own()
{
	constexpr const char *kSettings[][2] = {
		{"statement_timeout", "0"},
		{"lock_timeout", "0"},
		{"idle_in_transaction_session_timeout", "0"},
		{"transaction_timeout", "0"}, /* 17 */
		{"default_transaction_isolation", "read committed"},
		{"default_transaction_read_only", "off"},
		{"default_transaction_deferrable", "off"},
		{"search_path", "pg_catalog, pg_temp"},
		{"role", "none"},
	};

	for (const auto &[name, value] : kSettings)
		if (GetConfigOption(name, true, false) != nullptr)
			SetConfigOption(name, value, PGC_SUSET, PGC_S_OVERRIDE);
	SetSessionAuthorization(BOOTSTRAP_SUPERUSERID, true);
}

void
show_database_in_process_list()
{
	in_transaction(
		[] { set_ps_display(psprintf("for database \"%s\"", get_database_name(MyDatabaseId))); });
}

void
registry_writer_exits_cleanly()
{
	clean_exit = true;
}

CaptureState
capture_state_seen(const DatabaseEntry &entry)
{
	constexpr int64 kLongWaitUs = USECS_PER_SEC;

	switch (entry.state)
	{
		case CaptureState::Starting:
		case CaptureState::CatchingUp:
		case CaptureState::Streaming:
			if (PGPROC *process = BackendPidGetProc(entry.writer_pid); process != nullptr)
			{
				TimestampTz since = pg_atomic_read_u64(&process->waitStart);
				if (since != 0 && since + kLongWaitUs <= GetCurrentTimestamp())
					return CaptureState::WaitingForLock;
			}
			return entry.state;
		default:
			return entry.state;
	}
}

const char *
capture_state_name(CaptureState state)
{
	switch (state)
	{
		case CaptureState::Stopped:
			return "stopped";
		case CaptureState::Starting:
			return "starting";
		case CaptureState::CatchingUp:
			return "catching up";
		case CaptureState::Streaming:
			return "streaming";
		case CaptureState::Failed:
			return "failed";
		case CaptureState::NeedsAction:
			return "needs action";
		case CaptureState::WaitingForLock:
			return "waiting for lock";
		case CaptureState::OutsideWindow:
			return "outside window";
	}
	return "unknown";
}

void
registry_writer_sleeps(TimestampTz until)
{
	clean_exit = true;
	sleep_until = until;
}

void
registry_set_state(DatabaseEntry *entry, CaptureState state)
{
	if (entry->state == state)
		return;
	locked([&] { entry->state = state; });
	ConditionVariableBroadcast(&entry->progress_cv);
}

void
registry_record_error(DatabaseEntry *entry, const ErrorData &error)
{
	/* The administrator's pg_terminate_backend is no failure of capture. */
	if (error.sqlerrcode == ERRCODE_ADMIN_SHUTDOWN)
		return;
	locked([&] { store_error(entry, error); });
}

ReportedError
registry_last_error(const DatabaseEntry *entry)
{
	return with_lock(shmem_get()->lock, LW_SHARED, [&] {
		ReportedError error;
		error.code = entry->last_error_code;
		memcpy(error.message, entry->last_error_message, kErrorMessageBytes);
		memcpy(error.detail, entry->last_error_detail, kErrorMessageBytes);
		memcpy(error.hint, entry->last_error_hint, kErrorMessageBytes);
		return error;
	});
}

void
registry_needs_action(DatabaseEntry *entry)
{
	locked([&] {
		if (entry->mode == WorkerMode::Continuous)
			entry->mode = WorkerMode::Stopped;
		entry->state = CaptureState::NeedsAction;
	});
	ConditionVariableBroadcast(&entry->progress_cv);
}

void
registry_note_success(DatabaseEntry *entry)
{
	if (entry->failures == 0)
		return;
	locked([&] { entry->failures = 0; });
}

} // namespace cdc::worker
