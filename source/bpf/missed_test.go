package bpf

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"testing"

	"github.com/taskwatch/taskwatch"
	"github.com/taskwatch/taskwatch/internal/testutil"
	"github.com/taskwatch/taskwatch/module/kernel"
)

// preemptAll has the kernel of the test's own virtual machine preempt everything
// until the test ends.
func preemptAll(t *testing.T) {
	t.Helper()
	const file = "/sys/kernel/debug/sched/preempt"
	before, err := os.ReadFile(file)
	testutil.Require(t, testutil.Need{
		What: "a kernel of the test's own whose preemption can be chosen", Remedy: "run the tests in the virtual machines of test/vm",
		Met: func() bool { return err == nil && os.Getenv("TASKWATCH_VM") != "" },
	})
	_, own, _ := strings.Cut(string(before), "(")
	own, _, _ = strings.Cut(own, ")")
	set := func(model string) {
		t.Helper()
		if err := os.WriteFile(file, []byte(model), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	set("full")
	t.Cleanup(func() { set(own) })
}

// On a kernel that preempts everything, what is delivered and what is told as
// lost is together what has happened, on every tier: what the kernel has passed
// by, and what has found no room in the buffer.
func TestMissedEventsAreLost(t *testing.T) {
	testutil.Root(t)
	preemptAll(t)
	found, err := kernel.Probe()
	if err != nil {
		t.Fatal(err)
	}
	defer func() { probe = kernel.Probe }()
	program := testutil.BuildC(t, "-static", "../../module/kernel/testdata/attack.c")
	ms := testutil.Size(4000, 20000, 60000)
	off := errors.New("turned off for a test")
	s := *found
	for _, tier := range []struct {
		name string
		best *error // what it is best by
	}{{"LSM", &s.LSM}, {"fmod_ret", &s.ModifyReturn}} {
		if *tier.best != nil {
			continue
		}
		support := s
		*tier.best = off
		for kind, what := range map[taskwatch.Kind]string{taskwatch.Init: "fork", taskwatch.UID: "uid"} {
			t.Run(tier.name+"/"+what, func(t *testing.T) {
				probe = func() (*kernel.Support, error) { return &support, nil }
				got := 0 // written by the source's goroutine, read after its end
				w := newWatch(t, Config{}, taskwatch.KindsOf(kind), func(ev *taskwatch.Event) bool {
					if ev.Task.Comm == "twattack" { // the children have it, too
						got++
					}
					return false
				})
				out, err := exec.Command(program, what, "6", fmt.Sprint(ms)).Output()
				if err != nil {
					t.Fatal(err)
				}
				var tries, done int
				if _, err := fmt.Sscan(string(out), &tries, &done); err != nil || done == 0 || tries != done {
					t.Fatalf("the attack says %q, %v", out, err)
				}
				w.stop(t)
				lost := lost(w)
				t.Logf("%d of %d were delivered, %d were lost in %d places", got, done, lost, len(w.losses))
				if got+lost != done {
					t.Errorf("%d delivered and %d lost is %d, want %d", got, lost, got+lost, done)
				}
			})
		}
	}
}
