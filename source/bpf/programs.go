package bpf

import (
	"errors"
	"fmt"
	"io"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/link"
)

// load loads programs that are not the table's. The library has descriptors of its own
// of all maps that it is given, in each load: these are those that the programs use, for
// of all, in many loads at the same time, there would be more than some may open.
func (k *half) load(names ...string) (*ebpf.Collection, error) {
	all := k.beside.Spec
	spec := &ebpf.CollectionSpec{
		Programs: map[string]*ebpf.ProgramSpec{}, Maps: map[string]*ebpf.MapSpec{}, Types: all.Types, ByteOrder: all.ByteOrder,
	}
	there := map[string]*ebpf.Map{}
	for _, name := range names {
		p := all.Programs[name].Copy()
		spec.Programs[name] = p
		for i := range p.Instructions {
			ins := &p.Instructions[i]
			used := ins.Reference()
			if !ins.IsLoadFromMap() || there[used] != nil {
				continue
			}
			m := all.Maps[used].Copy()
			there[used] = k.beside.Maps[used]
			m.MaxEntries = there[used].MaxEntries()
			spec.Maps[used] = m
		}
	}
	return ebpf.NewCollectionWithOptions(spec, ebpf.CollectionOptions{MapReplacements: there, Cache: k.beside.Types})
}

// loadIter loads the task iterator, if it is not there. That of a command is only
// needed after a loss: at the start its tree is empty.
func (k *half) loadIter() error {
	if k.iter != nil {
		return nil
	}
	coll, err := k.load(streamProgIterTasks)
	if err != nil {
		return err
	}
	defer coll.Close() // the link holds the program
	if k.iter, err = link.AttachIter(link.IterOptions{Program: coll.Programs[streamProgIterTasks]}); err != nil {
		return fmt.Errorf("attach the task iterator: %w", err)
	}
	return nil
}

// loadSysExit loads on_sys_exit, if it is not there.
func (k *half) loadSysExit() error {
	if k.sysExit != nil {
		return nil
	}
	coll, err := k.load(streamProgOnSysExit)
	if err != nil {
		return err
	}
	k.sysExit = coll.DetachProgram(streamProgOnSysExit)
	coll.Close()
	return nil
}

// hold has the kernel kill the tree when this process ends, where the kernel
// can: since Linux 6.16.
func (k *half) hold() error {
	coll, err := k.load(streamProgOnOwnExit)
	if err != nil {
		return nil // the death of the thread that starts the command has to do
	}
	defer coll.Close()
	k.ownExit, err = link.AttachTracing(link.TracingOptions{Program: coll.Programs[streamProgOnOwnExit]})
	return err
}

// followCgroup has the kernel side see it when the cgroup is made again. Where
// it cannot, the reader does, a little later.
func (k *half) followCgroup() error {
	coll, err := k.load(streamProgOnCgroupMkdir)
	if err != nil {
		return nil
	}
	defer coll.Close()
	if l, err := link.AttachTracing(link.TracingOptions{Program: coll.Programs[streamProgOnCgroupMkdir]}); err == nil {
		k.mkdir = l
	}
	return nil
}

// iterate returns the records of all tasks in scope that exist now. Of a
// process's tree it finds more with each pass, as long as there are more.
func (k *half) iterate() ([]byte, error) {
	if err := k.loadIter(); err != nil {
		return nil, explain(err)
	}
	for {
		entered := k.control.Load(controlEntered)
		rd, err := k.iter.Open()
		if err != nil {
			return nil, explain(fmt.Errorf("read the task iterator: %w", err))
		}
		b, err := io.ReadAll(rd)
		if err = errors.Join(err, rd.Close()); err != nil {
			return nil, fmt.Errorf("bpf: read the task iterator: %w", err)
		}
		if k.control.Load(controlEntered) == entered {
			return b, nil
		}
	}
}

// tasks calls fn with a record of every task in scope that exists now.
func (k *half) tasks(fn func(*record)) error {
	b, err := k.iterate()
	if err != nil {
		return err
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
