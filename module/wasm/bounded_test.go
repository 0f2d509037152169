package wasm

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/tetratelabs/wazero"
	"github.com/tetratelabs/wazero/api"

	"github.com/taskwatch/taskwatch"
	"github.com/taskwatch/taskwatch/module/wasm/internal/wasmfile"
	"github.com/taskwatch/taskwatch/module/wasm/rewrite"
)

// worker is a module of 16 MiB of memory with a function "run" of that code,
// which may use four variables, and counts in a global what it has done.
func worker(code string) *wasmfile.File {
	return &wasmfile.File{
		Types:   []string{"\x60\x00\x00"},
		Tables:  []string{"\x70\x00" + wasmfile.U32(1<<17)},
		Memory:  []string{"\x00" + wasmfile.U32(256)},
		Globals: []string{"\x7f\x01\x41\x00\x0b"},
		Exports: []string{wasmfile.Export("memory", 2, 0), wasmfile.Export("run", 0, 0), wasmfile.Export("done", 3, 0)},
		Elems:   []string{"\x01\x00" + wasmfile.U32(100_000) + strings.Repeat("\x00", 100_000)},
		Data:    []string{"\x01" + wasmfile.Str(strings.Repeat("x", 8<<20))},
		Funcs:   []wasmfile.Func{{Locals: "\x01\x04\x7f", Code: code}},
		Counted: true,
	}
}

func number(n int64) string { return "\x41" + wasmfile.LEB(n) }

const (
	countOne = "\x23\x00\x41\x01\x6a\x24\x00"
	mebi     = 1 << 20
)

// A module that is to be stopped does little more, whatever it is at: what it
// has done by then is bounded, however large its instructions are and however
// long its code is.
func TestWorkIsBounded(t *testing.T) {
	touched := func(mod api.Module) int { // bytes of memory
		b, _ := mod.Memory().Read(0, mod.Memory().Size())
		n := 0
		for _, c := range b {
			if c != 0 {
				n++
			}
		}
		return n
	}
	counted := func(mod api.Module) int { return int(mod.ExportedGlobal("done").Get()) }
	grown := func(mod api.Module) int { return int(mod.Memory().Size()) - 16*mebi }
	fill := number(0) + number(1) + number(16*mebi) + "\xfc\x0b\x00"
	for what, c := range map[string]struct {
		code string
		most int
		work func(api.Module) int
	}{
		"one fill":          {fill, 2 * mebi, touched},
		"fills in a loop":   {"\x03\x40" + number(0) + number(7) + number(40_000) + "\xfc\x0b\x00" + countOne + "\x0c\x00\x0b", 60, counted},
		"fills in a line":   {strings.Repeat(number(0)+number(7)+number(40_000)+"\xfc\x0b\x00"+countOne, 4000), 60, counted},
		"a copy":            {number(12*mebi) + number(1) + number(1) + "\xfc\x0b\x00" + strings.Repeat(number(0)+number(8*mebi)+number(8*mebi)+"\xfc\x0a\x00\x00"+countOne, 100), 1, counted},
		"a copy upwards":    {strings.Repeat(number(1)+number(0)+number(15*mebi)+"\xfc\x0a\x00\x00"+countOne, 100), 1, counted},
		"an init":           {number(0) + number(0) + number(8*mebi) + "\xfc\x08\x00\x00", 2 * mebi, touched},
		"fills of a table":  {"\x03\x40" + number(0) + "\xd2\x00" + number(1<<17) + "\xfc\x11\x00" + countOne + "\x0c\x00\x0b", 3, counted},
		"copies of a table": {"\x03\x40" + number(1) + number(0) + number(1<<17-1) + "\xfc\x0e\x00\x00" + countOne + "\x0c\x00\x0b", 3, counted},
		"inits of a table":  {"\x03\x40" + number(0) + number(0) + number(100_000) + "\xfc\x0c\x00\x00" + countOne + "\x0c\x00\x0b", 3, counted},
		"growing":           {"\x03\x40" + number(1) + "\x40\x00\x1a" + "\x0c\x00\x0b", 40 * 65536, grown},
		"long lines":        {"\x03\x40" + strings.Repeat(countOne, 18_000) + "\x0c\x00\x0b", 26_000, counted},
		"a line of blocks":  {"\x03\x40" + strings.Repeat("\x02\x40"+countOne+"\x0b", 3000) + "\x0c\x00\x0b", 26_000, counted},
		"jumps over checks": {"\x03\x40" + strings.Repeat("\x02\x40"+countOne+"\x41\x01\x0d\x00"+strings.Repeat("\x01", 900)+"\x0b", 60) + "\x0c\x00\x0b", 26_000, counted},
	} {
		t.Run(what, func(t *testing.T) {
			m, err := rewrite.Parse(worker(c.code).Bytes())
			if err != nil {
				t.Fatal(err)
			}
			code, err := m.Instrument()
			if err != nil {
				t.Fatal(err)
			}
			rt := wazero.NewRuntimeWithConfig(background, wazero.NewRuntimeConfig().WithCoreFeatures(coreFeatures).WithMemoryLimitPages(4096))
			defer rt.Close(background)
			mod, err := rt.InstantiateWithConfig(background, code, wazero.NewModuleConfig())
			if err != nil {
				t.Fatal(err)
			}
			mod.ExportedGlobal(rewrite.StopGlobal).(api.MutableGlobal).Set(1)
			if _, err := mod.ExportedFunction("run").Call(background); err == nil || !strings.Contains(err.Error(), "unreachable") {
				t.Errorf("it was not stopped: %v", err)
			}
			if n := c.work(mod); n > c.most {
				t.Errorf("it did %d after it was to stop, want at most %d", n, c.most)
			}
		})
	}
}

