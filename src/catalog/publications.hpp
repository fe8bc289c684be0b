/*
 * publications.hpp
 *	  Keeps the extension's tables out of logical replication by others.
 *
 * NOTES
 *	  A publication FOR ALL TABLES has our tables, too. A subscriber without them would stop at the
 *	  first change row, or at CREATE SUBSCRIPTION; one with the extension would get our catalog into its
 *	  own. So their changes are invisible to other decoders, and walsenders do not list them.
 */
#pragma once

#include "cdc.hpp"

namespace cdc::catalog
{

/* Makes the changes of a table and its TOAST table invisible to output plugins of others. */
void relation_hide_from_publications(Oid relation);

/* The same for every table of schema cdc that is not hidden yet: for those that pg_upgrade has made. */
void all_relations_hide_from_publications();

/*
 * Whether rows of this relation are those of a rewrite in progress (ALTER TABLE): an output plugin that
 * asks for the hidden tables is shown these, too.
 */
inline bool
relation_is_being_rewritten(Relation relation)
{
	return OidIsValid(relation->rd_rel->relrewrite) &&
		   relation->rd_rel->relrewrite != RelationGetRelid(relation);
}

/* Warns of tables of ours among the objects of CREATE or ALTER PUBLICATION: it has no effect. */
void publication_warn_of_ours(List *objects);

/* Installs the hook that leaves our tables out of what a walsender lists. */
void publications_init();

} // namespace cdc::catalog
