/*
 * error_log.cpp
 *	  Notes, stores and shows the errors of our processes.
 */
#include "cdc.hpp"

#include "base/fault.hpp"
#include "base/scope.hpp"
#include "catalog/catalog_rows.hpp"
#include "monitor/error_log.hpp"
#include "monitor/row_builder.hpp"
#include "monitor/scan_sessions.hpp"
#include "worker/registry.hpp"

extern "C" {
#include "mb/pg_wchar.h"
#include "utils/tuplestore.h"
}

namespace cdc::monitor
{

using namespace catalog;

namespace
{

constexpr int kSeverity = 16; /* SQL Server's, of an error that a user can do something about */
constexpr int kState = 1;
constexpr const char *kNumberPrefix = "SQL Server error ";

void
copy_text(char *to, const char *from)
{
	strlcpy(to, from != nullptr ? from : "", kErrorTextBytes);
	/* Never cut in the middle of a multibyte character. */
	if (from != nullptr && strlen(from) >= kErrorTextBytes)
		to[pg_mbcliplen(from, strlen(from), kErrorTextBytes - 1)] = '\0';
}

int
number_of(const ErrorData &error, int number)
{
	if (error.detail != nullptr && strncmp(error.detail, kNumberPrefix, strlen(kNumberPrefix)) == 0)
		return static_cast<int>(strtol(error.detail + strlen(kNumberPrefix), nullptr, 10));
	return number;
}

/* A row of cdc._errors as the pruning and the folding look at it. */
struct Stored
{
	ItemPointerData tid;
	int64 id;
	int32 session_id;
};

bool
same_text(const Row<kErColumns> &row, AttrNumber attribute, const char *value)
{
	return !row.is_null(attribute) && strcmp(TextDatumGetCString(row[attribute]), value) == 0;
}

bool
repeats(const Row<kErColumns> &row, const PendingError &error)
{
	/* The same words may be said of different things: a lock that cleanup did not get, for one. */
	int32 number = row.is_null(kErErrorNumber) ? 0 : DatumGetInt32(row[kErErrorNumber]);

	return number == error.number && same_text(row, kErProcess, error.process) &&
		   same_text(row, kErSqlstate, unpack_sql_state(error.sqlstate)) &&
		   same_text(row, kErErrorMessage, error.message);
}

void
set_text(Row<kErColumns> *row, AttrNumber attribute, const char *value)
{
	if (value[0] == '\0')
		row->set_null(attribute);
	else
		row->set(attribute, CStringGetTextDatum(value));
}

/* Everything but id, first time and count. */
void
fill_row(Row<kErColumns> *row, const PendingError &error)
{
	row->set(kErSessionId, Int32GetDatum(error.session_id));
	row->set(kErPhaseNumber, Int32GetDatum(error.phase));
	row->set(kErEntryTime, TimestampTzGetDatum(error.entry_time));
	if (error.number == 0)
		row->set_null(kErErrorNumber);
	else
		row->set(kErErrorNumber, Int32GetDatum(error.number));
	row->set(kErErrorSeverity, Int32GetDatum(kSeverity));
	row->set(kErErrorState, Int32GetDatum(kState));
	set_text(row, kErErrorMessage, error.message);
	row->set(kErStartLsn, LSNGetDatum(error.start_lsn));
	row->set(kErBeginLsn, LSNGetDatum(error.begin_lsn));
	row->set(kErSequenceValue, LSNGetDatum(error.sequence_value));
	set_text(row, kErSqlstate, unpack_sql_state(error.sqlstate));
	set_text(row, kErDetail, error.detail);
	set_text(row, kErHint, error.hint);
	set_text(row, kErProcess, error.process);
}

/*
 * Stores one error: raises the count of the newest row when it is the same, else adds a row and removes
 * those that are too many. SHARE ROW EXCLUSIVE: one process at a time.
 */
void
store(const PendingError &error)
{
	constexpr int kMost = kKeptErrors + 1;
	Stored rows[kMost];
	int nrows = 0;
	bool folded = false;

	/* Newest last; few rows, so the order is found here. */
	rows_scan("_errors", nullptr, {}, ShareRowExclusiveLock,
			  [&](Relation relation, HeapTuple tuple) {
				  Row<kErColumns> row = row_deform<kErColumns>(relation, tuple);
				  Stored one = {tuple->t_self, DatumGetInt64(row[kErErrorId]),
								DatumGetInt32(row[kErSessionId])};
				  if (nrows == kMost)
				  {
					  /* Somebody has put rows here: the oldest go now. */
					  CatalogTupleDelete(relation, one.id < rows[0].id ? &one.tid : &rows[0].tid);
					  if (one.id < rows[0].id)
						  return;
					  memmove(&rows[0], &rows[1], sizeof(Stored) * --nrows);
				  }
				  int i = nrows++;
				  for (; i > 0 && rows[i - 1].id > one.id; i--)
					  rows[i] = rows[i - 1];
				  rows[i] = one;
			  });
	if (nrows > 0)
		rows_scan("_errors", nullptr, {}, RowExclusiveLock,
				  [&](Relation relation, HeapTuple tuple) {
					  if (!ItemPointerEquals(&tuple->t_self, &rows[nrows - 1].tid))
						  return;
					  Row<kErColumns> row = row_deform<kErColumns>(relation, tuple);
					  if (!repeats(row, error))
						  return;
					  folded = true;
					  fill_row(&row, error);
					  row.set(kErOccurrences,
							  Int64GetDatum(DatumGetInt64(row[kErOccurrences]) + 1));
					  CatalogTupleUpdate(relation, &tuple->t_self, row_form(relation, row, tuple));
				  });
	if (folded)
		return;

	Relation relation = table_open(cdc_relation_oid("_errors", false), RowExclusiveLock);
	Oid sequence = cdc_relation_oid("_errors_error_id_seq", false);
	Row<kErColumns> row;
	fill_row(&row, error);
	row.set(kErErrorId, DirectFunctionCall1(nextval_oid, ObjectIdGetDatum(sequence)));
	row.set(kErFirstTime, TimestampTzGetDatum(error.entry_time));
	row.set(kErOccurrences, Int64GetDatum(1));
	row_insert(relation, row);

	/* From the newest back: a session is a run of rows with its id. */
	int sessions = 1;
	int32 session = error.session_id;
	for (int i = nrows - 1, kept = 1; i >= 0; i--)
	{
		if (rows[i].session_id != session || session == 0)
			sessions++;
		session = rows[i].session_id;
		if (sessions > kKeptSessions || ++kept > kKeptErrors)
			CatalogTupleDelete(relation, &rows[i].tid);
	}
	table_close(relation, NoLock);
}

} // namespace

void
error_log_note(const DatabaseEntry *entry, const char *process, const ErrorData &error, int number,
			   const ErrorPlace &place)
{
	/* The administrator's pg_terminate_backend is no failure. */
	if (monitor_state() == nullptr || error.sqlerrcode == ERRCODE_ADMIN_SHUTDOWN)
		return;
	MonitorEntry *theirs = monitor_entry(entry);

	CDC_FAULT("error-note");
	with_lock(monitor_state()->lock, LW_EXCLUSIVE, [&] {
		PendingError *slot = &theirs->errors[theirs->next_error];
		TimestampTz former =
			theirs->errors[(theirs->next_error + kPendingErrors - 1) % kPendingErrors].entry_time;
		theirs->next_error = (theirs->next_error + 1) % kPendingErrors;
		/* Its time is what tells it from others. */
		slot->entry_time = Max(GetCurrentTimestamp(), former + 1);
		slot->saved = false;
		slot->session_id = place.session_id;
		slot->phase = static_cast<int32>(place.phase);
		slot->number = number_of(error, number);
		slot->sqlstate = error.sqlerrcode;
		slot->start_lsn = place.start_lsn;
		slot->begin_lsn = place.begin_lsn;
		slot->sequence_value = place.sequence_value;
		strlcpy(slot->process, process, kProcessBytes);
		copy_text(slot->message, error.message);
		copy_text(slot->detail, error.detail);
		copy_text(slot->hint, error.hint);
	});
}

void
error_log_note_scan(DatabaseEntry *entry, const char *process, const ErrorData &error,
					ScanPhase phase, XLogRecPtr begin_lsn, XLogRecPtr sequence_value)
{
	constexpr int kScanFailed = 22859;
	constexpr int kScanFailedOnDdl = 22860;
	constexpr int kRowsNotInserted = 22863;

	if (monitor_state() == nullptr || error.sqlerrcode == ERRCODE_ADMIN_SHUTDOWN)
		return;
	ScanSession session = scan_session_fail(entry, phase);
	int number = phase == ScanPhase::Writing			? kRowsNotInserted
				 : phase == ScanPhase::SchemaVersioning ? kScanFailedOnDdl
														: kScanFailed;
	error_log_note(entry, process, error, number,
				   {session.session_id, phase, session.start_lsn, begin_lsn, sequence_value});
}

void
error_log_store(const DatabaseEntry *entry)
{
	if (monitor_state() == nullptr)
		return;
	MonitorEntry *theirs = monitor_entry(entry);
	PendingError *errors =
		static_cast<PendingError *>(palloc(sizeof(PendingError) * kPendingErrors));
	int nerrors = 0;

	/* From the oldest on. */
	with_lock(monitor_state()->lock, LW_SHARED, [&] {
		for (int i = 0; i < kPendingErrors; i++)
		{
			const PendingError &one = theirs->errors[(theirs->next_error + i) % kPendingErrors];
			if (one.entry_time != 0 && !one.saved)
				errors[nerrors++] = one;
		}
	});
	if (nerrors == 0)
	{
		pfree(errors);
		return;
	}

	bool stored = false;
	in_transaction([&] {
		stored = in_subtransaction(
			[&] {
				if (!OidIsValid(cdc_extension_oid()))
					return; /* nowhere to put them */
				/* Nobody who locks this table may hold up a process that wants to end. */
				with_lock_timeout("2s", [&] {
					for (int i = 0; i < nerrors; i++)
					{
						store(errors[i]);
						CommandCounterIncrement();
						CDC_FAULT("error-store");
					}
				});
			},
			[](const ErrorData &error) {
				ereport(LOG, (errmsg("could not store an error of change data capture: %s",
									 error.message),
							  errhint("It is in cdc.dm_cdc_errors until the server is restarted, "
									  "and is stored when capture starts again.")));
			});
		/* The writer commits asynchronously; an error that is gone after a crash explains nothing. */
		if (stored)
			ForceSyncCommit();
	});
	if (stored)
		with_lock(monitor_state()->lock, LW_EXCLUSIVE, [&] {
			for (PendingError &one : theirs->errors)
				for (int i = 0; i < nerrors; i++)
					if (one.entry_time == errors[i].entry_time)
						one.saved = true;
		});
	pfree(errors);
}

} // namespace cdc::monitor

