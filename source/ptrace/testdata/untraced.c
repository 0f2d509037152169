// untraced N: makes N children by clone3 while a thread sets and clears
// CLONE_UNTRACED in its arguments.
#define _GNU_SOURCE
#include <linux/sched.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

static volatile struct clone_args args;

static void *flip(void *unused)
{
	(void)unused;
	for (;;)
		args.flags ^= CLONE_UNTRACED;
	return NULL;
}

int main(int argc, char **argv)
{
	pthread_t t;
	args.exit_signal = SIGCHLD;
	if (argc != 2 || pthread_create(&t, NULL, flip, NULL))
		return 2;
	for (int i = 0; i < atoi(argv[1]); i++) {
		pid_t pid = syscall(SYS_clone3, &args, sizeof args);
		if (pid == 0) {
			usleep(2000);
			_exit(3);
		}
		int st;
		if (pid < 0 || waitpid(pid, &st, 0) != pid || st != 3 << 8)
			return 3;
	}
	return 0;
}
