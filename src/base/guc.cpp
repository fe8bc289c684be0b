/*
 * guc.cpp
 *	  All settings, alphabetical.
 */
#include "cdc.hpp"

#include "base/fault.hpp"
#include "base/guc.hpp"

namespace cdc
{

int guc_capture_queue_size_kb = 8 * 1024;
int guc_cleanup_lock_timeout_ms = 2 * 1000;
int guc_health_check_interval_s = 60;
int guc_health_cleanup_critical_s = 3 * 24 * 60 * 60;
int guc_health_cleanup_warning_s = 60 * 60;
int guc_health_critical_percent = 80;
int guc_health_gap_recent_s = 7 * 24 * 60 * 60;
int guc_health_lag_bytes_critical_mb = 10 * 1024;
int guc_health_lag_bytes_warning_mb = 1024;
int guc_health_lag_critical_s = 10 * 60;
int guc_health_lag_warning_s = 60;
int guc_health_log_repeat_s = 60 * 60;
int guc_health_warning_percent = 50;
int guc_idle_mapping_interval_ms = 5 * 60 * 1000;
int guc_partition_wal_size_mb = 16 * 1024;

void
guc_init()
{
	DefineCustomIntVariable("cdc.capture_queue_size",
							"Size of the queue between a decoder and its capture worker.",
							"Takes effect when the capture worker is started again.",
							&guc_capture_queue_size_kb, 8 * 1024, 512, 1024 * 1024, PGC_SIGHUP,
							GUC_UNIT_KB, nullptr, nullptr, nullptr);
	DefineCustomIntVariable(
		"cdc.cleanup_lock_timeout", "Time that cleanup waits for one lock.",
		"Others may have to wait behind it for as long. A step that does not get its lock is tried again.",
		&guc_cleanup_lock_timeout_ms, 2 * 1000, 1, 60 * 60 * 1000, PGC_SIGHUP, GUC_UNIT_MS, nullptr,
		nullptr, nullptr);
	DefineCustomIntVariable(
		"cdc.health_check_interval",
		"Time between two checks of capture whose critical results go to the server log.",
		"0: none. Done by the cdc launcher.", &guc_health_check_interval_s, 60, 0, 24 * 60 * 60,
		PGC_SIGHUP, GUC_UNIT_S, nullptr, nullptr, nullptr);
	DefineCustomIntVariable(
		"cdc.health_cleanup_critical",
		"Time by which the cleanup job may be late before cdc.health() calls it critical.",
		"0: never.", &guc_health_cleanup_critical_s, 3 * 24 * 60 * 60, 0, INT_MAX / 1000,
		PGC_SIGHUP, GUC_UNIT_S, nullptr, nullptr, nullptr);
	DefineCustomIntVariable("cdc.health_cleanup_warning",
							"Time by which the cleanup job may be late before cdc.health() warns.",
							"0: never.", &guc_health_cleanup_warning_s, 60 * 60, 0, INT_MAX / 1000,
							PGC_SIGHUP, GUC_UNIT_S, nullptr, nullptr, nullptr);
	DefineCustomIntVariable(
		"cdc.health_critical_percent",
		"Share of a limit (WAL kept, disk, transaction ids) that cdc.health() calls critical.",
		"In percent. 0: never.", &guc_health_critical_percent, 80, 0, 100, PGC_SIGHUP, 0, nullptr,
		nullptr, nullptr);
	DefineCustomIntVariable("cdc.health_gap_recent",
							"Time for which cdc.health() warns of a gap that is closed.",
							"0: not at all.", &guc_health_gap_recent_s, 7 * 24 * 60 * 60, 0,
							INT_MAX / 1000, PGC_SIGHUP, GUC_UNIT_S, nullptr, nullptr, nullptr);
	DefineCustomIntVariable("cdc.health_lag_bytes_critical",
							"Amount of WAL not captured yet that cdc.health() calls critical.",
							"0: never.", &guc_health_lag_bytes_critical_mb, 10 * 1024, 0, INT_MAX,
							PGC_SIGHUP, GUC_UNIT_MB, nullptr, nullptr, nullptr);
	DefineCustomIntVariable("cdc.health_lag_bytes_warning",
							"Amount of WAL not captured yet of which cdc.health() warns.",
							"0: never.", &guc_health_lag_bytes_warning_mb, 1024, 0, INT_MAX,
							PGC_SIGHUP, GUC_UNIT_MB, nullptr, nullptr, nullptr);
	DefineCustomIntVariable("cdc.health_lag_critical",
							"Delay of capture that cdc.health() calls critical.", "0: never.",
							&guc_health_lag_critical_s, 10 * 60, 0, INT_MAX / 1000, PGC_SIGHUP,
							GUC_UNIT_S, nullptr, nullptr, nullptr);
	DefineCustomIntVariable("cdc.health_lag_warning",
							"Delay of capture of which cdc.health() warns.", "0: never.",
							&guc_health_lag_warning_s, 60, 0, INT_MAX / 1000, PGC_SIGHUP,
							GUC_UNIT_S, nullptr, nullptr, nullptr);
	DefineCustomIntVariable("cdc.health_log_repeat",
							"Time after which what is still critical goes to the server log again.",
							"0: it is logged once.", &guc_health_log_repeat_s, 60 * 60, 0,
							INT_MAX / 1000, PGC_SIGHUP, GUC_UNIT_S, nullptr, nullptr, nullptr);
	DefineCustomIntVariable(
		"cdc.health_warning_percent",
		"Share of a limit (WAL kept, disk, transaction ids) of which cdc.health() warns.",
		"In percent. 0: never.", &guc_health_warning_percent, 50, 0, 100, PGC_SIGHUP, 0, nullptr,
		nullptr, nullptr);
	DefineCustomIntVariable(
		"cdc.idle_mapping_interval",
		"Time without captured changes after which lsn_time_mapping gets a dummy row.",
		"Keeps the high end of the LSN window moving in a quiet database. 0 writes none.",
		&guc_idle_mapping_interval_ms, 5 * 60 * 1000, 0, 24 * 60 * 60 * 1000, PGC_SIGHUP,
		GUC_UNIT_MS, nullptr, nullptr, nullptr);
	DefineCustomIntVariable("cdc.partition_wal_size",
							"Amount of WAL that one leaf partition of a change table covers.",
							"Cleanup removes whole leaves. Applies to leaves created later.",
							&guc_partition_wal_size_mb, 16 * 1024, 1, 1024 * 1024, PGC_SIGHUP,
							GUC_UNIT_MB, nullptr, nullptr, nullptr);
#ifdef CDC_FAULT_POINTS
	fault_init();
#endif
	MarkGUCPrefixReserved("cdc");
}

} // namespace cdc
