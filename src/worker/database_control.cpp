/*
 * database_control.cpp
 *	  sp_cdc_enable_db and sp_cdc_disable_db: the slot, and what hangs on it.
 *
 * NOTES
 *	  A slot is not transactional, so the order matters. Enabling: a decoder makes the slot, then
 *	  commits the identity row; a crash in between leaves an orphan slot that the worker drops.
 *	  Disabling: rows and tables go in one transaction, then the slot; a crash in between leaves
 *	  an orphan too.
 */
#include "cdc.hpp"

#include "base/args.hpp"
#include "base/errors.hpp"
#include "base/fault.hpp"
#include "base/scope.hpp"
#include "base/shmem.hpp"
#include "capture/ddl_apply.hpp"
#include "catalog/capture_instance.hpp"
#include "catalog/catalog_rows.hpp"
#include "catalog/change_table.hpp"
#include "catalog/database.hpp"
#include "catalog/version.hpp"
#include "worker/control.hpp"
#include "worker/registry.hpp"

extern "C" {
#include "catalog/pg_authid_d.h"
#include "commands/dbcommands.h"
#include "executor/spi.h"
#include "pgstat.h"
#include "replication/origin.h"
#include "replication/slot.h"
#include "storage/procarray.h"
}

namespace cdc::worker
{

namespace
{

constexpr long kTellAfterMs = 2000;

void
warn_about_old_minor()
{
	/* Below these, decoding has bugs that lose WAL, slot positions or use stale descriptors. */
	int version = pg_strtoint32(GetConfigOption("server_version_num", false, false));
	bool old = (version < 150016) || (version >= 160000 && version < 160012) ||
			   (version >= 170000 && version < 170008) || (version >= 180000 && version < 180002);
	if (old)
		ereport(WARNING,
				(errmsg("this minor release of the server has known bugs in logical decoding"),
				 errdetail("server_version_num is %d.", version),
				 errhint("Update to 15.16, 16.12, 17.8, 18.2 or later.")));
}

} // namespace

void
require_server_for_slot(bool is_new)
{
	shmem_require();
	if (wal_level < WAL_LEVEL_LOGICAL)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("change data capture needs wal_level = logical"),
				 errdetail("wal_level is %s.", GetConfigOption("wal_level", false, false)),
				 errhint("Set wal_level = logical in postgresql.conf and restart the server.")));

	if (!is_new)
		return;
	int used = 0;
	with_lock(ReplicationSlotControlLock, LW_SHARED, [&] {
		for (int i = 0; i < max_replication_slots; i++)
			used += ReplicationSlotCtl->replication_slots[i].in_use ? 1 : 0;
	});
	if (used >= max_replication_slots)
		ereport(ERROR,
				(errcode(ERRCODE_CONFIGURATION_LIMIT_EXCEEDED),
				 errmsg("no free replication slot for change data capture"),
				 errdetail("max_replication_slots is %d and all are in use.",
						   max_replication_slots),
				 errhint(
					 "Raise max_replication_slots and restart the server, or drop a slot that is "
					 "not needed: SELECT * FROM pg_replication_slots.")));
}

