/*
 * errors.cpp
 *	  Errors that are reported from more than one place.
 */
#include "cdc.hpp"

#include "base/errors.hpp"

extern "C" {
#include "access/xlog.h"
#include "commands/dbcommands.h"
}

namespace cdc
{

void
error_database_not_enabled()
{
	ereport(ERROR,
			(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
			 errmsg("change data capture is not enabled in database \"%s\"",
					get_database_name(MyDatabaseId)),
			 errdetail(
				 "SQL Server error 22901: the database is not enabled for change data capture."),
			 errhint("A superuser enables it with CALL cdc.sp_cdc_enable_db().")));
	pg_unreachable();
}

void
error_parameter_missing(const char *parameter, bool is_null)
{
	ereport(ERROR,
			(errcode(is_null ? ERRCODE_NULL_VALUE_NOT_ALLOWED : ERRCODE_INVALID_PARAMETER_VALUE),
			 errmsg("parameter \"%s\" must not be %s", parameter, is_null ? "NULL" : "empty"),
			 errdetail("SQL Server error 22963: a required parameter is NULL or empty."),
			 errhint("Give a value: %s => '...'.", parameter)));
	pg_unreachable();
}

void
error_source_not_found(const char *schema, const char *name)
{
	ereport(
		ERROR,
		(errcode(ERRCODE_UNDEFINED_TABLE),
		 errmsg("source table \"%s.%s\" does not exist", schema, name),
		 errdetail("SQL Server error 22931: no table \"%s\" in schema \"%s\" of database \"%s\".",
				   name, schema, get_database_name(MyDatabaseId)),
		 errhint("Names are taken as they are stored, without quotes and without folding to "
				 "lower case; look with \\dt in psql.")));
	pg_unreachable();
}

void
error_not_table_owner(const char *schema, const char *name)
{
	ereport(
		ERROR,
		(errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
		 errmsg("must be owner of table \"%s.%s\"", schema, name),
		 errdetail("SQL Server error 22904: user \"%s\" neither owns the table nor is a superuser.",
				   GetUserNameFromId(GetUserId(), false)),
		 errhint("Let the table's owner or a superuser make the call.")));
	pg_unreachable();
}

void
error_not_database_owner(const char *what)
{
	ereport(
		ERROR,
		(errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
		 errmsg("must be owner of database \"%s\" to call %s", get_database_name(MyDatabaseId),
				what),
		 errdetail(
			 "SQL Server error 22904: user \"%s\" neither owns the database nor is a superuser.",
			 GetUserNameFromId(GetUserId(), false)),
		 errhint("Let the database's owner or a superuser make the call.")));
	pg_unreachable();
}

void
error_instance_not_found(const char *capture_instance)
{
	ereport(ERROR,
			(errcode(ERRCODE_UNDEFINED_OBJECT),
			 errmsg("capture instance \"%s\" does not exist or access is denied", capture_instance),
			 errdetail("SQL Server error 22981: the object does not exist or access is denied."),
			 errhint("SELECT capture_instance FROM cdc.sp_cdc_help_change_data_capture() lists the "
					 "instances you may read.")));
	pg_unreachable();
}

void
require_database_owner(const char *what)
{
	if (!superuser() && !compat_database_ownercheck(MyDatabaseId, GetUserId()))
		error_not_database_owner(what);
}

void
require_not_in_recovery(const char *what)
{
	if (!RecoveryInProgress())
		return;
	ereport(ERROR,
			(errcode(ERRCODE_READ_ONLY_SQL_TRANSACTION),
			 errmsg("cannot execute %s during recovery", what),
			 errdetail("This server is a standby, or still recovers. Capture runs on the primary; "
					   "what it has captured arrives here by replication."),
			 errhint("Call it on the primary. How far the change tables have come here: SELECT "
					 "cdc.fn_cdc_get_max_lsn().")));
}

void
require_writable(const char *what)
{
	/* First: on a standby the server itself would only speak of a read-only transaction. */
	require_not_in_recovery(what);
	PreventCommandIfReadOnly(what);
	PreventCommandIfParallelMode(what);
}

void
refuse_in_extension_script(const char *what)
{
	if (!creating_extension)
		return;
	ereport(ERROR, (errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
					errmsg("%s cannot be called from the script of an extension", what),
					errdetail("The objects it makes would become members of that extension."),
					errhint("Call it after CREATE EXTENSION or ALTER EXTENSION UPDATE.")));
}

} // namespace cdc
