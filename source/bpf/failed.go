package bpf

import (
	"fmt"
	"strings"
	"syscall"

	"github.com/cilium/ebpf/link"
	"golang.org/x/sys/unix"

	"github.com/taskwatch/taskwatch"
)

// execveat32 are the numbers of execveat in the 32-bit tables of i386 and of ARM.
var execveat32 = map[string]int{"amd64": 358, "arm64": 387}

// watchFailed attaches to the end of every system call, or detaches.
func (k *half) watchFailed(on bool) error {
	return whileOn(&k.failed, on, func() (link.Link, error) {
		coll, err := k.load(streamProgOnExecExit)
		if err != nil {
			return nil, err
		}
		defer coll.Close() // the link holds the program
		l, err := link.AttachTracing(link.TracingOptions{Program: coll.Programs[streamProgOnExecExit]})
		if err != nil {
			return nil, explain(fmt.Errorf("attach to sys_exit for execs that fail: %w", err))
		}
		return l, nil
	})
}

// execFailed tells of an exec that failed.
func (st *runner) execFailed(r *record) {
	e := st.stateOf(r)
	st.cwd(e, r)
	st.refresh(e, r)
	if e.silent {
		return
	}
	f := &taskwatch.FailedExec{
		Errno: syscall.Errno(r.val), NoPath: r.flags&flagExeCut != 0, NoArgv: r.flags&flagArgvLeft != 0,
		Seq: st.seq + 1, Time: st.clocks.time(r.timeNS), MonoNS: r.timeNS, Source: Name,
		Task: &e.task, Missing: e.missing & taskwatch.FieldsTask,
	}
	if !f.NoPath {
		f.Path = string(r.exe)
	}
	if fd := int(int32(r.argvOff)); fd != unix.AT_FDCWD && !strings.HasPrefix(f.Path, "/") {
		f.ByFD, f.FD = true, fd
	}
	if !f.NoArgv {
		f.Argv, f.ArgvCut = splitArgs(r.argv), r.flags&flagArgvCut != 0
	}
	st.feed.Deliver(taskwatch.Item{Failed: f})
}
