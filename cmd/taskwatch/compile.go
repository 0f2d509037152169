package main

import (
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"time"

	"github.com/taskwatch/taskwatch/internal/procfs"
	"github.com/taskwatch/taskwatch/module/wasm"
)

// compileName is the reserved name under which this program compiles a module
// for the daemon, in a process of its own that can be killed.
const compileName = "taskwatch-compile"

// compileAsChild does that, and ends.
func compileAsChild() {
	if len(os.Args) != 2 || os.Args[0] != compileName {
		return
	}
	if err := wasm.CompileChild(os.Stdin, os.Args[1]); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	os.Exit(0)
}

// slowCompile is how long a module is compiled before that is said.
const slowCompile = time.Second

// sayIfSlow says on a terminal that a file is being compiled, if it takes long.
// Its user calls done at the end.
func sayIfSlow(file string) (done func() bool) {
	if !isTerminal(os.Stderr) {
		return func() bool { return true }
	}
	return time.AfterFunc(slowCompile, func() {
		say("module %q: compiling it for the sandbox, which takes some seconds the first time", file)
	}).Stop
}

// userParser compiles modules in this process, and keeps them in the user's
// own cache where there can be one: a module in Go takes a second to compile.
func userParser() *wasm.Parser {
	dir := userCache()
	if dir == "" || wasm.CheckCache(dir) != nil {
		return &wasm.Parser{}
	}
	return &wasm.Parser{Cache: dir}
}

// daemonParser compiles modules in a child. The cache that cannot be one is
// not used: a directory of this run stands in. Its user calls done at the end.
func daemonParser(log *slog.Logger) (p *wasm.Parser, done func(), err error) {
	dir := userCache()
	if systemd := os.Getenv("CACHE_DIRECTORY"); systemd != "" {
		dir = filepath.Join(systemd, "sandbox")
	}
	done = func() {}
	if err := wasm.CheckCache(dir); err != nil {
		log.Warn("modules are compiled again at each start", "reason", err)
		if dir, err = os.MkdirTemp("", "taskwatch-cache-"); err != nil {
			return nil, nil, fmt.Errorf("a directory for compiled modules: %w", err)
		}
		done = func() { _ = os.RemoveAll(dir) }
	}
	return &wasm.Parser{Cache: dir, Compile: wasm.CompileBy(procfs.Self, compileName)}, done, nil
}

// userCache returns the user's own directory, or "" without a home.
func userCache() string {
	dir, err := os.UserCacheDir()
	if err != nil {
		return ""
	}
	return filepath.Join(dir, "taskwatch", "sandbox")
}
