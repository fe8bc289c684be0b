/*
 * ddl_partitions.cpp
 *	  Partitions of captured tables as they come and go: replica identity, and what is refused.
 */
#include "cdc.hpp"

#include "catalog/catalog_rows.hpp"
#include "catalog/ddl_history.hpp"
#include "catalog/ddl_partitions.hpp"
#include "catalog/replica_identity.hpp"
#include "catalog/source_table.hpp"

extern "C" {
#include "access/tableam.h"
#include "catalog/partition.h"
#include "catalog/pg_am.h"
#include "catalog/pg_class.h"
#include "catalog/pg_index.h"
#include "catalog/pg_inherits.h"
#include "commands/defrem.h"
#include "storage/lmgr.h"
#include "utils/inval.h"
#include "utils/relcache.h"
}

namespace cdc::catalog
{

namespace
{

bool
is_locked_exclusively(Oid relation)
{
	LOCKTAG tag;
	SET_LOCKTAG_RELATION(tag, MyDatabaseId, relation);
	return compat_lock_held_by_me(&tag, AccessExclusiveLock);
}

/* The same, or part of a tree whose root is. */
bool
belongs_to_command(Oid relation)
{
	ListCell *cell;

	if (is_locked_exclusively(relation))
		return true;
	if (get_rel_relispartition(relation))
		foreach (cell, get_partition_ancestors(relation))
			if (is_locked_exclusively(lfirst_oid(cell)))
				return true;
	return false;
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

bool
is_no_heap(Oid relation)
{
	HeapTuple tuple = SearchSysCache1(RELOID, ObjectIdGetDatum(relation));
	if (!HeapTupleIsValid(tuple))
		return false;
	auto *form = reinterpret_cast<Form_pg_class>(GETSTRUCT(tuple));
	bool no_heap = form->relkind == RELKIND_RELATION && form->relam != HEAP_TABLE_AM_OID;
	ReleaseSysCache(tuple);
	return no_heap;
}

bool
leaves_heap(const AlterTableCmd *command)
{
	if (command->subtype != AT_SetAccessMethod)
		return false;
	/* DEFAULT has no name. */
	const char *method = command->name != nullptr ? command->name : default_table_access_method;
	Oid method_oid = get_table_am_oid(method, true);
	return OidIsValid(method_oid) && method_oid != HEAP_TABLE_AM_OID;
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
			get_rel_persistence(partition) != RELPERSISTENCE_PERMANENT || is_no_heap(partition))
			return partition;
	}
	return InvalidOid;
}

/* Whether an index is on the columns, by name and order, that identify the rows of an instance. */
bool
index_is_on_key(Oid index, Oid relation, const CaptureInstance *instance)
{
	HeapTuple tuple = SearchSysCache1(INDEXRELID, ObjectIdGetDatum(index));
	if (!HeapTupleIsValid(tuple))
		return false;
	auto *form = reinterpret_cast<Form_pg_index>(GETSTRUCT(tuple));
	bool same = form->indnkeyatts == static_cast<int>(instance->key.size());

	for (int i = 0; same && i < form->indnkeyatts; i++)
	{
		const char *wanted = get_attname(instance->source, instance->key[i].column_id, true);
		const char *column = get_attname(relation, form->indkey.values[i], true);
		same = wanted != nullptr && column != nullptr && strcmp(wanted, column) == 0;
	}
	ReleaseSysCache(tuple);
	return same;
}

/*
 * The index that we may have made the identity of a partition: it is its own now and has no link to the
 * root's any more, so by its columns.
 */
Oid
promised_index(Oid relation_oid, List *former_instances)
{
	Relation relation = relation_open(relation_oid, NoLock);
	Oid index = RelationGetReplicaIndex(relation);
	ListCell *cell;

	relation_close(relation, NoLock);
	foreach (cell, former_instances)
	{
		auto *instance = static_cast<CaptureInstance *>(lfirst(cell));
		if (!instance->before_image_full && instance->has_index &&
			index_is_on_key(index, relation_oid, instance))
			return index;
	}
	return InvalidOid;
}

} // namespace

