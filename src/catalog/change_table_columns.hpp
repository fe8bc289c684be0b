/*
 * change_table_columns.hpp
 *	  Lets a change table follow the types of its source's columns.
 *
 * NOTES
 *	  Nothing here rewrites a table: physical columns are added, renamed, or given a wider type that
 *	  has the same bytes (column_versions.hpp).
 *
 *	  The query functions are made anew when what readers see changes. An object of a user's on top of
 *	  them (a view) would have to go for that, so then they stay as they are: the window check refuses
 *	  them from the change on (lsn_window.cpp), and query_functions_renew is tried again later.
 */
#pragma once

#include "cdc.hpp"

#include "catalog/capture_instance.hpp"

namespace cdc::catalog
{

/* What one captured column needs so that values of `value` have a place. */
struct ColumnPlan
{
	const CapturedColumn *column;
	const ColumnVersion *version; /* that takes the values; NULL: a new one */
	ColumnType type;			  /* of the version, afterwards */

	bool
	needs_relabel() const
	{
		return version != nullptr && !column_type_equal(version->type, type);
	}
	bool
	needs_something() const
	{
		return version == nullptr || !version->current || needs_relabel();
	}
};

ColumnPlan column_plan(const CapturedColumn &column, const ColumnType &value);

/*
 * Carries plans out that need something, and renews the query functions as far as possible. The caller
 * is a superuser and holds ACCESS EXCLUSIVE on the change table's root and leaves, and has none of
 * them open. The instance as loaded before is stale afterwards.
 */
void change_table_follow(const CaptureInstance *instance, std::span<const ColumnPlan> plans);

/*
 * Writes the types of the source's columns, as types[ordinal - 1], into captured_columns. NULL: leave
 * as it is.
 */
void captured_columns_set_types(const CaptureInstance *instance, std::span<const char *> types);

} // namespace cdc::catalog
