/*
 * lsn_functions.cpp
 *	  LSN and time functions: the SQL faces of the LSN window and of lsn_time_mapping.
 *
 * NOTES
 *	  Open to everybody. What depends on the mapping uses the query's own snapshot, so that a
 *	  transaction never gets a high end whose changes it cannot see.
 */
#include "cdc.hpp"

#include "base/args.hpp"
#include "catalog/capture_instance.hpp"
#include "catalog/lsn_time.hpp"
#include "query/lsn_window.hpp"
#include "query/statement_cache.hpp"

namespace cdc::query
{

namespace
{

struct TimeOperator
{
	const char *name;
	catalog::TimeRelation relation;
};

constexpr TimeOperator kTimeOperators[] = {
	{"largest less than", catalog::TimeRelation::LargestLessThan},
	{"largest less than or equal", catalog::TimeRelation::LargestLessThanOrEqual},
	{"smallest greater than", catalog::TimeRelation::SmallestGreaterThan},
	{"smallest greater than or equal", catalog::TimeRelation::SmallestGreaterThanOrEqual},
};

catalog::TimeRelation
time_relation(std::string_view name)
{
	for (const TimeOperator &candidate : kTimeOperators)
		if (option_equals(name, candidate.name))
			return candidate.relation;
	ereport(ERROR,
			(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
			 errmsg("unrecognized relational operator \"%.*s\"", static_cast<int>(name.size()),
					name.data()),
			 errdetail("The operators are \"%s\", \"%s\", \"%s\" and \"%s\".",
					   kTimeOperators[0].name, kTimeOperators[1].name, kTimeOperators[2].name,
					   kTimeOperators[3].name),
			 errhint("For example: SELECT cdc.fn_cdc_map_time_to_lsn('largest less than or equal', "
					 "now());")));
	pg_unreachable();
}

[[noreturn]] void
error_lsn_out_of_range(const char *what, XLogRecPtr lsn)
{
	ereport(ERROR, (errcode(ERRCODE_NUMERIC_VALUE_OUT_OF_RANGE), errmsg("LSN out of range"),
					errdetail("There is no LSN %s %X/%X.", what, CDC_LSN_FORMAT_ARGS(lsn)),
					errhint("LSNs of changes are between cdc.fn_cdc_get_min_lsn(...) and "
							"cdc.fn_cdc_get_max_lsn().")));
	pg_unreachable();
}

} // namespace

/* fn_cdc_get_min_lsn(capture_instance text): strict. 0/0 also tells "unknown or not for you". */
CDC_FUNCTION(cdc_fn_cdc_get_min_lsn)
{
	ArgumentKey key;

	key.begin();
	key.add(text_view(PG_GETARG_TEXT_PP(0)));
	std::optional<int64> low = statement_cached(fcinfo, key, [&]() -> std::optional<int64> {
		catalog::CaptureInstance *instance =
			catalog::capture_instance_by_name(arg_text(fcinfo, 0), true);
		if (instance == nullptr || !catalog::capture_instance_may_read(instance, GetUserId()))
			return static_cast<int64>(InvalidXLogRecPtr);
		return static_cast<int64>(instance->start_lsn);
	});
	PG_RETURN_LSN(static_cast<XLogRecPtr>(*low));
}

/* fn_cdc_get_max_lsn(): NULL while nothing has been captured. */
CDC_FUNCTION(cdc_fn_cdc_get_max_lsn)
{
	ArgumentKey key;

	key.begin();
	std::optional<int64> high = statement_cached(fcinfo, key, []() -> std::optional<int64> {
		std::optional<XLogRecPtr> lsn = catalog::lsn_time_max(GetActiveSnapshot());
		if (!lsn)
			return std::nullopt;
		return static_cast<int64>(*lsn);
	});
	if (!high)
		PG_RETURN_NULL();
	PG_RETURN_LSN(static_cast<XLogRecPtr>(*high));
}

/* fn_cdc_increment_lsn(lsn pg_lsn): strict. */
CDC_FUNCTION(cdc_fn_cdc_increment_lsn)
{
	XLogRecPtr lsn = PG_GETARG_LSN(0);

	if (lsn == PG_UINT64_MAX)
		error_lsn_out_of_range("after", lsn);
	PG_RETURN_LSN(lsn + 1);
}

/* fn_cdc_decrement_lsn(lsn pg_lsn): strict. */
CDC_FUNCTION(cdc_fn_cdc_decrement_lsn)
{
	XLogRecPtr lsn = PG_GETARG_LSN(0);

	if (lsn == 0)
		error_lsn_out_of_range("before", lsn);
	PG_RETURN_LSN(lsn - 1);
}

/* fn_cdc_map_lsn_to_time(lsn pg_lsn): strict. NULL when no captured commit has this LSN. */
CDC_FUNCTION(cdc_fn_cdc_map_lsn_to_time)
{
	XLogRecPtr lsn = PG_GETARG_LSN(0);
	ArgumentKey key;

	/* The rows of one transaction follow each other: one look-up for all of them. */
	key.begin();
	key.add(&lsn, sizeof(lsn));
	std::optional<int64> time = statement_cached(fcinfo, key, [&]() -> std::optional<int64> {
		return catalog::lsn_time_of(lsn, GetActiveSnapshot());
	});
	if (!time)
		PG_RETURN_NULL();
	PG_RETURN_TIMESTAMPTZ(*time);
}

/* fn_cdc_map_time_to_lsn(relational_operator text, tracking_time timestamptz): strict. */
CDC_FUNCTION(cdc_fn_cdc_map_time_to_lsn)
{
	std::string_view name = text_view(PG_GETARG_TEXT_PP(0));
	TimestampTz time = PG_GETARG_TIMESTAMPTZ(1);
	ArgumentKey key;

	key.begin();
	key.add(name);
	key.add(&time, sizeof(time));
	std::optional<int64> lsn = statement_cached(fcinfo, key, [&]() -> std::optional<int64> {
		std::optional<XLogRecPtr> found =
			catalog::lsn_time_find(time_relation(name), time, GetActiveSnapshot());
		if (!found)
			return std::nullopt;
		return static_cast<int64>(*found);
	});
	if (!lsn)
		PG_RETURN_NULL();
	PG_RETURN_LSN(static_cast<XLogRecPtr>(*lsn));
}

} // namespace cdc::query
