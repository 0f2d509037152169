package bpf

import (
	"syscall"
	"time"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/link"

	"github.com/taskwatch/taskwatch/source"
)

// signals knows which signals of this process the command has had, too. The
// zero value knows nothing.
type signals struct {
	coll  *ebpf.Collection
	link  link.Link
	taken [numSignals]uint32 // how many of those that are counted were asked about
}

const numSignals = 65

// open begins to count. Where the kernel does not take the program, nothing is
// known.
func (s *signals) open(load func(...string) (*ebpf.Collection, error)) {
	coll, err := load(streamProgOnSignal)
	if err != nil {
		return
	}
	l, err := link.AttachTracing(link.TracingOptions{Program: coll.Programs[streamProgOnSignal]})
	if err != nil {
		coll.Close()
		return
	}
	s.coll, s.link = coll, l
}

func (s *signals) reached(sig syscall.Signal) (had, known bool) {
	if s.link == nil || sig <= 0 || int(sig) >= numSignals {
		return false, false
	}
	var of struct {
		By, At       uint64
		Had, Counted uint32
	}
	if err := s.coll.Maps[streamMapSignals].Lookup(uint32(sig), &of); err != nil {
		return false, false
	}
	if s.taken[sig] == of.Had {
		return false, true
	}
	s.taken[sig]++
	return true, true
}

func (s *signals) close() error {
	if s.link == nil {
		return nil
	}
	err := s.link.Close()
	s.coll.Close()
	return err
}

// Reached is that of [source.Supervisor]. The kernel has counted by now what
// has come, so that it does not wait.
func (s *Source) Reached(got source.Signal, _ time.Duration) (had, known bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.kernel == nil {
		return false, false
	}
	return s.kernel.signals.reached(got.Number)
}
