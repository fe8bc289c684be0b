/*
 * control.cpp
 *	  Stopping workers and waiting for them; sp_cdc_scan and wait_for_capture.
 */
#include "cdc.hpp"

#include "base/args.hpp"
#include "base/errors.hpp"
#include "base/fault.hpp"
#include "base/scope.hpp"
#include "base/shmem.hpp"
#include "capture/ddl_apply.hpp"
#include "capture/wal_reader.hpp"
#include "catalog/capture_instance.hpp"
#include "catalog/database.hpp"
#include "jobs/cleanup_control.hpp"
#include "jobs/job_catalog.hpp"
#include "worker/control.hpp"
#include "worker/gap_control.hpp"
#include "worker/registry.hpp"

extern "C" {
#include "executor/spi.h"
#include "pgstat.h"
#include "replication/slot.h"
#include "utils/wait_event.h"
}

namespace cdc::worker
{

namespace
{

constexpr long kLookAgainMs = 200;
constexpr double kLongestWaitUs = 1e15; /* 30 years */
constexpr int64 kPatienceUs = 3 * USECS_PER_SEC;

/* Sleeps until the entry moves; the caller looks at its condition first. */
void
sleep_on(DatabaseEntry *entry, long timeout_ms)
{
	ConditionVariableTimedSleep(&entry->progress_cv, timeout_ms, PG_WAIT_EXTENSION);
	CHECK_FOR_INTERRUPTS();
}

template <typename Done>
void
wait_until(DatabaseEntry *entry, Done done)
{
	ConditionVariablePrepareToSleep(&entry->progress_cv);
	while (!done())
		sleep_on(entry, kLookAgainMs);
	ConditionVariableCancelSleep();
}

/* Nobody reads through the slot any more: it can be dropped. */
bool
slot_is_free(Oid database_oid)
{
	NameData name = slot_name_for(database_oid);
	ReplicationSlot *slot = SearchNamedReplicationSlot(NameStr(name), true);
	return slot == nullptr || slot->active_pid == 0;
}

/*
 * Waits until workers that were told to stop have gone, and the slot is free. A worker that does not
 * get round to it waits for a lock, perhaps one of ours: it is terminated, which loses no more
 * than its open batch.
 */
void
wait_until_gone(DatabaseEntry *entry, bool cleanup_too)
{
	TimestampTz terminate_at = GetCurrentTimestamp() + kPatienceUs;

	wait_until(entry, [&] {
		if (GetCurrentTimestamp() > terminate_at)
		{
			registry_terminate(entry);
			terminate_at = GetCurrentTimestamp() + kPatienceUs;
		}
		return !registry_is_running(*entry) && slot_is_free(entry->database_oid) &&
			   (!cleanup_too || !jobs::cleanup_is_running(*entry));
	});
}

/* Locks of ours on cdc tables that the writer would wait for. */
void
refuse_own_locks()
{
	constexpr const char *kQuery =
		"SELECT c.relname FROM pg_catalog.pg_locks l "
		"JOIN pg_catalog.pg_class c ON c.oid OPERATOR(pg_catalog.=) l.relation "
		"JOIN pg_catalog.pg_namespace n ON n.oid OPERATOR(pg_catalog.=) c.relnamespace "
		"WHERE l.pid OPERATOR(pg_catalog.=) pg_catalog.pg_backend_pid() AND l.granted "
		"AND n.nspname OPERATOR(pg_catalog.=) 'cdc'::pg_catalog.name AND l.mode OPERATOR(pg_catalog.=) ANY "
		"(ARRAY['ShareLock', 'ShareRowExclusiveLock', 'ExclusiveLock', 'AccessExclusiveLock']) "
		"AND c.xmin OPERATOR(pg_catalog.<>) pg_catalog.pg_current_xact_id_if_assigned()::pg_catalog.xid LIMIT 1";

	if (!TransactionIdIsValid(GetTopTransactionIdIfAny()))
		return;
	SPI_connect();
	if (SPI_execute(kQuery, true, 1) != SPI_OK_SELECT)
		elog(ERROR, "could not look at the locks of this transaction");
	if (SPI_processed > 0)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("cannot wait for capture while this transaction locks a table of cdc"),
				 errdetail("Table \"cdc.%s\" is locked, so the capture worker would wait for us.",
						   SPI_getvalue(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 1)),
				 errhint("Commit first.")));
	SPI_finish();
}

