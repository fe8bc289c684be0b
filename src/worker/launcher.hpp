/*
 * launcher.hpp
 *	  The static worker that finds enabled databases and keeps their capture workers running.
 */
#pragma once

#include "cdc.hpp"

namespace cdc::worker
{

/* Called from _PG_init while preloading. */
void launcher_register();

} // namespace cdc::worker
