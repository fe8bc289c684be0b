/*
 * all_changes.hpp
 *	  The view of a capture instance and its all-changes function.
 */
#pragma once

#include "cdc.hpp"

#include "catalog/capture_instance.hpp"

namespace cdc::query
{

/* Columns of an all-changes row in front of the captured ones. */
constexpr int kAllLeadingColumns = 4;

/* Appends the statement that creates cdc._changes_<id>. */
void changes_view_generate(StringInfo sql, const catalog::CaptureInstance *instance);

/* Appends the statements that create row type and function. */
void all_changes_generate(StringInfo sql, const catalog::CaptureInstance *instance);

} // namespace cdc::query
