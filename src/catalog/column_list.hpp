/*
 * column_list.hpp
 *	  Lists of column names as SQL Server writes them: comma separated, each name plain, "quoted" or
 *	  [quoted].
 */
#pragma once

#include "cdc.hpp"

namespace cdc::catalog
{

struct ColumnListItem
{
	char *name;
	bool quoted; /* taken as it is; a plain name may also be meant in lower case */
};

/*
 * Parses a list, in order, into palloc'd items. A doubled closing quote inside a quoted name stands for
 * itself. Raises 22965 for a quote that is not closed, 22942 for anything else that is not a list.
 * `parameter` is named in the errors.
 */
std::span<ColumnListItem> column_list_parse(const char *list, const char *parameter);

/*
 * The column of a relation that an item means: the one of exactly that name, else, for a plain
 * name, the one of that name in lower case. InvalidAttrNumber when there is none. System columns and
 * dropped ones are not found.
 */
AttrNumber column_list_resolve(const ColumnListItem &item, TupleDesc descriptor);

} // namespace cdc::catalog
