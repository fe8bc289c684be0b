/*
 * catalog.cpp
 *	  Finding and writing the extension's own tables.
 *
 * NOTES
 *	  Rows of our catalog tables are written below the executor, like the server's own catalogs: no
 *	  trigger, rule or row security that somebody put on them runs, and the caller's rights and
 *	  search_path do not matter.
 */
#include "cdc.hpp"

#include "catalog/catalog.hpp"
#include "catalog/catalog_rows.hpp"

extern "C" {
#include "catalog/pg_extension.h"
#include "storage/bufmgr.h"
}

namespace cdc::catalog
{

Oid
cdc_relation_oid(const char *relname, bool missing_ok)
{
	Oid schema = get_namespace_oid(kSchema, true);
	Oid relation = OidIsValid(schema) ? get_relname_relid(relname, schema) : InvalidOid;

	if (!OidIsValid(relation) && !missing_ok)
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_TABLE),
				 errmsg("table \"%s.%s\" does not exist", kSchema, relname),
				 errdetail(
					 "The extension \"cdc\" is not installed in this database, or is damaged."),
				 errhint("CREATE EXTENSION cdc;")));
	return relation;
}

Oid
cdc_extension_oid()
{
	return get_extension_oid("cdc", true);
}

Oid
cdc_extension_owner()
{
	Oid owner = InvalidOid;
	Relation relation = table_open(ExtensionRelationId, AccessShareLock);
	ScanKeyData key =
		scan_key(Anum_pg_extension_oid, F_OIDEQ, ObjectIdGetDatum(cdc_extension_oid()));
	SysScanDesc scan = systable_beginscan(relation, ExtensionOidIndexId, true, nullptr, 1, &key);
	HeapTuple tuple = systable_getnext(scan);

	if (HeapTupleIsValid(tuple))
		owner = reinterpret_cast<Form_pg_extension>(GETSTRUCT(tuple))->extowner;
	systable_endscan(scan);
	table_close(relation, AccessShareLock);
	return owner;
}

void
error_unexpected_null(Oid relation, AttrNumber attribute)
{
	const char *table = get_rel_name(relation);
	const char *column = get_attname(relation, attribute, true);

	ereport(ERROR, (errcode(ERRCODE_DATA_CORRUPTED),
					errmsg("table \"%s.%s\" has been changed by hand", kSchema,
						   table != nullptr ? table : ""),
					errdetail("Column \"%s\" of one of its rows is null.",
							  column != nullptr ? column : ""),
					errhint("SELECT * FROM %s.%s shows it; put the former value back.", kSchema,
							table != nullptr ? table : "")));
	pg_unreachable();
}

namespace
{

bool
lock_rows(const char *table, const char *index, std::span<ScanKeyData> keys,
		  LockWaitPolicy wait_policy)
{
	bool again = true;

	while (again)
	{
		List *tuples = NIL;
		ListCell *cell;

		again = false;
		rows_scan(table, index, keys, RowExclusiveLock, [&](Relation, HeapTuple tuple) {
			tuples = lappend(tuples, heap_copytuple(tuple));
		});

		Relation relation = table_open(cdc_relation_oid(table, false), NoLock);
		foreach (cell, tuples)
		{
			HeapTupleData tuple = {};
			TM_FailureData failure;
			Buffer buffer;

			tuple.t_self = static_cast<HeapTuple>(lfirst(cell))->t_self;
			TM_Result result =
				heap_lock_tuple(relation, &tuple, GetCurrentCommandId(true), LockTupleExclusive,
								wait_policy, false, &buffer, &failure);
			ReleaseBuffer(buffer);
			if (result == TM_WouldBlock)
			{
				table_close(relation, NoLock);
				return false;
			}
			/* Who held it has changed it: a new scan takes a new snapshot and finds what is there now. */
			if (result == TM_Updated || result == TM_Deleted)
				again = true;
			else if (result != TM_Ok)
				elog(ERROR, "could not lock a row of table \"%s.%s\" (%d)", kSchema, table,
					 static_cast<int>(result));
		}
		table_close(relation, NoLock);
		if (again)
			CHECK_FOR_INTERRUPTS();
	}
	return true;
}

} // namespace

void
rows_lock(const char *table, const char *index, std::span<ScanKeyData> keys)
{
	(void)lock_rows(table, index, keys, LockWaitBlock);
}

bool
rows_try_lock(const char *table, const char *index, std::span<ScanKeyData> keys)
{
	return lock_rows(table, index, keys, LockWaitSkip);
}

void
ddl_queue_emit(QueueKind kind, int32 instance_id, Oid object_id, Oid source_object_id,
			   const char *command)
{
	Relation queue = table_open(cdc_relation_oid("_ddl_queue", false), RowExclusiveLock);
	Row<kDqColumns> row;

	row.set(kDqKind, CharGetDatum(static_cast<char>(kind)));
	row.set(kDqInstanceId, Int32GetDatum(instance_id));
	row.set(kDqObjectId, ObjectIdGetDatum(object_id));
	row.set(kDqSourceObjectId, ObjectIdGetDatum(source_object_id));
	if (command == nullptr)
		row.set_null(kDqCommand);
	else
		row.set(kDqCommand, CStringGetTextDatum(command));

	/*
	 * An ordinary logged insert: long texts go through TOAST, and both reach the decoder, which puts
	 * them together. The delete needs the row to be of an earlier command, and would otherwise leave a row
	 * for vacuum in every DDL; its own record is without old tuple and decodes to nothing of use.
	 */
	HeapTuple tuple = row_form(queue, row);
	simple_heap_insert(queue, tuple);
	CommandCounterIncrement();
	simple_heap_delete(queue, &tuple->t_self);
	CommandCounterIncrement();
	table_close(queue, NoLock);
}

} // namespace cdc::catalog
