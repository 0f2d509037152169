// Package randevent makes events for tests of what carries events from one
// form to another.
package randevent

import (
	"math/rand/v2"
	"strings"
	"time"

	"github.com/taskwatch/taskwatch"
)

// New returns an event of kind k with a random value in every field but
// Source and Missing, also in those that belong to other kinds. Exe and Argv
// may be longer than any buffer to begin with.
func New(r *rand.Rand, k taskwatch.Kind) *taskwatch.Event {
	ids := func() taskwatch.IDs { return taskwatch.IDs{r.Uint32(), r.Uint32(), r.Uint32(), r.Uint32()} }
	flag := func() bool { return r.IntN(2) == 0 }
	text := func(most int) string { return strings.Repeat("ä/", r.IntN(most)) }
	argv := make([]string, r.IntN(5))
	for i := range argv {
		argv[i] = text(2000)
	}
	return &taskwatch.Event{
		Kind: k, Val: r.Uint64(), Seq: r.Uint64(), Time: time.Unix(0, 1+r.Int64()).UTC(), MonoNS: r.Int64(),
		OldExe: text(9), OldIDs: ids(), Cause: taskwatch.Cause(r.IntN(4)),
		Exit: taskwatch.ExitStatus{Code: r.IntN(256), Signal: r.IntN(65), Core: flag(), Group: flag()},
		Rusage: taskwatch.Rusage{
			UTimeNS: r.Int64(), STimeNS: r.Int64(), MaxRSS: r.Uint64(), MinFlt: r.Uint64(), MajFlt: r.Uint64(),
			NVCSw: r.Uint64(), NIvCSw: r.Uint64(), ReadBytes: r.Uint64(), WriteBytes: r.Uint64(),
		},
		LifetimeNS: r.Int64(), Inferred: flag(), Final: flag(),
		Task: &taskwatch.Task{
			ID: taskwatch.TaskID{Run: r.Uint64(), N: r.Uint64()}, ParentID: taskwatch.TaskID{Run: r.Uint64(), N: r.Uint64()},
			PID: int(r.Int32()), TID: int(r.Int32()), PPID: int(r.Int32()), StartNS: r.Int64(),
			Comm: "fifteen bytes.."[:r.IntN(16)], Exe: text(2000), Argv: argv, ArgvCut: flag(), Cwd: text(9),
			UID: ids(), GID: ids(), Cgroup: text(9),
		},
	}
}
