/*
 * gap_control.hpp
 *	  Gaps of a whole database: noticing them, and going on after one.
 *
 * NOTES
 *	  Slot, progress, identity row and log must belong together; what does not agree is a gap. It is
 *	  looked for by the writer before its first scan, by procedures that start capture, and again by
 *	  the slot creator. Nobody but the caller of resume_after_gap goes on behind one.
 */
#pragma once

#include "cdc.hpp"

#include "catalog/database.hpp"
#include "catalog/gaps.hpp"

namespace cdc::worker
{

/* The next command after a gap, for hints. */
constexpr const char *kResumeHint =
	"CALL cdc.resume_after_gap(). Consumers then load the tables again, because the changes in "
	"between are lost to capture.";

/*
 * Why capture of this database cannot go on from its progress; nothing when it can. Open, not
 * recorded yet; in the current memory context. Needs a transaction; looks at shared memory and WAL files
 * only besides the arguments.
 */
std::optional<catalog::Gap> gap_find(const catalog::Identity &identity,
									 const catalog::Progress &progress);

/* The open gap of the database as it is recorded already, which knows more of its cause; else `gap`. */
catalog::Gap gap_as_recorded(const catalog::Gap &gap);

/* Raises 55000 with what to call when the database, which must be enabled, stands at a gap. */
void require_no_gap();

} // namespace cdc::worker
