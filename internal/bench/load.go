package bench

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/taskwatch/taskwatch"
	"github.com/taskwatch/taskwatch/internal/procfs"
)

// Load is one of the loads of c/load.c.
type Load int

// The loads. Their numbers are those of c/count.c.
const (
	Fork   Load = iota // a child that exits at once
	Exec               // a child that runs the smallest of programs
	Thread             // a thread that exits at once
	IDs                // a change of the effective user or group id
	Run                // a child that runs true(1), linked dynamically as most programs are
	numLoads
)

var loadNames = [numLoads]string{"fork", "exec", "thread", "ids", "run"}

// String returns "fork", "exec", "thread", "ids" or "run".
func (l Load) String() string { return loadNames[l] }

// tag is what the names of the tasks of one benchmark's loads begin with, so
// that no other benchmark takes them for its own: four letters. The name of
// the load follows.
type tag string

func newTag() tag {
	b := make([]byte, 4)
	for i := range b {
		b[i] = byte('a' + rand.N(26))
	}
	return tag(b)
}

// comm is the name of a load's tasks.
func (t tag) comm(l Load) string { return string(t) + loadNames[l] }

// load returns the load whose tasks have a name.
func (t tag) load(comm string) (Load, bool) {
	name, ok := strings.CutPrefix(comm, string(t))
	if !ok {
		return 0, false
	}
	for l := range numLoads {
		if name == loadNames[l] {
			return l, true
		}
	}
	return 0, false
}

// tally counts events, by load and kind.
type tally [numLoads][taskwatch.NumKinds]uint64

// truth returns the events of n operations, those of the load's own process
// from its exec on included.
func (l Load) truth(n int) (events [taskwatch.NumKinds]uint64) {
	events[taskwatch.Exec], events[taskwatch.Exit], events[taskwatch.Free] = 1, 1, 1
	switch l {
	case IDs:
		events[taskwatch.UID], events[taskwatch.GID] = uint64(n/2), uint64(n/2)
	case Exec, Run:
		events[taskwatch.Exec] += uint64(n)
		fallthrough
	default:
		for _, k := range []taskwatch.Kind{taskwatch.Init, taskwatch.Clone, taskwatch.Exit, taskwatch.Free} {
			events[k] += uint64(n)
		}
	}
	return events
}

// sum adds up the counts of some kinds.
func sum(events [taskwatch.NumKinds]uint64, kinds taskwatch.Kinds) (n uint64) {
	for _, k := range kinds.List() {
		n += events[k]
	}
	return n
}

// programs are the copies of the load, one per name, in a directory that
// close removes.
type programs struct {
	dir   string
	tag   tag
	depth int // of the processes above a load

	pids sync.Map // of loads that were run
}

// Names, behind the tag, of programs that are no load.
const (
	probe = "probe"
	live  = "live"
	nest  = "nest"
)

func newPrograms() (*programs, error) {
	dir, err := os.MkdirTemp("", "taskwatch-bench-")
	if err != nil {
		return nil, fmt.Errorf("bench: %w", err)
	}
	p := &programs{dir: dir, tag: newTag()}
	if err := p.write(); err != nil {
		return nil, errors.Join(fmt.Errorf("bench: %w", err), p.close())
	}
	return p, nil
}

func (p *programs) write() error {
	for _, name := range append(loadNames[:], probe, live, nest) {
		if err := os.WriteFile(p.path(name), loadProgram, 0o755); err != nil {
			return err
		}
	}
	path, err := exec.LookPath("true")
	if err != nil {
		return err
	}
	program, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	if err := os.Mkdir(filepath.Dir(p.ran()), 0o755); err != nil {
		return err
	}
	return os.WriteFile(p.ran(), program, 0o755)
}

// ran is the program of the load run, under the load's name.
func (p *programs) ran() string { return filepath.Join(p.dir, "true", p.tag.comm(Run)) }

func (p *programs) path(name string) string { return filepath.Join(p.dir, string(p.tag)+name) }

func (p *programs) close() error { return os.RemoveAll(p.dir) }

