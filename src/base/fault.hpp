/*
 * fault.hpp
 *	  Fault points: named places in the code where a test has something go wrong.
 *
 * NOTES
 *	  Only in the library that the TAP tests run with (make cdc_fault.so). Without CDC_FAULT_POINTS a point
 *	  is no code at all, and there is neither the setting nor its name. Points are in .cpp files only: those are what is
 *	  compiled a second time.
 *
 *	  Setting cdc.fault: a list such as `writer-commit:kill:3, decoder-send:error`. Each entry is a point, what
 *	  happens there, and at which passing of one process (the first). Actions: `kill` (SIGKILL to itself), `error` (an
 *	  ordinary ERROR), `oom` (the ERROR of a failed allocation), `panic`, and `pause` (waits until its mark is empty or gone;
 *	  can be cancelled). With `+` after the number it happens at each passing from that one on.
 *
 *	  What has happened leaves a mark, the file cdc_fault/<point> in the data directory, which survives crashes.
 *	  While the mark is there the point does nothing more (but for `+`): a server that comes back after a kill is not
 *	  killed again. Emptying the mark ends a pause, removing it also arms the point again.
 *
 *	  Setting cdc.fault_longest_row: the length in bytes that a change row may have; 0: as in a released library.
 *
 *	  Setting cdc.fault_points, read only, is the list below. t/100_fault_points.pl and its neighbours try each of
 *	  them: a point that no test reaches fails there.
 */
#pragma once

#include "cdc.hpp"

