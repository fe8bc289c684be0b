/*
 * query_functions.cpp
 *	  Creates and drops the query functions of a capture instance.
 *
 * NOTES
 *	  The statements are made as text, parsed, and given to the server's functions behind the
 *	  commands: neither utility hooks nor event triggers take part.
 */
#include "cdc.hpp"

#include "base/args.hpp"
#include "base/errors.hpp"
#include "catalog/capture_instance.hpp"
#include "catalog/catalog.hpp"
#include "catalog/change_table.hpp"
#include "catalog/instance_rows.hpp"
#include "catalog/internal_ddl.hpp"
#include "query/all_changes.hpp"
#include "query/generated_sql.hpp"
#include "query/net_changes.hpp"
#include "query/query_functions.hpp"

extern "C" {
#include "catalog/dependency.h"
#include "catalog/indexing.h"
#include "catalog/pg_class.h"
#include "catalog/pg_depend.h"
#include "catalog/pg_extension.h"
#include "catalog/pg_proc.h"
#include "catalog/pg_type.h"
#include "commands/comment.h"
#include "commands/defrem.h"
#include "commands/typecmds.h"
#include "commands/view.h"
#include "lib/stringinfo.h"
#include "parser/parse_node.h"
#include "tcop/tcopprot.h"
#include "utils/ruleutils.h"
}

