package watchtest

import (
	"context"
	"os"
	"time"

	"github.com/taskwatch/taskwatch"
	"github.com/taskwatch/taskwatch/source"
)

// oracle is a source that runs the command without watching it, reads its
// report afterwards and delivers what a perfect source would have: the proof
// that the suite accepts what is right. With a spoil function it is the proof
// that the suite rejects what is wrong.
type oracle struct {
	cmd    Command
	extra  []*os.File // more files for the command
	caps   source.Capabilities
	exit   taskwatch.ExitStatus
	spoil  func([]delivery) []delivery
	events []delivery

	// ready, if set, makes it a source that watches what others start.
	ready chan struct{}

	from, to moment
	tasks    map[int]*oracleTask
	n        uint64
}

// delivery is one event to come. ev.Task is what the task is at that time, and
// task the one Task that stands for it from init to free.
type delivery struct {
	ev   *taskwatch.Event
	task *taskwatch.Task
}

func (d delivery) to(feed *taskwatch.Feed) {
	t, is := d.task, d.ev.Task
	t.ID, t.ParentID, t.PID, t.TID, t.PPID, t.StartNS = is.ID, is.ParentID, is.PID, is.TID, is.PPID, is.StartNS
	t.Comm, t.Exe, t.Argv, t.ArgvCut, t.Cwd = is.Comm, is.Exe, is.Argv, is.ArgvCut, is.Cwd
	t.UID, t.GID, t.Cgroup = is.UID, is.GID, is.Cgroup
	d.ev.Task = t
	feed.Notify(d.ev)
}

type oracleTask struct {
	*taskwatch.Task
	usage *fact // or nil
}

func allCapabilities() source.Capabilities {
	caps := source.Capabilities{Scope: "one command, afterwards"}
	for k := range caps.Events {
		caps.Events[k] = source.Capability{Delivered: true, Hook: "hindsight"}
	}
	return caps
}

func (o *oracle) Close() error                      { return nil }
func (o *oracle) Name() string                      { return "oracle" }
func (o *oracle) Capabilities() source.Capabilities { return o.caps }
func (o *oracle) Exit() taskwatch.ExitStatus        { return o.exit }

func (o *oracle) Run(ctx context.Context, reg *taskwatch.Registry) error {
	o.from = now()
	if o.ready != nil {
		return o.outside(ctx, reg)
	}
	p, err := o.cmd.start(o.extra...)
	if err != nil {
		return err
	}
	if o.cmd.Argv[1] == "sleep" {
		reg.Feed().Notify(&taskwatch.Event{Kind: taskwatch.Exec, Task: &taskwatch.Task{Exe: o.cmd.Path}})
		<-ctx.Done()
		p.Kill()
		_, err := p.Wait()
		return err
	}
	ps, err := p.Wait()
	if err != nil {
		return err
	}
	o.exit = exitStatus(ps)
	return o.deliver(ctx, reg)
}

// outside waits for a command that somebody else starts.
func (o *oracle) outside(ctx context.Context, reg *taskwatch.Registry) error {
	close(o.ready)
	if o.cmd.Argv[1] == "sleep" {
		reg.Feed().Notify(&taskwatch.Event{Kind: taskwatch.Exec, Task: &taskwatch.Task{Exe: o.cmd.Path}})
	} else if err := o.deliver(ctx, reg); err != nil {
		return err
	}
	<-ctx.Done()
	return nil
}

// deliver waits for the end of the report and delivers what it says.
func (o *oracle) deliver(ctx context.Context, reg *taskwatch.Registry) error {
	for {
		report, err := os.ReadFile(o.cmd.Stdout.Name())
		if err != nil {
			return err
		}
		facts, err := parseFacts(report)
		if err != nil {
			return err
		}
		tr, err := newTruth(facts)
		if err != nil {
			return err
		}
		if len(tr.lives) > 0 && len(tr.running()) == 0 {
			o.to = now()
			o.tell(facts)
			if o.ready == nil {
				if err := tr.reapSiblings(); err != nil {
					return err
				}
			}
			break
		}
		if ctx.Err() != nil {
			return nil
		}
		time.Sleep(time.Millisecond)
	}
	if o.spoil != nil {
		o.events = o.spoil(o.events)
	}
	feed, known := reg.Feed(), map[*taskwatch.Task]bool{}
	feed.Follow(func(visit func(*taskwatch.Event)) {
		for task := range known {
			visit(&taskwatch.Event{Task: task})
		}
	})
	defer feed.End()
	for _, d := range o.events {
		d.to(feed)
		known[d.task] = true
		if d.ev.Kind == taskwatch.Free {
			delete(known, d.task)
		}
	}
	return nil
}

