package main

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/taskwatch/taskwatch"
	"github.com/taskwatch/taskwatch/process"
)

// leftBehind knows what a command that has ended left running: it tells a user
// who waits what for, or ends it (--kill-on-exit). The zero value watches nothing.
type leftBehind struct {
	target relayTarget
	kill   bool

	mu     sync.Mutex   // guards what follows
	pid    int          // the command's, once it is known
	tree   process.Tree // as far as it is known
	whole  bool         // the tree has what is needed to know what is left
	ended  bool         // the command has
	timer  *time.Timer
	none   bool          // nothing is left
	done   chan struct{} // closed when nobody waits any more
	killer sync.WaitGroup
}

// patience is how long descendants may live on without a word. Where none is known,
// it is most likely the command that needs a while to end, on a busy machine; but the
// event of one may be lost.
const patience, patienceForNone = time.Second, 10 * time.Second

// watch attaches l to what is delivered. That there is something left is said of
// what is known anyhow: no event is gathered for it that nobody asked for, but for
// --kill-on-exit, which needs the command's exit.
func (l *leftBehind) watch(reg *taskwatch.Registry, target relayTarget, kill bool) error {
	l.target, l.kill, l.done = target, kill, make(chan struct{})
	kinds := reg.Feed().Kinds()
	needed := taskwatch.KindsOf(taskwatch.Exec, taskwatch.Exit)
	wants := taskwatch.Wants{
		taskwatch.Exec: taskwatch.FieldPID,
		taskwatch.Exit: taskwatch.FieldPID | taskwatch.FieldExitGroup,
	}
	switch {
	case kinds&process.Kinds == process.Kinds && !kill:
		l.whole = true
		wants = taskwatch.Wants{}
		for _, k := range process.Kinds.List() {
			wants[k] = process.Fields
		}
	case kinds&needed != needed && !kill:
		return nil
	}
	return reg.Attach(taskwatch.NewSink(wants, l.take))
}

func (l *leftBehind) take(it taskwatch.Item) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if !l.kill {
		l.tree.Take(it)
	}
	ev := it.Event
	if ev == nil {
		return
	}
	if l.pid == 0 && ev.Kind == taskwatch.Exec {
		l.pid = ev.Task.PID
	}
	if ev.Kind != taskwatch.Exit || l.ended || ev.Task.PID != l.pid || !ev.Exit.Group {
		return
	}
	l.ended = true
	if l.kill {
		l.killer.Go(l.killRest)
	} else {
		l.timer = time.AfterFunc(l.patience(), l.tell)
	}
}

// patience returns how long to wait before a user is told what is waited for.
func (l *leftBehind) patience() time.Duration {
	for range l.tree.Live() {
		return patience
	}
	if !l.whole {
		return patience
	}
	return patienceForNone
}

// killRest ends what is left once the command is reaped: before, a kill could
// still change its status.
func (l *leftBehind) killRest() {
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for l.target.Signal(syscall.Signal(0)) != unix.ESRCH {
		select {
		case <-tick.C:
		case <-l.done:
			return
		}
	}
	l.target.Kill()
}

// named is how many of the processes left are named.
const named = 3

func (l *leftBehind) tell() {
	if what := l.waitsFor(); what != "" {
		say("the command has ended; waiting for %s. Ctrl-C or SIGTERM kills these processes; --kill-on-exit would have done so at once", what)
	}
}

// waitsFor returns what taskwatch waits for, with the processes whose names are
// known, or "".
func (l *leftBehind) waitsFor() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.none {
		return "" // the timer was faster than settle
	}
	what := "the processes that it left running"
	running := slices.SortedFunc(l.tree.Live(), func(a, b *process.Process) int { return cmp.Compare(a.PID, b.PID) })
	var list []string
	for _, p := range running[:min(named, len(running))] {
		list = append(list, fmt.Sprintf("%s (pid %d)", p.Program().Command.Name(), p.PID))
	}
	if more := len(running) - len(list); more > 0 {
		list = append(list, fmt.Sprintf("%d more", more))
	}
	if list != nil {
		what += ": " + strings.Join(list, ", ")
	}
	return what
}

// settle says that nothing is left: what a user waits for from here on is
// taskwatch.
func (l *leftBehind) settle() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.none = true
	if l.timer != nil {
		l.timer.Stop()
	}
}

// close ends what watch began.
func (l *leftBehind) close() {
	close(l.done)
	l.settle()
	l.killer.Wait()
}
