/*
 * generated_sql.hpp
 *	  Pieces of SQL text about a capture instance. Only for this folder.
 *
 * NOTES
 *	  Everything is qualified as needed when search_path is pg_catalog: the text is parsed once, at
 *	  creation (BEGIN ATOMIC), under that path.
 */
#pragma once

#include "cdc.hpp"

#include "catalog/capture_instance.hpp"

namespace cdc::query
{

/* A captured column's name, quoted. */
const char *column_name(const catalog::CapturedColumn &column);

/*
 * Appends `, <name> <type> [COLLATE ...]` for each captured column: for a row type or a column
 * definition list.
 */
void append_column_definitions(StringInfo sql, const catalog::CaptureInstance *instance);

/*
 * Appends `, <expression> AS <name>` for each captured column: the value that readers see, from the
 * physical columns of the change table, which is called `qualifier`. A row has its value in one of them.
 */
void append_column_values(StringInfo sql, const catalog::CaptureInstance *instance,
						  const char *qualifier);

/* Appends `, <qualifier>.<name>` for each captured column. */
void append_column_names(StringInfo sql, const catalog::CaptureInstance *instance,
						 const char *qualifier);

/* CREATE FUNCTION cdc.<prefix><ci>(from_lsn, to_lsn, row_filter_option) RETURNS SETOF <row type>, up to the body. */
void append_function_header(StringInfo sql, const catalog::CaptureInstance *instance,
							const char *prefix, const char *row_type);

} // namespace cdc::query
