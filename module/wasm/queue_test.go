package wasm

import (
	"runtime"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/taskwatch/taskwatch"
)

// queuesFor returns queues in the ring, each with room for so many events.
func queuesFor(t testing.TB, r *ring, most ...int) (list []*queue) {
	t.Helper()
	for _, n := range most {
		q := newQueue(n, nil, new(atomic.Uint64))
		if !r.join(q) {
			t.Fatal("the ring has no room for a queue")
		}
		list = append(list, q)
	}
	t.Cleanup(func() {
		for _, q := range list {
			if !q.gone && r.leave(q) {
				r.end()
			}
		}
	})
	return list
}

// A queue has room for exactly as many events as it may have, however they are taken
// out, and hands them out in their order.
func TestQueue(t *testing.T) {
	for _, most := range []int{1, 7, 32, 33, 100, 1000} {
		q := queuesFor(t, newRing(), most)[0]
		var in, out uint64
		put := func(n int) (done int) {
			for ; done < n && q.put(numbered(in+1)); done++ {
				in++
			}
			return done
		}
		take := func(n int) {
			t.Helper()
			for range n {
				e := q.take()
				if e == nil {
					t.Fatalf("room for %d: nothing is there, behind %d of %d", most, out, in)
				}
				if out++; e.event().Seq != out {
					t.Fatalf("room for %d: got event %d, want %d", most, e.event().Seq, out)
				}
			}
		}
		for round := range 50 {
			room := most - int(in-out)
			if got := put(most + 1); got != room || q.len() != most || !q.full() {
				t.Fatalf("room for %d: %d fit in, want %d; %d wait", most, got, room, q.len())
			}
			take(1 + round%most)
			if q.len() != int(in-out) || q.full() {
				t.Fatalf("room for %d: %d wait, want %d", most, q.len(), in-out)
			}
		}
		left := int(in - out)
		if got := q.clear(); got != left || q.len() != 0 || q.take() != nil {
			t.Fatalf("room for %d: %d dropped, want %d", most, got, left)
		}
		out = in
		put(most)
		take(most)
	}
}

func numbered(seq uint64) *taskwatch.Event {
	ev := event(taskwatch.Exec)
	ev.Seq = seq
	return ev
}

// While one puts and one takes, a queue never holds more than it may, nor says that
// it is empty while there is one more than the event that was taken last.
func TestQueueMeanwhile(t *testing.T) {
	const n, most = 50_000, 40
	q := queuesFor(t, newRing(), most)[0]
	var in, out atomic.Uint64
	var both sync.WaitGroup
	both.Go(func() {
		for seq := uint64(1); seq <= n; {
			if !q.put(numbered(seq)) {
				runtime.Gosched()
				continue
			}
			in.Store(seq)
			seq++
		}
	})
	both.Go(func() {
		for seq := uint64(1); seq <= n; {
			e := q.take()
			if e == nil {
				runtime.Gosched()
				continue
			}
			if got := e.event().Seq; got != seq {
				t.Errorf("got event %d, want %d", got, seq)
			}
			out.Store(seq)
			seq++
		}
	})
	for out.Load() < n {
		before := in.Load()
		waiting := q.len()
		if waiting > most {
			t.Errorf("%d wait, in a queue for %d", waiting, most)
		}
		if taken := out.Load(); waiting == 0 && taken+1 < before {
			t.Errorf("none waits, but %d of %d events are taken", taken, before)
		}
		runtime.Gosched()
	}
	both.Wait()
}
