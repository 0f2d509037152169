package record

import (
	"encoding/json"
	"math"
	"math/rand/v2"
	"syscall"
	"time"

	"github.com/taskwatch/taskwatch"
	"github.com/taskwatch/taskwatch/internal/randevent"
)

// generator makes events that a source could deliver: what is missing is
// zero, and everything else is anything that fits.
type generator struct{ *rand.Rand }

func newGenerator(seed uint64) generator {
	return generator{rand.New(rand.NewPCG(seed, 0))}
}

// pieces are what strings are made of: plain text, what JSON escapes, what
// terminals obey, parts of UTF-8 sequences, and the characters that stand
// for bytes.
var pieces = []string{
	"", "a", "make -j2", `"`, `\`, `\uef80`, "/usr/bin/true", "\x00", "\x1b[2J", "\n\r\t", "\x7f", "\u0085", "\u009b",
	"é", "漢字", "🎉", "\u2028\u2029", "\ufffd", "\u202e",
	"\x80", "\xff", "\xef", "\xef\xbe", "\xf0\x9f\x8e", "\xed\xa0\x80", "\xc0\xaf", "\xf4\x90\x80\x80",
	"\uef7f", "\uef80", "\uefab", "\uefff", "\uf000",
}

func (g generator) text() string {
	var s string
	for range g.IntN(4) {
		if g.IntN(4) == 0 {
			s += string([]byte{byte(g.Uint32()), byte(g.Uint32())})
		} else {
			s += pieces[g.IntN(len(pieces))]
		}
	}
	return s
}

func (g generator) u64() uint64 {
	return []uint64{0, 1, g.Uint64(), math.MaxUint64, 1 << 53}[g.IntN(5)]
}

func (g generator) i64() int64 {
	return []int64{0, 1, g.Int64(), -g.Int64(), math.MaxInt64, math.MinInt64}[g.IntN(6)]
}

func (g generator) i32() int {
	return []int{0, 1, int(g.Int32()), math.MaxInt32, math.MinInt32}[g.IntN(5)]
}

func (g generator) ids() (ids taskwatch.IDs) {
	for i := range ids {
		ids[i] = []uint32{0, 1000, g.Uint32(), math.MaxUint32}[g.IntN(4)]
	}
	return ids
}

func (g generator) id() taskwatch.TaskID {
	return taskwatch.TaskID{Run: g.u64(), N: g.u64()%(1<<40) + 1}
}

func (g generator) event() *taskwatch.Event {
	return g.eventOf(taskwatch.Kind(g.IntN(taskwatch.NumKinds)))
}

func (g generator) eventOf(k taskwatch.Kind) *taskwatch.Event {
	missing := taskwatch.FieldsOf(k)
	switch g.IntN(3) {
	case 0:
		missing = 0
	case 1:
		missing &= taskwatch.Fields(g.Uint64())
	}
	has := func(f taskwatch.Fields) bool { return (taskwatch.FieldsOf(k) &^ missing).Has(f) }
	ev := &taskwatch.Event{Kind: k, Seq: g.u64(), MonoNS: g.i64(), Source: g.text(), Missing: missing}
	if g.IntN(8) > 0 { // years 1653 to 2286
		ev.Time = time.Unix(g.Int64N(2e10)-1e10, g.Int64N(1e9)).UTC()
	}
	t := &taskwatch.Task{ID: g.id()}
	ev.Task = t
	fill(has(taskwatch.FieldVal), &ev.Val, g.u64)
	fill(has(taskwatch.FieldParentID) && g.IntN(4) > 0, &t.ParentID, g.id) // else a parent never seen
	fill(has(taskwatch.FieldPID), &t.PID, g.i32)
	fill(has(taskwatch.FieldTID), &t.TID, g.i32)
	fill(has(taskwatch.FieldPPID), &t.PPID, g.i32)
	fill(has(taskwatch.FieldStart), &t.StartNS, g.i64)
	fill(has(taskwatch.FieldComm), &t.Comm, g.text)
	fill(has(taskwatch.FieldExe), &t.Exe, g.text)
	if has(taskwatch.FieldArgv) {
		t.Argv = make([]string, g.IntN(4))
		for i := range t.Argv {
			t.Argv[i] = g.text()
		}
		t.ArgvCut = g.IntN(2) == 0
	}
	fill(has(taskwatch.FieldCwd), &t.Cwd, g.text)
	fill(has(taskwatch.FieldUID), &t.UID, g.ids)
	fill(has(taskwatch.FieldGID), &t.GID, g.ids)
	fill(has(taskwatch.FieldCgroup), &t.Cgroup, g.text)
	fill(has(taskwatch.FieldOldExe), &ev.OldExe, g.text)
	fill(has(taskwatch.FieldOld), &ev.OldIDs, g.ids)
	fill(has(taskwatch.FieldCause), &ev.Cause, func() taskwatch.Cause { return taskwatch.Cause(g.IntN(4)) })
	yes := func() bool { return g.IntN(2) == 0 }
	fill(has(taskwatch.FieldExitCode), &ev.Exit.Code, g.i32)
	fill(has(taskwatch.FieldExitSignal), &ev.Exit.Signal, g.i32)
	fill(has(taskwatch.FieldExitCore), &ev.Exit.Core, yes)
	fill(has(taskwatch.FieldExitGroup), &ev.Exit.Group, yes)
	fill(has(taskwatch.FieldUTime), &ev.Rusage.UTimeNS, g.i64)
	fill(has(taskwatch.FieldSTime), &ev.Rusage.STimeNS, g.i64)
	fill(has(taskwatch.FieldMaxRSS), &ev.Rusage.MaxRSS, g.u64)
	fill(has(taskwatch.FieldMinFlt), &ev.Rusage.MinFlt, g.u64)
	fill(has(taskwatch.FieldMajFlt), &ev.Rusage.MajFlt, g.u64)
	fill(has(taskwatch.FieldNVCSw), &ev.Rusage.NVCSw, g.u64)
	fill(has(taskwatch.FieldNIvCSw), &ev.Rusage.NIvCSw, g.u64)
	fill(has(taskwatch.FieldReadBytes), &ev.Rusage.ReadBytes, g.u64)
	fill(has(taskwatch.FieldWriteBytes), &ev.Rusage.WriteBytes, g.u64)
	fill(has(taskwatch.FieldLifetime), &ev.LifetimeNS, g.i64)
	fill(k == taskwatch.Free, &ev.Inferred, yes)
	if asked := taskwatch.OptionalOf(k) & taskwatch.Fields(g.Uint64()); g.IntN(2) == 0 {
		ev.Give(asked, randevent.Extra(g.Rand, asked&taskwatch.Fields(g.Uint64()), g.text))
	}
	return ev
}

func fill[T any](has bool, to *T, make func() T) {
	if has {
		*to = make()
	}
}

func (g generator) line() taskwatch.Item {
	switch g.IntN(10) {
	case 0:
		return taskwatch.Item{Loss: &taskwatch.Loss{Count: g.u64(), Seq: g.u64()}}
	case 1:
		yes := func() bool { return g.IntN(2) == 0 }
		ev := g.eventOf(taskwatch.Kind(g.IntN(taskwatch.NumLists)))
		f := &taskwatch.Failure{
			Module: g.text(), Watcher: g.text(), Kind: ev.Kind, Err: &Error{Errno: g.IntN(134), Name: g.text(), Message: g.text()},
			Crash: yes(), Verdict: taskwatch.Verdict(g.IntN(4)), Event: ev,
		}
		ev.Late = f.Verdict == taskwatch.Killed
		return taskwatch.Item{Failure: f}
	case 2:
		l := &taskwatch.Record{Module: g.text(), Seq: g.u64(), Data: []byte(g.text()), MonoNS: g.i64(), Source: g.text(), Missing: taskwatch.FieldsTask}
		if ev := g.event(); ev.Kind == taskwatch.Exec {
			l.Task, l.Missing, l.Time = ev.Task, ev.Missing&taskwatch.FieldsTask, ev.Time
			if json, err := json.Marshal(ev.Task.Argv); err == nil && ev.Task.Argv != nil {
				l.Data = json
			}
		}
		return taskwatch.Item{Record: l}
	case 3:
		return taskwatch.Item{Failed: g.failedExec()}
	case 4:
		return taskwatch.Item{Start: g.start()}
	}
	return taskwatch.Item{Event: g.event()}
}

func (g generator) failedExec() *taskwatch.FailedExec {
	ev := g.eventOf(taskwatch.Exec)
	f := &taskwatch.FailedExec{
		NoPath: g.IntN(4) == 0, NoArgv: g.IntN(4) == 0, Errno: syscall.Errno(g.IntN(134)),
		Seq: ev.Seq, Time: ev.Time, MonoNS: ev.MonoNS, Source: ev.Source, Missing: taskwatch.FieldsTask,
	}
	fill(!f.NoPath, &f.Path, g.text)
	if g.IntN(4) == 0 {
		f.ByFD, f.FD = true, g.IntN(100)
	}
	if !f.NoArgv {
		f.Argv, f.ArgvCut = append([]string{}, ev.Task.Argv...), g.IntN(2) == 0
	}
	if g.IntN(4) > 0 {
		f.Task, f.Missing = ev.Task, ev.Missing&taskwatch.FieldsTask
	}
	return f
}

func (g generator) start() *taskwatch.Start {
	s := &taskwatch.Start{
		Time: g.event().Time, MonoNS: g.i64(), Host: g.text(), Machine: g.text(), Boot: g.text(), Kernel: g.text(), TimeZone: g.text(),
		Source: g.text(), Scope: g.text(),
	}
	for range g.IntN(3) {
		s.Command = append(s.Command, g.text())
	}
	yes := func() bool { return g.IntN(2) == 0 }
	set := func() taskwatch.Fields { return taskwatch.AllFields & taskwatch.Fields(g.Uint64()) }
	for k := range s.Events {
		s.Events[k] = taskwatch.StartEvent{Delivered: yes(), Veto: yes(), Missing: set(), MayMiss: set(), Hook: g.text(), Why: g.text()}
	}
	return s
}
