package lookpath

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/taskwatch/taskwatch/internal/testutil"
)

func TestMain(m *testing.M) { testutil.Main(m) }

// The shell is asked for the truth.
func TestFindIsWhatAShellFinds(t *testing.T) {
	dir := t.TempDir()
	for file, mode := range map[string]os.FileMode{"a/x": 0o755, "b/x": 0o755, "a/denied": 0o644, "b/denied": 0o755, "a/only": 0o644} {
		path := filepath.Join(dir, file)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte("#!/bin/sh\n"), mode); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Mkdir(filepath.Join(dir, "a/directory"), 0o755); err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{"a:b", "b:a", dir + "/a:" + dir + "/b", ":a", ""} {
		env := []string{"PATH=/nowhere", "PATH=" + path}
		for _, name := range []string{"x", "denied", "only", "directory", "none", "./a/x", "a/none"} {
			sh := exec.Command("/bin/sh", "-c", `command -v "$0"`, name)
			sh.Dir, sh.Env = dir, env[1:]
			out, _ := sh.Output() // its status says no more than that nothing was found
			want := strings.TrimSuffix(string(out), "\n")
			got, err := Find(name, dir, env)
			switch {
			case strings.Contains(name, "/"):
				if got != name || err != nil {
					t.Errorf("PATH=%s %s: %q, %v", path, name, got, err)
				}
			case (name == "only" || name == "denied") && want == "" && strings.Contains(path, "a"):
				if !errors.Is(err, os.ErrPermission) {
					t.Errorf("PATH=%s %s: %q, %v, want a permission error", path, name, got, err)
				}
			case want == "":
				if !errors.Is(err, os.ErrNotExist) {
					t.Errorf("PATH=%s %s: %q, %v, want that it does not exist", path, name, got, err)
				}
			default:
				if filepath.Clean(got) != filepath.Clean(want) || err != nil {
					t.Errorf("PATH=%s %s: %q, %v, want %q as the shell has it", path, name, got, err, want)
				}
			}
		}
	}
}