func (o *oracle) event(k taskwatch.Kind, t *oracleTask, val uint64) *taskwatch.Event {
	ev := &taskwatch.Event{
		Kind: k, Val: val, Seq: uint64(len(o.events) + 1), Source: o.Name(),
		MonoNS: o.from.mono + int64(len(o.events)), Time: time.Unix(0, o.from.wall), Task: t.Task.Clone(),
		Missing: o.caps.Events[k].Missing, Final: k.Vetoable() && !o.caps.Events[k].Veto,
	}
	o.events = append(o.events, delivery{ev, t.Task})
	return ev
}

func (o *oracle) newTask() *oracleTask {
	o.n++
	return &oracleTask{Task: &taskwatch.Task{ID: taskwatch.TaskID{Run: 1, N: o.n}, Cgroup: ownCgroup()}}
}

// tell turns facts into events, one after the other.
func (o *oracle) tell(facts []*fact) {
	o.tasks = map[int]*oracleTask{}
	live := map[int]int{} // tasks by pid
	for _, f := range facts {
		switch f.Fact {
		case "clone":
			t := o.newTask()
			maker := o.tasks[f.By]
			t.Exe, t.Comm, t.Cwd, t.Argv, t.UID, t.GID = maker.Exe, maker.Comm, maker.Cwd, maker.Argv, maker.UID, maker.GID
			t.PPID = f.PPID
			t.ParentID = maker.ID
			o.event(taskwatch.Init, t, f.Flags)
			t.PID, t.TID, t.StartNS = f.PID, f.TID, f.StartTicks*int64(tick)
			o.event(taskwatch.Clone, t, f.Flags)
			o.tasks[f.TID] = t
			live[f.PID]++
		case "failed":
			if f.Late {
				t := o.newTask()
				by := o.tasks[f.By]
				t.ParentID, t.PPID = by.ID, by.PID
				o.event(taskwatch.Init, t, 0)
				none := taskwatch.FieldPID | taskwatch.FieldTID | taskwatch.FieldStart
				o.event(taskwatch.Free, t, 0).Missing |= none
			}
		case "exec":
			t := o.tasks[f.FromTID]
			if t == nil {
				t = o.newTask()
				live[f.PID]++
				if o.ready != nil {
					o.strangers(f)
					t.PPID = f.PPID
					o.event(taskwatch.Init, t, 0)
					t.PID, t.TID = f.PID, f.TID
					o.event(taskwatch.Clone, t, 0)
				}
			}
			old := t.Exe
			t.PID, t.TID, t.PPID = f.PID, f.TID, f.PPID
			t.Exe, t.Comm, t.Cwd, t.Argv, t.UID, t.GID = string(f.Exe), string(f.Comm), string(f.Cwd), plain(f.Argv), f.UID, f.GID
			o.event(taskwatch.Exec, t, 0).OldExe = old
			o.tasks[f.TID] = t
		case "uid", "gid":
			t := o.tasks[f.TID]
			k, ids := taskwatch.UID, &t.UID
			if f.Fact == "gid" {
				k, ids = taskwatch.GID, &t.GID
			}
			*ids = f.New
			ev := o.event(k, t, 0)
			ev.OldIDs, ev.Cause = f.Old, taskwatch.CauseSyscall
			switch f.Cause {
			case "exec":
				ev.Cause = taskwatch.CauseExec
			case "setgroups":
				ev.Cause = taskwatch.CauseSetGroups
			}
		case "usage":
			o.tasks[f.TID].usage = f
		case "exit":
			t := o.tasks[f.TID]
			if f.PPID != 0 {
				t.PPID = f.PPID
			}
			live[t.PID]--
			ev := o.event(taskwatch.Exit, t, uint64(f.Status))
			ev.Exit = taskwatch.DecodeExit(ev.Val)
			ev.Exit.Group = live[t.PID] == 0
			if u := t.usage; u != nil {
				ev.Rusage = taskwatch.Rusage{
					UTimeNS: u.CPUNS, MaxRSS: u.MaxRSS, MinFlt: u.MinFlt, MajFlt: u.MajFlt, NVCSw: u.NVCSw,
					NIvCSw: u.NIvCSw, ReadBytes: u.ReadBytes, WriteBytes: u.WriteBytes,
				}
			}
			ev = o.event(taskwatch.Free, t, uint64(f.Status))
			ev.LifetimeNS = o.to.mono - o.from.mono
		}
	}
}

// strangers adds events of tasks that the command has nothing to do with.
func (o *oracle) strangers(f *fact) {
	t := o.newTask()
	t.PID, t.TID, t.PPID = f.PPID, f.PPID, 1
	o.event(taskwatch.UID, t, 0)
	child := o.newTask()
	child.ParentID, child.PPID = t.ID, t.PID
	o.event(taskwatch.Init, child, 0)
	child.PID, child.TID = 4194302, 4194302
	o.event(taskwatch.Clone, child, 0)
	o.event(taskwatch.Exit, child, 0)
}
