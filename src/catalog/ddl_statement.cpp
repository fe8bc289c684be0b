/*
 * ddl_statement.cpp
 *	  The text of the DDL statement that is being executed.
 */
#include "cdc.hpp"

#include "base/args.hpp"
#include "base/scope.hpp"
#include "catalog/ddl_statement.hpp"

extern "C" {
#include "mb/pg_wchar.h"
#include "tcop/tcopprot.h"
}

namespace cdc::catalog
{

namespace
{

DdlStatement *current = nullptr;

} // namespace

bool
ddl_statement_matters(const Node *parse_tree)
{
	switch (nodeTag(parse_tree))
	{
		case T_AlterEnumStmt:
		case T_AlterExtensionStmt:
		case T_AlterObjectSchemaStmt:
		case T_AlterTableStmt:
		case T_CreateExtensionStmt:
		case T_CreateForeignTableStmt:
		case T_CreateSchemaStmt:
		case T_CreateStmt:
		case T_DropOwnedStmt:
		case T_DropStmt:
		case T_RenameStmt:
			return true;
		default:
			return false;
	}
}

void
ddl_statement_begin(DdlStatement *statement, const PlannedStmt *planned, const char *query)
{
	*statement = {.query = query,
				  .location = planned->stmt_location,
				  .length = planned->stmt_len,
				  .types = NIL,
				  .outer = current};
	current = statement;
}

void
ddl_statement_end(const DdlStatement *statement)
{
	current = statement->outer;
}

void
ddl_statement_note_type(const DdlColumnType &column)
{
	if (current == nullptr)
		return;
	/* An event trigger's own memory ends with it. */
	in_context(TopTransactionContext, [&] {
		auto *copy = static_cast<DdlColumnType *>(palloc(sizeof(DdlColumnType)));
		*copy = column;
		current->types = lappend(current->types, copy);
	});
}

std::optional<DdlColumnType>
ddl_statement_former_type(Oid relation, AttrNumber attnum)
{
	ListCell *cell;

	foreach (cell, current != nullptr ? current->types : NIL)
	{
		auto *column = static_cast<DdlColumnType *>(lfirst(cell));
		if (column->relation == relation && column->attnum == attnum)
			return *column;
	}
	return {};
}

char *
ddl_statement_text()
{
	/* Without preloading there is no hook; then the client's string has to do. */
	const char *text = current != nullptr ? current->query : debug_query_string;
	if (text == nullptr)
		return pstrdup("");

	/* Locations are only given where a string was parsed, and then they are inside it. */
	int length = static_cast<int>(strlen(text));
	if (current != nullptr && current->location >= 0 && current->location <= length)
	{
		text += current->location;
		length -= current->location;
		if (current->length > 0)
			length = Min(length, current->length);
	}
	while (length > 0 && is_ascii_space(*text))
		text++, length--;
	while (length > 0 && (is_ascii_space(text[length - 1]) || text[length - 1] == ';'))
		length--;
	if (length <= kMaxDdlTextBytes)
		return pnstrdup(text, length);
	return psprintf("%.*s...", pg_mbcliplen(text, length, kMaxDdlTextBytes), text);
}

} // namespace cdc::catalog
