/*
 * decoder_process.cpp
 *	  Slot, decoding context, WAL reading and confirming: the decoder's loop; and making the slot.
 *
 * NOTES
 *	  Waiting. When WAL runs out the collected chunk and a Position go to the writer, and the
 *	  decoder waits. On a quiet system it raises `decoder_sleeping`, so that the next commit sets its
 *	  latch at once. On a busy one that would cost every commit a signal: then it naps without
 *	  raising the flag, and a nap's worth of commits is decoded together.
 *
 *	  Transactions. The server replays each transaction in one of its own, which it aborts. Inside another one that
 *	  is a subtransaction, which takes 2.2 us instead of 2.9 for a transaction of one row. So there is one around
 *	  them while there is WAL to read. It has no snapshot and no lock, and ends after some records, or with the
 *	  WAL: an old one would alarm whoever watches for such.
 *
 *	  Confirming. The slot is confirmed only to a progress whose own commit record is on disk, from 17 on
 *	  also on the standbys that synchronized_standby_slots names. A crash
 *	  loses a confirmation, never a change: decoding starts earlier then, and transactions that
 *	  end at or before the writer's progress are skipped.
 */
#include "cdc.hpp"

#include "base/fault.hpp"
#include "base/scope.hpp"
#include "base/shmem.hpp"
#include "capture/change_queue.hpp"
#include "capture/decoder_process.hpp"
#include "capture/transaction_stream.hpp"
#include "capture/wal_reader.hpp"
#include "catalog/database.hpp"
#include "catalog/resume.hpp"
#include "monitor/error_log.hpp"
#include "worker/gap_control.hpp"
#include "worker/registry.hpp"

extern "C" {
#include "access/xact.h"
#include "access/xlogutils.h"
#include "pgstat.h"
#include "postmaster/bgworker.h"
#include "postmaster/interrupt.h"
#include "replication/decode.h"
#include "replication/logical.h"
#include "replication/slot.h"
#include "replication/snapbuild.h"
#include "storage/procarray.h"
#include "tcop/tcopprot.h"
#include "utils/inval.h"
#include "utils/resowner.h"
}

