/*
 * help_functions.cpp
 *	  sp_cdc_help_change_data_capture and sp_cdc_get_captured_columns.
 *
 * NOTES
 *	  Both show an instance only to whom may read its changes. Where nothing is shown for that reason, the
 *	  answer is the same as if the instance did not exist.
 */
#include "cdc.hpp"

#include "base/args.hpp"
#include "base/errors.hpp"
#include "catalog/capture_instance.hpp"
#include "query/result_row.hpp"

extern "C" {
#include "lib/stringinfo.h"
}

namespace cdc::query
{

namespace
{

/* What of a type the information schema would tell. */
struct TypeDetails
{
	std::optional<int32> character_maximum_length;
	std::optional<int32> numeric_precision;
	std::optional<int32> numeric_precision_radix;
	std::optional<int32> numeric_scale;
	std::optional<int32> datetime_precision;
};

TypeDetails
type_details(Oid type, int32 typmod)
{
	constexpr int32 kMaxFractionalDigits = 6;
	constexpr int32 kIntervalUnset = 0xFFFF;
	TypeDetails details;

	switch (type)
	{
		case VARCHAROID:
		case BPCHAROID:
			if (typmod >= VARHDRSZ)
				details.character_maximum_length = typmod - VARHDRSZ;
			break;
		case INT2OID:
			details.numeric_precision = 16;
			details.numeric_scale = 0;
			break;
		case INT4OID:
			details.numeric_precision = 32;
			details.numeric_scale = 0;
			break;
		case INT8OID:
			details.numeric_precision = 64;
			details.numeric_scale = 0;
			break;
		case FLOAT4OID:
			details.numeric_precision = 24;
			break;
		case FLOAT8OID:
			details.numeric_precision = 53;
			break;
		case NUMERICOID:
			details.numeric_precision_radix = 10;
			if (typmod >= VARHDRSZ)
			{
				/* Upper half: precision; lower eleven bits: scale, with sign. */
				details.numeric_precision = ((typmod - VARHDRSZ) >> 16) & 0xFFFF;
				details.numeric_scale = (((typmod - VARHDRSZ) & 0x7FF) ^ 1024) - 1024;
			}
			break;
		case DATEOID:
			details.datetime_precision = 0;
			break;
		case TIMEOID:
		case TIMETZOID:
		case TIMESTAMPOID:
		case TIMESTAMPTZOID:
			details.datetime_precision = typmod < 0 ? kMaxFractionalDigits : typmod;
			break;
		case INTERVALOID:
			details.datetime_precision = typmod < 0 || (typmod & 0xFFFF) == kIntervalUnset
											 ? kMaxFractionalDigits
											 : typmod & 0xFFFF;
			break;
		default:
			break;
	}
	if (details.numeric_precision && !details.numeric_precision_radix)
		details.numeric_precision_radix = 2;
	return details;
}

/* Names separated by commas, quoted where SQL needs it: fit for captured_column_list. */
template <typename Columns>
Datum
name_list(const Columns &columns)
{
	StringInfoData names;

	initStringInfo(&names);
	for (const auto &column : columns)
		appendStringInfo(&names, "%s%s", names.len == 0 ? "" : ", ",
						 quote_identifier(NameStr(column.name)));
	return CStringGetTextDatum(names.data);
}

void
put_instance(FunctionCallInfo fcinfo, const catalog::CaptureInstance *instance)
{
	ResultRow<15> row;

	/* Both NULL when the source has been dropped and its changes are kept. */
	row.add_text(get_namespace_name(get_rel_namespace(instance->source)));
	row.add_text(get_rel_name(instance->source));
	row.add_text(NameStr(instance->name));
	row.add(ObjectIdGetDatum(instance->change_table));
	row.add(ObjectIdGetDatum(instance->source));
	if (instance->start_lsn == InvalidXLogRecPtr)
		row.add_null();
	else
		row.add(LSNGetDatum(instance->start_lsn));
	row.add_null(); /* end_lsn: never set, as in SQL Server */
	row.add(BoolGetDatum(instance->supports_net_changes));
	row.add(BoolGetDatum(instance->has_drop_pending));
	row.add_text(instance->has_role ? NameStr(instance->role_name) : nullptr);
	row.add_text(instance->has_index ? NameStr(instance->index_name) : nullptr);
	row.add_text(instance->has_filegroup ? NameStr(instance->filegroup_name) : nullptr);
	row.add(TimestampTzGetDatum(instance->create_date));
	if (instance->key.empty())
		row.add_null();
	else
		row.add(name_list(instance->key));
	row.add(name_list(instance->columns));
	row.put(fcinfo);
}

/* Puts those of the instances that the caller may read; returns how many. */
int
put_readable(FunctionCallInfo fcinfo, List *instances)
{
	int count = 0;
	ListCell *cell;

	foreach (cell, instances)
	{
		auto *instance = static_cast<catalog::CaptureInstance *>(lfirst(cell));
		if (!catalog::capture_instance_may_read(instance, GetUserId()))
			continue;
		put_instance(fcinfo, instance);
		count++;
	}
	return count;
}

/* Nothing to show for a table that was named. Whether it is enabled is told to whom could enable it only. */
[[noreturn]] void
error_table_not_shown(const char *schema, const char *name, Oid source, bool enabled)
{
	if (!enabled && compat_relation_ownercheck(source, GetUserId()))
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("table \"%s.%s\" is not enabled for change data capture", schema, name),
				 errdetail("SQL Server error 22985: the table has no capture instance."),
				 errhint("CALL cdc.sp_cdc_enable_table(%s, %s, NULL);", quote_literal_cstr(schema),
						 quote_literal_cstr(name))));
	ereport(ERROR,
			(errcode(ERRCODE_UNDEFINED_OBJECT),
			 errmsg("table \"%s.%s\" is not enabled for change data capture or access is denied",
					schema, name),
			 errdetail("SQL Server error 22981: the object does not exist or access is denied."),
			 errhint("SELECT source_schema, source_table, capture_instance FROM "
					 "cdc.sp_cdc_help_change_data_capture() lists the instances you may read.")));
	pg_unreachable();
}

} // namespace

