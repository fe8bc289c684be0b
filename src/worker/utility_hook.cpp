/*
 * utility_hook.cpp
 *	  Stops the workers of a database before commands that they would block.
 *
 * NOTES
 *	  DROP DATABASE refuses a database with an active logical slot or with sessions: the workers
 *	  leave before the server looks, and the server itself drops the idle slot. They come back when
 *	  the command fails.
 *
 *	  DROP EXTENSION would wait for the writer's locks while the writer waits for its. The workers
 *	  leave before any lock is taken; the slot is dropped when the transaction has committed.
 *	  Source tables get their replica identity back before the catalog that knows it is gone.
 *
 *	  Renaming, moving and copying a database while it is captured is refused with a hint, which the
 *	  server's own refusal has not; so are commands on our own tables (catalog/table_guard.cpp).
 */
#include "cdc.hpp"

#include "base/scope.hpp"
#include "base/shmem.hpp"
#include "catalog/catalog.hpp"
#include "catalog/ddl_statement.hpp"
#include "catalog/drop_guard.hpp"
#include "catalog/table_guard.hpp"
#include "query/query_functions.hpp"
#include "worker/control.hpp"
#include "worker/registry.hpp"
#include "worker/utility_hook.hpp"

extern "C" {
#include "commands/dbcommands.h"
#include "commands/defrem.h"
#include "replication/origin.h"
#include "replication/slot.h"
#include "tcop/utility.h"
}

namespace cdc::worker
{

namespace
{

ProcessUtility_hook_type previous_hook = nullptr;

/* DROP EXTENSION cdc in this transaction: what to do when it ends. */
DatabaseEntry *dropping = nullptr;

void
run(PlannedStmt *statement, const char *query, bool read_only, ProcessUtilityContext context,
	ParamListInfo parameters, QueryEnvironment *environment, DestReceiver *destination,
	QueryCompletion *completion)
{
	if (previous_hook != nullptr)
		previous_hook(statement, query, read_only, context, parameters, environment, destination,
					  completion);
	else
		standard_ProcessUtility(statement, query, read_only, context, parameters, environment,
								destination, completion);
}

void
end_of_drop(XactEvent event, void *)
{
	if (dropping != nullptr && event == XACT_EVENT_PRE_PREPARE)
		ereport(ERROR,
				(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
				 errmsg("cannot prepare a transaction that drops extension \"cdc\""),
				 errdetail("The workers of this database would be held up until it is decided."),
				 errhint("Drop it in a transaction of its own.")));
	if (dropping == nullptr || (event != XACT_EVENT_COMMIT && event != XACT_EVENT_ABORT))
		return;
	DatabaseEntry *entry = dropping;
	dropping = nullptr;
	if (event == XACT_EVENT_COMMIT)
	{
		/* Asks the launcher to have a worker look: it finds no identity row and drops the slot. */
		registry_unhold(entry);
		registry_start(entry);
		return;
	}
	registry_unhold(entry);
}

bool
drops_our_extension(const DropStmt *drop)
{
	ListCell *cell;
	if (drop->removeType != OBJECT_EXTENSION)
		return false;
	foreach (cell, drop->objects)
		if (strcmp(strVal(lfirst(cell)), "cdc") == 0)
			return OidIsValid(catalog::cdc_extension_oid());
	return false;
}

/* The database that a command needs without other sessions: to rename, move or copy it. nullptr: none. */
const char *
database_needed_alone(Node *parse_tree)
{
	List *options = NIL;
	const char *database = nullptr;
	const char *option = nullptr;

	if (IsA(parse_tree, RenameStmt))
	{
		auto *rename = castNode(RenameStmt, parse_tree);
		return rename->renameType == OBJECT_DATABASE ? rename->subname : nullptr;
	}
	if (IsA(parse_tree, AlterDatabaseStmt))
	{
		options = castNode(AlterDatabaseStmt, parse_tree)->options;
		database = castNode(AlterDatabaseStmt, parse_tree)->dbname;
		option = "tablespace";
	}
	else if (IsA(parse_tree, CreatedbStmt))
	{
		options = castNode(CreatedbStmt, parse_tree)->options;
		option = "template";
	}

	ListCell *cell;
	foreach (cell, options)
	{
		auto *element = castNode(DefElem, lfirst(cell));
		if (strcmp(element->defname, option) == 0 && element->arg != nullptr)
			return database != nullptr ? database : defGetString(element);
	}
	return nullptr;
}

/*
 * The server would wait for five seconds, and then say that other users are connected, but not that they are ours
 * and how they go. They cannot be stopped here: in a copy, the job would be stopped, too.
 */
void
refuse_while_captured(const char *name, bool moves)
{
	Oid database = get_database_oid(name, true);
	if (!OidIsValid(database) || database == MyDatabaseId ||
		!compat_database_ownercheck(database, GetUserId()))
		return;
	/* The log knows files by their tablespace, so it could not be decoded any more, and even stopping the job writes some. */
	NameData slot = slot_name_for(database);
	if (moves && SearchNamedReplicationSlot(NameStr(slot), true) != nullptr)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_IN_USE), errmsg("database \"%s\" is being captured", name),
				 errdetail("What is not captured when a database moves could not be captured "
						   "any more."),
				 errhint("In that database: CALL cdc.prepare_upgrade(); and afterwards CALL "
						 "cdc.resume_after_gap();")));
	const DatabaseEntry *entry = registry_find(database);
	if (entry == nullptr)
		return;
	int writer = 0;
	with_lock(shmem_get()->lock, LW_SHARED, [&] { writer = entry->writer_pid; });
	if (writer == 0)
		return;
	ereport(ERROR,
			(errcode(ERRCODE_OBJECT_IN_USE), errmsg("database \"%s\" is being captured", name),
			 errdetail("The capture worker (pid %d) and its decoder are connected to it.", writer),
			 errhint("In that database: CALL cdc.sp_cdc_stop_job(); and afterwards CALL "
					 "cdc.sp_cdc_start_job();")));
}

