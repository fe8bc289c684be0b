/*
 * guc.hpp
 *	  All settings, one table. docs/reference/settings.md has a row for each.
 */
#pragma once

#include "cdc.hpp"

namespace cdc
{

extern int guc_capture_queue_size_kb;	 /* cdc.capture_queue_size */
extern int guc_idle_mapping_interval_ms; /* cdc.idle_mapping_interval */
extern int guc_partition_wal_size_mb;	 /* cdc.partition_wal_size */

/* Defines the settings and reserves the prefix. */
void guc_init();

} // namespace cdc