/* sp_cdc_help_change_data_capture(source_schema text, source_name text): not strict. */
CDC_FUNCTION(cdc_sp_cdc_help_change_data_capture)
{
	const char *schema = arg_text_trimmed(fcinfo, 0);
	const char *name = arg_text_trimmed(fcinfo, 1);

	catalog::database_require_enabled();
	if ((schema == nullptr) != (name == nullptr))
		ereport(ERROR,
				(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
				 errmsg("parameter \"%s\" must not be NULL when \"%s\" is given",
						schema == nullptr ? "source_schema" : "source_name",
						schema == nullptr ? "source_name" : "source_schema"),
				 errdetail("SQL Server error 22972: give both schema and table, or neither."),
				 errhint("SELECT * FROM cdc.sp_cdc_help_change_data_capture(); shows all.")));
	InitMaterializedSRF(fcinfo, 0);

	if (schema == nullptr)
	{
		put_readable(fcinfo, catalog::capture_instances_all());
		return Datum(0);
	}

	Oid namespace_oid = get_namespace_oid(schema, true);
	Oid source = OidIsValid(namespace_oid) ? get_relname_relid(name, namespace_oid) : InvalidOid;
	if (!OidIsValid(source))
		error_source_not_found(schema, name);

	List *instances = catalog::capture_instances_of_source(source);
	if (put_readable(fcinfo, instances) == 0)
		error_table_not_shown(schema, name, source, instances != NIL);
	return Datum(0);
}

/* sp_cdc_get_captured_columns(capture_instance text): not strict. */
CDC_FUNCTION(cdc_sp_cdc_get_captured_columns)
{
	catalog::CaptureInstance *instance =
		catalog::capture_instance_readable(arg_name_required(fcinfo, 0, "capture_instance"));
	InitMaterializedSRF(fcinfo, 0);

	const char *source_schema = get_namespace_name(get_rel_namespace(instance->source));
	const char *source_name = get_rel_name(instance->source);
	for (const catalog::CapturedColumn &column : instance->columns)
	{
		const TypeDetails details = type_details(column.type.type, column.type.typmod);
		ResultRow<12> row;

		row.add_text(source_schema);
		row.add_text(source_name);
		row.add_text(NameStr(instance->name));
		row.add_text(NameStr(column.name));
		row.add(Int32GetDatum(column.column_id));
		row.add(Int32GetDatum(column.ordinal));
		row.add_text(format_type_be(column.type.type));
		row.add_int32(details.character_maximum_length);
		row.add_int32(details.numeric_precision);
		row.add_int32(details.numeric_precision_radix);
		row.add_int32(details.numeric_scale);
		row.add_int32(details.datetime_precision);
		row.put(fcinfo);
	}
	return Datum(0);
}

} // namespace cdc::query
