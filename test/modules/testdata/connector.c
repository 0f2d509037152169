/* What the connector has messages about, and what it has none about. */
#define _GNU_SOURCE
#include <errno.h>
#include <grp.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/fsuid.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

static void *nothing(void *arg) { return arg; }

static void check(int ok)
{
	if (!ok) {
		perror("connector");
		exit(1);
	}
}

static int child(void *what)
{
	switch (*(const char *)what) {
	case 'i': /* ids */
		check(!setgroups(0, NULL));
		check(!setresgid(5, 6, 7));
		check(!setresgid(5, 6, 7)); /* no change */
		check(!setresgid(-1, -1, 8)); /* the saved one alone */
		setfsgid(5);
		check(!setresuid(0, 0, 9));
		setfsuid(8);
		setfsuid(0);
		check(!setresuid(5, 6, 7));
		break;
	case 'e': /* exec */
		execl("/proc/self/exe", "leaf", "leaf", NULL);
		check(0);
	case 'k':
		kill(getpid(), SIGKILL);
		pause();
	case 't': { /* threads */
		pthread_t t;

		for (int i = 0; i < 3; i++) {
			check(!pthread_create(&t, NULL, nothing, NULL));
			check(!pthread_join(t, NULL));
		}
		break;
	}
	case 'v': /* vfork */
		if (!vfork()) {
			execl("/proc/self/exe", "leaf", "leaf", NULL);
			_exit(1);
		}
		wait(NULL);
		break;
	case 'n': /* nobody waits */
	case 'N': {
		struct sigaction sa = { .sa_handler = SIG_IGN };

		if (*(const char *)what == 'N') {
			sa.sa_handler = SIG_DFL;
			sa.sa_flags = SA_NOCLDWAIT;
		}
		check(!sigaction(SIGCHLD, &sa, NULL));
		for (int i = 0; i < 3; i++) {
			if (!fork())
				_exit(i);
			check(wait(NULL) == -1 && errno == ECHILD);
		}
		break;
	}
	}
	_exit(4);
}

int main(int argc, char **argv)
{
	static char stack[1 << 16] __attribute__((aligned(16)));
	const char *kinds = "iektvnN";

	if (argc > 1 && !strcmp(argv[1], "leaf"))
		return 3;
	signal(SIGUSR2, SIG_IGN);
	for (int i = 0; kinds[i]; i++) {
		pid_t pid = fork();

		if (!pid)
			child((void *)&kinds[i]);
		check(waitpid(pid, NULL, 0) == pid);
		/* another signal at its end, and none */
		pid = clone(child, stack + sizeof(stack), SIGUSR2, (void *)&kinds[i]);
		check(waitpid(pid, NULL, __WALL) == pid);
		pid = clone(child, stack + sizeof(stack), 0, (void *)&kinds[i]);
		check(waitpid(pid, NULL, __WALL) == pid);
	}
	return 5;
}
