/*
 * internal_ddl.hpp
 *	  DDL of our own through the server's internal entry points. Only for this folder.
 */
#pragma once

#include "cdc.hpp"

#include "catalog/catalog.hpp"

extern "C" {
#include "nodes/parsenodes.h"
}

namespace cdc::catalog
{

/*
 * ALTER TABLE <relation> with one subcommand. The caller holds `lockmode` on the relation, and does
 * not have it open; `recurse` takes the partitions along, whose locks he holds too. Event triggers do
 * not see it.
 */
void internal_alter_table(Oid relation, AlterTableCmd *command, LOCKMODE lockmode,
						  bool recurse = false);

/* How often this process has done DDL of our own. */
uint64 internal_ddl_count();

/* Enters and leaves a level of settings in which sessions and databases have no say. */
int neutral_settings_begin(const char *default_tablespace);
void neutral_settings_end(int level);

/* Error context: "tuple concurrently updated", the server's internal error, as what it is for the caller (40001). */
void tell_of_concurrent_change(void *);

/*
 * Runs body, which does DDL of our own, with default_tablespace as given (NULL: the database's) and a fixed search path. An
 * error ends the level of settings by itself.
 */
template <typename Body>
void
with_neutral_settings(const char *default_tablespace, Body body)
{
	ErrorContextCallback callback = {error_context_stack, tell_of_concurrent_change, nullptr};

	error_context_stack = &callback;
	int level = neutral_settings_begin(default_tablespace);
	body();
	neutral_settings_end(level);
	error_context_stack = callback.previous;
}

/*
 * Runs body as the extension's owner with neutral settings: what it makes belongs to him, whoever the
 * caller is. An error restores the caller by itself.
 */
template <typename Body>
void
as_extension_owner(Body body)
{
	Oid caller;
	int context;
	GetUserIdAndSecContext(&caller, &context);
	SetUserIdAndSecContext(cdc_extension_owner(),
						   context | SECURITY_LOCAL_USERID_CHANGE | SECURITY_RESTRICTED_OPERATION);
	with_neutral_settings(nullptr, body);
	SetUserIdAndSecContext(caller, context);
}

} // namespace cdc::catalog
