/*
 * job_procedures.cpp
 *	  sp_cdc_add_job, sp_cdc_change_job, sp_cdc_drop_job, sp_cdc_start_job, sp_cdc_stop_job, sp_cdc_help_jobs.
 *
 * NOTES
 *	  Rows change in the caller's transaction; workers hear of it when it commits. A worker reads its
 *	  parameters when it starts, so new values of the capture job count from its next start, and those of
 *	  the cleanup job from its next run; only when that will be is computed anew at once.
 */
#include "cdc.hpp"

#include "base/args.hpp"
#include "base/errors.hpp"
#include "base/scope.hpp"
#include "base/shmem.hpp"
#include "catalog/capture_instance.hpp"
#include "jobs/cleanup_control.hpp"
#include "jobs/cleanup_runs.hpp"
#include "jobs/job_catalog.hpp"
#include "jobs/schedule.hpp"
#include "worker/control.hpp"
#include "worker/gap_control.hpp"
#include "worker/registry.hpp"

extern "C" {
#include "commands/dbcommands.h"
#include "executor/spi.h"
#include "utils/tuplestore.h"
}

namespace cdc::jobs
{

using namespace catalog;

namespace
{

constexpr const char *kLeaveOutToKeep =
	"Leave it out for the default, or to keep what the job has.";

/* What add_job and change_job take; not given: the default, or as it is. */
struct Parameters
{
	std::optional<int32> maxtrans;
	std::optional<int32> maxscans;
	std::optional<bool> continuous;
	std::optional<int64> pollinginterval;
	std::optional<int64> retention;
	std::optional<int64> threshold;
	std::optional<TimeADT> start_time;
	Interval *every;
	const char *active_window;
};

std::optional<int64>
arg_int64(FunctionCallInfo fcinfo, int n)
{
	if (PG_ARGISNULL(n))
		return std::nullopt;
	return PG_GETARG_INT64(n);
}

std::optional<int32>
arg_int32(FunctionCallInfo fcinfo, int n)
{
	if (PG_ARGISNULL(n))
		return std::nullopt;
	return PG_GETARG_INT32(n);
}

/* The arguments from number n on. */
Parameters
parameters_from(FunctionCallInfo fcinfo, int n)
{
	Parameters p = {};

	p.maxtrans = arg_int32(fcinfo, n);
	p.maxscans = arg_int32(fcinfo, n + 1);
	p.continuous = arg_bool(fcinfo, n + 2);
	p.pollinginterval = arg_int64(fcinfo, n + 3);
	p.retention = arg_int64(fcinfo, n + 4);
	p.threshold = arg_int64(fcinfo, n + 5);
	if (!PG_ARGISNULL(n + 6))
		p.start_time = DatumGetTimeADT(PG_GETARG_DATUM(n + 6));
	p.every = PG_ARGISNULL(n + 7) ? nullptr : PG_GETARG_INTERVAL_P(n + 7);
	p.active_window = arg_text_trimmed(fcinfo, n + 8);
	return p;
}

/* A parameter of the other job fails the whole call. */
void
check_applicable(JobType type, const Parameters &p)
{
	struct Given
	{
		const char *name;
		bool given;
	};
	const Given of_capture[] = {
		{"maxtrans", p.maxtrans.has_value()},
		{"maxscans", p.maxscans.has_value()},
		{"continuous", p.continuous.has_value()},
		{"pollinginterval", p.pollinginterval.has_value()},
		{"active_window", p.active_window != nullptr},
	};
	const Given of_cleanup[] = {
		{"retention", p.retention.has_value()},
		{"threshold", p.threshold.has_value()},
		{"start_time", p.start_time.has_value()},
		{"every", p.every != nullptr},
	};

	if (type == JobType::Capture)
	{
		for (const auto &[name, given] : of_cleanup)
			if (given)
				ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
								errmsg("parameter \"%s\" does not apply to the capture job", name),
								errdetail("SQL Server error 22995: it is one of the cleanup job."),
								errhint("Leave it out, or pass job_type => 'cleanup'.")));
		return;
	}
	for (const auto &[name, given] : of_capture)
		if (given)
			ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
							errmsg("parameter \"%s\" does not apply to the cleanup job", name),
							errdetail("SQL Server error 22996: it is one of the capture job."),
							errhint("Leave it out, or pass job_type => 'capture'.")));
}

