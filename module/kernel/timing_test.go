package kernel

import (
	"math/bits"
	"runtime"
	"testing"
)

// The calls of a watcher are counted exactly, and timed as long as it has
// measured itself; its result stays what it is.
func TestCallStats(t *testing.T) {
	const (
		execs = 60
		ns    = 30_000 // 2^14 is 16,384
	)
	table := newTable(t, Config{CallStats: true})
	w := startLoad(t, 0, execs, 0)
	m := loadFile(t, "slow", "testdata/modules/slow.c", param("pid", w.pid()), param("ns", ns))
	register(t, table, m)
	w.run()

	// Everybody's execs are counted: as many as the watcher saw between two
	// looks at its own counter, but for those under way.
	before := global(t, m, "asked")
	list, err := table.Modules()
	if err != nil {
		t.Fatal(err)
	}
	after := global(t, m, "asked")
	info := list[0]
	if len(info.Watchers) != 2 || info.Watchers[0].Watcher != "spin" || info.Watchers[1].Watcher != "quick" {
		t.Fatalf("watchers %+v, want spin and quick", info.Watchers)
	}
	spin, quick := info.Watchers[0], info.Watchers[1]
	cpus := uint64(runtime.NumCPU())
	for _, s := range info.Watchers {
		if n := s.Calls.Calls; n < execs || n+cpus < before || n > after {
			t.Errorf("%s: %d calls, want between %d and %d", s.Watcher, n, before, after)
		}
		var sum, least, most uint64
		for i, n := range s.Calls.Buckets {
			sum += n
			if i > 0 {
				least += n << i
			}
			most += n * (2<<i - 1)
		}
		if sum != s.Calls.Calls || s.Calls.TimeNS < least || s.Calls.TimeNS > most {
			t.Errorf("%s: the histogram %v has %d calls of %d to %d ns; counted were %d of %d ns", s.Watcher, s.Calls.Buckets, sum, least, most, s.Calls.Calls, s.Calls.TimeNS)
		}
	}
	if calls := global(t, m, "calls"); calls != execs || spin.Errors != execs || quick.Errors != 0 || info.Errors != execs {
		t.Errorf("%d calls for the load, and %d and %d errors, want %d, %d and 0", calls, spin.Errors, quick.Errors, execs, execs)
	}
	var slow uint64
	for i := bits.Len(ns) - 1; i < numBuckets; i++ {
		slow += spin.Calls.Buckets[i]
	}
	if slow < execs || spin.Calls.TimeNS < execs*ns {
		t.Errorf("%d calls took %d ns or more, %d ns together; want %d calls, %d ns: %v", slow, ns, spin.Calls.TimeNS, execs, execs*ns, spin.Calls.Buckets)
	}

	if err := table.Unregister(m); err != nil {
		t.Fatal(err)
	}
	register(t, table, m)
	if list, err = table.Modules(); err != nil || list[0].Watchers[0].Calls.Calls > 1000 || list[0].Errors != 0 {
		t.Errorf("counters of the module that was registered again: %+v, %v", list[0].Watchers[0].Calls, err)
	}
}

func TestCallStatsOff(t *testing.T) {
	table := newTable(t, Config{})
	register(t, table, loadFile(t, "slow", "testdata/modules/slow.c"))
	list, err := table.Modules()
	if err != nil || list[0].Watchers[0].Calls != nil {
		t.Errorf("%+v, %v; want no counters", list, err)
	}
}

func TestQuantiles(t *testing.T) {
	for _, c := range []struct {
		buckets   map[int]uint64
		ns        uint64
		mean, p99 uint64
	}{
		{nil, 0, 0, 0},
		{map[int]uint64{0: 1}, 1, 1, 2},
		{map[int]uint64{5: 99, 20: 1}, 1_000_000, 10_000, 64},
		{map[int]uint64{5: 98, 20: 2}, 2_000_000, 20_000, 1 << 21},
		{map[int]uint64{31: 1}, 5e9, 5e9, 1 << 32},
	} {
		s := CallStats{TimeNS: c.ns}
		for i, n := range c.buckets {
			s.Buckets[i] = n
			s.Calls += n
		}
		if s.MeanNS() != c.mean || s.P99NS() != c.p99 {
			t.Errorf("%v: mean %d and p99 %d, want %d and %d", c.buckets, s.MeanNS(), s.P99NS(), c.mean, c.p99)
		}
	}
}
