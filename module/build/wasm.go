package build

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// wasmFromC compiles and links C for the sandbox. The instructions are named
// one by one, so that newer compilers use no others. The stack comes first in
// memory: one that overflows traps, and does not run into the variables.
func wasmFromC(ctx context.Context, src, out string) (string, error) {
	clang, err := findClang("wasm32")
	if err != nil {
		return "", err
	}
	linker, err := findLinker(clang)
	if err != nil {
		return "", err
	}
	object := out + ".o"
	defer os.Remove(object)
	warnings, err := compile(ctx, clang, src, object, "--target=wasm32", "-ffreestanding", "-fno-builtin",
		"-mcpu=mvp", "-mbulk-memory", "-msign-ext", "-mnontrapping-fptoint", "-mmutable-globals")
	if err != nil {
		return "", err
	}
	said, err := command(ctx, exec.CommandContext(ctx, linker, "--no-entry", "--gc-sections", "--stack-first", "--strip-debug",
		"-o", out, object), src)
	return warnings + said, err
}

// findLinker returns clang's linker for WebAssembly, which is a package of its
// own.
func findLinker(clang string) (string, error) {
	if said, err := exec.Command(clang, "--print-prog-name=wasm-ld").Output(); err == nil {
		if path := strings.TrimSpace(string(said)); filepath.IsAbs(path) {
			return path, nil
		}
	}
	if paths := installed("wasm-ld"); len(paths) > 0 {
		return paths[0], nil
	}
	return "", fmt.Errorf("%w, clang's linker for WebAssembly: install the package %s (Debian, Ubuntu: apt install %[2]s; Fedora: dnf install lld)",
		ErrNoLinker, strings.Replace(filepath.Base(clang), "clang", "lld", 1))
}

// WasmAvailable returns nil if Build could make WebAssembly of C, or why not.
func WasmAvailable() error {
	clang, err := findClang("wasm32")
	if err != nil {
		return err
	}
	_, err = findLinker(clang)
	return err
}

// wasmFromGo builds a Go file for the sandbox, in the module of its directory
// where that has the SDK.
func wasmFromGo(ctx context.Context, src, out string) (string, error) {
	tool, err := exec.LookPath("go")
	if err != nil {
		return "", fmt.Errorf("%w in PATH: install Go (Debian, Ubuntu: apt install golang). Loading a module that is built already needs none", ErrNoGo)
	}
	cmd := exec.CommandContext(ctx, tool, "build", "-buildmode=c-shared", "-trimpath", "-buildvcs=false", "-ldflags=-s -w",
		"-o", out, "./"+filepath.Base(src))
	cmd.Dir = filepath.Dir(src)
	cmd.Env = append(os.Environ(), "GOOS=wasip1", "GOARCH=wasm", "CGO_ENABLED=0")
	return command(ctx, cmd, src)
}
