package main

import (
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/taskwatch/taskwatch/internal/testutil"
	"github.com/taskwatch/taskwatch/sink/compiledb"
)

// Behind Debian's launchers, under all the names that they have, each call has
// one entry, of the compiler itself; also where a cache has the object, and
// where a server runs the compiler.
func TestCompileCommandsBehindLaunchers(t *testing.T) {
	testutil.Nightly(t)
	for _, tool := range []string{"ccache", "distcc", "sccache", "icecc", "gcc", "clang-19", "gfortran", "x86_64-linux-gnu-gcc"} {
		testutil.RequireTool(t, tool)
	}
	dir := t.TempDir()
	for name, text := range map[string]string{"a.c": "int f(void) { return 1; }\n", "b.f90": "subroutine g()\nend subroutine\n"} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	for _, name := range []string{"ccache", "distcc", "sccache"} {
		if err := os.Mkdir(filepath.Join(dir, name), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	env := append(os.Environ(), "CCACHE_DIR="+dir+"/ccache", "DISTCC_DIR="+dir+"/distcc", "DISTCC_HOSTS=localhost",
		"SCCACHE_DIR="+dir+"/sccache", "SCCACHE_SERVER_PORT="+freePort(t))
	run := func(argv ...string) {
		t.Helper()
		c := exec.Command(argv[0], argv[1:]...)
		c.Dir, c.Env = dir, env
		if out, err := c.CombinedOutput(); err != nil {
			t.Fatalf("%s: %v\n%s", c, err, out)
		}
	}
	run("sccache", "--start-server")
	defer run("sccache", "--stop-server")

	db := filepath.Join(dir, "compile_commands.json")
	for _, c := range []struct{ line, want string }{
		{"ccache gcc -c a.c -o a.o", "/usr/bin/gcc -c a.c -o a.o"},
		{"ccache gcc -c a.c -o a.o", "/usr/bin/gcc -c a.c -o a.o"}, // a hit
		{"env PATH=/usr/lib/ccache:/usr/bin:/bin gcc -c a.c -o a.o", "/usr/bin/gcc -c a.c -o a.o"},
		{"/usr/lib/ccache/gcc -c a.c -o a.o", "/usr/bin/gcc -c a.c -o a.o"},
		{"/usr/lib/ccache/clang-19 -c a.c -o a.o", "/usr/bin/clang-19 -c a.c -o a.o"},
		{"distcc gcc -c a.c -o a.o", "/usr/bin/gcc -c a.c -o a.o"},
		{"/usr/lib/distcc/gcc -c a.c -o a.o", "/usr/bin/gcc -c a.c -o a.o"},
		{"env CCACHE_PREFIX=distcc CCACHE_RECACHE=1 ccache gcc -c a.c -o a.o", "/usr/bin/gcc -c a.c -o a.o"},
		{"icecc gcc -c a.c -o a.o", "/usr/bin/gcc -c a.c -o a.o"},
		{"/usr/lib/icecc/bin/gcc -c a.c -o a.o", "/usr/bin/gcc -c a.c -o a.o"},
		{"sccache gcc -c a.c -o a.o", "/usr/bin/gcc -c a.c -o a.o"},
		{"sccache gcc -c a.c -o a.o", "/usr/bin/gcc -c a.c -o a.o"}, // a hit
		{"ccache x86_64-linux-gnu-gcc -c a.c -o a.o", "/usr/bin/x86_64-linux-gnu-gcc -c a.c -o a.o"},
		{"gfortran -c b.f90 -o b.o", "/usr/bin/gfortran -c b.f90 -o b.o"},
		{"ccache --show-stats", ""},
		{"distcc --show-hosts", ""},
		{"sccache --show-stats", ""},
	} {
		run(slices.Concat([]string{binary(t), "run", "-o", db, "--"}, strings.Fields(c.line))...)
		var want []compiledb.Entry
		if argv := strings.Fields(c.want); len(argv) > 0 {
			want = []compiledb.Entry{{Arguments: argv, Directory: dir, File: filepath.Join(dir, argv[2]), Output: filepath.Join(dir, argv[4])}}
		}
		if got := readEntries(t, db); !slices.EqualFunc(got, want, func(a, b compiledb.Entry) bool {
			return slices.Equal(a.Arguments, b.Arguments) && a.Directory == b.Directory && a.File == b.File && a.Output == b.Output
		}) {
			t.Errorf("%s\nbecomes %v\nwant    %v", c.line, got, want)
		}
	}
}

// freePort returns a port of this machine that nothing listened at.
func freePort(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return strconv.Itoa(l.Addr().(*net.TCPAddr).Port)
}
