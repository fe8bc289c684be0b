/*
 * finder.cpp
 *	  One look, at the start of the launcher, for databases that were captured and have lost their slot.
 *
 * NOTES
 *	  A slot is not copied by a base backup, is not known to most standbys, and can be dropped. The
 *	  replication origin of the same name, which marks our WAL, is a row of a catalog that all databases share: it is
 *	  part of every copy, reaches every standby, and comes and goes with the enabling. Reading that catalog takes a
 *	  connection to some database, whichever; the launcher has none, so this process does it and ends.
 *
 *	  Like a slot an origin is a hint only: the worker that is started decides by the identity row, and
 *	  removes the origin when the database is not enabled.
 */
#include "cdc.hpp"

#include "base/fault.hpp"
#include "base/scope.hpp"
#include "base/shmem.hpp"
#include "catalog/catalog_rows.hpp"
#include "worker/finder.hpp"
#include "worker/registry.hpp"

extern "C" {
#include "catalog/pg_replication_origin.h"
#include "postmaster/bgworker.h"
#include "replication/slot.h"
#include "tcop/tcopprot.h"
#include "utils/syscache.h"

PGDLLEXPORT void cdc_finder_main(Datum argument);
}

namespace cdc::worker
{

namespace
{

/* Those of the server's own databases that have a fixed oid: template1, postgres, template0. */
constexpr Oid kAnyDatabase[] = {1, 5, 4};

BackgroundWorkerHandle *handle = nullptr;
int tried = 0;

/* Databases that exist and have an origin of ours. A list of oids in the caller's context. */
List *
databases_with_origin()
{
	MemoryContext caller = CurrentMemoryContext;
	List *found = NIL;

	in_transaction([&] {
		Relation relation = table_open(ReplicationOriginRelationId, AccessShareLock);
		SysScanDesc scan = systable_beginscan(relation, InvalidOid, false, nullptr, 0, nullptr);
		HeapTuple tuple;
		while (HeapTupleIsValid(tuple = systable_getnext(scan)))
		{
			bool is_null;
			Datum name = heap_getattr(tuple, Anum_pg_replication_origin_roname,
									  RelationGetDescr(relation), &is_null);
			Oid database = is_null ? InvalidOid : database_of_slot(TextDatumGetCString(name));
			/* Dropped by a server without our library: what is left of it must not start workers for ever. */
			if (OidIsValid(database) &&
				SearchSysCacheExists1(DATABASEOID, ObjectIdGetDatum(database)))
				in_context(caller, [&] { found = list_append_unique_oid(found, database); });
		}
		systable_endscan(scan);
		table_close(relation, AccessShareLock);
	});
	return found;
}

void
look()
{
	ListCell *cell;

	List *databases = databases_with_origin();
	CDC_FAULT("finder-look");
	foreach (cell, databases)
	{
		DatabaseEntry *entry = registry_assign(lfirst_oid(cell));
		if (entry == nullptr)
		{
			ereport(LOG,
					(errcode(ERRCODE_CONFIGURATION_LIMIT_EXCEEDED),
					 errmsg("cannot look at database %u: too many databases are enabled for "
							"change data capture",
							lfirst_oid(cell)),
					 errdetail("max_replication_slots is %d, one for each.", max_replication_slots),
					 errhint("Raise max_replication_slots and restart the server.")));
			continue;
		}
		registry_start_if_idle(entry);
	}
	SharedState *shared = shmem_get();
	with_lock(shared->lock, LW_EXCLUSIVE, [&] { shared->origins_looked_at = true; });
}

} // namespace

bool
finder_attend(long *nap)
{
	SharedState *shared = shmem_get();
	pid_t pid;

	if (handle != nullptr)
	{
		if (GetBackgroundWorkerPid(handle, &pid) != BGWH_STOPPED)
			return false;
		pfree(handle);
		handle = nullptr;
		if (!shared->origins_looked_at && ++tried == static_cast<int>(lengthof(kAnyDatabase)))
			ereport(LOG,
					(errmsg("could not look for captured databases that have lost their slot"),
					 errdetail("No process could connect to template1, postgres or template0."),
					 errhint("SELECT * FROM cdc.pg_stat_cdc in a database shows its state.")));
	}
	if (shared->origins_looked_at || tried == static_cast<int>(lengthof(kAnyDatabase)))
		return false;

	BackgroundWorker worker;
	memset(&worker, 0, sizeof(worker));
	worker.bgw_flags = BGWORKER_SHMEM_ACCESS | BGWORKER_BACKEND_DATABASE_CONNECTION;
	worker.bgw_start_time = BgWorkerStart_RecoveryFinished;
	worker.bgw_restart_time = BGW_NEVER_RESTART;
	strlcpy(worker.bgw_library_name, "cdc", sizeof(worker.bgw_library_name));
	strlcpy(worker.bgw_function_name, "cdc_finder_main", sizeof(worker.bgw_function_name));
	strlcpy(worker.bgw_name, "cdc finder", BGW_MAXLEN);
	strlcpy(worker.bgw_type, "cdc finder", BGW_MAXLEN);
	worker.bgw_main_arg = ObjectIdGetDatum(kAnyDatabase[tried]);
	worker.bgw_notify_pid = MyProcPid;
	if (RegisterDynamicBackgroundWorker(&worker, &handle))
		return true;
	/* All worker slots are taken, which may pass: workers that cannot be started say so themselves. */
	handle = nullptr;
	*nap = Min(*nap, 1000L);
	return false;
}

} // namespace cdc::worker

extern "C" void
cdc_finder_main(Datum argument)
{
	using namespace cdc;
	using namespace cdc::worker;

	pqsignal(SIGTERM, die);
	BackgroundWorkerUnblockSignals();
	end_process_on_error(
		[&] {
			/* Also template0, which lets nobody else in. */
			BackgroundWorkerInitializeConnectionByOid(DatumGetObjectId(argument), InvalidOid,
													  BGWORKER_BYPASS_ALLOWCONN);
			settings_of_our_own();
			look();
		},
		[](const ErrorData &) {});
}
