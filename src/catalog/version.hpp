/*
 * version.hpp
 *	  Whether this library and the extension in this database belong together.
 *
 * NOTES
 *	  The two change at different moments: the library with the restart that follows its replacement, for all databases;
 *	  the extension with ALTER EXTENSION, in each. A library serves the extension's versions from
 *	  kOldestServedVersion up to its own. Only major.minor counts: "1.0.1" is 1.0.
 *
 *	  Who reads or writes the catalog for somebody calls require_version first; so do the workers, which then wait for the
 *	  administrator, while the slot keeps the log. Upgrade scripts begin with cdc._require_library, so that the
 *	  extension does not get ahead of a running library; what is left is a library that was put back, or a
 *	  copy of the data on a server with an older one.
 */
#pragma once

#include "cdc.hpp"

namespace cdc::catalog
{

/* Change it together with the code that can no longer read the catalog of older versions. */
#define CDC_OLDEST_SERVED_VERSION "1.0"

enum class VersionMatch
{
	Same,
	LibraryNewer,  /* and serves it */
	LibraryTooOld, /* for this extension */
	LibraryTooNew
};

struct VersionProblem
{
	VersionMatch match;
	const char *message; /* these three: nullptr when they belong together */
	const char *detail;
	const char *hint;
};

/* Looks at the extension of this database. Needs a transaction; the texts are palloc'd. */
VersionProblem version_problem();

/*
 * Raises 55000 when the extension in this database is none that this library serves. Cheap: a process that has found
 * them in order does not look again.
 */
void require_version();

} // namespace cdc::catalog
