/*
 * instance_rows.hpp
 *	  The rows that make a capture instance, and the locks under which they come and go. Only for this
 *	  folder.
 *
 * NOTES
 *	  Two heavyweight locks that conflict with nothing else, held until the transaction ends:
 *	  the name of an instance (exclusive), so that a second user of the same name waits and then
 *	  gets a proper error instead of a unique violation; and the set of instances, shared by who adds to a
 *	  set that is not empty, exclusive for who makes the first or may take away the last, since with
 *	  those the jobs come and go. Order: source table and leaves, set, name.
 */
#pragma once

#include "cdc.hpp"

#include "catalog/capture_instance.hpp"
#include "catalog/source_table.hpp"

namespace cdc::catalog
{

struct NewInstance
{
	int32 instance_id;
	const char *name;
	Oid change_table;
	Oid source;
	bool supports_net_changes;
	const char *role_name;		/* NULL: none */
	const char *filegroup_name; /* NULL: default */
	bool partition_switch;
	const char *before_image;
	const char *truncate_action;
	const char *drop_action;
	const RowIdentifier *identifier; /* NULL: none */
	std::span<const SourceColumn> columns;
};

/* Takes the lock on a name. */
void instance_name_lock(const char *name);

/* Takes the lock on the set of instances for adding one; returns whether it will be the first. */
bool instance_set_lock_to_add();

/* Takes the lock on the set of instances for removing. */
void instance_set_lock_to_remove();

/* Whether the database has any capture instance. */
bool instance_set_is_empty();

/* Inserts the rows of change_tables, captured_columns and index_columns; visible afterwards. */
void instance_rows_insert(const NewInstance &instance);

/*
 * Sets the instance's low end, unless it has a greater one. Never waits for a transaction that is
 * disabling it: the low end is then kept in _instance_start for instances_start_rest. Returns false
 * when there is no such instance.
 */
bool instance_start(int32 instance_id, XLogRecPtr lsn);

/* Tries again what instance_start has kept. True when nothing is left. */
bool instances_start_rest();

/* Deletes them, and the instance's ddl_history. */
void instance_rows_delete(Oid change_table);

} // namespace cdc::catalog
