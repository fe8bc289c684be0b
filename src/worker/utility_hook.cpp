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
 */
#include "cdc.hpp"

#include "base/scope.hpp"
#include "base/shmem.hpp"
#include "catalog/catalog.hpp"
#include "catalog/ddl_statement.hpp"
#include "catalog/drop_guard.hpp"
#include "query/query_functions.hpp"
#include "worker/control.hpp"
#include "worker/registry.hpp"
#include "worker/utility_hook.hpp"

extern "C" {
#include "commands/dbcommands.h"
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

void
utility_hook(PlannedStmt *statement, const char *query, bool read_only,
			 ProcessUtilityContext context, ParamListInfo parameters, QueryEnvironment *environment,
			 DestReceiver *destination, QueryCompletion *completion)
{
	Node *parse_tree = statement->utilityStmt;

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
