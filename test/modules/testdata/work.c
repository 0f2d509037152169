/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * work N: of each of these N: a fork, an exec that follows a fork, a child
 * killed by a signal, a thread, a change of the effective user id and one of
 * the effective group id, each there and back; and one exec as user 4242.
 */
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

static void *nothing(void *arg) { return arg; }

static int child(int what)
{
	pid_t pid = fork();

	if (pid < 0)
		exit(2);
	if (pid)
		return waitpid(pid, NULL, 0) == pid ? 0 : exit(3), 0;
	switch (what) {
	case 'k':
		raise(SIGKILL);
	case 'u':
		if (setuid(4242))
			_exit(4);
	case 'e':
		execl("/proc/self/exe", "work", "exit", NULL);
		_exit(5);
	}
	_exit(7);
}

int main(int argc, char **argv)
{
	int n = argc > 1 ? atoi(argv[1]) : 0;
	pthread_t t;

	if (argc == 2 && !strcmp(argv[1], "exit"))
		return 0;
	for (int i = 0; i < n; i++) {
		child('f');
		child('e');
		child('k');
		if (pthread_create(&t, NULL, nothing, NULL) || pthread_join(t, NULL))
			return 6;
		if (seteuid(4243) || seteuid(0) || setegid(4243) || setegid(getgid()))
			return 7;
	}
	child('u');
	return 0;
}
