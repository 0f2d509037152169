// Command modbuild compiles the C sources of modules into a directory, for
// machines without a compiler such as the guests of test/vm:
//
//	go run ./module/build/cmd/modbuild [-wasm] -o DIR FILE.c...
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"strings"

	"github.com/taskwatch/taskwatch/module/build"
)

func main() {
	dir := flag.String("o", ".", "`directory` for the modules")
	wasm := flag.Bool("wasm", false, "build for the sandbox, not for the kernel")
	flag.Parse()
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
			fmt.Fprintln(os.Stderr, "modbuild:", err)
			os.Exit(1)
		}
	}
}
