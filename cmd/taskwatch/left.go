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

// watchLeftBehind registers a leftBehind, unless nobody would read it or it
// would make the source deliver events that nobody asked for.
func watchLeftBehind(reg *taskwatch.Registry) (*leftBehind, error) {
	l := new(leftBehind)
	if needed := taskwatch.KindsOf(taskwatch.Exec, taskwatch.Exit); !isTerminal(os.Stderr) || reg.Kinds()&needed != needed {
		return l, nil
	}
	m := &taskwatch.Module{Name: "left behind", Observer: true}
	m.Table[taskwatch.Exec] = []taskwatch.Watcher{l.exec}
	m.Table[taskwatch.Exit] = []taskwatch.Watcher{l.exit}
	return l, reg.Register(m)
}

func (l *leftBehind) exec(ev *taskwatch.Event) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.pid == 0 {
		l.pid = ev.Task.PID
	}
	return nil
}

func (l *leftBehind) exit(ev *taskwatch.Event) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.timer == nil && ev.Task.PID == l.pid && ev.Exit.Group {
		l.timer = time.AfterFunc(patience, func() {
			say("the command has ended; waiting for what it left running (Ctrl-C kills that)")
		})
	}
	return nil
}

func (l *leftBehind) close() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.timer != nil {
		l.timer.Stop()
	}
}
