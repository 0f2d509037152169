package compiledb

import (
	"bytes"
	"encoding/json"
	"errors"
	"io/fs"
	"maps"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/taskwatch/taskwatch"
	"github.com/taskwatch/taskwatch/process"
)

// disk is files of a test: by path what is in them, or "-> path" of a link.
type disk map[string]string

func (d disk) Exists(path string) bool { _, ok := d[path]; return ok }

func (d disk) Resolve(path string) (string, error) {
	for range 10 {
		text, ok := d[path]
		if !ok {
			return "", fs.ErrNotExist
		}
		target, isLink := strings.CutPrefix(text, "-> ")
		if !isLink {
			return path, nil
		}
		path = target
	}
	return "", errors.New("a loop")
}

func (d disk) Read(path string) ([]byte, error) {
	text, ok := d[path]
	if !ok {
		return nil, fs.ErrNotExist
	}
	return []byte(text), nil
}

// tools are the compilers of the tests, as Debian has them.
var tools = disk{
	"/usr/bin/gcc-12": "", "/usr/bin/gcc": "-> /usr/bin/gcc-12", "/usr/bin/cc": "-> /usr/bin/gcc",
	"/usr/bin/ccache": "", "/usr/lib/ccache/gcc": "-> /usr/bin/ccache",
	"/usr/lib/ccache/gcc-9": "-> /usr/bin/ccache",
	"/usr/bin/clang-19":     "", "/usr/bin/clang": "-> /usr/bin/clang-19",
	"/src/a.c": "", "/src/b.c": "", "/src/sub/c.cc": "", "/src/d.S": "", "/src/weird.inc": "",
	"/src/args": `-DX="a b" 'c d'.c @more -I\ y`, "/src/more": "-DMORE\n@gone",
}

// build feeds a sink with what a build does.
type build struct {
	sink *Sink
	out  bytes.Buffer
	seq  uint64
}

func newBuild(t *testing.T, opts Options) *build {
	t.Setenv("PATH", "/usr/lib/ccache:/usr/bin")
	if opts.Files == nil {
		opts.Files = tools
	}
	b := &build{}
	b.sink = New(&b.out, opts)
	return b
}

func (b *build) event(k taskwatch.Kind, pid, ppid int) *taskwatch.Event {
	b.seq++
	return &taskwatch.Event{Kind: k, Seq: b.seq, Task: &taskwatch.Task{PID: pid, TID: pid, PPID: ppid, Cwd: "/src"}}
}

func (b *build) fork(pid, ppid int) {
	b.sink.Take(taskwatch.Item{Event: b.event(taskwatch.Clone, pid, ppid)})
}

func (b *build) exec(pid int, exe string, argv ...string) {
	ev := b.event(taskwatch.Exec, pid, 0)
	ev.Task.Exe, ev.Task.Argv = exe, argv
	b.sink.Take(taskwatch.Item{Event: ev})
}

func (b *build) exit(pid, code int) {
	ev := b.event(taskwatch.Exit, pid, 0)
	ev.Exit = taskwatch.ExitStatus{Code: code, Group: true}
	b.sink.Take(taskwatch.Item{Event: ev})
}

// ran is a program that ran, and ended well.
func (b *build) ran(pid int, exe string, argv ...string) {
	b.fork(pid, 1)
	b.exec(pid, exe, argv...)
	b.exit(pid, 0)
}

func (b *build) end(t *testing.T) []Entry {
	t.Helper()
	if err := b.sink.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	var list []Entry
	if err := json.Unmarshal(b.out.Bytes(), &list); err != nil {
		t.Fatalf("%v in\n%s", err, b.out.Bytes())
	}
	return list
}

func entry(file, output, arguments string) Entry {
	return Entry{Arguments: strings.Fields(arguments), Directory: "/src", File: file, Output: output}
}

