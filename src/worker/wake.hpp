/*
 * wake.hpp
 *	  A commit wakes the decoder of its database.
 */
#pragma once

#include "cdc.hpp"

namespace cdc::worker
{

/* Called from _PG_init while preloading: registers the transaction callback of every backend. */
void wake_init();

} // namespace cdc::worker
