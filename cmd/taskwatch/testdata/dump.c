// dump: everything that a command can find out about how it was started.
// dump set COMMAND...: changes what it can, and runs COMMAND.
#define _GNU_SOURCE
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <unistd.h>

extern char **environ;

static int set(char **command)
{
	struct rlimit core = {4096, 8192}, stack = {1 << 22, RLIM_INFINITY};
	struct itimerval alarm = {.it_value = {.tv_sec = 1000}}, again = {{.tv_sec = 50}, {.tv_sec = 2000}};
	sigset_t mask;

	sigemptyset(&mask);
	sigaddset(&mask, SIGUSR1);
	sigaddset(&mask, SIGWINCH);
	sigaddset(&mask, SIGCONT);
	sigaddset(&mask, SIGRTMIN + 5);
	sigprocmask(SIG_BLOCK, &mask, NULL);
	signal(SIGHUP, SIG_IGN);
	signal(SIGTTOU, SIG_IGN);
	umask(027);
	nice(3);
	setrlimit(RLIMIT_CORE, &core);
	setrlimit(RLIMIT_STACK, &stack);
	setitimer(ITIMER_REAL, &alarm, NULL);
	setitimer(ITIMER_VIRTUAL, &again, NULL);
	prctl(PR_SET_PDEATHSIG, SIGUSR2, 0, 0, 0);
	prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0);
	prctl(PR_SET_TIMERSLACK, 60000, 0, 0, 0);
	dup2(1, 7); // without close-on-exec
	setenv("ODD", "a=b\n", 1);
	execvp(command[0], command);
	return 126;
}

static void status(void)
{
	static const char *const keys[] = {"Umask", "Groups", "Threads", "SigPnd", "ShdPnd", "SigBlk", "SigIgn", "SigCgt",
		"CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb", "NoNewPrivs", "Seccomp", "TracerPid", "Cpus_allowed", "Mems_allowed"};
	FILE *f = fopen("/proc/self/status", "r");
	char line[4096];

	while (fgets(line, sizeof(line), f))
		for (size_t i = 0; i < sizeof(keys) / sizeof(*keys); i++)
			if (!strncmp(line, keys[i], strlen(keys[i])) && line[strlen(keys[i])] == ':')
				printf("%s", line);
	fclose(f);
}

static void files(void)
{
	char path[300], target[4096];

	for (int fd = 0; fd < 1024; fd++) {
		ssize_t n;
		snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
		n = readlink(path, target, sizeof(target) - 1);
		if (n < 0)
			continue;
		target[n] = 0;
		if (!strncmp(target, "pipe:", 5) || !strncmp(target, "socket:", 7))
			*strchr(target, ':') = 0;
		printf("file %d %s\n", fd, target);
	}
}

int main(int argc, char **argv)
{
	struct rusage used;
	struct rlimit limit;
	struct itimerval timer;
	char cwd[4096];
	int sig = 0;

	getrusage(RUSAGE_SELF, &used); // before anything of its own
	if (argc > 1 && !strcmp(argv[1], "set"))
		return set(argv + 2);
	files(); // before any is opened
	printf("maxrss %s\n", used.ru_maxrss < 6 << 10 ? "its own" : "another's");
	prctl(PR_GET_PDEATHSIG, &sig, 0, 0, 0);
	printf("parent's death %d\n", sig);
	printf("group %d session %d\n", getpgrp(), getsid(0));
	printf("dumpable %d subreaper", prctl(PR_GET_DUMPABLE, 0, 0, 0, 0));
	prctl(PR_GET_CHILD_SUBREAPER, &sig, 0, 0, 0);
	printf(" %d keepcaps %d slack %d\n", sig, prctl(PR_GET_KEEPCAPS, 0, 0, 0, 0), prctl(PR_GET_TIMERSLACK, 0, 0, 0, 0));
	printf("ids %d %d %d %d\n", getuid(), geteuid(), getgid(), getegid());
	printf("scheduler %d priority %d\n", sched_getscheduler(0), getpriority(PRIO_PROCESS, 0));
	for (int which = ITIMER_REAL; which <= ITIMER_PROF; which++) {
		getitimer(which, &timer);
		printf("timer %d %s, then every %d s\n", which, timer.it_value.tv_sec ? "set" : "none", (int)timer.it_interval.tv_sec);
	}
	for (int i = 0; i < RLIM_NLIMITS; i++) {
		getrlimit(i, &limit);
		printf("limit %d %lld %lld\n", i, (long long)limit.rlim_cur, (long long)limit.rlim_max);
	}
	printf("child %d\n", (int)waitpid(-1, NULL, WNOHANG | __WALL));
	printf("cwd %s\n", getcwd(cwd, sizeof(cwd)));
	status();
	for (int i = 0; i < argc; i++)
		printf("argument %d %s\n", i, argv[i]);
	for (char **e = environ; *e; e++)
		printf("environment %s\n", *e);
	return 0;
}
