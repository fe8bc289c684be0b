/*
 * identity_guard.hpp
 *	  Tells an owner who weakens the replica identity of a captured table what follows.
 *
 * NOTES
 *	  The owner's word is final: nothing is refused. The log lacks old rows from then on, which the
 *	  decoder notices by itself (capture/source_watch.cpp); this is only the warning in the session.
 */
#pragma once

#include "cdc.hpp"

extern "C" {
#include "nodes/parsenodes.h"
}

namespace cdc::catalog
{

/* After ALTER TABLE ... REPLICA IDENTITY: a WARNING for each instance that was promised more. */
void identity_guard_after_alter(AlterTableStmt *stmt);

} // namespace cdc::catalog
