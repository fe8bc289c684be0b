/*
 * health_checks.cpp
 *	  The checks that need shared memory only, and what the launcher makes of them.
 */
#include "cdc.hpp"

#include <cstdarg>

#include <sys/statvfs.h>

#include "base/guc.hpp"
#include "base/scope.hpp"
#include "capture/wal_reader.hpp"
#include "monitor/health_checks.hpp"
#include "monitor/row_builder.hpp"
#include "worker/gap_control.hpp"
#include "worker/registry.hpp"

extern "C" {
#include "access/transam.h"
#include "postmaster/autovacuum.h"
#include "postmaster/bgworker.h"
#include "postmaster/postmaster.h"
#include "replication/slot.h"
#include "utils/tuplestore.h"
}

namespace cdc::monitor
{

namespace
{

/* A worker that has just been asked for is no news. */
constexpr int64 kStartingUs = 30 * USECS_PER_SEC;
/* Idle processes look once a second; younger than this is "now". */
constexpr int64 kNowUs = 3 * USECS_PER_SEC;
/* Standbys lag behind by less than this all the time. */
constexpr int64 kStandbysUs = 10 * USECS_PER_SEC;
constexpr double kMegabyte = 1024.0 * 1024.0;

struct SlotCopy
{
	bool exists;
	bool ours;				 /* of plugin cdc */
	const char *invalidated; /* NULL: it is not */
	int active_pid;
	XLogRecPtr restart_lsn;
	XLogRecPtr confirmed_lsn;
	TransactionId catalog_xmin;
	int used; /* slots of the server in use */
};

/* What the checks of one database look at. */
struct Facts
{
	Oid database_oid;
	DatabaseEntry *shared; /* NULL: none */
	DatabaseEntry entry;   /* a copy; its atomics are not looked at */
	bool wanted;
	SlotCopy slot;
	XLogRecPtr wal_end;
};

HealthItem *
add_item(HealthReport *report, const char *check)
{
	Assert(report->count < kHealthItems);
	HealthItem *item = &report->items[report->count++];
	memset(static_cast<void *>(item), 0, sizeof(*item));
	item->check = check;
	return item;
}

[[gnu::format(printf, 2, 3)]] void say(std::span<char> to, const char *format, ...);

void
say(std::span<char> to, const char *format, ...)
{
	va_list arguments;
	va_start(arguments, format);
	vsnprintf(to.data(), to.size(), format, arguments);
	va_end(arguments);
}

/* 1.5 GB, 12 MB, 300 kB */
void
say_bytes(std::span<char> to, double bytes)
{
	if (bytes >= 1024 * kMegabyte)
		say(to, "%.1f GB", bytes / (1024 * kMegabyte));
	else if (bytes >= kMegabyte)
		say(to, "%.0f MB", bytes / kMegabyte);
	else
		say(to, "%.0f kB", bytes / 1024);
}

/* A threshold of 0 is none. */
HealthStatus
grade(double value, double warning, double critical)
{
	if (critical > 0 && value >= critical)
		return HealthStatus::Critical;
	if (warning > 0 && value >= warning)
		return HealthStatus::Warning;
	return HealthStatus::Ok;
}

HealthStatus
grade_percent(double percent)
{
	return grade(percent, guc_health_warning_percent, guc_health_critical_percent);
}

SlotCopy
read_slot(Oid database_oid)
{
	NameData name = worker::slot_name_for(database_oid);
	SlotCopy copy = {};

	with_lock(ReplicationSlotControlLock, LW_SHARED, [&] {
		for (int i = 0; i < max_replication_slots; i++)
		{
			ReplicationSlot *slot = &ReplicationSlotCtl->replication_slots[i];
			if (!slot->in_use)
				continue;
			copy.used++;
			SpinLockAcquire(&slot->mutex);
			if (strcmp(NameStr(slot->data.name), NameStr(name)) == 0)
			{
				copy.exists = slot->data.persistency == RS_PERSISTENT;
				copy.ours = strcmp(NameStr(slot->data.plugin), "cdc") == 0;
				copy.invalidated = compat_slot_invalidation(slot);
				copy.active_pid = slot->active_pid;
				copy.restart_lsn = slot->data.restart_lsn;
				copy.confirmed_lsn = slot->data.confirmed_flush;
				copy.catalog_xmin = slot->effective_catalog_xmin;
			}
			SpinLockRelease(&slot->mutex);
		}
	});
	return copy;
}

std::optional<int32>
xmin_age(const SlotCopy &slot)
{
	if (!TransactionIdIsNormal(slot.catalog_xmin))
		return std::nullopt;
	return static_cast<int32>(XidFromFullTransactionId(ReadNextFullTransactionId()) -
							  slot.catalog_xmin);
}

/* WAL that the slot keeps from being removed. */
double
kept_bytes(const Facts &facts)
{
	if (XLogRecPtrIsInvalid(facts.slot.restart_lsn) || facts.wal_end < facts.slot.restart_lsn)
		return 0;
	return static_cast<double>(facts.wal_end - facts.slot.restart_lsn);
}

double
lag_bytes(const Facts &facts)
{
	XLogRecPtr captured =
		facts.shared != nullptr ? pg_atomic_read_u64(&facts.shared->captured_lsn) : 0;
	/* Before the first worker of this server's life, the slot knows. */
	if (captured == 0)
		captured = facts.slot.confirmed_lsn;
	return captured == 0 || facts.wal_end < captured
			   ? 0
			   : static_cast<double>(facts.wal_end - captured);
}

void
check_launcher(HealthReport *report)
{
	HealthItem *item = add_item(report, "launcher");
	SharedState *shared = shmem_get();

	if (shared->launcher_pid != 0)
	{
		say(item->value, "running");
		return;
	}
	item->status = HealthStatus::Critical;
	say(item->value, "not running");
	say(item->detail, "Nothing starts or restarts the workers; the server log says why it ended.");
	say(item->action, "Raise max_worker_processes if none was free, and restart the server.");
}

void
check_worker(HealthReport *report, const Facts &facts)
{
	HealthItem *item = add_item(report, "capture_worker");
	const DatabaseEntry &entry = facts.entry;

	const CaptureState state = worker::capture_state_seen(entry);
	say(item->value, "%s", worker::capture_state_name(state));
	switch (state)
	{
		case CaptureState::CatchingUp:
		case CaptureState::Streaming:
			if (entry.failures == 0)
				return;
			item->status = HealthStatus::Warning;
			say(item->detail,
				"It has failed %d times, has captured nothing since and not caught up yet: %s",
				entry.failures, entry.last_error_message);
			break;
		case CaptureState::Starting:
			if (entry.failures == 0)
				return;
			item->status = HealthStatus::Critical;
			say(item->detail, "%s%s%s", entry.last_error_message,
				entry.last_error_detail[0] != '\0' ? ": " : "", entry.last_error_detail);
			break;
		case CaptureState::Failed:
		case CaptureState::NeedsAction:
			item->status = HealthStatus::Critical;
			say(item->detail, "%s%s%s", entry.last_error_message,
				entry.last_error_detail[0] != '\0' ? ": " : "", entry.last_error_detail);
			break;
		case CaptureState::Stopped:
			if (!facts.wanted)
			{
				item->status = HealthStatus::Warning;
				if (compat_idle_slot_timeout() > 0)
					say(item->detail,
						"The job is stopped. WAL is kept until it is started again, but not longer than "
						"idle_replication_slot_timeout, %d s: then it is a gap.",
						compat_idle_slot_timeout());
				else
					say(item->detail, "The job is stopped. WAL is kept until it is started again.");
			}
			else
			{
				item->status = HealthStatus::Critical;
				say(item->detail, "The job is started, but no worker runs.%s%s",
					entry.last_error_code != 0 ? " Last error: " : "", entry.last_error_message);
			}
			say(item->action, "CALL cdc.sp_cdc_start_job();");
			return;
		case CaptureState::WaitingForLock:
			item->status = HealthStatus::Warning;
			if (state != entry.state)
			{
				say(item->detail, "Process %d waits for a lock that others have.",
					entry.writer_pid);
				say(item->action,
					"SELECT * FROM pg_stat_activity WHERE pid = ANY (pg_blocking_pids(%d));",
					entry.writer_pid);
				return;
			}
			say(item->detail,
				"Process %d waits for a change table that others read, to change its columns.",
				entry.writer_pid);
			say(item->action, "SELECT query FROM pg_stat_activity WHERE pid = %d;",
				entry.writer_pid);
			return;
		case CaptureState::OutsideWindow:
			say(item->detail, "The job waits for its active window. WAL is kept until then.");
			return;
	}
	if (entry.last_error_hint[0] != '\0')
		say(item->action, "%s", entry.last_error_hint);
	else
		say(item->action, "SELECT * FROM cdc.dm_cdc_errors;");
}

void
check_decoder(HealthReport *report, const Facts &facts)
{
	HealthItem *item = add_item(report, "decoder");
	const DatabaseEntry &entry = facts.entry;

	if (entry.decoder_pid != 0)
	{
		int64 since = pg_atomic_read_u64(&facts.shared->standbys_awaited_since);
		if (since == 0 || since + kStandbysUs > GetCurrentTimestamp())
		{
			say(item->value, "running");
			return;
		}
		item->status = HealthStatus::Warning;
		say(item->value, "waits for standbys");
		say(item->detail, "Changes are captured, but WAL is kept until the standbys of "
						  "synchronized_standby_slots have it.");
		say(item->action, "SELECT slot_name, active, restart_lsn FROM pg_replication_slots WHERE "
						  "slot_type = 'physical';");
		return;
	}
	say(item->value, "not running");
	/* Without a writer there is nothing to say that the line above has not said. */
	if (entry.writer_pid == 0 || entry.started_at + kStartingUs > GetCurrentTimestamp())
		return;
	item->status = HealthStatus::Critical;
	say(item->detail, "Capture worker %d waits for it.", entry.writer_pid);
	say(item->action, "Raise max_worker_processes if none was free, and restart the server.");
}

void
check_lag(HealthReport *report, const Facts &facts)
{
	HealthItem *item = add_item(report, "lag_time");
	double bytes = lag_bytes(facts);
	double seconds = facts.shared != nullptr ? capture_lag_seconds(facts.shared) : -1;

	/* Nothing captured since the server started: as long as that, unless there is nothing to do. */
	if (seconds < 0)
		seconds = bytes > 0
					  ? static_cast<double>(GetCurrentTimestamp() - PgStartTime) / USECS_PER_SEC
					  : 0;
	item->status = grade(seconds, guc_health_lag_warning_s, guc_health_lag_critical_s);
	say(item->value, "%.0f s", seconds);
	say(item->threshold, "%d s, %d s", guc_health_lag_warning_s, guc_health_lag_critical_s);
	if (item->status != HealthStatus::Ok)
	{
		say(item->detail, "Changes committed during this time may not be captured yet.");
		say(item->action, "SELECT * FROM cdc.pg_stat_cdc;");
	}

	item = add_item(report, "lag_bytes");
	item->status = grade(bytes, guc_health_lag_bytes_warning_mb * kMegabyte,
						 guc_health_lag_bytes_critical_mb * kMegabyte);
	say_bytes(item->value, bytes);
	say(item->threshold, "%d MB, %d MB", guc_health_lag_bytes_warning_mb,
		guc_health_lag_bytes_critical_mb);
	if (item->status != HealthStatus::Ok)
	{
		say(item->detail, "This much WAL of the server has not been read to its end.");
		say(item->action, "SELECT * FROM cdc.pg_stat_cdc;");
	}
}

/* A job with an active window is late by intention, until the window opens. WAL is looked at all the same. */
void
excuse_lag(HealthReport *report, const Facts &facts)
{
	if (facts.entry.state != CaptureState::OutsideWindow)
		return;
	for (int i = 1; i <= 2; i++)
	{
		HealthItem *item = &report->items[report->count - i];
		item->status = HealthStatus::Ok;
		say(item->detail, "The job waits for its active window.");
		item->action[0] = '\0';
	}
}

void
check_slot(HealthReport *report, const Facts &facts)
{
	HealthItem *item = add_item(report, "slot");
	const char *trouble = nullptr;

	if (!facts.slot.exists)
	{
		say(item->value, "missing");
		trouble = "Nothing keeps the WAL that capture needs.";
	}
	else if (!facts.slot.ours)
	{
		say(item->value, "of another plugin");
		trouble = "Somebody has made a slot of this name.";
	}
	else if (facts.slot.invalidated != nullptr)
	{
		say(item->value, "lost");
		trouble = facts.slot.invalidated;
	}
	else if (XLogRecPtrIsInvalid(facts.slot.restart_lsn))
	{
		say(item->value, "lost");
		trouble = "The server has removed WAL that capture needed.";
	}
	else
		switch (GetWALAvailability(facts.slot.restart_lsn))
		{
			case WALAVAIL_RESERVED:
				say(item->value, "reserved");
				return;
			case WALAVAIL_EXTENDED:
				say(item->value, "extended");
				return;
			case WALAVAIL_UNRESERVED:
				item->status = HealthStatus::Critical;
				say(item->value, "unreserved");
				say(item->detail,
					"The next checkpoint may remove WAL that capture needs: that is a gap.");
				say(item->action, "Raise max_slot_wal_keep_size and SELECT pg_reload_conf();");
				return;
			case WALAVAIL_REMOVED:
			case WALAVAIL_INVALID_LSN:
				say(item->value, "lost");
				trouble = "The server has removed WAL that capture needed.";
				break;
		}
	item->status = HealthStatus::Critical;
	say(item->detail, "%s Changes are lost to capture.", trouble);
	say(item->action, "CALL cdc.resume_after_gap();");
}

void
check_wal(HealthReport *report, const Facts &facts)
{
	double kept = kept_bytes(facts);
	HealthItem *item = add_item(report, "wal_kept");

	say_bytes(item->value, kept);
	if (max_slot_wal_keep_size_mb > 0)
	{
		double percent = 100 * kept / (max_slot_wal_keep_size_mb * kMegabyte);
		item->status = grade_percent(percent);
		say(item->threshold, "%d MB", max_slot_wal_keep_size_mb);
		say(item->detail,
			"The slot keeps %.0f %% of max_slot_wal_keep_size; beyond it, WAL is removed and "
			"changes are lost.",
			percent);
		if (item->status != HealthStatus::Ok)
			say(item->action, "Raise max_slot_wal_keep_size and SELECT pg_reload_conf(), or CALL "
							  "cdc.discard_kept_wal(true).");
	}
	else
		say(item->detail, "max_slot_wal_keep_size is -1: only the disk limits it.");

	item = add_item(report, "wal_disk");
	struct statvfs disk;
	if (statvfs("pg_wal", &disk) != 0)
	{
		item->status = HealthStatus::Warning;
		say(item->value, "unknown");
		say(item->detail, "could not look at the file system of pg_wal: %s", strerror(errno));
		return;
	}
	double free = static_cast<double>(disk.f_bavail) * static_cast<double>(disk.f_frsize);
	double percent = kept + free > 0 ? 100 * kept / (kept + free) : 0;
	item->status = grade_percent(percent);
	say_bytes(item->value, free);
	say(item->threshold, "%d %%, %d %%", guc_health_warning_percent, guc_health_critical_percent);
	say(item->detail, "free in pg_wal; the slot keeps %.0f %% of what it could keep.", percent);
	if (item->status != HealthStatus::Ok)
		say(item->action,
			"Get capture going (capture_worker), free disk space, or CALL cdc.discard_kept_wal(true).");
}

void
check_catalog_xmin(HealthReport *report, const Facts &facts)
{
	HealthItem *item = add_item(report, "catalog_xmin");

	say(item->threshold, "%d", autovacuum_freeze_max_age);
	std::optional<int32> age = xmin_age(facts.slot);
	if (!age)
	{
		say(item->value, "none");
		return;
	}
	item->status = grade_percent(100.0 * *age / autovacuum_freeze_max_age);
	say(item->value, "%d", *age);
	if (item->status == HealthStatus::Ok)
		return;
	say(item->detail, "The slot keeps VACUUM from freezing the system catalogs: it is that many "
					  "transactions behind.");
	say(item->action, "Get capture going (capture_worker), or CALL cdc.discard_kept_wal(true).");
}

void
check_slots_free(HealthReport *report, const Facts &facts)
{
	HealthItem *item = add_item(report, "worker_slots");
	int free = compat_free_worker_processes();
	int needed = facts.wanted ? (facts.entry.writer_pid == 0 ? 1 : 0) +
									(facts.entry.decoder_pid == 0 ? 1 : 0)
							  : 0;

	say(item->value, "%d free", free);
	say(item->threshold, "%d", max_worker_processes);
	if (free < needed || free == 0)
	{
		item->status = free < needed ? HealthStatus::Critical : HealthStatus::Warning;
		say(item->detail, "Capture needs a worker and a decoder for each database, and cleanup one "
						  "for a time.");
		say(item->action, "Raise max_worker_processes and restart the server.");
	}

	item = add_item(report, "replication_slots");
	say(item->value, "%d free", max_replication_slots - facts.slot.used);
	say(item->threshold, "%d", max_replication_slots);
	if (facts.slot.used >= max_replication_slots)
	{
		item->status = HealthStatus::Warning;
		say(item->detail, "No other database can be enabled.");
		say(item->action, "Raise max_replication_slots and restart the server.");
	}
}

/* What is told to the server log of an item, for a database without a name. */
void
log_item(const HealthItem &item, Oid database_oid, bool recovered)
{
	if (recovered)
		ereport(LOG, (errmsg("change data capture of database %u: %s is no longer critical",
							 database_oid, item.check),
					  errdetail("It is \"%s\".", item.value)));
	else
		ereport(LOG, (errmsg("change data capture of database %u: %s is critical: \"%s\"",
							 database_oid, item.check, item.value),
					  item.detail[0] != '\0' ? errdetail_internal("%s", item.detail) : 0,
					  item.action[0] != '\0' ? errhint("%s", item.action) : 0));
}

void
watch_database(DatabaseEntry *entry)
{
	MonitorEntry *mine = monitor_entry(entry);
	Oid database_oid = entry->database_oid;
	bool wanted = entry->mode == WorkerMode::Continuous;
	TimestampTz now = GetCurrentTimestamp();
	static HealthReport report;

	health_check(&report, database_oid, entry, wanted);
	for (int i = 0; i < report.count; i++)
	{
		const HealthItem &item = report.items[i];
		bool critical = item.status == HealthStatus::Critical;
		bool tell = false;
		with_lock(monitor_state()->lock, LW_EXCLUSIVE, [&] {
			HealthMemory *memory = &mine->health[i];
			tell = critical != memory->critical ||
				   (critical && guc_health_log_repeat_s > 0 &&
					memory->logged_at + guc_health_log_repeat_s * USECS_PER_SEC <= now);
			if (tell)
				*memory = {critical, now};
		});
		if (tell)
			log_item(item, database_oid, !critical);
	}
}

const char *
status_name(HealthStatus status)
{
	switch (status)
	{
		case HealthStatus::Ok:
			return "ok";
		case HealthStatus::Warning:
			return "warning";
		case HealthStatus::Critical:
			return "critical";
	}
	return "unknown";
}

} // namespace

double
capture_lag_seconds(DatabaseEntry *entry)
{
	TimestampTz now = GetCurrentTimestamp();
	uint64 captured = pg_atomic_read_u64(&entry->captured_lsn);
	auto known =
		static_cast<TimestampTz>(Max(pg_atomic_read_u64(&monitor_entry(entry)->caught_up_at),
									 pg_atomic_read_u64(&entry->last_commit_time)));

	/* Commits that changed nothing captured count, too, once everything before them is captured. */
	if (captured > pg_atomic_read_u64(&monitor_entry(entry)->last_commit_lsn))
		known = Max(known, static_cast<TimestampTz>(
							   pg_atomic_read_u64(&monitor_entry(entry)->last_commit_time)));
	if (captured != 0 && captured >= capture::wal_inserted_up_to())
		return 0;
	if (known == 0)
		return -1;
	/* An idle decoder looks at other people's WAL once a second. */
	if (entry->state == CaptureState::Streaming && known + kNowUs > now &&
		captured >= pg_atomic_read_u64(&entry->read_lsn))
		return 0;
	return Max(0, now - known) / 1e6;
}

std::optional<int32>
catalog_xmin_age(Oid database_oid)
{
	return xmin_age(read_slot(database_oid));
}

void
health_check(HealthReport *report, Oid database_oid, DatabaseEntry *entry, bool wanted)
{
	static Facts facts;

	memset(static_cast<void *>(&facts), 0, sizeof(facts));
	facts.database_oid = database_oid;
	facts.shared = entry;
	facts.wanted = wanted;
	if (entry != nullptr)
		with_lock(shmem_get()->lock, LW_SHARED,
				  [&] { memcpy(static_cast<void *>(&facts.entry), entry, sizeof(facts.entry)); });
	facts.slot = read_slot(database_oid);
	facts.wal_end = capture::wal_inserted_up_to();

	report->count = 0;
	check_launcher(report);
	check_worker(report, facts);
	check_decoder(report, facts);
	check_lag(report, facts);
	excuse_lag(report, facts);
	check_slot(report, facts);
	check_wal(report, facts);
	check_catalog_xmin(report, facts);
	check_slots_free(report, facts);
}

void
health_expect_no_slot(const DatabaseEntry *entry)
{
	with_lock(monitor_state()->lock, LW_EXCLUSIVE, [&] { monitor_entry(entry)->had_slot = false; });
}

bool
health_misses_slot(const DatabaseEntry *entry)
{
	NameData slot = worker::slot_name_for(entry->database_oid);

	return monitor_entry(entry)->had_slot &&
		   SearchNamedReplicationSlot(NameStr(slot), true) == nullptr;
}

long
health_watch(long nap_ms)
{
	static TimestampTz next = 0;
	SharedState *shared = shmem_get();
	TimestampTz now = GetCurrentTimestamp();
	int64 interval = guc_health_check_interval_s * USECS_PER_SEC;

	if (interval == 0)
		return nap_ms;
	if (next == 0 || next > now + interval)
		next = now + interval;
	if (now >= next)
	{
		next = now + interval;
		for (int i = 0; i < shared->nentries; i++)
		{
			DatabaseEntry *entry = &shared->entries[i];
			NameData slot = worker::slot_name_for(entry->database_oid);
			if (!OidIsValid(entry->database_oid) || entry->hold_pid != 0)
				continue;
			/* One that is being enabled, or was disabled, has no slot and nobody misses it. */
			if (SearchNamedReplicationSlot(NameStr(slot), true) != nullptr)
				with_lock(monitor_state()->lock, LW_EXCLUSIVE,
						  [&] { monitor_entry(entry)->had_slot = true; });
			if (entry->state == CaptureState::NeedsAction || health_misses_slot(entry) ||
				SearchNamedReplicationSlot(NameStr(slot), true) != nullptr)
				watch_database(entry);
		}
	}
	return Min(nap_ms, static_cast<long>((next - now) / 1000) + 1);
}

} // namespace cdc::monitor

