package watchtest

import (
	"fmt"
	"slices"

	"github.com/taskwatch/taskwatch"
)

// truth is what the workload did, task by task.
type truth struct {
	lives  []*life // in the order in which they began; the first is the command's own
	failed []*fact // forks that failed
	notes  []string
	stdio  []*fact

	execs, uids, gids int

	byTID map[int]*life // the latest of that tid
}

// life is one lifetime of one task.
type life struct {
	name  string // for messages
	pid   int
	maker *life // the task that made this one; nil for the command's own
	wants []want
	usage *fact // or nil
	ended bool
	now   state
}

// state is what holds for a task at one moment.
type state struct {
	tid      int
	ppid     int
	exe      string
	comm     string
	cwd      string
	argv     []string
	uid, gid taskwatch.IDs
}

// want is one event that a complete source delivers.
type want struct {
	kind  taskwatch.Kind
	fact  *fact // of a free: the exit's
	state state // after the event

	// floating says that the order within the task is open: ids that change
	// in an exec may be reported before or after it.
	floating bool

	over *life // of an exec by another thread: the leader, whose tid it took
}

func (l *life) want(k taskwatch.Kind, f *fact) {
	l.wants = append(l.wants, want{kind: k, fact: f, state: l.now,
		floating: (k == taskwatch.UID || k == taskwatch.GID) && f.Cause == "exec"})
}

// newTruth replays the facts, which stand in causal order.
func newTruth(facts []*fact) (*truth, error) {
	tr := &truth{byTID: map[int]*life{}}
	for _, f := range facts {
		if err := tr.replay(f); err != nil {
			return nil, err
		}
	}
	return tr, nil
}

func (tr *truth) replay(f *fact) error {
	switch f.Fact {
	case "clone":
		return tr.clone(f)
	case "exec":
		return tr.exec(f)
	case "uid", "gid", "exit", "usage":
		l, err := tr.find(f.TID)
		if err != nil {
			return err
		}
		tr.tell(l, f)
	case "failed":
		tr.failed = append(tr.failed, f)
	case "stdio":
		tr.stdio = append(tr.stdio, f)
	case "note":
		tr.notes = append(tr.notes, fmt.Sprintf("%s=%d", f.Key, f.Value))
	case "error":
		return fmt.Errorf("the workload failed at %q with errno %d", f.Key, f.Value)
	default:
		return fmt.Errorf("the workload's report is broken: fact %q", f.Fact)
	}
	return nil
}

func (tr *truth) find(tid int) (*life, error) {
	if l := tr.byTID[tid]; l != nil {
		return l, nil
	}
	return nil, fmt.Errorf("the workload's report is broken: nothing made task %d", tid)
}

func (tr *truth) begin(tid int, l *life) {
	tr.byTID[tid] = l
	tr.lives = append(tr.lives, l)
}

func (tr *truth) clone(f *fact) error {
	maker, err := tr.find(f.By)
	if err != nil {
		return err
	}
	l := &life{
		name: fmt.Sprintf("task %d (of process %d, made by task %d)", f.TID, f.PID, f.By),
		pid:  f.PID, maker: maker, now: maker.now,
	}
	l.now.ppid = f.PPID
	l.now.tid = 0
	l.want(taskwatch.Init, f)
	l.now.tid = f.TID
	l.want(taskwatch.Clone, f)
	tr.begin(f.TID, l)
	return nil
}

func (tr *truth) exec(f *fact) error {
	if len(tr.lives) == 0 {
		tr.begin(f.TID, &life{name: fmt.Sprintf("the command itself (task %d)", f.TID), pid: f.PID})
	}
	l, err := tr.find(f.FromTID)
	if err != nil {
		return err
	}
	l.now = state{
		tid: f.TID, ppid: f.PPID, exe: string(f.Exe), comm: string(f.Comm), cwd: string(f.Cwd),
		argv: plain(f.Argv), uid: f.UID, gid: f.GID,
	}
	l.want(taskwatch.Exec, f)
	if leader := tr.byTID[f.TID]; leader != l {
		l.wants[len(l.wants)-1].over = leader
	}
	tr.byTID[f.TID] = l
	tr.execs++
	return nil
}

// tell replays what changes only the task itself.
func (tr *truth) tell(l *life, f *fact) {
	switch f.Fact {
	case "uid":
		l.now.uid = f.New
		l.want(taskwatch.UID, f)
		tr.uids++
	case "gid":
		l.now.gid = f.New
		l.want(taskwatch.GID, f)
		tr.gids++
	case "exit":
		if f.PPID != 0 {
			l.now.ppid = f.PPID
		}
		l.want(taskwatch.Exit, f)
		l.want(taskwatch.Free, f)
		l.ended = true
	case "usage":
		l.usage = f
	}
}

// running lists the tasks that have not ended.
func (tr *truth) running() []*life {
	var list []*life
	for _, l := range tr.lives {
		if !l.ended {
			list = append(list, l)
		}
	}
	return list
}

// forgetSetGroups leaves out the events that a source which is not told of
// setgroups cannot have.
func (tr *truth) forgetSetGroups() {
	for _, l := range tr.lives {
		l.wants = slices.DeleteFunc(l.wants, func(w want) bool { return w.fact.Cause == taskwatch.CauseSetGroups.String() })
	}
}

// made is how many tasks the workload made, without the command's own.
func (tr *truth) made() int { return len(tr.lives) - 1 }

// filter returns the wants of the given kinds.
func (l *life) filter(kinds taskwatch.Kinds) []want {
	var list []want
	for _, w := range l.wants {
		if kinds.Has(w.kind) {
			list = append(list, w)
		}
	}
	return list
}
