/*
 * schedule.hpp
 *	  When a job runs: arithmetic with times of day, in the time zone of the session.
 */
#pragma once

#include "cdc.hpp"

extern "C" {
#include "utils/date.h"
}

namespace cdc::jobs
{

/*
 * The first time after `after` at which a job is due that runs at start_time and then every `every`. Counted from the
 * last start_time at or before `after`, so that a job that runs once a day does so at that time of day, also across a
 * change of daylight saving time.
 */
TimestampTz schedule_next(TimeADT start_time, Interval *every, TimestampTz after);

/* A second to 100 years, and not going backwards in any part. */
bool schedule_interval_is_valid(const Interval *every);

/* A part of each day; to < from: over midnight. */
struct ActiveWindow
{
	int from; /* minutes after midnight */
	int to;	  /* exclusive */
};

/* Reads 'HH:MM-HH:MM'; false when it is not that, or when both ends are the same. */
bool active_window_parse(const char *text, ActiveWindow *window);

bool active_window_contains(const ActiveWindow &window, TimestampTz time);

/* The next time after `time` at which the window opens, or closes. */
TimestampTz active_window_opens(const ActiveWindow &window, TimestampTz time);
TimestampTz active_window_closes(const ActiveWindow &window, TimestampTz time);

} // namespace cdc::jobs
