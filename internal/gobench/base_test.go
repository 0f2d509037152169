package gobench

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/taskwatch/taskwatch/internal/testutil"
)

func TestMain(m *testing.M) { testutil.Main(m) }

// compared are the benchmarks of what every event passes, by package.
var compared = []struct{ pkg, pattern string }{
	{"source/bpf", "^Benchmark(Decode|Handle)$"},
	{".", "^BenchmarkNotify$/^watchers=8$/^notify$/^goroutines=1$"},
	{"record", "^Benchmark(AppendEvent|Decode)$"},
	{"module/wasm", "^BenchmarkWatcher$"},
}

// How much is measured. No round begins later than enough after the first one, so
// that a slow machine does not take much longer; two there are in any case.
const (
	rounds  = 8
	enough  = 30 * time.Second
	runTime = "30ms"
	runs    = "2" // of a benchmark, in a round
)

// baseVariable names the commit to compare with.
const baseVariable = "TASKWATCH_BASE"

// BenchmarkAgainstBase compares the benchmarks with those of the commit where this
// branch has left main, or of main's last commit but one. It fails when one of them
// allocates more; of times, the gate only says what they were. An increase on purpose passes with
// TASKWATCH_BASE=HEAD, which leaves nothing to compare.
func BenchmarkAgainstBase(b *testing.B) {
	testutil.RequireTool(b, "git")
	top, err := git(b.Context(), ".", "rev-parse", "--show-toplevel")
	var commit string
	if err == nil {
		commit, err = base(b.Context(), top)
	}
	if err != nil && os.Getenv(baseVariable) != "" {
		b.Fatal(err)
	}
	testutil.Require(b, testutil.Need{
		What:   "another commit to compare with",
		Remedy: "run it in a clone with a history, or name a commit with " + baseVariable,
		Met:    func() bool { return commit != "" },
	})
	dir := b.TempDir()
	old := filepath.Join(dir, "base")
	if _, err := git(b.Context(), top, "worktree", "add", "--quiet", "--detach", old, commit); err != nil {
		b.Fatal(err)
	}
	defer func() {
		if _, err := git(context.Background(), top, "worktree", "remove", "--force", old); err != nil {
			b.Error(err)
		}
	}()
	before, after := build(b, old, filepath.Join(dir, "before")), build(b, top, filepath.Join(dir, "after"))
	for begun, i := time.Now(), 0; i < rounds && (i < 2 || time.Since(begun) < enough); i++ {
		for _, c := range compared {
			sides := []*side{before, after}
			if i%2 == 1 {
				sides = []*side{after, before}
			}
			for _, s := range sides {
				s.run(b, c.pkg, c.pattern)
			}
		}
	}
	b.Logf("compared with %s:", commit)
	for _, v := range Compare(before.results, after.results) {
		if v.Worse {
			b.Errorf("%s: %s", v.Name, v.Text)
		} else {
			b.Logf("%s: %s", v.Name, v.Text)
		}
	}
}

// base returns the commit to compare with, or "" where there is none.
func base(ctx context.Context, top string) (string, error) {
	head, err := git(ctx, top, "rev-parse", "HEAD")
	if err != nil {
		return "", err
	}
	if name := os.Getenv(baseVariable); name != "" {
		commit, err := git(ctx, top, "rev-parse", "--verify", "--end-of-options", name+"^{commit}")
		if err != nil {
			return "", fmt.Errorf("%s=%s: %w", baseVariable, name, err)
		}
		return otherThan(ctx, top, head, commit)
	}
	for _, main := range []string{"origin/main", "main"} {
		if commit, err := git(ctx, top, "merge-base", "HEAD", main); err == nil && commit != head {
			return commit, nil
		}
	}
	if commit, err := otherThan(ctx, top, head, head); commit != "" || err != nil {
		return commit, err // what is not committed yet is compared with what is
	}
	commit, err := git(ctx, top, "rev-parse", "--verify", "--quiet", "HEAD^")
	if err != nil {
		return "", nil // it is the first one, or the only one that was cloned
	}
	return commit, nil
}

// otherThan returns the commit, or "" where it is what is checked out.
func otherThan(ctx context.Context, top, head, commit string) (string, error) {
	changes, err := git(ctx, top, "status", "--porcelain", "--untracked-files=no")
	if err != nil || commit == head && changes == "" {
		return "", err
	}
	return commit, nil
}

// git runs git in a directory, and returns what it prints.
func git(ctx context.Context, dir string, args ...string) (string, error) {
	cmd := exec.CommandContext(ctx, "git", args...)
	cmd.Dir = dir
	out, err := cmd.Output()
	if exit := new(exec.ExitError); errors.As(err, &exit) {
		err = fmt.Errorf("git %s: %w %s", strings.Join(args, " "), err, bytes.TrimSpace(exit.Stderr))
	}
	return strings.TrimSpace(string(out)), err
}

// side is one version, with a test binary for each package.
type side struct {
	top, bin string
	results  Results
}

// build builds the binaries of a checkout.
func build(b *testing.B, top, bin string) *side {
	b.Helper()
	if err := os.Mkdir(bin, 0o755); err != nil {
		b.Fatal(err)
	}
	for _, c := range compared {
		cmd := exec.CommandContext(b.Context(), "go", "test", "-c", "-o", binary(bin, c.pkg), "./"+c.pkg)
		cmd.Dir = top
		if out, err := cmd.CombinedOutput(); err != nil {
			b.Fatalf("%s: %v\n%s", cmd, err, out)
		}
	}
	return &side{top: top, bin: bin, results: Results{}}
}

func binary(dir, pkg string) string {
	return filepath.Join(dir, strings.NewReplacer("/", "-", ".", "root").Replace(pkg)+".test")
}

// run runs the benchmarks of a package.
func (s *side) run(b *testing.B, pkg, pattern string) {
	b.Helper()
	cmd := exec.CommandContext(b.Context(), binary(s.bin, pkg), "-test.run=^$", "-test.bench="+pattern, "-test.benchmem", "-test.benchtime="+runTime, "-test.count="+runs)
	cmd.Dir = filepath.Join(s.top, pkg)
	cmd.Env = append(os.Environ(), "TASKWATCH_SKIPS=") // of the gate's own tests
	out, err := cmd.CombinedOutput()
	if err == nil {
		err = s.results.Add(pkg, out)
	}
	if err != nil {
		b.Fatalf("%s: %v\n%s", cmd, err, out)
	}
}