// One call each, and what it becomes.
func TestCalls(t *testing.T) {
	const cc = "/usr/bin/gcc-12"
	for _, c := range []struct {
		name, exe, call string
		want            []Entry
	}{
		{"the usual", cc, "cc -Wall -c a.c -o a.o", []Entry{entry("/src/a.c", "/src/a.o", "/usr/bin/cc -Wall -c a.c -o a.o")}},
		{"without -o", cc, "gcc -c sub/../a.c", []Entry{entry("/src/a.c", "", "/usr/bin/gcc -c sub/../a.c")}},
		{"by path", cc, "/opt/x/gcc -c a.c", []Entry{entry("/src/a.c", "", "/opt/x/gcc -c a.c")}},
		{"by relative path", "/src/bin/gcc", "bin/gcc -c a.c", []Entry{entry("/src/a.c", "", "/src/bin/gcc -c a.c")}},
		{"not to be found", "/gone/gcc-11", "gcc -c a.c", []Entry{entry("/src/a.c", "", "gcc -c a.c")}},
		{"several sources", cc, "gcc -c -O2 a.c b.c", []Entry{entry("/src/a.c", "", "/usr/bin/gcc -c -O2 a.c"), entry("/src/b.c", "", "/usr/bin/gcc -c -O2 b.c")}},
		{"compiles and links", cc, "gcc -o prog -L. -lm -Wl,-O1 -Xlinker -x -pthread a.c b.o libx.a -static -s",
			[]Entry{entry("/src/a.c", "/src/prog", "/usr/bin/gcc -c -o prog -pthread a.c")}},
		{"glued and apart", cc, "gcc -Iinc -I inc2 -DA -D B=1 -include x.h -oa.o -xc -c a.c -MMD -MF a.d -MTa.o",
			[]Entry{entry("/src/a.c", "/src/a.o", "/usr/bin/gcc -Iinc -I inc2 -DA -D B=1 -include x.h -oa.o -xc -c a.c")}},
		{"a value that looks like a source", cc, "gcc -c a.c -MT b.c -include b.c -Xassembler b.c -o b.c",
			[]Entry{entry("/src/a.c", "/src/b.c", "/usr/bin/gcc -c a.c -include b.c -Xassembler b.c -o b.c")}},
		{"assembler", cc, "gcc -c d.S", []Entry{entry("/src/d.S", "", "/usr/bin/gcc -c d.S")}},
		{"-S", cc, "gcc -S a.c", []Entry{entry("/src/a.c", "", "/usr/bin/gcc -S a.c")}},
		{"-fsyntax-only", cc, "gcc -fsyntax-only a.c", []Entry{entry("/src/a.c", "", "/usr/bin/gcc -fsyntax-only a.c")}},
		{"-MD compiles", cc, "gcc -MD -c a.c", []Entry{entry("/src/a.c", "", "/usr/bin/gcc -c a.c")}},
		{"-x gives any name a language", cc, "gcc -x c weird.inc -c", []Entry{entry("/src/weird.inc", "", "/usr/bin/gcc -x c weird.inc -c")}},
		{"-x none takes it back", cc, "gcc -x c a.c -x none weird.inc", []Entry{entry("/src/a.c", "", "/usr/bin/gcc -c -x c a.c -x none")}},
		{"a C++ source", "/usr/bin/g++-12", "g++-12 -c sub/c.cc", []Entry{entry("/src/sub/c.cc", "", "/usr/bin/g++-12 -c sub/c.cc")}},
		{"a cross compiler", "/usr/bin/arm-none-eabi-gcc", "arm-none-eabi-gcc -c a.c", []Entry{entry("/src/a.c", "", "/usr/bin/arm-none-eabi-gcc -c a.c")}},
		{"a cross compiler with a version", "/usr/bin/aarch64-linux-gnu-g++-12", "aarch64-linux-gnu-g++-12 -c a.c", []Entry{entry("/src/a.c", "", "/usr/bin/aarch64-linux-gnu-g++-12 -c a.c")}},
		{"clang", "/usr/bin/clang-19", "clang -target arm -c a.c", []Entry{entry("/src/a.c", "", "/usr/bin/clang -target arm -c a.c")}},
		{"gfortran", "/usr/bin/gfortran", "gfortran -J mod -c x.f90 a.c", []Entry{entry("/src/x.f90", "", "/usr/bin/gfortran -J mod -c x.f90"), entry("/src/a.c", "", "/usr/bin/gfortran -J mod -c a.c")}},
		{"nvcc", "/usr/local/cuda/bin/nvcc", "nvcc -ccbin g++ -Xcompiler -fPIC,b.c -arch sm_80 -dc k.cu a.c -o k.o",
			[]Entry{entry("/src/k.cu", "/src/k.o", "/usr/local/cuda/bin/nvcc -ccbin g++ -Xcompiler -fPIC,b.c -arch sm_80 -dc k.cu -o k.o"), entry("/src/a.c", "/src/k.o", "/usr/local/cuda/bin/nvcc -ccbin g++ -Xcompiler -fPIC,b.c -arch sm_80 -dc a.c -o k.o")}},
		{"after --", "/usr/bin/clang-19", "clang -c -- a.c", []Entry{entry("/src/a.c", "", "/usr/bin/clang -c a.c")}},

		{"ccache", "/usr/bin/ccache", "ccache gcc -c a.c", []Entry{entry("/src/a.c", "", "/usr/bin/gcc -c a.c")}},
		{"ccache with settings", "/usr/bin/ccache", "ccache debug=true cache_dir=/x gcc -c a.c", []Entry{entry("/src/a.c", "", "/usr/bin/gcc -c a.c")}},
		{"ccache linked as gcc", "/usr/bin/ccache", "gcc -c a.c", []Entry{entry("/src/a.c", "", "/usr/bin/gcc -c a.c")}},
		{"ccache linked as gcc, by its path", "/usr/bin/ccache", "/usr/lib/ccache/gcc -c a.c", []Entry{entry("/src/a.c", "", "/usr/bin/gcc -c a.c")}},
		{"a link to ccache behind a launcher", "/usr/bin/sccache", "sccache /usr/lib/ccache/gcc -c a.c", []Entry{entry("/src/a.c", "", "/usr/bin/gcc -c a.c")}},
		{"a link to ccache that stands for nothing", "/usr/bin/ccache", "/usr/lib/ccache/gcc-9 -c a.c", []Entry{entry("/src/a.c", "", "/usr/lib/ccache/gcc-9 -c a.c")}},
		{"ccache before distcc", "/usr/bin/ccache", "ccache distcc gcc -c a.c", []Entry{entry("/src/a.c", "", "/usr/bin/gcc -c a.c")}},
		{"distcc without a compiler", "/usr/bin/distcc", "distcc -c a.c", []Entry{entry("/src/a.c", "", "/usr/bin/cc -c a.c")}},
		{"sccache", "/usr/bin/sccache", "sccache /usr/bin/clang -c a.c", []Entry{entry("/src/a.c", "", "/usr/bin/clang -c a.c")}},
		{"icecc", "/usr/bin/icecc", "icecc gcc -c a.c", []Entry{entry("/src/a.c", "", "/usr/bin/gcc -c a.c")}},
		{"a script with the name of a compiler", "/usr/bin/dash", "/bin/sh /usr/bin/c99 -c a.c", []Entry{entry("/src/a.c", "", "/usr/bin/c99 -c a.c")}},

		{"a question to ccache", "/usr/bin/ccache", "ccache -s", nil},
		{"ccache alone", "/usr/bin/ccache", "ccache", nil},
		{"a question to distcc", "/usr/bin/distcc", "distcc --show-hosts", nil},
		{"link only", cc, "gcc -o prog a.o b.o -lm", nil},
		{"-E", cc, "gcc -E a.c -o a.i", nil},
		{"-M", cc, "gcc -M a.c", nil},
		{"-MM", cc, "gcc -MM -MF x a.c", nil},
		{"--version", cc, "gcc --version", nil},
		{"-###", cc, "gcc -### -c a.c", nil},
		{"-print-prog-name", cc, "gcc -print-prog-name=ld a.c", nil},
		{"standard input", cc, "gcc -x c -", nil},
		{"no arguments", cc, "gcc", nil},
		{"an archiver of gcc", "/usr/bin/gcc-ar", "gcc-ar cr x.a a.c", nil},
		{"clang-tidy", "/usr/bin/clang-tidy", "clang-tidy a.c", nil},
		{"cc1", "/usr/lib/gcc/x86_64-linux-gnu/12/cc1", "cc1 a.c", nil},
		{"f951", "/usr/lib/gcc/x86_64-linux-gnu/12/f951", "f951 x.f90", nil},
		{"as", "/usr/bin/as", "as d.S", nil},
		{"libtool", "/usr/bin/dash", "/bin/sh ./libtool --mode=compile gcc -c a.c", nil},
		{"an inline script", "/usr/bin/dash", "sh -c gcc -c a.c", nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			with := maps.Clone(tools)
			for _, f := range []string{"/src/x.f90", "/src/k.cu"} {
				with[f] = ""
			}
			b := newBuild(t, Options{Files: with})
			b.ran(7, c.exe, strings.Fields(c.call)...)
			if got := b.end(t); len(got)+len(c.want) > 0 && !reflect.DeepEqual(got, c.want) {
				t.Errorf("%s\nbecomes %q\nwant    %q", c.call, got, c.want)
			}
		})
	}
}

