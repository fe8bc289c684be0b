/*
 * database.hpp
 *	  What makes a database enabled: its identity row, and the durable progress of its capture.
 *
 * NOTES
 *	  All functions need a transaction. Rows are written below the executor: no trigger or rule
 *	  that somebody put on these tables runs in our workers.
 */
#pragma once

#include "cdc.hpp"

namespace cdc::catalog
{

struct Identity
{
	uint64 system_identifier;
	TimeLineID timeline;
	Oid database_oid;
	NameData slot_name;
	XLogRecPtr start_lsn;
};

/* Durable with each batch of change rows; see cdc._progress. */
struct Progress
{
	XLogRecPtr captured_lsn;   /* end LSN: transactions that end at or before are captured */
	int64 next_ordinal;		   /* of the next change */
	XLogRecPtr last_start_lsn; /* newest row of lsn_time_mapping */
	TimestampTz last_end_time; /* its time: the next is never earlier */
};

/* Parameters of the capture job; started false: sp_cdc_stop_job was called. */
struct CaptureJob
{
	bool exists;
	bool started;
	int maxtrans;
	int maxscans;
	bool continuous;
	int64 pollinginterval;
	const char *active_window; /* NULL: always; in the current memory context */
};

/* False when the extension is not installed or the database is not enabled. */
bool database_read_identity(Identity *identity);

/* Whether there are instances or a progress, with or without an identity row. Needs a transaction. */
bool database_has_remains();

/* Whether there are some although there is no identity row: somebody has deleted it. Needs a transaction. */
bool database_lacks_identity();

/* The error of a database that has remains but no identity. */
[[noreturn]] void error_identity_missing();

/* Stores identity and first progress: the moment at which the database is enabled. */
void database_mark_enabled(const NameData &slot_name, XLogRecPtr start);

/* The timeline has moved on and the slot with it. */
void database_update_timeline(TimeLineID timeline);

CaptureJob database_read_capture_job();

/* Reads the progress row and where it is; raises when it is missing. */
Progress progress_read(ItemPointer tid);

/* Replaces the row at *tid and moves *tid to the new version. */
void progress_write(Relation relation, ItemPointer tid, const Progress &progress);

} // namespace cdc::catalog
