/*
 * net_aggregate.cpp
 *	  The aggregate behind the net-changes functions: first and last change of one row identifier.
 *
 * NOTES
 *	  cdc._net_change(row_type, start_lsn, command_id, operation, update_mask, columns...) yields, for the
 *	  change rows of one key in any order, one row of type row_type: "__$start_lsn",
 *	  "__$operation", "__$update_mask", columns. The operation is NULL when the key was inserted
 *	  and deleted again: no net change.
 *
 *	  Why not window functions: one pass, no sort, and hash aggregation that spills under work_mem. The
 *	  state is in the aggregate's own context, so it is counted there.
 *
 *	  Why columns one by one and not as a row value: making a row value fetches every out-of-line
 *	  column of every change row. Here they stay pointers (the query's snapshot and locks protect
 *	  what they point to), and only the rows that come out are ever fetched. A call can have
 *	  100 arguments at most; wider rows are passed as one ROW(...) after all.
 *
 *	  Why an expanded record comes out: the query takes it apart column by column, which costs the square
 *	  of the number of columns with a flat row and is linear with this. One record per call site is
 *	  used again for each group: like any by-reference result of an aggregate it is valid until the next group.
 */
#include "cdc.hpp"

#include "capture/update_mask.hpp"
#include "query/net_changes.hpp"

extern "C" {
#include "utils/expandedrecord.h"
#include "utils/typcache.h"
}

