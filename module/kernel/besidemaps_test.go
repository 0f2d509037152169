package kernel

import (
	"errors"
	"testing"

	"github.com/taskwatch/taskwatch"
	"github.com/taskwatch/taskwatch/internal/probe"
	"github.com/taskwatch/taskwatch/internal/testutil"
)

// Where changes of ids are seen at system calls alone, the kernel passes them by while a
// task is preempted that reads or changes a map. What is missed is known.
func TestChangesBesideMaps(t *testing.T) {
	s := *support(t)
	testutil.Require(t, testutil.NeedsKernel(6, 7))
	testutil.PreemptAll(t)
	off := errors.New("turned off for a test")
	s.LSM, s.ModifyReturn, s.FEntry = off, off, off
	s.Preemption = Preemption(probe.Preemption())
	table := newTable(t, Config{Support: &s})
	m := loadFile(t, "count", countC)
	register(t, table, m)
	before := global(t, m, "uids")
	drop := storeWithoutEnd(t)
	tries, done := attack(t, "uid", testutil.Size(2000, 10000, 60000))
	drop()
	seen, missed := global(t, m, "uids")-before, missedOf(t, table, taskwatch.UID)
	t.Logf("%d changes, %d seen, %d missed", done, seen, missed)
	if tries == 0 || tries != done {
		t.Errorf("%d of %d changes were made", done, tries)
	}
	if seen+missed < done {
		t.Errorf("%d seen and %d missed of %d changes", seen, missed, done)
	}
}
