package wasm

import (
	"math/rand/v2"
	"runtime/debug"
	"sync"
	"testing"
	"time"

	"github.com/taskwatch/taskwatch"
	"github.com/taskwatch/taskwatch/module/wasm/internal/wasmfile"
)

// BenchmarkReach is how long another goroutine waits at most for a module that
// does the largest things there are without end, while garbage is collected
// all the time. "idle" is the same without a module.
func BenchmarkReach(b *testing.B) {
	defer debug.SetGCPercent(debug.SetGCPercent(10))
	rng := rand.New(rand.NewPCG(15, 3))
	bulk := []string{
		number(mebi) + number(1) + number(15*mebi) + "\xfc\x0b\x00",
		number(mebi) + number(mebi+1) + number(14*mebi) + "\xfc\x0a\x00\x00",
		number(mebi+1) + number(mebi) + number(14*mebi) + "\xfc\x0a\x00\x00",
		number(1) + "\x40\x00\x1a",
	}
	const deadline = 20 * time.Millisecond
	worst := func(during func()) time.Duration {
		done, most := make(chan struct{}), time.Duration(0)
		var others sync.WaitGroup
		others.Go(func() { // the ticker
			last := time.Now()
			for {
				select {
				case <-done:
					return
				case <-time.After(time.Millisecond):
					now := time.Now()
					most, last = max(most, now.Sub(last)-time.Millisecond), now
				}
			}
		})
		others.Go(func() { // garbage
			for {
				select {
				case <-done:
					return
				default:
					_ = make([]byte, 64<<10)
					time.Sleep(50 * time.Microsecond)
				}
			}
		})
		during()
		close(done)
		others.Wait()
		return most
	}
	var idle, loaded time.Duration
	for b.Loop() {
		f := wasmfile.Good()
		f.Memory[0] = "\x00" + wasmfile.U32(256)
		code := ""
		for range 1 + rng.IntN(200) {
			code += bulk[rng.IntN(len(bulk))]
		}
		f.Funcs[4].Code = "\x03\x40" + code + "\x0c\x00\x0b\x41\x00"
		o, err := Parse("reach", f.Bytes())
		if err != nil {
			b.Fatal(err)
		}
		m := load(b, o, LoadOptions{Synchronous: true, Deadline: deadline})
		o.Close()
		var r taskwatch.Registry
		register(b, &r, m.Watchers(0))
		idle = max(idle, worst(func() { time.Sleep(2 * deadline) }))
		loaded = max(loaded, worst(func() { _ = r.Feed().Notify(event(taskwatch.Exec)) }))
	}
	b.ReportMetric(0, "ns/op")
	b.ReportMetric(idle.Seconds()*1000, "ms/idle")
	b.ReportMetric(loaded.Seconds()*1000, "ms/worst")
	b.ReportMetric(deadline.Seconds()*1000, "ms/deadline")
}
