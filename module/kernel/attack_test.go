package kernel

import (
	"fmt"
	"os"
	"os/exec"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/taskwatch/taskwatch"
	"github.com/taskwatch/taskwatch/internal/plan"
	"github.com/taskwatch/taskwatch/internal/probe"
	"github.com/taskwatch/taskwatch/internal/testutil"
	"github.com/taskwatch/taskwatch/module"
)

// preempt has the kernel preempt everything until the test ends, where it does not
// by itself and can be told to: in the test's own virtual machine.
func preempt(t *testing.T) {
	t.Helper()
	if own := probe.Preemption(); own == plan.PreemptRT || own == plan.PreemptFull {
		return
	}
	before, err := probe.ReadPreemption()
	if err != nil || os.Getenv("TASKWATCH_VM") == "" {
		testutil.Skip(t, fmt.Sprintf("a kernel of the test's own whose preemption can be chosen (TASKWATCH_VM; debugfs: %v)", err), func() bool {
			return os.Getenv("TASKWATCH_VM") != "" && probe.Preemption().Interrupts() // unknown, although it is dynamic
		})
	}
	set := func(p plan.Preemption) {
		t.Helper()
		if err := writePreemption(p); err != nil {
			t.Fatal(err)
		}
	}
	set(plan.PreemptFull)
	t.Cleanup(func() { set(before) })
	if got := probe.Preemption(); got != plan.PreemptFull {
		t.Fatalf("preemption %q after it was set to full", got)
	}
}

func writePreemption(p plan.Preemption) error {
	fs, err := unix.Fsopen("debugfs", unix.FSOPEN_CLOEXEC)
	if err != nil {
		return err
	}
	defer unix.Close(fs)
	if err := unix.FsconfigCreate(fs); err != nil {
		return err
	}
	root, err := unix.Fsmount(fs, unix.FSMOUNT_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer unix.Close(root)
	fd, err := unix.Openat(root, "sched/preempt", unix.O_WRONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	_, err = unix.Write(fd, []byte(p))
	return err
}

// attack runs the program of that name and returns how often it tried, and how
// often it was done.
func attack(t *testing.T, what string, ms int, file ...string) (tries, done uint64) {
	t.Helper()
	args := append([]string{what, "6", fmt.Sprint(ms)}, file...)
	out, err := exec.Command(testutil.BuildC(t, "-static", "testdata/attack.c"), args...).Output()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := fmt.Sscan(string(out), &tries, &done); err != nil {
		t.Fatalf("%q: %v", out, err)
	}
	return tries, done
}

// On a kernel that preempts everything, no veto of the LSM tier is skipped; and
// what is skipped on another is known, to the last.
func TestAttackPreempted(t *testing.T) {
	support(t)
	testutil.Require(t, needsVeto)
	preempt(t)
	ms := 20000
	if testing.Short() {
		ms = 2000
	}
	names, supports := tiers(t)
	for i, s := range supports {
		s.Preemption = Preemption(probe.Preemption())
		if s.LSM != nil && s.ModifyReturn != nil {
			continue
		}
		t.Run(names[i]+"/exec", func(t *testing.T) {
			table := newTable(t, Config{Support: s})
			m := loadFile(t, "veto", vetoC, "comm=twattack", "on_exec=y", "errno=13")
			err := table.Register(m, RegisterOptions{})
			if s.LSM != nil {
				wantError(t, err, module.ErrSkippable, "init,exec,uid,gid", "preemption: "+string(s.Preemption))
				err = table.Register(m, RegisterOptions{AllowBestEffort: true})
			}
			if err != nil {
				t.Fatal(err)
			}
			tries, done := attack(t, "exec", ms)
			info := moduleInfo(t, table, m)
			t.Logf("%d of %d execs passed; %s, %d skipped", done, tries, info.Tier, info.Skipped)
			if tries == 0 {
				t.Fatal("nothing was tried")
			}
			if s.LSM == nil && (done != 0 || info.Missed != 0 || info.Tier != "lsm") {
				t.Errorf("%d passed, %d missed, tier %q; want none, none, lsm", done, info.Missed, info.Tier)
			}
			if s.LSM != nil && info.Tier != "best-effort" {
				t.Errorf("tier %q, want best-effort", info.Tier)
			}
			if refused := global(t, m, "refused"); refused+done != tries {
				t.Errorf("%d refused and %d passed of %d", refused, done, tries)
			}
			var atExec uint64
			missed, err := table.Missed()
			if err != nil {
				t.Fatal(err)
			}
			for _, hook := range missed {
				for _, s := range hook.Skipped {
					if s.Kinds.Has(taskwatch.Exec) && !s.Kinds.Has(taskwatch.UID) {
						atExec += s.Count
					}
				}
			}
			if atExec != done {
				t.Errorf("%d execs passed, and %d are known to have been skipped", done, atExec)
			}
		})
		t.Run(names[i]+"/uid", func(t *testing.T) {
			table := newTable(t, Config{Support: s})
			m := loadFile(t, "count", countC)
			register(t, table, m)
			before := moduleInfo(t, table, m).Missed
			seen := global(t, m, "uids")
			tries, done := attack(t, "uid", ms)
			seen, missed := global(t, m, "uids")-seen, missedOf(t, table, taskwatch.UID)
			t.Logf("%d changes, %d seen, %d missed (before: %d)", done, seen, missed, before)
			if tries == 0 || tries != done {
				t.Errorf("%d of %d changes were made", done, tries)
			}
			if s.LSM == nil && missed != 0 {
				t.Errorf("%d missed by LSM programs", missed)
			}
			// The last id that a process has is that of its first change or
			// not; all others differ from the one before.
			if seen+missed < done || missed == 0 && seen != done {
				t.Errorf("%d seen and %d missed of %d changes", seen, missed, done)
			}
		})
	}
}

func moduleInfo(t *testing.T, table *Table, m *Module) ModuleInfo {
	t.Helper()
	list, err := table.Modules()
	if err != nil {
		t.Fatal(err)
	}
	for _, info := range list {
		if info.Module == m {
			return info
		}
	}
	t.Fatalf("module %s is not listed", m.Name())
	return ModuleInfo{}
}

// missedOf returns how often hooks that see the event were missed.
func missedOf(t *testing.T, table *Table, k taskwatch.Kind) (n uint64) {
	t.Helper()
	list, err := table.Missed()
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range list {
		if m.Seen.Has(k) {
			n += m.Count
		}
	}
	return n
}