func files(list []Entry) (files []string) {
	for _, e := range list {
		files = append(files, e.File)
	}
	return files
}

// What a compiler or a launcher runs is its own business, however deep.
func TestOutermost(t *testing.T) {
	b := newBuild(t, Options{})
	b.fork(10, 1)
	b.exec(10, "/usr/bin/ccache", "ccache", "gcc", "-c", "a.c")
	b.fork(11, 10)
	b.exec(11, "/usr/bin/gcc-12", "/usr/bin/gcc", "-E", "a.c")
	b.fork(12, 11)
	b.exec(12, "/usr/bin/gcc-12", "gcc", "-c", "b.c")
	b.exit(12, 0)
	b.exit(11, 0)
	b.exec(10, "/usr/bin/gcc-12", "gcc", "-c", "a.c", "-o", "x.o") // ccache becomes the compiler
	b.exit(10, 0)
	b.fork(11, 1) // the pid again, of somebody else
	b.exec(11, "/usr/bin/gcc-12", "gcc", "-c", "b.c")
	b.exit(11, 0)
	// A question to the cache starts nothing that counts.
	b.fork(13, 1)
	b.exec(13, "/usr/bin/ccache", "ccache", "-s")
	b.fork(14, 13)
	b.exec(14, "/usr/bin/gcc-12", "gcc", "-c", "d.S")
	b.exit(14, 0)
	b.exit(13, 0)
	got := b.end(t)
	if want := []string{"/src/a.c", "/src/b.c"}; !slices.Equal(files(got), want) {
		t.Errorf("entries of %q, want %q", files(got), want)
	}
	if want := strings.Fields("/usr/bin/gcc -c a.c"); !slices.Equal(got[0].Arguments, want) {
		t.Errorf("arguments %q, want %q", got[0].Arguments, want)
	}
}

