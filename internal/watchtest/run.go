package watchtest

import (
	"context"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/taskwatch/taskwatch"
	"github.com/taskwatch/taskwatch/internal/sys"
	"github.com/taskwatch/taskwatch/internal/testutil"
)

// patience is how long the suite waits for what must happen. It is long, so
// that only a hang or a lost event ever gets there. Tests of the suite's own
// failures shorten it.
var patience = 60 * time.Second

// run is one run of a command under a source.
type run struct {
	t   testing.TB
	cfg *Config

	// watched by the suite's own observer; AllKinds if 0
	kinds taskwatch.Kinds
	// registered behind the suite's own observer
	modules []*taskwatch.Module
	dryRun  bool
	// stop, if set, ends the run after the first event that it is true for.
	stop func(*taskwatch.Event) bool

	// Results.
	denies   taskwatch.Kinds // that some module may deny
	stopped  bool            // stop was true
	reaped   bool            // the command's siblings were
	inst     Instance
	truth    *truth
	events   []seen // of the command and its descendants
	log      *eventLog
	status   taskwatch.ExitStatus
	stderr   []byte
	files    [3]os.FileInfo
	from, to moment
	problems []string
}

func now() moment { return moment{sys.Monotonic(), time.Now().UnixNano()} }

func (r *run) problem(format string, args ...any) {
	r.problems = append(r.problems, fmt.Sprintf(format, args...))
}

// stdinText is what every command can read; some do.
const stdinText = "the workload's input: \x00\xff\n"

// newCommand prepares a command with files and a directory of its own. Other
// users may enter the directory.
func (r *run) newCommand(argv []string) Command {
	dir, err := os.MkdirTemp("", "watchtest-")
	if err != nil {
		r.t.Fatal(err)
	}
	r.t.Cleanup(func() { os.RemoveAll(dir) })
	work := filepath.Join(dir, "work")
	for _, err := range []error{
		os.Chmod(dir, 0o755), os.Mkdir(work, 0o755), os.WriteFile(filepath.Join(dir, "in"), []byte(stdinText), 0o644),
	} {
		if err != nil {
			r.t.Fatal(err)
		}
	}
	open := func(name string, flags int) *os.File {
		f, err := os.OpenFile(filepath.Join(dir, name), flags, 0o644)
		if err != nil {
			r.t.Fatal(err)
		}
		r.t.Cleanup(func() { f.Close() })
		return f
	}
	return Command{
		Path: argv[0], Argv: argv, Dir: work,
		Env:    []string{"PATH=/usr/bin:/bin", testutil.Mark()},
		Stdin:  open("in", os.O_RDONLY),
		Stdout: open("out", os.O_WRONLY|os.O_CREATE|os.O_APPEND),
		Stderr: open("err", os.O_WRONLY|os.O_CREATE|os.O_APPEND),
		DryRun: r.dryRun,
	}
}

// start starts the command without any source. Only tests of the suite have
// extra files.
func (cmd *Command) start(extra ...*os.File) (*os.Process, error) {
	return os.StartProcess(cmd.Path, cmd.Argv, &os.ProcAttr{
		Dir: cmd.Dir, Env: cmd.Env, Files: append([]*os.File{cmd.Stdin, cmd.Stdout, cmd.Stderr}, extra...),
	})
}

func exitStatus(ps *os.ProcessState) taskwatch.ExitStatus {
	ws := ps.Sys().(syscall.WaitStatus)
	s := taskwatch.DecodeExit(uint64(ws))
	s.Group = true
	return s
}

// bare runs the command without any source, and waits for all of its
// descendants.
func (r *run) bare(argv []string) bool {
	cmd := r.newCommand(argv)
	if p, err := cmd.start(); err != nil {
		r.t.Fatal(err)
	} else if ps, err := p.Wait(); err != nil {
		r.t.Fatal(err)
	} else {
		r.status = exitStatus(ps)
	}
	r.settle(&cmd)
	return r.truth != nil
}

// watched runs the command under the source.
func (r *run) watched(argv []string) bool {
	if r.kinds == 0 {
		r.kinds = taskwatch.AllKinds
	}
	r.from = now()
	cmd := r.newCommand(argv)
	r.inst = r.cfg.New(r.t, cmd)
	if r.inst.Ready != nil {
		r.kinds |= taskwatch.KindsOf(taskwatch.Clone) // tells the command's tasks from others
	}
	r.log = newEventLog()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	var reg taskwatch.Registry
	modules := append([]*taskwatch.Module{r.log.module(r.kinds)}, r.modules...)
	if r.stop != nil {
		modules = append(modules, r.stopper(cancel))
	}
	for _, m := range modules {
		if err := reg.Register(m); err != nil {
			r.t.Fatal(err)
		}
	}
	if err := reg.Attach(r.log.sink()); err != nil {
		r.t.Fatal(err)
	}
	r.denies = reg.Feed().DenyKinds()

	result := make(chan error, 1)
	go func() { result <- r.inst.Source.Run(ctx, &reg) }()
	pid := 0
	if r.inst.Ready != nil {
		pid = r.outside(&cmd, ctx, cancel, result)
	}
	select {
	case err := <-result:
		if err != nil {
			r.problem("Run failed: %v", err)
		}
	case <-time.After(2 * patience):
		r.t.Fatalf("Run has not returned %v after its context ended: a source must end with it", patience)
	}
	r.to = now()
	if ctx.Err() == context.DeadlineExceeded {
		r.problem("the command and its events were not done after %v", patience)
	}
	if r.stop != nil {
		r.killCommand(&cmd)
		return true
	}
	if r.inst.Exit != nil {
		r.status = r.inst.Exit()
	}
	r.settle(&cmd)
	r.events = r.log.snapshot()
	if r.truth != nil && pid != 0 {
		r.events = descendants(r.events, pid)
	}
	return r.truth != nil
}

