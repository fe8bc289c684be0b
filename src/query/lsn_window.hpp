/*
 * lsn_window.hpp
 *	  Whether a query function may answer: rights, arguments and the LSN window of an instance.
 *
 * NOTES
 *	  The one source of these errors. The query functions are inlined SQL whose first branch is
 *	  cdc._check_window(...): it yields no row or raises, and runs before any change row comes out.
 *
 *	  The two ends of the window are read in different ways on purpose.
 *	  Low end: latest committed state, at execution, when the query holds its locks. Cleanup commits the
 *	  new low end before it removes rows, so whoever passes the check with its leaves locked finds all rows
 *	  of its range, and an old REPEATABLE READ snapshot whose leaf is gone gets the error, not
 *	  fewer rows.
 *	  High end: the query's own snapshot. A mapping row and its change rows commit together, so
 *	  what is below the high end is visible to the same snapshot.
 */
#pragma once

#include "cdc.hpp"

#include "catalog/capture_instance.hpp"

namespace cdc::query
{

/* What the caller of a query function said; an argument that is NULL is none. */
struct WindowArguments
{
	std::optional<XLogRecPtr> from_lsn;
	std::optional<XLogRecPtr> to_lsn;
	const char *row_filter_option; /* or NULL */
	bool net_changes;			   /* which of the two functions: they allow different options */
};

/*
 * Raises unless the current user may read this instance and its changes in [from_lsn, to_lsn] are
 * complete for `snapshot`: 42501 (rights), SC001 to SC005. A gap check (SC004) has its place at
 * the end.
 */
void lsn_window_check(const catalog::CaptureInstance *instance, const WindowArguments &arguments,
					  Snapshot snapshot);

/*
 * The part of it that needs no LSNs, for those who still have to find them: raises unless the current
 * user may read this instance, the option is one of the function's, and the instance has started.
 */
void lsn_window_check_started(const catalog::CaptureInstance *instance,
							  const WindowArguments &arguments);

/*
 * Whether an option given by a user is this one: white space at both ends and ASCII case do not
 * count.
 */
bool option_equals(std::string_view given, const char *option);

} // namespace cdc::query
