/* Overwrites its arguments, as daemons do to show a title, and waits for a byte. */
#include <stdio.h>
#include <string.h>
#include <unistd.h>

int main(int argc, char **argv)
{
	char *end = argv[argc - 1] + strlen(argv[argc - 1]), c;
	int padded = !strcmp(argv[1], "nul"), on = !strcmp(argv[1], "environ");

	if (padded) {
		memset(argv[0], 0, end - argv[0]);
		strcpy(argv[0], "title: padded");
	}
	if (on) {
		memset(argv[0], '.', end - argv[0] + 1);
		memcpy(argv[0], "title: into the environment", 27);
	}
	puts("ready");
	fflush(stdout);
	return read(0, &c, 1) < 0;
}