namespace
{

/* Says once whom the new slot waits for: transactions that were running when it was begun. */
void
tell_what_we_wait_for()
{
	constexpr const char *kQuery =
		"SELECT who, pg_catalog.date_trunc('second', pg_catalog.clock_timestamp() "
		"OPERATOR(pg_catalog.-) since)::pg_catalog.text FROM ("
		"SELECT pg_catalog.format('that of pid %s', pid), xact_start "
		"FROM pg_catalog.pg_stat_activity WHERE backend_xid IS NOT NULL UNION ALL "
		"SELECT pg_catalog.format('prepared transaction %L of database %I', gid, database), prepared "
		"FROM pg_catalog.pg_prepared_xacts) t(who, since) WHERE since IS NOT NULL ORDER BY since LIMIT 1";

	SPI_connect();
	if (SPI_execute(kQuery, true, 1) == SPI_OK_SELECT && SPI_processed > 0)
		ereport(NOTICE, (errmsg("waiting for older transactions to end"),
						 errdetail("The oldest is %s, for %s.",
								   SPI_getvalue(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 1),
								   SPI_getvalue(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 2)),
						 errhint("End it, or cancel this command: nothing is left half done.")));
	SPI_finish();
}

void
wait_for_slot(DatabaseEntry *entry, uint64 id)
{
	TimestampTz told_after = GetCurrentTimestamp() + kTellAfterMs * 1000;
	bool told = false;

	CDC_FAULT("enable-db-wait");
	ConditionVariablePrepareToSleep(&entry->progress_cv);
	while (entry->finished_request_id < id)
	{
		ConditionVariableTimedSleep(&entry->progress_cv, 200, PG_WAIT_EXTENSION);
		CHECK_FOR_INTERRUPTS();
		if (!told && GetCurrentTimestamp() > told_after)
		{
			ConditionVariableCancelSleep();
			tell_what_we_wait_for();
			told = true;
			ConditionVariablePrepareToSleep(&entry->progress_cv);
		}
	}
	ConditionVariableCancelSleep();
}

/*
 * Asks for the slot. In a database that is not enabled a worker is only one that has not found that
 * out yet (after DROP EXTENSION, say): it is told to go. Returns 0 when another session is at it.
 */
uint64
request_slot(DatabaseEntry *entry)
{
	constexpr int kTries = 10;

	for (int i = 0; i < kTries; i++)
	{
		uint64 id = registry_request(entry, WorkerMode::CreateSlot, nullptr);
		int holder = entry->hold_pid;
		/* What a session held that was terminated is ours: the launcher would take it back in some seconds. */
		bool is_held = holder != 0 && BackendPidGetProc(holder) != nullptr;
		if (id != 0 || entry->requester_pid != 0 || is_held || entry->database_oid != MyDatabaseId)
			return id;
		with_workers_stopped(entry, [&] { registry_stop(entry); });
	}
	return 0;
}

} // namespace

void
error_slot_requested(DatabaseEntry *entry)
{
	ereport(ERROR,
			(errcode(ERRCODE_OBJECT_IN_USE),
			 errmsg("change data capture of this database is being enabled or disabled already"),
			 errdetail("Another session (pid %d) does it.",
					   entry->requester_pid != 0 ? entry->requester_pid : entry->hold_pid),
			 errhint("Wait for it and call again.")));
	pg_unreachable();
}

void
request_new_slot(DatabaseEntry *entry)
{
	uint64 id = request_slot(entry);
	if (id == 0)
		error_slot_requested(entry);
	report_error([&] { wait_for_slot(entry, id); },
				 [&](const ErrorData &) {
					 ConditionVariableCancelSleep();
					 registry_cancel_request(entry);
				 });
	if (!entry->request_failed)
		return;

	ReportedError error = registry_last_error(entry);
	ereport(ERROR, (errcode(error.code != 0 ? error.code : ERRCODE_INTERNAL_ERROR),
					errmsg("could not create the replication slot of change data capture: %s",
						   error.message[0] != '\0' ? error.message : "the decoder has ended"),
					error.detail[0] != '\0' ? errdetail_internal("%s", error.detail) : 0,
					errhint("%s", error.hint[0] != '\0' ? error.hint
														: "See the server log, then call again.")));
}

void
require_enable_right(const char *procedure)
{
	if (superuser() || compat_database_ownercheck(MyDatabaseId, GetUserId()))
		return;
	ereport(ERROR,
			(errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
			 errmsg("permission denied for cdc.%s", procedure),
			 errdetail(
				 "SQL Server error 22902: only a superuser, or the owner of the database to whom "
				 "a superuser has granted EXECUTE, may call it."),
			 errhint("Ask a superuser to call it.")));
}

