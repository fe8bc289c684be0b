/*
 * type_change.hpp
 *	  A source column's type has changed: the change table follows, between the rows before and after.
 *
 * NOTES
 *	  Decided by what the decoder says the rows look like (the historic descriptor of the relation),
 *	  never by what somebody wrote into the queue of DDL. Capture does not stop for any type; it waits
 *	  for a strong lock on the change table, which whoever reads the table at that moment holds up, and for a
 *	  weak one on a new composite type, which whoever alters it does. All is made in one subtransaction, under a
 *	  limit, or nothing: no lock of ours is waited for while we wait.
 */
#pragma once

#include "cdc.hpp"

#include "base/shmem.hpp"
#include "capture/change_queue.hpp"
#include "capture/instance_gaps.hpp"

namespace cdc::capture
{

struct TypeChangeRequest
{
	DatabaseEntry *entry;
	int32 instance_id;
	const char *what; /* for messages */
	Oid source;
	XLogRecPtr commit_lsn; /* of the source transaction */
	bool is_alone;		   /* the current transaction holds no other source transaction */
	std::span<const LayoutColumn> columns;
};

/*
 * Why values of such rows are lost, whose columns go to `places`: a column's type does not exist any more, or
 * the change table has no room for a column of it. None: they are not.
 */
GapCause type_change_lost(std::span<const LayoutColumn> columns, const AttrNumber *places);

/* Whether the change table, as it is today, has a place for rows of such columns. */
bool type_change_needed(const TypeChangeRequest &request);

/*
 * Makes the place, in the current transaction, and records the types in captured_columns. The caller
 * has closed the change table. Waits for the lock, as long as it takes; ends the process when
 * the job is stopped meanwhile. Raises 55P03 instead of waiting when the current transaction is not alone:
 * what was captured before shall be visible meanwhile, and its locks must not be waited for by who
 * holds the table. What the transaction did to the source must be visible.
 * Returns a text for ddl_history when the change table was altered, in the current context, else NULL.
 */
char *type_change_follow(const TypeChangeRequest &request);

/*
 * Where each column of such rows goes: attribute numbers of `leaf`, a leaf of the change table, for the
 * metadata and captured columns and __$command_id in this order; 0: nowhere. True when that is
 * where they are already. Nothing when today's catalog does not have the instance any more.
 */
std::optional<bool> type_change_map(const TypeChangeRequest &request, TupleDesc leaf,
									AttrNumber *places);

} // namespace cdc::capture
