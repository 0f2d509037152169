package rewrite

import (
	"bytes"
	"fmt"
)

// StopGlobal is the export under which the host reaches the global that stops
// the module.
const StopGlobal = "__taskwatch_stop"

// Instrument returns the module with a deadline built in. A counter goes down
// as the module works: at the entry of each function, at the head of each
// loop, and in between where a function is long, each time by as much as the
// work that follows. Where the counter is through, control goes to the host
// and back, and the module traps if the host has set a flag.
//
// Instructions that work on many bytes at once do so in pieces, each of which
// is charged for, and growing the memory is charged by its size.
//
// Counter and flag are globals of which the module's own code does not know.
// Everything else keeps its number, because what is new comes last. Custom
// sections other than names are dropped: the places they tell of have moved. So
// are names that are malformed, which must not matter.
func (m *Module) Instrument() ([]byte, error) {
	if _, taken := m.Export(StopGlobal); taken {
		return nil, invalid("it exports %s, which is the sandbox's own name", StopGlobal)
	}
	h := newHelpers(m)
	code, err := m.instrumentCode(h) // before the rest: it says which helpers there are
	if err != nil {
		return nil, err
	}
	added := map[byte][][]byte{
		sectionType: helperTypes,
		sectionGlobal: {
			append(appendI32([]byte{i32, mutable, opI32Const}, budget), opEnd),
			{i32, mutable, opI32Const, 0, opEnd},
		},
		sectionExport: {bytes.Join([][]byte{appendU32(nil, uint32(len(StopGlobal))), []byte(StopGlobal), {ExternGlobal}, appendU32(nil, h.flag)}, nil)},
	}
	for _, f := range h.added {
		added[sectionFunction] = append(added[sectionFunction], appendU32(nil, h.types+f.typ))
		added[sectionCode] = append(added[sectionCode], append(appendU32(nil, uint32(len(f.body))), f.body...))
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
			if goodNames(s.body) {
				out = appendSection(out, s.id, s.body)
			}
			continue
		}
		catchUp(s.id)
		body := s.body
		if s.id == sectionCode {
			body = code
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

// instrumentCode returns the section of code.
func (m *Module) instrumentCode(h *helpers) ([]byte, error) {
	var body []byte
	for _, s := range m.sections {
		if s.id == sectionCode {
			body = s.body
		}
	}
	if body == nil {
		if len(m.funcs) > 0 {
			return nil, invalid("malformed module: %d functions are declared, and there is no code", len(m.funcs))
		}
		return nil, nil
	}
	r := &reader{b: body}
	n := r.count()
	if r.err == nil && n != len(m.funcs) {
		return nil, invalid("malformed module: %d functions have code, and %d are declared", n, len(m.funcs))
	}
	out := appendU32(make([]byte, 0, len(body)+len(body)/2), uint32(n))
	var fn []byte
	for i := range n {
		code := r.bytes(r.u32())
		if r.err != nil {
			break
		}
		var err error
		if fn, err = m.instrumentFunction(fn[:0], code, m.types[m.funcs[i]].params(), h); err != nil {
			return nil, fmt.Errorf("function %d: %w", len(m.Imports)+i, err)
		}
		out = append(appendU32(out, uint32(len(fn))), fn...)
	}
	if r.err == nil && r.off != len(r.b) {
		r.fail("malformed module: there is code of no function")
	}
	return out, r.err
}
