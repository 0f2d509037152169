/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * outside tree|overlay DIR NAME: runs the file NAME of DIR from a mount that a child
 * has made in namespaces of its own and has given up; its own namespaces stay as they
 * are. It exits with the errno of the exec, or with 100 if there is no such mount.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

/* given_up - a descriptor of the file; its mount is in no namespace any more */
static int given_up(const char *how, const char *dir, const char *name)
{
	char options[4096];
	int mount_fd, fd;

	if (unshare(CLONE_NEWUSER | CLONE_NEWNS))
		return -1;
	if (!strcmp(how, "tree")) {
		mount_fd = syscall(428 /* open_tree */, AT_FDCWD, dir, 1 /* OPEN_TREE_CLONE */);
		fd = openat(mount_fd, name, O_PATH);
		close(mount_fd);
		return fd;
	}
	snprintf(options, sizeof(options), "lowerdir=%s:/proc", dir);
	/* A second layer, which the kernel wants: an empty one over /proc. */
	if (mount("t", "/proc", "tmpfs", 0, NULL) || mount("o", dir, "overlay", 0, options) || chdir(dir))
		return -1;
	fd = open(name, O_PATH);
	return chdir("/") || umount2(dir, MNT_DETACH) ? -1 : fd;
}

int main(int argc, char **argv)
{
	char *args[] = { "load", "exit", NULL }, *none[] = { NULL };
	int status, fd;
	pid_t pid;

	if (argc != 4)
		return 101;
	pid = syscall(SYS_clone, CLONE_FILES | SIGCHLD, 0, 0, 0, 0);
	if (!pid) {
		fd = given_up(argv[1], argv[2], argv[3]);
		_exit(fd < 0 ? 255 : fd);
	}
	if (pid < 0 || waitpid(pid, &status, 0) != pid || !WIFEXITED(status) || WEXITSTATUS(status) == 255)
		return 100;
	syscall(SYS_execveat, WEXITSTATUS(status), "", args, none, AT_EMPTY_PATH);
	return errno;
}
