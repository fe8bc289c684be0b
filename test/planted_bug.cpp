/*
 * planted_bug.cpp
 *	  Bugs for the self-tests of tools/test-asserts, tools/test-valgrind and tools/test-sanitizers, which compile this file into a
 *	  library that is thrown away. No other build sees it.
 */
#include "cdc.hpp"

CDC_FUNCTION(cdc_planted_bug)
{
	std::string_view bug = text_to_cstring(PG_GETARG_TEXT_PP(0));
	volatile int ten = 10;
	int result = 0;

	if (bug == "assert")
		Assert(ten == 11);
	else if (bug == "uninitialised")
	{
		volatile int *numbers = static_cast<int *>(palloc(10 * sizeof(int)));
		if (numbers[5] == 42)
			result = 1;
	}
	else if (bug == "chunk overrun")
	{
		volatile char *bytes = static_cast<char *>(palloc(10));
		result = bytes[ten];
	}
	else if (bug == "stack overrun")
	{
		volatile int numbers[10] = {};
		result = numbers[ten];
	}
	else if (bug == "misaligned")
	{
		char *bytes = static_cast<char *>(palloc0(16));
		result = static_cast<int>(*reinterpret_cast<volatile int64 *>(bytes + ten - 9));
	}
	PG_RETURN_INT32(result);
}
