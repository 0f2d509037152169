package bpf

import (
	"errors"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/taskwatch/taskwatch"
	"github.com/taskwatch/taskwatch/source"
)

// A free that the kernel does not tell is inferred before a command's end is
// told, also where the watchers are so slow that the exit was long ago when they
// were told of it.
func TestFreesAreInferredBeforeTheEnd(t *testing.T) {
	const gone = 1 << 22 // above any tid that the kernel gives
	if err := unix.Tgkill(gone, gone, 0); !errors.Is(err, unix.ESRCH) {
		t.Fatalf("a task %d: %v", gone, err)
	}
	st, _ := forkCycle(t, taskwatch.AllKinds)
	st.src.cfg.Command = new(source.Command)
	var frees []bool
	m := &taskwatch.Module{Name: "frees"}
	m.Watch(taskwatch.Free, func(ev *taskwatch.Event) error {
		frees = append(frees, ev.Inferred)
		return nil
	}, taskwatch.Observe())
	var reg taskwatch.Registry
	if err := reg.Register(m); err != nil {
		t.Fatal(err)
	}
	st.feed = reg.Feed()
	long := now() - int64(time.Minute)
	comm := []byte("load")
	st.handle(&record{kind: recordKind(taskwatch.Exit), pid: 1, tid: 1, task: 1, start: 1, cgroup: 1, comm: comm, timeNS: long})
	st.handle(&record{kind: recordKind(taskwatch.Free), task: 1, start: 1, timeNS: long})
	st.handle(&record{kind: recordKind(taskwatch.Clone), pid: gone, tid: gone, task: 2, start: 2, cgroup: 1, comm: comm, timeNS: long})
	if st.finished() {
		t.Fatal("finished before the command has ended")
	}
	st.src.command.SetStatus(0)
	st.handle(&record{kind: recordKind(taskwatch.Exit), pid: gone, tid: gone, task: 2, start: 2, cgroup: 1, comm: comm, timeNS: long})
	for end := time.Now().Add(time.Minute); !st.finished(); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("it does not end")
		}
		st.overdue(now())
	}
	if len(frees) != 2 || frees[0] || !frees[1] {
		t.Errorf("frees that were inferred: %v, want the kernel's own and one that is", frees)
	}
}

// The end of a command's tree waits for the free of a task whose fork failed: the
// kernel frees it on the processor of the fork, which may be slower than those
// where the other tasks end.
func TestTheFreeOfAFailedForkComesBeforeTheEnd(t *testing.T) {
	st, cycle := forkCycle(t, taskwatch.AllKinds)
	st.src.cfg.Command = new(source.Command)
	comm := []byte("load")
	st.handle(&record{kind: recordInit, task: 3, creator: 1, cgroup: 1, comm: comm})
	st.handle(&record{kind: recordInit, task: 2, creator: 1, cgroup: 1, comm: comm}) // that of the task that is born
	for i := range cycle {
		st.handle(&cycle[i])
	}
	st.src.command.SetStatus(0)
	st.handle(&record{kind: recordExit, pid: 1, tid: 1, task: 1, start: 1, cgroup: 1, comm: comm})
	st.handle(&record{kind: recordFree, task: 1, start: 1})
	if st.finished() {
		t.Error("finished, and the failed fork was not freed")
	}
	st.handle(&record{kind: recordFree, task: 3})
	if !st.finished() {
		t.Error("not finished after the last free")
	}
	if len(st.tasks.byAddr) != 0 || st.tasks.unborn != 0 {
		t.Errorf("%d tasks are left, %d of them unborn", len(st.tasks.byAddr), st.tasks.unborn)
	}
}
