/*
 * capture_stats.cpp
 *	  The set behind cdc.pg_stat_cdc: one row per database that has an entry in shared memory.
 */
#include "cdc.hpp"

#include "base/scope.hpp"
#include "base/shmem.hpp"
#include "capture/wal_reader.hpp"
#include "catalog/database.hpp"
#include "monitor/health_checks.hpp"
#include "monitor/row_builder.hpp"
#include "worker/gap_control.hpp"
#include "worker/registry.hpp"

extern "C" {
#include "catalog/pg_authid_d.h"
#include "replication/slot.h"
#include "utils/tuplestore.h"
}

using namespace cdc;

namespace
{

constexpr int kColumns = 21;

void
add_row(ReturnSetInfo *result, const DatabaseEntry &copy, DatabaseEntry *entry, bool may_see_errors)
{
	uint64 captured = pg_atomic_read_u64(&entry->captured_lsn);
	uint64 read = pg_atomic_read_u64(&entry->read_lsn);
	uint64 confirmed = pg_atomic_read_u64(&entry->confirmed_lsn);
	TimestampTz last_commit = pg_atomic_read_u64(&entry->last_commit_time);
	XLogRecPtr inserted = RecoveryInProgress() ? 0 : capture::wal_inserted_up_to();
	bool known_entry = &copy != entry; /* else it is none of shared memory */
	monitor::RowBuilder<kColumns> row = {};

	row.add(ObjectIdGetDatum(copy.database_oid));
	row.add_unless(copy.writer_pid == 0, Int32GetDatum(copy.writer_pid));
	row.add_unless(copy.decoder_pid == 0, Int32GetDatum(copy.decoder_pid));
	row.add(CStringGetTextDatum(worker::capture_state_name(worker::capture_state_seen(copy))));
	row.add_unless(captured == 0, LSNGetDatum(captured));
	row.add_unless(read == 0, LSNGetDatum(read));
	row.add_unless(confirmed == 0, LSNGetDatum(confirmed));
	row.add_unless(captured == 0 || inserted == 0,
				   Int64GetDatum(inserted > captured ? inserted - captured : 0));
	double lag = known_entry && inserted != 0 ? monitor::capture_lag_seconds(entry) : -1;
	row.add_unless(lag < 0, Float8GetDatum(lag));
	row.add_unless(last_commit == 0, TimestampTzGetDatum(last_commit));
	std::optional<int32> age = monitor::catalog_xmin_age(copy.database_oid);
	row.add_unless(!age, Int32GetDatum(age.value_or(0)));
	row.add(Int64GetDatum(pg_atomic_read_u64(&entry->transactions)));
	row.add(Int64GetDatum(pg_atomic_read_u64(&entry->changes)));
	row.add(Int64GetDatum(pg_atomic_read_u64(&entry->rows)));
	row.add_unless(copy.started_at == 0, TimestampTzGetDatum(copy.started_at));
	row.add(Int32GetDatum(copy.failures));
	if (copy.last_error_code == 0 || !may_see_errors)
	{
		while (row.next < kColumns)
			row.add_null();
	}
	else
	{
		row.add(CStringGetTextDatum(unpack_sql_state(copy.last_error_code)));
		row.add_text(copy.last_error_message);
		row.add_text(copy.last_error_detail);
		row.add_text(copy.last_error_hint);
		row.add(TimestampTzGetDatum(copy.last_error_time));
	}
	tuplestore_putvalues(result->setResult, result->setDesc, row.values, row.nulls);
}

/*
 * An enabled database that nobody works for: after a server start the launcher finds databases by
 * their slots, so one that has lost its slot, or that is a copy, would not be seen at all.
 */
void
add_gap(ReturnSetInfo *result)
{
	catalog::Identity identity;
	ItemPointerData tid;
	if (worker::registry_find(MyDatabaseId) != nullptr || RecoveryInProgress() ||
		!catalog::database_read_identity(&identity))
		return;
	std::optional<catalog::Gap> gap = worker::gap_find(identity, catalog::progress_read(&tid));
	if (!gap)
		return;

	DatabaseEntry *entry = static_cast<DatabaseEntry *>(palloc0(sizeof(DatabaseEntry)));
	entry->database_oid = MyDatabaseId;
	entry->state = CaptureState::NeedsAction;
	entry->last_error_code = ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE;
	entry->last_error_time = GetCurrentTimestamp();
	strlcpy(entry->last_error_message, gap->reason, kErrorMessageBytes);
	strlcpy(entry->last_error_detail, gap->detail, kErrorMessageBytes);
	strlcpy(entry->last_error_hint, worker::kResumeHint, kErrorMessageBytes);
	add_row(result, *entry, entry, true);
}

} // namespace

/* _stat_capture() */
CDC_FUNCTION(cdc_stat_capture)
{
	SharedState *shared = shmem_get();

	InitMaterializedSRF(fcinfo, 0);
	if (shared == nullptr)
		return static_cast<Datum>(0);
	ReturnSetInfo *result = reinterpret_cast<ReturnSetInfo *>(fcinfo->resultinfo);
	for (int i = 0; i < shared->nentries; i++)
	{
		DatabaseEntry copy;
		with_lock(shared->lock, LW_SHARED,
				  [&] { memcpy(static_cast<void *>(&copy), &shared->entries[i], sizeof(copy)); });
		if (!OidIsValid(copy.database_oid))
			continue;
		/* Messages can quote names and values of that database. */
		bool may_see_errors = has_privs_of_role(GetUserId(), ROLE_PG_READ_ALL_STATS) ||
							  compat_database_ownercheck(copy.database_oid, GetUserId());
		add_row(result, copy, &shared->entries[i], may_see_errors);
	}
	add_gap(result);
	return static_cast<Datum>(0);
}
