/*
 * control.cpp
 *	  SQL-callable start, stop, scan and wait-until-captured.
 */
#include "cdc.hpp"

#include "base/args.hpp"
#include "base/errors.hpp"
#include "base/scope.hpp"
#include "base/shmem.hpp"
#include "capture/wal_reader.hpp"
#include "catalog/capture_instance.hpp"
#include "catalog/catalog_rows.hpp"
#include "catalog/database.hpp"
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

/* The catalog's job types; anything else is SQL Server error 22992. */
void
require_job_type(const char *job_type)
{
	if (job_type == nullptr)
		error_parameter_missing("job_type", true);
	if (pg_strcasecmp(job_type, "capture") == 0)
		return;
	ereport(ERROR,
			(errcode(ERRCODE_INVALID_PARAMETER_VALUE), errmsg("invalid job_type \"%s\"", job_type),
			 errdetail("SQL Server error 22992: the job type must be \"capture\"."),
			 errhint("Use 'capture'.")));
}

/* Sets cdc_jobs.started of the capture job. */
void
set_job_started(bool started)
{
	bool found = false;

	catalog::rows_scan("cdc_jobs", nullptr, {}, RowExclusiveLock,
					   [&](Relation relation, HeapTuple tuple) {
						   auto row = catalog::row_deform<catalog::kJbColumns>(relation, tuple);
						   if (strcmp(TextDatumGetCString(row[catalog::kJbJobType]), "capture") !=
							   0)
							   return;
						   found = true;
						   row.set(catalog::kJbStarted, BoolGetDatum(started));
						   CatalogTupleUpdate(relation, &tuple->t_self,
											  heap_form_tuple(RelationGetDescr(relation),
															  row.values, row.nulls));
					   });
	if (!found)
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_OBJECT), errmsg("capture job does not exist"),
				 errdetail(
					 "SQL Server error 22997: it is created with the first table that is enabled "
					 "for change data capture."),
				 errhint("CALL cdc.sp_cdc_enable_table(...) for a table.")));
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
wait_until_gone(DatabaseEntry *entry)
{
	TimestampTz terminate_at = GetCurrentTimestamp() + kPatienceUs;

	wait_until(entry, [&] {
		if (GetCurrentTimestamp() > terminate_at)
		{
			registry_terminate(entry);
			terminate_at = GetCurrentTimestamp() + kPatienceUs;
		}
		return !registry_is_running(*entry) && slot_is_free(entry->database_oid);
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
	if (entry->mode != WorkerMode::Stopped || registry_is_running(*entry))
		return;

	/* Right after a server start nobody has looked at this database yet: its job is only not started. */
	catalog::CaptureJob job = catalog::database_read_capture_job();
	if (!job.exists || (job.started && job.continuous))
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

void
workers_stop_and_wait(DatabaseEntry *entry)
{
	registry_hold(entry);
	wait_until_gone(entry);
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

/* sp_cdc_start_job(job_type text) */
CDC_FUNCTION(cdc_start_job)
{
	require_writable("sp_cdc_start_job");
	require_database_owner("sp_cdc_start_job");
	require_job_type(arg_text_trimmed(fcinfo, 0));
	catalog::database_require_enabled();
	require_entry();
	require_no_gap();
	set_job_started(true);
	registry_start_at_commit();
	PG_RETURN_VOID();
}

/* sp_cdc_stop_job(job_type text) */
CDC_FUNCTION(cdc_stop_job)
{
	require_writable("sp_cdc_stop_job");
	require_database_owner("sp_cdc_stop_job");
	require_job_type(arg_text_trimmed(fcinfo, 0));
	catalog::database_require_enabled();
	DatabaseEntry *entry = require_entry();
	set_job_started(false);

	/* As a statement of its own it returns when the worker has ended. */
	CallContext *context = fcinfo->context != nullptr && IsA(fcinfo->context, CallContext)
							   ? castNode(CallContext, fcinfo->context)
							   : nullptr;
	if (context == nullptr || context->atomic)
	{
		registry_stop_at_commit();
		PG_RETURN_VOID();
	}
	SPI_connect_ext(SPI_OPT_NONATOMIC);
	SPI_commit();
	registry_stop(entry);
	wait_until_gone(entry);
	SPI_finish();
	PG_RETURN_VOID();
}

/* sp_cdc_scan(maxtrans integer, maxscans integer, continuous boolean, pollinginterval bigint) */
CDC_FUNCTION(cdc_scan)
{
	require_writable("sp_cdc_scan");
	require_database_owner("sp_cdc_scan");
	catalog::database_require_enabled();
	DatabaseEntry *entry = require_entry();
	ScanParameters scan = {1000, 10, false, 0};
	if (!PG_ARGISNULL(0))
		scan.maxtrans = PG_GETARG_INT32(0);
	if (!PG_ARGISNULL(1))
		scan.maxscans = PG_GETARG_INT32(1);
	if (!PG_ARGISNULL(2))
		scan.continuous = PG_GETARG_BOOL(2);
	if (!PG_ARGISNULL(3))
		scan.pollinginterval = PG_GETARG_INT64(3);
	if (scan.maxtrans <= 0)
		ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE), errmsg("invalid maxtrans"),
						errdetail("SQL Server error 22991: it is %d, it must be greater than 0.",
								  scan.maxtrans),
						errhint("Leave it out for 1000.")));
	if (scan.maxscans <= 0)
		ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE), errmsg("invalid maxscans"),
						errdetail("SQL Server error 22970: it is %d, it must be greater than 0.",
								  scan.maxscans),
						errhint("Leave it out for 10.")));
	if (scan.pollinginterval < 0 || scan.pollinginterval > 86399)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE), errmsg("invalid pollinginterval"),
				 errdetail(
					 "SQL Server error 22990: it is %lld, it must be between 0 and 86399 seconds.",
					 static_cast<long long>(scan.pollinginterval)),
				 errhint("Leave it out for 0.")));
	if (!scan.continuous && scan.pollinginterval != 0)
		ereport(
			ERROR,
			(errcode(ERRCODE_INVALID_PARAMETER_VALUE), errmsg("invalid pollinginterval"),
			 errdetail("SQL Server error 22999: it is %lld, it must be NULL or 0 when the scan is "
					   "not continuous.",
					   static_cast<long long>(scan.pollinginterval)),
			 errhint("Leave it out, or pass continuous => true.")));

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
	report_error([&] { wait_until(entry, [&] { return entry->finished_request_id >= id; }); },
				 [&](const ErrorData &) {
					 ConditionVariableCancelSleep();
					 registry_cancel_request(entry);
				 });
	/* The slot is free again for the next scan, or the job, when we return. */
	wait_until_gone(entry);
	if (entry->request_failed)
	{
		ReportedError error = registry_last_error(entry);
		ereport(ERROR, (errcode(error.code != 0 ? error.code : ERRCODE_INTERNAL_ERROR),
						errmsg("log scan failed: %s", error.message),
						errdetail("SQL Server error 22859: %s",
								  error.detail[0] != '\0' ? error.detail : "the worker has ended."),
						errhint("%s", error.hint[0] != '\0' ? error.hint : "See the server log.")));
	}
	PG_RETURN_VOID();
}

/* wait_for_capture(lsn pg_lsn, timeout interval) */
CDC_FUNCTION(cdc_wait_for_capture)
{
	PreventCommandDuringRecovery("wait_for_capture");
	catalog::database_require_enabled();
	DatabaseEntry *entry = require_entry();
	refuse_own_locks();

	XLogRecPtr inserted = capture::wal_inserted_up_to();
	XLogRecPtr target = arg_lsn(fcinfo, 0).value_or(inserted);
	int64 timeout_us = 10 * USECS_PER_SEC;
	if (!PG_ARGISNULL(1))
	{
		Interval *timeout = PG_GETARG_INTERVAL_P(1);
		/* In floating point and cut: the largest interval is longer than a bigint of microseconds. */
		double us = static_cast<double>(timeout->time) +
					(timeout->day + timeout->month * 30.0) * USECS_PER_DAY;
		timeout_us = static_cast<int64>(Max(Min(us, kLongestWaitUs), -1.0));
	}
	if (timeout_us < 0)
		ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE), errmsg("invalid timeout"),
						errdetail("It is negative."), errhint("Leave it out for 10 seconds.")));

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
	PG_RETURN_VOID();
}
