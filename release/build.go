package main

import (
	"bytes"
	"debug/elf"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"time"
)

// stock are the modules of a release, by the files that they are built to.
var stock = map[string]string{
	"acct.o":        "modules/acct/acct.c",
	"auditrec.o":    "modules/auditrec/auditrec.c",
	"classify.o":    "modules/classify/classify.c",
	"cnproc.o":      "modules/cnproc/cnproc.c",
	"execguard.o":   "modules/execguard/execguard.c",
	"forkguard.o":   "modules/forkguard/forkguard.c",
	"label.o":       "modules/label/label.c",
	"lifecheck.o":   "modules/lifecheck/lifecheck.c",
	"execrule.wasm": "modules/execrule/execrule.c",
	"slowexec.wasm": "modules/slowexec/slowexec.go",
}

// command runs a command in the repository, and returns what it prints.
func (r *release) command(name string, args ...string) (string, error) {
	return r.run(exec.Command(name, args...))
}

func (r *release) run(c *exec.Cmd) (string, error) {
	var out, messages bytes.Buffer
	c.Dir, c.Stdout, c.Stderr = r.source, &out, &messages
	if err := c.Run(); err != nil {
		return "", fmt.Errorf("%s: %w\n%s", strings.Join(c.Args, " "), err, messages.String())
	}
	return strings.TrimSpace(out.String()), nil
}

// program is where the binary of a product for a processor is built.
func (r *release) program(p *product, arch string) string {
	return filepath.Join(r.work, arch, p.name)
}

// build builds the binary of a product for a processor: static, and the same
// wherever the sources are.
func (r *release) build(p *product, arch string) error {
	set := ""
	for name, value := range map[string]string{"Version": r.version, "Commit": r.commit, "Time": r.time.Format(time.RFC3339)} {
		set += " -X main.release" + name + "=" + value
	}
	c := exec.Command("go", "-C", p.module, "build", "-trimpath", "-buildvcs=false", "-ldflags=-s -w -buildid="+set, "-o", r.program(p, arch), "./cmd/"+p.name)
	c.Env = append(os.Environ(), "CGO_ENABLED=0", "GOOS=linux", "GOARCH="+arch, "GOAMD64=v1", "GOARM64=v8.0", "GOFLAGS=", "GOEXPERIMENT=")
	if _, err := r.run(c); err != nil {
		return err
	}
	st, err := os.Stat(r.program(p, arch))
	if err != nil {
		return err
	}
	if st.Size() > maxBinary {
		return fmt.Errorf("the binary has %d bytes, and may have %d", st.Size(), maxBinary)
	}
	f, err := elf.Open(r.program(p, arch))
	if err != nil {
		return err
	}
	defer f.Close()
	for _, p := range f.Progs {
		if p.Type == elf.PT_INTERP {
			return fmt.Errorf("the binary is not static")
		}
	}
	return nil
}

// shared builds the binaries, and with the one for this machine all that is the
// same for every processor.
func (r *release) shared() error {
	for _, p := range products {
		for _, arch := range arches {
			if err := r.build(p, arch); err != nil {
				return fmt.Errorf("%s: %w", p.name, err)
			}
		}
		own := r.program(p, runtime.GOARCH)
		if _, err := os.Stat(own); err != nil {
			return fmt.Errorf("a release is made on amd64 or arm64: %w", err)
		}
		if err := os.MkdirAll(r.pages(p), 0o755); err != nil {
			return err
		}
		if _, err := r.command(own, "man", r.pages(p)); err != nil {
			return err
		}
		if err := r.licences(p); err != nil {
			return fmt.Errorf("%s: %w", p.name, err)
		}
	}
	own := r.program(products[0], runtime.GOARCH)
	for _, dir := range []string{"modules", "completions"} {
		if err := os.Mkdir(filepath.Join(r.work, dir), 0o755); err != nil {
			return err
		}
	}
	for _, shell := range []string{"bash", "zsh", "fish"} {
		script, err := r.command(own, "completion", shell)
		if err != nil {
			return err
		}
		if err := os.WriteFile(filepath.Join(r.work, "completions", shell), []byte(script+"\n"), 0o644); err != nil {
			return err
		}
	}
	for name, source := range stock {
		if _, err := r.command(own, "module", "build", source, "-o", filepath.Join(r.work, "modules", name)); err != nil {
			return err
		}
	}
	return nil
}

// pages is where the man pages of a product are.
func (r *release) pages(p *product) string { return filepath.Join(r.work, "man", p.name) }

// licencesOf is the file with the licences of all that is linked into a binary.
func (r *release) licencesOf(p *product) string {
	return filepath.Join(r.work, "licences", p.name)
}

// licences gathers the licences of all that is linked into the binary, which
// have to go along with it.
func (r *release) licences(p *product) error {
	list, err := r.command("go", "-C", p.module, "list", "-deps", "-f", "{{with .Module}}{{if not .Main}}{{.Path}} {{.Version}} {{.Dir}}{{end}}{{end}}", "./cmd/"+p.name)
	if err != nil {
		return err
	}
	root, err := r.command("go", "env", "GOROOT")
	if err != nil {
		return err
	}
	var b bytes.Buffer
	seen := map[string]bool{"": true}
	for line := range strings.SplitSeq("Go "+runtime.Version()+" "+root+"\n"+list, "\n") {
		if seen[line] {
			continue
		}
		seen[line] = true
		f := strings.Fields(line)
		found, err := licencesIn(&b, f[0]+" "+f[1], f[2])
		if err != nil {
			return err
		}
		if found == 0 {
			return fmt.Errorf("%s %s has no file with a licence", f[0], f[1])
		}
	}
	if err := os.MkdirAll(filepath.Dir(r.licencesOf(p)), 0o755); err != nil {
		return err
	}
	return os.WriteFile(r.licencesOf(p), b.Bytes(), 0o644)
}

// licencesIn appends the files with licences of one directory.
func licencesIn(b *bytes.Buffer, what, dir string) (found int, err error) {
	list, err := os.ReadDir(dir)
	if err != nil {
		return 0, err
	}
	for _, e := range list {
		name := strings.ToUpper(e.Name())
		if e.IsDir() || !strings.HasPrefix(name, "LICENSE") && !strings.HasPrefix(name, "LICENCE") && !strings.HasPrefix(name, "NOTICE") && !strings.HasPrefix(name, "COPYING") {
			continue
		}
		text, err := os.ReadFile(filepath.Join(dir, e.Name()))
		if err != nil {
			return found, err
		}
		found++
		fmt.Fprintf(b, "==== %s: %s\n\n%s\n\n", what, e.Name(), bytes.TrimSpace(text))
	}
	return found, nil
}
