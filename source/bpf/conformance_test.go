package bpf_test

import (
	"testing"
	"time"

	"github.com/taskwatch/taskwatch"
	"github.com/taskwatch/taskwatch/internal/testutil"
	"github.com/taskwatch/taskwatch/internal/watchtest"
	"github.com/taskwatch/taskwatch/source"
	"github.com/taskwatch/taskwatch/source/bpf"
)

const maxArgv = 128 << 10

func config(cmd watchtest.Command) *source.Command {
	return &source.Command{
		Path: cmd.Path, Argv: cmd.Argv, Env: cmd.Env, Dir: cmd.Dir,
		Stdin: cmd.Stdin, Stdout: cmd.Stdout, Stderr: cmd.Stderr,
	}
}

func newSource(t testing.TB, cfg bpf.Config) *bpf.Source {
	t.Helper()
	src, err := bpf.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := src.Close(); err != nil {
			t.Error(err)
		}
	})
	return src
}

// The source starts the command itself and watches its tree.
func TestConformanceOfTheTreeScope(t *testing.T) {
	testutil.Root(t)
	t.Cleanup(bpf.WaitForFrees(30 * time.Second))
	watchtest.Source(t, watchtest.Config{MaxArgv: maxArgv, Short: testing.Short(), New: func(t testing.TB, cmd watchtest.Command) watchtest.Instance {
		src := newSource(t, bpf.Config{Command: config(cmd), Latency: bpf.DefaultLatency})
		return watchtest.Instance{Source: src, Exit: src.Exit}
	}})
}

// Programs that others wrote, under a source that starts them itself.
func TestLoads(t *testing.T) {
	testutil.Root(t)
	t.Parallel()
	watchtest.Loads(t, watchtest.Config{New: func(t testing.TB, cmd watchtest.Command) watchtest.Instance {
		src := newSource(t, bpf.Config{Command: config(cmd), Latency: bpf.DefaultLatency})
		bpf.WatchLives(t, src.Table())
		return watchtest.Instance{Source: src, Exit: src.Exit}
	}})
}

// The suite starts the command, and the source watches the machine.
func TestConformanceOfTheMachineScope(t *testing.T) {
	testutil.Root(t)
	testutil.Long(t)
	// What differs from the other scope is where events come from.
	short := !testutil.NeedsNightly.Met()
	watchtest.Source(t, watchtest.Config{MaxArgv: maxArgv, Short: short, New: func(t testing.TB, cmd watchtest.Command) watchtest.Instance {
		ready := make(chan struct{})
		src := newSource(t, bpf.Config{Latency: bpf.DefaultLatency, OnReady: func() { close(ready) }})
		return watchtest.Instance{Source: src, Ready: ready}
	}})
}

func TestOptionalFieldsAreTrue(t *testing.T) {
	testutil.Root(t)
	t.Parallel()
	watchtest.Optional(t, func(t testing.TB, cmd watchtest.Command) watchtest.Instance {
		src := newSource(t, bpf.Config{Command: config(cmd), Latency: bpf.DefaultLatency})
		return watchtest.Instance{Source: src, Exit: src.Exit}
	}, taskwatch.FieldLabel) // it needs the module: see test/modules
}
