/*
 * cleanup_change_table.cpp
 *	  sp_cdc_cleanup_change_table: a new low-water mark for one capture instance, and what it makes unreadable goes.
 *
 * NOTES
 *	  The mark is committed here, before anything is removed, so that a failure does not take it back. Removing is
 *	  the cleanup worker's: detaching a leaf without making readers wait takes several transactions, which no
 *	  procedure can run in.
 */
#include "cdc.hpp"

#include "base/args.hpp"
#include "base/errors.hpp"
#include "base/fault.hpp"
#include "base/scope.hpp"
#include "catalog/capture_instance.hpp"
#include "catalog/catalog_rows.hpp"
#include "catalog/lsn_time.hpp"
#include "jobs/cleanup_control.hpp"
#include "jobs/job_catalog.hpp"
#include "worker/control.hpp"

extern "C" {
#include "executor/spi.h"
#include "pgstat.h"
}

namespace cdc::jobs
{

using namespace catalog;

namespace
{

constexpr long kLookAgainMs = 200;

void
require_own_statement(FunctionCallInfo fcinfo)
{
	CallContext *context = fcinfo->context != nullptr && IsA(fcinfo->context, CallContext)
							   ? castNode(CallContext, fcinfo->context)
							   : nullptr;
	if (context != nullptr && !context->atomic && !TransactionIdIsValid(GetTopTransactionIdIfAny()))
		return;
	ereport(ERROR,
			(errcode(ERRCODE_ACTIVE_SQL_TRANSACTION),
			 errmsg("cdc.sp_cdc_cleanup_change_table cannot run inside a transaction block"),
			 errdetail("It commits the new low-water mark before it removes change rows."),
			 errhint("CALL it as a statement of its own, outside BEGIN and not from a function.")));
}

[[noreturn]] void
error_outside_timeline(const CaptureInstance &instance, XLogRecPtr mark)
{
	ereport(ERROR,
			(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
			 errmsg("low_water_mark %X/%X is below the low end of capture instance \"%s\"",
					CDC_LSN_FORMAT_ARGS(mark), NameStr(instance.name)),
			 errdetail("SQL Server error 22957: the instance begins at %X/%X.",
					   CDC_LSN_FORMAT_ARGS(instance.start_lsn)),
			 errhint("Pass a later LSN, or NULL to remove what lies below the present low end.")));
	pg_unreachable();
}

/* The LSN that becomes the low end for this mark: of all commits at its time the first. */
XLogRecPtr
resolve_mark(const CaptureInstance &instance, XLogRecPtr mark)
{
	std::optional<TimestampTz> time = lsn_time_of(mark, nullptr);
	if (!time)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("low_water_mark %X/%X is not the LSN of a captured transaction",
						CDC_LSN_FORMAT_ARGS(mark)),
				 errdetail("SQL Server error 22964: there is no row with this start_lsn in "
						   "cdc.lsn_time_mapping."),
				 errhint(
					 "Take one from there: cdc.fn_cdc_map_time_to_lsn('smallest greater than or "
					 "equal', ...).")));
	if (instance.start_lsn == InvalidXLogRecPtr || mark < instance.start_lsn)
		error_outside_timeline(instance, mark);
	std::optional<XLogRecPtr> first =
		lsn_time_find(TimeRelation::SmallestGreaterThanOrEqual, *time, nullptr);
	return Max(first.value_or(mark), instance.start_lsn);
}

