/*
 * source_table.cpp
 *	  Finding, locking and judging the table that a capture instance is made for.
 */
#include "cdc.hpp"

#include "base/errors.hpp"
#include "catalog/capture_instance.hpp"
#include "catalog/catalog.hpp"
#include "catalog/column_list.hpp"
#include "catalog/source_table.hpp"

extern "C" {
#include "access/transam.h"
#include "catalog/catalog.h"
#include "catalog/index.h"
#include "catalog/partition.h"
#include "catalog/pg_am.h"
#include "catalog/pg_class.h"
#include "catalog/pg_inherits.h"
#include "catalog/pg_namespace.h"
#include "catalog/pg_type.h"
#include "nodes/makefuncs.h"
#include "storage/lmgr.h"
}

namespace cdc::catalog
{

namespace
{

constexpr std::array<const char *, kChangeMetadataColumns> kReserved =
	{"__$start_lsn", "__$end_lsn", "__$seqval", "__$operation", "__$update_mask", "__$command_id"};

struct LookupRequest
{
	const char *schema;
	const char *name;
	bool for_enable;
};

const char *
relkind_word(char relkind)
{
	switch (relkind)
	{
		case RELKIND_VIEW:
			return "a view";
		case RELKIND_MATVIEW:
			return "a materialized view";
		case RELKIND_FOREIGN_TABLE:
			return "a foreign table";
		case RELKIND_SEQUENCE:
			return "a sequence";
		case RELKIND_INDEX:
		case RELKIND_PARTITIONED_INDEX:
			return "an index";
		case RELKIND_COMPOSITE_TYPE:
			return "a composite type";
		case RELKIND_TOASTVALUE:
			return "a TOAST table";
		default:
			return "no table";
	}
}

/* Refuses what cannot be a source. `request` names it as the caller did. */
void
check_kind(Oid oid, const LookupRequest &request)
{
	HeapTuple tuple = SearchSysCache1(RELOID, ObjectIdGetDatum(oid));
	if (!HeapTupleIsValid(tuple))
		return; /* dropped meanwhile: the lookup is repeated */
	FormData_pg_class relation = *reinterpret_cast<Form_pg_class>(GETSTRUCT(tuple));
	ReleaseSysCache(tuple);

	const char *schema = request.schema;
	const char *name = request.name;

	if (strcmp(get_namespace_name(relation.relnamespace), kSchema) == 0)
		ereport(
			ERROR,
			(errcode(ERRCODE_WRONG_OBJECT_TYPE),
			 errmsg("tables in schema \"%s\" cannot be captured", kSchema),
			 errdetail("SQL Server error 22974: \"%s.%s\" belongs to change data capture itself.",
					   schema, name),
			 errhint("Name a table of your own in another schema.")));

	if (oid < FirstNormalObjectId || IsCatalogNamespace(relation.relnamespace) ||
		IsToastNamespace(relation.relnamespace))
		ereport(ERROR,
				(errcode(ERRCODE_WRONG_OBJECT_TYPE),
				 errmsg("\"%s.%s\" is a system table and cannot be captured", schema, name),
				 errdetail("Changes of system tables are not decoded from the write-ahead log."),
				 errhint("Name an ordinary or partitioned table.")));

	if (relation.relkind != RELKIND_RELATION && relation.relkind != RELKIND_PARTITIONED_TABLE)
		ereport(ERROR, (errcode(ERRCODE_WRONG_OBJECT_TYPE),
						errmsg("\"%s.%s\" is not an ordinary or partitioned table", schema, name),
						errdetail("It is %s.", relkind_word(relation.relkind)),
						errhint("Enable the table that stores the rows.")));

	if (!request.for_enable)
		return;

	if (relation.relpersistence != RELPERSISTENCE_PERMANENT)
		ereport(ERROR,
				(errcode(ERRCODE_WRONG_OBJECT_TYPE),
				 errmsg("table \"%s.%s\" is %s and cannot be captured", schema, name,
						relation.relpersistence == RELPERSISTENCE_TEMP ? "temporary" : "unlogged"),
				 errdetail("Its changes are not written to the write-ahead log."),
				 relation.relpersistence == RELPERSISTENCE_TEMP
					 ? errhint("Use a permanent table.")
					 : errhint("ALTER TABLE %s SET LOGGED;",
							   quote_qualified_identifier(schema, name))));

	if (relation.relispartition)
	{
		List *ancestors = get_partition_ancestors(oid);
		Oid root = llast_oid(ancestors);
		ereport(
			ERROR,
			(errcode(ERRCODE_WRONG_OBJECT_TYPE),
			 errmsg("table \"%s.%s\" is a partition and cannot be captured by itself", schema,
					name),
			 errdetail("It belongs to partitioned table \"%s.%s\".",
					   get_namespace_name(get_rel_namespace(root)), get_rel_name(root)),
			 errhint("Enable the partitioned table: source_schema => %s, source_name => %s. Its "
					 "instance holds the changes of all partitions.",
					 quote_literal_cstr(get_namespace_name(get_rel_namespace(root))),
					 quote_literal_cstr(get_rel_name(root)))));
	}

	if (relation.relkind == RELKIND_RELATION && relation.relam != HEAP_TABLE_AM_OID)
		ereport(ERROR,
				(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
				 errmsg("table \"%s.%s\" does not use table access method \"heap\"", schema, name),
				 errdetail("Only changes of heap tables can be decoded from the write-ahead log."),
				 errhint("Move the data into a heap table.")));
}

/* Before the lock: who may not do it shall not queue in front of everybody either. */
void
lookup_callback(const RangeVar *, Oid oid, Oid, void *arg)
{
	auto *request = static_cast<LookupRequest *>(arg);

	if (!OidIsValid(oid))
		return;
	check_kind(oid, *request);
	if (!compat_relation_ownercheck(oid, GetUserId()))
		error_not_table_owner(request->schema, request->name);
}

char *
qualified_name(Oid relation)
{
	return psprintf("%s.%s", get_namespace_name(get_rel_namespace(relation)),
					get_rel_name(relation));
}

/* A leaf whose changes would be missing makes the whole table's log incomplete. */
void
check_partition(Oid root, Oid oid)
{
	HeapTuple tuple = SearchSysCache1(RELOID, ObjectIdGetDatum(oid));
	if (!HeapTupleIsValid(tuple))
		elog(ERROR, "cache lookup failed for relation %u", oid);
	FormData_pg_class relation = *reinterpret_cast<Form_pg_class>(GETSTRUCT(tuple));
	ReleaseSysCache(tuple);

	const char *problem = nullptr;
	if (relation.relkind == RELKIND_FOREIGN_TABLE)
		problem = "a foreign table";
	else if (relation.relpersistence != RELPERSISTENCE_PERMANENT)
		problem = relation.relpersistence == RELPERSISTENCE_TEMP ? "a temporary table"
																 : "an unlogged table";
	else if (relation.relkind == RELKIND_RELATION && relation.relam != HEAP_TABLE_AM_OID)
		problem = "a table with an access method other than \"heap\"";
	if (problem != nullptr)
		ereport(ERROR,
				(errcode(ERRCODE_WRONG_OBJECT_TYPE),
				 errmsg("partitioned table \"%s\" has a partition that cannot be captured",
						qualified_name(root)),
				 errdetail("Partition \"%s\" is %s: its changes are not in the write-ahead log.",
						   qualified_name(oid), problem),
				 errhint("Detach it, or replace it by an ordinary logged table.")));

	List *instances = capture_instances_of_source(oid);
	if (instances != NIL)
	{
		auto *instance = static_cast<CaptureInstance *>(linitial(instances));
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("partitioned table \"%s\" has a partition that is captured by itself",
						qualified_name(root)),
				 errdetail("Partition \"%s\" has capture instance \"%s\".", qualified_name(oid),
						   NameStr(instance->name)),
				 errhint("CALL cdc.sp_cdc_disable_table(%s, %s, 'all');",
						 quote_literal_cstr(get_namespace_name(relation.relnamespace)),
						 quote_literal_cstr(NameStr(relation.relname)))));
	}
}

} // namespace

