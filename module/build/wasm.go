package build

import (
	"context"
	"fmt"
	"go/version"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"github.com/taskwatch/taskwatch/guest"
)

// wasmFromC compiles and links C for the sandbox. The instructions are named
// one by one, so that newer compilers use no others. The stack comes first in
// memory: one that overflows traps, and does not run into the variables.
func wasmFromC(ctx context.Context, src, out string, flags ...string) (string, error) {
	clang, err := findClang("wasm32")
	if err != nil {
		return "", err
	}
	linker, err := findLinker(clang)
	if err != nil {
		return "", err
	}
	dir, err := os.MkdirTemp("", "taskwatch-build-")
	if err != nil {
		return "", err
	}
	defer os.RemoveAll(dir)
	// The linker writes the name of its output into it.
	object := filepath.Join(dir, "module.o")
	warnings, err := compile(ctx, clang, src, object, append(flags, "-gdwarf-4", "--target=wasm32", "-ffreestanding", "-fno-builtin",
		"-mcpu=mvp", "-mbulk-memory", "-msign-ext", "-mnontrapping-fptoint", "-mmutable-globals")...)
	if err != nil {
		return "", alsoWith(sandboxHints, err)
	}
	link := func(flags ...string) (file []byte, said string, err error) {
		linked := filepath.Join(dir, "module.wasm")
		cmd := exec.CommandContext(ctx, linker, append(flags, "--no-entry", "--gc-sections", "--stack-first", "-o", linked, object)...)
		if said, err = command(ctx, cmd, src); err != nil {
			return nil, "", err
		}
		file, err = os.ReadFile(linked)
		return file, said, err
	}
	whole, said, err := link()
	if err != nil {
		return "", err
	}
	file, _, err := link("--strip-debug")
	if err != nil {
		return "", err
	}
	if file, err = withTypes(file, whole); err != nil {
		return "", err
	}
	return warnings + said, os.WriteFile(out, file, 0o644)
}

// findLinker returns clang's linker for WebAssembly, which is a package of its
// own.
func findLinker(clang string) (string, error) {
	if said, err := ask(clang, "--print-prog-name=wasm-ld"); err == nil {
		path := strings.TrimSpace(said)
		if _, err := os.Stat(path); err == nil && filepath.IsAbs(path) { // still
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

// sdkModule is the Go module of the package guest, and goVersion the one that
// it needs.
const (
	sdkModule = "github.com/taskwatch/taskwatch"
	goVersion = "1.24" // for go:wasmexport of pointers
)

// wasmFromGo builds a Go file for the sandbox: in the Go module of its
// directory, or, where that has not the package guest, in one made for it.
func wasmFromGo(ctx context.Context, src, out string, _ ...string) (string, error) {
	tool, err := exec.LookPath("go")
	if err != nil {
		return "", fmt.Errorf("%w in PATH: install Go %s or newer from https://go.dev/dl (the package golang of Debian 12 is too old; bookworm-backports has a newer one). Loading a module that is built already needs none", ErrNoGo, goVersion)
	}
	if err := checkGo(ctx, tool); err != nil {
		return "", err
	}
	run := func(dir string, args ...string) *exec.Cmd {
		cmd := exec.CommandContext(ctx, tool, args...)
		cmd.Dir = dir
		cmd.Env = append(os.Environ(), "GOOS=wasip1", "GOARCH=wasm", "CGO_ENABLED=0")
		return cmd
	}
	dir, provided := filepath.Dir(src), true
	if run(dir, "list", sdkModule+"/guest").Run() != nil {
		provided = false
		if dir, err = goModule(src); err != nil {
			return "", err
		}
		defer os.RemoveAll(dir)
	}
	cmd := run(dir, "build", "-buildmode=c-shared", "-trimpath", "-buildvcs=false", "-ldflags=-s -w", "-o", out, "./"+filepath.Base(src))
	if !provided {
		cmd.Env = append(cmd.Env, "GOWORK=off", "GOFLAGS=", "GOPROXY=off", "GOTOOLCHAIN=local")
	}
	return command(ctx, cmd, src)
}

// checkGo says what is wrong with a go command that is too old, which would
// say that it does not know wasip1, or the file go.mod.
func checkGo(ctx context.Context, tool string) error {
	cmd := exec.CommandContext(ctx, tool, "env", "GOVERSION")
	cmd.Dir = os.TempDir() // not in a module, which may name another
	out, err := cmd.Output()
	if err != nil {
		return nil // the build will say why
	}
	found, _, _ := strings.Cut(strings.TrimSpace(string(out)), " ")
	if version.IsValid(found) && version.Compare(found, "go"+goVersion) < 0 {
		return fmt.Errorf("%w that is new enough: %s is %s, and Go %s or newer is needed: install it from https://go.dev/dl (the package golang of Debian 12 is too old; bookworm-backports has a newer one)",
			ErrNoGo, tool, found, goVersion)
	}
	return nil
}

// goModule makes a directory with a Go module of the source and the package
// guest, and nothing else: other imports than those of the standard library
// need a Go module of the user's.
func goModule(src string) (dir string, err error) {
	dir, err = os.MkdirTemp("", "taskwatch-build-")
	if err != nil {
		return "", err
	}
	defer func() {
		if err != nil {
			os.RemoveAll(dir)
		}
	}()
	text, err := os.ReadFile(src)
	if err != nil {
		return "", err
	}
	for name, content := range map[string]string{
		filepath.Base(src): string(text),
		"go.mod":           fmt.Sprintf("module module\n\ngo %s\n\nrequire %s v0.0.0\n\nreplace %[2]s => ./sdk\n", goVersion, sdkModule),
		"sdk/go.mod":       fmt.Sprintf("module %s\n\ngo %s\n", sdkModule, goVersion),
	} {
		if err := writeFile(filepath.Join(dir, name), []byte(content)); err != nil {
			return "", err
		}
	}
	return dir, fs.WalkDir(guest.Files, ".", func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || strings.HasSuffix(path, "_test.go") {
			return err
		}
		b, err := guest.Files.ReadFile(path)
		if err != nil {
			return err
		}
		return writeFile(filepath.Join(dir, "sdk", "guest", path), b)
	})
}

// writeFile writes a file and makes its directory.
func writeFile(name string, b []byte) error {
	if err := os.MkdirAll(filepath.Dir(name), 0o777); err != nil {
		return err
	}
	return os.WriteFile(name, b, 0o666)
}
