/*
 * enable.cpp
 *	  sp_cdc_enable_table: checks, locks, and everything that a capture instance consists of.
 *
 * NOTES
 *	  One transaction, the caller's: on any error nothing has changed. Rights are checked as the
 *	  caller, the gating role is created as the caller; everything in schema cdc is then made as
 *	  the extension's owner, with a fixed search path and in a security-restricted operation.
 *
 *	  The lock on the source. No transaction that has written to the table may straddle the enabling: it would
 *	  be captured by half. SHARE ROW EXCLUSIVE keeps writers out until the commit; where the replica
 *	  identity has to change, the server asks for ACCESS EXCLUSIVE. The mode is chosen before the lock, as an
 *	  upgrade is what deadlocks are made of, and checked again under it.
 *
 *	  When the decoder sees the instance: the rows of change_tables and captured_columns are read
 *	  under the historic snapshot (user_catalog_table), so exactly from the enabling command on. Such
 *	  rows send no invalidations of their own, hence CacheInvalidateRelcache on source and leaves.
 */
#include "cdc.hpp"

#include "base/args.hpp"
#include "base/errors.hpp"
#include "base/fault.hpp"
#include "catalog/capture_instance.hpp"
#include "catalog/catalog.hpp"
#include "catalog/change_table.hpp"
#include "catalog/instance_rows.hpp"
#include "catalog/internal_ddl.hpp"
#include "catalog/replica_identity.hpp"
#include "catalog/source_table.hpp"
#include "jobs/job_catalog.hpp"
#include "query/query_functions.hpp"
#include "worker/registry.hpp"

extern "C" {
#include "catalog/catalog.h"
#include "catalog/pg_proc.h"
#include "catalog/pg_tablespace.h"
#include "commands/sequence.h"
#include "commands/tablespace.h"
#include "commands/user.h"
#include "parser/parse_node.h"
#include "storage/lmgr.h"
#include "utils/catcache.h"
#include "utils/inval.h"
}

namespace cdc::catalog
{

namespace
{

/* What fits between the longest prefix, fn_cdc_get_net_changes_, and 63 bytes. */
constexpr size_t kMaxInstanceName = 40;

/* SQL Server's limit for an index that net changes use. */
constexpr int kMaxNetChangesKey = 14;

struct EnableRequest
{
	const char *source_schema;
	const char *source_name;
	const char *role_name;
	const char *capture_instance;
	std::optional<bool> supports_net_changes;
	const char *index_name;
	const char *captured_column_list;
	const char *filegroup_name;
	bool allow_partition_switch;
	const char *before_image;
	const char *truncate_action;
	const char *drop_action;
};

/* One of two words, in any case. */
const char *
arg_choice(FunctionCallInfo fcinfo, int n, const char *parameter, const char *first,
		   const char *second)
{
	const char *value = arg_text_trimmed(fcinfo, n);

	if (value != nullptr && pg_strcasecmp(value, first) == 0)
		return first;
	if (value != nullptr && pg_strcasecmp(value, second) == 0)
		return second;
	ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
					errmsg("parameter \"%s\" must be '%s' or '%s'", parameter, first, second),
					value == nullptr ? errdetail("It is NULL.") : errdetail("It is '%s'.", value),
					errhint("Leave it out to get '%s'.", first)));
	pg_unreachable();
}

/* The instance's name: given, or derived from the table's. Nothing is ever cut. */
const char *
choose_instance_name(const char *given, const char *schema, const char *table)
{
	bool derived = given == nullptr;
	char *name = derived ? psprintf("%s_%s", schema, table) : pstrdup(given);
	size_t length = strlen(name);

	while (length > 0 && is_ascii_space(name[length - 1]))
		name[--length] = '\0';

	if (length == 0)
		error_parameter_missing("capture_instance", false);
	if (length > kMaxInstanceName)
		ereport(ERROR,
				(errcode(ERRCODE_NAME_TOO_LONG),
				 errmsg("capture instance name \"%s\" is too long", name),
				 errdetail("SQL Server error 22927: the name has %zu bytes, at most %zu fit; %s.",
						   length, kMaxInstanceName,
						   derived ? "it was derived from schema and table"
								   : "the names of the query functions are made from it"),
				 errhint("Pass a shorter capture_instance => '...'.")));

	bool invalid = pg_strcasecmp(name, "all") == 0;
	for (const char *at = name; *at != '\0'; at++)
		invalid = invalid || static_cast<unsigned char>(*at) < 0x20 || *at == 0x7f;
	if (invalid)
		ereport(
			ERROR,
			(errcode(ERRCODE_INVALID_NAME),
			 errmsg("capture instance name \"%s\" is not valid", name),
			 errdetail(
				 "SQL Server error 22932: the name must be usable as part of an identifier: no control "
				 "characters, and not \"all\", which stands for every instance of a table."),
			 errhint("Pass another capture_instance => '...'.")));
	return name;
}

