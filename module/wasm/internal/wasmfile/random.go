package wasmfile

import "strings"

// Random returns a module that the choices make: valid, without a host, and
// sure to end. Its code is arithmetic, memory, globals, two tables, passive
// data and elements, blocks, loops, calls, and all instructions that work on
// many bytes or elements at once, with bounds near and beyond the edges.
//
// It exports "run", which takes two i32 and returns one, "at", which tells
// the number of the function in the table of functions at an index, 0 for
// none, "null", which tells the same of the other table as 0 and 1, "memory",
// and its globals as "g0" and so on.
func Random(choices []byte) []byte {
	g := &generator{choices: choices}
	return g.module()
}

// The sizes of what Random makes.
const (
	RandomGlobals  = 3
	RandomElements = 40 // of each table
)

const (
	randomFuncs = 3
	leaves      = 4 // functions that return their number, for the table
	locals      = 6 // of which the first two are parameters
)

type generator struct {
	choices []byte
	b       strings.Builder
	blocks  int // that may be branched out of
	loops   int
	calls   int // functions that may be called: those before
}

// n makes a choice of so many.
func (g *generator) n(of int) int {
	if len(g.choices) == 0 {
		return 0
	}
	c := g.choices[0]
	g.choices = g.choices[1:]
	return int(c) % of
}

func (g *generator) put(s ...string) {
	for _, s := range s {
		g.b.WriteString(s)
	}
}

func i32(v int64) string { return "\x41" + LEB(int64(int32(v))) }

func (g *generator) module() []byte {
	f := &File{
		Types:   []string{"\x60\x02\x7f\x7f\x01\x7f", "\x60\x00\x01\x7f", "\x60\x01\x7f\x01\x7f"},
		Tables:  []string{"\x70\x00" + U32(RandomElements), "\x6f\x00" + U32(RandomElements)},
		Memory:  []string{"\x01\x03\x05"},
		Elems:   []string{"\x01\x00" + U32(6) + "\x00\x01\x02\x03\x02\x01", "\x01\x00\x00"},
		Data:    []string{"\x01" + Str(strings.Repeat("taskwatch", 12_000)), "\x01" + Str("")},
		Counted: true,
	}
	for i := range RandomGlobals {
		f.Globals = append(f.Globals, "\x7f\x01"+i32(int64(i))+"\x0b")
		f.Exports = append(f.Exports, Export("g"+string(rune('0'+i)), 3, uint32(i)))
	}
	for i := range leaves {
		f.Funcs = append(f.Funcs, Func{Type: 1, Code: i32(int64(i + 1))})
	}
	for i := range randomFuncs {
		g.b.Reset()
		g.calls = i
		g.statements(4 + g.n(12))
		g.value(3)
		f.Funcs = append(f.Funcs, Func{Locals: "\x01" + U32(locals-2) + "\x7f", Code: g.b.String()})
	}
	at := "\x20\x00\x25\x00\xd1\x04\x7f" + i32(0) + "\x05\x20\x00\x11\x01\x00\x0b"
	f.Funcs = append(f.Funcs, Func{Type: 2, Code: at}, Func{Type: 2, Code: "\x20\x00\x25\x01\xd1"})
	f.Exports = append(f.Exports, Export("memory", 2, 0), Export("run", 0, leaves+randomFuncs-1),
		Export("at", 0, leaves+randomFuncs), Export("null", 0, leaves+randomFuncs+1))
	return f.Bytes()
}

func (g *generator) statements(n int) {
	for range n {
		g.statement()
	}
}

// edge leaves a number that is near a bound of something.
func (g *generator) edge() {
	list := []int64{0, 1, 7, 64, 4095, 65535, 65536, 65537, 108_000, 131_072, 196_607, 196_608, 196_609, -1, -65536, 1 << 31}
	g.put(i32(list[g.n(len(list))]))
	if g.n(3) == 0 {
		g.value(1)
		g.put("\x6a") // add
	}
}

// index leaves a number that is near a bound of a table.
func (g *generator) index() {
	g.put(i32([]int64{0, 1, 2, 5, 6, 7, 20, 39, 40, 41, -1}[g.n(11)]))
}

