package watchtest

import (
	"bufio"
	"bytes"
	"context"
	_ "embed"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/taskwatch/taskwatch/internal/testutil"
)

//go:embed testdata/storm.c
var stormSource []byte

// Elsewhere is the exit status of a storm's program that is not in its group.
const Elsewhere = 7

// Storm runs one program many times at once, which looks in which control group it is.
type Storm struct {
	Program string // its argument is the path of the group that it should be in

	self string // the same under a name that no rule is about
}

// NewStorm returns one whose program has a name.
func NewStorm(t testing.TB, name string) *Storm {
	t.Helper()
	dir := t.TempDir()
	source := filepath.Join(dir, "storm.c")
	if err := os.WriteFile(source, stormSource, 0o644); err != nil {
		t.Fatal(err)
	}
	s := &Storm{Program: filepath.Join(dir, name), self: testutil.BuildC(t, "-static", source)}
	b, err := os.ReadFile(s.self)
	if err = errors.Join(err, os.WriteFile(s.Program, b, 0o755)); err != nil {
		t.Fatal(err)
	}
	return s
}

// Rage runs the program count times, and returns how often it was outside of the
// group. half is called in the middle. It fails unless all of them end: one that is
// stopped does not.
func (s *Storm) Rage(t testing.TB, group string, count int, half func()) (elsewhere int) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute) // bounds a failure
	defer cancel()
	cmd := exec.CommandContext(ctx, s.self, fmt.Sprint(count), "16", s.Program, group)
	cmd.SysProcAttr = &unix.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return unix.Kill(-cmd.Process.Pid, unix.SIGKILL) } // those that are stopped as well
	var said bytes.Buffer
	cmd.Stderr = &said
	pipe, err := cmd.StdoutPipe()
	if err == nil {
		err = cmd.Start()
	}
	if err != nil {
		t.Fatal(err)
	}
	out := bufio.NewReader(pipe)
	first, err := out.ReadString('\n')
	if first == "half\n" {
		half()
	}
	last, lastErr := out.ReadString('\n')
	if err := errors.Join(err, lastErr, cmd.Wait()); err != nil {
		t.Fatalf("not all have ended: %v\n%s", err, &said)
	}
	all := 0
	if n, err := fmt.Sscanf(last, "%d of %d elsewhere\n", &elsewhere, &all); n != 2 || all != count {
		t.Fatalf("the storm says %q, then %q: %v", first, last, err)
	}
	return elsewhere
}
