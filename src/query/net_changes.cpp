/*
 * net_changes.cpp
 *	  Generates the net-changes function of a capture instance.
 */
#include "cdc.hpp"

#include "query/generated_sql.hpp"
#include "query/net_changes.hpp"

extern "C" {
#include "access/nbtree.h"
#include "lib/stringinfo.h"
#include "utils/typcache.h"
}

namespace cdc::query
{

namespace
{

/* Columns that fit beside the aggregate's other arguments: a call can have 100. */
constexpr size_t kMaxSeparateColumns = FUNC_MAX_ARGS - 10;

/*
 * Whether equal values of the column are the same bytes. Then the key of a group is the key of its
 * last change too, and a caller's WHERE on it can go down through the grouping to the leaves. 1.0
 * and 1.00 are equal but not the same: such a key is taken from the last change.
 */
bool
equal_is_identical(const catalog::CapturedColumn &column)
{
	TypeCacheEntry *type = lookup_type_cache(column.type.type, TYPECACHE_BTREE_OPFAMILY);
	if (!OidIsValid(type->btree_opf))
		return false;
	Oid procedure = get_opfamily_proc(type->btree_opf, type->btree_opintype, type->btree_opintype,
									  BTEQUALIMAGE_PROC);
	return OidIsValid(procedure) &&
		   DatumGetBool(OidFunctionCall1Coll(procedure, column.type.collation,
											 ObjectIdGetDatum(type->btree_opintype)));
}

/* The number of the row identifier's column that this captured column is; 0: none. */
int
key_number(const catalog::CaptureInstance *instance, const catalog::CapturedColumn &column)
{
	for (const catalog::KeyColumn &key : instance->key)
		if (key.ordinal == column.ordinal)
			return key.index_ordinal;
	return 0;
}

/* The rows of one key's changes become one; see net_aggregate.cpp. */
void
append_aggregation(StringInfo sql, const catalog::CaptureInstance *instance, const char *row_type)
{
	bool one_row = instance->columns.size() > kMaxSeparateColumns;

	appendStringInfo(sql,
					 "SELECT cdc._net_change(NULL::%s, v.\"__$start_lsn\", v.\"__$command_id\", "
					 "v.\"__$operation\", CASE WHEN cdc._option_is($3, 'all with mask') THEN "
					 "v.\"__$update_mask\" END",
					 row_type);
	if (one_row)
	{
		/* Starts with a comma, as the list in a call does. */
		StringInfoData names;
		initStringInfo(&names);
		append_column_names(&names, instance, "v");
		appendStringInfo(sql, ", ROW(%s)", names.data + 1);
	}
	else
		append_column_names(sql, instance, "v");
	appendStringInfoString(sql, ") AS \"__$change\"");
	for (const catalog::KeyColumn &key : instance->key)
		appendStringInfo(sql, ", v.%s AS \"__$key%d\"",
						 column_name(instance->columns[key.ordinal - 1]), key.index_ordinal);
	appendStringInfo(sql,
					 "\nFROM cdc._changes_%d AS v\n"
					 "WHERE v.\"__$start_lsn\" >= $1 AND v.\"__$start_lsn\" <= $2 "
					 "AND v.\"__$operation\" <> 3\n"
					 "GROUP BY ",
					 instance->instance_id);
	for (const catalog::KeyColumn &key : instance->key)
		appendStringInfo(sql, "%sv.%s", key.index_ordinal == 1 ? "" : ", ",
						 column_name(instance->columns[key.ordinal - 1]));
}

} // namespace

void
net_changes_generate(StringInfo sql, const catalog::CaptureInstance *instance)
{
	constexpr const char *kColumns =
		"\"__$start_lsn\" pg_lsn, \"__$operation\" integer, \"__$update_mask\" bytea";
	const char *row_type = psprintf("cdc._net_changes_%d", instance->instance_id);

	if (instance->key.empty())
		elog(ERROR, "capture instance \"%s\" supports net changes but has no row identifier",
			 NameStr(instance->name));

	appendStringInfo(sql, "CREATE TYPE %s AS (%s", row_type, kColumns);
	append_column_definitions(sql, instance);
	appendStringInfoString(sql, ");\n");

	append_function_header(sql, instance, "fn_cdc_get_net_changes_", row_type);
	appendStringInfoString(sql,
						   "SELECT w.\"__$start_lsn\", w.\"__$operation\", w.\"__$update_mask\"");
	append_column_names(sql, instance, "w");
	appendStringInfo(sql, "\nFROM cdc._check_window(%d, true, $1, $2, $3) AS w(%s",
					 instance->instance_id, kColumns);
	append_column_definitions(sql, instance);
	appendStringInfoString(
		sql,
		")\n"
		"UNION ALL\n"
		"SELECT (n.\"__$change\").\"__$start_lsn\", CASE WHEN (n.\"__$change\").\"__$operation\" "
		"<> 1 AND cdc._option_is($3, 'all with merge') THEN 5 ELSE "
		"(n.\"__$change\").\"__$operation\" END, (n.\"__$change\").\"__$update_mask\"");
	for (const catalog::CapturedColumn &column : instance->columns)
	{
		int number = key_number(instance, column);
		if (number != 0 && equal_is_identical(column))
			appendStringInfo(sql, ", n.\"__$key%d\"", number);
		else
			appendStringInfo(sql, ", (n.\"__$change\").%s", column_name(column));
	}
	appendStringInfoString(sql, "\nFROM (");
	append_aggregation(sql, instance, row_type);
	appendStringInfoString(sql, ") AS n\n"
								"WHERE (n.\"__$change\").\"__$operation\" IS NOT NULL;\n"
								"END;\n");
}

} // namespace cdc::query
