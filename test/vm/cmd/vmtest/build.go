package main

import (
	"bytes"
	"context"
	"crypto/sha256"
	_ "embed"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"github.com/taskwatch/taskwatch/test/vm"
)

// guestRoot is where the module's root is in the guest.
const guestRoot = "/src"

// listed is what we need of the output of go list.
type listed struct {
	ImportPath   string
	Dir          string
	TestGoFiles  []string
	XTestGoFiles []string
	Module       *struct {
		Dir  string
		Main bool
	}
}

// binary is a package's test binary in the guest.
type binary struct {
	pkg  string // import path
	dir  string // guest directory to run it in
	path string // guest path
}

// suite is everything that a guest gets.
type suite struct {
	arch     vm.Arch
	binaries []binary
	without  []string // packages that have no tests
	files    []vm.File
}

// build compiles the test binaries of the packages, and the C programs of the
// testdata directories that they can reach, into the host directory tmp.
func build(ctx context.Context, arch vm.Arch, packages []string, tmp string) (*suite, error) {
	s := &suite{arch: arch}
	pkgs, err := s.goList(ctx, packages)
	if err != nil {
		return nil, err
	}
	for i, p := range pkgs {
		if len(p.TestGoFiles)+len(p.XTestGoFiles) == 0 {
			s.without = append(s.without, p.ImportPath)
			continue
		}
		dir, err := p.guestDir()
		if err != nil {
			return nil, err
		}
		host := filepath.Join(tmp, fmt.Sprintf("%d.test", i))
		if err := s.goBuildTest(ctx, p.ImportPath, host); err != nil {
			return nil, err
		}
		b := binary{pkg: p.ImportPath, dir: dir, path: path.Join(dir, path.Base(p.ImportPath)+".test")}
		s.binaries = append(s.binaries, b)
		s.files = append(s.files, vm.File{Guest: b.path, Host: host, Mode: 0o755})
	}
	if len(s.binaries) == 0 {
		return nil, fmt.Errorf("no package of %s has tests", strings.Join(packages, " "))
	}
	if err := s.addTestdata(ctx, packages, tmp); err != nil {
		return nil, err
	}
	s.files = append(s.files, vm.File{Guest: "/usr/bin/gcc", Data: gccScript, Mode: 0o755})
	return s, nil
}

func (p *listed) guestDir() (string, error) {
	if p.Module == nil {
		return "", fmt.Errorf("%s is in no module", p.ImportPath)
	}
	rel, err := filepath.Rel(p.Module.Dir, p.Dir)
	if err != nil {
		return "", err
	}
	return path.Join(guestRoot, filepath.ToSlash(rel)), nil
}

// addTestdata adds the testdata directories of the packages and of all
// packages of the module that their tests import.
func (s *suite) addTestdata(ctx context.Context, packages []string, tmp string) error {
	deps, err := s.goList(ctx, append([]string{"-deps", "-test"}, packages...))
	if err != nil {
		return err
	}
	seen := map[string]bool{} // a package is listed again for each test of it
	for _, p := range deps {
		if p.Module == nil || !p.Module.Main || seen[p.Dir] {
			continue
		}
		seen[p.Dir] = true
		host := filepath.Join(p.Dir, "testdata")
		if st, err := os.Stat(host); err != nil || !st.IsDir() {
			continue
		}
		dir, err := p.guestDir()
		if err != nil {
			return err
		}
		tree, err := vm.Tree(host, path.Join(dir, "testdata"))
		if err != nil {
			return err
		}
		s.files = append(s.files, tree...)
		programs, err := filepath.Glob(filepath.Join(host, "*.c"))
		if err != nil {
			return err
		}
		for _, c := range programs {
			if err := s.addProgram(ctx, c, tmp); err != nil {
				return err
			}
		}
	}
	return nil
}

// compilers are the commands that stand behind the guest's gcc -m64 and
// gcc -m32. Debian cannot have gcc for arm64 beside gcc-multilib, so clang
// builds for arm64, with Debian's cross libraries.
var compilers = map[vm.Arch]map[string][]string{
	vm.AMD64: {"-m64": {"gcc", "-m64"}, "-m32": {"gcc", "-m32"}},
	vm.ARM64: {
		"-m64": {"clang-19", "--target=aarch64-linux-gnu", "-fuse-ld=lld"},
		"-m32": {"clang-19", "--target=arm-linux-gnueabihf", "-fuse-ld=lld"},
	},
}

// compilerPackages are what Debian has them in.
var compilerPackages = map[vm.Arch]string{
	vm.AMD64: "gcc, gcc-multilib",
	vm.ARM64: "clang-19, lld-19, libc6-dev-arm64-cross, libgcc-12-dev-arm64-cross, libc6-dev-armhf-cross, libgcc-12-dev-armhf-cross",
}

