/*
 * shmem.hpp
 *	  The extension's shared memory: one entry per database that is, or is about to be, captured.
 *
 * NOTES
 *	  Reserved at server start, only when the library is preloaded; shmem_get() is NULL otherwise
 *	  and every caller says so with error_not_preloaded().
 *
 *	  Locks. `SharedState::lock` protects the assignment of entries to databases and every field
 *	  of an entry that is not an atomic. It is never held over anything that can raise, allocate or
 *	  wait. The only other lock of ours, MonitorState::lock, is taken after it. Atomics are written by one process each (named at
 *	  the field) and read by anybody.
 *
 *	  Nothing here is needed for correctness after a crash: it is rebuilt from slots and tables.
 */
#pragma once

#include "cdc.hpp"

extern "C" {
#include "port/atomics.h"
#include "storage/condition_variable.h"
}

namespace cdc
{

/* What the launcher shall do for a database. */
enum class WorkerMode : uint8
{
	Stopped,	/* run nothing until somebody asks */
	Continuous, /* the capture job: restart whenever it ends */
	Scan,		/* sp_cdc_scan: run once and report */
	CreateSlot, /* sp_cdc_enable_db: a decoder that makes the slot and ends */
};

/* What a database's capture worker is doing, as pg_stat_cdc shows it. */
enum class CaptureState : uint8
{
	Stopped,	 /* job stopped, or nothing to do */
	Starting,	 /* requested or registered, not yet attached */
	CatchingUp,	 /* reading WAL that is already there */
	Streaming,	 /* caught up, waiting for commits */
	Failed,		 /* ended with an error, will be restarted after the back-off */
	NeedsAction, /* cannot go on without the administrator (a gap) */
	WaitingForLock, /* on a change table whose columns must change: pg_stat_activity.query has the pids. Other locks:
					 * capture_state_seen */
	OutsideWindow, /* started, but it is not the time of day for it: goes on at restart_at */
};

constexpr int kErrorMessageBytes = 512;

/* Parameters of one run; filled before the worker is registered. */
struct ScanParameters
{
	int maxtrans;
	int maxscans;
	bool continuous;
	int64 pollinginterval; /* seconds */
};

/* What a cleanup worker is started for. */
enum class CleanupTask : uint8
{
	None,
	Schedule, /* look at the job, run it when it is due, say when to look again */
	Job,	  /* sp_cdc_start_job: run it now */
	Table,	  /* sp_cdc_cleanup_change_table: one change table */
};

/* Cleanup of one database; operations in jobs/cleanup_control.hpp. Protected by SharedState::lock. */
struct CleanupControl
{
	TimestampTz due_at; /* Schedule: not before; DT_NOBEGIN: now; DT_NOEND: nothing to look at */
	TimestampTz restart_at; /* no worker before, after one that failed */
	bool looked;			/* somebody has looked since this entry was assigned */
	int failures;			/* workers in a row that ended without saying how to go on */
	bool job_wanted;		/* Job is asked for */
	bool registered;		/* the launcher has registered a worker that has not attached yet */
	int pid;				/* 0: none attached */
	PGPROC *proc;			/* valid while pid is set */
	CleanupTask running;
	bool stop_requested; /* the running worker shall end after its step */

	/* Table: one request at a time */
	int requester_pid; /* until it has taken the result; 0: no request */
	uint64 request_id;
	uint64 finished_request_id;
	int32 instance_id;
	int64 threshold;
	bool request_failed;
	char request_message[kErrorMessageBytes];

	/* for who looks */
	char doing[kErrorMessageBytes];
	int64 leaves_dropped;
	int64 rows_deleted;
};

struct DatabaseEntry
{
	/* --- protected by SharedState::lock --- */
	Oid database_oid; /* InvalidOid: the entry is free */
	WorkerMode mode;
	CaptureState state;
	bool stop_requested;		/* the running worker shall end cleanly */
	int hold_pid;				/* backend that forbids workers here (disable, drop); 0: none */
	int writer_pid;				/* 0: none attached */
	int decoder_pid;			/* 0: none attached */
	PGPROC *writer_proc;		/* valid while writer_pid is set */
	PGPROC *decoder_proc;		/* valid while decoder_pid is set */
	int requester_pid;			/* who waits for Scan or CreateSlot, or 0 */
	bool registered;			/* the launcher has registered a worker that has not attached yet */
	uint64 request_id;			/* raised with each Scan or CreateSlot request */
	uint64 finished_request_id; /* the last one that ended */
	bool request_failed;		/* how it ended */
	uint64 starts;				/* raised whenever somebody has the job started */
	int failures;				/* consecutive ends with an error, for the back-off */
	TimestampTz restart_at;		/* not before */
	TimestampTz started_at;		/* when the current writer attached */
	TimestampTz assigned_at;	/* when somebody was given this entry last */
	ScanParameters scan;
	int last_error_code; /* SQLSTATE as the server packs it; 0: none */
	TimestampTz last_error_time;
	char last_error_message[kErrorMessageBytes];
	char last_error_detail[kErrorMessageBytes];
	char last_error_hint[kErrorMessageBytes];
	CleanupControl cleanup;

	/* --- atomics --- */
	pg_atomic_uint32 decoder_sleeping; /* decoder sets, who clears it sets the decoder's latch */
	pg_atomic_uint64 captured_lsn;	   /* writer: everything that ends at or before is visible */
	pg_atomic_uint64 written_lsn;	   /* writer: end of the last captured commit */
	pg_atomic_uint64 read_lsn;		   /* decoder: WAL read so far */
	pg_atomic_uint64 confirmed_lsn;	   /* decoder: slot confirmed up to */
	pg_atomic_uint64
		standbys_awaited_since;		   /* decoder: TimestampTz; 0: it does not wait for standbys */
	pg_atomic_uint64 last_commit_time; /* writer: TimestampTz of the last captured commit */
	pg_atomic_uint64 transactions;	   /* writer: source transactions captured since start */
	pg_atomic_uint64 changes;		   /* writer: source row changes */
	pg_atomic_uint64 rows;			   /* writer: change-table rows */

	pg_atomic_uint64 writing_lsn; /* writer: commit LSN of the transaction it takes, or took last */
	pg_atomic_uint64 wanted_lsn; /* wait_for_capture: a polling worker goes on at once up to here */

	ConditionVariable progress_cv; /* broadcast when captured_lsn, state or a request's end moves */
};

struct SharedState
{
	LWLock *lock;
	int launcher_pid;		/* lock */
	Latch *launcher_latch;	/* lock */
	bool origins_looked_at; /* lock; by the finder, since the launcher started */
	bool finder_answered;	/* lock; finder_next is an answer */
	Oid finder_database;	/* lock; where it connects to, for the launcher */
	Oid finder_after;		/* lock; databases up to here need no look any more */
	Oid finder_next;		/* lock; the next one to be looked into */
	int nentries;
	DatabaseEntry entries[FLEXIBLE_ARRAY_MEMBER];
};

/* Called from _PG_init while preloading: reserves the memory and installs the hooks. */
void shmem_init();

/* The shared state, or NULL when the library was not preloaded. */
SharedState *shmem_get();

/* Raises 55000 with the line for postgresql.conf when the library was not preloaded. */
SharedState *shmem_require();

} // namespace cdc
