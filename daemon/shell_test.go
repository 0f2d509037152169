package daemon

import (
	"bufio"
	"io"
	"os/exec"
	"testing"
)

// shell is a shell that does what it is told.
type shell struct {
	cmd *exec.Cmd
	in  io.WriteCloser
}

// newShell starts one, and returns when its own exec is over.
func newShell(t testing.TB) *shell {
	t.Helper()
	s := &shell{cmd: exec.Command("sh")}
	var err error
	if s.in, err = s.cmd.StdinPipe(); err != nil {
		t.Fatal(err)
	}
	out, err := s.cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := s.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	s.say(t, "echo up")
	if line, err := bufio.NewReader(out).ReadString('\n'); line != "up\n" {
		t.Fatalf("the shell says %q, %v", line, err)
	}
	t.Cleanup(func() {
		if s.cmd.ProcessState == nil {
			s.cmd.Process.Kill()
			s.cmd.Wait()
		}
	})
	return s
}

func (s *shell) pid() int { return s.cmd.Process.Pid }

func (s *shell) say(t testing.TB, line string) {
	t.Helper()
	if _, err := io.WriteString(s.in, line+"\n"); err != nil {
		t.Fatal(err)
	}
}

// end has it end once everything that it was told is done.
func (s *shell) end(t testing.TB) {
	t.Helper()
	s.say(t, "wait")
	s.in.Close()
	if err := s.cmd.Wait(); err != nil {
		t.Fatal(err)
	}
}
