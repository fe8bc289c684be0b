/*
 * source_table.hpp
 *	  The table that a capture instance is made for: finding, locking and judging it.
 *
 * NOTES
 *	  What is judged here is refused with the error, detail and hint that the user sees; nothing is
 *	  changed. Lock order: the table (root), then its leaves as the server locks inheritance trees,
 *	  then what catalog_lock.hpp names.
 */
#pragma once

#include "cdc.hpp"

namespace cdc::catalog
{

/* A table with everything below it when it is partitioned. */
struct SourceTable
{
	Oid oid;
	const char *schema;
	const char *name;
	bool partitioned;
	List *
		tree; /* oids: the table, then partitions of every level; only itself when not partitioned */
};

/* What identifies a row: the primary key, or the unique index that was named. */
struct RowIdentifier
{
	Oid index;
	const char *index_name;
	int columns;
	AttrNumber column[INDEX_MAX_KEYS]; /* attribute numbers in the source, in index order */
};

/* One column that will be captured. */
struct SourceColumn
{
	const char *name;
	AttrNumber attnum;
	bool is_computed;
	const char *type_name; /* with type modifier */
	Oid base_type;		   /* domains looked through */
	int32 base_typmod;
	Oid collation;
};

/*
 * Looks a table up by its exact names. Raises 22931 when there is none and !missing_ok (else
 * returns InvalidOid), 22974 in schema cdc, 22904 when the caller does not own it, and 42809 for what is
 * not an ordinary or partitioned table that writes WAL. With a lock mode other than NoLock the
 * table is locked after the checks, and the name still means it.
 */
Oid source_table_lookup(const char *schema, const char *name, LOCKMODE lockmode, bool for_enable,
						bool missing_ok);

/*
 * Loads the tree below a table that is already locked, taking the same lock on each partition. With
 * for_enable, refuses leaves whose changes the log does not show, or that are captured themselves.
 */
SourceTable source_table_load(Oid oid, LOCKMODE lockmode, bool for_enable);

/*
 * The row identifier: the named index, else the primary key; none: nullopt. Raises 22928, 22929,
 * 22980 and 22838 for an index that does not qualify.
 */
std::optional<RowIdentifier> row_identifier_find(const SourceTable &table, const char *index_name);

/* The index of `relation`, a member of the tree, that belongs to the identifier's. InvalidOid: none. */
Oid row_identifier_index_of(const RowIdentifier &identifier, Oid relation);

/*
 * The columns to capture, by attribute number. list NULL: all that are stored. Raises 22930, 22942,
 * 22943, 22965, 22975 and 22925.
 */
std::span<SourceColumn> source_columns_choose(const SourceTable &table, const char *list,
											  const RowIdentifier *identifier);

/*
 * The relation and everything that inherits from it, parents first (List of Oid). Nothing is locked: what
 * is gone, or goes meanwhile, is left out, where find_all_inheritors raises.
 */
List *inheritance_tree(Oid root);

/*
 * What inherits from the relation itself, partitions that are being detached included, and nothing when it is gone
 * (List of Oid). find_inheritance_children raises then.
 */
List *inheritance_children(Oid parent);

} // namespace cdc::catalog
