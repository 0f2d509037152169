package ptrace

import (
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/taskwatch/taskwatch/source"
)

// Whenever the thread that asks loses its processor: a signal that the command
// never has is known to be one soon after the patience is over, with nothing
// else happening.
func TestReachedEnds(t *testing.T) {
	src := &Source{}
	src.signals.came = make(chan struct{}, 1)
	done := make(chan struct{})
	go func() {
		defer close(done)
		for i := range 2_000 {
			patience := time.Duration(i%50) * time.Microsecond
			if had, known := src.Reached(source.Signal{Number: unix.SIGIO, Sender: 1}, patience); had || !known {
				t.Errorf("the command has had it: %v, known: %v", had, known)
			}
		}
	}()
	select {
	case <-done:
	case <-time.After(time.Minute):
		t.Fatal("it waits for ever")
	}
}
