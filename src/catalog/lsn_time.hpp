/*
 * lsn_time.hpp
 *	  Reading cdc.lsn_time_mapping: commit LSN <-> commit time.
 *
 * NOTES
 *	  Every look-up is one descent of an index under the snapshot that the caller gives. Queries
 *	  give their own, so that the high end of the LSN window and the change rows they see agree.
 *	  The table's privileges are not looked at: these functions are for everybody.
 */
#pragma once

#include "cdc.hpp"

namespace cdc::catalog
{

/* Which of the mapped commit times is wanted, in relation to a given one. */
enum class TimeRelation : uint8
{
	LargestLessThan,
	LargestLessThanOrEqual,
	SmallestGreaterThan,
	SmallestGreaterThanOrEqual,
};

/* The greatest mapped LSN: the high end of every instance's window. Nothing captured yet: none. */
std::optional<XLogRecPtr> lsn_time_max(Snapshot snapshot);

/* tran_end_time of the row whose start_lsn is exactly this. */
std::optional<TimestampTz> lsn_time_of(XLogRecPtr lsn, Snapshot snapshot);

/*
 * The LSN of the row whose tran_end_time is the wanted one. Where several rows share that time: the
 * largest of their LSNs for the two "largest", the smallest for the two "smallest".
 */
std::optional<XLogRecPtr> lsn_time_find(TimeRelation relation, TimestampTz time, Snapshot snapshot);

} // namespace cdc::catalog