void
utility_hook(PlannedStmt *statement, const char *query, bool read_only,
			 ProcessUtilityContext context, ParamListInfo parameters, QueryEnvironment *environment,
			 DestReceiver *destination, QueryCompletion *completion)
{
	Node *parse_tree = statement->utilityStmt;

	if (const char *alone = database_needed_alone(parse_tree); alone != nullptr)
		refuse_while_captured(alone, IsA(parse_tree, AlterDatabaseStmt));
	catalog::table_guard_check(parse_tree);
	catalog::drop_guard_check(parse_tree);
	if (IsA(parse_tree, DropdbStmt))
	{
		Oid database = get_database_oid(castNode(DropdbStmt, parse_tree)->dbname, true);
		DatabaseEntry *entry = OidIsValid(database) ? registry_find(database) : nullptr;
		/* One that has lost its slot has no entry after a restart, but still its origin. */
		NameData origin = slot_name_for(database);
		bool was_captured =
			entry != nullptr || (OidIsValid(database) && IsTransactionState() &&
								 replorigin_by_name(NameStr(origin), true) != InvalidRepOriginId);
		if (was_captured && database != MyDatabaseId &&
			compat_database_ownercheck(database, GetUserId()))
		{
			with_workers_stopped(entry, [&] {
				run(statement, query, read_only, context, parameters, environment, destination,
					completion);
				if (entry != nullptr)
					registry_stop(entry);
				/* Origins are shared by all databases: nobody else would drop this one. */
				replorigin_drop_by_name(NameStr(origin), true, false);
			});
			return;
		}
	}
	else if (IsA(parse_tree, DropStmt) && !RecoveryInProgress() &&
			 drops_our_extension(castNode(DropStmt, parse_tree)) && superuser())
	{
		DatabaseEntry *entry = registry_find(MyDatabaseId);
		if (entry != nullptr && dropping == nullptr)
		{
			report_error([&] { workers_stop_and_wait(entry); },
						 [&](const ErrorData &) { registry_unhold(entry); });
			dropping = entry;
		}
		query::query_functions_drop_cascades(castNode(DropStmt, parse_tree)->behavior ==
											 DROP_CASCADE);
		finally([&] { database_remove_all(); },
				[&] { query::query_functions_drop_cascades(false); });
	}
	if (IsA(parse_tree, DropStmt) && drops_our_extension(castNode(DropStmt, parse_tree)))
	{
		catalog::drop_guard_allow(true);
		finally(
			[&] {
				run(statement, query, read_only, context, parameters, environment, destination,
					completion);
			},
			[&] { catalog::drop_guard_allow(false); });
		return;
	}
	if (catalog::ddl_statement_matters(parse_tree))
	{
		catalog::DdlStatement current;
		catalog::ddl_statement_begin(&current, statement, query);
		finally(
			[&] {
				run(statement, query, read_only, context, parameters, environment, destination,
					completion);
			},
			[&] { catalog::ddl_statement_end(&current); });
		return;
	}
	run(statement, query, read_only, context, parameters, environment, destination, completion);
}

} // namespace

void
utility_hook_init()
{
	previous_hook = ProcessUtility_hook;
	ProcessUtility_hook = utility_hook;
	RegisterXactCallback(end_of_drop, nullptr);
}

} // namespace cdc::worker
