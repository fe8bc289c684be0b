/*
 * query_functions.hpp
 *	  View and query functions of each capture instance: made when it is enabled, dropped when it is
 *	  disabled.
 */
#pragma once

#include "cdc.hpp"

namespace cdc::query
{

/*
 * Makes cdc._changes_<instance id>, the all-changes function and, if supported, the net-changes
 * function of an instance whose catalog rows are visible: as members of the extension, executable by
 * the gating role or, without one, by everybody. Runs as the extension's owner, in a transaction.
 */
void query_functions_create(int32 instance_id);

/* Drops them again. */
void query_functions_drop(int32 instance_id, const char *capture_instance);

} // namespace cdc::query
