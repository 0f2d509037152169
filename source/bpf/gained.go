package bpf

import (
	"fmt"

	"github.com/cilium/ebpf/link"
)

// watchGained attaches to the moment before an exec, or detaches: where the
// kernel has no tracepoint of its own for it, to the start of every system call.
func (k *half) watchGained(on bool) error {
	name := streamProgOnPrepareExec
	if k.support.PrepareExec != nil {
		name = streamProgOnExecEnter
	}
	return whileOn(&k.before, on, func() (link.Link, error) {
		coll, err := k.load(name)
		if err != nil {
			return nil, err
		}
		defer coll.Close() // the link holds the program
		l, err := link.AttachTracing(link.TracingOptions{Program: coll.Programs[name]})
		if err != nil {
			return nil, explain(fmt.Errorf("attach to execs for the capabilities that they gain: %w", err))
		}
		return l, nil
	})
}
