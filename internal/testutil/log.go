package testutil

import (
	"bytes"
	"strings"
	"sync"
)

// Log keeps what is written to it, and may be read meanwhile. Its zero value is
// empty; its methods may be called from any goroutine.
type Log struct {
	mu sync.Mutex // guards the field below
	b  bytes.Buffer
}

// Write implements io.Writer. It never fails.
func (l *Log) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(b)
}

// String returns everything that was written so far.
func (l *Log) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

// Has returns a function that reports whether the log contains text by now.
func (l *Log) Has(text string) func() bool {
	return func() bool { return strings.Contains(l.String(), text) }
}
