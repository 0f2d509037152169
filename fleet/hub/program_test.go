package hub

import (
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/taskwatch/taskwatch/internal/testutil"
)

// program is a hub that is a process of its own.
type program struct {
	*running
	path, listen string
	cmd          *exec.Cmd
}

// startProgram builds the hub, and runs it until the test ends.
func startProgram(t testing.TB) *program {
	t.Helper()
	p := &program{path: buildHub(t), listen: freeAddress(t)}
	p.running = &running{dir: filepath.Join(t.TempDir(), "hub"), address: "tls://" + p.listen}
	p.start(t)
	t.Cleanup(func() {
		if err := p.cmd.Process.Signal(syscall.SIGTERM); err != nil {
			t.Error(err)
		}
		if err := p.cmd.Wait(); err != nil {
			t.Errorf("the hub: %v\n%s", err, p.log.String())
		}
	})
	return p
}

// start runs the program, and waits until it listens.
func (p *program) start(t testing.TB) {
	t.Helper()
	p.cmd = exec.Command(p.path, "--dir", p.dir, "--listen", p.listen)
	p.cmd.Stderr = &p.log
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the hub listens", func() bool {
		c, err := net.Dial("tcp", p.listen)
		if err == nil {
			_ = c.Close()
		}
		return err == nil
	})
}

// crash ends the program without a warning.
func (p *program) crash(t testing.TB) {
	t.Helper()
	if err := p.cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = p.cmd.Wait() // it was killed
}

// buildHub builds the hub with some flags, and returns its path.
func buildHub(t testing.TB, flags ...string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "taskwatch-hub")
	args := append(append([]string{"build", "-o", path}, flags...), "./cmd/taskwatch-hub")
	if out, err := exec.Command("go", args...).CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	return path
}

// buildTaskwatch builds taskwatch for a processor, and returns its path. It has what
// messages of a crash need, and nothing for debuggers.
func buildTaskwatch(t testing.TB, arch string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "taskwatch")
	build := exec.Command("go", "build", "-ldflags=-w", "-o", path, "./cmd/taskwatch")
	build.Dir, build.Env = "../..", append(os.Environ(), "CGO_ENABLED=0", "GOARCH="+arch)
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	return path
}

// operate returns a command of an operator whose configuration is in dir.
func operate(dir, name string, args ...string) *exec.Cmd {
	c := exec.Command(name, args...)
	c.Dir = dir
	c.Env = append(os.Environ(), "XDG_CONFIG_HOME="+dir, "XDG_RUNTIME_DIR="+dir)
	return c
}

// startDaemon starts taskwatch serve as operate does, which ends with the test, and
// returns what it says.
func startDaemon(t testing.TB, dir, program string, args ...string) *testutil.Log {
	t.Helper()
	said := new(testutil.Log)
	serve := operate(dir, program, append([]string{"serve"}, args...)...)
	serve.Stderr = said
	if err := serve.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = serve.Process.Signal(os.Interrupt)
		if err := serve.Wait(); err != nil || t.Failed() {
			t.Errorf("the daemon: %v\n%s", err, said.String())
		}
	})
	return said
}

// command runs a program, and returns what it prints.
func command(t testing.TB, dir, name string, args ...string) string {
	t.Helper()
	out, err := operate(dir, name, args...).CombinedOutput()
	if err != nil {
		t.Fatalf("%s %q: %v\n%s", name, args, err, out)
	}
	return string(out)
}

// freeAddress returns an address at which nobody listens.
func freeAddress(t testing.TB) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}
