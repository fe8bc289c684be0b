/*
 * monitor_state.hpp
 *	  What monitoring keeps in shared memory: one MonitorEntry for each DatabaseEntry, and the counters of
 *	  capture instances.
 *
 * NOTES
 *	  Since the server's start: nothing here is needed for correctness. What has to survive a
 *	  restart is written to cdc._errors (error_log.hpp).
 *
 *	  MonitorState::lock protects everything that is not an atomic. It may be taken while SharedState::lock
 *	  is held, never the other way round, and is held over nothing that can raise or allocate.
 *	  Each atomic is written by one process, named at the field.
 */
#pragma once

#include "cdc.hpp"

#include "base/shmem.hpp"

namespace cdc::monitor
{

constexpr int kScanSessions = 100;
constexpr int kPendingErrors = 8;
constexpr int kInstanceCounters = 4096;
constexpr int kHealthItems = 16;
constexpr int kErrorTextBytes = 1024;
constexpr int kProcessBytes = 24;

/* Where a scan is; numbers and, where there is one, meaning are SQL Server's. */
enum class ScanPhase : uint8
{
	None = 0,
	Configuration = 1,
	Reading = 2,
	Writing = 3,
	SchemaVersioning = 6,
	Committing = 7,
	Done = 8,
};

/* One row of dm_cdc_log_scan_sessions. */
struct ScanSession
{
	int32 session_id;
	ScanPhase phase; /* of a session that has ended: where it ended */
	TimestampTz start_time;
	TimestampTz end_time; /* 0: active */
	int64 duration_us;	  /* of sessions with captured transactions */
	int64 latency_us;
	XLogRecPtr start_lsn;
	XLogRecPtr current_lsn;
	XLogRecPtr end_lsn;
	int64 tran_count;
	XLogRecPtr last_commit_lsn;
	TimestampTz last_commit_time;
	int64 log_record_count;
	int64 command_count;
	XLogRecPtr first_begin_cdc_lsn;
	XLogRecPtr last_commit_cdc_lsn;
	TimestampTz last_commit_cdc_time;
	int32 schema_change_count;
	int32 error_count;
	int32 empty_scan_count;
	int32 failed_sessions_count;
};

/* An error that may not be in cdc._errors yet. */
struct PendingError
{
	TimestampTz entry_time; /* 0: no error here. Tells errors apart */
	bool saved;				/* it is in cdc._errors */
	int32 session_id;
	int32 phase;
	int32 number; /* SQL Server's; 0: it has none */
	int sqlstate;
	XLogRecPtr start_lsn;
	XLogRecPtr begin_lsn;
	XLogRecPtr sequence_value;
	char process[kProcessBytes];
	char message[kErrorTextBytes];
	char detail[kErrorTextBytes];
	char hint[kErrorTextBytes];
};

/* What the launcher has told the server log about one check. */
struct HealthMemory
{
	bool critical;
	TimestampTz logged_at;
};

struct MonitorEntry
{
	/* --- protected by MonitorState::lock --- */
	int32 last_session; /* id of the newest, 0: none */
	ScanSession sessions[kScanSessions];
	ScanSession total;		/* row 0 */
	uint64 counted_records; /* of records_read, those that are in a session */
	int next_error;
	PendingError errors[kPendingErrors];
	HealthMemory health[kHealthItems]; /* the launcher's */
	bool had_slot; /* the launcher has seen it: nobody of us has dropped it since */

	/* --- atomics --- */
	pg_atomic_uint32 phase;			   /* writer: ScanPhase */
	pg_atomic_uint64 records_read;	   /* decoder: WAL records, since the server started */
	pg_atomic_uint64 last_commit_lsn;  /* decoder: last commit it has read ... */
	pg_atomic_uint64 last_commit_time; /* ... and its time */
	pg_atomic_uint64 drained_at;	   /* decoder: when it had last read all there was to read */
	pg_atomic_uint64 caught_up_at;	   /* writer: all that was committed before is captured */
};

/* Row changes captured for an instance since the server started. Written by its database's writer. */
struct InstanceCounters
{
	struct Key
	{
		Oid database_oid;
		int32 instance_id;
	} key;
	pg_atomic_uint64 inserts;
	pg_atomic_uint64 updates;
	pg_atomic_uint64 deletes;
	pg_atomic_uint64 last_lsn;	/* commit LSN of the last change */
	pg_atomic_uint64 last_time; /* its commit time */
};

struct MonitorState
{
	LWLock *lock;
	MonitorEntry entries[FLEXIBLE_ARRAY_MEMBER]; /* as SharedState::entries */
};

/* For shmem.cpp, with the hooks of the same names; `lock` is the monitor's own. */
Size monitor_state_size(int nentries);
void monitor_state_create(int nentries, LWLock *lock);

/* NULL when the library was not preloaded. */
MonitorState *monitor_state();

/* The part that belongs to a database's entry. */
MonitorEntry *monitor_entry(const DatabaseEntry *entry);

/* The entry begins a new life. The caller holds SharedState::lock; takes MonitorState::lock. */
void monitor_state_forget(const DatabaseEntry *entry);

/*
 * The counters of an instance of this database, made when they are missing; NULL when there is no room:
 * they are not counted then. They stay where they are until instance_counters_remove.
 */
InstanceCounters *instance_counters_get(int32 instance_id);
void instance_counters_remove(int32 instance_id);

/* What they say now; false: there are none. */
struct InstanceCounts
{
	int64 inserts;
	int64 updates;
	int64 deletes;
	XLogRecPtr last_lsn;
	TimestampTz last_time;
};

bool instance_counters_read(int32 instance_id, InstanceCounts *counts);

} // namespace cdc::monitor
