/*
 * source_map.hpp
 *	  What the decoder knows of each relation in the WAL: which capture instances it feeds, and how.
 *
 * NOTES
 *	  Entries are built inside output plugin callbacks, so from the catalog as it was at that WAL
 *	  position: instances appear and vanish in commit order by construction. A relcache
 *	  invalidation of the relation makes its entry stale; enabling and disabling send one for the
 *	  source and each leaf. Each (re)built target gets a new layout number, so the writer is told
 *	  again what the rows look like.
 */
#pragma once

#include "cdc.hpp"

#include "catalog/catalog.hpp"

namespace cdc::capture
{

/* One capture instance fed by a relation. */
struct Target
{
	uint32 layout; /* 0: not announced to the writer yet */
	int32 instance_id;
	Oid change_table;
	Oid root;			/* the source table: the relation itself or an ancestor */
	int ncolumns;		/* captured columns */
	int natts;			/* columns of a change row */
	AttrNumber *source; /* per captured column: attribute of the decoded relation; 0: none, NULL */
	bool before_full;	/* before images were promised complete (REPLICA IDENTITY FULL) */
	int nkeys;
	AttrNumber *keys;	  /* row identifier: attributes of the decoded relation; 0: dropped */
	bool key_in_identity; /* the row identifier is part of the replica identity */
	TupleDesc descriptor; /* of a change row; types of the captured columns as decoded now */
	Size data_offset;	  /* where the data of a whole source row can be copied to; 0: nowhere */
	char *mask_all;		  /* bytea with all defined bits */
	char *mask;			  /* bytea of the same size, built for each update */
	int mask_bytes;
};

enum class SourceKind : uint8
{
	Untracked,
	Tracked,
	DdlQueue, /* cdc._ddl_queue */
};

struct Source
{
	Oid relid; /* hash key */
	bool valid;
	SourceKind kind;
	int ntargets;
	Target *targets; /* in a context of its own, gone with the entry */
	MemoryContext context;
};

/* Must run once per decoder process, outside any transaction. */
void source_map_init(MemoryContext parent);

/* A layout number that no target uses. Numbers of targets that were rebuilt come back. */
uint32 source_map_new_layout();

/*
 * Forgets relations that are gone or not captured when many have come together. Entries of the map
 * must not be in use.
 */
void source_map_trim();

/*
 * Every table that is captured at this WAL position, with its partitions (List of Oid), in the current
 * context. Needs a callback's transaction.
 */
List *source_map_captured();

/* The entry of a relation; owned by the map, valid until the next call. Needs a callback's transaction. */
Source *source_map_lookup(Relation relation);

} // namespace cdc::capture
