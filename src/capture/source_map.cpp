/*
 * source_map.cpp
 *	  Relation -> capture instances, as of the WAL position being decoded.
 */
#include "cdc.hpp"

#include "base/scope.hpp"
#include "capture/source_map.hpp"
#include "capture/source_watch.hpp"
#include "capture/update_mask.hpp"
#include "catalog/source_table.hpp"

extern "C" {
#include "access/htup_details.h"
#include "access/sysattr.h"
#include "catalog/partition.h"
#include "catalog/pg_class.h"
#include "catalog/pg_inherits.h"
#include "utils/hsearch.h"
#include "utils/inval.h"
#include "utils/relcache.h"
#include "utils/snapmgr.h"
}

namespace cdc::capture
{

namespace
{

/* Relations that are not captured and may be remembered beside those that are. */
constexpr long kUntrackedKept = 4096;
/* Entries of tables that are not as they were: many are of tables that were dropped. */
constexpr int kStaleKept = 128;

HTAB *sources = nullptr;
long trim_at = kUntrackedKept;
int nstale = 0;
MemoryContext map_context = nullptr;

/* Layout numbers: the highest given, and those given back. */
uint32 last_layout = 0;
List *free_layouts = NIL;

void
make_stale(Source *source)
{
	if (source->valid)
		nstale++;
	source->valid = false;
}

void
invalidate_source(Datum, Oid relid)
{
	if (sources == nullptr)
		return;
	source_watch_note(relid);
	if (OidIsValid(relid))
	{
		Source *source = static_cast<Source *>(hash_search(sources, &relid, HASH_FIND, nullptr));
		if (source != nullptr)
			make_stale(source);
		return;
	}
	HASH_SEQ_STATUS scan;
	hash_seq_init(&scan, sources);
	while (Source *source = static_cast<Source *>(hash_seq_search(&scan)))
		make_stale(source);
}

/*
 * Somebody has damaged what decoding needs. To take the tables for not captured would lose their changes without a
 * word; and what was changed meanwhile cannot be read any more, also when the damage is undone.
 */
[[noreturn]] void
error_damaged(const char *message, const char *detail)
{
	ereport(ERROR,
			(errcode(ERRCODE_DATA_CORRUPTED), errmsg("%s", message), errdetail("%s", detail),
			 errhint("Undo the damage, or disable the capture instances that it concerns with "
					 "cdc.sp_cdc_disable_table. Then CALL cdc.discard_kept_wal(true): what was "
					 "changed meanwhile is a gap.")));
	pg_unreachable();
}

/* The schema of our tables; InvalidOid: the extension was not there. */
Oid
historic_schema()
{
	Oid schema = get_namespace_oid(catalog::kSchema, true);

	if (!OidIsValid(schema) && OidIsValid(catalog::cdc_extension_oid()))
		error_damaged(
			"schema \"cdc\" of change data capture is missing at this position of the log",
			"It has been renamed by hand.");
	return OidIsValid(schema) && OidIsValid(catalog::cdc_extension_oid()) ? schema : InvalidOid;
}

Oid
historic_relation(Oid schema, const char *name)
{
	Oid relation = get_relname_relid(name, schema);

	if (!OidIsValid(relation))
		error_damaged(
			psprintf("\"%s\" of change data capture is missing at this position of the log", name),
			"It has been dropped or renamed by hand.");
	return relation;
}

/* Attribute of `relation` that is column `root_attnum` of `root`: a leaf may number them otherwise. */
AttrNumber
leaf_attribute(Relation relation, Relation root, AttrNumber root_attnum)
{
	TupleDesc root_descriptor = RelationGetDescr(root);
	if (root_attnum > root_descriptor->natts)
		return 0;
	Form_pg_attribute wanted = TupleDescAttr(root_descriptor, root_attnum - 1);
	if (wanted->attisdropped)
		return 0;
	if (RelationGetRelid(relation) == RelationGetRelid(root))
		return root_attnum;

	TupleDesc descriptor = RelationGetDescr(relation);
	for (int i = 0; i < descriptor->natts; i++)
	{
		Form_pg_attribute attribute = TupleDescAttr(descriptor, i);
		if (!attribute->attisdropped &&
			strcmp(NameStr(attribute->attname), NameStr(wanted->attname)) == 0)
			return attribute->attnum;
	}
	return 0;
}

/*
 * Whether the file of an index as of this WAL position is still the index. REINDEX and VACUUM FULL give it another: the
 * server finds tables that are read while decoding by their file of today, their indexes by that of then.
 * With the lock that index_open takes, it stays what it is until the end of the scan.
 */
bool
index_has_its_file(Relation index)
{
	Relation pg_class = table_open(RelationRelationId, AccessShareLock);
	Snapshot now = RegisterSnapshot(GetNonHistoricCatalogSnapshot(RelationRelationId));
	ScanKeyData key;
	ScanKeyInit(&key, Anum_pg_class_oid, BTEqualStrategyNumber, F_OIDEQ,
				ObjectIdGetDatum(RelationGetRelid(index)));
	SysScanDesc scan = systable_beginscan(pg_class, ClassOidIndexId, true, now, 1, &key);
	HeapTuple tuple = systable_getnext(scan);
	bool same = false;
	if (HeapTupleIsValid(tuple))
	{
		auto *form = reinterpret_cast<Form_pg_class>(GETSTRUCT(tuple));
		same = form->relfilenode == index->rd_rel->relfilenode &&
			   form->reltablespace == index->rd_rel->reltablespace;
	}
	systable_endscan(scan);
	UnregisterSnapshot(now);
	table_close(pg_class, AccessShareLock);
	return same;
}

/* One of our catalog tables, which decoding can only read as it was when it is declared so. */
Relation
open_catalog(Oid schema, const char *name)
{
	Relation table = table_open(historic_relation(schema, name), AccessShareLock);

	if (!RelationIsUsedAsCatalogTable(table))
		error_damaged(psprintf("table \"cdc.%s\" cannot be read while decoding", name),
					  psprintf("It has lost its option user_catalog_table; ALTER TABLE cdc.%s SET "
							   "(user_catalog_table = true) puts it back.",
							   name));
	return table;
}

/* Calls visit(tuple, descriptor) for rows of a catalog table whose column `attnum` is `value`. */
template <typename Visit>
void
scan_catalog(Oid schema, const char *table_name, const char *index_name, AttrNumber attnum,
			 Oid value, Visit visit)
{
	Relation table = open_catalog(schema, table_name);
	ScanKeyData key;
	ScanKeyInit(&key, attnum, BTEqualStrategyNumber, F_OIDEQ, ObjectIdGetDatum(value));
	/* One that somebody has renamed is done without. */
	Oid index_oid = get_relname_relid(index_name, schema);
	Relation index = OidIsValid(index_oid) ? index_open(index_oid, AccessShareLock) : nullptr;
	SysScanDesc scan =
		systable_beginscan(table, index_oid, index != nullptr && index_has_its_file(index), nullptr,
						   1, &key);
	while (HeapTuple tuple = systable_getnext(scan))
		visit(tuple, RelationGetDescr(table));
	systable_endscan(scan);
	if (index != nullptr)
		index_close(index, AccessShareLock);
	table_close(table, AccessShareLock);
}

template <typename T>
T
catalog_value(HeapTuple tuple, TupleDesc descriptor, AttrNumber attnum)
{
	bool isnull;
	Datum value = heap_getattr(tuple, attnum, descriptor, &isnull);
	if (isnull)
		error_damaged("a catalog table of change data capture has been changed by hand",
					  psprintf("Column \"%s\" of a row is null.",
							   NameStr(TupleDescAttr(descriptor, attnum - 1)->attname)));
	if constexpr (std::is_same_v<T, Oid>)
		return DatumGetObjectId(value);
	else if constexpr (std::is_same_v<T, int32>)
		return DatumGetInt32(value);
	else if constexpr (std::is_same_v<T, bool>)
		return DatumGetBool(value);
	else
		return reinterpret_cast<T>(DatumGetPointer(value));
}

/*
 * Rows that were deleted or changed by hand would give rows with values missing, or in the wrong columns.
 * The change table itself knows how many columns are captured: __$command_id comes right after the last.
 */
void
check_columns(const Target *target, const char *instance, Relation root, const AttrNumber *columns)
{
	const char *last =
		get_attname(target->change_table, target->ncolumns + catalog::kChangeMetadataColumns, true);
	const char *wrong = nullptr;

	if (last == nullptr || strcmp(last, "__$command_id") != 0)
		wrong = "There are not as many captured columns as in its change table.";
	for (int i = 0; i < target->ncolumns; i++)
		if (columns[i] < 1 || columns[i] > RelationGetNumberOfAttributes(root))
			wrong =
				psprintf("Captured column %d is attribute %d of the source, which there is not.",
						 i + 1, columns[i]);
	/* A change table that is gone is the writer's to tell. */
	if (wrong != nullptr && SearchSysCacheExists1(RELOID, ObjectIdGetDatum(target->change_table)))
		error_damaged(psprintf("metadata of capture instance \"%s\" has been changed by hand",
							   instance),
					  wrong);
}

/*
 * Columns that are captured all and in their order lie in a change row as in the source row, if they begin where nothing is
 * aligned otherwise. What is in front of them: two LSNs, the operation, the mask as a short varlena (__$end_lsn is NULL).
 */
Size
data_offset(const Target *target, TupleDesc source)
{
	Size metadata = 2 * sizeof(XLogRecPtr) + sizeof(int32) + VARHDRSZ_SHORT + target->mask_bytes;

	if (target->ncolumns == 0 || target->ncolumns != source->natts ||
		VARHDRSZ_SHORT + target->mask_bytes > VARATT_SHORT_MAX)
		return 0;
	for (int i = 0; i < target->ncolumns; i++)
		if (target->source[i] != i + 1)
			return 0;
	Size offset = att_align_nominal(metadata, TupleDescAttr(source, 0)->attalign);
	return offset == MAXALIGN(offset) ? offset : 0;
}

/* Columns, row identifier and row descriptor of one instance. */
void
load_target(Target *target, const char *instance, bool has_key, Relation relation, Relation root,
			Oid schema)
{
	constexpr int kMaxColumns = MaxHeapAttributeNumber;
	AttrNumber *columns =
		static_cast<AttrNumber *>(palloc0(sizeof(AttrNumber) * (kMaxColumns + 1)));

	scan_catalog(schema, "captured_columns", "captured_columns_pkey", catalog::kCcObjectId,
				 target->change_table, [&](HeapTuple tuple, TupleDesc descriptor) {
					 int32 ordinal =
						 catalog_value<int32>(tuple, descriptor, catalog::kCcColumnOrdinal);
					 if (ordinal < 1 || ordinal > kMaxColumns)
						 error_damaged(psprintf("metadata of capture instance \"%s\" has been "
												"changed by hand",
												instance),
									   psprintf("A column has ordinal %d.", ordinal));
					 columns[ordinal - 1] =
						 catalog_value<int32>(tuple, descriptor, catalog::kCcColumnId);
					 target->ncolumns = Max(target->ncolumns, ordinal);
				 });
	check_columns(target, instance, root, columns);
	target->source = static_cast<AttrNumber *>(palloc0(sizeof(AttrNumber) * target->ncolumns));
	for (int i = 0; i < target->ncolumns; i++)
		target->source[i] = leaf_attribute(relation, root, columns[i]);
	pfree(columns);

	target->keys = static_cast<AttrNumber *>(palloc0(sizeof(AttrNumber) * INDEX_MAX_KEYS));
	scan_catalog(schema, "index_columns", "index_columns_pkey", catalog::kIcObjectId,
				 target->change_table, [&](HeapTuple tuple, TupleDesc descriptor) {
					 if (target->nkeys < INDEX_MAX_KEYS)
						 target->keys[target->nkeys++] =
							 leaf_attribute(relation, root,
											catalog_value<int32>(tuple, descriptor,
																 catalog::kIcColumnId));
				 });

	if (has_key != (target->nkeys > 0))
		error_damaged(psprintf("metadata of capture instance \"%s\" has been changed by hand",
							   instance),
					  has_key ? "The columns of its row identifier are missing."
							  : "It has got columns of a row identifier.");

	/* Only asked where the log may lack the old row; FULL has no identity index. */
	target->key_in_identity = target->nkeys > 0;
	Bitmapset *identity = RelationGetIdentityKeyBitmap(relation);
	for (int i = 0; i < target->nkeys; i++)
		target->key_in_identity =
			target->key_in_identity && target->keys[i] > 0 &&
			bms_is_member(target->keys[i] - FirstLowInvalidHeapAttributeNumber, identity);

	/* Physical shape of a change row: kChangeLeadingColumns, captured columns, __$command_id. */
	target->natts = target->ncolumns + catalog::kChangeMetadataColumns;
	TupleDesc descriptor = CreateTemplateTupleDesc(target->natts);
	TupleDescInitEntry(descriptor, catalog::kChangeStartLsn, nullptr, PG_LSNOID, -1, 0);
	TupleDescInitEntry(descriptor, catalog::kChangeEndLsn, nullptr, PG_LSNOID, -1, 0);
	TupleDescInitEntry(descriptor, catalog::kChangeSeqval, nullptr, PG_LSNOID, -1, 0);
	TupleDescInitEntry(descriptor, catalog::kChangeOperation, nullptr, INT4OID, -1, 0);
	TupleDescInitEntry(descriptor, catalog::kChangeUpdateMask, nullptr, BYTEAOID, -1, 0);
	for (int i = 0; i < target->ncolumns; i++)
	{
		AttrNumber attnum = catalog::kChangeLeadingColumns + i + 1;
		if (target->source[i] == 0)
		{
			/* Always NULL; the type does not matter, and the writer does not compare it. */
			TupleDescInitEntry(descriptor, attnum, nullptr, INT4OID, -1, 0);
			continue;
		}
		Form_pg_attribute attribute =
			TupleDescAttr(RelationGetDescr(relation), target->source[i] - 1);
		int32 typmod = attribute->atttypmod;
		Oid type = getBaseTypeAndTypmod(attribute->atttypid, &typmod);
		TupleDescInitEntry(descriptor, attnum, nullptr, type, typmod, 0);
		TupleDescInitEntryCollation(descriptor, attnum, attribute->attcollation);
	}
	TupleDescInitEntry(descriptor, target->natts, nullptr, INT4OID, -1, 0);
	target->descriptor = descriptor;

	target->mask_bytes = update_mask_bytes(target->ncolumns);
	target->mask_all = static_cast<char *>(palloc0(VARHDRSZ + target->mask_bytes));
	SET_VARSIZE(target->mask_all, VARHDRSZ + target->mask_bytes);
	update_mask_all(reinterpret_cast<uint8 *>(VARDATA(target->mask_all)), target->ncolumns);
	target->mask = static_cast<char *>(palloc0(VARHDRSZ + target->mask_bytes));
	SET_VARSIZE(target->mask, VARHDRSZ + target->mask_bytes);
	target->data_offset = data_offset(target, RelationGetDescr(relation));
}

/* Instances whose source is `source_oid`: the relation itself or one of its partition ancestors. */
void
add_targets(Source *source, Relation relation, Oid source_oid, Oid schema)
{
	constexpr int kMaxTargets = 16;
	Target found[kMaxTargets];
	NameData names[kMaxTargets];
	bool has_key[kMaxTargets];
	int nfound = 0;

	memset(found, 0, sizeof(found));
	scan_catalog(schema, "change_tables", "change_tables_source_object_id_idx",
				 catalog::kCtSourceObjectId, source_oid,
				 [&](HeapTuple tuple, TupleDesc descriptor) {
					 /* Its source was dropped: the oid is another table's now. */
					 if (catalog_value<bool>(tuple, descriptor, catalog::kCtHasDropPending))
						 return;
					 if (nfound == kMaxTargets)
						 elog(ERROR, "more than %d capture instances for one table", kMaxTargets);
					 names[nfound] =
						 *catalog_value<NameData *>(tuple, descriptor, catalog::kCtCaptureInstance);
					 has_key[nfound] = !heap_attisnull(tuple, catalog::kCtIndexName, descriptor);
					 Target &target = found[nfound++];
					 target.root = source_oid;
					 target.instance_id =
						 catalog_value<int32>(tuple, descriptor, catalog::kCtInstanceId);
					 target.change_table =
						 catalog_value<Oid>(tuple, descriptor, catalog::kCtObjectId);
					 target.before_full =
						 strcmp(catalog_value<char *>(tuple, descriptor, catalog::kCtBeforeImage),
								"full") == 0;
				 });
	if (nfound == 0)
		return;

	Relation root = RelationIdGetRelation(source_oid);
	if (!RelationIsValid(root))
		elog(ERROR, "could not open captured table %u as of this WAL position", source_oid);
	for (int i = 0; i < nfound; i++)
		load_target(&found[i], NameStr(names[i]), has_key[i], relation, root, schema);
	RelationClose(root);

	Size old_size = sizeof(Target) * source->ntargets;
	Target *targets = static_cast<Target *>(palloc(old_size + sizeof(Target) * nfound));
	if (old_size > 0)
		memcpy(static_cast<void *>(targets), source->targets, old_size);
	memcpy(static_cast<void *>(targets + source->ntargets), found, sizeof(Target) * nfound);
	source->targets = targets;
	source->ntargets += nfound;
}

/* The layout numbers of an entry that is built anew or forgotten can be given again. */
void
give_layouts_back(const Source *source)
{
	in_context(map_context, [&] {
		for (int i = 0; i < source->ntargets; i++)
			if (source->targets[i].layout != 0)
				free_layouts = lappend_int(free_layouts, source->targets[i].layout);
	});
}

void
build_source(Source *source, Relation relation)
{
	give_layouts_back(source);
	source->kind = SourceKind::Untracked;
	source->ntargets = 0;
	source->targets = nullptr;
	if (source->context != nullptr)
		MemoryContextReset(source->context);

	Oid schema = historic_schema();
	if (!OidIsValid(schema))
		return;

	/* Other tables of ours have no instance; one that somebody has moved here may have. */
	if (RelationGetNamespace(relation) == schema &&
		strcmp(RelationGetRelationName(relation), "_ddl_queue") == 0)
	{
		source->kind = SourceKind::DdlQueue;
		return;
	}

	if (source->context == nullptr)
		source->context =
			AllocSetContextCreate(map_context, "cdc source map entry", ALLOCSET_SMALL_SIZES);
	in_context(source->context, [&] {
		add_targets(source, relation, RelationGetRelid(relation), schema);
		if (relation->rd_rel->relispartition)
		{
			ListCell *cell;
			foreach (cell, get_partition_ancestors(RelationGetRelid(relation)))
				add_targets(source, relation, lfirst_oid(cell), schema);
		}
	});
	if (source->ntargets > 0)
		source->kind = SourceKind::Tracked;
	else
	{
		MemoryContextDelete(source->context);
		source->context = nullptr;
	}
}

} // namespace

void
source_map_init(MemoryContext parent)
{
	map_context = AllocSetContextCreate(parent, "cdc source map", ALLOCSET_DEFAULT_SIZES);
	HASHCTL control;
	memset(&control, 0, sizeof(control));
	control.keysize = sizeof(Oid);
	control.entrysize = sizeof(Source);
	control.hcxt = map_context;
	sources = hash_create("cdc source map", 256, &control, HASH_ELEM | HASH_BLOBS | HASH_CONTEXT);
	CacheRegisterRelcacheCallback(invalidate_source, 0);
}

uint32
source_map_new_layout()
{
	if (free_layouts == NIL)
		return ++last_layout;
	uint32 number = llast_int(free_layouts);
	free_layouts = list_delete_last(free_layouts);
	return number;
}

void
source_map_trim()
{
	bool is_full = hash_get_num_entries(sources) > trim_at;

	if (likely(!is_full && nstale <= kStaleKept))
		return;
	HASH_SEQ_STATUS scan;
	hash_seq_init(&scan, sources);
	while (Source *source = static_cast<Source *>(hash_seq_search(&scan)))
	{
		if (source->valid && (source->kind != SourceKind::Untracked || !is_full))
			continue;
		give_layouts_back(source);
		if (source->context != nullptr)
			MemoryContextDelete(source->context);
		(void)hash_search(sources, &source->relid, HASH_REMOVE, nullptr);
	}
	nstale = 0;
	if (is_full)
		trim_at = hash_get_num_entries(sources) + kUntrackedKept;
}

List *
source_map_captured()
{
	List *relations = NIL;
	Oid schema = historic_schema();

	if (!OidIsValid(schema))
		return NIL;
	Relation table = open_catalog(schema, "change_tables");
	SysScanDesc scan = systable_beginscan(table, InvalidOid, false, nullptr, 0, nullptr);
	while (HeapTuple tuple = systable_getnext(scan))
	{
		/* A dropped source may have kept its instance; with event triggers off nobody marked it. */
		Oid source = catalog_value<Oid>(tuple, RelationGetDescr(table), catalog::kCtSourceObjectId);
		if (!catalog_value<bool>(tuple, RelationGetDescr(table), catalog::kCtHasDropPending) &&
			SearchSysCacheExists1(RELOID, ObjectIdGetDatum(source)))
			relations = list_append_unique_oid(relations, source);
	}
	systable_endscan(scan);
	table_close(table, AccessShareLock);

	List *result = NIL;
	ListCell *cell;
	foreach (cell, relations)
		result = list_concat(result, catalog::inheritance_tree(lfirst_oid(cell)));
	return result;
}

Source *
source_map_lookup(Relation relation)
{
	Oid relid = RelationGetRelid(relation);
	bool found;
	Source *source = static_cast<Source *>(hash_search(sources, &relid, HASH_ENTER, &found));

	if (!found)
	{
		source->valid = false;
		source->context = nullptr;
		source->ntargets = 0;
	}
	if (unlikely(!source->valid))
	{
		/*
		 * Valid first: an invalidation that arrives while the catalog is read must win. An error
		 * ends the process, so a half-built entry is never used.
		 */
		source->valid = true;
		build_source(source, relation);
	}
	return source;
}

} // namespace cdc::capture
