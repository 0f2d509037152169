package kerneltypes

import (
	"runtime"
	"testing"
)

// What is in use is not read again, also where it was read ahead; what nobody uses any
// more does not stay.
func TestCacheIsOne(t *testing.T) {
	ReadAhead()
	types := Cache()
	if again := Cache(); again != types {
		t.Error("two caches are in use")
	}
	gone := make(chan struct{})
	runtime.AddCleanup(types, func(c chan struct{}) { close(c) }, gone)
	_, _ = types.Kernel() // which waits for the one ahead; not every kernel has types
	runtime.KeepAlive(types)
	types = nil
	for {
		runtime.GC()
		select {
		case <-gone:
			return
		default:
			runtime.Gosched()
		}
	}
}
