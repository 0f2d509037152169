package bpf

import (
	"context"
	"errors"
	"time"

	"github.com/taskwatch/taskwatch"
	"github.com/taskwatch/taskwatch/internal/sys"
	"github.com/taskwatch/taskwatch/source"
	"github.com/taskwatch/taskwatch/source/child"
)

// runner is one run of a source. Its goroutine alone touches it.
type runner struct {
	src    *Source
	kernel *half
	feed   *taskwatch.Feed
	alarm  *alarm
	tasks  *tasks

	departed departed // from it
	clocks   clocks

	lookout lookout // for EveryEvent

	kinds      taskwatch.Kinds  // what somebody watches
	fields     taskwatch.Fields // and reads
	placed     uint32           // records of which somebody reads cwd
	failing    bool             // execs that fail, too
	watching   bool             // the kernel side has been told
	finding    bool             // modules are told of tasks that the iterator has just found
	short      *source.Shortage // what it could not attach, or nil
	seq        uint64
	only       taskwatch.Only // what the kernel side narrows itself down to
	chosen     bool           // only is decided
	uidsUnseen bool           // changes of user ids cannot be gathered
	lost       uint32         // running counts of the kernel side that were told
	dropped    uint32
	unmarked   uint32
	owed       owed
	misses     misses
	resyncs    resync
	scope      cgroupScope
	unfreed    exits
	overNS     int64      // when the tree was seen to be over but for frees, or the last of those came; 0 while it is not
	overDue    int        // how many were waited for then
	killing    bool       // the tree is to die
	siblings   []int      // pids of the children that the command has made for this process, and that it has not reaped
	self       *taskState // this process, which creates the command and is out of its scope; else nil

	ev      taskwatch.Event
	extra   taskwatch.Extra // of ev
	rec     record
	parts   parts
	cgroups map[uint64]string
	failed  error
}

func newStream(s *Source, k *half, reg *taskwatch.Registry) *runner {
	st := &runner{
		src: s, kernel: k, feed: reg.Feed(),
		tasks:   newTasks(newRun()),
		scope:   cgroupScope{id: k.cgroup},
		parts:   newParts(),
		cgroups: make(map[uint64]string),
	}
	if s.cfg.Latency == EveryEvent {
		st.lookout = newLookout()
	}
	return st
}

// How often a sleeping reader looks around: for modules that came or went,
// and for tasks whose free is overdue.
const (
	idleTick   = 500 * time.Millisecond
	unfreeTick = 50 * time.Millisecond
	busyTick   = 100 * time.Microsecond // a record is being written
	batch      = 64                     // records between the returns of their room
)

func (st *runner) run(ctx context.Context) error {
	st.src.command.Attend(st.alarm.wake)
	defer st.src.command.Attend(nil)
	st.clocks.set()
	st.feed.Follow(st.visit)
	defer st.feed.End()
	if err := st.watch(false); err != nil {
		return err
	}
	if err := st.startCommand(); err != nil {
		return err
	}
	st.aside(st.src.cfg.OnReady)
	err := st.follow(ctx)
	err = errors.Join(err, st.lookMissed(true))
	st.tellUnfreed()
	st.tellOwed(0, true)
	st.lookUnmarked()
	if err != nil && st.src.cfg.Command != nil {
		st.kill() // what can no longer be followed is not left to run on
	}
	return err
}

// follow delivers events until there will be no more of them, or ctx ends.
func (st *runner) follow(ctx context.Context) error {
	rested := false // the last wait brought nothing
	for st.failed == nil {
		n, busy := st.drain()
		if err := st.maintain(); err != nil {
			return err
		}
		if st.src.cfg.Command != nil {
			if st.tend(ctx.Err() != nil) {
				st.aside(st.src.cfg.Command.OnGone)
				return st.failed
			}
		} else if ctx.Err() != nil || st.src.cfg.PID != 0 && st.finished() {
			err := st.kernel.detach()
			st.drain() // what happened before the end
			return errors.Join(err, st.failed)
		}
		if err := st.rest(n > 0, busy, rested); err != nil {
			return err
		}
		rested = n == 0
	}
	return st.failed
}