Oid
source_table_lookup(const char *schema, const char *name, LOCKMODE lockmode, bool for_enable,
					bool missing_ok)
{
	Oid oid = InvalidOid;
	LookupRequest request = {.schema = schema, .name = name, .for_enable = for_enable};

	/*
	 * A name of 64 bytes or more names nothing, and must not be cut to one that does. A schema that is
	 * missing is reported like a table that is.
	 */
	if (strlen(schema) < NAMEDATALEN && strlen(name) < NAMEDATALEN &&
		(strcmp(schema, "pg_temp") == 0 || OidIsValid(get_namespace_oid(schema, true))))
		oid = RangeVarGetRelidExtended(makeRangeVar(pstrdup(schema), pstrdup(name), -1), lockmode,
									   RVR_MISSING_OK, lookup_callback, &request);
	if (!OidIsValid(oid) && !missing_ok)
		error_source_not_found(schema, name);
	return oid;
}

SourceTable
source_table_load(Oid oid, LOCKMODE lockmode, bool for_enable)
{
	SourceTable table = {
		.oid = oid,
		.schema = get_namespace_name(get_rel_namespace(oid)),
		.name = get_rel_name(oid),
		.partitioned = get_rel_relkind(oid) == RELKIND_PARTITIONED_TABLE,
		.tree = list_make1_oid(oid),
	};

	/* Tables that merely inherit from an ordinary one are tables of their own. */
	if (table.partitioned)
		table.tree = find_all_inheritors(oid, lockmode, nullptr);

	if (for_enable)
	{
		ListCell *cell;
		foreach (cell, table.tree)
			if (lfirst_oid(cell) != oid)
				check_partition(oid, lfirst_oid(cell));
	}
	return table;
}

