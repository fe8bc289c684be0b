/*
 * source_watch.hpp
 *	  Notices when the log stops, or begins again, to hold what an instance was promised.
 *
 * NOTES
 *	  A table that becomes unlogged sends no more rows, and one whose replica identity was weakened sends
 *	  incomplete ones: neither can be learnt from rows alone. Each transaction that changed the catalog
 *	  invalidates relcache entries as it is decoded; at its commit, under its snapshot, those relations are
 *	  looked at. This does not depend on event triggers, which can be switched off.
 */
#pragma once

#include "cdc.hpp"

#include "capture/source_map.hpp"

namespace cdc::capture
{

enum class SourceFlaw : uint8
{
	None,
	Identity, /* replica identity weaker than the instance was promised */
	Unlogged,
};

/* The relcache entry of this relation (InvalidOid: of any) is not valid any more. Never raises. */
void source_watch_note(Oid relid);

/* Forgets what was noted: a new transaction begins. */
void source_watch_reset();

/* Whether anything was noted since then. */
bool source_watch_pending();

/* Whether rows of this relation hold what the instance was promised. */
SourceFlaw source_flaw(Relation relation, const Target &target);

/*
 * Calls visit(target, relation, flaw) for each instance that a noted relation feeds. None: every table of
 * the instance is logged, and this one's identity is as promised. Needs a callback's transaction.
 */
using SourceVisitor = void (*)(const Target &target, Relation relation, SourceFlaw flaw);
void source_watch_check(SourceVisitor visit);

} // namespace cdc::capture
