package doctor

import (
	"bytes"
	"context"
	_ "embed"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strconv"
	"sync/atomic"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/taskwatch/taskwatch"
	"github.com/taskwatch/taskwatch/internal/features"
	"github.com/taskwatch/taskwatch/module/kernel"
	"github.com/taskwatch/taskwatch/source"
	"github.com/taskwatch/taskwatch/source/auto"
	"github.com/taskwatch/taskwatch/source/bpf"
	"github.com/taskwatch/taskwatch/source/connector"
	"github.com/taskwatch/taskwatch/source/ptrace"
)

// What is tried here concerns processes that doctor has started, and nobody
// else.

//go:embed doctor.o
var doctorObject []byte

// denial is the error that doctor denies with: one that nothing else gives.
const denial = unix.EXFULL

// tryTime bounds one attempt, which takes a second where the machine is not busy.
// The test sets it: machines that are emulated on a busy one take minutes.
var tryTime = 2 * time.Minute

// errBusy says that nothing was found out.
var errBusy = errors.New("the machine is too busy: the trial did not end")

// busy tells an attempt whose time was over from one that has failed.
func busy(ctx context.Context, err error) error {
	if err == nil || !errors.Is(ctx.Err(), context.DeadlineExceeded) {
		return err
	}
	return fmt.Errorf("%w within %v (%w)", errBusy, tryTime, err)
}

// lateTime is how long what follows the end of a process may take.
const lateTime = 10 * time.Second

// tally counts events by kind. It is safe for concurrent use.
type tally [taskwatch.NumKinds]atomic.Uint64

func (t *tally) module() *taskwatch.Module {
	m := &taskwatch.Module{Name: "doctor"}
	for _, k := range taskwatch.AllKinds.List() {
		m.Watch(k, func(*taskwatch.Event) error {
			t[k].Add(1)
			return nil
		}, taskwatch.Observe())
	}
	return m
}

// trial is what came of an attempt.
type trial struct {
	caps    source.Capabilities
	seen    tally
	lost    atomic.Bool // the source has told of lost events, which may be the child's
	done    deeds       // what the child did while it was watched
	support *kernel.Support

	// inKernel counts what a module in the kernel saw.
	inKernel [taskwatch.NumKinds]uint64

	// denied is what the child could do while a watcher denied everything.
	denied deeds
}

// child is doctor's own child, which waits for the word to begin.
type child struct {
	ctx   context.Context // kills it
	cmd   *exec.Cmd
	stdin io.WriteCloser
	out   bytes.Buffer
}

func startChild(ctx context.Context) (*child, error) {
	c := &child{ctx: ctx}
	c.cmd = exec.CommandContext(ctx, self)
	c.cmd.Args = childArgv(childStart)
	c.cmd.Stdout = &c.out
	c.cmd.WaitDelay = time.Second
	c.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: unix.SIGKILL}
	var err error
	if c.stdin, err = c.cmd.StdinPipe(); err != nil {
		return nil, err
	}
	if err := c.cmd.Start(); err != nil {
		return nil, busy(ctx, fmt.Errorf("start a child to watch: %w", err))
	}
	return c, nil
}

// run lets the child do its work, and returns what it did.
func (c *child) run() (deeds, error) {
	_ = c.stdin.Close() // its end is the word; a child that has gone is found by Wait
	if err := c.cmd.Wait(); err != nil {
		return nil, fmt.Errorf("the child of doctor: %w", err)
	}
	return parseDeeds(c.out.String())
}

// kill ends a child that is not needed any more. After run it does nothing.
func (c *child) kill() {
	_ = c.cmd.Process.Kill()
	_ = c.cmd.Wait()
}

// tryOutside watches a child through a source of what others start.
func tryOutside(ctx context.Context, t *trial, open func(pid int, ready func()) (source.Source, error), module *kernel.Module, c *child) (err error) {
	ready := make(chan struct{})
	src, err := open(c.cmd.Process.Pid, func() { close(ready) })
	if err != nil {
		return err
	}
	t.caps = src.Capabilities()
	var reg taskwatch.Registry
	if err := reg.Register(t.seen.module()); err != nil {
		return errors.Join(err, src.Close())
	}
	losses := taskwatch.NewSink(nil, func(it taskwatch.Item) {
		if it.Loss != nil {
			t.lost.Store(true)
		}
	})
	if err := reg.Attach(losses); err != nil {
		return errors.Join(err, src.Close())
	}
	if module != nil {
		table := src.(*bpf.Source).Table()
		if err := table.Register(module, kernel.RegisterOptions{AllowObserveOnly: true}); err != nil {
			return errors.Join(err, src.Close())
		}
	}
	ctx, cancel := context.WithCancel(ctx)
	ended := make(chan error, 1)
	go func() { ended <- src.Run(ctx, &reg) }()
	select {
	case <-ready:
		t.done, err = c.run()
		for end := time.Now().Add(lateTime); err == nil; time.Sleep(5 * time.Millisecond) {
			if module != nil {
				t.inKernel, err = counted(module)
			}
			if t.complete(module != nil) || time.Now().After(end) {
				break
			}
		}
		cancel()
		return errors.Join(err, <-ended)
	case err = <-ended:
		cancel()
		if err == nil {
			err = fmt.Errorf("the source ended before it began; %w", ctx.Err())
		}
		return err
	}
}

// complete reports whether nothing is outstanding, in the kernel if there is a
// module.
func (t *trial) complete(module bool) bool {
	for _, k := range t.caps.Kinds().List() {
		if t.expects(k) && (t.seen[k].Load() == 0 || module && t.inKernel[k] == 0) {
			return false
		}
	}
	return true
}

