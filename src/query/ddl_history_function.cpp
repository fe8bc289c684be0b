/*
 * ddl_history_function.cpp
 *	  sp_cdc_get_ddl_history: the DDL that a capture instance has lived through.
 */
#include "cdc.hpp"

#include "base/args.hpp"
#include "base/errors.hpp"
#include "catalog/capture_instance.hpp"
#include "catalog/catalog_rows.hpp"
#include "query/result_row.hpp"

namespace cdc::query
{

namespace
{

/* ddl_id is given in the order of the log, and the commands of one transaction share their LSN. */
int
compare_ddl_id(const ListCell *a, const ListCell *b)
{
	auto *left = static_cast<catalog::Row<catalog::kDhColumns> *>(lfirst(a));
	auto *right = static_cast<catalog::Row<catalog::kDhColumns> *>(lfirst(b));
	int64 left_id = DatumGetInt64((*left)[catalog::kDhDdlId]);
	int64 right_id = DatumGetInt64((*right)[catalog::kDhDdlId]);

	return left_id < right_id ? -1 : left_id > right_id;
}

/* Copies of an instance's history rows, oldest first. */
List *
history_of(Oid change_table)
{
	ScanKeyData key =
		catalog::scan_key(catalog::kDhObjectId, F_OIDEQ, ObjectIdGetDatum(change_table));
	List *rows = NIL;

	catalog::rows_scan("ddl_history", "ddl_history_object_id_idx", {&key, 1}, AccessShareLock,
					   [&](Relation table, HeapTuple tuple) {
						   using HistoryRow = catalog::Row<catalog::kDhColumns>;
						   auto *row = static_cast<HistoryRow *>(palloc(sizeof(HistoryRow)));
						   *row = catalog::row_deform<catalog::kDhColumns>(table,
																		   heap_copytuple(tuple));
						   rows = lappend(rows, row);
					   });
	list_sort(rows, compare_ddl_id);
	return rows;
}

} // namespace

/* sp_cdc_get_ddl_history(capture_instance text): not strict. */
CDC_FUNCTION(cdc_sp_cdc_get_ddl_history)
{
	catalog::CaptureInstance *instance =
		catalog::capture_instance_readable(arg_name_required(fcinfo, 0, "capture_instance"));
	InitMaterializedSRF(fcinfo, 0);

	/* Both NULL when the source has been dropped and its changes are kept. */
	const char *source_schema = get_namespace_name(get_rel_namespace(instance->source));
	const char *source_name = get_rel_name(instance->source);
	ListCell *cell;
	foreach (cell, history_of(instance->change_table))
	{
		auto *history = static_cast<catalog::Row<catalog::kDhColumns> *>(lfirst(cell));
		ResultRow<7> row;

		row.add_text(source_schema);
		row.add_text(source_name);
		row.add_text(NameStr(instance->name));
		row.add((*history)[catalog::kDhRequiredColumnUpdate]);
		row.add((*history)[catalog::kDhDdlCommand]);
		row.add((*history)[catalog::kDhDdlLsn]);
		row.add((*history)[catalog::kDhDdlTime]);
		row.put(fcinfo);
	}
	return Datum(0);
}

} // namespace cdc::query
