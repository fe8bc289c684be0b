/*
 * ddl_history.hpp
 *	  Which capture instances a DDL command is about, and telling the writer of it.
 *
 * NOTES
 *	  What is recorded: columns added, changed, dropped, renamed; the table renamed or moved, or its schema
 *	  renamed; partitions created, attached, detached, dropped; logged or not; replica identity; inheritance;
 *	  types of captured columns altered. Not: indexes, constraints, defaults' values elsewhere, rights,
 *	  triggers, rules, storage.
 *
 *	  Runs in the session of the command, inside its event trigger; the events are rows of _ddl_queue and
 *	  so part of the transaction, in the order of the log.
 */
#pragma once

#include "cdc.hpp"

#include "catalog/capture_instance.hpp"

namespace cdc::catalog
{

/* An object that the current command has made or altered, as ddl_command_end is told. */
struct DdlObject
{
	Oid class_id;
	Oid object_id;
};

/* The instances that a relation feeds: its own, and those of the tables that it is a partition of. */
List *instances_fed_by(Oid relation);

/* The instances that hear of a command on a table; recurses: also on tables that inherit from it. */
List *instances_of_table(Oid relation, bool recurses);

/* Whether ddl_history_record may have something to tell of such a command. */
bool ddl_history_cares(Node *parse_tree);

/* Before ALTER TABLE: remembers the types of captured columns that it alters. */
void ddl_history_note_types(AlterTableStmt *stmt);

/* Tells the writer of a command that has been executed. `objects`: DdlObject pointers. */
void ddl_history_record(Node *parse_tree, List *objects);

/*
 * Tells it of a command that dropped partitions of `instances` (CaptureInstance pointers), and columns of
 * `relations` (oids) with something else: DROP TYPE ... CASCADE, for example.
 */
void ddl_history_record_instances(List *instances, List *relations);

/* One event of a kind that has a command text, for one instance. */
void ddl_history_emit(QueueKind kind, const CaptureInstance *instance, const char *command);

} // namespace cdc::catalog
