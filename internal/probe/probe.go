// Package probe finds out what the running kernel lets a table of watchers do, by
// trying: it attaches programs that do nothing but count, and looks whether they
// were called. Nothing of it stays.
package probe

import (
	"errors"
	"fmt"
	"runtime"
	"sync"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/btf"
	"golang.org/x/sys/unix"

	"github.com/taskwatch/taskwatch/internal/plan"
	"github.com/taskwatch/taskwatch/internal/tracefs"
)

var (
	// ErrNoTypes says that the kernel's type information cannot be read.
	ErrNoTypes = errors.New("the kernel's type information")

	// ErrNoEffect says that a program was attached without an error and never
	// called: for LSM programs, where bpf is missing from the list of active
	// security modules (the lsm= boot parameter).
	ErrNoEffect = errors.New("attached without an error, but was never called")
)

// Table finds out what hooks a table can use. types has the kernel's type
// information, or gets it. It needs the privileges of a table.
func Table(types *btf.Cache) (*plan.Support, error) {
	s := &plan.Support{}
	var wg sync.WaitGroup
	wg.Go(func() { probeMounts(s) }) // it mostly waits
	err := probeHooks(s, types)
	wg.Wait()
	if err != nil {
		return nil, err
	}
	return s, nil
}

// probeMounts finds out what takes a mount, which the kernel waits for when it goes.
func probeMounts(s *plan.Support) {
	s.Preemption = Preemption()
	fs, err := tracefs.Open()
	if err != nil {
		s.Syscalls = err
		return
	}
	defer fs.Close()
	_, s.Syscalls = fs.ID("syscalls", "sys_exit_setuid")
}

// probeHooks finds out what the kernel's types and programs on its hooks tell.
func probeHooks(s *plan.Support, types *btf.Cache) error {
	kernel, err := types.Kernel()
	if err != nil {
		return fmt.Errorf("%w: %w", ErrNoTypes, err)
	}
	ran, err := newCounter()
	if err != nil {
		return err
	}
	defer ran.Close()
	for _, c := range []struct {
		to     *error
		typ    ebpf.ProgramType
		attach ebpf.AttachType
		target string
	}{
		{&s.LSM, ebpf.LSM, ebpf.AttachLSMMac, "task_getpgid"},
		{&s.ModifyReturn, ebpf.Tracing, ebpf.AttachModifyReturn, "security_task_getpgid"},
		{&s.FEntry, ebpf.Tracing, ebpf.AttachTraceFEntry, "security_task_getpgid"},
	} {
		err := try("tw_probe", ran, types, &plan.Hook{Type: c.typ, Attach: c.attach, Target: c.target}, getpgid)
		if errors.Is(err, unix.EPERM) { // without the library's guesses
			err = fmt.Errorf("the kernel does not allow them: %w", unix.EPERM)
		}
		*c.to = err
	}
	var td *btf.Typedef
	if err := kernel.TypeByName("btf_trace_sched_prepare_exec", &td); err != nil {
		s.PrepareExec = errors.New("this kernel has no such tracepoint: it came with Linux 6.10")
	}
	var fn *btf.Func
	if err := kernel.TypeByName("security_task_fix_setgroups", &fn); err != nil {
		s.SetGroups = errors.New("this kernel has no hook for setgroups; Linux 6.0 added it")
	}
	return nil
}

// getpgid passes the hooks in question.
func getpgid() error {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	if _, err := unix.Getpgid(unix.Gettid()); err != nil {
		return fmt.Errorf("getpgid: %w", err)
	}
	return nil
}
