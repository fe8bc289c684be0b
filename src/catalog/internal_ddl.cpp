/*
 * internal_ddl.cpp
 *	  DDL of our own through the server's internal entry points.
 */
#include "cdc.hpp"

#include "base/scope.hpp"
#include "catalog/internal_ddl.hpp"

extern "C" {
#include "commands/event_trigger.h"
#include "commands/tablecmds.h"
#include "nodes/makefuncs.h"
#include "tcop/utility.h"
}

namespace cdc::catalog
{

namespace
{

uint64 ddl_count = 0;

} // namespace

void
internal_alter_table(Oid relation, AlterTableCmd *command, LOCKMODE lockmode, bool recurse)
{
	AlterTableStmt *stmt = makeNode(AlterTableStmt);
	stmt->relation =
		makeRangeVar(get_namespace_name(get_rel_namespace(relation)), get_rel_name(relation), -1);
	stmt->relation->inh = recurse;
	stmt->cmds = list_make1(command);
	stmt->objtype = OBJECT_TABLE;

	AlterTableUtilityContext context = {};
	context.queryString = "";
	context.relid = relation;

	/*
	 * Inside a command that an event trigger watches (enable_table called by a function in one) the server
	 * would add ours to that command's list, and trip over there being none. An error that somebody
	 * catches further up must not leave the list closed.
	 */
	EventTriggerInhibitCommandCollection();
	finally([&]() { AlterTable(stmt, lockmode, &context); },
			[]() { EventTriggerUndoInhibitCommandCollection(); });
	CommandCounterIncrement();
}

uint64
internal_ddl_count()
{
	return ddl_count;
}

/*
 * GRANT takes no lock on its object, so its row of pg_class can change under the strongest lock. The server gives the
 * message only to who copies the error.
 */
void
tell_of_concurrent_change(void *)
{
	constexpr const char *kMessage = "tuple concurrently ";

	if (geterrcode() != ERRCODE_INTERNAL_ERROR)
		return;
	MemoryContext caller = MemoryContextSwitchTo(CurTransactionContext);
	ErrorData *error = CopyErrorData();
	MemoryContextSwitchTo(caller);
	if (strncmp(error->message, kMessage, strlen(kMessage)) == 0)
	{
		errcode(ERRCODE_T_R_SERIALIZATION_FAILURE);
		errdetail(
			"Another session has just changed one of the objects that this command changes: a GRANT on a "
			"captured table, say.");
		errhint("Run the command again.");
	}
	FreeErrorData(error);
}

int
neutral_settings_begin(const char *default_tablespace)
{
	ddl_count++;
	int level = NewGUCNestLevel();
	auto set = [](const char *name, const char *value) {
		(void)set_config_option(name, value, PGC_USERSET, PGC_S_SESSION, GUC_ACTION_SAVE, true, 0,
								false);
	};

	set("default_tablespace", default_tablespace == nullptr ? "" : default_tablespace);
	set("search_path", "pg_catalog, pg_temp");
	return level;
}

void
neutral_settings_end(int level)
{
	AtEOXact_GUC(false, level);
}

} // namespace cdc::catalog
