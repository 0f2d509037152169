package kernel

import (
	"bytes"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"time"

	"github.com/taskwatch/taskwatch/module"
)

// EmitLog marks the type that an emit function gets for a line of the module's log:
// below it is the level.
const EmitLog = 1 << 31

// logger passes the lines of one module on, as many as it may have in a second.
type logger struct {
	to func(slog.Level, string)

	mu      sync.Mutex // guards the fields below; not held while to is called
	since   time.Time
	left    int
	dropped uint64
}

// newLogger returns nil if nobody takes the lines.
func newLogger(to func(slog.Level, string)) *logger {
	if to == nil {
		return nil
	}
	return &logger{to: to}
}

// take counts a line in. It reports whether the line has room, and how many before
// it had none, if they were not told of yet.
func (l *logger) take(now time.Time) (room bool, dropped uint64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if now.Sub(l.since) >= time.Second {
		l.since, l.left = now, module.LogsPerSecond
		dropped, l.dropped = l.dropped, 0
	}
	if l.left == 0 {
		l.dropped++
		return false, 0
	}
	l.left--
	return true, dropped
}

// Log passes a line on to the log of the module with the id that an emit function
// got ([LoadOptions.Log]), with the type that it got. It may be called from any
// goroutine.
func (t *Table) Log(id, typ uint32, text []byte) {
	t.mu.Lock()
	l := t.senders[id].log
	t.mu.Unlock()
	level := typ &^ EmitLog
	if l == nil || level >= uint32(len(module.LogLevels)) {
		return
	}
	room, dropped := l.take(time.Now())
	if dropped > 0 {
		l.to(slog.LevelWarn, fmt.Sprintf("%d lines were dropped: a module may log %d lines a second", dropped, module.LogsPerSecond))
	}
	if !room {
		return
	}
	text, _, _ = bytes.Cut(text, []byte{0})
	line := string(text)
	if len(line) > module.MaxLogLine {
		line = line[:module.MaxLogLine] + "…"
	}
	l.to(module.LogLevels[level], strings.TrimRight(line, "\n"))
}
