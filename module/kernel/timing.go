package kernel

import (
	"fmt"

	"github.com/cilium/ebpf"

	"github.com/taskwatch/taskwatch/internal/link"
)

// numBuckets is how many buckets a histogram of calls has.
const numBuckets = link.NumBuckets

// CallStats counts the calls of a watcher, on all CPUs.
type CallStats struct {
	Calls  uint64
	TimeNS uint64 // that they took, all together

	// Buckets counts them by how long they took: Buckets[i] those of 2^i to
	// 2^(i+1)-1 ns, but for the first, which has those of 0 ns, too, and the
	// last, which has all that took longer.
	Buckets [numBuckets]uint64
}

// Add adds the calls of another watcher.
func (s *CallStats) Add(other *CallStats) {
	s.Calls += other.Calls
	s.TimeNS += other.TimeNS
	for i, n := range other.Buckets {
		s.Buckets[i] += n
	}
}

// MeanNS returns how long a call took on average, or 0 without calls.
func (s *CallStats) MeanNS() uint64 {
	if s.Calls == 0 {
		return 0
	}
	return s.TimeNS / s.Calls
}

// P99NS returns a time, a power of two, that 99 of 100 calls took less than, or
// 0 without calls.
func (s *CallStats) P99NS() uint64 {
	var below uint64
	for i, n := range s.Buckets {
		if below += n; n > 0 && below >= s.Calls-s.Calls/100 {
			return 2 << i
		}
	}
	return 0
}

// newTiming makes the map of a module with so many watchers.
func newTiming(watchers int) (*ebpf.Map, error) {
	m, err := ebpf.NewMap(&ebpf.MapSpec{
		Name: "tw_calls", Type: ebpf.PerCPUArray, KeySize: 4, ValueSize: 8 * link.TimingWords, MaxEntries: uint32(watchers),
	})
	if err != nil {
		return nil, fmt.Errorf("create the map of its calls: %w", err)
	}
	return m, nil
}

// callStats reads what the n-th watcher of a map has counted.
func callStats(m *ebpf.Map, n int) (s CallStats, err error) {
	var cpus [][link.TimingWords]uint64
	if err := m.Lookup(uint32(n), &cpus); err != nil {
		return s, fmt.Errorf("read the map of its calls: %w", err)
	}
	for _, words := range cpus {
		s.Add(&CallStats{TimeNS: words[link.TimingNS], Buckets: [numBuckets]uint64(words[link.TimingBuckets:])})
	}
	for _, n := range s.Buckets {
		s.Calls += n
	}
	return s, nil
}
