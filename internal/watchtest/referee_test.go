package watchtest

import (
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/taskwatch/taskwatch"
	"github.com/taskwatch/taskwatch/internal/strace"
	"github.com/taskwatch/taskwatch/internal/testutil"
)

// TestWorkloadIsTruthful has strace watch the workload: what the workload
// says it did is what an independent observer saw.
func TestWorkloadIsTruthful(t *testing.T) {
	t.Parallel()
	path := buildWorkload(t)
	for _, c := range cases {
		if c.asked {
			continue // the same workload again
		}
		if c.untraced {
			continue // strace does not see such tasks
		}
		t.Run(c.name, func(t *testing.T) {
			testutil.Require(t, c.needs...)
			if c.i386 {
				testutil.Require(t, needsI386(path))
			}
			report := filepath.Join(t.TempDir(), "report")
			r := &run{t: t, cfg: &Config{}}
			if !r.bare(append(strace.Command(t, report), c.argv(path)...)) {
				t.Fatal(strings.Join(r.problems, "\n"))
			}
			tasks, err := strace.ParseFile(report)
			if err != nil {
				t.Fatal(err)
			}
			seen := map[int][]string{}
			for _, task := range tasks {
				seen[task.TID] = append(seen[task.TID], straceLabel(&c, task))
			}
			// Not the clones that returned: who is killed in one has made a task as well.
			if made := len(tasks) - 1; made != r.truth.made() {
				t.Errorf("the workload says that it made %d tasks, strace saw %d", r.truth.made(), made)
			}
			said := map[int][]string{}
			for _, l := range r.truth.lives {
				said[l.now.tid] = append(said[l.now.tid], lifeLabel(&c, l))
			}
			for tid := range said {
				slices.Sort(said[tid])
				slices.Sort(seen[tid])
				if !slices.Equal(said[tid], seen[tid]) {
					t.Errorf("task %d says it did\n\t%s\nstrace saw\n\t%s", tid, said[tid], seen[tid])
				}
			}
			if len(said) != len(seen) {
				t.Errorf("the workload had %d tids, strace saw %d", len(said), len(seen))
			}
		})
	}
}

// straceLabel and lifeLabel say the same of a task where strace and the
// workload agree. strace has no status of a thread of its own: the kernel
// shows a waiting process the status of the whole process, once that has one.
func straceLabel(c *testCase, t *strace.Task) string {
	var b strings.Builder
	for _, e := range t.Execs {
		argv := e.Argv
		if argv == nil {
			argv = []string{""}
		}
		writeArgv(&b, c, argv)
	}
	switch {
	case t.Superseded:
		b.WriteString("exited 0")
	case !t.Ended:
		b.WriteString("never ended")
	case t.Signal != "":
		fmt.Fprintf(&b, "killed %s %v", t.Signal, t.Core)
	case ambiguous(c):
		b.WriteString("exited")
	default:
		fmt.Fprintf(&b, "exited %d", t.Code)
	}
	return b.String()
}

func lifeLabel(c *testCase, l *life) string {
	var b strings.Builder
	for _, w := range l.wants {
		switch w.kind {
		case taskwatch.Exec:
			writeArgv(&b, c, w.state.argv)
		case taskwatch.Exit:
			s := taskwatch.DecodeExit(uint64(w.fact.Status))
			switch {
			case s.Signal != 0:
				fmt.Fprintf(&b, "killed %s %v", unix.SignalName(unix.Signal(s.Signal)), s.Core)
			case ambiguous(c):
				b.WriteString("exited")
			default:
				fmt.Fprintf(&b, "exited %d", s.Code)
			}
		}
	}
	return b.String()
}

// ambiguous says that threads end by themselves while the process goes on.
func ambiguous(c *testCase) bool {
	return c.name == "thread" || c.name == "leader-first"
}

// writeArgv leaves out what the kernel makes of the argv of a script.
func writeArgv(b *strings.Builder, c *testCase, argv []string) {
	if c.name != "script" {
		fmt.Fprintf(b, "exec %.100q of %d, ", argv, len(argv))
	} else {
		b.WriteString("exec, ")
	}
}
