/*
 * ddl_trigger.cpp
 *	  The event triggers: DDL on captured tables, in the session that runs it.
 *
 * NOTES
 *	  Our own failure is never the user's: everything runs in a subtransaction whose error becomes a
 *	  warning, and what was missed is noticed by the decoder at the row. The only errors raised on
 *	  purpose are refusals, outside of it.
 *
 *	  Rows are read and written below the executor and by numbers from the command itself, never by
 *	  names that a search path could bend: any user may run DDL.
 */
#include "cdc.hpp"

#include "base/scope.hpp"
#include "catalog/catalog.hpp"
#include "catalog/catalog_rows.hpp"
#include "catalog/ddl_history.hpp"
#include "catalog/ddl_partitions.hpp"
#include "catalog/instance_rows.hpp"
#include "catalog/replica_identity.hpp"

extern "C" {
#include "commands/event_trigger.h"
#include "executor/spi.h"
}

namespace cdc::catalog
{

namespace
{

/* Class and object oids that a query in this event trigger's context gives, as DdlObject pointers. */
List *
query_objects(const char *query)
{
	MemoryContext caller = CurrentMemoryContext;
	List *result = NIL;

	SPI_connect();
	if (SPI_execute(query, true, 0) != SPI_OK_SELECT)
		elog(ERROR, "could not read what the command has done");
	for (uint64 i = 0; i < SPI_processed; i++)
	{
		bool isnull;
		TupleDesc descriptor = SPI_tuptable->tupdesc;
		HeapTuple row = SPI_tuptable->vals[i];
		Oid class_id = DatumGetObjectId(SPI_getbinval(row, descriptor, 1, &isnull));
		Oid object_id = DatumGetObjectId(SPI_getbinval(row, descriptor, 2, &isnull));
		in_context(caller, [&] {
			auto *object = static_cast<DdlObject *>(palloc(sizeof(DdlObject)));
			*object = {.class_id = class_id, .object_id = object_id};
			result = lappend(result, object);
		});
	}
	SPI_finish();
	return result;
}

/* The source tables that are gone: what is before the drop in the log is still captured. */
void
relations_dropped()
{
	List *relations = query_objects(
		"SELECT classid, objid FROM pg_catalog.pg_event_trigger_dropped_objects() "
		"WHERE classid OPERATOR(pg_catalog.=) 'pg_catalog.pg_class'::pg_catalog.regclass "
		"AND objsubid OPERATOR(pg_catalog.=) 0 AND object_type OPERATOR(pg_catalog.=) 'table'");
	ListCell *cell;

	foreach (cell, relations)
	{
		Oid relation = static_cast<DdlObject *>(lfirst(cell))->object_id;
		ScanKeyData key = scan_key(kCtSourceObjectId, F_OIDEQ, ObjectIdGetDatum(relation));
		rows_lock("change_tables", "change_tables_source_object_id_idx", {&key, 1});
		rows_scan("change_tables", "change_tables_source_object_id_idx", {&key, 1},
				  RowExclusiveLock, [&](Relation table, HeapTuple tuple) {
					  auto row = row_deform<kCtColumns>(table, tuple);
					  row.set(kCtHasDropPending, BoolGetDatum(true));
					  HeapTuple changed =
						  heap_form_tuple(RelationGetDescr(table), row.values, row.nulls);
					  CatalogTupleUpdate(table, &tuple->t_self, changed);
				  });
		replica_identity_forget(relation);
	}
	CommandCounterIncrement();
}

void
warn_of_failure(const ErrorData &failure)
{
	ereport(WARNING,
			(errcode(failure.sqlerrcode),
			 errmsg("change data capture could not follow this command: %s", failure.message),
			 failure.detail != nullptr ? errdetail("%s", failure.detail) : 0,
			 failure.hint != nullptr
				 ? errhint("The command itself is not affected. %s", failure.hint)
				 : errhint("The command itself is not affected. See cdc.pg_stat_cdc if capture of "
						   "the table stops.")));
}

/* Nothing to do in a database without instances, nor while the extension itself comes or goes. */
bool
anything_captured()
{
	return OidIsValid(cdc_relation_oid("change_tables", true)) &&
		   OidIsValid(cdc_relation_oid("_replica_identity", true)) && !instance_set_is_empty();
}

EventTriggerData *
event_of(FunctionCallInfo fcinfo, const char *function)
{
	if (!CALLED_AS_EVENT_TRIGGER(fcinfo))
		ereport(ERROR, (errcode(ERRCODE_E_R_I_E_EVENT_TRIGGER_PROTOCOL_VIOLATED),
						errmsg("function \"%s.%s\" can only be called by its event trigger",
							   kSchema, function)));
	return reinterpret_cast<EventTriggerData *>(fcinfo->context);
}

} // namespace

} // namespace cdc::catalog

/*
 * cdc._on_ddl_command_start: what is refused before anything has happened. SET UNLOGGED rewrites the
 * table; DETACH PARTITION CONCURRENTLY commits half-way.
 */
CDC_FUNCTION(cdc_on_ddl_command_start)
{
	using namespace cdc;
	using namespace cdc::catalog;

	Node *parsetree = event_of(fcinfo, "_on_ddl_command_start")->parsetree;
	PartitionDdl ddl = partition_ddl_of(parsetree);
	CaptureInstance *instance = nullptr;
	CaptureInstance *unlogged = nullptr;

	if (!IsA(parsetree, AlterTableStmt) || (!ddl.adds && !ddl.removes && !ddl.unlogs))
		PG_RETURN_NULL();

	(void)in_subtransaction(
		[&]() {
			if (!anything_captured())
				return;
			if (ddl.adds || ddl.removes)
				instance = switch_forbidden_by(castNode(AlterTableStmt, parsetree));
			if (ddl.unlogs)
				unlogged = fed_by_table_to_unlog(castNode(AlterTableStmt, parsetree));
		},
		warn_of_failure);

	if (unlogged != nullptr)
		error_unlogs_captured(unlogged);
	if (instance != nullptr)
		error_switch_forbidden(instance, ddl.adds ? "attach" : "detach", ddl.adds ? 22842 : 22843);
	PG_RETURN_NULL();
}

/* cdc._on_ddl_command_end: partitions are made fit for capture, and the command is recorded. */
CDC_FUNCTION(cdc_on_ddl_command_end)
{
	using namespace cdc;
	using namespace cdc::catalog;

	Node *parsetree = event_of(fcinfo, "_on_ddl_command_end")->parsetree;
	PartitionDdl ddl = partition_ddl_of(parsetree);
	UnloggedPartition unlogged = {};

	(void)in_subtransaction(
		[&]() {
			if (!anything_captured())
				return;
			List *objects = query_objects(
				"SELECT classid, objid FROM pg_catalog.pg_event_trigger_ddl_commands()");
			if (ddl.adds)
				unlogged = partitions_added(objects);
			if (OidIsValid(unlogged.partition))
				return;
			if (ddl.removes)
				partitions_removed(castNode(AlterTableStmt, parsetree));
			ddl_history_record(parsetree, objects);
		},
		warn_of_failure);

	if (OidIsValid(unlogged.partition))
		error_unlogged_partition(unlogged);
	PG_RETURN_NULL();
}

/* cdc._on_sql_drop */
CDC_FUNCTION(cdc_on_sql_drop)
{
	using namespace cdc;
	using namespace cdc::catalog;

	(void)event_of(fcinfo, "_on_sql_drop");
	(void)in_subtransaction(
		[]() {
			if (anything_captured())
				relations_dropped();
		},
		warn_of_failure);
	PG_RETURN_NULL();
}