namespace
{

RowIdentifier
row_identifier_from_index(Relation index)
{
	RowIdentifier identifier = {
		.index = RelationGetRelid(index),
		.index_name = pstrdup(RelationGetRelationName(index)),
		.columns = IndexRelationGetNumberOfKeyAttributes(index),
		.column = {},
	};
	for (int i = 0; i < identifier.columns; i++)
		identifier.column[i] = index->rd_index->indkey.values[i];
	return identifier;
}

/* The table's primary key, when the server itself would take it as a row's identity. */
std::optional<RowIdentifier>
primary_key_find(Relation relation)
{
	std::optional<RowIdentifier> result;
	ListCell *cell;

	foreach (cell, RelationGetIndexList(relation))
	{
		Relation index = index_open(lfirst_oid(cell), AccessShareLock);
		/* A deferrable key may be held twice within a transaction: it identifies nothing. */
		if (index->rd_index->indisprimary && index->rd_index->indimmediate &&
			index->rd_index->indisvalid)
			result = row_identifier_from_index(index);
		index_close(index, NoLock);
		if (result.has_value())
			break;
	}
	return result;
}

void
check_identifier_index(const SourceTable &table, Relation relation, Relation index)
{
	const char *name = RelationGetRelationName(index);
	const char *flaw = nullptr;

	if (!index->rd_index->indisunique)
		flaw = "it is not unique";
	else if (!heap_attisnull(index->rd_indextuple, Anum_pg_index_indpred, nullptr))
		flaw = "it is partial: rows outside its WHERE clause are not covered";
	else if (!heap_attisnull(index->rd_indextuple, Anum_pg_index_indexprs, nullptr))
		flaw = "it is on an expression";
	if (flaw != nullptr)
		ereport(ERROR,
				(errcode(ERRCODE_WRONG_OBJECT_TYPE),
				 errmsg("index \"%s\" cannot identify the rows of table \"%s.%s\"", name,
						table.schema, table.name),
				 errdetail(
					 "SQL Server error 22929: the index is neither the primary key nor unique: %s.",
					 flaw),
				 errhint(
					 "Name a unique index on NOT NULL columns, or leave index_name out to use the "
					 "primary key.")));

	if (!index->rd_index->indimmediate)
		flaw = "its constraint is deferrable";
	else if (!index->rd_index->indisvalid || !index->rd_index->indisready ||
			 !index->rd_index->indislive)
		flaw = "it is not valid: its creation failed, or is still under way";
	if (flaw != nullptr)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("index \"%s\" cannot identify the rows of table \"%s.%s\"", name,
						table.schema, table.name),
				 errdetail("SQL Server error 22980: the index is disabled: %s.", flaw),
				 index->rd_index->indimmediate
					 ? errhint("REINDEX INDEX %s;", quote_qualified_identifier(table.schema, name))
					 : errhint(
						   "Make the constraint NOT DEFERRABLE, or name another unique index.")));

	for (int i = 0; i < IndexRelationGetNumberOfKeyAttributes(index); i++)
	{
		Form_pg_attribute column =
			TupleDescAttr(RelationGetDescr(relation), index->rd_index->indkey.values[i] - 1);
		if (!column->attnotnull)
			ereport(ERROR,
					(errcode(ERRCODE_WRONG_OBJECT_TYPE),
					 errmsg("index \"%s\" cannot identify the rows of table \"%s.%s\"", name,
							table.schema, table.name),
					 errdetail("SQL Server error 22838: column \"%s\" of the index may be NULL.",
							   NameStr(column->attname)),
					 errhint("ALTER TABLE %s ALTER COLUMN %s SET NOT NULL;",
							 quote_qualified_identifier(table.schema, table.name),
							 quote_identifier(NameStr(column->attname)))));
	}
}

} // namespace

