package daemon

import (
	"context"
	"fmt"
	"testing"

	"github.com/taskwatch/taskwatch"
)

// BenchmarkStreams is what streams that may not be resumed cost for an event, all of
// them together, from the registry to the bytes that are sent.
func BenchmarkStreams(b *testing.B) {
	for _, n := range []int{1, 8, 32} {
		b.Run(fmt.Sprintf("streams=%d", n), func(b *testing.B) {
			var reg taskwatch.Registry
			var h hub
			if err := h.start(&reg, n); err != nil {
				b.Fatal(err)
			}
			var streams []*stream
			for range n {
				s, err := newStream(new(choice))
				if err != nil {
					b.Fatal(err)
				}
				if err := h.admit(s, 0); err != nil {
					b.Fatal(err)
				}
				s.open(defaultLimits.buffer, &h.copies, func([]byte, uint64) error { return nil })
				if err := reg.Attach(s); err != nil {
					b.Fatal(err)
				}
				s.client.begin()
				streams = append(streams, s)
			}
			const batch = 100
			ev, feed := ordinaryExec(), reg.Feed()
			b.ReportAllocs()
			for b.Loop() {
				for range batch {
					ev.Seq++
					_ = feed.Notify(ev) // nobody watches it
				}
				for _, s := range streams {
					_ = s.queue.Sync(context.Background())
				}
			}
			b.StopTimer()
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/batch, "ns/event")
			for _, s := range streams {
				if s.dropped() > 0 {
					b.Errorf("%d items were dropped", s.dropped())
				}
				s.end(&reg)
				h.forget(s)
			}
		})
	}
}
