package probe

import (
	"errors"
	"fmt"
	"runtime"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"
	"github.com/cilium/ebpf/btf"
	"golang.org/x/sys/unix"

	"github.com/taskwatch/taskwatch/internal/attach"
	"github.com/taskwatch/taskwatch/internal/plan"
)

// ErrNoTrampolines says that programs cannot be attached to functions of the
// kernel, nor to its security hooks.
var ErrNoTrampolines = errors.New("the kernel has no BPF trampolines, which arm64 has since Linux 6.4")

// Try attaches to a hook a program that counts its calls and lets everything
// happen, calls pass, which has the kernel pass the hook, and looks at the count.
// It returns nil if the program was called, [ErrNoEffect] if it was not, and else
// why it could not be loaded or attached.
func Try(types *btf.Cache, h *plan.Hook, pass func() error) error {
	ran, err := newCounter()
	if err != nil {
		return err
	}
	defer ran.Close()
	return try("", ran, types, h, pass)
}

func newCounter() (*ebpf.Map, error) {
	ran, err := ebpf.NewMap(&ebpf.MapSpec{Name: "tw_probe", Type: ebpf.Array, KeySize: 4, ValueSize: 8, MaxEntries: 1})
	if err != nil {
		return nil, fmt.Errorf("create a map: %w", err)
	}
	return ran, nil
}

// try is Try with a program of that name, and a counter, which may have counted
// already.
func try(name string, ran *ebpf.Map, types *btf.Cache, h *plan.Hook, pass func() error) error {
	p, err := attach.Program(name, h, asm.Instructions{
		asm.LoadMapValue(asm.R1, ran.FD(), 0),
		asm.Mov.Imm(asm.R2, 1),
		asm.AddAtomic.Mem(asm.R1, asm.R2, asm.DWord, 0),
		asm.Mov.Imm(asm.R0, 0),
		asm.Return(),
	}, types)
	if err != nil {
		return trampolines(h, err)
	}
	defer p.Close()
	l, err := attach.To(h, p)
	if err != nil {
		return trampolines(h, err)
	}
	defer l.Close()
	var before, after uint64
	if err := ran.Lookup(uint32(0), &before); err != nil {
		return err
	}
	if err := pass(); err != nil {
		return err
	}
	if err := ran.Lookup(uint32(0), &after); err != nil {
		return err
	}
	if after == before {
		return ErrNoEffect
	}
	return nil
}

// trampolines returns [ErrNoTrampolines] where err, of an attempt with a hook, means
// that, and else err.
func trampolines(h *plan.Hook, err error) error {
	const notSupported = unix.Errno(524) // ENOTSUPP, which the kernel should keep to itself
	if runtime.GOARCH == "arm64" && h.Attach != ebpf.AttachTraceRawTp && (errors.Is(err, notSupported) || errors.Is(err, ebpf.ErrNotSupported)) {
		return ErrNoTrampolines
	}
	return err
}