// One function that would take the compiler minutes is rejected, with what is
// too much.
func TestLimitsOfAFunction(t *testing.T) {
	for what, c := range map[string]struct{ code, says string }{
		"ifs":      {strings.Repeat("\x20\x01\x04\x40\x0b", 60_000), "bytes of code, and one function may have 131072"},
		"blocks":   {strings.Repeat("\x02\x40\x0b", 6001), "more than the 6000 blocks"},
		"loops":    {strings.Repeat("\x03\x40\x0b", 1001), "more than the 1000 loops"},
		"nesting":  {strings.Repeat("\x02\x40", 1501) + strings.Repeat("\x0b", 1501), "more than the 1500 blocks in each other"},
		"br_table": {"\x20\x01\x0e" + wasmfile.U32(100_000) + strings.Repeat("\x00", 100_001), "more than the 10000 targets of br_table"},
		"calls":    {strings.Repeat("\x10\x00", 10_001), "more than the 10000 calls"},
		"size":     {strings.Repeat("\x01", 1<<17), "bytes of code"},
	} {
		f := wasmfile.Good()
		f.Funcs = append(f.Funcs, wasmfile.Func{Type: wasmfile.TypeVoid, Locals: "\x01\x04\x7f", Code: c.code})
		_, err := Parse("large", f.Bytes())
		wantError(t, err, "parse", c.says)
		wantError(t, err, "parse", "function 5: ")
		if !errors.Is(err, taskwatch.ErrInvalid) {
			t.Errorf("%s: %v", what, err)
		}
	}
}

// A module that fills memory without end is stopped at its deadline, in time,
// and others run meanwhile.
func TestBulkInstructionsInACall(t *testing.T) {
	f := wasmfile.Good()
	f.Memory[0] = "\x00" + wasmfile.U32(256)
	f.Funcs[4].Code = "\x03\x40" + number(mebi) + number(1) + number(15*mebi) + "\xfc\x0b\x00" +
		number(mebi) + number(mebi+1) + number(14*mebi) + "\xfc\x0a\x00\x00" + "\x0c\x00\x0b\x41\x00"
	o, err := Parse("bulk", f.Bytes())
	if err != nil {
		t.Fatal(err)
	}
	defer o.Close()
	m := load(t, o, LoadOptions{Deadline: 50 * time.Millisecond, Synchronous: true})
	var r taskwatch.Registry
	register(t, &r, m.Watchers(0))
	if err := r.Feed().Notify(event(taskwatch.Exec)); !errors.Is(err, ErrDeadline) {
		t.Errorf("got %v, want %v", err, fmt.Errorf("%w", ErrDeadline))
	}
}