/* Nothing will arrive: says why at once instead of waiting for the timeout. */
void
refuse_hopeless_wait(DatabaseEntry *entry)
{
	if (entry->state == CaptureState::NeedsAction)
	{
		ReportedError error = registry_last_error(entry);
		ereport(ERROR, (errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
						errmsg("capture cannot go on: %s", error.message),
						error.detail[0] != '\0' ? errdetail_internal("%s", error.detail) : 0,
						error.hint[0] != '\0' ? errhint("%s", error.hint) : 0));
	}
	if (entry->state == CaptureState::OutsideWindow)
		ereport(ERROR, (errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
						errmsg("capture job waits for its active window"),
						errdetail("It goes on at %s. Changes are captured up to %X/%X.",
								  timestamptz_to_str(entry->restart_at),
								  CDC_LSN_FORMAT_ARGS(pg_atomic_read_u64(&entry->captured_lsn))),
						errhint("CALL cdc.sp_cdc_change_job(active_window => 'always') and CALL "
								"cdc.sp_cdc_start_job() to have it run now.")));
	if (entry->mode != WorkerMode::Stopped || registry_is_running(*entry))
		return;

	/* Right after a server start nobody has looked at this database yet: its job is only not started. */
	catalog::CaptureJob job = catalog::database_read_capture_job();
	if (job.exists ? job.started && job.continuous : !capture::ddl_any_instance())
	{
		registry_start(entry);
		return;
	}
	require_no_gap();
	ereport(ERROR,
			(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE), errmsg("capture job is stopped"),
			 errdetail("Changes are captured up to %X/%X.",
					   CDC_LSN_FORMAT_ARGS(pg_atomic_read_u64(&entry->captured_lsn))),
			 errhint("CALL cdc.sp_cdc_start_job(), or CALL cdc.sp_cdc_scan() for one scan.")));
}

} // namespace

void
require_launcher()
{
	constexpr int kTries = 60;

	for (int i = 0; i < kTries; i++)
	{
		if (shmem_get()->launcher_pid != 0)
			return;
		/* Right after a server start, or while it restarts after a failure. */
		(void)WaitLatch(MyLatch, WL_LATCH_SET | WL_TIMEOUT | WL_EXIT_ON_PM_DEATH, 100,
						PG_WAIT_EXTENSION);
		ResetLatch(MyLatch);
		CHECK_FOR_INTERRUPTS();
	}
	ereport(
		ERROR,
		(errcode(ERRCODE_CONFIGURATION_LIMIT_EXCEEDED), errmsg("cdc launcher does not run"),
		 errdetail("max_worker_processes is %d; the launcher needs one, and capture two for each "
				   "database.",
				   max_worker_processes),
		 errhint("Raise max_worker_processes and restart the server; its log says why the launcher "
				 "did not start.")));
}

DatabaseEntry *
require_entry()
{
	shmem_require();
	require_launcher();
	DatabaseEntry *entry = registry_assign(MyDatabaseId);
	if (entry == nullptr)
		ereport(ERROR,
				(errcode(ERRCODE_CONFIGURATION_LIMIT_EXCEEDED),
				 errmsg("too many databases are enabled for change data capture"),
				 errdetail("max_replication_slots is %d, one for each.", max_replication_slots),
				 errhint("Raise max_replication_slots and restart the server.")));
	return entry;
}

void
capture_wait_until_gone(DatabaseEntry *entry)
{
	wait_until_gone(entry, false);
}

int64
arg_timeout_us(FunctionCallInfo fcinfo, int argument, int64 default_us)
{
	if (PG_ARGISNULL(argument))
		return default_us;
	Interval *timeout = PG_GETARG_INTERVAL_P(argument);
	/* In floating point and cut: the largest interval is longer than a bigint of microseconds. */
	double us =
		static_cast<double>(timeout->time) + (timeout->day + timeout->month * 30.0) * USECS_PER_DAY;
	if (us < 0)
		ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE), errmsg("invalid timeout"),
						errdetail("It is negative."), errhint("Leave it out for the default.")));
	return static_cast<int64>(Min(us, kLongestWaitUs));
}

void
capture_wait_until_captured(DatabaseEntry *entry, XLogRecPtr target, XLogRecPtr inserted,
							int64 timeout_us)
{
	/* What is not on disk cannot be decoded; with synchronous_commit = off nobody else would see to it. */
	XLogFlush(Min(target, inserted));
	for (;;)
	{
		uint64 wanted = pg_atomic_read_u64(&entry->wanted_lsn);
		uint64 wish = Min(target, inserted);
		if (wanted >= wish || pg_atomic_compare_exchange_u64(&entry->wanted_lsn, &wanted, wish))
			break;
	}
	registry_wake_decoder(entry);
	registry_wake_writer(entry);

	TimestampTz end = GetCurrentTimestamp() + timeout_us;
	ConditionVariablePrepareToSleep(&entry->progress_cv);
	while (pg_atomic_read_u64(&entry->captured_lsn) < target)
	{
		refuse_hopeless_wait(entry);
		int64 left_us = end - GetCurrentTimestamp();
		if (left_us <= 0)
		{
			ReportedError error = registry_last_error(entry);
			bool failed = entry->state == CaptureState::Failed || entry->failures > 0;
			ereport(
				ERROR,
				(errcode(kSqlStateNotCaptured),
				 errmsg("changes up to %X/%X were not captured in time",
						CDC_LSN_FORMAT_ARGS(target)),
				 errdetail("Captured up to %X/%X.%s%s",
						   CDC_LSN_FORMAT_ARGS(pg_atomic_read_u64(&entry->captured_lsn)),
						   failed ? " Last error: " : "", failed ? error.message : ""),
				 errhint(
					 "SELECT * FROM cdc.pg_stat_cdc shows what capture is doing; wait longer with "
					 "timeout => '1min'.")));
		}
		sleep_on(entry, Min(kLookAgainMs, static_cast<long>(left_us / 1000) + 1));
	}
	ConditionVariableCancelSleep();
}

