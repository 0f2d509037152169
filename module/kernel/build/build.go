// Package build makes BPF objects from the C sources of modules. It needs
// clang and nothing else: the headers are part of the program.
package build

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"

	"github.com/taskwatch/taskwatch/include"
)

// ErrNoClang says that no usable clang is installed.
var ErrNoClang = errors.New("no clang found")

// Error is the error type of this package: what failed, and what the compiler
// said.
type Error struct {
	Source string
	Err    error
	Output string // the compiler's messages
}

func (e *Error) Error() string {
	if e.Output == "" {
		return fmt.Sprintf("build %s: %v", e.Source, e.Err)
	}
	return fmt.Sprintf("build %s: %v\n%s", e.Source, e.Err, e.Output)
}

// Unwrap returns the cause.
func (e *Error) Unwrap() error { return e.Err }

// Build compiles the C file src to the BPF object out. It runs clang, which it
// looks for in PATH, as a child that ends with ctx. The object appears under
// its name only once it is complete. Warnings of the compiler are returned.
func Build(ctx context.Context, src, out string) (warnings string, err error) {
	warnings, err = compile(ctx, src, out)
	if err != nil {
		var e *Error
		if !errors.As(err, &e) {
			err = &Error{Source: src, Err: err}
		}
	}
	return warnings, err
}

func compile(ctx context.Context, src, out string) (string, error) {
	if _, err := os.Stat(src); err != nil {
		return "", err
	}
	clang, err := findClang()
	if err != nil {
		return "", err
	}
	dir, err := os.MkdirTemp("", "taskwatch-build-")
	if err != nil {
		return "", err
	}
	defer os.RemoveAll(dir)
	if err := os.CopyFS(dir, include.Files); err != nil {
		return "", fmt.Errorf("unpack the headers: %w", err)
	}
	tmp, err := os.CreateTemp(filepath.Dir(out), ".taskwatch-build-*")
	if err != nil {
		return "", err
	}
	tmp.Close()
	defer os.Remove(tmp.Name())

	// -g is for the type information that linking and CO-RE need. Clang runs
	// in the directory of the source, so that the paths of the machine are
	// no part of the result and the source lines, which the verifier
	// quotes, are.
	object, err := filepath.Abs(tmp.Name())
	if err != nil {
		return "", err
	}
	cmd := exec.CommandContext(ctx, clang, "-O2", "-g", "-Wall", "--target="+target(), "-mcpu=v3",
		"-fno-ident", "-fdebug-compilation-dir=.", "-ffile-prefix-map="+dir+"=include",
		"-nostdinc", "-I", dir, "-c", "./"+filepath.Base(src), "-o", object)
	cmd.Dir = filepath.Dir(src)
	var messages bytes.Buffer
	cmd.Stdout, cmd.Stderr = &messages, &messages
	if err := cmd.Run(); err != nil {
		if ctx.Err() != nil {
			return "", ctx.Err()
		}
		return "", &Error{Source: src, Err: fmt.Errorf("%s: %w", filepath.Base(clang), err), Output: strings.TrimRight(messages.String(), "\n")}
	}
	if err := os.Chmod(tmp.Name(), 0o644); err != nil {
		return "", err
	}
	return messages.String(), os.Rename(tmp.Name(), out)
}

// target is BPF in the byte order of this machine, which is the one that the
// object can be loaded on.
func target() string {
	switch runtime.GOARCH {
	case "mips", "mips64", "ppc64", "s390x":
		return "bpfeb"
	}
	return "bpfel"
}

// findClang returns the compiler: clang, or the newest clang-N in PATH. One
// without the BPF target is passed over.
func findClang() (string, error) {
	var lacking []string
	for _, name := range clangNames(filepath.SplitList(os.Getenv("PATH"))) {
		path, err := exec.LookPath(name)
		if err != nil {
			continue
		}
		targets, err := exec.Command(path, "--print-targets").Output()
		if err == nil && strings.Contains(string(targets), "bpfel") {
			return path, nil
		}
		lacking = append(lacking, path)
	}
	if lacking != nil {
		return "", fmt.Errorf("%w that can compile for BPF (%s cannot): install the package clang (Debian, Ubuntu: apt install clang)",
			ErrNoClang, strings.Join(lacking, ", "))
	}
	return "", fmt.Errorf("%w in PATH: install the package clang (Debian, Ubuntu: apt install clang; Fedora: dnf install clang). Loading a module that is built already needs none", ErrNoClang)
}

// clangNames returns the names to try, best first.
func clangNames(dirs []string) []string {
	found := map[int]bool{}
	for _, dir := range dirs {
		names, err := filepath.Glob(filepath.Join(dir, "clang-[0-9]*"))
		if err != nil {
			continue
		}
		for _, name := range names {
			if n, err := strconv.Atoi(strings.TrimPrefix(filepath.Base(name), "clang-")); err == nil {
				found[n] = true
			}
		}
	}
	versions := make([]int, 0, len(found))
	for n := range found {
		versions = append(versions, n)
	}
	slices.Sort(versions)
	slices.Reverse(versions)
	list := []string{"clang"}
	for _, n := range versions {
		list = append(list, fmt.Sprintf("clang-%d", n))
	}
	return list
}

// WriteHeaders writes the headers to dir, for editors and other build systems.
func WriteHeaders(dir string) error {
	return fs.WalkDir(include.Files, ".", func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		b, err := include.Files.ReadFile(path)
		if err != nil {
			return err
		}
		return os.WriteFile(filepath.Join(dir, path), b, 0o644)
	})
}

// Available returns nil if Build could run, or why not.
func Available() error {
	_, err := findClang()
	return err
}
