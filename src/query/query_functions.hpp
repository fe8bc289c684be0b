/*
 * query_functions.hpp
 *	  The query functions of a capture instance: created when it is enabled, dropped when disabled.
 *
 * NOTES
 *	  Per instance, all members of the extension and owned by its owner:
 *
 *	  cdc._changes_<id>						view over the change table; the one way for readers to its
 *											rows: a security barrier whose filter, cdc._may_read(id),
 *											is evaluated once.
 *	  cdc._all_changes_<id>					row type of
 *	  cdc.fn_cdc_get_all_changes_<ci>		this function
 *	  cdc._net_changes_<id>					row type of
 *	  cdc.fn_cdc_get_net_changes_<ci>		this function; both only with net-change support
 *
 *	  The functions are SQL that the planner inlines: cdc._check_window(...) UNION ALL the view. The
 *	  check yields no row or raises (lsn_window.hpp); its columns come from a function scan and are
 *	  no constants, so no WHERE of a caller can prove it useless and plan it away. A caller's WHERE and
 *	  LIMIT, and the bounds, reach the leaves of the change table.
 *
 *	  Why row types and not RETURNS TABLE: columns keep type modifiers and collations, and their names
 *	  cannot collide with those of the parameters (a captured column may be called from_lsn).
 */
#pragma once

#include "cdc.hpp"

#include "catalog/capture_instance.hpp"

namespace cdc::query
{

/* Who may use them, as stored (NULL: the default): what was granted by hand outlives a renewal. */
struct QueryFunctionRights
{
	Acl *view;
	Acl *all_changes;
	Acl *net_changes;
};

/* In the current memory context; all NULL when the functions are not there. */
QueryFunctionRights query_functions_rights(int32 instance_id, const char *capture_instance);

/*
 * Creates view and functions of an instance whose catalog rows and change table are visible. Members
 * of the gating role may use them, or, without one, everybody; the database's owner always; or whom
 * `rights` names, which must come from query_functions_rights of functions that were there. The caller
 * is the extension's owner, with neutral settings (internal_ddl.hpp).
 */
void query_functions_create(int32 instance_id, const QueryFunctionRights *rights = nullptr);

/*
 * Makes the view anew in place, for other physical columns but the same types: nobody on top of it
 * notices. Under the same conditions.
 */
void query_functions_renew_view(int32 instance_id);

/*
 * Drops them and creates them anew with the privileges they had. 2BP01 when something of a user's
 * depends on them. Under the same conditions.
 */
void query_functions_renew(int32 instance_id, const char *capture_instance);

/*
 * The view that readers see the change table through; InvalidOid: there is none. Readers lock it before the change
 * table: whoever takes a strong lock on both does the same, or makes deadlocks.
 */
Oid query_functions_view(int32 instance_id);

/* Whether the functions are there and return the types that readers should see. */
bool query_functions_agree(const catalog::CaptureInstance *instance);

/*
 * Drops them, as far as they are there, under the same conditions. With DROP_RESTRICT, an error (2BP01)
 * when something of a user's depends on them; DROP_CASCADE takes that along.
 */
void query_functions_drop(int32 instance_id, const char *capture_instance,
						  DropBehavior behavior = DROP_RESTRICT);

/*
 * From now on DROP_RESTRICT means DROP_CASCADE (true), or itself again (false): for DROP EXTENSION cdc
 * CASCADE, which disables all tables first.
 */
void query_functions_drop_cascades(bool cascades);

} // namespace cdc::query
