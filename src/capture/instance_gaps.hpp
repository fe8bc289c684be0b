/*
 * instance_gaps.hpp
 *	  Gaps of one capture instance, as the writer meets them.
 *
 * NOTES
 *	  What the log does not hold for one instance must not stop the capture of the others: the
 *	  stretch is a gap in cdc.gaps, one row for it however many changes it has. It ends with the first
 *	  proof that the log is complete again.
 *
 *	  All functions run in the writer's batch, so that a gap is committed with the rows around it.
 */
#pragma once

#include "cdc.hpp"

namespace cdc::capture
{

enum class GapCause : uint8
{
	None, /* no gap is open */
	Identity,
	Unlogged,
	TypeGone, /* values of a type that nobody can read any more */
	NoRoom,	 /* values of a type that the change table, with 1600 columns, cannot get a column of */
	TooLong, /* a row that fits on a page only without the columns that a change row has besides */
	TooLarge, /* a row of more than a change row can have at all; ends with its transaction */
	Other,	  /* recorded by somebody else: never ended here */
};

/* What the writer knows of an instance's open gap. */
struct InstanceGap
{
	GapCause cause;
	Oid relation;	   /* table or partition that caused it; InvalidOid: an earlier worker knew */
	XLogRecPtr flawed; /* commit LSN of the last transaction with a change that is missing */
	bool is_over;	   /* to be ended at the commit of the current transaction */
};

/* What cdc.gaps has of it. */
void instance_gap_load(InstanceGap *gap, Oid change_table);

/*
 * A change at this commit LSN is missing, or may be from here on. Opens the gap if none is open, and says so
 * in the server log. `what` names the instance, `relation` the table of the change.
 */
void instance_gap_begin(InstanceGap *gap, GapCause cause, Oid change_table, const char *what,
						Oid relation, XLogRecPtr commit_lsn);

/* A complete change of that table has come while a gap is open. */
void instance_gap_complete_row(InstanceGap *gap, Oid relation);

/* All tables of the instance are logged, and this one's identity is as promised. */
void instance_gap_source_sound(InstanceGap *gap, Oid relation, XLogRecPtr commit_lsn);

/* At the commit: ends the gap if it is over. Returns whether it did. */
bool instance_gap_commit(InstanceGap *gap, Oid change_table, const char *what,
						 XLogRecPtr commit_lsn);

/* Change rows have lost a column's values: from the instance's low end to before this commit. */
void instance_gap_column_lost(Oid change_table, const char *what, const char *column,
							  XLogRecPtr low, XLogRecPtr commit_lsn);

/* A gap that is one transaction: the table was truncated although that is refused. */
void instance_gap_truncated(Oid change_table, const char *what, Oid relation,
							XLogRecPtr commit_lsn);

} // namespace cdc::capture
