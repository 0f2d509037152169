package bpf

import "testing"

// simulate has events come gapNS apart for a second, and returns the share of the time
// that the reader has spent on looking, and the share of events for which it was awake.
func simulate(l *lookout, gapNS int64) (looking, awake float64) {
	const second = 1_000_000_000
	var spent, n, met int64
	begin := l.sinceNS + second
	at := begin
	for next := at + gapNS; at < begin+second; next += gapNS {
		until := l.begin(at)
		if n++; until > next || next <= at {
			met++
			until = max(at, next)
		}
		spent += until - at
		l.looked(until)
		at = max(until, next)
		l.came(at)
	}
	return float64(spent) / float64(at-begin), float64(met) / float64(n)
}

// The reader looks while events come fast, and for a bounded part of the time.
func TestLookout(t *testing.T) {
	for _, c := range []struct {
		gapNS                int64
		mostLooking, isAwake float64
	}{
		{15_000, 0.81, 0.75},
		{40_000, 0.81, 0.75},
		{59_000, 0.81, 0.75},
		{61_000, 0.01, 0},
		{1_000_000, 0.01, 0},
		{10_000_000, 0.01, 0},
	} {
		l := lookout{gapNS: mostGap}
		if looking, awake := simulate(&l, c.gapNS); looking > c.mostLooking || awake < c.isAwake {
			t.Errorf("events %d ns apart: it looks for %.3f of the time, want at most %.2f, and is awake for %.3f of the events, want %.2f",
				c.gapNS, looking, c.mostLooking, awake, c.isAwake)
		}
		// It notices when events come slower, and when they come faster again.
		if looking, awake := simulate(&l, 1_000_000); looking > 0.01 || awake > 0.02 {
			t.Errorf("after events %d ns apart: it looks for %.3f of the time, and is awake for %.3f of slow events", c.gapNS, looking, awake)
		}
		if _, awake := simulate(&l, 20_000); awake < 0.75 {
			t.Errorf("after slow events it is awake for %.3f of quick ones", awake)
		}
	}
}

// It does not look with one processor, nor for a while after it has lost its own.
func TestLookoutRests(t *testing.T) {
	one := lookout{never: true, gapNS: 1}
	if until := one.begin(5); until != 5 {
		t.Errorf("with one processor it looks until %d", until)
	}
	l := lookout{gapNS: 1}
	if until := l.begin(5); until != 5+lookTime {
		t.Errorf("it looks until %d, want %d", until, 5+lookTime)
	}
	l.preempted(100)
	for _, c := range []struct{ at, until int64 }{{101, 101}, {99 + lookPause, 99 + lookPause}, {100 + lookPause, 100 + lookPause + lookTime}} {
		if until := l.begin(c.at); until != c.until {
			t.Errorf("at %d, after it was preempted at 100, it looks until %d, want %d", c.at, until, c.until)
		}
	}
}
