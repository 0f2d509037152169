package kernel

import (
	"testing"
	"time"

	"github.com/taskwatch/taskwatch/module"
)

// Of each second's lines those beyond the limit are dropped, and counted in the next.
func TestLogLimit(t *testing.T) {
	l := logger{}
	now := time.Now()
	for i := range module.LogsPerSecond + 3 {
		if room, dropped := l.take(now); room != (i < module.LogsPerSecond) || dropped != 0 {
			t.Fatalf("line %d: room %v, %d dropped", i, room, dropped)
		}
	}
	if room, dropped := l.take(now.Add(time.Second)); !room || dropped != 3 {
		t.Errorf("a second later: room %v, %d dropped, want 3", room, dropped)
	}
	if room, dropped := l.take(now.Add(2 * time.Second)); !room || dropped != 0 {
		t.Errorf("another second later: room %v, %d dropped", room, dropped)
	}
}
