/* Has the kernel make a thread of this process for io_uring, says its tid, and waits for a byte. */
#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <unistd.h>

#ifndef __NR_io_uring_setup
#define __NR_io_uring_setup 425
#endif

int main(void)
{
	unsigned params[30] = { [2] = 2 /* IORING_SETUP_SQPOLL */ };
	struct dirent *d;
	DIR *tasks;
	char c;

	if (syscall(__NR_io_uring_setup, 4, params) < 0) {
		perror("io_uring_setup");
		return 1;
	}
	tasks = opendir("/proc/self/task");
	while (tasks && (d = readdir(tasks)))
		if (atoi(d->d_name) && atoi(d->d_name) != getpid())
			puts(d->d_name);
	fflush(stdout);
	return read(0, &c, 1) < 0;
}
