/*
 * column_list.cpp
 *	  Lists of column names as SQL Server writes them.
 */
#include "cdc.hpp"

#include "base/args.hpp"
#include "catalog/column_list.hpp"

extern "C" {
#include "parser/scansup.h"
}

namespace cdc::catalog
{

namespace
{

[[noreturn]] void
error_not_a_list(const char *parameter, const char *list, const char *problem)
{
	ereport(ERROR,
			(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
			 errmsg("parameter \"%s\" is not a list of columns", parameter),
			 errdetail("SQL Server error 22942: %s in \"%s\".", problem, list),
			 errhint("Separate the names by commas; write a name that holds a comma or a quote as "
					 "\"...\" or [...], with the closing quote doubled inside.")));
	pg_unreachable();
}

const char *
skip_space(const char *at)
{
	while (is_ascii_space(*at))
		at++;
	return at;
}

/* A name in quotes, at the opening one; returns what follows the closing one. */
const char *
parse_quoted(const char *at, char closing, ColumnListItem *item, const char *list,
			 const char *parameter)
{
	StringInfoData name;
	const char *start = at++;

	initStringInfo(&name);
	for (;; at++)
	{
		if (*at == '\0')
			ereport(
				ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("a quoted column name in parameter \"%s\" is not closed", parameter),
				 errdetail("SQL Server error 22965: the name that starts with %s in \"%s\" has no "
						   "closing %c.",
						   start, list, closing),
				 errhint("Close the name with %c; double it where it is part of the name.",
						 closing)));
		if (*at == closing && at[1] != closing)
			break;
		if (*at == closing)
			at++;
		appendStringInfoChar(&name, *at);
	}
	if (name.len == 0)
		error_not_a_list(parameter, list, "an empty name");
	*item = {.name = name.data, .quoted = true};
	return at + 1;
}

const char *
parse_plain(const char *at, ColumnListItem *item, const char *list, const char *parameter)
{
	const char *start = at;
	while (*at != '\0' && *at != ',')
		at++;
	const char *end = at;
	while (end > start && is_ascii_space(end[-1]))
		end--;
	if (end == start)
		error_not_a_list(parameter, list, "an empty name");
	*item = {.name = pnstrdup(start, end - start), .quoted = false};
	return at;
}

AttrNumber
find_column(TupleDesc descriptor, const char *name)
{
	for (int i = 0; i < descriptor->natts; i++)
	{
		Form_pg_attribute attribute = TupleDescAttr(descriptor, i);
		if (!attribute->attisdropped && strcmp(NameStr(attribute->attname), name) == 0)
			return static_cast<AttrNumber>(i + 1);
	}
	return InvalidAttrNumber;
}

} // namespace

std::span<ColumnListItem>
column_list_parse(const char *list, const char *parameter)
{
	/* No list has more items than commas and one. */
	size_t room = 1;
	for (const char *at = list; *at != '\0'; at++)
		room += *at == ',';

	auto *items = static_cast<ColumnListItem *>(palloc(room * sizeof(ColumnListItem)));
	size_t count = 0;
	const char *at = list;

	for (;;)
	{
		at = skip_space(at);
		if (*at == '"')
			at = parse_quoted(at, '"', &items[count], list, parameter);
		else if (*at == '[')
			at = parse_quoted(at, ']', &items[count], list, parameter);
		else
			at = parse_plain(at, &items[count], list, parameter);
		count++;
		at = skip_space(at);
		if (*at == '\0')
			return {items, count};
		if (*at != ',')
			error_not_a_list(parameter, list,
							 psprintf("no comma after column \"%s\"", items[count - 1].name));
		at++;
	}
}

AttrNumber
column_list_resolve(const ColumnListItem &item, TupleDesc descriptor)
{
	AttrNumber column = find_column(descriptor, item.name);

	if (column == InvalidAttrNumber && !item.quoted)
		column = find_column(descriptor,
							 downcase_identifier(item.name, strlen(item.name), false, false));
	return column;
}

} // namespace cdc::catalog
