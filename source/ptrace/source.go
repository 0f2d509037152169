package ptrace

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/taskwatch/taskwatch"
	"github.com/taskwatch/taskwatch/internal/procfs"
	"github.com/taskwatch/taskwatch/internal/sys"
	"github.com/taskwatch/taskwatch/source"
)

// Name is the source's name.
const Name = "ptrace"

// Config says what to run, or which process to attach to: one of both.
type Config struct {
	// Command is what to run. Everything waits until its OnStop returns.
	Command *source.Command

	// PID is a running process that is not a child of this process. It is
	// watched with its threads and its descendants. It must belong to the
	// caller, unless the caller is root, and must not have another tracer.
	// Nothing can be denied to it, and it continues unharmed when watching ends
	// for any reason.
	PID int

	// OnReady, if set, is called once by the goroutine that watches when all
	// tasks of PID are traced: what happens from then on is seen.
	OnReady func()

	// DryRun calls watchers before an operation as usual, but denies nothing.
	DryRun bool

	// OnNotice, if set, is called with what a user should know and no event
	// says, one sentence per call. It is called by the goroutine of Run and
	// must not block.
	OnNotice func(string)
}

// Source runs one command under supervision, or attaches to one process.
type Source struct {
	cfg  Config
	used atomic.Bool
	exit taskwatch.ExitStatus

	mu      sync.Mutex // guards the fields below, and holds off reaping while a pid is signalled
	command int        // the command's pid while it lives, else 0
	begun   bool       // it had one
	pids    map[int]struct{}
	killed  bool
	signals signals
}

// New returns a source that runs the command of cfg, or attaches to its
// process. It starts nothing yet.
func New(cfg Config) (*Source, error) {
	s := &Source{cfg: cfg, pids: make(map[int]struct{}), signals: signals{came: make(chan struct{}, 1)}}
	if cfg.PID != 0 {
		if cfg.Command != nil {
			return nil, errors.New("ptrace: Config.Command and PID exclude each other; set one of them")
		}
		if err := source.CheckPID(cfg.PID); err != nil {
			return nil, fmt.Errorf("ptrace: %w", err)
		}
		if status, err := new(procfs.Reader).Status(cfg.PID, 0); err == nil && status.PPID == os.Getpid() {
			return nil, fmt.Errorf("ptrace: process %d is a child of this process, whose waits for it would take its stops; set Config.Command", cfg.PID)
		}
		return s, nil
	}
	if cfg.Command == nil || cfg.Command.Path == "" && len(cfg.Command.Argv) == 0 {
		return nil, errors.New("ptrace: no command given: set the Path of Config.Command")
	}
	command := cfg.Command.Filled()
	s.cfg.Command = &command
	return s, nil
}

// Close does nothing: New takes nothing.
func (s *Source) Close() error { return nil }

// Name returns "ptrace".
func (s *Source) Name() string { return Name }

// Capabilities declares all seven events with every field, and a veto for
// init, exec, uid and gid, of one command and its descendants. Of a process that
// was running there is no veto.
func (s *Source) Capabilities() source.Capabilities {
	c := source.Capabilities{Scope: "one command and its descendants"}
	for k := range c.Events {
		e := &c.Events[k]
		e.Delivered = true
		e.Hook = hooks[k]
		e.Missing = alwaysMissing | optionalMissing&taskwatch.OptionalOf(taskwatch.Kind(k))
		e.MayMiss = mayMiss & taskwatch.FieldsOf(taskwatch.Kind(k))
		if k := taskwatch.Kind(k); k != taskwatch.Init && k != taskwatch.Clone {
			e.MayMiss &^= taskwatch.FieldVal
		}
		e.Why = noCgroup + "; " + closed
		if taskwatch.Kind(k).Vetoable() {
			e.Veto = haveSeccomp()
			if !e.Veto {
				e.Why += "; " + noSeccomp
			}
		}
	}
	c.Events[taskwatch.Exec].MayMiss |= taskwatch.FieldOldExe
	c.Events[taskwatch.Exec].Why += "; the first exec of the command replaces no program of the command"
	c.Events[taskwatch.Exit].MayMiss |= taskwatch.FieldsRusage
	c.Events[taskwatch.Exit].Why += "; only CPU time and faults are known for a thread other than the first of its process, nothing for a thread that another thread's exec ended, and peak memory is unknown for a process that was killed while its threads forked"
	if s.cfg.PID != 0 {
		capabilitiesAttached(&c)
		return c
	}
	for _, k := range []taskwatch.Kind{taskwatch.UID, taskwatch.GID} {
		// Without the filter only ids that change in an exec are seen: less
		// than the event promises.
		c.Events[k].Delivered = haveSeccomp()
	}
	return c
}

// capabilitiesAttached takes from c what takes a filter, which a process that was
// running does not get.
func capabilitiesAttached(c *source.Capabilities) {
	c.Scope = "one process and its descendants"
	for k := range c.Events {
		e := &c.Events[k]
		e.Veto = false
		e.Hook, _, _ = strings.Cut(e.Hook, "; SECCOMP")
		// Of a task from before the start it is not known who created it, and of
		// one that was about to end hardly anything.
		e.MayMiss |= (taskwatch.FieldParentID | taskwatch.FieldStart) & taskwatch.FieldsOf(taskwatch.Kind(k))
		e.Why += "; with -p nothing is put into the process, so nothing can be denied, and tasks created with CLONE_UNTRACED are not seen"
	}
	for _, k := range []taskwatch.Kind{taskwatch.UID, taskwatch.GID} {
		c.Events[k].Hook = "/proc, at the next fork, exec or exit"
		c.Events[k].Why += "; a change is reported when the task next forks, runs another program or exits, and several changes are reported as one"
	}
}

