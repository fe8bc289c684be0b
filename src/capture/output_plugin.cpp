/*
 * output_plugin.cpp
 *	  The callback table that logical decoding asks for; thin, no logic.
 *
 * NOTES
 *	  The plugin serves the engine's own decoder and nobody else: any other context (a walsender,
 *	  pg_logical_slot_get_changes) is refused at start-up, so a REPLICATION role cannot read changes
 *	  through it, and slots made by SQL with this plugin cannot be used.
 */
#include "cdc.hpp"

#include "capture/decoder_process.hpp"
#include "capture/transaction_stream.hpp"
#include "catalog/publications.hpp"

extern "C" {
#include "replication/output_plugin.h"

PGDLLEXPORT void _PG_output_plugin_init(OutputPluginCallbacks *callbacks);
}

namespace cdc::capture
{

namespace
{

void
startup(LogicalDecodingContext *, OutputPluginOptions *options, bool)
{
	/* pg_upgrade from 17 on makes anew the slots it finds, and nobody can read there. */
	if (!decoder_process_active() && !IsBinaryUpgrade)
		ereport(
			ERROR,
			(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
			 errmsg("output plugin \"cdc\" can only be used by the cdc extension's own decoder"),
			 errdetail("Its slots are read inside the server, never by clients."),
			 errhint(
				 "Read changes with the functions cdc.fn_cdc_get_all_changes_<capture_instance>, "
				 "or create a slot with another plugin.")));
	options->output_type = OUTPUT_PLUGIN_BINARY_OUTPUT;
	/* Our own tables are seen only so: catalog/publications.hpp. */
	options->receive_rewrites = true;
}

void
begin(LogicalDecodingContext *, ReorderBufferTXN *txn)
{
	transaction_stream_begin(txn);
}

void
change(LogicalDecodingContext *, ReorderBufferTXN *, Relation relation, ReorderBufferChange *change)
{
	if (!catalog::relation_is_being_rewritten(relation))
		transaction_stream_change(relation, change);
}

void
truncate(LogicalDecodingContext *, ReorderBufferTXN *, int nrelations, Relation relations[],
		 ReorderBufferChange *)
{
	for (int i = 0; i < nrelations; i++)
		transaction_stream_truncate(relations[i]);
}

void
commit(LogicalDecodingContext *, ReorderBufferTXN *txn, XLogRecPtr)
{
	transaction_stream_commit(txn);
}

bool
filter_by_origin(LogicalDecodingContext *, RepOriginId origin)
{
	/* Not yet set while a slot is being created: nothing is delivered then. */
	return transaction_stream_active() && origin == transaction_stream_origin();
}

} // namespace

} // namespace cdc::capture

extern "C" void
_PG_output_plugin_init(OutputPluginCallbacks *callbacks)
{
	callbacks->startup_cb = cdc::capture::startup;
	callbacks->begin_cb = cdc::capture::begin;
	callbacks->change_cb = cdc::capture::change;
	callbacks->truncate_cb = cdc::capture::truncate;
	callbacks->commit_cb = cdc::capture::commit;
	callbacks->filter_by_origin_cb = cdc::capture::filter_by_origin;
}