[[noreturn]] void
error_name_in_use(const char *name, const char *by)
{
	ereport(ERROR, (errcode(ERRCODE_DUPLICATE_OBJECT),
					errmsg("capture instance name \"%s\" is already in use", name),
					errdetail("SQL Server error 22926: the name is used by %s.", by),
					errhint("Pass another capture_instance => '...'.")));
	pg_unreachable();
}

/* The name itself, and every name in schema cdc that is made from it. */
void
check_name_is_free(const char *name)
{
	CaptureInstance *other = capture_instance_by_name(name, true);
	if (other != nullptr)
	{
		Oid source = other->source;
		const char *table = get_rel_name(source);
		error_name_in_use(name,
						  table == nullptr
							  ? "an instance whose source table has been dropped"
							  : psprintf("an instance of table \"%s.%s\"",
										 get_namespace_name(get_rel_namespace(source)), table));
	}

	Oid schema = get_namespace_oid(kSchema, false);
	char *change_table = psprintf("%s_ct", name);
	if (OidIsValid(get_relname_relid(change_table, schema)) ||
		SearchSysCacheExists2(TYPENAMENSP, CStringGetDatum(change_table), ObjectIdGetDatum(schema)))
		error_name_in_use(name, psprintf("relation or type \"%s.%s\"", kSchema, change_table));

	for (const char *kind : {"all", "net"})
	{
		char *function = psprintf("fn_cdc_get_%s_changes_%s", kind, name);
		CatCList *list = SearchSysCacheList1(PROCNAMEARGSNSP, CStringGetDatum(function));
		bool taken = false;
		for (int i = 0; i < list->n_members; i++)
		{
			auto *procedure = reinterpret_cast<Form_pg_proc>(GETSTRUCT(&list->members[i]->tuple));
			taken = taken || procedure->pronamespace == schema;
		}
		ReleaseSysCacheList(list);
		if (taken)
			error_name_in_use(name, psprintf("function \"%s.%s\"", kSchema, function));
	}
}

/* The tablespace by its SQL Server name. */
void
check_filegroup(const char *name)
{
	Oid tablespace = strlen(name) < NAMEDATALEN ? get_tablespace_oid(name, true) : InvalidOid;

	if (!OidIsValid(tablespace) || tablespace == GLOBALTABLESPACE_OID)
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_OBJECT),
				 errmsg("tablespace \"%s\" cannot hold a change table", name),
				 errdetail("SQL Server error 22973: the filegroup is not valid: %s.",
						   OidIsValid(tablespace) ? "it is for shared system tables only"
												  : "there is no such tablespace"),
				 errhint("SELECT spcname FROM pg_tablespace; or leave filegroup_name out for the "
						 "database's default.")));
	if (tablespace != MyDatabaseTableSpace &&
		compat_tablespace_aclcheck(tablespace, GetUserId(), ACL_CREATE) != ACLCHECK_OK)
		ereport(ERROR, (errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
						errmsg("permission denied for tablespace \"%s\"", name),
						errdetail("User \"%s\" may not create objects in it.",
								  GetUserNameFromId(GetUserId(), false)),
						errhint("GRANT CREATE ON TABLESPACE %s TO %s;", quote_identifier(name),
								quote_identifier(GetUserNameFromId(GetUserId(), false)))));
}