func TestFailedCalls(t *testing.T) {
	for _, c := range []struct {
		opts  Options
		want  []string
		notes []string
	}{
		{Options{}, []string{"/src/b.c"}, []string{"2 calls of compilers failed: no entry"}},
		{Options{Failed: true}, []string{"/src/a.c", "/src/b.c", "/src/d.S"}, nil},
	} {
		b := newBuild(t, c.opts)
		b.fork(7, 1)
		b.exec(7, "/usr/bin/gcc-12", "gcc", "-c", "a.c")
		b.exit(7, 1)
		b.ran(8, "/usr/bin/gcc-12", "gcc", "-c", "b.c")
		b.fork(9, 1)
		b.exec(9, "/usr/bin/gcc-12", "gcc", "-c", "d.S")
		ev := b.event(taskwatch.Exit, 9, 0)
		ev.Exit = taskwatch.ExitStatus{Signal: 9, Group: true}
		b.sink.Take(taskwatch.Item{Event: ev})
		if got := files(b.end(t)); !slices.Equal(got, c.want) {
			t.Errorf("%+v: entries of %q, want %q", c.opts, got, c.want)
		}
		if got := b.sink.Notes(); !slices.Equal(got, c.notes) {
			t.Errorf("%+v: notes %q, want %q", c.opts, got, c.notes)
		}
	}
}

