package watchtest

import (
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/taskwatch/taskwatch"
	"github.com/taskwatch/taskwatch/internal/testutil"
	"github.com/taskwatch/taskwatch/source"
)

// Command is what a source under test is to watch. The files stay the
// suite's.
type Command struct {
	Path                  string // absolute
	Argv                  []string
	Env                   []string
	Dir                   string
	Stdin, Stdout, Stderr *os.File
	DryRun                bool // ask watchers, deny nothing
}

// Config says how the suite gets at the source under test.
type Config struct {
	// New makes a source for one run. It fails the test if it cannot. What
	// the source holds is released when its Run has returned, or by
	// t.Cleanup.
	New func(t testing.TB, cmd Command) Instance

	// DryRun says that the source honours Command.DryRun.
	DryRun bool

	// RealParent says that the source knows the kernel's real parent of a new
	// process and not its maker, which differ after CLONE_PARENT.
	RealParent bool

	// NoSetGroups says that the source is not told of setgroups.
	NoSetGroups bool

	// No32 says that the source is not told of ids that 32-bit programs change.
	No32 bool

	// LeaderExecs says that the source may take an exec by a thread for one by
	// the leader, with the ends of the two exchanged: rarely, so that more than
	// one in a run is a failure all the same.
	LeaderExecs bool

	// MaxArgv is the size in bytes, with a terminator each, up to which argv
	// is complete; 0 says that it is never cut. Longer ones may be cut and
	// must then be marked.
	MaxArgv int

	// Recorded says that New itself has run the command, and that the source
	// repeats what happened then. Nothing can be stopped or denied any more.
	Recorded bool

	// Short runs only the cases that depend most on the kernel, with small
	// loads: for many kernels in little time. The test's log says so.
	Short bool

	given *given // nil where single cases are run
}

// given are the fields that some event of a run had, of those that single
// events may miss.
type given struct {
	declared, had [taskwatch.NumKinds]taskwatch.Fields
}

func (g *given) add(caps *source.Capabilities, events []seen) {
	for _, s := range events {
		may := caps.Events[s.ev.Kind].MayMiss
		g.declared[s.ev.Kind] |= may
		g.had[s.ev.Kind] |= may &^ s.ev.Missing
	}
}

// check names the fields that every event missed.
func (g *given) check() []string {
	var problems []string
	for k := range g.declared {
		if never := g.declared[k] &^ g.had[k]; never != 0 {
			problems = append(problems, fmt.Sprintf("no %s event of any case had %s", taskwatch.Kind(k), never))
		}
	}
	return problems
}

// Instance is a source made for one run.
type Instance struct {
	Source source.Source

	// Ready says that the source watches what others start: the suite starts
	// the command itself once Ready is closed, and ends the source's context
	// when it has seen the end of the command. Where Ready is nil, the source
	// has been given the command, and its Run ends when the command and all
	// of its descendants have.
	Ready <-chan struct{}

	// Exit returns the command's own status after Run. It may be nil only
	// where Ready is not.
	Exit func() taskwatch.ExitStatus

	// EventSource is what the events name as their source, if that is not
	// the source's own name.
	EventSource string
}

func capabilities(i Instance) *source.Capabilities {
	c := i.Source.Capabilities()
	return &c
}

// Source checks a source: see the package comment.
func Source(t *testing.T, cfg Config) {
	path := buildWorkload(t)
	cfg.given = new(given)
	run := cases
	if cfg.Short {
		run = short()
		t.Logf("short: %d of %d cases, and no other check", len(run), len(cases))
	}
	for _, c := range run {
		if c.siblings && cfg.RealParent || c.i386 && cfg.No32 {
			continue
		}
		t.Run(c.name, func(t *testing.T) {
			testutil.Require(t, c.needs...)
			if c.i386 {
				testutil.Require(t, needsI386(path))
			}
			report(t, c.why, c.check(t, &cfg, path))
		})
	}
	if cfg.Short {
		return
	}
	t.Run("one-kind", func(t *testing.T) {
		for k := range taskwatch.Kind(taskwatch.NumKinds) {
			t.Run(k.String(), func(t *testing.T) {
				for _, c := range mixed(k) {
					report(t, "Only "+k.String()+" is watched (and clone, where other tasks are seen too): the source gathers less and delivers those events as ever.",
						c.checkKinds(t, &cfg, path, taskwatch.KindsOf(k)))
				}
			})
		}
	})
	t.Run("may-miss", func(t *testing.T) {
		report(t, "A field that single events may miss is there in others; what is always missing is declared so.", cfg.given.check())
	})
	if cfg.Recorded {
		return
	}
	t.Run("context", func(t *testing.T) {
		report(t, "A source whose context ends returns nil, and holds nothing any more.", checkContext(t, &cfg, path))
	})
	t.Run("no-veto", func(t *testing.T) {
		report(t, "Errors of observers, errors on facts, and panics deny nothing and lose nothing.", checkNoVeto(t, &cfg, path))
	})
	t.Run("veto", func(t *testing.T) {
		for _, v := range vetoes {
			t.Run(v.name, func(t *testing.T) {
				testutil.Require(t, v.needs...)
				report(t, v.why, v.check(t, &cfg, path))
			})
		}
	})
}

// report fails the test with the problems, and what the case is about.
func report(t *testing.T, why string, problems []string) {
	t.Helper()
	if len(problems) == 0 {
		return
	}
	const enough = 15
	total := len(problems)
	if total > enough {
		problems = append(slices.Clone(problems[:enough]), fmt.Sprintf("and %d more", total-enough))
	}
	t.Errorf("%s\n%d problems:\n- %s", why, total, strings.Join(problems, "\n- "))
}

