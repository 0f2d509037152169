package bpf

import (
	"testing"

	"github.com/taskwatch/taskwatch"
	"github.com/taskwatch/taskwatch/module/kernel"
)

// The iterator does not run before every task is known that was born in
// front of a loss, and runs again for what was lost meanwhile; losses that do
// not end do not keep it from running.
func TestResyncWaitsForTheBuffer(t *testing.T) {
	late := now()
	var rs resync
	if rs.due(late, 1000) {
		t.Error("it is due though nothing was lost")
	}
	rs.want(500)
	if rs.due(late, 499) {
		t.Error("it is due before the buffer was read up to the loss")
	}
	rs.want(900)
	if !rs.due(late, 500) {
		t.Error("a later loss puts it off")
	}
	if !rs.again {
		t.Error("the later loss is forgotten")
	}
}

// Each free is told once, as an event or as lost: also one that the kernel tells
// after it was inferred, and one of a task of which nothing else was told.
func TestFreesAreCountedOnce(t *testing.T) {
	st, cycle := forkCycle(t, taskwatch.AllKinds)
	comm := []byte("load")
	for n := range uint64(3) { // three more tasks, of which the frees do not come
		r := record{kind: recordClone, pid: 10 + int(n), tid: 10 + int(n), task: 10 + n, start: 10, creator: 1, cgroup: 1, comm: comm}
		st.handle(&r)
		r.kind = recordExit
		st.handle(&r)
	}
	st.owed.frees = 2 // of two the record was lost
	for n := range uint64(3) {
		st.gone(st.tasks.at(10+n), 20)
	}
	if st.owed.frees != 0 {
		t.Fatalf("%d are owed once all are inferred, want none", st.owed.frees)
	}
	seq := st.seq
	st.handle(&record{kind: recordFree, task: 10, start: 10}) // one of those that were taken for lost was not
	if st.owed.frees != 1 || st.seq != seq {
		t.Errorf("%d are owed and %d items came, want 1 owed and none to come", st.owed.frees, st.seq-seq)
	}
	st.handle(&record{kind: recordFree, task: 12, start: 10}) // the one that was not
	if st.owed.frees != 1 || st.seq != seq {
		t.Errorf("%d are owed and %d items came, want 1 owed and none to come", st.owed.frees, st.seq-seq)
	}
	st.owed.fromNS = 5
	st.handle(&record{kind: recordFree, task: 99, start: 4}) // from before
	if st.seq != seq {
		t.Errorf("the free of a task from before is told")
	}
	st.handle(&record{kind: recordFree, task: 99, start: 6})
	if st.seq != seq+1 {
		t.Errorf("%d items of a free behind whose task everything was lost, want a loss of 1", st.seq-seq)
	}
	for i := range cycle {
		st.handle(&cycle[i])
	}
	if st.owed.frees != 1 || len(st.tasks.byAddr) != 1 {
		t.Errorf("%d are owed, %d tasks are left; want 1 and 1", st.owed.frees, len(st.tasks.byAddr))
	}
}

// What is left of the frees of a command's tree at its end is what was born and
// neither freed nor told as lost.
func TestFreesOwedAtTheEnd(t *testing.T) {
	for _, c := range []struct {
		owed                  owed
		lostInits, lostClones uint64
		want                  uint64
	}{
		{owed{clones: 5, freed: 5}, 0, 0, 0},
		{owed{clones: 5, freed: 3}, 0, 0, 2},
		{owed{clones: 5, freed: 3, told: 1}, 0, 4, 5},
		{owed{clones: 5, freed: 5, told: 1}, 0, 0, 0},
		{owed{inits: 5, clones: 4, freed: 5}, 0, 1, 0},          // a clone was lost
		{owed{inits: 5, clones: 3, freed: 3}, 0, 1, 2},          // and a fork failed
		{owed{inits: 2, clones: 3, freed: 3, told: 1}, 1, 2, 1}, // inits that the kernel passed by
	} {
		if got := c.owed.rest(c.lostInits, c.lostClones); got != c.want {
			t.Errorf("%+v, %d inits and %d clones lost: %d, want %d", c.owed, c.lostInits, c.lostClones, got, c.want)
		}
	}
}

// A task of which only the init was read is freed once, however that is found out.
func TestFreeOfATaskWhoseCloneWasLost(t *testing.T) {
	for _, c := range []struct {
		name        string
		then        record
		freed, left int
	}{
		{"its free is read", record{kind: recordFree, task: 2, start: 5}, 1, 0},
		{"its address is another's", record{kind: recordInit, task: 2, timeNS: 30, cgroup: 1}, 1, 1},
	} {
		t.Run(c.name, func(t *testing.T) {
			st, _ := forkCycle(t, taskwatch.AllKinds)
			st.kernel.support = &kernel.Support{} // init is early
			st.owed = owed{}
			st.handle(&record{kind: recordInit, task: 2, timeNS: 3, cgroup: 1})
			seq := st.seq
			st.handle(&c.then)
			if st.owed.freed != uint64(c.freed) || st.seq == seq {
				t.Errorf("%d frees are counted, %d items came; want %d and its free", st.owed.freed, st.seq-seq, c.freed)
			}
			if got := st.owed.rest(0, 1); got != uint64(c.left) {
				t.Errorf("%d frees are left to tell, want %d", got, c.left)
			}
		})
	}
}

// A free that is told as lost is not delivered later.
func TestFreesAreToldWhenNoneIsInferred(t *testing.T) {
	st, cycle := forkCycle(t, taskwatch.AllKinds)
	st.handle(&cycle[0])
	st.handle(&cycle[2]) // its exit
	lost := st.tasks.at(2)
	lost.seenGone = true
	st.handle(&record{kind: recordInit, task: 3, timeNS: 3, cgroup: 1}) // its clone, and all that follows, is lost
	st.owed.frees, st.owed.sinceNS = 2, 10
	late := 10 + owedTime + 1
	st.tellOwed(late, false)
	if st.owed.told != 0 {
		t.Fatalf("%d frees are told as lost, of which one will be inferred", st.owed.told)
	}
	st.gone(lost, late)
	if st.tellOwed(late, false); st.owed.told != 0 {
		t.Fatalf("%d frees are told as lost right after one was inferred", st.owed.told)
	}
	if st.tellOwed(st.owed.sinceNS+owedTime+1, false); st.owed.told != 1 {
		t.Fatalf("%d frees are told as lost, want 1", st.owed.told)
	}
	seq := st.seq
	st.handle(&record{kind: recordInit, task: 3, timeNS: 30, cgroup: 1})
	if st.seq != seq+1 { // the init
		t.Errorf("%d items came of the next task at its address, want its init alone", st.seq-seq)
	}
}
