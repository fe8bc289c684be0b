/*
 * cleanup.hpp
 *	  One run of cleanup: low-water mark, leaves, rows, mapping.
 */
#pragma once

#include "cdc.hpp"

#include "base/shmem.hpp"
#include "jobs/cleanup_runs.hpp"

namespace cdc::jobs
{

/*
 * Runs the cleanup job in the calling worker, outside any transaction: the mark is retention minutes behind
 * the newest captured commit. Failures of single tables are warnings and stand in the run's row.
 */
CleanupRun cleanup_run_all(DatabaseEntry *entry, int64 retention_minutes, int64 threshold);

/* Removes what lies below the low end of one instance. The result's message is the first error, or NULL. */
CleanupRun cleanup_run_table(DatabaseEntry *entry, int32 instance_id, int64 threshold);

} // namespace cdc::jobs
