/*
 * job_catalog.cpp
 *	  Rows of cdc.cdc_jobs.
 */
#include "cdc.hpp"

#include "base/errors.hpp"
#include "jobs/job_catalog.hpp"

extern "C" {
#include "catalog/pg_collation_d.h"
#include "storage/lmgr.h"
}

namespace cdc::jobs
{

using namespace catalog;

namespace
{

constexpr const char *kTable = "cdc_jobs";
constexpr const char *kIndex = "cdc_jobs_pkey";
constexpr uint16 kLockJobs =
	1; /* sub-object number as lock tag; the table itself is never locked this way */
constexpr int64 kLongestPollingInterval = 86399;

ScanKeyData
key_of(JobType type)
{
	ScanKeyData key = scan_key(kJbJobType, F_TEXTEQ, CStringGetTextDatum(job_type_name(type)));
	key.sk_collation = DEFAULT_COLLATION_OID;
	return key;
}

} // namespace

const char *
job_type_name(JobType type)
{
	return type == JobType::Capture ? "capture" : "cleanup";
}

JobType
job_type_from(const char *text)
{
	if (text == nullptr)
		error_parameter_missing("job_type", true);
	for (JobType type : {JobType::Capture, JobType::Cleanup})
		if (pg_strcasecmp(text, job_type_name(type)) == 0)
			return type;
	ereport(ERROR,
			(errcode(ERRCODE_INVALID_PARAMETER_VALUE), errmsg("invalid job_type \"%s\"", text),
			 errdetail("SQL Server error 22992: the job type must be \"capture\" or \"cleanup\"."),
			 errhint("Use 'capture' or 'cleanup'.")));
	pg_unreachable();
}

void
jobs_lock()
{
	LockDatabaseObject(cdc_relation_oid(kTable, false), InvalidOid, kLockJobs, ExclusiveLock);
}

std::optional<Job>
job_find(JobType type)
{
	ScanKeyData key = key_of(type);
	std::optional<Job> job;

	rows_scan(kTable, kIndex, {&key, 1}, AccessShareLock, [&](Relation relation, HeapTuple tuple) {
		HeapTuple copy = heap_copytuple(tuple);
		job = Job{copy, row_deform<kJbColumns>(relation, copy)};
	});
	return job;
}

Job
job_require(JobType type)
{
	std::optional<Job> job = job_find(type);
	if (!job)
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_OBJECT),
				 errmsg("%s job does not exist", job_type_name(type)),
				 errdetail(
					 "SQL Server error 22997: both jobs are created with the first table that is "
					 "enabled for change data capture."),
				 errhint("CALL cdc.sp_cdc_enable_table(...) for a table, or CALL "
						 "cdc.sp_cdc_add_job('%s').",
						 job_type_name(type))));
	return *job;
}

void
job_store(Job &job)
{
	Relation relation = table_open(cdc_relation_oid(kTable, false), RowExclusiveLock);
	ItemPointerData tid = job.tuple->t_self;

	job.tuple = row_form(relation, job.row, job.tuple);
	CatalogTupleUpdate(relation, &tid, job.tuple);
	table_close(relation, NoLock);
	CommandCounterIncrement();
}

