/*
 * cdc.hpp
 *	  The one include of every source file: standard headers, then the server's, then ours.
 *
 * NOTES
 *	  Standard headers come first because the server redefines names they use (snprintf).
 *	  Everything below src/ is typed C: no exceptions, no destructors, no allocation outside
 *	  memory contexts. ereport(ERROR) unwinds with longjmp and runs no destructor.
 */
#pragma once

#include <array>
#include <csignal>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <optional>
#include <span>
#include <string_view>
#include <type_traits>

extern "C" {
#include "postgres.h"

#include "access/genam.h"
#include "access/heapam.h"
#include "access/htup_details.h"
#include "access/table.h"
#include "access/tableam.h"
#include "access/xact.h"
#include "access/xlog.h"
#include "catalog/namespace.h"
#include "catalog/pg_type_d.h"
#include "commands/extension.h"
#include "fmgr.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "storage/ipc.h"
#include "storage/latch.h"
#include "storage/lwlock.h"
#include "storage/proc.h"
#include "utils/acl.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"
#include "utils/guc.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/pg_lsn.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"
#include "utils/syscache.h"
#include "utils/timestamp.h"
}

#include "base/compat.hpp"

/*
 * printf arguments of an LSN for "%X/%X". The server's own macro does not compile as C++ on
 * every version.
 */
#define CDC_LSN_FORMAT_ARGS(lsn) static_cast<uint32>((lsn) >> 32), static_cast<uint32>(lsn)

/* SQL-callable functions: C linkage, and visible although the library hides its symbols. */
#define CDC_FUNCTION(name)                                                                         \
	extern "C" PGDLLEXPORT Datum name(PG_FUNCTION_ARGS);                                           \
	extern "C" {                                                                                   \
	PG_FUNCTION_INFO_V1(name);                                                                     \
	}                                                                                              \
	extern "C" Datum name(PG_FUNCTION_ARGS)
