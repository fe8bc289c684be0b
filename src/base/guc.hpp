/*
 * guc.hpp
 *	  All settings, one table. docs/reference/settings.md has a row for each.
 */
#pragma once

#include "cdc.hpp"

namespace cdc
{

extern int guc_capture_queue_size_kb;		 /* cdc.capture_queue_size */
extern int guc_cleanup_lock_timeout_ms;		 /* cdc.cleanup_lock_timeout */
extern int guc_health_check_interval_s;		 /* cdc.health_check_interval */
extern int guc_health_cleanup_critical_s;	 /* cdc.health_cleanup_critical */
extern int guc_health_cleanup_warning_s;	 /* cdc.health_cleanup_warning */
extern int guc_health_critical_percent;		 /* cdc.health_critical_percent */
extern int guc_health_gap_recent_s;			 /* cdc.health_gap_recent */
extern int guc_health_lag_bytes_critical_mb; /* cdc.health_lag_bytes_critical */
extern int guc_health_lag_bytes_warning_mb;	 /* cdc.health_lag_bytes_warning */
extern int guc_health_lag_critical_s;		 /* cdc.health_lag_critical */
extern int guc_health_lag_warning_s;		 /* cdc.health_lag_warning */
extern int guc_health_log_repeat_s;			 /* cdc.health_log_repeat */
extern int guc_health_warning_percent;		 /* cdc.health_warning_percent */
extern int guc_idle_mapping_interval_ms;	 /* cdc.idle_mapping_interval */
extern int guc_partition_wal_size_mb;		 /* cdc.partition_wal_size */

/* Defines the settings and reserves the prefix. */
void guc_init();

} // namespace cdc