// command returns the command line of a load. cpu is -1 for any; gap is the
// time between operations, or 0.
func (p *programs) command(l Load, n, cpu int, gap time.Duration) []string {
	argv := []string{p.path(loadNames[l]), l.String(), strconv.Itoa(n), strconv.Itoa(cpu), strconv.FormatInt(int64(gap), 10)}
	if l == Run {
		argv = append(argv, p.ran())
	}
	if p.depth > 0 {
		argv = append([]string{p.path(nest), nest, strconv.Itoa(p.depth)}, argv...)
	}
	return argv
}

// startTimeout bounds everything that is waited for.
const startTimeout = time.Minute

// run runs a load and returns how long it took, by its own measure.
func (p *programs) run(ctx context.Context, l Load, n, cpu int, gap time.Duration) (time.Duration, error) {
	argv := p.command(l, n, cpu, gap)
	cmd := exec.CommandContext(ctx, argv[0], argv[1:]...)
	took, err := runLoad(ctx, cmd)
	if err == nil && p.depth == 0 {
		p.pids.Store(cmd.Process.Pid, l)
	}
	return took, err
}

// loadOf returns the load that was run with a pid.
func (p *programs) loadOf(pid int) (Load, bool) {
	l, ok := p.pids.Load(pid)
	if !ok {
		return 0, false
	}
	return l.(Load), true
}

func runLoad(ctx context.Context, cmd *exec.Cmd) (time.Duration, error) {
	defer endsWithUs(cmd)()
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	if err := cmd.Run(); err != nil {
		return 0, fmt.Errorf("bench: %s: %w %s (the ids load needs root)", filepath.Base(cmd.Args[0]), err, strings.TrimSpace(errs.String()))
	}
	ns, err := strconv.ParseInt(strings.TrimSpace(out.String()), 10, 64)
	if err != nil || ns <= 0 {
		return 0, fmt.Errorf("bench: the load said %q, want nanoseconds", out.String())
	}
	return time.Duration(ns), ctx.Err()
}

// endsWithUs has the kernel kill a command when whoever starts it is killed,
// so that no load goes on alone. The signal comes at the end of the thread
// that starts the command, which is kept until the function returned is called.
func endsWithUs(cmd *exec.Cmd) (release func()) {
	runtime.LockOSThread()
	if cmd.SysProcAttr == nil {
		cmd.SysProcAttr = new(syscall.SysProcAttr)
	}
	cmd.SysProcAttr.Pdeathsig = unix.SIGKILL
	return runtime.UnlockOSThread
}

// probe causes some events that count for no load.
func (p *programs) probe(ctx context.Context) error {
	cmd := exec.CommandContext(ctx, p.path(probe), "exec", "50", "-1", "0")
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("bench: probe: %w %s", err, out)
	}
	return nil
}

var errTooMany = errors.New("more than a limit allows")

// mostTasks returns how many tasks may be started without taking the ids that
// everybody else needs.
func mostTasks() int {
	const others = 4096
	most := 1 << 22
	for _, limit := range []func() (int, bool){procfs.MaxPID, procfs.MaxThreads} {
		if n, ok := limit(); ok { // else the kernel says it when they are too many
			most = min(most, n-others)
		}
	}
	return most
}

// live starts n tasks that do nothing, and returns what ends them.
func (p *programs) live(ctx context.Context, n int) (stop func() error, err error) {
	if most := mostTasks(); n > most {
		return nil, fmt.Errorf("bench: %d idle tasks are %w: kernel.pid_max and kernel.threads-max leave room for %d", n, errTooMany, most)
	}
	cmd := exec.CommandContext(ctx, p.path(live), "live", strconv.Itoa(n))
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return unix.Kill(-cmd.Process.Pid, unix.SIGKILL) }
	stdin, err := cmd.StdinPipe()
	if err != nil {
		return nil, err
	}
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("bench: %w", err)
	}
	stop = func() error {
		_ = stdin.Close() // they read it
		if err := cmd.Wait(); err != nil {
			return fmt.Errorf("bench: %d idle tasks: %w", n, err)
		}
		return nil
	}
	if _, err := stdout.Read(make([]byte, 2)); err != nil {
		return nil, fmt.Errorf("bench: %d idle tasks are %w: ulimit -u, kernel.pid_max or pids.max of the cgroup: %w", n, errTooMany, stop())
	}
	return stop, nil
}