std::optional<RowIdentifier>
row_identifier_find(const SourceTable &table, const char *index_name)
{
	Relation relation = table_open(table.oid, NoLock);
	std::optional<RowIdentifier> result;

	if (index_name == nullptr)
		result = primary_key_find(relation);
	else
	{
		Oid index_oid = strlen(index_name) < NAMEDATALEN
							? get_relname_relid(index_name, RelationGetNamespace(relation))
							: InvalidOid;
		if (!OidIsValid(index_oid) || !list_member_oid(RelationGetIndexList(relation), index_oid))
			ereport(ERROR,
					(errcode(ERRCODE_UNDEFINED_OBJECT),
					 errmsg("index \"%s\" does not exist on table \"%s.%s\"", index_name,
							table.schema, table.name),
					 errdetail("SQL Server error 22928: no such index on the table."),
					 errhint("\\d %s in psql lists the indexes; give the name without its schema.",
							 quote_qualified_identifier(table.schema, table.name))));
		Relation index = index_open(index_oid, AccessShareLock);
		check_identifier_index(table, relation, index);
		result = row_identifier_from_index(index);
		index_close(index, NoLock);
	}
	table_close(relation, NoLock);
	return result;
}

Oid
row_identifier_index_of(const RowIdentifier &identifier, Oid relation)
{
	Oid result = InvalidOid;
	Relation source = table_open(relation, NoLock);
	ListCell *cell;

	foreach (cell, RelationGetIndexList(source))
	{
		Oid index = lfirst_oid(cell);
		if (index == identifier.index ||
			(get_rel_relispartition(index) &&
			 list_member_oid(get_partition_ancestors(index), identifier.index)))
		{
			result = index;
			break;
		}
	}
	table_close(source, NoLock);
	return result;
}

