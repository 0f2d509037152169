package kernel

import (
	"testing"

	"github.com/taskwatch/taskwatch/internal/probe"
	"github.com/taskwatch/taskwatch/internal/testutil"
)

// While tasks are preempted in the middle of storing something, a value of a
// task_table can be made always, and one of a task_storage where docs/modules.md says
// so: in LSM programs since Linux 6.2.
func TestStorageAmongPreempted(t *testing.T) {
	support(t)
	testutil.PreemptAll(t)
	names, supports := tiers(t)
	for i, s := range supports {
		s.Preemption = Preemption(probe.Preemption())
		t.Run(names[i], func(t *testing.T) {
			table := newTable(t, Config{Support: s})
			m := loadFile(t, "storing", "testdata/modules/storing.c")
			register(t, table, m)
			drop := storeWithoutEnd(t)
			attack(t, "fork", testutil.Size(2000, 10000, 60000))
			drop()
			inits, clones := global(t, m, "inits"), global(t, m, "clones")
			atInit, inTable := global(t, m, "lacking_at_init"), global(t, m, "lacking_in_table")
			t.Logf("%d inits, %d without a value; %d clones, %d without one, %d without one in the table", inits, atInit, clones, global(t, m, "lacking_at_clone"), inTable)
			if inits == 0 || clones == 0 || inTable != 0 {
				t.Errorf("of %d inits and %d clones, %d have no value in the table, want none of some", inits, clones, inTable)
			}
			if s.LSM == nil && atInit != 0 && testutil.NeedsKernel(6, 2).Met() {
				t.Errorf("%d of %d inits have no value, want none", atInit, inits)
			}
		})
	}
}
