/*
 * mask_functions.cpp
 *	  Mask functions: which columns an update mask says have changed.
 *
 * NOTES
 *	  The bit arithmetic is capture/update_mask.hpp. Column names are those captured, which do not
 *	  follow a rename of the source's column.
 */
#include "cdc.hpp"

#include "base/args.hpp"
#include "capture/update_mask.hpp"
#include "catalog/capture_instance.hpp"
#include "query/statement_cache.hpp"

namespace cdc::query
{

namespace
{

/* The ordinal of a captured column by arguments 0 (instance) and 1 (column); none: unknown or not for this user. */
std::optional<int64>
column_ordinal(FunctionCallInfo fcinfo)
{
	std::string_view instance_name = text_view(PG_GETARG_TEXT_PP(0));
	std::string_view name = text_view(PG_GETARG_TEXT_PP(1));
	ArgumentKey key;

	key.begin();
	key.add(instance_name);
	key.add(name);
	return statement_cached(fcinfo, key, [&]() -> std::optional<int64> {
		catalog::CaptureInstance *instance =
			catalog::capture_instance_by_name(arg_text(fcinfo, 0), true);
		if (instance == nullptr || !catalog::capture_instance_may_read(instance, GetUserId()))
			return std::nullopt;
		catalog::capture_instance_require_whole(instance);
		for (const catalog::CapturedColumn &column : instance->columns)
			if (name == NameStr(column.name))
				return column.ordinal;
		return std::nullopt;
	});
}

bool
mask_bit(const bytea *mask, int64 ordinal)
{
	/* No mask reaches beyond the number of columns a table can have. */
	if (ordinal < 1 || ordinal > MaxHeapAttributeNumber)
		return false;
	return capture::update_mask_test(reinterpret_cast<const uint8 *>(VARDATA_ANY(mask)),
									 static_cast<int>(VARSIZE_ANY_EXHDR(mask)),
									 static_cast<int>(ordinal));
}

} // namespace

/* fn_cdc_get_column_ordinal(capture_instance text, column_name text): strict. */
CDC_FUNCTION(cdc_fn_cdc_get_column_ordinal)
{
	std::optional<int64> ordinal = column_ordinal(fcinfo);

	if (!ordinal)
		PG_RETURN_NULL();
	PG_RETURN_INT32(static_cast<int32>(*ordinal));
}

/* fn_cdc_has_column_changed(capture_instance text, column_name text, update_mask bytea): strict. */
CDC_FUNCTION(cdc_fn_cdc_has_column_changed)
{
	std::optional<int64> ordinal = column_ordinal(fcinfo);

	if (!ordinal)
		PG_RETURN_NULL();
	PG_RETURN_BOOL(mask_bit(PG_GETARG_BYTEA_PP(2), *ordinal));
}

/* fn_cdc_is_bit_set(position integer, update_mask bytea): strict. */
CDC_FUNCTION(cdc_fn_cdc_is_bit_set)
{
	PG_RETURN_BOOL(mask_bit(PG_GETARG_BYTEA_PP(1), PG_GETARG_INT32(0)));
}

} // namespace cdc::query
