/*
 * type_change.cpp
 *	  Compares what the decoder sends with the change table, and lets the latter follow.
 */
#include "cdc.hpp"

#include "base/fault.hpp"
#include "base/scope.hpp"
#include "capture/instance_gaps.hpp"
#include "capture/type_change.hpp"
#include "catalog/catalog.hpp"
#include "catalog/change_table_columns.hpp"
#include "catalog/instance_rows.hpp"
#include "catalog/internal_ddl.hpp"
#include "catalog/source_table.hpp"
#include "query/query_functions.hpp"
#include "worker/registry.hpp"

extern "C" {
#include "catalog/pg_collation_d.h"
#include "catalog/pg_inherits.h"
#include "pgstat.h"
#include "storage/lmgr.h"
#include "storage/procarray.h"
#include "storage/sinvaladt.h"
#include "utils/inval.h"
}

namespace cdc::capture
{

using namespace catalog;

namespace
{

/* New readers queue behind a waiting ACCESS EXCLUSIVE lock for as long as it waits. */
constexpr const char *kLockTimeout = "100ms";
constexpr const char *kNoLockTimeout = "1ms"; /* the shortest: 0 means for ever */
constexpr long kLockPauseMs = 500;

/* The type as today's catalog knows it; a collation that is gone is no reason to lose values. */
ColumnType
value_type(const LayoutColumn &column)
{
	ColumnType type = {column.type, column.typmod, column.collation};
	if (OidIsValid(type.collation) &&
		!SearchSysCacheExists1(COLLOID, ObjectIdGetDatum(type.collation)))
		type.collation = DEFAULT_COLLATION_OID;
	return type;
}

bool
type_exists(Oid type)
{
	return SearchSysCacheExists1(TYPEOID, ObjectIdGetDatum(type));
}

bool
has_values(const LayoutColumn &column)
{
	return column.source_attnum != 0 && type_exists(column.type);
}

/* Physical columns that a change table can still get; dropped ones count, too. */
int
room_for_columns(Oid change_table)
{
	HeapTuple tuple = SearchSysCache1(RELOID, ObjectIdGetDatum(change_table));
	int room = 0;

	if (HeapTupleIsValid(tuple))
	{
		room = MaxHeapAttributeNumber - reinterpret_cast<Form_pg_class>(GETSTRUCT(tuple))->relnatts;
		ReleaseSysCache(tuple);
	}
	return room;
}

/* Plans of the columns that need something. A new column for which there is no room is left out. */
std::span<ColumnPlan>
plans_of(const CaptureInstance *instance, std::span<const LayoutColumn> columns)
{
	auto *plans = static_cast<ColumnPlan *>(palloc(sizeof(ColumnPlan) * Max(columns.size(), 1)));
	int room = room_for_columns(instance->change_table);
	size_t count = 0;

	for (size_t i = 0; i < columns.size() && i < instance->columns.size(); i++)
	{
		if (!has_values(columns[i]))
			continue;
		plans[count] = column_plan(instance->columns[i], value_type(columns[i]));
		if (!plans[count].needs_something() || (plans[count].version == nullptr && --room < 0))
			continue;
		count++;
	}
	return {plans, count};
}

/*
 * The declared type of a source column as SQL text: a domain by its name, when the source column is still
 * what the log says.
 */
const char *
declared_type(Oid source, const LayoutColumn &column)
{
	const char *result = nullptr;
	HeapTuple tuple =
		SearchSysCache2(ATTNUM, ObjectIdGetDatum(source), Int16GetDatum(column.source_attnum));
	if (HeapTupleIsValid(tuple))
	{
		auto *attribute = reinterpret_cast<Form_pg_attribute>(GETSTRUCT(tuple));
		if (!attribute->attisdropped)
		{
			int32 typmod = attribute->atttypmod;
			if (getBaseTypeAndTypmod(attribute->atttypid, &typmod) == column.type &&
				typmod == column.typmod)
				result = format_type_with_typemod(attribute->atttypid, attribute->atttypmod);
		}
		ReleaseSysCache(tuple);
	}
	return result != nullptr ? result : format_type_with_typemod(column.type, column.typmod);
}

/* Adds to `pids` who holds a lock on a relation that conflicts with `mode`. */
void
add_blockers(StringInfo pids, List **found, Oid relation, LOCKMODE mode)
{
	LOCKTAG tag;
	int count;

	SET_LOCKTAG_RELATION(tag, MyDatabaseId, relation);
	VirtualTransactionId *holders = GetLockConflicts(&tag, mode, &count);
	for (int i = 0; i < count; i++)
	{
		PGPROC *process = CDC_VXID_PROCESS(holders[i]);
		if (process == nullptr || list_member_int(*found, process->pid))
			continue;
		*found = lappend_int(*found, process->pid);
		appendStringInfo(pids, "%s%d", pids->len == 0 ? "" : ", ", process->pid);
	}
	pfree(holders);
}

/* Who is in the way of a change of the change table, for messages. */
char *
blockers(const TypeChangeRequest &request, Oid root)
{
	StringInfoData pids;
	List *found = NIL;
	ListCell *cell;

	initStringInfo(&pids);
	foreach (cell,
			 lcons_oid(query::query_functions_view(request.instance_id), inheritance_tree(root)))
		add_blockers(&pids, &found, lfirst_oid(cell), AccessExclusiveLock);
	/* A column of a composite type is made with a look at that type, which its owner may be altering. */
	for (const LayoutColumn &column : request.columns)
	{
		Oid element = get_element_type(column.type);
		Oid row_type = get_typ_typrelid(OidIsValid(element) ? element : column.type);
		if (OidIsValid(row_type))
			add_blockers(&pids, &found, row_type, AccessShareLock);
	}
	return pids.len == 0 ? pstrdup("nobody any more") : psprintf("process %s", pids.data);
}

/* Types that the source has now and the catalog does not; true when there is one. */
bool
changed_types(const TypeChangeRequest &request, const CaptureInstance *instance,
			  std::span<const char *> types)
{
	bool found = false;
	for (size_t i = 0; i < types.size(); i++)
	{
		types[i] = nullptr;
		if (!has_values(request.columns[i]))
			continue;
		const char *type = declared_type(request.source, request.columns[i]);
		if (strcmp(type, instance->columns[i].column_type) == 0)
			continue;
		types[i] = type;
		found = true;
	}
	return found;
}

/* The readers' view, root, then leaves, as everybody locks them. */
void
lock_change_table(Oid view, Oid root)
{
	if (OidIsValid(view))
		LockRelationOid(view, AccessExclusiveLock);
	LockRelationOid(root, AccessExclusiveLock);
	/* Dropped while we waited: the caller looks for the instance again. */
	if (SearchSysCacheExists1(RELOID, ObjectIdGetDatum(root)))
		(void)find_all_inheritors(root, AccessExclusiveLock, nullptr);
}

/* Locks the change table and makes the place in it. A text as of type_change_follow, in the current context. */
const char *
make_place(const TypeChangeRequest &request, Oid root)
{
	StringInfoData text;

	lock_change_table(query::query_functions_view(request.instance_id), root);
	/* It may have been disabled while we waited. */
	CaptureInstance *instance = capture_instance_by_id(request.instance_id, true);
	if (instance == nullptr)
		return nullptr;
	capture_instance_require_whole(instance);

	size_t ntypes = Min(request.columns.size(), instance->columns.size());
	std::span<const char *> types = {static_cast<const char **>(palloc(sizeof(char *) * ntypes)),
									 ntypes};
	bool renamed = changed_types(request, instance, types);
	initStringInfo(&text);
	for (size_t i = 0; i < ntypes; i++)
		if (types[i] != nullptr)
			appendStringInfo(&text, "%scolumn %s: %s became %s", text.len == 0 ? "" : ", ",
							 quote_identifier(NameStr(instance->columns[i].name)),
							 instance->columns[i].column_type, types[i]);
	std::span<ColumnPlan> plans = plans_of(instance, request.columns);
	for (const ColumnPlan &plan : plans)
		if (plan.column->versions.empty() || !plan.column->versions[0].current)
			instance_gap_column_lost(instance->change_table, request.what,
									 NameStr(plan.column->name), instance->start_lsn,
									 request.commit_lsn);
	CDC_FAULT("type-change-begin");
	change_table_follow(instance, plans);
	CDC_FAULT("type-change-end");
	if (!renamed)
		return nullptr;
	captured_columns_set_types(instance, types);
	return text.data;
}

/*
 * The same, or nothing at all and false: when somebody has a lock for longer than `timeout`. That may be one on a
 * composite type, which only the change itself asks for; whoever has it may want what we have locked.
 */
bool
try_make_place(const TypeChangeRequest &request, Oid root, const char *timeout, char **text)
{
	MemoryContext caller = CurrentMemoryContext;

	return in_subtransaction(
		[&] {
			/* Gone with the subtransaction when that fails: it may be tried for hours. */
			in_context(CurTransactionContext, [&] {
				with_lock_timeout(timeout, [&] {
					const char *made = make_place(request, root);
					*text = made == nullptr ? nullptr : MemoryContextStrdup(caller, made);
				});
			});
		},
		[](const ErrorData &edata) {
			if (edata.sqlerrcode != ERRCODE_LOCK_NOT_AVAILABLE &&
				edata.sqlerrcode != ERRCODE_T_R_DEADLOCK_DETECTED)
				ReThrowError(const_cast<ErrorData *>(&edata));
		});
}

/* Tries until it is made; says who is in the way. */
char *
wait_and_make_place(const TypeChangeRequest &request, Oid root)
{
	bool reported = false;
	CaptureState state = request.entry->state;
	char *text = nullptr;

	while (!try_make_place(request, root, kLockTimeout, &text))
	{
		worker::registry_set_state(request.entry, CaptureState::WaitingForLock);
		if (!reported)
		{
			const char *holders = blockers(request, root);
			if (!request.is_alone)
				ereport(ERROR,
						(errcode(ERRCODE_LOCK_NOT_AVAILABLE),
						 errmsg("change table of %s is in use", request.what),
						 errdetail("A column's type has changed at %X/%X; locked by %s.",
								   CDC_LSN_FORMAT_ARGS(request.commit_lsn), holders),
						 errhint("Capture starts again with that transaction alone, and waits.")));
			ereport(LOG, (errmsg("capture waits for the change table of %s", request.what),
						  errdetail("A column's type has changed at %X/%X; locked by %s.",
									CDC_LSN_FORMAT_ARGS(request.commit_lsn), holders),
						  errhint("Let that transaction end: SELECT pg_terminate_backend(...).")));
			pgstat_report_activity(STATE_RUNNING,
								   psprintf("waits for the change table of %s, locked by %s",
											request.what, holders));
		}
		reported = true;
		(void)WaitLatch(MyLatch, WL_LATCH_SET | WL_TIMEOUT | WL_EXIT_ON_PM_DEATH, kLockPauseMs,
						PG_WAIT_EXTENSION);
		ResetLatch(MyLatch);
		CHECK_FOR_INTERRUPTS();
		if (request.entry->stop_requested)
		{
			worker::registry_writer_exits_cleanly();
			proc_exit(0);
		}
	}
	if (reported)
		pgstat_report_activity(STATE_RUNNING, nullptr);
	worker::registry_set_state(request.entry, state);
	return text;
}

/* Who was in the way when a type changed may be gone. */
void
try_renew_functions(const CaptureInstance *instance)
{
	if (query::query_functions_agree(instance))
		return;
	(void)in_subtransaction(
		[&] {
			with_lock_timeout(kLockTimeout, [&] {
				/* A session may be at it (renew_query_functions), or just have been. */
				instance_name_lock(NameStr(instance->name));
				if (!query::query_functions_agree(instance))
					as_extension_owner([&]() {
						query::query_functions_renew(instance->instance_id,
													 NameStr(instance->name));
					});
			});
		},
		[](const ErrorData &edata) {
			if (edata.sqlerrcode != ERRCODE_LOCK_NOT_AVAILABLE &&
				edata.sqlerrcode != ERRCODE_T_R_DEADLOCK_DETECTED &&
				edata.sqlerrcode != ERRCODE_DEPENDENT_OBJECTS_STILL_EXIST)
				ReThrowError(const_cast<ErrorData *>(&edata));
		});
}

/* Whether rows could not be stored without them. */
bool
needs_columns(std::span<const ColumnPlan> plans)
{
	for (const ColumnPlan &plan : plans)
		if (plan.version == nullptr || !plan.version->current)
			return true;
	return false;
}

} // namespace

GapCause
type_change_lost(std::span<const LayoutColumn> columns, const AttrNumber *places)
{
	for (size_t i = 0; i < columns.size(); i++)
		if (columns[i].source_attnum != 0 && places[kChangeLeadingColumns + i] == 0)
			return type_exists(columns[i].type) ? GapCause::NoRoom : GapCause::TypeGone;
	return GapCause::None;
}

bool
type_change_needed(const TypeChangeRequest &request)
{
	CaptureInstance *instance = capture_instance_by_id(request.instance_id, true);
	if (instance != nullptr)
		capture_instance_require_whole(instance);
	return instance != nullptr && !plans_of(instance, request.columns).empty();
}

char *
type_change_follow(const TypeChangeRequest &request)
{
	CaptureInstance *instance = capture_instance_by_id(request.instance_id, true);
	if (instance == nullptr)
		return nullptr;
	std::span<ColumnPlan> plans = plans_of(instance, request.columns);
	size_t ntypes = Min(request.columns.size(), instance->columns.size());
	std::span<const char *> types = {static_cast<const char **>(palloc(sizeof(char *) * ntypes)),
									 ntypes};

	/*
	 * Only a name has changed, or nothing: not worth waiting for who has the table. A session that is
	 * disabling the instance holds it, and then the row types that would be looked at.
	 */
	bool renamed = changed_types(request, instance, types);
	if (plans.empty())
	{
		if (!ConditionalLockRelationOid(instance->change_table, AccessShareLock))
			return nullptr;
		/* Disabled before we had the lock. */
		instance = capture_instance_by_id(request.instance_id, true);
		if (instance == nullptr)
			return nullptr;
		if (renamed)
			captured_columns_set_types(instance, types);
		try_renew_functions(instance);
		if (!renamed)
			UnlockRelationOid(instance->change_table, AccessShareLock);
		return nullptr;
	}

	char *text = nullptr;
	/*
	 * Limits of types that only readers see, and that stayed as they were when the types changed, because a
	 * view of somebody's keeps the query functions: tried again, but not worth waiting for.
	 */
	if (!renamed && !needs_columns(plans))
	{
		if (!try_make_place(request, instance->change_table, kNoLockTimeout, &text))
			return nullptr;
	}
	else
		text = wait_and_make_place(request, instance->change_table);
	if (text != nullptr)
		ereport(LOG, (errmsg("change table of %s follows its source", request.what),
					  errdetail("At %X/%X: %s.", CDC_LSN_FORMAT_ARGS(request.commit_lsn), text)));
	return text;
}

std::optional<bool>
type_change_map(const TypeChangeRequest &request, TupleDesc leaf, AttrNumber *places)
{
	const int ncolumns = static_cast<int>(request.columns.size());
	const int natts = ncolumns + kChangeMetadataColumns;
	auto place_of = [&](const char *name) -> AttrNumber {
		for (int i = 0; i < leaf->natts; i++)
		{
			Form_pg_attribute attribute = TupleDescAttr(leaf, i);
			if (!attribute->attisdropped && strcmp(NameStr(attribute->attname), name) == 0)
				return attribute->attnum;
		}
		return 0;
	};

	CaptureInstance *instance = capture_instance_by_id(request.instance_id, true);
	if (instance == nullptr)
		return std::nullopt;
	capture_instance_require_whole(instance);
	for (int i = 0; i < kChangeLeadingColumns; i++)
		places[i] = i + 1;
	for (int i = 0; i < ncolumns; i++)
	{
		places[kChangeLeadingColumns + i] = 0;
		if (i >= static_cast<int>(instance->columns.size()) || !has_values(request.columns[i]))
			continue;
		/* A limit of the type may be in the way of readers only; another version is another column. */
		ColumnPlan plan = column_plan(instance->columns[i], value_type(request.columns[i]));
		if (plan.version != nullptr && plan.version->current)
			places[kChangeLeadingColumns + i] = place_of(NameStr(instance->columns[i].name));
	}
	places[natts - 1] = place_of("__$command_id");

	bool in_place = true;
	for (int i = 0; i < natts; i++)
	{
		/* NULLs may stay where they are. */
		bool is_null = i >= kChangeLeadingColumns && i < natts - 1 &&
					   request.columns[i - kChangeLeadingColumns].source_attnum == 0;
		if (!is_null && places[i] != i + 1)
			in_place = false;
	}
	return in_place;
}

} // namespace cdc::capture
