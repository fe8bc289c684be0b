/*
 * row_writer.hpp
 *	  Layouts and rows of the queue -> leaves of change tables.
 *
 * NOTES
 *	  One half of the writer (writer_state.hpp). Needs its batch's transaction, and raises what the tables raise.
 */
#pragma once

#include "cdc.hpp"

#include "capture/change_queue.hpp"
#include "capture/writer_state.hpp"

namespace cdc::capture
{

/* The writer's record of an instance; looked up in today's catalog when it is first met. */
Instance *find_instance(ChangeWriter *writer, int32 instance_id, Oid change_table);

/* Writes what is collected for the instance's leaf, and closes that. */
void close_instance(Instance *instance);

/* Forgets instances that are gone, once the decoder has given their layouts' numbers to others. */
void forget_instances(ChangeWriter *writer);

/* Remembers how rows look that name this layout; after a command, lets the change table follow at once. */
void take_layout(ChangeWriter *writer, const LayoutItem *item);

/* Collects a row, which must stay in memory until flush_instances. */
void take_row(ChangeWriter *writer, RowItem *item);

/* Writes all collected rows: nothing points into the chunk any more. */
void flush_instances(ChangeWriter *writer);

} // namespace cdc::capture