PartitionDdl
partition_ddl_of(Node *parse_tree)
{
	PartitionDdl result = {};

	switch (nodeTag(parse_tree))
	{
		case T_CreateStmt:
			result.adds = castNode(CreateStmt, parse_tree)->partbound != nullptr;
			break;
		case T_CreateSchemaStmt:
			result.adds = true; /* whatever its elements are */
			break;
		case T_AlterTableStmt:
		{
			ListCell *cell;
			foreach (cell, castNode(AlterTableStmt, parse_tree)->cmds)
			{
				auto *command = static_cast<AlterTableCmd *>(lfirst(cell));
				result.adds = result.adds || command->subtype == AT_AttachPartition;
				result.unlogs = result.unlogs || command->subtype == AT_SetUnLogged;
				result.leaves_heap = result.leaves_heap || leaves_heap(command);
				result.retypes = result.retypes || command->subtype == AT_AlterColumnType;
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

UnloggedPartition
partitions_added(List *objects)
{
	UnloggedPartition unlogged = {};
	ListCell *cell;

	foreach (cell, objects)
	{
		auto *object = static_cast<DdlObject *>(lfirst(cell));
		Oid relation = object->object_id;
		if (object->class_id != RelationRelationId ||
			!SearchSysCacheExists1(RELOID, ObjectIdGetDatum(relation)))
			continue;
		/* A root without partitions of its own needs no look. */
		if (!get_rel_relispartition(relation) &&
			get_rel_relkind(relation) != RELKIND_PARTITIONED_TABLE)
			continue;
		List *instances = instances_fed_by(relation);
		if (instances == NIL)
			continue;

		unlogged.partition = find_unlogged_partition(relation);
		if (OidIsValid(unlogged.partition))
		{
			unlogged.captured = static_cast<CaptureInstance *>(linitial(instances))->source;
			return unlogged;
		}
		ListCell *partition;
		foreach (partition, find_all_inheritors(relation, NoLock, nullptr))
			promise_partition(lfirst_oid(partition), instances);
	}
	return unlogged;
}

void
partitions_removed(AlterTableStmt *stmt)
{
	Oid parent = RangeVarGetRelid(stmt->relation, NoLock, true);
	List *former_instances = OidIsValid(parent) ? instances_fed_by(parent) : NIL;
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
		else if (belongs_to_command(relation) && instances_fed_by(relation) == NIL)
		{
			/* Below the partition that was detached: the server has not locked these. */
			LockRelationOid(relation, AccessExclusiveLock);
			replica_identity_restore(relation, promised_index(relation, former_instances));
			CacheInvalidateRelcacheByRelid(relation);
		}
	}
}

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

CaptureInstance *
fed_by_table_to_unlog(AlterTableStmt *stmt)
{
	Oid relation = RangeVarGetRelid(stmt->relation, NoLock, true);
	List *instances = OidIsValid(relation) ? instances_fed_by(relation) : NIL;
	return instances != NIL ? static_cast<CaptureInstance *>(linitial(instances)) : nullptr;
}

void
error_switch_forbidden(const CaptureInstance *instance, const char *action, int sql_server_error)
{
	const char *schema = get_namespace_name(get_rel_namespace(instance->source));
	const char *table = get_rel_name(instance->source);

	ereport(ERROR,
			(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
			 errmsg("cannot %s a partition of captured table \"%s.%s\"", action, schema, table),
			 errdetail("SQL Server error %d: capture instance \"%s\" was made with "
					   "allow_partition_switch => false.",
					   sql_server_error, NameStr(instance->name)),
			 errhint("Disable the instance first: CALL cdc.sp_cdc_disable_table(%s, %s, %s);",
					 quote_literal_cstr(schema), quote_literal_cstr(table),
					 quote_literal_cstr(NameStr(instance->name)))));
	pg_unreachable();
}

void
error_unlogs_captured(const CaptureInstance *instance, bool leaves_heap)
{
	const char *schema = get_namespace_name(get_rel_namespace(instance->source));
	const char *table = get_rel_name(instance->source);

	ereport(ERROR,
			(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
			 leaves_heap
				 ? errmsg("captured table \"%s.%s\" and its partitions must stay heap tables",
						  schema, table)
				 : errmsg("cannot make captured table \"%s.%s\" or a partition of it unlogged",
						  schema, table),
			 leaves_heap
				 ? errdetail("Capture instance \"%s\" would lose its changes: only those of heap "
							 "tables can be decoded from the write-ahead log.",
							 NameStr(instance->name))
				 : errdetail("Capture instance \"%s\" would lose its changes: they would not be in "
							 "the write-ahead log.",
							 NameStr(instance->name)),
			 errhint("Disable capture first: CALL cdc.sp_cdc_disable_table(%s, %s, 'all');",
					 quote_literal_cstr(schema), quote_literal_cstr(table))));
	pg_unreachable();
}

void
error_unlogged_partition(const UnloggedPartition &unlogged)
{
	const char *captured_schema = get_namespace_name(get_rel_namespace(unlogged.captured));
	const char *captured_name = get_rel_name(unlogged.captured);

	ereport(
		ERROR,
		(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
		 errmsg("table \"%s.%s\" cannot become a partition of a captured table",
				get_namespace_name(get_rel_namespace(unlogged.partition)),
				get_rel_name(unlogged.partition)),
		 errdetail("Table \"%s.%s\" is captured, and changes of %s are not in the write-ahead log.",
				   captured_schema, captured_name,
				   get_rel_relkind(unlogged.partition) == RELKIND_FOREIGN_TABLE ? "foreign tables"
				   : is_no_heap(unlogged.partition) ? "tables with another access method than heap"
													: "unlogged tables"),
		 errhint("Use a logged heap table, or disable capture first: CALL "
				 "cdc.sp_cdc_disable_table(%s, %s, 'all');",
				 quote_literal_cstr(captured_schema), quote_literal_cstr(captured_name))));
	pg_unreachable();
}

} // namespace cdc::catalog
