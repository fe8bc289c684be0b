/*
 * wal_reader.cpp
 *	  Non-blocking page reader up to the flushed position.
 */
#include "cdc.hpp"

#include "capture/wal_reader.hpp"

extern "C" {
#include "access/xlogutils.h"
}

namespace cdc::capture
{

namespace
{

int
read_page(XLogReaderState *state, XLogRecPtr page, int required, XLogRecPtr, char *buffer)
{
	TimeLineID current_timeline;
	XLogRecPtr readable = GetFlushRecPtr(&current_timeline);

	/* After a promotion the first pages are on the former timeline. */
	XLogReadDetermineTimeline(state, page, required, current_timeline);
	if (state->currTLI != current_timeline)
		readable = state->currTLIValidUntil;

	if (page + required > readable)
		return -1;
	int count = page + XLOG_BLCKSZ <= readable ? XLOG_BLCKSZ : static_cast<int>(readable - page);

	WALReadError error;
	if (!WALRead(state, buffer, page, count, state->currTLI, &error))
		WALReadRaiseError(&error);
	return count;
}

} // namespace

XLogReaderRoutine
wal_reader_routine()
{
	XLogReaderRoutine routine;
	memset(&routine, 0, sizeof(routine));
	routine.page_read = read_page;
	routine.segment_open = wal_segment_open;
	routine.segment_close = wal_segment_close;
	return routine;
}

XLogRecPtr
wal_readable_up_to()
{
	return GetFlushRecPtr(nullptr);
}

} // namespace cdc::capture
