/*
 * finder.cpp
 *	  One look, at the start of the launcher, for databases that are enabled and have no slot.
 *
 * NOTES
 *	  A slot is not copied by a base backup, is not known to most standbys, and can be dropped. The
 *	  replication origin of the same name, which marks our WAL, is a row of a catalog that all databases share: it is
 *	  part of every copy, reaches every standby, and comes and goes with the enabling. Reading that catalog takes a
 *	  connection to some database, whichever; the launcher has none, so this process does it and ends.
 *
 *	  Like a slot an origin is a hint only: the worker that is started decides by the identity row, and
 *	  removes the origin when the database is not enabled.
 *
 *	  pg_upgrade carries neither, and CREATE DATABASE ... TEMPLATE makes neither. So each database without slot and
 *	  origin is looked into for an identity row, in the order of their oids: a process connects to one, looks, and tells
 *	  the launcher which is next. None stays longer than for that, or it would be in the way of who copies or
 *	  renames the database.
 */
#include "cdc.hpp"

#include "base/fault.hpp"
#include "base/scope.hpp"
#include "base/shmem.hpp"
#include "catalog/catalog_rows.hpp"
#include "catalog/database.hpp"
#include "worker/finder.hpp"
#include "worker/register_process.hpp"
#include "worker/registry.hpp"

extern "C" {
#include "catalog/pg_database.h"
#include "catalog/pg_replication_origin.h"
#include "miscadmin.h"
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
int tried = 0;				  /* of kAnyDatabase */
Oid looked_into = InvalidOid; /* all databases up to here are done */
bool at_next = false;		  /* the process was started in the one it shall look into */
bool done = false;

/* datconnlimit of what an interrupted DROP DATABASE has left; the server's own name for it came with 15.4. */
constexpr int kInvalidDatabase = -2;

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

/* The first database behind `after` that has no slot and no origin; InvalidOid: there is none. */
Oid
next_without_origin(const List *with_origin, Oid after)
{
	Oid next = InvalidOid;

	in_transaction([&] {
		Relation relation = table_open(DatabaseRelationId, AccessShareLock);
		SysScanDesc scan = systable_beginscan(relation, InvalidOid, false, nullptr, 0, nullptr);
		HeapTuple tuple;
		while (HeapTupleIsValid(tuple = systable_getnext(scan)))
		{
			auto *database = reinterpret_cast<Form_pg_database>(GETSTRUCT(tuple));
			NameData slot = slot_name_for(database->oid);
			/* template0 is nobody's to write to. */
			if (database->oid > after && (!OidIsValid(next) || database->oid < next) &&
				database->oid != MyDatabaseId && !list_member_oid(with_origin, database->oid) &&
				(database->datallowconn || !database->datistemplate) &&
				database->datconnlimit != kInvalidDatabase &&
				SearchNamedReplicationSlot(NameStr(slot), true) == nullptr)
				next = database->oid;
		}
		systable_endscan(scan);
		table_close(relation, AccessShareLock);
	});
	return next;
}

void
start_capture_in(Oid database)
{
	DatabaseEntry *entry = registry_assign(database);

	if (entry != nullptr)
	{
		registry_start_if_idle(entry);
		return;
	}
	ereport(LOG, (errcode(ERRCODE_CONFIGURATION_LIMIT_EXCEEDED),
				  errmsg("cannot look at database %u: too many databases are enabled for "
						 "change data capture",
						 database),
				  errdetail("max_replication_slots is %d, one for each.", max_replication_slots),
				  errhint("Raise max_replication_slots and restart the server.")));
}

void
look()
{
	SharedState *shared = shmem_get();
	List *with_origin = databases_with_origin();
	ListCell *cell;

	CDC_FAULT("finder-look");
	if (!shared->origins_looked_at)
		foreach (cell, with_origin)
			start_capture_in(lfirst_oid(cell));
	if (!list_member_oid(with_origin, MyDatabaseId))
		in_transaction([&] {
			catalog::Identity identity;
			if (catalog::database_read_identity(&identity))
				start_capture_in(MyDatabaseId);
		});
	Oid next = next_without_origin(with_origin, shared->finder_after);
	with_lock(shared->lock, LW_EXCLUSIVE, [&] {
		shared->origins_looked_at = true;
		shared->finder_next = next;
		shared->finder_answered = true;
	});
}

/* The process that was started has ended: where the next one looks. */
void
take_answer()
{
	SharedState *shared = shmem_get();
	bool answered = shared->finder_answered;

	if (answered)
	{
		looked_into = shared->finder_next;
		done = !OidIsValid(looked_into);
		at_next = true;
	}
	else if (at_next)
	{
		/* It has been dropped, say. Another process, in a database that is there, tells what is next. */
		at_next = false;
		tried = 0;
	}
	else if (++tried == static_cast<int>(lengthof(kAnyDatabase)))
	{
		done = true;
		ereport(LOG, (errmsg("could not look for captured databases that have lost their slot"),
					  errdetail("No process could connect to template1, postgres or template0."),
					  errhint("SELECT * FROM cdc.pg_stat_cdc in a database shows its state.")));
	}
	if (done)
		return;
	with_lock(shared->lock, LW_EXCLUSIVE, [&] {
		shared->finder_after = looked_into;
		shared->finder_database = at_next ? looked_into : kAnyDatabase[tried];
		shared->finder_answered = false;
	});
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
		take_answer();
	}
	if (done)
		return false;

	handle = register_process("cdc finder", "cdc_finder_main",
							  ObjectIdGetDatum(shared->finder_database));
	if (handle != nullptr)
		return true;
	/* All worker slots are taken, which may pass: workers that cannot be started say so themselves. */
	*nap = Min(*nap, 1000L);
	return false;
}

bool
finder_only_has_slot()
{
	return process_only_has_slot(handle);
}

void
finder_begin()
{
	SharedState *shared = shmem_get();

	with_lock(shared->lock, LW_EXCLUSIVE, [&] {
		shared->origins_looked_at = false;
		shared->finder_answered = false;
		shared->finder_after = InvalidOid;
		shared->finder_database = kAnyDatabase[0];
	});
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