namespace cdc::capture
{

namespace
{

/* More decoded transactions per second than this: nap instead of being woken for each commit. */
constexpr uint64 kBusyTransactionsPerSecond = 4000;
constexpr int64 kPaceWindowUs = int64{20} * 1000;
constexpr long kNapMs = 3;
/* Longest sleep: WAL of other databases and unflushed commits send no wake-up. */
constexpr long kSleepMs = 1000;
/* Foreign WAL between two Position items while there is more to read. */
constexpr uint64 kPositionStep = uint64{16} * 1024 * 1024;
constexpr int kRecordsBetweenChecks = 256;
/* The log tells of standbys that are not even connected this long after they were waited for first. */
constexpr int64 kTellOfStandbysFirstUs = 10 * USECS_PER_SEC;
constexpr int64 kTellOfStandbysAgainUs = 10 * USECS_PER_MINUTE;

bool active = false;

struct Decoder
{
	Channel *channel;
	DatabaseEntry *entry;
	LogicalDecodingContext *context;
	QueueSender *sender;
	MemoryContext memory;
	ResourceOwner owner;
	XLogRecPtr sent_position;	 /* end of the last Position item */
	XLogRecPtr tried_up_to;		 /* readable WAL at the last attempt that found no whole record */
	XLogRecPtr confirm_lsn;		 /* to confirm next ... */
	XLogRecPtr confirm_when_lsn; /* ... once this is on disk; invalid: nothing pending */
	TimestampTz tell_of_standbys_at;
	TimestampTz window_start; /* pace: measured since */
	uint64 window_transactions;
	bool busy;
	uint64 records; /* read since the server started, by us and those before us */
};

/*
 * Servers from 15.19, 17.11 and 18.6 on load only plugins named in output_plugin_libraries.
 * Preloading the library is the administrator's consent, and this process serves nobody else.
 */
void
allow_own_plugin()
{
	constexpr const char *kSetting = "output_plugin_libraries";
	if (GetConfigOption(kSetting, true, false) != nullptr)
		SetConfigOption(kSetting, "cdc", PGC_SUSET, PGC_S_OVERRIDE);
}

/* For dm_cdc_log_scan_sessions. Before the writer is told: it counts what it finds here. */
void
publish_statistics(Decoder *decoder)
{
	monitor::MonitorEntry *statistics = monitor::monitor_entry(decoder->entry);
	TimestampTz time;
	XLogRecPtr last = transaction_stream_last_commit(&time);

	pg_atomic_write_u64(&statistics->records_read, decoder->records);
	if (XLogRecPtrIsInvalid(last))
		return;
	pg_atomic_write_u64(&statistics->last_commit_lsn, last);
	pg_atomic_write_u64(&statistics->last_commit_time, time);
}

void
send_position(Decoder *decoder)
{
	XLogReaderState *reader = decoder->context->reader;
	XLogRecPtr position = reader->EndRecPtr;

	publish_statistics(decoder);
	pg_atomic_write_u64(&decoder->entry->read_lsn, position);
	if (position > decoder->sent_position && position > decoder->channel->start_lsn)
	{
		PositionItem *item = queue_item<PositionItem>(decoder->sender, ItemKind::Position);
		item->end_lsn = position;
		item->record_lsn = reader->ReadRecPtr;
		item->time = GetCurrentTimestamp();
		decoder->sent_position = position;
	}
	queue_flush(decoder->sender);
}

/*
 * A standby that takes over with a copy of our slot must have the progress that the slot was confirmed to:
 * else what is between the two would be a gap there. Readers wait for nothing here.
 */
bool
standbys_have(Decoder *decoder, XLogRecPtr own_commit)
{
	pg_atomic_uint64 *since = &decoder->entry->standbys_awaited_since;
	TimestampTz now = GetCurrentTimestamp();
	bool waiting = pg_atomic_read_u64(since) != 0;
	bool tell = waiting && now >= decoder->tell_of_standbys_at;

	if (compat_standbys_have(own_commit, tell))
	{
		if (waiting)
			pg_atomic_write_u64(since, 0);
		return true;
	}
	if (!waiting)
	{
		pg_atomic_write_u64(since, now);
		decoder->tell_of_standbys_at = now + kTellOfStandbysFirstUs;
	}
	else if (tell)
		decoder->tell_of_standbys_at = now + kTellOfStandbysAgainUs;
	return false;
}

/* Confirms what has become durable, and picks up the next progress to wait for. */
void
confirm(Decoder *decoder)
{
	for (;;)
	{
		if (XLogRecPtrIsInvalid(decoder->confirm_when_lsn))
		{
			Channel *channel = decoder->channel;
			SpinLockAcquire(&channel->mutex);
			XLogRecPtr progress = channel->progress_lsn;
			XLogRecPtr own_commit = channel->own_commit_lsn;
			SpinLockRelease(&channel->mutex);
			if (progress <= pg_atomic_read_u64(&decoder->entry->confirmed_lsn))
				return;
			decoder->confirm_lsn = progress;
			decoder->confirm_when_lsn = own_commit;
		}
		if (wal_readable_up_to() < decoder->confirm_when_lsn ||
			!standbys_have(decoder, decoder->confirm_when_lsn))
			return;
		CDC_FAULT("decoder-confirm");
		LogicalConfirmReceivedLocation(decoder->confirm_lsn);
		CDC_FAULT("decoder-confirmed");
		pg_atomic_write_u64(&decoder->entry->confirmed_lsn, decoder->confirm_lsn);
		decoder->confirm_when_lsn = InvalidXLogRecPtr;
	}
}

void
measure_pace(Decoder *decoder)
{
	TimestampTz now = GetCurrentTimestamp();
	int64 elapsed = now - decoder->window_start;
	if (elapsed < kPaceWindowUs)
		return;
	uint64 transactions = transaction_stream_count() - decoder->window_transactions;
	decoder->busy = transactions * USECS_PER_SEC > kBusyTransactionsPerSecond * elapsed;
	decoder->window_start = now;
	decoder->window_transactions = transaction_stream_count();
}

void
wait_for_wal(Decoder *decoder)
{
	long timeout = kSleepMs;

	measure_pace(decoder);
	if (decoder->busy)
		timeout = kNapMs;
	else
	{
		/* Raise the flag, then look again: a commit between the two would set no latch. */
		pg_atomic_write_u32(&decoder->entry->decoder_sleeping, 1);
		pg_memory_barrier();
		if (wal_readable_up_to() != decoder->tried_up_to)
		{
			pg_atomic_write_u32(&decoder->entry->decoder_sleeping, 0);
			return;
		}
		if (!XLogRecPtrIsInvalid(decoder->confirm_when_lsn))
			timeout = 200;
	}
	int events = WaitLatch(MyLatch, WL_LATCH_SET | WL_TIMEOUT | WL_EXIT_ON_PM_DEATH, timeout,
						   PG_WAIT_EXTENSION);
	if (events & WL_LATCH_SET)
		ResetLatch(MyLatch);
	pg_atomic_write_u32(&decoder->entry->decoder_sleeping, 0);
}

/* Replaying leaves its own memory context and resource owner behind, and so do the two below. */
void
put_back_context(Decoder *decoder)
{
	CurrentResourceOwner = IsTransactionState() ? CurTransactionResourceOwner : decoder->owner;
	MemoryContextSwitchTo(decoder->memory);
}

void
begin_transaction(Decoder *decoder)
{
	if (IsTransactionState())
		return;
	StartTransactionCommand();
	put_back_context(decoder);
}

void
end_transaction(Decoder *decoder)
{
	if (!IsTransactionState())
		return;
	CommitTransactionCommand();
	put_back_context(decoder);
}

void
attend(Decoder *decoder)
{
	CHECK_FOR_INTERRUPTS();
	/* A writer that ends detaches the queue, which is noticed at the next send only. */
	if (decoder->entry->writer_pid != decoder->channel->writer_pid)
		proc_exit(0);
	if (ConfigReloadPending)
	{
		ConfigReloadPending = false;
		ProcessConfigFile(PGC_SIGHUP);
		allow_own_plugin();
	}
	confirm(decoder);
}

void
decode_loop(Decoder *decoder)
{
	LogicalDecodingContext *context = decoder->context;
	int until_check = kRecordsBetweenChecks;

	XLogBeginRead(context->reader, MyReplicationSlot->data.restart_lsn);
	for (;;)
	{
		char *message = nullptr;
		XLogRecord *record = XLogReadRecord(context->reader, &message);
		if (message != nullptr)
			ereport(ERROR, (errcode_for_file_access(),
							errmsg("could not read WAL at %X/%X: %s",
								   CDC_LSN_FORMAT_ARGS(context->reader->EndRecPtr), message),
							errhint("If the WAL segment is gone and cannot be put back, CALL "
									"cdc.discard_kept_wal().")));
		if (record == nullptr)
		{
			decoder->tried_up_to = wal_exhausted(context->reader);
			end_transaction(decoder);
			TimestampTz drained_at = GetCurrentTimestamp();
			send_position(decoder);
			/* After read_lsn: who sees this time knows what had been read by then. */
			pg_write_barrier();
			pg_atomic_write_u64(&monitor::monitor_entry(decoder->entry)->drained_at, drained_at);
			attend(decoder);
			wait_for_wal(decoder);
			attend(decoder);
			continue;
		}

		decoder->records++;
		begin_transaction(decoder);
		LogicalDecodingProcessRecord(context, context->reader);
		put_back_context(decoder);
		if (--until_check == 0)
		{
			until_check = kRecordsBetweenChecks;
			end_transaction(decoder);
			publish_statistics(decoder);
			attend(decoder);
			if (context->reader->EndRecPtr > decoder->sent_position + kPositionStep)
				send_position(decoder);
		}
	}
}

/*
 * While a start of decoding is looked for, older transactions are waited for outside any transaction of our own: nothing
 * else would give back their lock if it is granted in the moment in which we have to go. Called when the transaction, if
 * there is one, has been aborted.
 */
void
release_locks(int, Datum)
{
	LockReleaseAll(DEFAULT_LOCKMETHOD, true);
}

void
start_process(Oid database_oid, MemoryContext *memory)
{
	before_shmem_exit(release_locks, 0);
	pqsignal(SIGTERM, die);
	pqsignal(SIGHUP, SignalHandlerForConfigReload);
	BackgroundWorkerUnblockSignals();

	*memory = AllocSetContextCreate(TopMemoryContext, "cdc worker", ALLOCSET_DEFAULT_SIZES);
	MemoryContextSwitchTo(*memory);
	/* Also while new sessions are kept out: those that are there go on writing. */
	BackgroundWorkerInitializeConnectionByOid(database_oid, InvalidOid, BGWORKER_BYPASS_ALLOWCONN);
	worker::settings_of_our_own();
	worker::show_database_in_process_list();
	active = true;
	allow_own_plugin();
}

void
run_decoder(dsm_segment *segment, Channel *channel, DatabaseEntry *entry, MemoryContext memory)
{
	shm_mq *ring =
		reinterpret_cast<shm_mq *>(reinterpret_cast<char *>(channel) + kChannelRingOffset);
	shm_mq_set_sender(ring, MyProc);

	Decoder *decoder = static_cast<Decoder *>(palloc0(sizeof(Decoder)));
	decoder->channel = channel;
	decoder->entry = entry;
	decoder->memory = memory;
	decoder->owner = CurrentResourceOwner;
	decoder->sender = queue_sender_create(channel, shm_mq_attach(ring, segment, nullptr));
	decoder->window_start = GetCurrentTimestamp();
	decoder->records = pg_atomic_read_u64(&monitor::monitor_entry(entry)->records_read);

	CheckLogicalDecodingRequirements();
	CDC_REPLICATION_SLOT_ACQUIRE(NameStr(channel->slot_name));

	/*
	 * The writer has looked already, but nobody held the slot then. CreateDecodingContext would
	 * go on from the slot's position without a word. The next writer finds out what has happened.
	 */
	if (MyReplicationSlot->data.confirmed_flush > channel->start_lsn ||
		strcmp(NameStr(MyReplicationSlot->data.plugin), "cdc") != 0)
		ereport(ERROR, (errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
						errmsg("replication slot \"%s\" was changed while capture started",
							   NameStr(channel->slot_name)),
						errdetail("It is at %X/%X, changes are captured up to %X/%X.",
								  CDC_LSN_FORMAT_ARGS(MyReplicationSlot->data.confirmed_flush),
								  CDC_LSN_FORMAT_ARGS(channel->start_lsn))));

	/*
	 * Transactions whose commit record lies before the writer's progress are skipped by the
	 * snapshot builder. Commit records do not overlap, so "starts before progress" and "ends at or
	 * before progress" are the same, and one that starts exactly there is delivered.
	 */
	CDC_FAULT("decoder-start");
	XLogReaderRoutine routine = wal_reader_routine();
	decoder->context =
		CreateDecodingContext(channel->start_lsn, NIL, false, &routine, nullptr, nullptr, nullptr);
	pg_atomic_write_u64(&entry->confirmed_lsn, MyReplicationSlot->data.confirmed_flush);
	pg_atomic_write_u64(&entry->standbys_awaited_since, 0);
	transaction_stream_init(decoder->sender, channel->origin, memory);

	/* Starting up has filled caches with today's catalog; decoding needs that of the WAL position. */
	InvalidateSystemCaches();
	decode_loop(decoder);
}

/* Waits until the new slot's snapshot is consistent: until older transactions have ended. */
void
find_start_point(LogicalDecodingContext *context, MemoryContext memory, ResourceOwner owner)
{
	XLogBeginRead(context->reader, MyReplicationSlot->data.restart_lsn);
	while (!DecodingContextReady(context))
	{
		char *message = nullptr;
		XLogRecord *record = XLogReadRecord(context->reader, &message);
		CHECK_FOR_INTERRUPTS();
		if (message != nullptr)
			elog(ERROR, "could not find the starting point of decoding: %s", message);
		if (record == nullptr)
		{
			/* The record we wait for may be written already, and nobody else in a hurry to flush it. */
			wal_flush_inserted();
			(void)WaitLatch(MyLatch, WL_LATCH_SET | WL_TIMEOUT | WL_EXIT_ON_PM_DEATH, 10,
							PG_WAIT_EXTENSION);
			ResetLatch(MyLatch);
			continue;
		}
		LogicalDecodingProcessRecord(context, context->reader);
		CurrentResourceOwner = owner;
		MemoryContextSwitchTo(memory);
	}
	SpinLockAcquire(&MyReplicationSlot->mutex);
	MyReplicationSlot->data.confirmed_flush = context->reader->EndRecPtr;
	SpinLockRelease(&MyReplicationSlot->mutex);
}

/* Where a new slot starts: at `start`, right behind the record at `record`. */
struct SlotStart
{
	XLogRecPtr record;
	XLogRecPtr start;
};

/* Makes the slot. Ephemeral until it is usable: an error leaves none. */
SlotStart
create_slot(const char *slot_name, MemoryContext memory)
{
	CheckLogicalDecodingRequirements();
	CDC_REPLICATION_SLOT_CREATE(slot_name);
	CDC_FAULT("slot-create");

	XLogReaderRoutine routine = wal_reader_routine();
	LogicalDecodingContext *context =
		CreateInitDecodingContext("cdc", NIL, false, InvalidXLogRecPtr, &routine, nullptr, nullptr,
								  nullptr);
	find_start_point(context, memory, CurrentResourceOwner);
	SlotStart start = {context->reader->ReadRecPtr, MyReplicationSlot->data.confirmed_flush};
	FreeDecodingContext(context);
	MemoryContextSwitchTo(memory);
	CDC_FAULT("slot-persist");
	worker::registry_slot_unclaimed(true);
	ReplicationSlotPersist();
	ReplicationSlotRelease();
	CDC_FAULT("slot-persisted");
	return start;
}

/* What is left of a former slot of ours. */
void
drop_former_slot(const NameData &slot_name)
{
	ReplicationSlot *slot = SearchNamedReplicationSlot(NameStr(slot_name), true);

	if (slot == nullptr)
		return;
	if (strcmp(NameStr(slot->data.plugin), "cdc") != 0)
		ereport(ERROR, (errcode(ERRCODE_DUPLICATE_OBJECT),
						errmsg("replication slot \"%s\" exists already", NameStr(slot_name)),
						errdetail("It is not of plugin \"cdc\", so somebody else has made it."),
						errhint("SELECT pg_drop_replication_slot('%s'), if nobody needs it.",
								NameStr(slot_name))));
	ReplicationSlotDrop(NameStr(slot_name), true);
}

/*
 * The slot first, then the identity row that makes it ours. A crash in between leaves a slot
 * without an identity row: an orphan, which the next start or the launcher removes.
 *
 * In an enabled database the same goes on after a gap. A crash in between leaves no slot, or one that
 * is beyond the progress: the same gap, for the next call.
 *
 * *needless: the database is enabled and can be captured, so there is an error.
 */
void
new_slot(Oid database_oid, MemoryContext memory, bool *needless)
{
	NameData slot_name = worker::slot_name_for(database_oid);
	bool enabled = false;
	std::optional<catalog::Gap> gap;

	in_transaction([&] {
		catalog::Identity identity;
		ItemPointerData tid;
		enabled = catalog::database_read_identity(&identity);
		if (!enabled)
			return;
		catalog::Progress progress = catalog::progress_read(&tid);
		in_context(memory, [&] { gap = worker::gap_find(identity, progress); });
		if (gap)
			catalog::resume_require_log_ahead(progress, wal_inserted_up_to());
	});
	*needless = enabled && !gap;
	if (*needless)
		ereport(ERROR,
				(errcode(ERRCODE_DUPLICATE_OBJECT),
				 errmsg("database is already enabled for change data capture"),
				 errdetail("Another session was faster. Its slot is \"%s\".", NameStr(slot_name))));

	CDC_FAULT("slot-request");
	drop_former_slot(slot_name);
	CDC_FAULT("slot-begin");
	SlotStart start = create_slot(NameStr(slot_name), memory);
	in_transaction([&] {
		if (enabled)
			catalog::database_resume(slot_name, start.record, start.start, *gap);
		else
			catalog::database_mark_enabled(slot_name, start.start);
		CDC_FAULT("enable-commit");
	});
	worker::registry_slot_unclaimed(false);
	CDC_FAULT("enable-done");
}

} // namespace

bool
decoder_process_active()
{
	return active;
}

} // namespace cdc::capture

