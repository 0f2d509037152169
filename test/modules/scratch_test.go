package modules

import (
	"os/exec"
	"strconv"
	"testing"
	"time"

	"github.com/taskwatch/taskwatch"
	"github.com/taskwatch/taskwatch/internal/testmodule"
	"github.com/taskwatch/taskwatch/internal/testutil"
	"github.com/taskwatch/taskwatch/module/kernel"
)

const scratchModule = "testdata/modules/scratch.c"

// scratchSlots is how many the module has; it claims one more.
const scratchSlots = 3

// checkScratch checks what the module has seen of so many ends of tasks, or more.
// alone says that no two watchers have run at a time.
func checkScratch(t *testing.T, how string, s seen, ends uint64, alone bool) {
	t.Helper()
	n := func(name string) uint64 {
		v, ok := s[name].(uint64)
		if !ok {
			t.Fatalf("%s: %s is %v", how, name, s[name])
		}
		return v
	}
	if n("ends") < ends || n("claimed")+n("refused") != n("ends")*(scratchSlots+1) || n("disturbed") != 0 || n("same") != 0 {
		t.Errorf("%s, of %d ends, the module saw %v", how, ends, s)
	}
	if alone && (n("claimed") != n("ends")*scratchSlots || n("left") != 0) {
		t.Errorf("%s, where nobody is in between, the module saw %v", how, s)
	}
}

// A slot of scratch memory is one watcher's alone until it is given back, and all
// come back, in the kernel with several processors, in the sandbox, and interpreted.
func TestScratch(t *testing.T) {
	testutil.Root(t)
	var live taskwatch.Registry
	inSandbox := loadSandboxed(t, &live, scratchModule, nil)
	inKernel := register(t, watchOurselves(t, &live).Table(), "inkernel", testmodule.Object(t, scratchModule), kernel.LoadOptions{}, kernel.RegisterOptions{})

	const loads = 4
	n := testutil.Size(50, 200, 1000)
	var cmds []*exec.Cmd
	for range loads {
		c := exec.Command("/bin/sh", "-c", `i=0; while [ $i -lt $0 ]; do (:); i=$((i+1)); done`, strconv.Itoa(n))
		if err := c.Start(); err != nil {
			t.Fatal(err)
		}
		cmds = append(cmds, c)
	}
	for _, c := range cmds {
		if err := c.Wait(); err != nil {
			t.Error(err)
		}
	}
	ends := uint64(loads * (n + 1))
	for how, globals := range map[string]func() seen{
		"in the kernel": func() seen {
			g, err := inKernel.Globals()
			return seenIn(t, g, err)
		},
		"in the sandbox": func() seen {
			g, err := inSandbox.Globals(t.Context())
			return seenIn(t, g, err)
		},
	} {
		// The variables are read while others run: until two looks are the same.
		got, before := globals(), seen{}
		for end := time.Now().Add(time.Minute); !quiet(got, before, ends) && time.Now().Before(end); {
			time.Sleep(time.Millisecond)
			got, before = globals(), got
		}
		checkScratch(t, how, got, ends, how == "in the sandbox")
	}
}

func quiet(a, b seen, ends uint64) bool {
	n, ok := a["ends"].(uint64)
	return ok && n >= ends && a["ends"] == b["ends"] && a["claimed"] == b["claimed"] && a["refused"] == b["refused"]
}

func TestInterpretedScratch(t *testing.T) {
	testutil.Root(t)
	ends := uint64(0)
	recording := recordOurselves(t, func() {
		if out, err := exec.Command("/bin/sh", "-c", "(:); (:); (:); :").CombinedOutput(); err != nil {
			t.Fatalf("%v\n%s", err, out)
		}
	}, func(it taskwatch.Item) bool {
		if it.Event != nil && it.Event.Kind == taskwatch.Exit {
			ends++
		}
		return ends >= 4
	})
	globals, err := interpret(t, scratchModule, nil, recording, nil).Globals()
	checkScratch(t, "interpreted", seenIn(t, globals, err), 4, true)
}
