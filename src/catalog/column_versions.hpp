/*
 * column_versions.hpp
 *	  The physical columns of a change table that hold one captured column, and what readers see.
 *
 * NOTES
 *	  A captured column starts as one physical column. When the source's type changes to one whose
 *	  values cannot be stored in it, the physical column is kept under another name,
 *	  __$<ordinal>_<number>, and a new one takes the captured column's name: history is never
 *	  rewritten, and never cast by a worker. Each row has its value in one of them; the view that
 *	  readers use combines them. So the change table alone says what the versions are, and the type
 *	  that readers see is a function of it:
 *
 *	  the type of a version that every other version can be cast to without loss and without
 *	  failing; else text. bigint after integer gives bigint, integer after bigint too; uuid after
 *	  text gives text.
 *
 *	  The rule is decided here, by types alone, and knows only types and casts of the server's own.
 *	  Casts that can fail (date to timestamp), or whose result depends on a setting of the reader's
 *	  (timestamp to timestamptz), are left out on purpose.
 */
#pragma once

#include "cdc.hpp"

namespace cdc::catalog
{

struct ColumnType
{
	Oid type; /* never a domain */
	int32 typmod;
	Oid collation;
};

struct ColumnVersion
{
	NameData name; /* in the change table */
	AttrNumber attnum;
	ColumnType type;
	bool current; /* takes the values of new rows */
};

/* Whether values of type `value` can be stored in a physical column as they are. */
bool column_type_stores(const ColumnType &column, const ColumnType &value);

/* What the type of a physical column that stores `value` must be for both old and new values. */
ColumnType column_type_join(const ColumnType &column, const ColumnType &value);

/* Whether each value of `from` can be cast to `to` and none is changed or refused. */
bool column_type_widens(const ColumnType &from, const ColumnType &to);

/* The type that readers see. Without versions (all lost): text. */
ColumnType column_reader_type(std::span<const ColumnVersion> versions);

bool column_type_equal(const ColumnType &a, const ColumnType &b);

/* The name that a version gets when it stops being current. */
char *column_version_name(int ordinal, AttrNumber attnum);

/* The ordinal in a name made by column_version_name; 0: not such a name. */
int column_version_ordinal(const char *name);

} // namespace cdc::catalog
