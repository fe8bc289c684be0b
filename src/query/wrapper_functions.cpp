/*
 * wrapper_functions.cpp
 *	  sp_cdc_generate_wrapper_function, and the time window of the functions that it writes.
 *
 * NOTES
 *	  A wrapper belongs to whoever runs its script. Its body is a string, parsed at each call, and
 *	  runs with the caller's rights: nothing of ours depends on it, so it is in nobody's way when the
 *	  instance is disabled, and a dump of it can be restored where the instance is not. Since the
 *	  caller's search_path is in force, every name in it is qualified and no operator is written
 *	  plainly. It has no SET clause, so that the planner can inline it like the query function in it.
 *
 *	  Wrappers outlive upgrades of the extension: what they call (cdc._wrapper_window,
 *	  cdc.fn_cdc_has_column_changed, the query functions) keeps its signature.
 */
#include "cdc.hpp"

#include "base/args.hpp"
#include "base/errors.hpp"
#include "catalog/capture_instance.hpp"
#include "catalog/catalog.hpp"
#include "catalog/column_list.hpp"
#include "catalog/lsn_time.hpp"
#include "query/lsn_window.hpp"
#include "query/query_functions.hpp"

extern "C" {
#include "catalog/pg_proc.h"
#include "catalog/pg_type.h"
#include "lib/stringinfo.h"
#include "parser/scansup.h"
#include "storage/lmgr.h"
#include "utils/tuplestore.h"
#include "utils/typcache.h"
}

namespace cdc::query
{

namespace
{

using Columns = std::span<const catalog::CapturedColumn *>;

struct WrapperOptions
{
	bool closed_high_end_point;
	const char *column_list;	  /* NULL: all captured columns */
	const char *update_flag_list; /* NULL: none */
};

const char *
quoted(const char *name)
{
	return quote_identifier(name);
}

/* The columns that a list names, in its order. `number` is SQL Server's for a name that is not captured. */
Columns
resolve_list(const catalog::CaptureInstance *instance, const char *list, const char *parameter,
			 int number)
{
	std::span<catalog::ColumnListItem> items = catalog::column_list_parse(list, parameter);
	auto *found = static_cast<const catalog::CapturedColumn **>(
		palloc0(items.size() * sizeof(catalog::CapturedColumn *)));

	for (size_t i = 0; i < items.size(); i++)
	{
		const catalog::ColumnListItem &item = items[i];
		auto look_for = [&](const char *name) {
			for (const catalog::CapturedColumn &column : instance->columns)
				if (found[i] == nullptr && strcmp(NameStr(column.name), name) == 0)
					found[i] = &column;
		};

		look_for(item.name);
		if (!item.quoted)
			look_for(downcase_identifier(item.name, strlen(item.name), false, false));
		if (found[i] == nullptr)
			ereport(ERROR,
					(errcode(ERRCODE_UNDEFINED_COLUMN),
					 errmsg("column \"%s\" in parameter \"%s\" is not captured by capture instance "
							"\"%s\"",
							item.name, parameter, NameStr(instance->name)),
					 errdetail("SQL Server error %d: the list names captured columns only.",
							   number),
					 errhint("SELECT column_name FROM cdc.sp_cdc_get_captured_columns(%s);",
							 quote_literal_cstr(NameStr(instance->name)))));
	}
	return {found, items.size()};
}

Columns
all_columns(const catalog::CaptureInstance *instance)
{
	auto *found = static_cast<const catalog::CapturedColumn **>(
		palloc0((instance->columns.size() + 1) * sizeof(catalog::CapturedColumn *)));
	size_t count = 0;

	for (const catalog::CapturedColumn &column : instance->columns)
		found[count++] = &column;
	return {found, count};
}

/*
 * The row type of the instance's query function: what it returns decides, also after a type of a
 * captured column was changed. The caller releases it.
 */
TupleDesc
query_function_row(const char *function)
{
	const Oid arguments[] = {PG_LSNOID, PG_LSNOID, TEXTOID};
	oidvector *types = buildoidvector(arguments, lengthof(arguments));
	Oid oid = GetSysCacheOid3(PROCNAMEARGSNSP, Anum_pg_proc_oid, CStringGetDatum(function),
							  PointerGetDatum(types),
							  ObjectIdGetDatum(get_namespace_oid(catalog::kSchema, false)));

	if (!OidIsValid(oid))
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_FUNCTION),
				 errmsg("query function \"cdc.%s\" does not exist", function),
				 errdetail("It belongs to a capture instance and has been dropped."),
				 errhint(
					 "CALL cdc.sp_cdc_disable_table(...) for the instance, and enable it again.")));
	return lookup_rowtype_tupdesc(get_func_rettype(oid), -1);
}

