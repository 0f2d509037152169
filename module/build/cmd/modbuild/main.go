// Command modbuild compiles the C sources of modules into a directory, for
// machines without a compiler such as the guests of test/vm:
//
//	go run ./module/build/cmd/modbuild [-wasm] [-version N] -o DIR FILE.c...
//
// What is kept in the repository is built by one version of clang.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"

	"github.com/taskwatch/taskwatch/module/build"
)

func main() {
	dir := flag.String("o", ".", "`directory` for the modules")
	wasm := flag.Bool("wasm", false, "build for the sandbox, not for the kernel")
	version := flag.Int("version", 0, "the `version` of clang; 0 takes the one in PATH")
	flag.Parse()
	if *version != 0 {
		dir, err := versioned(*version)
		if err != nil {
			fail(err)
		}
		defer os.RemoveAll(dir)
	}
	ext := ".o"
	if *wasm {
		ext = ".wasm"
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	for _, src := range flag.Args() {
		out := filepath.Join(*dir, strings.TrimSuffix(filepath.Base(src), ".c")+ext)
		warnings, err := build.Build(ctx, src, out)
		fmt.Fprint(os.Stderr, warnings)
		if err != nil {
			fail(err)
		}
	}
}

func fail(err error) {
	fmt.Fprintln(os.Stderr, "modbuild:", err)
	os.Exit(1)
}

// versioned makes a directory in which the tools of that version have no
// version in their names, and puts it first in PATH.
func versioned(n int) (dir string, err error) {
	if dir, err = os.MkdirTemp("", "modbuild"); err != nil {
		return "", err
	}
	for _, tool := range []string{"clang", "wasm-ld"} {
		path, err := exec.LookPath(fmt.Sprintf("%s-%d", tool, n))
		if err == nil {
			err = os.Symlink(path, filepath.Join(dir, tool))
		}
		if err != nil {
			return "", errors.Join(err, os.RemoveAll(dir))
		}
	}
	return dir, os.Setenv("PATH", dir+string(os.PathListSeparator)+os.Getenv("PATH"))
}
