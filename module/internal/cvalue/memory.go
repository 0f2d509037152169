package cvalue

import (
	"encoding/binary"
	"strings"

	"github.com/cilium/ebpf/btf"
)

// Type is the type of a variable.
type Type = btf.Type

// Memory is where variables lie.
type Memory struct {
	order binary.ByteOrder

	// readText is that of a module in the sandbox, and else nil.
	readText func(address, size uint32) ([]byte, bool)
}

// Kernel is the memory of the kernel.
var Kernel = &Memory{order: binary.NativeEndian}

// Sandbox is the memory of a module in the sandbox, of which read returns bytes. What is
// [Opaque] there cannot be set.
func Sandbox(read func(address, size uint32) ([]byte, bool)) *Memory {
	return &Memory{order: binary.LittleEndian, readText: read}
}

// maxText is how much is read of a string that lies beside its variable.
const maxText = 4096

// text reads what a string of Go has: its bytes are elsewhere in the memory.
func (in *Memory) text(t *btf.Float, b []byte) (string, bool) {
	if in.readText == nil || t.Name != goString || len(b) != goStringSize {
		return "", false
	}
	address, n := in.order.Uint64(b), in.order.Uint64(b[goStringSize/2:])
	if address > 1<<32-1 {
		return "", false
	}
	text, ok := in.readText(uint32(address), uint32(min(n, maxText)))
	return strings.ToValidUTF8(string(text), "\ufffd"), ok
}

// The strings of Go, for WebAssembly: an address and a length of 64 bits each.
const (
	goString     = "string"
	goStringSize = 16
)
