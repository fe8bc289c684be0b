/*
 * catalog_rows.hpp
 *	  Reading and writing rows of the extension's own tables, below the executor.
 *
 * NOTES
 *	  Scans use the catalog snapshot: the latest committed state plus this transaction's own work
 *	  up to the last CommandCounterIncrement; under the decoder's historic snapshot, the state at
 *	  that WAL position (user_catalog_table only). Nothing that a user may have put on the tables
 *	  runs. For this folder and for what the writer does to the catalog (capture/ddl_apply.cpp).
 */
#pragma once

#include "cdc.hpp"

#include "catalog/catalog.hpp"

extern "C" {
#include "catalog/indexing.h"
}

namespace cdc::catalog
{

/* Somebody has changed a row by hand: a value that is always there is not. */
[[noreturn]] void error_unexpected_null(Oid relation, AttrNumber attribute);

/* The columns of one row, addressed by attribute number. */
template <int Columns> struct Row
{
	Datum values[Columns] = {};
	bool nulls[Columns] = {};
	Oid relation = InvalidOid; /* that it was read from */

	/* A value that must be there: many are pointers. */
	Datum
	operator[](AttrNumber attribute) const
	{
		if (unlikely(nulls[attribute - 1]))
			error_unexpected_null(relation, attribute);
		return values[attribute - 1];
	}
	bool
	is_null(AttrNumber attribute) const
	{
		return nulls[attribute - 1];
	}
	void
	set(AttrNumber attribute, Datum value)
	{
		values[attribute - 1] = value;
		nulls[attribute - 1] = false;
	}
	void
	set_null(AttrNumber attribute)
	{
		values[attribute - 1] = Datum(0);
		nulls[attribute - 1] = true;
	}
	/* A name, or NULL for a null pointer. The caller has checked the length. */
	void
	set_name(AttrNumber attribute, const char *name)
	{
		if (name == nullptr)
			set_null(attribute);
		else
			set(attribute, DirectFunctionCall1(namein, CStringGetDatum(name)));
	}
};

/* Columns appended by an upgrade script are read as absent. */
template <int Columns>
Row<Columns>
row_deform(Relation relation, HeapTuple tuple)
{
	Row<Columns> row;
	row.relation = RelationGetRelid(relation);
	for (int i = 0; i < Columns; i++)
		row.values[i] = heap_getattr(tuple, i + 1, RelationGetDescr(relation), &row.nulls[i]);
	return row;
}

/*
 * Calls body(relation, tuple) for each row of cdc.<table> that matches the keys. `index` is the name
 * of an index whose leading columns the keys are, NULL for a sequential scan; one that somebody has
 * renamed is done without. The lock is kept until the transaction ends when it is stronger than
 * AccessShareLock.
 */
template <typename Body>
void
rows_scan(const char *table, const char *index, std::span<ScanKeyData> keys, LOCKMODE lockmode,
		  Body body)
{
	Relation relation = table_open(cdc_relation_oid(table, false), lockmode);
	Oid index_oid = index == nullptr ? InvalidOid : cdc_relation_oid(index, true);
	HeapTuple tuple;

	/* The scan renumbers the keys it is given; the caller's may serve another scan. */
	std::array<ScanKeyData, 2> own = {};
	Assert(keys.size() <= own.size());
	for (size_t i = 0; i < keys.size(); i++)
		own[i] = keys[i];
	SysScanDesc scan = systable_beginscan(relation, index_oid, OidIsValid(index_oid), nullptr,
										  static_cast<int>(keys.size()), own.data());

	while (HeapTupleIsValid(tuple = systable_getnext(scan)))
		body(relation, tuple);
	systable_endscan(scan);
	table_close(relation, lockmode == AccessShareLock ? lockmode : NoLock);
}

/*
 * Locks the rows that match, in their latest version, until the transaction ends: waits for who is
 * changing them. After it a scan finds rows that can be updated or deleted without "tuple concurrently
 * updated". change_tables needs it, since backends and the writer both change its rows.
 */
void rows_lock(const char *table, const char *index, std::span<ScanKeyData> keys);

/* The same without waiting: false when another transaction holds one of them. */
bool rows_try_lock(const char *table, const char *index, std::span<ScanKeyData> keys);

inline ScanKeyData
scan_key(AttrNumber attribute, RegProcedure equality, Datum value)
{
	ScanKeyData key;
	ScanKeyInit(&key, attribute, BTEqualStrategyNumber, equality, value);
	return key;
}

/*
 * The tuple of a row. The script of a newer version may have added columns before the server was
 * restarted with its library: they are as in `former`, the row's earlier version, or NULL.
 */
template <int Columns>
HeapTuple
row_form(Relation relation, const Row<Columns> &row, HeapTuple former = nullptr)
{
	TupleDesc descriptor = RelationGetDescr(relation);
	auto *values = static_cast<Datum *>(palloc0(descriptor->natts * sizeof(Datum)));
	auto *nulls = static_cast<bool *>(palloc(descriptor->natts * sizeof(bool)));

	Assert(descriptor->natts >= Columns);
	for (int i = 0; i < descriptor->natts; i++)
	{
		nulls[i] = i >= Columns || row.nulls[i];
		if (i < Columns)
			values[i] = row.values[i];
		else if (former != nullptr)
			values[i] = heap_getattr(former, i + 1, descriptor, &nulls[i]);
	}
	return heap_form_tuple(descriptor, values, nulls);
}

/* Inserts a row with its index entries. Constraints and defaults are the caller's business. */
template <int Columns>
void
row_insert(Relation relation, Row<Columns> &row)
{
	HeapTuple tuple = row_form(relation, row);
	CatalogTupleInsert(relation, tuple);
	heap_freetuple(tuple);
}

/* Deletes the rows that match. Returns how many. */
inline int
rows_delete(const char *table, const char *index, std::span<ScanKeyData> keys)
{
	int count = 0;
	rows_scan(table, index, keys, RowExclusiveLock, [&](Relation relation, HeapTuple tuple) {
		CatalogTupleDelete(relation, &tuple->t_self);
		count++;
	});
	return count;
}

} // namespace cdc::catalog
