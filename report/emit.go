package report

import (
	"encoding/hex"
	"strings"
	"time"

	"github.com/taskwatch/taskwatch"
)

// Emitted is a record of its own that a module in the kernel has sent.
type Emitted struct {
	Module string
	Data   []byte
	Time   time.Time

	// Task is the task in whose context it was sent, borrowed; nil if that is
	// unknown. Of it only the pid, the tid and the name are shown.
	Task *taskwatch.Task
}

// Emitted shows a module's record, as text where it is nothing else and else
// in hexadecimal.
func (t *Text) Emitted(e *Emitted) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.err != nil {
		return
	}
	ev := taskwatch.Event{Time: e.Time, Task: e.Task}
	depth := 0
	if e.Task != nil {
		// The numbers are those of a task that exists, which an init event
		// would not have.
		ev.Kind = taskwatch.Clone
		if p := t.processes.at(e.Task.PID); p != nil {
			depth = p.depth
		}
	}
	t.begin(&ev, "emit", magenta, depth)
	t.line.add(clean(e.Module) + ": " + payload(e.Data))
	if e.Task != nil && e.Task.Comm != "" {
		t.line.add(": " + quote(e.Task.Comm))
	}
	t.write()
}

// payload returns the bytes that a module has sent in a form to read.
func payload(b []byte) string {
	text := strings.TrimRight(string(b), "\x00\n")
	if text != "" && prints(text) {
		return text
	}
	return "0x" + hex.EncodeToString(b)
}