void
check_ranges(const Parameters &p)
{
	if (p.maxtrans)
		check_maxtrans(*p.maxtrans, kLeaveOutToKeep);
	if (p.maxscans)
		check_maxscans(*p.maxscans, kLeaveOutToKeep);
	if (p.pollinginterval)
		check_pollinginterval(*p.pollinginterval, kLeaveOutToKeep);
	if (p.retention && (*p.retention < 1 || *p.retention > kLongestRetention))
		ereport(
			ERROR,
			(errcode(ERRCODE_INVALID_PARAMETER_VALUE), errmsg("invalid retention"),
			 errdetail("SQL Server error 22994: it is %lld, it must be between 1 and %lld minutes.",
					   static_cast<long long>(*p.retention),
					   static_cast<long long>(kLongestRetention)),
			 errhint("%s", kLeaveOutToKeep)));
	if (p.threshold)
		check_threshold(*p.threshold, kLeaveOutToKeep);
	if (p.every != nullptr && !schedule_interval_is_valid(p.every))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE), errmsg("invalid every"),
				 errdetail("It is \"%s\", it must be at least 1 second and at most 100 years, "
						   "without negative parts.",
						   DatumGetCString(
							   DirectFunctionCall1(interval_out, IntervalPGetDatum(p.every)))),
				 errhint("%s", kLeaveOutToKeep)));
	ActiveWindow window;
	if (p.active_window != nullptr && pg_strcasecmp(p.active_window, "always") != 0 &&
		!active_window_parse(p.active_window, &window))
		ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE), errmsg("invalid active_window"),
						errdetail("It is \"%s\", it must be two different times of day like "
								  "\"22:00-06:00\", or \"always\".",
								  p.active_window),
						errhint("%s", kLeaveOutToKeep)));
}

/* Writes what was given into the row. */
void
apply(Row<kJbColumns> &row, const Parameters &p)
{
	if (p.maxtrans)
		row.set(kJbMaxtrans, Int32GetDatum(*p.maxtrans));
	if (p.maxscans)
		row.set(kJbMaxscans, Int32GetDatum(*p.maxscans));
	if (p.pollinginterval)
		row.set(kJbPollinginterval, Int64GetDatum(*p.pollinginterval));
	if (p.continuous)
		row.set(kJbContinuous, BoolGetDatum(*p.continuous));
	else if (p.pollinginterval && *p.pollinginterval > 0)
		row.set(kJbContinuous, BoolGetDatum(true)); /* who asks for a wait asks for a loop */
	if (p.retention)
		row.set(kJbRetention, Int64GetDatum(*p.retention));
	if (p.threshold)
		row.set(kJbThreshold, Int64GetDatum(*p.threshold));
	if (p.start_time)
		row.set(kJbStartTime, TimeADTGetDatum(*p.start_time));
	if (p.every != nullptr)
		row.set(kJbEvery, IntervalPGetDatum(p.every));
	if (p.active_window != nullptr && pg_strcasecmp(p.active_window, "always") == 0)
		row.set_null(kJbActiveWindow);
	else if (p.active_window != nullptr)
		row.set(kJbActiveWindow, CStringGetTextDatum(p.active_window));
	/* A new schedule does not make up for what it would have run before it was there. */
	if (p.start_time || p.every != nullptr)
		row.set(kJbScheduleFrom, TimestampTzGetDatum(GetCurrentTimestamp()));
}

/* What every procedure here begins with. */
JobType
begin(FunctionCallInfo fcinfo, const char *procedure)
{
	require_writable(procedure);
	require_database_owner(procedure);
	JobType type = job_type_from(arg_text_trimmed(fcinfo, 0));
	database_require_enabled();
	return type;
}

bool
may_commit(FunctionCallInfo fcinfo)
{
	CallContext *context = fcinfo->context != nullptr && IsA(fcinfo->context, CallContext)
							   ? castNode(CallContext, fcinfo->context)
							   : nullptr;
	return context != nullptr && !context->atomic;
}

/* Stops the job when this transaction commits. As a statement of its own the call returns when the worker has ended. */
void
stop_at_commit(FunctionCallInfo fcinfo, DatabaseEntry *entry, JobType type)
{
	if (type == JobType::Capture)
		worker::registry_stop_at_commit();
	else
		worker::registry_cleanup_stop_at_commit();
	if (!may_commit(fcinfo))
		return;
	SPI_connect_ext(SPI_OPT_NONATOMIC);
	SPI_commit();
	if (type == JobType::Capture)
		worker::capture_wait_until_gone(entry);
	else
		cleanup_wait_until_ended(entry, CleanupTask::Job);
	SPI_finish();
}

