/*
 * pending_drops.hpp
 *	  What the writer has to remove as soon as nobody uses it.
 *
 * NOTES
 *	  Change tables of disabled instances, and instances whose source table was dropped. Capture waits for
 *	  no reader: what is in use is tried again. All of it is found again in the catalog when the writer
 *	  starts anew.
 */
#pragma once

#include "cdc.hpp"

namespace cdc::capture
{

struct PendingDrops
{
	MemoryContext memory;
	List *tables;			/* Oid: change tables */
	List *instances;		/* int: instances whose source was dropped */
	List *reported;			/* int: of these, whose failure is in the log */
	TimestampTz not_before; /* when instances are tried next */
	List *reported_tables;	/* Oid: of the tables, whose failure is in the log */
	TimestampTz tables_not_before;
};

/* Finds what an earlier writer left. In a transaction; allocates in `memory`. */
void pending_drops_init(PendingDrops *drops, MemoryContext memory);

void pending_drops_add_table(PendingDrops *drops, Oid change_table);
void pending_drops_add_instance(PendingDrops *drops, int32 instance_id);

/* Tries all that is due, in transactions of its own: there must be none. */
void pending_drops_run(PendingDrops *drops);

} // namespace cdc::capture