// The exit of a thread says nothing about the compiler.
func TestThreadsEnd(t *testing.T) {
	b := newBuild(t, Options{})
	b.fork(7, 1)
	b.exec(7, "/usr/bin/clang-19", "clang", "-c", "a.c")
	thread := b.event(taskwatch.Clone, 7, 1)
	thread.Task.TID, thread.Val = 8, process.CloneThread
	b.sink.Take(taskwatch.Item{Event: thread})
	ended := b.event(taskwatch.Exit, 7, 1)
	ended.Task.TID, ended.Exit.Code = 8, 1
	b.sink.Take(taskwatch.Item{Event: ended})
	b.exit(7, 0)
	if got := files(b.end(t)); !slices.Equal(got, []string{"/src/a.c"}) {
		t.Errorf("entries of %q; notes %q", got, b.sink.Notes())
	}
}

// What is not known is said, and never made up.
func TestIncomplete(t *testing.T) {
	b := newBuild(t, Options{})
	cut := b.event(taskwatch.Exec, 7, 1)
	cut.Task.Exe, cut.Task.Argv, cut.Task.ArgvCut = "/usr/bin/gcc-12", []string{"gcc", "-c", "a.c"}, true
	b.sink.Take(taskwatch.Item{Event: cut})
	noCwd := b.event(taskwatch.Exec, 8, 1)
	noCwd.Task.Exe, noCwd.Task.Argv, noCwd.Missing = "/usr/bin/gcc-12", []string{"gcc", "-c", "a.c"}, taskwatch.FieldCwd
	b.sink.Take(taskwatch.Item{Event: noCwd})
	noArgv := b.event(taskwatch.Exec, 9, 1)
	noArgv.Task.Exe, noArgv.Missing = "/usr/bin/gcc", taskwatch.FieldArgv
	b.sink.Take(taskwatch.Item{Event: noArgv})
	b.fork(10, 1)
	b.exec(10, "/usr/bin/gcc-12", "gcc", "-c", "b.c")
	b.sink.Take(taskwatch.Item{Loss: &taskwatch.Loss{Count: 3}})
	if got := files(b.end(t)); !slices.Equal(got, []string{"/src/b.c"}) {
		t.Errorf("entries of %q", got)
	}
	want := []string{
		"1 call of a compiler has arguments that are cut: no entry",
		"2 calls of compilers lack their arguments or their directory: no entry",
		"1 call of a compiler has not ended: entries are there all the same",
		"3 items or more were lost before they came here: entries may be missing",
	}
	if got := b.sink.Notes(); !slices.Equal(got, want) {
		t.Errorf("notes %q\nwant %q", got, want)
	}
}

// Of entries with one file and one output the first stays, and sources that
// are gone count where others are there.
func TestWhichStay(t *testing.T) {
	b := newBuild(t, Options{})
	b.ran(7, "/usr/bin/gcc-12", strings.Fields("gcc -DFIRST -c a.c -o a.o")...)
	b.ran(7, "/usr/bin/gcc-12", strings.Fields("gcc -DSECOND -c a.c -o a.o")...)
	b.ran(7, "/usr/bin/gcc-12", strings.Fields("gcc -fPIC -c a.c -o a.lo")...)
	b.ran(7, "/usr/bin/gcc-12", strings.Fields("gcc -c conftest.c")...)
	got := b.end(t)
	if want := []string{"/src/a.c", "/src/a.c"}; !slices.Equal(files(got), want) || got[0].Arguments[1] != "-DFIRST" || got[1].Output != "/src/a.lo" {
		t.Errorf("entries %q", got)
	}
	if got := b.sink.Notes(); !slices.Equal(got, []string{"1 entry has a source that is gone: no entry"}) {
		t.Errorf("notes %q", got)
	}
	b = newBuild(t, Options{Files: disk{}}) // another machine
	b.ran(7, "/usr/bin/gcc-12", "gcc", "-c", "a.c")
	b.ran(8, "/usr/bin/gcc-12", "gcc", "-c", "b.c")
	if got := files(b.end(t)); !slices.Equal(got, []string{"/src/a.c", "/src/b.c"}) {
		t.Errorf("of another machine: entries of %q", got)
	}
}

