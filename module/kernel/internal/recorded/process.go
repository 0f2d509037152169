package recorded

import (
	"slices"

	"github.com/taskwatch/taskwatch"
)

// process is what the threads of a process have in common.
type process struct {
	pid     int
	signal  *object
	threads []*task // that the recording has, until their free
}

// join makes a task a thread of its process, from clone on.
func (w *World) join(t *task, ev *taskwatch.Event) {
	if t.process != nil || ev.Kind == taskwatch.Init || !t.knows(taskwatch.FieldPID) {
		return
	}
	p := w.processes[t.state.PID]
	if p == nil || ev.Kind == taskwatch.Clone && t.hasVal && t.val&cloneThread == 0 {
		p = &process{pid: t.state.PID, signal: w.newObject("signal_struct")}
		w.processes[t.state.PID] = p
	}
	p.threads = append(p.threads, t)
	t.process = p
}

// part takes a task from its process, which goes with the last one.
func (w *World) part(t *task) {
	p := t.process
	if p == nil {
		return
	}
	t.process = nil
	p.threads = slices.DeleteFunc(p.threads, func(other *task) bool { return other == t })
	if len(p.threads) > 0 {
		return
	}
	w.machine.Memory.Remove(p.signal.region)
	if w.processes[p.pid] == p {
		delete(w.processes, p.pid)
	}
}

// fillThreads writes how many threads the kernel has on the list of a process: not those
// that have ended, but for the first one, as long as there are others.
func (w *World) fillThreads(p *process) {
	if !w.whole {
		return
	}
	n, first := uint64(0), uint64(0)
	for _, t := range p.threads {
		ends := w.subject == t && w.event.Kind == taskwatch.Exit
		switch {
		case w.subject == t && w.event.Kind == taskwatch.Free:
		case !t.seen.Has(taskwatch.Exit) || ends:
			n++
		case t.knows(taskwatch.FieldTID) && t.state.TID == t.state.PID:
			first = 1
		}
	}
	if n > 0 {
		n += first
	}
	p.signal.set(n, "nr_threads")
}