// testCase is one run of the workload.
type testCase struct {
	name string
	why  string // what is looked at
	args string // of the workload, separated by blanks

	// What the workload does, known beforehand: tasks made beside the
	// command itself, execs with the command's own, ids changed, failed forks.
	made, execs, uids, gids, failed int

	size size // if set, of made, and the last argument

	needs []testutil.Need
	i386  bool // it makes 32-bit calls

	untraced bool // it makes tasks that no tracer is to see

	// siblings says that the command makes children of its own parent: a source
	// that knows parents alone takes them for that one's.
	siblings bool

	asked    bool       // a watcher that may deny everything, and does not, is there too
	followed bool       // a module that follows tasks is there too
	extra    func(*run) // more checks
}

// size is what testutil.Size chooses from.
type size [3]int

func (c *testCase) argv(path string) []string {
	argv := append([]string{path}, strings.Fields(c.args)...)
	if c.size != (size{}) {
		argv = append(argv, strconv.Itoa(c.tasks()))
	}
	return argv
}

// tasks returns how many tasks the workload makes beside the command itself.
func (c *testCase) tasks() int {
	if c.size == (size{}) {
		return c.made
	}
	return testutil.Size(c.size[0], c.size[1], c.size[2])
}

func (c *testCase) check(t testing.TB, cfg *Config, path string) []string {
	return c.checkKinds(t, cfg, path, taskwatch.AllKinds)
}

// checkKinds runs the case alone and under the source, and returns everything
// that is wrong.
func (c *testCase) checkKinds(t testing.TB, cfg *Config, path string, kinds taskwatch.Kinds) []string {
	alone, problems := outcomeAlone(t, cfg, c.argv(path))
	if alone == nil {
		return append([]string{"without any source:"}, problems...)
	}
	r := &run{t: t, cfg: cfg, kinds: kinds}
	if c.asked {
		r.modules = []*taskwatch.Module{consenting()}
	}
	var f Following
	if c.followed {
		r.modules = append(r.modules, f.Module())
	}
	if !r.watched(c.argv(path)) {
		return r.problems
	}
	if c.followed {
		r.problems = append(r.problems, f.Problems()...)
	}
	c.counts(r)
	r.untouched(alone)
	r.compare()
	if c.extra != nil {
		c.extra(r)
	}
	return r.problems
}

// counts checks that the workload did what the case is for.
func (c *testCase) counts(r *run) {
	for _, n := range []struct {
		what      string
		got, want int
	}{
		{"made tasks", r.truth.made(), c.tasks()}, {"ran programs", r.truth.execs, max(c.execs, 1)},
		{"changed user ids", r.truth.uids, c.uids}, {"changed group ids", r.truth.gids, c.gids},
		{"failed to make tasks", len(r.truth.failed), c.failed},
	} {
		if n.got != n.want {
			r.problem("under the source the workload %s %d times, want %d", n.what, n.got, n.want)
		}
	}
}

// compare checks the events of the run against its truth.
func (r *run) compare() {
	caps := capabilities(r.inst)
	all := r.log.snapshot()
	complete := r.kinds == taskwatch.AllKinds && len(r.modules) == 0
	r.problems = append(r.problems, checkOrder(all, complete)...)
	r.problems = append(r.problems, r.log.problems...)
	r.problems = append(r.problems, r.log.dropped()...)
	for _, loss := range r.log.losses {
		r.problem("the source says that it lost %d events from number %d on: the suite stays within what a source must bear", loss.Count, loss.Seq)
	}
	for _, k := range taskwatch.AllKinds.List() {
		if e := caps.Events[k]; !e.Delivered && (e.Veto || e.Missing != 0) {
			r.problem("the source declares a veto or missing fields of %s, which it does not declare as delivered", k)
		}
		if caps.Events[k].Veto && !k.Vetoable() {
			r.problem("the source declares a veto of %s, which cannot be denied", k)
		}
	}
	for _, s := range all {
		if k := s.ev.Kind; !caps.Events[k].Delivered {
			r.problem("a %s event was delivered, which the source does not declare", k)
			return
		}
	}
	if r.cfg.given != nil {
		r.cfg.given.add(caps, r.events)
	}
	name := r.inst.EventSource
	if name == "" {
		name = r.inst.Source.Name()
	}
	c := &comparison{
		caps: *caps, kinds: caps.Kinds() & r.kinds, rootMade: r.inst.Ready != nil,
		realParent: r.cfg.RealParent,
		asksInit:   caps.Events[taskwatch.Init].Veto && r.denies.Has(taskwatch.Init),
		name:       name, maxArgv: r.cfg.MaxArgv, cgroup: ownCgroup(), from: r.from, to: r.to,
	}
	problems := c.compare(r.truth, r.events)
	if len(problems) > 0 && r.cfg.LeaderExecs {
		if o, ok := c.forgiven(r.truth, r.events); ok {
			r.t.Logf("an exec is told as that of the leader: %s: %s", o.thread.name, strings.Join(problems, "\n"))
			problems = nil
		}
	}
	r.problems = append(r.problems, problems...)
}

// checkContext ends the context of a run in the middle of it.
func checkContext(t testing.TB, cfg *Config, path string) []string {
	r := &run{t: t, cfg: cfg}
	r.stop = func(ev *taskwatch.Event) bool { return ev.Task.Exe == path }
	r.watched([]string{path, "sleep"})
	if !r.stopped {
		r.problem("no event of the command was delivered")
	}
	return r.problems
}