/* Judges the gating role's name without creating anything; true: it has to be created. */
bool
check_gating_role(const char *role)
{
	if (role[0] == '\0')
		ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
						errmsg("parameter \"role_name\" must not be empty"),
						errdetail("SQL Server error 22907: the name of the gating role is empty."),
						errhint("Pass role_name => NULL to leave reading ungated.")));

	const char *flaw = nullptr;
	bool exists = strlen(role) < NAMEDATALEN && OidIsValid(get_role_oid(role, true));
	if (strlen(role) >= NAMEDATALEN)
		flaw = "it is longer than 63 bytes";
	else if (strcmp(role, "public") == 0 || strcmp(role, "none") == 0)
		flaw = "it is a keyword, not a role";
	else if (!exists && IsReservedName(role))
		flaw = "no such role exists, and names that start with \"pg_\" cannot be given to new ones";
	if (flaw != nullptr)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_NAME), errmsg("\"%s\" cannot be a gating role", role),
				 errdetail("SQL Server error 22938: the role name is not valid: %s.", flaw),
				 errhint("Name a role, or pass role_name => NULL to leave reading ungated.")));

	if (!exists && !has_createrole_privilege(GetUserId()))
		ereport(ERROR,
				(errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
				 errmsg("gating role \"%s\" does not exist and cannot be created", role),
				 errdetail("SQL Server error 22944: user \"%s\" has no right to create roles.",
						   GetUserNameFromId(GetUserId(), false)),
				 errhint("Let somebody who may create roles execute: CREATE ROLE %s NOLOGIN;",
						 quote_identifier(role))));
	return !exists;
}

void
create_gating_role(const char *role)
{
	CreateRoleStmt *stmt = makeNode(CreateRoleStmt);
	stmt->stmt_type = ROLESTMT_ROLE;
	stmt->role = pstrdup(role);
	CreateRole(make_parsestate(nullptr), stmt);
	CommandCounterIncrement();
}

void
check_instance_count(const SourceTable &table)
{
	List *instances = capture_instances_of_source(table.oid);

	if (list_length(instances) >= 2)
		ereport(ERROR,
				(errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
				 errmsg("table \"%s.%s\" already has two capture instances", table.schema,
						table.name),
				 errdetail("SQL Server error 22962: the instances are \"%s\" and \"%s\".",
						   NameStr(static_cast<CaptureInstance *>(linitial(instances))->name),
						   NameStr(static_cast<CaptureInstance *>(lsecond(instances))->name)),
				 errhint("CALL cdc.sp_cdc_disable_table(%s, %s, %s);",
						 quote_literal_cstr(table.schema), quote_literal_cstr(table.name),
						 quote_literal_cstr(
							 NameStr(static_cast<CaptureInstance *>(linitial(instances))->name)))));
}

bool
decide_net_changes(const EnableRequest &request, const SourceTable &table,
				   const RowIdentifier *identifier)
{
	bool supported = request.supports_net_changes.value_or(identifier != nullptr);

	if (supported && identifier == nullptr)
		ereport(
			ERROR,
			(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
			 errmsg("net changes of table \"%s.%s\" need a row identifier", table.schema,
					table.name),
			 errdetail(
				 "SQL Server error 22939: the table has no primary key that is not deferrable, "
				 "and no index was named."),
			 errhint(
				 "Add a primary key, name a unique index on NOT NULL columns with index_name => "
				 "'...', or pass supports_net_changes => false.")));
	if (supported && identifier->columns > kMaxNetChangesKey)
		ereport(ERROR, (errcode(ERRCODE_TOO_MANY_COLUMNS),
						errmsg("index \"%s\" has too many columns for net changes",
							   identifier->index_name),
						errdetail("SQL Server error 22865: it has %d columns, the limit is %d.",
								  identifier->columns, kMaxNetChangesKey),
						errhint("Name a smaller unique index with index_name => '...', or pass "
								"supports_net_changes => false.")));
	return supported;
}

/* 6.5 of the reference. Returns what is stored: always true for a table without partitions. */
bool
decide_partition_switch(const EnableRequest &request, const SourceTable &table)
{
	if (!table.partitioned)
	{
		if (!request.allow_partition_switch)
			ereport(WARNING,
					(errcode(ERRCODE_WARNING),
					 errmsg("allow_partition_switch => false is ignored for table \"%s.%s\"",
							table.schema, table.name),
					 errdetail("SQL Server error 22857: the table is not partitioned.")));
		return true;
	}
	if (request.allow_partition_switch)
		ereport(
			NOTICE,
			(errmsg(
				 "attaching and detaching partitions of table \"%s.%s\" is not captured as changes",
				 table.schema, table.name),
			 errdetail(
				 "SQL Server error 22855: partition switch is allowed; the rows of a partition "
				 "that is attached or detached give no change rows."),
			 errhint("Pass allow_partition_switch => false to have it refused.")));
	else
		ereport(NOTICE,
				(errmsg("attaching and detaching partitions of table \"%s.%s\" will be refused",
						table.schema, table.name),
				 errdetail("SQL Server error 22856: partition switch is not allowed.")));
	return request.allow_partition_switch;
}

