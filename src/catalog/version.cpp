/*
 * version.cpp
 *	  Whether this library and the extension in this database belong together.
 */
#include "cdc.hpp"

#include "base/args.hpp"
#include "catalog/catalog.hpp"
#include "catalog/catalog_rows.hpp"
#include "catalog/version.hpp"

extern "C" {
#include "catalog/pg_extension.h"
#include "commands/dbcommands.h"
}

namespace cdc::catalog
{

namespace
{

/*
 * What this library is, in one piece that can be found in the file: strings cdc.so | grep 'cdc library'. Read at run time
 * only, so that what is in the file is what counts.
 */
#define CDC_VERSION_PREFIX "cdc library "
#define CDC_VERSION_SEPARATOR " serves from "
const char version_tag[] =
	CDC_VERSION_PREFIX CDC_VERSION CDC_VERSION_SEPARATOR CDC_OLDEST_SERVED_VERSION;
const char *volatile version_tag_pointer = version_tag;

struct Version
{
	long major;
	long minor;
};

/* What comes behind major.minor does not count. A name that is no number, as of somebody's own build, is 0.0. */
Version
version_parse(const char *text)
{
	Version version = {};
	char *end;

	version.major = strtol(text, &end, 10);
	if (*end == '.')
		version.minor = strtol(end + 1, nullptr, 10);
	return version;
}

const char *
version_text(const Version &version)
{
	return psprintf("%ld.%ld", version.major, version.minor);
}

bool
is_before(const Version &a, const Version &b)
{
	return a.major != b.major ? a.major < b.major : a.minor < b.minor;
}

Version
library_version()
{
	return version_parse(version_tag_pointer + strlen(CDC_VERSION_PREFIX));
}

Version
oldest_served()
{
	const char *separator = strstr(version_tag_pointer, CDC_VERSION_SEPARATOR);
	return version_parse(separator + strlen(CDC_VERSION_SEPARATOR));
}

/* nullptr: there is no extension here. */
const char *
extension_version()
{
	char *version = nullptr;
	Relation relation = table_open(ExtensionRelationId, AccessShareLock);
	ScanKeyData key = scan_key(Anum_pg_extension_extname, F_NAMEEQ, CStringGetDatum("cdc"));
	SysScanDesc scan = systable_beginscan(relation, ExtensionNameIndexId, true, nullptr, 1, &key);
	HeapTuple tuple = systable_getnext(scan);

	if (HeapTupleIsValid(tuple))
	{
		bool isnull;
		Datum value =
			heap_getattr(tuple, Anum_pg_extension_extversion, RelationGetDescr(relation), &isnull);
		if (!isnull)
			version = TextDatumGetCString(value);
	}
	systable_endscan(scan);
	table_close(relation, AccessShareLock);
	return version;
}

VersionProblem
compare(const char *extension)
{
	Version library = library_version();
	Version oldest = oldest_served();
	Version wanted = version_parse(extension);
	VersionProblem problem = {};

	if (!is_before(library, wanted) && !is_before(wanted, oldest))
	{
		problem.match =
			is_before(wanted, library) ? VersionMatch::LibraryNewer : VersionMatch::Same;
		return problem;
	}
	problem.detail = psprintf(
		"The library that runs is %s and serves versions from %s on; the extension in database \"%s\" is %s.",
		version_text(library), version_text(oldest), get_database_name(MyDatabaseId), extension);
	if (is_before(library, wanted))
	{
		problem.match = VersionMatch::LibraryTooOld;
		problem.message = "the library of extension \"cdc\" is too old for it";
		problem.hint = psprintf(
			"Install the library of version %s, if that is not done yet, and restart the server.",
			version_text(wanted));
		return problem;
	}
	problem.match = VersionMatch::LibraryTooNew;
	problem.message = "extension \"cdc\" is too old for its library";
	problem.hint = "ALTER EXTENSION cdc UPDATE; then CALL cdc.sp_cdc_start_job();";
	return problem;
}

[[noreturn]] void
error_version(const VersionProblem &problem)
{
	if (problem.match == VersionMatch::LibraryTooOld)
		ereport(ERROR, (errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
						errmsg("the library of extension \"cdc\" is too old for it"),
						errdetail_internal("%s", problem.detail), errhint("%s", problem.hint)));
	ereport(ERROR, (errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
					errmsg("extension \"cdc\" is too old for its library"),
					errdetail_internal("%s", problem.detail), errhint("%s", problem.hint)));
	pg_unreachable();
}

} // namespace

VersionProblem
version_problem()
{
	const char *extension = extension_version();

	return extension != nullptr ? compare(extension) : VersionProblem{};
}

void
require_version()
{
	/* Scripts look at the library before they change anything: what was in order stays so while this process lives. */
	static bool in_order = false;

	/* While a script runs the catalog is on its way from one version to another. */
	if (in_order || creating_extension)
		return;
	VersionProblem problem = version_problem();
	if (problem.message != nullptr)
		error_version(problem);
	in_order = OidIsValid(cdc_extension_oid());
}

} // namespace cdc::catalog

/* _require_library(version text): for the scripts, before they do anything; strict */
CDC_FUNCTION(cdc_require_library)
{
	using namespace cdc::catalog;

	VersionProblem problem = compare(text_to_cstring(PG_GETARG_TEXT_PP(0)));
	if (problem.message != nullptr)
		error_version(problem);
	PG_RETURN_VOID();
}

/* _versions(OUT library, OUT extension, OUT status, OUT detail, OUT action): for health() */
CDC_FUNCTION(cdc_versions)
{
	using namespace cdc::catalog;

	TupleDesc descriptor;
	if (get_call_result_type(fcinfo, nullptr, &descriptor) != TYPEFUNC_COMPOSITE)
		elog(ERROR, "return type must be a row type");
	const char *extension = extension_version();
	VersionProblem problem = version_problem();
	Datum values[5];
	bool nulls[5] = {};
	values[0] = CStringGetTextDatum(version_text(library_version()));
	nulls[1] = extension == nullptr;
	values[1] = nulls[1] ? static_cast<Datum>(0) : CStringGetTextDatum(extension);
	switch (problem.match)
	{
		case VersionMatch::Same:
			values[2] = CStringGetTextDatum("ok");
			nulls[3] = nulls[4] = true;
			break;
		case VersionMatch::LibraryNewer:
			values[2] = CStringGetTextDatum("warning");
			values[3] = CStringGetTextDatum(
				"The library is newer: what its version brings is not there yet.");
			values[4] = CStringGetTextDatum("ALTER EXTENSION cdc UPDATE;");
			break;
		case VersionMatch::LibraryTooOld:
		case VersionMatch::LibraryTooNew:
			values[2] = CStringGetTextDatum("critical");
			values[3] = CStringGetTextDatum(problem.detail);
			values[4] = CStringGetTextDatum(problem.hint);
			break;
	}
	PG_RETURN_DATUM(HeapTupleGetDatum(heap_form_tuple(BlessTupleDesc(descriptor), values, nulls)));
}
