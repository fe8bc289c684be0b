/*
 * compat.hpp
 *	  Every PG_VERSION_NUM test of the project.
 */
#pragma once

#if PG_VERSION_NUM < 150000
#error "cdc needs PostgreSQL 15 or later"
#endif

/* Until 15 it is empty outside Windows, and the library hides what is not exported. */
#if PG_VERSION_NUM < 160000
#undef PGDLLEXPORT
#define PGDLLEXPORT __attribute__((visibility("default")))
#endif

extern "C" {
#include "catalog/pg_class.h"
#include "catalog/pg_database.h"
#include "catalog/pg_publication.h"
#include "catalog/pg_tablespace.h"
#include "commands/defrem.h"
#include "nodes/parsenodes.h"
#include "replication/slot.h"
#include "storage/lmgr.h"
#include "storage/lock.h"
#include "storage/proc.h"
#include "utils/acl.h"
}

/* 18: the server shows the name and version of a library. */
#if PG_VERSION_NUM >= 180000
#define CDC_MODULE_MAGIC PG_MODULE_MAGIC_EXT(.name = "cdc", .version = CDC_VERSION)
#else
#define CDC_MODULE_MAGIC PG_MODULE_MAGIC
#endif

/* 16: one object_ownercheck and object_aclcheck for all kinds of objects. */
inline bool
compat_relation_ownercheck(Oid relation, Oid role)
{
#if PG_VERSION_NUM >= 160000
	return object_ownercheck(RelationRelationId, relation, role);
#else
	return pg_class_ownercheck(relation, role);
#endif
}

inline bool
compat_database_ownercheck(Oid database, Oid role)
{
#if PG_VERSION_NUM >= 160000
	return object_ownercheck(DatabaseRelationId, database, role);
#else
	return pg_database_ownercheck(database, role);
#endif
}

inline AclResult
compat_tablespace_aclcheck(Oid tablespace, Oid role, AclMode mode)
{
#if PG_VERSION_NUM >= 160000
	return object_aclcheck(TableSpaceRelationId, tablespace, role, mode);
#else
	return pg_tablespace_aclcheck(tablespace, role, mode);
#endif
}

/* 16: the strategy of a PartitionSpec is an enum. */
inline void
compat_set_range_partitioned(PartitionSpec *spec)
{
#if PG_VERSION_NUM >= 160000
	spec->strategy = PARTITION_STRATEGY_RANGE;
#else
	spec->strategy = pstrdup("range");
#endif
}

/* 16: DefineIndex got the number of partitions for its progress report. */
inline ObjectAddress
compat_define_index(Oid relation, IndexStmt *stmt)
{
#if PG_VERSION_NUM >= 160000
	return DefineIndex(relation, stmt, InvalidOid, InvalidOid, InvalidOid, -1, false, false, false,
					   false, true);
#else
	return DefineIndex(relation, stmt, InvalidOid, InvalidOid, InvalidOid, false, false, false,
					   false, true);
#endif
}

/* 18: generated columns are the third thing a publication may fail to publish. */
inline bool
compat_publication_valid(const PublicationDesc *desc)
{
	bool valid = desc->rf_valid_for_update && desc->rf_valid_for_delete &&
				 desc->cols_valid_for_update && desc->cols_valid_for_delete;
#if PG_VERSION_NUM >= 180000
	valid = valid && desc->gencols_valid_for_update && desc->gencols_valid_for_delete;
#endif
	return valid;
}

/* 17: row types and array types are members of an extension with what they belong to. */
#if PG_VERSION_NUM >= 170000
constexpr bool kMembersTakeTheirTypesAlong = true;
#else
constexpr bool kMembersTakeTheirTypesAlong = false;
#endif

/* 18: virtual generated columns have no value in the tuple. */
inline bool
compat_is_virtual_column(const FormData_pg_attribute *attribute)
{
#if PG_VERSION_NUM >= 180000
	return attribute->attgenerated == ATTRIBUTE_GENERATED_VIRTUAL;
#else
	return false;
#endif
}

/* 17: an argument for "or a stronger one"; nothing is stronger than what we ask for. */
inline bool
compat_lock_held_by_me(const LOCKTAG *tag, LOCKMODE lockmode)
{
#if PG_VERSION_NUM >= 170000
	return LockHeldByMe(tag, lockmode, false);
#else
	return LockHeldByMe(tag, lockmode);
#endif
}

/* A decoded change's tuple: wrapped in a buffer header until 16. NULL stays NULL. */
#if PG_VERSION_NUM < 170000
#define CDC_DECODED_TUPLE(buffer) ((buffer) != nullptr ? &(buffer)->tuple : nullptr)
#else
#define CDC_DECODED_TUPLE(buffer) (buffer)
#endif

/* Creates the ephemeral logical slot of a database; from 17 on it is synchronised to standbys. */
#if PG_VERSION_NUM < 170000
#define CDC_REPLICATION_SLOT_CREATE(name) ReplicationSlotCreate(name, true, RS_EPHEMERAL, false)
#else
#define CDC_REPLICATION_SLOT_CREATE(name)                                                          \
	ReplicationSlotCreate(name, true, RS_EPHEMERAL, false, true, false)
#endif

