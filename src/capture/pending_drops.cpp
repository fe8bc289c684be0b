/*
 * pending_drops.cpp
 *	  What the writer has to remove as soon as nobody uses it.
 */
#include "cdc.hpp"

#include "base/scope.hpp"
#include "capture/ddl_apply.hpp"
#include "capture/pending_drops.hpp"
#include "catalog/instance_remove.hpp"

namespace cdc::capture
{

namespace
{

/* Pause after a try that failed: a reader is in the way, what a user has made, or an error. */
constexpr int kBusyPauseMs = 1000;
constexpr int kDependedPauseMs = 30 * 1000;
constexpr int kFailedPauseMs = 5 * 1000;

/* Whether the table is gone. An error is logged, once: capture, of which the table is no part any more, goes on. */
bool
drop_table(PendingDrops *drops, Oid change_table)
{
	bool dropped = false;

	in_transaction([&] {
		(void)in_subtransaction(
			[&] { dropped = ddl_drop_change_table(change_table); },
			[&](const ErrorData &error) {
				drops->tables_not_before =
					TimestampTzPlusMilliseconds(GetCurrentTimestamp(), kFailedPauseMs);
				if (list_member_oid(drops->reported_tables, change_table))
					return;
				in_context(drops->memory, [&] {
					drops->reported_tables = lappend_oid(drops->reported_tables, change_table);
				});
				ereport(LOG,
						(errcode(error.sqlerrcode),
						 errmsg("change table %u of a disabled capture instance cannot be dropped: "
								"%s",
								change_table, error.message),
						 errdetail("Capture goes on, and tries again every %d seconds.",
								   kFailedPauseMs / 1000)));
			});
	});
	return dropped;
}

void
run_tables(PendingDrops *drops)
{
	List *pending = drops->tables;
	ListCell *cell;

	if (pending == NIL || GetCurrentTimestamp() < drops->tables_not_before)
		return;
	drops->tables = NIL;
	foreach (cell, pending)
		if (!drop_table(drops, lfirst_oid(cell)))
			in_context(drops->memory,
					   [&] { drops->tables = lappend_oid(drops->tables, lfirst_oid(cell)); });
	list_free(pending);
}

void
run_instances(PendingDrops *drops)
{
	List *pending = drops->instances;
	int pause_ms = 0;
	ListCell *cell;

	if (pending == NIL || GetCurrentTimestamp() < drops->not_before)
		return;
	drops->instances = NIL;
	foreach (cell, pending)
	{
		int32 instance_id = lfirst_int(cell);
		bool report = !list_member_int(drops->reported, instance_id);
		Oid change_table;

		switch (catalog::instance_remove_dropped(instance_id, true, report, &change_table))
		{
			case catalog::RemoveOutcome::Removed:
				if (OidIsValid(change_table))
					pending_drops_add_table(drops, change_table);
				continue;
			case catalog::RemoveOutcome::Busy:
				pause_ms = kBusyPauseMs;
				break;
			case catalog::RemoveOutcome::Depended:
				pause_ms = Max(pause_ms, kDependedPauseMs);
				in_context(drops->memory, [&] {
					drops->reported = list_append_unique_int(drops->reported, instance_id);
				});
				break;
		}
		in_context(drops->memory,
				   [&] { drops->instances = lappend_int(drops->instances, instance_id); });
	}
	list_free(pending);
	drops->not_before = TimestampTzPlusMilliseconds(GetCurrentTimestamp(), pause_ms);
}

} // namespace

void
pending_drops_init(PendingDrops *drops, MemoryContext memory)
{
	drops->memory = memory;
	drops->reported = NIL;
	drops->not_before = 0;
	drops->reported_tables = NIL;
	drops->tables_not_before = 0;
	in_context(memory, [&] {
		drops->tables = ddl_dropped_tables();
		drops->instances = catalog::source_drops_to_remove();
	});
}

void
pending_drops_add_table(PendingDrops *drops, Oid change_table)
{
	in_context(drops->memory,
			   [&] { drops->tables = list_append_unique_oid(drops->tables, change_table); });
	drops->tables_not_before = 0;
}

void
pending_drops_add_instance(PendingDrops *drops, int32 instance_id)
{
	in_context(drops->memory,
			   [&] { drops->instances = list_append_unique_int(drops->instances, instance_id); });
	drops->not_before = 0;
}

void
pending_drops_run(PendingDrops *drops)
{
	/* Instances first: what is left of them are tables. */
	run_instances(drops);
	run_tables(drops);
}

} // namespace cdc::capture
