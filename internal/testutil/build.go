package testutil

import (
	"bytes"
	"crypto/sha256"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
)

// builds are the C programs built so far, removed at the end by Main.
var builds struct {
	mu   sync.Mutex // one build at a time
	dir  string
	done map[string]string // by what determines them
}

// BuildC builds a program with gcc from C files and returns its path. An
// argument that begins with a dash is a flag for gcc and stands where it was
// given ("-static", "-m32"); the rest are files relative to the test's
// directory. A program is built once per test binary and removed by [Main]; what
// is built of files without headers of their own stays in the user's cache, too.
// A failed build fails the test, with what gcc said; but where gcc can build
// nothing at all with those flags, as without the headers of libc, it skips.
func BuildC(t testing.TB, args ...string) string {
	t.Helper()
	gcc := RequireTool(t, "gcc")
	argv := []string{"-O1", "-g", "-Wall", "-Werror", "-pthread"}
	flags := slices.Clone(argv)
	for _, arg := range args {
		if strings.HasPrefix(arg, "-") {
			flags = append(flags, arg)
		} else {
			abs, err := filepath.Abs(arg)
			if err != nil {
				t.Fatal(err)
			}
			arg = abs
		}
		argv = append(argv, arg)
	}

	builds.mu.Lock()
	defer builds.mu.Unlock()
	key, lasting := buildKey(t, gcc, argv)
	if path := builds.done[key]; path != "" {
		return path
	}
	if !started {
		t.Fatal("testutil.BuildC needs a TestMain that calls testutil.Main, which removes the program")
	}
	if builds.dir == "" {
		dir, err := os.MkdirTemp("", "taskwatch-test-")
		if err != nil {
			t.Fatal(err)
		}
		if err := os.Chmod(dir, 0o755); err != nil { // tests run programs as other users
			t.Fatal(err)
		}
		builds.dir, builds.done = dir, map[string]string{}
	}
	name := "a.out"
	for _, arg := range args {
		if base, ok := strings.CutSuffix(filepath.Base(arg), ".c"); ok {
			name = base
			break
		}
	}
	dir, err := os.MkdirTemp(builds.dir, "") // programs keep their names, also if two are alike
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(dir, name)
	kept := ""
	if cache, err := os.UserCacheDir(); err == nil && lasting && os.Getenv("TASKWATCH_VM") == "" { // whose disk is its memory
		kept = filepath.Join(cache, "taskwatch", "programs", key)
		if copyProgram(kept, path) == nil {
			builds.done[key] = path
			return path
		}
	}
	cmd := exec.Command(gcc, append(argv, "-o", path)...)
	if out, err := cmd.CombinedOutput(); err != nil {
		if compiler := NeedsCompiler("gcc", flags...); !compiler.Met() {
			compiler.Skip(t, fmt.Sprintf("%v: %s", err, firstLine(out)))
		}
		t.Fatalf("%s: %v\n%s", cmd, err, out)
	}
	builds.done[key] = path
	if kept != "" && os.MkdirAll(filepath.Dir(kept), 0o755) == nil {
		_ = copyProgram(path, kept) // else it is built again the next time
	}
	return path
}

// buildKey returns what stands for a program: the compiler, and the text and the name
// of each file. One that includes files of its own directory also has its path, and is
// not the same for longer than this process.
func buildKey(t testing.TB, gcc string, argv []string) (key string, lasting bool) {
	t.Helper()
	st, err := os.Stat(gcc)
	if err != nil {
		t.Fatal(err)
	}
	h := sha256.New()
	fmt.Fprintln(h, gcc, st.Size(), st.ModTime().UnixNano())
	lasting = true
	for _, arg := range argv {
		if strings.HasPrefix(arg, "-") {
			fmt.Fprintf(h, "%q\n", arg)
			continue
		}
		text, err := os.ReadFile(arg)
		if err != nil {
			t.Fatal(err)
		}
		if bytes.Contains(text, []byte("#include \"")) {
			lasting = false
			fmt.Fprintf(h, "%q\n", arg)
		}
		fmt.Fprintf(h, "%q %q\n", filepath.Base(arg), text)
	}
	return fmt.Sprintf("%x", h.Sum(nil)), lasting
}

// copyProgram makes a copy, all at once: others may be looking for it. Another process
// writes it: a program that this one writes, while it starts others, may be busy.
func copyProgram(from, to string) error {
	dir, err := os.MkdirTemp(filepath.Dir(to), "new")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	program := filepath.Join(dir, "program")
	if err := exec.Command("cp", from, program).Run(); err != nil {
		return err
	}
	return os.Rename(program, to)
}

// NeedsCompiler is met when the compiler builds a C program with those flags
// that uses libc.
func NeedsCompiler(name string, flags ...string) Need {
	command := strings.Join(append([]string{name}, flags...), " ")
	return Need{
		What:     "a compiler that builds C programs: " + command,
		Remedy:   "install gcc and libc6-dev, and gcc-multilib for -m32, or what corresponds to them",
		Met:      func() bool { return compiles(name, flags) },
		Promised: true,
	}
}

// compiles builds a small program of which nothing is kept.
func compiles(name string, flags []string) bool {
	dir, err := os.MkdirTemp("", "taskwatch-test-")
	if err != nil {
		return false
	}
	defer os.RemoveAll(dir)
	cmd := exec.Command(name, append(slices.Clone(flags), "-x", "c", "-o", filepath.Join(dir, "a.out"), "-")...)
	cmd.Stdin = strings.NewReader("#include <stdio.h>\n#include <pthread.h>\nint main(void) { return puts(\"\") < 0; }\n")
	return cmd.Run() == nil
}

func firstLine(text []byte) string {
	line, _, _ := bytes.Cut(bytes.TrimSpace(text), []byte("\n"))
	return string(line)
}

func removeBuilds() {
	builds.mu.Lock()
	defer builds.mu.Unlock()
	if builds.dir != "" {
		os.RemoveAll(builds.dir)
		builds.dir, builds.done = "", nil
	}
}
