package machine

import (
	"encoding/binary"

	"github.com/cilium/ebpf/asm"
)

// number reads a number as this machine has it in memory.
func number(b []byte) uint64 {
	switch len(b) {
	case 1:
		return uint64(b[0])
	case 2:
		return uint64(binary.NativeEndian.Uint16(b))
	case 4:
		return uint64(binary.NativeEndian.Uint32(b))
	}
	return binary.NativeEndian.Uint64(b)
}

// bytesOf returns the bytes of a number of that size.
func bytesOf(v uint64, size int) []byte {
	b := make([]byte, 8)
	switch size {
	case 1:
		b[0] = byte(v)
	case 2:
		binary.NativeEndian.PutUint16(b, uint16(v))
	case 4:
		binary.NativeEndian.PutUint32(b, uint32(v))
	default:
		binary.NativeEndian.PutUint64(b, v)
	}
	return b[:size]
}

// access runs a load or a store.
func (m *Machine) access(ins *asm.Instruction, fr *frame) error {
	op := ins.OpCode
	size := op.Size().Sizeof()
	if op.Class() == asm.LdXClass {
		b, err := m.Memory.Read(fr.regs[ins.Src]+uint64(ins.Offset), size)
		if err == errFault {
			fr.regs[ins.Dst] = 0 // as the kernel does
			return nil
		}
		if err != nil {
			return err
		}
		v := number(b)
		if op.Mode() == asm.MemSXMode {
			unused := 64 - 8*size
			v = uint64(int64(v<<unused) >> unused)
		}
		fr.regs[ins.Dst] = v
		return nil
	}
	to := fr.regs[ins.Dst] + uint64(ins.Offset)
	switch {
	case op.Class() == asm.StClass:
		return m.Memory.Write(to, bytesOf(uint64(ins.Constant), size))
	case op.Mode() == asm.AtomicMode:
		return m.atomic(ins, fr, to, size)
	}
	return m.Memory.Write(to, bytesOf(fr.regs[ins.Src], size))
}

// atomic runs what one processor does while no other can look.
func (m *Machine) atomic(ins *asm.Instruction, fr *frame, to uint64, size int) error {
	b, err := m.Memory.Read(to, size)
	if err != nil {
		return err
	}
	old, with := number(b), fr.regs[ins.Src]
	fetch := true
	var v uint64
	switch op := ins.OpCode.AtomicOp(); op {
	case asm.AddAtomic, asm.FetchAdd:
		v, fetch = old+with, op == asm.FetchAdd
	case asm.AndAtomic, asm.FetchAnd:
		v, fetch = old&with, op == asm.FetchAnd
	case asm.OrAtomic, asm.FetchOr:
		v, fetch = old|with, op == asm.FetchOr
	case asm.XorAtomic, asm.FetchXor:
		v, fetch = old^with, op == asm.FetchXor
	case asm.Xchg:
		v = with
	case asm.CmpXchg:
		expected := fr.regs[asm.R0]
		if size == 4 {
			expected = uint64(uint32(expected))
		}
		fr.regs[asm.R0] = old
		if old != expected {
			return nil
		}
		return m.Memory.Write(to, bytesOf(with, size))
	default:
		return Unsupported("the instruction %v is not known", *ins)
	}
	if fetch {
		fr.regs[ins.Src] = old
	}
	return m.Memory.Write(to, bytesOf(v, size))
}
