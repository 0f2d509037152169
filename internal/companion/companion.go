// Package companion has what module/kernel and the source of a built-in hand to
// each other in the terms of the BPF library, which nobody else gets to see.
package companion

import (
	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/btf"
)

// Programs are those of a built-in's object that are no watchers: its source
// loads and attaches them, beside the table.
type Programs struct {
	// Edit may change maps and variables before they are created: the stream
	// sizes its ring buffer here.
	Edit func(*ebpf.CollectionSpec) error

	// Made are maps that are there before the load, by name. The module has its
	// own descriptors of them.
	Made map[string]*ebpf.Map

	// Spec is the object, which is not to be changed, and Maps are the module's
	// by name, which are valid until it is closed. The load of the module sets
	// both.
	Spec *ebpf.CollectionSpec
	Maps map[string]*ebpf.Map

	// Types is the kernel's type information, which takes longer to read than
	// to use. It is safe for concurrent use.
	Types *btf.Cache
}