namespace cdc::query
{

namespace
{

/* Arguments of the transition function. */
constexpr int kArgState = 0;
constexpr int kArgRowType = 1;
constexpr int kArgStartLsn = 2;
constexpr int kArgCommandId = 3;
constexpr int kArgOperation = 4;
constexpr int kArgUpdateMask = 5;
constexpr int kArgColumns = 6;

/* Columns of the result in front of the captured ones. */
constexpr int kRowStartLsn = 1;
constexpr int kRowOperation = 2;
constexpr int kRowUpdateMask = 3;

constexpr int32 kDelete = 1;
constexpr int32 kInsert = 2;
constexpr int32 kUpdateBefore = 3;
constexpr int32 kUpdate = 4;

/*
 * Orders the changes of one key. The operation decides between the two rows of one change: a key that
 * is updated to an equal one (1.0 to 1.00) is deleted before it is inserted.
 */
struct ChangePosition
{
	XLogRecPtr start_lsn;
	int32 command_id;
	int32 operation;
};

constexpr bool
comes_before(const ChangePosition &a, const ChangePosition &b)
{
	if (a.start_lsn != b.start_lsn)
		return a.start_lsn < b.start_lsn;
	if (a.command_id != b.command_id)
		return a.command_id < b.command_id;
	return a.operation < b.operation;
}

struct TransitionSite;

struct NetState
{
	const TransitionSite *site; /* knows the form of `row` */
	ChangePosition first;
	ChangePosition last;
	HeapTupleHeader row; /* of the last change, in the form of the result */
	uint32 row_length;
	uint32 row_capacity;
	bytea *mask; /* OR of all masks; NULL while none was given */
};

/* Of one transition call site. */
struct TransitionSite
{
	TupleDesc result; /* of row_type */
	bool one_row;	  /* the columns come as one ROW(...) */
	Datum *values;
	bool *nulls;
};

/* Of one final call site. */
struct FinalSite
{
	ExpandedRecordHeader *record;
	HeapTupleData tuple; /* what the record points to */
};

[[noreturn]] void
error_row_type(FunctionCallInfo fcinfo)
{
	ereport(ERROR,
			(errcode(ERRCODE_DATATYPE_MISMATCH),
			 errmsg("the columns do not match the row type %s",
					format_type_be(get_fn_expr_argtype(fcinfo->flinfo, kArgRowType))),
			 errdetail("The row type must be (pg_lsn, integer, bytea) followed by the types of "
					   "the %d columns given.",
					   PG_NARGS() - kArgColumns),
			 errhint("This aggregate serves the query functions of cdc: call "
					 "cdc.fn_cdc_get_net_changes_<capture_instance>.")));
	pg_unreachable();
}

void
require_attribute(FunctionCallInfo fcinfo, TupleDesc descriptor, int number, Oid type)
{
	Form_pg_attribute attribute = TupleDescAttr(descriptor, number - 1);

	if (attribute->attisdropped || attribute->atttypid != type)
		error_row_type(fcinfo);
}

/* Anybody may call the aggregate, with anything: what is read as a type must be of that type. */
TransitionSite *
transition_site(FunctionCallInfo fcinfo)
{
	if (fcinfo->flinfo->fn_extra != nullptr)
		return static_cast<TransitionSite *>(fcinfo->flinfo->fn_extra);

	Oid row_type = get_fn_expr_argtype(fcinfo->flinfo, kArgRowType);
	TupleDesc shared =
		OidIsValid(row_type) ? lookup_rowtype_tupdesc_noerror(row_type, -1, true) : nullptr;
	if (shared == nullptr)
		error_row_type(fcinfo);

	MemoryContext old = MemoryContextSwitchTo(fcinfo->flinfo->fn_mcxt);
	auto *site = static_cast<TransitionSite *>(palloc0(sizeof(TransitionSite)));
	site->result = CreateTupleDescCopy(shared);
	ReleaseTupleDesc(shared);
	site->values = static_cast<Datum *>(palloc0(sizeof(Datum) * site->result->natts));
	site->nulls = static_cast<bool *>(palloc0(sizeof(bool) * site->result->natts));
	MemoryContextSwitchTo(old);

	int ncolumns = PG_NARGS() - kArgColumns;
	if (site->result->natts < kNetLeadingColumns)
		error_row_type(fcinfo);
	require_attribute(fcinfo, site->result, kRowStartLsn, PG_LSNOID);
	require_attribute(fcinfo, site->result, kRowOperation, INT4OID);
	require_attribute(fcinfo, site->result, kRowUpdateMask, BYTEAOID);

	site->one_row = ncolumns == 1 && get_fn_expr_argtype(fcinfo->flinfo, kArgColumns) == RECORDOID;
	if (!site->one_row)
	{
		if (site->result->natts != kNetLeadingColumns + ncolumns)
			error_row_type(fcinfo);
		for (int i = 0; i < ncolumns; i++)
			require_attribute(fcinfo, site->result, kNetLeadingColumns + 1 + i,
							  get_fn_expr_argtype(fcinfo->flinfo, kArgColumns + i));
	}
	fcinfo->flinfo->fn_extra = site;
	return site;
}

/* Takes a ROW(...) apart into the site's values. */
void
columns_from_row(FunctionCallInfo fcinfo, TransitionSite *site)
{
	if (PG_ARGISNULL(kArgColumns))
		error_row_type(fcinfo);

	HeapTupleHeader header = PG_GETARG_HEAPTUPLEHEADER(kArgColumns);
	TupleDesc descriptor =
		lookup_rowtype_tupdesc(HeapTupleHeaderGetTypeId(header), HeapTupleHeaderGetTypMod(header));
	HeapTupleData tuple = {};

	if (descriptor->natts != site->result->natts - kNetLeadingColumns)
		error_row_type(fcinfo);
	for (int i = 0; i < descriptor->natts; i++)
		require_attribute(fcinfo, site->result, kNetLeadingColumns + 1 + i,
						  TupleDescAttr(descriptor, i)->atttypid);
	tuple.t_len = HeapTupleHeaderGetDatumLength(header);
	ItemPointerSetInvalid(&tuple.t_self);
	tuple.t_data = header;
	heap_deform_tuple(&tuple, descriptor, site->values + kNetLeadingColumns,
					  site->nulls + kNetLeadingColumns);
	ReleaseTupleDesc(descriptor);
}

/* Keeps the columns of this call as the row of the last change. */
void
state_store_row(FunctionCallInfo fcinfo, TransitionSite *site, NetState *state,
				MemoryContext aggregate_context)
{
	if (site->one_row)
		columns_from_row(fcinfo, site);
	else
		for (int i = kNetLeadingColumns; i < site->result->natts; i++)
		{
			const NullableDatum &column = fcinfo->args[kArgColumns + i - kNetLeadingColumns];
			site->values[i] = column.value;
			site->nulls[i] = column.isnull;
		}
	site->values[kRowStartLsn - 1] = LSNGetDatum(state->last.start_lsn);
	site->nulls[kRowStartLsn - 1] = false;
	/* These two are known at the end only. */
	site->values[kRowOperation - 1] = Int32GetDatum(0);
	site->nulls[kRowOperation - 1] = false;
	site->nulls[kRowUpdateMask - 1] = true;

	/* Made in the caller's per-row context; the copy's room is used again from row to row. */
	HeapTuple tuple = heap_form_tuple(site->result, site->values, site->nulls);
	if (tuple->t_len > state->row_capacity)
	{
		if (state->row != nullptr)
			pfree(state->row);
		state->row =
			static_cast<HeapTupleHeader>(MemoryContextAllocHuge(aggregate_context, tuple->t_len));
		state->row_capacity = tuple->t_len;
	}
	memcpy(state->row, tuple->t_data, tuple->t_len);
	state->row_length = tuple->t_len;
	heap_freetuple(tuple);
}

void
state_add_mask(NetState *state, const bytea *mask, MemoryContext aggregate_context)
{
	int length = static_cast<int>(VARSIZE_ANY_EXHDR(mask));
	const auto *bytes = reinterpret_cast<const uint8 *>(VARDATA_ANY(mask));

	if (state->mask == nullptr || static_cast<int>(VARSIZE(state->mask)) - VARHDRSZ < length)
	{
		bytea *wider =
			static_cast<bytea *>(MemoryContextAllocZero(aggregate_context, VARHDRSZ + length));
		SET_VARSIZE(wider, VARHDRSZ + length);
		if (state->mask != nullptr)
		{
			capture::update_mask_or(reinterpret_cast<uint8 *>(VARDATA(wider)), length,
									reinterpret_cast<uint8 *>(VARDATA(state->mask)),
									static_cast<int>(VARSIZE(state->mask)) - VARHDRSZ);
			pfree(state->mask);
		}
		state->mask = wider;
	}
	capture::update_mask_or(reinterpret_cast<uint8 *>(VARDATA(state->mask)),
							static_cast<int>(VARSIZE(state->mask)) - VARHDRSZ, bytes, length);
}

/* What the changes of one key come to. None: inserted and gone again. */
std::optional<int32>
net_operation(int32 first, int32 last)
{
	if (last == kDelete)
	{
		if (first == kInsert)
			return std::nullopt;
		return kDelete;
	}
	return first == kInsert ? kInsert : kUpdate;
}

/*
 * A type of a user's may be altered by a function that the same query calls: rows made for one form
 * must not be read in another.
 */
void
require_same_form(TupleDesc made_for, TupleDesc read_as)
{
	bool same = made_for->natts == read_as->natts;

	for (int i = 0; same && i < made_for->natts; i++)
	{
		Form_pg_attribute a = TupleDescAttr(made_for, i);
		Form_pg_attribute b = TupleDescAttr(read_as, i);
		same = a->atttypid == b->atttypid && a->attisdropped == b->attisdropped;
	}
	if (!same)
		ereport(ERROR, (errcode(ERRCODE_OBJECT_IN_USE),
						errmsg("row type %s was altered by the query that uses it",
							   format_type_be(made_for->tdtypeid)),
						errdetail("Rows were made before, and would be read after the change."),
						errhint("Alter the type in a statement of its own.")));
}

} // namespace

/*
 * _net_change_add(state internal, row_type anyelement, start_lsn pg_lsn, command_id integer,
 * operation integer, update_mask bytea, VARIADIC columns "any"): not strict.
 */
CDC_FUNCTION(cdc_net_change_add)
{
	MemoryContext aggregate_context;

	if (!AggCheckCallContext(fcinfo, &aggregate_context))
		elog(ERROR, "aggregate function called in non-aggregate context");
	TransitionSite *site = transition_site(fcinfo);

	if (PG_ARGISNULL(kArgStartLsn) || PG_ARGISNULL(kArgCommandId) || PG_ARGISNULL(kArgOperation))
		ereport(ERROR, (errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
						errmsg("change row without LSN, command id or operation"),
						errdetail("The capture worker writes all three into every change row."),
						errhint("Look for rows with NULL in the first columns of the change table: "
								"somebody has edited it.")));
	const ChangePosition position = {
		.start_lsn = PG_GETARG_LSN(kArgStartLsn),
		.command_id = PG_GETARG_INT32(kArgCommandId),
		.operation = PG_GETARG_INT32(kArgOperation),
	};

	auto *state = PG_ARGISNULL(kArgState)
					  ? nullptr
					  : reinterpret_cast<NetState *>(PG_GETARG_POINTER(kArgState));

	/* The image before an update says nothing about the net change. */
	if (position.operation == kUpdateBefore)
	{
		if (state == nullptr)
			PG_RETURN_NULL();
		PG_RETURN_POINTER(state);
	}

	bool first_row = state == nullptr;
	if (first_row)
	{
		state =
			static_cast<NetState *>(MemoryContextAllocZero(aggregate_context, sizeof(NetState)));
		state->site = site;
		state->first = position;
	}
	else if (comes_before(position, state->first))
		state->first = position;
	if (first_row || comes_before(state->last, position))
	{
		state->last = position;
		state_store_row(fcinfo, site, state, aggregate_context);
	}
	if (!PG_ARGISNULL(kArgUpdateMask))
		state_add_mask(state, PG_GETARG_BYTEA_PP(kArgUpdateMask), aggregate_context);
	PG_RETURN_POINTER(state);
}

/*
 * _net_change_row(state internal, the aggregate's arguments): not strict. Leaves the state as it is,
 * so that it may be called again.
 */
CDC_FUNCTION(cdc_net_change_row)
{
	if (PG_ARGISNULL(kArgState))
		PG_RETURN_NULL();
	auto *state = reinterpret_cast<NetState *>(PG_GETARG_POINTER(kArgState));

	auto *site = static_cast<FinalSite *>(fcinfo->flinfo->fn_extra);
	if (site == nullptr)
	{
		site = static_cast<FinalSite *>(
			MemoryContextAllocZero(fcinfo->flinfo->fn_mcxt, sizeof(FinalSite)));
		site->record = make_expanded_record_from_typeid(get_fn_expr_rettype(fcinfo->flinfo), -1,
														fcinfo->flinfo->fn_mcxt);
		require_same_form(state->site->result, expanded_record_get_tupdesc(site->record));
		fcinfo->flinfo->fn_extra = site;
	}

	site->tuple.t_len = state->row_length;
	ItemPointerSetInvalid(&site->tuple.t_self);
	site->tuple.t_tableOid = InvalidOid;
	site->tuple.t_data = state->row;
	expanded_record_set_tuple(site->record, &site->tuple, false, false);

	std::optional<int32> operation = net_operation(state->first.operation, state->last.operation);
	expanded_record_set_field(site->record, kRowOperation, Int32GetDatum(operation.value_or(0)),
							  !operation.has_value(), false);
	if (operation == kUpdate && state->mask != nullptr)
		expanded_record_set_field(site->record, kRowUpdateMask, PointerGetDatum(state->mask), false,
								  false);

	/*
	 * The executor copies a result that does not lie in the current context, and copying flattens. So the
	 * pointer to the record is put there.
	 */
	void *pointer = palloc(EXPANDED_POINTER_SIZE);
	memcpy(pointer, DatumGetPointer(EOHPGetRODatum(&site->record->hdr)), EXPANDED_POINTER_SIZE);
	PG_RETURN_POINTER(pointer);
}

} // namespace cdc::query
