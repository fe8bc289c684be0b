/*
 * install.cpp
 *	  What the install script needs from C.
 */
#include "cdc.hpp"

#include "catalog/catalog.hpp"
#include "catalog/catalog_rows.hpp"
#include "catalog/change_table.hpp"
#include "catalog/publications.hpp"

extern "C" {
#include "catalog/pg_class.h"
}

/*
 * cdc._clear_default_privileges: the script creates tables as everybody does, so the default privileges of
 * whoever runs it apply. What only the engine may write must not be open to a role that was
 * promised all future tables.
 */
CDC_FUNCTION(cdc_clear_default_privileges)
{
	using namespace cdc::catalog;

	if (!creating_extension)
		ereport(ERROR,
				(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
				 errmsg("function \"%s._clear_default_privileges\" is for the install script only",
						kSchema)));

	Relation relation = table_open(RelationRelationId, AccessShareLock);
	ScanKeyData key = scan_key(Anum_pg_class_relnamespace, F_OIDEQ,
							   ObjectIdGetDatum(get_namespace_oid(kSchema, false)));
	SysScanDesc scan = systable_beginscan(relation, InvalidOid, false, nullptr, 1, &key);
	List *relations = NIL;

	while (HeapTuple tuple = systable_getnext(scan))
		relations = lappend_oid(relations, reinterpret_cast<Form_pg_class>(GETSTRUCT(tuple))->oid);
	systable_endscan(scan);
	table_close(relation, AccessShareLock);

	ListCell *cell;
	foreach (cell, relations)
		relation_clear_privileges(lfirst_oid(cell));
	all_relations_hide_from_publications();
	PG_RETURN_VOID();
}
