// A wall clock that differs from the machine's: the file CLOCK_AHEAD holds the
// difference in nanoseconds, eight bytes in the machine's order, and may change at
// any time. To be preloaded. System calls are made directly: the allocator of the
// server asks for the time before anything else works.
#define _GNU_SOURCE
#include <fcntl.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

static volatile long long *ahead;

__attribute__((constructor)) static void map(void) {
	const char *name = getenv("CLOCK_AHEAD");
	int file = name ? open(name, O_RDONLY) : -1;
	if (file < 0) return;
	void *at = mmap(NULL, sizeof *ahead, PROT_READ, MAP_SHARED, file, 0);
	if (at != MAP_FAILED) ahead = at;
	close(file);
}

static long long now(clockid_t clock, struct timespec *t) {
	if (syscall(SYS_clock_gettime, clock, t) != 0) return -1;
	if (ahead && (clock == CLOCK_REALTIME || clock == CLOCK_REALTIME_COARSE)) {
		long long ns = t->tv_sec * 1000000000LL + t->tv_nsec + *ahead;
		t->tv_sec = ns / 1000000000LL;
		t->tv_nsec = ns % 1000000000LL;
	}
	return 0;
}

int clock_gettime(clockid_t clock, struct timespec *t) { return now(clock, t); }

int gettimeofday(struct timeval *restrict t, void *restrict zone) {
	struct timespec ts;
	(void)zone;
	if (now(CLOCK_REALTIME, &ts) != 0) return -1;
	t->tv_sec = ts.tv_sec;
	t->tv_usec = ts.tv_nsec / 1000;
	return 0;
}

time_t time(time_t *t) {
	struct timespec ts;
	if (now(CLOCK_REALTIME, &ts) != 0) return -1;
	if (t) *t = ts.tv_sec;
	return ts.tv_sec;
}
