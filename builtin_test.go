package taskwatch

import "testing"

// A built-in declares what a module's watcher can declare: that it only observes,
// and what it reads.
func TestBuiltinDeclares(t *testing.T) {
	if !ownProcess(t) {
		return
	}
	var c calls
	Builtin(Exec, c.watcher("observer", nil), Observe(), Reads(FieldExe))
	Builtin(Free, c.watcher("reader", nil), Reads(FieldPID))
	var r Registry
	feed := denying(&r)
	if got := feed.DenyKinds(); got != 0 {
		t.Errorf("watchers that may deny: %v, want none", got)
	}
	for k, want := range map[Kind]Fields{Exec: FieldExe, Free: FieldPID, Clone: 0} {
		if got := r.now().reads[k]; got != want {
			t.Errorf("%v: %v is read, want %v", k, got, want)
		}
	}
	ev := event(Exec)
	if err := feed.NotifyBefore(ev); err != nil || len(c) != 0 {
		t.Errorf("before: %v, called %v", err, c)
	}
	feed.NotifyAfter(ev)
	if got := c.take(); got != "observer" {
		t.Errorf("after: called %q", got)
	}
}
