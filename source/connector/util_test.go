package connector

import (
	"os"
	"testing"

	"github.com/taskwatch/taskwatch/internal/testutil"
)

// requireConnector skips where this process may not subscribe.
func requireConnector(t testing.TB) {
	t.Helper()
	if err := Probe(); err != nil {
		testutil.Skip(t, "the process connector: "+err.Error(), func() bool { return os.Geteuid() == 0 })
	}
}
