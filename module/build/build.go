// Package build makes modules from their sources: from C, BPF objects for the
// kernel and WebAssembly for the sandbox; from Go, WebAssembly. It runs clang
// and wasm-ld, or the go command, and needs nothing else, because the headers
// are part of the program.
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
	"sync"

	"github.com/taskwatch/taskwatch/include"
)

// Errors to be found with errors.Is.
var (
	ErrNoClang  = errors.New("no clang found")   // no usable one
	ErrNoLinker = errors.New("no wasm-ld found") // of clang's, for WebAssembly
	ErrNoGo     = errors.New("no go command found")
)

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

// Build compiles the source src, a C or Go file, to out: a BPF object if out
// is called NAME.o, WebAssembly if it is NAME.wasm. The compiler is found in
// PATH, and is a child that ends with ctx. The result appears under its name
// only once it is complete. Warnings of the compiler are returned.
//
// defines are macros for C, NAME or NAME=VALUE.
func Build(ctx context.Context, src, out string, defines ...string) (warnings string, err error) {
	warnings, err = build(ctx, src, out, defines)
	if err != nil {
		var e *Error
		if !errors.As(err, &e) {
			err = &Error{Source: src, Err: err}
		}
	}
	return warnings, err
}

func build(ctx context.Context, src, out string, defines []string) (string, error) {
	if _, err := os.Stat(src); err != nil {
		return "", err
	}
	flags, err := macros(defines)
	if err != nil {
		return "", err
	}
	var run func(context.Context, string, string, ...string) (string, error)
	switch from, to := filepath.Ext(src), filepath.Ext(out); {
	case from == ".c" && to == ".o":
		run = bpf
	case from == ".c" && to == ".wasm":
		run = wasmFromC
	case from == ".go" && flags != nil:
		return "", fmt.Errorf("-D %s: macros are for C; give a module in Go a parameter instead", defines[0])
	case from == ".go" && to == ".wasm":
		run = wasmFromGo
	case from == ".go":
		return "", fmt.Errorf("a module in Go runs only in the sandbox: its output is a file NAME.wasm, not %q", out)
	case from == ".c":
		return "", fmt.Errorf("%q: the output of a module in C is a file NAME.o, for the kernel, or NAME.wasm, for the sandbox", out)
	default:
		return "", errors.New("the source of a module is a file NAME.c or NAME.go")
	}
	tmp, err := os.CreateTemp(filepath.Dir(out), ".taskwatch-build-*")
	if err != nil {
		if path := new(fs.PathError); errors.As(err, &path) { // whose file is not the user's
			err = path.Err
		}
		return "", fmt.Errorf("write %s: its directory: %w; name another with -o, or make it", out, err)
	}
	tmp.Close()
	defer os.Remove(tmp.Name())
	result, err := filepath.Abs(tmp.Name())
	if err != nil {
		return "", err
	}
	warnings, err := run(ctx, src, result, flags...)
	if err != nil {
		return "", err
	}
	if err := os.Chmod(result, 0o644); err != nil {
		return "", err
	}
	return warnings, os.Rename(result, out)
}

// macros returns the flags of clang that define what is NAME or NAME=VALUE.
func macros(defines []string) (flags []string, err error) {
	for _, d := range defines {
		name, _, _ := strings.Cut(d, "=")
		if strings.Trim(name, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_") != "" || name == "" || name[0] >= '0' && name[0] <= '9' {
			return nil, fmt.Errorf("-D %s: %q is no name of a macro; give NAME or NAME=VALUE", d, name)
		}
		flags = append(flags, "-D"+d)
	}
	return flags, nil
}

// bpf compiles C for the kernel. -g is for the type information that linking
// and CO-RE need.
//
// It does so in two steps. clang orders some types of that information by where
// they lie in its memory, which depends on the length of every path it was given.
// The second step is given none, so the same source makes the same file anywhere.
func bpf(ctx context.Context, src, out string, flags ...string) (string, error) {
	clang, err := findClang("bpfel")
	if err != nil {
		return "", err
	}
	machine := []string{"-g", "--target=" + target(), "-mcpu=v3"}
	warnings, err := compile(ctx, clang, src, out, append(append(flags, machine...), "-emit-llvm")...)
	if err != nil {
		return "", alsoWith(kernelHints, err)
	}
	code, err := os.ReadFile(out)
	if err != nil {
		return "", err
	}
	object, err := os.Create(out)
	if err != nil {
		return "", err
	}
	defer object.Close()
	cmd := exec.CommandContext(ctx, clang, append(machine, "-O2", "-Xclang", "-disable-llvm-passes", "-fno-ident",
		"-fdebug-compilation-dir=.", "-x", "ir", "-c", "-", "-o", "-")...)
	cmd.Dir, cmd.Stdin, cmd.Stdout = filepath.Dir(src), bytes.NewReader(code), object
	more, err := command(ctx, cmd, src)
	if err != nil {
		return "", alsoWith(kernelHints, err)
	}
	return warnings + more, object.Close()
}

