/*
 * replica_identity.cpp
 *	  What of the old row a captured table logs.
 *
 * NOTES
 *	  The change itself is made as the bootstrap superuser: the caller owns the table that was named, but
 *	  not necessarily each of its partitions. It runs no code of anybody's.
 */
#include "cdc.hpp"

#include "catalog/capture_instance.hpp"
#include "catalog/catalog_rows.hpp"
#include "catalog/internal_ddl.hpp"
#include "catalog/replica_identity.hpp"
#include "catalog/source_table.hpp"

extern "C" {
#include "catalog/partition.h"
#include "catalog/pg_authid.h"
#include "catalog/pg_class.h"
#include "catalog/pg_index.h"
#include "catalog/pg_inherits.h"
#include "catalog/pg_publication.h"
#include "catalog/pg_publication_rel.h"
#include "nodes/parsenodes.h"
#include "storage/lmgr.h"
#include "utils/relcache.h"
}

namespace cdc::catalog
{

namespace
{

struct Identity
{
	char kind;			/* REPLICA_IDENTITY_* */
	Oid index;			/* that holds the logged columns: the primary key's or the named one */
	NameData indexname; /* for REPLICA_IDENTITY_INDEX; empty when its index is gone */
};

Identity
identity_of(Oid relation_oid)
{
	Relation relation = table_open(relation_oid, NoLock);
	Identity identity = {.kind = relation->rd_rel->relreplident,
						 .index = InvalidOid,
						 .indexname = {}};
	ListCell *cell;

	foreach (cell, RelationGetIndexList(relation))
	{
		HeapTuple tuple = SearchSysCache1(INDEXRELID, ObjectIdGetDatum(lfirst_oid(cell)));
		if (!HeapTupleIsValid(tuple))
			continue;
		auto *index = reinterpret_cast<Form_pg_index>(GETSTRUCT(tuple));
		if ((identity.kind == REPLICA_IDENTITY_DEFAULT && index->indisprimary &&
			 index->indimmediate && index->indisvalid) ||
			(identity.kind == REPLICA_IDENTITY_INDEX && index->indisreplident))
			identity.index = index->indexrelid;
		ReleaseSysCache(tuple);
	}
	if (identity.kind == REPLICA_IDENTITY_INDEX && OidIsValid(identity.index))
		namestrcpy(&identity.indexname, get_rel_name(identity.index));
	table_close(relation, NoLock);
	return identity;
}

/* ALTER TABLE relation REPLICA IDENTITY ... */
void
identity_alter(Oid relation, char kind, const char *index_name)
{
	ReplicaIdentityStmt *identity = makeNode(ReplicaIdentityStmt);
	identity->identity_type = kind;
	identity->name = index_name == nullptr ? nullptr : pstrdup(index_name);

	AlterTableCmd *command = makeNode(AlterTableCmd);
	command->subtype = AT_ReplicaIdentity;
	command->def = reinterpret_cast<Node *>(identity);

	Oid user;
	int context;
	GetUserIdAndSecContext(&user, &context);
	SetUserIdAndSecContext(BOOTSTRAP_SUPERUSERID, context | SECURITY_LOCAL_USERID_CHANGE);
	with_neutral_settings(nullptr,
						  [&]() { internal_alter_table(relation, command, AccessExclusiveLock); });
	SetUserIdAndSecContext(user, context);
}

std::optional<Identity>
remembered(Oid relation)
{
	ScanKeyData key = scan_key(kRiSourceObjectId, F_OIDEQ, ObjectIdGetDatum(relation));
	std::optional<Identity> result;

	rows_scan("_replica_identity", "_replica_identity_pkey", {&key, 1}, AccessShareLock,
			  [&](Relation table, HeapTuple tuple) {
				  auto row = row_deform<kRiColumns>(table, tuple);
				  Identity identity = {.kind = DatumGetChar(row[kRiFormer]),
									   .index = InvalidOid,
									   .indexname = {}};
				  if (!row.is_null(kRiIndexName))
					  identity.indexname = *DatumGetName(row[kRiIndexName]);
				  result = identity;
			  });
	return result;
}

void
remember(Oid relation, const Identity &identity)
{
	/*
	 * A second instance finds what the first one has set. DEFAULT and NOTHING we never set: the owner has
	 * changed it in between, and that is what comes back.
	 */
	if (remembered(relation).has_value())
	{
		if (identity.kind != REPLICA_IDENTITY_DEFAULT && identity.kind != REPLICA_IDENTITY_NOTHING)
			return;
		replica_identity_forget(relation);
	}

	Relation table = table_open(cdc_relation_oid("_replica_identity", false), RowExclusiveLock);
	Row<kRiColumns> row;
	NameData indexname = identity.indexname;
	row.set(kRiSourceObjectId, ObjectIdGetDatum(relation));
	row.set(kRiFormer, CharGetDatum(identity.kind));
	if (identity.kind == REPLICA_IDENTITY_INDEX && NameStr(indexname)[0] != '\0')
		row.set(kRiIndexName, NameGetDatum(&indexname));
	else
		row.set_null(kRiIndexName);
	row_insert(table, row);
	table_close(table, NoLock);
	CommandCounterIncrement();
}

/* The publication that does not publish enough of `relation`; for the message only. */
const char *
narrow_publication(Oid relation)
{
	List *relations = list_make1_oid(relation);
	const char *any = nullptr;
	ListCell *cell;

	if (get_rel_relispartition(relation))
		relations = list_concat(relations, get_partition_ancestors(relation));
	foreach (cell, relations)
	{
		Oid published = lfirst_oid(cell);
		ListCell *publication_cell;
		foreach (publication_cell, GetRelationPublications(published))
		{
			Publication *publication = GetPublication(lfirst_oid(publication_cell));
			if (!publication->pubactions.pubupdate && !publication->pubactions.pubdelete)
				continue;
			HeapTuple tuple = SearchSysCache2(PUBLICATIONRELMAP, ObjectIdGetDatum(published),
											  ObjectIdGetDatum(publication->oid));
			bool narrow = HeapTupleIsValid(tuple) &&
						  !heap_attisnull(tuple, Anum_pg_publication_rel_prattrs, nullptr);
			if (HeapTupleIsValid(tuple))
				ReleaseSysCache(tuple);
			if (narrow)
				return publication->name;
			any = publication->name;
		}
	}
	return any;
}

/*
 * A wider identity than a publication's columns makes the server refuse UPDATE and DELETE. Ask the
 * server itself, now that the identity is set: an error takes everything back.
 */
void
check_publications(Oid relation_oid)
{
	Relation relation = table_open(relation_oid, NoLock);
	PublicationDesc description;

	RelationBuildPublicationDesc(relation, &description);
	table_close(relation, NoLock);
	if (compat_publication_valid(&description))
		return;

	const char *publication = narrow_publication(relation_oid);
	const char *schema = get_namespace_name(get_rel_namespace(relation_oid));
	const char *name = get_rel_name(relation_oid);
	ereport(ERROR,
			(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
			 publication == nullptr
				 ? errmsg("a publication does not publish all columns of table \"%s.%s\"", schema,
						  name)
				 : errmsg("publication \"%s\" does not publish all columns of table \"%s.%s\"",
						  publication, schema, name),
			 errdetail(
				 "Complete before images need REPLICA IDENTITY FULL, and with it UPDATE and DELETE "
				 "of the table would fail while a publication leaves columns out."),
			 errhint("Pass before_image => 'key', or publish the table without a column list.")));
}

} // namespace

bool
replica_identity_suffices(Oid relation, Oid index)
{
	Identity identity = identity_of(relation);

	return identity.kind == REPLICA_IDENTITY_FULL || (OidIsValid(index) && identity.index == index);
}

void
replica_identity_promise(Oid relation, Oid index)
{
	if (replica_identity_suffices(relation, index))
		return;

	remember(relation, identity_of(relation));
	if (OidIsValid(index))
		identity_alter(relation, REPLICA_IDENTITY_INDEX, get_rel_name(index));
	else
		identity_alter(relation, REPLICA_IDENTITY_FULL, nullptr);
	check_publications(relation);
}

void
replica_identity_restore(Oid relation, Oid index)
{
	std::optional<Identity> former = remembered(relation);
	if (!former.has_value())
		return;
	replica_identity_forget(relation);

	Identity current = identity_of(relation);
	bool ours =
		current.kind == REPLICA_IDENTITY_FULL ||
		(current.kind == REPLICA_IDENTITY_INDEX && OidIsValid(index) && current.index == index);
	if (!ours)
		return;

	if (former->kind != REPLICA_IDENTITY_INDEX)
	{
		identity_alter(relation, former->kind, nullptr);
		return;
	}

	/* The index may have gone or changed since; a key that is not one any more is no identity. */
	const char *name = NameStr(former->indexname);
	Oid former_index = get_relname_relid(name, get_rel_namespace(relation));
	bool usable = false;
	HeapTuple tuple = SearchSysCache1(INDEXRELID, ObjectIdGetDatum(former_index));
	if (HeapTupleIsValid(tuple))
	{
		auto *form = reinterpret_cast<Form_pg_index>(GETSTRUCT(tuple));
		usable = form->indrelid == relation && form->indisunique && form->indimmediate &&
				 form->indisvalid && heap_attisnull(tuple, Anum_pg_index_indpred, nullptr) &&
				 heap_attisnull(tuple, Anum_pg_index_indexprs, nullptr);
		for (int i = 0; usable && i < form->indnkeyatts; i++)
		{
			HeapTuple column = SearchSysCache2(ATTNUM, ObjectIdGetDatum(relation),
											   Int16GetDatum(form->indkey.values[i]));
			usable = HeapTupleIsValid(column) &&
					 reinterpret_cast<Form_pg_attribute>(GETSTRUCT(column))->attnotnull;
			if (HeapTupleIsValid(column))
				ReleaseSysCache(column);
		}
		ReleaseSysCache(tuple);
	}
	if (usable)
		identity_alter(relation, REPLICA_IDENTITY_INDEX, name);
	else
	{
		identity_alter(relation, REPLICA_IDENTITY_DEFAULT, nullptr);
		ereport(
			NOTICE,
			(errmsg("replica identity of table \"%s.%s\" is now the default",
					get_namespace_name(get_rel_namespace(relation)), get_rel_name(relation)),
			 errdetail("Before it was captured it was index \"%s\", which cannot be used any more.",
					   name)));
	}
}

bool
replica_identity_is_remembered(Oid relation)
{
	return remembered(relation).has_value();
}

void
replica_identity_forget(Oid relation)
{
	ScanKeyData key = scan_key(kRiSourceObjectId, F_OIDEQ, ObjectIdGetDatum(relation));
	if (rows_delete("_replica_identity", "_replica_identity_pkey", {&key, 1}) > 0)
		CommandCounterIncrement();
}

void
replica_identity_forget_dropped()
{
	List *gone = NIL;
	ListCell *cell;

	rows_scan("_replica_identity", nullptr, {}, AccessShareLock,
			  [&](Relation table, HeapTuple tuple) {
				  Oid relation =
					  DatumGetObjectId(row_deform<kRiColumns>(table, tuple)[kRiSourceObjectId]);
				  if (!SearchSysCacheExists1(RELOID, ObjectIdGetDatum(relation)))
					  gone = lappend_oid(gone, relation);
			  });
	foreach (cell, gone)
	{
		/* A drop that was seen and committed just now has deleted the row. */
		ScanKeyData key = scan_key(kRiSourceObjectId, F_OIDEQ, ObjectIdGetDatum(lfirst_oid(cell)));
		rows_lock("_replica_identity", "_replica_identity_pkey", {&key, 1});
		replica_identity_forget(lfirst_oid(cell));
	}
}

void
publications_warn()
{
	ListCell *cell;

	foreach (cell, capture_instances_all())
	{
		auto *instance = static_cast<CaptureInstance *>(lfirst(cell));
		ListCell *leaf;

		if (!instance->before_image_full || instance->has_drop_pending)
			continue;
		foreach (leaf, inheritance_tree(instance->source))
		{
			/* A warning is not worth waiting for. */
			if (!ConditionalLockRelationOid(lfirst_oid(leaf), AccessShareLock))
				continue;
			Relation relation = try_relation_open(lfirst_oid(leaf), NoLock);
			if (relation == nullptr)
				continue;
			PublicationDesc description;
			RelationBuildPublicationDesc(relation, &description);
			bool valid = compat_publication_valid(&description);
			relation_close(relation, NoLock);
			if (valid)
				continue;
			/* Its own, or that of the root that it is published through. */
			const char *publication = narrow_publication(lfirst_oid(leaf));
			ereport(WARNING,
					(errmsg("UPDATE and DELETE of captured table \"%s.%s\" will fail",
							get_namespace_name(get_rel_namespace(instance->source)),
							get_rel_name(instance->source)),
					 errdetail("Whole before images need REPLICA IDENTITY FULL, and publication "
							   "\"%s\" leaves columns out.",
							   publication == nullptr ? "?" : publication),
					 errhint("Publish the table without a column list, or disable the instance and "
							 "enable the table with before_image => 'key'.")));
			break;
		}
	}
}

} // namespace cdc::catalog
