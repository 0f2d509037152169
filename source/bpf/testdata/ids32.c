// One change of the user ids and one of the group ids, among calls whose
// numbers mean something else in another table: in that of 32-bit ARM, 145 and
// 146 are readv and writev, and in that of arm64 setreuid and setuid.
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

int main(void)
{
	struct iovec nothing = { "", 0 };

	for (int i = 0; i < 5; i++) {
		syscall(SYS_readv, 0, &nothing, 1);
		syscall(SYS_writev, 1, &nothing, 1);
	}
#ifdef SYS_setresuid32
	return syscall(SYS_setresgid32, 21, 22, 23) || syscall(SYS_setresuid32, 11, 12, 13);
#else
	return syscall(SYS_setresgid, 21, 22, 23) || syscall(SYS_setresuid, 11, 12, 13);
#endif
}