/* `<name> <type>` of a captured column. */
void
append_column(StringInfo sql, TupleDesc row, const catalog::CapturedColumn *column)
{
	for (int i = 0; i < row->natts; i++)
	{
		Form_pg_attribute attribute = TupleDescAttr(row, i);
		if (strcmp(NameStr(attribute->attname), NameStr(column->name)) != 0)
			continue;
		appendStringInfo(sql, "%s %s", quoted(NameStr(column->name)),
						 format_type_extended(attribute->atttypid, -1, FORMAT_TYPE_FORCE_QUALIFY));
		return;
	}
	elog(ERROR, "query function of capture instance has no column \"%s\"", NameStr(column->name));
}

/* The names of all results, to find those that occur twice. */
struct ResultNames
{
	List *names = NIL;
	const char *instance;

	const char *
	add(const char *name)
	{
		ListCell *cell;
		if (strlen(name) >= NAMEDATALEN)
			ereport(
				ERROR,
				(errcode(ERRCODE_NAME_TOO_LONG),
				 errmsg("result column \"%s\" of a wrapper function has a name that is too long",
						name),
				 errdetail("Names have at most %d bytes.", NAMEDATALEN - 1),
				 errhint("Leave its column out of update_flag_list, and use "
						 "cdc.fn_cdc_has_column_changed in a function of your own.")));
		foreach (cell, names)
			if (strcmp(static_cast<const char *>(lfirst(cell)), name) == 0)
				ereport(ERROR,
						(errcode(ERRCODE_DUPLICATE_COLUMN),
						 errmsg("a wrapper function of capture instance \"%s\" would have two "
								"columns named \"%s\"",
								instance, name),
						 errdetail("A name is in a list twice, or a captured column is named "
								   "as one that the wrapper adds."),
						 errhint("Name the columns you want in column_list and "
								 "update_flag_list, each once.")));
		names = lappend(names, pstrdup(name));
		return name;
	}
	/* A parameter has no name where a result column has that name: both are variables of the function. */
	const char *
	parameter(const char *name) const
	{
		ListCell *cell;
		foreach (cell, names)
			if (strcmp(static_cast<const char *>(lfirst(cell)), name) == 0)
				return "";
		return psprintf("%s ", name);
	}
};

/* A tag for dollar quotes that do not end inside the text. */
const char *
dollar_tag(const char *text)
{
	const char *tag = "$wrapper$";
	for (int i = 1; strstr(text, tag) != nullptr; i++)
		tag = psprintf("$wrapper%d$", i);
	return tag;
}

struct Wrapper
{
	const char *function_name;
	const char *create_script;
};

