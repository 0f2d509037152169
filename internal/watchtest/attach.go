package watchtest

import (
	"fmt"
	"testing"
)

// AttachConfig says how the suite of attach and detach gets at a registry, and at
// tasks.
type AttachConfig struct {
	// New makes an instance. What it holds is released by t.Cleanup.
	New func(t testing.TB) AttachInstance

	// Lossless says that each free is told, and everything of a task's life can be
	// read at each event.
	Lossless bool

	// Leaves says that a module whose place another one takes meets no detach.
	Leaves bool

	Rounds int // of a storm
}

// AttachInstance is a registry whose tasks come and go as the suite wants it.
type AttachInstance interface {
	// Staying is how many tasks are there all the time.
	Staying() uint64

	// Storm has more tasks come and go, until it is called with false. When that
	// returns, only those that stay are there, and the rest is freed, or about to
	// be.
	Storm(on bool)

	// Make makes a module of the shape Lives, whose watchers of attach and detach
	// return this error.
	Make(errno int) AttachModule

	// Failed returns how many failures of attach and detach have been reported, and
	// false where none are.
	Failed() (n uint64, reported bool)
}

// AttachModule is a module of the shape Lives.
type AttachModule interface {
	Register() error
	Unregister() error

	// Replace has the module take by's place.
	Replace(by AttachModule) error

	// Met returns what the module has counted: attaches, inits, frees and detaches of
	// tasks, how often something was wrong: twice, unknown, unread, and how many tasks
	// were forgotten, for want of memory.
	Met(what string) uint64

	// Close frees the module.
	Close() error
}

// Attach checks that each task meets one of attach and init, and one of free and
// detach, and nothing before, between and after, in registries of all kinds.
func Attach(t *testing.T, cfg AttachConfig) {
	for _, c := range []struct {
		name, why string
		check     func(*attachTrial)
	}{
		{"register", "Each task that exists meets attach when the module is registered, and detach when it is unregistered.", (*attachTrial).register},
		{"storm", "While tasks come and go, each meets one of attach and init, and one of free and detach.", (*attachTrial).storm},
		{"replace", "A module that takes another's place meets all tasks that the other one has left, and both meet each task once.", (*attachTrial).replace},
	} {
		t.Run(c.name, func(t *testing.T) {
			tr := &attachTrial{cfg: &cfg, t: t, in: cfg.New(t)}
			c.check(tr)
			report(t, c.why, tr.problems)
		})
	}
}

type attachTrial struct {
	cfg      *AttachConfig
	t        testing.TB
	in       AttachInstance
	problems []string
}

func (tr *attachTrial) problem(format string, args ...any) {
	tr.problems = append(tr.problems, fmt.Sprintf(format, args...))
}

func (tr *attachTrial) must(what string, err error) {
	if err != nil {
		tr.t.Fatalf("%s: %v", what, err)
	}
}

func (tr *attachTrial) register() {
	const errno = 1
	m := tr.in.Make(errno)
	for round := uint64(1); round <= 2; round++ {
		tr.must("register", m.Register())
		if n, want := m.Met("attaches"), tr.in.Staying()*round; n != want {
			tr.problem("round %d: %d tasks were attached, want %d", round, n, want)
		}
		tr.must("unregister", m.Unregister())
		if n, want := m.Met("detaches"), tr.in.Staying()*round; n != want {
			tr.problem("round %d: %d tasks were detached, want %d", round, n, want)
		}
		if round == 1 { // what it has put down of tasks stays as long as it is loaded
			tr.right(m)
		}
	}
	// There may be tasks that are none of the suite's.
	if n, reported := tr.in.Failed(); reported && n < 4*tr.in.Staying() {
		tr.problem("%d failures were reported, want %d at least: each attach and detach has failed", n, 4*tr.in.Staying())
	}
	tr.must("close", m.Close())
}

// right checks that nothing was wrong that a module saw.
func (tr *attachTrial) right(m AttachModule) {
	for _, wrong := range []string{"twice", "unknown", "unread"} {
		n := m.Met(wrong)
		if wrong == "unread" && (!tr.cfg.Lossless || m.Met("forgotten") > 0) {
			continue
		}
		if n != 0 {
			tr.problem("%s: %d", wrong, n)
		}
	}
}

// ended checks a module that was unregistered.
func (tr *attachTrial) ended(m AttachModule, replaced bool) (begun, freed uint64) {
	attaches, inits, frees, detaches := m.Met("attaches"), m.Met("inits"), m.Met("frees"), m.Met("detaches")
	leaves := replaced && tr.cfg.Leaves
	if begin, end := attaches+inits, frees+detaches; begin < end || tr.cfg.Lossless && !leaves && begin != end {
		tr.problem("%d attached and %d initialised, but %d freed and %d detached", attaches, inits, frees, detaches)
	}
	if stay := tr.in.Staying(); attaches < stay || detaches < stay && !leaves {
		tr.problem("%d attached and %d detached, of %d that stayed", attaches, detaches, stay)
	}
	tr.right(m)
	return inits, frees
}

func (tr *attachTrial) storm() {
	var begun, freed uint64
	for range tr.cfg.Rounds {
		m := tr.in.Make(0)
		tr.in.Storm(true)
		tr.must("register", m.Register())
		tr.in.Storm(false)
		tr.in.Storm(true)
		tr.must("unregister", m.Unregister())
		tr.in.Storm(false)
		b, f := tr.ended(m, false)
		begun, freed = begun+b, freed+f
		tr.must("close", m.Close())
	}
	tr.t.Logf("%d initialised, %d freed", begun, freed)
	if begun == 0 || freed == 0 {
		tr.problem("there was no storm")
	}
}

func (tr *attachTrial) replace() {
	for range tr.cfg.Rounds {
		old, by := tr.in.Make(0), tr.in.Make(0)
		tr.in.Storm(true)
		tr.must("register", old.Register())
		tr.must("replace", old.Replace(by))
		tr.in.Storm(false)
		tr.in.Storm(true)
		tr.must("unregister", by.Unregister())
		tr.in.Storm(false)
		tr.ended(old, true)
		tr.ended(by, false)
		tr.must("close", old.Close())
		tr.must("close", by.Close())
	}
}
