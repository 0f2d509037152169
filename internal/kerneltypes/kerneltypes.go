// Package kerneltypes reads the type information of the running kernel, which takes
// longer than anything else at the start of programs in the kernel.
package kerneltypes

import (
	"sync"
	"weak"

	"github.com/cilium/ebpf/btf"
)

var (
	mu    sync.Mutex              // guards the others
	used  weak.Pointer[btf.Cache] // it takes megabytes, and goes with the last user
	ahead *btf.Cache              // what ReadAhead holds until somebody uses it
)

// ReadAhead begins to read it for the next call of Cache, beside what else is done.
func ReadAhead() {
	types := Cache()
	mu.Lock()
	defer mu.Unlock()
	ahead = types
	go types.Kernel() // its error is that of the next call
}

// Cache returns a cache of it, which may have been read already: all that are in use
// at the same time are one.
func Cache() *btf.Cache {
	mu.Lock()
	defer mu.Unlock()
	types := ahead
	ahead = nil
	if types == nil {
		types = used.Value()
	}
	if types == nil {
		types = btf.NewCache()
		used = weak.Make(types)
	}
	return types
}
