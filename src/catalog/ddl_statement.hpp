/*
 * ddl_statement.hpp
 *	  The text of the DDL statement that is being executed.
 *
 * NOTES
 *	  Event triggers are told the parse tree of a command, but not its text. The utility hook knows the
 *	  query string and which piece of it the statement is, and keeps it here while the statement runs:
 *	  the piece of a string of several statements, the statement itself inside a function.
 *	  Statements nest (a user's event trigger may run one): the innermost counts.
 */
#pragma once

#include "cdc.hpp"

extern "C" {
#include "nodes/plannodes.h"
}

namespace cdc::catalog
{

/* Longer statements are cut in ddl_history, and end with "...". */
constexpr int kMaxDdlTextBytes = 32 * 1024;

/* One statement under way; lives in the frame of who runs it. */
struct DdlStatement
{
	const char *query;
	int location; /* of the statement in the query; -1: not known */
	int length;	  /* 0: the rest of the query */
	List *types;  /* DdlColumnType *: of captured columns before the statement */
	DdlStatement *outer;
};

/* The type of a captured column. */
struct DdlColumnType
{
	Oid relation;
	AttrNumber attnum;
	Oid type;
	int32 typmod;
	Oid collation;
};

/* Whether a statement of this kind can be in ddl_history, or have one that is inside it. */
bool ddl_statement_matters(const Node *parse_tree);

/* Between the two, `statement` is the current one. ddl_statement_end is called on errors, too. */
void ddl_statement_begin(DdlStatement *statement, const PlannedStmt *planned, const char *query);
void ddl_statement_end(const DdlStatement *statement);

/* Remembers the type of a column as it is before the current statement. */
void ddl_statement_note_type(const DdlColumnType &column);

/* What was remembered of that column; nothing: it was not. */
std::optional<DdlColumnType> ddl_statement_former_type(Oid relation, AttrNumber attnum);

/* The current statement's text, trimmed and bounded, in the current context. Never NULL. */
char *ddl_statement_text();

} // namespace cdc::catalog
