/*
 * change_table.cpp
 *	  Change tables and their leaf partitions: create, extend, drop.
 *
 * NOTES
 *	  Runs in backends (enable_table) and in the capture worker, which is a superuser without a
 *	  client: statements are built as parse nodes and given to the functions behind them, so that neither
 *	  the utility hooks of others nor event triggers take part, and no setting of a session or a
 *	  database (tablespace, access method, search path) has a say in what comes out.
 */
#include "cdc.hpp"

#include "base/fault.hpp"
#include "base/guc.hpp"
#include "base/scope.hpp"
#include "catalog/catalog.hpp"
#include "catalog/catalog_rows.hpp"
#include "catalog/change_table.hpp"
#include "catalog/gaps.hpp"
#include "catalog/internal_ddl.hpp"
#include "catalog/publications.hpp"
#include "catalog/source_table.hpp"

extern "C" {
#include "catalog/dependency.h"
#include "catalog/indexing.h"
#include "catalog/partition.h"
#include "catalog/pg_extension.h"
#include "catalog/pg_inherits.h"
#include "catalog/pg_statistic.h"
#include "catalog/toasting.h"
#include "commands/defrem.h"
#include "commands/tablecmds.h"
#include "commands/tablespace.h"
#include "nodes/makefuncs.h"
#include "nodes/parsenodes.h"
#include "nodes/value.h"
#include "storage/lmgr.h"
#include "tcop/utility.h"
#include "utils/array.h"
#include "utils/typcache.h"
}

