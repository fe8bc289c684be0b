/*
 * drop_guard.hpp
 *	  The extension goes by DROP EXTENSION only, never as the victim of somebody's CASCADE.
 */
#pragma once

#include "cdc.hpp"

namespace cdc::catalog
{

/* Called from _PG_init while preloading: installs the object access hook. */
void drop_guard_init();

/*
 * Before a utility command runs: raises when it drops a type or collation that a captured column has. Takes no lock. What this
 * does not see, a type inside another or a drop of something else that takes one along, is refused later all the same.
 */
void drop_guard_check(Node *parse_tree);

/* Set while a command that names the extension runs; back to false also after an error. */
void drop_guard_allow(bool allowed);

} // namespace cdc::catalog
