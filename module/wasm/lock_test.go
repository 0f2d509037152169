package wasm

import (
	"context"
	"runtime"
	"sync"
	"testing"
	"time"
)

// However many give up waiting, no more than one goroutine is left behind, and
// whoever waits on gets the lock.
func TestLock(t *testing.T) {
	var l lock
	if !l.within(t.Context(), 0) {
		t.Fatal("a lock that is free is not given")
	}
	before := runtime.NumGoroutine()
	gone, cancel := context.WithCancel(t.Context())
	cancel()
	for range 1000 {
		if l.within(gone, time.Hour) || l.within(t.Context(), 0) {
			t.Fatal("the lock is given twice")
		}
	}
	if n := runtime.NumGoroutine(); n > before+1 {
		t.Errorf("%d goroutines wait, for nobody", n-before)
	}
	var all sync.WaitGroup
	inside := 0
	for i := range 100 {
		all.Go(func() {
			if i%2 == 0 {
				l.Lock()
			} else if !l.within(context.Background(), forever) {
				t.Error("it is not given")
				return
			}
			defer l.Unlock()
			inside++
		})
	}
	l.Unlock()
	all.Wait()
	if inside != 100 {
		t.Errorf("%d have had it", inside)
	}
	// Some give up just when they are given it.
	for range 1000 {
		for range 4 {
			all.Go(func() {
				if l.within(context.Background(), time.Microsecond) {
					inside++
					l.Unlock()
				}
			})
		}
		all.Wait()
	}
	if !l.within(context.Background(), forever) {
		t.Fatal("it was given to one that has given up")
	}
	l.Unlock() // the goroutine may still wait
}