namespace
{

/* attnums of the columns that a captured_column_list names. */
Bitmapset *
listed_columns(const SourceTable &table, TupleDesc descriptor, const char *list)
{
	Bitmapset *result = nullptr;

	for (const ColumnListItem &item : column_list_parse(list, "captured_column_list"))
	{
		AttrNumber column = column_list_resolve(item, descriptor);
		if (column == InvalidAttrNumber)
			ereport(
				ERROR,
				(errcode(ERRCODE_UNDEFINED_COLUMN),
				 errmsg("column \"%s\" of table \"%s.%s\" does not exist", item.name, table.schema,
						table.name),
				 errdetail("SQL Server error 22930: the column in captured_column_list \"%s\" is "
						   "not a column of the table.",
						   list),
				 errhint("\\d %s in psql lists the columns.",
						 quote_qualified_identifier(table.schema, table.name))));
		if (bms_is_member(column, result))
			ereport(ERROR,
					(errcode(ERRCODE_DUPLICATE_COLUMN),
					 errmsg("column \"%s\" is listed twice", item.name),
					 errdetail(
						 "SQL Server error 22942: captured_column_list \"%s\" cannot be mapped to "
						 "columns.",
						 list),
					 errhint("Name each column once; the order does not matter.")));
		if (compat_is_virtual_column(TupleDescAttr(descriptor, column - 1)))
			ereport(ERROR,
					(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
					 errmsg("virtual generated column \"%s\" cannot be captured", item.name),
					 errdetail(
						 "SQL Server error 22942: its value is not stored, so it is not in the "
						 "write-ahead log."),
					 errhint("Leave it out of captured_column_list, or make it a stored column.")));
		result = bms_add_member(result, column);
	}
	return result;
}

void
check_identifier_captured(TupleDesc descriptor, const char *list, Bitmapset *columns,
						  const RowIdentifier &identifier)
{
	for (int i = 0; i < identifier.columns; i++)
		if (!bms_is_member(identifier.column[i], columns))
		{
			const char *missing =
				NameStr(TupleDescAttr(descriptor, identifier.column[i] - 1)->attname);
			ereport(ERROR,
					(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
					 errmsg("captured_column_list lacks column \"%s\" of index \"%s\"", missing,
							identifier.index_name),
					 errdetail("SQL Server error 22943: all columns of the row identifier must be "
							   "captured; the list is \"%s\".",
							   list),
					 errhint("Add %s to captured_column_list.", quote_identifier(missing))));
		}
}

void
check_reserved(const SourceTable &table, const char *column)
{
	for (const char *reserved : kReserved)
		if (strcmp(column, reserved) == 0)
			ereport(
				ERROR,
				(errcode(ERRCODE_RESERVED_NAME),
				 errmsg("column \"%s\" of table \"%s.%s\" has a reserved name", column,
						table.schema, table.name),
				 errdetail(
					 "SQL Server error 22975: a metadata column of the change table has that name."),
				 errhint("Rename the column, or give a captured_column_list without it.")));
}

/* As format_type() writes it, but the same under every search path: built-in types plain, others qualified. */
char *
type_name(Oid type, int32 typmod)
{
	bits16 flags = FORMAT_TYPE_TYPEMOD_GIVEN;
	HeapTuple tuple = SearchSysCache1(TYPEOID, ObjectIdGetDatum(type));

	if (!HeapTupleIsValid(tuple))
		elog(ERROR, "cache lookup failed for type %u", type);
	if (reinterpret_cast<Form_pg_type>(GETSTRUCT(tuple))->typnamespace != PG_CATALOG_NAMESPACE)
		flags |= FORMAT_TYPE_FORCE_QUALIFY;
	ReleaseSysCache(tuple);
	return format_type_extended(type, typmod, flags);
}

/*
 * A change row is a source row plus six columns. The columns with a fixed length alone may make it too
 * long for a page, and then every insert would stop capture.
 */
void
check_row_width(const SourceTable &table, TupleDesc descriptor, std::span<SourceColumn> columns)
{
	Size width = MAXALIGN(SizeofHeapTupleHeader +
						  BITMAPLEN(kChangeMetadataColumns + static_cast<int>(columns.size())));

	/* three LSNs, operation, mask with its one-byte header, command id */
	width += 3 * sizeof(XLogRecPtr) + sizeof(int32) + 1 + (columns.size() + 7) / 8;
	for (const SourceColumn &column : columns)
	{
		Form_pg_attribute attribute = TupleDescAttr(descriptor, column.attnum - 1);
		if (attribute->attlen > 0)
			width = att_align_nominal(width, attribute->attalign) + attribute->attlen;
		else
			width += 1;
	}
	width = INTALIGN(width) + sizeof(int32);
	if (width > MaxHeapTupleSize)
		ereport(
			ERROR,
			(errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
			 errmsg("change rows of table \"%s.%s\" would be too long", table.schema, table.name),
			 errdetail("SQL Server error 22925: too many columns: a row takes at least %zu bytes, "
					   "at most %zu fit.",
					   width, static_cast<Size>(MaxHeapTupleSize)),
			 errhint("Give a captured_column_list with fewer columns.")));
}

} // namespace

