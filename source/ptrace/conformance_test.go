package ptrace_test

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/taskwatch/taskwatch"
	"github.com/taskwatch/taskwatch/internal/testutil"
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

func TestOptionalFieldsAreTrue(t *testing.T) {
	watchtest.Optional(t, newInstance, taskwatch.FieldLabel|taskwatch.FieldBeforeMaxRSS)
}

// The kernel gives no rights to a program that an ordinary user traces, and none
// are told. TestUnprivileged runs it, and has made the files.
func TestGainsUnderAnOrdinaryTracer(t *testing.T) {
	testutil.Require(t, testutil.Need{
		What: "an ordinary user with files that give rights", Remedy: "run TestUnprivileged as root",
		Met: func() bool { return os.Geteuid() != 0 && os.Getenv("TASKWATCH_TEST_SETUID") != "" },
	})
	watchtest.Gains(t, func(t testing.TB, cmd watchtest.Command) watchtest.Instance {
		src, err := ptrace.New(ptrace.Config{
			Command: &source.Command{Path: cmd.Path, Argv: cmd.Argv, Env: cmd.Env, Dir: cmd.Dir, Stdin: cmd.Stdin, Stdout: cmd.Stdout, Stderr: cmd.Stderr},
		}) // its notice is about the setuid file
		if err != nil {
			t.Fatal(err)
		}
		return watchtest.Instance{Source: src, Exit: src.Exit}
	}, filepath.Join(filepath.Dir(os.Getenv("TASKWATCH_TEST_SETUID")), "gains"), os.Geteuid(), true)
}
