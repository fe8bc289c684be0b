/*
 * nullout.c
 *	  An output plugin that does nothing: what decoding itself costs.
 *
 * NOTES
 *	  The begin and commit callbacks are empty, the change callback counts. So decoding with it, in the server and
 *	  without a client, is the physical limit for everything that gets its changes from the server's reorder
 *	  buffer, capture included. bench/run builds it; the server finds it by dynamic_library_path.
 *
 *	  nullout_changes() gives the count of the session's last decoding, so that it can be verified.
 */
#include "postgres.h"

#include "fmgr.h"
#include "replication/logical.h"
#include "replication/output_plugin.h"

PG_MODULE_MAGIC;

extern PGDLLEXPORT void _PG_output_plugin_init(OutputPluginCallbacks *cb);
PG_FUNCTION_INFO_V1(nullout_changes);

static int64 changes = 0;

Datum
nullout_changes(PG_FUNCTION_ARGS)
{
	PG_RETURN_INT64(changes);
}

static void
nullout_startup(LogicalDecodingContext *ctx, OutputPluginOptions *options, bool is_init)
{
	options->output_type = OUTPUT_PLUGIN_BINARY_OUTPUT;
	changes = 0;
}

static void
nullout_begin(LogicalDecodingContext *ctx, ReorderBufferTXN *txn)
{
}

static void
nullout_change(LogicalDecodingContext *ctx, ReorderBufferTXN *txn, Relation relation, ReorderBufferChange *change)
{
	changes++;
}

static void
nullout_commit(LogicalDecodingContext *ctx, ReorderBufferTXN *txn, XLogRecPtr commit_lsn)
{
}

void
_PG_output_plugin_init(OutputPluginCallbacks *cb)
{
	cb->startup_cb = nullout_startup;
	cb->begin_cb = nullout_begin;
	cb->change_cb = nullout_change;
	cb->commit_cb = nullout_commit;
}
