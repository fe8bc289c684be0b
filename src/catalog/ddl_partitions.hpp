/*
 * ddl_partitions.hpp
 *	  Partitions of captured tables as they come and go: replica identity, and what is refused.
 *
 * NOTES
 *	  Runs in the session of the command, inside its event trigger. Nothing here raises on purpose: what
 *	  is to be refused is returned, and raised by the trigger outside of its subtransaction.
 */
#pragma once

#include "cdc.hpp"

#include "catalog/capture_instance.hpp"

namespace cdc::catalog
{

/* What a command may do that concerns us before it is executed, or partitions; most do nothing of it. */
struct PartitionDdl
{
	bool adds;		  /* CREATE TABLE ... PARTITION OF, ATTACH PARTITION, or unknown */
	bool removes;	  /* DETACH PARTITION */
	bool unlogs;	  /* SET UNLOGGED */
	bool leaves_heap; /* SET ACCESS METHOD of another kind than heap */
	bool retypes;	  /* ALTER COLUMN ... TYPE */
};

PartitionDdl partition_ddl_of(Node *parse_tree);

/* A partition whose changes the log would not show, and the captured table it is in. */
struct UnloggedPartition
{
	Oid partition; /* InvalidOid: none */
	Oid captured;
};

/* Tables of `objects` (DdlObject pointers) that are under captured ones get their replica identity. */
UnloggedPartition partitions_added(List *objects);

/* Partitions that `stmt` has detached and that feed no instance any more get back what they had. */
void partitions_removed(AlterTableStmt *stmt);

/* The instance that forbids this attaching or detaching; NULL: none does. */
CaptureInstance *switch_forbidden_by(AlterTableStmt *stmt);

/* An instance that would lose the changes of a table that is to be unlogged, or no heap any more; NULL: none would. */
CaptureInstance *fed_by_table_to_unlog(AlterTableStmt *stmt);

/* 55000: the refusals. */
[[noreturn]] void error_switch_forbidden(const CaptureInstance *instance, const char *action,
										 int sql_server_error);
[[noreturn]] void error_unlogs_captured(const CaptureInstance *instance, bool leaves_heap);
[[noreturn]] void error_unlogged_partition(const UnloggedPartition &unlogged);

} // namespace cdc::catalog
