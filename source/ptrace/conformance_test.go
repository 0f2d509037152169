package ptrace_test

import (
	"testing"

	"github.com/taskwatch/taskwatch/internal/watchtest"
	"github.com/taskwatch/taskwatch/source"
	"github.com/taskwatch/taskwatch/source/ptrace"
)

// newInstance makes a source for one command of the suite.
func newInstance(t testing.TB, cmd watchtest.Command) watchtest.Instance {
	t.Helper()
	src, err := ptrace.New(ptrace.Config{
		Command:  &source.Command{Path: cmd.Path, Argv: cmd.Argv, Env: cmd.Env, Dir: cmd.Dir, Stdin: cmd.Stdin, Stdout: cmd.Stdout, Stderr: cmd.Stderr},
		DryRun:   cmd.DryRun,
		OnNotice: func(notice string) { t.Errorf("unexpected notice: %s", notice) },
	})
	if err != nil {
		t.Fatal(err)
	}
	return watchtest.Instance{Source: src, Exit: src.Exit}
}

func TestLoads(t *testing.T) { watchtest.Loads(t, watchtest.Config{New: newInstance}) }

func TestConformance(t *testing.T) {
	watchtest.Source(t, watchtest.Config{New: newInstance, DryRun: true, Short: testing.Short()})
}

func TestOptionalFieldsAreTrue(t *testing.T) { watchtest.Optional(t, newInstance, 0) }
