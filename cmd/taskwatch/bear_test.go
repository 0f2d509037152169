package main

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"testing"

	"github.com/taskwatch/taskwatch/internal/bench"
	"github.com/taskwatch/taskwatch/internal/testutil"
	"github.com/taskwatch/taskwatch/sink/compiledb"
)

// The entries of a build are those that Debian's bear makes of the same build,
// but for the rules that normal knows. Each rule has a case in
// sink/compiledb's TestCalls or a test beside it.
func TestCompileCommandsLikeBear(t *testing.T) {
	testutil.Long(t)
	t.Parallel()
	bear := testutil.RequireTool(t, "bear")
	testutil.RequireTool(t, "make")
	for _, c := range []struct {
		pkg, build string
		sources    []string // files that must be there
		nightly    bool
	}{
		{"bzip2", `make -s CFLAGS="-O0 -D_FILE_OFFSET_BITS=64" libbz2.a bzip2recover`, []string{"blocksort.c", "bzip2recover.c"}, false},
		{"zlib", `chmod +x configure && CFLAGS=-O0 ./configure && make -s -j2 CFLAGS="-O0 -DHAVE_HIDDEN" SFLAGS="-O0 -fPIC -DHAVE_HIDDEN"`, []string{"adler32.c", "test/example.c"}, true},
	} {
		t.Run(c.pkg, func(t *testing.T) {
			if c.nightly {
				testutil.Nightly(t)
			}
			src := debianSource(t, c.pkg)
			work := filepath.Join(t.TempDir(), "src")
			db := filepath.Join(t.TempDir(), "compile_commands.json")
			build := func(argv ...string) []compiledb.Entry {
				t.Helper()
				if err := os.RemoveAll(work); err != nil {
					t.Fatal(err)
				}
				if out, err := exec.Command("cp", "-r", src, work).CombinedOutput(); err != nil {
					t.Fatalf("%v: %s", err, out)
				}
				cmd := exec.Command(argv[0], append(argv[1:], "--", "sh", "-c", c.build)...)
				cmd.Dir = work
				if out, err := cmd.CombinedOutput(); err != nil {
					t.Fatalf("%s: %v\n%s", cmd, err, out)
				}
				return readEntries(t, db)
			}
			want := build(bear, "--output", db)
			got := build(binary(t), "run", "--source", "ptrace", "-o", db)
			for _, name := range c.sources {
				if !slices.ContainsFunc(got, func(e compiledb.Entry) bool { return e.File == filepath.Join(work, name) }) {
					t.Errorf("no entry of %s", name)
				}
			}
			compareEntries(t, normal(got), normal(want))
		})
	}
}

// normal undoes what we do otherwise than Bear 3.1.1, whose later versions
// document it as we do it: Bear has -c first, and -o and the source last, while
// here all arguments keep their places.
func normal(list []compiledb.Entry) []string {
	var lines []string
	for _, e := range list {
		rest := slices.Sorted(slices.Values(e.Arguments[1:]))
		lines = append(lines, fmt.Sprintf("%s in %s to %s: %s %q", e.File, e.Directory, e.Output, e.Arguments[0], rest))
	}
	slices.Sort(lines)
	return lines
}

func compareEntries(t *testing.T, got, want []string) {
	t.Helper()
	if len(want) < 8 {
		t.Errorf("bear makes only %d entries", len(want))
	}
	for _, l := range got {
		if !slices.Contains(want, l) {
			t.Errorf("bear has no %s", l)
		}
	}
	for _, l := range want {
		if !slices.Contains(got, l) {
			t.Errorf("only bear has %s", l)
		}
	}
	if len(got) != len(want) {
		t.Errorf("%d entries, bear makes %d", len(got), len(want))
	}
}

func readEntries(t *testing.T, file string) []compiledb.Entry {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	var list []compiledb.Entry
	if err := json.Unmarshal(text, &list); err != nil {
		t.Fatalf("%s: %v", file, err)
	}
	return list
}

// debianSource returns the directory of a Debian source package, which stays
// in the user's cache.
func debianSource(t testing.TB, pkg string) string {
	t.Helper()
	testutil.RequireTool(t, "apt-get")
	testutil.RequireTool(t, "dpkg-source")
	dir, err := bench.DebianSource(pkg)
	if err != nil {
		reached := func() bool { return false } // what apt says is all there is to know
		testutil.Skip(t, err.Error(), reached)
	}
	return dir
}
