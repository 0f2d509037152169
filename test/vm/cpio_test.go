package vm

import (
	"bytes"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/taskwatch/taskwatch/internal/testutil"
)

// TestCpio unpacks an archive with a program that nobody here wrote.
func TestCpio(t *testing.T) {
	busybox := testutil.RequireTool(t, "busybox")
	host := filepath.Join(t.TempDir(), "program")
	if err := os.WriteFile(host, []byte("#!/bin/sh\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	var archive bytes.Buffer
	c := newCpioWriter(&archive)
	for _, f := range []File{
		{Guest: "/a/b/empty"},
		{Guest: "/a/b/odd", Data: []byte("12345"), Mode: 0o600},
		{Guest: "/a/run", Host: host},
		{Guest: "/a/to", Link: "b/odd"},
		{Guest: "/tmp", Mode: fs.ModeDir | fs.ModeSticky | 0o777},
	} {
		if err := c.add(f); err != nil {
			t.Fatal(err)
		}
	}
	if err := c.close(); err != nil {
		t.Fatal(err)
	}
	if archive.Len()%4 != 0 {
		t.Errorf("the archive has %d bytes, no multiple of 4", archive.Len())
	}
	root := t.TempDir()
	cmd := exec.Command(busybox, "cpio", "-i", "-d")
	cmd.Dir, cmd.Stdin = root, &archive
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("cpio: %v: %s", err, out)
	}
	files, err := Tree(root, "/")
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, f := range files {
		st, err := os.Lstat(filepath.Join(root, f.Guest))
		if err != nil {
			t.Fatal(err)
		}
		content := f.Link
		if f.Host != "" {
			b, err := os.ReadFile(f.Host)
			if err != nil {
				t.Fatal(err)
			}
			content = string(b)
		}
		if f.Guest != "/" {
			got = append(got, st.Mode().String()+" "+f.Guest+" "+content)
		}
	}
	want := []string{
		"drwxr-xr-x /a ", "drwxr-xr-x /a/b ", "-rw-r--r-- /a/b/empty ", "-rw------- /a/b/odd 12345",
		"-rwxr-xr-x /a/run #!/bin/sh\n", "Lrwxrwxrwx /a/to b/odd", "dtrwxrwxrwx /tmp ",
	}
	if !slices.Equal(got, want) {
		t.Errorf("unpacked:\n%s\nwant:\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

func TestCpioRejectsBadPaths(t *testing.T) {
	for _, bad := range []string{"", "relative", "/a/../b", "/a/", "//a"} {
		c := newCpioWriter(new(bytes.Buffer))
		if err := c.add(File{Guest: bad}); err == nil {
			t.Errorf("path %q was accepted", bad)
		}
	}
}

func TestFindCrash(t *testing.T) {
	console := []byte("[    1.0] fine\r\n" +
		"[    2.0] WARNING: CPU: 0 PID: 1 at kernel/fork.c:1\r\n" +
		"[    3.0] BUG: kernel NULL pointer dereference, address: 0000000000000000\r\n" +
		"[    3.1] Kernel panic - not syncing: Fatal exception\r\n")
	if got, ok := findCrash(console); !ok || !strings.Contains(got, "NULL pointer") || strings.Contains(got, "\r") {
		t.Errorf("findCrash returns %q, %v", got, ok)
	}
	if got := findWarnings(console); len(got) != 2 || !strings.Contains(got[0], "fork.c:1") {
		t.Errorf("findWarnings returns %q", got)
	}
	if got, ok := findCrash(console[:70]); ok {
		t.Errorf("findCrash found %q", got)
	}
}
