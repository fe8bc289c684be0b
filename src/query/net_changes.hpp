/*
 * net_changes.hpp
 *	  The net-changes function of a capture instance.
 */
#pragma once

#include "cdc.hpp"

#include "catalog/capture_instance.hpp"

namespace cdc::query
{

/* Columns of a net-changes row in front of the captured ones. */
constexpr int kNetLeadingColumns = 3;

/*
 * Appends the statements that create row type and function, to be run with pg_catalog as search
 * path. The instance must support net changes.
 */
void net_changes_generate(StringInfo sql, const catalog::CaptureInstance *instance);

} // namespace cdc::query