using namespace cdc;
using namespace cdc::monitor;

/* _pending_errors(): those of this database that are not in cdc._errors */
CDC_FUNCTION(cdc_pending_errors)
{
	InitMaterializedSRF(fcinfo, 0);
	ReturnSetInfo *result = reinterpret_cast<ReturnSetInfo *>(fcinfo->resultinfo);
	DatabaseEntry *entry = worker::registry_find(MyDatabaseId);
	if (entry == nullptr)
		return static_cast<Datum>(0);

	PendingError *errors =
		static_cast<PendingError *>(palloc(sizeof(PendingError) * kPendingErrors));
	with_lock(monitor_state()->lock, LW_SHARED, [&] {
		memcpy(static_cast<void *>(errors), monitor_entry(entry)->errors,
			   sizeof(PendingError) * kPendingErrors);
	});
	for (int i = 0; i < kPendingErrors; i++)
	{
		const PendingError &error = errors[i];
		if (error.entry_time == 0 || error.saved)
			continue;
		RowBuilder<14> row = {};
		row.add(Int32GetDatum(error.session_id));
		row.add(Int32GetDatum(error.phase));
		row.add_time(error.entry_time);
		row.add_unless(error.number == 0, Int32GetDatum(error.number));
		row.add(Int32GetDatum(kSeverity));
		row.add(Int32GetDatum(kState));
		row.add_text(error.message);
		row.add(LSNGetDatum(error.start_lsn));
		row.add(LSNGetDatum(error.begin_lsn));
		row.add(LSNGetDatum(error.sequence_value));
		row.add_text(unpack_sql_state(error.sqlstate));
		row.add_text(error.detail);
		row.add_text(error.hint);
		row.add_text(error.process);
		tuplestore_putvalues(result->setResult, result->setDesc, row.values, row.nulls);
	}
	return static_cast<Datum>(0);
}
