/*
 * capture_instance.hpp
 *	  A capture instance as backends see it: its row, captured columns and row identifier.
 *
 * NOTES
 *	  Loaded from change_tables, captured_columns and index_columns with the catalog snapshot, i.e.
 *	  the latest committed state plus what this transaction has done up to its last command,
 *	  whatever the isolation level: low end and rights must be today's. Nothing is cached: a
 *	  load is three short index scans.
 *
 *	  (Under the decoder's historic snapshot the same functions show the state at that position.)
 */
#pragma once

#include "cdc.hpp"

#include "catalog/column_versions.hpp"

namespace cdc::catalog
{

struct CapturedColumn
{
	NameData name;		  /* as captured: never follows a rename of the source column */
	AttrNumber column_id; /* attribute number in the source */
	int ordinal;		  /* 1-based: the bit in the update mask */
	bool is_computed;
	char *column_type;				   /* source type as SQL text */
	ColumnType type;				   /* that readers see */
	std::span<ColumnVersion> versions; /* physical columns; empty: lost, or no change table */
};

struct KeyColumn
{
	NameData name;
	int index_ordinal;	  /* 1-based position in the row identifier's index */
	AttrNumber column_id; /* attribute number in the source */
	int ordinal;		  /* its captured column (CapturedColumn::ordinal), 0 when not captured */
};

struct CaptureInstance
{
	Oid change_table; /* root of the change table (change_tables.object_id) */
	Oid source;
	int32 instance_id;
	NameData name;
	XLogRecPtr start_lsn; /* low end; InvalidXLogRecPtr (0/0) while the writer has not set it */
	bool supports_net_changes;
	bool has_drop_pending;
	bool has_role;
	NameData role_name; /* valid when has_role */
	bool has_index;
	NameData index_name; /* row identifier's index; valid when has_index */
	bool has_filegroup;
	NameData filegroup_name; /* tablespace; valid when has_filegroup */
	TimestampTz create_date;
	bool partition_switch;
	bool before_image_full;			   /* before_image: full, else key */
	bool truncate_recorded;			   /* truncate_action: record, else refuse */
	bool kept_after_drop;			   /* drop_action: keep, else remove */
	std::span<CapturedColumn> columns; /* by ordinal, 1..n without gaps: columns[ordinal - 1] */
	std::span<KeyColumn> key;		   /* by index_ordinal; empty without a row identifier */

	/* Somebody has changed its metadata by hand: columns and key may be empty. It can be disabled, not read. */
	bool is_damaged;
};

/* Raises when the instance is damaged: for whoever makes something of its columns or its key. */
void capture_instance_require_whole(const CaptureInstance *instance);

/*
 * The instance of that name (trailing white space ignored, case kept), palloc'd in the current
 * context. NULL when there is none and missing_ok, else raises error_instance_not_found (22981).
 * Needs a transaction; takes AccessShareLock on the catalog tables only.
 */
CaptureInstance *capture_instance_by_name(const char *ci, bool missing_ok);

/*
 * The same for a current user who may read its changes; 22981 says not whether it exists. 22901 when
 * the database is not enabled.
 */
CaptureInstance *capture_instance_readable(const char *ci);

/* The same by change_tables.instance_id. */
CaptureInstance *capture_instance_by_id(int32 instance_id, bool missing_ok);

/*
 * The instances of a source table in order of creation (0 to 2 CaptureInstance pointers). Those of a table that
 * was dropped and had the same oid are not among them.
 */
List *capture_instances_of_source(Oid source);

/* All instances of the database, in order of creation. */
List *capture_instances_all();

/*
 * Whether `role` may read the instance's changes: superuser, owner of the database, or all of
 * member of the gating role when there is one; SELECT on every captured column; and, when the
 * source has row-level security, owner of it or BYPASSRLS. A column that the source has dropped has no
 * rights of its own any more, so its history is for those with SELECT on the whole table. A source
 * that is gone leaves the first two. Never raises for lack of rights. Reads syscaches only.
 */
bool capture_instance_may_read(const CaptureInstance *instance, Oid role);

/* The same, and what is missing first. */
enum class ReadDenied
{
	No,
	SourceGone,
	GatingRole,
	RowSecurity,
	Select,
};
ReadDenied capture_instance_denies(const CaptureInstance *instance, Oid role);

/* Whether CDC is enabled in this database: cdc._identity has its row. */
bool database_is_enabled();

/* Raises 55000 (SQL Server error 22901) with the hint to call sp_cdc_enable_db otherwise. */
void database_require_enabled();

} // namespace cdc::catalog
