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
#include "catalog/ddl_drop.hpp"
#include "catalog/ddl_history.hpp"
#include "catalog/ddl_partitions.hpp"
#include "catalog/identity_guard.hpp"
#include "catalog/instance_rows.hpp"
#include "catalog/key_guard.hpp"
#include "catalog/publications.hpp"
#include "catalog/replica_identity.hpp"
#include "catalog/version.hpp"

extern "C" {
#include "commands/event_trigger.h"
#include "executor/spi.h"
}

namespace cdc::catalog
{

namespace
{

/* Calls take(row, descriptor) for each row that a query in this event trigger's context gives. */
template <typename Take>
void
for_each_row(const char *query, Take take)
{
	SPI_connect();
	if (SPI_execute(query, true, 0) != SPI_OK_SELECT)
		elog(ERROR, "could not read what the command has done");
	for (uint64 i = 0; i < SPI_processed; i++)
		take(SPI_tuptable->vals[i], SPI_tuptable->tupdesc);
	SPI_finish();
}

Oid
oid_column(HeapTuple row, TupleDesc descriptor, int column)
{
	bool isnull;
	return DatumGetObjectId(SPI_getbinval(row, descriptor, column, &isnull));
}

/* What the command has made or altered: DdlObject pointers. */
List *
objects_of_command()
{
	MemoryContext caller = CurrentMemoryContext;
	List *result = NIL;

	for_each_row("SELECT classid, objid FROM pg_catalog.pg_event_trigger_ddl_commands()",
				 [&](HeapTuple row, TupleDesc descriptor) {
					 DdlObject found = {.class_id = oid_column(row, descriptor, 1),
										.object_id = oid_column(row, descriptor, 2)};
					 in_context(caller, [&] {
						 auto *object = static_cast<DdlObject *>(palloc(sizeof(DdlObject)));
						 *object = found;
						 result = lappend(result, object);
					 });
				 });
	return result;
}

/*
 * Tables that the command has dropped, and columns of others: DroppedRelation pointers. Views, too: before
 * PostgreSQL 16 a rule could turn a table into one.
 */
List *
tables_dropped_by_command()
{
	MemoryContext caller = CurrentMemoryContext;
	List *result = NIL;

	for_each_row(
		"SELECT objid, objsubid OPERATOR(pg_catalog.<>) 0 "
		"FROM pg_catalog.pg_event_trigger_dropped_objects() "
		"WHERE classid OPERATOR(pg_catalog.=) 'pg_catalog.pg_class'::pg_catalog.regclass "
		"AND object_type OPERATOR(pg_catalog.=) ANY (ARRAY['table', 'view', 'table column'])",
		[&](HeapTuple row, TupleDesc descriptor) {
			bool isnull;
			DroppedRelation found = {.relation = oid_column(row, descriptor, 1),
									 .is_column =
										 DatumGetBool(SPI_getbinval(row, descriptor, 2, &isnull))};
			in_context(caller, [&] {
				auto *dropped = static_cast<DroppedRelation *>(palloc(sizeof(DroppedRelation)));
				*dropped = found;
				result = lappend(result, dropped);
			});
		});
	return result;
}

/*
 * A serialization failure belongs to the user's transaction, which is serializable: swallowed, the command would be
 * lost to capture, and with it a dropped table whose instance stays.
 */
void
warn_of_failure(const ErrorData &failure)
{
	if (failure.sqlerrcode == ERRCODE_T_R_SERIALIZATION_FAILURE)
		ereport(ERROR, (errcode(ERRCODE_T_R_SERIALIZATION_FAILURE), errmsg("%s", failure.message),
						failure.detail != nullptr ? errdetail("%s", failure.detail) : 0,
						failure.hint != nullptr ? errhint("%s", failure.hint) : 0));
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
	if (!OidIsValid(cdc_relation_oid("change_tables", true)) ||
		!OidIsValid(cdc_relation_oid("_replica_identity", true)) || instance_set_is_empty())
		return false;
	/* The caller makes a warning of it. */
	require_version();
	return true;
}

EventTriggerData *
event_of(FunctionCallInfo fcinfo, const char *function)
{
	if (!CALLED_AS_EVENT_TRIGGER(fcinfo))
		ereport(ERROR,
				(errcode(ERRCODE_E_R_I_E_EVENT_TRIGGER_PROTOCOL_VIOLATED),
				 errmsg("function \"%s.%s\" can only be called by its event trigger", kSchema,
						function),
				 errhint("The server calls it when a command is run: there is nothing to call.")));
	return reinterpret_cast<EventTriggerData *>(fcinfo->context);
}

} // namespace

} // namespace cdc::catalog