/* Checks the mark against the instance as it is now, under the lock on its row, and stores it. */
void
store_mark(int32 instance_id, const char *name, XLogRecPtr mark)
{
	ScanKeyData key = scan_key(kCtInstanceId, F_INT4EQ, Int32GetDatum(instance_id));

	rows_lock("change_tables", "change_tables_instance_id_key", {&key, 1});
	CaptureInstance *instance = capture_instance_by_id(instance_id, true);
	if (instance == nullptr)
		error_instance_not_found(name);
	XLogRecPtr low_end = resolve_mark(*instance, mark);
	if (low_end == instance->start_lsn)
		return;
	rows_scan("change_tables", "change_tables_instance_id_key", {&key, 1}, RowExclusiveLock,
			  [&](Relation relation, HeapTuple tuple) {
				  Row<kCtColumns> row = row_deform<kCtColumns>(relation, tuple);
				  row.set(kCtStartLsn, LSNGetDatum(low_end));
				  CatalogTupleUpdate(relation, &tuple->t_self, row_form(relation, row, tuple));
			  });
}

/* Has the cleanup worker remove what lies below. NULL: it did; else why not. */
const char *
remove_below(DatabaseEntry *entry, int32 instance_id, int64 threshold)
{
	const char *message = nullptr;
	bool done = false;

	report_error(
		[&] {
			uint64 id = 0;
			ConditionVariablePrepareToSleep(&entry->progress_cv);
			/* Another session's request, or a command that keeps workers out, comes first. */
			while (id == 0 && (id = cleanup_request_table(entry, instance_id, threshold)) == 0)
			{
				ConditionVariableTimedSleep(&entry->progress_cv, kLookAgainMs, PG_WAIT_EXTENSION);
				CHECK_FOR_INTERRUPTS();
			}
			while (entry->cleanup.finished_request_id < id)
			{
				ConditionVariableTimedSleep(&entry->progress_cv, kLookAgainMs, PG_WAIT_EXTENSION);
				CHECK_FOR_INTERRUPTS();
			}
			ConditionVariableCancelSleep();
			done = cleanup_take_result(entry, &message);
		},
		[&](const ErrorData &) {
			ConditionVariableCancelSleep();
			cleanup_withdraw(entry);
		});
	return done ? nullptr : message;
}

} // namespace

} // namespace cdc::jobs

/* sp_cdc_cleanup_change_table(capture_instance text, low_water_mark pg_lsn, threshold bigint, INOUT fcleanupfailed) */
CDC_FUNCTION(cdc_cleanup_change_table)
{
	using namespace cdc;
	using namespace cdc::jobs;

	require_writable("sp_cdc_cleanup_change_table");
	require_database_owner("sp_cdc_cleanup_change_table");
	catalog::database_require_enabled();
	char *name = arg_name_required(fcinfo, 0, "capture_instance");
	std::optional<XLogRecPtr> mark = arg_lsn(fcinfo, 1);
	int64 threshold = PG_ARGISNULL(2) ? kDefaultThreshold : PG_GETARG_INT64(2);
	check_threshold(threshold, "Leave it out for 5000.");
	int32 instance_id = catalog::capture_instance_by_name(name, false)->instance_id;
	require_own_statement(fcinfo);
	DatabaseEntry *entry = worker::require_entry();

	SPI_connect_ext(SPI_OPT_NONATOMIC);
	if (mark)
		store_mark(instance_id, name, *mark);
	SPI_commit();
	CDC_FAULT("cleanup-mark-stored");
	const char *failure = remove_below(entry, instance_id, threshold);
	if (failure != nullptr)
		ereport(
			WARNING,
			(errmsg("expired change rows of capture instance \"%s\" could not be removed", name),
			 errdetail("SQL Server error 22852: %s.", failure),
			 errhint("The low-water mark stands. CALL cdc.sp_cdc_cleanup_change_table(%s, NULL) "
					 "tries again, as the cleanup job does.",
					 quote_literal_cstr(name))));
	SPI_finish();

	TupleDesc descriptor;
	if (get_call_result_type(fcinfo, nullptr, &descriptor) != TYPEFUNC_COMPOSITE)
		elog(ERROR, "procedure without result row");
	Datum values[1] = {BoolGetDatum(failure != nullptr)};
	bool nulls[1] = {false};
	PG_RETURN_DATUM(HeapTupleGetDatum(heap_form_tuple(BlessTupleDesc(descriptor), values, nulls)));
}
