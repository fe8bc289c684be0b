/*
 * utility_hook.hpp
 *	  DROP DATABASE and DROP EXTENSION of something that is being captured.
 */
#pragma once

#include "cdc.hpp"

namespace cdc::worker
{

/* Called from _PG_init while preloading. */
void utility_hook_init();

} // namespace cdc::worker