//go:embed gcc.sh
var gccScript []byte

// addProgram builds the C file host for 64 and 32 bits. The guest's gcc finds
// the program, or what the compiler had to say, in /prebuilt by the sum of the
// C file, which tests may have moved.
func (s *suite) addProgram(ctx context.Context, host, tmp string) error {
	text, err := os.ReadFile(host)
	if err != nil {
		return err
	}
	for mode, compiler := range compilers[s.arch] {
		out := filepath.Join(tmp, fmt.Sprintf("c%d", len(s.files)))
		args := append(slices.Clone(compiler[1:]), "-static", "-O1", "-g", "-Wall", "-Werror", "-pthread")
		prebuilt := fmt.Sprintf("/prebuilt/%x%s", sha256.Sum256(text), mode)
		kept, err := keptProgram(compiler[0], args, text)
		if err != nil {
			return err
		}
		if _, err := os.Stat(kept); err == nil {
			s.files = append(s.files, vm.File{Guest: prebuilt, Host: kept, Mode: 0o755})
			continue
		}
		cmd := exec.CommandContext(ctx, compiler[0], append(args, "-o", out, host)...)
		said, err := cmd.CombinedOutput()
		var exit *exec.ExitError
		switch {
		case err == nil:
			s.files = append(s.files, vm.File{Guest: prebuilt, Host: out, Mode: 0o755})
			if err := keep(out, kept); err != nil {
				return err
			}
		case errors.As(err, &exit):
			// A test may want just that; whether it does is for the guest to see.
			s.files = append(s.files, vm.File{Guest: prebuilt + ".failed", Data: said})
		default:
			return fmt.Errorf("build %s: %w (Debian packages %s)", host, err, compilerPackages[s.arch])
		}
	}
	return nil
}

// keptProgram returns where a program stays that was built like this once.
func keptProgram(compiler string, args []string, text []byte) (string, error) {
	cache, err := vm.CacheDir()
	if err != nil {
		return "", err
	}
	h := sha256.New()
	fmt.Fprintf(h, "%s %q %s", compiler, args, text)
	return filepath.Join(cache, "programs", fmt.Sprintf("%x", h.Sum(nil))), nil
}

// keep copies a program to where it stays, all at once.
func keep(program, kept string) error {
	text, err := os.ReadFile(program)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(kept), 0o755); err != nil {
		return err
	}
	f, err := os.CreateTemp(filepath.Dir(kept), "new")
	if err != nil {
		return err
	}
	_, err = f.Write(text)
	if err = errors.Join(err, f.Chmod(0o755), f.Close()); err == nil {
		err = os.Rename(f.Name(), kept)
	}
	if err != nil {
		os.Remove(f.Name())
	}
	return err
}

func (s *suite) goList(ctx context.Context, args []string) ([]listed, error) {
	fields := "-json=ImportPath,Dir,TestGoFiles,XTestGoFiles,Module"
	out, err := s.goTool(ctx, append([]string{"list", fields}, args...)...)
	if err != nil {
		return nil, err
	}
	var list []listed
	dec := json.NewDecoder(bytes.NewReader(out))
	for {
		var p listed
		if err := dec.Decode(&p); err == io.EOF {
			return list, nil
		} else if err != nil {
			return nil, fmt.Errorf("go list: %w", err)
		}
		list = append(list, p)
	}
}

// goBuildTest builds a test binary that needs no shared library. Symbols stay,
// for the stacks; the debugging information would only make the guest larger.
func (s *suite) goBuildTest(ctx context.Context, pkg, out string) error {
	_, err := s.goTool(ctx, "test", "-c", "-ldflags=-w", "-o", out, pkg)
	return err
}

// addCommands builds commands, each a path in the guest and a package.
func (s *suite) addCommands(ctx context.Context, commands [][2]string, tmp string) error {
	for i, c := range commands {
		host := filepath.Join(tmp, fmt.Sprintf("command%d", i))
		if _, err := s.goTool(ctx, "build", "-ldflags=-w", "-o", host, c[1]); err != nil {
			return err
		}
		s.files = append(s.files, vm.File{Guest: c[0], Host: host, Mode: 0o755})
	}
	return nil
}

func (s *suite) goTool(ctx context.Context, args ...string) ([]byte, error) {
	cmd := exec.CommandContext(ctx, "go", args...)
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0", "GOARCH="+string(s.arch))
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		return nil, fmt.Errorf("go %s: %w\n%s%s", strings.Join(args, " "), err, out, stderr.Bytes())
	}
	return out, nil
}
