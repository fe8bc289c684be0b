/*
 * instance_counters.cpp
 *	  The set behind the counters of cdc.pg_stat_cdc_tables.
 */
#include "cdc.hpp"

#include "catalog/catalog_rows.hpp"
#include "monitor/monitor_state.hpp"
#include "monitor/row_builder.hpp"

extern "C" {
#include "utils/tuplestore.h"
}

using namespace cdc;
using namespace cdc::catalog;
using namespace cdc::monitor;

/* _instance_counters(): what was captured for each instance of this database that has counters */
CDC_FUNCTION(cdc_instance_counters)
{
	InitMaterializedSRF(fcinfo, 0);
	ReturnSetInfo *result = reinterpret_cast<ReturnSetInfo *>(fcinfo->resultinfo);
	if (monitor_state() == nullptr)
		return static_cast<Datum>(0);

	rows_scan("change_tables", nullptr, {}, AccessShareLock,
			  [&](Relation relation, HeapTuple tuple) {
				  int32 instance_id =
					  DatumGetInt32(row_deform<kCtColumns>(relation, tuple)[kCtInstanceId]);
				  InstanceCounts counts;
				  if (!instance_counters_read(instance_id, &counts))
					  return;
				  RowBuilder<6> row = {};
				  row.add(Int32GetDatum(instance_id));
				  row.add(Int64GetDatum(counts.inserts));
				  row.add(Int64GetDatum(counts.updates));
				  row.add(Int64GetDatum(counts.deletes));
				  row.add_lsn(counts.last_lsn);
				  row.add_time(counts.last_time);
				  tuplestore_putvalues(result->setResult, result->setDesc, row.values, row.nulls);
			  });
	return static_cast<Datum>(0);
}
