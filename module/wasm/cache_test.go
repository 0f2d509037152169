package wasm

import (
	"bytes"
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/taskwatch/taskwatch"
	"github.com/taskwatch/taskwatch/module/wasm/internal/wasmfile"
)

const compileArg = "compile-for-the-test"

// asCompiler makes this test's program a compiler where it was started as one.
func asCompiler() {
	if len(os.Args) != 3 || os.Args[0] != compileArg {
		return
	}
	if os.Args[1] == "hang" {
		time.Sleep(time.Hour)
	}
	if err := CompileChild(os.Stdin, os.Args[2]); err != nil {
		os.Stderr.WriteString(err.Error() + "\n")
		os.Exit(1)
	}
	os.Exit(0)
}

func entries(t *testing.T, dir string) (names []string) {
	t.Helper()
	list, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range list {
		names = append(names, e.Name())
	}
	return names
}

// A module is compiled once, in another process if there is one, and comes
// out of the cache after that, keyed by what is in it.
func TestCache(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "deep", "cache")
	compiled := 0
	child := CompileBy("/proc/self/exe", compileArg, "now")
	p := &Parser{Cache: dir, Compile: func(ctx context.Context, dir string, code []byte) error {
		compiled++
		return child(ctx, dir, code)
	}}
	other := wasmfile.Good()
	other.Funcs[4].Code = "\x41\x00\x41\x00\x6a"
	for i, code := range [][]byte{wasmfile.Good().Bytes(), wasmfile.Good().Bytes(), other.Bytes()} {
		o, err := p.Parse("good", code)
		if err != nil {
			t.Fatal(err)
		}
		m := load(t, o, LoadOptions{Synchronous: true})
		o.Close()
		var r taskwatch.Registry
		register(t, &r, m.Watchers(0))
		if err := r.Feed().Notify(event(taskwatch.Exec)); err != nil {
			t.Error(err)
		}
		if want := []int{1, 1, 2}[i]; compiled != want || len(entries(t, dir)) != want {
			t.Errorf("module %d: compiled %d times, want %d; the cache has %q", i, compiled, want, entries(t, dir))
		}
	}
	if info, err := os.Stat(dir); err != nil || info.Mode().Perm() != 0o700 {
		t.Errorf("the cache is %v, %v", info.Mode(), err)
	}
}

// A cache that others might have written to is rejected, before anything of it
// is run.
func TestCacheOfOthers(t *testing.T) {
	link, file, open := filepath.Join(t.TempDir(), "link"), filepath.Join(t.TempDir(), "file"), filepath.Join(t.TempDir(), "open")
	if err := errors.Join(os.Symlink(t.TempDir(), link), os.WriteFile(file, nil, 0o600), os.Mkdir(open, 0o755)); err != nil {
		t.Fatal(err)
	}
	cases := map[string]string{link: "is not a directory", file: "is not a directory", open: "has the mode 0755"}
	if os.Geteuid() == 0 {
		foreign := filepath.Join(t.TempDir(), "foreign")
		if err := errors.Join(os.Mkdir(foreign, 0o700), os.Chown(foreign, 12345, 12345)); err != nil {
			t.Fatal(err)
		}
		cases[foreign] = "belongs to user 12345"
	}
	for dir, says := range cases {
		_, err := (&Parser{Cache: dir}).Parse("good", wasmfile.Good().Bytes())
		wantError(t, err, "parse", says)
	}
}

// A compiler that does not end is killed, and one that fails leaves nothing.
func TestCompilerThatFails(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "cache")
	for arg, says := range map[string]string{"hang": "compiling it takes more than 100ms", "fail": "malformed module"} {
		p := &Parser{Cache: dir, Compile: CompileBy("/proc/self/exe", compileArg, arg)}
		f := wasmfile.Good()
		if arg == "hang" {
			p.Timeout = 100 * time.Millisecond
		} else {
			f.Funcs[4].Code = "\x1a" // takes what is not there
		}
		_, err := p.Parse("bad", f.Bytes())
		wantError(t, err, "parse", says)
		if !errors.Is(err, taskwatch.ErrInvalid) || len(entries(t, dir)) != 0 {
			t.Errorf("%v; the cache has %q", err, entries(t, dir))
		}
	}
	p := &Parser{Cache: dir, Compile: CompileBy("/nosuch/program")}
	_, err := p.Parse("bad", wasmfile.Good().Bytes())
	wantError(t, err, "parse", "no such file")
}

// The cache keeps what was used last, and no more than it may.
func TestCacheIsBounded(t *testing.T) {
	defer func(n int64) { maxCache = n }(maxCache)
	maxCache = 100
	dir := t.TempDir()
	for i, name := range []string{"oldest", "old", "used", "new"} {
		sub := filepath.Join(dir, name)
		when := time.Now().Add(time.Duration(i-10) * time.Minute)
		if err := errors.Join(os.Mkdir(sub, 0o700), os.WriteFile(filepath.Join(sub, "code"), bytes.Repeat([]byte("x"), 40), 0o600),
			os.Chtimes(sub, when, when)); err != nil {
			t.Fatal(err)
		}
	}
	trim(dir, filepath.Join(dir, "new"))
	if got := strings.Join(entries(t, dir), " "); got != "new used" {
		t.Errorf("it keeps %s", got)
	}
}
