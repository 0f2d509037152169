package rewrite

// The variables of a function that does a bulk instruction in pieces.
const (
	bulkTo   = iota
	bulkFrom // the value of a fill
	bulkLeft // how much is to be done
	bulkPiece
)

// bulkCode is the code of such a function.
type bulkCode struct {
	code
	instruction []byte
	moves       bool // bulkFrom is a place, too
}

// bulk is a bulk instruction in pieces. It traps where the instruction would,
// before anything is changed, because the instruction itself is asked: for
// nothing, at the ends of what it is to work on.
func (h *helpers) bulk(in *instruction) helper {
	shift, most, typ := int32(bytesUnit), int32(bytesPiece), uint32(typeBulk)
	if in.more == opTableInit || in.more == opTableCopy || in.more == opTableFill {
		shift, most = elementsUnit, elementsPiece
	}
	if in.more == opTableFill {
		typ = typeFuncs
		if int(in.a) < len(h.tables) && h.tables[in.a] == externRef {
			typ = typeExterns
		}
	}
	c := bulkCode{instruction: in.bytes(), moves: in.more != opMemoryFill && in.more != opTableFill}
	c.op(1, 1, i32) // bulkPiece
	c.askAtEnds()
	pay := func() { // for a piece
		c.takePiece(most)
		c.with(opGlobalGet, h.counter)
		c.locals(bulkPiece)
		c.constant(shift)
		c.op(opI32ShrU)
		c.constant(8)
		c.op(opI32Add)
		h.charge(&c.code)
	}
	if in.more == opMemoryCopy || in.more == opTableCopy {
		c.fromTheEnd(pay)
	}
	c.fromTheStart(pay)
	return helper{typ, c.Bytes()}
}

func (c *bulkCode) do() { c.Write(c.instruction) }

// end leaves the end of one of the places.
func (c *bulkCode) end(of uint32) {
	c.locals(of, bulkLeft)
	c.op(opI32Add)
}

// askAtEnds has the instruction trap if its ends are outside. Ends beyond 4 GiB are
// outside of everything.
func (c *bulkCode) askAtEnds() {
	wraps := func(of uint32) {
		c.end(of)
		c.locals(of)
		c.op(opI32LtU)
	}
	wraps(bulkTo)
	if c.moves {
		wraps(bulkFrom)
		c.op(opI32Or)
	}
	c.op(opIf, emptyBlock)
	c.locals(bulkTo, bulkFrom, bulkLeft)
	c.do()
	c.op(opEnd)

	c.end(bulkTo)
	if c.moves {
		c.end(bulkFrom)
	} else {
		c.locals(bulkFrom)
	}
	c.op(opI32Const, 0)
	c.do()
}

// takePiece settles how much is done next.
func (c *bulkCode) takePiece(most int32) {
	c.locals(bulkLeft)
	c.constant(most)
	c.locals(bulkLeft)
	c.constant(most)
	c.op(opI32LtU, opSelect)
	c.with(opLocalSet, bulkPiece)
}

// less takes the piece from what is to be done, and leaves that.
func (c *bulkCode) less() {
	c.locals(bulkLeft, bulkPiece)
	c.op(opI32Sub)
	c.with(opLocalTee, bulkLeft)
}

// fromTheEnd does a copy whose places overlap, upwards, and returns.
func (c *bulkCode) fromTheEnd(pay func()) {
	c.locals(bulkFrom, bulkTo)
	c.op(opI32LtU, opIf, emptyBlock, opLoop, emptyBlock)
	pay()
	c.less()
	c.op(opDrop)
	c.end(bulkTo)
	c.end(bulkFrom)
	c.locals(bulkPiece)
	c.do()
	c.locals(bulkLeft)
	c.op(opBrIf, 0, opEnd, opReturn, opEnd)
}

// fromTheStart does everything else.
func (c *bulkCode) fromTheStart(pay func()) {
	c.op(opLoop, emptyBlock)
	pay()
	c.locals(bulkTo, bulkFrom, bulkPiece)
	c.do()
	on := func(of uint32) {
		c.locals(of, bulkPiece)
		c.op(opI32Add)
		c.with(opLocalSet, of)
	}
	on(bulkTo)
	if c.moves {
		on(bulkFrom)
	}
	c.less()
	c.op(opBrIf, 0, opEnd, opEnd)
}
