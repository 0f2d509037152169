package testutil

import (
	"bufio"
	"io"
	"os/exec"
	"testing"
)

// Held is a process that waits for the test to release it.
type Held struct {
	*exec.Cmd
	In  io.WriteCloser
	Out *bufio.Reader
}

// Shell is a command for [Hold]: a shell that does what is written to its
// input.
func Shell() *exec.Cmd { return exec.Command("sh", "-c", "echo up; . /dev/stdin") }

// Hold starts a command that says in one write that it is ready, and goes on
// when its input ends. It returns what the command has said. A command that is
// still there at the end of the test is killed.
func Hold(t testing.TB, cmd *exec.Cmd) (held *Held, said string) {
	t.Helper()
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	pipe, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if cmd.ProcessState == nil {
			_ = cmd.Process.Kill()
			_ = cmd.Wait()
		}
	})
	out := bufio.NewReader(pipe)
	if _, err := out.Peek(1); err != nil {
		t.Fatalf("%s has said nothing: %v", cmd, err)
	}
	b, _ := out.Peek(out.Buffered())
	said = string(b)
	_, _ = out.Discard(len(b)) // which is there
	return &Held{cmd, in, out}, said
}

// Release lets the process go and waits for its end, which must be a good one.
func (h *Held) Release(t testing.TB) {
	t.Helper()
	if err := h.In.Close(); err != nil {
		t.Fatal(err)
	}
	if err := h.Wait(); err != nil {
		t.Fatalf("%s: %v", h, err)
	}
}