void
start_at_commit(JobType type)
{
	if (type == JobType::Capture)
		worker::registry_start_at_commit();
	else
		worker::registry_cleanup_run_at_commit();
}

void
set_started(Job &job, JobType type, bool started)
{
	if (DatumGetBool(job.row[kJbStarted]) == started)
		return;
	job.row.set(kJbStarted, BoolGetDatum(started));
	if (started && type == JobType::Cleanup)
		job.row.set(kJbScheduleFrom, TimestampTzGetDatum(GetCurrentTimestamp()));
	job_store(job);
}

/* One row of sp_cdc_help_jobs. */
struct HelpRow
{
	static constexpr int kColumns = 23;
	Datum values[kColumns];
	bool nulls[kColumns];
	int next;

	void
	add(Datum value)
	{
		nulls[next] = false;
		values[next++] = value;
	}
	void
	add_null()
	{
		nulls[next] = true;
		values[next++] = Datum(0);
	}
	void
	add_text(const char *value)
	{
		if (value == nullptr || value[0] == '\0')
			add_null();
		else
			add(CStringGetTextDatum(value));
	}
	void
	add_column(const Row<kJbColumns> &row, AttrNumber attribute)
	{
		nulls[next] = row.is_null(attribute);
		values[next++] = row.values[attribute - 1];
	}
};

void
add_help_row(ReturnSetInfo *result, JobType type, Job &job, const DatabaseEntry *entry)
{
	HelpRow row = {};
	bool capture = type == JobType::Capture;

	row.add_column(job.row, kJbJobId);
	row.add_column(job.row, kJbJobType);
	row.add_text(psprintf("cdc.%s_%s", get_database_name(MyDatabaseId), job_type_name(type)));
	for (AttrNumber attribute :
		 {kJbMaxtrans, kJbMaxscans, kJbContinuous, kJbPollinginterval, kJbRetention, kJbThreshold,
		  kJbStarted, kJbStartTime, kJbEvery, kJbActiveWindow})
		row.add_column(job.row, attribute);

	TimestampTz next_run = DT_NOEND;
	int pid = 0;
	const char *doing = nullptr;
	if (entry != nullptr && capture)
	{
		pid = entry->writer_pid;
		doing = worker::capture_state_name(entry->state);
		if (entry->state == CaptureState::OutsideWindow)
			next_run = entry->restart_at;
	}
	else if (entry != nullptr)
	{
		pid = entry->cleanup.running == CleanupTask::Job ? entry->cleanup.pid : 0;
		doing = pid != 0 ? entry->cleanup.doing : nullptr;
		next_run = Max(entry->cleanup.due_at, entry->cleanup.restart_at);
	}
	if (next_run == DT_NOEND || next_run == DT_NOBEGIN || next_run == 0)
		row.add_null();
	else
		row.add(TimestampTzGetDatum(next_run));
	row.add(BoolGetDatum(pid != 0));
	if (pid != 0)
		row.add(Int32GetDatum(pid));
	else
		row.add_null();
	row.add_text(doing);

	std::optional<CleanupRun> run = capture ? std::nullopt : cleanup_run_last_job();
	if (!run)
	{
		while (row.next < HelpRow::kColumns)
			row.add_null();
	}
	else
	{
		bool live = run->status == RunStatus::Running && pid != 0;
		row.add(TimestampTzGetDatum(run->started_at));
		if (run->ended_at != 0)
			row.add(TimestampTzGetDatum(run->ended_at));
		else
			row.add_null();
		row.add_text(run_status_text(run->status));
		row.add(Int64GetDatum(live ? entry->cleanup.leaves_dropped : run->leaves_dropped));
		row.add(Int64GetDatum(live ? entry->cleanup.rows_deleted : run->rows_deleted));
		row.add_text(run->message);
	}
	tuplestore_putvalues(result->setResult, result->setDesc, row.values, row.nulls);
}

} // namespace

} // namespace cdc::jobs

using namespace cdc;
using namespace cdc::catalog;
using namespace cdc::jobs;

