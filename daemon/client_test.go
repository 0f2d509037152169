package daemon

import (
	"io"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// A connection that was kept ends with its daemon. What helps then is to start
// one, whatever the connection's error was.
func TestExplainOfAnEndedDaemon(t *testing.T) {
	c := NewClient(filepath.Join(t.TempDir(), "s"))
	defer c.Close()
	for _, err := range []error{io.EOF, io.ErrUnexpectedEOF, syscall.ECONNRESET, syscall.EPIPE} {
		if got := c.Explain(err); !strings.Contains(got.Error(), "start one with") {
			t.Errorf("%v: %v", err, got)
		}
	}
}
