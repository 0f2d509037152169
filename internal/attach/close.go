package attach

import (
	"io"
	"sync"
)

// CloseAll closes everything at once: closing a tracepoint of a system call
// takes tens of milliseconds, most of them spent waiting.
func CloseAll[T io.Closer](list []T) []error {
	errs := make([]error, len(list))
	var wg sync.WaitGroup
	for i, c := range list {
		wg.Go(func() { errs[i] = c.Close() })
	}
	wg.Wait()
	return errs
}
