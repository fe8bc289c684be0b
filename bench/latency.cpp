/*
 * latency.cpp
 *	  Measures how long after its acknowledgement a commit is visible to a reader.
 *
 * NOTES
 *	  usage: latency WRITER READER MODE RATE SECONDS [FILE], where WRITER and READER are connection
 *	  strings and MODE is `cdc` (the reader asks the query function) or `table` (the reader looks at
 *	  the table itself: on a subscriber of native logical replication). FILE gets a line for each
 *	  thousandth of the commits, the shortest wait first, for a picture of the distribution.
 *
 *	  One thread commits single-row inserts at a fixed rate: transaction i is due at start + i / RATE
 *	  whatever happened to the ones before, so a stall shows in every commit it delays. The clock of a
 *	  transaction starts when its acknowledgement has arrived. Another thread polls, sleeping
 *	  100 us in between; the clock stops when the row itself has arrived there. Polling and
 *	  the reader's own query are part of the result, which is thus an upper bound.
 *
 *	  Prints one line: n=.. p50=.. p90=.. p99=.. p999=.. max=.. (milliseconds) late=.. (commits sent over
 *	  1 ms late).
 */
#include <libpq-fe.h>
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

namespace
{

constexpr int64_t kNsPerSecond = 1000000000;
constexpr int64_t kPollSleepNs = 100 * 1000;
constexpr int64_t kPatienceNs = 10 * kNsPerSecond; /* for the last rows, after the last commit */

struct Run
{
	const char *writer;
	const char *reader;
	bool cdc;
	int64_t count;
	int64_t interval_ns;
	int64_t *acknowledged; /* by id - 1; each element has one writing thread */
	int64_t *visible;
	int64_t late;
	volatile bool finished; /* the last commit is acknowledged */
};

int64_t
now_ns()
{
	timespec now;
	clock_gettime(CLOCK_MONOTONIC, &now);
	return now.tv_sec * kNsPerSecond + now.tv_nsec;
}

void
sleep_until(int64_t when)
{
	timespec time = {when / kNsPerSecond, when % kNsPerSecond};
	while (clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &time, nullptr) != 0)
		;
}

PGconn *
connect_to(const char *conninfo)
{
	PGconn *connection = PQconnectdb(conninfo);
	if (PQstatus(connection) != CONNECTION_OK)
	{
		fprintf(stderr, "latency: %s", PQerrorMessage(connection));
		exit(1);
	}
	return connection;
}

PGresult *
checked(PGconn *connection, PGresult *result)
{
	ExecStatusType status = PQresultStatus(result);
	if (status != PGRES_TUPLES_OK && status != PGRES_COMMAND_OK)
	{
		fprintf(stderr, "latency: %s", PQerrorMessage(connection));
		exit(1);
	}
	return result;
}

void
prepare(PGconn *connection, const char *name, const char *query)
{
	PQclear(checked(connection, PQprepare(connection, name, query, 0, nullptr)));
}

PGresult *
execute(PGconn *connection, const char *name, int nparameters, const char *const *parameters)
{
	return checked(connection,
				   PQexecPrepared(connection, name, nparameters, parameters, nullptr, nullptr, 0));
}

void *
commit_rows(void *argument)
{
	Run *run = static_cast<Run *>(argument);
	PGconn *connection = connect_to(run->writer);
	prepare(connection, "add", "INSERT INTO public.latency VALUES ($1::bigint, repeat('x', 80))");

	int64_t start = now_ns() + kNsPerSecond / 5;
	for (int64_t i = 0; i < run->count; i++)
	{
		char id[32];
		const char *parameters[] = {id};
		snprintf(id, sizeof(id), "%lld", static_cast<long long>(i + 1));
		int64_t due = start + i * run->interval_ns;
		sleep_until(due);
		if (now_ns() - due > kNsPerSecond / 1000)
			run->late++;
		PQclear(execute(connection, "add", 1, parameters));
		run->acknowledged[i] = now_ns();
	}
	run->finished = true;
	PQfinish(connection);
	return nullptr;
}

/* Notes the rows of a result whose first column is the id; returns how many. */
int
note_visible(Run *run, PGresult *result)
{
	int64_t now = now_ns();
	int rows = PQntuples(result);
	for (int i = 0; i < rows; i++)
	{
		int64_t id = atoll(PQgetvalue(result, i, 0));
		if (id >= 1 && id <= run->count && run->visible[id - 1] == 0)
			run->visible[id - 1] = now;
	}
	return rows;
}

/* Reads as an application does: ask for the high end, fetch what lies between, remember it. */
int
poll_changes(Run *run, PGconn *connection, char *seen, size_t size)
{
	PGresult *result = execute(connection, "high", 0, nullptr);
	char high[32];
	snprintf(high, sizeof(high), "%s", PQgetvalue(result, 0, 0));
	PQclear(result);
	if (strcmp(high, seen) == 0)
		return 0;

	const char *window[] = {seen, high};
	result = execute(connection, "changes", 2, window);
	int rows = note_visible(run, result);
	PQclear(result);
	snprintf(seen, size, "%s", high);
	return rows;
}

