/*
 * schedule.cpp
 *	  When a job runs.
 *
 * NOTES
 *	  Everything is computed in local time and then turned into a point of time, by the server's own
 *	  functions: what a time of day means on the day of a change of daylight saving time is their decision.
 */
#include "cdc.hpp"

#include "jobs/schedule.hpp"

namespace cdc::jobs
{

namespace
{

constexpr int kMinutesOfDay = 24 * 60;
constexpr double kLongestDays = 37200; /* 100 years, of months of 31 days */

Timestamp
to_local(TimestampTz time)
{
	return DatumGetTimestamp(DirectFunctionCall1(timestamptz_timestamp, TimestampTzGetDatum(time)));
}

TimestampTz
from_local(Timestamp time)
{
	return DatumGetTimestampTz(DirectFunctionCall1(timestamp_timestamptz, TimestampGetDatum(time)));
}

Timestamp
start_of_day(Timestamp local)
{
	Timestamp day = local / USECS_PER_DAY * USECS_PER_DAY;
	return day > local ? day - USECS_PER_DAY : day;
}

TimestampTz
plus(TimestampTz time, Interval *span)
{
	return DatumGetTimestampTz(DirectFunctionCall2(timestamptz_pl_interval,
												   TimestampTzGetDatum(time),
												   IntervalPGetDatum(span)));
}

/* The next time of day `minutes` after `time`. */
TimestampTz
next_time_of_day(int minutes, TimestampTz time)
{
	Timestamp day = start_of_day(to_local(time));
	TimestampTz result = from_local(day + minutes * USECS_PER_MINUTE);
	return result > time ? result : from_local(day + USECS_PER_DAY + minutes * USECS_PER_MINUTE);
}

} // namespace

bool
schedule_interval_is_valid(const Interval *every)
{
	/* More than that has no meaning, and could not be added to a time. In floating point, which does not overflow. */
	double days =
		every->month * 31.0 + every->day + static_cast<double>(every->time) / USECS_PER_DAY;
	return every->month >= 0 && every->day >= 0 && every->time >= 0 && days <= kLongestDays &&
		   (every->month > 0 || every->day > 0 || every->time >= USECS_PER_SEC);
}

TimestampTz
schedule_next(TimeADT start_time, Interval *every, TimestampTz after)
{
	Timestamp local = to_local(after);
	Timestamp base = start_of_day(local) + start_time;
	if (base > local)
		base -= USECS_PER_DAY;

	TimestampTz next = from_local(base);
	/* In one step to the last time at or before `after`, when the steps are all equally long. */
	if (every->month == 0 && every->day == 0 && after > next)
		next += (after - next) / every->time * every->time;
	while (next <= after)
		next = plus(next, every);
	return next;
}

bool
active_window_parse(const char *text, ActiveWindow *window)
{
	constexpr std::string_view kForm = "00:00-00:00";
	int hours[2];
	int minutes[2];

	if (strlen(text) != kForm.size())
		return false;
	for (size_t i = 0; i < kForm.size(); i++)
		if (kForm[i] == '0' ? text[i] < '0' || text[i] > '9' : text[i] != kForm[i])
			return false;
	auto number_at = [&](size_t at) {
		return (text[at] - '0') * 10 + (text[at + 1] - '0');
	};
	for (int i = 0; i < 2; i++)
	{
		size_t start = i == 0 ? 0 : sizeof("00:00-") - 1;
		hours[i] = number_at(start);
		minutes[i] = number_at(start + sizeof("00:") - 1);
		if (minutes[i] > 59 || hours[i] * 60 + minutes[i] > kMinutesOfDay)
			return false;
	}
	*window = {hours[0] * 60 + minutes[0], hours[1] * 60 + minutes[1]};
	return window->from % kMinutesOfDay != window->to % kMinutesOfDay &&
		   window->from < kMinutesOfDay;
}

bool
active_window_contains(const ActiveWindow &window, TimestampTz time)
{
	Timestamp local = to_local(time);
	int minute = static_cast<int>((local - start_of_day(local)) / USECS_PER_MINUTE);
	return window.from < window.to ? minute >= window.from && minute < window.to
								   : minute >= window.from || minute < window.to;
}

TimestampTz
active_window_opens(const ActiveWindow &window, TimestampTz time)
{
	return next_time_of_day(window.from, time);
}

TimestampTz
active_window_closes(const ActiveWindow &window, TimestampTz time)
{
	return next_time_of_day(window.to, time);
}

} // namespace cdc::jobs
