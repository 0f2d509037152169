package bpf

import (
	"syscall"
	"time"

	"github.com/taskwatch/taskwatch"
	"github.com/taskwatch/taskwatch/module/kernel"
)

// Report is one error of a watcher that runs in the kernel.
type Report struct {
	kernel.WatcherInfo
	Errno  syscall.Errno
	Veto   bool // it refused the operation, or would have but for DryRun
	DryRun bool
	Time   time.Time
	MonoNS int64

	// Task is the task that the watcher was called with. It is borrowed.
	Task *taskwatch.Task

	// initIsEarly says that init is told when the new task is still a copy
	// of its creator, with the creator's pid.
	initIsEarly bool
}

// Emitted is a record that a module in the kernel has sent.
type Emitted struct {
	Module string
	Data   []byte // borrowed
	Time   time.Time
	MonoNS int64
	Task   *taskwatch.Task // in whose context it was sent; borrowed
}

func (st *stream) report(r *record) {
	fn := st.src.cfg.OnReport
	if fn == nil {
		return
	}
	who, ok := st.src.table.Watcher(uint32(r.val))
	if !ok {
		return
	}
	flags := uint32(r.val >> 32)
	fn(Report{
		WatcherInfo: who, Errno: syscall.Errno(r.creator),
		Veto: flags&kernel.ReportVeto != 0, DryRun: flags&kernel.ReportDryRun != 0,
		Time: st.clocks.time(r.timeNS), MonoNS: r.timeNS, Task: st.context(r), initIsEarly: st.kernel.initIsEarly(),
	})
}

func (st *stream) emitted(r *record) {
	fn := st.src.cfg.OnEmit
	if fn == nil {
		return
	}
	if name, ok := st.src.table.ModuleByID(uint32(r.val)); ok {
		fn(Emitted{Module: name, Data: r.argv, Time: st.clocks.time(r.timeNS), MonoNS: r.timeNS, Task: st.context(r)})
	}
}

// context returns the task of a record that is no event. One that is not in
// the table, because it is out of scope or nothing is watched, is described by
// the record alone.
func (st *stream) context(r *record) *taskwatch.Task {
	if e := st.table.byAddr[r.task]; e != nil {
		return &e.task
	}
	return &taskwatch.Task{
		PID: r.pid, TID: r.tid, PPID: r.ppid, StartNS: r.start, Comm: string(r.comm), UID: r.uid, GID: r.gid,
	}
}