// compile runs clang. It runs in the directory of the source, so that the
// paths of the machine are no part of the result and the source lines, which
// the verifier quotes, are.
func compile(ctx context.Context, clang, src, out string, flags ...string) (string, error) {
	dir, err := os.MkdirTemp("", "taskwatch-build-")
	if err != nil {
		return "", err
	}
	defer os.RemoveAll(dir)
	if err := os.CopyFS(dir, include.Files); err != nil {
		return "", fmt.Errorf("unpack the headers: %w", err)
	}
	flags = append(flags, "-O2", "-Wall", "-fno-ident", "-fdebug-compilation-dir=.", "-ffile-prefix-map="+dir+"=include",
		"-nostdinc", "-I", dir, "-c", "./"+filepath.Base(src), "-o", out)
	cmd := exec.CommandContext(ctx, clang, flags...)
	cmd.Dir = filepath.Dir(src)
	return command(ctx, cmd, src)
}

// command runs a step of a build, and returns what it says.
func command(ctx context.Context, cmd *exec.Cmd, src string) (string, error) {
	var messages bytes.Buffer
	cmd.Stderr = &messages
	if cmd.Stdout == nil {
		cmd.Stdout = &messages
	}
	if err := cmd.Run(); err != nil {
		if ctx.Err() != nil {
			return "", ctx.Err()
		}
		return "", &Error{Source: src, Err: fmt.Errorf("%s: %w", filepath.Base(cmd.Path), err), Output: strings.TrimRight(withHints(messages.String(), hints), "\n")}
	}
	return messages.String(), nil
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
// without the target, in clang's words, is passed over.
func findClang(target string) (string, error) {
	var lacking []string
	for _, path := range installed("clang") {
		targets, err := ask(path, "--print-targets")
		if err == nil && strings.Contains(targets, target) {
			return path, nil
		}
		why := path + " cannot"
		if err != nil {
			why = fmt.Sprintf("%s --print-targets: %v", path, err)
		}
		lacking = append(lacking, why)
	}
	if lacking != nil {
		return "", fmt.Errorf("%w that can compile for %s (%s): install the package clang, 14 or newer (Debian, Ubuntu: apt install clang; Fedora: dnf install clang)",
			ErrNoClang, target, strings.Join(lacking, ", "))
	}
	return "", fmt.Errorf("%w in PATH: install clang 14 or newer (Debian, Ubuntu: apt install clang; Fedora: dnf install clang). You do not need it to load a module that is already built", ErrNoClang)
}

// answers are what compilers have said of themselves, by question. One takes as long to
// say it as to compile a small module.
var answers sync.Map

// ask returns what a compiler says of itself.
func ask(clang, question string) (string, error) {
	st, err := os.Stat(clang)
	if err != nil {
		return "", err
	}
	key := fmt.Sprint(clang, " ", st.Size(), " ", st.ModTime().UnixNano(), " ", question)
	if said, known := answers.Load(key); known {
		return said.(string), nil
	}
	said, err := exec.Command(clang, question).Output()
	if err == nil {
		answers.Store(key, string(said))
	}
	return string(said), err
}

// installed returns the paths of the program of that name, and of those with
// a version (clang-19) in PATH, best first.
func installed(program string) (paths []string) {
	for _, name := range versions(program, filepath.SplitList(os.Getenv("PATH"))) {
		if path, err := exec.LookPath(name); err == nil {
			paths = append(paths, path)
		}
	}
	return paths
}

// versions returns the names to try, best first.
func versions(program string, dirs []string) []string {
	found := map[int]bool{}
	for _, dir := range dirs {
		names, err := filepath.Glob(filepath.Join(dir, program+"-[0-9]*"))
		if err != nil {
			continue
		}
		for _, name := range names {
			if n, err := strconv.Atoi(strings.TrimPrefix(filepath.Base(name), program+"-")); err == nil {
				found[n] = true
			}
		}
	}
	numbers := make([]int, 0, len(found))
	for n := range found {
		numbers = append(numbers, n)
	}
	slices.Sort(numbers)
	slices.Reverse(numbers)
	list := []string{program}
	for _, n := range numbers {
		list = append(list, fmt.Sprintf("%s-%d", program, n))
	}
	return list
}

// Available returns nil if Build could make BPF objects, or why not.
func Available() error {
	_, err := findClang("bpfel")
	return err
}
