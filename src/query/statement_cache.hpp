/*
 * statement_cache.hpp
 *	  One remembered result per call site, for functions that a query may call once per row.
 *
 * NOTES
 *	  cdc.fn_cdc_get_max_lsn() and its like are STABLE and are typically the bounds of a query
 *	  function: inlined, they become filters on the change table and are evaluated for each of its
 *	  rows. An index look-up per row would cost more than the scan.
 *
 *	  A result is good as long as the same user asks, in the same client statement, with the same
 *	  arguments and a snapshot that sees the same. The last is compared by content: snapshots are copied
 *	  and freed all the time, and a call site may outlive many (PL/pgSQL keeps its expressions).
 *	  Where the result depends on the latest state rather than on the snapshot (low end, rights),
 *	  this makes it constant within one statement, which is what STABLE promises.
 */
#pragma once

#include "cdc.hpp"

namespace cdc::query
{

/* What a remembered result depends on besides its arguments. */
struct StatementStamp
{
	static constexpr int kMaxRunning = 64;

	bool valid;
	Oid user;
	TimestampTz statement_start;
	TransactionId xmin;
	TransactionId xmax;
	CommandId curcid;
	int32 subxcnt;
	uint32 xcnt;
	TransactionId xip[kMaxRunning];
};

/* The arguments, as bytes. What does not fit is not remembered. */
struct ArgumentKey
{
	static constexpr size_t kMaxBytes = 256;

	size_t used;
	bool fits;
	char bytes[kMaxBytes];

	void
	begin()
	{
		used = 0;
		fits = true;
	}
	void
	add(const void *data, size_t length)
	{
		if (!fits || length + sizeof(length) > kMaxBytes - used)
		{
			fits = false;
			return;
		}
		memcpy(bytes + used, &length, sizeof(length));
		memcpy(bytes + used + sizeof(length), data, length);
		used += sizeof(length) + length;
	}
	void
	add(std::string_view text)
	{
		add(text.data(), text.size());
	}
};

struct StatementCache
{
	StatementStamp stamp;
	ArgumentKey key;
	std::optional<int64> value;
};

/* A text argument where it lies, detoasted. */
inline std::string_view
text_view(const text *value)
{
	return {VARDATA_ANY(value), static_cast<size_t>(VARSIZE_ANY_EXHDR(value))};
}

/* Whether the stamp is of this moment; if not, it is brought up to it. */
inline bool
statement_stamp_refresh(StatementStamp *stamp)
{
	Snapshot snapshot = GetActiveSnapshot();
	Oid user = GetUserId();
	TimestampTz start = GetCurrentStatementStartTimestamp();

	if (stamp->valid && stamp->user == user && stamp->statement_start == start &&
		stamp->xmin == snapshot->xmin && stamp->xmax == snapshot->xmax &&
		stamp->curcid == snapshot->curcid && stamp->subxcnt == snapshot->subxcnt &&
		stamp->xcnt == snapshot->xcnt &&
		(snapshot->xcnt == 0 ||
		 memcmp(stamp->xip, snapshot->xip, snapshot->xcnt * sizeof(TransactionId)) == 0))
		return true;

	/* On a standby the running transactions are elsewhere in the snapshot: never remembered. */
	stamp->valid = !snapshot->takenDuringRecovery && snapshot->xcnt <= StatementStamp::kMaxRunning;
	if (!stamp->valid)
		return false;
	stamp->user = user;
	stamp->statement_start = start;
	stamp->xmin = snapshot->xmin;
	stamp->xmax = snapshot->xmax;
	stamp->curcid = snapshot->curcid;
	stamp->subxcnt = snapshot->subxcnt;
	stamp->xcnt = snapshot->xcnt;
	if (snapshot->xcnt > 0) /* the array may be missing then */
		memcpy(stamp->xip, snapshot->xip, snapshot->xcnt * sizeof(TransactionId));
	return false;
}

/*
 * The value of compute() for these arguments, remembered at the call site (fcinfo->flinfo). The
 * value is one that fits into 64 bits, or none for SQL's NULL. Needs an active snapshot.
 */
template <typename Compute>
std::optional<int64>
statement_cached(FunctionCallInfo fcinfo, const ArgumentKey &key, Compute compute)
{
	auto *cache = static_cast<StatementCache *>(fcinfo->flinfo->fn_extra);
	if (cache == nullptr)
	{
		cache = static_cast<StatementCache *>(
			MemoryContextAllocZero(fcinfo->flinfo->fn_mcxt, sizeof(StatementCache)));
		fcinfo->flinfo->fn_extra = cache;
	}

	bool same_moment = statement_stamp_refresh(&cache->stamp);
	if (same_moment && cache->key.fits && key.fits && cache->key.used == key.used &&
		memcmp(cache->key.bytes, key.bytes, key.used) == 0)
		return cache->value;

	/* In this order: when compute raises, nothing wrong is remembered. */
	cache->key.fits = false;
	std::optional<int64> value = compute();
	cache->value = value;
	cache->key = key;
	return value;
}

} // namespace cdc::query
