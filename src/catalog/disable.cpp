/*
 * disable.cpp
 *	  sp_cdc_disable_table: takes one or all capture instances of a table away.
 *
 * NOTES
 *	  The rows of the catalog and the query functions go at once; the change table is only renamed,
 *	  so that its name is free, and dropped by the writer when it meets the commit in the log: the
 *	  writer holds locks on leaves, and nobody here waits for it. Changes that it still meets
 *	  before are discarded, since the instance is not in the catalog any more.
 */
#include "cdc.hpp"

#include "base/args.hpp"
#include "base/errors.hpp"
#include "base/fault.hpp"
#include "catalog/capture_instance.hpp"
#include "catalog/catalog.hpp"
#include "catalog/database.hpp"
#include "catalog/instance_remove.hpp"
#include "catalog/instance_rows.hpp"
#include "catalog/internal_ddl.hpp"
#include "catalog/replica_identity.hpp"
#include "catalog/source_table.hpp"
#include "catalog/version.hpp"
#include "jobs/job_catalog.hpp"
#include "query/query_functions.hpp"
#include "worker/registry.hpp"

extern "C" {
#include "catalog/pg_inherits.h"
#include "storage/lmgr.h"
#include "utils/inval.h"
}

namespace cdc::catalog
{

namespace
{

struct DisableRequest
{
	const char *source_schema;
	const char *source_name;
	const char *capture_instance;
	bool all;
};

/* CaptureInstance pointers to remove, of those that the table has. */
List *
choose_instances(const DisableRequest &request, List *instances)
{
	ListCell *cell;

	if (instances == NIL)
		ereport(ERROR, (errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
						errmsg("table \"%s.%s\" is not enabled for change data capture",
							   request.source_schema, request.source_name),
						errdetail("SQL Server error 22985: the table has no capture instance."),
						errhint("SELECT source_schema, source_table, capture_instance FROM "
								"cdc.sp_cdc_help_change_data_capture();")));
	if (request.all)
		return instances;

	StringInfoData names;
	initStringInfo(&names);
	foreach (cell, instances)
	{
		auto *instance = static_cast<CaptureInstance *>(lfirst(cell));
		if (strcmp(NameStr(instance->name), request.capture_instance) == 0)
			return list_make1(instance);
		appendStringInfo(&names, "%s\"%s\"", names.len > 0 ? ", " : "", NameStr(instance->name));
	}
	ereport(ERROR, (errcode(ERRCODE_UNDEFINED_OBJECT),
					errmsg("capture instance \"%s\" does not belong to table \"%s.%s\"",
						   request.capture_instance, request.source_schema, request.source_name),
					errdetail("SQL Server error 22960: the table's capture instances are: %s.",
							  names.data),
					errhint("Pass one of them, or 'all'.")));
	pg_unreachable();
}

/* The index that an instance with before_image 'key' may have made the identity of `relation`. */
Oid
promised_index(List *instances, const SourceTable &table, Oid relation)
{
	ListCell *cell;

	foreach (cell, instances)
	{
		auto *instance = static_cast<CaptureInstance *>(lfirst(cell));
		if (instance->before_image_full || !instance->has_index)
			continue;
		RowIdentifier identifier = {};
		identifier.index =
			get_relname_relid(NameStr(instance->index_name), get_rel_namespace(table.oid));
		if (OidIsValid(identifier.index))
			return row_identifier_index_of(identifier, relation);
	}
	return InvalidOid;
}

bool
identity_is_remembered(List *tree)
{
	ListCell *cell;

	foreach (cell, tree)
		if (replica_identity_is_remembered(lfirst_oid(cell)))
			return true;
	return false;
}

void
remove_instances(List *instances)
{
	as_extension_owner([&]() {
		ListCell *cell;

		/*
		 * First all that others may hold for long: readers (they have the view before the change table), and the
		 * writer while it extends a change table. The rows of change_tables come later, not in turns with this, or two instances make a
		 * deadlock with the writer.
		 */
		foreach (cell, instances)
		{
			auto *instance = static_cast<CaptureInstance *>(lfirst(cell));
			Oid view = query::query_functions_view(instance->instance_id);
			if (OidIsValid(view))
				LockRelationOid(view, AccessExclusiveLock);
			LockRelationOid(instance->change_table, AccessExclusiveLock);
		}
		instance_set_lock_to_remove();
		foreach (cell, instances)
		{
			/* The writer may have been faster with an instance whose source was dropped. */
			auto *instance = static_cast<CaptureInstance *>(lfirst(cell));
			if (capture_instance_by_id(instance->instance_id, true) != nullptr)
				instance_remove(*instance);
		}
		replica_identity_forget_dropped();
		/* The worker keeps running without its job: it moves the slot on, and drops what is left. */
		if (instance_set_is_empty())
		{
			jobs::jobs_delete_all();
			worker::registry_cleanup_stop_at_commit();
		}
	});
}

/*
 * An instance whose source table has been dropped belongs to nobody but the database's owner, and can
 * only be found by its own name. Returns false when that is not the case.
 */
bool
disable_orphan(const DisableRequest &request)
{
	CaptureInstance *instance =
		request.all ? nullptr : capture_instance_by_name(request.capture_instance, true);

	/* Its oid may be another table's by now. Without event triggers the mark is missing. */
	if (instance == nullptr || (!instance->has_drop_pending &&
								SearchSysCacheExists1(RELOID, ObjectIdGetDatum(instance->source))))
		return false;
	require_database_owner("sp_cdc_disable_table");
	remove_instances(list_make1(instance));
	return true;
}

void
disable_table(const DisableRequest &request)
{
	/* A new table may have the name of the one that was dropped. */
	if (disable_orphan(request))
		return;
	Oid source =
		source_table_lookup(request.source_schema, request.source_name, NoLock, false, true);
	if (!OidIsValid(source))
		error_source_not_found(request.source_schema, request.source_name);

	/*
	 * Putting the replica identity back takes ACCESS EXCLUSIVE, and is done with the last instance. A writer
	 * that is under way does not matter here.
	 */
	List *instances = capture_instances_of_source(source);
	bool last = list_length(choose_instances(request, instances)) == list_length(instances);
	List *tree = find_all_inheritors(source, NoLock, nullptr);
	LOCKMODE lockmode =
		last && identity_is_remembered(tree) ? AccessExclusiveLock : ShareUpdateExclusiveLock;

	source =
		source_table_lookup(request.source_schema, request.source_name, lockmode, false, false);
	SourceTable table = source_table_load(source, lockmode, false);

	/* Again under the lock, as somebody else may have been faster. */
	instances = capture_instances_of_source(source);
	List *chosen = choose_instances(request, instances);
	last = list_length(chosen) == list_length(instances);

	remove_instances(chosen);
	CDC_FAULT("disable-table-removed");

	if (last && identity_is_remembered(table.tree))
	{
		ListCell *cell;
		if (lockmode != AccessExclusiveLock)
			foreach (cell, table.tree)
				LockRelationOid(lfirst_oid(cell), AccessExclusiveLock);
		foreach (cell, table.tree)
			replica_identity_restore(lfirst_oid(cell),
									 promised_index(instances, table, lfirst_oid(cell)));
	}

	ListCell *cell;
	foreach (cell, table.tree)
		CacheInvalidateRelcacheByRelid(lfirst_oid(cell));
	CommandCounterIncrement();
	CDC_FAULT("disable-table-end");
}

} // namespace

} // namespace cdc::catalog

/* cdc.sp_cdc_disable_table */
CDC_FUNCTION(cdc_sp_cdc_disable_table)
{
	using namespace cdc;

	require_writable("sp_cdc_disable_table");
	refuse_in_extension_script("sp_cdc_disable_table");
	/* Without its identity row the database can still be disabled, which comes by here. */
	catalog::require_version();
	if (!catalog::database_has_remains())
		catalog::database_require_enabled();

	catalog::DisableRequest request = {
		.source_schema = arg_text_required(fcinfo, 0, "source_schema"),
		.source_name = arg_text_required(fcinfo, 1, "source_name"),
		.capture_instance = arg_name_required(fcinfo, 2, "capture_instance"),
		.all = false,
	};
	request.all = pg_strcasecmp(request.capture_instance, "all") == 0;
	catalog::disable_table(request);
	PG_RETURN_VOID();
}
