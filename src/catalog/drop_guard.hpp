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

/* Set while a command that names the extension runs; back to false also after an error. */
void drop_guard_allow(bool allowed);

} // namespace cdc::catalog
