/*
 * catalog.hpp
 *	  Names and column numbers of the extension's own tables, as cdc--1.0.sql creates them.
 *
 * NOTES
 *	  Attribute numbers are fixed by the install script; upgrade scripts append columns only.
 *	  change_tables, captured_columns and index_columns are user_catalog_table: the decoder reads
 *	  them with systable_* under the historic snapshot. They hold only fixed-length or PLAIN
 *	  columns, because their TOAST would not be protected from vacuum.
 */
#pragma once

#include "cdc.hpp"

namespace cdc::catalog
{

constexpr const char *kSchema = "cdc";

/* cdc.change_tables */
constexpr AttrNumber kCtObjectId = 1;
constexpr AttrNumber kCtVersion = 2;
constexpr AttrNumber kCtSourceObjectId = 3;
constexpr AttrNumber kCtCaptureInstance = 4;
constexpr AttrNumber kCtStartLsn = 5;
constexpr AttrNumber kCtEndLsn = 6;
constexpr AttrNumber kCtSupportsNetChanges = 7;
constexpr AttrNumber kCtHasDropPending = 8;
constexpr AttrNumber kCtRoleName = 9;
constexpr AttrNumber kCtIndexName = 10;
constexpr AttrNumber kCtFilegroupName = 11;
constexpr AttrNumber kCtCreateDate = 12;
constexpr AttrNumber kCtPartitionSwitch = 13;
constexpr AttrNumber kCtInstanceId = 14;
constexpr AttrNumber kCtBeforeImage = 15;	 /* name: full, key */
constexpr AttrNumber kCtTruncateAction = 16; /* name: refuse, record */
constexpr AttrNumber kCtDropAction = 17;	 /* name: remove, keep */
constexpr int kCtColumns = 17;

/* cdc.captured_columns */
constexpr AttrNumber kCcObjectId = 1;
constexpr AttrNumber kCcColumnName = 2;
constexpr AttrNumber kCcColumnId = 3;
constexpr AttrNumber kCcColumnType = 4;
constexpr AttrNumber kCcColumnOrdinal = 5;
constexpr AttrNumber kCcIsComputed = 6;
constexpr int kCcColumns = 6;

/* cdc.index_columns */
constexpr AttrNumber kIcObjectId = 1;
constexpr AttrNumber kIcColumnName = 2;
constexpr AttrNumber kIcIndexOrdinal = 3;
constexpr AttrNumber kIcColumnId = 4;
constexpr int kIcColumns = 4;

/* cdc.lsn_time_mapping */
constexpr AttrNumber kMapStartLsn = 1;
constexpr AttrNumber kMapTranBeginTime = 2;
constexpr AttrNumber kMapTranEndTime = 3;
constexpr AttrNumber kMapTranId = 4;
constexpr AttrNumber kMapTranBeginLsn = 5;
constexpr AttrNumber kMapFirstOrdinal = 6;
constexpr AttrNumber kMapChangeCount = 7;
constexpr int kMapColumns = 7;

/* cdc._identity: one row */
constexpr AttrNumber kIdOneRow = 1;
constexpr AttrNumber kIdSystemIdentifier = 2;
constexpr AttrNumber kIdTimeline = 3;
constexpr AttrNumber kIdDatabaseId = 4;
constexpr AttrNumber kIdSlotName = 5;
constexpr AttrNumber kIdStartLsn = 6;
constexpr AttrNumber kIdEnabledAt = 7;
constexpr int kIdentityColumns = 7;

/* cdc._progress: one row */
constexpr AttrNumber kPrCapturedLsn = 1;
constexpr AttrNumber kPrNextOrdinal = 2;
constexpr AttrNumber kPrLastStartLsn = 3;
constexpr AttrNumber kPrLastEndTime = 4;
constexpr int kPrColumns = 4;

/* cdc.ddl_history */
constexpr AttrNumber kDhSourceObjectId = 1;
constexpr AttrNumber kDhObjectId = 2;
constexpr AttrNumber kDhRequiredColumnUpdate = 3;
constexpr AttrNumber kDhDdlCommand = 4;
constexpr AttrNumber kDhDdlLsn = 5;
constexpr AttrNumber kDhDdlTime = 6;
constexpr AttrNumber kDhDdlId = 7;
constexpr int kDhColumns = 7;

/* cdc.cdc_jobs */
constexpr AttrNumber kJbDatabaseId = 1;
constexpr AttrNumber kJbJobType = 2;
constexpr AttrNumber kJbJobId = 3;
constexpr AttrNumber kJbMaxtrans = 4;
constexpr AttrNumber kJbMaxscans = 5;
constexpr AttrNumber kJbContinuous = 6;
constexpr AttrNumber kJbPollinginterval = 7;
constexpr AttrNumber kJbRetention = 8;
constexpr AttrNumber kJbThreshold = 9;
constexpr AttrNumber kJbStarted = 10;
constexpr AttrNumber kJbStartTime = 11;	   /* cleanup */
constexpr AttrNumber kJbEvery = 12;		   /* cleanup */
constexpr AttrNumber kJbActiveWindow = 13; /* capture */
constexpr AttrNumber kJbScheduleFrom = 14; /* cleanup */
constexpr int kJbColumns = 14;

/* cdc.cleanup_runs */
constexpr AttrNumber kCrRunId = 1;
constexpr AttrNumber kCrRequest = 2;
constexpr AttrNumber kCrStartedAt = 3;
constexpr AttrNumber kCrEndedAt = 4;
constexpr AttrNumber kCrStatus = 5;
constexpr AttrNumber kCrLowWaterMark = 6;
constexpr AttrNumber kCrLeavesDropped = 7;
constexpr AttrNumber kCrRowsDeleted = 8;
constexpr AttrNumber kCrMappingRowsDeleted = 9;
constexpr AttrNumber kCrMessage = 10;
constexpr int kCrColumns = 10;

/* cdc.gaps */
constexpr AttrNumber kGpGapId = 1;
constexpr AttrNumber kGpObjectId = 2;
constexpr AttrNumber kGpStartLsn = 3;
constexpr AttrNumber kGpEndLsn = 4;
constexpr AttrNumber kGpReason = 5;
constexpr AttrNumber kGpDetail = 6;
constexpr AttrNumber kGpDetectedAt = 7;
constexpr int kGpColumns = 7;

/* cdc._errors */
constexpr AttrNumber kErErrorId = 1;
constexpr AttrNumber kErSessionId = 2;
constexpr AttrNumber kErPhaseNumber = 3;
constexpr AttrNumber kErEntryTime = 4;
constexpr AttrNumber kErErrorNumber = 5;
constexpr AttrNumber kErErrorSeverity = 6;
constexpr AttrNumber kErErrorState = 7;
constexpr AttrNumber kErErrorMessage = 8;
constexpr AttrNumber kErStartLsn = 9;
constexpr AttrNumber kErBeginLsn = 10;
constexpr AttrNumber kErSequenceValue = 11;
constexpr AttrNumber kErSqlstate = 12;
constexpr AttrNumber kErDetail = 13;
constexpr AttrNumber kErHint = 14;
constexpr AttrNumber kErProcess = 15;
constexpr AttrNumber kErFirstTime = 16;
constexpr AttrNumber kErOccurrences = 17;
constexpr int kErColumns = 17;

/* cdc._replica_identity */
constexpr AttrNumber kRiSourceObjectId = 1;
constexpr AttrNumber kRiFormer = 2;
constexpr AttrNumber kRiIndexName = 3;
constexpr int kRiColumns = 3;

/* cdc._source_drops */
constexpr AttrNumber kSdInstanceId = 1;
constexpr AttrNumber kSdDropLsn = 2;
constexpr int kSdColumns = 2;

/* cdc._instance_start */
constexpr AttrNumber kIsInstanceId = 1;
constexpr AttrNumber kIsStartLsn = 2;
constexpr int kIsColumns = 2;

/* cdc._ddl_queue: rows are inserted and deleted again at once; only the WAL record counts */
constexpr AttrNumber kDqKind = 1;
constexpr AttrNumber kDqInstanceId = 2;
constexpr AttrNumber kDqObjectId = 3;
constexpr AttrNumber kDqSourceObjectId = 4;
constexpr AttrNumber kDqCommand = 5;
constexpr int kDqColumns = 5;

/* Layout of a change table: metadata first, captured columns, __$command_id last. */
constexpr AttrNumber kChangeStartLsn = 1;
constexpr AttrNumber kChangeEndLsn = 2;
constexpr AttrNumber kChangeSeqval = 3;
constexpr AttrNumber kChangeOperation = 4;
constexpr AttrNumber kChangeUpdateMask = 5;
constexpr int kChangeLeadingColumns = 5;
constexpr int kChangeMetadataColumns = 6;

/* Kinds of rows in _ddl_queue. */
enum class QueueKind : char
{
	EnableTable = 'E',	/* instance created: the writer sets start_lsn at this commit */
	DisableTable = 'D', /* instance deleted: the writer drops the change table at this commit */
	Truncate = 'T',		/* made by the decoder from a TRUNCATE in the WAL, never a queue row */
	Sound = 'S',		/* made by the decoder: the source logs what was promised */
	WeakIdentity = 'W', /* made by the decoder: its replica identity is weaker than promised */
	Unlogged = 'L',		/* made by the decoder: it is unlogged */
	Command = 'C',		/* DDL on the source: a row of ddl_history */
	AlterType = 'U',	/* the same, and the type of a captured column changed */
	DropSource = 'X',	/* the source was dropped: the last event of the instance from it */
};

/* Oid of a relation in schema cdc; InvalidOid when missing and missing_ok. Needs a transaction. */
Oid cdc_relation_oid(const char *relname, bool missing_ok);

/* Oid of the extension, InvalidOid when it is not installed here. Needs a transaction. */
Oid cdc_extension_oid();

/* Owner of the extension, and so of everything in schema cdc. Needs a transaction. */
Oid cdc_extension_owner();

/*
 * Puts one row into _ddl_queue for the writer to meet in WAL order, and removes it again: the
 * queue is always empty for SQL. Runs in the caller's transaction.
 */
void ddl_queue_emit(QueueKind kind, int32 instance_id, Oid object_id, Oid source_object_id,
					const char *command);

} // namespace cdc::catalog
