/*
 * table_guard.cpp
 *	  Refuses commands on our own tables whose effect nobody would notice.
 *
 * NOTES
 *	  What a superuser puts onto a change table (a trigger, an index, a constraint) the writer sees, and says so. It
 *	  cannot see what is gone: a partition that was detached or dropped, rows that TRUNCATE took, a catalog
 *	  table that decoding does not find any more. Readers would be given less than was captured without a word.
 *	  So such commands are refused, as the server refuses them on its own catalogs, and the same setting
 *	  lets those pass who know what they do: allow_system_table_mods. DELETE and UPDATE are theirs in any case.
 */
#include "cdc.hpp"

#include "catalog/catalog.hpp"
#include "catalog/table_guard.hpp"

extern "C" {
#include "access/xlog.h"
#include "catalog/dependency.h"
#include "catalog/index.h"
#include "catalog/objectaccess.h"
#include "catalog/pg_class.h"
#include "catalog/pg_extension.h"
#include "commands/extension.h"
}

namespace cdc::catalog
{

namespace
{

constexpr const char *kCleanupHint =
	"To remove captured changes, CALL cdc.sp_cdc_cleanup_change_table(...) or "
	"cdc.sp_cdc_disable_table(...).";
constexpr const char *kModsHint =
	"SET allow_system_table_mods = on lets it pass, if you know how to undo it.";

object_access_hook_type previous_hook = nullptr;

/* Scripts of the extension, and who has said that he knows what he does; whom the server refuses it is not ours to. */
bool
is_allowed()
{
	return allowSystemTableMods || !superuser() || creating_extension || RecoveryInProgress() ||
		   !OidIsValid(cdc_extension_oid());
}

/* A table, view, sequence or index of the extension, or of one of its tables. */
bool
is_ours(Oid relation)
{
	Oid schema = get_namespace_oid(kSchema, true);

	if (!OidIsValid(relation) || !OidIsValid(schema) || get_rel_namespace(relation) != schema)
		return false;
	char kind = get_rel_relkind(relation);
	if (kind == RELKIND_INDEX || kind == RELKIND_PARTITIONED_INDEX)
		relation = IndexGetRelation(relation, true);
	return OidIsValid(relation) &&
		   getExtensionOfObject(RelationRelationId, relation) == cdc_extension_oid();
}

[[noreturn]] void
refuse(const char *what, Oid relation, const char *hint)
{
	ereport(ERROR,
			(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
			 errmsg("cannot %s \"%s.%s\" because it belongs to change data capture", what, kSchema,
					get_rel_name(relation)),
			 errdetail("Changes would be missing, and whoever reads them would not be told."),
			 errhint("%s", hint)));
	pg_unreachable();
}

/* What an ALTER TABLE would do to our table that is refused, or NULL. */
const char *
refused_alteration(const AlterTableCmd *command)
{
	switch (command->subtype)
	{
		case AT_AttachPartition:
			return "attach a partition to";
		case AT_DetachPartition:
		case AT_DetachPartitionFinalize:
			return "detach a partition from";
		case AT_AddInherit:
		case AT_DropInherit:
			return "change the parent of";
		case AT_DropColumn:
			return "drop a column of";
		case AT_AlterColumnType:
			return "change the type of a column of";
		case AT_SetUnLogged:
			return "make unlogged";
		case AT_SetRelOptions:
		case AT_ResetRelOptions:
		case AT_ReplaceRelOptions:
		{
			ListCell *cell;
			foreach (cell, reinterpret_cast<List *>(command->def))
				if (strcmp(castNode(DefElem, lfirst(cell))->defname, "user_catalog_table") == 0)
					return "change the option user_catalog_table of";
			return nullptr;
		}
		default:
			return nullptr;
	}
}

void
hook(ObjectAccessType access, Oid class_id, Oid object_id, int sub_id, void *argument)
{
	if (previous_hook != nullptr)
		previous_hook(access, class_id, object_id, sub_id, argument);
	if (access == OAT_TRUNCATE && class_id == RelationRelationId && is_ours(object_id) &&
		!is_allowed())
		refuse("truncate", object_id, kCleanupHint);
}

void
check_rename(const RenameStmt *rename)
{
	if (rename->renameType == OBJECT_SCHEMA && strcmp(rename->subname, kSchema) == 0 &&
		!is_allowed())
		ereport(ERROR, (errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
						errmsg("cannot rename schema \"%s\" because it belongs to change data "
							   "capture",
							   kSchema),
						errdetail("Capture would stop, and nothing of it could be called."),
						errhint("%s", kModsHint)));
	if (rename->relation == nullptr)
		return;
	Oid relation = RangeVarGetRelid(rename->relation, NoLock, true);
	if (is_ours(relation) && !is_allowed())
		refuse(rename->renameType == OBJECT_COLUMN ? "rename a column of" : "rename", relation,
			   kModsHint);
}

} // namespace

void
table_guard_init()
{
	previous_hook = object_access_hook;
	object_access_hook = hook;
}

void
table_guard_check(Node *parse_tree)
{
	ListCell *cell;

	/* Also ROLLBACK in a failed transaction comes by here; nothing below is one of those. */
	switch (nodeTag(parse_tree))
	{
		case T_AlterTableStmt:
		{
			auto *alter = castNode(AlterTableStmt, parse_tree);
			foreach (cell, alter->cmds)
			{
				auto *command = castNode(AlterTableCmd, lfirst(cell));
				const char *what = refused_alteration(command);
				if (what == nullptr)
					continue;
				Oid relation = RangeVarGetRelid(alter->relation, NoLock, true);
				if (is_ours(relation) && !is_allowed())
					refuse(what, relation,
						   command->subtype == AT_DetachPartition ? kCleanupHint : kModsHint);
			}
			return;
		}
		case T_RenameStmt:
			check_rename(castNode(RenameStmt, parse_tree));
			return;
		case T_AlterObjectSchemaStmt:
		{
			auto *move = castNode(AlterObjectSchemaStmt, parse_tree);
			Oid relation = move->relation != nullptr
							   ? RangeVarGetRelid(move->relation, NoLock, true)
							   : InvalidOid;
			if (is_ours(relation) && !is_allowed())
				refuse("move to another schema", relation, kModsHint);
			return;
		}
		case T_AlterExtensionContentsStmt:
		{
			auto *contents = castNode(AlterExtensionContentsStmt, parse_tree);
			if (contents->action < 0 && strcmp(contents->extname, "cdc") == 0 && !is_allowed())
				ereport(ERROR,
						(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
						 errmsg("cannot take an object out of extension \"cdc\""),
						 errdetail("It could be dropped then, and what needs it would fail."),
						 errhint("%s", kModsHint)));
			return;
		}
		default:
			return;
	}
}

} // namespace cdc::catalog
