package bpf

import (
	"context"
	"errors"
	"math/rand/v2"
	"strings"
	"sync"
	"time"

	"github.com/taskwatch/taskwatch"
	"github.com/taskwatch/taskwatch/internal/procfs"
	"github.com/taskwatch/taskwatch/internal/sys"
	"github.com/taskwatch/taskwatch/module/kernel"
	"github.com/taskwatch/taskwatch/source"
	"github.com/taskwatch/taskwatch/source/child"
)

// Name is the source's name.
const Name = "bpf"

// Source watches tasks with eBPF programs.
type Source struct {
	cfg     Config
	caps    source.Capabilities
	command child.Child

	mu     sync.Mutex // guards the fields below
	table  *kernel.Table
	kernel *half // nil once closed
	used   bool

	alarm     *alarm                  // of the stream, while it runs
	refreshes []chan *source.Shortage // to be told once the stream has looked what is watched
}

var _ source.Source = (*Source)(nil)

// New loads the programs for the scope of cfg, which is also the test that
// this kernel takes them, and attaches none. It needs CAP_BPF and CAP_PERFMON.
// A command that is not to be found is a *[source.StartError].
//
// The caller must call Run or Close.
func New(cfg Config) (*Source, error) {
	if err := cfg.check(); err != nil {
		return nil, err
	}
	if cfg.Command != nil {
		cmd, err := child.Find(Name, *cfg.Command)
		if err != nil {
			return nil, err
		}
		cfg.Command = cmd
	}
	if cfg.PID != 0 {
		pid, err := source.ProcessOf(Name, cfg.PID)
		if err != nil {
			return nil, err
		}
		cfg.PID = pid
	}
	if !initialPIDNamespace() {
		return nil, errors.New("bpf: this process is in its own pid namespace, so its pids are not the kernel's; run it in the host's pid namespace (--pid=host)")
	}
	k, err := loadHalf(&cfg)
	if err != nil {
		return nil, err
	}
	return &Source{cfg: cfg, kernel: k, table: k.table, caps: capabilities(&cfg, k)}, nil
}

// Name returns "bpf".
func (s *Source) Name() string { return Name }

// Capabilities returns what the running kernel lets the source deliver.
func (s *Source) Capabilities() source.Capabilities { return s.caps }

// Close gives back what New has taken, for a source that is not run. It does
// nothing after Run was called.
func (s *Source) Close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.kernel == nil || s.used {
		return nil
	}
	err := s.kernel.close()
	s.kernel = nil
	return err
}

func (s *Source) take() (*half, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.kernel == nil || s.used {
		return nil, errors.New("bpf: a source runs once; make another with New")
	}
	s.used = true
	return s.kernel, nil
}

// Run delivers events until ctx ends or, with Config.Command or PID, until
// no task of the tree is left. If ctx ends first, a command's tree is killed, its
// last events are delivered, and Run returns nil.
//
// It returns a *[source.StartError] if the command could not be started. Programs,
// maps and links are gone when it returns.
func (s *Source) Run(ctx context.Context, reg *taskwatch.Registry) error {
	k, err := s.take()
	if err != nil {
		return err
	}
	defer s.finish()
	if k, err = s.settle(k, reg); err != nil {
		return err
	}
	st := newStream(s, k, reg)
	if st.alarm, err = newAlarm(k.beside.Maps[streamMapRing].FD()); err != nil {
		return errors.Join(err, k.close())
	}
	s.start(st.alarm)
	woken := make(chan struct{})
	stop := context.AfterFunc(ctx, func() { st.alarm.wake(); close(woken) })
	err = st.run(ctx)
	if !stop() {
		<-woken // it uses the alarm
	}
	s.finish()
	return errors.Join(err, k.close(), st.alarm.close())
}

