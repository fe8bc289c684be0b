/*
 * row_image.hpp
 *	  One decoded change -> finished change-table tuples in the queue.
 *
 * NOTES
 *	  No text, no executor, no user code: values are copied from the decoded tuple as they are,
 *	  out-of-line values flattened. Tuples are built in the queue's buffer; the writer inserts
 *	  them from there.
 */
#pragma once

#include "cdc.hpp"

#include "capture/change_queue.hpp"
#include "capture/source_map.hpp"

namespace cdc::capture
{

/* __$operation */
enum class Operation : int32
{
	Delete = 1,
	Insert = 2,
	UpdateBefore = 3,
	UpdateAfter = 4,
};

enum class ChangeAction : uint8
{
	Insert,
	Update,
	Delete,
};

/* A change as the output plugin hands it over. Tuples are NULL where the log has none. */
struct DecodedChange
{
	ChangeAction action;
	Relation relation;
	HeapTuple old_tuple;
	HeapTuple new_tuple;
	XLogRecPtr commit_lsn;
	XLogRecPtr seqval;
	int32 command_id;
};

/* Announces the layouts of `source` that the writer has not seen, with these flags of LayoutItem. */
void row_image_announce(QueueSender *sender, Source *source, Relation relation, uint16 flags);

/*
 * Sends the rows of one change for every target of `source`. Allocates in the current context,
 * which the caller resets after each change. Announces layouts that the writer has not seen.
 */
void row_image_send(QueueSender *sender, Source *source, const DecodedChange &change);

} // namespace cdc::capture
