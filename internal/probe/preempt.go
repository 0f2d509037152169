package probe

import (
	"fmt"
	"io"
	"os"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/taskwatch/taskwatch/internal/plan"
)

// Preemption finds out the model. Where it can be chosen, at boot and
// later, the kernel says it in debugfs; else it stands in its version.
func Preemption() plan.Preemption {
	var u unix.Utsname
	if err := unix.Uname(&u); err != nil {
		return plan.PreemptUnknown
	}
	version := unix.ByteSliceToString(u.Version[:])
	switch {
	case strings.Contains(version, "PREEMPT_RT"):
		return plan.PreemptRT
	case strings.Contains(version, "PREEMPT_DYNAMIC"):
		model, err := ReadPreemption()
		if err != nil {
			return plan.PreemptUnknown
		}
		return model
	case strings.Contains(version, "PREEMPT_LAZY"):
		return plan.PreemptLazy
	case strings.Contains(version, "PREEMPT"):
		return plan.PreemptFull
	}
	return plan.PreemptVoluntary // or none, which is the same here
}

// ReadPreemption reads the model, where it can be chosen, from a mount of debugfs that no other process
// sees.
func ReadPreemption() (plan.Preemption, error) {
	fs, err := unix.Fsopen("debugfs", unix.FSOPEN_CLOEXEC)
	if err != nil {
		return "", fmt.Errorf("open debugfs: %w", err)
	}
	defer unix.Close(fs)
	if err := unix.FsconfigCreate(fs); err != nil {
		return "", fmt.Errorf("create debugfs: %w", err)
	}
	root, err := unix.Fsmount(fs, unix.FSMOUNT_CLOEXEC, unix.MOUNT_ATTR_NOEXEC|unix.MOUNT_ATTR_NOSUID|unix.MOUNT_ATTR_NODEV)
	if err != nil {
		return "", fmt.Errorf("mount debugfs: %w", err)
	}
	defer unix.Close(root)
	const path = "sched/preempt"
	fd, err := unix.Openat(root, path, unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return "", fmt.Errorf("debugfs: %s: %w", path, err)
	}
	f := os.NewFile(uintptr(fd), path)
	defer f.Close()
	b, err := io.ReadAll(f)
	if err != nil {
		return "", fmt.Errorf("debugfs: %s: %w", path, err)
	}
	return parse(string(b)), nil
}

// parse finds the model in brackets: "none voluntary (full)".
func parse(s string) plan.Preemption {
	_, s, _ = strings.Cut(s, "(")
	s, _, ok := strings.Cut(s, ")")
	switch p := plan.Preemption(s); p {
	case plan.PreemptNone, plan.PreemptVoluntary, plan.PreemptFull, plan.PreemptLazy:
		if ok {
			return p
		}
	}
	return plan.PreemptUnknown
}
