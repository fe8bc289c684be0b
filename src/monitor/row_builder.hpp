/*
 * row_builder.hpp
 *	  The values of one row of a set-returning function, added from left to right.
 */
#pragma once

#include "cdc.hpp"

namespace cdc::monitor
{

template <int Columns> struct RowBuilder
{
	Datum values[Columns];
	bool nulls[Columns];
	int next;

	void
	add(Datum value)
	{
		Assert(next < Columns);
		nulls[next] = false;
		values[next++] = value;
	}
	void
	add_null()
	{
		Assert(next < Columns);
		nulls[next] = true;
		values[next++] = static_cast<Datum>(0);
	}
	void
	add_unless(bool is_null, Datum value)
	{
		if (is_null)
			add_null();
		else
			add(value);
	}
	/* An empty string is NULL. */
	void
	add_text(const char *value)
	{
		add_unless(value[0] == '\0',
				   value[0] == '\0' ? static_cast<Datum>(0) : CStringGetTextDatum(value));
	}
	/* 0 is NULL in both. */
	void
	add_time(TimestampTz value)
	{
		add_unless(value == 0, TimestampTzGetDatum(value));
	}
	void
	add_lsn(XLogRecPtr value)
	{
		add_unless(XLogRecPtrIsInvalid(value), LSNGetDatum(value));
	}
};

} // namespace cdc::monitor
