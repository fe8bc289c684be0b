/*
 * cleanup_control.hpp
 *	  Cleanup of each database as shared memory knows it: who asks for what, who runs, when to look again.
 *
 * NOTES
 *	  The launcher has no database connection and cannot read a job row. It knows one time for each
 *	  database, due_at, at which a cleanup worker is to look: at once after a server start or a change of
 *	  the job, else what the last worker has said. The worker reads the row, runs the job when it is due, and
 *	  says when to look again. Nothing here is needed after a crash.
 *
 *	  At most one cleanup worker for a database. The functions take the lock themselves unless they say
 *	  otherwise, need no transaction and do not raise.
 */
#pragma once

#include "cdc.hpp"

#include "base/shmem.hpp"

namespace cdc::jobs
{

/* What a worker was started for. */
struct CleanupWork
{
	CleanupTask task;
	int32 instance_id; /* Table */
	int64 threshold;   /* Table */
};

/* A new entry: nothing to look at until somebody says so. The caller holds the lock. */
void cleanup_reset(DatabaseEntry *entry);

/* Capture has begun to run here: the job row is looked at unless that has been done. The caller holds the lock. */
void cleanup_note_capture(DatabaseEntry *entry);

/* A worker is attached, on its way, or asked for. The caller holds the lock. */
bool cleanup_is_busy(const DatabaseEntry &entry);

/* A worker is attached or on its way. */
bool cleanup_is_running(const DatabaseEntry &entry);

/* From backends and the launcher: have the job row looked at; run the job; end the running worker after its step. */
void cleanup_look_again(DatabaseEntry *entry);
void cleanup_run_job(DatabaseEntry *entry);
void cleanup_stop(DatabaseEntry *entry);

/* Waits until no worker is at this task. Cancellable. */
void cleanup_wait_until_ended(DatabaseEntry *entry, CleanupTask task);

/*
 * Asks for one change table and returns the request's id, 0 when another request is pending. The result is
 * there when finished_request_id has reached it, and is kept until it is taken.
 */
uint64 cleanup_request_table(DatabaseEntry *entry, int32 instance_id, int64 threshold);

/* Takes the result of a finished request: false with a message (palloc'd) when it failed. */
bool cleanup_take_result(DatabaseEntry *entry, const char **message);

/* Withdraws the request of this process, and ends the worker that is at it. */
void cleanup_withdraw(DatabaseEntry *entry);

/* Launcher: whether a worker is to be started now; *nap shrinks to the time until then. */
bool cleanup_is_due(DatabaseEntry *entry, long *nap);
void cleanup_mark_registered(DatabaseEntry *entry, bool registered);

/* Launcher: no worker could be started. */
void cleanup_could_not_start(DatabaseEntry *entry, const char *message);

/* Launcher: withdraws the request of a backend that is gone. */
void cleanup_check_requester(DatabaseEntry *entry);

/* Worker: enters itself, and is taken out at process exit. task None: nothing to do any more. */
CleanupWork cleanup_attach(DatabaseEntry *entry);

/* Worker: the job was found due and runs from now on. */
void cleanup_note_job(DatabaseEntry *entry);

/* Worker: the run is over as far as others are concerned; the job may be asked for again. */
void cleanup_note_end(DatabaseEntry *entry);

/* Worker: what it does, shown by sp_cdc_help_jobs, and the counters of its run. */
void cleanup_show(DatabaseEntry *entry, const char *doing, int64 leaves, int64 rows);

/* Worker: ends the table request; message NULL: it went well. */
void cleanup_finish_request(DatabaseEntry *entry, const char *message);

/* Worker: it has done what it came for; look again at this time. */
void cleanup_look_at(DatabaseEntry *entry, TimestampTz time);

} // namespace cdc::jobs
