/*
 * Loads with a known number of events.
 *
 *	load fork N		N children that exit at once
 *	load exec N		N children that run this program as "load exit A B"
 *	load thread N		N threads, 16 at a time
 *	load ids N		N/2 setresuid and N/2 setresgid in one process
 *	load exit ...		exit at once
 *	load stay ...		stay until killed
 *	load read ...		write a byte, then stay until the end of stdin
 *	load argv BYTES		a child runs this program with an argument of that size
 *	load reexec		a thread that is not the first runs this program
 *	load reuse N		N children, one after the other, of the same pid
 *	load brood N		N children in sessions of their own; all stay, and
 *				the first writes a line with the pids of all
 *	load chains N		N chains of processes, each of which ends when it has
 *				made the next, 100000 in each
 */
#define _GNU_SOURCE
#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <linux/sched.h>
#include <signal.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

static const char *self = "/proc/self/exe";

static void die(const char *what)
{
	perror(what);
	exit(2);
}

static void reap(pid_t pid)
{
	int status;

	if (pid < 0)
		die("fork");
	if (waitpid(pid, &status, 0) != pid)
		die("waitpid");
	if (status)
		exit(3);
}

static void forks(int n)
{
	for (int i = 0; i < n; i++) {
		pid_t pid = fork();

		if (pid == 0)
			_exit(0);
		reap(pid);
	}
}

static void execs(int n)
{
	for (int i = 0; i < n; i++) {
		pid_t pid = vfork();

		if (pid == 0) {
			execl(self, "load", "exit", "first argument", "", "last", (char *)NULL);
			_exit(4);
		}
		reap(pid);
	}
}

static void *nothing(void *arg)
{
	return arg;
}

static void threads(int n)
{
	pthread_t t[16];

	for (int i = 0; i < n; i += 16) {
		int m = n - i < 16 ? n - i : 16;

		for (int j = 0; j < m; j++)
			if ((errno = pthread_create(&t[j], NULL, nothing, NULL)))
				die("pthread_create");
		for (int j = 0; j < m; j++)
			pthread_join(t[j], NULL);
	}
}

static void ids(int n)
{
	for (int i = 0; i < n / 2; i++) {
		if (setresgid(-1, 1000 + i % 2, -1))
			die("setresgid");
	}
	for (int i = 0; i < n / 2; i++) {
		if (setresuid(-1, i % 2 ? 0 : 1000, 0))
			die("setresuid");
	}
}

static void reuse(int n)
{
	pid_t pid = fork();

	if (pid == 0)
		_exit(0);
	reap(pid);
	for (int i = 1; i < n; i++) {
		struct clone_args args = {.exit_signal = SIGCHLD, .set_tid = (unsigned long)&pid, .set_tid_size = 1};
		pid_t again = syscall(SYS_clone3, &args, sizeof(args));

		if (again == 0)
			_exit(0);
		reap(again);
	}
}

static void stay(void)
{
	for (;;)
		pause();
}

static void brood(int n)
{
	char line[4096];
	int len = sprintf(line, "%d", getpid());

	for (int i = 0; i < n && len < 4000; i++) {
		int up[2];
		char c;
		pid_t pid;

		if (pipe(up))
			die("pipe");
		pid = fork();
		if (pid < 0)
			die("fork");
		if (pid == 0) {
			setsid();
			if (write(up[1], "", 1) != 1)
				die("write");
			stay();
		}
		if (read(up[0], &c, 1) != 1)
			die("read");
		len += sprintf(line + len, " %d", pid);
	}
	line[len++] = '\n';
	if (write(1, line, len) != len)
		die("write");
	stay();
}

static void chains(int n)
{
	for (int i = 0; i < n; i++) {
		if (fork())
			continue;
		for (int j = 0; j < 100000; j++)
			if (fork())
				_exit(0);
		_exit(0);
	}
	stay();
}

static void *reexec(void *arg)
{
	execl(self, "load", "exit", (char *)NULL);
	_exit(4);
}

int main(int argc, char **argv)
{
	const char *what = argc > 1 ? argv[1] : "";
	int n = argc > 2 ? atoi(argv[2]) : 0;

	if (!strcmp(what, "exit"))
		_exit(0);
	if (!strcmp(what, "stay"))
		stay();
	if (!strcmp(what, "read")) {
		char c = 0;

		if (write(1, &c, 1) != 1)
			die("write");
		while (read(0, &c, 1) > 0)
			;
		_exit(0);
	}
	if (!strcmp(what, "fork"))
		forks(n);
	else if (!strcmp(what, "exec"))
		execs(n);
	else if (!strcmp(what, "thread"))
		threads(n);
	else if (!strcmp(what, "ids"))
		ids(n);
	else if (!strcmp(what, "reuse"))
		reuse(n);
	else if (!strcmp(what, "brood"))
		brood(n);
	else if (!strcmp(what, "chains"))
		chains(n);
	else if (!strcmp(what, "reexec")) {
		pthread_t t;

		if ((errno = pthread_create(&t, NULL, reexec, NULL)))
			die("pthread_create");
		pause();
	} else if (!strcmp(what, "argv")) {
		char *big[64] = {"load", "exit"};
		pid_t pid;
		int i;

		for (i = 2; n > 0 && i < 63; i++) {
			int m = n < 100000 ? n : 100000; /* one string may have 128 KiB */

			big[i] = malloc(m + 1);
			memset(big[i], 'a' + i, m);
			big[i][m] = 0;
			n -= m;
		}
		pid = fork();
		if (pid == 0) {
			execv(self, big);
			_exit(4);
		}
		reap(pid);
	} else
		return 2;
	return 0;
}
