/*
 * fault.cpp
 *	  What happens at a fault point. Empty unless compiled with CDC_FAULT_POINTS, for the tests.
 */
#include "cdc.hpp"

#include "base/fault.hpp"

#ifdef CDC_FAULT_POINTS

extern "C" {
#include "pgstat.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>
}

namespace cdc
{

bool fault_armed = false;
int fault_longest_row = 0;

namespace
{

constexpr const char *kMarkFolder = "cdc_fault"; /* in the data directory */
constexpr long kPauseMs = 10;

enum class FaultAction
{
	None,
	Kill,
	Error,
	OutOfMemory,
	Panic,
	Pause,
};

struct Fault
{
	FaultAction action;
	int at;		  /* passing of this process */
	bool repeats; /* at each later one, too */
	int passed;
};

struct FaultTable
{
	Fault faults[std::size(kFaultPoints)];
};

char *setting = nullptr;
char *point_list = nullptr;
FaultTable table = {};

constexpr std::string_view kBlanks = " \t\n";

std::string_view
trim(std::string_view text)
{
	while (!text.empty() && kBlanks.find(text.front()) != kBlanks.npos)
		text.remove_prefix(1);
	while (!text.empty() && kBlanks.find(text.back()) != kBlanks.npos)
		text.remove_suffix(1);
	return text;
}

/* Takes what is before the separator off the front. */
std::string_view
take_until(std::string_view *text, char separator)
{
	size_t end = text->find(separator);
	std::string_view part = {text->data(), end == text->npos ? text->size() : end};
	text->remove_prefix(end == text->npos ? text->size() : end + 1);
	return trim(part);
}

FaultAction
action_named(std::string_view name)
{
	if (name == "kill")
		return FaultAction::Kill;
	if (name == "error")
		return FaultAction::Error;
	if (name == "oom")
		return FaultAction::OutOfMemory;
	if (name == "panic")
		return FaultAction::Panic;
	if (name == "pause")
		return FaultAction::Pause;
	return FaultAction::None;
}

/* False when the text is no list of faults. */
bool
parse(std::string_view text, FaultTable *result)
{
	*result = {};
	text = trim(text);
	while (!text.empty())
	{
		std::string_view entry = take_until(&text, ',');
		int point = fault_index(take_until(&entry, ':'));
		FaultAction action = action_named(take_until(&entry, ':'));
		entry = trim(entry);
		int at = 0;
		bool repeats = !entry.empty() && entry.back() == '+';
		if (repeats)
			entry.remove_suffix(1);
		for (char digit : entry)
		{
			if (digit < '0' || digit > '9' || at > 100 * 1000 * 1000)
				return false;
			at = at * 10 + (digit - '0');
		}
		if (point < 0 || action == FaultAction::None)
			return false;
		result->faults[point] = {action, Max(at, 1), repeats, 0};
	}
	return true;
}

bool
check_setting(char **value, void **, GucSource)
{
	FaultTable parsed;
	if (parse(*value, &parsed))
		return true;
	GUC_check_errdetail("An entry is point:action, point:action:number or point:action:number+.");
	return false;
}

void
assign_setting(const char *value, void *)
{
	FaultTable former = table;
	(void)parse(value != nullptr ? value : "", &table);
	fault_armed = false;
	for (size_t i = 0; i < std::size(table.faults); i++)
	{
		Fault &fault = table.faults[i];
		const Fault &before = former.faults[i];
		fault_armed = fault_armed || fault.action != FaultAction::None;
		/* A reload for something else does not begin to count again. */
		if (fault.action == before.action && fault.at == before.at &&
			fault.repeats == before.repeats)
			fault.passed = before.passed;
	}
}

/* Leaves the mark; false when there is one. */
bool
leave_mark(const char *path, const char *what)
{
	char line[64];
	char draft[MAXPGPATH];

	(void)mkdir(kMarkFolder, S_IRWXU);
	snprintf(draft, sizeof(draft), "%s.%d", path, MyProcPid);
	int file = open(draft, O_CREAT | O_TRUNC | O_WRONLY, S_IRUSR | S_IWUSR);
	if (file < 0)
		return false;
	int length = snprintf(line, sizeof(line), "%s %d\n", what, MyProcPid);
	bool written = write(file, line, length) == length;
	(void)close(file);
	/* With all that is in it, or not at all; and only one process can. */
	bool first = written && link(draft, path) == 0;
	(void)unlink(draft);
	return first;
}

const char *
action_name(FaultAction action)
{
	switch (action)
	{
		case FaultAction::None:
			break;
		case FaultAction::Kill:
			return "kill";
		case FaultAction::Error:
			return "error";
		case FaultAction::OutOfMemory:
			return "oom";
		case FaultAction::Panic:
			return "panic";
		case FaultAction::Pause:
			return "pause";
	}
	return "none";
}

/* Nothing but the mark is waited for: no latch, which would be somebody else's. */
void
pause_at(const char *path)
{
	struct stat mark;

	while (stat(path, &mark) == 0 && mark.st_size > 0)
	{
		(void)WaitLatch(nullptr, WL_TIMEOUT | WL_EXIT_ON_PM_DEATH, kPauseMs, PG_WAIT_EXTENSION);
		CHECK_FOR_INTERRUPTS();
	}
}

} // namespace

void
fault_pass(int point)
{
	Fault &fault = table.faults[point];
	const char *name = kFaultPoints[point].data();
	char path[MAXPGPATH];

	if (fault.action == FaultAction::None)
		return;
	fault.passed++;
	if (fault.passed < fault.at || (fault.passed > fault.at && !fault.repeats))
		return;
	snprintf(path, sizeof(path), "%s/%s", kMarkFolder, name);
	if (!leave_mark(path, action_name(fault.action)) && !fault.repeats)
		return;
	switch (fault.action)
	{
		case FaultAction::None:
			return;
		case FaultAction::Kill:
			(void)kill(MyProcPid, SIGKILL);
			return;
		case FaultAction::Error:
			ereport(ERROR,
					(errcode(ERRCODE_IO_ERROR),
					 errmsg_internal("fault point \"%s\" was reached", name),
					 errdetail_internal("A test has asked for it: cdc.fault = '%s'.", setting),
					 errhint("ALTER SYSTEM RESET cdc.fault.")));
			return;
		case FaultAction::OutOfMemory:
			/* As palloc() says it. */
			ereport(ERROR,
					(errcode(ERRCODE_OUT_OF_MEMORY), errmsg_internal("out of memory"),
					 errdetail_internal("Failed on request of size %zu in memory context \"%s\".",
										static_cast<Size>(8192), "cdc fault")));
			return;
		case FaultAction::Panic:
			ereport(PANIC, (errcode(ERRCODE_IO_ERROR),
							errmsg_internal("fault point \"%s\" was reached", name)));
			return;
		case FaultAction::Pause:
			pause_at(path);
			return;
	}
}

void
fault_init()
{
	static char points[4096];

	for (std::string_view name : kFaultPoints)
	{
		if (points[0] != '\0')
			strlcat(points, ",", sizeof(points));
		strlcat(points, name.data(), sizeof(points));
	}
	DefineCustomStringVariable("cdc.fault", "What goes wrong where, for tests.", nullptr, &setting,
							   "", PGC_SUSET, GUC_NOT_IN_SAMPLE, check_setting, assign_setting,
							   nullptr);
	DefineCustomIntVariable("cdc.fault_longest_row", "Length of the longest change row, for tests.",
							nullptr, &fault_longest_row, 0, 0, INT_MAX, PGC_SUSET,
							GUC_NOT_IN_SAMPLE, nullptr, nullptr, nullptr);
	DefineCustomStringVariable("cdc.fault_points", "Where something can go wrong, for tests.",
							   nullptr, &point_list, points, PGC_INTERNAL, GUC_NOT_IN_SAMPLE,
							   nullptr, nullptr, nullptr);
	/* Never for anybody but tests: whoever meets such a library shall know. */
	if (process_shared_preload_libraries_in_progress)
		ereport(LOG, (errmsg_internal("library \"cdc\" has fault points and is for tests only")));
}

} // namespace cdc

#endif