namespace cdc::catalog
{

namespace
{

struct LeafRange
{
	Oid leaf;
	XLogRecPtr lower;
	XLogRecPtr upper; /* exclusive */
};

ColumnDef *
column_definition(const char *name, Oid type_id, int32 typmod, Oid collation)
{
	ColumnDef *column = makeColumnDef(name, type_id, typmod, collation);
	column->is_local = true;
	return column;
}

CreateStmt *
create_statement(const char *relname, List *columns, const char *tablespace)
{
	CreateStmt *stmt = makeNode(CreateStmt);
	stmt->relation = makeRangeVar(pstrdup(kSchema), pstrdup(relname), -1);
	stmt->tableElts = columns;
	stmt->oncommit = ONCOMMIT_NOOP;
	stmt->tablespacename = tablespace == nullptr ? nullptr : pstrdup(tablespace);
	return stmt;
}

/*
 * Whether ANALYZE of such a column runs code of whoever made the type: of a range, the function for the
 * distance of its bounds. (Comparisons come from operator classes, output and analysis from base types, and
 * those are made by superusers.)
 */
bool
analyzing_runs_user_code(Oid type)
{
	Oid range = type_is_multirange(type) ? get_multirange_range(type) : type;

	return type_is_range(range) &&
		   lookup_type_cache(range, TYPECACHE_RANGE_INFO)->rng_subdiff_finfo.fn_oid >=
			   FirstNormalObjectId;
}

/* The tablespace of a relation by name; NULL: the database's. */
char *
relation_tablespace_name(Oid relation)
{
	Oid tablespace = get_rel_tablespace(relation);
	return OidIsValid(tablespace) ? get_tablespace_name(tablespace) : nullptr;
}

/* Bounds as written by leaf_attach; anything else in a change table is not ours. */
bool
leaf_bounds_from_tuple(HeapTuple tuple, XLogRecPtr *lower, XLogRecPtr *upper)
{
	bool isnull;
	Datum bound = SysCacheGetAttr(RELOID, tuple, Anum_pg_class_relpartbound, &isnull);

	if (isnull)
		return false;
	auto *spec = static_cast<PartitionBoundSpec *>(stringToNode(TextDatumGetCString(bound)));
	if (spec->is_default || spec->strategy != PARTITION_STRATEGY_RANGE)
		return false;

	auto value = [](List *datums, XLogRecPtr infinite) -> XLogRecPtr {
		auto *datum = static_cast<PartitionRangeDatum *>(linitial(datums));
		return datum->kind == PARTITION_RANGE_DATUM_VALUE
				   ? DatumGetLSN(castNode(Const, datum->value)->constvalue)
				   : infinite;
	};
	*lower = value(spec->lowerdatums, 0);
	*upper = value(spec->upperdatums, PG_UINT64_MAX);
	return true;
}

/*
 * Leaves with their ranges, read without locking the root: the writer must not queue behind a
 * disable_table that somebody has not committed. Leaves that are being detached are included; their
 * ranges are still taken. A root that is gone has none: cleanup may come after a disable_table.
 */
std::span<LeafRange>
leaf_ranges(Oid root)
{
	List *children = inheritance_children(root);
	auto *ranges =
		static_cast<LeafRange *>(palloc(sizeof(LeafRange) * Max(list_length(children), 1)));
	size_t count = 0;
	ListCell *cell;

	foreach (cell, children)
	{
		LeafRange range = {.leaf = lfirst_oid(cell), .lower = 0, .upper = 0};
		if (change_table_leaf_bounds(range.leaf, &range.lower, &range.upper))
			ranges[count++] = range;
	}
	return {ranges, count};
}

const LeafRange *
range_find(std::span<LeafRange> ranges, XLogRecPtr lsn)
{
	for (const LeafRange &range : ranges)
		if (range.lower <= lsn && lsn < range.upper)
			return &range;
	return nullptr;
}

/* ALTER TABLE root DETACH PARTITION leaf CONCURRENTLY, or FINALIZE; ends the transaction in between. */
void
leaf_detach(Oid root, Oid leaf, bool finalize)
{
	PartitionCmd *detach = makeNode(PartitionCmd);
	detach->name = makeRangeVar(pstrdup(kSchema), get_rel_name(leaf), -1);
	detach->concurrent = !finalize;

	AlterTableCmd *command = makeNode(AlterTableCmd);
	command->subtype = finalize ? AT_DetachPartitionFinalize : AT_DetachPartition;
	command->def = reinterpret_cast<Node *>(detach);

	/* The server keeps what it needs after its commit in the portal's memory, which a worker has none of. */
	MemoryContext portal = PortalContext;
	PortalContext = CurrentMemoryContext;
	finally([&] { internal_alter_table(root, command, ShareUpdateExclusiveLock); },
			[&] { PortalContext = portal; });
}

/* The step that lsn falls into, cut to the room that the existing leaves leave around it. */
LeafRange
range_for_new_leaf(std::span<LeafRange> ranges, XLogRecPtr lsn)
{
	uint64 step = static_cast<uint64>(guc_partition_wal_size_mb) * 1024 * 1024;
	LeafRange result = {.leaf = InvalidOid, .lower = lsn / step * step, .upper = 0};

	result.upper = result.lower > PG_UINT64_MAX - step ? PG_UINT64_MAX : result.lower + step;
	for (const LeafRange &range : ranges)
	{
		if (range.upper <= lsn && range.upper > result.lower)
			result.lower = range.upper;
		if (range.lower > lsn && range.lower < result.upper)
			result.upper = range.lower;
	}
	return result;
}

int32
instance_id_of(Oid root)
{
	ScanKeyData key = scan_key(kCtObjectId, F_OIDEQ, ObjectIdGetDatum(root));
	int32 result = 0;

	rows_scan("change_tables", "change_tables_pkey", {&key, 1}, AccessShareLock,
			  [&](Relation relation, HeapTuple tuple) {
				  result = DatumGetInt32(row_deform<kCtColumns>(relation, tuple)[kCtInstanceId]);
			  });
	return result;
}

/* Columns of a new leaf: the root's, though not always with the same attribute numbers. */
List *
columns_like(Oid root)
{
	/* No lock needed beyond the caller's; closed at once, or AlterTable finds the root in use. */
	Relation relation = table_open(root, NoLock);
	TupleDesc descriptor = RelationGetDescr(relation);
	List *columns = NIL;

	for (int i = 0; i < descriptor->natts; i++)
	{
		Form_pg_attribute attribute = TupleDescAttr(descriptor, i);
		/* Lost with its type by DROP ... CASCADE. */
		if (attribute->attisdropped)
			continue;
		columns =
			lappend(columns, column_definition(NameStr(attribute->attname), attribute->atttypid,
											   attribute->atttypmod, attribute->attcollation));
	}
	table_close(relation, NoLock);
	return columns;
}

Node *
lsn_literal(XLogRecPtr lsn)
{
	A_Const *literal = makeNode(A_Const);
	literal->val.sval.type = T_String;
	literal->val.sval.sval = psprintf("%X/%X", CDC_LSN_FORMAT_ARGS(lsn));
	literal->location = -1;
	return reinterpret_cast<Node *>(literal);
}

/* ALTER TABLE root ATTACH PARTITION leaf FOR VALUES FROM (lower) TO (upper), lock already held. */
void
leaf_attach(Oid root, const char *leaf_name, const LeafRange &range)
{
	PartitionBoundSpec *bound = makeNode(PartitionBoundSpec);
	bound->strategy = PARTITION_STRATEGY_RANGE;
	bound->lowerdatums = list_make1(lsn_literal(range.lower));
	bound->upperdatums = list_make1(lsn_literal(range.upper));
	bound->location = -1;

	PartitionCmd *attach = makeNode(PartitionCmd);
	attach->name = makeRangeVar(pstrdup(kSchema), pstrdup(leaf_name), -1);
	attach->bound = bound;

	AlterTableCmd *command = makeNode(AlterTableCmd);
	command->subtype = AT_AttachPartition;
	command->def = reinterpret_cast<Node *>(attach);
	internal_alter_table(root, command, ShareUpdateExclusiveLock);
}

/*
 * What ANALYZE will find, from the first row on: rows lie in the order of __$start_lsn. Without it
 * the planner thinks that the BRIN index cannot tell one page from another, and every query of a
 * growing leaf reads all of it until autovacuum has come by. LSNs are taken as spread evenly over
 * the leaf's range.
 */
void
leaf_store_statistics(Oid leaf, const LeafRange &range)
{
	constexpr int kBounds = 101; /* as ANALYZE makes by default */
	Datum bounds[kBounds];
	uint64 step = (range.upper - range.lower) / (kBounds - 1);
	for (int i = 0; i < kBounds; i++)
		bounds[i] = LSNGetDatum(i == kBounds - 1 ? range.upper : range.lower + step * i);
	Datum correlation = Float4GetDatum(1.0F);
	Oid less = lookup_type_cache(PG_LSNOID, TYPECACHE_LT_OPR)->lt_opr;

	Datum values[Natts_pg_statistic] = {};
	bool nulls[Natts_pg_statistic] = {};
	values[Anum_pg_statistic_starelid - 1] = ObjectIdGetDatum(leaf);
	values[Anum_pg_statistic_staattnum - 1] = Int16GetDatum(kChangeStartLsn);
	values[Anum_pg_statistic_stawidth - 1] = Int32GetDatum(sizeof(XLogRecPtr));
	for (int i = 0; i < STATISTIC_NUM_SLOTS; i++)
	{
		nulls[Anum_pg_statistic_stanumbers1 - 1 + i] = true;
		nulls[Anum_pg_statistic_stavalues1 - 1 + i] = true;
	}
	values[Anum_pg_statistic_stakind1 - 1] = Int16GetDatum(STATISTIC_KIND_HISTOGRAM);
	values[Anum_pg_statistic_staop1 - 1] = ObjectIdGetDatum(less);
	values[Anum_pg_statistic_stavalues1 - 1] = PointerGetDatum(
		construct_array(bounds, kBounds, PG_LSNOID, sizeof(XLogRecPtr), true, TYPALIGN_DOUBLE));
	nulls[Anum_pg_statistic_stavalues1 - 1] = false;
	values[Anum_pg_statistic_stakind2 - 1] = Int16GetDatum(STATISTIC_KIND_CORRELATION);
	values[Anum_pg_statistic_staop2 - 1] = ObjectIdGetDatum(less);
	values[Anum_pg_statistic_stanumbers2 - 1] = PointerGetDatum(
		construct_array(&correlation, 1, FLOAT4OID, sizeof(float4), true, TYPALIGN_INT));
	nulls[Anum_pg_statistic_stanumbers2 - 1] = false;

	Relation pg_statistic = table_open(StatisticRelationId, RowExclusiveLock);
	CatalogTupleInsert(pg_statistic,
					   heap_form_tuple(RelationGetDescr(pg_statistic), values, nulls));
	table_close(pg_statistic, RowExclusiveLock);
}

Oid
leaf_create(Oid root, int32 instance_id, const LeafRange &range)
{
	char *name =
		psprintf("_ct_%d_%016llx", instance_id, static_cast<unsigned long long>(range.lower));
	char *tablespace = relation_tablespace_name(root);
	CreateStmt *stmt =
		create_statement(name, columns_like(root),
						 tablespace != nullptr ? tablespace
											   : get_tablespace_name(MyDatabaseTableSpace));
	Oid leaf = InvalidOid;

	/* Whatever default_table_access_method says: the writer and the decoder know heaps. */
	stmt->accessMethod = pstrdup("heap");
	with_neutral_settings(tablespace, [&]() {
		leaf = DefineRelation(stmt, RELKIND_RELATION, cdc_extension_owner(), nullptr, "").objectId;
		CommandCounterIncrement();
		NewRelationCreateToastTable(leaf, Datum(0));
		relation_clear_privileges(leaf);
		relation_hide_from_publications(leaf);
		extension_add_member(RelationRelationId, leaf);
		CommandCounterIncrement();
		change_table_limit_statistics(leaf, false);
		CDC_FAULT("leaf-create");
		leaf_attach(root, name, range);
		CDC_FAULT("leaf-attach");
		leaf_store_statistics(leaf, range);
	});
	CommandCounterIncrement();
	return leaf;
}

} // namespace

Oid
change_table_create(const char *capture_instance, int32 instance_id,
					std::span<const ChangeColumn> columns, const char *tablespace)
{
	List *definitions = list_make5(column_definition("__$start_lsn", PG_LSNOID, -1, InvalidOid),
								   column_definition("__$end_lsn", PG_LSNOID, -1, InvalidOid),
								   column_definition("__$seqval", PG_LSNOID, -1, InvalidOid),
								   column_definition("__$operation", INT4OID, -1, InvalidOid),
								   column_definition("__$update_mask", BYTEAOID, -1, InvalidOid));

	for (const ChangeColumn &column : columns)
		definitions = lappend(definitions, column_definition(column.name, column.type_id,
															 column.typmod, column.collation));
	definitions = lappend(definitions, column_definition("__$command_id", INT4OID, -1, InvalidOid));

	PartitionElem *key = makeNode(PartitionElem);
	key->name = pstrdup("__$start_lsn");
	key->location = -1;
	PartitionSpec *partitioning = makeNode(PartitionSpec);
	compat_set_range_partitioned(partitioning);
	partitioning->partParams = list_make1(key);
	partitioning->location = -1;

	/* The database's own tablespace must not be named for a partitioned table. */
	if (tablespace != nullptr && get_tablespace_oid(tablespace, false) == MyDatabaseTableSpace)
		tablespace = nullptr;
	CreateStmt *stmt =
		create_statement(psprintf("%s_ct", capture_instance), definitions, tablespace);
	stmt->partspec = partitioning;

	IndexElem *element = makeNode(IndexElem);
	element->name = pstrdup("__$start_lsn");
	element->ordering = SORTBY_DEFAULT;
	element->nulls_ordering = SORTBY_NULLS_DEFAULT;
	IndexStmt *index = makeNode(IndexStmt);
	index->idxname =
		psprintf("_ct_%d_idx", instance_id); /* free of the instance's name, as leaves are */
	index->relation = stmt->relation;
	index->accessMethod = pstrdup("brin");
	index->indexParams = list_make1(element);
	index->options =
		list_make1(makeDefElem(pstrdup("pages_per_range"),
							   reinterpret_cast<Node *>(makeInteger(kPagesPerRange)), -1));
	index->tableSpace = stmt->tablespacename;
	index->transformed = true;

	Oid root = InvalidOid;
	with_neutral_settings(tablespace, [&]() {
		root = DefineRelation(stmt, RELKIND_RELATION, cdc_extension_owner(), nullptr, "").objectId;
		CommandCounterIncrement();
		compat_define_index(root, index);
		CommandCounterIncrement();
		relation_clear_privileges(root);
		extension_add_member(RelationRelationId, root);
		CommandCounterIncrement();
		change_table_limit_statistics(root, false);
	});
	CommandCounterIncrement();
	return root;
}

void
change_table_limit_statistics(Oid table, bool recurse)
{
	/* As in columns_like: closed at once. */
	Relation relation = table_open(table, NoLock);
	TupleDesc descriptor = RelationGetDescr(relation);
	List *names = NIL;
	ListCell *cell;

	for (int i = 0; i < descriptor->natts; i++)
	{
		Form_pg_attribute attribute = TupleDescAttr(descriptor, i);
		if (!attribute->attisdropped && analyzing_runs_user_code(attribute->atttypid))
			names = lappend(names, pstrdup(NameStr(attribute->attname)));
	}
	table_close(relation, NoLock);

	foreach (cell, names)
	{
		AlterTableCmd *command = makeNode(AlterTableCmd);
		command->subtype = AT_SetStatistics;
		command->name = static_cast<char *>(lfirst(cell));
		command->def = reinterpret_cast<Node *>(makeInteger(0));
		internal_alter_table(table, command, ShareUpdateExclusiveLock, recurse);
	}
}

Oid
change_table_leaf(Oid root, XLogRecPtr lsn, bool *created)
{
	if (created != nullptr)
		*created = false;

	if (!SearchSysCacheExists1(RELOID, ObjectIdGetDatum(root)))
		return InvalidOid;
	std::span<LeafRange> ranges = leaf_ranges(root);
	const LeafRange *range = range_find(ranges, lsn);
	if (range != nullptr && range_find(ranges, range->upper) != nullptr)
		return range->leaf;

	/*
	 * From here on one at a time: whoever waited finds what the other has made. For the next leaf
	 * alone nobody waits: a disable_table that is not committed may hold the root for long.
	 */
	if (range == nullptr)
		LockRelationOid(root, ShareUpdateExclusiveLock);
	else if (!ConditionalLockRelationOid(root, ShareUpdateExclusiveLock))
		return range->leaf;
	if (!SearchSysCacheExists1(RELOID, ObjectIdGetDatum(root)))
	{
		UnlockRelationOid(root, ShareUpdateExclusiveLock);
		return InvalidOid;
	}
	int32 instance_id = instance_id_of(root);
	if (instance_id == 0)
		return InvalidOid;

	Oid result = InvalidOid;
	XLogRecPtr wanted = lsn;
	for (int i = 0; i < 2; i++)
	{
		ranges = leaf_ranges(root);
		range = range_find(ranges, wanted);
		LeafRange fresh;
		if (range == nullptr)
		{
			fresh = range_for_new_leaf(ranges, wanted);
			fresh.leaf = leaf_create(root, instance_id, fresh);
			range = &fresh;
			if (created != nullptr)
				*created = true;
		}
		if (i == 0)
			result = range->leaf;
		wanted = range->upper;
	}
	return result;
}

bool
change_table_leaf_bounds(Oid leaf, XLogRecPtr *lower, XLogRecPtr *upper)
{
	HeapTuple tuple = SearchSysCache1(RELOID, ObjectIdGetDatum(leaf));
	if (!HeapTupleIsValid(tuple))
		return false;
	bool found = leaf_bounds_from_tuple(tuple, lower, upper);
	ReleaseSysCache(tuple);
	return found;
}

List *
change_table_leaves_below(Oid root, XLogRecPtr lsn)
{
	std::span<LeafRange> ranges = leaf_ranges(root);
	List *result = NIL;

	for (;;)
	{
		const LeafRange *oldest = nullptr;
		for (const LeafRange &range : ranges)
			if (range.upper <= lsn && !list_member_oid(result, range.leaf) &&
				(oldest == nullptr || range.lower < oldest->lower))
				oldest = &range;
		if (oldest == nullptr)
			return result;
		result = lappend_oid(result, oldest->leaf);
	}
}

Oid
change_table_leaf_around(Oid root, XLogRecPtr lsn)
{
	for (const LeafRange &range : leaf_ranges(root))
		if (range.lower < lsn && lsn < range.upper)
			return range.leaf;
	return InvalidOid;
}

void
change_table_leaf_drop(Oid root, Oid leaf)
{
	LockRelationOid(root, ShareUpdateExclusiveLock);
	/* Disabled and dropped since the list was made. */
	if (!SearchSysCacheExists1(RELOID, ObjectIdGetDatum(root)) ||
		!SearchSysCacheExists1(RELOID, ObjectIdGetDatum(leaf)) ||
		get_partition_parent(leaf, true) != root)
		return;

	/*
	 * A crash after the server's commit in the middle of this leaves a leaf that new queries do not see
	 * and that counts as detached except for what is left to do here: the next run comes by.
	 */
	CDC_FAULT("cleanup-detach");
	leaf_detach(root, leaf, PartitionHasPendingDetach(leaf));
	CDC_FAULT("cleanup-drop");

	/* The server's own commit took the snapshot along. */
	if (!ActiveSnapshotSet())
		PushActiveSnapshot(GetTransactionSnapshot());

	/* In the transaction that has completed the detaching, so that no leaf is ever left over without its table. */
	ObjectAddress address;
	ObjectAddressSet(address, RelationRelationId, leaf);
	performDeletion(&address, DROP_CASCADE,
					PERFORM_DELETION_INTERNAL | PERFORM_DELETION_QUIETLY |
						PERFORM_DELETION_SKIP_EXTENSIONS);
	CommandCounterIncrement();
	CDC_FAULT("cleanup-dropped");
}

void
change_table_drop(Oid root)
{
	LockRelationOid(root, AccessExclusiveLock);
	if (!SearchSysCacheExists1(RELOID, ObjectIdGetDatum(root)))
	{
		UnlockRelationOid(root, AccessExclusiveLock);
		return;
	}
	gaps_delete(root);
	/* What the writer has added to it after the session that disabled the instance had deleted it. */
	ScanKeyData key = scan_key(kDhObjectId, F_OIDEQ, ObjectIdGetDatum(root));
	rows_delete("ddl_history", "ddl_history_object_id_idx", {&key, 1});
	/* Parent before leaves, as every reader locks them. */
	(void)find_all_inheritors(root, AccessExclusiveLock, nullptr);

	ObjectAddress address;
	ObjectAddressSet(address, RelationRelationId, root);

	/*
	 * Table, leaves, view and functions are members of the extension, and dropping a member would
	 * mean dropping the extension: those dependencies are left out of account. CASCADE: a view that
	 * somebody made on a query function must not stop capture for ever.
	 */
	performDeletion(&address, DROP_CASCADE,
					PERFORM_DELETION_INTERNAL | PERFORM_DELETION_QUIETLY |
						PERFORM_DELETION_SKIP_EXTENSIONS);
	CommandCounterIncrement();
}

void
relation_clear_privileges(Oid relation)
{
	HeapTuple tuple = SearchSysCacheCopy1(RELOID, ObjectIdGetDatum(relation));
	bool isnull;

	if (!HeapTupleIsValid(tuple))
		elog(ERROR, "cache lookup failed for relation %u", relation);
	Datum acl = SysCacheGetAttr(RELOID, tuple, Anum_pg_class_relacl, &isnull);
	if (isnull)
		return;

	Oid *members;
	int nmembers = aclmembers(DatumGetAclP(acl), &members);
	Datum values[Natts_pg_class] = {};
	bool nulls[Natts_pg_class] = {};
	bool replaces[Natts_pg_class] = {};
	Relation pg_class = table_open(RelationRelationId, RowExclusiveLock);

	nulls[Anum_pg_class_relacl - 1] = true;
	replaces[Anum_pg_class_relacl - 1] = true;
	HeapTuple cleared =
		heap_modify_tuple(tuple, RelationGetDescr(pg_class), values, nulls, replaces);
	CatalogTupleUpdate(pg_class, &cleared->t_self, cleared);
	updateAclDependencies(RelationRelationId, relation, 0,
						  reinterpret_cast<Form_pg_class>(GETSTRUCT(tuple))->relowner, nmembers,
						  members, 0, nullptr);
	table_close(pg_class, RowExclusiveLock);
	CommandCounterIncrement();
}

static void
add_one_member(Oid class_id, Oid object_id)
{
	ObjectAddress member;
	ObjectAddress extension;

	if (!OidIsValid(object_id))
		return;
	ObjectAddressSet(member, class_id, object_id);
	ObjectAddressSet(extension, ExtensionRelationId, cdc_extension_oid());
	recordDependencyOn(&member, &extension, DEPENDENCY_EXTENSION);
	recordExtObjInitPriv(object_id, class_id);
}

void
extension_add_member(Oid class_id, Oid object_id)
{
	add_one_member(class_id, object_id);
	/* ALTER EXTENSION DROP refuses a member whose types are none where it takes them along. */
	if (!kMembersTakeTheirTypesAlong)
		return;
	Oid type = class_id == TypeRelationId ? object_id : InvalidOid;
	if (class_id == RelationRelationId)
	{
		type = get_rel_type_id(object_id);
		add_one_member(TypeRelationId, type);
	}
	if (OidIsValid(type))
		add_one_member(TypeRelationId, get_array_type(type));
}

} // namespace cdc::catalog
