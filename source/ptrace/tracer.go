package ptrace

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/taskwatch/taskwatch"
	"github.com/taskwatch/taskwatch/internal/lookpath"
	"github.com/taskwatch/taskwatch/internal/procfs"
	"github.com/taskwatch/taskwatch/internal/starter"
	"github.com/taskwatch/taskwatch/internal/sys"
	"github.com/taskwatch/taskwatch/source"
)

// tracer runs on one thread, which is the tracer of the whole tree and the
// parent of the command.
type tracer struct {
	src    *Source
	feed   *taskwatch.Feed
	traps  trapSet // fixed when the filter is installed
	mark   uint16  // by which the filter's stops are known: programs can have filters of their own
	vetoes taskwatch.Kinds

	// suspect says that changes of ids, or new tasks, may have come without a
	// stop: they are looked for wherever a task stops.
	suspect bool

	tracees map[int]*tracee // by tid
	idle    bool            // the last wait was long
	early   map[int]*earlyStop
	alarm   *alarm          // set while there are early tasks
	adopted map[int]int64   // tid and start time of tasks whose creator has not announced them
	noticed map[string]bool // setuid files the user was told of
	command *tracee         // the command's first task
	started bool            // the command's exec has succeeded; before, its process is the first stage
	failed  error           // what went wrong in the tracer itself

	attached *attachment // nil for a command

	root   bool   // this process is root's
	run    uint64 // the first half of task ids
	tasks  uint64 // the second half of the last one
	diedNS int64  // CLOCK_BOOTTIME of the last report of a death
	seq    uint64
	ev     taskwatch.Event
	clock  clock
	proc   procfs.Reader
	stack  stackReader

	formats formats // of binfmt_misc
}

func newTracer(s *Source, reg *taskwatch.Registry) *tracer {
	t := &tracer{
		src: s, feed: reg.Feed(),
		tracees: make(map[int]*tracee),
		early:   make(map[int]*earlyStop),
		adopted: make(map[int]int64),
		noticed: make(map[string]bool),
		root:    os.Geteuid() == 0,
		run:     rand.Uint64N(1 << 40),
		clock:   newClock(),
	}
	if s.cfg.PID != 0 {
		t.attached = &attachment{}
		return t
	}
	if haveSeccomp() {
		t.vetoes = t.feed.DenyKinds()
		t.feed.Deny, t.feed.DryRun = taskwatch.KindsOf(taskwatch.Init, taskwatch.Exec, taskwatch.UID, taskwatch.GID), s.cfg.DryRun
		t.traps = trapSetID | trapPtrace | trapUserNS | trapUntraced | trapSeccomp
		t.mark = uint16(1 + rand.UintN(1<<16-1))
		if t.vetoes.Has(taskwatch.Init) {
			t.traps |= trapClone
		}
		if t.vetoes.Has(taskwatch.Exec) || t.feed.FailedExecs() || t.feed.Optional(taskwatch.Exec).Has(taskwatch.FieldCapsGained) {
			t.traps |= trapExec
		}
	}
	return t
}

// options are the ptrace options of a tracee; the tasks it creates inherit
// them.
func (t *tracer) options() int {
	opts := unix.PTRACE_O_TRACESYSGOOD | unix.PTRACE_O_TRACEEXEC |
		unix.PTRACE_O_TRACECLONE | unix.PTRACE_O_TRACEFORK | unix.PTRACE_O_TRACEVFORK
	if t.attached == nil {
		opts |= unix.PTRACE_O_EXITKILL
	}
	if t.traps != 0 {
		opts |= unix.PTRACE_O_TRACESECCOMP
	}
	return opts
}

