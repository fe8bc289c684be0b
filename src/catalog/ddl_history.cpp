/*
 * ddl_history.cpp
 *	  Which capture instances a DDL command is about, and telling the writer of it.
 */
#include "cdc.hpp"

#include "base/fault.hpp"
#include "catalog/catalog_rows.hpp"
#include "catalog/ddl_history.hpp"
#include "catalog/ddl_statement.hpp"
#include "catalog/source_table.hpp"

extern "C" {
#include "catalog/dependency.h"
#include "catalog/partition.h"
#include "catalog/pg_attribute.h"
#include "catalog/pg_class.h"
#include "catalog/pg_depend.h"
#include "catalog/pg_inherits.h"
#include "catalog/pg_namespace.h"
#include "catalog/pg_type.h"
}

namespace cdc::catalog
{

namespace
{

/* One instance that a command is about. */
struct Affected
{
	CaptureInstance *instance;
	bool type_changed; /* of a captured column */
};

/* What a command does that ddl_history tells; nothing: the command is left alone. */
struct Effects
{
	bool tells;		  /* at all */
	bool recurses;	  /* to inheriting tables */
	bool alters_type; /* a data type that columns may have, not a table */
};

bool
tells(AlterTableType subtype)
{
	switch (subtype)
	{
		case AT_AddColumn:
		case AT_DropColumn:
		case AT_AlterColumnType:
		case AT_SetNotNull:
		case AT_DropNotNull:
		case AT_DropExpression:
		case AT_SetLogged:
		case AT_SetUnLogged:
		case AT_ReplicaIdentity:
		case AT_AddInherit:
		case AT_DropInherit:
		case AT_AddOf:
		case AT_DropOf:
		case AT_AttachPartition:
		case AT_DetachPartition:
		case AT_DetachPartitionFinalize:
			return true;
		default:
			return false;
	}
}

Effects
effects_of(Node *parse_tree)
{
	Effects effects = {};

	switch (nodeTag(parse_tree))
	{
		case T_AlterTableStmt:
		{
			auto *stmt = castNode(AlterTableStmt, parse_tree);
			ListCell *cell;
			foreach (cell, stmt->cmds)
				effects.tells =
					effects.tells || tells(static_cast<AlterTableCmd *>(lfirst(cell))->subtype);
			effects.alters_type = stmt->objtype == OBJECT_TYPE;
			effects.recurses = stmt->relation->inh;
			break;
		}
		case T_RenameStmt:
		{
			auto *stmt = castNode(RenameStmt, parse_tree);
			/* ALTER INDEX renames tables, too. Which kind of relation it was is seen by its instances. */
			effects.tells = stmt->renameType == OBJECT_TABLE || stmt->renameType == OBJECT_INDEX ||
							stmt->renameType == OBJECT_COLUMN || stmt->renameType == OBJECT_SCHEMA;
			effects.recurses = stmt->renameType == OBJECT_COLUMN && stmt->relation != nullptr &&
							   stmt->relation->inh;
			break;
		}
		case T_AlterObjectSchemaStmt:
		case T_CreateSchemaStmt:
			effects.tells = true;
			break;
		case T_CreateStmt:
			effects.tells = castNode(CreateStmt, parse_tree)->partbound != nullptr;
			break;
		case T_CreateForeignTableStmt:
			break; /* cannot become a partition of a captured table */
		case T_AlterEnumStmt:
			effects.tells = true;
			effects.alters_type = true;
			break;
		default:
			break;
	}
	return effects;
}

/*
 * Whether a column of a relation, not dropped, satisfies `test`. From the catalog and without a lock: a command on one
 * table must not wait for who works on another.
 */
template <typename Test>
bool
any_column(Oid relation, Test test)
{
	for (AttrNumber attnum = 1;; attnum++)
	{
		HeapTuple tuple =
			SearchSysCache2(ATTNUM, ObjectIdGetDatum(relation), Int16GetDatum(attnum));
		if (!HeapTupleIsValid(tuple))
			return false;
		FormData_pg_attribute attribute = *reinterpret_cast<Form_pg_attribute>(GETSTRUCT(tuple));
		ReleaseSysCache(tuple);
		if (!attribute.attisdropped && test(attribute))
			return true;
	}
}

/*
 * Whether values of `type` hold values of `wanted`: itself, an array, range, domain or row type of it, however deep. A type
 * that is met again is not looked at again: rows of rows of rows could hold one a million times.
 */
bool
type_holds(Oid type, Oid wanted)
{
	List *types = list_make1_oid(type); /* those met; the next ones come behind */

	for (int i = 0; i < list_length(types); i++)
	{
		CHECK_FOR_INTERRUPTS();
		Oid current = list_nth_oid(types, i);
		if (current == wanted)
			return true;
		HeapTuple tuple = SearchSysCache1(TYPEOID, ObjectIdGetDatum(current));
		if (!HeapTupleIsValid(tuple))
			continue;
		FormData_pg_type form = *reinterpret_cast<Form_pg_type>(GETSTRUCT(tuple));
		ReleaseSysCache(tuple);

		types = list_append_unique_oid(types, form.typelem);
		if (form.typtype == TYPTYPE_DOMAIN)
			types = list_append_unique_oid(types, form.typbasetype);
		else if (form.typtype == TYPTYPE_RANGE)
			types = list_append_unique_oid(types, get_range_subtype(current));
		else if (form.typtype == TYPTYPE_MULTIRANGE)
			types = list_append_unique_oid(types, get_multirange_range(current));
		else if (form.typtype == TYPTYPE_COMPOSITE)
			(void)any_column(form.typrelid, [&](const FormData_pg_attribute &attribute) {
				types = list_append_unique_oid(types, attribute.atttypid);
				return false;
			});
	}
	return false;
}

bool
is_captured(const CaptureInstance *instance, AttrNumber attnum)
{
	for (const CapturedColumn &column : instance->columns)
		if (column.column_id == attnum)
			return true;
	return false;
}

std::optional<DdlColumnType>
column_type(Oid relation, AttrNumber attnum)
{
	HeapTuple tuple = SearchSysCache2(ATTNUM, ObjectIdGetDatum(relation), Int16GetDatum(attnum));
	if (!HeapTupleIsValid(tuple))
		return {};
	auto *attribute = reinterpret_cast<Form_pg_attribute>(GETSTRUCT(tuple));
	DdlColumnType result = {.relation = relation,
							.attnum = attnum,
							.type = attribute->atttypid,
							.typmod = attribute->atttypmod,
							.collation = attribute->attcollation};
	ReleaseSysCache(tuple);
	return result;
}

/* Calls visit(attnum) for captured columns that ALTER COLUMN ... TYPE names; partitions and parents call them the same. */
template <typename Visit>
void
for_each_altered(AlterTableStmt *stmt, const CaptureInstance *instance, Visit visit)
{
	ListCell *cell;

	foreach (cell, stmt->cmds)
	{
		auto *command = static_cast<AlterTableCmd *>(lfirst(cell));
		if (command->subtype != AT_AlterColumnType)
			continue;
		AttrNumber attnum = get_attnum(instance->source, command->name);
		if (is_captured(instance, attnum))
			visit(attnum);
	}
}

/* Whether a captured column has another type than before the command. */
bool
alters_captured_column(Node *parse_tree, const CaptureInstance *instance)
{
	bool altered = false;

	if (!IsA(parse_tree, AlterTableStmt))
		return false;
	for_each_altered(castNode(AlterTableStmt, parse_tree), instance, [&](AttrNumber attnum) {
		std::optional<DdlColumnType> before = ddl_statement_former_type(instance->source, attnum);
		std::optional<DdlColumnType> now = column_type(instance->source, attnum);
		altered = altered || !before || !now || before->type != now->type ||
				  before->typmod != now->typmod || before->collation != now->collation;
	});
	return altered;
}

List *
add_affected(List *affected, CaptureInstance *instance, bool type_changed)
{
	ListCell *cell;

	foreach (cell, affected)
	{
		auto *known = static_cast<Affected *>(lfirst(cell));
		if (known->instance->instance_id == instance->instance_id)
		{
			known->type_changed = known->type_changed || type_changed;
			return affected;
		}
	}
	auto *added = static_cast<Affected *>(palloc(sizeof(Affected)));
	*added = {.instance = instance, .type_changed = type_changed};
	return lappend(affected, added);
}

/* The live instances whose source satisfies `wanted`, a predicate on oids; others are not loaded. */
template <typename Wanted>
List *
instances_where(Wanted wanted)
{
	List *ids = NIL;
	List *result = NIL;
	ListCell *cell;

	rows_scan("change_tables", nullptr, {}, AccessShareLock, [&](Relation table, HeapTuple tuple) {
		auto row = row_deform<kCtColumns>(table, tuple);
		if (!DatumGetBool(row[kCtHasDropPending]) &&
			wanted(DatumGetObjectId(row[kCtSourceObjectId])))
			ids = lappend_int(ids, DatumGetInt32(row[kCtInstanceId]));
	});
	foreach (cell, ids)
	{
		CaptureInstance *instance = capture_instance_by_id(lfirst_int(cell), true);
		if (instance != nullptr)
			result = lappend(result, instance);
	}
	return result;
}

/* Whether something of another kind than the type itself depends on a table's row type, or on its array. */
bool
row_type_is_used(Oid relation)
{
	bool used = false;
	Oid row_type = get_rel_type_id(relation);
	Relation depend = table_open(DependRelationId, AccessShareLock);

	for (Oid type : {row_type, OidIsValid(row_type) ? get_array_type(row_type) : InvalidOid})
	{
		std::array<ScanKeyData, 2> keys = {scan_key(Anum_pg_depend_refclassid, F_OIDEQ,
													ObjectIdGetDatum(TypeRelationId)),
										   scan_key(Anum_pg_depend_refobjid, F_OIDEQ,
													ObjectIdGetDatum(type))};
		if (!OidIsValid(type))
			continue;
		SysScanDesc scan = systable_beginscan(depend, DependReferenceIndexId, true, nullptr,
											  static_cast<int>(keys.size()), keys.data());
		while (HeapTuple tuple = systable_getnext(scan))
			used = used ||
				   reinterpret_cast<Form_pg_depend>(GETSTRUCT(tuple))->deptype == DEPENDENCY_NORMAL;
		systable_endscan(scan);
	}
	table_close(depend, AccessShareLock);
	return used;
}

/* The instances with a table in that schema. */
List *
instances_in_schema(Oid schema)
{
	return instances_where([&](Oid source) {
		ListCell *cell;
		foreach (cell, inheritance_tree(source))
			if (get_rel_namespace(lfirst_oid(cell)) == schema &&
				(lfirst_oid(cell) == source || get_rel_relispartition(lfirst_oid(cell))))
				return true;
		return false;
	});
}

/* The instances whose source has a column of that type; type_changed: a captured one. */
List *
add_instances_with_type(List *affected, Oid type)
{
	List *tables = instances_where([](Oid) { return true; });
	ListCell *cell;

	foreach (cell, tables)
	{
		auto *instance = static_cast<CaptureInstance *>(lfirst(cell));
		bool found = false;
		bool captured = false;

		(void)any_column(instance->source, [&](const FormData_pg_attribute &attribute) {
			if (type_holds(attribute.atttypid, type))
			{
				found = true;
				captured = captured || is_captured(instance, attribute.attnum);
			}
			return captured;
		});
		if (found)
			affected = add_affected(affected, instance, captured);
	}
	return affected;
}

void
emit(List *affected)
{
	char *text = affected == NIL ? nullptr : ddl_statement_text();
	ListCell *cell;

	foreach (cell, affected)
	{
		auto *one = static_cast<Affected *>(lfirst(cell));
		ddl_history_emit(one->type_changed ? QueueKind::AlterType : QueueKind::Command,
						 one->instance, text);
	}
}

} // namespace

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

List *
instances_of_table(Oid relation, bool recurses)
{
	List *result = instances_fed_by(relation);

	if (recurses && has_subclass(relation))
	{
		/* Captured tables that inherit from it, partitioned ones further down included. */
		List *below = list_delete_oid(find_all_inheritors(relation, NoLock, nullptr), relation);
		result = list_concat(result, instances_where([&](Oid source) {
								 return list_member_oid(below, source);
							 }));
	}
	return result;
}

bool
ddl_history_cares(Node *parse_tree)
{
	return effects_of(parse_tree).tells;
}

void
ddl_history_note_types(AlterTableStmt *stmt)
{
	Oid relation = RangeVarGetRelid(stmt->relation, NoLock, true);
	ListCell *cell;

	if (!OidIsValid(relation))
		return;
	foreach (cell, instances_of_table(relation, stmt->relation->inh))
	{
		auto *instance = static_cast<CaptureInstance *>(lfirst(cell));
		for_each_altered(stmt, instance, [&](AttrNumber attnum) {
			std::optional<DdlColumnType> type = column_type(instance->source, attnum);
			if (type)
				ddl_statement_note_type(*type);
		});
	}
}

void
ddl_history_emit(QueueKind kind, const CaptureInstance *instance, const char *command)
{
	ddl_queue_emit(kind, instance->instance_id, instance->change_table, instance->source, command);
	CDC_FAULT("ddl-queue");
}

void
ddl_history_record(Node *parse_tree, List *objects)
{
	Effects effects = effects_of(parse_tree);
	List *affected = NIL;
	ListCell *cell;

	if (!effects.tells)
		return;
	foreach (cell, objects)
	{
		auto *object = static_cast<DdlObject *>(lfirst(cell));
		List *instances = NIL;
		ListCell *instance_cell;

		if (effects.alters_type)
		{
			Oid type = object->class_id == RelationRelationId ? get_rel_type_id(object->object_id)
															  : object->object_id;
			affected = add_instances_with_type(affected, type);
			continue;
		}
		if (object->class_id == RelationRelationId)
		{
			instances = instances_of_table(object->object_id, effects.recurses);
			/* Captured columns may have the table's row type. */
			if (IsA(parse_tree, AlterTableStmt) && row_type_is_used(object->object_id))
				affected = add_instances_with_type(affected, get_rel_type_id(object->object_id));
		}
		else if (object->class_id == NamespaceRelationId && IsA(parse_tree, RenameStmt))
			instances = instances_in_schema(object->object_id);
		foreach (instance_cell, instances)
		{
			auto *instance = static_cast<CaptureInstance *>(lfirst(instance_cell));
			affected =
				add_affected(affected, instance, alters_captured_column(parse_tree, instance));
		}
	}
	emit(affected);
}

void
ddl_history_record_instances(List *instances, List *relations)
{
	List *affected = NIL;
	ListCell *cell;

	foreach (cell, relations)
		instances = list_concat(instances, instances_fed_by(lfirst_oid(cell)));
	foreach (cell, instances)
		affected = add_affected(affected, static_cast<CaptureInstance *>(lfirst(cell)), false);
	emit(affected);
}

} // namespace cdc::catalog