/* The index whose columns the log must hold at least for `relation`; InvalidOid: the whole row. */
Oid
wanted_identity(const RowIdentifier *identifier, bool full, Oid relation)
{
	if (full)
		return InvalidOid;
	Oid index = row_identifier_index_of(*identifier, relation);
	if (!OidIsValid(index))
		elog(ERROR, "partition %u has no index that belongs to index %u", relation,
			 identifier->index);
	return index;
}

/*
 * A relation has one replica identity. Two instances that follow the rows by different indexes can both
 * be served by the whole row only.
 */
bool
another_identifier_is_promised(const SourceTable &table, const RowIdentifier *identifier)
{
	ListCell *cell;

	foreach (cell, capture_instances_of_source(table.oid))
	{
		auto *instance = static_cast<CaptureInstance *>(lfirst(cell));
		if (!instance->before_image_full && instance->has_index &&
			strcmp(NameStr(instance->index_name), identifier->index_name) != 0)
			return true;
	}
	return false;
}

bool
identity_must_change(const SourceTable &table, const RowIdentifier *identifier, bool full)
{
	ListCell *cell;

	foreach (cell, table.tree)
		if (!replica_identity_suffices(lfirst_oid(cell),
									   wanted_identity(identifier, full, lfirst_oid(cell))))
			return true;
	return false;
}

/* A look before the lock: only which one to take hangs on it. */
LOCKMODE
choose_lock(Oid source, bool full)
{
	if (!full)
		return ShareRowExclusiveLock;
	HeapTuple tuple = SearchSysCache1(RELOID, ObjectIdGetDatum(source));
	if (!HeapTupleIsValid(tuple))
		return AccessExclusiveLock;
	auto *relation = reinterpret_cast<Form_pg_class>(GETSTRUCT(tuple));
	bool is_full = relation->relreplident == REPLICA_IDENTITY_FULL &&
				   relation->relkind != RELKIND_PARTITIONED_TABLE;
	ReleaseSysCache(tuple);
	return is_full ? ShareRowExclusiveLock : AccessExclusiveLock;
}

EnableRequest
request_from_arguments(FunctionCallInfo fcinfo)
{
	EnableRequest request = {};

	request.source_schema = arg_text_required(fcinfo, 0, "source_schema");
	request.source_name = arg_text_required(fcinfo, 1, "source_name");
	request.role_name = arg_text_trimmed(fcinfo, 2);
	request.capture_instance =
		choose_instance_name(arg_text(fcinfo, 3), request.source_schema, request.source_name);
	request.supports_net_changes = arg_bool(fcinfo, 4);
	request.index_name = arg_text_trimmed(fcinfo, 5);
	request.captured_column_list = arg_text(fcinfo, 6);
	request.filegroup_name = arg_text_trimmed(fcinfo, 7);
	if (PG_ARGISNULL(8))
		ereport(ERROR, (errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
						errmsg("parameter \"allow_partition_switch\" must not be NULL"),
						errdetail("SQL Server error 22844: the option must be true or false."),
						errhint("Leave it out to get true.")));
	request.allow_partition_switch = PG_GETARG_BOOL(8);
	request.before_image = arg_choice(fcinfo, 9, "before_image", "full", "key");
	request.truncate_action = arg_choice(fcinfo, 10, "truncate_action", "refuse", "record");
	request.drop_action = arg_choice(fcinfo, 11, "drop_action", "remove", "keep");
	return request;
}

