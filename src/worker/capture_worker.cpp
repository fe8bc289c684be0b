/*
 * capture_worker.cpp
 *	  The writer's life: checks, its decoder, scans, waiting, the end.
 *
 * NOTES
 *	  Before the first scan the worker proves that the slot, the progress and this database belong
 *	  together. What does not agree is a gap: it stops and says what to do, it never skips.
 *
 *	  Errors end the process (the open batch is aborted by that); the launcher starts the next one
 *	  after a back-off, and that one goes on from the durable progress.
 */
#include "cdc.hpp"

#include "base/fault.hpp"
#include "base/guc.hpp"
#include "base/scope.hpp"
#include "base/shmem.hpp"
#include "capture/change_queue.hpp"
#include "capture/change_writer.hpp"
#include "capture/ddl_apply.hpp"
#include "capture/wal_reader.hpp"
#include "catalog/catalog.hpp"
#include "catalog/database.hpp"
#include "catalog/publications.hpp"
#include "catalog/version.hpp"
#include "jobs/schedule.hpp"
#include "monitor/error_log.hpp"
#include "monitor/health_checks.hpp"
#include "monitor/scan_sessions.hpp"
#include "worker/gap_control.hpp"
#include "worker/register_process.hpp"
#include "worker/registry.hpp"

extern "C" {
#include "access/xlogutils.h"
#include "commands/dbcommands.h"
#include "pgstat.h"
#include "postmaster/bgworker.h"
#include "postmaster/interrupt.h"
#include "replication/origin.h"
#include "replication/slot.h"
#include "tcop/tcopprot.h"
#include "utils/resowner.h"

PGDLLEXPORT void cdc_capture_worker_main(Datum argument);
}

