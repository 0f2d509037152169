package enrich

import (
	"errors"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/taskwatch/taskwatch/internal/procfs"
)

func TestParseUsers(t *testing.T) {
	const passwd = "root:x:0:0::/:/bin/sh\n# a: b:1:\n\nweb:x:33:33::/:\nother:x:33:33::/:\nbad:x:y:0\nfar:x:70000:0::/:\nshort:x\n+nis:x:5:5::\nhuge:x:4294967295:0::/:\n"
	for _, c := range []struct {
		ids  string
		want map[uint32]string
	}{
		{"         0          0 4294967295\n", map[uint32]string{0: "root", 33: "web", 70000: "far"}},
		{"0 100000 65536\n", map[uint32]string{100000: "root", 100033: "web"}},
		{"0 1000 1\n1 100000 40\n", map[uint32]string{1000: "root", 100032: "web"}},
		{"0 4294967290 100\n", map[uint32]string{4294967290: "root"}},
		{"", map[uint32]string{}},
		{"x y z\n", map[uint32]string{}},
	} {
		if got := parseUsers(passwd, procfs.ParseIDMap([]byte(c.ids))); !reflect.DeepEqual(got, c.want) {
			t.Errorf("with the map %q: %v, want %v", c.ids, got, c.want)
		}
	}
}

// What a container puts into its /etc does not lead out of its root, and holds
// up nobody.
func TestUsersStayInsideTheRoot(t *testing.T) {
	outside := filepath.Join(t.TempDir(), "secret")
	if err := os.WriteFile(outside, []byte("out:x:0:0\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	write := func(text string) func(path string) error {
		return func(path string) error { return os.WriteFile(path, []byte(text), 0o644) }
	}
	for name, c := range map[string]struct {
		make func(path string) error
		want string // "" for an error
	}{
		"a file":               {write("in:x:0:0\n"), "in:x:0:0\n"},
		"a link out":           {func(p string) error { return os.Symlink(outside, p) }, ""},
		"a link inside":        {func(p string) error { return os.Symlink("group", p) }, ""},
		"a fifo":               {func(p string) error { return unix.Mkfifo(p, 0o644) }, ""},
		"a directory":          {func(p string) error { return os.Mkdir(p, 0o755) }, ""},
		"nothing":              {func(string) error { return nil }, ""},
		"as long as it may be": {write(strings.Repeat("#", maxPasswd)), strings.Repeat("#", maxPasswd)},
		"too long":             {write(strings.Repeat("#", maxPasswd+1)), ""},
	} {
		t.Run(name, func(t *testing.T) {
			root := t.TempDir()
			if err := os.Mkdir(filepath.Join(root, "etc"), 0o755); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(filepath.Join(root, "etc", "group"), nil, 0o644); err != nil {
				t.Fatal(err)
			}
			if err := c.make(filepath.Join(root, "etc", "passwd")); err != nil {
				t.Fatal(err)
			}
			got, err := passwdBelow(t, root)
			if (err == nil) != (c.want != "") || string(got) != c.want && err == nil {
				t.Errorf("read %d bytes, %v", len(got), err)
			}
		})
	}
	root := t.TempDir()
	if err := os.Symlink(filepath.Dir(outside), filepath.Join(root, "etc")); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(outside, filepath.Join(filepath.Dir(outside), "passwd")); err != nil {
		t.Fatal(err)
	}
	if got, err := passwdBelow(t, root); err == nil {
		t.Errorf("/etc is a link out of the root, and %q was read", got)
	}
}

func passwdBelow(t *testing.T, root string) ([]byte, error) {
	t.Helper()
	dir, err := os.Open(root)
	if err != nil {
		t.Fatal(err)
	}
	defer dir.Close()
	return readPasswd(dir)
}

// A pid of a recording, or one that was used again, is that of a stranger.
func TestUsersOfAnotherProcess(t *testing.T) {
	if names, err := usersOf(strings.Repeat("ab", 32), os.Getpid()); !errors.Is(err, errNotInside) {
		t.Errorf("this process is in a container: %v, %v", names, err)
	}
	if names, err := usersOf(strings.Repeat("ab", 32), 1<<22+1); !errors.Is(err, errNotInside) {
		t.Errorf("no process at all: %v, %v", names, err)
	}
	id := strings.Repeat("ab", 32)
	if !inContainer([]string{"/", "/docker/" + id}, id) || inContainer([]string{"/docker/" + id}, strings.Repeat("cd", 32)) || inContainer([]string{"/docker/" + id[:12]}, id[:12]) {
		t.Error("a process is taken for one of another container")
	}
}

// What is not known is not waited for.
func TestUserIsUnknownAtFirst(t *testing.T) {
	n := NewNames()
	defer n.Close()
	for range 100 {
		if name, ok := n.User(strings.Repeat("ab", 32), os.Getpid(), 0); ok {
			t.Fatalf("a process that is in no container is %q there", name)
		}
	}
	if name, ok := n.User("", os.Getpid(), 0); ok {
		t.Errorf("outside of containers there is the user %q", name)
	}
}