void
workers_stop_and_wait(DatabaseEntry *entry)
{
	if (!registry_hold(entry))
		error_slot_requested(entry);
	wait_until_gone(entry, true);
}

void
require_top_level_call(FunctionCallInfo fcinfo, const char *procedure)
{
	CallContext *context = fcinfo->context != nullptr && IsA(fcinfo->context, CallContext)
							   ? castNode(CallContext, fcinfo->context)
							   : nullptr;
	if (context != nullptr && !context->atomic && !TransactionIdIsValid(GetTopTransactionIdIfAny()))
		return;
	ereport(
		ERROR,
		(errcode(ERRCODE_ACTIVE_SQL_TRANSACTION),
		 errmsg("cdc.%s cannot run inside a transaction block", procedure),
		 errdetail("It creates or drops a replication slot, which no transaction can undo."),
		 errhint("CALL cdc.%s() as a statement of its own, outside BEGIN and not from a function.",
				 procedure)));
}

} // namespace cdc::worker

using namespace cdc;
using namespace cdc::worker;

/* sp_cdc_scan(maxtrans integer, maxscans integer, continuous boolean, pollinginterval bigint) */
CDC_FUNCTION(cdc_scan)
{
	require_writable("sp_cdc_scan");
	require_database_owner("sp_cdc_scan");
	catalog::database_require_enabled();
	DatabaseEntry *entry = require_entry();
	ScanParameters scan = {jobs::kDefaultMaxtrans, jobs::kDefaultMaxscans, false, 0};
	if (!PG_ARGISNULL(0))
		scan.maxtrans = PG_GETARG_INT32(0);
	if (!PG_ARGISNULL(1))
		scan.maxscans = PG_GETARG_INT32(1);
	if (!PG_ARGISNULL(2))
		scan.continuous = PG_GETARG_BOOL(2);
	if (!PG_ARGISNULL(3))
		scan.pollinginterval = PG_GETARG_INT64(3);
	jobs::check_maxtrans(scan.maxtrans, "Leave it out for 1000.");
	jobs::check_maxscans(scan.maxscans, "Leave it out for 10.");
	jobs::check_pollinginterval(scan.pollinginterval, "Leave it out for 0.");
	if (!scan.continuous && scan.pollinginterval != 0)
		jobs::error_polling_when_not_continuous(scan.pollinginterval);

	/* A scan that was cancelled, or a job that a transaction stopped, takes a moment to end. */
	wait_until(entry,
			   [&] { return entry->mode != WorkerMode::Stopped || !registry_is_running(*entry); });
	uint64 id = registry_request(entry, WorkerMode::Scan, &scan);
	if (id == 0)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_IN_USE),
				 errmsg("another process already scans the log of this database"),
				 errdetail(
					 "SQL Server error 22903: the capture job runs, or another sp_cdc_scan (worker "
					 "pid %d).",
					 entry->writer_pid),
				 errhint("CALL cdc.sp_cdc_stop_job() first.")));
	report_error(
		[&] {
			CDC_FAULT("scan-wait");
			wait_until(entry, [&] { return entry->finished_request_id >= id; });
		},
		[&](const ErrorData &) {
			ConditionVariableCancelSleep();
			registry_cancel_request(entry);
		});
	/* The slot is free again for the next scan, or the job, when we return. */
	capture_wait_until_gone(entry);
	if (entry->request_failed)
	{
		ReportedError error = registry_last_error(entry);
		/* Terminated politely it has no error of its own. */
		if (error.code == 0)
			ereport(ERROR,
					(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
					 errmsg("log scan failed: its worker was terminated"),
					 errdetail("SQL Server error 22859: the worker has ended without an error."),
					 errhint("CALL cdc.sp_cdc_scan() again: it goes on behind what is captured.")));
		ereport(ERROR, (errcode(error.code), errmsg("log scan failed: %s", error.message),
						errdetail("SQL Server error 22859: %s",
								  error.detail[0] != '\0' ? error.detail : "the worker has ended."),
						errhint("%s", error.hint[0] != '\0' ? error.hint : "See the server log.")));
	}
	PG_RETURN_VOID();
}

/* wait_for_capture(lsn pg_lsn, timeout interval) */
CDC_FUNCTION(cdc_wait_for_capture)
{
	require_not_in_recovery("wait_for_capture");
	catalog::database_require_enabled();
	DatabaseEntry *entry = require_entry();
	refuse_own_locks();

	XLogRecPtr inserted = capture::wal_inserted_up_to();
	XLogRecPtr target = arg_lsn(fcinfo, 0).value_or(inserted);
	int64 timeout_us = arg_timeout_us(fcinfo, 1, 10 * USECS_PER_SEC);
	capture_wait_until_captured(entry, target, inserted, timeout_us);
	PG_RETURN_VOID();
}
