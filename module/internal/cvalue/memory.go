package cvalue

import (
	"encoding/binary"
	"fmt"
	"math"
	"strconv"
	"strings"

	"github.com/cilium/ebpf/btf"
)

// Type is the type of a variable.
type Type = btf.Type

// Size returns the bytes of a type that [ParseType] has returned.
func Size(t Type) int {
	n, err := btf.Sizeof(t)
	if err != nil {
		return -1
	}
	return n
}

// Memory is where variables lie.
type Memory struct {
	order binary.ByteOrder

	// readText is that of a module in the sandbox, and else nil.
	readText func(address, size uint32) ([]byte, bool)
}

// Kernel is the memory of the kernel.
var Kernel = &Memory{order: binary.NativeEndian}

// Sandbox is the memory of a module in the sandbox, of which read returns bytes. What has
// no meaning outside of the module cannot be set there.
func Sandbox(read func(address, size uint32) ([]byte, bool)) *Memory {
	return &Memory{order: binary.LittleEndian, readText: read}
}

// What [ParseType] makes floats of, which the kernel has none of: numbers with a fraction,
// strings of Go, and what has no meaning outside of the module.
const (
	float32Name = "f32"
	float64Name = "f64"

	// An address and a length of 64 bits each.
	goString     = "string"
	goStringSize = 16
)

// maxText is how much is read of a string that lies beside its variable.
const maxText = 4096

// described reads a number with a fraction, or what a string of Go has.
func (in *Memory) described(t *btf.Float, b []byte) (any, bool) {
	switch {
	case in.readText == nil || len(b) != int(t.Size):
	case t.Name == float32Name:
		return finite(float64(math.Float32frombits(in.order.Uint32(b))))
	case t.Name == float64Name:
		return finite(math.Float64frombits(in.order.Uint64(b)))
	case t.Name == goString && len(b) == goStringSize:
		address, n := in.order.Uint64(b), in.order.Uint64(b[goStringSize/2:])
		if address > math.MaxUint32 {
			break
		}
		text, ok := in.readText(uint32(address), uint32(min(n, maxText)))
		return strings.ToValidUTF8(string(text), "\ufffd"), ok
	}
	return nil, false
}

// finite returns a number, or text for what JSON has no numbers for.
func finite(v float64) (any, bool) {
	if math.IsNaN(v) || math.IsInf(v, 0) {
		return fmt.Sprint(v), true
	}
	return v, true
}

// writeDescribed writes a number with a fraction. Anything else can only be zero, as it is
// shown then.
func (in *Memory) writeDescribed(t *btf.Float, b []byte, v any) error {
	text, ok := scalar(v)
	if t.Name == float32Name || t.Name == float64Name {
		n, err := strconv.ParseFloat(text, 8*len(b))
		switch {
		case !ok || err != nil:
			return fmt.Errorf("%s is no value of type %s: want a number", show(v), t.Name)
		case len(b) == 4:
			in.order.PutUint32(b, math.Float32bits(float32(n)))
		default:
			in.order.PutUint64(b, math.Float64bits(n))
		}
		return nil
	}
	if !ok || text != in.Read(t, b) {
		return fmt.Errorf("what is of type %s cannot be set from outside, but for %s", t.Name, show(in.Read(t, b)))
	}
	return nil
}
