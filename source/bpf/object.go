package bpf

import (
	_ "embed"
	"fmt"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/btf"
	"github.com/cilium/ebpf/features"
)

//go:embed stream_probe.o
var probingStream []byte

// castsSince is the version of the kernel that has bpf_rdonly_cast, but for tests.
var castsSince uint32 = 6<<16 | 2<<8

// streamObject returns the form of the kernel side that the running kernel takes:
// that which loads what it reads, or that which calls a helper for it.
func streamObject() []byte {
	if version, err := features.LinuxVersionCode(); err != nil || version < castsSince {
		return probingStream
	}
	return _StreamBytes
}

// setNumberType tells the form that loads which type it may take each address for.
func setNumberType(spec *ebpf.CollectionSpec, types *btf.Cache) error {
	v := spec.Variables[streamVarNumberType]
	if v == nil {
		return nil
	}
	kernel, err := types.Kernel()
	if err != nil {
		return err
	}
	var number *btf.Struct
	if err := kernel.TypeByName("timespec64", &number); err != nil {
		return fmt.Errorf("the kernel's type information: timespec64: %w", err)
	}
	id, err := kernel.TypeID(number)
	if err != nil {
		return err
	}
	return v.Set(uint32(id))
}
