package kernel

import (
	"fmt"
	"io"
	"os"
	"strings"

	"golang.org/x/sys/unix"
)

// Preemption is the kernel's preemption model: whether a task that runs in the
// kernel, for instance in a BPF program, can be made to wait for another one.
type Preemption string

const (
	PreemptNone      Preemption = "none"
	PreemptVoluntary Preemption = "voluntary"
	PreemptFull      Preemption = "full"
	PreemptLazy      Preemption = "lazy" // as full, less often
	PreemptRT        Preemption = "rt"
	PreemptUnknown   Preemption = "" // not to be found out; it may be any
)

// probePreemption finds out the model. Where it can be chosen, at boot and
// later, the kernel says it in debugfs; else it stands in its version.
func probePreemption() Preemption {
	var u unix.Utsname
	if err := unix.Uname(&u); err != nil {
		return PreemptUnknown
	}
	version := unix.ByteSliceToString(u.Version[:])
	switch {
	case strings.Contains(version, "PREEMPT_RT"):
		return PreemptRT
	case strings.Contains(version, "PREEMPT_DYNAMIC"):
		model, err := readPreemption()
		if err != nil {
			return PreemptUnknown
		}
		return model
	case strings.Contains(version, "PREEMPT_LAZY"):
		return PreemptLazy
	case strings.Contains(version, "PREEMPT"):
		return PreemptFull
	}
	return PreemptVoluntary // or none, which is the same here
}

// readPreemption reads the model from a mount of debugfs that no other process
// sees.
func readPreemption() (Preemption, error) {
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
	return parsePreemption(string(b)), nil
}

// parsePreemption finds the model in brackets: "none voluntary (full)".
func parsePreemption(s string) Preemption {
	_, s, _ = strings.Cut(s, "(")
	s, _, ok := strings.Cut(s, ")")
	switch p := Preemption(s); p {
	case PreemptNone, PreemptVoluntary, PreemptFull, PreemptLazy:
		if ok {
			return p
		}
	}
	return PreemptUnknown
}
