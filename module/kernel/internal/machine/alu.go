package machine

import (
	"encoding/binary"
	"math/bits"

	"github.com/cilium/ebpf/asm"
)

// compute returns the result of an operation on 64 bits, or false if there is no
// such operation. Dividing by 0 gives 0, and the rest of that is the dividend.
func compute(op asm.ALUOp, a, b uint64) (uint64, bool) {
	switch op {
	case asm.Div:
		if b == 0 {
			return 0, true
		}
		return a / b, true
	case asm.Mod:
		if b == 0 {
			return a, true
		}
		return a % b, true
	case asm.SDiv:
		return signedDivide(int64(a), int64(b)), true
	case asm.SMod:
		if b == 0 {
			return a, true
		}
		return a - signedDivide(int64(a), int64(b))*b, true
	case asm.LSh:
		return a << (b & 63), true
	case asm.RSh:
		return a >> (b & 63), true
	case asm.ArSh:
		return uint64(int64(a) >> (b & 63)), true
	}
	return computeAny(op, a, b)
}

// compute32 is compute on 32 bits; the upper half of the result is 0.
func compute32(op asm.ALUOp, a, b uint32) (uint64, bool) {
	switch op {
	case asm.Div:
		if b == 0 {
			return 0, true
		}
		return uint64(a / b), true
	case asm.Mod:
		if b == 0 {
			return uint64(a), true
		}
		return uint64(a % b), true
	case asm.SDiv:
		return uint64(uint32(signedDivide(int64(int32(a)), int64(int32(b))))), true
	case asm.SMod:
		if b == 0 {
			return uint64(a), true
		}
		return uint64(a - uint32(signedDivide(int64(int32(a)), int64(int32(b))))*b), true
	case asm.LSh:
		return uint64(a << (b & 31)), true
	case asm.RSh:
		return uint64(a >> (b & 31)), true
	case asm.ArSh:
		return uint64(uint32(int32(a) >> (b & 31))), true
	}
	v, ok := computeAny(op, uint64(a), uint64(b))
	return uint64(uint32(v)), ok
}

// computeAny has the operations whose lower 32 bits depend on no others.
func computeAny(op asm.ALUOp, a, b uint64) (uint64, bool) {
	switch op {
	case asm.Add:
		return a + b, true
	case asm.Sub:
		return a - b, true
	case asm.Mul:
		return a * b, true
	case asm.Or:
		return a | b, true
	case asm.And:
		return a & b, true
	case asm.Xor:
		return a ^ b, true
	case asm.Neg:
		return -a, true
	case asm.Mov:
		return b, true
	case asm.MovSX8:
		return uint64(int8(b)), true
	case asm.MovSX16:
		return uint64(int16(b)), true
	case asm.MovSX32:
		return uint64(int32(b)), true
	}
	return 0, false
}

func signedDivide(a, b int64) uint64 {
	switch b {
	case 0:
		return 0
	case -1:
		return uint64(-a) // of the smallest number, too, which Go and the kernel wrap
	}
	return uint64(a / b)
}

// swap changes the byte order of a number of that many bits: always, or if the
// order asked for is not that of this machine.
func swap(ins *asm.Instruction, v uint64) (uint64, bool) {
	order := binary.ByteOrder(binary.LittleEndian)
	if ins.OpCode.Endianness() == asm.BE {
		order = binary.BigEndian
	}
	one := []byte{1, 0}
	change := ins.OpCode.Class() == asm.ALU64Class || order.Uint16(one) != binary.NativeEndian.Uint16(one)
	switch ins.Constant {
	case 16:
		if change {
			v = uint64(bits.ReverseBytes16(uint16(v)))
		}
		return uint64(uint16(v)), true
	case 32:
		if change {
			v = uint64(bits.ReverseBytes32(uint32(v)))
		}
		return uint64(uint32(v)), true
	case 64:
		if change {
			v = bits.ReverseBytes64(v)
		}
		return v, true
	}
	return 0, false
}

// compare decides a jump on 64 bits.
func compare(op asm.JumpOp, a, b uint64) (jump, ok bool) {
	switch op {
	case asm.JEq:
		return a == b, true
	case asm.JNE:
		return a != b, true
	case asm.JGT:
		return a > b, true
	case asm.JGE:
		return a >= b, true
	case asm.JLT:
		return a < b, true
	case asm.JLE:
		return a <= b, true
	case asm.JSet:
		return a&b != 0, true
	case asm.JSGT:
		return int64(a) > int64(b), true
	case asm.JSGE:
		return int64(a) >= int64(b), true
	case asm.JSLT:
		return int64(a) < int64(b), true
	case asm.JSLE:
		return int64(a) <= int64(b), true
	}
	return false, false
}

// compare32 decides one on 32 bits.
func compare32(op asm.JumpOp, a, b uint32) (jump, ok bool) {
	switch op {
	case asm.JSGT, asm.JSGE, asm.JSLT, asm.JSLE:
		return compare(op, uint64(int32(a)), uint64(int32(b)))
	}
	return compare(op, uint64(a), uint64(b))
}
