/*
 * truncate_guard.hpp
 *	  TRUNCATE of a captured table is refused early, unless its instance records it.
 */
#pragma once

#include "cdc.hpp"

namespace cdc::catalog
{

/* Called from _PG_init while preloading: installs the object access hook. */
void truncate_guard_init();

} // namespace cdc::catalog
