package rewrite

import (
	"bytes"
	"fmt"
)

// StopGlobal is the export under which the host reaches the global that stops
// the module.
const StopGlobal = "__taskwatch_stop"

// turns is how many functions may begin and loops turn between two looks at
// the host. One look costs as much as a hundred turns.
const turns = 10_000

// Instrument returns the module with a deadline built in. Where a function or
// a turn of a loop begins, a counter goes down; nothing can run on without
// passing one of these places. When the counter is through, control goes to
// the host and back, and the module traps if the host has set a flag.
//
// The way through the host is memory.grow by nothing. It is what lets the
// garbage collector, and with it the watchdog, run beside the module: compiled
// code of a module is no place where Go's scheduler can stop a goroutine.
//
// Counter and flag are globals of which the module's own code does not know.
// Everything else keeps its number, because what is new comes last. Custom
// sections other than names are dropped: the places they tell of have moved.
func (m *Module) Instrument() ([]byte, error) {
	if _, taken := m.Export(StopGlobal); taken {
		return nil, invalid("it exports %s, which is the sandbox's own name", StopGlobal)
	}
	var (
		counter = appendU32(nil, m.globals)
		flag    = appendU32(nil, m.globals+1)
		look    = appendU32(nil, uint32(len(m.Imports)+len(m.funcs)))
		typ     = appendU32(nil, uint32(len(m.types)))
		full    = appendI32([]byte{opI32Const}, turns)
	)
	check := bytes.Join([][]byte{
		{opGlobalGet}, counter, {opI32Eqz, opIf, emptyBlock, opCall}, look, {opEnd},
		{opGlobalGet}, counter, {opI32Const, 1, opI32Sub, opGlobalSet}, counter,
	}, nil)
	lookBody := bytes.Join([][]byte{
		{0}, // no variables
		full, {opGlobalSet}, counter,
		{opI32Const, 0, opMemoryGrow, 0, opDrop},
		{opGlobalGet}, flag, {opIf, emptyBlock, opUnreachable, opEnd, opEnd},
	}, nil)
	added := map[byte][][]byte{
		sectionType:     {{funcForm, 0, 0}},
		sectionFunction: {typ},
		sectionGlobal:   {bytes.Join([][]byte{{i32, mutable}, full, {opEnd}}, nil), {i32, mutable, opI32Const, 0, opEnd}},
		sectionExport:   {bytes.Join([][]byte{appendU32(nil, uint32(len(StopGlobal))), []byte(StopGlobal), {ExternGlobal}, flag}, nil)},
		sectionCode:     {append(appendU32(nil, uint32(len(lookBody))), lookBody...)},
	}
	out := bytes.Clone(magic)
	// add writes the vector of a section, which may be missing, with the new
	// items.
	add := func(id byte, body []byte) {
		r := &reader{b: body}
		n := uint32(0)
		if len(body) > 0 {
			n = r.u32()
		}
		b := append(appendU32(nil, n+uint32(len(added[id]))), body[r.off:]...)
		out = appendSection(out, id, append(b, bytes.Join(added[id], nil)...))
		delete(added, id)
	}
	// catchUp adds the sections that the module has not, up to one.
	catchUp := func(next byte) {
		for _, id := range sectionOrder {
			if id == next {
				return
			}
			if added[id] != nil {
				add(id, nil)
			}
		}
	}
	for _, s := range m.sections {
		if s.id == sectionCustom {
			if r := (&reader{b: s.body}); r.name() == "name" && r.err == nil {
				out = appendSection(out, s.id, s.body)
			}
			continue
		}
		catchUp(s.id)
		body := s.body
		if s.id == sectionCode {
			var err error
			if body, err = m.instrumentCode(body, check); err != nil {
				return nil, err
			}
		}
		if added[s.id] != nil {
			add(s.id, body)
		} else {
			out = appendSection(out, s.id, body)
		}
	}
	catchUp(sectionCustom) // all that are left
	return out, nil
}

func appendSection(out []byte, id byte, body []byte) []byte {
	return append(appendU32(append(out, id), uint32(len(body))), body...)
}

func (m *Module) instrumentCode(body, check []byte) ([]byte, error) {
	r := &reader{b: body}
	n := r.count()
	if r.err == nil && n != len(m.funcs) {
		return nil, invalid("malformed module: %d functions have code, and %d are declared", n, len(m.funcs))
	}
	out := appendU32(make([]byte, 0, len(body)+len(body)/4), uint32(n))
	var fn []byte
	for i := range n {
		code := r.bytes(r.u32())
		if r.err != nil {
			break
		}
		var err error
		if fn, err = m.instrumentFunction(fn[:0], code, check); err != nil {
			return nil, fmt.Errorf("function %d: %w", len(m.Imports)+i, err)
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
func (m *Module) instrumentFunction(out, code, check []byte) ([]byte, error) {
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
