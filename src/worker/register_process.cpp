/*
 * register_process.cpp
 *	  Asks the postmaster for one of our processes.
 */
#include "cdc.hpp"

#include "worker/register_process.hpp"

extern "C" {
#include "miscadmin.h"
#include "storage/procarray.h"
}

namespace cdc::worker
{

BackgroundWorkerHandle *
register_process(const char *type, const char *function, Datum argument)
{
	BackgroundWorker worker;
	BackgroundWorkerHandle *handle = nullptr;

	memset(&worker, 0, sizeof(worker));
	worker.bgw_flags = BGWORKER_SHMEM_ACCESS | BGWORKER_BACKEND_DATABASE_CONNECTION;
	worker.bgw_start_time = BgWorkerStart_RecoveryFinished;
	worker.bgw_restart_time = BGW_NEVER_RESTART;
	strlcpy(worker.bgw_library_name, "cdc", sizeof(worker.bgw_library_name));
	strlcpy(worker.bgw_function_name, function, sizeof(worker.bgw_function_name));
	strlcpy(worker.bgw_name, type, BGW_MAXLEN);
	strlcpy(worker.bgw_type, type, BGW_MAXLEN);
	worker.bgw_main_arg = argument;
	worker.bgw_notify_pid = MyProcPid;
	return RegisterDynamicBackgroundWorker(&worker, &handle) ? handle : nullptr;
}

bool
process_only_has_slot(BackgroundWorkerHandle *handle)
{
	pid_t pid;

	if (handle == nullptr)
		return false;
	switch (GetBackgroundWorkerPid(handle, &pid))
	{
		case BGWH_NOT_YET_STARTED:
			return true;
		case BGWH_STARTED:
			return BackendPidGetProc(pid) == nullptr;
		default:
			return false;
	}
}

} // namespace cdc::worker
