/*
 * control.hpp
 *	  Telling workers what to do, and waiting for them, from a backend.
 */
#pragma once

#include "cdc.hpp"

#include "base/shmem.hpp"

namespace cdc::worker
{

/*
 * Runs body while no worker of the database runs: tells them to end, waits until they and the
 * slot's holder are gone, and lets them come back afterwards, also on error. Cancellable.
 */
template <typename Body> void with_workers_stopped(DatabaseEntry *entry, Body body);

/* Raises 53400 when the launcher does not run, after giving it a moment to start. */
void require_launcher();

/* This database's entry, assigned when there was none. Raises when no worker could run. */
DatabaseEntry *require_entry();

/* Waits until a capture worker that was told to stop has gone, and the slot is free. Cancellable. */
void capture_wait_until_gone(DatabaseEntry *entry);

/* An interval argument in microseconds, the default where it is NULL. Raises 22023 when it is negative. */
int64 arg_timeout_us(FunctionCallInfo fcinfo, int argument, int64 default_us);

/*
 * Waits until everything committed up to `target` is visible in the change tables; `inserted` is the end of the
 * log. Raises at once when capture cannot go on, else SC006 after the timeout. Cancellable.
 */
void capture_wait_until_captured(DatabaseEntry *entry, XLogRecPtr target, XLogRecPtr inserted,
								 int64 timeout_us);

/* Forbids workers for the database and waits until they are gone: half of with_workers_stopped, below. */
void workers_stop_and_wait(DatabaseEntry *entry);

/*
 * Removes, in the current transaction, everything that enabling and capturing made in this database:
 * instances with their tables and functions, jobs, history, identity; source tables get their former
 * replica identity back. No worker may run here.
 */
void database_remove_all();

/*
 * Has a decoder make the slot of this database, for enabling or after a gap, and waits until it is there and
 * what hangs on it is committed. Raises the decoder's error. Cancellable; no worker may run here.
 */
void request_new_slot(DatabaseEntry *entry);

/* Raises 55006: somebody else enables, disables or resumes this database. */
[[noreturn]] void error_slot_requested(DatabaseEntry *entry);

/* Raises 42501 (22902) unless the caller may enable this database. */
void require_enable_right(const char *procedure);

/* Raises what a logical slot lacks: preloading, wal_level, and, if it is a new one, a place for it. */
void require_server_for_slot(bool is_new);

/* Raises 25001 unless the procedure may commit, and the transaction has not written yet. */
void require_top_level_call(FunctionCallInfo fcinfo, const char *procedure);

} // namespace cdc::worker

#include "base/scope.hpp"
#include "worker/registry.hpp"

namespace cdc::worker
{

/* Runs body while no worker may run for the database; allows them again on success and on error. */
template <typename Body>
void
with_workers_stopped(DatabaseEntry *entry, Body body)
{
	if (entry == nullptr)
	{
		body();
		return;
	}
	finally(
		[&] {
			workers_stop_and_wait(entry);
			body();
		},
		[&] { registry_unhold(entry); });
}

} // namespace cdc::worker
