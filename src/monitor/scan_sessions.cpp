/*
 * scan_sessions.cpp
 *	  Keeps the rows of dm_cdc_log_scan_sessions in a ring in shared memory.
 */
#include "cdc.hpp"

#include "base/scope.hpp"
#include "monitor/row_builder.hpp"
#include "monitor/scan_sessions.hpp"
#include "worker/registry.hpp"

extern "C" {
#include "utils/tuplestore.h"
}

namespace cdc::monitor
{

namespace
{

/* Bursts that begin within this time of a session's start are part of it. */
constexpr int64 kSessionUs = USECS_PER_SEC;
constexpr int kColumns = 23;

/* The capture worker's own view. */
DatabaseEntry *own_entry = nullptr;
MonitorEntry *own = nullptr;
bool sessions_grouped = false;
bool session_open = false;
TimestampTz empty_counted_at = 0;
XLogRecPtr empty_counted_lsn = InvalidXLogRecPtr;

template <typename Body>
auto
locked(Body body)
{
	return with_lock(monitor_state()->lock, LW_EXCLUSIVE, body);
}

ScanSession *
session_slot(MonitorEntry *entry, int32 id)
{
	return &entry->sessions[(id - 1) % kScanSessions];
}

/* The newest session, or NULL. Under the lock, as all that follows. */
ScanSession *
newest(MonitorEntry *entry)
{
	return entry->last_session > 0 ? session_slot(entry, entry->last_session) : nullptr;
}

ScanSession *
add_session(MonitorEntry *entry, TimestampTz now, XLogRecPtr start_lsn)
{
	ScanSession *session = session_slot(entry, ++entry->last_session);
	memset(static_cast<void *>(session), 0, sizeof(*session));
	session->session_id = entry->last_session;
	session->start_time = now;
	session->start_lsn = start_lsn;
	session->current_lsn = start_lsn;
	if (entry->total.start_time == 0)
		entry->total.start_time = now;
	entry->total.start_lsn = start_lsn;
	return session;
}

/* Nothing captured and nothing failed. */
bool
is_empty(const ScanSession *session)
{
	return session->tran_count == 0 && session->schema_change_count == 0 &&
		   session->failed_sessions_count == 0;
}

bool
is_only_failure(const ScanSession *session)
{
	return session->failed_sessions_count > 0 && session->tran_count == 0;
}

/* Records that the decoder has read and no session has. */
void
count_records(MonitorEntry *entry, ScanSession *session)
{
	uint64 read = pg_atomic_read_u64(&entry->records_read);
	int64 more = static_cast<int64>(read - entry->counted_records);

	entry->counted_records = read;
	session->log_record_count += more;
	entry->total.log_record_count += more;
	XLogRecPtr commit = pg_atomic_read_u64(&entry->last_commit_lsn);
	for (ScanSession *row : {session, &entry->total})
		if (commit > row->last_commit_lsn)
		{
			row->last_commit_lsn = commit;
			row->last_commit_time = pg_atomic_read_u64(&entry->last_commit_time);
		}
}

/* Sets the end, and what follows from it. */
void
finish(MonitorEntry *entry, ScanSession *session, TimestampTz now, XLogRecPtr end_lsn,
	   ScanPhase phase)
{
	session->end_time = now;
	session->end_lsn = end_lsn;
	session->current_lsn = Max(session->current_lsn, end_lsn);
	session->phase = phase;
	entry->total.end_time = now;
	entry->total.end_lsn = end_lsn;
	if (session->tran_count == 0)
		return;
	int64 duration = Max(0, now - session->start_time);
	entry->total.duration_us += duration - session->duration_us;
	session->duration_us = duration;
	session->latency_us = Max(0, now - session->last_commit_cdc_time);
	entry->total.latency_us = session->latency_us;
}

/* An empty session disappears in the row of empty scans before it, or becomes one. */
void
fold_empty(MonitorEntry *entry, ScanSession *session)
{
	ScanSession *former =
		session->session_id > 1 ? session_slot(entry, session->session_id - 1) : nullptr;

	entry->total.empty_scan_count++;
	session->empty_scan_count = 1;
	if (former == nullptr || former->session_id != session->session_id - 1 ||
		former->empty_scan_count == 0)
		return;
	former->empty_scan_count++;
	former->end_time = session->end_time;
	former->end_lsn = session->end_lsn;
	former->current_lsn = session->current_lsn;
	former->log_record_count += session->log_record_count;
	former->last_commit_lsn = Max(former->last_commit_lsn, session->last_commit_lsn);
	former->last_commit_time = Max(former->last_commit_time, session->last_commit_time);
	memset(static_cast<void *>(session), 0, sizeof(*session));
	entry->last_session--;
}

/* One that fails before it captured anything goes into the row of those before that did, too. */
ScanSession *
fold_failure(MonitorEntry *entry, ScanSession *session)
{
	ScanSession *former =
		session->session_id > 1 ? session_slot(entry, session->session_id - 1) : nullptr;

	if (session->tran_count > 0 || former == nullptr ||
		former->session_id != session->session_id - 1 || !is_only_failure(former))
		return session;
	former->log_record_count += session->log_record_count;
	memset(static_cast<void *>(session), 0, sizeof(*session));
	entry->last_session--;
	return former;
}

/* The process ends, by error or not: nobody else would end its session. */
void
end_at_exit(int, Datum)
{
	locked([&] {
		ScanSession *session = newest(own);
		if (session != nullptr && session->end_time == 0)
		{
			finish(own, session, GetCurrentTimestamp(), session->current_lsn,
				   static_cast<ScanPhase>(pg_atomic_read_u32(&own->phase)));
			if (is_empty(session))
				fold_empty(own, session);
		}
		pg_atomic_write_u32(&own->phase, 0);
	});
}

} // namespace

const char *
scan_phase_name(ScanPhase phase)
{
	switch (phase)
	{
		case ScanPhase::None:
			return "";
		case ScanPhase::Configuration:
			return "Reading configuration";
		case ScanPhase::Reading:
			return "Reading log";
		case ScanPhase::Writing:
			return "Writing changes";
		case ScanPhase::SchemaVersioning:
			return "Schema versioning";
		case ScanPhase::Committing:
			return "Committing";
		case ScanPhase::Done:
			return "Done";
	}
	return "";
}

void
scan_sessions_attach(DatabaseEntry *entry, bool grouped)
{
	if (own == nullptr)
		before_shmem_exit(end_at_exit, 0);
	own_entry = entry;
	own = monitor_entry(entry);
	sessions_grouped = grouped;
	scan_session_phase(ScanPhase::Configuration);
}

void
scan_session_phase(ScanPhase phase)
{
	pg_atomic_write_u32(&own->phase, static_cast<uint32>(phase));
}

ScanPhase
scan_session_phase_now()
{
	return own == nullptr ? ScanPhase::Configuration
						  : static_cast<ScanPhase>(pg_atomic_read_u32(&own->phase));
}

void
scan_session_begin()
{
	if (session_open)
		return;
	session_open = true;
	TimestampTz now = GetCurrentTimestamp();
	XLogRecPtr start_lsn = pg_atomic_read_u64(&own_entry->captured_lsn);

	locked([&] {
		ScanSession *session = newest(own);
		if (!sessions_grouped && session != nullptr && session->tran_count > 0 &&
			session->failed_sessions_count == 0 && session->start_time + kSessionUs > now &&
			session->start_time <= now)
		{
			session->end_time = 0;
			session->end_lsn = InvalidXLogRecPtr;
			return;
		}
		add_session(own, now, start_lsn);
	});
}

void
scan_session_note(const BatchCounts &counts, XLogRecPtr current_lsn)
{
	if (!session_open)
		return;
	locked([&] {
		ScanSession *session = newest(own);
		session->current_lsn = current_lsn;
		for (ScanSession *row : {session, &own->total})
		{
			row->tran_count += counts.transactions;
			row->command_count += counts.changes;
			row->schema_change_count += counts.schema_changes;
			if (counts.transactions == 0)
				continue;
			if (XLogRecPtrIsInvalid(row->first_begin_cdc_lsn))
				row->first_begin_cdc_lsn = counts.first_begin_lsn;
			row->last_commit_cdc_lsn = counts.last_commit_lsn;
			row->last_commit_cdc_time = counts.last_commit_time;
			if (counts.last_commit_lsn > row->last_commit_lsn)
			{
				row->last_commit_lsn = counts.last_commit_lsn;
				row->last_commit_time = counts.last_commit_time;
			}
		}
		count_records(own, session);
	});
}

void
scan_session_end(XLogRecPtr end_lsn)
{
	if (!session_open)
		return;
	session_open = false;
	TimestampTz now = GetCurrentTimestamp();

	locked([&] {
		ScanSession *session = newest(own);
		if (session->end_time != 0)
			return; /* the decoder has failed meanwhile */
		count_records(own, session);
		finish(own, session, now, end_lsn, ScanPhase::Done);
		if (is_empty(session))
			fold_empty(own, session);
	});
}

void
scan_session_drained(XLogRecPtr read_lsn, XLogRecPtr own_commit_lsn)
{
	/* The decoder's word first: what it had read by then is what must have been captured. */
	uint64 drained_at = pg_atomic_read_u64(&own->drained_at);
	pg_read_barrier();
	if (pg_atomic_read_u64(&own_entry->captured_lsn) >= pg_atomic_read_u64(&own_entry->read_lsn))
		pg_atomic_write_u64(&own->caught_up_at, drained_at);
	if (sessions_grouped)
		return;
	if (session_open)
	{
		scan_session_end(read_lsn);
		empty_counted_lsn = read_lsn;
		return;
	}

	/* Our own commits are read again, too: they are nobody's scan. */
	if (read_lsn <= Max(own_commit_lsn, empty_counted_lsn))
		return;
	TimestampTz now = GetCurrentTimestamp();
	if (empty_counted_at + kSessionUs > now && empty_counted_at <= now)
		return;
	empty_counted_at = now;
	empty_counted_lsn = read_lsn;
	scan_session_begin();
	scan_session_end(read_lsn);
}

ScanSession
scan_session_fail(DatabaseEntry *entry, ScanPhase phase)
{
	MonitorEntry *theirs = monitor_entry(entry);
	TimestampTz now = GetCurrentTimestamp();
	XLogRecPtr captured = pg_atomic_read_u64(&entry->captured_lsn);

	session_open = false;
	return locked([&] {
		ScanSession *session = newest(theirs);
		if (session == nullptr || session->end_time != 0)
			session = add_session(theirs, now, captured);
		session = fold_failure(theirs, session);
		count_records(theirs, session);
		finish(theirs, session, now, Max(captured, session->current_lsn), phase);
		session->error_count++;
		session->failed_sessions_count++;
		theirs->total.error_count++;
		theirs->total.failed_sessions_count++;
		return *session;
	});
}

} // namespace cdc::monitor

