/*
 * change_table.hpp
 *	  Change tables and their leaf partitions: create, extend, drop.
 *
 * NOTES
 *	  A change table is range-partitioned by __$start_lsn in steps of cdc.partition_wal_size; leaves
 *	  are named _ct_<instance id>_<hex of the lower bound>, never after the instance, so that
 *	  renaming the root is all that disable_table needs.
 *	  All DDL goes through the server's internal entry points, never as a complete utility
 *	  statement: no user event trigger runs in our workers or can fail them.
 */
#pragma once

#include "cdc.hpp"

namespace cdc::catalog
{

/*
 * The leaf of change table `root` that covers lsn. Creates it when missing, and also the one
 * after it: a reader whose plan was made before a leaf was attached must not miss its rows, so a
 * leaf is there one step before its first row. Leaves are created and then attached (SHARE UPDATE
 * EXCLUSIVE on the root), as members of the extension, owned by the extension's owner, with a BRIN index
 * on __$start_lsn. *created tells whether anything was created. Never touches ranges that
 * exist: if the step was changed, new leaves fill the room that is left.
 * Needs a transaction; leaves no lock on the root but what attaching takes.
 */
Oid change_table_leaf(Oid root, XLogRecPtr lsn, bool *created);

/*
 * Drops a change table with its leaves and its query functions and view, whatever the extension
 * dependency says. Returns without doing anything when the relation is already gone.
 */
void change_table_drop(Oid root);

} // namespace cdc::catalog