namespace cdc
{

inline constexpr std::string_view kFaultPoints[] = {
	/* Decoder: from WAL to the queue, and confirming. */
	"decoder-start",		   /* it has the slot, and no decoding context yet */
	"decoder-change",		   /* a change of a captured table is in the buffer */
	"decoder-event",		   /* a row of _ddl_queue is in the buffer */
	"decoder-commit",		   /* a source transaction is in the buffer as a whole */
	"decoder-send",			   /* before a chunk goes into the queue */
	"decoder-sent",			   /* after it */
	"decoder-mid-transaction", /* a chunk has gone that ends inside a source transaction */
	"decoder-confirm",		   /* a progress is on disk, the slot does not know */
	"decoder-confirmed",	   /* the slot knows, nobody has been told */

	/* Writer: from the queue to the change tables. */
	"writer-unwanted",	   /* it has read that its job is stopped, and has not said so */
	"writer-start",		   /* it has read the progress, there is no decoder yet */
	"writer-begin",		   /* the transaction of a batch has begun */
	"writer-chunk",		   /* the rows of a chunk are in the change tables, the batch is open */
	"writer-multi-insert", /* rows are in the heap and not in its indexes */
	"writer-mapping",	   /* before the mapping row of a source transaction */
	"writer-progress",	   /* rows and mapping are written, the progress is not */
	"writer-commit",	   /* before the commit of a batch */
	"writer-committed",	   /* after it; the decoder is not told */
	"writer-published",	   /* the decoder is told; who waits is not */
	"writer-position",	   /* before a progress is written for foreign WAL alone */
	"writer-idle-mapping", /* before a dummy mapping row */
	"writer-leave",		   /* it ends because it was told to, everything is committed */
	"leaf-create",		   /* a leaf is there and not attached */
	"leaf-attach",		   /* it is attached, the transaction is open */
	"event-apply",		   /* an event has taken effect, its transaction is open */
	"type-change-begin",   /* the change table is locked */
	"type-change-columns", /* columns are there, functions and view are not */
	"type-change-end",	   /* all is altered, the catalog does not say so */
	"gap-record",		   /* a gap is recorded, the transaction is open */
	"gap-close",		   /* a gap is closed, the transaction is open */
	"change-table-drop",   /* before the change table of a removed instance goes */
	"instance-remove", /* the instance of a dropped source is removed, the transaction is open */

	/* Slot creator, for enable_db and resume_after_gap. */
	"slot-request",	  /* it has begun, and looked whether it is needed */
	"slot-begin",	  /* the former slot is gone, there is no new one */
	"slot-create",	  /* an ephemeral slot is there */
	"slot-persist",	  /* it is usable, and still ephemeral */
	"slot-persisted", /* it is there for good, and nobody's */
	"creator-gone",	  /* it is on its way out, and nobody counts on it any more */
	"enable-commit",  /* before the commit of the identity row */
	"enable-done",	  /* after it; the caller is not told */
	"resume-commit",  /* before the commit of the new identity and progress */

	/* Backends. */
	"enable-db-request",	 /* the database has been found not enabled */
	"enable-db-wait",		 /* the request for a slot is made */
	"enable-table-identity", /* the replica identity is changed */
	"enable-table-create",	 /* the change table is there, its rows in the catalog are not */
	"enable-table-end",		 /* all is done, the transaction is open */
	"disable-table-removed", /* instances are removed, the replica identity is not restored */
	"disable-table-end",	 /* all is done, the transaction is open */
	"disable-db-stopped",	 /* the workers are gone */
	"disable-db-removed",	 /* before the commit of the removal */
	"disable-db-committed",	 /* after it; the slot is there */
	"disable-db-end",		 /* the slot is gone */
	"scan-wait",			 /* sp_cdc_scan has made its request */
	"cleanup-mark-stored",	 /* sp_cdc_cleanup_change_table has committed the mark */
	"resume-stopped",		 /* resume_after_gap has stopped the workers */
	"discard-recorded",		 /* discard_kept_wal has committed the gap; the slot is there */
	"ddl-queue",			 /* a row for the writer, in the transaction of a user */

	/* Cleanup worker. */
	"cleanup-begin",   /* the run is recorded */
	"cleanup-mark",	   /* low ends are raised, the transaction is open */
	"cleanup-marked",  /* they are committed, nothing is removed */
	"cleanup-detach",  /* before a leaf is detached */
	"cleanup-drop",	   /* it is detached and there */
	"cleanup-dropped", /* it is gone, the transaction is open */
	"cleanup-delete",  /* rows of the boundary leaf are deleted, the transaction is open */
	"cleanup-mapping", /* rows of the mapping are deleted, the transaction is open */
	"cleanup-end",	   /* all is removed, the run is not recorded as ended */

	/* Launcher and finder. */
	"launcher-start",	   /* before its first look */
	"launcher-register",   /* a worker is about to be registered, shared memory says so already */
	"launcher-registered", /* after it */
	"finder-look",		   /* databases are found, nobody is told */

	/* What failures do. */
	"error-note",  /* before an error is kept */
	"error-store", /* an error is stored, the transaction is open */
};

constexpr int
fault_index(std::string_view name)
{
	for (size_t i = 0; i < std::size(kFaultPoints); i++)
		if (kFaultPoints[i] == name)
			return static_cast<int>(i);
	return -1;
}

#ifdef CDC_FAULT_POINTS

extern bool fault_armed;
extern int fault_longest_row;

/* Defines the settings. */
void fault_init();

/* What is asked for at this point, if anything. */
void fault_pass(int point);

#define CDC_FAULT(name)                                                                            \
	do                                                                                             \
	{                                                                                              \
		static_assert(::cdc::fault_index(name) >= 0, "not in the list of fault points");           \
		if (unlikely(::cdc::fault_armed))                                                          \
			::cdc::fault_pass(::cdc::fault_index(name));                                           \
	} while (0)

/* How long a change row may be: settable, so that a test needs no rows of 1 GB. */
#define CDC_FAULT_ROW_LIMIT(limit)                                                                 \
	(::cdc::fault_longest_row > 0 ? static_cast<Size>(::cdc::fault_longest_row) : (limit))

#else

#define CDC_FAULT(name)                                                                            \
	static_assert(::cdc::fault_index(name) >= 0, "not in the list of fault points")

#define CDC_FAULT_ROW_LIMIT(limit) (limit)

#endif

} // namespace cdc
