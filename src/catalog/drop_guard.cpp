/*
 * drop_guard.cpp
 *	  Refuses to drop the extension as a side effect of another drop.
 *
 * NOTES
 *	  Change tables, their views and functions are members of the extension, and they depend on the
 *	  types and collations of the captured columns. A cascade that reaches a member goes on to its
 *	  extension, so DROP TYPE ... CASCADE by the owner of one captured table would take the history of
 *	  all tables along. Nobody but who says DROP EXTENSION wants that.
 */
#include "cdc.hpp"

#include "catalog/catalog.hpp"
#include "catalog/drop_guard.hpp"

extern "C" {
#include "catalog/objectaccess.h"
#include "catalog/pg_extension.h"
}

namespace cdc::catalog
{

namespace
{

object_access_hook_type previous_hook = nullptr;
bool is_allowed = false;

void
hook(ObjectAccessType access, Oid class_id, Oid object_id, int sub_id, void *argument)
{
	if (previous_hook != nullptr)
		previous_hook(access, class_id, object_id, sub_id, argument);
	if (access != OAT_DROP || class_id != ExtensionRelationId || is_allowed ||
		object_id != cdc_extension_oid())
		return;
	ereport(
		ERROR,
		(errcode(ERRCODE_DEPENDENT_OBJECTS_STILL_EXIST),
		 errmsg("cannot drop extension \"cdc\" as a side effect"),
		 errdetail(
			 "What is to be dropped is used by a captured column, or belongs to cdc itself; all "
			 "captured changes of this database would go with it."),
		 errhint(
			 "CALL cdc.sp_cdc_disable_table(...) for the tables that use it and wait until capture "
			 "has come to it, CALL cdc.wait_for_capture(). To drop everything: DROP EXTENSION cdc.")));
}

} // namespace

void
drop_guard_init()
{
	previous_hook = object_access_hook;
	object_access_hook = hook;
}

void
drop_guard_allow(bool allowed)
{
	is_allowed = allowed;
}

} // namespace cdc::catalog
