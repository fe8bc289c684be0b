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
	DdlStatement *outer;
};

/* Whether a statement of this kind can be in ddl_history, or have one that is inside it. */
bool ddl_statement_matters(const Node *parse_tree);

/* Between the two, `statement` is the current one. ddl_statement_end is called on errors, too. */
void ddl_statement_begin(DdlStatement *statement, const PlannedStmt *planned, const char *query);
void ddl_statement_end(const DdlStatement *statement);

/* The current statement's text, trimmed and bounded, in the current context. Never NULL. */
char *ddl_statement_text();

} // namespace cdc::catalog
