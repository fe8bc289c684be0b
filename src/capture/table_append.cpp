/*
 * table_append.cpp
 *	  Multi-insert into a heap and its indexes without the executor.
 *
 * NOTES
 *	  BRIN. A minmax summary needs the extremes of a page range only, and rows arrive in order
 *	  of __$start_lsn: it is enough to insert the first and the last row of each range of a flush.
 *	  Calling the index for every row cost a quarter of the total time.
 *	  When many rows come at once, a range is summarised as soon as its first rows are there (cheap: few
 *	  rows to scan), and later rows widen it. When they come one by one, widening would log the summary again
 *	  for each of them (55 bytes of WAL for a transaction of one row): then a range is summarised when it is
 *	  complete. Until then, and at the end of a leaf that is full, every reader of the leaf looks at its few pages.
 */
#include "cdc.hpp"

#include "base/fault.hpp"
#include "capture/table_append.hpp"
#include "catalog/catalog.hpp"
#include "catalog/change_table.hpp"

extern "C" {
#include "access/brin.h"
#include "catalog/index.h"
#include "catalog/partition.h"
#include "catalog/pg_am_d.h"
#include "executor/tuptable.h"
#include "storage/bufmgr.h"
#include "storage/lmgr.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
}

namespace cdc::capture
{

namespace
{

/* A flush of so many rows is one of many that follow each other. */
constexpr int kManyRows = 100;

/* One slot per row of a flush, shared by all tables: heap_multi_insert takes nothing else. */
TupleTableSlot **slots = nullptr;
TupleDesc no_columns = nullptr;

/* Copies that TOAST made of large rows, and the access methods' scratch: reset after each flush. */
MemoryContext flush_context = nullptr;

void
make_slots()
{
	MemoryContext old = MemoryContextSwitchTo(TopMemoryContext);
	no_columns = CreateTemplateTupleDesc(0);
	slots = static_cast<TupleTableSlot **>(palloc(sizeof(TupleTableSlot *) * kAppendRows));
	for (int i = 0; i < kAppendRows; i++)
		slots[i] = MakeSingleTupleTableSlot(no_columns, &TTSOpsHeapTuple);
	MemoryContextSwitchTo(old);
	flush_context = AllocSetContextCreate(TopMemoryContext, "cdc append", ALLOCSET_DEFAULT_SIZES);
}

/* What has happened to an index, and the command that undoes it. */
struct Decoration
{
	const char *what; /* NULL: nothing */
	const char *hint;
};

bool
is_brin(Oid index)
{
	HeapTuple tuple = SearchSysCache1(RELOID, ObjectIdGetDatum(index));
	if (!HeapTupleIsValid(tuple))
		return false;
	bool result = reinterpret_cast<Form_pg_class>(GETSTRUCT(tuple))->relam == BRIN_AM_OID;
	ReleaseSysCache(tuple);
	return result;
}

/* Whether it is no index of those that the table was made with: on plain columns, and of a leaf the one that readers use. */
bool
is_foreign_index(Oid index, bool is_leaf)
{
	HeapTuple tuple = SearchSysCache1(INDEXRELID, ObjectIdGetDatum(index));
	if (!HeapTupleIsValid(tuple))
		return false;
	auto *form = reinterpret_cast<Form_pg_index>(GETSTRUCT(tuple));
	bool foreign =
		!heap_attisnull(tuple, Anum_pg_index_indexprs, nullptr) ||
		!heap_attisnull(tuple, Anum_pg_index_indpred, nullptr) ||
		(is_leaf && (form->indnatts != 1 || form->indkey.values[0] != catalog::kChangeStartLsn ||
					 !is_brin(index)));
	ReleaseSysCache(tuple);
	return foreign;
}

/* What was put on the table that we would have to run, or that makes what we write something else. */
Decoration
decoration(Relation relation, int nindexes)
{
	constexpr const char *kUndo =
		"Undo the change; capture goes on by itself. Nothing is lost meanwhile.";
	auto found = [](const char *what) -> Decoration {
		return {what, kUndo};
	};
	bool is_leaf = relation->rd_rel->relispartition;

	if (relation->trigdesc != nullptr)
		return found("got a trigger");
	if (relation->rd_rules != nullptr)
		return found("got a rule");
	if (relation->rd_rel->relrowsecurity || relation->rd_rel->relforcerowsecurity)
		return found("got row-level security");
	TupleConstr *constraints = RelationGetDescr(relation)->constr;
	if (constraints != nullptr && (constraints->num_check > 0 || constraints->has_generated_stored))
		return found("got a constraint or a generated column");
	/* Readers and compiled code rely on it; the key of our own tables is what they have it for. */
	if (is_leaf && constraints != nullptr && constraints->has_not_null)
		return found("got a NOT NULL constraint");
	int indexes = list_length(RelationGetIndexList(relation));
	if (indexes > nindexes)
		return found("got an index");
	if (indexes < nindexes && !is_leaf)
		return found("lost an index");
	if (indexes < nindexes)
		return {"lost its index",
				psprintf(
					"CREATE INDEX ON %s USING brin (\"__$start_lsn\") WITH (pages_per_range = %d); "
					"capture goes on by itself. Nothing is lost meanwhile.",
					quote_qualified_identifier(get_namespace_name(RelationGetNamespace(relation)),
											   get_rel_name(
												   get_partition_parent(RelationGetRelid(relation),
																		true))),
					catalog::kPagesPerRange)};
	ListCell *cell;
	foreach (cell, RelationGetIndexList(relation))
		if (is_foreign_index(lfirst_oid(cell), is_leaf))
			return found("got an index in place of its own");
	if (relation->rd_rel->relam != HEAP_TABLE_AM_OID)
		return found("got another table access method");
	if (relation->rd_rel->relpersistence != RELPERSISTENCE_PERMANENT)
		return found("become unlogged");
	return {};
}

/* Index entries of one page range: its first and its last row. */
void
brin_insert_range(TableAppend *append, AppendIndex *index, int first, int last)
{
	int natts = IndexRelationGetNumberOfKeyAttributes(index->relation);
	Datum values[INDEX_MAX_KEYS];
	bool nulls[INDEX_MAX_KEYS];

	for (int row : {first, last})
	{
		HeapTuple tuple = &append->tuples[row];
		for (int i = 0; i < natts; i++)
			values[i] = heap_getattr(tuple, index->info->ii_IndexAttrNumbers[i],
									 RelationGetDescr(append->relation), &nulls[i]);
		index_insert(index->relation, values, nulls, &slots[row]->tts_tid, append->relation,
					 UNIQUE_CHECK_NO, false, index->info);
		if (first == last)
			break;
	}
}

/*
 * Puts a page range into the index. Skipped when somebody (VACUUM) has the table: a VACUUM does it then, as soon
 * as the range is complete.
 */
void
brin_summarize(TableAppend *append, AppendIndex *index, BlockNumber block)
{
	Oid table = RelationGetRelid(append->relation);
	if (!ConditionalLockRelationOid(table, ShareUpdateExclusiveLock))
		return;
	DirectFunctionCall2(brin_summarize_range, ObjectIdGetDatum(RelationGetRelid(index->relation)),
						Int64GetDatum(block));
}

void
insert_brin(TableAppend *append, AppendIndex *index)
{
	BlockNumber pages_per_range = BrinGetPagesPerRange(index->relation);
	SummarizedRanges *ranges = &append->ranges;
	auto is_after = [](BlockNumber start, BlockNumber known) {
		return known == InvalidBlockNumber || start > known;
	};
	int first = 0;

	while (first < append->nrows)
	{
		BlockNumber range = ItemPointerGetBlockNumber(&slots[first]->tts_tid) / pages_per_range;
		int last = first;
		while (last + 1 < append->nrows &&
			   ItemPointerGetBlockNumber(&slots[last + 1]->tts_tid) / pages_per_range == range)
			last++;
		/* Changes nothing while the range is not in the index; somebody else may have put it there. */
		brin_insert_range(append, index, first, last);
		BlockNumber start = range * pages_per_range;
		if (is_after(start, ranges->newest))
		{
			if (start > 0 && is_after(start - pages_per_range, ranges->summarized))
			{
				brin_summarize(append, index, start - pages_per_range);
				ranges->summarized = start - pages_per_range;
			}
			ranges->newest = start;
		}
		if (append->nrows >= kManyRows && is_after(start, ranges->summarized))
		{
			brin_summarize(append, index, start);
			ranges->summarized = start;
		}
		first = last + 1;
	}
}

void
insert_btree(TableAppend *append, AppendIndex *index)
{
	int natts = IndexRelationGetNumberOfKeyAttributes(index->relation);
	IndexUniqueCheck check =
		index->relation->rd_index->indisunique ? UNIQUE_CHECK_YES : UNIQUE_CHECK_NO;
	Datum values[INDEX_MAX_KEYS];
	bool nulls[INDEX_MAX_KEYS];

	for (int row = 0; row < append->nrows; row++)
	{
		for (int i = 0; i < natts; i++)
			values[i] = heap_getattr(&append->tuples[row], index->info->ii_IndexAttrNumbers[i],
									 RelationGetDescr(append->relation), &nulls[i]);
		index_insert(index->relation, values, nulls, &slots[row]->tts_tid, append->relation, check,
					 false, index->info);
	}
}

} // namespace

TableAppend *
table_append_open(Oid relation_oid, int nindexes, const char *what)
{
	Relation relation = try_table_open(relation_oid, RowExclusiveLock);
	if (relation == nullptr)
		return nullptr;
	if (slots == nullptr)
		make_slots();

	const Decoration found = decoration(relation, nindexes);
	if (found.what != nullptr)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("table \"%s.%s\" of %s has been changed",
						get_namespace_name(RelationGetNamespace(relation)),
						RelationGetRelationName(relation), what),
				 errdetail(
					 "It has %s; the capture worker runs as superuser and runs nobody else's code.",
					 found.what),
				 errhint("%s", found.hint)));

	TableAppend *append = static_cast<TableAppend *>(palloc0(sizeof(TableAppend)));
	append->relation = relation;
	append->ranges = kNothingSummarized;
	append->tuples = static_cast<HeapTupleData *>(palloc(sizeof(HeapTupleData) * kAppendRows));
	append->indexes = static_cast<AppendIndex *>(palloc0(sizeof(AppendIndex) * Max(nindexes, 1)));
	ListCell *cell;
	foreach (cell, RelationGetIndexList(relation))
	{
		AppendIndex *index = &append->indexes[append->nindexes++];
		index->relation = index_open(lfirst_oid(cell), RowExclusiveLock);
		index->info = BuildIndexInfo(index->relation);
		index->is_brin = index->relation->rd_rel->relam == BRIN_AM_OID;
		append->appends_only = append->appends_only || index->is_brin;
	}

	/*
	 * Keeps the current page pinned between flushes. Not the ring of buffers that COPY uses:
	 * each re-use of a ring buffer waits for WAL to be flushed, and fresh changes are read soon.
	 */
	append->bulk = GetBulkInsertState();
	FreeAccessStrategy(append->bulk->strategy);
	append->bulk->strategy = nullptr;
	return append;
}

