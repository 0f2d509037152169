package testutil

import (
	"io"
	"os/exec"
	"testing"
)

// Held is a process that waits for the test to release it.
type Held struct {
	*exec.Cmd
	in io.Closer
}

// Hold starts a command that says in one write that it is ready, and goes on
// when its input ends. It returns what the command has said. A command that is
// still there at the end of the test is killed.
func Hold(t testing.TB, cmd *exec.Cmd) (held *Held, said string) {
	t.Helper()
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
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
	b := make([]byte, 4096)
	n, err := out.Read(b)
	if err != nil {
		t.Fatalf("%s has said nothing: %v", cmd, err)
	}
	return &Held{cmd, in}, string(b[:n])
}

// Release lets the process go and waits for its end, which must be a good one.
func (h *Held) Release(t testing.TB) {
	t.Helper()
	if err := h.in.Close(); err != nil {
		t.Fatal(err)
	}
	if err := h.Wait(); err != nil {
		t.Fatalf("%s: %v", h, err)
	}
}
