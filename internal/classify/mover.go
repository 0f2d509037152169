package classify

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/taskwatch/taskwatch/internal/procfs"
)

// Mover moves processes as the module has decided. Its methods are for one
// goroutine.
type Mover struct {
	Rules Rules

	// Root is the directory of the unified hierarchy below which destinations
	// are. Groups that do not exist are made there.
	Root string

	proc procfs.Reader
}

// Add adds rules to those that there are, which an older module may still decide by,
// and returns the entries of the map of one that decides by the new ones.
func (m *Mover) Add(rules Rules) ([]byte, error) {
	entries, err := rules.entries(len(m.Rules))
	if err == nil {
		m.Rules = append(m.Rules, rules...)
	}
	return entries, err
}

// Check returns why nobody can be moved to a group below Root, which is made where it
// does not exist, or nil.
func (m *Mover) Check() error {
	if m.Root == "" {
		return errors.New("no unified hierarchy is mounted; mount one: mount -t cgroup2 none /sys/fs/cgroup")
	}
	if _, err := m.place(""); err != nil {
		return err
	}
	var st unix.Statfs_t
	if err := unix.Statfs(procfs.UnifiedMount(), &st); err == nil && st.Flags&unix.ST_RDONLY != 0 {
		return fmt.Errorf("%s is read-only here, and nobody could be moved; a unit of systemd needs ProtectControlGroups=no in a drop-in", procfs.UnifiedMount())
	}
	return nil
}

// Outcome is what became of a decision.
type Outcome struct {
	process
	Rule  *rule
	Group string // below Root
	Moved bool   // false also where it was there already, or had ended
	Err   error  // why it is not there; nil where it had ended
}

// errRecord is the error of what is no record of the module.
var errRecord = errors.New("classify: the record is none of the module classify that comes with this taskwatch")

// decisionLen is the size of struct decision of modules/classify/classify.c.
const decisionLen = 48

// Move does what a record of the module says.
func (m *Mover) Move(record []byte) (Outcome, error) {
	if len(record) < decisionLen {
		return Outcome{}, errRecord
	}
	word := func(i int) uint32 { return binary.NativeEndian.Uint32(record[4*i:]) }
	name, _, _ := bytes.Cut(record[32:48], []byte{0})
	number, start := int(word(4)), int64(binary.NativeEndian.Uint64(record[24:]))
	if number < 1 || number > len(m.Rules) {
		return Outcome{}, errRecord
	}
	o := Outcome{process: process{PID: int(word(0)), UID: word(2), GID: word(3), Name: string(name)}, Rule: m.Rules[number-1]}
	if o.Group, o.Err = o.Rule.expand(o.process); o.Err != nil {
		return o, nil
	}
	o.Moved, o.Err = m.move(o.PID, start, o.Group)
	return o, nil
}

// move moves a process that started at a time to a group, unless it is there.
func (m *Mover) move(pid int, startNS int64, group string) (moved bool, err error) {
	fd, err := unix.PidfdOpen(pid, 0)
	if err != nil {
		return false, unlessEnded(err)
	}
	defer unix.Close(fd)
	st, err := m.proc.Stat(pid, pid)
	if err != nil {
		return false, unlessEnded(err)
	}
	if st.Exiting() || !procfs.SameTick(st.StartNS, startNS) {
		return false, nil // it has ended; the pid may be that of another one
	}
	dir := filepath.Join(m.Root, group)
	want, err := m.place(group)
	if err != nil {
		return false, err
	}
	if at, err := m.proc.Unified(pid); err != nil || at == want {
		return false, unlessEnded(err)
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return false, fmt.Errorf("the group cannot be made: %w", err)
	}
	if err := write(filepath.Join(dir, "cgroup.procs"), pid); err != nil {
		if errors.Is(err, unix.ESRCH) {
			return false, nil
		}
		return false, explain(dir, err)
	}
	// The pid is still the process's if the process is there after it was moved.
	alive := unix.PidfdSendSignal(fd, 0, nil, 0)
	at, err := m.proc.Unified(pid)
	switch {
	case errors.Is(alive, unix.ESRCH) && err == nil && at == want:
		return false, fmt.Errorf("it has ended, and another process with its pid may have been moved; look at pid %d", pid)
	case errors.Is(alive, unix.ESRCH) || err != nil:
		return false, unlessEnded(err)
	case at != want:
		// The kernel moves nobody who is about to end, and says nothing.
		if st, err := m.proc.Stat(pid, pid); err != nil && procfs.Gone(err) || err == nil && st.Exiting() {
			return false, nil
		}
		return false, fmt.Errorf("it is in %s after the move; something else moves it as well", at)
	}
	return true, nil
}

func unlessEnded(err error) error {
	if procfs.Gone(err) {
		return nil
	}
	return err
}

// place returns a group's path in the hierarchy, as /proc has it.
func (m *Mover) place(group string) (string, error) {
	mount := procfs.UnifiedMount()
	if rest, ok := strings.CutPrefix(filepath.Clean(m.Root)+"/", filepath.Clean(mount)+"/"); ok && mount != "" {
		return filepath.Join("/", rest, group), nil
	}
	return "", fmt.Errorf("%s is not in the unified hierarchy (cgroup v2); give a directory below its mount point", m.Root)
}

// write writes a pid into a file of a group, in one piece.
func write(file string, pid int) error {
	f, err := os.OpenFile(file, os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	defer f.Close()
	_, err = f.WriteString(strconv.Itoa(pid))
	return err
}

// explain says why a group takes no process.
func explain(dir string, err error) error {
	switch {
	case errors.Is(err, unix.EBUSY):
		on, _ := os.ReadFile(filepath.Join(dir, "cgroup.subtree_control"))
		return fmt.Errorf("%w: it gives controllers (%s) to groups below it, and may hold no process itself; give a group below it", err, strings.TrimSpace(string(on)))
	case errors.Is(err, unix.EOPNOTSUPP):
		return fmt.Errorf("%w: it is a threaded group, or below one; give another one", err)
	case errors.Is(err, unix.EAGAIN):
		return fmt.Errorf("%w: a limit of processes in it is reached (pids.max), or the CPU cannot be had", err)
	case errors.Is(err, fs.ErrPermission):
		return fmt.Errorf("%w: the group may belong to a manager that has delegated it", err)
	}
	return err
}
