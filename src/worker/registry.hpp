/*
 * registry.hpp
 *	  Who works for which database: the operations on SharedState's entries.
 *
 * NOTES
 *	  Every function takes the lock itself and needs no transaction unless said. None raises, but
 *	  those whose name ends in _require.
 */
#pragma once

#include "cdc.hpp"

#include "base/shmem.hpp"

namespace cdc::worker
{

/* The entry of a database, or NULL. The entry stays valid as long as the database has a slot or a request. */
DatabaseEntry *registry_find(Oid database_oid);

/* The entry of a database, assigned when there was none; NULL when all are taken. */
DatabaseEntry *registry_assign(Oid database_oid);

/* Sets the launcher's latch. */
void registry_wake_launcher();

/*
 * When the current transaction commits, (re)start the capture job of this database, or stop it
 * cleanly. Does nothing on abort. The last call in a transaction counts.
 */
void registry_start_at_commit();
void registry_stop_at_commit();

} // namespace cdc::worker
