/*
 * gaps.cpp
 *	  Reading and writing cdc.gaps.
 */
#include "cdc.hpp"

#include "base/fault.hpp"
#include "catalog/catalog_rows.hpp"
#include "catalog/gaps.hpp"

namespace cdc::catalog
{

namespace
{

Gap
gap_from(const Row<kGpColumns> &row)
{
	return {
		.change_table = row.is_null(kGpObjectId) ? InvalidOid : DatumGetObjectId(row[kGpObjectId]),
		.start = DatumGetLSN(row[kGpStartLsn]),
		.end = row.is_null(kGpEndLsn) ? InvalidXLogRecPtr : DatumGetLSN(row[kGpEndLsn]),
		.reason = TextDatumGetCString(row[kGpReason]),
		.detail = row.is_null(kGpDetail) ? nullptr : TextDatumGetCString(row[kGpDetail]),
	};
}

bool
is_open(const Gap &gap)
{
	return XLogRecPtrIsInvalid(gap.end);
}

/* The gaps in question: of the change table itself and, when `common` is asked for, of the database. */
List *
gaps_of(Oid change_table, bool common)
{
	List *gaps = NIL;

	rows_scan("gaps", nullptr, {}, AccessShareLock, [&](Relation relation, HeapTuple tuple) {
		Gap gap = gap_from(row_deform<kGpColumns>(relation, tuple));
		if (gap.change_table != change_table && !(common && !OidIsValid(gap.change_table)))
			return;
		auto *copy = static_cast<Gap *>(palloc(sizeof(Gap)));
		*copy = gap;
		gaps = lappend(gaps, copy);
	});
	return gaps;
}

int
by_start(const ListCell *a, const ListCell *b)
{
	XLogRecPtr left = static_cast<const Gap *>(lfirst(a))->start;
	XLogRecPtr right = static_cast<const Gap *>(lfirst(b))->start;
	return left < right ? -1 : left > right ? 1 : 0;
}

} // namespace

bool
gap_record(const Gap &gap)
{
	if (is_open(gap) && gap_open(gap.change_table))
		return false;

	Relation relation = table_open(cdc_relation_oid("gaps", false), RowExclusiveLock);
	Oid sequence = cdc_relation_oid("gaps_gap_id_seq", false);
	Row<kGpColumns> row;
	row.set(kGpGapId, DirectFunctionCall1(nextval_oid, ObjectIdGetDatum(sequence)));
	if (OidIsValid(gap.change_table))
		row.set(kGpObjectId, ObjectIdGetDatum(gap.change_table));
	else
		row.set_null(kGpObjectId);
	row.set(kGpStartLsn, LSNGetDatum(gap.start));
	if (is_open(gap))
		row.set_null(kGpEndLsn);
	else
		row.set(kGpEndLsn, LSNGetDatum(gap.end));
	row.set(kGpReason, CStringGetTextDatum(gap.reason));
	if (gap.detail != nullptr)
		row.set(kGpDetail, CStringGetTextDatum(gap.detail));
	else
		row.set_null(kGpDetail);
	row.set(kGpDetectedAt, TimestampTzGetDatum(GetCurrentTimestamp()));
	row_insert(relation, row);
	table_close(relation, NoLock);
	CommandCounterIncrement();
	CDC_FAULT("gap-record");
	return true;
}

std::optional<Gap>
gap_open(Oid change_table)
{
	ListCell *cell;

	foreach (cell, gaps_of(change_table, false))
	{
		const Gap *gap = static_cast<const Gap *>(lfirst(cell));
		if (is_open(*gap))
			return *gap;
	}
	return std::nullopt;
}

std::optional<Gap>
gap_last(Oid change_table)
{
	std::optional<Gap> last;
	ListCell *cell;

	foreach (cell, gaps_of(change_table, false))
	{
		const Gap *gap = static_cast<const Gap *>(lfirst(cell));
		if (!is_open(*gap) && (!last || gap->end > last->end))
			last = *gap;
	}
	return last;
}

int
gap_withdraw(Oid change_table)
{
	int count = 0;

	rows_scan("gaps", nullptr, {}, RowExclusiveLock, [&](Relation relation, HeapTuple tuple) {
		Gap gap = gap_from(row_deform<kGpColumns>(relation, tuple));
		if (gap.change_table != change_table || !is_open(gap))
			return;
		CatalogTupleDelete(relation, &tuple->t_self);
		count++;
	});
	CommandCounterIncrement();
	return count;
}

int
gap_close(Oid change_table, XLogRecPtr end)
{
	int closed = 0;

	rows_scan("gaps", nullptr, {}, RowExclusiveLock, [&](Relation relation, HeapTuple tuple) {
		Row<kGpColumns> row = row_deform<kGpColumns>(relation, tuple);
		Gap gap = gap_from(row);
		if (gap.change_table != change_table || !is_open(gap))
			return;
		row.set(kGpEndLsn, LSNGetDatum(end));
		CatalogTupleUpdate(relation, &tuple->t_self, row_form(relation, row, tuple));
		closed++;
	});
	CommandCounterIncrement();
	CDC_FAULT("gap-close");
	return closed;
}

std::optional<Gap>
gap_in(Oid change_table, XLogRecPtr from, XLogRecPtr to)
{
	List *gaps = gaps_of(change_table, true);
	std::optional<Gap> found;
	ListCell *cell;

	list_sort(gaps, by_start);
	foreach (cell, gaps)
	{
		const Gap *gap = static_cast<const Gap *>(lfirst(cell));
		if (!found)
		{
			if (gap->start <= to && (is_open(*gap) || gap->end > from))
				found = *gap;
			continue;
		}
		if (is_open(*found) || gap->start > found->end)
			break;
		/* Whoever goes on at the end of the first would be in this one. */
		found->end = is_open(*gap) ? InvalidXLogRecPtr : Max(found->end, gap->end);
	}
	return found;
}

void
gaps_delete(Oid change_table)
{
	ScanKeyData key = scan_key(kGpObjectId, F_OIDEQ, ObjectIdGetDatum(change_table));

	rows_delete("gaps", nullptr, {&key, 1});
}

} // namespace cdc::catalog
