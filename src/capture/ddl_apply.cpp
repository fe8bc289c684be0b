/*
 * ddl_apply.cpp
 *	  Enabling, disabling, DDL and TRUNCATE as the writer meets them.
 */
#include "cdc.hpp"

#include "base/fault.hpp"
#include "capture/ddl_apply.hpp"
#include "capture/instance_gaps.hpp"
#include "catalog/catalog_rows.hpp"
#include "catalog/change_table.hpp"
#include "catalog/instance_remove.hpp"
#include "catalog/instance_rows.hpp"

extern "C" {
#include "catalog/partition.h"
#include "catalog/pg_class.h"
#include "catalog/pg_inherits.h"
#include "storage/lmgr.h"
#include "utils/inval.h"
}

namespace cdc::capture
{

using namespace catalog;

namespace
{

void
record_history(const Event *event, XLogRecPtr commit_lsn, TimestampTz commit_time,
			   bool required_column_update)
{
	/* Disabled meanwhile. Who does that between here and our commit has its event remove the row. */
	if (ddl_instance_name(event->instance_id) == nullptr)
		return;
	Relation relation = table_open(cdc_relation_oid("ddl_history", false), RowExclusiveLock);
	Oid sequence = cdc_relation_oid("ddl_history_ddl_id_seq", false);
	Row<kDhColumns> row;
	row.set(kDhSourceObjectId, ObjectIdGetDatum(event->source));
	row.set(kDhObjectId, ObjectIdGetDatum(event->change_table));
	row.set(kDhRequiredColumnUpdate, BoolGetDatum(required_column_update));
	row.set(kDhDdlCommand, CStringGetTextDatum(event->command != nullptr ? event->command : ""));
	row.set(kDhDdlLsn, LSNGetDatum(commit_lsn));
	row.set(kDhDdlTime, TimestampTzGetDatum(commit_time));
	row.set(kDhDdlId, DirectFunctionCall1(nextval_oid, ObjectIdGetDatum(sequence)));
	row_insert(relation, row);
	table_close(relation, NoLock);
}

/* Everything of the source is captured. Returns whether the instance goes now (drop_action 'remove'). */
bool
note_source_drop(int32 instance_id, XLogRecPtr commit_lsn)
{
	CaptureInstance *instance = capture_instance_by_id(instance_id, true);
	if (instance == nullptr)
		return false;
	source_drop_record(instance_id, commit_lsn);
	return !instance->kept_after_drop;
}

/* A TRUNCATE that is refused but came through, from a subscription, say. Returns whether it is a gap. */
bool
note_truncate(const Event *event, XLogRecPtr commit_lsn)
{
	CaptureInstance *instance = capture_instance_by_id(event->instance_id, true);
	if (instance == nullptr || instance->truncate_recorded)
		return false;
	instance_gap_truncated(event->change_table,
						   psprintf("capture instance \"%s\"", NameStr(instance->name)),
						   event->source, commit_lsn);
	return true;
}

/* Rows that were written while the instance was being disabled. */
void
remove_history(Oid change_table)
{
	ScanKeyData key = scan_key(kDhObjectId, F_OIDEQ, ObjectIdGetDatum(change_table));
	rows_delete("ddl_history", "ddl_history_object_id_idx", {&key, 1});
}

} // namespace

Event *
ddl_event_copy(const EventItem *item)
{
	Event *event = static_cast<Event *>(palloc0(sizeof(Event)));
	event->kind = item->kind;
	event->instance_id = item->instance_id;
	event->change_table = item->change_table;
	event->source = item->source;
	if (item->command_length > 0)
		event->command = pnstrdup(reinterpret_cast<const char *>(item + 1), item->command_length);
	return event;
}

EventEffect
ddl_event_apply(const Event *event, XLogRecPtr commit_lsn, TimestampTz commit_time)
{
	EventEffect effect = {};

	switch (static_cast<QueueKind>(event->kind))
	{
		case QueueKind::EnableTable:
			/* The instance exists from this commit on: its low end is here. */
			effect.wants_mapping = instance_start(event->instance_id, commit_lsn);
			effect.may_start_later = true;
			return effect;
		case QueueKind::DisableTable:
			remove_history(event->change_table);
			source_drop_forget(event->instance_id);
			effect.instance_gone = true;
			effect.last_instance_gone = !ddl_any_instance();
			return effect;
		case QueueKind::Truncate:
			record_history(event, commit_lsn, commit_time, false);
			effect.wants_mapping = note_truncate(event, commit_lsn);
			return effect;
		case QueueKind::Sound:
		case QueueKind::WeakIdentity:
		case QueueKind::Unlogged:
			return effect; /* the writer's own business */
		case QueueKind::Command:
			record_history(event, commit_lsn, commit_time, false);
			return effect;
		case QueueKind::AlterType:
			record_history(event, commit_lsn, commit_time, true);
			return effect;
		case QueueKind::DropSource:
			record_history(event, commit_lsn, commit_time, false);
			effect.source_gone = true;
			effect.removes_instance = note_source_drop(event->instance_id, commit_lsn);
			return effect;
	}
	elog(ERROR, "unknown kind of event \"%c\" in the capture queue", event->kind);
}

void
ddl_record_unseen(int32 instance_id, Oid change_table, Oid source, const char *what,
				  XLogRecPtr commit_lsn, TimestampTz commit_time)
{
	Event event = {};
	event.instance_id = instance_id;
	event.change_table = change_table;
	event.source = source;
	event.command = psprintf("-- the command was not seen; %s", what);
	record_history(&event, commit_lsn, commit_time, true);
}

char *
ddl_instance_name(int32 instance_id)
{
	char *name = nullptr;
	ScanKeyData key = scan_key(kCtInstanceId, F_INT4EQ, Int32GetDatum(instance_id));

	rows_scan("change_tables", "change_tables_instance_id_key", {&key, 1}, AccessShareLock,
			  [&](Relation relation, HeapTuple tuple) {
				  name = pstrdup(NameStr(
					  *DatumGetName(row_deform<kCtColumns>(relation, tuple)[kCtCaptureInstance])));
			  });
	return name;
}

bool
ddl_any_instance()
{
	bool found = false;
	rows_scan("change_tables", nullptr, {}, AccessShareLock,
			  [&](Relation, HeapTuple) { found = true; });
	return found;
}

void
ddl_empty_mapping()
{
	rows_delete("lsn_time_mapping", nullptr, {});
}

List *
ddl_dropped_tables()
{
	/* Renamed by disable_table: _dropped_<instance id>. */
	constexpr std::string_view kPrefix = "_dropped_";
	List *result = NIL;
	Oid schema = get_namespace_oid(kSchema, false);
	Relation relation = table_open(RelationRelationId, AccessShareLock);
	ScanKeyData key = scan_key(Anum_pg_class_relnamespace, F_OIDEQ, ObjectIdGetDatum(schema));
	SysScanDesc scan = systable_beginscan(relation, InvalidOid, false, nullptr, 1, &key);

	while (HeapTuple tuple = systable_getnext(scan))
	{
		Form_pg_class form = reinterpret_cast<Form_pg_class>(GETSTRUCT(tuple));
		if (form->relkind == RELKIND_PARTITIONED_TABLE &&
			strncmp(NameStr(form->relname), kPrefix.data(), kPrefix.size()) == 0)
			result = lappend_oid(result, form->oid);
	}
	systable_endscan(scan);
	table_close(relation, AccessShareLock);
	return result;
}

bool
ddl_drop_change_table(Oid change_table)
{
	/* Root, then leaves, as everybody locks them. */
	if (!ConditionalLockRelationOid(change_table, AccessExclusiveLock))
		return false;
	AcceptInvalidationMessages();
	if (!SearchSysCacheExists1(RELOID, ObjectIdGetDatum(change_table)))
		return true; /* dropped already, before the event of its disabling was met */
	ListCell *cell;
	foreach (cell, find_inheritance_children(change_table, NoLock))
		if (!ConditionalLockRelationOid(lfirst_oid(cell), AccessExclusiveLock))
			return false;
	CDC_FAULT("change-table-drop");
	change_table_drop(change_table);
	return true;
}

} // namespace cdc::capture
