/*
 * wal_reader.cpp
 *	  Non-blocking page reader up to the flushed position.
 */
#include "cdc.hpp"

#include "capture/wal_reader.hpp"

extern "C" {
#include "access/xlog_internal.h"
#include "access/xlogutils.h"
}

namespace cdc::capture
{

namespace
{

XLogRecPtr exhausted_at = InvalidXLogRecPtr;

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
	{
		exhausted_at = readable;
		return -1;
	}
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

XLogRecPtr
wal_exhausted_at()
{
	return exhausted_at;
}

XLogRecPtr
wal_inserted_up_to()
{
	XLogRecPtr lsn = GetXLogInsertRecPtr();
	if (XLogSegmentOffset(lsn, wal_segment_size) == SizeOfXLogLongPHD)
		return lsn - SizeOfXLogLongPHD;
	if (lsn % XLOG_BLCKSZ == SizeOfXLogShortPHD)
		return lsn - SizeOfXLogShortPHD;
	return lsn;
}

XLogRecPtr
wal_flush_inserted()
{
	XLogRecPtr lsn = wal_inserted_up_to();
	XLogFlush(lsn);
	return lsn;
}

} // namespace cdc::capture