Wrapper
generate(const catalog::CaptureInstance *instance, const WrapperOptions &options, bool net)
{
	const char *ci = NameStr(instance->name);
	const char *query_function = psprintf("fn_cdc_get_%s_changes_%s", net ? "net" : "all", ci);
	const char *function = psprintf("fn_%s_changes_%s", net ? "net" : "all", ci);
	Columns columns = options.column_list == nullptr
						  ? all_columns(instance)
						  : resolve_list(instance, options.column_list, "column_list", 22918);
	Columns flags =
		options.update_flag_list == nullptr
			? Columns()
			: resolve_list(instance, options.update_flag_list, "update_flag_list", 22919);
	ResultNames names = {.names = NIL, .instance = ci};
	StringInfoData results;
	StringInfoData body;
	StringInfoData script;

	Assert(strlen(function) < NAMEDATALEN);
	initStringInfo(&results);
	initStringInfo(&body);
	initStringInfo(&script);

	appendStringInfoString(&body, "\nSELECT ");
	if (!net)
	{
		appendStringInfo(&results, "\t%s pg_catalog.pg_lsn,\n\t%s pg_catalog.pg_lsn,\n",
						 names.add("__cdc_startlsn"), names.add("__cdc_seqval"));
		appendStringInfoString(&body, "c.\"__$start_lsn\", c.\"__$seqval\", ");
	}
	TupleDesc row = query_function_row(query_function);
	for (const catalog::CapturedColumn *column : columns)
	{
		names.add(NameStr(column->name));
		appendStringInfoChar(&results, '\t');
		append_column(&results, row, column);
		appendStringInfoString(&results, ",\n");
		appendStringInfo(&body, "c.%s, ", quoted(NameStr(column->name)));
	}
	ReleaseTupleDesc(row);

	/* By subscript: CASE ... WHEN would look for an operator in the caller's search_path. */
	appendStringInfo(&results, "\t%s pg_catalog.text", names.add("__cdc_operation"));
	appendStringInfoString(&body, "\n\t('{D,I,UO,UN,M}'::pg_catalog.text[])[c.\"__$operation\"]");
	for (const catalog::CapturedColumn *column : flags)
	{
		const char *name = psprintf("%s_uflag", NameStr(column->name));
		const char *changed =
			psprintf("cdc.fn_cdc_has_column_changed(%s, %s, c.\"__$update_mask\")",
					 quote_literal_cstr(ci), quote_literal_cstr(NameStr(column->name)));

		appendStringInfo(&results, ",\n\t%s boolean", quoted(names.add(name)));
		/* In net changes the mask is NULL wherever the flag should be. */
		if (net)
			appendStringInfo(&body, ",\n\t%s", changed);
		else
			appendStringInfo(
				&body, ",\n\tCASE WHEN c.\"__$operation\" OPERATOR(pg_catalog.=) 4 THEN %s END",
				changed);
	}
	appendStringInfo(&body,
					 "\nFROM cdc._wrapper_window(%s, %s, %s, $1, $2, $3) AS w,\n"
					 "\tLATERAL cdc.%s(w.from_lsn, w.to_lsn, $3) AS c\n",
					 quote_literal_cstr(ci), net ? "true" : "false",
					 options.closed_high_end_point ? "true" : "false", quoted(query_function));
	if (!net)
		appendStringInfoString(
			&body, "ORDER BY c.\"__$start_lsn\", c.\"__$seqval\", c.\"__$operation\"\n");

	const char *tag = dollar_tag(body.data);
	appendStringInfo(&script,
					 "CREATE FUNCTION %s(\n"
					 "\t%stimestamp with time zone,\n"
					 "\t%stimestamp with time zone,\n"
					 "\t%spg_catalog.text)\n"
					 "RETURNS TABLE (\n%s)\n"
					 "LANGUAGE sql STABLE PARALLEL RESTRICTED\n"
					 "AS %s%s%s;\n",
					 quoted(function), names.parameter("start_time"), names.parameter("end_time"),
					 names.parameter("row_filter_option"), results.data, tag, body.data, tag);
	return {.function_name = function, .create_script = script.data};
}

void
put_wrapper(FunctionCallInfo fcinfo, const Wrapper &wrapper)
{
	auto *result = reinterpret_cast<ReturnSetInfo *>(fcinfo->resultinfo);
	Datum values[] = {CStringGetTextDatum(wrapper.function_name),
					  CStringGetTextDatum(wrapper.create_script)};
	bool nulls[] = {false, false};

	tuplestore_putvalues(result->setResult, result->setDesc, values, nulls);
}

void
put_wrappers(FunctionCallInfo fcinfo, const catalog::CaptureInstance *instance,
			 const WrapperOptions &options)
{
	put_wrapper(fcinfo, generate(instance, options, false));
	if (instance->supports_net_changes)
		put_wrapper(fcinfo, generate(instance, options, true));
}

/*
 * The instance as it stays until the transaction ends: who disables it or makes its query functions anew holds its
 * view first. NULL when it is gone.
 */
catalog::CaptureInstance *
hold_instance(int32 instance_id)
{
	Oid view = query_functions_view(instance_id);

	while (OidIsValid(view))
	{
		LockRelationOid(view, AccessShareLock);
		Oid now = query_functions_view(instance_id);
		if (now == view)
			break;
		UnlockRelationOid(view, AccessShareLock);
		view = now;
	}
	return catalog::capture_instance_by_id(instance_id, true);
}

