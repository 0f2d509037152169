package kernel

import (
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"testing"

	"github.com/cilium/ebpf"
	"golang.org/x/sys/unix"

	"github.com/taskwatch/taskwatch/internal/link"
	"github.com/taskwatch/taskwatch/internal/testutil"
)

// An interpreter is never taken for the program, also where the watchers are so many that
// the hook is a chain of programs, of which one finds the task's number and the
// other does not: tasks are preempted in the middle of looking for such.
func TestStepsAcrossStages(t *testing.T) {
	support(t)
	testutil.Require(t, needsVeto)
	testutil.PreemptAll(t)
	o := parseFile(t, "interpreters", "testdata/modules/interpreters.c")
	table := newTable(t, Config{})
	var modules []*Module
	for i := range 2 {
		copied := *o
		copied.Name = fmt.Sprintf("interpreters%d", i)
		modules = append(modules, loadObject(t, &copied))
	}
	end := chain(t, table, modules, func(*listing) {})
	attacker := testutil.BuildC(t, "-static", "testdata/attack.c")
	script := filepath.Join(t.TempDir(), "script")
	if err := os.WriteFile(script, []byte("#!"+attacker+"\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	drop := storeWithoutEnd(t)
	tries, done := attack(t, "exec", testutil.Size(3000, 20000, 60000), script)
	drop()
	if tries == 0 || done != tries {
		t.Fatalf("%d of %d execs were done", done, tries)
	}
	for _, m := range modules {
		seen, mistaken := global(t, m, "seen"), global(t, m, "mistaken")
		t.Logf("%s: %d execs; of %d steps of interpreters %d without a number, %d taken for the program's", m.Name(), tries, seen, global(t, m, "unknown"), mistaken)
		if seen == 0 || mistaken != 0 {
			t.Errorf("%s: %d of %d steps of interpreters were taken for the program's, want none of some", m.Name(), mistaken, seen)
		}
	}
	end()
}

// storeWithoutEnd has threads of this process store something of it and drop it again,
// until drop is called: most of the time the kernel is in the middle of that.
func storeWithoutEnd(t *testing.T) (drop func()) {
	t.Helper()
	m, err := ebpf.NewMap(link.TaskStorage("stored"))
	if err != nil {
		t.Fatal(err)
	}
	self, err := unix.PidfdOpen(os.Getpid(), 0)
	if err != nil {
		t.Fatal(err)
	}
	const threads = 2
	before := runtime.GOMAXPROCS(threads + 1)
	end, ended := make(chan struct{}), make(chan struct{})
	for range threads {
		go func() {
			defer func() { ended <- struct{}{} }()
			for {
				select {
				case <-end:
					return
				default:
				}
				// Either may fail: what others are in the middle of is busy.
				m.Put(uint32(self), uint32(1))
				m.Delete(uint32(self))
			}
		}()
	}
	return func() {
		close(end)
		for range threads {
			<-ended
		}
		runtime.GOMAXPROCS(before)
		unix.Close(self)
		m.Close()
	}
}