// outside starts the command beside a source that is ready, and ends the
// source when the command's events are there.
func (r *run) outside(cmd *Command, ctx context.Context, cancel func(), result chan error) (pid int) {
	defer cancel()
	select {
	case <-r.inst.Ready:
	case err := <-result:
		result <- err
		// A source may be ready and have ended by the time anybody looks.
		select {
		case <-r.inst.Ready:
		default:
			r.problem("Run returned before the source was ready")
			return 0
		}
	case <-ctx.Done():
		return 0
	}
	p, err := cmd.start()
	if err != nil {
		r.t.Fatal(err)
	}
	if r.stop != nil {
		<-ctx.Done()
		p.Kill()
	}
	ps, err := p.Wait()
	if err != nil {
		r.t.Fatal(err)
	}
	r.status = exitStatus(ps)
	if r.stop != nil {
		return p.Pid
	}
	r.settle(cmd)
	kinds := r.kinds & capabilities(r.inst).Kinds()
	for !r.done(p.Pid, kinds) && ctx.Err() == nil {
		time.Sleep(time.Millisecond)
	}
	return p.Pid
}

// killCommand kills what a source may leave running when its context ends.
func (r *run) killCommand(cmd *Command) {
	facts, err := parseFacts(readAll(cmd.Stdout))
	if err != nil {
		r.problem("%v", err)
	}
	for _, f := range facts {
		if exe, err := os.Readlink(fmt.Sprintf("/proc/%d/exe", f.PID)); f.PID != 0 && err == nil && exe == cmd.Path {
			_ = unix.Kill(f.PID, unix.SIGKILL) // fails if it is gone
		}
	}
}

// done says whether a source that watches more than the command has delivered
// as many events of every kind as are due, and the free of each task that was seen.
// Failed forks are in no life of the truth: they have frees as well, which may come
// before those of tasks that ended earlier, on other processors.
func (r *run) done(pid int, kinds taskwatch.Kinds) bool {
	if r.truth == nil {
		return true
	}
	var due, got [taskwatch.NumKinds]int
	for _, l := range r.truth.lives {
		for _, w := range l.filter(kinds) {
			due[w.kind]++
		}
	}
	unfreed := map[*taskwatch.Task]bool{}
	for _, s := range descendants(r.log.snapshot(), pid) {
		unfreed[s.task] = s.ev.Kind != taskwatch.Free
		if s.ev.Kind != taskwatch.Free || s.ev.Task.TID != 0 {
			got[s.ev.Kind]++
		}
	}
	if kinds.Has(taskwatch.Free) && slices.Contains(slices.Collect(maps.Values(unfreed)), true) {
		return false
	}
	for k := range due {
		if got[k] < due[k] {
			return false
		}
	}
	return true
}

// stopper returns a module that ends the run.
func (r *run) stopper(cancel func()) *taskwatch.Module {
	m := &taskwatch.Module{Name: "watchtest-stop"}
	var mu sync.Mutex // a source may notify from several goroutines
	for _, k := range r.kinds.List() {
		m.Watch(k, func(ev *taskwatch.Event) error {
			mu.Lock()
			defer mu.Unlock()
			if !r.stopped && r.stop(ev) {
				r.stopped = true
				cancel()
			}
			return nil
		}, taskwatch.Observe())
	}
	return m
}

// settle waits until every task has reported its end, and keeps the truth.
func (r *run) settle(cmd *Command) {
	deadline := time.Now().Add(patience)
	for {
		report, err := os.ReadFile(cmd.Stdout.Name())
		if err != nil {
			r.t.Fatal(err)
		}
		facts, err := parseFacts(report)
		if err == nil {
			r.truth, err = newTruth(facts)
		}
		if err != nil {
			r.truth = nil
			r.problem("%v", err)
			return
		}
		running := r.truth.running()
		if len(running) == 0 && len(r.truth.lives) > 0 {
			break
		}
		if time.Now().After(deadline) {
			for _, l := range running {
				r.problem("%s never ended", l.name)
			}
			if len(r.truth.lives) == 0 {
				r.problem("the command reported nothing: it never ran, or its stdout was not what it was given; its stderr: %q", readAll(cmd.Stderr))
			}
			r.truth = nil
			return
		}
		if r.inst.Source != nil && r.inst.Ready == nil {
			deadline = time.Time{} // Run has returned: nothing more can come
		} else {
			time.Sleep(time.Millisecond)
		}
	}
	if r.inst.Source == nil || r.inst.Ready != nil && !r.reaped { // else who runs the command does it
		r.reaped = true
		if err := r.truth.reapSiblings(); err != nil {
			r.problem("%v", err)
		}
	}
	if r.cfg.NoSetGroups {
		r.truth.forgetSetGroups()
	}
	r.stderr = readAll(cmd.Stderr)
	for i, f := range []*os.File{cmd.Stdin, cmd.Stdout, cmd.Stderr} {
		fi, err := f.Stat()
		if err != nil {
			r.t.Fatal(err)
		}
		r.files[i] = fi
	}
}

// reapSiblings reaps the children that a command has made for this process, all
// of which are about to end.
func (tr *truth) reapSiblings() error {
	for i, l := range tr.lives {
		if i > 0 && l.pid == l.wants[0].fact.TID && l.wants[0].state.ppid == os.Getpid() {
			if _, err := unix.Wait4(l.pid, nil, 0, nil); err != nil {
				return fmt.Errorf("%s is no child of this process: %w", l.name, err)
			}
		}
	}
	return nil
}

func readAll(f *os.File) []byte {
	b, err := os.ReadFile(f.Name())
	if err != nil {
		return []byte(err.Error())
	}
	return b
}