// settle loads the programs again if they leave out what somebody reads.
func (s *Source) settle(k *half, reg *taskwatch.Registry) (*half, error) {
	if k.never&wantedOf(reg.Feed().Fields()) == 0 {
		return k, nil
	}
	if err := k.close(); err != nil {
		return nil, err
	}
	cfg := s.cfg
	cfg.FieldsSettled = false
	k, err := loadHalf(&cfg)
	if err != nil {
		return nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.kernel, s.table = k, k.table
	return k, nil
}

// Table returns the table in the kernel that the source is a built-in of, for
// modules to be registered with. It is closed when Run returns.
//
// Watchers of such modules are called for every task of the machine, whatever
// the scope of the source.
func (s *Source) Table() *kernel.Table {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.table
}

// capabilities declares what the source delivers; New has just shown that the
// programs load.
func capabilities(cfg *Config, half *half) source.Capabilities {
	c := source.Capabilities{Scope: cfg.scopeText()}
	events := half.support.Events()
	for k := range c.Events {
		e := &c.Events[k]
		e.Delivered = true
		e.Hook = strings.Join(events[k].Observe, "; ")
		// Of a task from before the start it is not known who created it. A
		// thread of the kernel runs no program. A path may be longer than
		// there is room for, and a cgroup gone before its path was sent.
		e.MayMiss = (taskwatch.FieldParentID | unknown | taskwatch.FieldCgroup) & taskwatch.FieldsOf(taskwatch.Kind(k))
		var why []string
		switch taskwatch.Kind(k) {
		case taskwatch.Exec:
			e.MayMiss |= taskwatch.FieldOldExe
		case taskwatch.Exit:
			e.MayMiss |= taskwatch.FieldMaxRSS | taskwatch.FieldReadBytes | taskwatch.FieldWriteBytes
		case taskwatch.Free:
			e.MayMiss |= taskwatch.FieldVal | taskwatch.FieldLifetime | taskwatch.FieldPID | taskwatch.FieldTID | taskwatch.FieldStart
			why = append(why, "a free that the kernel does not report is inferred")
		}
		if idKinds.Has(taskwatch.Kind(k)) {
			if half.bySyscall() {
				e.Hook = "tp_btf/sys_exit; tp_btf/sched_process_exec"
			} else if gaps := events[k].Why; gaps != "" {
				why = append(why, gaps)
			}
		}
		if taskwatch.Kind(k).Vetoable() {
			why = append(why, "events arrive after the fact; only modules in the kernel can deny")
		}
		if !cgroups() {
			e.Missing |= taskwatch.FieldCgroup
			why = append(why, "the kernel has no cgroups")
		}
		e.Why = strings.Join(why, "; ")
	}
	return c
}

// cgroups reports whether tasks have a place in a hierarchy of cgroups.
func cgroups() bool {
	b, err := procfs.ReadOwn("cgroup")
	return err == nil && len(b) > 0
}

// clocks turns the kernel's times into the others.
type clocks struct {
	wall, boot int64 // what to add to CLOCK_MONOTONIC
	at         int64
}

// time returns the wall clock's time of a monotonic one.
func (c *clocks) time(mono int64) time.Time { return time.Unix(0, mono+c.wall) }

func now() int64 { return sys.Monotonic() }

// maxStep is how much the wall clock may differ from what it was taken to be before
// that is corrected: more than what may pass between the readings of two clocks.
const maxStep = int64(10 * time.Millisecond)

// follow reads the clocks again if they were set, or if a second has passed.
func (c *clocks) follow(at int64) {
	step := time.Now().UnixNano() - at - c.wall
	if at-c.at > int64(time.Second) || max(step, -step) > maxStep {
		c.set()
	}
}

// set reads the clocks, which drift (wall) or jump (boot, after a suspend).
func (c *clocks) set() {
	c.at = now()
	c.wall = time.Now().UnixNano() - c.at
	c.boot = sys.BootTime() - c.at
}

func newRun() uint64 { return rand.Uint64N(1<<40-1) + 1 }
