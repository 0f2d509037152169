package bpf

import (
	"time"

	"github.com/taskwatch/taskwatch"
)

// losses tells a loss at the first record behind it.
func (st *runner) losses(r *record) { st.loss(r.lost, r.dropped) }

// lossesWithoutRecord does so when the buffer is empty, since nothing may
// follow for long.
func (st *runner) lossesWithoutRecord() {
	c := st.kernel.control
	st.loss(c.Load(controlLost), c.Load(controlDropped))
}

func (st *runner) loss(lost, dropped uint32) {
	if n := int32(dropped - st.dropped); n > 0 {
		st.dropped = dropped
		st.resyncs.want(st.kernel.ring.Produced())
	}
	if n := int32(lost - st.lost); n > 0 { // else the record is one that was overtaken
		st.lost = lost
		frees := st.lostFrees(uint64(n))
		st.owed.frees += frees
		st.owed.sinceNS = now()
		st.tellLost(uint64(n) - frees)
	}
}

// owed are frees whose records were lost. Most are inferred later, and are no
// losses then; the rest is told when none is to be expected any more.
type owed struct {
	frees   uint64
	seen    uint64 // of the kernel side's count
	sinceNS int64
	fromNS  int64            // since when frees are watched, on CLOCK_BOOTTIME
	guesses map[uint64]guess // inferred frees, the last one by address of the task

	// Of a command's tree: each task that was born is freed once. whole is
	// whether frees were watched from its first task on.
	whole         bool
	inits, clones uint64 // that were read
	freed, told   uint64
}

// rest returns how many frees of a command's tree were neither delivered nor
// told as lost, of tasks whose inits or clones were read or lost. A fork that
// fails after its init is freed, too; but inits may not be gathered, or the kernel
// may pass by some: then there are more clones.
func (o *owed) rest(lostInits, lostClones uint64) uint64 {
	if all, seen := max(o.inits+lostInits, o.clones+lostClones), o.freed+o.told; all > seen {
		return all - seen
	}
	return 0
}

// guess is an inferred free.
type guess struct {
	start int64 // of the task
	owed  bool  // it was taken for one of the owed
}

// inferred takes note of an inferred free.
func (o *owed) inferred(e *taskState) {
	if o.guesses == nil {
		o.guesses = map[uint64]guess{}
	}
	g := guess{e.start, o.frees > 0}
	if g.owed {
		o.frees--
		o.sinceNS = now()
	}
	o.guesses[e.addr] = g
}

// strayFree handles the free of a task that is not known: it was
// inferred before the kernel told it, so its record is not among the lost
// ones; or all other records of the task were lost, and it is lost with them.
func (st *runner) strayFree(r *record) {
	g, ok := st.owed.guesses[r.task]
	switch {
	case ok && g.start == r.start:
		delete(st.owed.guesses, r.task)
		if g.owed {
			st.owed.frees++
			st.owed.sinceNS = now()
		}
	case st.kinds.Has(taskwatch.Free) && r.start > st.owed.fromNS:
		st.tellLostFrees(1)
	}
}

func (st *runner) tellLostFrees(n uint64) {
	st.owed.told += n
	st.tellLost(n)
}

// owedTime is how long after a loss, or the last of its frees to be inferred,
// more may be.
const owedTime = int64(2 * time.Second)

// lostFrees returns how many of n lost records were frees that will be
// inferred if their tasks are known.
func (st *runner) lostFrees(n uint64) uint64 {
	if !st.kinds.Has(taskwatch.Free) {
		return 0
	}
	byKind, err := st.kernel.losses()
	if err != nil {
		return 0 // they are told now, and perhaps once more
	}
	all := sum(byKind[recordFree])
	// The count may be ahead of what was read of the buffer.
	frees := min(all-st.owed.seen, n)
	st.owed.seen += frees
	return frees
}

func sum(cpus []uint64) (n uint64) {
	for _, cpu := range cpus {
		n += cpu
	}
	return n
}

// tellOwed tells the frees that were not inferred, when none will be, or at
// the end.
func (st *runner) tellOwed(at int64, end bool) {
	if !end {
		if st.owed.frees == 0 || at-st.owed.sinceNS <= owedTime || st.resyncs.wanted || st.resyncs.running || st.unfreed.infers(st.owed.sinceNS) {
			return
		}
		st.forgetUnborn(st.owed.frees)
	}
	st.tellLostFrees(st.owed.frees)
	st.owed.frees = 0
}

// forgetUnborn forgets up to n tasks whose fork had begun before the last loss and
// of which nothing came since: their clone was lost, with all that followed, and
// their free is told as lost.
func (st *runner) forgetUnborn(n uint64) {
	if st.tasks.unborn == 0 {
		return
	}
	for _, e := range st.tasks.byAddr {
		if n > 0 && e.unborn && e.lastNS < st.owed.sinceNS {
			st.drop(e)
			n--
		}
	}
}

// lookUnmarked delivers a loss of unknown size where the kernel side could not mark
// a task, or not tell whether it is marked: what such tasks do is left out.
func (st *runner) lookUnmarked() {
	n := st.kernel.control.Load(controlUnmarked)
	if n == st.unmarked {
		return
	}
	st.unmarked = n
	st.feed.Deliver(taskwatch.Item{Loss: &taskwatch.Loss{Seq: st.seq + 1}})
}

func (st *runner) tellLost(n uint64) {
	if n == 0 {
		return
	}
	l := &taskwatch.Loss{Count: n, Seq: st.seq + 1}
	st.seq += n
	st.feed.Deliver(taskwatch.Item{Loss: l})
}
