package daemon

import (
	"fmt"
	"testing"

	"github.com/taskwatch/taskwatch"
)

// newTestRing returns a ring without a registry.
func newTestRing(limit int) *ring {
	return &ring{copies: new(copies), limit: limit, instance: "x", waiting: map[chan struct{}]struct{}{}}
}

func ordinaryExec() *taskwatch.Event {
	return &taskwatch.Event{Kind: taskwatch.Exec, Task: &taskwatch.Task{
		PID: 4711, TID: 4711, Comm: "cc1", Exe: "/usr/lib/gcc/x86_64-linux-gnu/12/cc1", Cwd: "/home/user/project",
		Argv: []string{"/usr/lib/gcc/x86_64-linux-gnu/12/cc1", "-quiet", "-O2", "-Wall", "main.c", "-o", "/tmp/ccXXXXXX.s"},
	}}
}

// BenchmarkRing is what the ring costs for each event while a stream that can be
// resumed exists: an ordinary exec, in a full ring.
func BenchmarkRing(b *testing.B) {
	r := newTestRing(defaultLimits.ring)
	ev := ordinaryExec()
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

// BenchmarkRingStreams is what streams that may be resumed cost for an event, all
// of them together, from the ring to the bytes that are sent.
func BenchmarkRingStreams(b *testing.B) {
	for _, n := range []int{1, 8, 32} {
		b.Run(fmt.Sprintf("streams=%d", n), func(b *testing.B) {
			r, shared := newTestRing(defaultLimits.ring), new(renderings)
			type reader struct {
				*stream
				*cursor
				lines []byte
			}
			var readers []reader
			for range n {
				s, err := newStream(&choice{after: afterNow})
				if err != nil {
					b.Fatal(err)
				}
				s.shared = shared
				c, err := r.open(s.categories(), taskwatch.Only{}, *s.after)
				if err != nil {
					b.Fatal(err)
				}
				readers = append(readers, reader{stream: s, cursor: c})
			}
			it := taskwatch.Item{Event: ordinaryExec()}
			const batch = 100
			b.ReportAllocs()
			for b.Loop() {
				for range batch {
					it.Event.Seq++
					r.Take(it)
				}
				for i := range readers {
					s := &readers[i]
					p := s.read()
					var err error
					if s.lines, err = s.stream.lines(s.lines[:0], s.cursor, &p, func([]byte) error { return nil }); err != nil {
						b.Fatal(err)
					}
				}
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/batch, "ns/event")
		})
	}
}
