/*
 * health_checks.hpp
 *	  What can be said about the capture of a database from shared memory alone.
 *
 * NOTES
 *	  Used twice: by the launcher, which has no database and writes to the server log what turns
 *	  critical, and by cdc.health(), whose view adds what the catalog tells. No allocation, no
 *	  transaction, nothing raises.
 */
#pragma once

#include "cdc.hpp"

#include "monitor/monitor_state.hpp"

namespace cdc::monitor
{

enum class HealthStatus : uint8
{
	Ok,
	Warning,
	Critical,
};

struct HealthItem
{
	const char *check; /* its name: a constant */
	HealthStatus status;
	char value[64];
	char threshold[64]; /* empty: none */
	char detail[512];	/* empty: nothing to add */
	char action[256];	/* the next command; empty: nothing to do */
};

struct HealthReport
{
	int count;
	HealthItem items[kHealthItems];
};

/*
 * The checks of one database, always the same ones in the same order. wanted: capture is to run. entry
 * may be NULL.
 */
void health_check(HealthReport *report, Oid database_oid, DatabaseEntry *entry, bool wanted);

/*
 * Seconds for which changes may have been waiting: 0 when everything committed is captured. -1: not known,
 * nothing was captured since the server started.
 */
double capture_lag_seconds(DatabaseEntry *entry);

/* Age of the catalog xmin of that database's slot, in transactions. Nothing: there is no slot, or it holds none. */
std::optional<int32> catalog_xmin_age(Oid database_oid);

/*
 * The launcher calls it in its loop: every cdc.health_check_interval it tells the server log what has become
 * critical, or is so still after cdc.health_log_repeat, and what has recovered. Returns how
 * many milliseconds it may sleep.
 */
long health_watch(long nap_ms);

/* A slot that goes now is not missed: its database is disabled or dropped. Takes MonitorState::lock. */
void health_expect_no_slot(const DatabaseEntry *entry);

/* The launcher keeps the entry of a database whose slot somebody else has dropped. */
bool health_misses_slot(const DatabaseEntry *entry);

} // namespace cdc::monitor
