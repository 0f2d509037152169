// Tasks that are hard to keep in a scope:
//
//	scope move DIR   a child moves itself into the cgroup DIR, and exits with 3;
//	                 then another one of the same pid exits with 4
//	scope chain N    N nested forks; at a byte from stdin the last one forks a
//	                 child, which exits with 5
//	scope below      a child with a pid below this one's; at a byte from stdin it
//	                 forks a child, which exits with 5
//	scope thread     prints the tid of a thread of its own, and waits for a byte
#define _GNU_SOURCE
#include <fcntl.h>
#include <linux/sched.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

static void die(const char *what)
{
	perror(what);
	exit(1);
}

static pid_t fork_as(pid_t pid)
{
	struct clone_args args = {.exit_signal = SIGCHLD, .set_tid = pid ? (unsigned long)&pid : 0, .set_tid_size = pid != 0};
	pid_t child = syscall(SYS_clone3, &args, sizeof(args));

	if (child < 0)
		die("clone3");
	return child;
}

static void reap(void)
{
	if (wait(NULL) < 0)
		die("wait");
}

static void byte(void)
{
	char c;

	if (read(0, &c, 1) < 0)
		die("read");
}

static void move(const char *dir)
{
	char procs[4096];
	pid_t pid = fork_as(0);
	int fd;

	if (pid == 0) {
		snprintf(procs, sizeof(procs), "%s/cgroup.procs", dir);
		fd = open(procs, O_WRONLY);
		if (fd < 0 || write(fd, "0", 1) != 1)
			die(procs);
		_exit(3);
	}
	reap();
	if (fork_as(pid) == 0)
		_exit(4);
	reap();
}

static void at_last(void)
{
	printf("%d\n", getpid());
	fflush(stdout);
	byte();
	if (fork_as(0) == 0)
		_exit(5);
	reap();
}

static void chain(int n)
{
	if (n == 0) {
		at_last();
		return;
	}
	if (fork_as(0) == 0) {
		chain(n - 1);
		_exit(0);
	}
	reap();
}

/* The pid of a process that has just ended is free, and below that of the next. */
static void below(void)
{
	pid_t low = fork_as(0), parent;

	if (low == 0)
		_exit(0);
	reap();
	parent = fork_as(0);
	if (parent == 0) {
		if (fork_as(low) == 0) {
			at_last();
			_exit(0);
		}
		reap();
		_exit(0);
	}
	reap();
}

static void *waits(void *arg)
{
	printf("%ld\n", syscall(SYS_gettid));
	fflush(stdout);
	byte();
	return arg;
}

int main(int argc, char **argv)
{
	pthread_t thread;

	if (!strcmp(argv[1], "move")) {
		move(argv[2]);
	} else if (!strcmp(argv[1], "chain")) {
		chain(atoi(argv[2]));
	} else if (!strcmp(argv[1], "below")) {
		below();
	} else {
		if (pthread_create(&thread, NULL, waits, NULL))
			die("pthread_create");
		pthread_join(thread, NULL);
	}
	return 0;
}