void
table_append_row(TableAppend *append, HeapTupleHeader tuple, uint32 length)
{
	if (append->nrows == kAppendRows)
		table_append_flush(append);
	HeapTuple row = &append->tuples[append->nrows++];
	row->t_len = length;
	row->t_data = tuple;
	row->t_tableOid = RelationGetRelid(append->relation);
	ItemPointerSetInvalid(&row->t_self);
	append->bytes += length;
}

void
table_append_flush(TableAppend *append)
{
	if (append->nrows == 0)
		return;
	MemoryContext caller = MemoryContextSwitchTo(flush_context);

	/*
	 * The slots only point at the rows. The flag says "already materialised", which keeps
	 * heap_multi_insert from copying each row; it must be gone before a slot is cleared, because
	 * the memory is not the slot's to free.
	 */
	TupleDesc descriptor = RelationGetDescr(append->relation);
	for (int i = 0; i < append->nrows; i++)
	{
		/* Never deformed, so the slot needs no room for values; only checks look at it. */
		slots[i]->tts_tupleDescriptor = descriptor;
		ExecStoreHeapTuple(&append->tuples[i], slots[i], false);
		slots[i]->tts_flags |= TTS_FLAG_SHOULDFREE;
	}
	heap_multi_insert(append->relation, slots, append->nrows, GetCurrentCommandId(true),
					  append->appends_only ? HEAP_INSERT_SKIP_FSM : 0, append->bulk);
	for (int i = 0; i < append->nrows; i++)
		slots[i]->tts_flags &= ~TTS_FLAG_SHOULDFREE;
	CDC_FAULT("writer-multi-insert");

	for (int i = 0; i < append->nindexes; i++)
	{
		if (append->indexes[i].is_brin)
			insert_brin(append, &append->indexes[i]);
		else
			insert_btree(append, &append->indexes[i]);
	}
	for (int i = 0; i < append->nrows; i++)
	{
		ExecClearTuple(slots[i]);
		slots[i]->tts_tupleDescriptor = no_columns;
	}
	append->nrows = 0;
	MemoryContextSwitchTo(caller);
	MemoryContextReset(flush_context);
}

void
table_append_close(TableAppend *append)
{
	table_append_flush(append);
	FreeBulkInsertState(append->bulk);
	for (int i = 0; i < append->nindexes; i++)
	{
		CDC_INDEX_INSERT_CLEANUP(append->indexes[i].relation, append->indexes[i].info);
		index_close(append->indexes[i].relation, NoLock);
	}
	table_close(append->relation, NoLock);
}

} // namespace cdc::capture