/* sp_cdc_add_job(job_type, start_job, maxtrans, ...) */
CDC_FUNCTION(cdc_add_job)
{
	JobType type = begin(fcinfo, "sp_cdc_add_job");
	Parameters p = parameters_from(fcinfo, 2);
	bool start_job = arg_bool(fcinfo, 1).value_or(true);

	check_applicable(type, p);
	check_ranges(p);
	if (p.continuous && !*p.continuous && p.pollinginterval && *p.pollinginterval != 0)
		error_polling_when_not_continuous(*p.pollinginterval);
	if (start_job)
		worker::require_entry();

	jobs_lock();
	if (job_find(type))
		ereport(ERROR, (errcode(ERRCODE_DUPLICATE_OBJECT),
						errmsg("%s job exists already", job_type_name(type)),
						errdetail("A database has one job of each type."),
						errhint("CALL cdc.sp_cdc_change_job('%s', ...) changes it.",
								job_type_name(type))));
	Row<kJbColumns> row = job_defaults(type);
	apply(row, p);
	row.set(kJbStarted, BoolGetDatum(start_job));
	job_insert(row);
	if (start_job)
		start_at_commit(type);
	PG_RETURN_VOID();
}

/* sp_cdc_change_job(job_type, maxtrans, ...) */
CDC_FUNCTION(cdc_change_job)
{
	JobType type = begin(fcinfo, "sp_cdc_change_job");
	Parameters p = parameters_from(fcinfo, 1);

	check_applicable(type, p);
	check_ranges(p);
	jobs_lock();
	Job job = job_require(type);
	/* Without a loop there is nothing to wait between. */
	if (p.continuous && !*p.continuous)
		p.pollinginterval = 0;
	apply(job.row, p);
	job_store(job);
	if (type == JobType::Cleanup)
		worker::registry_cleanup_look_at_commit();
	PG_RETURN_VOID();
}

/* sp_cdc_drop_job(job_type) */
CDC_FUNCTION(cdc_drop_job)
{
	JobType type = begin(fcinfo, "sp_cdc_drop_job");
	DatabaseEntry *entry = worker::require_entry();

	jobs_lock();
	(void)job_require(type);
	job_delete(type);
	stop_at_commit(fcinfo, entry, type);
	PG_RETURN_VOID();
}

/* sp_cdc_start_job(job_type text) */
CDC_FUNCTION(cdc_start_job)
{
	JobType type = begin(fcinfo, "sp_cdc_start_job");
	DatabaseEntry *entry = worker::require_entry();
	if (type == JobType::Capture)
		worker::require_no_gap();

	jobs_lock();
	Job job = job_require(type);
	if (type == JobType::Cleanup &&
		(entry->cleanup.running == CleanupTask::Job || entry->cleanup.job_wanted))
		ereport(ERROR, (errcode(ERRCODE_OBJECT_IN_USE), errmsg("cleanup job is running already"),
						errdetail("SQL Server error 22022: the request to run it is refused."),
						errhint("SELECT * FROM cdc.sp_cdc_help_jobs() shows what it does; CALL "
								"cdc.sp_cdc_stop_job('cleanup') ends the run.")));
	set_started(job, type, true);
	start_at_commit(type);
	PG_RETURN_VOID();
}

/* sp_cdc_stop_job(job_type text) */
CDC_FUNCTION(cdc_stop_job)
{
	JobType type = begin(fcinfo, "sp_cdc_stop_job");
	DatabaseEntry *entry = worker::require_entry();

	jobs_lock();
	Job job = job_require(type);
	set_started(job, type, false);
	stop_at_commit(fcinfo, entry, type);
	PG_RETURN_VOID();
}

/* sp_cdc_help_jobs() */
CDC_FUNCTION(cdc_help_jobs)
{
	require_database_owner("sp_cdc_help_jobs");
	database_require_enabled();
	InitMaterializedSRF(fcinfo, 0);
	auto *result = reinterpret_cast<ReturnSetInfo *>(fcinfo->resultinfo);

	DatabaseEntry *entry = worker::registry_find(MyDatabaseId);
	DatabaseEntry *copy = nullptr;
	if (entry != nullptr)
	{
		copy = static_cast<DatabaseEntry *>(palloc(sizeof(DatabaseEntry)));
		with_lock(shmem_get()->lock, LW_SHARED, [&] {
			memcpy(static_cast<void *>(copy), static_cast<void *>(entry), sizeof(*copy));
		});
	}
	for (JobType type : {JobType::Capture, JobType::Cleanup})
		if (std::optional<Job> job = job_find(type))
			add_help_row(result, type, *job, copy);
	return static_cast<Datum>(0);
}
