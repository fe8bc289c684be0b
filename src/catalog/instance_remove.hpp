/*
 * instance_remove.hpp
 *	  Taking a capture instance away, and what is left to do when its source table was dropped.
 *
 * NOTES
 *	  DROP TABLE of a source marks its instances (change_tables.has_drop_pending) and tells the writer. When
 *	  the writer meets that commit everything before it is captured: it notes the commit's LSN in
 *	  _source_drops. With drop_action 'remove' it then removes the instance, as soon as nobody reads it;
 *	  with 'keep' the cleanup does, when retention has emptied it.
 */
#pragma once

#include "cdc.hpp"

#include "catalog/capture_instance.hpp"

namespace cdc::catalog
{

/*
 * Takes one instance away in the caller's transaction: query functions, catalog rows, history. The change table
 * is renamed to _dropped_<id>, and the writer drops it when it meets the event that this puts into the queue.
 * Runs as the extension's owner with neutral settings. The caller holds ACCESS EXCLUSIVE on the change table and
 * instance_set_lock_to_remove. Raises 2BP01 when something of a user's depends on a query function.
 */
void instance_remove(const CaptureInstance &instance);

/* Notes, in the writer, that everything before the drop of an instance's source is captured. */
void source_drop_record(int32 instance_id, XLogRecPtr drop_lsn);

/* Forgets it. */
void source_drop_forget(int32 instance_id);

/* Commit LSN of the drop of the instance's source; InvalidXLogRecPtr: not dropped, or not met yet. */
XLogRecPtr source_drop_lsn(int32 instance_id);

/* Ids of the instances that wait for their removal by the writer (drop_action 'remove'), in this context. */
List *source_drops_to_remove();

/*
 * Whether an instance was kept after its source's drop (drop_action 'keep') and has nothing any more: its low
 * end is beyond the drop. For the cleanup, after it has moved the low end.
 */
bool instance_is_used_up(const CaptureInstance &instance);

enum class RemoveOutcome
{
	Removed, /* or it was gone already */
	Busy,	 /* somebody reads it, or holds a lock for long: try again later */
	Depended /* something of a user's depends on it, or another error: logged; try again much later */
};

/*
 * Removes an instance whose source was dropped, in a transaction of its own, in a worker without one. Waits for
 * no lock for longer than some 100 ms, runs no user code, raises nothing: an error is logged when `log_errors`.
 * With the database's last instance both jobs go. *change_table is the instance's, which the writer, as
 * the caller, has to drop itself: it does not see its own events.
 */
RemoveOutcome instance_remove_dropped(int32 instance_id, bool in_writer, bool log_errors,
									  Oid *change_table);

} // namespace cdc::catalog
