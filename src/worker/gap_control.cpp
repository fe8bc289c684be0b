/*
 * gap_control.cpp
 *	  Notices gaps of a whole database; resume_after_gap, discard_kept_wal and prepare_upgrade.
 *
 * NOTES
 *	  Going on takes two processes, as enabling does: the caller stops the workers and waits, the slot
 *	  creator (capture/decoder_process.cpp) drops what is left of the old slot, makes the new one and
 *	  then commits the new identity and progress (catalog/resume.cpp). A crash anywhere before that
 *	  commit leaves a slot that is missing or beyond the progress: still a gap, and the call can be
 *	  repeated.
 */
#include "cdc.hpp"

#include "base/args.hpp"
#include "base/errors.hpp"
#include "base/fault.hpp"
#include "base/scope.hpp"
#include "capture/wal_reader.hpp"
#include "catalog/capture_instance.hpp"
#include "worker/control.hpp"
#include "worker/gap_control.hpp"
#include "worker/registry.hpp"

extern "C" {
#include "access/timeline.h"
#include "access/xlog.h"
#include "commands/dbcommands.h"
#include "executor/spi.h"
#include "replication/slot.h"
}

namespace cdc::worker
{

namespace
{

using catalog::Gap;
using catalog::Identity;
using catalog::Progress;

/* A promotion is no gap as long as what was captured is part of this history, too. */
bool
is_on_this_timeline(const Identity &identity, const Progress &progress)
{
	TimeLineID now = GetWALInsertionTimeLine();
	TimeLineID then = static_cast<TimeLineID>(identity.timeline);
	TimeLineID next;

	if (now == then)
		return true;
	List *history = readTimeLineHistory(now);
	if (!tliInHistory(then, history))
		return false;
	XLogRecPtr end = tliSwitchPoint(then, history, &next);
	return XLogRecPtrIsInvalid(end) || progress.captured_lsn <= end;
}

/* Says what a gap has cost, with its bounds and sizes. */
void
tell_what_is_lost()
{
	std::optional<Gap> gap = catalog::gap_last(InvalidOid);

	if (!gap)
		return;
	ereport(
		NOTICE,
		(errmsg("capture goes on from %X/%X", CDC_LSN_FORMAT_ARGS(gap->end)),
		 errdetail("What was committed from %X/%X to before %X/%X (%llu bytes of WAL of the whole "
				   "server) may be missing in the change tables: %s.",
				   CDC_LSN_FORMAT_ARGS(gap->start), CDC_LSN_FORMAT_ARGS(gap->end),
				   static_cast<unsigned long long>(gap->end - gap->start), gap->reason),
		 errhint("Let consumers load the tables again and go on with from_lsn => '%X/%X'. WAL that "
				 "is not needed any more goes with the next checkpoint.",
				 CDC_LSN_FORMAT_ARGS(gap->end))));
}

/* What this database is and how far it has come; it must be enabled. */
std::optional<Gap>
look(Identity *identity, Progress *progress)
{
	ItemPointerData tid;

	if (!catalog::database_read_identity(identity))
		error_database_not_enabled();
	*progress = catalog::progress_read(&tid);
	std::optional<Gap> gap = gap_find(*identity, *progress);
	return gap ? gap_as_recorded(*gap) : gap;
}

/* The common end of both calls. The caller has seen that there is a gap, and has stopped the workers. */
void
resume(DatabaseEntry *entry)
{
	/* Whatever becomes of it, a worker looks again: capture goes on, or the state says why not. */
	report_error([&] { request_new_slot(entry); },
				 [&](const ErrorData &) { registry_start_unless_asked(entry); });
	tell_what_is_lost();
}

/* What both calls need before they touch anything. */
DatabaseEntry *
prepare(FunctionCallInfo fcinfo, const char *procedure)
{
	require_writable(procedure);
	require_enable_right(procedure);
	catalog::database_require_enabled();
	require_top_level_call(fcinfo, procedure);
	NameData slot_name = slot_name_for(MyDatabaseId);
	require_server_for_slot(SearchNamedReplicationSlot(NameStr(slot_name), true) == nullptr);

	DatabaseEntry *entry = require_entry();
	/* Stopping the workers would end the decoder that another session waits for. */
	if (entry->mode == WorkerMode::CreateSlot)
		error_slot_requested(entry);
	return entry;
}

/* Under the hold, which keeps new requests out: one that was faster waits for its slot. */
void
require_nobody_else(DatabaseEntry *entry)
{
	if (entry->mode == WorkerMode::CreateSlot)
		error_slot_requested(entry);
}

/* The slot of this name, if it is ours: somebody else's stays. */
void
drop_slot(const NameData &slot_name)
{
	ReplicationSlot *slot = SearchNamedReplicationSlot(NameStr(slot_name), true);

	if (slot != nullptr && strcmp(NameStr(slot->data.plugin), "cdc") == 0)
		ReplicationSlotDrop(NameStr(slot_name), true);
}

/* Records the gap that dropping the slot makes, durably, before the slot goes. */
void
give_up(const Progress &progress, const NameData &slot_name, const char *reason)
{
	XLogRecPtr inserted = capture::wal_inserted_up_to();
	Gap gap = {};

	gap.start = progress.captured_lsn;
	gap.reason = reason;
	gap.detail =
		psprintf("User \"%s\" called it when %llu bytes of WAL were not captured yet.",
				 GetUserNameFromId(GetUserId(), false),
				 static_cast<unsigned long long>(inserted > gap.start ? inserted - gap.start : 0));
	SPI_connect_ext(SPI_OPT_NONATOMIC);
	catalog::gap_record(gap);
	SPI_commit();
	XLogFlush(XactLastCommitEnd);
	SPI_finish();
	CDC_FAULT("discard-recorded");
	drop_slot(slot_name);
}

/* Without confirmation: what would be lost, and the call that does it. */
[[noreturn]] void
ask_for_confirmation(const Progress &progress, const NameData &slot_name)
{
	XLogRecPtr inserted = capture::wal_inserted_up_to();
	ReplicationSlot *slot = SearchNamedReplicationSlot(NameStr(slot_name), true);
	XLogRecPtr kept_from = inserted;

	if (slot != nullptr)
	{
		SpinLockAcquire(&slot->mutex);
		kept_from = slot->data.restart_lsn;
		SpinLockRelease(&slot->mutex);
	}
	ereport(ERROR,
			(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
			 errmsg("giving up the kept WAL must be confirmed"),
			 errdetail("Changes committed from %X/%X to now, %X/%X, would be lost to capture: %llu "
					   "bytes of WAL that are not captured yet. %llu bytes would be freed.",
					   CDC_LSN_FORMAT_ARGS(progress.captured_lsn), CDC_LSN_FORMAT_ARGS(inserted),
					   static_cast<unsigned long long>(
						   inserted > progress.captured_lsn ? inserted - progress.captured_lsn : 0),
					   static_cast<unsigned long long>(inserted > kept_from ? inserted - kept_from
																			: 0)),
			 errhint(
				 "CALL cdc.discard_kept_wal(true) does it. When capture only lags, SELECT * FROM "
				 "cdc.pg_stat_cdc says why.")));
	pg_unreachable();
}

} // namespace

std::optional<Gap>
gap_find(const Identity &identity, const Progress &progress)
{
	Gap gap = {};
	const char *slot_name = NameStr(identity.slot_name);

	gap.start = progress.captured_lsn;
	if (identity.system_identifier != GetSystemIdentifier() ||
		identity.database_oid != MyDatabaseId)
	{
		gap.reason = "database is a copy of one that was enabled for change data capture";
		gap.detail = psprintf("Enabled as database %u of system " UINT64_FORMAT
							  ", this is database %u of system " UINT64_FORMAT ".",
							  identity.database_oid, identity.system_identifier, MyDatabaseId,
							  GetSystemIdentifier());
		return gap;
	}
	if (!is_on_this_timeline(identity, progress))
	{
		gap.reason = "this server's history does not contain what was captured";
		gap.detail = psprintf("Changes are captured up to %X/%X of timeline %d, the server is on "
							  "timeline %u.",
							  CDC_LSN_FORMAT_ARGS(progress.captured_lsn), identity.timeline,
							  GetWALInsertionTimeLine());
		return gap;
	}

	/* Everything the decoder read would count as captured already. */
	XLogRecPtr inserted = capture::wal_inserted_up_to();
	if (progress.captured_lsn > inserted)
	{
		gap.reason = "the log of this server is behind what was captured";
		gap.detail =
			psprintf("Changes are captured up to %X/%X, the log is at %X/%X.",
					 CDC_LSN_FORMAT_ARGS(progress.captured_lsn), CDC_LSN_FORMAT_ARGS(inserted));
		return gap;
	}

	ReplicationSlot *slot = SearchNamedReplicationSlot(slot_name, true);
	XLogRecPtr confirmed = InvalidXLogRecPtr;
	XLogRecPtr needed = InvalidXLogRecPtr;
	const char *invalidated = nullptr;
	bool finished = false;
	bool ours = false;
	if (slot != nullptr)
	{
		SpinLockAcquire(&slot->mutex);
		finished = slot->data.persistency == RS_PERSISTENT;
		confirmed = slot->data.confirmed_flush;
		needed = slot->data.restart_lsn;
		invalidated = compat_slot_invalidation(slot);
		ours = strcmp(NameStr(slot->data.plugin), "cdc") == 0;
		SpinLockRelease(&slot->mutex);
	}
	/* One that somebody is just making keeps nothing of what we need, and goes when that fails. */
	if (!finished)
	{
		gap.reason =
			psprintf("replication slot \"%s\" of change data capture is missing", slot_name);
		gap.detail = psprintf("Changes are captured up to %X/%X; the WAL behind it was not kept.",
							  CDC_LSN_FORMAT_ARGS(progress.captured_lsn));
		return gap;
	}
	if (invalidated != nullptr || !ours)
	{
		gap.reason =
			psprintf("replication slot \"%s\" of change data capture cannot be used", slot_name);
		gap.detail =
			psprintf("%s Changes are captured up to %X/%X.",
					 invalidated != nullptr ? invalidated : "It belongs to another plugin.",
					 CDC_LSN_FORMAT_ARGS(progress.captured_lsn));
		return gap;
	}
	/* pg_resetwal takes the log away and leaves the slots. */
	if (!capture::wal_has(needed))
	{
		gap.reason =
			psprintf("replication slot \"%s\" of change data capture cannot be used", slot_name);
		gap.detail =
			psprintf("The server has no longer the WAL that it needs, from %X/%X on. "
					 "Changes are captured up to %X/%X.",
					 CDC_LSN_FORMAT_ARGS(needed), CDC_LSN_FORMAT_ARGS(progress.captured_lsn));
		return gap;
	}
	if (confirmed > progress.captured_lsn)
	{
		gap.reason =
			psprintf("replication slot \"%s\" has moved past what was captured", slot_name);
		gap.detail =
			psprintf("The slot is at %X/%X, changes are captured up to %X/%X.",
					 CDC_LSN_FORMAT_ARGS(confirmed), CDC_LSN_FORMAT_ARGS(progress.captured_lsn));
		return gap;
	}
	return std::nullopt;
}

Gap
gap_as_recorded(const Gap &gap)
{
	Gap known = catalog::gap_open(InvalidOid).value_or(gap);

	if (known.detail == nullptr)
		known.detail = gap.detail;
	return known;
}

void
require_no_gap()
{
	Identity identity;
	Progress progress;
	std::optional<Gap> gap = look(&identity, &progress);

	if (!gap)
		return;
	/* A worker that looks records it, and makes the state say so. */
	if (DatabaseEntry *entry = registry_assign(MyDatabaseId))
		registry_start(entry);
	ereport(ERROR, (errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
					errmsg("capture cannot go on: %s", gap->reason),
					errdetail_internal("%s", gap->detail), errhint("%s", kResumeHint)));
}

} // namespace cdc::worker