// rest waits for more. The kernel side is told what to wake for first, and
// the buffer looked at once more, so that nothing falls in between.
func (st *runner) rest(read, busy, rested bool) error {
	st.feed.Pause()
	defer st.feed.Resume()
	latency := st.src.cfg.Latency
	if latency == EveryEvent && !busy && st.lookAround() {
		return nil
	}
	armed, d := uint32(armedAny), idleTick
	if st.unfreed.len > 0 || len(st.siblings) > 0 || st.resyncs.wanted {
		d = unfreeTick
	}
	switch {
	case busy:
		armed, d = armedNot, busyTick
	case latency > 0 && (read || !rested):
		armed, d = armedFull, latency-latency/10 // the rest is for waking up
	}
	st.kernel.control.Store(controlArmed, armed)
	if produced := st.kernel.ring.Produced(); produced != st.kernel.ring.Position() && (armed == armedAny || produced-st.kernel.ring.Position() >= uint64(st.src.cfg.BufferSize/4)) {
		return nil
	}
	err := st.alarm.wait(d)
	st.kernel.control.Store(controlArmed, armedNot)
	if latency == EveryEvent && st.kernel.ring.Produced() != st.kernel.ring.Position() {
		st.lookout.came(now())
	}
	return err
}

// drain handles the records that are there, and reports how many there were
// and whether one is still being written. It returns now and then even if
// there is no end of them.
func (st *runner) drain() (n int, busy bool) {
	ring := st.kernel.ring
	st.clocks.follow(now()) // before what has woken the reader
	for n < 1<<16 && st.failed == nil {
		b, unfinished := ring.Next()
		if b == nil {
			ring.Release()
			st.lossesWithoutRecord()
			st.resyncs.reached(st, ring.Position())
			return n, unfinished
		}
		if err := st.rec.decode(b); err != nil {
			st.failed = err
			break
		}
		st.handle(&st.rec)
		n++
		if n%batch == 0 {
			ring.Release()
			st.resyncs.reached(st, ring.Position())
		}
	}
	ring.Release()
	return n, false
}

// watch makes the kernel side gather what the registry's modules watch now.
// again has it try once more what it could not attach.
func (st *runner) watch(again bool) error {
	kinds, fields, failed := st.feed.Kinds(), st.feed.Fields(), st.feed.FailedExecs()
	placed := st.placedRecords(failed)
	changed, err := st.narrow(kinds)
	if err != nil {
		return err
	}
	if !changed && kinds == st.kinds && fields == st.fields && placed == st.placed && failed == st.failing && st.watching && (st.short == nil || !again) {
		return nil
	}
	if kinds == 0 && !st.kernel.tree { // from here on the tasks would rot
		run, next := st.tasks.run, st.tasks.next
		st.tasks, st.unfreed, st.resyncs = newTasks(run), exits{}, resync{}
		st.tasks.next = next
	}
	st.placed = placed
	st.kernel.control.Store(controlPlaced, placed)
	fresh, short := st.kernel.watch(kinds, fields)
	if len(st.only.UIDs) > 0 && (st.kernel.instead || !st.kernel.gathered.Has(taskwatch.UID)) {
		st.uidsUnseen, changed = true, true
		if _, err := st.narrow(kinds); err != nil {
			return err
		}
	}
	if err := st.kernel.watchFailed(failed); err != nil && failed { // what stays attached, nobody asks for
		if short == nil {
			short = &source.Shortage{}
		}
		short.FailedExecs, short.Err = true, errors.Join(short.Err, err)
	}
	st.failing = failed
	if kinds.Has(taskwatch.Free) && !st.kinds.Has(taskwatch.Free) {
		st.owed.fromNS = sys.BootTime()
	}
	st.owed.whole = kinds.Has(taskwatch.Free) && (st.owed.whole || !st.watching)
	first := !st.watching
	st.kinds, st.fields, st.watching = kinds, fields, true
	st.tellShort(short)
	if first && short != nil && (kinds&^short.Kinds == 0 || st.src.cfg.Command != nil) {
		return short // nobody would get anything, or a command's tree not be known
	}
	if (fresh || changed) && (st.src.cfg.Command == nil || st.self != nil) { // else there is no tree yet
		st.resync()
	}
	return nil
}

