/*
 * row_writer.cpp
 *	  Layouts and rows of the queue -> leaves of change tables.
 *
 * NOTES
 *	  Every row names a layout that the decoder has announced. A layout is checked against
 *	  each leaf that it writes to, and the change table follows where it has no place; rows of an instance that today's catalog no longer
 *	  has are discarded, but their transaction keeps its mapping row and its ordinals, so that work
 *	  done again after a crash gets the same numbers.
 */
#include "cdc.hpp"

#include "base/scope.hpp"
#include "capture/ddl_apply.hpp"
#include "capture/row_writer.hpp"
#include "capture/type_change.hpp"
#include "catalog/catalog.hpp"
#include "catalog/change_table.hpp"

extern "C" {
#include "access/detoast.h"
}

namespace cdc::capture
{

namespace
{

constexpr int kLeafIndexes = 1;

/* Opens the leaf for the current transaction's commit LSN, creating it when it is missing. */
void
open_instance(ChangeWriter *writer, Instance *instance)
{
	LeafRange *range = &instance->range;
	bool covered = OidIsValid(range->leaf) && writer->commit_lsn >= range->low &&
				   writer->commit_lsn < range->high;

	if (instance->append != nullptr)
	{
		if (covered)
			return;
		close_instance(instance);
	}
	/* Cleanup may have removed the leaf we remember. */
	if (covered)
		instance->append = table_append_open(range->leaf, kLeafIndexes, instance->what);
	if (instance->append == nullptr)
	{
		range->leaf =
			catalog::change_table_leaf(instance->change_table, writer->commit_lsn, nullptr);
		if (!OidIsValid(range->leaf))
		{
			if (ddl_instance_name(instance->instance_id) != nullptr)
				ereport(ERROR,
						(errcode(ERRCODE_UNDEFINED_TABLE),
						 errmsg("change table of %s is missing", instance->what),
						 errdetail("Relation %u has been dropped although its instance is enabled.",
								   instance->change_table),
						 errhint("Disable the capture instance with cdc.sp_cdc_disable_table and "
								 "enable the table again.")));
			/* Disabled since the layout was announced: the event that drops it is on its way. */
			instance->discarded = true;
			return;
		}
		if (!catalog::change_table_leaf_bounds(range->leaf, &range->low, &range->high))
			elog(ERROR, "leaf %u of %s has no range", range->leaf, instance->what);
		instance->ranges = kNothingSummarized;
		instance->append = table_append_open(range->leaf, kLeafIndexes, instance->what);
		if (instance->append == nullptr)
			elog(ERROR, "could not open leaf %u of %s", range->leaf, instance->what);
	}
	instance->append->ranges = instance->ranges;
	if (instance->in_batch)
		return;
	instance->in_batch = true;
	in_context(writer->batch_context,
			   [&] { writer->batch_instances = lappend(writer->batch_instances, instance); });
}

void
forget_places(Layout *layout)
{
	if (layout->places == nullptr)
		return;
	pfree(layout->places);
	FreeTupleDesc(layout->descriptor);
	layout->places = nullptr;
	layout->descriptor = nullptr;
}

TypeChangeRequest
type_change_request(ChangeWriter *writer, const Layout *layout)
{
	return {.entry = writer->entry,
			.instance_id = layout->instance->instance_id,
			.what = layout->instance->what,
			.source = layout->source,
			.commit_lsn = writer->commit_lsn,
			.is_alone = writer->batch_transactions == 0,
			.columns = {layout->columns, static_cast<size_t>(layout->ncolumns)}};
}

/* Lets the change table follow the source's types. Leaves the instance closed when it was altered. */
void
follow_types(ChangeWriter *writer, Layout *layout)
{
	Instance *instance = layout->instance;

	wait_until_visible(writer);
	if (type_change_needed(type_change_request(writer, layout)))
	{
		close_instance(instance);
		/* Rows of this batch were taken out of what a reader with the old functions may ask for. */
		CommandCounterIncrement();
	}
	char *change = type_change_follow(type_change_request(writer, layout));
	if (change != nullptr && instance->unseen_change == nullptr)
	{
		instance->unseen_change = change;
		instance->unseen_source = layout->source;
		writer->has_unseen_changes = true;
	}
	for (int i = 0; i < writer->nlayouts; i++)
		if (writer->layouts[i].instance == instance)
			writer->layouts[i].leaf = InvalidOid;
}

/* What the leaf must look like for rows to be stored as they come. */
bool
leaf_fits(const Layout *layout, TupleDesc descriptor)
{
	const int natts = layout->ncolumns + catalog::kChangeMetadataColumns;

	if (descriptor->natts != natts ||
		strcmp(NameStr(TupleDescAttr(descriptor, natts - 1)->attname), "__$command_id") != 0)
		return false;
	for (int i = 0; i < layout->ncolumns; i++)
	{
		Form_pg_attribute attribute = TupleDescAttr(descriptor, catalog::kChangeLeadingColumns + i);
		const LayoutColumn *column = &layout->columns[i];
		if (attribute->attisdropped)
			return false;
		if (column->source_attnum == 0)
			continue; /* dropped in the source: always NULL, which any type can hold */
		if (attribute->atttypid != column->type || attribute->atttypmod != column->typmod ||
			attribute->attcollation != column->collation)
			return false;
	}
	return true;
}

/* Rows as the decoder forms them. */
TupleDesc
row_descriptor(const Layout *layout)
{
	const int natts = layout->ncolumns + catalog::kChangeMetadataColumns;
	TupleDesc descriptor = CreateTemplateTupleDesc(natts);
	auto column = [&](AttrNumber attnum, Oid type) {
		TupleDescInitEntry(descriptor, attnum, nullptr, type, -1, 0);
	};

	column(catalog::kChangeStartLsn, PG_LSNOID);
	column(catalog::kChangeEndLsn, PG_LSNOID);
	column(catalog::kChangeSeqval, PG_LSNOID);
	column(catalog::kChangeOperation, INT4OID);
	column(catalog::kChangeUpdateMask, BYTEAOID);
	for (int i = 0; i < layout->ncolumns; i++)
	{
		column(catalog::kChangeLeadingColumns + i + 1, INT4OID);
		Form_pg_attribute attribute = TupleDescAttr(descriptor, catalog::kChangeLeadingColumns + i);
		attribute->attlen = layout->columns[i].length;
		attribute->attbyval = layout->columns[i].by_value;
		attribute->attalign = layout->columns[i].alignment;
		CDC_ATTRIBUTE_CHANGED(descriptor, catalog::kChangeLeadingColumns + i);
	}
	column(natts, INT4OID);
	return descriptor;
}

/* Makes sure that the open leaf has a place for each column of the layout. */
void
check_columns(ChangeWriter *writer, Layout *layout)
{
	Instance *instance = layout->instance;

	forget_places(layout);
	if (!leaf_fits(layout, RelationGetDescr(instance->append->relation)))
	{
		follow_types(writer, layout);
		open_instance(writer, instance);
		if (instance->discarded)
			return;
		AttrNumber places[MaxHeapAttributeNumber];
		std::optional<bool> in_place =
			type_change_map(type_change_request(writer, layout),
							RelationGetDescr(instance->append->relation), places);
		if (!in_place)
		{
			/* Disabled since the layout was announced: its change table did not follow, and need not. */
			instance->discarded = true;
			return;
		}
		if (!*in_place)
			in_context(writer->memory, [&] {
				layout->lost =
					type_change_lost({layout->columns, static_cast<size_t>(layout->ncolumns)},
									 places);
				Size size =
					sizeof(AttrNumber) * (layout->ncolumns + catalog::kChangeMetadataColumns);
				layout->places = static_cast<AttrNumber *>(palloc(size));
				memcpy(layout->places, places, size);
				layout->descriptor = row_descriptor(layout);
			});
	}
	layout->leaf = instance->range.leaf;
}

/*
 * A row whose columns the change table has elsewhere, since a type has changed. Lives until the chunk's rows
 * are flushed.
 */
HeapTuple
move_columns(ChangeWriter *writer, const Layout *layout, HeapTupleHeader row, uint32 length)
{
	TupleDesc leaf = RelationGetDescr(layout->instance->append->relation);
	Datum values[MaxHeapAttributeNumber];
	bool nulls[MaxHeapAttributeNumber];
	Datum moved[MaxHeapAttributeNumber];
	bool moved_nulls[MaxHeapAttributeNumber];
	HeapTupleData tuple = {};

	tuple.t_len = length;
	tuple.t_data = row;
	heap_deform_tuple(&tuple, layout->descriptor, values, nulls);
	memset(moved_nulls, true, leaf->natts);
	for (int i = 0; i < layout->descriptor->natts; i++)
	{
		int to = layout->places[i] - 1;
		if (to < 0)
			continue;
		moved[to] = values[i];
		moved_nulls[to] = nulls[i];
	}
	return in_context(writer->moved_context,
					  [&] { return heap_form_tuple(leaf, moved, moved_nulls); });
}

/* A layout that is new, or that takes the number of one the decoder uses no more. */
Layout *
layout_slot(ChangeWriter *writer, uint32 number)
{
	if (number == 0 || number > static_cast<uint32>(writer->nlayouts) + 1)
		elog(ERROR, "layout %u was announced after %d", number, writer->nlayouts);
	if (number <= static_cast<uint32>(writer->nlayouts))
	{
		Layout *layout = &writer->layouts[number - 1];
		pfree(layout->columns);
		forget_places(layout);
		return layout;
	}
	if (writer->nlayouts == writer->layouts_size)
	{
		writer->layouts_size = Max(16, writer->layouts_size * 2);
		Size size = sizeof(Layout) * writer->layouts_size;
		writer->layouts = static_cast<Layout *>(writer->layouts != nullptr
													? repalloc(writer->layouts, size)
													: MemoryContextAlloc(writer->memory, size));
	}
	return &writer->layouts[writer->nlayouts++];
}

/*
 * A change row is longer than its source row by its metadata, so a source row of many short values that
 * just fits on a page has a change row that does not. Anybody can make one, so it must not stop the others.
 */
bool
row_fits(const Instance *instance, HeapTupleHeader row, uint32 length)
{
	/* What TOAST leaves in the row of a value that it moves out; shorter values stay. */
	constexpr int kShortestMoved = MAXALIGN(TOAST_POINTER_SIZE);
	TupleDesc descriptor = RelationGetDescr(instance->append->relation);
	Datum values[MaxHeapAttributeNumber];
	bool nulls[MaxHeapAttributeNumber];
	HeapTupleData tuple = {};

	tuple.t_len = length;
	tuple.t_data = row;
	heap_deform_tuple(&tuple, descriptor, values, nulls);
	Size needed = row->t_hoff;
	for (int i = 0; i < descriptor->natts; i++)
	{
		Form_pg_attribute attribute = TupleDescAttr(descriptor, i);
		if (nulls[i])
			continue;
		if (attribute->attlen == -1 && attribute->attstorage != TYPSTORAGE_PLAIN &&
			VARSIZE_ANY(DatumGetPointer(values[i])) > kShortestMoved)
		{
			needed += TOAST_POINTER_SIZE;
			continue;
		}
		needed = att_align_datum(needed, attribute->attalign, attribute->attlen, values[i]);
		needed = att_addlength_datum(needed, attribute->attlen, values[i]);
	}
	return needed <= MaxHeapTupleSize;
}

} // namespace

Instance *
find_instance(ChangeWriter *writer, int32 instance_id, Oid change_table)
{
	ListCell *cell;
	foreach (cell, writer->instances)
	{
		Instance *instance = static_cast<Instance *>(lfirst(cell));
		if (instance->instance_id == instance_id)
			return instance;
	}

	const char *name = ddl_instance_name(instance_id);
	if (name == nullptr)
	{
		/* Disabled meanwhile, or enabled by this very transaction and not to be seen yet. */
		wait_until_visible(writer);
		name = ddl_instance_name(instance_id);
	}
	return in_context(writer->memory, [&] {
		Instance *instance = static_cast<Instance *>(palloc0(sizeof(Instance)));
		instance->instance_id = instance_id;
		instance->change_table = change_table;
		instance->ranges = kNothingSummarized;
		instance->discarded = name == nullptr;
		instance_gap_load(&instance->gap, change_table);
		snprintf(instance->what, sizeof(instance->what), "capture instance \"%s\"",
				 name != nullptr ? name : "");
		writer->instances = lappend(writer->instances, instance);
		return instance;
	});
}

void
close_instance(Instance *instance)
{
	if (instance->append == nullptr)
		return;
	table_append_flush(instance->append);
	instance->ranges = instance->append->ranges;
	table_append_close(instance->append);
	instance->append = nullptr;
}

void
forget_instances(ChangeWriter *writer)
{
	constexpr int kForgetEvery = 64;
	ListCell *cell;

	if (likely(list_length(writer->instances) < writer->forget_at))
		return;
	foreach (cell, writer->instances)
	{
		Instance *instance = static_cast<Instance *>(lfirst(cell));
		bool is_used = !instance->discarded;
		for (int i = 0; !is_used && i < writer->nlayouts; i++)
			is_used = writer->layouts[i].instance == instance;
		if (is_used)
			continue;
		writer->instances = foreach_delete_current(writer->instances, cell);
		pfree(instance);
	}
	writer->forget_at = list_length(writer->instances) + kForgetEvery;
}

void
take_layout(ChangeWriter *writer, const LayoutItem *item)
{
	Layout *layout = layout_slot(writer, item->layout);
	Size columns_size = sizeof(LayoutColumn) * item->ncolumns;

	layout->instance = find_instance(writer, item->instance_id, item->change_table);
	layout->source = item->source;
	layout->is_sound = item->is_sound;
	layout->lost = GapCause::None;
	layout->leaf = InvalidOid;
	layout->places = nullptr;
	layout->descriptor = nullptr;
	layout->ncolumns = item->ncolumns;
	layout->columns =
		static_cast<LayoutColumn *>(MemoryContextAlloc(writer->memory, Max(columns_size, 1)));
	memcpy(layout->columns, item + 1, columns_size);

	/* DDL that is seen takes effect at its commit, not at the next row. */
	if ((item->header.flags & kLayoutAfterCommand) != 0 && !layout->instance->discarded)
		(void)follow_types(writer, layout);
}

void
take_row(ChangeWriter *writer, RowItem *item)
{
	if (item->layout == 0 || item->layout > static_cast<uint32>(writer->nlayouts))
		elog(ERROR, "change row refers to unknown layout %u", item->layout);
	Layout *layout = &writer->layouts[item->layout - 1];
	Instance *instance = layout->instance;
	HeapTupleHeader row =
		reinterpret_cast<HeapTupleHeader>(reinterpret_cast<char *>(item) + kRowTupleOffset);
	if (instance->discarded)
		return;
	if (unlikely(item->header.flags & kRowTooLarge))
	{
		instance_gap_begin(&instance->gap, GapCause::TooLarge, instance->change_table,
						   instance->what, layout->source, writer->commit_lsn);
		writer->gap_ends = true;
		return;
	}
	writer->row = row;
	if (unlikely(item->header.flags & kRowBeforeImageMissing))
	{
		/* Half a change is none: who reads here is told of the gap. */
		instance_gap_begin(&instance->gap, GapCause::Identity, instance->change_table,
						   instance->what, layout->source, writer->commit_lsn);
		return;
	}
	if (unlikely(instance->gap.cause != GapCause::None) && layout->is_sound &&
		layout->lost == GapCause::None)
	{
		instance_gap_complete_row(&instance->gap, layout->source);
		writer->gap_ends = true;
	}
	open_instance(writer, instance);
	if (unlikely(instance->discarded))
		return;
	if (unlikely(layout->leaf != instance->range.leaf))
	{
		check_columns(writer, layout);
		if (instance->discarded)
			return;
	}
	uint32 length = item->tuple_length;
	if (unlikely(layout->places != nullptr))
	{
		if (layout->lost != GapCause::None)
			instance_gap_begin(&instance->gap, layout->lost, instance->change_table, instance->what,
							   layout->source, writer->commit_lsn);
		HeapTuple moved = move_columns(writer, layout, row, length);
		row = moved->t_data;
		length = moved->t_len;
	}
	if (unlikely(length > MaxHeapTupleSize) && !row_fits(instance, row, length))
	{
		instance_gap_begin(&instance->gap, GapCause::TooLong, instance->change_table,
						   instance->what, layout->source, writer->commit_lsn);
		return;
	}
	table_append_row(instance->append, row, length);
	instance->written[Min(item->header.flags >> kRowOperationShift, kOperations - 1)]++;
	instance->last_lsn = writer->commit_lsn;
	instance->last_time = writer->commit_time;
	writer->batch_bytes += length;
	writer->batch_rows++;
}

void
flush_instances(ChangeWriter *writer)
{
	ListCell *cell;
	foreach (cell, writer->batch_instances)
	{
		Instance *instance = static_cast<Instance *>(lfirst(cell));
		if (instance->append != nullptr)
			table_append_flush(instance->append);
	}
}

} // namespace cdc::capture