using namespace cdc;
using namespace cdc::monitor;

namespace
{

int64
to_seconds(int64 us)
{
	return (us + USECS_PER_SEC / 2) / USECS_PER_SEC;
}

void
add_session_row(ReturnSetInfo *result, const ScanSession &session, const char *phase)
{
	RowBuilder<kColumns> row = {};

	row.add(Int32GetDatum(session.session_id));
	row.add_time(session.start_time);
	row.add_time(session.end_time);
	row.add(Int64GetDatum(to_seconds(session.duration_us)));
	row.add(CStringGetTextDatum(phase));
	row.add(Int32GetDatum(session.error_count));
	row.add_lsn(session.start_lsn);
	row.add(LSNGetDatum(session.current_lsn));
	row.add_lsn(session.end_lsn);
	row.add(Int64GetDatum(session.tran_count));
	row.add_lsn(session.last_commit_lsn);
	row.add_time(session.last_commit_time);
	row.add(Int64GetDatum(session.log_record_count));
	row.add(Int32GetDatum(session.schema_change_count));
	row.add(Int64GetDatum(session.command_count));
	row.add_lsn(session.first_begin_cdc_lsn);
	row.add_lsn(session.last_commit_cdc_lsn);
	row.add_time(session.last_commit_cdc_time);
	row.add(Int32GetDatum(static_cast<int32>(to_seconds(session.latency_us))));
	row.add(Int32GetDatum(session.empty_scan_count));
	row.add(Int32GetDatum(session.failed_sessions_count));
	row.add(Int64GetDatum(session.duration_us / 1000));
	row.add(Int64GetDatum(session.latency_us / 1000));
	tuplestore_putvalues(result->setResult, result->setDesc, row.values, row.nulls);
}

} // namespace

