package ptrace

import (
	"golang.org/x/sys/unix"

	"github.com/taskwatch/taskwatch"
	"github.com/taskwatch/taskwatch/internal/sys"
)

// A task that was created with CLONE_UNTRACED is not traced. The flag is
// cleared where it is seen; where it cannot be (another thread writes it into
// the arguments of clone3 meanwhile, the memory is closed to the tracer, or a
// listener has let the call go on), the task is found at the end of the call,
// or when one of its process exits, and traced from there on.

// untraced handles the end of a fork that has created a task which nobody has
// announced. Watchers may have been asked about it.
func (t *tracer) untraced(by *tracee, asked *subject) {
	if n := t.takeStrays(by, asked); n == 0 {
		if asked != nil {
			t.freed(asked, 0, false)
		}
		t.src.notice("process %d has created a task with CLONE_UNTRACED that cannot be found or is gone: its events are missing", by.proc.pid)
	}
}

// strays looks for tasks that were created without a stop.
func (t *tracer) strays(tr *tracee) {
	if t.attached == nil && t.suspect && tr.task != nil && t.started {
		t.takeStrays(tr, nil)
	}
}

// takeStrays has all tasks traced that a tracee may have created and that
// are not known. It returns how many there are.
func (t *tracer) takeStrays(by *tracee, asked *subject) (n int) {
	threads, _ := t.proc.Threads(by.proc.pid) // of one that is gone there are none
	tids := threads
	for _, tid := range threads {
		children, _ := t.proc.Children(by.proc.pid, tid)
		tids = append(tids, children...)
	}
	if parent := t.tracees[by.task.PPID]; parent != nil { // CLONE_PARENT
		children, _ := t.proc.Children(parent.proc.pid, parent.tid)
		tids = append(tids, children...)
	}
	for _, tid := range tids {
		if t.tracees[tid] != nil || t.early[tid] != nil {
			continue
		}
		st, err := t.proc.Status(tid, 0)
		if err != nil || st.TracerPID != 0 {
			continue // one of ours, and about to be announced
		}
		if stat, err := t.proc.Stat(tid, 0); err != nil || stat.Exiting() {
			continue // it may be one of ours that its parent has yet to reap
		}
		n++
		t.takeStray(by, tid, asked)
		asked = nil
	}
	return n
}

// takeStray has one task traced.
func (t *tracer) takeStray(by *tracee, tid int, asked *subject) {
	task := asked
	if task == nil {
		task = t.child(by, birth{})
	}
	if err := sys.PtraceSeize(tid, t.options()); err != nil {
		end := "it is not watched"
		if t.vetoes != 0 && unix.Kill(tid, unix.SIGKILL) == nil {
			end = "it was killed, because watchers may deny its operations"
		}
		t.src.notice("process %d has created task %d with CLONE_UNTRACED, which cannot be traced (%v): %s", by.proc.pid, tid, err, end)
		if asked != nil {
			t.freed(asked, 0, false)
		}
		return
	}
	t.src.notice("process %d has created task %d with CLONE_UNTRACED: it is watched from now on, and its earlier events are not known", by.proc.pid, tid)
	// It may run another program since then, as somebody else.
	now, uid, gid, idsKnown := t.program(&tracee{tid: tid, proc: &process{pid: tid, userNS: true}})
	now.set(task)
	task.know(taskwatch.FieldUID|taskwatch.FieldGID, idsKnown)
	if idsKnown {
		task.UID, task.GID = uid, gid
	}
	t.created(by, tid, birth{}, task, asked != nil)
}
