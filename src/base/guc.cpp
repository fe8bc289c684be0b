/*
 * guc.cpp
 *	  All settings, alphabetical.
 */
#include "cdc.hpp"

#include "base/guc.hpp"

namespace cdc
{

int guc_capture_queue_size_kb = 8 * 1024;
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
	MarkGUCPrefixReserved("cdc");
}

} // namespace cdc