int
poll_table(Run *run, PGconn *connection, char *seen, size_t size)
{
	const char *parameters[] = {seen};
	PGresult *result = execute(connection, "rows", 1, parameters);
	int rows = note_visible(run, result);
	if (rows > 0)
		snprintf(seen, size, "%s", PQgetvalue(result, rows - 1, 0));
	PQclear(result);
	return rows;
}

/* Ready to poll, and `seen` is where the rows of this run begin. */
PGconn *
start_reading(Run *run, char *seen, size_t size)
{
	PGconn *connection = connect_to(run->reader);
	snprintf(seen, size, "0");
	if (run->cdc)
	{
		prepare(connection, "high", "SELECT cdc.fn_cdc_get_max_lsn()");
		prepare(connection, "changes",
				"SELECT id FROM cdc.fn_cdc_get_all_changes_public_latency("
				"cdc.fn_cdc_increment_lsn($1), $2, 'all')");
		PGresult *result = execute(connection, "high", 0, nullptr);
		snprintf(seen, size, "%s", PQgetvalue(result, 0, 0));
		PQclear(result);
	}
	else
		prepare(connection, "rows",
				"SELECT id FROM public.latency WHERE id > $1::bigint ORDER BY id");
	return connection;
}

/* Polls until all rows are there, or none came for too long after the last commit. */
int64_t
read_rows(Run *run, PGconn *connection, char *seen, size_t size)
{
	int64_t found = 0;
	int64_t end = 0;
	while (found < run->count)
	{
		found += run->cdc ? poll_changes(run, connection, seen, size)
						  : poll_table(run, connection, seen, size);
		if (run->finished)
		{
			if (end == 0)
				end = now_ns() + kPatienceNs;
			if (now_ns() > end)
				break;
		}
		timespec pause = {0, kPollSleepNs};
		nanosleep(&pause, nullptr);
	}
	PQfinish(connection);
	return found;
}

int
compare(const void *a, const void *b)
{
	int64_t x = *static_cast<const int64_t *>(a);
	int64_t y = *static_cast<const int64_t *>(b);
	return (x > y) - (x < y);
}

} // namespace

int
main(int argc, char **argv)
{
	if (argc < 6 || argc > 7 || atoll(argv[4]) < 1 || atoll(argv[5]) < 1)
	{
		fprintf(stderr, "usage: latency WRITER READER cdc|table RATE SECONDS [FILE]\n");
		return 2;
	}
	Run run = {};
	run.writer = argv[1];
	run.reader = argv[2];
	run.cdc = strcmp(argv[3], "cdc") == 0;
	run.interval_ns = kNsPerSecond / atoll(argv[4]);
	run.count = atoll(argv[4]) * atoll(argv[5]);
	run.acknowledged = static_cast<int64_t *>(calloc(run.count, sizeof(int64_t)));
	run.visible = static_cast<int64_t *>(calloc(run.count, sizeof(int64_t)));
	int64_t *waits = static_cast<int64_t *>(calloc(run.count, sizeof(int64_t)));

	char seen[32];
	PGconn *reader = start_reading(&run, seen, sizeof(seen));
	pthread_t writer;
	if (pthread_create(&writer, nullptr, commit_rows, &run) != 0)
		return 1;
	int64_t found = read_rows(&run, reader, seen, sizeof(seen));
	pthread_join(writer, nullptr);
	if (found != run.count)
	{
		fprintf(stderr, "latency: %lld rows committed, %lld seen\n",
				static_cast<long long>(run.count), static_cast<long long>(found));
		return 1;
	}

	/* A row can be seen before the committing client has read its acknowledgement: that counts as 0. */
	for (int64_t i = 0; i < run.count; i++)
	{
		int64_t wait = run.visible[i] - run.acknowledged[i];
		waits[i] = wait > 0 ? wait : 0;
	}
	qsort(waits, run.count, sizeof(int64_t), compare);
	printf("n=%lld p50=%.3f p90=%.3f p99=%.3f p999=%.3f max=%.3f late=%lld\n",
		   static_cast<long long>(run.count), waits[run.count / 2] / 1e6,
		   waits[run.count * 9 / 10] / 1e6, waits[run.count * 99 / 100] / 1e6,
		   waits[run.count * 999 / 1000] / 1e6, waits[run.count - 1] / 1e6,
		   static_cast<long long>(run.late));
	if (argc == 7)
	{
		FILE *file = fopen(argv[6], "w");
		if (file == nullptr)
			return 1;
		for (int64_t i = 0; i < 1000; i++)
			fprintf(file, "%.4f\n", waits[run.count * i / 1000] / 1e6);
		if (fclose(file) != 0)
			return 1;
	}
	return 0;
}
