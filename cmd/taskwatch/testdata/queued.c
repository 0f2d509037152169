// queued: writes a line with the number, the code and the value of each signal
// that it gets.
// queued block COMMAND...: runs COMMAND with all signals blocked.
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

static void got(int sig, siginfo_t *info, void *context)
{
	char line[100];
	int n = snprintf(line, sizeof(line), "%d %d %d\n", sig, info->si_code, info->si_code == SI_QUEUE ? info->si_value.sival_int : 0);

	(void)!write(1, line, n);
}

int main(int argc, char **argv)
{
	struct sigaction action = {.sa_sigaction = got, .sa_flags = SA_SIGINFO};
	sigset_t all, usual;

	sigfillset(&all);
	if (argc > 2 && !strcmp(argv[1], "block")) {
		sigprocmask(SIG_BLOCK, &all, NULL);
		execv(argv[2], argv + 2);
		return 126;
	}
	action.sa_mask = all;
	for (int sig = 1; sig <= 64; sig++)
		if (sig != SIGCHLD && sig != SIGTERM)
			sigaction(sig, &action, NULL);
	(void)!write(1, "ready\n", 6);
	sigemptyset(&usual);
	for (;;)
		sigsuspend(&usual);
}
