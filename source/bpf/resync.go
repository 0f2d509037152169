package bpf

import (
	"bytes"
	"time"

	"github.com/taskwatch/taskwatch"
	"github.com/taskwatch/taskwatch/internal/procfs"
)

// resync brings the tasks up to date with the task iterator, at the start and
// after a loss.
//
// The iterator runs ahead of the buffer. Tasks that nobody knew are added at
// once: their records may already be in the buffer. What it says of the others
// is taken when the buffer has been read up to where the iterator ended, and
// only of those about which no record came since. Tasks that the iterator has
// not seen, and of which no record has told since it began, are gone then. So
// it must not begin before the tasks are known whose exits were lost: they
// were born in front of the loss, in a part of the buffer that may not have
// been read when the loss was noticed. And it runs again where it has found a
// task on its way out, whose exit may have been read just before.
type resync struct {
	wanted  bool
	from    uint64 // position in the buffer up to which it has to be read first
	again   bool   // something was lost since from was set
	lastNS  int64
	running bool
	until   uint64 // position in the buffer
	found   []record

	forget   bool  // tasks that the kernel side leaves out from now on
	forgetNS int64 // since when
}

// want has the tasks brought up to date for what was lost before a position.
func (rs *resync) want(position uint64) {
	if rs.wanted {
		rs.again = true // and from stays, which losses without an end would keep out of reach
	} else {
		rs.wanted, rs.from = true, position
	}
}

// resyncPause keeps losses that do not end from turning into resyncs that do
// not end.
const resyncPause = int64(200 * time.Millisecond)

func (rs *resync) due(at int64, position uint64) bool {
	return rs.wanted && !rs.running && position >= rs.from && at-rs.lastNS > resyncPause
}

func (rs *resync) start(st *runner) error {
	st.tasks.generation++
	rs.found = rs.found[:0]
	var added []*taskState
	exiting := false
	err := st.kernel.tasks(func(r *record) {
		st.parts.resolve(r)
		e := st.tasks.find(r)
		if e == nil {
			if e = st.found(r); e != nil {
				added = append(added, e)
				exiting = exiting || r.flags&flagExiting != 0
			}
			return
		}
		e.generation = st.tasks.generation
		kept := *r
		kept.comm, kept.exe, kept.cwd = bytes.Clone(r.comm), nil, nil
		rs.found = append(rs.found, kept)
	})
	if err != nil {
		return err
	}
	for _, e := range added {
		st.describe(e)
		if st.killing {
			e.killProcess()
		}
	}
	st.finding = true
	st.feed.Found()
	st.finding = false
	rs.until = st.kernel.ring.Produced()
	rs.wanted = rs.again || exiting || st.kernel.ring.Position() < rs.from
	rs.again, rs.running, rs.from = false, true, rs.until
	rs.lastNS = now()
	return nil
}

// reached is called when the buffer was read up to a position.
func (rs *resync) reached(st *runner, position uint64) {
	if !rs.running || position < rs.until {
		return
	}
	rs.running = false
	st.owed.sinceNS = now()
	for i := range rs.found {
		r := &rs.found[i]
		e := st.tasks.find(r)
		if e == nil || e.exited {
			continue
		}
		if e.start == 0 { // its clone was lost
			st.tasks.place(e, r.pid, r.tid, r.start)
		}
		if r.flags&flagExited != 0 { // its exit was lost; what reaps it may come late, or never
			e.val = r.val
			st.exitLost(e, r.timeNS)
			continue
		}
		if e.lastNS < r.timeNS {
			if !e.kthread {
				e.takePaths(r)
				st.describe(e)
			}
			e.task.UID, e.task.GID = r.uid, r.gid
			st.refresh(e, r)
		}
	}
	rs.found = nil
	if rs.forget {
		rs.forget = false
		st.forget(rs.forgetNS)
		return
	}
	for _, e := range st.tasks.byAddr {
		if e.generation != st.tasks.generation && !e.exited && e.start != 0 {
			e.gone = true
			st.exitLost(e, rs.lastNS)
		}
	}
}

// forget removes the tasks that were neither found nor have had a record since a
// time: the kernel side leaves them out.
func (st *runner) forget(sinceNS int64) {
	for _, e := range st.tasks.byAddr {
		if e.generation != st.tasks.generation && !e.exited && e.lastNS < sinceNS {
			st.drop(e)
		}
	}
}

// drop forgets a task of which nothing is told any more.
func (st *runner) drop(e *taskState) {
	st.parts.forget(e.addr)
	st.tasks.remove(e)
}

// found adds a task that the iterator has found.
func (st *runner) found(r *record) *taskState {
	if old := st.tasks.at(r.task); old != nil {
		st.gone(old, r.timeNS)
	}
	e := st.tasks.add(r.task)
	e.missing = taskwatch.FieldParentID | taskwatch.FieldArgv
	e.exited = r.flags&flagExited != 0
	st.tasks.place(e, r.pid, r.tid, r.start)
	if r.flags&flagKthread != 0 {
		e.asKthread()
	} else {
		e.takePaths(r)
	}
	e.task.UID, e.task.GID = r.uid, r.gid
	st.refresh(e, r)
	if e.exited {
		e.val = r.val
		st.exited(e, r.timeNS)
		return nil
	}
	return e
}

// describe reads the argv of a task that was found: the iterator cannot.
func (st *runner) describe(e *taskState) {
	if e.kthread {
		return
	}
	if leader := st.tasks.byTID[e.task.PID]; leader != nil && leader != e && leader.missing&taskwatch.FieldArgv == 0 {
		e.share(leader)
		return
	}
	argv, overwritten, err := new(procfs.Reader).Title(e.task.PID)
	if err == nil && len(argv) > 0 {
		e.task.Argv, e.task.ArgvCut = argv, overwritten
		e.missing &^= taskwatch.FieldArgv
	}
}

// readArgv reads the argv of a process that has just run a program from /proc,
// if it is still the one that started then.
func readArgv(pid int, start int64) ([]string, bool) {
	var proc procfs.Reader
	argv, err := proc.Cmdline(pid)
	if err != nil || len(argv) == 0 {
		return nil, false
	}
	stat, err := proc.Stat(pid, 0)
	if err != nil || !procfs.SameTick(stat.StartNS, start) {
		return nil, false
	}
	return argv, true
}
