/*
 * lsn_time.cpp
 *	  Reading cdc.lsn_time_mapping: commit LSN <-> commit time.
 */
#include "cdc.hpp"

#include "catalog/catalog.hpp"
#include "catalog/lsn_time.hpp"

extern "C" {
#include "utils/datum.h"
}

namespace cdc::catalog
{

namespace
{

/* One column of the first row that the index yields, if there is any. */
std::optional<Datum>
first_row(const char *index_name, std::span<ScanKeyData> keys, ScanDirection direction,
		  AttrNumber column, Snapshot snapshot)
{
	Relation table = table_open(cdc_relation_oid("lsn_time_mapping", false), AccessShareLock);
	Relation index = index_open(cdc_relation_oid(index_name, false), AccessShareLock);
	SysScanDesc scan = systable_beginscan_ordered(table, index, snapshot,
												  static_cast<int>(keys.size()), keys.data());
	HeapTuple tuple = systable_getnext_ordered(scan, direction);
	std::optional<Datum> result;

	if (HeapTupleIsValid(tuple))
	{
		bool isnull;
		Datum value = heap_getattr(tuple, column, RelationGetDescr(table), &isnull);

		/* Both columns are eight bytes; by reference only where a Datum is shorter. */
		if (!isnull)
			result = datumCopy(value, FLOAT8PASSBYVAL, sizeof(int64));
	}
	systable_endscan_ordered(scan);
	index_close(index, AccessShareLock);
	table_close(table, AccessShareLock);
	return result;
}

} // namespace

std::optional<XLogRecPtr>
lsn_time_max(Snapshot snapshot)
{
	std::optional<Datum> lsn =
		first_row("lsn_time_mapping_pkey", {}, BackwardScanDirection, kMapStartLsn, snapshot);

	if (!lsn)
		return std::nullopt;
	return DatumGetLSN(*lsn);
}

std::optional<TimestampTz>
lsn_time_of(XLogRecPtr lsn, Snapshot snapshot)
{
	ScanKeyData key;
	ScanKeyInit(&key, kMapStartLsn, BTEqualStrategyNumber, F_PG_LSN_EQ, LSNGetDatum(lsn));
	std::optional<Datum> time = first_row("lsn_time_mapping_pkey", {&key, 1}, ForwardScanDirection,
										  kMapTranEndTime, snapshot);

	if (!time)
		return std::nullopt;
	return DatumGetTimestampTz(*time);
}

std::optional<XLogRecPtr>
lsn_time_find(TimeRelation relation, TimestampTz time, Snapshot snapshot)
{
	StrategyNumber strategy = InvalidStrategy;
	RegProcedure comparison = InvalidOid;
	ScanDirection direction = NoMovementScanDirection;

	switch (relation)
	{
		case TimeRelation::LargestLessThan:
			strategy = BTLessStrategyNumber;
			comparison = F_TIMESTAMPTZ_LT;
			direction = BackwardScanDirection;
			break;
		case TimeRelation::LargestLessThanOrEqual:
			strategy = BTLessEqualStrategyNumber;
			comparison = F_TIMESTAMPTZ_LE;
			direction = BackwardScanDirection;
			break;
		case TimeRelation::SmallestGreaterThan:
			strategy = BTGreaterStrategyNumber;
			comparison = F_TIMESTAMPTZ_GT;
			direction = ForwardScanDirection;
			break;
		case TimeRelation::SmallestGreaterThanOrEqual:
			strategy = BTGreaterEqualStrategyNumber;
			comparison = F_TIMESTAMPTZ_GE;
			direction = ForwardScanDirection;
			break;
	}

	/* The index is on (tran_end_time, start_lsn): its order is also the rule for ties. */
	ScanKeyData key;
	ScanKeyInit(&key, kMapTranEndTime, strategy, comparison, TimestampTzGetDatum(time));
	std::optional<Datum> lsn = first_row("lsn_time_mapping_tran_end_time_idx", {&key, 1}, direction,
										 kMapStartLsn, snapshot);

	if (!lsn)
		return std::nullopt;
	return DatumGetLSN(*lsn);
}

} // namespace cdc::catalog
