// Package kerneltypes reads the type information of the running kernel, which takes
// longer than anything else at the start of programs in the kernel.
package kerneltypes

import (
	"sync/atomic"

	"github.com/cilium/ebpf/btf"
)

var ahead atomic.Pointer[btf.Cache]

// ReadAhead begins to read it for the next call of Cache, beside what else is done.
func ReadAhead() {
	types := btf.NewCache()
	ahead.Store(types)
	go types.Kernel() // its error is that of the next call
}

// Cache returns a cache of it, which may have been read already.
func Cache() *btf.Cache {
	if types := ahead.Swap(nil); types != nil {
		return types
	}
	return btf.NewCache()
}
