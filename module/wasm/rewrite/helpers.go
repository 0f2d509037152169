package rewrite

import "bytes"

// budget is how much work may be done between two looks at the host. One look
// costs as much as a hundred turns of a small loop.
const budget = 100_000

// Bulk instructions are done in pieces of so many bytes or elements, each of
// which is charged for: one unit for so many bytes or elements, as powers of
// two.
const (
	bytesPiece, bytesUnit       = 64 << 10, 4
	elementsPiece, elementsUnit = 8 << 10, 1
	pageCost                    = 4096 // of a page that memory grows by
	pagesAtMost                 = 64   // that are counted; it is more than the budget
)

// helpers are the functions that are added to a module. They do what an
// instruction does that may be too much at once.
type helpers struct {
	counter, flag uint32 // globals
	first         uint32 // the number of the first function that is added
	types         uint32 // and of the first type

	tables []byte // types of elements

	added  []helper
	number map[helperKey]int
}

// helperKey is an instruction with what comes behind it.
type helperKey struct {
	op         byte
	more, a, b uint32
}

type helper struct {
	typ  uint32 // below
	body []byte // with its variables
}

// The types of helpers, counted from helpers.types.
const (
	typeLook    = iota // () -> ()
	typeGrow           // i32 -> i32
	typeBulk           // i32, i32, i32 -> ()
	typeFuncs          // i32, funcref, i32 -> ()
	typeExterns        // i32, externref, i32 -> ()
)

const (
	funcRef   = 0x70
	externRef = 0x6f
)

var helperTypes = [][]byte{
	typeLook:    {funcForm, 0, 0},
	typeGrow:    {funcForm, 1, i32, 1, i32},
	typeBulk:    {funcForm, 3, i32, i32, i32, 0},
	typeFuncs:   {funcForm, 3, i32, funcRef, i32, 0},
	typeExterns: {funcForm, 3, i32, externRef, i32, 0},
}

func newHelpers(m *Module) *helpers {
	h := &helpers{
		counter: m.globals, flag: m.globals + 1,
		first: uint32(len(m.Imports) + len(m.funcs)), types: uint32(len(m.types)), tables: m.tables,
		number: map[helperKey]int{},
	}
	h.added = append(h.added, helper{typeLook, h.look()})
	return h
}

// code is what the bodies of helpers are written with.
type code struct{ bytes.Buffer }

func (c *code) op(ops ...byte)         { c.Write(ops) }
func (c *code) with(op byte, n uint32) { c.Write(appendU32([]byte{op}, n)) }
func (c *code) constant(n int32)       { c.Write(appendI32([]byte{opI32Const}, n)) }
func (c *code) locals(list ...uint32) {
	for _, n := range list {
		c.with(opLocalGet, n)
	}
}

// look renews the budget, gives control to the host and takes it back, and
// traps if the host has set the flag.
//
// The way through the host is memory.grow by nothing. It is what lets the
// garbage collector, and with it the watchdog, run beside the module: compiled
// code of a module is no place where Go's scheduler can stop a goroutine.
func (h *helpers) look() []byte {
	var c code
	c.op(0) // no variables
	c.constant(budget)
	c.with(opGlobalSet, h.counter)
	c.op(opI32Const, 0, opMemoryGrow, 0, opDrop)
	c.with(opGlobalGet, h.flag)
	c.op(opIf, emptyBlock, opUnreachable, opEnd, opEnd)
	return c.Bytes()
}

// appendCheck appends code that charges for so much work, and looks when the
// budget is through.
func (h *helpers) appendCheck(out []byte, cost uint32) []byte {
	var c code
	c.with(opGlobalGet, h.counter)
	c.constant(int32(cost))
	h.charge(&c)
	return append(out, c.Bytes()...)
}

// charge is written behind the counter and what it goes down by.
func (h *helpers) charge(c *code) {
	c.op(opI32Sub)
	c.with(opGlobalSet, h.counter)
	c.with(opGlobalGet, h.counter)
	c.op(opI32Const, 0, opI32LtS, opIf, emptyBlock)
	c.with(opCall, h.first)
	c.op(opEnd)
}

// instead returns the call that takes an instruction's place, or nil.
func (h *helpers) instead(in *instruction) []byte {
	key := helperKey{op: in.op}
	switch {
	case in.op == opMemoryGrow:
	case in.op == opMore && in.bulk():
		key = helperKey{in.op, in.more, in.a, in.b}
	default:
		return nil
	}
	i, ok := h.number[key]
	if !ok {
		i = len(h.added)
		h.number[key] = i
		if in.op == opMemoryGrow {
			h.added = append(h.added, helper{typeGrow, h.grow()})
		} else {
			h.added = append(h.added, h.bulk(in))
		}
	}
	return appendU32([]byte{opCall}, h.first+uint32(i))
}

// bulk reports whether it works on many bytes or elements.
func (in *instruction) bulk() bool {
	switch in.more {
	case opMemoryInit, opMemoryCopy, opMemoryFill, opTableInit, opTableCopy, opTableFill:
		return true
	}
	return false
}

// bytes returns the bulk instruction.
func (in *instruction) bytes() []byte {
	b := appendU32(appendU32([]byte{opMore}, in.more), in.a)
	if in.more != opMemoryFill && in.more != opTableFill {
		b = appendU32(b, in.b)
	}
	return b
}

// grow is memory.grow, which pays for the pages.
func (h *helpers) grow() []byte {
	var c code
	c.op(0)
	c.with(opGlobalGet, h.counter)
	c.locals(0)
	c.constant(pagesAtMost)
	c.locals(0)
	c.constant(pagesAtMost)
	c.op(opI32LtU, opSelect)
	c.constant(pageCost)
	c.op(opI32Mul)
	h.charge(&c)
	c.locals(0)
	c.op(opMemoryGrow, 0, opEnd)
	return c.Bytes()
}