namespace cdc::query
{

namespace
{

bool drop_cascades = false;

/* Names of what belongs to an instance. */
struct ObjectNames
{
	const char *view;
	const char *all_type;
	const char *net_type;
	const char *all_function;
	const char *net_function;
};

ObjectNames
object_names(int32 instance_id, const char *capture_instance)
{
	return {
		.view = psprintf("_changes_%d", instance_id),
		.all_type = psprintf("_all_changes_%d", instance_id),
		.net_type = psprintf("_net_changes_%d", instance_id),
		.all_function = psprintf("fn_cdc_get_all_changes_%s", capture_instance),
		.net_function = psprintf("fn_cdc_get_net_changes_%s", capture_instance),
	};
}

Oid
schema_oid()
{
	return get_namespace_oid(catalog::kSchema, false);
}

Oid
type_oid(const char *name)
{
	return GetSysCacheOid2(TYPENAMENSP, Anum_pg_type_oid, CStringGetDatum(name),
						   ObjectIdGetDatum(schema_oid()));
}

/* A query function by name; they all have the same arguments. */
Oid
function_oid(const char *name)
{
	const Oid arguments[] = {PG_LSNOID, PG_LSNOID, TEXTOID};
	oidvector *types = buildoidvector(arguments, lengthof(arguments));

	return GetSysCacheOid3(PROCNAMEARGSNSP, Anum_pg_proc_oid, CStringGetDatum(name),
						   PointerGetDatum(types), ObjectIdGetDatum(schema_oid()));
}

void
run_statement(Node *statement, const char *sql)
{
	ParseState *pstate = make_parsestate(nullptr);
	pstate->p_sourcetext = sql;

	switch (nodeTag(statement))
	{
		case T_CompositeTypeStmt:
		{
			auto *create = castNode(CompositeTypeStmt, statement);
			DefineCompositeType(create->typevar, create->coldeflist);
			break;
		}
		case T_CreateFunctionStmt:
			CreateFunction(pstate, castNode(CreateFunctionStmt, statement));
			break;
		case T_GrantStmt:
			ExecuteGrantStmt(castNode(GrantStmt, statement));
			break;
		case T_CommentStmt:
			CommentObject(castNode(CommentStmt, statement));
			break;
		default:
			elog(ERROR, "unexpected kind of statement: %d", static_cast<int>(nodeTag(statement)));
	}
	free_parsestate(pstate);
	CommandCounterIncrement();
}

void
run_script(const char *sql)
{
	ListCell *cell;

	foreach (cell, pg_parse_query(sql))
	{
		auto *raw = lfirst_node(RawStmt, cell);
		if (IsA(raw->stmt, ViewStmt))
		{
			DefineView(castNode(ViewStmt, raw->stmt), sql, raw->stmt_location, raw->stmt_len);
			CommandCounterIncrement();
		}
		else
			run_statement(raw->stmt, sql);
	}
}

void
append_grants(StringInfo sql, const catalog::CaptureInstance *instance, const ObjectNames &names)
{
	const char *readers =
		instance->has_role
			? psprintf("%s, pg_database_owner", quote_identifier(NameStr(instance->role_name)))
			: "PUBLIC";

	appendStringInfo(sql, "GRANT SELECT ON cdc.%s TO %s;\n", names.view, readers);
	for (const char *function : {names.all_function, names.net_function})
	{
		if (function == names.net_function && !instance->supports_net_changes)
			continue;
		appendStringInfo(sql,
						 "REVOKE ALL ON FUNCTION cdc.%s(pg_lsn, pg_lsn, text) FROM PUBLIC;\n"
						 "GRANT EXECUTE ON FUNCTION cdc.%s(pg_lsn, pg_lsn, text) TO %s;\n",
						 quote_identifier(function), quote_identifier(function), readers);
	}
}

void
append_comments(StringInfo sql, const catalog::CaptureInstance *instance, const ObjectNames &names)
{
	const char *ci = NameStr(instance->name);
	auto comment = [&](const char *kind, const char *object, const char *text) {
		appendStringInfo(sql, "COMMENT ON %s cdc.%s IS %s;\n", kind, object,
						 quote_literal_cstr(psprintf("%s capture instance \"%s\"", text, ci)));
	};
	auto function = [](const char *name) {
		return psprintf("%s(pg_lsn, pg_lsn, text)", quote_identifier(name));
	};

	comment("VIEW", names.view, "change rows for the query functions of");
	comment("TYPE", names.all_type, "row of the all-changes function of");
	comment("FUNCTION", function(names.all_function),
			"every change between two LSNs, both included, of");
	if (instance->supports_net_changes)
	{
		comment("TYPE", names.net_type, "row of the net-changes function of");
		comment("FUNCTION", function(names.net_function),
				"one row per changed row between two LSNs, both included, of");
	}
}

/* A row type goes with the change table; nothing else ties it to it. */
void
add_row_type(const char *name, Oid change_table)
{
	ObjectAddress type;
	ObjectAddress table;

	ObjectAddressSet(type, TypeRelationId, type_oid(name));
	ObjectAddressSet(table, RelationRelationId, change_table);
	recordDependencyOn(&type, &table, DEPENDENCY_AUTO);
	catalog::extension_add_member(TypeRelationId, type.objectId);
}

void
create_objects(const catalog::CaptureInstance *instance)
{
	const ObjectNames names = object_names(instance->instance_id, NameStr(instance->name));
	StringInfoData sql;

	initStringInfo(&sql);
	changes_view_generate(&sql, instance);
	all_changes_generate(&sql, instance);
	if (instance->supports_net_changes)
		net_changes_generate(&sql, instance);
	run_script(sql.data);
	catalog::relation_clear_privileges(catalog::cdc_relation_oid(names.view, false));

	resetStringInfo(&sql);
	append_grants(&sql, instance, names);
	append_comments(&sql, instance, names);
	run_script(sql.data);

	catalog::extension_add_member(RelationRelationId, catalog::cdc_relation_oid(names.view, false));
	add_row_type(names.all_type, instance->change_table);
	catalog::extension_add_member(ProcedureRelationId, function_oid(names.all_function));
	if (instance->supports_net_changes)
	{
		add_row_type(names.net_type, instance->change_table);
		catalog::extension_add_member(ProcedureRelationId, function_oid(names.net_function));
	}
	CommandCounterIncrement();
}

template <SysCacheIdentifier Cache, AttrNumber Column>
Acl *
acl_of(Oid object)
{
	HeapTuple tuple = SearchSysCache1(Cache, ObjectIdGetDatum(object));
	bool isnull;

	if (!HeapTupleIsValid(tuple))
		return nullptr;
	Datum acl = SysCacheGetAttr(Cache, tuple, Column, &isnull);
	Acl *result = isnull ? nullptr : DatumGetAclPCopy(acl);
	ReleaseSysCache(tuple);
	return result;
}

template <Oid Catalog, SysCacheIdentifier Cache, AttrNumber Column, int Columns>
void
acl_store(Oid object, const Acl *acl)
{
	Relation relation = table_open(Catalog, RowExclusiveLock);
	HeapTuple tuple = SearchSysCacheCopy1(Cache, ObjectIdGetDatum(object));
	Datum values[Columns] = {};
	bool nulls[Columns] = {};
	bool replaces[Columns] = {};
	Oid *former;
	Oid *members;

	if (!HeapTupleIsValid(tuple) || acl == nullptr)
		elog(ERROR, "no privileges to store for object %u", object);
	Acl *before = acl_of<Cache, Column>(object);
	int nformer = before != nullptr ? aclmembers(before, &former) : 0;
	int nmembers = aclmembers(acl, &members);
	values[Column - 1] = PointerGetDatum(acl);
	replaces[Column - 1] = true;
	HeapTuple changed =
		heap_modify_tuple(tuple, RelationGetDescr(relation), values, nulls, replaces);
	CatalogTupleUpdate(relation, &tuple->t_self, changed);
	updateAclDependencies(Catalog, object, 0, catalog::cdc_extension_owner(), nformer,
						  nformer > 0 ? former : nullptr, nmembers, members);
	table_close(relation, RowExclusiveLock);
	CommandCounterIncrement();
}

/* What the caller sees when an object of his own is in the way: the server's hint would be DROP ... CASCADE. */
void
dependents_hint(void *argument)
{
	auto *capture_instance = static_cast<const char *>(argument);

	if (geterrcode() == ERRCODE_DEPENDENT_OBJECTS_STILL_EXIST)
		errhint("Drop what was made on the query functions of capture instance \"%s\" first, then "
				"try again.",
				capture_instance);
}

} // namespace

const char *
column_name(const catalog::CapturedColumn &column)
{
	return quote_identifier(NameStr(column.name));
}

namespace
{

const char *
type_name(const catalog::ColumnType &type)
{
	return format_type_extended(type.type, type.typmod,
								FORMAT_TYPE_TYPEMOD_GIVEN | FORMAT_TYPE_FORCE_QUALIFY);
}

/*
 * A value of one type as another that can hold it. A type of a user's can have a cast of its owner's,
 * which whoever reads would run: its text form comes from its output function. (IS NULL is something else
 * for a row.)
 */
const char *
value_as(const char *value, const catalog::ColumnType &from, const catalog::ColumnType &to)
{
	if (from.type != to.type && from.type >= FirstNormalObjectId)
		return psprintf(
			"CASE WHEN pg_catalog.num_nulls(%s) = 0 THEN pg_catalog.format('%%s', %s) END", value,
			value);
	return psprintf("CAST(%s AS %s)", value, type_name(to));
}

/* Whether a function has the body that we gave it: one that somebody has put in its place does not read the view. */
bool
reads_view(Oid function, Oid view)
{
	if (!OidIsValid(function) || !OidIsValid(view))
		return false;
	Relation depend = table_open(DependRelationId, AccessShareLock);
	ScanKeyData keys[2];
	bool found = false;

	ScanKeyInit(&keys[0], Anum_pg_depend_classid, BTEqualStrategyNumber, F_OIDEQ,
				ObjectIdGetDatum(ProcedureRelationId));
	ScanKeyInit(&keys[1], Anum_pg_depend_objid, BTEqualStrategyNumber, F_OIDEQ,
				ObjectIdGetDatum(function));
	SysScanDesc scan = systable_beginscan(depend, DependDependerIndexId, true, nullptr, 2, keys);
	while (HeapTuple tuple = systable_getnext(scan))
	{
		auto *row = reinterpret_cast<Form_pg_depend>(GETSTRUCT(tuple));
		found = found || (row->refclassid == RelationRelationId && row->refobjid == view);
	}
	systable_endscan(scan);
	table_close(depend, AccessShareLock);
	return found;
}

} // namespace

void
append_column_definitions(StringInfo sql, const catalog::CaptureInstance *instance)
{
	for (const catalog::CapturedColumn &column : instance->columns)
	{
		const catalog::ColumnType &type = column.type;
		appendStringInfo(sql, ", %s %s", column_name(column), type_name(type));
		if (OidIsValid(type.collation) && type.collation != get_typcollation(type.type))
			appendStringInfo(sql, " COLLATE %s", generate_collation_name(type.collation));
	}
}

void
append_column_values(StringInfo sql, const catalog::CaptureInstance *instance,
					 const char *qualifier)
{
	for (const catalog::CapturedColumn &column : instance->columns)
	{
		const catalog::ColumnType &type = column.type;
		if (column.versions.size() == 1)
		{
			appendStringInfo(sql, ", %s.%s AS %s", qualifier,
							 quote_identifier(NameStr(column.versions[0].name)),
							 column_name(column));
			continue;
		}
		appendStringInfoString(sql, ", CAST(COALESCE(NULL");
		for (const catalog::ColumnVersion &version : column.versions)
		{
			const char *value =
				psprintf("%s.%s", qualifier, quote_identifier(NameStr(version.name)));
			appendStringInfo(sql, ", %s", value_as(value, version.type, type));
		}
		appendStringInfo(sql, ") AS %s)", type_name(type));
		if (OidIsValid(type.collation))
			appendStringInfo(sql, " COLLATE %s", generate_collation_name(type.collation));
		appendStringInfo(sql, " AS %s", column_name(column));
	}
}

void
append_column_names(StringInfo sql, const catalog::CaptureInstance *instance, const char *qualifier)
{
	for (const catalog::CapturedColumn &column : instance->columns)
		appendStringInfo(sql, ", %s.%s", qualifier, column_name(column));
}

/*
 * Parallel restricted: the check must have run in the leader before any row comes out. It does not
 * keep workers from the leaves: the other branch of the UNION ALL may have a Gather of its own.
 */
void
append_function_header(StringInfo sql, const catalog::CaptureInstance *instance, const char *prefix,
					   const char *row_type)
{
	appendStringInfo(
		sql,
		"CREATE FUNCTION cdc.%s(from_lsn pg_lsn, to_lsn pg_lsn, row_filter_option text)\n"
		"RETURNS SETOF %s LANGUAGE sql STABLE PARALLEL RESTRICTED\n"
		"BEGIN ATOMIC\n",
		quote_identifier(psprintf("%s%s", prefix, NameStr(instance->name))), row_type);
}

void
query_functions_create(int32 instance_id, const QueryFunctionRights *rights)
{
	catalog::CaptureInstance *instance = catalog::capture_instance_by_id(instance_id, false);

	catalog::capture_instance_require_whole(instance);
	create_objects(instance);
	if (rights == nullptr)
		return;
	/* What somebody had dropped has none to take over: it gets those of a new one. */
	const ObjectNames names = object_names(instance_id, NameStr(instance->name));
	if (rights->view != nullptr)
		acl_store<RelationRelationId, RELOID, Anum_pg_class_relacl,
				  Natts_pg_class>(catalog::cdc_relation_oid(names.view, false), rights->view);
	if (rights->all_changes != nullptr)
		acl_store<ProcedureRelationId, PROCOID, Anum_pg_proc_proacl,
				  Natts_pg_proc>(function_oid(names.all_function), rights->all_changes);
	if (instance->supports_net_changes && rights->net_changes != nullptr)
		acl_store<ProcedureRelationId, PROCOID, Anum_pg_proc_proacl,
				  Natts_pg_proc>(function_oid(names.net_function), rights->net_changes);
}

QueryFunctionRights
query_functions_rights(int32 instance_id, const char *capture_instance)
{
	const ObjectNames names = object_names(instance_id, capture_instance);

	return {
		.view = acl_of<RELOID, Anum_pg_class_relacl>(catalog::cdc_relation_oid(names.view, true)),
		.all_changes = acl_of<PROCOID, Anum_pg_proc_proacl>(function_oid(names.all_function)),
		.net_changes = acl_of<PROCOID, Anum_pg_proc_proacl>(function_oid(names.net_function)),
	};
}

void
query_functions_renew_view(int32 instance_id)
{
	StringInfoData sql;
	catalog::CaptureInstance *instance = catalog::capture_instance_by_id(instance_id, false);

	catalog::capture_instance_require_whole(instance);
	initStringInfo(&sql);
	changes_view_generate(&sql, instance);
	run_script(sql.data);
}

void
query_functions_renew(int32 instance_id, const char *capture_instance)
{
	QueryFunctionRights rights = query_functions_rights(instance_id, capture_instance);

	query_functions_drop(instance_id, capture_instance);
	query_functions_create(instance_id, &rights);
}

Oid
query_functions_view(int32 instance_id)
{
	return catalog::cdc_relation_oid(object_names(instance_id, "").view, true);
}

bool
query_functions_agree(const catalog::CaptureInstance *instance)
{
	const ObjectNames names = object_names(instance->instance_id, NameStr(instance->name));
	Oid type = type_oid(names.all_type);
	Oid view = catalog::cdc_relation_oid(names.view, true);
	if (!OidIsValid(type) || !reads_view(function_oid(names.all_function), view) ||
		(instance->supports_net_changes && !reads_view(function_oid(names.net_function), view)))
		return false;

	/* Not through the type cache, which locks it: somebody may be disabling the instance. */
	Oid row = get_typ_typrelid(type);
	for (const catalog::CapturedColumn &column : instance->columns)
	{
		HeapTuple tuple = SearchSysCache2(ATTNUM, ObjectIdGetDatum(row),
										  Int16GetDatum(kAllLeadingColumns + column.ordinal));
		if (!HeapTupleIsValid(tuple))
			return false;
		auto *attribute = reinterpret_cast<Form_pg_attribute>(GETSTRUCT(tuple));
		bool equal =
			catalog::column_type_equal(column.type, {attribute->atttypid, attribute->atttypmod,
													 attribute->attcollation});
		ReleaseSysCache(tuple);
		if (!equal)
			return false;
	}
	return true;
}

void
query_functions_drop(int32 instance_id, const char *capture_instance, DropBehavior behavior)
{
	const ObjectNames names = object_names(instance_id, capture_instance);
	ObjectAddresses *objects = new_object_addresses();
	auto add = [&](Oid class_id, Oid object_id) {
		ObjectAddress address;
		ObjectAddressSet(address, class_id, object_id);
		if (OidIsValid(object_id))
			add_exact_object_address(&address, objects);
	};

	add(ProcedureRelationId, function_oid(names.all_function));
	add(ProcedureRelationId, function_oid(names.net_function));
	add(RelationRelationId, catalog::cdc_relation_oid(names.view, true));
	add(TypeRelationId, type_oid(names.all_type));
	add(TypeRelationId, type_oid(names.net_type));

	ErrorContextCallback callback = {};
	callback.callback = dependents_hint;
	callback.arg = const_cast<char *>(capture_instance);
	callback.previous = error_context_stack;
	error_context_stack = &callback;
	performMultipleDeletions(objects, drop_cascades ? DROP_CASCADE : behavior,
							 PERFORM_DELETION_INTERNAL | PERFORM_DELETION_SKIP_EXTENSIONS |
								 (drop_cascades ? 0 : PERFORM_DELETION_QUIETLY));
	error_context_stack = callback.previous;

	free_object_addresses(objects);
	CommandCounterIncrement();
}

void
query_functions_drop_cascades(bool cascades)
{
	drop_cascades = cascades;
}

/* renew_query_functions(capture_instance text) */
CDC_FUNCTION(cdc_renew_query_functions)
{
	const char *name = arg_name_required(fcinfo, 0, "capture_instance");

	require_writable("renew_query_functions");
	catalog::database_require_enabled();
	catalog::CaptureInstance *instance = catalog::capture_instance_by_name(name, false);
	if (!superuser() && !compat_database_ownercheck(MyDatabaseId, GetUserId()) &&
		!compat_relation_ownercheck(instance->source, GetUserId()))
		error_instance_not_found(name);

	/*
	 * Against who disables the instance or changes its columns (they have its change table), and against
	 * another call. What they have done is seen afterwards. The view first, as readers do.
	 */
	Oid view = query_functions_view(instance->instance_id);
	if (OidIsValid(view))
		LockRelationOid(view, AccessExclusiveLock);
	LockRelationOid(instance->change_table, AccessShareLock);
	catalog::instance_name_lock(name);
	instance = catalog::capture_instance_by_id(instance->instance_id, true);
	if (instance == nullptr)
		error_instance_not_found(name);
	catalog::capture_instance_require_whole(instance);
	if (query_functions_agree(instance))
	{
		ereport(NOTICE, (errmsg("query functions of capture instance \"%s\" are as they should be",
								NameStr(instance->name))));
		PG_RETURN_VOID();
	}
	catalog::as_extension_owner(
		[&]() { query_functions_renew(instance->instance_id, NameStr(instance->name)); });
	PG_RETURN_VOID();
}

/* _stale_query_functions(): names of instances */
CDC_FUNCTION(cdc_stale_query_functions)
{
	InitMaterializedSRF(fcinfo, MAT_SRF_USE_EXPECTED_DESC);
	auto *result = reinterpret_cast<ReturnSetInfo *>(fcinfo->resultinfo);
	ListCell *cell;

	foreach (cell, catalog::capture_instances_all())
	{
		auto *instance = static_cast<catalog::CaptureInstance *>(lfirst(cell));
		/* Those are told by cdc._catalog_problems. */
		if (instance->is_damaged || query_functions_agree(instance))
			continue;
		Datum value = CStringGetTextDatum(NameStr(instance->name));
		bool isnull = false;
		tuplestore_putvalues(result->setResult, result->setDesc, &value, &isnull);
	}
	return static_cast<Datum>(0);
}

} // namespace cdc::query
