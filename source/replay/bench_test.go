package replay_test

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"testing"
	"time"

	"github.com/taskwatch/taskwatch"
	"github.com/taskwatch/taskwatch/record"
	"github.com/taskwatch/taskwatch/source/replay"
)

// lives returns a recording of n processes that each run one program.
func lives(n int) []byte {
	var b []byte
	at, seq := time.Unix(1_800_000_000, 0), uint64(0)
	for i := range n {
		id := taskwatch.TaskID{Run: 7, N: uint64(i + 2)}
		task := &taskwatch.Task{
			ID: id, ParentID: taskwatch.TaskID{Run: 7, N: 1}, PID: 1000 + i, TID: 1000 + i, PPID: 1000, StartNS: int64(i) * 1e6,
			Comm: "cc1", Exe: "/usr/lib/gcc/x86_64-linux-gnu/12/cc1", Cwd: "/home/user/project/src", Cgroup: "/user.slice/user-1000.slice/session-3.scope",
			Argv: []string{"/usr/lib/gcc/x86_64-linux-gnu/12/cc1", "-quiet", "-I", "include", fmt.Sprintf("file%d.c", i), "-O2", "-o", fmt.Sprintf("/tmp/cc%d.s", i)},
		}
		for _, k := range []taskwatch.Kind{taskwatch.Init, taskwatch.Clone, taskwatch.Exec, taskwatch.Exit, taskwatch.Free} {
			seq++
			at = at.Add(time.Millisecond)
			b = record.Append(b, taskwatch.Item{Event: &taskwatch.Event{
				Kind: k, Seq: seq, Time: at, MonoNS: at.UnixNano(), Source: "bpf", Task: task, LifetimeNS: 5_000_000,
				Rusage: taskwatch.Rusage{UTimeNS: 4_000_000, STimeNS: 700_000, MaxRSS: 30 << 20, MinFlt: 5000},
			}})
		}
	}
	return b
}

// BenchmarkReplay measures how fast a recording is read, its tasks are followed,
// and its events reach a sink.
func BenchmarkReplay(b *testing.B) {
	text := lives(10_000)
	b.SetBytes(int64(len(text)))
	for b.Loop() {
		var reg taskwatch.Registry
		w := record.NewWriter(io.Discard, taskwatch.WantAll(taskwatch.AllKinds))
		if err := reg.Attach(w); err != nil {
			b.Fatal(err)
		}
		src, err := replay.New(replay.Config{Reader: bytes.NewReader(text)})
		if err != nil {
			b.Fatal(err)
		}
		if err := src.Run(context.Background(), &reg); err != nil {
			b.Fatal(err)
		}
	}
}
