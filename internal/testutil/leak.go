package testutil

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// markName is the environment variable by which descendants are known.
const markName = "TASKWATCH_TEST_RUN"

// Mark is the entry that the environment of a test's descendant needs to be
// found when it is left behind. Programs that inherit the environment of the
// test have it already.
func Mark() string { return markName + "=" + os.Getenv(markName) }

// baseline is what the process had before the tests ran.
type baseline struct {
	fds        map[string]bool // "number target"
	goroutines map[string]bool // ids
}

func takeBaseline() (*baseline, error) {
	// The run time opens its poller's descriptors when the first pollable
	// file comes along, and keeps them. Have it do so now.
	r, w, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	r.Close()
	w.Close()
	if err := os.Setenv(markName, fmt.Sprintf("%d.%d", os.Getpid(), time.Now().UnixNano())); err != nil {
		return nil, err
	}
	b := &baseline{fds: map[string]bool{}, goroutines: map[string]bool{}}
	fds, err := openFDs()
	if err != nil {
		return nil, err
	}
	for _, fd := range fds {
		b.fds[fd] = true
	}
	for id := range goroutines() {
		b.goroutines[id] = true
	}
	return b, nil
}

// leaks describes everything that was not there in the baseline.
func (b *baseline) leaks() ([]string, error) {
	var list []string
	fds, err := openFDs()
	if err != nil {
		return nil, err
	}
	for _, fd := range fds {
		if !b.fds[fd] {
			list = append(list, "file descriptor "+fd)
		}
	}
	procs, err := relatives()
	if err != nil {
		return nil, err
	}
	list = append(list, procs...)
	for id, stack := range goroutines() {
		if !b.goroutines[id] {
			list = append(list, stack)
		}
	}
	return list, nil
}

// openFDs lists the open file descriptors as "number target".
func openFDs() ([]string, error) {
	dir, err := os.Open("/proc/self/fd")
	if err != nil {
		return nil, err
	}
	defer dir.Close()
	names, err := dir.Readdirnames(-1)
	if err != nil {
		return nil, err
	}
	own := strconv.Itoa(int(dir.Fd()))
	var list []string
	for _, name := range names {
		if name == own {
			continue
		}
		target, err := os.Readlink("/proc/self/fd/" + name)
		if errors.Is(err, fs.ErrNotExist) {
			continue // closed meanwhile
		} else if err != nil {
			return nil, err
		}
		list = append(list, name+" "+strings.TrimSuffix(target, " (deleted)"))
	}
	return list, nil
}

// goroutines returns the stacks of all goroutines but the calling one, by id.
func goroutines() map[string]string {
	buf := make([]byte, 64<<10)
	for {
		n := runtime.Stack(buf, true)
		if n < len(buf) {
			buf = buf[:n]
			break
		}
		buf = make([]byte, 2*len(buf))
	}
	_, others, _ := bytes.Cut(buf, []byte("\n\n")) // the first is the caller's
	stacks := map[string]string{}
	for stack := range strings.SplitSeq(string(others), "\n\n") {
		rest, ok := strings.CutPrefix(stack, "goroutine ")
		if !ok {
			continue
		}
		if strings.Contains(stack, "\nos/signal.loop(") {
			continue // started by the first signal.Notify, and never ends
		}
		id, _, _ := strings.Cut(rest, " ")
		stacks[id] = strings.TrimRight(stack, "\n")
	}
	return stacks
}

// relatives lists our children, zombies too, our tracees, and every process
// with our mark in its environment.
func relatives() ([]string, error) {
	stats, err := filepath.Glob("/proc/[0-9]*/status")
	if err != nil {
		return nil, err
	}
	self := os.Getpid()
	var list []string
	for _, path := range stats {
		pid, err := strconv.Atoi(filepath.Base(filepath.Dir(path)))
		if err != nil || pid == self {
			continue
		}
		status, err := os.ReadFile(path)
		if err != nil {
			continue // gone meanwhile
		}
		why := relation(pid, statusField(status, "PPid"), statusField(status, "TracerPid"))
		if why == "" {
			continue
		}
		cmdline, _ := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", pid))
		list = append(list, fmt.Sprintf("%s %d (%s, state %s): %s", why, pid,
			statusField(status, "Name"), statusField(status, "State"),
			strings.TrimSpace(string(bytes.ReplaceAll(cmdline, []byte{0}, []byte{' '})))))
	}
	if len(list) == 0 {
		// The wait system calls also know of traced threads.
		err := unix.Waitid(unix.P_ALL, 0, nil, unix.WEXITED|unix.WSTOPPED|unix.WNOHANG|unix.WNOWAIT|unix.WALL, nil)
		if err == nil {
			list = append(list, "a child or tracee that only waitid knows of")
		} else if err != unix.ECHILD {
			return nil, fmt.Errorf("waitid: %w", err)
		}
	}
	return list, nil
}

// relation says what process pid is to us, or "" for a stranger.
func relation(pid int, ppid, tracer string) string {
	if ppid == strconv.Itoa(os.Getpid()) {
		return "child"
	}
	if tracer != "0" {
		if _, err := os.Stat("/proc/self/task/" + tracer); err == nil {
			return "tracee"
		}
	}
	env, err := os.ReadFile(fmt.Sprintf("/proc/%d/environ", pid))
	if err == nil && bytes.Contains(append([]byte{0}, env...), []byte("\x00"+Mark()+"\x00")) {
		return "descendant"
	}
	return ""
}

// statusField returns one field of a /proc/PID/status.
func statusField(status []byte, name string) string {
	_, rest, _ := bytes.Cut(append([]byte("\n"), status...), []byte("\n"+name+":"))
	value, _, _ := bytes.Cut(rest, []byte("\n"))
	return strings.TrimSpace(string(value))
}
