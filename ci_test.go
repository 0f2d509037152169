package taskwatch_test

import (
	"errors"
	"os/exec"
	"slices"
	"strings"
	"testing"

	"github.com/taskwatch/taskwatch/internal/testutil"
)

// The gate's steps: which are run, in which order, and what becomes of those
// that fail, also where a command fails that is not a function's last.
func TestStepsOfTheGate(t *testing.T) {
	testutil.RequireTool(t, "bash")
	const script = `set -euo pipefail
		KEEP_GOING= # whatever the tests themselves are run with
		. .ci/common
		bad() { false; echo went on; }
		step one echo did one
		step two bad
		step three echo "did  three"
		`
	for _, c := range []struct {
		args   string
		status int
		want   []string
	}{
		{"steps", 1, []string{"== one", "did one", "== one: ok", "== two", "== two: FAILED", "== FAILED: two"}},
		{"KEEP_GOING=1; steps", 1, []string{"== one", "did one", "== one: ok", "== two", "== two: FAILED", "== three", "did  three", "== three: ok", "== FAILED: two"}},
		{"steps three one", 0, []string{"== one", "did one", "== one: ok", "== three", "did  three", "== three: ok", "== all passed"}},
		{"steps -l", 0, []string{"one", "two", "three"}},
		{"steps one four", 2, nil},
	} {
		t.Run(c.args, func(t *testing.T) {
			out, status := bash(t, "-c", script+c.args)
			var got []string
			for line := range strings.Lines(out) {
				line = strings.TrimSpace(line)
				for _, end := range []string{": ok", ": FAILED", "== all passed"} {
					if before, _, ok := strings.Cut(line, end); ok {
						line = before + end // without the seconds
					}
				}
				if line != "" && !strings.HasPrefix(line, "== skipped tests: ") {
					got = append(got, line)
				}
			}
			if status != c.status || !slices.Equal(got, c.want) {
				t.Errorf("status %d and %q, want %d and %q", status, got, c.status, c.want)
			}
		})
	}
	for _, name := range []string{".ci/run", ".ci/nightly"} {
		out, status := bash(t, name, "-l")
		steps := strings.Fields(out)
		if slices.Sort(steps); status != 0 || len(steps) < 10 || len(slices.Compact(steps)) != strings.Count(out, "\n") {
			t.Errorf("%s -l ends with %d and lists %q, want single words that differ", name, status, out)
		}
	}
}

func bash(t *testing.T, args ...string) (stdout string, status int) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "bash", args...)
	out, err := cmd.Output()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		t.Fatal(err)
	}
	return string(out), cmd.ProcessState.ExitCode()
}
