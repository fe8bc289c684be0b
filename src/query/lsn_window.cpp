/*
 * lsn_window.cpp
 *	  Validates a query function's call against rights, arguments and the LSN window.
 */
#include "cdc.hpp"

#include "base/args.hpp"
#include "base/errors.hpp"
#include "catalog/catalog_rows.hpp"
#include "catalog/gaps.hpp"
#include "catalog/lsn_time.hpp"
#include "catalog/version.hpp"
#include "query/all_changes.hpp"
#include "query/lsn_window.hpp"
#include "query/net_changes.hpp"
#include "query/statement_cache.hpp"

namespace cdc::query
{

namespace
{

/* Every option of one function, with the text that lists them in errors. */
constexpr const char *kAllChangesOptions[] = {"all", "all update old"};
constexpr const char *kNetChangesOptions[] = {"all", "all with mask", "all with merge"};
constexpr const char *kAllChangesOptionList = "\"all\" and \"all update old\"";
constexpr const char *kNetChangesOptionList = "\"all\", \"all with mask\" and \"all with merge\"";

struct Window
{
	const char *name; /* of the capture instance */
	XLogRecPtr low;
	std::optional<XLogRecPtr> high; /* none: nothing captured that the snapshot could see */
};

/* "[low, high]" for details. */
const char *
window_text(const Window &window)
{
	if (!window.high || *window.high < window.low)
		return psprintf("from %X/%X on; nothing captured since then is visible to this snapshot",
						CDC_LSN_FORMAT_ARGS(window.low));
	return psprintf("from %X/%X to %X/%X", CDC_LSN_FORMAT_ARGS(window.low),
					CDC_LSN_FORMAT_ARGS(*window.high));
}

/* The next command to type: the first thing that is missing. */
const char *
hint_for(catalog::ReadDenied denied, const catalog::CaptureInstance *instance, const char *source)
{
	const char *user = quote_identifier(GetUserNameFromId(GetUserId(), false));

	switch (denied)
	{
		case catalog::ReadDenied::GatingRole:
			return psprintf("GRANT %s TO %s;", quote_identifier(NameStr(instance->role_name)),
							user);
		case catalog::ReadDenied::RowSecurity:
			return psprintf("ALTER ROLE %s BYPASSRLS; or let the owner of %s read.", user, source);
		default:
			return psprintf("GRANT SELECT ON %s TO %s; a grant on the captured columns is enough.",
							source, user);
	}
}

void
check_rights(const catalog::CaptureInstance *instance)
{
	catalog::ReadDenied denied = catalog::capture_instance_denies(instance, GetUserId());

	if (denied == catalog::ReadDenied::No)
		return;
	if (denied == catalog::ReadDenied::SourceGone)
		ereport(ERROR,
				(errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
				 errmsg("permission denied for capture instance \"%s\"", NameStr(instance->name)),
				 errdetail(
					 "SQL Server error 229: the source table was dropped, and the rights to read "
					 "it went with it."),
				 errhint("Superusers and the owner of the database can read what is left.")));

	const char *schema = get_namespace_name(get_rel_namespace(instance->source));
	const char *table = get_rel_name(instance->source);
	const char *source = schema == nullptr || table == nullptr
							 ? "the source table"
							 : quote_qualified_identifier(schema, table);
	const char *role = instance->has_role
						   ? psprintf("membership in role \"%s\", ", NameStr(instance->role_name))
						   : "";
	ereport(
		ERROR,
		(errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
		 errmsg("permission denied for capture instance \"%s\"", NameStr(instance->name)),
		 errdetail("SQL Server error 229: user \"%s\" needs %sSELECT on all captured columns of "
				   "%s, and where that has row-level security, to own it or to have BYPASSRLS.",
				   GetUserNameFromId(GetUserId(), false), role, source),
		 errhint("%s", hint_for(denied, instance, source))));
}

void
check_option(const WindowArguments &arguments)
{
	std::span<const char *const> options = arguments.net_changes
											   ? std::span<const char *const>(kNetChangesOptions)
											   : std::span<const char *const>(kAllChangesOptions);
	const char *list = arguments.net_changes ? kNetChangesOptionList : kAllChangesOptionList;

	if (arguments.row_filter_option == nullptr)
		ereport(ERROR, (errcode(kSqlStateBadArgument), errmsg("row_filter_option must not be NULL"),
						errdetail("SQL Server error 313: the options are %s.", list),
						errhint("Use 'all'.")));
	for (const char *option : options)
		if (option_equals(arguments.row_filter_option, option))
			return;
	ereport(ERROR,
			(errcode(kSqlStateBadArgument),
			 errmsg("unrecognized row_filter_option \"%s\"", arguments.row_filter_option),
			 errdetail("SQL Server error 313: the options are %s.", list), errhint("Use 'all'.")));
}

void
check_bound(const std::optional<XLogRecPtr> &bound, const char *parameter, const char *function,
			const char *argument)
{
	if (bound)
		return;
	ereport(ERROR,
			(errcode(kSqlStateBadArgument), errmsg("%s must not be NULL", parameter),
			 errdetail("SQL Server error 313: both ends of the LSN range must be given. "
					   "cdc.fn_cdc_get_max_lsn() is NULL while nothing has been captured."),
			 errhint("For everything there is: %s => cdc.%s(%s).", parameter, function, argument)));
}

[[noreturn]] void
error_not_started(const Window &window)
{
	ereport(ERROR,
			(errcode(kSqlStateBeyondHighEnd),
			 errmsg("capture instance \"%s\" has not started yet", window.name),
			 errdetail("SQL Server error 313: the capture job has not reached the commit that "
					   "enabled the table, so there is no LSN range to read."),
			 errhint("CALL cdc.wait_for_capture(); if the capture job is stopped, CALL "
					 "cdc.sp_cdc_start_job(); first.")));
	pg_unreachable();
}

[[noreturn]] void
error_before_low_end(const Window &window, XLogRecPtr from, XLogRecPtr to)
{
	ereport(
		ERROR,
		(errcode(kSqlStateBeforeLowEnd),
		 errmsg("from_lsn %X/%X precedes the low-water mark of capture instance \"%s\"",
				CDC_LSN_FORMAT_ARGS(from), window.name),
		 errdetail("SQL Server error 313: asked for %X/%X to %X/%X; the instance can be read %s. "
				   "Earlier changes were removed by cleanup or happened before it was enabled.",
				   CDC_LSN_FORMAT_ARGS(from), CDC_LSN_FORMAT_ARGS(to), window_text(window)),
		 errhint(
			 "Start from cdc.fn_cdc_get_min_lsn(%s). A consumer that had read less has missed "
			 "changes: let it load the table again, and raise the retention of the cleanup job.",
			 quote_literal_cstr(window.name))));
	pg_unreachable();
}

[[noreturn]] void
error_nothing_new(const Window &window, XLogRecPtr from, XLogRecPtr to)
{
	ereport(
		ERROR,
		(errcode(kSqlStateNothingNew),
		 errmsg("nothing new yet for capture instance \"%s\"", window.name),
		 errdetail("SQL Server error 313: asked for %X/%X to %X/%X; the instance can be read %s, "
				   "and from_lsn is next after that.",
				   CDC_LSN_FORMAT_ARGS(from), CDC_LSN_FORMAT_ARGS(to), window_text(window)),
		 errhint("Keep from_lsn and ask again when cdc.fn_cdc_get_max_lsn() has moved; "
				 "CALL cdc.wait_for_capture() waits for all that is committed now.")));
	pg_unreachable();
}

[[noreturn]] void
error_reversed(const Window &window, XLogRecPtr from, XLogRecPtr to)
{
	ereport(ERROR, (errcode(kSqlStateBadArgument),
					errmsg("from_lsn %X/%X is greater than to_lsn %X/%X", CDC_LSN_FORMAT_ARGS(from),
						   CDC_LSN_FORMAT_ARGS(to)),
					errdetail("SQL Server error 313: capture instance \"%s\" can be read %s.",
							  window.name, window_text(window)),
					errhint("Give the smaller LSN first.")));
	pg_unreachable();
}

/* The consumer cannot repair this by itself: says up to where its changes are whole, and from where. */
[[noreturn]] void
error_across_gap(const Window &window, const catalog::Gap &gap, XLogRecPtr from, XLogRecPtr to)
{
	const char *before = from < gap.start
							 ? psprintf("Read up to cdc.fn_cdc_decrement_lsn('%X/%X'). ",
										CDC_LSN_FORMAT_ARGS(gap.start))
							 : "";
	const char *hint;

	if (!XLogRecPtrIsInvalid(gap.end))
		hint = psprintf("%sLoad the table again, and go on with from_lsn => '%X/%X'.", before,
						CDC_LSN_FORMAT_ARGS(gap.end));
	else if (OidIsValid(gap.change_table))
		hint = psprintf("%sRepair what the detail says, then load the table again.", before);
	else
		hint = psprintf("%sLet a superuser or the database's owner CALL cdc.resume_after_gap(), "
						"then load the table again.",
						before);
	ereport(ERROR,
			(errcode(kSqlStateAcrossGap),
			 errmsg("changes of capture instance \"%s\" are missing between from_lsn and to_lsn",
					window.name),
			 errdetail("SQL Server error 313: asked for %X/%X to %X/%X; what was committed from "
					   "%X/%X %s may be missing: %s.%s%s",
					   CDC_LSN_FORMAT_ARGS(from), CDC_LSN_FORMAT_ARGS(to),
					   CDC_LSN_FORMAT_ARGS(gap.start),
					   XLogRecPtrIsInvalid(gap.end)
						   ? "on"
						   : psprintf("to before %X/%X", CDC_LSN_FORMAT_ARGS(gap.end)),
					   gap.reason, gap.detail != nullptr ? " " : "",
					   gap.detail != nullptr ? gap.detail : ""),
			 errhint("%s", hint)));
	pg_unreachable();
}

[[noreturn]] void
error_beyond_high_end(const Window &window, XLogRecPtr from, XLogRecPtr to)
{
	ereport(
		ERROR,
		(errcode(kSqlStateBeyondHighEnd),
		 errmsg("to_lsn %X/%X is beyond what has been captured", CDC_LSN_FORMAT_ARGS(to)),
		 errdetail("SQL Server error 313: asked for %X/%X to %X/%X; capture instance \"%s\" can be "
				   "read %s.",
				   CDC_LSN_FORMAT_ARGS(from), CDC_LSN_FORMAT_ARGS(to), window.name,
				   window_text(window)),
		 IsolationUsesXactSnapshot()
			 ? errhint("Read up to cdc.fn_cdc_get_max_lsn(). What was captured since the "
					   "transaction began is visible to the next transaction.")
			 : errhint(
				   "Read up to cdc.fn_cdc_get_max_lsn(), or CALL cdc.wait_for_capture() and ask "
				   "again.")));
	pg_unreachable();
}

} // namespace

namespace
{

/* The commit LSN of the first type change that the change table has followed; 0: none is known. */
XLogRecPtr
first_type_change(Oid change_table)
{
	using namespace catalog;
	XLogRecPtr first = InvalidXLogRecPtr;
	ScanKeyData key = scan_key(kDhObjectId, F_OIDEQ, ObjectIdGetDatum(change_table));

	rows_scan("ddl_history", "ddl_history_object_id_idx", {&key, 1}, AccessShareLock,
			  [&](Relation relation, HeapTuple tuple) {
				  auto row = row_deform<kDhColumns>(relation, tuple);
				  XLogRecPtr lsn = DatumGetLSN(row[kDhDdlLsn]);
				  if (DatumGetBool(row[kDhRequiredColumnUpdate]) &&
					  (first == InvalidXLogRecPtr || lsn < first))
					  first = lsn;
			  });
	return first;
}

/*
 * Functions that could not be renewed when a type changed (a user's view is on top of them) know nothing of
 * the physical columns made since: what they give for rows before the change is right, what they
 * would give for later ones is not.
 */
void
check_functions(const catalog::CaptureInstance *instance, TupleDesc expected,
				const WindowArguments &arguments)
{
	const int ncolumns = static_cast<int>(instance->columns.size());
	const int leading = arguments.net_changes ? kNetLeadingColumns : kAllLeadingColumns;

	/* Anybody may call it, with any list of columns, or none. */
	if (expected == nullptr || expected->natts != leading + ncolumns)
		ereport(ERROR, (errcode(ERRCODE_DATATYPE_MISMATCH),
						errmsg("the columns do not match those of capture instance \"%s\"",
							   NameStr(instance->name)),
						errdetail("There are %d columns in the list, and the function has %d.",
								  expected == nullptr ? 0 : expected->natts, leading + ncolumns),
						errhint("cdc._check_window serves the query functions of cdc: call "
								"cdc.fn_cdc_get_all_changes_<capture_instance>.")));

	for (const catalog::CapturedColumn &column : instance->columns)
	{
		Form_pg_attribute attribute = TupleDescAttr(expected, leading + column.ordinal - 1);
		if (attribute->atttypid == column.type.type)
			continue;
		if (*arguments.to_lsn < first_type_change(instance->change_table))
			return;
		ereport(
			ERROR,
			(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
			 errmsg("query functions of capture instance \"%s\" are older than its columns",
					NameStr(instance->name)),
			 errdetail("The type of column \"%s\" is %s since a change of the source table, the "
					   "functions return %s: when it changed, something depended on them.",
					   NameStr(column.name),
					   format_type_with_typemod(column.type.type, column.type.typmod),
					   format_type_with_typemod(attribute->atttypid, attribute->atttypmod)),
			 errhint("Drop what depends on them (a view, say), then CALL "
					 "cdc.renew_query_functions(%s) and make it again. Changes before the first "
					 "change of type can be read as before.",
					 quote_literal_cstr(NameStr(instance->name)))));
	}
}

} // namespace

bool
option_equals(std::string_view given, const char *option)
{
	while (!given.empty() && is_ascii_space(given.front()))
		given.remove_prefix(1);
	while (!given.empty() && is_ascii_space(given.back()))
		given.remove_suffix(1);

	/* ASCII only: no locale has a say in what an option is called. */
	size_t i = 0;
	for (; i < given.size() && option[i] != '\0'; i++)
		if (pg_ascii_tolower(static_cast<unsigned char>(given[i])) !=
			static_cast<unsigned char>(option[i]))
			return false;
	return i == given.size() && option[i] == '\0';
}

void
lsn_window_check_started(const catalog::CaptureInstance *instance, const WindowArguments &arguments)
{
	check_rights(instance);
	check_option(arguments);
	if (instance->start_lsn == InvalidXLogRecPtr)
		error_not_started(
			{.name = NameStr(instance->name), .low = InvalidXLogRecPtr, .high = std::nullopt});
}

void
lsn_window_check(const catalog::CaptureInstance *instance, const WindowArguments &arguments,
				 Snapshot snapshot)
{
	/* Rights first: nothing about the instance is told to whom may not read it. */
	check_rights(instance);

	check_option(arguments);
	check_bound(arguments.from_lsn, "from_lsn", "fn_cdc_get_min_lsn",
				quote_literal_cstr(NameStr(instance->name)));
	check_bound(arguments.to_lsn, "to_lsn", "fn_cdc_get_max_lsn", "");

	const XLogRecPtr from = *arguments.from_lsn;
	const XLogRecPtr to = *arguments.to_lsn;
	const Window window = {
		.name = NameStr(instance->name),
		.low = instance->start_lsn,
		.high = catalog::lsn_time_max(snapshot),
	};

	if (window.low == InvalidXLogRecPtr)
		error_not_started(window);
	/* Lost changes come before any other complaint: the caller has to act on them. */
	if (from < window.low)
		error_before_low_end(window, from, to);
	/* The usual loop of a consumer: from = increment(max read), to = max, and nothing came. */
	if (from > to && window.high && from == *window.high + 1)
		error_nothing_new(window, from, to);
	if (from > to)
		error_reversed(window, from, to);
	/* Today's gaps, like today's low end; before the high end, which an open gap explains. */
	if (std::optional<catalog::Gap> gap = catalog::gap_in(instance->change_table, from, to))
		error_across_gap(window, *gap, from, to);
	if (!window.high || to > *window.high)
		error_beyond_high_end(window, from, to);
}

/*
 * _check_window(instance_id integer, net_changes boolean, from_lsn pg_lsn, to_lsn pg_lsn,
 * row_filter_option text): a set that is always empty. Not strict, NULLs are errors.
 */
CDC_FUNCTION(cdc_check_window)
{
	int32 instance_id = PG_ARGISNULL(0) ? 0 : PG_GETARG_INT32(0);
	const WindowArguments arguments = {
		.from_lsn = arg_lsn(fcinfo, 2),
		.to_lsn = arg_lsn(fcinfo, 3),
		.row_filter_option = arg_text(fcinfo, 4),
		.net_changes = arg_bool(fcinfo, 1).value_or(false),
	};
	auto *result = reinterpret_cast<ReturnSetInfo *>(fcinfo->resultinfo);

	if (result == nullptr || !IsA(result, ReturnSetInfo) ||
		(result->allowedModes & SFRM_ValuePerCall) == 0)
		elog(ERROR, "set-valued function called in context that cannot accept a set");

	catalog::require_version();
	catalog::CaptureInstance *instance = catalog::capture_instance_by_id(instance_id, true);
	if (instance == nullptr)
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_OBJECT),
				 errmsg("capture instance with id %d does not exist any more", instance_id),
				 errdetail(
					 "SQL Server error 22981: the instance was disabled after the query had been "
					 "planned."),
				 errhint("SELECT capture_instance FROM cdc.sp_cdc_help_change_data_capture() lists "
						 "the instances you may read.")));
	catalog::capture_instance_require_whole(instance);
	lsn_window_check(instance, arguments, GetActiveSnapshot());
	check_functions(instance, result->expectedDesc, arguments);

	result->isDone = ExprEndResult;
	PG_RETURN_NULL();
}

/*
 * _option_is(row_filter_option text, name text): strict. The generated functions ask with this, so that
 * they and the check agree on what an option is.
 */
CDC_FUNCTION(cdc_option_is)
{
	PG_RETURN_BOOL(option_equals(text_view(PG_GETARG_TEXT_PP(0)), arg_text(fcinfo, 1)));
}

/*
 * _may_read(instance_id integer): strict; the one-time filter of each instance's view. Never raises for lack of
 * rights: rows are just not there.
 */
CDC_FUNCTION(cdc_may_read)
{
	catalog::CaptureInstance *instance = catalog::capture_instance_by_id(PG_GETARG_INT32(0), true);

	PG_RETURN_BOOL(instance != nullptr &&
				   catalog::capture_instance_may_read(instance, GetUserId()));
}

} // namespace cdc::query