/* An empty list is none. */
const char *
arg_list(FunctionCallInfo fcinfo, int n)
{
	const char *list = arg_text_trimmed(fcinfo, n);
	return list == nullptr || list[0] == '\0' ? nullptr : list;
}

/* ---------- the time window ---------- */

std::optional<TimestampTz>
arg_time(FunctionCallInfo fcinfo, int n)
{
	if (PG_ARGISNULL(n))
		return std::nullopt;
	return PG_GETARG_TIMESTAMPTZ(n);
}

/* timestamptz_to_str has one buffer. */
const char *
time_text(TimestampTz time)
{
	return pstrdup(timestamptz_to_str(time));
}

/* "from <time> to <time>" for details. */
const char *
covered_text(XLogRecPtr low, XLogRecPtr high, Snapshot snapshot)
{
	std::optional<TimestampTz> first = catalog::lsn_time_of(low, snapshot);
	std::optional<TimestampTz> last = catalog::lsn_time_of(high, snapshot);

	return psprintf("from %s to %s", first ? time_text(*first) : "?",
					last ? time_text(*last) : "?");
}

struct TimeWindow
{
	const catalog::CaptureInstance *instance;
	XLogRecPtr high;
	Snapshot snapshot;

	/* Raises unless the time lies in those of the LSN window; both its ends included. */
	void
	require_covered(TimestampTz time, const char *parameter) const
	{
		using catalog::TimeRelation;
		const XLogRecPtr low = instance->start_lsn;
		const char *name = NameStr(instance->name);
		std::optional<XLogRecPtr> before =
			catalog::lsn_time_find(TimeRelation::LargestLessThanOrEqual, time, snapshot);

		/* The low end is a row of the mapping, and times never go back along it. */
		if (!before || *before < low)
			ereport(ERROR,
					(errcode(kSqlStateBeforeLowEnd),
					 errmsg("%s %s precedes the low-water mark of capture instance \"%s\"",
							parameter, time_text(time), name),
					 errdetail("SQL Server error 313: the instance can be read %s.",
							   covered_text(low, high, snapshot)),
					 errhint(
						 "NULL stands for the low end. A consumer that had read less has missed "
						 "changes: let it load the table again.")));
		if (!catalog::lsn_time_find(TimeRelation::SmallestGreaterThanOrEqual, time, snapshot))
			ereport(ERROR,
					(errcode(kSqlStateBeyondHighEnd),
					 errmsg("%s %s is beyond what has been captured", parameter, time_text(time)),
					 errdetail("SQL Server error 313: capture instance \"%s\" can be read %s.",
							   name, covered_text(low, high, snapshot)),
					 errhint(
						 "NULL stands for the high end. Use "
						 "cdc.fn_cdc_map_lsn_to_time(cdc.fn_cdc_get_max_lsn()) as the end and as "
						 "the next start.")));
	}
};

} // namespace

/*
 * sp_cdc_generate_wrapper_function(capture_instance text, closed_high_end_point boolean,
 * column_list text, update_flag_list text): not strict.
 */
CDC_FUNCTION(cdc_sp_cdc_generate_wrapper_function)
{
	const char *name = arg_list(fcinfo, 0);
	const WrapperOptions options = {
		.closed_high_end_point = arg_bool(fcinfo, 1).value_or(true),
		.column_list = arg_list(fcinfo, 2),
		.update_flag_list = arg_list(fcinfo, 3),
	};

	catalog::database_require_enabled();
	if (name == nullptr && (options.column_list != nullptr || options.update_flag_list != nullptr))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("parameter \"%s\" needs a capture instance",
						options.column_list != nullptr ? "column_list" : "update_flag_list"),
				 errdetail(
					 "SQL Server error 22921: no list can be given when wrappers for all capture "
					 "instances are asked for."),
				 errhint("Name the capture instance, or leave the lists out.")));

	if (name != nullptr)
	{
		catalog::CaptureInstance *instance = catalog::capture_instance_by_name(name, true);
		if (instance != nullptr && catalog::capture_instance_may_read(instance, GetUserId()))
			instance = hold_instance(instance->instance_id);
		if (instance == nullptr || !catalog::capture_instance_may_read(instance, GetUserId()))
			ereport(
				ERROR,
				(errcode(ERRCODE_UNDEFINED_OBJECT),
				 errmsg("there is no capture instance \"%s\" to generate wrapper functions for, or "
						"access is denied",
						name),
				 errdetail("SQL Server error 22920: the capture instance does not exist."),
				 errhint("SELECT capture_instance FROM cdc.sp_cdc_help_change_data_capture() lists "
						 "the instances you may read.")));
		catalog::capture_instance_require_whole(instance);
		InitMaterializedSRF(fcinfo, 0);
		put_wrappers(fcinfo, instance, options);
		return Datum(0);
	}

	InitMaterializedSRF(fcinfo, 0);
	ListCell *cell;
	foreach (cell, catalog::capture_instances_all())
	{
		auto *instance = static_cast<catalog::CaptureInstance *>(lfirst(cell));
		if (instance->is_damaged || !catalog::capture_instance_may_read(instance, GetUserId()))
			continue;
		instance = hold_instance(instance->instance_id);
		if (instance != nullptr && !instance->is_damaged)
			put_wrappers(fcinfo, instance, options);
	}
	return Datum(0);
}