namespace cdc::worker
{

using namespace capture;
using catalog::Identity;
using catalog::Progress;

namespace
{

/* Foreign WAL that may go by before a progress is written for it alone. */
constexpr uint64 kSavePositionBytes = uint64{16} * 1024 * 1024;

/* The same when nothing has been saved for a while: WAL of a catch-up that is over shall not be kept. */
constexpr uint64 kIdleSaveBytes = uint64{128} * 1024;
constexpr int64 kIdleSaveUs = 10 * USECS_PER_SEC;
constexpr long kLongestNapMs = 1000;
constexpr long kShutdownMs = 100; /* from one process's signal to the next one's, at most */

struct CaptureWorker
{
	TimestampTz position_saved_at; /* looked at, that is */
	DatabaseEntry *entry;
	int entry_index;
	WorkerMode mode; /* Continuous or Scan; entry->mode is what comes after us */
	MemoryContext memory;
	dsm_segment *segment;
	Channel *channel;
	shm_mq_handle *queue;
	ChangeWriter *writer;
	XLogRecPtr begun_at;	/* end of the log when this process began */
	XLogRecPtr scan_target; /* sp_cdc_scan: what was committed when it began is captured */
	int64 budget;			/* source transactions left in this group of scans */
	uint32 chunks_taken;	/* of Channel.chunks_begun */
	bool has_napped;		/* since the last chunk was taken */
	char *chunk;			/* taken from the queue ... */
	Size chunk_length;
	Size chunk_offset;		   /* ... and done with up to here */
	TimestampTz window_closes; /* the job's active window; 0: it has none */
	TimestampTz window_opens;  /* the next time after that */
	ChangePlace place;		   /* where the last message came from */
};

/* The one of this process, once there is one. */
CaptureWorker *this_worker = nullptr;

[[noreturn]] void
leave()
{
	registry_writer_exits_cleanly();
	proc_exit(0);
}

/* Something only the administrator can repair: says so once, and stays away. */
[[noreturn]] void
leave_for_administrator(DatabaseEntry *entry, ErrorData *error)
{
	error->sqlerrcode = ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE;
	ereport(LOG, (errcode(error->sqlerrcode), errmsg_internal("%s", error->message),
				  errdetail_internal("%s", error->detail), errhint("%s", error->hint)));
	registry_record_error(entry, *error);
	registry_needs_action(entry);
	monitor::error_log_note_scan(entry, "capture", *error, monitor::ScanPhase::Configuration,
								 InvalidXLogRecPtr, InvalidXLogRecPtr);
	monitor::error_log_store(entry);
	proc_exit(0);
}

/* Stops at a gap, which is recorded already. */
[[noreturn]] void
leave_at_gap(DatabaseEntry *entry, const catalog::Gap &gap)
{
	ErrorData error;
	memset(static_cast<void *>(&error), 0, sizeof(error));
	error.message = pstrdup(gap.reason);
	error.detail = pstrdup(gap.detail);
	error.hint = pstrdup(kResumeHint);
	leave_for_administrator(entry, &error);
}

/* A slot of ours in a database that was never enabled: left over by a crash of enable_db. */
void
drop_orphan_slot(DatabaseEntry *entry)
{
	NameData name = slot_name_for(MyDatabaseId);
	ReplicationSlot *slot = SearchNamedReplicationSlot(NameStr(name), true);

	if (slot == nullptr || slot->active_pid != 0 || strcmp(NameStr(slot->data.plugin), "cdc") != 0)
		return;
	monitor::health_expect_no_slot(entry);
	ReplicationSlotDrop(NameStr(name), true);
	ereport(LOG, (errmsg("dropped replication slot \"%s\"", NameStr(name)),
				  errdetail("Database %u is not enabled for change data capture.", MyDatabaseId)));
}

/* The origin that marks our WAL; made when it is missing (first start, after pg_upgrade). */
RepOriginId
set_up_origin()
{
	NameData name = slot_name_for(MyDatabaseId);
	RepOriginId origin = replorigin_by_name(NameStr(name), true);
	if (origin == InvalidRepOriginId)
		origin = replorigin_create(NameStr(name));
	return origin;
}

/* "Not at peak load": leaves until the window opens; inside, notes when to leave. */
void
keep_to_window(CaptureWorker *worker, const char *text)
{
	jobs::ActiveWindow window;
	TimestampTz now = GetCurrentTimestamp();

	/* Whatever a superuser may have written into the row by hand does not stop capture. */
	if (text == nullptr || !jobs::active_window_parse(text, &window))
		return;
	if (!jobs::active_window_contains(window, now))
	{
		registry_writer_sleeps(jobs::active_window_opens(window, now));
		proc_exit(0);
	}
	worker->window_closes = jobs::active_window_closes(window, now);
	worker->window_opens = jobs::active_window_opens(window, worker->window_closes);
}

/* Reads what there is to know and leaves unless this database is to be captured. */
RepOriginId
prepare(CaptureWorker *worker, Identity *identity)
{
	DatabaseEntry *entry = worker->entry;
	bool enabled = false;
	bool any_instance = false;
	catalog::CaptureJob job = {};
	Progress progress = {};
	std::optional<catalog::Gap> gap;
	catalog::VersionProblem version = {};
	RepOriginId origin = InvalidRepOriginId;

	in_transaction([&] {
		enabled = catalog::database_read_identity(identity);
		if (!enabled)
		{
			/* Not an orphan's slot: it keeps what disabling and enabling again, or the row, needs. */
			if (catalog::database_lacks_identity())
				catalog::error_identity_missing();
			return;
		}
		in_context(worker->memory, [&] { version = catalog::version_problem(); });
		if (version.message != nullptr)
			return;
		in_context(worker->memory, [&] { job = catalog::database_read_capture_job(); });
		any_instance = ddl_any_instance();
		ItemPointerData tid;
		progress = catalog::progress_read(&tid);
		in_context(worker->memory, [&] { gap = gap_find(*identity, progress); });
		if (gap)
		{
			if (!catalog::gap_record(*gap))
				in_context(worker->memory, [&] { gap = gap_as_recorded(*gap); });
		}
		else
		{
			/* Somebody has put back what was missing, or discard_kept_wal did not get far: nothing is lost. */
			if (catalog::gap_withdraw(InvalidOid) > 0)
				ereport(LOG, (errmsg("capture goes on without a gap")));
			origin = set_up_origin();
			catalog::all_relations_hide_from_publications(); /* pg_upgrade has made them anew */
			if (identity->timeline != GetWALInsertionTimeLine())
				catalog::database_update_timeline(GetWALInsertionTimeLine());
		}
	});
	if (!enabled)
	{
		drop_orphan_slot(entry);
		NameData name = slot_name_for(MyDatabaseId);
		in_transaction([&] { replorigin_drop_by_name(NameStr(name), true, true); });
		CDC_FAULT("writer-unwanted");
		registry_stop_by_writer(entry);
		leave();
	}
	if (version.message != nullptr)
	{
		ErrorData error;
		memset(static_cast<void *>(&error), 0, sizeof(error));
		error.message = pstrdup(version.message);
		error.detail = pstrdup(version.detail);
		error.hint = pstrdup(version.hint);
		leave_for_administrator(entry, &error);
	}
	/* Also where the job is stopped: starting it would not help. */
	if (gap)
		leave_at_gap(entry, *gap);
	/* Without any job the log is read on only where there is nothing to capture. */
	if (worker->mode == WorkerMode::Continuous && (job.exists ? !job.started : any_instance))
	{
		CDC_FAULT("writer-unwanted");
		registry_stop_by_writer(entry);
		leave();
	}

	if (worker->mode == WorkerMode::Continuous)
	{
		keep_to_window(worker, job.active_window);
		if (job.exists)
			entry->scan = {job.maxtrans, job.maxscans, job.continuous, job.pollinginterval};
		else
			entry->scan = {1000, 10, true, 0};
	}
	worker->scan_target = wal_flush_inserted();
	return origin;
}

void
start_decoder(CaptureWorker *worker, const Identity &identity, RepOriginId origin)
{
	Size ring_size = static_cast<Size>(guc_capture_queue_size_kb) * 1024;
	worker->segment = dsm_create(kChannelRingOffset + ring_size, 0);
	dsm_pin_mapping(worker->segment);

	Channel *channel = static_cast<Channel *>(dsm_segment_address(worker->segment));
	memset(static_cast<void *>(channel), 0, sizeof(Channel));
	channel->database_oid = MyDatabaseId;
	channel->entry_index = worker->entry_index;
	channel->writer_pid = MyProcPid;
	channel->slot_name = identity.slot_name;
	channel->origin = origin;
	SpinLockInit(&channel->mutex);
	pg_atomic_init_u32(&channel->chunks_begun, 0);
	worker->channel = channel;

	worker->begun_at = wal_readable_up_to();

	/* Reads the progress; the decoder must not start before it is known. */
	worker->writer = change_writer_create(worker->entry, channel, worker->memory);
	channel->start_lsn = change_writer_progress(worker->writer).captured_lsn;
	CDC_FAULT("writer-start");

	shm_mq *ring = shm_mq_create(reinterpret_cast<char *>(channel) + kChannelRingOffset, ring_size);
	shm_mq_set_receiver(ring, MyProc);

	BackgroundWorkerHandle *handle =
		register_process("cdc decoder", "cdc_decoder_main",
						 UInt32GetDatum(dsm_segment_handle(worker->segment)));
	if (handle == nullptr)
		ereport(ERROR,
				(errcode(ERRCODE_CONFIGURATION_LIMIT_EXCEEDED),
				 errmsg("could not start the decoder: no free background worker slot"),
				 errdetail("max_worker_processes is %d and all are in use; capture needs two for "
						   "each database.",
						   max_worker_processes),
				 errhint("Raise max_worker_processes and restart the server.")));
	worker->queue = shm_mq_attach(ring, worker->segment, handle);
}

void
attend(CaptureWorker *worker)
{
	CHECK_FOR_INTERRUPTS();
	if (ConfigReloadPending)
	{
		ConfigReloadPending = false;
		ProcessConfigFile(PGC_SIGHUP);
	}
	bool closing = worker->window_closes != 0 && GetCurrentTimestamp() >= worker->window_closes;
	if (!worker->entry->stop_requested && !closing)
		return;
	/* A transaction that takes longer than the window is open must come to its end some day. */
	if (!worker->entry->stop_requested && !change_writer_at_boundary(worker->writer))
		return;
	/* In the middle of a large source transaction the batch is given up: it is only done again. */
	if (change_writer_at_boundary(worker->writer))
	{
		change_writer_commit(worker->writer);
		change_writer_save_position(worker->writer, 0);
		monitor::scan_session_end(change_writer_read_lsn(worker->writer));
	}
	CDC_FAULT("writer-leave");
	if (closing)
		registry_writer_sleeps(worker->window_opens);
	leave();
}

/* True when somebody waits for changes that are not captured yet. */
bool
is_wanted(CaptureWorker *worker)
{
	return pg_atomic_read_u64(&worker->entry->wanted_lsn) >
		   pg_atomic_read_u64(&worker->entry->captured_lsn);
}

void
nap(CaptureWorker *worker, long timeout_ms)
{
	int events = WaitLatch(MyLatch, WL_LATCH_SET | WL_TIMEOUT | WL_EXIT_ON_PM_DEATH, timeout_ms,
						   PG_WAIT_EXTENSION);
	ResetLatch(MyLatch);
	worker->has_napped = true;
	/* What is left of the statistics after the last batch: no other would take it along. */
	if ((events & WL_TIMEOUT) != 0 && !IsTransactionState())
		(void)pgstat_report_stat(true);
	attend(worker);
}

/* SQL Server's fixed wait between two groups of scans; cut short when somebody waits. */
void
polling_wait(CaptureWorker *worker)
{
	TimestampTz begin = GetCurrentTimestamp();
	TimestampTz end = begin + worker->entry->scan.pollinginterval * USECS_PER_SEC;

	for (;;)
	{
		TimestampTz now = GetCurrentTimestamp();
		/* Before the beginning: the clock has been set back. */
		if (now >= end || now < begin || is_wanted(worker))
			return;
		nap(worker, Min(kLongestNapMs, static_cast<long>((end - now) / 1000) + 1));
	}
}

/* The queue is empty and everything is committed. */
void
caught_up(CaptureWorker *worker)
{
	DatabaseEntry *entry = worker->entry;

	change_writer_commit(worker->writer);
	/* On a quiet system nothing else says that what had failed works again. */
	if (pg_atomic_read_u64(&entry->captured_lsn) >= worker->begun_at)
		registry_note_success(entry);
	TimestampTz now = GetCurrentTimestamp();
	bool idle = now - worker->position_saved_at >= kIdleSaveUs || now < worker->position_saved_at;
	if (idle)
		worker->position_saved_at = now;
	change_writer_save_position(worker->writer, idle ? kIdleSaveBytes : kSavePositionBytes);
	monitor::scan_session_drained(change_writer_read_lsn(worker->writer),
								  worker->channel->own_commit_lsn);
	if (worker->mode == WorkerMode::Continuous)
	{
		if (pg_atomic_read_u64(&entry->captured_lsn) >= pg_atomic_read_u64(&entry->read_lsn))
			registry_set_state(entry, CaptureState::Streaming);
		change_writer_idle(worker->writer, static_cast<int64>(guc_idle_mapping_interval_ms) * 1000);
	}
}

/* Only a continuous job without a wait takes whatever comes; others take groups of scans. */
bool
runs_in_groups(const ScanParameters &scan)
{
	return !scan.continuous || scan.pollinginterval > 0;
}

/* How many source transactions one group of scans takes: maxscans scans of maxtrans each. */
int64
group_budget(const ScanParameters &scan)
{
	return runs_in_groups(scan) ? static_cast<int64>(scan.maxtrans) * scan.maxscans : PG_INT64_MAX;
}

/* A group of scans is over: true when the run is, too. Else waits as the job says. */
bool
end_group(CaptureWorker *worker)
{
	const ScanParameters &scan = worker->entry->scan;

	if (!scan.continuous)
		return true;
	/* sp_cdc_scan is one session, however many groups it takes. */
	if (worker->mode == WorkerMode::Continuous)
		monitor::scan_session_end(change_writer_read_lsn(worker->writer));
	polling_wait(worker);
	worker->budget = group_budget(scan);
	return false;
}

/* Takes what the last chunk still holds, or else the next chunk. False: the queue is empty. */
bool
take_changes(CaptureWorker *worker)
{
	if (worker->chunk_offset == worker->chunk_length)
	{
		void *chunk;
		Size length;
		/*
		 * Who asks an empty queue gives back its room, and wakes a decoder that does not need any: with
		 * every transaction, when they come one by one. After a nap the decoder may be gone, which only asking tells.
		 */
		if (!worker->has_napped &&
			worker->chunks_taken == pg_atomic_read_u32(&worker->channel->chunks_begun))
			return false;
		shm_mq_result result = shm_mq_receive(worker->queue, &length, &chunk, true);
		if (result == SHM_MQ_WOULD_BLOCK)
			return false;
		if (result == SHM_MQ_DETACHED)
		{
			/* Its own error, if it had one, is what the administrator should see. */
			if (worker->entry->last_error_time > worker->entry->started_at)
			{
				AbortOutOfAnyTransaction();
				monitor::error_log_store(worker->entry);
				proc_exit(1);
			}
			/* When the server shuts down both of us are told, and it may only have been the first. */
			(void)WaitLatch(MyLatch, WL_LATCH_SET | WL_TIMEOUT | WL_EXIT_ON_PM_DEATH, kShutdownMs,
							PG_WAIT_EXTENSION);
			CHECK_FOR_INTERRUPTS();
			ereport(ERROR, (errcode(ERRCODE_CONNECTION_FAILURE), errmsg("cdc decoder has ended"),
							errdetail("It was terminated without an error of its own."),
							errhint("Nothing to do: both processes are started again.")));
		}
		worker->chunks_taken++;
		worker->has_napped = false;
		worker->chunk = static_cast<char *>(chunk);
		worker->chunk_length = length;
		worker->chunk_offset = 0;
	}
	worker->chunk_offset = change_writer_take(worker->writer, worker->chunk, worker->chunk_length,
											  worker->chunk_offset, &worker->budget);
	return true;
}

/* Says at which source transaction an error happened. */
void
add_error_context(void *argument)
{
	auto *worker = static_cast<CaptureWorker *>(argument);
	XLogRecPtr commit_lsn = change_writer_transaction(worker->writer);

	/* The row it may be about is still there now, and not when the error has been thrown. */
	worker->place = change_writer_place(worker->writer);

	if (!XLogRecPtrIsInvalid(commit_lsn))
		errcontext("capturing the transaction that committed at %X/%X",
				   CDC_LSN_FORMAT_ARGS(commit_lsn));
}

void
capture_loop(CaptureWorker *worker)
{
	ChangeWriter *writer = worker->writer;
	DatabaseEntry *entry = worker->entry;
	ErrorContextCallback context = {error_context_stack, add_error_context, worker};
	error_context_stack = &context;

	worker->budget = group_budget(entry->scan);
	monitor::scan_session_phase(monitor::ScanPhase::Reading);
	for (;;)
	{
		/* A group is a session, which does not begin before the waiting is over. */
		if (runs_in_groups(entry->scan))
			monitor::scan_session_begin();
		if (take_changes(worker))
		{
			attend(worker);
			if (worker->budget <= 0 && end_group(worker))
				break;
			continue;
		}
		if (change_writer_at_boundary(writer))
		{
			caught_up(worker);
			/* One run ends when what was committed before it is captured. */
			bool drained = entry->scan.continuous ||
						   pg_atomic_read_u64(&entry->captured_lsn) >= worker->scan_target;
			if (runs_in_groups(entry->scan) && drained && end_group(worker))
				break;
		}
		nap(worker, kLongestNapMs);
	}
	change_writer_commit(writer);
	change_writer_save_position(writer, 0);
	monitor::scan_session_end(change_writer_read_lsn(writer));
	error_context_stack = context.previous;
}

/* The last thing a worker does that fails: it writes down why. */
void
note_failure(DatabaseEntry *entry, const ErrorData &error)
{
	const CaptureWorker *worker = this_worker;
	bool capturing = worker != nullptr && worker->writer != nullptr;
	monitor::ScanPhase phase =
		capturing ? monitor::scan_session_phase_now() : monitor::ScanPhase::Configuration;
	ChangePlace place = capturing ? worker->place : ChangePlace{};

	monitor::error_log_note_scan(entry, "capture", error, phase, place.begin_lsn, place.seqval);
	/* Not part of what we capture: nothing of this process's origin. */
	replorigin_session_origin = InvalidRepOriginId;
	if (OidIsValid(MyDatabaseId))
		monitor::error_log_store(entry);
}

/*
 * Before the entry says that we have gone (exit callbacks run from the last to the first): the server itself
 * lets go of the origin later, and the next worker may be there by then. A batch that is still open is rolled
 * back after this; from 16 on that moves the session's origin on, which is no longer attached, unless nothing
 * says any more that there is one.
 */
void
release_origin(int, Datum)
{
	replorigin_session_origin = InvalidRepOriginId;
	replorigin_session_reset();
}

void
run(CaptureWorker *worker)
{
	Identity identity;

	/* What a decoder, the launcher or a worker without connection could not store itself. */
	monitor::error_log_store(worker->entry);
	RepOriginId origin = prepare(worker, &identity);
	monitor::scan_sessions_attach(worker->entry, runs_in_groups(worker->entry->scan));

	start_decoder(worker, identity, origin);

	/* Marks our WAL, which the decoder then drops at its first test. */
	in_transaction([&] { CDC_REPLORIGIN_SESSION_SETUP(origin); });
	before_shmem_exit(release_origin, 0);
	replorigin_session_origin = origin;
	/* The slot waits for the flush, nobody else has to. */
	SetConfigOption("synchronous_commit", "off", PGC_SUSET, PGC_S_OVERRIDE);

	capture_loop(worker);
	if (worker->mode == WorkerMode::Continuous)
		registry_stop_by_writer(
			worker->entry); /* a job that is not continuous runs once per start */
	else
		registry_finish_request(worker->entry, nullptr);
	leave();
}

} // namespace

} // namespace cdc::worker

