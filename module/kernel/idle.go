package kernel

import (
	"time"

	"github.com/taskwatch/taskwatch/internal/attach"
)

// idleTime is how long a hook that calls nobody stays attached. To detach it the
// kernel waits for every task to leave the processor by itself, which takes many
// seconds under load (synchronize_rcu_tasks), and makes whoever attaches
// meanwhile wait as well. So a module that goes does not wait for it, and one
// that comes soon after finds its hooks in place. The slots are empty: what
// happens meanwhile costs some 20 ns an event. Tests make it long.
var idleTime = 10 * time.Second

// retire puts attachments with empty slots aside, to be detached later. Callers
// hold mu and do not wait.
func (t *Table) retire(unused []*attach.Attachment) {
	if len(unused) == 0 {
		return
	}
	for _, a := range unused {
		if len(a.Hook.Syscalls) == 0 {
			t.idle[a.Hook] = a
			continue
		}
		// What it puts aside at the entry of a call, nobody would take away.
		t.settleMissed(a)
		t.background.Go(func() { a.Close() })
	}
	if t.detaching != nil {
		t.detaching.Stop()
	}
	t.retired++
	turn := t.retired
	t.detaching = time.AfterFunc(idleTime, func() { t.detachIdle(turn) })
}

// detach is what detaches a hook. Tests make it wait.
var detach = (*attach.Attachment).Close

// detachIdle detaches what has not been used again since the given turn of retire,
// one hook after another: the kernel has a lock for that, which whoever attaches
// needs as well. So a module that comes meanwhile finds all hooks attached that are
// left, and waits for one at most.
func (t *Table) detachIdle(turn int) {
	for {
		t.mu.Lock()
		a := t.takeIdle(turn)
		if a == nil {
			t.mu.Unlock()
			return
		}
		t.background.Add(1)
		t.mu.Unlock()
		detach(a)
		t.background.Done()
	}
}

// takeIdle takes one hook out of those that are to be detached; nil if there is none,
// or retire has begun to wait anew. Callers hold mu.
func (t *Table) takeIdle(turn int) *attach.Attachment {
	if t.closed || t.retired != turn {
		return nil
	}
	for h, a := range t.idle {
		t.settleMissed(a)
		delete(t.idle, h)
		return a
	}
	return nil
}

// settleMissed keeps what a hook has missed, before it is detached. Callers hold
// mu.
func (t *Table) settleMissed(a *attach.Attachment) {
	if n, err := a.Missed(); err == nil { // or that count is lost with the hook
		t.missed[a.Hook] += n
	}
}
