/*
 * table_append.hpp
 *	  Appends ready-made heap tuples to one table and its indexes, below the executor.
 *
 * NOTES
 *	  No triggers, rules, constraints or row security are run: table_append_open refuses a table
 *	  that has been given any of them, because our workers run as superuser and must not run other
 *	  people's code. Leaves are only appended to (no free-space map), so their rows lie in capture
 *	  order; other tables take the room that cleanup has made.
 */
#pragma once

#include "cdc.hpp"

extern "C" {
#include "access/hio.h"
#include "nodes/execnodes.h"
}

namespace cdc::capture
{

/* Rows collected before they are written with one WAL record per page. */
constexpr int kAppendRows = 1000;

struct AppendIndex
{
	Relation relation;
	IndexInfo *info;
	bool is_brin;
};

/* What is known of the BRIN index of a table: first pages of ranges, InvalidBlockNumber when nothing is. */
struct SummarizedRanges
{
	BlockNumber newest;		/* the newest that has rows */
	BlockNumber summarized; /* the newest that is in the index */
};

constexpr SummarizedRanges kNothingSummarized = {InvalidBlockNumber, InvalidBlockNumber};

struct TableAppend
{
	Relation relation;
	int nindexes;
	AppendIndex *indexes;
	bool appends_only; /* has a BRIN index, which needs the order */
	BulkInsertState bulk;
	int nrows;
	Size bytes;
	HeapTupleData *tuples;	 /* headers of the rows collected */
	SummarizedRanges ranges; /* the caller may carry it over from an earlier transaction */
};

/*
 * Opens `relation_oid` for appending in the current transaction (ROW EXCLUSIVE); allocates in the
 * current context. Returns NULL when the relation does not exist. `nindexes` is how many
 * indexes it must have; `what` names it in errors, e.g. capture instance "hr_employee".
 */
TableAppend *table_append_open(Oid relation_oid, int nindexes, const char *what);

/* Adds a row. The tuple's memory must stay until the next flush; its header is written to. */
void table_append_row(TableAppend *append, HeapTupleHeader tuple, uint32 length);

/* Writes what was collected. */
void table_append_flush(TableAppend *append);

/* Flushes, releases pins and closes; locks stay until the transaction ends. */
void table_append_close(TableAppend *append);

} // namespace cdc::capture
