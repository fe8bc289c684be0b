/*
 * clock_shift.c
 *	  Preloaded into a server by t/117_clock.pl: adds seconds to the clock of every process.
 *
 * The seconds are the first eight bytes of the file that CLOCK_SHIFT_FILE names, mapped: a change is seen at once,
 * also in signal handlers, where the postmaster forks. Monotonic clocks and waiting stay as they are.
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

static const volatile int64_t no_shift;
static const volatile int64_t *shift = &no_shift;

__attribute__((constructor)) static void
map_shift(void)
{
	const char *name = getenv("CLOCK_SHIFT_FILE");
	int file = name != NULL ? open(name, O_RDONLY | O_CLOEXEC) : -1;
	void *mapped;

	if (file < 0)
		return;
	mapped = mmap(NULL, sizeof(*shift), PROT_READ, MAP_SHARED, file, 0);
	if (mapped != MAP_FAILED)
		shift = mapped;
	close(file);
}

int
clock_gettime(clockid_t clock, struct timespec *time)
{
	int result = (int) syscall(SYS_clock_gettime, clock, time);

	if (result == 0 && clock == CLOCK_REALTIME)
		time->tv_sec += *shift;
	return result;
}

int
gettimeofday(struct timeval *restrict time, void *restrict zone)
{
	struct timespec now;

	(void) zone;
	clock_gettime(CLOCK_REALTIME, &now);
	time->tv_sec = now.tv_sec;
	time->tv_usec = now.tv_nsec / 1000;
	return 0;
}

time_t
time(time_t *to)
{
	struct timespec now;

	clock_gettime(CLOCK_REALTIME, &now);
	if (to != NULL)
		*to = now.tv_sec;
	return now.tv_sec;
}