extern "C" void
cdc_capture_worker_main(Datum argument)
{
	using namespace cdc;
	using namespace cdc::worker;

	int index = DatumGetInt32(argument);
	DatabaseEntry *entry = &shmem_get()->entries[index];

	pqsignal(SIGTERM, die);
	pqsignal(SIGHUP, SignalHandlerForConfigReload);
	BackgroundWorkerUnblockSignals();
	Oid database_oid = entry->database_oid;
	WorkerMode mode = registry_attach_writer(entry);
	if (mode == WorkerMode::Stopped)
		proc_exit(0);

	end_process_on_error(
		[&] {
			/* Also while new sessions are kept out: those that are there go on writing. */
			BackgroundWorkerInitializeConnectionByOid(database_oid, InvalidOid,
													  BGWORKER_BYPASS_ALLOWCONN);
			CaptureWorker *worker = static_cast<CaptureWorker *>(
				MemoryContextAllocZero(TopMemoryContext, sizeof(CaptureWorker)));
			this_worker = worker;
			worker->entry = entry;
			worker->entry_index = index;
			worker->mode = mode;
			worker->memory =
				AllocSetContextCreate(TopMemoryContext, "cdc worker", ALLOCSET_DEFAULT_SIZES);
			MemoryContextSwitchTo(worker->memory);
			settings_of_our_own();
			show_database_in_process_list();
			run(worker);
		},
		[&](const ErrorData &error) {
			registry_record_error(entry, error);
			note_failure(entry, error);
		});
}
