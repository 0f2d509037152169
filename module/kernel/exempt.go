package kernel

import (
	"fmt"
	"os"

	"github.com/cilium/ebpf"
	"golang.org/x/sys/unix"

	"github.com/taskwatch/taskwatch/internal/attach"
	"github.com/taskwatch/taskwatch/internal/link"
)

// exemption is who no veto stops. [Table.Exempt] adds to it.
type exemption struct{ link.Exemption }

// newExemption finds out how programs in the kernel see this process.
func newExemption(k *attach.Kernel) (_ *exemption, err error) {
	defer func() {
		if err != nil {
			err = fmt.Errorf("find out how the kernel sees this process: %w", err)
		}
	}()
	self, err := ebpf.NewMap(&ebpf.MapSpec{Name: "tw_self", Type: ebpf.Array, KeySize: 4, ValueSize: link.SelfSize, MaxEntries: 1})
	if err != nil {
		return nil, err
	}
	defer self.Close()
	p, err := attach.Spec(&ebpf.ProgramSpec{Name: "tw_self", Type: ebpf.RawTracepoint, License: "GPL", Instructions: link.WhoAmI(k.Off, self)}, k.Types, 0)
	if err != nil {
		return nil, err
	}
	defer p.Close()
	if _, err := p.Run(&ebpf.RunOptions{}); err != nil {
		return nil, err
	}
	var v link.Self
	if err := self.Lookup(uint32(0), &v); err != nil {
		return nil, err
	}
	processes, err := ebpf.NewMap(link.TaskStorage("tw_exempt"))
	if err != nil {
		return nil, err
	}
	return &exemption{link.Exemption{TGID: uint32(v.TGID), UID: uint32(v.UID), Inode: v.Inode, Processes: processes}}, nil
}

func (x *exemption) close() error {
	if x == nil {
		return nil
	}
	return x.Processes.Close()
}

// Exempt keeps all vetoes of the table from stopping a process, until it ends or
// release is called: one that is about to unload a module.
func (t *Table) Exempt(pid int) (release func(), err error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	fail := func(err error) (func(), error) {
		return nil, &Error{Op: "exempt", Err: fmt.Errorf("process %d: %w", pid, err)}
	}
	if t.closed {
		return fail(ErrClosed)
	}
	if t.exempt == nil {
		return func() {}, nil // nothing can be denied here
	}
	fd, err := unix.PidfdOpen(pid, 0)
	if err != nil {
		return fail(os.NewSyscallError("pidfd_open", err))
	}
	if err := t.exempt.Processes.Put(uint32(fd), uint32(1)); err != nil {
		unix.Close(fd)
		return fail(err)
	}
	return func() {
		t.mu.Lock()
		defer t.mu.Unlock()
		defer unix.Close(fd)
		if !t.closed {
			t.exempt.Processes.Delete(uint32(fd)) // it may have ended meanwhile
		}
	}, nil
}