// expects reports whether the child did what the event tells of.
func (t *trial) expects(k taskwatch.Kind) bool { return t.done[k] == 0 }

// counted reads what the module in the kernel has seen.
func counted(m *kernel.Module) (seen [taskwatch.NumKinds]uint64, err error) {
	globals, err := m.Globals()
	if err != nil {
		return seen, err
	}
	for _, g := range globals {
		list, ok := g.Value.([]any)
		if g.Name != "seen" || !ok || len(list) != len(seen) {
			continue
		}
		for i, v := range list {
			seen[i], _ = v.(uint64)
		}
		return seen, nil
	}
	return seen, errors.New("doctor's module has no counters: this is a defect of taskwatch")
}

func loadDoctor(pid int, errno syscall.Errno) (*kernel.Module, error) {
	o, err := kernel.Parse("doctor", doctorObject)
	if err != nil {
		return nil, err
	}
	return o.Load(kernel.LoadOptions{Params: map[string]string{
		"pid": strconv.Itoa(pid), "deny": strconv.Itoa(int(errno)),
	}})
}

func tryBPF(ctx context.Context) (*trial, error) {
	if r := features.BPF.Probe(); r.Answer != features.Yes {
		return nil, errors.New(r.Reason)
	}
	t := new(trial)
	open := func(pid int, ready func()) (source.Source, error) {
		return openFor(bpf.Name, pid, ready)
	}
	err := withChild(ctx, 0, func(ctx context.Context, c *child, m *kernel.Module) error {
		return tryOutside(ctx, t, open, m, c)
	})
	if err != nil {
		return nil, err
	}
	return t, withChild(ctx, denial, func(_ context.Context, c *child, m *kernel.Module) (err error) {
		if t.support, err = kernel.Probe(); err != nil {
			return err
		}
		table, err := kernel.NewTable(kernel.Config{Support: t.support, OwnerAlone: true}) // the child is this program
		if err != nil {
			return err
		}
		defer func() { err = errors.Join(err, table.Close()) }()
		if err := table.Register(m, kernel.RegisterOptions{AllowObserveOnly: true}); err != nil {
			return err
		}
		t.denied, err = c.run()
		return err
	})
}

// openFor opens a source for one process and its descendants.
func openFor(name string, pid int, ready func()) (source.Source, error) {
	src, _, err := auto.Open(name, auto.Config{Config: bpf.Config{PID: pid, OnReady: ready}})
	return src, err
}

// withChild calls fn with a child and a module for it.
func withChild(ctx context.Context, errno syscall.Errno, fn func(context.Context, *child, *kernel.Module) error) (err error) {
	ctx, cancel := context.WithTimeout(ctx, tryTime)
	defer cancel()
	c, err := startChild(ctx)
	if err != nil {
		return err
	}
	defer c.kill()
	m, err := loadDoctor(c.cmd.Process.Pid, errno)
	if err != nil {
		return err
	}
	err = fn(ctx, c, m)
	return busy(ctx, errors.Join(err, m.Close()))
}

func tryConnector(ctx context.Context) (*trial, error) {
	ctx, cancel := context.WithTimeout(ctx, tryTime)
	defer cancel()
	c, err := startChild(ctx)
	if err != nil {
		return nil, err
	}
	defer c.kill()
	t := new(trial)
	open := func(pid int, ready func()) (source.Source, error) {
		return openFor(connector.Name, pid, ready)
	}
	return t, busy(ctx, tryOutside(ctx, t, open, nil, c))
}

func tryPtrace(ctx context.Context) (*trial, error) {
	t := new(trial)
	var err error
	if t.done, err = trace(ctx, t, t.seen.module()); err != nil {
		return nil, err
	}
	guard := &taskwatch.Module{Name: "doctor"}
	for _, k := range t.caps.VetoKinds().List() {
		guard.Watch(k, denyChild)
	}
	t.denied, err = trace(ctx, t, guard)
	return t, err
}

// denyChild denies what the child does itself.
func denyChild(ev *taskwatch.Event) error {
	switch {
	case ev.Kind == taskwatch.Init && ev.Val&unix.CLONE_THREAD != 0:
		return nil // Go programs die of it
	case ev.Kind == taskwatch.Exec && (len(ev.Task.Argv) != 3 || ev.Task.Argv[2] != childIDs):
		return nil
	}
	return denial
}

// trace runs a child under ptrace, with a module.
func trace(ctx context.Context, t *trial, m *taskwatch.Module) (_ deeds, err error) {
	ctx, cancel := context.WithTimeout(ctx, tryTime)
	defer cancel()
	null, err := os.OpenFile(os.DevNull, os.O_RDWR, 0)
	if err != nil {
		return nil, err
	}
	defer null.Close()
	r, w, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	defer r.Close()
	defer w.Close()
	src, err := ptrace.New(ptrace.Config{Command: &source.Command{Path: self, Argv: childArgv(childStart), Stdin: null, Stdout: w, Stderr: null}})
	if err != nil {
		return nil, err
	}
	t.caps = src.Capabilities()
	var reg taskwatch.Registry
	if err := reg.Register(m); err != nil {
		return nil, err
	}
	if err := src.Run(ctx, &reg); err != nil {
		return nil, busy(ctx, err)
	}
	w.Close()
	out, err := io.ReadAll(r) // what the child writes fits into a pipe
	if err != nil {
		return nil, err
	}
	did, err := parseDeeds(string(out))
	return did, busy(ctx, err)
}
