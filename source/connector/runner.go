package connector

import (
	"sync/atomic"
	"time"

	"github.com/taskwatch/taskwatch"
	"github.com/taskwatch/taskwatch/internal/cnproc"
	"github.com/taskwatch/taskwatch/internal/procfs"
	"github.com/taskwatch/taskwatch/internal/sys"
	"github.com/taskwatch/taskwatch/source"
)

// runner is one run of a source.
type runner struct {
	src     *Source
	feed    *taskwatch.Feed
	conn    *cnproc.Conn
	queue   *queue
	tasks   *tasks
	stopped atomic.Bool

	proc  procfs.Reader
	clock clock
	ev    taskwatch.Event
	extra taskwatch.Extra // of an exec
	seq   uint64

	records []cnproc.Record // taken from the queue
	next    int             // the first of them that is not handled

	overrun bool // the socket was full, and no gap has shown since
	dirty   bool // messages were lost, and the tasks not scanned since
	scans   uint64
	scanned time.Time     // when the last scan ended
	scan    time.Duration // what it took

	received, lost, overruns uint64
}

func (st *runner) run() error {
	st.clock = readClock()
	st.feed.Follow(st.visit)
	defer st.feed.End()
	if err := st.resync(); err != nil {
		return err
	}
	if pid := st.src.cfg.PID; pid != 0 && st.tasks.tree == 0 {
		return &source.NoProcessError{Source: Name, PID: pid}
	}
	st.publish()
	if ready := st.src.cfg.OnReady; ready != nil {
		st.feed.Pause()
		ready()
		st.feed.Resume()
	}
	for {
		st.feed.Pause()
		records, err := st.queue.take(st.records)
		st.feed.Resume()
		if err == errDone {
			return nil
		}
		if err != nil {
			return err
		}
		st.records, st.clock = records, readClock()
		for st.next = 0; st.next < len(records); {
			r := &records[st.next]
			st.next++
			if err := st.handle(r); err != nil {
				return err
			}
			st.forget()
			if st.src.cfg.PID != 0 && st.tasks.tree == 0 {
				return nil
			}
		}
		if st.queue.empty() {
			if err := st.settle(); err != nil {
				return err
			}
		}
		st.publish()
	}
}

// visit calls fn for each task: see [taskwatch.Feed.Follow].
func (st *runner) visit(fn func(*taskwatch.Event)) {
	see := func(e *taskState) {
		if st.src.cfg.PID == 0 || e.proc.inTree {
			fn(st.known(e))
		}
	}
	for _, e := range st.tasks.byTID {
		see(e)
	}
	for _, list := range st.tasks.leaving {
		for _, e := range list {
			see(e)
		}
	}
}

// known describes a task that is at no event.
func (st *runner) known(e *taskState) *taskwatch.Event {
	ev := &taskwatch.Event{Task: e.task, Source: Name, Missing: e.unknown | execOnly}
	if !e.ppidKnown() {
		ev.Missing |= taskwatch.FieldPPID
	}
	ev.MonoNS = sys.Monotonic()
	ev.Time = time.Unix(0, ev.MonoNS+st.clock.wall)
	return ev
}

// forget says which tasks have gone: no event does.
func (st *runner) forget() {
	if st.feed.Following() {
		for _, e := range st.tasks.gone {
			st.feed.Forget(st.known(e))
		}
	}
	clear(st.tasks.gone)
	st.tasks.gone = st.tasks.gone[:0]
}

// publish makes the counters visible.
func (st *runner) publish() {
	st.src.mu.Lock()
	defer st.src.mu.Unlock()
	st.src.stats = Stats{
		BufferSize: st.conn.BufferSize(), Received: st.received, Lost: st.lost,
		Overruns: st.overruns, Scans: st.scans, Tasks: len(st.tasks.byTID),
	}
}

func (st *runner) handle(r *cnproc.Record) error {
	st.queue.handled(r)
	switch r.What {
	case overrun:
		st.overruns++
		st.overrun, st.dirty = true, true
		return nil
	case gap:
		return st.lose(uint64(r.Code))
	}
	st.received++
	switch r.What {
	case cnproc.Fork:
		st.clone(r)
	case cnproc.Exec:
		st.exec(r)
	case cnproc.UID:
		st.ids(r, taskwatch.UID)
	case cnproc.GID:
		st.ids(r, taskwatch.GID)
	case cnproc.Comm:
		st.comm(r)
	case cnproc.Exit:
		st.exit(r)
	}
	return nil
}

// lose tells that n messages were lost, 0 if it is not known how many.
func (st *runner) lose(n uint64) error {
	st.feed.Deliver(taskwatch.Item{Loss: &taskwatch.Loss{Count: n, Seq: st.seq + 1}})
	st.seq += n
	st.lost += n
	st.overrun, st.dirty = false, true
	// Scanning takes time, in which more is lost. While losses go on, it may
	// take a tenth of it.
	if time.Since(st.scanned) < 10*st.scan {
		return nil
	}
	return st.resync()
}

// settle is called when everything received was handled.
func (st *runner) settle() error {
	if st.overrun {
		if err := st.lose(0); err != nil {
			return err
		}
	}
	if st.dirty {
		return st.resync()
	}
	return nil
}

// deliver notifies the watchers of an event of e's task. missing is what this
// event cannot tell, besides what is not known of the task.
func (st *runner) deliver(k taskwatch.Kind, e *taskState, r *cnproc.Record, missing taskwatch.Fields) {
	defer func() { st.ev = taskwatch.Event{} }()
	e.lastNS = r.NS
	if st.src.cfg.PID != 0 && !e.proc.inTree || !st.feed.Enabled(k) {
		return
	}
	if e.worker && k != taskwatch.Clone {
		st.readName(e)
	}
	if !e.ppidKnown() {
		missing |= taskwatch.FieldPPID
	}
	if k != taskwatch.Exec {
		missing |= execOnly
	}
	st.seq++
	ev := &st.ev
	ev.Kind, ev.Seq, ev.Source, ev.Task = k, st.seq, Name, e.task
	ev.MonoNS, ev.Time = r.NS, time.Unix(0, r.NS+st.clock.wall)
	ev.Final = k.Vetoable()
	ev.Missing = (missing | e.unknown) & taskwatch.FieldsOf(k)
	if asked := st.feed.Optional(k); asked != 0 {
		if k != taskwatch.Exec {
			st.extra = taskwatch.Extra{}
		}
		ev.Give(asked, &st.extra)
	}
	_ = st.feed.Notify(ev) // nothing can be denied any more
}
