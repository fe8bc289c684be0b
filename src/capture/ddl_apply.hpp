/*
 * ddl_apply.hpp
 *	  What the writer does to the catalog when it meets an event in WAL order.
 *
 * NOTES
 *	  Everything here runs in the writer, in the batch that holds the change rows of the same commit,
 *	  unless said otherwise; below the executor, under the newest catalog snapshot.
 */
#pragma once

#include "cdc.hpp"

#include "capture/change_queue.hpp"

namespace cdc::capture
{

/* An EventItem that outlives its chunk. */
struct Event
{
	char kind;
	int32 instance_id;
	Oid change_table;
	Oid source;
	char *command; /* NULL: none */
};

struct EventEffect
{
	bool wants_mapping;		 /* this commit needs a mapping row even without changes */
	bool may_start_later;	 /* instances_start_rest may have something to do */
	bool instance_gone;		 /* drop its change table after this batch */
	bool last_instance_gone; /* no instance is left: the mapping is emptied */
	bool source_gone;		 /* no more rows of this instance */
	bool removes_instance;	 /* ... and it is to be removed after this batch */
};

/* Allocates in the current context. */
Event *ddl_event_copy(const EventItem *item);

EventEffect ddl_event_apply(const Event *event, XLogRecPtr commit_lsn, TimestampTz commit_time);

/*
 * A row of ddl_history for types that changed without a command having been seen: event triggers were
 * off. `what` says what changed.
 */
void ddl_record_unseen(int32 instance_id, Oid change_table, Oid source, const char *what,
					   XLogRecPtr commit_lsn, TimestampTz commit_time);

/* The name of an instance, in the current context; NULL when today's catalog does not have it. */
char *ddl_instance_name(int32 instance_id);

bool ddl_any_instance();

/* Deletes all rows of lsn_time_mapping. */
void ddl_empty_mapping();

/* Change tables that disable_table left to the writer (List of Oid, in the current context). */
List *ddl_dropped_tables();

/*
 * Drops one of them, in a transaction of its own. False when somebody still reads it: capture
 * does not wait for readers.
 */
bool ddl_drop_change_table(Oid change_table);

} // namespace cdc::capture
