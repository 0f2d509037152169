package export

import (
	"bytes"
	"encoding/json"
	"io"
	"strings"
	"syscall"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/taskwatch/taskwatch"
	"github.com/taskwatch/taskwatch/internal/testutil"
	"github.com/taskwatch/taskwatch/sink/chrome"
	"github.com/taskwatch/taskwatch/sink/otlp"
	"github.com/taskwatch/taskwatch/sink/perfetto"
	"github.com/taskwatch/taskwatch/sink/sqlite"
)

// An exec that failed is told where the process is that tried it.
func TestFailedExecs(t *testing.T) {
	task := &taskwatch.Task{ID: taskwatch.TaskID{Run: 1, N: 1}, PID: 5, TID: 5, Exe: "/bin/sh", Argv: []string{"sh"}}
	feed := func(sink taskwatch.Sink) {
		t.Helper()
		if !taskwatch.WantsFailedExecs(sink) {
			t.Errorf("%T does not ask for failed execs", sink)
		}
		now := time.Unix(1, 0)
		sink.Take(taskwatch.Item{Event: &taskwatch.Event{Seq: 1, Kind: taskwatch.Exec, Time: now, MonoNS: 1000, Task: task}})
		sink.Take(taskwatch.Item{Failed: &taskwatch.FailedExec{Seq: 2, Time: now, MonoNS: 2000, Path: "/nosuch", Argv: []string{"no", "such"}, Errno: syscall.ENOENT, Task: task}})
		sink.Take(taskwatch.Item{Event: &taskwatch.Event{Seq: 2, Kind: taskwatch.Exit, Time: now, MonoNS: 3000, Task: task, Exit: taskwatch.ExitStatus{Group: true}}})
		if err := sink.Close(t.Context()); err != nil {
			t.Fatal(err)
		}
	}

	var out bytes.Buffer
	feed(chrome.New(&out))
	var doc struct {
		TraceEvents []struct {
			Ph, Name string
			TID      uint64
			Args     struct {
				Path string
				Argv []string
			}
		}
	}
	if err := json.Unmarshal(out.Bytes(), &doc); err != nil {
		t.Fatal(err)
	}
	found := 0
	for _, e := range doc.TraceEvents {
		if e.Ph == "i" && e.Name == "exec fails: ENOENT" && e.TID == 1 && e.Args.Path == "/nosuch" && strings.Join(e.Args.Argv, " ") == "no such" {
			found++
		}
	}
	if found != 1 {
		t.Errorf("chrome has it %d times:\n%s", found, out.Bytes())
	}

	out.Reset()
	feed(perfetto.New(&out))
	var trace perfetto.Trace
	if err := proto.Unmarshal(out.Bytes(), &trace); err != nil {
		t.Fatal(err)
	}
	var tracks []uint64 // of the slice and of the instant
	for _, p := range trace.Packet {
		if e := p.TrackEvent; e.GetType() == perfetto.TrackEvent_TYPE_SLICE_BEGIN || e.GetName() == "exec fails: ENOENT" {
			tracks = append(tracks, e.GetTrackUuid())
		}
	}
	if len(tracks) != 2 || tracks[0] != tracks[1] {
		t.Errorf("perfetto has the slice and the instant on tracks %v", tracks)
	}

	out.Reset()
	cfg := config(t, nil)
	feed(otlp.New(cfg, otlp.NewFileSender(&out)))
	text, err := io.ReadAll(&out)
	if err != nil {
		t.Fatal(err)
	}
	var data struct {
		ResourceSpans []struct {
			ScopeSpans []struct {
				Spans []struct {
					Name   string
					Events []struct {
						Name         string
						TimeUnixNano string
					}
				}
			}
		}
	}
	if err := json.Unmarshal(text, &data); err != nil {
		t.Fatal(err)
	}
	found = 0
	for _, s := range data.ResourceSpans[0].ScopeSpans[0].Spans {
		for _, e := range s.Events {
			if s.Name == "sh" && e.Name == "taskwatch.exec_failed" && e.TimeUnixNano == "1000001000" {
				found++
			}
		}
	}
	if found != 1 {
		t.Errorf("otlp has it %d times:\n%s", found, text)
	}

	sqlite3 := testutil.RequireTool(t, "sqlite3")
	out.Reset()
	tables := sqlite.New(&out, taskwatch.AllKinds, 0)
	if taskwatch.WantsFailedExecs(tables) {
		t.Error("tables ask for failed execs, and nobody has")
	}
	tables.WithFailedExecs()
	feed(tables)
	dir := t.TempDir()
	command(t, dir, out.Bytes(), sqlite3, "-bail", "a.db")
	const question = "SELECT p.pid, f.seq, f.mono_ns, f.errno, f.path, f.argv FROM failed_execs f JOIN processes p ON p.id = f.process"
	if got := string(command(t, dir, nil, sqlite3, "a.db", question)); got != "5|2|2000|2|/nosuch|[\"no\",\"such\"]\n" {
		t.Errorf("sqlite3 has %q", got)
	}
}
