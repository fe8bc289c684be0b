/*
 * capture_instance.cpp
 *	  Loads capture instances for backends, and says who may read them.
 */
#include "cdc.hpp"

#include "base/args.hpp"
#include "base/errors.hpp"
#include "catalog/capture_instance.hpp"
#include "catalog/catalog.hpp"
#include "catalog/catalog_rows.hpp"
#include "catalog/version.hpp"

extern "C" {
#include "catalog/pg_attribute.h"
#include "catalog/pg_class.h"
}

namespace cdc::catalog
{

namespace
{

bool
optional_name(NameData *target, Datum value, bool is_null)
{
	if (is_null)
		memset(target, 0, sizeof(NameData));
	else
		*target = *DatumGetName(value);
	return !is_null;
}

bool
name_is(Datum value, const char *expected)
{
	return strcmp(NameStr(*DatumGetName(value)), expected) == 0;
}

template <typename Element>
std::span<Element>
span_of(int count)
{
	return {static_cast<Element *>(palloc0(sizeof(Element) * Max(count, 1))),
			static_cast<size_t>(count)};
}

/*
 * Rows come in any order; ordinals are 1..n without gaps, so each finds its place. Where they do not, somebody has
 * changed them by hand: nothing, and the instance is marked. No error: commands on the source must not fail of it.
 */
template <typename Element>
std::span<Element>
by_ordinal(CaptureInstance *instance, List *elements, int Element::*ordinal)
{
	std::span<Element> result = span_of<Element>(list_length(elements));
	ListCell *cell;

	foreach (cell, elements)
	{
		auto *element = static_cast<Element *>(lfirst(cell));
		int place = element->*ordinal;
		if (place < 1 || place > static_cast<int>(result.size()))
		{
			instance->is_damaged = true;
			return {};
		}
		result[place - 1] = *element;
	}
	return result;
}

/* The change table knows how many columns are captured: __$command_id comes right after the last. */
bool
columns_are_complete(const CaptureInstance *instance)
{
	AttrNumber last = static_cast<AttrNumber>(instance->columns.size() + kChangeMetadataColumns);
	const char *name = get_attname(instance->change_table, last, true);

	return name != nullptr
			   ? strcmp(name, "__$command_id") == 0
			   : !SearchSysCacheExists1(RELOID, ObjectIdGetDatum(instance->change_table));
}

/* Whether no value of a row is missing. */
template <int Columns>
bool
has_all(const Row<Columns> &row)
{
	for (bool isnull : row.nulls)
		if (isnull)
			return false;
	return true;
}

/* The captured column that a physical column of the change table belongs to, or NULL. */
CapturedColumn *
version_owner(CaptureInstance *instance, AttrNumber attnum, const char *name)
{
	int ncolumns = static_cast<int>(instance->columns.size());
	int ordinal = attnum - kChangeLeadingColumns;

	if (ordinal <= ncolumns)
		return &instance->columns[ordinal - 1];
	if (ordinal == ncolumns + 1)
		return nullptr; /* __$command_id */
	for (CapturedColumn &column : instance->columns)
		if (strcmp(NameStr(column.name), name) == 0)
			return &column;
	ordinal = column_version_ordinal(name);
	return ordinal >= 1 && ordinal <= ncolumns ? &instance->columns[ordinal - 1] : nullptr;
}

/* What the change table has for each captured column; the current version comes first, then the newer. */
void
load_versions(CaptureInstance *instance)
{
	HeapTuple table = SearchSysCache1(RELOID, ObjectIdGetDatum(instance->change_table));
	if (!HeapTupleIsValid(table))
		return;
	int natts = reinterpret_cast<Form_pg_class>(GETSTRUCT(table))->relnatts;
	ReleaseSysCache(table);

	for (int attnum = natts; attnum > kChangeLeadingColumns; attnum--)
	{
		HeapTuple tuple = SearchSysCache2(ATTNUM, ObjectIdGetDatum(instance->change_table),
										  Int16GetDatum(attnum));
		if (!HeapTupleIsValid(tuple))
			continue;
		auto *attribute = reinterpret_cast<Form_pg_attribute>(GETSTRUCT(tuple));
		CapturedColumn *owner =
			attribute->attisdropped
				? nullptr
				: version_owner(instance, attribute->attnum, NameStr(attribute->attname));
		if (owner != nullptr)
		{
			auto versions = span_of<ColumnVersion>(owner->versions.size() + 1);
			bool current = strcmp(NameStr(owner->name), NameStr(attribute->attname)) == 0;
			size_t place = current ? 1 : 0;
			for (const ColumnVersion &version : owner->versions)
				versions[place++] = version;
			ColumnVersion *version = &versions[current ? 0 : place];
			version->name = attribute->attname;
			version->attnum = attribute->attnum;
			version->type = {attribute->atttypid, attribute->atttypmod, attribute->attcollation};
			version->current = current;
			owner->versions = versions;
		}
		ReleaseSysCache(tuple);
	}
	for (CapturedColumn &column : instance->columns)
		column.type = column_reader_type(column.versions);
}

void
load_columns(CaptureInstance *instance)
{
	ScanKeyData key = scan_key(kCcObjectId, F_OIDEQ, ObjectIdGetDatum(instance->change_table));
	List *columns = NIL;

	rows_scan("captured_columns", "captured_columns_pkey", {&key, 1}, AccessShareLock,
			  [&](Relation relation, HeapTuple tuple) {
				  auto row = row_deform<kCcColumns>(relation, tuple);
				  if (!has_all(row))
				  {
					  instance->is_damaged = true;
					  return;
				  }
				  auto *column = static_cast<CapturedColumn *>(palloc0(sizeof(CapturedColumn)));
				  column->name = *DatumGetName(row[kCcColumnName]);
				  column->column_id = static_cast<AttrNumber>(DatumGetInt32(row[kCcColumnId]));
				  column->ordinal = DatumGetInt32(row[kCcColumnOrdinal]);
				  column->is_computed = DatumGetBool(row[kCcIsComputed]);
				  column->column_type = TextDatumGetCString(row[kCcColumnType]);
				  columns = lappend(columns, column);
			  });
	instance->columns = by_ordinal<CapturedColumn>(instance, columns, &CapturedColumn::ordinal);
	if (!instance->is_damaged && !columns_are_complete(instance))
	{
		instance->columns = {};
		instance->is_damaged = true;
	}
	if (!instance->is_damaged)
		load_versions(instance);
}

void
load_key(CaptureInstance *instance)
{
	ScanKeyData key = scan_key(kIcObjectId, F_OIDEQ, ObjectIdGetDatum(instance->change_table));
	List *columns = NIL;

	rows_scan("index_columns", "index_columns_pkey", {&key, 1}, AccessShareLock,
			  [&](Relation relation, HeapTuple tuple) {
				  auto row = row_deform<kIcColumns>(relation, tuple);
				  if (!has_all(row))
				  {
					  instance->is_damaged = true;
					  return;
				  }
				  auto *column = static_cast<KeyColumn *>(palloc0(sizeof(KeyColumn)));
				  column->name = *DatumGetName(row[kIcColumnName]);
				  column->index_ordinal = DatumGetInt16(row[kIcIndexOrdinal]);
				  column->column_id = static_cast<AttrNumber>(DatumGetInt32(row[kIcColumnId]));
				  for (const CapturedColumn &captured : instance->columns)
					  if (captured.column_id == column->column_id)
						  column->ordinal = captured.ordinal;
				  columns = lappend(columns, column);
			  });
	instance->key = by_ordinal<KeyColumn>(instance, columns, &KeyColumn::index_ordinal);
	if (instance->has_index != !instance->key.empty())
		instance->is_damaged = true;
}

/* The row of change_tables alone; columns and key are loaded after its scan has ended. */
CaptureInstance *
instance_from_row(Relation relation, HeapTuple tuple)
{
	auto row = row_deform<kCtColumns>(relation, tuple);
	auto *instance = static_cast<CaptureInstance *>(palloc0(sizeof(CaptureInstance)));
	static NameData no_name = {};

	/* What somebody has made NULL: nothing of that kind, so that it can be shown and disabled. */
	for (AttrNumber attribute :
		 {kCtObjectId, kCtSourceObjectId, kCtInstanceId, kCtSupportsNetChanges, kCtHasDropPending,
		  kCtCreateDate, kCtPartitionSwitch, kCtCaptureInstance, kCtBeforeImage, kCtTruncateAction,
		  kCtDropAction})
	{
		if (!row.is_null(attribute))
			continue;
		Form_pg_attribute column = TupleDescAttr(RelationGetDescr(relation), attribute - 1);
		instance->is_damaged = true;
		row.set(attribute, column->attbyval ? Datum(0) : NameGetDatum(&no_name));
	}
	instance->change_table = DatumGetObjectId(row[kCtObjectId]);
	instance->source = DatumGetObjectId(row[kCtSourceObjectId]);
	instance->instance_id = DatumGetInt32(row[kCtInstanceId]);
	instance->name = *DatumGetName(row[kCtCaptureInstance]);
	instance->start_lsn =
		row.is_null(kCtStartLsn) ? InvalidXLogRecPtr : DatumGetLSN(row[kCtStartLsn]);
	instance->supports_net_changes = DatumGetBool(row[kCtSupportsNetChanges]);
	instance->has_drop_pending = DatumGetBool(row[kCtHasDropPending]);
	instance->has_role =
		optional_name(&instance->role_name, row.values[kCtRoleName - 1], row.is_null(kCtRoleName));
	instance->has_index = optional_name(&instance->index_name, row.values[kCtIndexName - 1],
										row.is_null(kCtIndexName));
	instance->has_filegroup =
		optional_name(&instance->filegroup_name, row.values[kCtFilegroupName - 1],
					  row.is_null(kCtFilegroupName));
	instance->create_date = DatumGetTimestampTz(row[kCtCreateDate]);
	instance->partition_switch = DatumGetBool(row[kCtPartitionSwitch]);
	instance->before_image_full = name_is(row[kCtBeforeImage], "full");
	instance->truncate_recorded = name_is(row[kCtTruncateAction], "record");
	instance->kept_after_drop = name_is(row[kCtDropAction], "keep");
	return instance;
}

/* Whether change_tables still has the row. */
bool
is_there(const CaptureInstance *instance)
{
	ScanKeyData key = scan_key(kCtObjectId, F_OIDEQ, ObjectIdGetDatum(instance->change_table));
	bool found = false;

	rows_scan("change_tables", "change_tables_pkey", {&key, 1}, AccessShareLock,
			  [&](Relation, HeapTuple) { found = true; });
	return found;
}

int
compare_instance_id(const ListCell *a, const ListCell *b)
{
	int32 left = static_cast<CaptureInstance *>(lfirst(a))->instance_id;
	int32 right = static_cast<CaptureInstance *>(lfirst(b))->instance_id;
	return left < right ? -1 : left > right;
}

/* CaptureInstance pointers in order of creation. */
List *
load_instances(const char *index, std::span<ScanKeyData> keys)
{
	List *result = NIL;
	ListCell *cell;

	rows_scan("change_tables", index, keys, AccessShareLock,
			  [&](Relation relation, HeapTuple tuple) {
				  result = lappend(result, instance_from_row(relation, tuple));
			  });
	foreach (cell, result)
	{
		auto *instance = static_cast<CaptureInstance *>(lfirst(cell));
		load_columns(instance);
		load_key(instance);
		/* Each scan sees what is committed when it begins: removed in between is gone, not damaged. */
		if (instance->is_damaged && OidIsValid(instance->change_table) && !is_there(instance))
			result = foreach_delete_current(result, cell);
	}
	list_sort(result, compare_instance_id);
	return result;
}

} // namespace

CaptureInstance *
capture_instance_by_name(const char *ci, bool missing_ok)
{
	require_version();

	size_t length = strlen(ci);
	List *found = NIL;

	while (length > 0 && is_ascii_space(ci[length - 1]))
		length--;
	if (length > 0 && length < NAMEDATALEN)
	{
		NameData name = {};
		memcpy(NameStr(name), ci, length);
		ScanKeyData key = scan_key(kCtCaptureInstance, F_NAMEEQ, NameGetDatum(&name));
		found = load_instances("change_tables_capture_instance_key", {&key, 1});
	}
	if (found != NIL)
		return static_cast<CaptureInstance *>(linitial(found));
	if (!missing_ok)
		error_instance_not_found(ci);
	return nullptr;
}

CaptureInstance *
capture_instance_readable(const char *ci)
{
	database_require_enabled();
	CaptureInstance *instance = capture_instance_by_name(ci, false);
	if (!capture_instance_may_read(instance, GetUserId()))
		error_instance_not_found(ci);
	return instance;
}

CaptureInstance *
capture_instance_by_id(int32 instance_id, bool missing_ok)
{
	ScanKeyData key = scan_key(kCtInstanceId, F_INT4EQ, Int32GetDatum(instance_id));
	List *found = load_instances("change_tables_instance_id_key", {&key, 1});

	if (found != NIL)
		return static_cast<CaptureInstance *>(linitial(found));
	if (!missing_ok)
		error_instance_not_found(psprintf("%d", instance_id));
	return nullptr;
}

List *
capture_instances_of_source(Oid source)
{
	ScanKeyData key = scan_key(kCtSourceObjectId, F_OIDEQ, ObjectIdGetDatum(source));
	List *result = load_instances("change_tables_source_object_id_idx", {&key, 1});
	ListCell *cell;

	foreach (cell, result)
		if (static_cast<CaptureInstance *>(lfirst(cell))->has_drop_pending)
			result = foreach_delete_current(result, cell);
	return result;
}

List *
capture_instances_all()
{
	return load_instances(nullptr, {});
}

ReadDenied
capture_instance_denies(const CaptureInstance *instance, Oid role)
{
	if (superuser_arg(role) || compat_database_ownercheck(MyDatabaseId, role))
		return ReadDenied::No;

	/* Rights to a table that is gone cannot be looked up; its oid may be another table's. */
	if (instance->has_drop_pending)
		return ReadDenied::SourceGone;

	if (instance->has_role)
	{
		/* A gating role that is gone (or was renamed) admits nobody. */
		Oid gate = get_role_oid(NameStr(instance->role_name), true);
		if (!OidIsValid(gate) || !has_privs_of_role(role, gate))
			return ReadDenied::GatingRole;
	}

	HeapTuple tuple = SearchSysCache1(RELOID, ObjectIdGetDatum(instance->source));
	if (!HeapTupleIsValid(tuple))
		return ReadDenied::SourceGone;
	bool row_security = reinterpret_cast<Form_pg_class>(GETSTRUCT(tuple))->relrowsecurity;
	ReleaseSysCache(tuple);

	if (row_security && !has_bypassrls_privilege(role) &&
		!compat_relation_ownercheck(instance->source, role))
		return ReadDenied::RowSecurity;

	if (pg_class_aclcheck(instance->source, role, ACL_SELECT) == ACLCHECK_OK)
		return ReadDenied::No;
	/* Which columns there are is not known. */
	if (instance->is_damaged)
		return ReadDenied::Select;
	for (const CapturedColumn &column : instance->columns)
	{
		bool dropped = true;
		tuple = SearchSysCache2(ATTNUM, ObjectIdGetDatum(instance->source),
								Int16GetDatum(column.column_id));
		if (HeapTupleIsValid(tuple))
		{
			dropped = reinterpret_cast<Form_pg_attribute>(GETSTRUCT(tuple))->attisdropped;
			ReleaseSysCache(tuple);
		}
		/*
		 * Who could read the other columns only must not get at this one's history by its being
		 * dropped.
		 */
		if (dropped)
			return ReadDenied::Select;
		if (pg_attribute_aclcheck(instance->source, column.column_id, role, ACL_SELECT) !=
			ACLCHECK_OK)
			return ReadDenied::Select;
	}
	return ReadDenied::No;
}

bool
capture_instance_may_read(const CaptureInstance *instance, Oid role)
{
	return capture_instance_denies(instance, role) == ReadDenied::No;
}

void
capture_instance_require_whole(const CaptureInstance *instance)
{
	if (!instance->is_damaged)
		return;
	ereport(ERROR,
			(errcode(ERRCODE_DATA_CORRUPTED),
			 errmsg("metadata of capture instance \"%s\" has been changed by hand",
					NameStr(instance->name)),
			 errdetail("Rows of cdc.captured_columns or cdc.index_columns do not fit its change "
					   "table, %u.",
					   instance->change_table),
			 errhint("Put the rows back, or disable the instance with cdc.sp_cdc_disable_table and "
					 "enable the table again.")));
}

bool
database_is_enabled()
{
	bool found = false;

	if (!OidIsValid(cdc_relation_oid("_identity", true)))
		return false;
	rows_scan("_identity", nullptr, {}, AccessShareLock,
			  [&](Relation, HeapTuple) { found = true; });
	return found;
}

void
database_require_enabled()
{
	require_version();
	if (!database_is_enabled())
		error_database_not_enabled();
}

} // namespace cdc::catalog
