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
	var of struct { // as in c/signal.h
		From [32]struct {
			PID   uint32
			Ahead int32
			At    uint64
		}
		Had, Counted uint32
	}
	if err := s.coll.Maps[streamMapSignals].Lookup(uint32(sig), &of); err != nil {
		return false, false
	}
	if int32(of.Had-s.taken[sig]) <= 0 { // it is counted down, too
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

// Reached is that of [source.Supervisor]. The kernel has counted by now what came to
// the command before. For what comes to it behind, as from a process that sends it to
// one after the other, it waits: not for signals of the kernel, nor for those before
// the command.
func (s *Source) Reached(got source.Signal, patience time.Duration) (had, known bool) {
	if had, known = s.reached(got.Number); had || !known || patience <= 0 || !got.FromTask() || s.command.Started() == 0 {
		return had, known
	}
	time.Sleep(patience)
	return s.reached(got.Number)
}

func (s *Source) reached(sig syscall.Signal) (had, known bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.kernel == nil {
		return false, false
	}
	return s.kernel.signals.reached(sig)
}
