package connector

import (
	"os"
	"runtime"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/taskwatch/taskwatch"
	"github.com/taskwatch/taskwatch/internal/cnproc"
	"github.com/taskwatch/taskwatch/internal/procfs"
	"github.com/taskwatch/taskwatch/internal/sys"
)

// A thread that has the start of its leader, and has not begun in the same tick, may be
// in an exec, which gives it that start: when it began is not known.
func TestStartOfAThreadInAnExec(t *testing.T) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	pid, tid := os.Getpid(), unix.Gettid()
	if tid == pid { // then another thread is taken
		other, done := make(chan int), make(chan struct{})
		defer close(done)
		go func() {
			runtime.LockOSThread()
			other <- unix.Gettid()
			<-done
		}()
		tid = <-other
	}
	var proc procfs.Reader
	own, err := proc.Stat(pid, tid)
	if err != nil {
		t.Fatal(err)
	}
	time.Sleep(2 * procfs.TickNS)
	for _, c := range []struct {
		name   string
		leader int64 // when it began
		late   bool  // the message is of a later tick than the start
		known  bool
	}{
		{"in the tick of the leader", own.StartNS, false, true},
		{"in a later one", own.StartNS, true, false},
		{"with a start of its own", own.StartNS - procfs.TickNS, true, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			var reg taskwatch.Registry
			known, clones := false, 0
			m := &taskwatch.Module{Name: "test"}
			m.Watch(taskwatch.Clone, func(ev *taskwatch.Event) error {
				known = ev.Has(taskwatch.FieldStart)
				clones++
				return nil
			}, taskwatch.Observe())
			if err := reg.Register(m); err != nil {
				t.Fatal(err)
			}
			clock := readClock()
			at := own.StartNS - clock.boot
			if c.late {
				at = sys.Monotonic()
			}
			r := cnproc.Record{What: cnproc.Fork, NS: at, PID: pid, TID: tid, ParentPID: pid, ParentTID: pid}
			st := &runner{src: &Source{}, feed: reg.Feed(), tasks: newTasks(1), queue: newQueue(nil), clock: clock, records: []cnproc.Record{r}}
			st.tasks.add(pid, pid).began(c.leader)
			st.next = 1
			if err := st.handle(&r); err != nil {
				t.Fatal(err)
			}
			if clones != 1 || known != c.known {
				t.Errorf("%d clones, and the start is known: %v, want %v", clones, known, c.known)
			}
		})
	}
}
