/* killfork N: N times, a child that forks without end is killed in the middle
 * of it. Its children end by themselves. */
#include <signal.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

int main(int argc, char **argv)
{
	if (argc != 2)
		return 2;
	/* Orphans come here, so that all of them are reaped. */
	prctl(PR_SET_CHILD_SUBREAPER, 1);
	for (int i = 0; i < atoi(argv[1]); i++) {
		pid_t pid = fork();
		if (pid < 0)
			return 3;
		if (pid == 0) {
			signal(SIGCHLD, SIG_IGN);
			for (;;)
				if (fork() == 0)
					_exit(0);
		}
		usleep(100 + i * 37 % 2000);
		kill(pid, SIGKILL);
		while (wait(NULL) != pid)
			;
	}
	while (wait(NULL) > 0)
		;
	return 0;
}