using namespace cdc;
using namespace cdc::worker;

/* resume_after_gap() */
CDC_FUNCTION(cdc_resume_after_gap)
{
	DatabaseEntry *entry = prepare(fcinfo, "resume_after_gap");
	Identity identity;
	Progress progress;

	/* Workers hold the slot: what it is like is only known when they are gone. */
	with_workers_stopped(entry, [&] {
		require_nobody_else(entry);
		if (!look(&identity, &progress))
			ereport(ERROR,
					(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
					 errmsg("there is no gap to resume after"),
					 errdetail("Slot and progress agree: capture goes on from %X/%X.",
							   CDC_LSN_FORMAT_ARGS(progress.captured_lsn)),
					 errhint(
						 "CALL cdc.sp_cdc_start_job() if the job is stopped. To give up WAL that "
						 "cannot be captured in time, CALL cdc.discard_kept_wal().")));
		registry_stop(entry);
		CDC_FAULT("resume-stopped");
	});
	resume(entry);
	PG_RETURN_VOID();
}

/* discard_kept_wal(confirmed boolean) */
CDC_FUNCTION(cdc_discard_kept_wal)
{
	DatabaseEntry *entry = prepare(fcinfo, "discard_kept_wal");
	NameData slot_name = slot_name_for(MyDatabaseId);
	Identity identity;
	Progress progress;

	if (!arg_bool(fcinfo, 0).value_or(false))
	{
		(void)look(&identity, &progress);
		ask_for_confirmation(progress, slot_name);
	}
	with_workers_stopped(entry, [&] {
		require_nobody_else(entry);
		/* At a gap already: there is no use for what is kept, and the gap has its own reason. */
		if (!look(&identity, &progress))
			give_up(progress, slot_name, "the kept WAL was given up by cdc.discard_kept_wal()");
		registry_stop(entry);
	});
	resume(entry);
	PG_RETURN_VOID();
}

