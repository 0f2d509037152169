package watchtest

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"

	"github.com/taskwatch/taskwatch"
	"github.com/taskwatch/taskwatch/internal/testutil"
)

// vetoCase is a run in which a watcher's errors ask for denials.
type vetoCase struct {
	name  string
	why   string
	kind  taskwatch.Kind
	args  string
	needs []testutil.Need

	err    error
	errno  syscall.Errno // with which the denied calls have to fail
	dryRun bool

	// deny picks the events; n counts the tasks that the command makes.
	deny func(ev *taskwatch.Event, n int) bool

	notes         []string // the outcomes that the workload has to see; %d stands for the errno
	denied        int      // how many events are picked
	keepU, keepG  int      // id changes that are left
	forkFailures  bool     // a denial is a failed fork
	execsIfAll    int      // execs where nothing is denied
	execsIfVetoed int
}

var (
	errWithErrno    = fmt.Errorf("the suite says no: %w", syscall.EDQUOT)
	errWithoutErrno = errors.New("the suite says no")
)

// vetoes are the cases of every kind that can be denied, each with an errno,
// without, and without effect.
var vetoes = func() []vetoCase {
	kinds := []vetoCase{
		{
			kind: taskwatch.Init, args: "try-init", denied: 5, forkFailures: true, execsIfAll: 3, execsIfVetoed: 2,
			// Five ways to make a task, twice; every other one is denied.
			deny: func(_ *taskwatch.Event, n int) bool { return n%2 == 0 },
			notes: strings.Fields("try.fork=%d try.vfork=0 try.clone3=%d try.thread=0 try.posix_spawn=%d " +
				"try.fork=0 try.vfork=%d try.clone3=0 try.thread=%d try.posix_spawn=0"),
		},
		{
			kind: taskwatch.Exec, args: "try-exec", denied: 3, execsIfAll: 7, execsIfVetoed: 4,
			deny:  func(ev *taskwatch.Event, _ int) bool { return slices.Contains(ev.Task.Argv, "deny") },
			notes: strings.Fields("try.exec=0 try.exec=%d try.exec=0 try.exec=%d try.exec=0 try.exec=%d"),
		},
		{
			kind: taskwatch.UID, args: "try-ids", denied: 3, keepU: 1, keepG: 5, execsIfAll: 1, execsIfVetoed: 1, needs: root,
			// All but seteuid. setfsuid cannot say that it failed.
			deny:  func(ev *taskwatch.Event, _ int) bool { return ev.Task.UID != taskwatch.IDs{0, 61001, 0, 61001} },
			notes: strings.Fields("ids.3=%d ids.8=0 ids.1=0 ids.6=0 ids.4=0 ids.9=0 ids.14=%d ids.15=0 ids.22=0"),
		},
		{
			kind: taskwatch.GID, args: "try-ids", denied: 4, keepU: 4, keepG: 1, execsIfAll: 1, execsIfVetoed: 1, needs: root,
			deny:  func(ev *taskwatch.Event, _ int) bool { return ev.Task.GID != taskwatch.IDs{0, 61001, 0, 61001} },
			notes: strings.Fields("ids.3=0 ids.8=%d ids.1=0 ids.6=0 ids.4=0 ids.9=0 ids.14=0 ids.15=%d ids.22=%d"),
		},
	}
	var list []vetoCase
	for _, v := range kinds {
		name := v.kind.String()
		v.name, v.err, v.errno = name+"-errno", errWithErrno, syscall.EDQUOT
		v.why = "A watcher's error on " + name + " makes the call fail with the watcher's errno before anything happened, where the source declares a veto; else it changes nothing."
		list = append(list, v)
		v.name, v.err, v.errno = name+"-no-errno", errWithoutErrno, syscall.EPERM
		v.why = "A watcher's error on " + name + " that holds no errno is EPERM."
		list = append(list, v)
		v.name, v.dryRun = name+"-dry-run", true
		v.why = "A dry run asks the watchers of " + name + " and denies nothing."
		list = append(list, v)
	}
	return list
}()

// bench holds the modules of one veto run: the first errs, the second sees
// whether it is called all the same.
type bench struct {
	v    *vetoCase
	path string

	mu        sync.Mutex // guards the fields below: a source may notify from several goroutines
	command   taskwatch.TaskID
	made      int
	picked    map[uint64]bool // numbers of the events that were to be denied
	witnessed int
}

func (b *bench) modules() []*taskwatch.Module {
	first := &taskwatch.Module{Name: "watchtest-deny"}
	first.Watch(taskwatch.Exec, b.findCommand)
	first.Watch(b.v.kind, b.deny)
	second := &taskwatch.Module{Name: "watchtest-witness"}
	second.Watch(b.v.kind, b.witness)
	return []*taskwatch.Module{first, second}
}

// findCommand learns the command's id: a source may show other tasks too.
func (b *bench) findCommand(ev *taskwatch.Event) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.command.IsZero() && len(ev.Task.Argv) > 1 && ev.Task.Argv[0] == b.path && ev.Task.Argv[1] == b.v.args {
		b.command = ev.Task.ID
	}
	return nil
}

func (b *bench) deny(ev *taskwatch.Event) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.command.IsZero() || ev.Task.ParentID != b.command {
		return nil
	}
	n := b.made
	if ev.Kind == taskwatch.Init {
		b.made++
	}
	if !b.v.deny(ev, n) {
		return nil
	}
	b.picked[ev.Seq] = true
	return b.v.err
}

