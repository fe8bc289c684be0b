/*
 * args.hpp
 *	  Arguments of SQL-callable functions, typed, and the checks that name the argument.
 *
 * NOTES
 *	  Every sysname argument is text: type name would be cut to 63 bytes before we see it, and a
 *	  name that does not fit must be an error.
 */
#pragma once

#include "cdc.hpp"

#include "base/errors.hpp"

namespace cdc
{

/* Argument n as a palloc'd C string, NULL when it is NULL. */
inline char *
arg_text(FunctionCallInfo fcinfo, int n)
{
	return PG_ARGISNULL(n) ? nullptr : text_to_cstring(PG_GETARG_TEXT_PP(n));
}

inline bool
is_ascii_space(char c)
{
	return c == ' ' || (c >= '\t' && c <= '\r');
}

/* The same without trailing white space, as SQL Server takes names. */
inline char *
arg_text_trimmed(FunctionCallInfo fcinfo, int n)
{
	char *value = arg_text(fcinfo, n);
	if (value != nullptr)
	{
		size_t length = strlen(value);
		while (length > 0 && is_ascii_space(value[length - 1]))
			value[--length] = '\0';
	}
	return value;
}

/* A text argument that must be there, taken as it is. */
inline char *
arg_text_required(FunctionCallInfo fcinfo, int n, const char *parameter)
{
	char *value = arg_text(fcinfo, n);
	if (value == nullptr || value[0] == '\0')
		error_parameter_missing(parameter, value == nullptr);
	return value;
}

/* A trimmed text argument that must be there: NULL or empty is SQL Server error 22963. */
inline char *
arg_name_required(FunctionCallInfo fcinfo, int n, const char *parameter)
{
	char *value = arg_text_trimmed(fcinfo, n);
	if (value == nullptr || value[0] == '\0')
		error_parameter_missing(parameter, value == nullptr);
	return value;
}

inline std::optional<bool>
arg_bool(FunctionCallInfo fcinfo, int n)
{
	if (PG_ARGISNULL(n))
		return std::nullopt;
	return static_cast<bool>(PG_GETARG_BOOL(n));
}

inline std::optional<XLogRecPtr>
arg_lsn(FunctionCallInfo fcinfo, int n)
{
	if (PG_ARGISNULL(n))
		return std::nullopt;
	return PG_GETARG_LSN(n);
}

} // namespace cdc
