/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * filecaps FILE: becomes the user 1000, who has no capability, and runs FILE as
 * "twvetoed". FILE is this program, with the capability to set user ids, and
 * becomes root by it. If it cannot be run, the user tries that as he is. Prints
 * the errno of the exec, the capabilities that are permitted after it, the errno of
 * the change of ids, and the user id at the end.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <linux/capability.h>
#include <stdio.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

int main(int argc, char **argv)
{
	struct __user_cap_header_struct header = { .version = _LINUX_CAPABILITY_VERSION_3 };
	struct __user_cap_data_struct data[2];
	int err_exec = 0, err_uid = 0;

	if (argc > 1) {
		if (syscall(SYS_setresgid, 1000, 1000, 1000) || syscall(SYS_setresuid, 1000, 1000, 1000))
			return 2;
		prctl(PR_SET_NAME, "twvetoed");
		execl(argv[1], "filecaps", NULL);
		err_exec = errno;
	}
	prctl(PR_SET_NAME, "twvetoed");
	if (syscall(SYS_capget, &header, data))
		return 3;
	if (syscall(SYS_setresuid, 0, 0, 0))
		err_uid = errno;
	printf("exec=%d permitted=%x uid=%d is=%d\n", err_exec, data[0].permitted, err_uid, (int)getuid());
	return 0;
}
