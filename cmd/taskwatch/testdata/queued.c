// queued: writes a line with the number, the code and the value of each signal
// that it gets.
// queued block COMMAND...: runs COMMAND with all signals blocked.
// queued send SIGNAL TIMES MILLISECONDS PID...: sends the signal to all, one after
// the other, that many times, and writes how often that took longer than so many
// milliseconds.
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

static void got(int sig, siginfo_t *info, void *context)
{
	char line[100];
	int n = snprintf(line, sizeof(line), "%d %d %d\n", sig, info->si_code, info->si_code == SI_QUEUE ? info->si_value.sival_int : 0);

	(void)!write(1, line, n);
}

static long long now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec * 1000000000ll + t.tv_nsec;
}

static int send_all(int sig, int times, long long most, char **pids)
{
	int slow = 0;

	for (int i = 0; i < times; i++) {
		long long began = now();

		for (char **pid = pids; *pid; pid++)
			if (kill(atoi(*pid), sig)) {
				perror(*pid);
				return 1;
			}
		slow += now() - began > most;
	}
	printf("%d\n", slow);
	return 0;
}

int main(int argc, char **argv)
{
	struct sigaction action = {.sa_sigaction = got, .sa_flags = SA_SIGINFO};
	sigset_t all, usual;

	if (argc > 5 && !strcmp(argv[1], "send"))
		return send_all(atoi(argv[2]), atoi(argv[3]), atoi(argv[4]) * 1000000ll, argv + 5);
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
