/*
 * decoder_process.hpp
 *	  The decoder: a background worker that holds slot and decoding context for its whole life.
 *
 * NOTES
 *	  Runs no ordinary transaction after start-up: its caches are filled as of old WAL positions.
 *	  Child of a capture worker through a dynamic segment (Channel): when either goes, the other
 *	  notices at the queue and ends. A second entry point makes the slot for sp_cdc_enable_db.
 */
#pragma once

#include "cdc.hpp"

namespace cdc::capture
{

/* True in a process that may open decoding contexts with our output plugin. */
bool decoder_process_active();

} // namespace cdc::capture

extern "C" {
/* Argument: handle of the Channel's segment. */
PGDLLEXPORT void cdc_decoder_main(Datum argument);
/* Argument: index of the database's entry in SharedState. */
PGDLLEXPORT void cdc_slot_creator_main(Datum argument);
}
