package daemon

import (
	"maps"
	"os"
	"time"

	"github.com/taskwatch/taskwatch"
	"github.com/taskwatch/taskwatch/internal/procfs"
	"github.com/taskwatch/taskwatch/process"
	"github.com/taskwatch/taskwatch/source/child"
)

// commandTree is what is known of a command and its descendants by what a daemon
// reports. One goroutine uses it.
type commandTree struct {
	pid    int     // of the command
	filter *filter // chooses its tasks among those of this process
	runs   bool    // it has executed its program

	live     map[int]int64                 // start time by pid of the processes that have not ended
	unfreed  map[taskwatch.TaskID]struct{} // tasks that have exited, where frees are awaited
	frees    bool
	siblings []int // pids of the children that the command has made for this process, and that are not reaped
	killing  bool

	overAt time.Time // when the last process was seen to have ended, or the last free after that came
	due    int       // what was awaited then
}

func newCommandTree(pid int, frees bool) *commandTree {
	t := &commandTree{pid: pid, frees: frees, live: map[int]int64{}}
	t.begin()
	t.meet(pid)
	return t
}

// begin forgets the tasks, but for the command.
func (t *commandTree) begin() {
	t.filter, _ = newFilter(&choice{pid: t.pid, tree: true}) // the pid is one
	t.filter.tree.UntilFree = t.frees
	t.unfreed = map[taskwatch.TaskID]struct{}{}
}

// meet takes note of a process that runs.
func (t *commandTree) meet(pid int) {
	stat, err := new(procfs.Reader).Stat(pid, 0)
	if err != nil {
		t.live[pid] = 0 // its end is on its way
		return
	}
	t.live[pid] = stat.StartNS
}

// take brings the tree up to date with an event, and reports whether it is one of a
// task of the tree. What the command's process did before it executed its program
// is this process's work.
func (t *commandTree) take(ev *taskwatch.Event) bool {
	t.filter.follow(ev)
	if !t.filter.match(ev.Task, ev.Missing) {
		return false
	}
	pid := ev.Task.PID
	switch {
	case process.EndsProcess(ev):
		delete(t.live, pid)
	case ev.Kind == taskwatch.Exit, ev.Kind == taskwatch.Free, pid == 0 || ev.Missing.Has(taskwatch.FieldPID):
	case process.IsLeader(ev) && !ev.Missing.Has(taskwatch.FieldStart) && ev.Task.StartNS != 0:
		t.born(ev, pid)
		t.live[pid] = ev.Task.StartNS
	default:
		if _, known := t.live[pid]; !known {
			t.meet(pid)
		}
	}
	switch {
	case !t.frees:
	case ev.Kind == taskwatch.Exit:
		t.unfreed[ev.Task.ID] = struct{}{}
	case ev.Kind == taskwatch.Free:
		delete(t.unfreed, ev.Task.ID)
	}
	t.runs = t.runs || ev.Kind == taskwatch.Exec && pid == t.pid
	return t.runs
}

// born does what there is to do about a new process.
func (t *commandTree) born(ev *taskwatch.Event, pid int) {
	if _, known := t.live[pid]; known || ev.Kind != taskwatch.Clone {
		return
	}
	if ev.Task.PPID == os.Getpid() && !ev.Missing.Has(taskwatch.FieldPPID) {
		t.siblings = append(t.siblings, pid)
	}
	if t.killing {
		child.KillProcess(pid, pid, ev.Task.StartNS)
	}
}

// has reports whether a task is one of the tree.
func (t *commandTree) has(task *taskwatch.Task, missing taskwatch.Fields) bool {
	return t.runs && t.filter.match(task, missing)
}

// again goes on with the events of a daemon that knows nothing of before.
func (t *commandTree) again() {
	t.begin()
	t.check()
	for pid := range t.live {
		t.filter.tree.Adopt(pid, t.pid, process.Command{})
	}
	t.look()
}

// look looks for processes of the tree that no event has told of.
func (t *commandTree) look() {
	list, err := process.Below(0)
	if err != nil {
		return // then they are met at their next event
	}
	for _, f := range list { // parents first
		_, known := t.live[f.PID]
		if _, mine := t.live[f.PPID]; mine && !known {
			t.filter.tree.Adopt(f.PID, f.PPID, process.Command{})
			t.meet(f.PID)
		}
	}
}

// check forgets processes whose end was not reported, and returns how many.
func (t *commandTree) check() int {
	n := len(t.live)
	maps.DeleteFunc(t.live, func(pid int, start int64) bool { return !runs(pid, start) })
	return n - len(t.live)
}

// runs reports whether a process has not ended. A start of 0 is unknown.
func runs(pid int, start int64) bool {
	stat, err := new(procfs.Reader).Stat(pid, 0)
	if err != nil || start != 0 && !procfs.SameTick(stat.StartNS, start) {
		return false
	}
	if !stat.Exited() {
		return true
	}
	tids, err := new(procfs.Reader).Threads(pid)
	return err == nil && len(tids) > 1 // only its first thread has ended
}

// kill kills the processes of the tree, and from now on each one that is born. It
// returns how many got the signal.
func (t *commandTree) kill() (n int) {
	t.killing = true
	t.look()
	for pid, start := range t.live {
		if start != 0 && child.KillProcess(pid, pid, start) {
			n++
		}
	}
	return n
}

// freeWait is how long the end of a tree, once all exits are told, waits for the next
// free, or for the next child to be reaped. A machine that many processes were made
// on frees some after more than two seconds. Tests make it long: it is init that
// reaps orphans.
var freeWait = 5 * time.Second

// finished reports whether the tree is gone and all of it is told, once the command
// has ended.
func (t *commandTree) finished(now time.Time) bool {
	if len(t.live) > 0 {
		t.overAt = time.Time{}
		return false
	}
	due := len(t.unfreed) + len(t.siblings)
	if due == 0 {
		return true
	}
	if t.overAt.IsZero() || due < t.due {
		t.overAt, t.due = now, due
	}
	return now.Sub(t.overAt) > freeWait
}
