package doctor

import (
	"fmt"
	"os"
	"runtime"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/taskwatch/taskwatch"
	"github.com/taskwatch/taskwatch/internal/procfs"
)

// The harmless child of doctor does what events tell of, and writes a line for
// everything that may be denied: the event, and the error number or 0. It
// begins when its standard input has anything, or ends. The stages are those
// of one process, but for the last.
const (
	childStart = "start" // forks, and runs itself
	childIDs   = "ids"   // changes its ids
	childEnd   = "end"   // the forked process: does nothing
)

// otherID returns an id to change to.
func otherID(own int) uintptr {
	const nobody = 65534
	if own == nobody {
		return nobody - 1
	}
	return nobody
}

// ChildCommand is the first argument with which the program runs itself as a
// child; the second is the stage.
const ChildCommand = "doctor-child"

// Child is what the program does when it is run as a child.
func Child(stage string) {
	runtime.LockOSThread() // ids are changed for one thread only
	switch stage {
	case childStart:
		_, _ = os.Stdin.Read(make([]byte, 1)) // whatever comes of it
		did(taskwatch.Init, fork())
		did(taskwatch.Exec, syscall.Exec(self, childArgv(childIDs), os.Environ()))
		changeIDs()
	case childIDs:
		did(taskwatch.Exec, nil)
		changeIDs()
	}
}

const self = procfs.Self

func childArgv(stage string) []string { return []string{"taskwatch", ChildCommand, stage} }

func fork() error {
	pid, err := syscall.ForkExec(self, childArgv(childEnd), &syscall.ProcAttr{Env: os.Environ(), Files: []uintptr{0, 1, 2}})
	if err != nil {
		return err
	}
	_, err = syscall.Wait4(pid, nil, 0, nil)
	return err
}

func changeIDs() {
	id := otherID(os.Getgid())
	_, _, gid := unix.RawSyscall(unix.SYS_SETRESGID, id, id, id)
	did(taskwatch.GID, gid)
	id = otherID(os.Getuid())
	_, _, uid := unix.RawSyscall(unix.SYS_SETRESUID, id, id, id)
	did(taskwatch.UID, uid)
}

func did(k taskwatch.Kind, err error) {
	errno, _ := err.(syscall.Errno)
	fmt.Println(k, int(errno))
}

// deeds is what the child has done: the error number by event.
type deeds map[taskwatch.Kind]syscall.Errno

func parseDeeds(text string) (deeds, error) {
	d := deeds{}
	for line := range strings.Lines(text) {
		var name string
		var errno int
		if _, err := fmt.Sscan(line, &name, &errno); err != nil {
			return nil, fmt.Errorf("the child of doctor wrote %q", line)
		}
		k, err := taskwatch.ParseKind(name)
		if err != nil {
			return nil, fmt.Errorf("the child of doctor wrote %q", line)
		}
		d[k] = syscall.Errno(errno)
	}
	for _, k := range []taskwatch.Kind{taskwatch.Init, taskwatch.Exec, taskwatch.UID, taskwatch.GID} {
		if _, ok := d[k]; !ok {
			return nil, fmt.Errorf("the child of doctor ended early: it wrote %q", text)
		}
	}
	return d, nil
}
