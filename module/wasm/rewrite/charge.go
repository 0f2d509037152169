package rewrite

// stretch is how much work one check may pay for, but for one instruction.
const stretch = 1_000

// cost is how much work an instruction is, about in nanoseconds of a slow
// machine.
func (in *instruction) cost() uint32 {
	switch op := in.op; {
	case op >= opI32Load && op <= opI64Store32:
		return 2
	case op == opCall:
		return 4
	case op == opCallIndirect, op == opBrTable, op == opTableGet, op == opTableSet:
		return 8
	case op >= 0x6d && op <= 0x70, op >= 0x7f && op <= 0x82: // divisions of integers
		return 8
	case op >= 0x8b && op <= 0xa6, op >= 0xa8 && op <= 0xbf: // floats
		return 4
	case op == opMore:
		return 4
	}
	return 1
}

// site is a place for a check, and the work that follows up to the next.
type site struct {
	at   int // in the code of the function
	cost uint32
}

// replacement is a piece of code that another takes the place of.
type replacement struct {
	at, length int
	code       []byte
}

// function finds the places of the checks in one function.
//
// There is one where the function begins, and one at the head of each loop:
// nothing can run on without passing one of these. Each pays, when it is
// passed, for a part of the text that can be run only once until it is passed
// again. For the head of a loop that is what stands in the loop but in no loop
// inside of it. What stands behind a block is paid for by the check that paid
// for its beginning, because a block ends as often as it begins. Where a check
// pays for more than a stretch, there is another: what is paid for and then
// jumped over is no more than that.
type function struct {
	m        *Module
	r        *reader
	sites    []site
	replaced []replacement

	payer  int   // the site that pays for what is read
	blocks []int // those that paid for the beginnings of the blocks that are open

	begun, loops, targets, calls int
}

// check puts a check where the reader is, which pays for what follows.
func (f *function) check() {
	f.payer = len(f.sites)
	f.sites = append(f.sites, site{at: f.r.off})
}

// read reads the function from its first instruction to its end.
func (f *function) read(helpers *helpers, entry uint32) {
	r := f.r
	f.sites = append(f.sites, site{r.off, entry})
	f.blocks = append(f.blocks, 0)
	for r.more() {
		at := r.off
		in := f.m.instruction(r)
		if r.err != nil {
			return
		}
		if len(f.blocks) == 0 {
			r.fail("malformed module: code behind the end of the function")
			return
		}
		f.sites[f.payer].cost += in.cost()
		switch in.op {
		case opBlock, opIf, opLoop:
			f.begun++
			f.blocks = append(f.blocks, f.payer)
			if in.op == opLoop {
				f.loops++
				f.check()
			}
		case opElse:
			f.payer = f.blocks[len(f.blocks)-1]
		case opEnd:
			f.payer = f.blocks[len(f.blocks)-1]
			f.blocks = f.blocks[:len(f.blocks)-1]
		case opBrTable:
			f.targets += in.n
		case opCall, opCallIndirect:
			f.calls++
		}
		if call := helpers.instead(&in); call != nil {
			f.replaced = append(f.replaced, replacement{at, in.length, call})
		}
		if len(f.blocks) > 0 && f.sites[f.payer].cost >= stretch {
			f.check()
		}
		if f.limit(); r.err != nil {
			return
		}
	}
}

// limit rejects a function that is more than may be compiled.
func (f *function) limit() {
	for _, l := range []struct {
		n, most int
		what    string
	}{
		{f.begun, maxBlocks, "blocks"},
		{f.loops, maxLoops, "loops"},
		{len(f.blocks), maxNesting, "blocks in each other"},
		{f.targets, maxTargets, "targets of br_table"},
		{f.calls, maxCalls, "calls"},
	} {
		if l.n > l.most {
			f.r.fail("it has more than the %d %s that one function may have; split it", l.most, l.what)
		}
	}
}

// instrumentFunction appends the code of one function to out, with its
// checks.
func (m *Module) instrumentFunction(out, code []byte, params int, h *helpers) ([]byte, error) {
	if len(code) > maxBody {
		return nil, invalid("it has %d bytes of code, and one function may have %d; split it", len(code), maxBody)
	}
	r := &reader{b: code}
	var locals uint64
	for range r.count() {
		locals += uint64(r.u32())
		r.byte()
	}
	if r.err == nil && locals > maxLocals {
		return nil, invalid("it has %d variables, and may have %d", locals, maxLocals)
	}
	if r.err != nil {
		return nil, r.err
	}
	f := &function{m: m, r: r}
	done := r.off
	out = append(out, code[:done]...)
	f.read(h, 2+uint32(locals)/4+uint32(params)/4)
	if r.err != nil {
		return nil, r.err
	}
	if len(f.blocks) != 0 {
		return nil, invalid("malformed module: the function has no end")
	}
	replaced := f.replaced
	copyTo := func(end int) {
		for len(replaced) > 0 && replaced[0].at < end {
			p := replaced[0]
			out = append(append(out, code[done:p.at]...), p.code...)
			done, replaced = p.at+p.length, replaced[1:]
		}
		out = append(out, code[done:end]...)
		done = end
	}
	for _, s := range f.sites {
		copyTo(s.at)
		out = h.appendCheck(out, s.cost)
	}
	copyTo(len(code))
	return out, nil
}
