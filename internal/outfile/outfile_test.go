package outfile

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

func content(t *testing.T, name string) string {
	t.Helper()
	b, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func write(t *testing.T, w io.Writer, text string) {
	t.Helper()
	if _, err := io.WriteString(w, text); err != nil {
		t.Fatal(err)
	}
}

// One writer at a time: another one is told the first one's pid, and does the
// file no harm.
func TestOneWriter(t *testing.T) {
	name := filepath.Join(t.TempDir(), "out")
	f, err := Open(name, false)
	if err != nil {
		t.Fatal(err)
	}
	write(t, f, "one\n")
	var locked *LockedError
	for _, keep := range []bool{false, true} {
		if _, err := Open(name, keep); !errors.As(err, &locked) || locked.PID != os.Getpid() {
			t.Errorf("a second one, keep %t: %v", keep, err)
		}
	}
	if got := content(t, name); got != "one\n" {
		t.Errorf("after those it is %q", got)
	}
	if err := os.Truncate(name, 0); err != nil { // as logrotate's copytruncate does
		t.Fatal(err)
	}
	write(t, f, "two\n")
	if got := content(t, name); got != "two\n" {
		t.Errorf("cut by somebody else and written to it is %q", got)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		keep bool
		want string
	}{{true, "two\nthree"}, {true, "two\nthree\nthree"}, {false, "three"}} {
		f, err := Open(name, c.keep)
		if err != nil {
			t.Fatal(err)
		}
		write(t, f, "three")
		if got := content(t, name); got != c.want {
			t.Errorf("opened again, keep %t: %q, want %q", c.keep, got, c.want)
		}
		if err := f.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

// The lock is that of another process too, and ends with it.
func TestLockOfAnotherProcess(t *testing.T) {
	flock, err := exec.LookPath("flock")
	if err != nil {
		t.Fatal(err) // util-linux is everywhere
	}
	name := filepath.Join(t.TempDir(), "out")
	cmd := exec.Command(flock, "--no-fork", name, "sh", "-c", "echo locked; read wait")
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
	if line, err := bufio.NewReader(out).ReadString('\n'); err != nil {
		t.Fatal(line, err)
	}
	var locked *LockedError
	if _, err := Open(name, false); !errors.As(err, &locked) || locked.PID != cmd.Process.Pid {
		t.Errorf("while process %d has it: %v", cmd.Process.Pid, err)
	}
	_ = in.Close()
	_ = cmd.Wait()
	f, err := Open(name, false)
	if err != nil {
		t.Fatal(err)
	}
	_ = f.Close()
}

// What is no regular file is not locked.
func TestNoRegularFile(t *testing.T) {
	for range 2 {
		f, err := Open(os.DevNull, false)
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
	}
	d, err := Create(os.DevNull)
	if err != nil {
		t.Fatal(err)
	}
	write(t, d, "x")
	if err := d.Commit(); err != nil {
		t.Error(err)
	}
}

// A document is there as a whole or not at all.
func TestDocument(t *testing.T) {
	dir := t.TempDir()
	name, link := filepath.Join(dir, "doc"), filepath.Join(dir, "link")
	if err := os.WriteFile(name, []byte("old"), 0o640); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink("doc", link); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name   string
		commit bool
		want   string
	}{{name, false, "old"}, {name, true, "new"}, {link, true, "new"}} {
		if err := os.WriteFile(name, []byte("old"), 0o640); err != nil {
			t.Fatal(err)
		}
		d, err := Create(c.name)
		if err != nil {
			t.Fatal(err)
		}
		write(t, d, "new")
		if got := content(t, name); got != "old" {
			t.Errorf("before its end %s is %q", c.name, got)
		}
		if c.commit {
			err = d.Commit()
		} else {
			err = d.Abort()
		}
		if got := content(t, name); err != nil || got != c.want {
			t.Errorf("%s, committed %t: %q, %v", c.name, c.commit, got, err)
		}
		if err := d.Abort(); err != nil {
			t.Errorf("behind its end: %v", err)
		}
	}
	if st, err := os.Lstat(link); err != nil || st.Mode()&os.ModeSymlink == 0 {
		t.Errorf("the link is no link any more: %v", err)
	}
	if st, err := os.Stat(name); err != nil || st.Mode().Perm() != 0o640 {
		t.Errorf("its mode: %v, %v", st.Mode(), err)
	}
	fresh := filepath.Join(dir, "fresh")
	d, err := Create(fresh)
	if err != nil {
		t.Fatal(err)
	}
	if err := d.Commit(); err != nil {
		t.Fatal(err)
	}
	list, err := os.ReadDir(dir)
	var names []string
	for _, e := range list {
		names = append(names, e.Name())
	}
	if got := strings.Join(names, " "); err != nil || got != "doc fresh link" {
		t.Errorf("the directory holds %s", got)
	}
	if _, err := Create(filepath.Join(dir, "none", "doc")); err == nil {
		t.Error("a directory that does not exist")
	}
}

// What a process with the same pid has left when it was killed, as each in a container
// has, is in nobody's way.
func TestDocumentBesideLeftovers(t *testing.T) {
	dir := t.TempDir()
	name := filepath.Join(dir, "doc")
	for i := range 3 {
		if err := os.WriteFile(filepath.Join(dir, fmt.Sprintf(".doc.%d.%d", os.Getpid(), i)), []byte("half"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	d, err := Create(name)
	if err != nil {
		t.Fatal(err)
	}
	write(t, d, "whole")
	if err := d.Commit(); err != nil {
		t.Fatal(err)
	}
	if got := content(t, name); got != "whole" {
		t.Errorf("the document is %q", got)
	}
	if list, err := os.ReadDir(dir); err != nil || len(list) != 4 {
		t.Errorf("the directory holds %v, %v", list, err)
	}
}
