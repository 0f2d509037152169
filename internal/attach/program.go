package attach

import (
	"errors"
	"fmt"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"
	"github.com/cilium/ebpf/btf"
	bpflink "github.com/cilium/ebpf/link"

	"github.com/taskwatch/taskwatch/internal/plan"
)

// Program loads a program for a hook. types has the kernel's type information.
//
// A failed load is repeated with the verifier's full log only where that is
// short: on a loop without end it has a line for each of a million steps.
func Program(name string, h *plan.Hook, insns asm.Instructions, types *btf.Cache) (*ebpf.Program, error) {
	spec := &ebpf.ProgramSpec{
		Name: name, Type: h.Type, AttachType: h.Attach, AttachTo: h.Target,
		Instructions: insns, License: "GPL",
	}
	if h.Type == ebpf.TracePoint {
		spec.AttachTo = "" // a tracepoint program names no target
	}
	p, err := Spec(spec, types, ebpf.LogLevelStats)
	var ve *ebpf.VerifierError
	if errors.As(err, &ve) && steps(ve.Log) <= 20000 {
		p, err = Spec(spec, types, ebpf.LogLevelBranch)
	}
	return p, err
}

// Spec loads one program by way of a collection, which is how the library
// lets us reuse the kernel's type information: reading it takes longer than
// everything else.
func Spec(spec *ebpf.ProgramSpec, types *btf.Cache, level ebpf.LogLevel) (*ebpf.Program, error) {
	kernel, err := types.Kernel()
	if err != nil {
		return nil, err
	}
	const key = "dispatcher"
	coll, err := ebpf.NewCollectionWithOptions(
		&ebpf.CollectionSpec{Programs: map[string]*ebpf.ProgramSpec{key: spec}},
		ebpf.CollectionOptions{Cache: types, Programs: ebpf.ProgramOptions{KernelTypes: kernel, LogLevel: level}})
	if err != nil {
		return nil, err
	}
	return coll.DetachProgram(key), nil
}

// steps returns how many instructions the verifier looked at.
func steps(log []string) int {
	for _, line := range log {
		var n int
		if _, err := fmt.Sscanf(line, "processed %d insns", &n); err == nil {
			return n
		}
	}
	return 0
}

// To attaches a program to a hook that is no tracepoint of a system call.
func To(h *plan.Hook, p *ebpf.Program) (bpflink.Link, error) {
	if h.Type == ebpf.LSM {
		return bpflink.AttachLSM(bpflink.LSMOptions{Program: p})
	}
	return bpflink.AttachTracing(bpflink.TracingOptions{Program: p, AttachType: h.Attach})
}
