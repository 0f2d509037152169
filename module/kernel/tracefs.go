package kernel

import (
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"

	"github.com/cilium/ebpf"
	"golang.org/x/sys/unix"
)

// tracefs is a mount of the kernel's tracing files that no other process
// sees: nothing has to be mounted beforehand, and nothing stays mounted.
type tracefs struct{ root int }

// openTracefs needs CAP_SYS_ADMIN and Linux 5.2.
func openTracefs() (*tracefs, error) {
	fs, err := unix.Fsopen("tracefs", unix.FSOPEN_CLOEXEC)
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
	return &tracefs{root}, nil
}

func (t *tracefs) Close() error { return unix.Close(t.root) }

// id returns the number by which perf_event_open knows a tracepoint.
func (t *tracefs) id(group, name string) (uint64, error) {
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

// perfEvent is an open tracepoint with a program on it, on all CPUs.
type perfEvent int

func (p perfEvent) Close() error { return unix.Close(int(p)) }

// attach runs prog at a tracepoint until the result is closed.
func (t *tracefs) attach(group, name string, prog *ebpf.Program) (perfEvent, error) {
	id, err := t.id(group, name)
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
	return perfEvent(fd), nil
}