// start starts the command's process, which stops before it is the command,
// and becomes its tracer.
func (t *tracer) start() error {
	c := t.src.cfg.Command
	path, err := lookpath.Find(c.Path, c.Dir, c.Env)
	if err != nil {
		return &source.StartError{Source: Name, Path: c.Path, Err: err}
	}
	cmd := starter.Command{
		Path: path, Argv: c.Argv, Env: c.Env, Dir: c.Dir,
		Files:   []uintptr{c.Stdin.Fd(), c.Stdout.Fd(), c.Stderr.Fd()},
		Stopped: true, Session: c.Session, Inherit: c.Inherit,
	}
	if t.traps != 0 {
		if cmd.Filter, err = filter(t.traps, t.mark); err != nil {
			return fmt.Errorf("ptrace: assemble the seccomp filter: %w", err)
		}
	}
	pid, err := cmd.Start()
	var exec *starter.ExecError
	if errors.As(err, &exec) {
		return &source.StartError{Source: Name, Path: c.Path, Err: exec.Errno}
	}
	if err != nil {
		if c.Dir != "" {
			if _, serr := os.Stat(c.Dir); serr != nil {
				return fmt.Errorf("ptrace: working directory: %w", serr)
			}
		}
		return fmt.Errorf("ptrace: %w", err)
	}
	if err := t.seize(pid); err != nil {
		_ = unix.Kill(pid, unix.SIGKILL)
		_, _ = unix.Wait4(pid, nil, unix.WALL, nil)
		return err
	}
	return nil
}

func (t *tracer) seize(pid int) error {
	if err := sys.PtraceSeize(pid, t.options()); err != nil {
		return fmt.Errorf("ptrace: cannot trace a child of this process: %w; check /proc/sys/kernel/yama/ptrace_scope (3 forbids it) and the seccomp profile of the container", err)
	}
	task := t.newTask()
	task.PID, task.TID, task.PPID = pid, pid, os.Getpid()
	if err := t.describe(task); err != nil {
		return err
	}
	t.command = &tracee{tid: pid, task: task, proc: &process{pid: pid, live: 1}}
	t.add(t.command)
	t.src.setCommand(pid)
	return unix.Kill(pid, unix.SIGCONT)
}

// describe fills in what is known of the command's task before its exec.
func (t *tracer) describe(task *subject) error {
	stat, err := t.proc.Stat(task.PID, task.TID)
	if err != nil {
		return fmt.Errorf("ptrace: is /proc mounted? %w", err)
	}
	status, err := t.proc.Status(task.PID, task.TID)
	if err != nil {
		return fmt.Errorf("ptrace: %w", err)
	}
	task.StartNS, task.Comm = stat.StartNS, stat.Comm
	task.UID, task.GID = status.UID, status.GID
	return nil
}

func (t *tracer) newTask() *subject {
	t.tasks++
	return &subject{Task: taskwatch.Task{ID: taskwatch.TaskID{Run: t.run, N: t.tasks}}}
}

func (t *tracer) add(tr *tracee) {
	t.tracees[tr.tid] = tr
	t.reach(tr.proc.pid)
}

// reach has Kill reach a process, by its pid or by the tid of a task of it
// that nobody has announced, until the task's death or forget. If Kill was
// called already, so it is.
func (t *tracer) reach(pid int) {
	t.src.mu.Lock()
	defer t.src.mu.Unlock()
	t.src.pids[pid] = struct{}{}
	if t.src.killed {
		_ = unix.Kill(pid, unix.SIGKILL)
	}
}

// forget takes a tid that is no pid out again: it may change in an exec.
func (t *tracer) forget(tid int) {
	t.src.mu.Lock()
	defer t.src.mu.Unlock()
	delete(t.src.pids, tid)
}

// supervise starts the command, or attaches to the process, and handles stops
// until no tracee is left. A process is left when ctx ends.
func (t *tracer) supervise(ctx context.Context) error {
	_ = sys.QuietStops() // without it, only slower
	t.alarm = newAlarm(unix.Gettid())
	defer t.alarm.clear()
	begin := t.start
	if a := t.attached; a != nil {
		begin = t.attach
		a.wake = newAlarm(unix.Gettid())
		defer a.wake.clear()
		defer context.AfterFunc(ctx, func() { a.leave.Store(true); a.wake.set(); a.wake.ring() })()
	}
	t.feed.Follow(t.visit)
	defer t.feed.End()
	if err := begin(); err != nil {
		return err
	}
	if err := t.loop(); err != nil {
		t.fail(err)
	}
	return t.failed
}

// loop handles reports until no tracee is left.
func (t *tracer) loop() error {
	for {
		if a := t.attached; a != nil && a.found {
			a.found = false
			t.feed.Found()
		}
		t.announce(false)
		t.part()
		t.feed.Pause()
		report, err := t.wait()
		t.feed.Resume()
		switch {
		case errors.Is(err, unix.ECHILD) && len(t.early) > 0:
			t.adopt(true) // what nobody has announced has ended, too
		case errors.Is(err, unix.ECHILD):
			return nil
		case errors.Is(err, unix.EINTR):
			t.idle = true
			t.announce(true)
			t.adopt(false)
		case err != nil:
			return fmt.Errorf("ptrace: wait: %w", err)
		default:
			if err := t.take(report); err != nil {
				return err
			}
		}
	}
}