var hooks = [taskwatch.NumKinds]string{
	taskwatch.Init:  "PTRACE_EVENT_CLONE, FORK, VFORK; SECCOMP_RET_TRACE for a veto",
	taskwatch.Clone: "PTRACE_EVENT_CLONE, FORK, VFORK",
	taskwatch.Exec:  "PTRACE_EVENT_EXEC; SECCOMP_RET_TRACE for a veto",
	taskwatch.UID:   "SECCOMP_RET_TRACE and syscall exit; PTRACE_EVENT_EXEC",
	taskwatch.GID:   "SECCOMP_RET_TRACE and syscall exit; PTRACE_EVENT_EXEC",
	taskwatch.Exit:  "wait4; PTRACE_EVENT_EXIT of tasks that forked",
	taskwatch.Free:  "wait4",
}

// alwaysMissing is what no event has. A move to another cgroup is no event
// that ptrace shows, and the file that tells is too slow to read each time.
const alwaysMissing = taskwatch.FieldCgroup

// optionalMissing are the optional fields that no event has: labels are in the kernel,
// and nobody tells the peak of a process before its end.
const optionalMissing = taskwatch.FieldLabel | taskwatch.FieldBeforeMaxRSS

const noCgroup = "ptrace does not show moves between cgroups"

// mayMiss is what is not known of a process that the tracer may not look at, and
// of a task whose creator was killed before it could say what it had created.
const mayMiss = taskwatch.FieldVal | taskwatch.FieldParentID | taskwatch.FieldPID | taskwatch.FieldPPID |
	fieldsProgram | taskwatch.FieldUID | taskwatch.FieldGID

const closed = "the program is missing for a process that an ordinary user may not look at, and the origin for a task whose creator was killed at its birth"

const noSeccomp = "the kernel is built without CONFIG_SECCOMP_FILTER"

// haveSeccomp reports whether the kernel knows seccomp (seccomp(2): EINVAL
// says that it does not).
var haveSeccomp = sync.OnceValue(func() bool {
	_, err := unix.PrctlRetInt(unix.PR_GET_SECCOMP, 0, 0, 0, 0)
	return !errors.Is(err, unix.EINVAL)
})

// Run starts the command and returns when it and all its descendants have
// ended, daemons included. If ctx ends first, all of them are killed, their
// last events are delivered, and Run returns nil. With Config.PID they are
// detached instead, and continue as if nobody had watched them.
//
// Kinds that nobody watches, or that nobody may veto, when Run starts may
// not be delivered to modules that register later.
//
// A command that cannot be started is a *[source.StartError].
func (s *Source) Run(ctx context.Context, reg *taskwatch.Registry) error {
	if s.used.Swap(true) {
		return errors.New("ptrace: Run called twice: a source runs one command, once; make a new one")
	}
	result := make(chan error, 1)
	// The tracer is a thread, not the process.
	go sys.OnThread(func() { result <- newTracer(s, reg).supervise(ctx) })
	select {
	case err := <-result:
		return err
	case <-ctx.Done():
		if s.cfg.PID != 0 {
			return <-result
		}
		s.kill()
		err := <-result
		if errors.Is(err, errFirstStage) {
			err = nil // killed before it became the command
		}
		return err
	}
}

// Exit returns how the command itself, or the process of Config.PID, ended. It
// is valid once Run has returned nil, and zero of a process that has not ended.
func (s *Source) Exit() taskwatch.ExitStatus { return s.exit }

// Signal sends sig to the command's own process. It may be called from any
// goroutine, and fails with [source.ErrNotStarted] before the command started and
// with ESRCH after it ended.
func (s *Source) Signal(sig syscall.Signal) error { return s.Pass(source.Signal{Number: sig}) }

// setCommand says that there is a command, or the process of Config.PID.
func (s *Source) setCommand(pid int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.command, s.begun = pid, true
}

// Pass is that of [source.Supervisor].
func (s *Source) Pass(got source.Signal) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case !s.begun:
		return source.ErrNotStarted
	case s.command == 0:
		return unix.ESRCH
	}
	return got.SendTo(s.command)
}

// Kill kills every task of the tree. It may be called from any goroutine and
// returns how many processes it found.
func (s *Source) Kill() int { return s.kill() }

func (s *Source) kill() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.killed = true
	for pid := range s.pids {
		_ = unix.Kill(pid, unix.SIGKILL) // fails only for one that is dead and not yet reaped
	}
	return len(s.pids)
}

func (s *Source) notice(format string, args ...any) {
	if s.cfg.OnNotice != nil {
		s.cfg.OnNotice(fmt.Sprintf(format, args...))
	}
}

// errFirstStage stands for a message that the first stage has printed itself.
var errFirstStage = errors.New("its first stage failed")
