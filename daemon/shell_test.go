package daemon

import (
	"io"
	"testing"

	"github.com/taskwatch/taskwatch/internal/testutil"
)

// shell is a shell that does what it is told.
type shell struct{ *testutil.Held }

// newShell starts one, and returns when its own exec is over.
func newShell(t testing.TB) *shell {
	t.Helper()
	held, _ := testutil.Hold(t, testutil.Shell())
	return &shell{held}
}

func (s *shell) pid() int { return s.Process.Pid }

func (s *shell) say(t testing.TB, line string) {
	t.Helper()
	if _, err := io.WriteString(s.In, line+"\n"); err != nil {
		t.Fatal(err)
	}
}

// end has it end once everything that it was told is done.
func (s *shell) end(t testing.TB) {
	t.Helper()
	s.say(t, "wait")
	s.Release(t)
}
