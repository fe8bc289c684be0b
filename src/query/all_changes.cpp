/*
 * all_changes.cpp
 *	  Generates the view of a capture instance and its all-changes function.
 */
#include "cdc.hpp"

#include "query/all_changes.hpp"
#include "query/generated_sql.hpp"

extern "C" {
#include "lib/stringinfo.h"
}

namespace cdc::query
{

/*
 * Two things keep rows from whom may not read them, and each is needed. The filter has no column in
 * it, so it is a gate in front of each leaf's scan: evaluated once, and when it is false nothing of the
 * leaf is read. Planning comes before that: an operator made by a user, with a selectivity
 * estimator of the server's, would be shown the most common values of the leaves' statistics. A
 * security barrier keeps such operators away from them, and lets through what is leakproof: LSN
 * bounds, and a WHERE with the usual comparisons. The rest of a WHERE is evaluated one node higher.
 */
void
changes_view_generate(StringInfo sql, const catalog::CaptureInstance *instance)
{
	appendStringInfo(sql,
					 "CREATE OR REPLACE VIEW cdc._changes_%d WITH (security_barrier = true) AS\n"
					 "SELECT c.\"__$start_lsn\", c.\"__$seqval\", c.\"__$operation\", "
					 "c.\"__$update_mask\"",
					 instance->instance_id);
	append_column_values(sql, instance, "c");
	appendStringInfo(sql,
					 ", c.\"__$command_id\"\n"
					 "FROM %s AS c\n"
					 "WHERE cdc._may_read(%d);\n",
					 quote_qualified_identifier(get_namespace_name(
													get_rel_namespace(instance->change_table)),
												get_rel_name(instance->change_table)),
					 instance->instance_id);
}

void
all_changes_generate(StringInfo sql, const catalog::CaptureInstance *instance)
{
	constexpr const char *kColumns =
		"\"__$start_lsn\" pg_lsn, \"__$seqval\" pg_lsn, \"__$operation\" integer, "
		"\"__$update_mask\" bytea";
	const char *row_type = psprintf("cdc._all_changes_%d", instance->instance_id);

	appendStringInfo(sql, "CREATE TYPE %s AS (%s", row_type, kColumns);
	append_column_definitions(sql, instance);
	appendStringInfoString(sql, ");\n");

	append_function_header(sql, instance, "fn_cdc_get_all_changes_", row_type);
	appendStringInfoString(sql, "SELECT w.\"__$start_lsn\", w.\"__$seqval\", w.\"__$operation\", "
								"w.\"__$update_mask\"");
	append_column_names(sql, instance, "w");
	appendStringInfo(sql, "\nFROM cdc._check_window(%d, false, $1, $2, $3) AS w(%s",
					 instance->instance_id, kColumns);
	append_column_definitions(sql, instance);
	appendStringInfoString(sql, ")\n"
								"UNION ALL\n"
								"SELECT v.\"__$start_lsn\", v.\"__$seqval\", v.\"__$operation\", "
								"v.\"__$update_mask\"");
	append_column_names(sql, instance, "v");
	appendStringInfo(sql,
					 "\nFROM cdc._changes_%d AS v\n"
					 "WHERE v.\"__$start_lsn\" >= $1 AND v.\"__$start_lsn\" <= $2\n"
					 "AND (v.\"__$operation\" <> 3 OR cdc._option_is($3, 'all update old'));\n"
					 "END;\n",
					 instance->instance_id);
}

} // namespace cdc::query
