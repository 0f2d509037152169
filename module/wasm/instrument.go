package wasm

// stopGlobal is the export under which the host reaches the global that stops
// the module.
const stopGlobal = "__taskwatch_stop"

// instrument returns the module with a deadline built in: a global of its own,
// which the module's code cannot name, is looked at where every function and
// every turn of a loop begins, and traps once the host has set it. Nothing can
// run on without passing one of these places.
//
// Functions keep their numbers, so that everything else stays as it is.
// Custom sections other than names are dropped: the places they tell of have
// moved.
func (m *binaryModule) instrument() ([]byte, error) {
	if _, taken := m.export(stopGlobal); taken {
		return nil, invalid("it exports %s, which is the sandbox's own name", stopGlobal)
	}
	out := append([]byte{}, magic...)
	global := m.globals // the number of the new one
	check := append(appendU32([]byte{opGlobalGet}, global), opIf, emptyBlock, opUnreachable, opEnd)
	added := map[byte][]byte{
		sectionGlobal: {0x7f, 0x01, opI32Const, 0, opEnd}, // a mutable i32 of 0
		sectionExport: appendU32(append(appendU32(nil, uint32(len(stopGlobal))), stopGlobal+"\x03"...), global),
	}
	// add writes the vector of a section, which may be missing, and one item
	// more.
	add := func(id byte, body []byte) {
		r := &reader{b: body}
		n := uint32(0)
		if len(body) > 0 {
			n = r.u32()
		}
		b := append(appendU32(nil, n+1), body[r.off:]...)
		out = appendSection(out, id, append(b, added[id]...))
		delete(added, id)
	}
	for _, s := range m.sections {
		for _, id := range []byte{sectionGlobal, sectionExport} {
			if added[id] != nil && comesAfter(s.id, id) {
				add(id, nil)
			}
		}
		switch s.id {
		case sectionCustom:
			if r := (&reader{b: s.body}); r.name() == "name" && r.err == nil {
				out = appendSection(out, s.id, s.body)
			}
		case sectionGlobal, sectionExport:
			add(s.id, s.body)
		case sectionCode:
			code, err := m.instrumentCode(s.body, check)
			if err != nil {
				return nil, err
			}
			out = appendSection(out, s.id, code)
		default:
			out = appendSection(out, s.id, s.body)
		}
	}
	return out, nil
}

// comesAfter reports whether section a stands behind section b in a file.
func comesAfter(a, b byte) bool {
	for _, id := range sectionOrder {
		switch id {
		case a:
			return false
		case b:
			return a != sectionCustom
		}
	}
	return false
}

func appendSection(out []byte, id byte, body []byte) []byte {
	return append(appendU32(append(out, id), uint32(len(body))), body...)
}

func (m *binaryModule) instrumentCode(body, check []byte) ([]byte, error) {
	r := &reader{b: body}
	n := r.count()
	if r.err == nil && n != len(m.funcs) {
		return nil, invalid("malformed module: %d functions have code, and %d are declared", n, len(m.funcs))
	}
	out := appendU32(make([]byte, 0, len(body)+len(body)/8), uint32(n))
	var fn []byte
	for i := range n {
		code := r.bytes(r.u32())
		if r.err != nil {
			break
		}
		var err error
		if fn, err = m.instrumentFunction(fn[:0], code, check); err != nil {
			return nil, invalid("function %d: %w", len(m.imports)+i, err)
		}
		out = append(appendU32(out, uint32(len(fn))), fn...)
	}
	if r.err == nil && r.off != len(r.b) {
		r.fail("malformed module: there is code of no function")
	}
	return out, r.err
}

// instrumentFunction appends the code of one function to out, with check at
// its beginning and at that of each loop.
func (m *binaryModule) instrumentFunction(out, code, check []byte) ([]byte, error) {
	r := &reader{b: code}
	var locals uint64
	for range r.count() {
		locals += uint64(r.u32())
		r.byte()
	}
	if r.err == nil && locals > maxLocals {
		return nil, invalid("it has %d variables, and may have %d", locals, maxLocals)
	}
	out = append(append(out, code[:r.off]...), check...)
	done := r.off
	for r.more() {
		if loop := m.instruction(r); loop && r.err == nil {
			out = append(append(out, code[done:r.off]...), check...)
			done = r.off
		}
	}
	return append(out, code[done:]...), r.err
}
