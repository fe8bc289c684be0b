/*
 * cleanup_worker.cpp
 *	  The cleanup worker: a short-lived process that looks at the cleanup job of one database.
 *
 * NOTES
 *	  The launcher starts it when somebody asks for a run, when the time has come that the last one has
 *	  named, and once for each database after a server start, because only a process in the database can read what
 *	  is due there. It does what there is to do, says when to look again, and ends.
 *
 *	  When the job is due. The schedule counts from the start of the last run, or from when it was set: what was
 *	  missed while the server was down is one run at once. A run that failed is tried again after a
 *	  back-off; one that was interrupted at once, but with a back-off when that happens again, so that a worker
 *	  that takes the server down does not do so for ever.
 */
#include "cdc.hpp"

#include "base/scope.hpp"
#include "base/shmem.hpp"
#include "catalog/database.hpp"
#include "catalog/version.hpp"
#include "jobs/cleanup.hpp"
#include "jobs/cleanup_control.hpp"
#include "jobs/job_catalog.hpp"
#include "jobs/schedule.hpp"
#include "monitor/error_log.hpp"
#include "worker/registry.hpp"

extern "C" {
#include "postmaster/bgworker.h"
#include "postmaster/interrupt.h"
#include "tcop/tcopprot.h"

PGDLLEXPORT void cdc_cleanup_worker_main(Datum argument);
}

namespace cdc::jobs
{

using namespace catalog;

namespace
{

constexpr int64 kFirstRetryUs = 1 * USECS_PER_MINUTE;
constexpr int kLongestRetryShift = 6; /* about an hour */
constexpr int kCleanupFailed = 22924;

/* What the job row and the runs say. */
struct Plan
{
	bool wanted; /* there is a job, and it is started */
	int64 retention;
	int64 threshold;
	TimestampTz due_at;
};

TimestampTz
retry_at(const CleanupRun &last)
{
	int failures = cleanup_runs_failed_in_a_row();
	if (last.status == RunStatus::Interrupted)
		failures--;
	return failures <= 0 ? last.ended_at
						 : last.ended_at + (kFirstRetryUs << Min(failures - 1, kLongestRetryShift));
}

Plan
read_plan()
{
	Plan plan = {};
	Identity identity;

	plan.due_at = DT_NOEND;
	/* The capture worker is the one that says so. */
	if (!database_read_identity(&identity) || version_problem().message != nullptr)
		return plan;
	cleanup_runs_mark_interrupted();
	std::optional<Job> job = job_find(JobType::Cleanup);
	if (!job || !DatumGetBool(job->row[kJbStarted]) || job->row.is_null(kJbStartTime) ||
		job->row.is_null(kJbEvery) || job->row.is_null(kJbScheduleFrom))
		return plan;
	/* By hand a superuser can write anything into the row; a loop would be the least of it. */
	Interval *every = DatumGetIntervalP(job->row[kJbEvery]);
	if (!schedule_interval_is_valid(every))
		return plan;
	plan.wanted = true;
	plan.retention = Min(Max(DatumGetInt64(job->row[kJbRetention]), 1), kLongestRetention);
	plan.threshold = Max(DatumGetInt64(job->row[kJbThreshold]), 1);

	std::optional<CleanupRun> last = cleanup_run_last_job();
	TimestampTz from = DatumGetTimestampTz(job->row[kJbScheduleFrom]);
	if (last)
		from = Max(from, last->started_at);
	/* What happened in the future happened before the clock was set back. */
	from = Min(from, GetCurrentTimestamp());
	plan.due_at = schedule_next(DatumGetTimeADT(job->row[kJbStartTime]), every, from);
	if (last && (last->status == RunStatus::Failed || last->status == RunStatus::Interrupted))
		plan.due_at = Min(plan.due_at, retry_at(*last));
	return plan;
}

void
look(DatabaseEntry *entry, CleanupTask task)
{
	Plan plan = {};

	in_transaction([&] { plan = read_plan(); });
	if (plan.wanted && (task == CleanupTask::Job || plan.due_at <= GetCurrentTimestamp()))
	{
		cleanup_note_job(entry);
		cleanup_run_all(entry, plan.retention, plan.threshold);
		in_transaction([&] { plan = read_plan(); });
	}
	cleanup_look_at(entry, plan.due_at);
}

} // namespace

} // namespace cdc::jobs

extern "C" void
cdc_cleanup_worker_main(Datum argument)
{
	using namespace cdc;
	using namespace cdc::jobs;

	DatabaseEntry *entry = &shmem_get()->entries[DatumGetInt32(argument)];

	pqsignal(SIGTERM, die);
	pqsignal(SIGHUP, SignalHandlerForConfigReload);
	BackgroundWorkerUnblockSignals();
	Oid database_oid = entry->database_oid;
	CleanupWork work = cleanup_attach(entry);
	if (work.task == CleanupTask::None)
		proc_exit(0);

	end_process_on_error(
		[&] {
			BackgroundWorkerInitializeConnectionByOid(database_oid, InvalidOid,
													  BGWORKER_BYPASS_ALLOWCONN);
			MemoryContextSwitchTo(
				AllocSetContextCreate(TopMemoryContext, "cdc cleanup", ALLOCSET_DEFAULT_SIZES));
			worker::settings_of_our_own();
			worker::show_database_in_process_list();
			/* The low-water mark is in the log before anything that it allows; only a run's beginning waits for the disk. */
			SetConfigOption("synchronous_commit", "off", PGC_SUSET, PGC_S_OVERRIDE);
			if (work.task == CleanupTask::Table)
			{
				CleanupRun run = cleanup_run_table(entry, work.instance_id, work.threshold);
				cleanup_finish_request(entry, run.message);
				cleanup_look_at(entry, DT_NOEND);
			}
			else
				look(entry, work.task);
		},
		[&](const ErrorData &error) {
			/* What a run does not catch itself: it could not even be begun or stored. */
			monitor::error_log_note(entry, "cleanup", error, kCleanupFailed);
			if (OidIsValid(MyDatabaseId))
				monitor::error_log_store(entry);
		});
	proc_exit(0);
}