namespace cdc::monitor
{

namespace
{

/* A slot can look well and still not belong to what was captured; only the database itself knows. */
void
look_for_gap(HealthReport *report)
{
	std::optional<catalog::Gap> gap;
	const char *hint = nullptr; /* of an error, which must not hide all other checks */

	in_subtransaction(
		[&] {
			catalog::Identity identity;
			ItemPointerData tid;

			/* A copy is another check's business. */
			if (catalog::database_read_identity(&identity) &&
				identity.database_oid == MyDatabaseId &&
				identity.system_identifier == GetSystemIdentifier())
				gap = worker::gap_find(identity, catalog::progress_read(&tid));
		},
		[&](const ErrorData &error) {
			gap = catalog::Gap{};
			gap->reason = error.message;
			gap->detail = error.detail != nullptr ? error.detail : "";
			hint = error.hint;
		});
	if (!gap)
		return;
	for (HealthItem &item : std::span<HealthItem>(report->items, report->count))
	{
		if (strcmp(item.check, "slot") != 0 || item.status == HealthStatus::Critical)
			continue;
		item.status = HealthStatus::Critical;
		say(item.detail, "%s. %s", gap->reason, gap->detail);
		say(item.action, "%s", hint != nullptr ? hint : "CALL cdc.resume_after_gap();");
	}
}

} // namespace

} // namespace cdc::monitor

