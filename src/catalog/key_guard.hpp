/*
 * key_guard.hpp
 *	  The index that identifies the rows of a capture instance stays as it is.
 *
 * NOTES
 *	  Dropping it, alone or with its constraint or a column, and making a column of it nullable is refused
 *	  as long as the instance exists, also when net changes are off. Dropping the whole table is not.
 *	  Renaming it is followed. Rebuilding it (REINDEX, a type change of a column) leaves its name.
 */
#pragma once

#include "cdc.hpp"

#include "catalog/capture_instance.hpp"

namespace cdc::catalog
{

/* An instance whose row identifier the current command takes away. */
struct BrokenKey
{
	CaptureInstance *instance; /* NULL: none */
	bool is_constraint;
	const char *nullable_column; /* a column that may hold NULL now; NULL: the index is gone */
};

/* After a command that dropped something; looks at what drop_watch has seen. */
BrokenKey key_guard_after_drop();

/* After ALTER TABLE: `objects` (DdlObject pointers) are what it altered. */
BrokenKey key_guard_after_alter(AlterTableStmt *stmt, List *objects);

/* Whether a command may do something to an index or its columns that is looked at when it has ended. */
bool key_guard_cares(Node *parse_tree);

/*
 * After RENAME of an index, or of its constraint, or ADD CONSTRAINT ... USING INDEX: change_tables.index_name
 * follows.
 */
void key_guard_follow_rename(Node *parse_tree);

/* 2BP01: the refusals. */
[[noreturn]] void error_key_dropped(const CaptureInstance *instance, bool is_constraint);
[[noreturn]] void error_key_nullable(const CaptureInstance *instance, const char *column);

} // namespace cdc::catalog