func TestResponseFiles(t *testing.T) {
	with := maps.Clone(tools)
	with["/src/c d.c"], with["/src/objects"] = "", "-c x.o y.o"
	for _, c := range []struct {
		expand bool
		call   []string
		want   []string // arguments of the entry of a.c
	}{
		{false, []string{"gcc", "-c", "a.c", "@args"}, []string{"/usr/bin/gcc", "-c", "a.c", "@args"}},
		{true, []string{"gcc", "-c", "a.c", "@args"}, []string{"/usr/bin/gcc", "-c", "a.c", "-DX=a b", "-DMORE", "@gone", "-I y"}},
		{false, []string{"gcc", "a.c", "-Wall", "@objects"}, []string{"/usr/bin/gcc", "a.c", "-Wall", "@objects"}},
		{true, []string{"gcc", "-c", "a.c", "@nothere"}, []string{"/usr/bin/gcc", "-c", "a.c", "@nothere"}},
	} {
		b := newBuild(t, Options{Expand: c.expand, Files: with})
		b.ran(7, "/usr/bin/gcc-12", c.call...)
		got := b.end(t)
		if len(got) == 0 || !slices.Equal(got[0].Arguments, c.want) {
			t.Errorf("expand %v, %q: entries %q, want %q", c.expand, c.call, got, c.want)
		}
		if both := slices.Contains(files(got), "/src/c d.c"); both != (c.call[3] == "@args") {
			t.Errorf("expand %v, %q: entries of %q", c.expand, c.call, files(got))
		}
	}
}

// A source may stand in a response file alone, and so may the option that says
// that nothing is compiled.
func TestSourcesInResponseFiles(t *testing.T) {
	with := maps.Clone(tools)
	with["/src/both"], with["/src/preprocess"], with["/src/out"] = "a.c b.c -c", "-E a.c", "-o a.o"
	b := newBuild(t, Options{Files: with})
	b.ran(7, "/usr/bin/gcc-12", "gcc", "-O1", "@both")
	b.ran(8, "/usr/bin/gcc-12", "gcc", "@preprocess")
	b.ran(9, "/usr/bin/gcc-12", "gcc", "-c", "d.S", "@out")
	b.ran(10, "/usr/bin/gcc-12", "gcc", "-o", "prog", "@gone")
	want := []Entry{
		entry("/src/a.c", "", "/usr/bin/gcc -O1 @both"), entry("/src/b.c", "", "/usr/bin/gcc -O1 @both"),
		entry("/src/d.S", "/src/a.o", "/usr/bin/gcc -c d.S @out"),
	}
	if got := b.end(t); !reflect.DeepEqual(got, want) {
		t.Errorf("entries %q\nwant    %q", got, want)
	}
	if got := b.sink.Notes(); !slices.Equal(got, []string{"1 call of a compiler names a response file that cannot be read: an entry may be missing"}) {
		t.Errorf("notes %q", got)
	}
}

func TestOptions(t *testing.T) {
	opts, err := ReadOptions([]byte(`{"compilers": [{"name": "mycc", "add": ["-I/opt"], "remove": ["-Wall"]}, {"name": "/opt/cudacc", "like": "nvcc"}],
		"launchers": ["mylaunch"], "exclude": ["clang"]}`))
	if err != nil {
		t.Fatal(err)
	}
	opts.Files = tools
	b := newBuild(t, opts)
	b.ran(7, "/usr/bin/mylaunch", strings.Fields("mylaunch mycc -Wall -c a.c")...)
	b.ran(8, "/opt/cudacc", strings.Fields("cudacc -Xcompiler d.S -dc b.c")...)
	b.ran(9, "/usr/bin/clang-19", strings.Fields("clang -c d.S")...)
	got := b.end(t)
	want := []Entry{entry("/src/a.c", "", "mycc -c a.c -I/opt"), entry("/src/b.c", "", "/opt/cudacc -Xcompiler d.S -dc b.c")}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("entries %q\nwant    %q", got, want)
	}
	for text, want := range map[string]string{
		`{"compilers": [{"like": "gcc"}]}`:               "has no name",
		`{"compilers": [{"name": "x", "like": "msvc"}]}`: `is like "msvc"`,
		`{"compiler": []}`:                               `unknown field "compiler"`,
		`{} {}`:                                          "something follows",
		``:                                               "write {",
	} {
		if _, err := ReadOptions([]byte(text)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", text, err, want)
		}
	}
}

func TestNothing(t *testing.T) {
	b := newBuild(t, Options{})
	if got := b.end(t); got == nil || len(got) != 0 {
		t.Errorf("entries %v of no build, want an empty list", got)
	}
}
