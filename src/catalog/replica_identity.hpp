/*
 * replica_identity.hpp
 *	  What of the old row a captured table logs: set when it is enabled, put back when its last instance
 *	  goes.
 *
 * NOTES
 *	  cdc._replica_identity remembers what each relation had before we changed it, one row per
 *	  relation (partitions do not inherit the setting). The owner's word is final: whatever
 *	  is found changed when it is to be put back stays.
 */
#pragma once

#include "cdc.hpp"

namespace cdc::catalog
{

/* Whether the log holds complete old rows (index InvalidOid), or at least the columns of `index`. */
bool replica_identity_suffices(Oid relation, Oid index);

/*
 * Sets REPLICA IDENTITY FULL (index InvalidOid) or USING INDEX, and remembers what was. Does nothing
 * when it suffices already. Needs ACCESS EXCLUSIVE. Raises 55000, naming the publication, when the
 * change would make UPDATE and DELETE of the table fail.
 */
void replica_identity_promise(Oid relation, Oid index);

/*
 * Puts back what was remembered, unless the owner has changed it since: it still is FULL, or USING
 * INDEX `index`. Forgets it in any case. Needs ACCESS EXCLUSIVE when
 * replica_identity_is_remembered().
 */
void replica_identity_restore(Oid relation, Oid index);

/* Whether we have changed the relation's identity and may have to put it back. */
bool replica_identity_is_remembered(Oid relation);

/* After CREATE or ALTER PUBLICATION: warns of captured tables whose UPDATE and DELETE fail from now on. */
void publications_warn();

/* Forgets a relation that is gone. */
void replica_identity_forget(Oid relation);

/* Forgets all that are gone, also those whose drop our event triggers did not see. */
void replica_identity_forget_dropped();

} // namespace cdc::catalog
