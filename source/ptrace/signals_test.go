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

// What the command has had counts by when this process caught the signal, which may be
// long ago when it is asked about. It is kept within bounds.
func TestReachedLate(t *testing.T) {
	src := &Source{}
	src.signals.came = make(chan struct{}, 1)
	usr1 := source.Signal{Number: unix.SIGUSR1, Sender: 1}
	src.signals.had = []had{{usr1, time.Now().Add(-3 * time.Second)}}
	if had, known := src.Reached(usr1, 0); had || !known {
		t.Errorf("one of now is said to be one of 3 seconds ago: %v, known: %v", had, known)
	}
	if had, _ := src.Reached(usr1, -3*time.Second); !had {
		t.Error("one that came 3 seconds ago is not found")
	}
	src.signals.had = []had{{usr1, time.Now().Add(-2 * kept)}}
	for range keptMost + 10 {
		src.signals.add(source.Signal{Number: unix.SIGUSR2, Sender: 1})
	}
	if n := len(src.signals.had); n != keptMost || src.signals.had[0].Number != unix.SIGUSR2 {
		t.Errorf("%d signals are kept, the first is %v; want %d of %v", n, src.signals.had[0].Number, keptMost, unix.SIGUSR2)
	}
}
