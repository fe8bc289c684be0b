/*
 * cleanup_runs.hpp
 *	  cdc.cleanup_runs: what cleanup has done, and what the schedule counts from.
 *
 * NOTES
 *	  Written by the cleanup worker only, one at a time, below the executor. A row that says "running" while
 *	  no worker runs was left by one that has died. All functions need a transaction.
 */
#pragma once

#include "cdc.hpp"

namespace cdc::jobs
{

enum class RunStatus : uint8
{
	Running,
	Succeeded,
	Failed,		 /* at least one table or step did not get through; tried again after a back-off */
	Stopped,	 /* by sp_cdc_stop_job */
	Interrupted, /* the worker died */
};

struct CleanupRun
{
	int64 run_id; /* 0: not stored yet */
	bool is_job;  /* else one change table */
	TimestampTz started_at;
	TimestampTz ended_at; /* 0: not yet */
	RunStatus status;
	XLogRecPtr low_water_mark; /* InvalidXLogRecPtr: none */
	int64 leaves_dropped;
	int64 rows_deleted;
	int64 mapping_rows_deleted;
	const char *message; /* the first error, or NULL */
};

const char *run_status_text(RunStatus status);

/* Stores a new run and sets run_id, or writes the stored one anew. The oldest go when there are more than 100. */
void cleanup_run_store(CleanupRun &run);

/* The newest run of the job; its message in the current memory context. */
std::optional<CleanupRun> cleanup_run_last_job();

/* Marks runs that nobody is at any more. Returns whether a run of the job was among them. */
bool cleanup_runs_mark_interrupted();

/* How many runs of the job, the newest first, have not succeeded without being stopped. */
int cleanup_runs_failed_in_a_row();

} // namespace cdc::jobs
