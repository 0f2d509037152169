package taskwatch

import (
	"os"
	"strings"
	"testing"

	"github.com/taskwatch/taskwatch/internal/testutil"
)

func TestMain(m *testing.M) { testutil.Main(m) }

const ownProcessEnv = "TASKWATCH_OWN_PROCESS"

// ownProcess runs the calling test once more in a process of its own, where
// nobody has notified yet and the built-ins can still be added to. It returns
// true there, and false here once the other has passed.
func ownProcess(t *testing.T) bool {
	t.Helper()
	if os.Getenv(ownProcessEnv) == t.Name() {
		return true
	}
	cmd := testutil.Self(t, "-test.v", "-test.run=^"+t.Name()+"$")
	cmd.Env = append(os.Environ(), ownProcessEnv+"="+t.Name())
	out, err := cmd.CombinedOutput()
	if err != nil || !strings.Contains(string(out), "--- PASS: "+t.Name()) {
		t.Fatalf("in a process of its own: %v\n%s", err, out)
	}
	return false
}

// calls collects what watchers say. Tests that share it between goroutines
// take turns.
type calls []string

// watcher returns a watcher that notes its name and returns err.
func (c *calls) watcher(name string, err error) Watcher {
	return func(*Event) error {
		*c = append(*c, name)
		return err
	}
}

func (c *calls) take() string {
	s := strings.Join(*c, " ")
	*c = nil
	return s
}

// module returns a module with watchers on one kind.
func module(name string, k Kind, fns ...Watcher) *Module {
	m := &Module{Name: name}
	for _, fn := range fns {
		m.Watch(k, fn)
	}
	return m
}

// observing returns the same of watchers that observe.
func observing(name string, k Kind, fns ...Watcher) *Module {
	m := &Module{Name: name}
	for _, fn := range fns {
		m.Watch(k, fn, Observe())
	}
	return m
}

// denying returns a feed of a source that can deny everything.
func denying(r *Registry) *Feed {
	f := r.Feed()
	f.Deny = AllKinds
	return f
}

func event(k Kind) *Event { return &Event{Kind: k, Task: &Task{}} }

func mustRegister(t testing.TB, r *Registry, modules ...*Module) {
	t.Helper()
	for _, m := range modules {
		if err := r.Register(m); err != nil {
			t.Fatal(err)
		}
	}
}

func mustUnregister(t testing.TB, r *Registry, modules ...*Module) {
	t.Helper()
	for _, m := range modules {
		if err := r.Unregister(m); err != nil {
			t.Fatal(err)
		}
	}
}
