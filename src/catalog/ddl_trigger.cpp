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
#include "catalog/capture_instance.hpp"
#include "catalog/catalog.hpp"
#include "catalog/catalog_rows.hpp"
#include "catalog/instance_rows.hpp"
#include "catalog/replica_identity.hpp"
#include "catalog/source_table.hpp"

extern "C" {
#include "catalog/partition.h"
#include "catalog/pg_class.h"
#include "catalog/pg_inherits.h"
#include "commands/event_trigger.h"
#include "executor/spi.h"
#include "storage/lmgr.h"
#include "utils/inval.h"
}

namespace cdc::catalog
{

namespace
{

/* What a command may have done that concerns us; most commands are left after looking at this. */
struct PartitionDdl
{
	bool adds;	  /* CREATE TABLE ... PARTITION OF, ATTACH PARTITION, or unknown */
	bool removes; /* DETACH PARTITION */
	bool unlogs;  /* SET UNLOGGED */
};

PartitionDdl
partition_ddl_of(Node *parsetree)
{
	PartitionDdl result = {};

	switch (nodeTag(parsetree))
	{
		case T_CreateStmt:
			result.adds = castNode(CreateStmt, parsetree)->partbound != nullptr;
			break;
		case T_CreateSchemaStmt:
			result.adds = true; /* whatever its elements are */
			break;
		case T_AlterTableStmt:
		{
			ListCell *cell;
			foreach (cell, castNode(AlterTableStmt, parsetree)->cmds)
			{
				auto *command = static_cast<AlterTableCmd *>(lfirst(cell));
				result.adds = result.adds || command->subtype == AT_AttachPartition;
				result.unlogs = result.unlogs || command->subtype == AT_SetUnLogged;
				result.removes = result.removes || command->subtype == AT_DetachPartition ||
								 command->subtype == AT_DetachPartitionFinalize;
			}
			break;
		}
		default:
			break;
	}
	return result;
}

/* Oids that a query in this command's event trigger context gives, in the caller's memory. */
List *
query_oids(const char *query)
{
	MemoryContext caller = CurrentMemoryContext;
	List *result = NIL;

	SPI_connect();
	if (SPI_execute(query, true, 0) != SPI_OK_SELECT)
		elog(ERROR, "could not read what the command has done");
	for (uint64 i = 0; i < SPI_processed; i++)
	{
		bool isnull;
		Datum value = SPI_getbinval(SPI_tuptable->vals[i], SPI_tuptable->tupdesc, 1, &isnull);
		MemoryContext spi = MemoryContextSwitchTo(caller);
		result = lappend_oid(result, DatumGetObjectId(value));
		MemoryContextSwitchTo(spi);
	}
	SPI_finish();
	return result;
}

/* The instances that a relation feeds: its own, and those of the tables that it is a partition of. */
List *
instances_fed_by(Oid relation)
{
	List *result = capture_instances_of_source(relation);
	ListCell *cell;

	if (get_rel_relispartition(relation))
		foreach (cell, get_partition_ancestors(relation))
			result = list_concat(result, capture_instances_of_source(lfirst_oid(cell)));
	return result;
}

bool
is_locked_exclusively(Oid relation)
{
	LOCKTAG tag;
	SET_LOCKTAG_RELATION(tag, MyDatabaseId, relation);
	return compat_lock_held_by_me(&tag, AccessExclusiveLock);
}

/* A partition under captured tables logs as much as their instances were promised. */
void
promise_partition(Oid partition, List *instances)
{
	Oid index = InvalidOid;
	ListCell *cell;

	/*
	 * Partitions that this command has made or attached are ours under the lock that it took.
	 * Others are none of its business, even if somebody has changed them.
	 */
	if (!is_locked_exclusively(partition))
		return;

	foreach (cell, instances)
	{
		auto *instance = static_cast<CaptureInstance *>(lfirst(cell));
		if (instance->before_image_full || !instance->has_index)
		{
			index = InvalidOid;
			break;
		}
		RowIdentifier identifier = {};
		identifier.index =
			get_relname_relid(NameStr(instance->index_name), get_rel_namespace(instance->source));
		Oid own = OidIsValid(identifier.index) ? row_identifier_index_of(identifier, partition)
											   : InvalidOid;
		if (!OidIsValid(own))
			return;
		/* By different indexes: only the whole row serves both. */
		if (OidIsValid(index) && index != own)
		{
			index = InvalidOid;
			break;
		}
		index = own;
	}

	replica_identity_promise(partition, index);
	CacheInvalidateRelcacheByRelid(partition);
}

/* The first partition below `relation` whose changes the log would not show; InvalidOid: none. */
Oid
find_unlogged_partition(Oid relation)
{
	ListCell *cell;

	foreach (cell, find_all_inheritors(relation, NoLock, nullptr))
	{
		Oid partition = lfirst_oid(cell);
		if (get_rel_relkind(partition) == RELKIND_FOREIGN_TABLE ||
			get_rel_persistence(partition) != RELPERSISTENCE_PERMANENT)
			return partition;
	}
	return InvalidOid;
}

void
partitions_added(Oid *unlogged, Oid *captured)
{
	List *relations = query_oids(
		"SELECT DISTINCT objid FROM pg_catalog.pg_event_trigger_ddl_commands() "
		"WHERE classid OPERATOR(pg_catalog.=) 'pg_catalog.pg_class'::pg_catalog.regclass "
		"AND object_type OPERATOR(pg_catalog.=) ANY (ARRAY['table', 'foreign table'])");
	ListCell *cell;

	foreach (cell, relations)
	{
		Oid relation = lfirst_oid(cell);
		if (!SearchSysCacheExists1(RELOID, ObjectIdGetDatum(relation)))
			continue;
		/* A root without partitions of its own needs no look. */
		if (!get_rel_relispartition(relation) &&
			get_rel_relkind(relation) != RELKIND_PARTITIONED_TABLE)
			continue;
		List *instances = instances_fed_by(relation);
		if (instances == NIL)
			continue;

		*unlogged = find_unlogged_partition(relation);
		if (OidIsValid(*unlogged))
		{
			*captured = static_cast<CaptureInstance *>(linitial(instances))->source;
			return;
		}
		ListCell *partition;
		foreach (partition, find_all_inheritors(relation, NoLock, nullptr))
			promise_partition(lfirst_oid(partition), instances);
	}
}

/* Detached partitions that feed no instance any more get back what they had. */
void
partitions_removed()
{
	List *relations = NIL;
	ListCell *cell;

	rows_scan("_replica_identity", nullptr, {}, AccessShareLock,
			  [&](Relation table, HeapTuple tuple) {
				  relations =
					  lappend_oid(relations,
								  DatumGetObjectId(
									  row_deform<kRiColumns>(table, tuple)[kRiSourceObjectId]));
			  });
	foreach (cell, relations)
	{
		Oid relation = lfirst_oid(cell);
		if (!SearchSysCacheExists1(RELOID, ObjectIdGetDatum(relation)))
			replica_identity_forget(relation);
		else if (instances_fed_by(relation) == NIL && is_locked_exclusively(relation))
		{
			replica_identity_restore(relation, InvalidOid);
			CacheInvalidateRelcacheByRelid(relation);
		}
	}
}

/* The source tables that are gone: what is before the drop in the log is still captured. */
void
relations_dropped()
{
	List *relations = query_oids(
		"SELECT objid FROM pg_catalog.pg_event_trigger_dropped_objects() "
		"WHERE classid OPERATOR(pg_catalog.=) 'pg_catalog.pg_class'::pg_catalog.regclass "
		"AND objsubid OPERATOR(pg_catalog.=) 0 AND object_type OPERATOR(pg_catalog.=) 'table'");
	ListCell *cell;

	foreach (cell, relations)
	{
		ScanKeyData key = scan_key(kCtSourceObjectId, F_OIDEQ, ObjectIdGetDatum(lfirst_oid(cell)));
		rows_lock("change_tables", "change_tables_source_object_id_idx", {&key, 1});
		rows_scan("change_tables", "change_tables_source_object_id_idx", {&key, 1},
				  RowExclusiveLock, [&](Relation table, HeapTuple tuple) {
					  auto row = row_deform<kCtColumns>(table, tuple);
					  row.set(kCtHasDropPending, BoolGetDatum(true));
					  HeapTuple changed =
						  heap_form_tuple(RelationGetDescr(table), row.values, row.nulls);
					  CatalogTupleUpdate(table, &tuple->t_self, changed);
				  });
		replica_identity_forget(lfirst_oid(cell));
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

/* The instance that forbids this attaching or detaching; NULL: none does. */
CaptureInstance *
switch_forbidden_by(AlterTableStmt *stmt)
{
	Oid parent = RangeVarGetRelid(stmt->relation, NoLock, true);
	ListCell *cell;

	if (!OidIsValid(parent) || get_rel_relkind(parent) != RELKIND_PARTITIONED_TABLE)
		return nullptr;
	foreach (cell, instances_fed_by(parent))
	{
		auto *instance = static_cast<CaptureInstance *>(lfirst(cell));
		if (!instance->partition_switch)
			return instance;
	}
	return nullptr;
}

/* An instance that would lose the changes of a table that is to be unlogged; NULL: none would. */
CaptureInstance *
fed_by_table_to_unlog(AlterTableStmt *stmt)
{
	Oid relation = RangeVarGetRelid(stmt->relation, NoLock, true);
	List *instances = OidIsValid(relation) ? instances_fed_by(relation) : NIL;
	return instances != NIL ? static_cast<CaptureInstance *>(linitial(instances)) : nullptr;
}

void
refuse_to_unlog(const CaptureInstance *instance)
{
	const char *schema = get_namespace_name(get_rel_namespace(instance->source));
	const char *table = get_rel_name(instance->source);

	ereport(ERROR,
			(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
			 errmsg("cannot make captured table \"%s.%s\" or a partition of it unlogged", schema,
					table),
			 errdetail("Capture instance \"%s\" would lose its changes: they would not be in the "
					   "write-ahead log.",
					   NameStr(instance->name)),
			 errhint("Disable capture first: CALL cdc.sp_cdc_disable_table(%s, %s, 'all');",
					 quote_literal_cstr(schema), quote_literal_cstr(table))));
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
		refuse_to_unlog(unlogged);

	if (instance != nullptr)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("cannot %s a partition of captured table \"%s.%s\"",
						ddl.adds ? "attach" : "detach",
						get_namespace_name(get_rel_namespace(instance->source)),
						get_rel_name(instance->source)),
				 errdetail("SQL Server error %d: capture instance \"%s\" was made with "
						   "allow_partition_switch => false.",
						   ddl.adds ? 22842 : 22843, NameStr(instance->name)),
				 errhint("Disable the instance first: CALL cdc.sp_cdc_disable_table(%s, %s, %s);",
						 quote_literal_cstr(
							 get_namespace_name(get_rel_namespace(instance->source))),
						 quote_literal_cstr(get_rel_name(instance->source)),
						 quote_literal_cstr(NameStr(instance->name)))));
	PG_RETURN_NULL();
}

/* cdc._on_ddl_command_end */
CDC_FUNCTION(cdc_on_ddl_command_end)
{
	using namespace cdc;
	using namespace cdc::catalog;

	PartitionDdl ddl = partition_ddl_of(event_of(fcinfo, "_on_ddl_command_end")->parsetree);
	Oid unlogged = InvalidOid;
	Oid captured = InvalidOid;

	if (!ddl.adds && !ddl.removes)
		PG_RETURN_NULL();

	(void)in_subtransaction(
		[&]() {
			if (!anything_captured())
				return;
			if (ddl.adds)
				partitions_added(&unlogged, &captured);
			if (ddl.removes)
				partitions_removed();
		},
		warn_of_failure);

	if (OidIsValid(unlogged))
		ereport(
			ERROR,
			(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
			 errmsg("table \"%s.%s\" cannot become a partition of a captured table",
					get_namespace_name(get_rel_namespace(unlogged)), get_rel_name(unlogged)),
			 errdetail(
				 "Table \"%s.%s\" is captured, and changes of %s are not in the write-ahead log.",
				 get_namespace_name(get_rel_namespace(captured)), get_rel_name(captured),
				 get_rel_relkind(unlogged) == RELKIND_FOREIGN_TABLE ? "foreign tables"
																	: "unlogged tables"),
			 errhint("Use a logged table, or disable capture first: CALL "
					 "cdc.sp_cdc_disable_table(%s, %s, 'all');",
					 quote_literal_cstr(get_namespace_name(get_rel_namespace(captured))),
					 quote_literal_cstr(get_rel_name(captured)))));
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