/*
 * cdc._on_ddl_command_start: what is refused before anything has happened (SET UNLOGGED rewrites the
 * table; DETACH PARTITION CONCURRENTLY commits half-way), and what cannot be seen afterwards.
 */
CDC_FUNCTION(cdc_on_ddl_command_start)
{
	using namespace cdc;
	using namespace cdc::catalog;

	Node *parsetree = event_of(fcinfo, "_on_ddl_command_start")->parsetree;
	PartitionDdl ddl = partition_ddl_of(parsetree);
	CaptureInstance *instance = nullptr;
	CaptureInstance *unlogged = nullptr;

	if (!IsA(parsetree, AlterTableStmt) ||
		(!ddl.adds && !ddl.removes && !ddl.unlogs && !ddl.leaves_heap && !ddl.retypes))
		PG_RETURN_NULL();

	(void)in_subtransaction(
		[&]() {
			if (!anything_captured())
				return;
			if (ddl.adds || ddl.removes)
				instance = switch_forbidden_by(castNode(AlterTableStmt, parsetree));
			if (ddl.unlogs || ddl.leaves_heap)
				unlogged = fed_by_table_to_unlog(castNode(AlterTableStmt, parsetree));
			if (ddl.retypes)
				ddl_history_note_types(castNode(AlterTableStmt, parsetree));
		},
		warn_of_failure);

	if (unlogged != nullptr)
		error_unlogs_captured(unlogged, !ddl.unlogs);
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
	BrokenKey broken = {};

	/* CREATE TABLE of temporary tables, above all, must stay cheap. */
	bool publishes = IsA(parsetree, CreatePublicationStmt) || IsA(parsetree, AlterPublicationStmt);
	if (!ddl.adds && !ddl.removes && !publishes && !ddl_history_cares(parsetree) &&
		!key_guard_cares(parsetree))
		PG_RETURN_NULL();

	(void)in_subtransaction(
		[&]() {
			if (!anything_captured())
				return;
			if (publishes)
			{
				publications_warn();
				publication_warn_of_ours(
					IsA(parsetree, CreatePublicationStmt)
						? castNode(CreatePublicationStmt, parsetree)->pubobjects
						: castNode(AlterPublicationStmt, parsetree)->pubobjects);
				return;
			}
			List *objects = objects_of_command();
			if (ddl.adds)
				unlogged = partitions_added(objects);
			if (OidIsValid(unlogged.partition))
				return;
			if (ddl.removes)
				partitions_removed(castNode(AlterTableStmt, parsetree));
			if (IsA(parsetree, AlterTableStmt))
				identity_guard_after_alter(castNode(AlterTableStmt, parsetree));
			if (IsA(parsetree, AlterTableStmt))
				broken = key_guard_after_alter(castNode(AlterTableStmt, parsetree), objects);
			key_guard_follow_rename(parsetree);
			ddl_history_record(parsetree, objects);
		},
		warn_of_failure);

	if (OidIsValid(unlogged.partition))
		error_unlogged_partition(unlogged);
	if (broken.instance != nullptr)
		error_key_nullable(broken.instance, broken.nullable_column);
	PG_RETURN_NULL();
}

/* cdc._on_sql_drop: what is gone by now, as a whole. */
CDC_FUNCTION(cdc_on_sql_drop)
{
	using namespace cdc;
	using namespace cdc::catalog;

	Node *parsetree = event_of(fcinfo, "_on_sql_drop")->parsetree;
	CaptureInstance *forbids = nullptr;
	BrokenKey broken = {};

	(void)in_subtransaction(
		[&]() {
			if (!anything_captured())
				return;
			forbids = ddl_drop_record(parsetree, tables_dropped_by_command());
			broken = key_guard_after_drop();
		},
		warn_of_failure);

	if (forbids != nullptr)
		error_switch_forbidden(forbids, "drop", 22843);
	if (broken.instance != nullptr)
		error_key_dropped(broken.instance, broken.is_constraint);
	PG_RETURN_NULL();
}
