package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/taskwatch/taskwatch/internal/bench"
	"github.com/taskwatch/taskwatch/internal/testutil"
)

// timedBuild is something that people wait for, with the number of times that it is
// built in each way.
type timedBuild struct {
	name, script string
	prepare      func(b *testing.B, dir string) // once, in the directory that each build begins with
	rounds       int
}

var timedBuilds = []timedBuild{
	{"small", "make -s -j2", smallProject, 9},
	{"zlib", "./configure >/dev/null && make -s -j2 >/dev/null", debianProject("zlib"), 5},
	{"busybox", "make -s defconfig >/dev/null && make -s -j2 >/dev/null", debianProject("busybox"), 3},
	{"go", `GOFLAGS= GOCACHE=$PWD/cache go build -a -o gofmt cmd/gofmt`, func(*testing.B, string) {}, 3},
	{"npm", "npm install --silent --offline --no-audit --no-fund --cache ../npm express@4 eslint@8", npmCache, 5},
}

// BenchmarkBuilds measures how long builds take under run -o, with both sources
// and the one that it takes by itself, and under strace, against the same build
// alone. The ways take turns; each figure is the median of the ratios to the
// builds alone before it, with the quartiles as -low and -high. It needs root,
// and for all but the first build a network, once. Builds/NAME is one of them:
// busybox, a minute alone, takes 20.
//
//	go test -run '^$' -bench Builds -benchtime 1x -timeout 2h ./cmd/taskwatch
func BenchmarkBuilds(b *testing.B) {
	testutil.Root(b)
	out := filepath.Join(b.TempDir(), "events.jsonl")
	run := []string{binary(b), "run", "-o", out}
	ways := []struct {
		name string
		argv []string
	}{
		{"bpf", append(run, "--source", "bpf", "--")},
		{"ptrace", append(run, "--source", "ptrace", "--")},
		{"default", append(run, "--")},
		{"strace", []string{testutil.RequireTool(b, "strace"), "-f", "--seccomp-bpf", "-e", "trace=process,%creds", "-o", out}},
	}
	for _, c := range timedBuilds {
		b.Run(c.name, func(b *testing.B) {
			top := b.TempDir()
			src, work := filepath.Join(top, "src"), filepath.Join(top, "work")
			if err := os.Mkdir(src, 0o755); err != nil {
				b.Fatal(err)
			}
			c.prepare(b, src)
			ratios := make([][]float64, len(ways))
			var alone []float64
			for b.Loop() {
				for range c.rounds {
					bare := timeBuild(b, src, work, c.script)
					alone = append(alone, bare.Seconds())
					for i, w := range ways {
						took := timeBuild(b, src, work, c.script, w.argv...)
						ratios[i] = append(ratios[i], took.Seconds()/bare.Seconds())
					}
				}
			}
			b.ReportMetric(0, "ns/op")
			b.ReportMetric(bench.SpreadOf(alone).Median, "alone-s")
			for i, w := range ways {
				s := bench.SpreadOf(ratios[i])
				b.ReportMetric(s.Median, w.name)
				b.ReportMetric(s.Low, w.name+"-low")
				b.ReportMetric(s.High, w.name+"-high")
			}
		})
	}
}

// timeBuild builds a copy of src under a watcher, or alone.
func timeBuild(b *testing.B, src, work, script string, watcher ...string) time.Duration {
	b.Helper()
	if err := os.RemoveAll(work); err != nil {
		b.Fatal(err)
	}
	if out, err := exec.Command("cp", "-a", src, work).CombinedOutput(); err != nil { // with the times, for make
		b.Fatalf("%v: %s", err, out)
	}
	argv := append(watcher, "sh", "-c", script)
	cmd := exec.Command(argv[0], argv[1:]...)
	cmd.Dir = work
	begin := time.Now()
	out, err := cmd.CombinedOutput()
	took := time.Since(begin)
	if err != nil {
		b.Fatalf("%s: %v\n%s", cmd, err, out)
	}
	return took
}

// smallProject writes a program of 60 small files in C.
func smallProject(b *testing.B, dir string) {
	const files = 60
	write := func(name, text string) {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
			b.Fatal(err)
		}
	}
	var objects, calls strings.Builder
	for i := range files {
		write(fmt.Sprintf("f%d.c", i), fmt.Sprintf("int f%d(int x) { return x + %d; }\n", i, i))
		fmt.Fprintf(&objects, " f%d.o", i)
		fmt.Fprintf(&calls, "int f%d(int); int r%d(int x) { return f%d(x); }\n", i, i, i)
	}
	write("main.c", calls.String()+"int main(void) { return r0(0); }\n")
	write("Makefile", "main: main.o"+objects.String()+"\n\t$(CC) -o $@ $^\n")
}

// debianProject copies the sources of a package of Debian's.
func debianProject(pkg string) func(*testing.B, string) {
	return func(b *testing.B, dir string) {
		if out, err := exec.Command("cp", "-a", debianSource(b, pkg)+"/.", dir).CombinedOutput(); err != nil {
			b.Fatalf("%v: %s", err, out)
		}
		err := os.Chmod(filepath.Join(dir, "configure"), 0o755)
		if err != nil && !errors.Is(err, fs.ErrNotExist) { // not all have one
			b.Fatal(err)
		}
	}
}

// npmCache fetches what npm will install.
func npmCache(b *testing.B, dir string) {
	testutil.RequireTool(b, "npm")
	cache := filepath.Join(filepath.Dir(dir), "npm") // beside the directories that are built in
	cmd := exec.Command("npm", "install", "--silent", "--no-audit", "--no-fund", "--cache", cache, "express@4", "eslint@8")
	cmd.Dir = b.TempDir()
	if out, err := cmd.CombinedOutput(); err != nil {
		reached := func() bool { return false } // what npm says is all there is to know
		testutil.Skip(b, fmt.Sprintf("npm cannot fetch its packages: %v: %s", err, out), reached)
	}
}