// wait returns the next report. In a busy tree the next one is microseconds
// away, and telling the Go scheduler about each wait would cost more than all
// the rest: a retaken P is fought for on the way back. So a wait begins raw,
// where only the runtime's preemption ends it, after 10 ms or for the garbage
// collector; one that was ended so goes on as any blocking call.
func (t *tracer) wait() (sys.Report, error) {
	mode := sys.WaitRaw
	if err := sys.MakePreemptible(); err != nil || t.idle || !asyncPreemption {
		mode = sys.WaitLong
	}
	t.idle = false
	return sys.PeekWait(mode)
}

// asyncPreemption is false where the runtime was told not to send the signal
// that ends a raw wait.
var asyncPreemption = !strings.Contains(os.Getenv("GODEBUG"), "asyncpreemptoff=1")

// take handles one report.
func (t *tracer) take(report sys.Report) error {
	tr := t.tracees[report.TID]
	switch {
	case tr == nil:
		return t.takeEarly(report)
	case tr.unsure:
		t.settle(tr, report.Dead)
	}
	switch {
	case !report.Dead && report.Stop>>8 == unix.PTRACE_EVENT_EXEC:
		// A task that has changed its tid cannot be resumed until its new tid
		// was taken (looks_like_a_spurious_pid in kernel/ptrace.c).
		var status unix.WaitStatus
		var rusage unix.Rusage
		tid, err := t.reap(report.TID, &status, &rusage)
		switch {
		case err != nil:
			return fmt.Errorf("ptrace: take the report of task %d: %w", report.TID, err)
		case tid == 0: // a SIGKILL has taken it out of the stop
		case status.Stopped():
			t.execed(tr)
		default:
			t.died(tr, status, &rusage)
		}
		return nil
	case !report.Dead:
		t.stop(tr, report.Stop) // the report goes when it runs on
		return nil
	}
	if err := t.parentFirst(tr); err != nil {
		return err
	}
	t.compareIDs(tr)
	t.inspect(tr) // there is nothing left to read once it is reaped
	var status unix.WaitStatus
	var rusage unix.Rusage
	tid, err := t.reap(report.TID, &status, &rusage)
	if err != nil || tid == 0 {
		return fmt.Errorf("ptrace: reap task %d: %w", report.TID, err)
	}
	t.died(tr, status, &rusage)
	return nil
}

// takeEarly keeps the report of a task that nobody has announced yet.
func (t *tracer) takeEarly(report sys.Report) error {
	early := &earlyStop{report: report, since: time.Now()}
	tid, err := t.reap(report.TID, &early.status, &early.rusage)
	if err != nil {
		return fmt.Errorf("ptrace: take the report of task %d: %w", report.TID, err)
	}
	if tid == 0 { // a SIGKILL has taken it out of the stop
		return nil
	}
	t.early[tid] = early
	t.alarm.set()
	if early.report.Dead = !early.status.Stopped(); !early.report.Dead {
		t.reach(tid)
	}
	return nil
}

// reap takes a report. After that of a death the pid may be reused, so it
// leaves the set that Kill and Signal use before they can look again.
func (t *tracer) reap(tid int, status *unix.WaitStatus, rusage *unix.Rusage) (int, error) {
	t.src.mu.Lock()
	defer t.src.mu.Unlock()
	tid, err := sys.TakeWait(tid, status, rusage)
	if err == nil && tid != 0 && !status.Stopped() {
		delete(t.src.pids, tid)
		t.src.signals.left(tid)
		if tid == t.src.command {
			t.src.command = 0
		}
	}
	return tid, err
}

// fail ends the supervision on an error that should not be: a tree that can
// no longer be followed is not left half watched. A process that was running
// before is left.
func (t *tracer) fail(err error) {
	if t.failed == nil {
		t.failed = err
	}
	if t.attached != nil {
		t.attached.leave.Store(true)
		return
	}
	t.src.kill()
}