/*
 * Waits for the slot and takes it. 18 refuses an invalidated one here, before that starting to decode
 * does.
 */
#if PG_VERSION_NUM < 180000
#define CDC_REPLICATION_SLOT_ACQUIRE(name) ReplicationSlotAcquire(name, false)
#else
#define CDC_REPLICATION_SLOT_ACQUIRE(name) ReplicationSlotAcquire(name, false, true)
#endif

/* Overwrites a row of a table without indexes. */
#if PG_VERSION_NUM < 160000
#define CDC_HEAP_UPDATE(relation, tid, tuple) simple_heap_update(relation, tid, tuple)
#else
#define CDC_HEAP_UPDATE(relation, tid, tuple)                                                      \
	do                                                                                             \
	{                                                                                              \
		TU_UpdateIndexes update_indexes;                                                           \
		simple_heap_update(relation, tid, tuple, &update_indexes);                                 \
	} while (0)
#endif

/* True when that transaction has ended and released its locks; does not wait for it. */
inline bool
compat_transaction_has_ended(TransactionId xid)
{
#if PG_VERSION_NUM >= 180000
	return ConditionalXactLockTableWait(xid, false);
#else
	return ConditionalXactLockTableWait(xid);
#endif
}

/* From 17 on index access methods keep pins between insertions. */
#if PG_VERSION_NUM < 170000
#define CDC_INDEX_INSERT_CLEANUP(relation, info) ((void)0)
#else
#define CDC_INDEX_INSERT_CLEANUP(relation, info) index_insert_cleanup(relation, info)
#endif

/* Attaches this process to an origin's state. */
#if PG_VERSION_NUM < 160000
#define CDC_REPLORIGIN_SESSION_SETUP(origin) replorigin_session_setup(origin)
#else
#define CDC_REPLORIGIN_SESSION_SETUP(origin) replorigin_session_setup(origin, 0)
#endif

/*
 * Why the server has made a slot useless: one of the texts below, or NULL when it has not. Under the slot's
 * spinlock.
 */
inline const char *
compat_slot_invalidation(const ReplicationSlot *slot)
{
	constexpr const char *kRemoved = "The server has removed WAL that capture needed.";
#if PG_VERSION_NUM < 160000
	return XLogRecPtrIsInvalid(slot->data.invalidated_at) ? nullptr : kRemoved;
#else
	switch (slot->data.invalidated)
	{
		case RS_INVAL_NONE:
			return nullptr;
		case RS_INVAL_HORIZON:
			return "The server has removed old catalog rows that capture needed.";
		case RS_INVAL_WAL_LEVEL:
			return "The server has run with a wal_level that capture cannot use.";
#if PG_VERSION_NUM >= 180000
		case RS_INVAL_IDLE_TIMEOUT:
			return "Capture was stopped for longer than idle_replication_slot_timeout.";
#endif
		case RS_INVAL_WAL_REMOVED:
			break;
	}
	return kRemoved;
#endif
}

/* 18: the server may give up a slot that nobody uses for so many seconds; 0: never. */
inline int
compat_idle_slot_timeout()
{
#if PG_VERSION_NUM >= 180000
	return idle_replication_slot_timeout_secs;
#else
	return 0;
#endif
}

/*
 * 17: the standbys that may take over with a copy of the slot this process holds have WAL up to `lsn`.
 * `tell` logs what is wrong with those that are not even connected.
 */
inline bool
compat_standbys_have(XLogRecPtr lsn, bool tell)
{
#if PG_VERSION_NUM >= 170000
	return !MyReplicationSlot->data.failover || StandbySlotsHaveCaughtup(lsn, tell ? LOG : DEBUG1);
#else
	return true;
#endif
}

/* A tree walker as the server's walkers want it; until 16 they declare it without arguments. */
inline auto
compat_walker(bool (*walker)(Node *, void *))
{
#if PG_VERSION_NUM < 160000
	return reinterpret_cast<bool (*)()>(walker);
#else
	return walker;
#endif
}

/*
 * Background worker processes that could be started now. The list of free ones is private and has another
 * type from 16 on; to which list a process belongs is not.
 */
inline int
compat_free_worker_processes()
{
	int free = 0;
	for (uint32 i = 0; i < ProcGlobal->allProcCount; i++)
	{
		const PGPROC *proc = &ProcGlobal->allProcs[i];
		if (static_cast<const void *>(proc->procgloballist) ==
				static_cast<const void *>(&ProcGlobal->bgworkerFreeProcs) &&
			proc->pid == 0)
			free++;
	}
	return free;
}

/* Who runs a virtual transaction; NULL: nobody any more. Needs storage/sinvaladt.h before 17. */
#if PG_VERSION_NUM < 170000
#define CDC_VXID_PROCESS(vxid) BackendIdGetProc((vxid).backendId)
#else
#define CDC_VXID_PROCESS(vxid) ProcNumberGetProc((vxid).procNumber)
#endif

/* After a change of a descriptor's attribute: 18 keeps what deforming needs in a second place. */
#if PG_VERSION_NUM < 180000
#define CDC_ATTRIBUTE_CHANGED(descriptor, i) ((void)0)
#else
#define CDC_ATTRIBUTE_CHANGED(descriptor, i) populate_compact_attribute(descriptor, i)
#endif
