package rewrite

// The instructions that are named here. All others are known by their ranges.
const (
	opUnreachable  = 0x00
	opBlock        = 0x02
	opLoop         = 0x03
	opIf           = 0x04
	opEnd          = 0x0b
	opBr           = 0x0c
	opBrIf         = 0x0d
	opBrTable      = 0x0e
	opReturn       = 0x0f
	opCall         = 0x10
	opCallIndirect = 0x11
	opDrop         = 0x1a
	opSelect       = 0x1b
	opSelectTyped  = 0x1c
	opLocalGet     = 0x20
	opLocalSet     = 0x21
	opLocalTee     = 0x22
	opGlobalGet    = 0x23
	opGlobalSet    = 0x24
	opTableGet     = 0x25
	opTableSet     = 0x26
	opI32Load      = 0x28
	opI64Store32   = 0x3e
	opMemorySize   = 0x3f
	opMemoryGrow   = 0x40
	opI32Const     = 0x41
	opI64Const     = 0x42
	opF32Const     = 0x43
	opF64Const     = 0x44
	opElse         = 0x05
	opI32Eqz       = 0x45
	opI32LtS       = 0x48
	opI32LtU       = 0x49
	opI32Add       = 0x6a
	opI32Sub       = 0x6b
	opI32Mul       = 0x6c
	opI32Or        = 0x72
	opI32ShrU      = 0x76
	opI64Extend32  = 0xc4
	opRefNull      = 0xd0
	opRefIsNull    = 0xd1
	opRefFunc      = 0xd2
	opMore         = 0xfc // and a second number
	opSIMD         = 0xfd
	opAtomic       = 0xfe

	emptyBlock = 0x40
	funcForm   = 0x60
	i32        = 0x7f
	mutable    = 0x01
)

// The second numbers of the instructions that work on many bytes or elements.
const (
	opMemoryInit = 8
	opMemoryCopy = 10
	opMemoryFill = 11
	opTableInit  = 12
	opTableCopy  = 14
	opTableFill  = 17
)

// instruction is one of a function's code, as far as it matters here.
type instruction struct {
	op     byte
	more   uint32 // the second number, of opMore
	a, b   uint32 // what comes behind that: of a bulk instruction
	n      int    // targets of a br_table
	length int    // bytes
}

// instruction reads one instruction. It rejects what it does not know: what
// follows could not be read right, and then a loop could hide.
func (m *Module) instruction(r *reader) (in instruction) {
	start := r.off
	in.op = r.byte()
	switch op := in.op; {
	case op == opBlock, op == opLoop, op == opIf:
		r.skipLEB(5)
	case op <= 0x01, op == opElse, op == opEnd, op == opReturn, op == opDrop, op == opSelect, op == opRefIsNull,
		op >= opI32Eqz && op <= opI64Extend32:
	case op == opBr, op == opBrIf, op == opCall, op >= opLocalGet && op <= opLocalTee, op == opTableGet, op == opTableSet,
		op == opRefFunc:
		r.u32()
	case op == opGlobalGet, op == opGlobalSet:
		if i := r.u32(); r.err == nil && i >= m.globals {
			r.fail("malformed module: no global %d", i)
		}
	case op == opBrTable:
		in.n = r.count()
		for range in.n {
			r.u32()
		}
		r.u32()
	case op == opCallIndirect:
		r.u32()
		r.u32()
	case op == opSelectTyped:
		for range r.count() {
			r.byte()
		}
	case op >= opI32Load && op <= opI64Store32:
		r.u32()
		r.u32()
	case op == opMemorySize, op == opMemoryGrow, op == opRefNull:
		r.byte()
	case op == opI32Const:
		r.skipLEB(5)
	case op == opI64Const:
		r.skipLEB(10)
	case op == opF32Const:
		r.bytes(4)
	case op == opF64Const:
		r.bytes(8)
	case op == opMore:
		m.moreInstruction(r, &in)
	case op == opSIMD:
		r.fail("SIMD instructions, which the sandbox does not have; build it without them")
	case op == opAtomic:
		r.fail("atomic instructions, which the sandbox does not have; build it without threads")
	default:
		r.fail("instruction %#x, which the sandbox does not have", op)
	}
	in.length = r.off - start
	return in
}

func (m *Module) moreInstruction(r *reader, in *instruction) {
	switch in.more = r.u32(); in.more {
	case 0, 1, 2, 3, 4, 5, 6, 7: // saturating conversions
	case opMemoryInit, opTableInit, opTableCopy:
		in.a, in.b = r.u32(), r.u32()
	case opMemoryCopy:
		in.a, in.b = r.u32(), r.u32()
	case opMemoryFill, opTableFill:
		in.a = r.u32()
	case 9, 13, 16: // data.drop, elem.drop, table.size
		r.u32()
	case 15:
		r.fail("table.grow, which the sandbox does not have")
	default:
		if r.err == nil {
			r.fail("instruction 0xfc %d, which the sandbox does not have", in.more)
		}
	}
}
