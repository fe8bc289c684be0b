/*
 * finder.hpp
 *	  Databases that were captured and have no slot: found once, when the launcher starts.
 */
#pragma once

#include "cdc.hpp"

namespace cdc::worker
{

/*
 * Launcher only, at each turn of its loop: starts the process that looks, until one has. *nap shrinks when it must
 * be tried again. True when it has just started one.
 */
bool finder_attend(long *nap);

} // namespace cdc::worker