func (g *generator) statement() {
	local := U32(uint32(g.n(3)))
	switch g.n(22) {
	case 0, 1:
		g.value(3)
		g.put("\x21", local)
	case 2:
		g.value(2)
		g.put("\x24", U32(uint32(g.n(RandomGlobals))))
	case 3: // a store, of one byte or four
		g.edge()
		g.value(2)
		g.put([]string{"\x3a\x00\x00", "\x36\x02\x03"}[g.n(2)])
	case 4, 5:
		g.edge()
		g.value(1)
		g.edge()
		g.put("\xfc\x0b\x00") // memory.fill
	case 6, 7:
		g.edge()
		g.edge()
		g.edge()
		g.put("\xfc\x0a\x00\x00") // memory.copy
	case 8:
		g.edge()
		g.edge()
		g.edge()
		g.put("\xfc\x08", U32(uint32(g.n(2))), "\x00") // memory.init
	case 9:
		if g.n(4) == 0 {
			g.put("\xfc\x09", U32(uint32(g.n(2)))) // data.drop
		}
	case 10:
		g.index()
		if g.n(2) == 0 {
			g.put("\xd2", U32(uint32(g.n(leaves)))) // ref.func
		} else {
			g.put("\xd0\x70")
		}
		g.index()
		g.put("\xfc\x11\x00") // table.fill
	case 11:
		g.index()
		g.put("\xd0\x6f")
		g.index()
		g.put("\xfc\x11\x01")
	case 12:
		g.index()
		g.index()
		g.index()
		table := []string{"\x00\x00", "\x01\x01"}[g.n(2)]
		g.put("\xfc\x0e", table) // table.copy
	case 13:
		g.index()
		g.index()
		g.index()
		g.put("\xfc\x0c", U32(uint32(g.n(2))), "\x00") // table.init
	case 14:
		if g.n(4) == 0 {
			g.put("\xfc\x0d", U32(uint32(g.n(2)))) // elem.drop
		}
	case 15:
		g.value(1)
		g.put(i32(3), "\x71", "\x40\x00", "\x21", local) // memory.grow by at most 3
	case 16:
		g.value(2)
		g.put("\x04\x40")
		g.inBlock(func() {
			g.statements(1 + g.n(3))
			if g.n(2) == 0 {
				g.put("\x05")
				g.statements(1 + g.n(2))
			}
		})
	case 17:
		g.put("\x02\x40")
		g.inBlock(func() {
			g.statements(1 + g.n(4))
			g.value(1)
			g.put("\x0d\x00") // br_if
			g.statements(1)
		})
	case 18:
		if g.loops == 2 {
			return
		}
		counter := U32(uint32(4 + g.loops))
		g.put(i32(int64(1+g.n(5))), "\x21", counter, "\x03\x40")
		g.loops++
		blocks := g.blocks
		g.blocks = 0 // nothing branches to its head
		g.statements(1 + g.n(4))
		g.blocks = blocks
		g.loops--
		g.put("\x20", counter, i32(1), "\x6b\x22", counter, "\x0d\x00\x0b")
	case 19: // br_table
		if g.blocks > 0 {
			g.value(1)
			g.put("\x04\x40")
			g.blocks++
			g.value(1)
			g.put("\x0e\x02", U32(uint32(g.n(g.blocks))), U32(uint32(g.n(g.blocks))), U32(uint32(g.n(g.blocks))))
			g.blocks--
			g.put("\x0b")
		}
	case 20: // so much in a line that it is more than a stretch
		for range 40 + g.n(60) {
			g.put("\x20", local, "\x41\x03\x6c", "\x41\x07\x6a", "\x21", local, "\x20\x00\x41\xff\x00\x71\x28\x02\x00\x1a")
		}
	case 21:
		switch g.n(8) {
		case 0:
			g.value(1)
			g.put("\x04\x40\x00\x0b") // unreachable
		case 1:
			g.value(1)
			g.put("\x04\x40")
			g.value(1)
			g.put("\x0f\x0b") // return
		}
	}
}

func (g *generator) inBlock(fn func()) {
	if g.blocks > 5 {
		g.put("\x0b")
		return
	}
	g.blocks++
	fn()
	g.blocks--
	g.put("\x0b")
}

// value leaves an i32, by an expression of at most that depth.
func (g *generator) value(depth int) {
	if depth == 0 {
		g.put("\x20", U32(uint32(g.n(4))))
		return
	}
	switch g.n(10) {
	case 0, 1:
		g.put("\x20", U32(uint32(g.n(4))))
	case 2:
		g.put(i32(int64(g.n(256)) * 97))
	case 3:
		g.put("\x23", U32(uint32(g.n(RandomGlobals))))
	case 4, 5:
		g.value(depth - 1)
		g.value(depth - 1)
		g.put([]string{"\x6a", "\x6b", "\x6c", "\x6d", "\x70", "\x73", "\x76", "\x48", "\x4b"}[g.n(9)])
	case 6:
		g.value(depth - 1)
		g.put("\x41\xff\xff\x07\x71\x2d\x00\x00") // a byte of the first 128 KiB
	case 7:
		g.put("\x3f\x00") // memory.size
	case 8:
		g.value(depth - 1)
		g.put("\x04\x7f")
		g.value(depth - 1)
		g.put("\x05")
		g.value(depth - 1)
		g.put("\x0b")
	case 9:
		if g.calls == 0 || g.loops > 0 {
			g.put("\x20\x01")
			return
		}
		g.value(depth - 1)
		g.value(0)
		g.put("\x10", U32(uint32(leaves+g.n(g.calls))))
	}
}
