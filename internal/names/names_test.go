package names

import (
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"
)

func TestNames(t *testing.T) {
	path := filepath.Join(t.TempDir(), "passwd")
	write := func(text string) {
		t.Helper()
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write("# a comment:x:9:\nroot:x:0:0:root:/:/bin/sh\nbad line\nx:y\ntoor:x:0:\nwww-data:x:33:33::/:/x\nlong:x:4294967296:\n:x:7:\n")
	f := &file{path: path}
	for id, want := range map[uint32]string{0: "root", 33: "www-data", 9: "9", 7: "7", 1000: "1000"} {
		if got := f.Of(id); got != want {
			t.Errorf("%d is %q, want %q", id, got, want)
		}
	}
	write("other:x:0:0:and a different length\n")
	f.looked = time.Now().Add(-2 * fresh)
	if got := f.Of(0); got != "other" {
		t.Errorf("after a change 0 is %q", got)
	}
}

// What may make a reader wait, or has no end, is no file of names.
func TestNoFile(t *testing.T) {
	fifo := filepath.Join(t.TempDir(), "fifo")
	if err := syscall.Mkfifo(fifo, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{fifo, "/dev/zero", t.TempDir(), "/nowhere"} {
		if got := (&file{path: path}).Of(5); got != "5" {
			t.Errorf("%s: %q", path, got)
		}
	}
}

func TestHost(t *testing.T) {
	if got := Host.User.Of(0); got != "root" {
		t.Errorf("user 0 is %q", got)
	}
}
