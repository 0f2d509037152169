package taskwatch

import (
	"fmt"
	"testing"
)

// BenchmarkNotify compares a delivery with the floor, a loop over a slice of
// functions, for several numbers of watchers and goroutines.
func BenchmarkNotify(b *testing.B) {
	for _, n := range []int{0, 1, 8, 64} {
		fns := make([]Watcher, n)
		for i := range fns {
			fns[i] = func(*Event) error { return nil }
		}
		bare := func(ev *Event) (first error) {
			for _, fn := range fns {
				if err := fn(ev); err != nil && first == nil {
					first = err
				}
			}
			return first
		}
		var r Registry
		if n > 0 {
			if err := r.Register(&Module{Name: "bench", Table: Table{Exec: fns}}); err != nil {
				b.Fatal(err)
			}
		}
		for _, goroutines := range []int{1, 2} {
			for name, call := range map[string]func(*Event) error{"bare": bare, "notify": r.Notify} {
				b.Run(fmt.Sprintf("watchers=%d/goroutines=%d/%s", n, goroutines, name), func(b *testing.B) {
					b.ReportAllocs()
					done := make(chan struct{}, goroutines)
					for range goroutines {
						go func() {
							ev := &Event{Kind: Exec}
							for range b.N {
								if call(ev) != nil {
									panic("unexpected error")
								}
							}
							done <- struct{}{}
						}()
					}
					for range goroutines {
						<-done
					}
				})
			}
		}
	}
}
