/*
 * cdc.cpp
 *	  Module magic and _PG_init: settings, shared memory, commit callback, in this order.
 */
#include "cdc.hpp"

#include "base/guc.hpp"
#include "base/shmem.hpp"
#include "catalog/drop_guard.hpp"
#include "catalog/drop_watch.hpp"
#include "catalog/publications.hpp"
#include "catalog/table_guard.hpp"
#include "catalog/truncate_guard.hpp"
#include "worker/launcher.hpp"
#include "worker/utility_hook.hpp"
#include "worker/wake.hpp"

extern "C" {
CDC_MODULE_MAGIC;

PGDLLEXPORT void _PG_init(void);
}

extern "C" void
_PG_init(void)
{
	/* pg_upgrade's server must run nothing of ours and needs none of it. */
	if (IsBinaryUpgrade)
		return;

	cdc::guc_init();

	/* Loaded late (LOAD, or the first call of a function): SQL works, capture says what is missing. */
	if (!process_shared_preload_libraries_in_progress)
		return;

	cdc::shmem_init();
	cdc::worker::wake_init();
	cdc::catalog::truncate_guard_init();
	cdc::catalog::drop_watch_init();
	cdc::catalog::drop_guard_init();
	cdc::catalog::table_guard_init();
	cdc::catalog::publications_init();
	cdc::worker::utility_hook_init();
	cdc::worker::launcher_register();
}