std::span<SourceColumn>
source_columns_choose(const SourceTable &table, const char *list, const RowIdentifier *identifier)
{
	Relation relation = table_open(table.oid, NoLock);
	/* With constraints: a copy without them does not know generated columns. */
	TupleDesc descriptor = CreateTupleDescCopyConstr(RelationGetDescr(relation));
	table_close(relation, NoLock);

	Bitmapset *listed = list == nullptr ? nullptr : listed_columns(table, descriptor, list);
	if (list != nullptr && identifier != nullptr)
		check_identifier_captured(descriptor, list, listed, *identifier);

	auto *columns =
		static_cast<SourceColumn *>(palloc0(sizeof(SourceColumn) * (descriptor->natts + 1)));
	size_t count = 0;

	for (int i = 0; i < descriptor->natts; i++)
	{
		Form_pg_attribute attribute = TupleDescAttr(descriptor, i);
		if (attribute->attisdropped || compat_is_virtual_column(attribute))
			continue;
		if (list != nullptr && !bms_is_member(i + 1, listed))
			continue;
		check_reserved(table, NameStr(attribute->attname));

		SourceColumn *column = &columns[count++];
		column->name = pstrdup(NameStr(attribute->attname));
		column->attnum = attribute->attnum;
		column->is_computed = attribute->attgenerated != '\0';
		column->type_name = type_name(attribute->atttypid, attribute->atttypmod);
		column->base_typmod = attribute->atttypmod;
		column->base_type = getBaseTypeAndTypmod(attribute->atttypid, &column->base_typmod);
		column->collation = attribute->attcollation;
	}

	if (count == 0)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_TABLE_DEFINITION),
				 errmsg("table \"%s.%s\" has no column to capture", table.schema, table.name),
				 errdetail("SQL Server error 22942: the list of captured columns is empty."),
				 errhint("Add a column first.")));
	if (count > MaxHeapAttributeNumber - kChangeMetadataColumns)
		ereport(
			ERROR,
			(errcode(ERRCODE_TOO_MANY_COLUMNS),
			 errmsg("too many captured columns for table \"%s.%s\"", table.schema, table.name),
			 errdetail("SQL Server error 22925: %zu columns are to be captured, the limit is %d.",
					   count, MaxHeapAttributeNumber - kChangeMetadataColumns),
			 errhint("Give a captured_column_list with fewer columns.")));
	check_row_width(table, descriptor, {columns, count});
	return {columns, count};
}

List *
inheritance_children(Oid parent)
{
	Relation inherits = table_open(InheritsRelationId, AccessShareLock);
	List *children = NIL;
	ScanKeyData key;

	ScanKeyInit(&key, Anum_pg_inherits_inhparent, BTEqualStrategyNumber, F_OIDEQ,
				ObjectIdGetDatum(parent));
	SysScanDesc scan = systable_beginscan(inherits, InheritsParentIndexId, true, nullptr, 1, &key);
	while (HeapTuple tuple = systable_getnext(scan))
		children =
			lappend_oid(children, reinterpret_cast<Form_pg_inherits>(GETSTRUCT(tuple))->inhrelid);
	systable_endscan(scan);
	table_close(inherits, AccessShareLock);
	return children;
}

List *
inheritance_tree(Oid root)
{
	List *tree = list_make1_oid(root);
	List *found = NIL;

	for (int i = 0; i < list_length(tree); i++)
	{
		Oid relation = list_nth_oid(tree, i);
		if (!SearchSysCacheExists1(RELOID, ObjectIdGetDatum(relation)))
			continue;
		found = lappend_oid(found, relation);
		tree = list_concat_unique_oid(tree, inheritance_children(relation));
	}
	list_free(tree);
	return found;
}

} // namespace cdc::catalog
