/*
 * instance_gaps.cpp
 *	  Opens and ends the gaps of single capture instances.
 */
#include "cdc.hpp"

#include "capture/instance_gaps.hpp"
#include "catalog/gaps.hpp"

namespace cdc::capture
{

namespace
{

constexpr const char *kTruncateReason = "the table was truncated although that is refused";

/* What cdc.gaps says of each cause, and by what a worker that starts knows it again. */
struct CauseReason
{
	GapCause cause;
	const char *reason;
};

constexpr CauseReason kReasons[] = {
	{GapCause::Identity, "the replica identity is weaker than capture needs"},
	{GapCause::Unlogged, "the table is unlogged"},
	{GapCause::TypeGone, "a type was dropped before its values were captured"},
	{GapCause::NoRoom, "the change table has no room for a column of another type"},
	{GapCause::TooLong, "a change row is longer than a page"},
	{GapCause::TooLarge, "a row was too large for a change row"},
};

const char *
reason_of(GapCause cause)
{
	for (const auto &known : kReasons)
		if (known.cause == cause)
			return known.reason;
	elog(ERROR, "a gap has no reason for cause %d", static_cast<int>(cause));
}

GapCause
cause_of(const char *reason)
{
	for (const auto &known : kReasons)
		if (strcmp(known.reason, reason) == 0)
			return known.cause;
	return GapCause::Other;
}

/* As it is called today: the gap is for people. */
const char *
table_name(Oid relation)
{
	char *name = get_rel_name(relation);

	if (name == nullptr)
		return psprintf("with oid %u", relation);
	return quote_qualified_identifier(get_namespace_name(get_rel_namespace(relation)), name);
}

/*
 * Whether what is known of `relation` ends the gap: it caused it, or the partition that did so has been dropped or
 * detached. Should that still have changes in the log, the first of them opens a gap of its own.
 */
bool
speaks_for_cause(const InstanceGap *gap, Oid relation)
{
	return !OidIsValid(gap->relation) || gap->relation == relation ||
		   !get_rel_relispartition(gap->relation);
}

} // namespace

void
instance_gap_load(InstanceGap *gap, Oid change_table)
{
	std::optional<catalog::Gap> open = catalog::gap_open(change_table);

	*gap = {};
	if (!open)
		return;
	gap->cause = cause_of(open->reason);
}

void
instance_gap_begin(InstanceGap *gap, GapCause cause, Oid change_table, const char *what,
				   Oid relation, XLogRecPtr commit_lsn)
{
	gap->flawed = commit_lsn;
	/* Unless something else is missing, too, it is this one transaction. */
	gap->is_over = cause == GapCause::TooLarge &&
				   (gap->cause == GapCause::None || gap->cause == GapCause::TooLarge);
	if (cause == GapCause::Unlogged && gap->cause != GapCause::None &&
		gap->cause != GapCause::Unlogged && gap->cause != GapCause::Other)
	{
		/* No row can prove that a table is logged again: a gap of its own, which touches this one. */
		catalog::gap_close(change_table, commit_lsn + 1);
		gap->cause = GapCause::None;
	}
	if (gap->cause != GapCause::None)
	{
		if (gap->cause == cause)
			gap->relation = relation;
		return;
	}
	gap->cause = cause;
	gap->relation = relation;

	const char *table = table_name(relation);
	const char *hint = "Let consumers load the table again.";
	catalog::Gap row = {};
	row.change_table = change_table;
	row.start = commit_lsn;
	row.reason = reason_of(cause);
	switch (cause)
	{
		case GapCause::Identity:
			row.detail = psprintf("Updates and deletes of table %s are logged without the old row "
								  "until ALTER TABLE %s REPLICA IDENTITY FULL.",
								  table, table);
			hint = psprintf("ALTER TABLE %s REPLICA IDENTITY FULL; then let consumers load the "
							"table again.",
							table);
			break;
		case GapCause::Unlogged:
			row.detail = psprintf("Changes of table %s are not in the log until ALTER TABLE %s SET "
								  "LOGGED.",
								  table, table);
			hint = psprintf("ALTER TABLE %s SET LOGGED; then let consumers load the table again.",
							table);
			break;
		case GapCause::TypeGone:
			row.detail =
				psprintf("A column of table %s had a type that has been dropped since; its "
						 "values are NULL in the change rows.",
						 table);
			break;
		case GapCause::NoRoom:
			row.detail =
				psprintf("Types of columns of table %s have changed, each takes a column of "
						 "the change table, and a table can have %d: their values are NULL. "
						 "Enable the table again as another capture instance.",
						 table, MaxHeapAttributeNumber);
			hint = "Enable the table again as another capture instance, then disable this one.";
			break;
		case GapCause::TooLong:
			row.detail =
				psprintf("A row of table %s with many short values fits on a page, the "
						 "change row with its metadata does not. Enable the table again as "
						 "another capture instance, with a captured_column_list of fewer "
						 "columns.",
						 table);
			break;
		case GapCause::TooLarge:
			row.detail = psprintf("The values of a row of table %s need more than the 1 GB that a "
								  "change row can have.",
								  table);
			hint =
				"Let consumers load the table again. To do without its large columns, enable the "
				"table with a captured_column_list.";
			break;
		case GapCause::None:
		case GapCause::Other:
			break;
	}
	catalog::gap_record(row);

	if (cause == GapCause::TooLarge)
		ereport(LOG, (errmsg("changes of %s are missing at %X/%X: %s", what,
							 CDC_LSN_FORMAT_ARGS(commit_lsn), row.reason),
					  errdetail_internal("%s", row.detail), errhint("%s", hint)));
	else if (cause == GapCause::TypeGone || cause == GapCause::NoRoom)
		ereport(LOG, (errmsg("values of %s are lost from %X/%X on: %s", what,
							 CDC_LSN_FORMAT_ARGS(commit_lsn), row.reason),
					  errdetail_internal("%s", row.detail), errhint("%s", hint)));
	else
		ereport(LOG, (errmsg("changes of %s are lost from %X/%X on: %s", what,
							 CDC_LSN_FORMAT_ARGS(commit_lsn), row.reason),
					  errdetail_internal("%s", row.detail), errhint("%s", hint)));
}

void
instance_gap_complete_row(InstanceGap *gap, Oid relation)
{
	if ((gap->cause == GapCause::Identity || gap->cause == GapCause::TypeGone ||
		 gap->cause == GapCause::NoRoom || gap->cause == GapCause::TooLong ||
		 gap->cause == GapCause::TooLarge) &&
		speaks_for_cause(gap, relation))
		gap->is_over = true;
}

void
instance_gap_source_sound(InstanceGap *gap, Oid relation, XLogRecPtr commit_lsn)
{
	if (gap->cause == GapCause::Unlogged ||
		((gap->cause == GapCause::Identity || gap->cause == GapCause::TooLarge) &&
		 speaks_for_cause(gap, relation)))
	{
		/* The transaction may have changed rows before it repaired the table. */
		gap->flawed = commit_lsn;
		gap->is_over = true;
	}
}

bool
instance_gap_commit(InstanceGap *gap, Oid change_table, const char *what, XLogRecPtr commit_lsn)
{
	if (!gap->is_over)
		return false;

	/* No other transaction commits at the next byte, so that is an end as good as the next commit. */
	XLogRecPtr end = gap->flawed == commit_lsn ? commit_lsn + 1 : commit_lsn;
	catalog::gap_close(change_table, end);
	ereport(LOG, (errmsg("changes of %s are complete again from %X/%X on", what,
						 CDC_LSN_FORMAT_ARGS(end)),
				  errhint("Let consumers load the table again.")));
	*gap = {};
	return true;
}

void
instance_gap_column_lost(Oid change_table, const char *what, const char *column, XLogRecPtr low,
						 XLogRecPtr commit_lsn)
{
	catalog::Gap row = {};

	row.change_table = change_table;
	row.start = low;
	row.end = commit_lsn;
	/* What is lost lies before a gap that is open, which began when changes were missing. */
	std::optional<catalog::Gap> open = catalog::gap_open(change_table);
	if (open)
		row.end = Min(row.end, open->start);
	row.reason = "a column of the change table was dropped";
	row.detail = psprintf("What column \"%s\" had is gone.", column);
	if (row.start >= row.end)
		return;
	catalog::gap_record(row);
	ereport(LOG,
			(errmsg("values of %s are lost up to %X/%X: %s", what, CDC_LSN_FORMAT_ARGS(commit_lsn),
					row.reason),
			 errdetail_internal("%s", row.detail), errhint("Let consumers load the table again.")));
}

void
instance_gap_truncated(Oid change_table, const char *what, Oid relation, XLogRecPtr commit_lsn)
{
	catalog::Gap row = {};

	row.change_table = change_table;
	row.start = commit_lsn;
	row.end = commit_lsn + 1;
	row.reason = kTruncateReason;
	row.detail =
		psprintf("The rows that table %s had are gone without change rows.", table_name(relation));
	if (catalog::gap_open(change_table))
		return; /* within it */
	catalog::gap_record(row);
	ereport(LOG, (errmsg("changes of %s are missing at %X/%X: %s", what,
						 CDC_LSN_FORMAT_ARGS(commit_lsn), kTruncateReason),
				  errdetail_internal("%s", row.detail),
				  errhint("Let consumers load the table again. To allow TRUNCATE, enable the table "
						  "with truncate_action => 'record'.")));
}

} // namespace cdc::capture