func (b *bench) witness(ev *taskwatch.Event) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.picked[ev.Seq] {
		b.witnessed++
	}
	return nil
}

// check runs the case and returns everything that is wrong.
func (v *vetoCase) check(t testing.TB, cfg *Config, path string) []string {
	if v.dryRun && !cfg.DryRun {
		return nil // nothing is claimed
	}
	b := &bench{v: v, path: path, picked: map[uint64]bool{}}
	r := &run{t: t, cfg: cfg, modules: b.modules(), dryRun: v.dryRun}
	if !r.watched([]string{path, v.args}) {
		return r.problems
	}
	caps := capabilities(r.inst).Events[v.kind]
	vetoed := caps.Veto && !v.dryRun

	errno, denied, u, g, execs := int(v.errno), v.denied, v.keepU, v.keepG, v.execsIfVetoed
	if !vetoed {
		errno, execs = 0, v.execsIfAll
		if v.needs != nil {
			u, g = 4, 5
		}
	}
	if r.cfg.NoSetGroups && v.kind == taskwatch.GID {
		denied-- // that of setgroups
	}
	if !caps.Delivered {
		denied = 0
	}
	notes := slices.Clone(v.notes)
	for i := range notes {
		notes[i] = strings.ReplaceAll(notes[i], "%d", fmt.Sprint(errno))
	}
	if !slices.Equal(r.truth.notes, notes) {
		r.problem("the workload saw\n\t%s\nwant\n\t%s", strings.Join(r.truth.notes, " "), strings.Join(notes, " "))
	}
	failed := 0
	if v.forkFailures && vetoed {
		failed = v.denied
	}
	if got := len(r.truth.failed); got != failed {
		r.problem("%d forks failed, want %d", got, failed)
	}
	if r.truth.uids != u || r.truth.gids != g || r.truth.execs != execs {
		r.problem("what was not denied: %d uid changes, %d gid changes, %d execs, want %d, %d, %d",
			r.truth.uids, r.truth.gids, r.truth.execs, u, g, execs)
	}
	if want := (taskwatch.ExitStatus{Group: true}); r.status != want {
		r.problem("the command's own exit status is %+v, want %+v", r.status, want)
	}
	// The events are picked by these fields.
	blind := caps.MayMiss&(taskwatch.FieldParentID|taskwatch.FieldArgv|taskwatch.FieldUID|taskwatch.FieldGID) != 0
	if len(b.picked) != denied && (vetoed || !blind) {
		r.problem("the watcher was asked about %d operations that it denied, want %d", len(b.picked), denied)
	}
	if b.witnessed != len(b.picked) {
		r.problem("the watcher behind the one that denied was called for %d of %d denied operations: all are called", b.witnessed, len(b.picked))
	}
	verdict := taskwatch.Counted
	if caps.Veto {
		verdict = taskwatch.Denied
		if v.dryRun {
			verdict = taskwatch.WouldDeny
		}
	}
	for _, e := range r.log.errors {
		if e.Verdict != verdict || e.Module != "watchtest-deny" || e.Kind != v.kind {
			r.problem("an unexpected error was reported: %v (%v)", &e, e.Verdict)
		}
	}
	if len(r.log.errors) != len(b.picked) {
		r.problem("%d errors were reported of %d that the watcher returned", len(r.log.errors), len(b.picked))
	}
	r.compare() // all that happened, and nothing that did not
	return r.problems
}

// consenting returns a module that is asked about everything and denies
// nothing.
func consenting() *taskwatch.Module {
	m := &taskwatch.Module{Name: "watchtest-consent"}
	for _, k := range taskwatch.AllKinds.List() {
		m.Watch(k, func(*taskwatch.Event) error { return nil })
	}
	return m
}

// checkNoVeto runs the workload while every watcher that must not deny
// anything errs: on kinds that are facts, as an observer, and by a panic.
func checkNoVeto(t testing.TB, cfg *Config, path string) []string {
	late := &taskwatch.Module{Name: "watchtest-late"}
	for _, k := range []taskwatch.Kind{taskwatch.Clone, taskwatch.Exit, taskwatch.Free} {
		late.Watch(k, func(*taskwatch.Event) error { return errWithErrno })
	}
	observer := &taskwatch.Module{Name: "watchtest-observer"}
	crash := &taskwatch.Module{Name: "watchtest-crash"}
	for _, k := range taskwatch.AllKinds.List() {
		observer.Watch(k, func(*taskwatch.Event) error { return errWithErrno }, taskwatch.Observe())
		crash.Watch(k, func(*taskwatch.Event) error { panic("the suite's watcher crashes") })
	}
	alone, problems := outcomeAlone(t, cfg, []string{path, "vfork", "4"})
	if alone == nil {
		return problems
	}
	r := &run{t: t, cfg: cfg, modules: []*taskwatch.Module{late, observer, crash}}
	if !r.watched([]string{path, "vfork", "4"}) {
		return r.problems
	}
	r.untouched(alone)
	r.compare()
	for _, e := range r.log.errors {
		if e.Verdict != taskwatch.Counted {
			r.problem("an error that is no veto was reported as one: %v", &e)
		}
	}
	if len(r.log.errors) == 0 {
		r.problem("no errors were reported of watchers that always err")
	}
	return r.problems
}
