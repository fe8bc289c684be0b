/*
 * change_table_columns.cpp
 *	  Physical columns of change tables, added, renamed and widened.
 */
#include "cdc.hpp"

#include "base/fault.hpp"
#include "base/scope.hpp"
#include "catalog/catalog_rows.hpp"
#include "catalog/change_table.hpp"
#include "catalog/change_table_columns.hpp"
#include "catalog/internal_ddl.hpp"
#include "query/query_functions.hpp"

extern "C" {
#include "commands/tablecmds.h"
#include "nodes/makefuncs.h"
}

namespace cdc::catalog
{

namespace
{

constexpr const char *kDependentsLockTimeout = "100ms";

ColumnDef *
definition(const char *name, const ColumnType &type)
{
	ColumnDef *column = makeColumnDef(name, type.type, type.typmod, type.collation);
	column->is_local = true;
	return column;
}

void
alter_columns(Oid root, AlterTableType subtype, const char *name, ColumnDef *column)
{
	AlterTableCmd *command = makeNode(AlterTableCmd);
	command->subtype = subtype;
	command->name = pstrdup(name);
	command->def = reinterpret_cast<Node *>(column);
	command->behavior = DROP_RESTRICT;
	internal_alter_table(root, command, AccessExclusiveLock, true);
}

void
rename_column(Oid root, const char *from, const char *to)
{
	RenameStmt *stmt = makeNode(RenameStmt);
	stmt->renameType = OBJECT_COLUMN;
	stmt->relationType = OBJECT_TABLE;
	stmt->relation =
		makeRangeVar(get_namespace_name(get_rel_namespace(root)), get_rel_name(root), -1);
	stmt->relation->inh = true;
	stmt->subname = pstrdup(from);
	stmt->newname = pstrdup(to);
	stmt->behavior = DROP_RESTRICT;
	(void)renameatt(stmt);
	CommandCounterIncrement();
}

/* The name is free unless a source column is called like that; then underscores make it so. */
void
retire_current(Oid root, const CapturedColumn &column)
{
	for (const ColumnVersion &version : column.versions)
	{
		if (!version.current)
			continue;
		char *name = column_version_name(column.ordinal, version.attnum);
		while (get_attnum(root, name) != InvalidAttrNumber)
			name = psprintf("%s_", name);
		rename_column(root, NameStr(version.name), name);
	}
}

/*
 * Gives a column the type that readers are to see, of the same bytes. The server refuses where somebody's view, policy or the
 * like uses the column, and anybody may make a view on a change table, though not read it: the column keeps its
 * type then, which has the values all the same.
 */
void
relabel_column(Oid root, const char *name, const ColumnType &type)
{
	(void)in_subtransaction(
		[&]() { alter_columns(root, AT_AlterColumnType, name, definition(name, type)); },
		[&](const ErrorData &edata) {
			if (edata.sqlerrcode != ERRCODE_FEATURE_NOT_SUPPORTED)
				ReThrowError(const_cast<ErrorData *>(&edata));
			ereport(LOG, (errmsg("column \"%s\" of change table \"%s\" keeps its type", name,
								 get_rel_name(root)),
						  errdetail("%s: %s", edata.message,
									edata.detail != nullptr ? edata.detail : "no detail"),
						  errhint("Drop what was made on the change table. Nothing is lost.")));
		});
}

void
carry_out(Oid root, const ColumnPlan &plan, bool may_relabel)
{
	const char *name = NameStr(plan.column->name);

	if (plan.version == nullptr || !plan.version->current)
		retire_current(root, *plan.column);
	if (plan.version == nullptr)
	{
		alter_columns(root, AT_AddColumn, name, definition(name, plan.type));
		change_table_limit_statistics(root, true);
	}
	else if (!plan.version->current)
		rename_column(root, NameStr(plan.version->name), name);
	if (plan.needs_relabel() && may_relabel)
		relabel_column(root, name, plan.type);
}

/* The type that readers see when the plans are carried out. */
ColumnType
reader_type_after(const CapturedColumn &column, const ColumnPlan &plan)
{
	size_t count = column.versions.size();
	auto *versions = static_cast<ColumnVersion *>(palloc0(sizeof(ColumnVersion) * (count + 1)));
	for (size_t i = 0; i < count; i++)
	{
		versions[i] = column.versions[i];
		versions[i].current = plan.version == &column.versions[i];
		if (versions[i].current)
			versions[i].type = plan.type;
	}
	if (plan.version == nullptr)
		versions[count++] = {.name = {}, .attnum = 0, .type = plan.type, .current = true};
	return column_reader_type({versions, count});
}

} // namespace

ColumnPlan
column_plan(const CapturedColumn &column, const ColumnType &value)
{
	for (const ColumnVersion &version : column.versions)
		if (column_type_stores(version.type, value))
			return {.column = &column,
					.version = &version,
					.type = column_type_join(version.type, value)};
	return {.column = &column, .version = nullptr, .type = value};
}

void
change_table_follow(const CaptureInstance *instance, std::span<const ColumnPlan> plans)
{
	const Oid root = instance->change_table;
	const char *name = NameStr(instance->name);
	bool relabels = false;
	bool readers_see_it = !query::query_functions_agree(instance);

	for (const ColumnPlan &plan : plans)
	{
		relabels = relabels || plan.needs_relabel();
		readers_see_it =
			readers_see_it ||
			!column_type_equal(plan.column->type, reader_type_after(*plan.column, plan));
	}

	as_extension_owner([&]() {
		bool functions_gone = false;
		query::QueryFunctionRights rights = {};

		/*
		 * A column that a view uses cannot be given another type, not even one with the same bytes. Nor does the
		 * writer wait, with the functions locked, for who has such a view in his hands: he may want them next.
		 */
		if (relabels || readers_see_it)
			functions_gone = in_subtransaction(
				[&]() {
					with_lock_timeout(kDependentsLockTimeout, [&] {
						rights = query::query_functions_rights(instance->instance_id, name);
						query::query_functions_drop(instance->instance_id, name);
					});
				},
				[&](const ErrorData &edata) {
					bool in_use = edata.sqlerrcode == ERRCODE_LOCK_NOT_AVAILABLE ||
								  edata.sqlerrcode == ERRCODE_T_R_DEADLOCK_DETECTED;
					if (!in_use && edata.sqlerrcode != ERRCODE_DEPENDENT_OBJECTS_STILL_EXIST)
						ReThrowError(const_cast<ErrorData *>(&edata));
					ereport(LOG,
							(errmsg("query functions of capture instance \"%s\" stay as they are",
									name),
							 errdetail("Types of its columns have changed, and %s",
									   in_use ? "somebody holds a lock on what depends on them."
											  : edata.detail),
							 errhint("Drop what depends on them, then CALL "
									 "cdc.renew_query_functions(%s).",
									 quote_literal_cstr(name))));
				});
		for (const ColumnPlan &plan : plans)
			carry_out(root, plan, functions_gone);
		CDC_FAULT("type-change-columns");
		if (functions_gone)
			query::query_functions_create(instance->instance_id, &rights);
		else if (query::query_functions_agree(capture_instance_by_id(instance->instance_id, false)))
			query::query_functions_renew_view(instance->instance_id);
	});
}

void
captured_columns_set_types(const CaptureInstance *instance, std::span<const char *> types)
{
	ScanKeyData key = scan_key(kCcObjectId, F_OIDEQ, ObjectIdGetDatum(instance->change_table));

	rows_scan("captured_columns", "captured_columns_pkey", {&key, 1}, RowExclusiveLock,
			  [&](Relation relation, HeapTuple tuple) {
				  auto row = row_deform<kCcColumns>(relation, tuple);
				  size_t ordinal = DatumGetInt32(row[kCcColumnOrdinal]);
				  if (ordinal > types.size() || types[ordinal - 1] == nullptr)
					  return;
				  row.set(kCcColumnType, CStringGetTextDatum(types[ordinal - 1]));
				  HeapTuple changed = row_form(relation, row, tuple);
				  CatalogTupleUpdate(relation, &tuple->t_self, changed);
			  });
	CommandCounterIncrement();
}

} // namespace cdc::catalog
