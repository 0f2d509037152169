package kernel

import (
	"fmt"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"
)

// numBuckets is how many buckets a histogram of calls has.
const numBuckets = 32

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

// The words of one watcher in the map of a module's calls, which has a value
// per watcher and CPU.
const (
	timingNS = iota
	timingBuckets
	timingWords = timingBuckets + numBuckets
)

// newTiming makes the map of a module with so many watchers.
func newTiming(watchers int) (*ebpf.Map, error) {
	m, err := ebpf.NewMap(&ebpf.MapSpec{
		Name: "tw_calls", Type: ebpf.PerCPUArray, KeySize: 4, ValueSize: 8 * timingWords, MaxEntries: uint32(watchers),
	})
	if err != nil {
		return nil, fmt.Errorf("create the map of its calls: %w", err)
	}
	return m, nil
}

// callStats reads what the n-th watcher of a map has counted.
func callStats(m *ebpf.Map, n int) (s CallStats, err error) {
	var cpus [][timingWords]uint64
	if err := m.Lookup(uint32(n), &cpus); err != nil {
		return s, fmt.Errorf("read the map of its calls: %w", err)
	}
	for _, words := range cpus {
		s.Add(&CallStats{TimeNS: words[timingNS], Buckets: [numBuckets]uint64(words[timingBuckets:])})
	}
	for _, n := range s.Buckets {
		s.Calls += n
	}
	return s, nil
}

// startTiming puts the time aside. It uses R0 to R5.
func (g *gen) startTiming() {
	g.emit(
		asm.FnKtimeGetNs.Call(),
		asm.StoreMem(asm.RFP, stackStart, asm.R0, asm.DWord),
	)
}

// endTiming counts a call of the n-th watcher of a map. It keeps R0, which is
// the watcher's result, and uses R1 to R5.
//
// A task may be preempted in the middle, hence the atomic additions to words
// that are the CPU's own.
func (g *gen) endTiming(m asm.FDer, n int, counted string) {
	g.emit(
		asm.StoreMem(asm.RFP, stackResult, asm.R0, asm.DWord),
		asm.FnKtimeGetNs.Call(),
		asm.LoadMem(asm.R1, asm.RFP, stackStart, asm.DWord),
		asm.Sub.Reg(asm.R0, asm.R1),
		asm.StoreMem(asm.RFP, stackStart, asm.R0, asm.DWord),
		asm.StoreImm(asm.RFP, stackKey, int64(n), asm.Word),
		asm.LoadMapPtr(asm.R1, m.FD()),
		asm.Mov.Reg(asm.R2, asm.RFP), asm.Add.Imm(asm.R2, stackKey),
		asm.FnMapLookupElem.Call(),
		asm.JEq.Imm(asm.R0, 0, counted),
		asm.LoadMem(asm.R1, asm.RFP, stackStart, asm.DWord),
		asm.AddAtomic.Mem(asm.R0, asm.R1, asm.DWord, 8*timingNS),
		// The bucket: R2 is the number of the highest bit of R1, found
		// without branches, which would multiply the verifier's work. 2^31
		// ns and more are the last one's.
		asm.Mov.Imm(asm.R4, 1), asm.LSh.Imm(asm.R4, 31), asm.Sub.Imm(asm.R4, 1),
		asm.Mov.Reg(asm.R3, asm.R4), asm.Sub.Reg(asm.R3, asm.R1),
		asm.ArSh.Imm(asm.R3, 63), asm.And.Reg(asm.R3, asm.R4), asm.Or.Reg(asm.R1, asm.R3),
		asm.And.Reg(asm.R1, asm.R4),
		asm.RSh.Imm(asm.R3, 30), // 1 where it was too much
		asm.Mov.Imm(asm.R2, 0),
	)
	for bits := 4; bits >= 0; bits-- { // is anything left above the lowest 1<<bits?
		g.emit(
			asm.Mov.Imm(asm.R4, int32(1)<<(1<<bits)-1),
			asm.Sub.Reg(asm.R4, asm.R1),
			asm.RSh.Imm(asm.R4, 63),
			asm.LSh.Imm(asm.R4, int32(bits)),
			asm.RSh.Reg(asm.R1, asm.R4),
			asm.Add.Reg(asm.R2, asm.R4),
		)
	}
	g.emit(
		asm.Add.Reg(asm.R2, asm.R3),
		asm.And.Imm(asm.R2, numBuckets-1),
		asm.LSh.Imm(asm.R2, 3),
		asm.Add.Reg(asm.R0, asm.R2),
		asm.Mov.Imm(asm.R2, 1),
		asm.AddAtomic.Mem(asm.R0, asm.R2, asm.DWord, 8*timingBuckets),
	)
	g.mark(counted)
	g.emit(asm.LoadMem(asm.R0, asm.RFP, stackResult, asm.DWord))
}