/*
 * _wrapper_window(capture_instance text, net_changes boolean, closed_high_end_point boolean,
 * start_time timestamptz, end_time timestamptz, row_filter_option text): the LSN range of a time
 * window, as one row (from_lsn, to_lsn); no row when no transaction lies in it. Not strict.
 *
 * A window with closed end is (start, end], one with an open end [start, end): so the end of one call
 * is the start of the next, whichever it is, and nothing is lost or repeated.
 */
CDC_FUNCTION(cdc_wrapper_window)
{
	using catalog::TimeRelation;

	const char *name = arg_name_required(fcinfo, 0, "capture_instance");
	bool closed = arg_bool(fcinfo, 2).value_or(true);
	std::optional<TimestampTz> start = arg_time(fcinfo, 3);
	std::optional<TimestampTz> end = arg_time(fcinfo, 4);
	Snapshot snapshot = GetActiveSnapshot();

	/* For whom may not read it, it does not exist: anybody can call this with any name. */
	catalog::CaptureInstance *instance = catalog::capture_instance_by_name(name, false);
	if (!catalog::capture_instance_may_read(instance, GetUserId()))
		error_instance_not_found(name);
	lsn_window_check_started(instance, {.from_lsn = std::nullopt,
										.to_lsn = std::nullopt,
										.row_filter_option = arg_text(fcinfo, 5),
										.net_changes = arg_bool(fcinfo, 1).value_or(false)});
	InitMaterializedSRF(fcinfo, 0);

	XLogRecPtr from = instance->start_lsn;
	std::optional<XLogRecPtr> high = catalog::lsn_time_max(snapshot);
	XLogRecPtr to = high.value_or(InvalidXLogRecPtr);
	bool empty = false;

	/* When the snapshot is older than the instance the query function has the words for it. */
	if (to >= from)
	{
		const TimeWindow window = {.instance = instance, .high = to, .snapshot = snapshot};

		if (start && end && *start > *end)
			ereport(ERROR, (errcode(kSqlStateBadArgument),
							errmsg("start_time %s is later than end_time %s", time_text(*start),
								   time_text(*end)),
							errdetail("SQL Server error 313: the time range is empty."),
							errhint("Give the earlier time first.")));
		if (start)
			window.require_covered(*start, "start_time");
		if (end)
			window.require_covered(*end, "end_time");

		if (start && closed)
			from =
				*catalog::lsn_time_find(TimeRelation::LargestLessThanOrEqual, *start, snapshot) + 1;
		else if (start)
			from = Max(from, *catalog::lsn_time_find(TimeRelation::SmallestGreaterThanOrEqual,
													 *start, snapshot));
		if (end && closed)
			to = *catalog::lsn_time_find(TimeRelation::LargestLessThanOrEqual, *end, snapshot);
		else if (end)
			to = catalog::lsn_time_find(TimeRelation::LargestLessThan, *end, snapshot)
					 .value_or(InvalidXLogRecPtr);
		empty = from > to;
	}
	if (!empty)
	{
		auto *result = reinterpret_cast<ReturnSetInfo *>(fcinfo->resultinfo);
		Datum values[] = {LSNGetDatum(from), LSNGetDatum(to)};
		bool nulls[] = {false, !high};
		tuplestore_putvalues(result->setResult, result->setDesc, values, nulls);
	}
	return Datum(0);
}

} // namespace cdc::query
