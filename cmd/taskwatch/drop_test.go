package main

import (
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// With --drop nobody waits for a reader of the events, also where they go to
// standard error.
func TestRunDropsWithoutAFile(t *testing.T) {
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	size, err := unix.FcntlInt(w.Fd(), unix.F_SETPIPE_SZ, 4096)
	if err != nil {
		t.Fatal(err)
	}
	const programs = 100 // more than there is room for, at 60 bytes each
	if programs*60 <= size {
		t.Fatalf("%d lines fit into a pipe of %d bytes", programs, size)
	}
	done := filepath.Join(t.TempDir(), "done")
	script := fmt.Sprintf(`i=0; while [ $i -lt %d ]; do /bin/true; i=$((i+1)); done; : >"$0"`, programs)
	c := cmd(t, "run", "--source", "ptrace", "--drop", "--", "sh", "-c", script, done)
	c.Stderr = w
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	w.Close()
	for end := time.Now().Add(patient); ; time.Sleep(10 * time.Millisecond) {
		if _, err := os.Stat(done); err == nil {
			break
		}
		if time.Now().After(end) {
			t.Error("the command is held up by a reader that does not read")
			break
		}
	}
	out, err := io.ReadAll(r)
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Wait(); err != nil {
		t.Error(err)
	}
	// Each begins and ends.
	if n := strings.Count(string(out), "/bin/true\n"); n != 2*programs && !strings.Contains(string(out), "lost") {
		t.Errorf("%d of %d lines are there and none are told as lost", n, 2*programs)
	}
}