void
database_remove_all()
{
	NameData slot_name = slot_name_for(MyDatabaseId);
	constexpr const char *kDisable =
		"SELECT DISTINCT n.nspname, c.relname FROM cdc.change_tables t "
		"JOIN pg_catalog.pg_class c ON c.oid OPERATOR(pg_catalog.=) t.source_object_id "
		"JOIN pg_catalog.pg_namespace n ON n.oid OPERATOR(pg_catalog.=) c.relnamespace";

	Oid user;
	int context;
	GetUserIdAndSecContext(&user, &context);
	SetUserIdAndSecContext(BOOTSTRAP_SUPERUSERID, context | SECURITY_LOCAL_USERID_CHANGE);
	SPI_connect();
	if (SPI_execute(kDisable, false, 0) != SPI_OK_SELECT)
		elog(ERROR, "could not read cdc.change_tables");
	SPITupleTable *sources = SPI_tuptable;
	uint64 nsources = SPI_processed;
	for (uint64 i = 0; i < nsources; i++)
	{
		char *command =
			psprintf("CALL cdc.sp_cdc_disable_table(%s, %s, 'all')",
					 quote_literal_cstr(SPI_getvalue(sources->vals[i], sources->tupdesc, 1)),
					 quote_literal_cstr(SPI_getvalue(sources->vals[i], sources->tupdesc, 2)));
		if (SPI_execute(command, false, 0) < 0)
			elog(ERROR, "could not disable a table");
	}
	SPI_finish();
	CommandCounterIncrement();
	ListCell *cell;
	foreach (cell, capture::ddl_dropped_tables())
		catalog::change_table_drop(lfirst_oid(cell));
	for (const char *table :
		 {"change_tables", "captured_columns", "index_columns", "ddl_history", "lsn_time_mapping",
		  "cdc_jobs", "cleanup_runs", "gaps", "_errors", "_identity", "_progress",
		  "_replica_identity", "_instance_start", "_source_drops"})
		catalog::rows_delete(table, nullptr, {});
	CommandCounterIncrement();
	/* The writer that has just gone may still be letting go of it: wait. */
	replorigin_drop_by_name(NameStr(slot_name), true, false);
	SetUserIdAndSecContext(user, context);
}

} // namespace cdc::worker

using namespace cdc;
using namespace cdc::worker;

/* sp_cdc_enable_db() */
CDC_FUNCTION(cdc_enable_db)
{
	require_writable("sp_cdc_enable_db");
	require_enable_right("sp_cdc_enable_db");
	catalog::require_version();
	if (catalog::database_lacks_identity())
		catalog::error_identity_missing();
	catalog::Identity identity;
	if (catalog::database_read_identity(&identity))
	{
		ereport(NOTICE, (errmsg("database \"%s\" is already enabled for change data capture",
								get_database_name(MyDatabaseId)),
						 errdetail("SQL Server error 22905.")));
		PG_RETURN_VOID();
	}
	require_top_level_call(fcinfo, "sp_cdc_enable_db");
	require_server_for_slot(true);
	require_launcher();
	warn_about_old_minor();

	DatabaseEntry *entry = require_entry();
	CDC_FAULT("enable-db-request");
	request_new_slot(entry);
	PG_RETURN_VOID();
}

/* sp_cdc_disable_db() */
CDC_FUNCTION(cdc_disable_db)
{
	require_writable("sp_cdc_disable_db");
	require_enable_right("sp_cdc_disable_db");
	catalog::require_version();
	if (!catalog::database_has_remains())
		catalog::database_require_enabled();
	require_top_level_call(fcinfo, "sp_cdc_disable_db");

	NameData slot_name = slot_name_for(MyDatabaseId);
	DatabaseEntry *entry = shmem_get() != nullptr ? registry_assign(MyDatabaseId) : nullptr;
	with_workers_stopped(entry, [&] {
		CDC_FAULT("disable-db-stopped");
		SPI_connect_ext(SPI_OPT_NONATOMIC);
		database_remove_all();
		CDC_FAULT("disable-db-removed");
		SPI_commit();
		SPI_finish();
		CDC_FAULT("disable-db-committed");
		ReplicationSlot *slot = SearchNamedReplicationSlot(NameStr(slot_name), true);
		if (slot != nullptr && strcmp(NameStr(slot->data.plugin), "cdc") == 0)
			ReplicationSlotDrop(NameStr(slot_name), true);
		CDC_FAULT("disable-db-end");
		if (entry != nullptr)
			registry_stop(entry);
	});
	PG_RETURN_VOID();
}