using namespace cdc;
using namespace cdc::capture;

extern "C" void
cdc_decoder_main(Datum argument)
{
	CurrentResourceOwner = ResourceOwnerCreate(nullptr, "cdc decoder");
	dsm_segment *segment = dsm_attach(DatumGetUInt32(argument));
	if (segment == nullptr)
		proc_exit(0); /* the writer ended before we began */
	Channel *channel = static_cast<Channel *>(dsm_segment_address(segment));
	DatabaseEntry *entry = &shmem_get()->entries[channel->entry_index];

	if (!worker::registry_attach_decoder(entry))
		proc_exit(0);
	report_error(
		[&] {
			MemoryContext memory;
			start_process(channel->database_oid, &memory);
			run_decoder(segment, channel, entry, memory);
		},
		[&](const ErrorData &error) {
			worker::registry_record_error(entry, error);
			/* Its transactions are no ordinary ones: the writer stores it. */
			monitor::error_log_note_scan(entry, "decoder", error, monitor::ScanPhase::Reading,
										 InvalidXLogRecPtr, InvalidXLogRecPtr);
		});
}

extern "C" void
cdc_slot_creator_main(Datum argument)
{
	CurrentResourceOwner = ResourceOwnerCreate(nullptr, "cdc decoder");
	DatabaseEntry *entry = &shmem_get()->entries[DatumGetInt32(argument)];

	if (!worker::registry_attach_slot_creator(entry))
		proc_exit(0);
	bool needless = false;
	end_process_on_error(
		[&] {
			MemoryContext memory;
			start_process(entry->database_oid, &memory);
			new_slot(entry->database_oid, memory, &needless);
		},
		[&](const ErrorData &error) {
			monitor::error_log_note(entry, "enable", error, 0);
			/* An ephemeral slot goes with it. */
			if (MyReplicationSlot != nullptr)
				ReplicationSlotRelease();
			if (OidIsValid(MyDatabaseId))
				monitor::error_log_store(entry);
			worker::registry_finish_request(entry, &error);
			/* The request has stopped the workers of a session that was faster. */
			if (needless)
				worker::registry_start(entry);
		});
	/* The database is enabled now, also when the requester has just been cancelled: capture starts. */
	worker::registry_finish_request(entry, nullptr);
	worker::registry_start(entry);
	proc_exit(0);
}
