/*
 * finder.hpp
 *	  Databases that are enabled and have no slot: found once, when the launcher starts.
 */
#pragma once

#include "cdc.hpp"

namespace cdc::worker
{

/* Launcher only: the look begins from the start. */
void finder_begin();

/*
 * Launcher only, at each turn of its loop: starts the processes that look, one after the other, until all databases are
 * done. *nap shrinks when it must be tried again. True when it has just started one.
 */
bool finder_attend(long *nap);

/* Launcher only: process_only_has_slot() of the one that looks now. */
bool finder_only_has_slot();

} // namespace cdc::worker
