//go:build amd64 || arm64

// The recordings are source/ptrace's, which is for these processors.

package replay_test

import (
	"bytes"
	"testing"

	"github.com/taskwatch/taskwatch"
	"github.com/taskwatch/taskwatch/internal/watchtest"
	"github.com/taskwatch/taskwatch/record"
	"github.com/taskwatch/taskwatch/source"
	"github.com/taskwatch/taskwatch/source/ptrace"
	"github.com/taskwatch/taskwatch/source/replay"
)

// newInstance runs the suite's command, records everything, and replays it.
func newInstance(t testing.TB, cmd watchtest.Command) watchtest.Instance {
	t.Helper()
	live, err := ptrace.New(ptrace.Config{
		Command:  &source.Command{Path: cmd.Path, Argv: cmd.Argv, Env: cmd.Env, Dir: cmd.Dir, Stdin: cmd.Stdin, Stdout: cmd.Stdout, Stderr: cmd.Stderr},
		OnNotice: func(notice string) { t.Errorf("unexpected notice: %s", notice) },
	})
	if err != nil {
		t.Fatal(err)
	}
	var (
		reg       taskwatch.Registry
		recording bytes.Buffer
	)
	w := record.NewWriter(&recording, taskwatch.WantAll(taskwatch.AllKinds))
	if err := reg.Attach(w); err != nil {
		t.Fatal(err)
	}
	if err := live.Run(t.Context(), &reg); err != nil {
		t.Fatal(err)
	}
	if err := reg.Detach(t.Context(), w); err != nil {
		t.Fatal(err)
	}
	src, err := replay.New(replay.Config{Reader: bytes.NewReader(recording.Bytes()), Name: "recording", Scan: true})
	if err != nil {
		t.Fatal(err)
	}
	return watchtest.Instance{Source: promised{src, live}, Exit: live.Exit, EventSource: live.Name()}
}

// promised is a replay held to what the live source declares: what the
// recording itself holds would excuse everything that was not recorded.
type promised struct {
	*replay.Source
	live *ptrace.Source
}

func (p promised) Capabilities() source.Capabilities {
	caps := p.live.Capabilities()
	for k := range caps.Events {
		caps.Events[k].Veto = false
	}
	return caps
}

func TestConformance(t *testing.T) {
	watchtest.Source(t, watchtest.Config{New: newInstance, Recorded: true})
}
