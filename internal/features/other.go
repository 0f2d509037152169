package features

import (
	"errors"

	"golang.org/x/sys/unix"

	"github.com/taskwatch/taskwatch/internal/cnproc"
	"github.com/taskwatch/taskwatch/internal/procfs"
)

func probeConnector() Result {
	conn, err := cnproc.Open(1 << 20)
	if err == nil {
		err = conn.Close()
	}
	switch {
	case err == nil:
		return yes
	case errors.Is(err, cnproc.ErrMissing):
		return no("%v", err)
	}
	return unclear("%v", err)
}

func probePtrace() Result {
	err := traceChild()
	if err == nil {
		return yes
	}
	if errors.Is(err, unix.EPERM) || errors.Is(err, unix.EACCES) {
		if scope, ok := procfs.PtraceScope(); ok {
			return unclear("not permitted: kernel.yama.ptrace_scope is %d; children can be traced where it is 0 or 1", scope)
		}
		return unclear("not permitted, as in a container whose seccomp profile forbids ptrace: %v", err)
	}
	if errors.Is(err, unix.ENOSYS) {
		return no("the kernel has no ptrace")
	}
	return unclear("%v", err)
}

// probeSeccomp asks for a filter at an address that is none: a kernel without
// filters says EINVAL, one with them looks at the address first.
func probeSeccomp() Result {
	err := unix.Prctl(unix.PR_SET_SECCOMP, unix.SECCOMP_MODE_FILTER, 0, 0, 0)
	switch err {
	case unix.EFAULT:
		return yes
	case unix.EINVAL:
		return no("the kernel was built without CONFIG_SECCOMP_FILTER")
	}
	return unclear("prctl(PR_SET_SECCOMP) says: %v", err)
}