/* Everything in schema cdc. Runs as the extension's owner. */
void
create_instance(NewInstance &instance, const SourceTable &table)
{
	auto *columns =
		static_cast<ChangeColumn *>(palloc(sizeof(ChangeColumn) * instance.columns.size()));
	for (size_t i = 0; i < instance.columns.size(); i++)
		columns[i] = {.name = instance.columns[i].name,
					  .type_id = instance.columns[i].base_type,
					  .typmod = instance.columns[i].base_typmod,
					  .collation = instance.columns[i].collation};

	instance.instance_id =
		static_cast<int32>(nextval_internal(cdc_relation_oid("_instance_id_seq", false), false));
	instance.change_table =
		change_table_create(instance.name, instance.instance_id, {columns, instance.columns.size()},
							instance.filegroup_name);
	CDC_FAULT("enable-table-create");
	instance_rows_insert(instance);
	(void)change_table_leaf(instance.change_table, GetXLogInsertRecPtr(), nullptr);
	query::query_functions_create(instance.instance_id);
	ddl_queue_emit(QueueKind::EnableTable, instance.instance_id, instance.change_table, table.oid,
				   nullptr);
}

void
enable_table(const EnableRequest &request)
{
	bool full = strcmp(request.before_image, "full") == 0;

	/* Cheap refusals first, and none of them behind a lock. */
	Oid source =
		source_table_lookup(request.source_schema, request.source_name, NoLock, true, false);
	bool create_role = request.role_name != nullptr && check_gating_role(request.role_name);
	if (request.filegroup_name != nullptr)
		check_filegroup(request.filegroup_name);

	LOCKMODE lockmode = choose_lock(source, full);
	source = source_table_lookup(request.source_schema, request.source_name, lockmode, true, false);
	SourceTable table = source_table_load(source, lockmode, true);
	check_instance_count(table);

	std::optional<RowIdentifier> found = row_identifier_find(table, request.index_name);
	const RowIdentifier *identifier = found.has_value() ? &*found : nullptr;
	bool net_changes = decide_net_changes(request, table, identifier);
	if (!full && identifier == nullptr)
		ereport(
			ERROR,
			(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
			 errmsg("before_image => 'key' of table \"%s.%s\" needs a row identifier", table.schema,
					table.name),
			 errdetail("Without one, deletes and updates would not say which row they mean."),
			 errhint(
				 "Add a primary key, name a unique index on NOT NULL columns with index_name => "
				 "'...', or pass before_image => 'full'.")));
	std::span<SourceColumn> columns =
		source_columns_choose(table, request.captured_column_list, identifier);
	bool partition_switch = decide_partition_switch(request, table);

	bool first = instance_set_lock_to_add();
	instance_name_lock(request.capture_instance);
	check_name_is_free(request.capture_instance);

	if (create_role)
		create_gating_role(request.role_name);

	/* The choice of the lock may have been overtaken; then, and only then, ask for more. */
	bool whole_rows = full || another_identifier_is_promised(table, identifier);
	if (identity_must_change(table, identifier, whole_rows))
	{
		ListCell *cell;
		if (lockmode != AccessExclusiveLock)
			foreach (cell, table.tree)
				LockRelationOid(lfirst_oid(cell), AccessExclusiveLock);
		foreach (cell, table.tree)
			replica_identity_promise(lfirst_oid(cell),
									 wanted_identity(identifier, whole_rows, lfirst_oid(cell)));
	}

	CDC_FAULT("enable-table-identity");
	NewInstance instance = {
		.instance_id = 0,
		.name = request.capture_instance,
		.change_table = InvalidOid,
		.source = table.oid,
		.supports_net_changes = net_changes,
		.role_name = request.role_name,
		.filegroup_name = request.filegroup_name,
		.partition_switch = partition_switch,
		.before_image = request.before_image,
		.truncate_action = request.truncate_action,
		.drop_action = request.drop_action,
		.identifier = identifier,
		.columns = columns,
	};

	as_extension_owner([&]() {
		create_instance(instance, table);
		if (first)
			jobs::jobs_insert_missing();
	});

	if (first)
	{
		worker::registry_start_at_commit();
		worker::registry_cleanup_look_at_commit();
	}

	ListCell *cell;
	foreach (cell, table.tree)
		CacheInvalidateRelcacheByRelid(lfirst_oid(cell));
	CommandCounterIncrement();
	CDC_FAULT("enable-table-end");
}

} // namespace

} // namespace cdc::catalog

/* cdc.sp_cdc_enable_table */
CDC_FUNCTION(cdc_sp_cdc_enable_table)
{
	using namespace cdc;

	require_writable("sp_cdc_enable_table");
	refuse_in_extension_script("sp_cdc_enable_table");
	catalog::database_require_enabled();
	catalog::enable_table(catalog::request_from_arguments(fcinfo));
	PG_RETURN_VOID();
}
