/*
 * resume.hpp
 *	  The catalog after a gap of the whole database: a new slot, and capture from there.
 */
#pragma once

#include "cdc.hpp"

#include "catalog/database.hpp"
#include "catalog/gaps.hpp"

namespace cdc::catalog
{

/*
 * Raises 55000 when the server's log, which has come to `record`, is behind what was captured: commit LSNs
 * would repeat. To be asked before the new slot is made, which would look like one that can go on.
 */
void resume_require_log_ahead(const Progress &progress, XLogRecPtr record);

/*
 * In the current transaction, in which no worker runs: identity and progress become this database's with
 * its new slot, which begins at `start`, right behind the record at `record`; the open gap ends at
 * `record` (`gap` is recorded first if none is open), and a dummy mapping row there makes its end readable
 * at once. Capture instances that were enabled in the lost stretch begin with the gap. The capture job
 * counts as started. Raises 55000 when the server's log is behind what was captured: positions would
 * repeat.
 */
void database_resume(const NameData &slot_name, XLogRecPtr record, XLogRecPtr start,
					 const Gap &gap);

} // namespace cdc::catalog
