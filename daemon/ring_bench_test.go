package daemon

import (
	"testing"

	"github.com/taskwatch/taskwatch"
)

// BenchmarkRing is what the ring costs for each event while a stream that can be
// resumed exists: an ordinary exec, in a full ring.
func BenchmarkRing(b *testing.B) {
	r := &ring{limit: int(defaultLimits.ring), instance: "x", waiting: map[chan struct{}]struct{}{}}
	ev := &taskwatch.Event{Kind: taskwatch.Exec, Task: &taskwatch.Task{
		PID: 4711, TID: 4711, Comm: "cc1", Exe: "/usr/lib/gcc/x86_64-linux-gnu/12/cc1", Cwd: "/home/user/project",
		Argv: []string{"/usr/lib/gcc/x86_64-linux-gnu/12/cc1", "-quiet", "-O2", "-Wall", "main.c", "-o", "/tmp/ccXXXXXX.s"},
	}}
	it := taskwatch.Item{Event: ev}
	for r.bytes < r.limit-2*it.Size() {
		r.Take(it)
	}
	b.ReportAllocs()
	for b.Loop() {
		ev.Seq++
		r.Take(it)
	}
}
