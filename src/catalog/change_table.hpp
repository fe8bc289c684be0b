/*
 * change_table.hpp
 *	  Change tables and their leaf partitions: create, extend, drop.
 *
 * NOTES
 *	  A change table is range-partitioned by __$start_lsn in steps of cdc.partition_wal_size; leaves
 *	  are named _ct_<instance id>_<hex of the lower bound>, never after the instance, so that
 *	  renaming the root is all that disable_table needs.
 *	  All DDL goes through the server's internal entry points, never as a complete utility
 *	  statement: no user event trigger runs in our workers or can fail them.
 */
#pragma once

#include "cdc.hpp"

namespace cdc::catalog
{

/* One captured column of a change table. */
struct ChangeColumn
{
	const char *name;
	Oid type_id; /* never a domain */
	int32 typmod;
	Oid collation;
};

/*
 * Of the BRIN index of a leaf. A look at one LSN reads the pages of its range, 2.5 us each, and the summaries of all ranges
 * of the leaf, 0.08 us each: the best for n pages is the root of n / 30, and leaves come to some hundred thousand.
 * health() in the install script names the number, too.
 */
constexpr int kPagesPerRange = 64;

/*
 * Creates cdc.<capture_instance>_ct without leaves, and its partitioned BRIN index: owned by the
 * extension's owner, member of the extension, without privileges for anybody, whatever default
 * privileges say. tablespace NULL: the database's. The current user needs CREATE in schema cdc.
 */
Oid change_table_create(const char *capture_instance, int32 instance_id,
						std::span<const ChangeColumn> columns, const char *tablespace);

/*
 * Keeps ANALYZE, autovacuum's too, away from columns whose types would have it run code of users: it works as
 * the owner of the table, who is a superuser here. To be called when columns were added; `recurse`: in the leaves
 * too. SHARE UPDATE EXCLUSIVE on the table; the caller must not have it open.
 */
void change_table_limit_statistics(Oid table, bool recurse);

/*
 * The leaf of change table `root` that covers lsn. Creates it when missing, and also the one
 * after it: a reader whose plan was made before a leaf was attached must not miss its rows, so a
 * leaf is there one step before its first row. Leaves are created and then attached (SHARE UPDATE
 * EXCLUSIVE on the root), as members of the extension, owned by the extension's owner, with a BRIN index
 * on __$start_lsn. *created (may be NULL) tells whether anything was created. Never touches ranges that
 * exist: if the step was changed, new leaves fill the room that is left.
 * Needs a transaction, and the caller must not have the root open; leaves no lock on the root but
 * what attaching takes, so finding an existing leaf takes none.
 * InvalidOid: the root or its row in change_tables is gone, the instance has been disabled.
 */
Oid change_table_leaf(Oid root, XLogRecPtr lsn, bool *created);

/* The range [lower, upper) of a leaf; false when it is gone or detached. Takes no lock. */
bool change_table_leaf_bounds(Oid leaf, XLogRecPtr *lower, XLogRecPtr *upper);

/* The leaves whose whole range lies below lsn, the oldest first; palloc'd. Takes no lock. */
List *change_table_leaves_below(Oid root, XLogRecPtr lsn);

/* The leaf whose range lsn divides into two parts; InvalidOid: there is none. Takes no lock. */
Oid change_table_leaf_around(Oid root, XLogRecPtr lsn);

/*
 * Drops a leaf that nobody writes to any more, without making readers wait: it is detached concurrently,
 * which waits for those who may know it without holding a lock meanwhile, and then dropped. One that an earlier
 * attempt has left half detached is finished. Commits the current transaction and leaves another one
 * open; what it allocates must outlive that. Each wait ends with lock_timeout. Does nothing when root
 * or leaf is gone. Locks: SHARE UPDATE EXCLUSIVE on the root, ACCESS EXCLUSIVE on the leaf at the end.
 */
void change_table_leaf_drop(Oid root, Oid leaf);

/*
 * Drops a change table with its leaves and its query functions and view, whatever the extension
 * dependency says, and with what users made on top of them. Returns without doing anything when the
 * relation is already gone. ACCESS EXCLUSIVE on root and leaves; the caller must have none of them open.
 */
void change_table_drop(Oid root);

/* Takes away every privilege that default privileges gave a new relation. */
void relation_clear_privileges(Oid relation);

/*
 * Makes an object a member of the extension, as ALTER EXTENSION ADD does: pg_dump leaves members out,
 * privileges included. Call after all grants.
 */
void extension_add_member(Oid class_id, Oid object_id);

} // namespace cdc::catalog
