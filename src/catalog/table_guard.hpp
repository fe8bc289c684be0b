/*
 * table_guard.hpp
 *	  Refuses commands on our own tables whose effect nobody would notice.
 */
#pragma once

#include "cdc.hpp"

namespace cdc::catalog
{

/* Called from _PG_init while preloading: installs the object access hook. */
void table_guard_init();

/* Called by the utility hook before a command runs; raises when it is one that is refused. */
void table_guard_check(Node *parse_tree);

} // namespace cdc::catalog
