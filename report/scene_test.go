package report

import (
	"errors"
	"syscall"
	"testing"
	"time"

	"github.com/taskwatch/taskwatch"
	"github.com/taskwatch/taskwatch/process"
)

// scene is a small life on a registry, of which tests know every number:
//
//	10  sh -c ..., seen from its exec on
//	    11  cc, 2 more threads (12, 13), ends with 1
//	    14  su, changes its user, is denied one program, runs another, killed
//	    15  a fork of sh that runs nothing
//
// One event is 1 ms after the other but for the last of process 11.
type scene struct {
	t    *testing.T
	feed *taskwatch.Feed
	now  time.Duration
	seq  uint64
}

var sceneStart = time.Date(2026, 11, 23, 16, 30, 49, 0, time.UTC)

func (s *scene) notify(call func(*taskwatch.Event) error, ev taskwatch.Event) {
	s.now += time.Millisecond
	s.seq++
	ev.Seq, ev.Source, ev.MonoNS, ev.Time = s.seq, "ptrace", int64(time.Hour+s.now), sceneStart.Add(s.now)
	_ = call(&ev)
}

func (s *scene) all(ev taskwatch.Event) { s.notify(s.feed.Notify, ev) }

func id(n int) taskwatch.TaskID { return taskwatch.TaskID{Run: 5, N: uint64(n)} }

// born returns a new task and lets it be born.
func (s *scene) born(parent *taskwatch.Task, pid, tid int, flags uint64) *taskwatch.Task {
	t := parent.Clone()
	t.ID, t.ParentID, t.PPID = id(tid), parent.ID, parent.PID
	if flags&process.CloneThread != 0 {
		t.ParentID, t.PPID = parent.ParentID, parent.PPID
	}
	t.PID, t.TID = 0, 0
	s.all(taskwatch.Event{Kind: taskwatch.Init, Val: flags, Task: t})
	t.PID, t.TID = pid, tid
	s.all(taskwatch.Event{Kind: taskwatch.Clone, Val: flags, Task: t})
	return t
}

func (s *scene) exec(t *taskwatch.Task, exe string, argv ...string) {
	old := t.Exe
	t.Exe, t.Argv = exe, argv
	s.all(taskwatch.Event{Kind: taskwatch.Exec, Task: t, OldExe: old})
}

func (s *scene) exit(t *taskwatch.Task, status uint64, group bool, r taskwatch.Rusage) {
	e := taskwatch.DecodeExit(status)
	e.Group = group
	s.all(taskwatch.Event{Kind: taskwatch.Exit, Val: status, Task: t, Exit: e, Rusage: r})
}

func (s *scene) free(t *taskwatch.Task, status uint64) {
	s.all(taskwatch.Event{Kind: taskwatch.Free, Val: status, Task: t, LifetimeNS: int64(time.Second)})
}

const ms = int64(time.Millisecond)

// play delivers the scene to the sinks, as a source that can deny everything.
func play(t *testing.T, dryRun bool, sinks ...taskwatch.Sink) {
	t.Helper()
	reg := new(taskwatch.Registry)
	s := &scene{t: t, feed: reg.Feed()}
	s.feed.Deny, s.feed.DryRun = taskwatch.AllKinds, dryRun
	guard := &taskwatch.Module{Name: "guard"}
	guard.Watch(taskwatch.Exec, guardExec)
	if err := reg.Register(guard); err != nil {
		t.Fatal(err)
	}
	for _, sink := range sinks {
		if err := reg.Attach(sink); err != nil {
			t.Fatal(err)
		}
	}

	sh := &taskwatch.Task{ID: id(10), PID: 10, TID: 10, PPID: 1, Comm: "sh", Exe: "/bin/bash"}
	s.exec(sh, "/bin/sh", "sh", "-c", "cc it's; su")

	cc := s.born(sh, 11, 11, 17)
	s.exec(cc, "/usr/bin/cc", "cc", "a file.c")
	t1 := s.born(cc, 11, 12, process.CloneThread)
	t2 := s.born(cc, 11, 13, process.CloneThread)
	s.exit(t1, 0, false, taskwatch.Rusage{UTimeNS: 100 * ms, MaxRSS: 40 << 20})
	s.free(t1, 0)
	s.exit(cc, 256, false, taskwatch.Rusage{STimeNS: 20 * ms, MaxRSS: 50 << 20})
	s.now += 1234 * time.Millisecond
	s.exit(t2, 256, true, taskwatch.Rusage{UTimeNS: 300 * ms, MaxRSS: 50 << 20})
	s.free(t2, 256)
	s.free(cc, 256)

	su := s.born(sh, 14, 14, process.CloneVfork)
	su.Exe, su.Argv = "/bin/su", []string{"su", "-"}
	s.all(taskwatch.Event{Kind: taskwatch.Exec, Task: su, OldExe: "/bin/sh", Final: true})
	su.UID = taskwatch.IDs{0, 7, 7, 7}
	s.all(taskwatch.Event{Kind: taskwatch.UID, Cause: taskwatch.CauseSyscall, Task: su})
	su.UID = taskwatch.IDs{7, 7, 7, 7}
	s.all(taskwatch.Event{Kind: taskwatch.UID, Cause: taskwatch.CauseSyscall, Task: su, OldIDs: taskwatch.IDs{0, 7, 7, 7}})
	su.GID = taskwatch.IDs{8, 8, 8, 8}
	s.all(taskwatch.Event{Kind: taskwatch.GID, Cause: taskwatch.CauseExec, Task: su})
	exe, argv := su.Exe, su.Argv
	su.Exe, su.Argv = "/bin/rm", []string{"rm", "-rf", "/"}
	s.notify(s.feed.NotifyBefore, taskwatch.Event{Kind: taskwatch.Exec, Task: su, OldExe: "/bin/su"})
	su.Exe, su.Argv = exe, argv
	s.feed.Deliver(taskwatch.Item{Loss: &taskwatch.Loss{Count: 3, Seq: s.seq + 1}})
	s.exec(su, "/bin/sh", "-sh")
	s.exit(su, 9|0x80, true, taskwatch.Rusage{UTimeNS: 1 * ms, STimeNS: 2 * ms, MaxRSS: 1 << 20})
	s.free(su, 9|0x80)

	fork := s.born(sh, 15, 15, 17)
	s.exit(fork, 0, true, taskwatch.Rusage{MaxRSS: 1 << 20})
	s.free(fork, 0)
	failed := sh.Clone()
	failed.ID, failed.PID, failed.TID, failed.PPID = id(16), 0, 0, 10
	s.all(taskwatch.Event{Kind: taskwatch.Init, Val: 17, Task: failed})
	s.all(taskwatch.Event{Kind: taskwatch.Free, Task: failed})
	s.exit(sh, 0, true, taskwatch.Rusage{UTimeNS: 1 * ms, MaxRSS: 2 << 20})
	s.free(sh, 0)
}

func guardExec(ev *taskwatch.Event) error {
	switch ev.Task.Exe {
	case "/bin/rm":
		return syscall.EACCES
	case "/bin/su":
		return errors.New("odd\x1b[2J")
	}
	return nil
}
