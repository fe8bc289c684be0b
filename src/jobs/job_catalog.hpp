/*
 * job_catalog.hpp
 *	  Rows of cdc.cdc_jobs, and what may stand in them.
 *
 * NOTES
 *	  All functions need a transaction. Rows are read with the latest state and written below the
 *	  executor. Who changes rows holds jobs_lock(); workers only read.
 */
#pragma once

#include "cdc.hpp"

#include "catalog/catalog_rows.hpp"

extern "C" {
#include "utils/date.h"
}

namespace cdc::jobs
{

enum class JobType : uint8
{
	Capture,
	Cleanup,
};

/* The defaults of the capture job, and of sp_cdc_scan. */
constexpr int kDefaultMaxtrans = 1000;
constexpr int kDefaultMaxscans = 10;
constexpr int64 kDefaultRetention = 4320;	  /* minutes */
constexpr int64 kLongestRetention = 52594800; /* minutes: 100 years */
constexpr int64 kDefaultThreshold = 5000;

/* A row; in the memory context of who has asked for it. */
struct Job
{
	HeapTuple tuple;
	catalog::Row<catalog::kJbColumns> row;
};

/* "capture" or "cleanup". */
const char *job_type_name(JobType type);

/* From an argument, in any case; NULL is 22963, anything else 22992. */
JobType job_type_from(const char *text);

/* Keeps other changes of jobs out until the transaction ends. */
void jobs_lock();

/* The job, if it exists. */
std::optional<Job> job_find(JobType type);

/* The same, or error 22997. */
Job job_require(JobType type);

/* Writes the row back as it is in `job`. */
void job_store(Job &job);

/* A new row with the defaults, not stored. */
catalog::Row<catalog::kJbColumns> job_defaults(JobType type);

/* Stores a new row; there must be none. */
void job_insert(catalog::Row<catalog::kJbColumns> &row);

/* Removes one job. */
void job_delete(JobType type);

/* With the first instance of the database: the jobs that are not there yet, with their defaults. */
void jobs_insert_missing();

/* With the last: both go. */
void jobs_delete_all();

/* Each raises when the value is out of its range; `hint` says what to do instead. */
void check_maxtrans(int32 value, const char *hint);			   /* 22991 */
void check_maxscans(int32 value, const char *hint);			   /* 22970 */
void check_pollinginterval(int64 value, const char *hint);	   /* 22990 */
void check_threshold(int64 value, const char *hint);		   /* 22850 */
void error_polling_when_not_continuous(int64 pollinginterval); /* 22999 */

} // namespace cdc::jobs
