/*
 * scope.hpp
 *	  Scopes as functions that take a body: the replacement for RAII guards.
 *
 * NOTES
 *	  ereport(ERROR) leaves a frame by longjmp and runs no destructor, so a guard object would
 *	  leak. A scope here is a function taking a lambda. On error the server itself releases locks,
 *	  buffers, relations and snapshots; `finally` is only for what it does not know: own
 *	  shared-memory state, a global that is set for the time of a call.
 *
 *	  This is the only file with PG_TRY.
 */
#pragma once

#include "cdc.hpp"

extern "C" {
#include "utils/resowner.h"
}

namespace cdc
{

/* Runs body with cxt as current memory context. On error the server restores the context. */
template <typename Body>
inline auto
in_context(MemoryContext cxt, Body body)
{
	static_assert(std::is_trivially_destructible_v<Body>);
	MemoryContext old = MemoryContextSwitchTo(cxt);
	if constexpr (std::is_void_v<decltype(body())>)
	{
		body();
		MemoryContextSwitchTo(old);
	}
	else
	{
		auto result = body();
		static_assert(std::is_trivially_destructible_v<decltype(result)>);
		MemoryContextSwitchTo(old);
		return result;
	}
}

/* Runs body under an LWLock; the server releases it on error. */
template <typename Body>
inline auto
with_lock(LWLock *lock, LWLockMode mode, Body body)
{
	static_assert(std::is_trivially_destructible_v<Body>);
	LWLockAcquire(lock, mode);
	if constexpr (std::is_void_v<decltype(body())>)
	{
		body();
		LWLockRelease(lock);
	}
	else
	{
		auto result = body();
		static_assert(std::is_trivially_destructible_v<decltype(result)>);
		LWLockRelease(lock);
		return result;
	}
}

/*
 * Runs body with lock_timeout at value ("100ms"), whatever the session or its role has it at. The caller is in a
 * transaction or subtransaction: an error sets it back by ending that.
 */
template <typename Body>
inline void
with_lock_timeout(const char *value, Body body)
{
	static_assert(std::is_trivially_destructible_v<Body>);
	int level = NewGUCNestLevel();
	(void)set_config_option("lock_timeout", value, PGC_USERSET, PGC_S_SESSION, GUC_ACTION_SAVE,
							true, 0, false);
	body();
	AtEOXact_GUC(true, level);
}

#pragma GCC diagnostic push
#ifndef __clang__ /* does not know this warning */
#pragma GCC diagnostic ignored "-Wclobbered"
#endif

/* Runs body, then cleanup, on success and on error alike; an error continues afterwards. */
template <typename Body, typename Cleanup>
inline void
finally(Body body, Cleanup cleanup)
{
	static_assert(std::is_trivially_destructible_v<Body>);
	static_assert(std::is_trivially_destructible_v<Cleanup>);
	PG_TRY();
	{
		body();
	}
	PG_FINALLY();
	{
		cleanup();
	}
	PG_END_TRY();
}

/*
 * Runs body; on error calls on_error(const ErrorData &) and lets the error continue. The error
 * data lives in the memory context that was current at the call.
 */
template <typename Body, typename OnError>
inline void
report_error(Body body, OnError on_error)
{
	static_assert(std::is_trivially_destructible_v<Body>);
	static_assert(std::is_trivially_destructible_v<OnError>);
	MemoryContext caller = CurrentMemoryContext;

	PG_TRY();
	{
		body();
	}
	PG_CATCH();
	{
		MemoryContext error_context = MemoryContextSwitchTo(caller);
		ErrorData *edata = CopyErrorData();
		on_error(*edata);
		MemoryContextSwitchTo(error_context);
		PG_RE_THROW();
	}
	PG_END_TRY();
}

/*
 * Runs body, the whole life of a process. An error is written to the server log and its transaction is
 * aborted; then on_error(const ErrorData &) is called, outside any transaction, which may begin one of its
 * own; then the process ends with exit code 1.
 */
template <typename Body, typename OnError>
inline void
end_process_on_error(Body body, OnError on_error)
{
	static_assert(std::is_trivially_destructible_v<Body>);
	static_assert(std::is_trivially_destructible_v<OnError>);
	ErrorData *failure = nullptr;

	PG_TRY();
	{
		body();
	}
	PG_CATCH();
	{
		/* What is left of the failed work is not needed to write down why. */
		MemoryContextSwitchTo(TopMemoryContext);
		failure = CopyErrorData();
		/* HOLD_INTERRUPTS and its counterpart use ++ and --, which C++20 deprecates for a volatile. */
		InterruptHoldoffCount = InterruptHoldoffCount + 1;
		EmitErrorReport();
		AbortOutOfAnyTransaction();
		LWLockReleaseAll();
		FlushErrorState();
		InterruptHoldoffCount = InterruptHoldoffCount - 1;
		MemoryContextSwitchTo(TopMemoryContext);
	}
	PG_END_TRY();
	if (failure == nullptr)
		return;
	on_error(*failure);
	proc_exit(1);
}

/*
 * Runs body in a subtransaction. On error it is rolled back, on_error(const ErrorData &) is called in
 * the caller's memory context, and the call returns false. Cancel and termination go on to the
 * caller's caller: they are not failures of the body.
 */
template <typename Body, typename OnError>
inline bool
in_subtransaction(Body body, OnError on_error)
{
	static_assert(std::is_trivially_destructible_v<Body>);
	static_assert(std::is_trivially_destructible_v<OnError>);
	MemoryContext caller = CurrentMemoryContext;
	ResourceOwner owner = CurrentResourceOwner;
	ErrorData *failure = nullptr;

	BeginInternalSubTransaction(nullptr);
	MemoryContextSwitchTo(caller);
	PG_TRY();
	{
		body();
		ReleaseCurrentSubTransaction();
	}
	PG_CATCH();
	{
		MemoryContextSwitchTo(caller);
		failure = CopyErrorData();
		FlushErrorState();
		RollbackAndReleaseCurrentSubTransaction();
	}
	PG_END_TRY();
	MemoryContextSwitchTo(caller);
	CurrentResourceOwner = owner;

	if (failure == nullptr)
		return true;
	if (failure->sqlerrcode == ERRCODE_QUERY_CANCELED ||
		failure->sqlerrcode == ERRCODE_ADMIN_SHUTDOWN)
		ReThrowError(failure);
	on_error(*failure);
	FreeErrorData(failure);
	return false;
}

/*
 * Runs body in a transaction of its own, for processes that have none open. On error the process
 * ends or the caller aborts; nothing is caught here.
 */
template <typename Body>
inline void
in_transaction(Body body)
{
	static_assert(std::is_trivially_destructible_v<Body>);
	MemoryContext caller = CurrentMemoryContext;
	StartTransactionCommand();
	PushActiveSnapshot(GetTransactionSnapshot());
	body();
	PopActiveSnapshot();
	CommitTransactionCommand();
	MemoryContextSwitchTo(caller);
}

/*
 * Runs body in a transaction of its own, for processes that have none open; body may commit and begin
 * others, and leaves one open. What it allocates is the caller's context's, so it outlives a commit. On error the
 * transaction is rolled back, on_error(const ErrorData &) is called outside any transaction, and the
 * call returns false. Cancel and termination go on to the caller's caller.
 */
template <typename Body, typename OnError>
inline bool
try_transaction(Body body, OnError on_error)
{
	static_assert(std::is_trivially_destructible_v<Body>);
	static_assert(std::is_trivially_destructible_v<OnError>);
	MemoryContext caller = CurrentMemoryContext;
	ErrorData *failure = nullptr;

	PG_TRY();
	{
		StartTransactionCommand();
		PushActiveSnapshot(GetTransactionSnapshot());
		MemoryContextSwitchTo(caller);
		body();
		if (ActiveSnapshotSet())
			PopActiveSnapshot();
		CommitTransactionCommand();
	}
	PG_CATCH();
	{
		MemoryContextSwitchTo(caller);
		failure = CopyErrorData();
		FlushErrorState();
		AbortCurrentTransaction();
	}
	PG_END_TRY();
	MemoryContextSwitchTo(caller);

	if (failure == nullptr)
		return true;
	if (failure->sqlerrcode == ERRCODE_QUERY_CANCELED ||
		failure->sqlerrcode == ERRCODE_ADMIN_SHUTDOWN)
		ReThrowError(failure);
	on_error(*failure);
	FreeErrorData(failure);
	return false;
}

#pragma GCC diagnostic pop

} // namespace cdc