// placedRecords returns the kinds of record that need a working directory: of one
// kind may be the events of another. An exec has it anyhow. What modules say has it
// where it is read of any event.
func (st *runner) placedRecords(failed bool) (records uint32) {
	for _, c := range [...]struct {
		record recordKind
		events taskwatch.Kinds
	}{
		{recordInit, 1 << taskwatch.Init},
		{recordClone, 1<<taskwatch.Init | 1<<taskwatch.Clone},
		{recordUID, idKinds}, {recordGID, idKinds},
		{recordExit, 1<<taskwatch.Exit | 1<<taskwatch.Free},
	} {
		for _, k := range c.events.List() {
			if st.feed.Reads(k).Has(taskwatch.FieldCwd) {
				records |= 1 << c.record
			}
		}
	}
	if failed {
		records |= 1 << recordFailed
	}
	if st.feed.Fields().Has(taskwatch.FieldCwd) {
		records |= 1<<recordReport | 1<<recordEmit
	}
	return records
}

// tellShort takes note of what cannot be attached, and tells it when it
// changes.
func (st *runner) tellShort(short *source.Shortage) {
	was := st.short
	st.short = short
	if short == nil || was != nil && was.Kinds == short.Kinds && was.FailedExecs == short.FailedExecs {
		return
	}
	if f := st.src.cfg.OnShortage; f != nil && (short.Kinds&st.kinds != 0 || short.FailedExecs) {
		st.aside(func() { f(short) })
	}
}

// resync looks at all tasks. If that fails, which a lack of descriptors may
// cause, it is tried again.
func (st *runner) resync() {
	if err := st.resyncs.start(st); err != nil {
		st.resyncs.want(st.kernel.ring.Position())
		st.resyncs.lastNS = now()
	}
}

// maintain does what does not come from a record.
func (st *runner) maintain() error {
	at := now()
	if err := st.look(); err != nil {
		return err
	}
	st.followCgroup(at)
	st.siblings = child.Reap(st.siblings)
	st.overdue(at)
	st.tellOwed(at, false)
	if at-st.misses.lastNS > missedPause {
		st.misses.lastNS = at
		st.lookUnmarked()
		if err := st.lookMissed(false); err != nil {
			return err
		}
	}
	if st.resyncs.due(at, st.kernel.ring.Position()) {
		st.resync()
	}
	return nil
}

// tend does what the command has given cause for, and reports whether all is
// over.
func (st *runner) tend(cancelled bool) (finished bool) {
	stop, kills := st.src.command.Take()
	if stop != 0 && st.src.cfg.Command.OnStop != nil {
		st.drain() // what it did before
		st.aside(func() { st.src.cfg.Command.OnStop(stop) })
	}
	if len(kills) > 0 || (st.src.command.Killed() || cancelled) && !st.killing {
		n := st.kill()
		for _, reply := range kills {
			reply <- n
		}
	}
	return st.finished()
}

// finished reports whether the tree of a command, or of a process, is gone and
// every event of it delivered.
func (st *runner) finished() bool {
	if !st.isKnown() || len(st.tasks.live) > 0 || st.resyncs.wanted || st.resyncs.running {
		st.overNS = 0
		return false
	}
	due := st.unfreed.len + len(st.siblings)
	if st.kinds.Has(taskwatch.Free) {
		// With nobody alive to go on with a fork, these have failed. On another
		// processor the kernel may free them after all the others.
		due += st.tasks.unborn
	}
	if due == 0 {
		return true
	}
	if st.overNS == 0 || due < st.overDue {
		st.overNS = now() // and not the time of the last exit, which a slow watcher may have been told long after
		st.overDue = due
	}
	return now()-st.overNS > freeWait
}

// isKnown reports whether no task can be in the tree that is not known.
func (st *runner) isKnown() bool {
	if st.src.cfg.Command != nil {
		return st.src.command.Ended()
	}
	return st.tasks.generation > 0 // it was looked for
}

// freeWait is how long the end of a command's tree, once all exits are told,
// waits for the next free: longer than it takes to infer those of which the
// kernel has not told. Tasks that nobody reaps are never freed; how many there
// are is told. Tests make it long.
var freeWait = int64(2 * time.Second)