Row<kJbColumns>
job_defaults(JobType type)
{
	bool capture = type == JobType::Capture;
	Row<kJbColumns> row;

	row.set(kJbDatabaseId, ObjectIdGetDatum(MyDatabaseId));
	row.set(kJbJobType, CStringGetTextDatum(job_type_name(type)));
	row.set(kJbJobId, OidFunctionCall0(F_GEN_RANDOM_UUID));
	row.set(kJbMaxtrans, Int32GetDatum(capture ? kDefaultMaxtrans : 0));
	row.set(kJbMaxscans, Int32GetDatum(capture ? kDefaultMaxscans : 0));
	row.set(kJbContinuous, BoolGetDatum(capture));
	row.set(kJbPollinginterval, Int64GetDatum(0));
	row.set(kJbRetention, Int64GetDatum(capture ? 0 : kDefaultRetention));
	row.set(kJbThreshold, Int64GetDatum(capture ? 0 : kDefaultThreshold));
	row.set(kJbStarted, BoolGetDatum(true));
	row.set_null(kJbStartTime);
	row.set_null(kJbEvery);
	row.set_null(kJbActiveWindow);
	row.set_null(kJbScheduleFrom);
	if (!capture)
	{
		Interval *every = static_cast<Interval *>(palloc0(sizeof(Interval)));
		every->day = 1;
		row.set(kJbStartTime, TimeADTGetDatum(2 * USECS_PER_HOUR));
		row.set(kJbEvery, IntervalPGetDatum(every));
		row.set(kJbScheduleFrom, TimestampTzGetDatum(GetCurrentTimestamp()));
	}
	return row;
}

void
job_insert(Row<kJbColumns> &row)
{
	Relation relation = table_open(cdc_relation_oid(kTable, false), RowExclusiveLock);
	row_insert(relation, row);
	table_close(relation, NoLock);
	CommandCounterIncrement();
}

void
job_delete(JobType type)
{
	ScanKeyData key = key_of(type);
	rows_lock(kTable, kIndex, {&key, 1});
	rows_delete(kTable, kIndex, {&key, 1});
	CommandCounterIncrement();
}

void
jobs_insert_missing()
{
	jobs_lock();
	for (JobType type : {JobType::Capture, JobType::Cleanup})
	{
		if (job_find(type))
			continue;
		Row<kJbColumns> row = job_defaults(type);
		job_insert(row);
	}
}

void
jobs_delete_all()
{
	jobs_lock();
	rows_lock(kTable, nullptr, {});
	rows_delete(kTable, nullptr, {});
	CommandCounterIncrement();
}

void
check_maxtrans(int32 value, const char *hint)
{
	if (value > 0)
		return;
	ereport(ERROR,
			(errcode(ERRCODE_INVALID_PARAMETER_VALUE), errmsg("invalid maxtrans"),
			 errdetail("SQL Server error 22991: it is %d, it must be greater than 0.", value),
			 errhint("%s", hint)));
}

void
check_maxscans(int32 value, const char *hint)
{
	if (value > 0)
		return;
	ereport(ERROR,
			(errcode(ERRCODE_INVALID_PARAMETER_VALUE), errmsg("invalid maxscans"),
			 errdetail("SQL Server error 22970: it is %d, it must be greater than 0.", value),
			 errhint("%s", hint)));
}

void
check_pollinginterval(int64 value, const char *hint)
{
	if (value >= 0 && value <= kLongestPollingInterval)
		return;
	ereport(ERROR,
			(errcode(ERRCODE_INVALID_PARAMETER_VALUE), errmsg("invalid pollinginterval"),
			 errdetail("SQL Server error 22990: it is %lld, it must be between 0 and %lld seconds.",
					   static_cast<long long>(value),
					   static_cast<long long>(kLongestPollingInterval)),
			 errhint("%s", hint)));
}

void
check_threshold(int64 value, const char *hint)
{
	if (value > 0)
		return;
	ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE), errmsg("invalid threshold"),
					errdetail("SQL Server error 22850: it is %lld, it must be greater than 0.",
							  static_cast<long long>(value)),
					errhint("%s", hint)));
}

void
error_polling_when_not_continuous(int64 pollinginterval)
{
	ereport(ERROR,
			(errcode(ERRCODE_INVALID_PARAMETER_VALUE), errmsg("invalid pollinginterval"),
			 errdetail("SQL Server error 22999: it is %lld, it must be NULL or 0 when the scan is "
					   "not continuous.",
					   static_cast<long long>(pollinginterval)),
			 errhint("Leave it out, or pass continuous => true.")));
}

} // namespace cdc::jobs
