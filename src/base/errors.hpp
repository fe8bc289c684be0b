/*
 * errors.hpp
 *	  Errors that are reported from more than one place, and the SQLSTATEs of our own.
 *
 * NOTES
 *	  Class SC holds what applications must tell apart when they read changes; everything else has
 *	  a standard code. The detail begins with the number of SQL Server's twin where there is one.
 *	  docs/errors.md lists every condition.
 */
#pragma once

#include "cdc.hpp"

namespace cdc
{

constexpr int kSqlStateBeforeLowEnd = MAKE_SQLSTATE('S', 'C', '0', '0', '1');
constexpr int kSqlStateBeyondHighEnd = MAKE_SQLSTATE('S', 'C', '0', '0', '2');
constexpr int kSqlStateNothingNew = MAKE_SQLSTATE('S', 'C', '0', '0', '3');
constexpr int kSqlStateAcrossGap = MAKE_SQLSTATE('S', 'C', '0', '0', '4');
constexpr int kSqlStateBadArgument = MAKE_SQLSTATE('S', 'C', '0', '0', '5');
constexpr int kSqlStateNotCaptured = MAKE_SQLSTATE('S', 'C', '0', '0', '6');

/* 22901: CDC is not enabled in this database (55000). */
[[noreturn]] void error_database_not_enabled();

/* 22963: a required parameter is NULL (22004) or empty (22023). */
[[noreturn]] void error_parameter_missing(const char *parameter, bool is_null);

/* 22931: no such source table (42P01). */
[[noreturn]] void error_source_not_found(const char *schema, const char *name);

/* 22904: the caller does not own the table (42501). */
[[noreturn]] void error_not_table_owner(const char *schema, const char *name);

/* 22904: the caller owns neither the database nor is a superuser (42501). `what` is a procedure. */
[[noreturn]] void error_not_database_owner(const char *what);

/*
 * 22981: the capture instance does not exist, or the caller may not know (42704): deliberately the
 * same words for both.
 */
[[noreturn]] void error_instance_not_found(const char *capture_instance);

/* Calls error_not_database_owner unless the current user is the database's owner or a superuser. */
void require_database_owner(const char *what);

/* Refuses what only makes sense where capture runs, and says where that is. */
void require_not_in_recovery(const char *what);

/*
 * Refuses what may not write: a read-only transaction, a standby, a parallel worker. The server's own
 * checks sit in the executor and in utility statements, which our catalog writes do not pass.
 */
void require_writable(const char *what);

/*
 * Refuses to run while another extension's script runs: what we make would become that extension's.
 */
void refuse_in_extension_script(const char *what);

} // namespace cdc
