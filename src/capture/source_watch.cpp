/*
 * source_watch.cpp
 *	  Looks at captured relations whose catalog entries a decoded transaction has changed.
 */
#include "cdc.hpp"

#include "capture/source_watch.hpp"
#include "catalog/source_table.hpp"

extern "C" {
#include "access/transam.h"
#include "catalog/pg_class.h"
#include "catalog/pg_inherits.h"
#include "utils/relcache.h"
}

namespace cdc::capture
{

namespace
{

/* Noted in a callback that must not allocate. More than these: every source is looked at. */
constexpr int kMaxNoted = 1024;

Oid noted[kMaxNoted];
int nnoted = 0;
bool overflown = false;

/* What pg_class says of a relation now; kind 0: it is gone, or nothing that could be captured. */
struct Storage
{
	char kind;
	char persistence;
};

Storage
storage_of(Oid relid)
{
	Storage storage = {};
	HeapTuple tuple = SearchSysCache1(RELOID, ObjectIdGetDatum(relid));

	if (!HeapTupleIsValid(tuple))
		return storage;
	auto *form = reinterpret_cast<Form_pg_class>(GETSTRUCT(tuple));
	storage = {form->relkind, form->relpersistence};
	ReleaseSysCache(tuple);
	return storage;
}

/* The sources looked at in one check: a command on a large tree notes each of its partitions. */
struct Trees
{
	List *logged;	/* Oid of roots */
	List *unlogged; /* the same, with an unlogged table somewhere */
};

/* A flaw of another partition is not over because this one is sound. */
bool
is_tree_logged(Trees *trees, Oid root)
{
	ListCell *cell;

	if (list_member_oid(trees->logged, root))
		return true;
	if (list_member_oid(trees->unlogged, root))
		return false;
	foreach (cell, catalog::inheritance_tree(root))
		if (storage_of(lfirst_oid(cell)).persistence == RELPERSISTENCE_UNLOGGED)
		{
			trees->unlogged = lappend_oid(trees->unlogged, root);
			return false;
		}
	trees->logged = lappend_oid(trees->logged, root);
	return true;
}

/* A table that holds rows of a partitioned one; InvalidOid: there is none. */
Oid
some_leaf(Oid root)
{
	ListCell *cell;

	foreach (cell, catalog::inheritance_tree(root))
		if (storage_of(lfirst_oid(cell)).kind == RELKIND_RELATION)
			return lfirst_oid(cell);
	return InvalidOid;
}

void
check(Oid relid, Trees *trees, SourceVisitor visit)
{
	Storage storage = storage_of(relid);

	/* A partition may have left, and its flaw with it: any other can tell that the tree is logged now. */
	if (storage.kind == RELKIND_PARTITIONED_TABLE)
	{
		relid = some_leaf(relid);
		storage = storage_of(relid);
	}
	if (storage.kind != RELKIND_RELATION || storage.persistence == RELPERSISTENCE_TEMP)
		return;
	Relation relation = RelationIdGetRelation(relid);
	if (!RelationIsValid(relation))
		return;
	Source *source = source_map_lookup(relation);
	for (int t = 0; t < source->ntargets; t++)
	{
		const Target &target = source->targets[t];
		SourceFlaw flaw = source_flaw(relation, target);
		if (flaw != SourceFlaw::None || is_tree_logged(trees, target.root))
			visit(target, relation, flaw);
	}
	RelationClose(relation);
}

} // namespace

void
source_watch_note(Oid relid)
{
	if (!OidIsValid(relid))
	{
		overflown = true;
		return;
	}
	if (relid < FirstNormalObjectId)
		return;
	for (int i = nnoted - 1; i >= 0 && i >= nnoted - 8; i--)
		if (noted[i] == relid)
			return;
	if (nnoted == kMaxNoted)
		overflown = true;
	else
		noted[nnoted++] = relid;
}

void
source_watch_reset()
{
	nnoted = 0;
	overflown = false;
}

bool
source_watch_pending()
{
	return nnoted > 0 || overflown;
}

SourceFlaw
source_flaw(Relation relation, const Target &target)
{
	char identity = relation->rd_rel->relreplident;

	if (relation->rd_rel->relpersistence == RELPERSISTENCE_UNLOGGED)
		return SourceFlaw::Unlogged;
	if (identity == REPLICA_IDENTITY_FULL ||
		(!target.before_full && (target.nkeys == 0 || target.key_in_identity)))
		return SourceFlaw::None;
	return SourceFlaw::Identity;
}

void
source_watch_check(SourceVisitor visit)
{
	/* Looking may invalidate more, which is then noted for the next time. */
	List *relations = NIL;
	Trees trees = {};
	ListCell *cell;

	for (int i = 0; i < nnoted; i++)
		relations = lappend_oid(relations, noted[i]);
	if (overflown)
		relations = source_map_captured();
	source_watch_reset();
	foreach (cell, relations)
		check(lfirst_oid(cell), &trees, visit);
}

} // namespace cdc::capture
