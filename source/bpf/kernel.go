package bpf

import (
	"errors"
	"fmt"
	"io"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/link"
	"golang.org/x/sys/unix"

	"github.com/taskwatch/taskwatch"
	"github.com/taskwatch/taskwatch/internal/sys"
)

// kernel is the half of the source that is loaded into the kernel.
type kernel struct {
	coll    *ebpf.Collection
	ring    *sys.RingBuffer
	control *sys.SharedWords
	links   map[string]link.Link // by program
	iter    *link.Iter
}

// The words of struct control in c/stream.bpf.c.
const (
	controlKinds = iota
	controlArmed
	controlLost
	controlDropped
	controlSeed
)

// What wakes the reader up.
const (
	armedNot  = iota
	armedFull // the buffer being half full of what it had better read
	armedAny  // any record
)

// loadKernel loads everything and attaches nothing.
func loadKernel(cfg *Config) (*kernel, error) {
	spec, err := loadStream()
	if err != nil {
		return nil, fmt.Errorf("bpf: %w", err)
	}
	spec.Maps[streamMapRing].MaxEntries = uint32(cfg.BufferSize)
	vars := map[string]any{
		streamVarScope:         cfg.scope(),
		streamVarScopePid:      int32(cfg.PID),
		streamVarWakeBytes:     uint32(cfg.BufferSize / 4),
		streamVarUidSyscalls:   bitSet(unix.SYS_SETUID, unix.SYS_SETREUID, unix.SYS_SETRESUID, unix.SYS_SETFSUID),
		streamVarGidSyscalls:   bitSet(unix.SYS_SETGID, unix.SYS_SETREGID, unix.SYS_SETRESGID, unix.SYS_SETFSGID),
		streamVarUidSyscalls32: bitSet(23, 70, 138, 164, 203, 208, 213, 215), // setuid, setreuid, setfsuid, setresuid, and with suffix 32
		streamVarGidSyscalls32: bitSet(46, 71, 139, 170, 204, 210, 214, 216),
	}
	if cfg.Cgroup != "" {
		id, err := cgroupID(cfg.Cgroup)
		if err != nil {
			return nil, err
		}
		vars[streamVarScopeCgroup] = id
	}
	for name, value := range vars {
		if err := spec.Variables[name].Set(value); err != nil {
			return nil, fmt.Errorf("bpf: set %s: %w", name, err)
		}
	}
	k := &kernel{links: make(map[string]link.Link)}
	if k.coll, err = ebpf.NewCollection(spec); err != nil {
		return nil, explain(err)
	}
	if err := k.open(cfg); err != nil {
		return nil, errors.Join(err, k.close())
	}
	return k, nil
}

func (k *kernel) open(cfg *Config) (err error) {
	if k.ring, err = sys.MapRingBuffer(k.coll.Maps[streamMapRing].FD(), cfg.BufferSize); err != nil {
		return err
	}
	if k.control, err = sys.MapSharedWords(k.coll.Maps[".bss"].FD()); err != nil {
		return err
	}
	if k.iter, err = link.AttachIter(link.IterOptions{Program: k.coll.Programs[streamProgIterTasks]}); err != nil {
		return explain(fmt.Errorf("attach the task iterator: %w", err))
	}
	return nil
}

// bitSet returns the set of the given numbers as the programs read it.
func bitSet(numbers ...int) (set [8]uint64) {
	for _, n := range numbers {
		set[n/64] |= 1 << (n % 64)
	}
	return set
}

// hooks are the programs to attach while one of some kinds is watched.
var hooks = []struct {
	program string
	kinds   taskwatch.Kinds
}{
	{streamProgOnExit, taskwatch.AllKinds}, // first: a task seen at its clone is seen at its exit
	{streamProgOnExec, taskwatch.AllKinds},
	{streamProgOnNewtask, taskwatch.AllKinds},
	{streamProgOnFree, taskwatch.KindsOf(taskwatch.Free)},
	{streamProgOnSysExit, taskwatch.KindsOf(taskwatch.UID, taskwatch.GID)},
}

// watch attaches what the given kinds need and detaches the rest. fresh says
// that something was attached that tells what the table does not know yet.
func (k *kernel) watch(kinds taskwatch.Kinds) (fresh bool, err error) {
	k.control.Store(controlKinds, uint32(kinds))
	for _, h := range hooks {
		l, attached := k.links[h.program]
		wanted := h.kinds&kinds != 0
		switch {
		case wanted && !attached:
			l, err := link.AttachTracing(link.TracingOptions{Program: k.coll.Programs[h.program]})
			if err != nil {
				return fresh, explain(fmt.Errorf("attach %s: %w", h.program, err))
			}
			k.links[h.program] = l
			fresh = true
		case !wanted && attached:
			delete(k.links, h.program)
			if err := l.Close(); err != nil {
				return fresh, fmt.Errorf("bpf: detach %s: %w", h.program, err)
			}
		}
	}
	return fresh, nil
}

// tasks calls fn with a record of every task in scope that exists now.
func (k *kernel) tasks(fn func(*record)) error {
	rd, err := k.iter.Open()
	if err != nil {
		return explain(fmt.Errorf("read the task iterator: %w", err))
	}
	defer rd.Close()
	b, err := io.ReadAll(rd)
	if err != nil {
		return fmt.Errorf("bpf: read the task iterator: %w", err)
	}
	var r record
	for len(b) > 0 {
		if err := r.decode(b); err != nil {
			return err
		}
		fn(&r)
		b = b[dataSize+len(r.exe)+len(r.cwd)+len(r.argv):]
	}
	return nil
}

// losses returns, by kind and CPU, how many records found no room.
func (k *kernel) losses() (n [numRecordKinds][]uint64, err error) {
	for kind := range n {
		if err := k.coll.Maps[streamMapLosses].Lookup(uint32(kind), &n[kind]); err != nil {
			return n, fmt.Errorf("bpf: read the loss counters: %w", err)
		}
	}
	return n, nil
}

// detach takes the programs off their tracepoints; what they have sent stays
// readable.
func (k *kernel) detach() error {
	var errs []error
	for name, l := range k.links {
		errs = append(errs, l.Close())
		delete(k.links, name)
	}
	return errors.Join(errs...)
}

func (k *kernel) close() error {
	errs := []error{k.detach()}
	if k.iter != nil {
		errs = append(errs, k.iter.Close())
	}
	if k.control != nil {
		errs = append(errs, k.control.Close())
	}
	if k.ring != nil {
		errs = append(errs, k.ring.Close())
	}
	k.coll.Close()
	return errors.Join(errs...)
}
