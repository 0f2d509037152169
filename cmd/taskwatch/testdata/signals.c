// signals: writes a line with the number of each signal that it gets. What it
// reads says what to send: "group N" to its process group, "parent N" to its
// parent.
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

static void got(int sig)
{
	char line[] = {'0' + sig / 10, '0' + sig % 10, '\n'};

	(void)!write(1, line, sizeof(line));
}

int main(void)
{
	char line[100], what[100];
	struct sigaction action = {.sa_handler = got, .sa_flags = SA_RESTART};
	int sig;

	for (sig = 1; sig <= 64; sig++)
		if (sig != SIGCHLD)
			sigaction(sig, &action, NULL);
	(void)!write(1, "ready\n", 6);
	while (fgets(line, sizeof(line), stdin)) {
		if (sscanf(line, "%s %d", what, &sig) != 2)
			return 2;
		if (!strcmp(what, "group"))
			kill(0, sig);
		else
			kill(getppid(), sig);
	}
	return 0;
}
