package bpf

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/taskwatch/taskwatch"
	"github.com/taskwatch/taskwatch/internal/testutil"
	"github.com/taskwatch/taskwatch/module/kernel"
)

// preemptAll has the kernel of the test's own virtual machine preempt everything
// until the test ends, as a real-time one does by itself.
func preemptAll(t *testing.T) {
	t.Helper()
	var u unix.Utsname
	if err := unix.Uname(&u); err != nil {
		t.Fatal(err)
	}
	if strings.Contains(unix.ByteSliceToString(u.Version[:]), "PREEMPT_RT") {
		return
	}
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
				before := forks(t)
				out, err := exec.Command(program, what, "6", fmt.Sprint(ms)).Output()
				if err != nil {
					t.Fatal(err)
				}
				all := forks(t) - before
				var tries, done int
				if _, err := fmt.Sscan(string(out), &tries, &done); err != nil || done == 0 || tries != done {
					t.Fatalf("the attack says %q, %v", out, err)
				}
				w.stop(t)
				lost := lost(w)
				most := done
				if kind == taskwatch.Init { // the forks of others are passed by as well
					most = all
				}
				t.Logf("%d of %d were delivered, %d were lost in %d places; the machine has forked %d times", got, done, lost, len(w.losses), all)
				if n := got + lost; n < done || n > most {
					t.Errorf("%d delivered and %d lost is %d, want %d, or with the forks of others %d at most", got, lost, n, done, most)
				}
			})
		}
	}
}

// forks returns how many tasks the machine has made since it has started.
func forks(t *testing.T) int {
	t.Helper()
	stat, err := os.ReadFile("/proc/stat")
	if err != nil {
		t.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(stat), "\nprocesses ")
	line, _, _ := strings.Cut(rest, "\n")
	n, err := strconv.Atoi(line)
	if err != nil {
		t.Fatal(err)
	}
	return n
}