/* _scan_sessions() */
CDC_FUNCTION(cdc_scan_sessions)
{
	InitMaterializedSRF(fcinfo, 0);
	ReturnSetInfo *result = reinterpret_cast<ReturnSetInfo *>(fcinfo->resultinfo);
	DatabaseEntry *entry = worker::registry_find(MyDatabaseId);
	if (entry == nullptr)
		return static_cast<Datum>(0);

	MonitorEntry *copy = static_cast<MonitorEntry *>(palloc(sizeof(MonitorEntry)));
	with_lock(monitor_state()->lock, LW_SHARED, [&] {
		memcpy(static_cast<void *>(copy), monitor_entry(entry), sizeof(MonitorEntry));
	});
	copy->total.current_lsn = InvalidXLogRecPtr;
	if (copy->last_session > 0 && session_slot(copy, copy->last_session)->end_time == 0)
		copy->total.end_time = 0;
	add_session_row(result, copy->total, "Aggregate");
	for (int32 id = Max(1, copy->last_session - kScanSessions + 1); id <= copy->last_session; id++)
	{
		const ScanSession &session = *session_slot(copy, id);
		ScanPhase phase = session.end_time != 0
							  ? session.phase
							  : static_cast<ScanPhase>(pg_atomic_read_u32(&copy->phase));
		add_session_row(result, session, scan_phase_name(phase));
	}
	return static_cast<Datum>(0);
}
