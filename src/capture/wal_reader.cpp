/*
 * wal_reader.cpp
 *	  Non-blocking page reader up to the flushed position.
 */
#include "cdc.hpp"

#include "capture/wal_reader.hpp"

#include <unistd.h>

extern "C" {
#include "access/timeline.h"
#include "access/xlog_internal.h"
#include "access/xlogutils.h"
}

namespace cdc::capture
{

namespace
{

XLogRecPtr exhausted_at = InvalidXLogRecPtr;
XLogSegNo exhausted_segment = 0; /* that the reader had open then */

int
read_page(XLogReaderState *state, XLogRecPtr page, int required, XLogRecPtr, char *buffer)
{
	TimeLineID current_timeline;
	XLogRecPtr readable = GetFlushRecPtr(&current_timeline);

	/* After a promotion the first pages are on the former timeline. */
	XLogReadDetermineTimeline(state, page, required, current_timeline);
	if (state->currTLI != current_timeline)
		readable = state->currTLIValidUntil;

	/* The reader takes a page of which there is no more than the header for a broken one. */
	if (page + Max(required, static_cast<int>(SizeOfXLogShortPHD) + 1) > readable)
	{
		exhausted_at = readable;
		exhausted_segment = state->seg.ws_segno;
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

/*
 * After a page that could not be read the reader forgets which segment it has open, and next time
 * opens it again and reads its first page once more: a sixth of the decoder's time when commits come one by
 * one. The file is open still and its header was validated, so the number is put back.
 */
XLogRecPtr
wal_exhausted(XLogReaderState *reader)
{
	if (reader->seg.ws_file >= 0 && reader->seg.ws_segno == 0)
		reader->seg.ws_segno = exhausted_segment;
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

bool
wal_has(XLogRecPtr lsn)
{
	TimeLineID current_timeline;
	XLogSegNo segment;
	ListCell *cell;

	/* Not written yet: it will be there. */
	if (XLogRecPtrIsInvalid(lsn) || lsn >= GetFlushRecPtr(&current_timeline))
		return true;
	XLByteToSeg(lsn, segment, wal_segment_size);
	foreach (cell, readTimeLineHistory(current_timeline))
	{
		auto *entry = static_cast<TimeLineHistoryEntry *>(lfirst(cell));
		char path[MAXPGPATH];
		XLogFilePath(path, entry->tli, segment, wal_segment_size);
		if (access(path, F_OK) == 0)
			return true;
	}
	return false;
}

} // namespace cdc::capture
