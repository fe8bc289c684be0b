/*
 * ddl_drop.hpp
 *	  Captured tables, partitions and columns that a command has dropped.
 *
 * NOTES
 *	  Runs in the session of the command, inside its event trigger, when everything is gone.
 */
#pragma once

#include "cdc.hpp"

#include "catalog/capture_instance.hpp"

namespace cdc::catalog
{

/* One object of pg_event_trigger_dropped_objects(), in pg_class. */
struct DroppedRelation
{
	Oid relation;
	bool is_column; /* a column of it, not the table */
};

/*
 * Marks the instances of tables that are gone, tells the writer, and records partitions and columns that went.
 * `dropped`: DroppedRelation pointers. Returns an instance that does not allow a partition to go
 * (allow_partition_switch => false), else NULL.
 */
CaptureInstance *ddl_drop_record(Node *parse_tree, List *dropped);

} // namespace cdc::catalog
