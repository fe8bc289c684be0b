/*
 * key_guard.cpp
 *	  The index that identifies the rows of a capture instance stays as it is.
 */
#include "cdc.hpp"

#include "catalog/catalog_rows.hpp"
#include "catalog/ddl_history.hpp"
#include "catalog/drop_watch.hpp"
#include "catalog/key_guard.hpp"

extern "C" {
#include "catalog/index.h"
#include "catalog/pg_attribute.h"
#include "catalog/pg_class.h"
#include "catalog/pg_index.h"
}

namespace cdc::catalog
{

namespace
{

/* Whether the table has an index of that name. */
bool
has_index(Oid table, const char *name)
{
	Oid index = get_relname_relid(name, get_rel_namespace(table));
	return OidIsValid(index) && IndexGetRelation(index, true) == table;
}

/* Whether the index of the instance's name is still one that tells rows apart by the columns of its key. */
bool
key_is_whole(const CaptureInstance *instance)
{
	const char *name = NameStr(instance->index_name);
	Oid index = get_relname_relid(name, get_rel_namespace(instance->source));
	HeapTuple tuple = SearchSysCache1(INDEXRELID, ObjectIdGetDatum(index));
	bool isnull;

	if (!HeapTupleIsValid(tuple))
		return false;
	auto *form = reinterpret_cast<Form_pg_index>(GETSTRUCT(tuple));
	bool whole = form->indrelid == instance->source && form->indisunique && form->indimmediate &&
				 form->indnkeyatts == static_cast<int>(instance->key.size());
	for (int i = 0; whole && i < form->indnkeyatts; i++)
	{
		bool found = false;
		for (const KeyColumn &column : instance->key)
			found = found || column.column_id == form->indkey.values[i];
		whole = found;
	}
	(void)SysCacheGetAttr(INDEXRELID, tuple, Anum_pg_index_indpred, &isnull);
	whole = whole && isnull;
	ReleaseSysCache(tuple);
	return whole;
}

bool
is_nullable(Oid table, AttrNumber attnum)
{
	HeapTuple tuple = SearchSysCache2(ATTNUM, ObjectIdGetDatum(table), Int16GetDatum(attnum));
	bool nullable = HeapTupleIsValid(tuple) &&
					!reinterpret_cast<Form_pg_attribute>(GETSTRUCT(tuple))->attnotnull;
	if (HeapTupleIsValid(tuple))
		ReleaseSysCache(tuple);
	return nullable;
}

struct Renaming
{
	const char *old_name;
	const char *new_name;
};

List *
add_renaming(List *renamings, const char *old_name, const char *new_name)
{
	auto *renaming = static_cast<Renaming *>(palloc(sizeof(Renaming)));
	*renaming = {.old_name = old_name, .new_name = new_name};
	return lappend(renamings, renaming);
}

/* Names that indexes may get by a command: Renaming pointers. */
List *
renamings_of(Node *parse_tree)
{
	List *result = NIL;

	if (IsA(parse_tree, RenameStmt))
	{
		auto *stmt = castNode(RenameStmt, parse_tree);
		if (stmt->renameType == OBJECT_TABCONSTRAINT)
			result = add_renaming(result, stmt->subname, stmt->newname);
		/* ALTER TABLE renames indexes, too. */
		else if (stmt->renameType == OBJECT_INDEX || stmt->renameType == OBJECT_TABLE)
			result = add_renaming(result, stmt->relation->relname, stmt->newname);
	}
	else if (IsA(parse_tree, AlterTableStmt))
	{
		ListCell *cell;
		foreach (cell, castNode(AlterTableStmt, parse_tree)->cmds)
		{
			auto *command = static_cast<AlterTableCmd *>(lfirst(cell));
			if (command->subtype != AT_AddConstraint || !IsA(command->def, Constraint))
				continue;
			/* ADD CONSTRAINT new_name ... USING INDEX old_name */
			auto *constraint = castNode(Constraint, command->def);
			if (constraint->indexname != nullptr && constraint->conname != nullptr)
				result = add_renaming(result, constraint->indexname, constraint->conname);
		}
	}
	return result;
}

void
follow(const Renaming *renaming)
{
	List *ids = NIL;
	ListCell *cell;

	rows_scan("change_tables", nullptr, {}, AccessShareLock, [&](Relation table, HeapTuple tuple) {
		auto row = row_deform<kCtColumns>(table, tuple);
		Oid source = DatumGetObjectId(row[kCtSourceObjectId]);
		if (!row.is_null(kCtIndexName) && !DatumGetBool(row[kCtHasDropPending]) &&
			strcmp(NameStr(*DatumGetName(row[kCtIndexName])), renaming->old_name) == 0 &&
			!has_index(source, renaming->old_name) && has_index(source, renaming->new_name))
			ids = lappend_int(ids, DatumGetInt32(row[kCtInstanceId]));
	});
	foreach (cell, ids)
	{
		ScanKeyData key = scan_key(kCtInstanceId, F_INT4EQ, Int32GetDatum(lfirst_int(cell)));
		rows_lock("change_tables", "change_tables_instance_id_key", {&key, 1});
		rows_scan("change_tables", "change_tables_instance_id_key", {&key, 1}, RowExclusiveLock,
				  [&](Relation table, HeapTuple tuple) {
					  auto row = row_deform<kCtColumns>(table, tuple);
					  row.set_name(kCtIndexName, renaming->new_name);
					  HeapTuple changed = row_form(table, row, tuple);
					  CatalogTupleUpdate(table, &tuple->t_self, changed);
				  });
	}
	if (ids != NIL)
		CommandCounterIncrement();
}

} // namespace

BrokenKey
key_guard_after_drop()
{
	ListCell *cell;

	foreach (cell, drop_watch_keys())
	{
		auto *dropped = static_cast<DroppedKey *>(lfirst(cell));
		CaptureInstance *instance = capture_instance_by_id(dropped->instance_id, true);

		/*
		 * Not if the drop was rolled back, the instance was disabled, the whole table has gone, or the index
		 * was only built anew under its name, on the same columns.
		 */
		if (SearchSysCacheExists1(RELOID, ObjectIdGetDatum(dropped->index)) ||
			instance == nullptr || instance->has_drop_pending ||
			!SearchSysCacheExists1(RELOID, ObjectIdGetDatum(instance->source)) ||
			key_is_whole(instance))
			continue;
		return {.instance = instance,
				.is_constraint = dropped->is_constraint,
				.nullable_column = nullptr};
	}
	return {};
}

BrokenKey
key_guard_after_alter(AlterTableStmt *stmt, List *objects)
{
	ListCell *cell;

	foreach (cell, stmt->cmds)
	{
		auto *command = static_cast<AlterTableCmd *>(lfirst(cell));
		ListCell *object_cell;

		/* From 18 on NOT NULL is a constraint with a name of its own. */
		bool any = command->subtype == AT_DropConstraint;
		if (command->subtype != AT_DropNotNull && !any)
			continue;
		foreach (object_cell, objects)
		{
			auto *object = static_cast<DdlObject *>(lfirst(object_cell));
			ListCell *instance_cell;
			if (object->class_id != RelationRelationId)
				continue;
			foreach (instance_cell, instances_of_table(object->object_id, stmt->relation->inh))
			{
				auto *instance = static_cast<CaptureInstance *>(lfirst(instance_cell));
				if (!has_index(instance->source, NameStr(instance->index_name)))
					continue; /* lost already, without event triggers */
				for (const KeyColumn &column : instance->key)
					if ((any || get_attnum(instance->source, command->name) == column.column_id) &&
						is_nullable(instance->source, column.column_id))
						return {.instance = instance,
								.is_constraint = false,
								.nullable_column =
									get_attname(instance->source, column.column_id, false)};
			}
		}
	}
	return {};
}

bool
key_guard_cares(Node *parse_tree)
{
	ListCell *cell;

	if (renamings_of(parse_tree) != NIL)
		return true;
	if (!IsA(parse_tree, AlterTableStmt))
		return false;
	foreach (cell, castNode(AlterTableStmt, parse_tree)->cmds)
	{
		auto subtype = static_cast<AlterTableCmd *>(lfirst(cell))->subtype;
		if (subtype == AT_DropNotNull || subtype == AT_DropConstraint)
			return true;
	}
	return false;
}

void
key_guard_follow_rename(Node *parse_tree)
{
	ListCell *cell;

	foreach (cell, renamings_of(parse_tree))
		follow(static_cast<Renaming *>(lfirst(cell)));
}

void
error_key_dropped(const CaptureInstance *instance, bool is_constraint)
{
	const char *schema = get_namespace_name(get_rel_namespace(instance->source));
	const char *table = get_rel_name(instance->source);
	const char *name = NameStr(instance->index_name);

	ereport(ERROR,
			(errcode(ERRCODE_DEPENDENT_OBJECTS_STILL_EXIST),
			 is_constraint ? errmsg("cannot drop constraint \"%s\" of captured table \"%s.%s\"",
									name, schema, table)
						   : errmsg("cannot drop index \"%s\" of captured table \"%s.%s\"", name,
									schema, table),
			 errdetail("SQL Server error %d: it identifies the rows of capture instance \"%s\".",
					   is_constraint ? 22979 : 22983, NameStr(instance->name)),
			 errhint("Disable the instance first: CALL cdc.sp_cdc_disable_table(%s, %s, %s);",
					 quote_literal_cstr(schema), quote_literal_cstr(table),
					 quote_literal_cstr(NameStr(instance->name)))));
	pg_unreachable();
}

void
error_key_nullable(const CaptureInstance *instance, const char *column)
{
	const char *schema = get_namespace_name(get_rel_namespace(instance->source));
	const char *table = get_rel_name(instance->source);

	ereport(ERROR,
			(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
			 errmsg("column \"%s\" of captured table \"%s.%s\" must stay NOT NULL", column, schema,
					table),
			 errdetail("SQL Server error 22983: index \"%s\", which has it, identifies the rows of "
					   "capture instance \"%s\".",
					   NameStr(instance->index_name), NameStr(instance->name)),
			 errhint("Disable the instance first: CALL cdc.sp_cdc_disable_table(%s, %s, %s);",
					 quote_literal_cstr(schema), quote_literal_cstr(table),
					 quote_literal_cstr(NameStr(instance->name)))));
	pg_unreachable();
}

} // namespace cdc::catalog
