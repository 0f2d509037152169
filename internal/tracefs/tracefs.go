// Package tracefs reaches the kernel's tracepoints where no tracefs is mounted.
package tracefs

import (
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"

	"github.com/cilium/ebpf"
	"golang.org/x/sys/unix"
)

// FS is a mount of the kernel's tracing files that no other process
// sees: nothing has to be mounted beforehand, and nothing stays mounted.
type FS struct{ root int }

// Open needs CAP_SYS_ADMIN and Linux 5.2, or a tracefs that is mounted in its
// usual place, as a container without that capability may have. Close the result;
// what was attached by it stays.
func Open() (*FS, error) {
	fs, err := unix.Fsopen("tracefs", unix.FSOPEN_CLOEXEC)
	if errors.Is(err, unix.EPERM) {
		if t := mounted("/sys/kernel/tracing"); t != nil {
			return t, nil
		}
	}
	if err != nil {
		return nil, fmt.Errorf("open tracefs: %w", err)
	}
	defer unix.Close(fs)
	if err := unix.FsconfigCreate(fs); err != nil {
		return nil, fmt.Errorf("create tracefs: %w", err)
	}
	root, err := unix.Fsmount(fs, unix.FSMOUNT_CLOEXEC, unix.MOUNT_ATTR_NOEXEC|unix.MOUNT_ATTR_NOSUID|unix.MOUNT_ATTR_NODEV)
	if err != nil {
		return nil, fmt.Errorf("mount tracefs: %w", err)
	}
	return &FS{root}, nil
}

// mounted returns the tracefs at dir; nil if there is none.
func mounted(dir string) *FS {
	root, err := unix.Open(dir, unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil
	}
	var st unix.Statfs_t
	if unix.Fstatfs(root, &st) != nil || st.Type != unix.TRACEFS_MAGIC {
		unix.Close(root)
		return nil
	}
	return &FS{root}
}

// Close gives the mount back.
func (t *FS) Close() error { return unix.Close(t.root) }

// ID returns the number by which perf_event_open knows a tracepoint.
func (t *FS) ID(group, name string) (uint64, error) {
	path := "events/" + group + "/" + name + "/id"
	fd, err := unix.Openat(t.root, path, unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return 0, fmt.Errorf("tracepoint %s:%s: %w", group, name, err)
	}
	f := os.NewFile(uintptr(fd), path)
	defer f.Close()
	b, err := io.ReadAll(f)
	if err != nil {
		return 0, fmt.Errorf("tracepoint %s:%s: %w", group, name, err)
	}
	return strconv.ParseUint(strings.TrimSpace(string(b)), 10, 64)
}

// Event is an open tracepoint with a program on it, on all CPUs.
type Event int

// Close detaches the program. It may take tens of milliseconds, most of them
// spent waiting.
func (p Event) Close() error { return unix.Close(int(p)) }

// Attach runs prog at a tracepoint until the result is closed.
func (t *FS) Attach(group, name string, prog *ebpf.Program) (Event, error) {
	id, err := t.ID(group, name)
	if err != nil {
		return -1, err
	}
	// The program runs on every CPU, whichever one the event is opened on.
	fd, err := unix.PerfEventOpen(&unix.PerfEventAttr{
		Type: unix.PERF_TYPE_TRACEPOINT, Config: id, Sample_type: unix.PERF_SAMPLE_RAW, Sample: 1, Wakeup: 1,
	}, -1, 0, -1, unix.PERF_FLAG_FD_CLOEXEC)
	if err != nil {
		return -1, fmt.Errorf("tracepoint %s:%s: perf_event_open: %w", group, name, err)
	}
	if err = unix.IoctlSetInt(fd, unix.PERF_EVENT_IOC_SET_BPF, prog.FD()); err == nil {
		err = unix.IoctlSetInt(fd, unix.PERF_EVENT_IOC_ENABLE, 0)
	}
	if err != nil {
		unix.Close(fd)
		return -1, fmt.Errorf("tracepoint %s:%s: attach the program: %w", group, name, err)
	}
	return Event(fd), nil
}
