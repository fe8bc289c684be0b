/*
 * gaps.hpp
 *	  cdc.gaps: stretches of the log whose changes may be missing in change tables.
 *
 * NOTES
 *	  A gap [start, end) means: transactions with start <= commit LSN < end may be missing, of one
 *	  change table or of all. Without an end it is open: capture of what it names does not go on yet.
 *	  Who reads across a gap gets an error (query/lsn_window.cpp), so a gap must be committed not
 *	  later than the first mapping row behind it.
 *
 *	  Rows are few. Reading uses the latest state, whatever the caller's snapshot. All functions need
 *	  a transaction; those that write take ROW EXCLUSIVE on the table and keep it.
 */
#pragma once

#include "cdc.hpp"

namespace cdc::catalog
{

struct Gap
{
	Oid change_table; /* InvalidOid: all of the database */
	XLogRecPtr start;
	XLogRecPtr end;		/* exclusive; InvalidXLogRecPtr: open */
	const char *reason; /* a phrase, lower case: "the replication slot was lost" */
	const char *detail; /* sentences with values, or NULL */
};

/*
 * Writes a gap down. When the same change table (or the database) has an open one, that one stands for it,
 * and nothing is written: returns false.
 */
bool gap_record(const Gap &gap);

/* The open gap of a change table, or of the database; in the current memory context. */
std::optional<Gap> gap_open(Oid change_table);

/* The gap of a change table, or of the database, with the greatest end; open ones do not count. */
std::optional<Gap> gap_last(Oid change_table);

/* Takes the open gap of a change table, or of the database, back: nothing was lost. Returns how many. */
int gap_withdraw(Oid change_table);

/* Ends the open gaps of a change table, or of the database, here. Returns how many there were. */
int gap_close(Oid change_table, XLogRecPtr end);

/*
 * The first gap that a reader of [from, to] of this change table would cross, joined with those that
 * touch its end; in the current memory context. Reason and detail are the first one's.
 */
std::optional<Gap> gap_in(Oid change_table, XLogRecPtr from, XLogRecPtr to);

/* Forgets the gaps of a change table that goes. */
void gaps_delete(Oid change_table);

} // namespace cdc::catalog
