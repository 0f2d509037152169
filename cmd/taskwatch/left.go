package main

import (
	"os"
	"sync"
	"time"

	"github.com/taskwatch/taskwatch"
)

// leftBehind tells a user who waits at a terminal what for, when a command
// has ended and taskwatch still follows its descendants.
type leftBehind struct {
	mu    sync.Mutex // guards what follows
	pid   int        // the command's, once it is known
	timer *time.Timer
}

// patience is how long descendants may live on without a word.
const patience = time.Second

// watchLeftBehind attaches a leftBehind, unless nobody would read it or it
// would make the source deliver events that nobody asked for.
func watchLeftBehind(reg *taskwatch.Registry) (*leftBehind, error) {
	l := new(leftBehind)
	if needed := taskwatch.KindsOf(taskwatch.Exec, taskwatch.Exit); !isTerminal(os.Stderr) || reg.Feed().Kinds()&needed != needed {
		return l, nil
	}
	return l, reg.Attach(taskwatch.NewSink(taskwatch.Wants{
		taskwatch.Exec: taskwatch.FieldPID,
		taskwatch.Exit: taskwatch.FieldPID | taskwatch.FieldExitGroup,
	}, l.take))
}

func (l *leftBehind) take(it taskwatch.Item) {
	ev := it.Event
	if ev == nil {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.pid == 0 && ev.Kind == taskwatch.Exec {
		l.pid = ev.Task.PID
	}
	if ev.Kind == taskwatch.Exit && l.timer == nil && ev.Task.PID == l.pid && ev.Exit.Group {
		l.timer = time.AfterFunc(patience, func() {
			say("the command has ended; waiting for what it left running (Ctrl-C kills that)")
		})
	}
}

func (l *leftBehind) close() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.timer != nil {
		l.timer.Stop()
	}
}
