/*
 * register_process.hpp
 *	  Asks the postmaster for one of our processes that are connected to a database and not started again by it.
 */
#pragma once

#include "cdc.hpp"

extern "C" {
#include "postmaster/bgworker.h"
}

namespace cdc::worker
{

/*
 * `type` is what pg_stat_activity says, `function` an exported one of this library. The caller is signalled when the
 * process starts and ends. nullptr: no worker slot is free. The handle is in the current memory context.
 */
BackgroundWorkerHandle *register_process(const char *type, const char *function, Datum argument);

/*
 * Whether it takes a worker slot and has no process: it has not started yet, or it has ended and the postmaster has not
 * come to it. nullptr: no.
 */
bool process_only_has_slot(BackgroundWorkerHandle *handle);

} // namespace cdc::worker