using namespace cdc;
using namespace cdc::monitor;

/* _health_checks(wanted boolean): of this database, from shared memory */
CDC_FUNCTION(cdc_health_checks)
{
	InitMaterializedSRF(fcinfo, 0);
	ReturnSetInfo *result = reinterpret_cast<ReturnSetInfo *>(fcinfo->resultinfo);
	if (shmem_get() == nullptr || RecoveryInProgress())
		return static_cast<Datum>(0);

	HealthReport *report = static_cast<HealthReport *>(palloc(sizeof(HealthReport)));
	health_check(report, MyDatabaseId, worker::registry_find(MyDatabaseId), PG_GETARG_BOOL(0));
	look_for_gap(report);
	for (int i = 0; i < report->count; i++)
	{
		const HealthItem &item = report->items[i];
		RowBuilder<7> row = {};
		row.add(Int32GetDatum(i + 1));
		row.add_text(item.check);
		row.add(CStringGetTextDatum(status_name(item.status)));
		row.add_text(item.value);
		row.add_text(item.threshold);
		row.add_text(item.detail);
		row.add_text(item.action);
		tuplestore_putvalues(result->setResult, result->setDesc, row.values, row.nulls);
	}
	return static_cast<Datum>(0);
}

/* _is_preloaded(): whether the library was loaded at server start */
CDC_FUNCTION(cdc_is_preloaded)
{
	PG_RETURN_BOOL(shmem_get() != nullptr);
}
