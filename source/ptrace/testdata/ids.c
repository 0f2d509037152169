/* ids STEP...: each step is a raw system call on ids, NAME:ARG[:ARG...], or
 * "fork". A call that fails is no error of the program: its effect is what
 * the test looks at. */
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

static const struct { const char *name; long nr; } calls[] = {
	{ "setuid", SYS_setuid }, { "setgid", SYS_setgid },
	{ "setreuid", SYS_setreuid }, { "setregid", SYS_setregid },
	{ "setresuid", SYS_setresuid }, { "setresgid", SYS_setresgid },
	{ "setfsuid", SYS_setfsuid }, { "setfsgid", SYS_setfsgid },
};

static int step(char *s)
{
	if (!strcmp(s, "fork")) {
		pid_t pid = fork();
		if (pid == 0)
			_exit(0);
		return pid < 0 || waitpid(pid, NULL, 0) < 0;
	}
	char *name = strsep(&s, ":");
	long args[3] = { 0 };
	for (int i = 0; i < 3 && s; i++)
		args[i] = atol(strsep(&s, ":"));
	for (unsigned i = 0; i < sizeof(calls) / sizeof(calls[0]); i++)
		if (!strcmp(name, calls[i].name)) {
			syscall(calls[i].nr, args[0], args[1], args[2]);
			return 0;
		}
	return 1;
}

int main(int argc, char **argv)
{
	for (int i = 1; i < argc; i++)
		if (step(argv[i]))
			return i + 1;
	return 0;
}
