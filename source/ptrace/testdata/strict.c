// strict: asks for seccomp's strict mode in both ways. It ends with 0 if neither
// is granted, with EINVAL.
#include <errno.h>
#include <linux/seccomp.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

int main(void)
{
	prctl(PR_GET_SECCOMP); // nothing to tell
	if (!prctl(PR_SET_SECCOMP, SECCOMP_MODE_STRICT) || errno != EINVAL)
		syscall(SYS_exit, 1);
	if (!syscall(SYS_seccomp, SECCOMP_SET_MODE_STRICT, 0, 0) || errno != EINVAL)
		syscall(SYS_exit, 2);
	return 0;
}
