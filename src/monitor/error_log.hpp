/*
 * error_log.hpp
 *	  The errors of dm_cdc_errors: noted in shared memory at once, stored in cdc._errors as soon as
 *	  somebody can.
 *
 * NOTES
 *	  A process that fails notes its error, gets rid of its transaction, and stores the error in a
 *	  new one, flushed to disk, before it ends: so errors survive restarts and crashes. The decoder's is
 *	  stored by its writer, and what could not be stored (disk full, no connection) by the next
 *	  worker that starts; until then it is read from shared memory.
 *
 *	  An error that repeats the newest one only raises its count. cdc._errors keeps the errors of the last
 *	  kKeptSessions sessions (each error outside a session counts as one), kKeptErrors at most.
 */
#pragma once

#include "cdc.hpp"

#include "monitor/monitor_state.hpp"

namespace cdc::monitor
{

constexpr int kKeptSessions = 32;
constexpr int kKeptErrors = 128;

/* Where an error happened. Zeros: not inside a session. */
struct ErrorPlace
{
	int32 session_id;
	ScanPhase phase;
	XLogRecPtr start_lsn;	   /* of the session */
	XLogRecPtr begin_lsn;	   /* of the transaction that was being processed */
	XLogRecPtr sequence_value; /* of the row that was being processed */
};

/*
 * Notes an error in shared memory. `process` is capture, decoder, cleanup, launcher or enable. `number` is
 * SQL Server's, for errors whose detail does not begin with "SQL Server error N"; 0: none.
 * Needs no transaction, does not raise.
 */
void error_log_note(const DatabaseEntry *entry, const char *process, const ErrorData &error,
					int number, const ErrorPlace &place = {});

/* The same for the capture worker or the decoder: ends or makes a session that has failed. */
void error_log_note_scan(DatabaseEntry *entry, const char *process, const ErrorData &error,
						 ScanPhase phase, XLogRecPtr begin_lsn, XLogRecPtr sequence_value);

/*
 * Stores what is noted and not stored yet, in a transaction of its own that is flushed to disk. Must be
 * called outside a transaction, in a process with a database connection. Does not raise: what
 * cannot be stored is logged and stays in shared memory.
 */
void error_log_store(const DatabaseEntry *entry);

} // namespace cdc::monitor
