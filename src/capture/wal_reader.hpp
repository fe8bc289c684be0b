/*
 * wal_reader.hpp
 *	  A page reader for the decoding context that never waits.
 *
 * NOTES
 *	  The server's own local reader sleeps in 1 ms steps inside the reader when WAL runs out. This
 *	  one returns "nothing there": XLogReadRecord then returns NULL without a message and the call
 *	  can be repeated, also in the middle of a record; the decoder waits on its latch instead.
 */
#pragma once

#include "cdc.hpp"

extern "C" {
#include "access/xlogreader.h"
}

namespace cdc::capture
{

/* Callbacks for CreateDecodingContext and CreateInitDecodingContext. */
XLogReaderRoutine wal_reader_routine();

/* How far WAL can be read now. */
XLogRecPtr wal_readable_up_to();

/*
 * To be called when a read has found nothing: how far WAL could be read then (sleeping is right while
 * that has not moved). Also keeps the reader's segment, see wal_reader.cpp.
 */
XLogRecPtr wal_exhausted(XLogReaderState *reader);

/*
 * End of the last WAL record inserted so far, as decoding will report it: at a page boundary the
 * server names the place after the page header instead.
 */
XLogRecPtr wal_inserted_up_to();

/* The same, after making it readable. */
XLogRecPtr wal_flush_inserted();

/* Whether the segment with this position is there, on this timeline or one it comes from. */
bool wal_has(XLogRecPtr lsn);

} // namespace cdc::capture
