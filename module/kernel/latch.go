package kernel

import (
	"fmt"

	"github.com/cilium/ebpf"
)

// latches have a byte for each module that all dispatchers read before they call
// it, so that it comes and goes at one moment, while hooks change one after
// another: a task whose init the module has heard meets its clone and its exit as
// well. A module's byte has the number of its first watcher's counters.
//
// A module with attach or detach has none: its marks say of each task what it is
// told. Neither has a built-in, which is there as long as the table.
type latches struct {
	bytes *ebpf.Map
	set   [maxSlots]byte // what stands in bytes; nobody else writes there
}

func newLatches() (*latches, error) {
	bytes, err := ebpf.NewMap(&ebpf.MapSpec{Name: "tw_called", Type: ebpf.Array, KeySize: 4, ValueSize: maxSlots, MaxEntries: 1})
	if err != nil {
		return nil, fmt.Errorf("map of who is called: %w", err)
	}
	return &latches{bytes: bytes}, nil
}

// change says whether modules are called from now on, all at one moment. It takes
// no notice of those without a latch.
func (ls *latches) change(called bool, modules ...*listing) error {
	next := ls.set
	for _, l := range modules {
		if l.Latch != 0 {
			next[l.Latch] = 0
			if called {
				next[l.Latch] = 1
			}
		}
	}
	if next == ls.set {
		return nil
	}
	if err := ls.bytes.Put(uint32(0), next[:]); err != nil {
		return fmt.Errorf("say who is called: %w", err)
	}
	ls.set = next
	return nil
}

func (ls *latches) close() error {
	if ls == nil {
		return nil
	}
	return ls.bytes.Close()
}
