/*
 * result_row.hpp
 *	  One row of a function's result in a tuplestore, filled from left to right.
 */
#pragma once

#include "cdc.hpp"

extern "C" {
#include "utils/tuplestore.h"
}

namespace cdc::query
{

/* After InitMaterializedSRF: add() each column, then put(). */
template <int Columns> struct ResultRow
{
	Datum values[Columns] = {};
	bool nulls[Columns] = {};
	int used = 0;

	void
	add(Datum value)
	{
		Assert(used < Columns);
		values[used++] = value;
	}
	void
	add_null()
	{
		Assert(used < Columns);
		nulls[used++] = true;
	}
	void
	add_text(const char *text)
	{
		if (text != nullptr)
			add(CStringGetTextDatum(text));
		else
			add_null();
	}
	void
	add_int32(std::optional<int32> value)
	{
		if (value)
			add(Int32GetDatum(*value));
		else
			add_null();
	}
	void
	put(FunctionCallInfo fcinfo)
	{
		auto *result = reinterpret_cast<ReturnSetInfo *>(fcinfo->resultinfo);
		Assert(used == Columns);
		tuplestore_putvalues(result->setResult, result->setDesc, values, nulls);
	}
};

} // namespace cdc::query