/* prepare_upgrade(timeout interval) */
CDC_FUNCTION(cdc_prepare_upgrade)
{
	DatabaseEntry *entry = prepare(fcinfo, "prepare_upgrade");
	NameData slot_name = slot_name_for(MyDatabaseId);
	int64 timeout_us = arg_timeout_us(fcinfo, 0, USECS_PER_MINUTE);
	Identity identity;
	Progress progress;

	/* At a gap there is nothing to wait for; what is left of the slot would be in pg_upgrade's way. */
	bool stands = look(&identity, &progress).has_value();
	if (!stands)
	{
		XLogRecPtr inserted = capture::wal_inserted_up_to();
		capture_wait_until_captured(entry, inserted, inserted, timeout_us);
	}
	with_workers_stopped(entry, [&] {
		require_nobody_else(entry);
		if (look(&identity, &progress))
			drop_slot(slot_name);
		else
			give_up(progress, slot_name, "capture was ended by cdc.prepare_upgrade()");
		registry_stop(entry);
	});
	/* A worker finds the gap, and makes every view say so. */
	registry_start(entry);
	ereport(
		NOTICE,
		(errmsg("capture of database \"%s\" has ended", get_database_name(MyDatabaseId)),
		 errdetail(
			 "Everything committed before %X/%X is captured. What is committed from now on is not.",
			 CDC_LSN_FORMAT_ARGS(progress.captured_lsn)),
		 errhint(
			 "Stop the server and run pg_upgrade. On the new server, before applications write: "
			 "CALL cdc.resume_after_gap().")));
	PG_RETURN_VOID();
}
