package starter

import (
	"errors"
	"io"
	"os"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/taskwatch/taskwatch/internal/sys"
	"github.com/taskwatch/taskwatch/internal/testutil"
)

func TestMain(m *testing.M) { testutil.Main(m) }

// start starts a command on a thread of its own and returns how it ended.
func start(t *testing.T, c *Command) (status unix.WaitStatus, err error) {
	t.Helper()
	if c.Files == nil {
		c.Files = []uintptr{0, 1, 2}
	}
	done := make(chan struct{})
	go sys.OnThread(func() {
		defer close(done)
		var pid int
		if pid, err = c.Start(); err != nil {
			return
		}
		if c.Stopped {
			if err = unix.Kill(pid, unix.SIGCONT); err != nil {
				return
			}
		}
		status, err = wait(pid, 0)
	})
	<-done
	return status, err
}

func TestStart(t *testing.T) {
	var maker int
	for _, c := range []*Command{{}, {Die: true}, {Stopped: true}, {Making: func(pid int) { maker = pid }}} {
		c.Path, c.Argv, c.Env = "/bin/sh", []string{"name", "-c", `test "$0 $1 $EMPTY-$SET" = "a b -1" && exit 7`, "a", "b"}, []string{"EMPTY=", "SET=1"}
		status, err := start(t, c)
		if err != nil || status.ExitStatus() != 7 {
			t.Errorf("%+v: it ended with status %#x, %v; want 7", c, int(status), err)
		}
	}
	if maker == 0 {
		t.Error("nobody was told what makes the command's process")
	}
}

// The process group may be sent anything while the first stage is at work: the
// command starts all the same, and has neither its signals nor its mask.
func TestStartAmongSignals(t *testing.T) {
	c := &Command{
		Path: "/bin/sh", Argv: []string{"sh", "-c", `grep -cE '^(SigBlk|ShdPnd|SigPnd):[[:space:]]0+$' /proc/self/status`},
		Making: func(pid int) {
			for sig := unix.Signal(1); sig <= 64; sig++ {
				if sig == unix.SIGKILL || sig == unix.SIGSTOP {
					continue
				}
				if err := unix.Kill(pid, sig); err != nil {
					t.Error(err)
				}
			}
		},
	}
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	c.Files = []uintptr{0, w.Fd(), 2}
	status, err := start(t, c)
	if err := errors.Join(err, w.Close()); err != nil || status != 0 {
		t.Fatalf("it ended with status %#x, %v", int(status), err)
	}
	if said, err := io.ReadAll(r); err != nil || string(said) != "3\n" {
		t.Errorf("of its mask and of what waits for it, %q are empty; want 3 (%v)", said, err)
	}
}

// What /proc/self is in a path is not the first stage.
func TestStartOfOneself(t *testing.T) {
	for _, path := range []string{"/proc/self/exe", "/proc/thread-self/exe"} {
		for _, stopped := range []bool{false, true} {
			status, err := start(t, &Command{Path: path, Argv: []string{"self", "-test.list", "^$"}, Env: os.Environ(), Stopped: stopped})
			if err != nil || !status.Exited() || status.ExitStatus() != 0 {
				t.Errorf("%s, stopped %v: it ended with status %#x, %v; want 0", path, stopped, int(status), err)
			}
		}
	}
}

func TestStartFails(t *testing.T) {
	for path, want := range map[string]syscall.Errno{
		"/no/such/file":           unix.ENOENT,
		"/etc":                    unix.EACCES,
		strings.Repeat("/", 5000): unix.ENAMETOOLONG,
	} {
		_, err := start(t, &Command{Path: path, Argv: []string{"x"}, Making: func(int) {}})
		var exec *ExecError
		if !errors.As(err, &exec) || exec.Errno != want {
			t.Errorf("%.20s: %v, want %v", path, err, want)
		}
		if len(path) > pathSize {
			continue
		}
		status, err := start(t, &Command{Path: path, Argv: []string{"x"}, Stopped: true})
		if err != nil || ExecErrno(status.ExitStatus()) != want {
			t.Errorf("%.20s, stopped: status %#x, %v; want %v", path, int(status), err, want)
		}
	}
}

// A filter holds from the command's first instruction on.
func TestStartWithFilter(t *testing.T) {
	allow := unix.SockFilter{Code: unix.BPF_RET | unix.BPF_K, K: unix.SECCOMP_RET_ALLOW}
	c := &Command{Path: "/bin/sh", Argv: []string{"sh", "-c", `read x </proc/self/status; while read k v; do test "$k $v" = "Seccomp: 2" && exit 3; done </proc/self/status`}}
	for range maxFilter {
		c.Filter = append(c.Filter, allow)
	}
	if status, err := start(t, c); err != nil || status.ExitStatus() != 3 {
		t.Errorf("it ended with status %#x, %v; want 3: it has a filter", int(status), err)
	}
	c.Filter = append(c.Filter, allow)
	if _, err := start(t, c); err == nil {
		t.Error("a filter that is too long was taken")
	}
	c.Filter = []unix.SockFilter{{Code: 0xffff}}
	if status, err := start(t, c); err != nil || status.ExitStatus() != Failed {
		t.Errorf("with a filter that the kernel rejects: status %#x, %v; want %d", int(status), err, Failed)
	}
}

// Where a machine runs nothing from memory, it is run from a file.
func TestFiles(t *testing.T) {
	o := orders{Flags: 0, Parent: uint32(os.Getpid())}
	copy(o.Path[:], "/bin/true")
	b, err := image(&o)
	if err != nil {
		t.Fatal(err)
	}
	for name, file := range map[string]func([]byte) (*os.File, error){"memory": inMemory, "directory": inDirectory} {
		t.Run(name, func(t *testing.T) {
			done := make(chan struct{})
			go sys.OnThread(func() {
				defer close(done)
				maker, err := runFile(file, b, []string{"true"}, &syscall.ProcAttr{})
				if err != nil {
					t.Error(err)
					return
				}
				pid, err := new(Command).follow(maker)
				if err != nil {
					t.Error(err)
					return
				}
				if status, err := wait(pid, 0); err != nil || status != 0 {
					t.Errorf("status %#x, %v", int(status), err)
				}
			})
			<-done
		})
	}
}
