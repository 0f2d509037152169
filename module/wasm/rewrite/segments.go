package rewrite

// The compiler makes room for as many things as a vector says that it has, before
// it looks whether they are there: a few bytes could claim gigabytes. So the
// sections that nothing else here reads are read for that alone.

// elements reads the section of elements.
func elements(r *reader) {
	for range r.count() {
		flags := r.u32()
		if flags > 7 {
			r.fail("malformed module: elements of kind %d", flags)
		}
		passive, explicit, exprs := flags&1 != 0, flags&2 != 0, flags&4 != 0
		if !passive && explicit {
			r.u32() // the table
		}
		if !passive {
			constant(r)
		}
		if passive || explicit {
			r.byte() // what they are
		}
		for range r.count() {
			if exprs {
				constant(r)
			} else {
				r.u32()
			}
		}
	}
}

// data reads the section of data.
func data(r *reader) {
	for range r.count() {
		switch flags := r.u32(); flags {
		case 0:
			constant(r)
		case 1: // passive
		case 2:
			r.u32() // the memory
			constant(r)
		default:
			r.fail("malformed module: data of kind %d", flags)
		}
		r.bytes(r.u32())
	}
}

// constant passes over an expression that is a constant.
func constant(r *reader) {
	for r.err == nil {
		switch op := r.byte(); op {
		case opEnd:
			return
		case opI32Const, opGlobalGet, opRefFunc:
			r.skipLEB(5)
		case opI64Const:
			r.skipLEB(10)
		case opF32Const:
			r.bytes(4)
		case opF64Const:
			r.bytes(8)
		case opRefNull:
			r.byte()
		default:
			r.fail("malformed module: the instruction %#x in a constant", op)
		}
	}
}

// goodNames reports whether a custom section of names can be left in.
func goodNames(body []byte) bool {
	r := &reader{b: body}
	if r.name() != "name" {
		return false
	}
	for r.more() {
		id := r.byte()
		part := &reader{b: r.bytes(r.u32())}
		switch id {
		case 1: // of functions
			names(part)
		case 2: // of their locals
			for range part.count() {
				part.u32()
				names(part)
			}
		}
		if part.err != nil {
			return false
		}
	}
	return r.err == nil
}

func names(r *reader) {
	for range r.count() {
		r.u32()
		r.bytes(r.u32())
	}
}
