/*
 * drop_watch.hpp
 *	  What is about to be dropped, while it can still be asked who it belongs to.
 *
 * NOTES
 *	  The event trigger for drops runs when everything is gone: it is told names, but not what a
 *	  partition was a partition of, nor which table an index was on. The server asks the object access
 *	  hook before it drops each object; what concerns captured tables is kept here until the trigger of the
 *	  same command takes it. An entry may be stale (its subtransaction was rolled back): who takes it looks
 *	  whether the object is really gone.
 */
#pragma once

#include "cdc.hpp"

namespace cdc::catalog
{

/* A partition of a captured table. */
struct DroppedPartition
{
	Oid partition;
	List *instances; /* int: ids of the instances that it fed */
};

/* The index that identifies the rows of an instance. */
struct DroppedKey
{
	int32 instance_id;
	Oid index;
	bool is_constraint; /* it belonged to a constraint */
};

/* Must be called once, in _PG_init. */
void drop_watch_init();

/* Partitions seen and not taken yet (DroppedPartition pointers). Forgets them: each is recorded once. */
List *drop_watch_take_partitions();

/*
 * Keys seen in this transaction (DroppedKey pointers). They stay: somebody else's event trigger may run commands of
 * its own, and catch the error that was meant for the outer one.
 */
List *drop_watch_keys();

} // namespace cdc::catalog
