package attach

import (
	"fmt"
	"sync"

	"github.com/cilium/ebpf"
)

// Grace waits until every BPF program that was running has ended: the
// synchronize_rcu() of user space.
//
// Entry programs and dispatchers are never sleepable (the linker loads none
// so), and non-sleepable programs run from start to end inside one RCU read
// side, tail calls and subprograms included. A dispatcher that was in the slot
// before the swap is therefore done once a grace period has passed.
//
// The kernel promises that grace period to whoever updates a map of maps
// (maybe_wait_bpf_programs(), since 4.20): no non-sleepable program uses the
// old value when the system call returns. membarrier(MEMBARRIER_CMD_GLOBAL)
// would be the obvious choice, but it skips the wait where one CPU is online,
// which a preemptible kernel does need, and fails where CPUs are nohz_full.
type Grace struct {
	mu           sync.Mutex // one update at a time
	outer, inner *ebpf.Map
}

// NewGrace makes its maps.
func NewGrace() (*Grace, error) {
	innerSpec := &ebpf.MapSpec{Name: "tw_grace", Type: ebpf.Array, KeySize: 4, ValueSize: 4, MaxEntries: 1}
	inner, err := ebpf.NewMap(innerSpec)
	if err != nil {
		return nil, fmt.Errorf("map for the grace period: %w", err)
	}
	outer, err := ebpf.NewMap(&ebpf.MapSpec{
		Name: "tw_grace", Type: ebpf.ArrayOfMaps, KeySize: 4, ValueSize: 4, MaxEntries: 1, InnerMap: innerSpec,
	})
	if err != nil {
		inner.Close()
		return nil, fmt.Errorf("map of maps for the grace period: %w", err)
	}
	return &Grace{outer: outer, inner: inner}, nil
}

// Wait returns once every program that ran when it was called has ended.
func (g *Grace) Wait() error {
	g.mu.Lock()
	defer g.mu.Unlock()
	if err := g.outer.Put(uint32(0), g.inner); err != nil {
		return fmt.Errorf("grace period: %w", err)
	}
	return nil
}

// Close frees the maps.
func (g *Grace) Close() {
	g.outer.Close()
	g.inner.Close()
}
