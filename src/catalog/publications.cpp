/*
 * publications.cpp
 *	  Keeps the extension's tables out of logical replication by others.
 *
 * NOTES
 *	  The server has no way to leave a table out of FOR ALL TABLES. What it has is pg_class.relrewrite: of a
 *	  relation that has one, the transient heap of a rewriting ALTER TABLE, changes are not given to
 *	  output plugins that have not asked for them (receive_rewrites), and none but ours asks. Nothing else in
 *	  the server looks at the column. Ours have their own oid in it, which no transient heap has. The
 *	  TOAST table needs it as well, or its chunks would be collected for rows that never come.
 *
 *	  Which tables there are is asked by the subscriber, with a query on the publisher's catalog: in a
 *	  walsender, and only there, such a query gets one more condition.
 */
#include "cdc.hpp"

#include "catalog/catalog.hpp"
#include "catalog/catalog_rows.hpp"
#include "catalog/publications.hpp"

extern "C" {
#include "catalog/pg_class.h"
#include "nodes/makefuncs.h"
#include "nodes/nodeFuncs.h"
#include "optimizer/planner.h"
#include "replication/walsender.h"
#include "utils/typcache.h"
}

namespace cdc::catalog
{

namespace
{

planner_hook_type previous_hook = nullptr;

void
hide(Oid relation)
{
	Relation pg_class = table_open(RelationRelationId, RowExclusiveLock);
	HeapTuple tuple = SearchSysCacheCopy1(RELOID, ObjectIdGetDatum(relation));

	if (!HeapTupleIsValid(tuple))
		elog(ERROR, "cache lookup failed for relation %u", relation);
	auto *form = reinterpret_cast<Form_pg_class>(GETSTRUCT(tuple));
	if (form->relrewrite != relation)
	{
		form->relrewrite = relation;
		CatalogTupleUpdate(pg_class, &tuple->t_self, tuple);
		CommandCounterIncrement();
	}
	heap_freetuple(tuple);
	table_close(pg_class, RowExclusiveLock);
}

/* Whether a query, at any level, asks which tables a publication has. */
bool
lists_publication(Node *node, void *)
{
	if (node == nullptr)
		return false;
	if (IsA(node, FuncExpr) && castNode(FuncExpr, node)->funcid == F_PG_GET_PUBLICATION_TABLES)
		return true;
	if (IsA(node, Query))
		return query_tree_walker(castNode(Query, node), compat_walker(lists_publication), nullptr,
								 0);
	return expression_tree_walker(node, compat_walker(lists_publication), nullptr);
}

/* pg_class, wherever the query reads it: AND relnamespace <> ours. The server's lists join it inside. */
bool
leave_ours_out(Node *node, void *context)
{
	if (node == nullptr)
		return false;
	if (!IsA(node, Query))
		return expression_tree_walker(node, compat_walker(leave_ours_out), context);

	auto *query = castNode(Query, node);
	for (int i = 1; i <= list_length(query->rtable); i++)
	{
		auto *entry = static_cast<RangeTblEntry *>(list_nth(query->rtable, i - 1));
		if (entry->rtekind != RTE_RELATION || entry->relid != RelationRelationId)
			continue;
		Var *schema = makeVar(i, Anum_pg_class_relnamespace, OIDOID, -1, InvalidOid, 0);
		Const *ours = makeConst(OIDOID, -1, InvalidOid, sizeof(Oid),
								ObjectIdGetDatum(*static_cast<Oid *>(context)), false, true);
		Expr *other =
			make_opclause(get_negator(lookup_type_cache(OIDOID, TYPECACHE_EQ_OPR)->eq_opr), BOOLOID,
						  false, reinterpret_cast<Expr *>(schema), reinterpret_cast<Expr *>(ours),
						  InvalidOid, InvalidOid);
		set_opfuncid(castNode(OpExpr, reinterpret_cast<Node *>(other)));
		query->jointree->quals =
			make_and_qual(query->jointree->quals, reinterpret_cast<Node *>(other));
	}
	return query_tree_walker(query, compat_walker(leave_ours_out), context, 0);
}

PlannedStmt *
plan(Query *query, const char *text, int options, ParamListInfo parameters)
{
	if (am_walsender && IsTransactionState() && OidIsValid(MyDatabaseId) &&
		lists_publication(reinterpret_cast<Node *>(query), nullptr) &&
		OidIsValid(cdc_extension_oid()))
	{
		Oid schema = get_namespace_oid(kSchema, true);
		leave_ours_out(reinterpret_cast<Node *>(query), &schema);
	}
	if (previous_hook != nullptr)
		return previous_hook(query, text, options, parameters);
	return standard_planner(query, text, options, parameters);
}

} // namespace

void
relation_hide_from_publications(Oid relation)
{
	hide(relation);

	HeapTuple tuple = SearchSysCache1(RELOID, ObjectIdGetDatum(relation));
	Oid toast = reinterpret_cast<Form_pg_class>(GETSTRUCT(tuple))->reltoastrelid;
	ReleaseSysCache(tuple);
	if (OidIsValid(toast))
		hide(toast);
}

void
all_relations_hide_from_publications()
{
	Relation relation = table_open(RelationRelationId, AccessShareLock);
	ScanKeyData key = scan_key(Anum_pg_class_relnamespace, F_OIDEQ,
							   ObjectIdGetDatum(get_namespace_oid(kSchema, false)));
	SysScanDesc scan = systable_beginscan(relation, InvalidOid, false, nullptr, 1, &key);
	List *tables = NIL;
	ListCell *cell;

	while (HeapTuple tuple = systable_getnext(scan))
	{
		auto *form = reinterpret_cast<Form_pg_class>(GETSTRUCT(tuple));
		if (form->relkind == RELKIND_RELATION)
			tables = lappend_oid(tables, form->oid);
	}
	systable_endscan(scan);
	table_close(relation, AccessShareLock);
	foreach (cell, tables)
		relation_hide_from_publications(lfirst_oid(cell));
}

void
publication_warn_of_ours(List *objects)
{
	Oid schema = get_namespace_oid(kSchema, true);
	ListCell *cell;

	foreach (cell, objects)
	{
		auto *object = lfirst_node(PublicationObjSpec, cell);
		const char *name = nullptr;

		if (object->pubobjtype == PUBLICATIONOBJ_TABLES_IN_SCHEMA && object->name != nullptr &&
			strcmp(object->name, kSchema) == 0)
			name = psprintf("schema \"%s\"", kSchema);
		else if (object->pubobjtype == PUBLICATIONOBJ_TABLE && object->pubtable != nullptr)
		{
			Oid relation = RangeVarGetRelid(object->pubtable->relation, NoLock, true);
			if (OidIsValid(relation) && get_rel_namespace(relation) == schema)
				name = psprintf("table \"%s.%s\"", kSchema, get_rel_name(relation));
		}
		if (name != nullptr)
			ereport(
				WARNING,
				(errmsg("changes of %s are not published", name),
				 errdetail("Tables of change data capture are hidden from logical replication: a "
						   "subscriber would get them into a catalog of its own."),
				 errhint(
					 "Read change tables with the query functions, or on a physical standby.")));
	}
}

void
publications_init()
{
	previous_hook = planner_hook;
	planner_hook = plan;
}

} // namespace cdc::catalog
