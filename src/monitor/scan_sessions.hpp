/*
 * scan_sessions.hpp
 *	  Scan sessions: what the capture worker says about its work, for dm_cdc_log_scan_sessions.
 *
 * NOTES
 *	  The continuous job's session is a burst: from the first change to an empty queue. Bursts that begin
 *	  within a second of a session's start go on in that session, so there is one row a second at most.
 *	  Everything else (sp_cdc_scan, a job with a wait or that is not continuous) has
 *	  one session for each call, or group of scans. Sessions without captured
 *	  transactions fold into one row, and so do those that fail before they captured anything.
 *
 *	  Called by the capture worker, at most once a batch; a phase is one store. Nothing raises.
 */
#pragma once

#include "cdc.hpp"

#include "monitor/monitor_state.hpp"

namespace cdc::monitor
{

/* What one batch has captured. */
struct BatchCounts
{
	int64 transactions;
	int64 changes;
	int32 schema_changes;
	XLogRecPtr first_begin_lsn;
	XLogRecPtr last_commit_lsn;
	TimestampTz last_commit_time;
};

/*
 * The capture worker begins. grouped: it says itself where sessions begin and end; else a
 * session begins with the first change. An open session ends with the process.
 */
void scan_sessions_attach(DatabaseEntry *entry, bool grouped);

void scan_session_phase(ScanPhase phase);
ScanPhase scan_session_phase_now();

/* A session begins here, unless one is open. */
void scan_session_begin();

/* A batch has been committed; everything up to current_lsn is captured. */
void scan_session_note(const BatchCounts &counts, XLogRecPtr current_lsn);

/* The open session ends; without captured transactions it is an empty scan. */
void scan_session_end(XLogRecPtr end_lsn);

/*
 * The queue is empty and everything is committed. Ends the burst; when nothing was captured
 * although other processes have written up to read_lsn, counts an empty scan, one a second at most.
 */
void scan_session_drained(XLogRecPtr read_lsn, XLogRecPtr own_commit_lsn);

/*
 * An error ends the open session of this database, or makes one that has failed. From any process.
 * Returns a copy of it, its id 0 without shared memory.
 */
ScanSession scan_session_fail(DatabaseEntry *entry, ScanPhase phase);

const char *scan_phase_name(ScanPhase phase);

} // namespace cdc::monitor
