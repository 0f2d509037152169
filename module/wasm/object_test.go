package wasm

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/taskwatch/taskwatch"
	"github.com/taskwatch/taskwatch/module/wasm/internal/wasmfile"
	"github.com/taskwatch/taskwatch/module/wasm/rewrite"
)

// wantError checks that err is an *Error of this op, with a text that says
// something.
func wantError(t *testing.T, err error, op, says string) {
	t.Helper()
	var e *Error
	if !errors.As(err, &e) || e.Op != op || e.Module == "" || !strings.Contains(err.Error(), says) || strings.Contains(err.Error(), "\n") {
		t.Errorf("got the error %v, want one of %s that says %q", err, op, says)
	}
}

func TestGoodModule(t *testing.T) {
	o, err := Parse("good", wasmfile.Good().Bytes())
	if err != nil {
		t.Fatal(err)
	}
	defer o.Close()
	if o.Author != "x" || o.Memory() != 64<<10 || len(o.Params()) != 1 || o.Params()[0].Name != "name" {
		t.Errorf("got %+v with the parameters %+v", o, o.Params())
	}
	m := load(t, o, LoadOptions{Params: params("name=7")})
	if got := global(t, m, "name"); got != uint64(7) {
		t.Errorf("name is %v", got)
	}
}

// What cannot be a module is rejected, each with one error that says why.
func TestRejected(t *testing.T) {
	defer func(d time.Duration) { startDeadline = d }(startDeadline)
	startDeadline = 50 * time.Millisecond // for those that never initialise
	const (
		i32x4 = "\x60\x04\x7f\x7f\x7f\x7f\x01\x7f"
		many  = "\xff\xff\x03"
	)
	imports := func(items ...string) func(*wasmfile.File) {
		return func(f *wasmfile.File) {
			f.Types = append(f.Types, i32x4)
			f.Imports = items
			for i := range f.Exports[:5] { // behind the imported functions
				f.Exports[i] = f.Exports[i][:len(f.Exports[i])-1] + string(rune(i+len(items)))
			}
		}
	}
	code := func(code string) func(*wasmfile.File) {
		return func(f *wasmfile.File) { f.Funcs[4].Code = code + "\x41\x00" }
	}
	info := func(s string) func(*wasmfile.File) {
		return func(f *wasmfile.File) {
			f.Funcs[1].Code = "\x42" + wasmfile.LEB(2048<<32|int64(len(s)))
			f.Data = append(f.Data, wasmfile.Data(2048, s))
		}
	}
	vars := func(entries ...string) func(*wasmfile.File) {
		return func(f *wasmfile.File) {
			f.Funcs[2].Code = "\x42" + wasmfile.LEB(2048<<32|int64(len(entries)))
			f.Data = append(f.Data, wasmfile.Data(2048, strings.Join(entries, "")))
		}
	}
	initialize := func(code string) func(*wasmfile.File) {
		return func(f *wasmfile.File) {
			f.Funcs = append(f.Funcs, wasmfile.Func{Type: wasmfile.TypeVoid, Code: code})
			f.Exports = append(f.Exports, wasmfile.Str("_initialize")+"\x00\x05")
		}
	}
	for what, c := range map[string]struct {
		change func(*wasmfile.File)
		says   string
	}{
		"no memory": {func(f *wasmfile.File) { f.Without("memory") }, "does not export its memory"},
		"a function as memory": {func(f *wasmfile.File) {
			f.Without("memory")
			f.Exports = append(f.Exports, wasmfile.Str("memory")+"\x00\x00")
		}, "does not export its memory"},
		"two memories":                  {func(f *wasmfile.File) { f.Memory = append(f.Memory, "\x00\x01") }, "does not export its memory"},
		"shared memory":                 {func(f *wasmfile.File) { f.Memory[0] = "\x03\x01\x01" }, "shared"},
		"much memory":                   {func(f *wasmfile.File) { f.Memory[0] = "\x00" + "\x80\x80\x01" }, "it begins with 1048576 KiB of memory, but may have only 262144 KiB"},
		"more than all memory":          {func(f *wasmfile.File) { f.Memory[0] = "\x00" + "\xff\xff\xff\xff\x0f" }, "of memory, but may have only"},
		"a huge table":                  {func(f *wasmfile.File) { f.Tables = []string{"\x70\x00\xff\xff\xff\xff\x0f"} }, "its tables have 4294967295 elements, and may have 131072"},
		"huge tables":                   {func(f *wasmfile.File) { f.Tables = []string{"\x70\x00\x80\x80\x06", "\x70\x00\x80\x80\x06"} }, "its tables have"},
		"no version":                    {func(f *wasmfile.File) { f.Without(exportABI) }, "it does not export __task_watchers_abi"},
		"no info":                       {func(f *wasmfile.File) { f.Without(exportInfo) }, "it does not export __task_watchers_info"},
		"no record":                     {func(f *wasmfile.File) { f.Without(exportTask) }, "it does not export __task_watchers_task"},
		"no watchers":                   {func(f *wasmfile.File) { f.Without("__task_watcher_exec_fn") }, "it has no watchers"},
		"a watcher of nothing":          {func(f *wasmfile.File) { f.Exports[4] = wasmfile.Str("__task_watcher_boot_fn") + "\x00\x04" }, `its function __task_watcher_boot_fn: "boot" is none of init`},
		"a watcher's odd name":          {func(f *wasmfile.File) { f.Exports[4] = wasmfile.Export("__task_watcher_exec_\x1b[31m", 0, 4) }, "does not print"},
		"a watcher's name with a space": {func(f *wasmfile.File) { f.Exports[4] = wasmfile.Export("__task_watcher_exec_a b", 0, 4) }, "is printable ASCII"},
		"a watcher, no name":            {func(f *wasmfile.File) { f.Exports[4] = wasmfile.Str("__task_watcher_exec_") + "\x00\x04" }, "the name of a watcher is __task_watcher_exec_NAME"},
		"a watcher's signature":         {func(f *wasmfile.File) { f.Funcs[4] = wasmfile.Func{Type: wasmfile.TypeI32, Code: "\x41\x00"} }, "its function __task_watcher_exec_fn has the type () -> i32, but must have (i64, i32) -> i32"},
		"info's signature":              {func(f *wasmfile.File) { f.Funcs[1] = wasmfile.Func{Type: wasmfile.TypeI32, Code: "\x41\x00"} }, "__task_watchers_info has the type () -> i32, but must have () -> i64"},
		"a global as watcher": {func(f *wasmfile.File) {
			f.Globals = []string{"\x7f\x00\x41\x00\x0b"}
			f.Exports[4] = wasmfile.Str("__task_watcher_exec_fn") + "\x03\x00"
		}, "its export __task_watcher_exec_fn is a global, not a function"},
		"a watcher that is not there": {func(f *wasmfile.File) { f.Exports[4] = wasmfile.Str("__task_watcher_exec_fn") + "\x00\x63" }, "no function 99"},
		"a program":                   {func(f *wasmfile.File) { f.Exports = append(f.Exports, wasmfile.Str("_start")+"\x00\x00") }, "build it as a reactor"},
		"a start section":             {func(f *wasmfile.File) { f.Start = "\x00" }, "it has a start section"},
		"the sandbox's own export":    {func(f *wasmfile.File) { f.Exports = append(f.Exports, wasmfile.Str(rewrite.StopGlobal)+"\x00\x00") }, "the sandbox's own name"},
		"an export twice":             {func(f *wasmfile.File) { f.Exports = append(f.Exports, f.Exports[0]) }, "malformed module"},
		"another version":             {func(f *wasmfile.File) { f.Funcs[0].Code = "\x41\x02" }, "it was built for version 2 of the interface, but this program has version 1"},

		"an import of nobody":         {imports(wasmfile.Str("env") + wasmfile.Str("puts") + "\x00\x00"), "it imports env.puts, which the sandbox does not have; a module may import from taskwatch"},
		"an unknown import":           {imports(wasmfile.Str("taskwatch") + wasmfile.Str("kill") + "\x00\x00"), "it imports taskwatch.kill, which the sandbox does not have"},
		"an import's signature":       {imports(wasmfile.Str("taskwatch") + wasmfile.Str("emit") + "\x00\x05"), "it imports taskwatch.emit as (i32, i32, i32, i32) -> i32, but its type is (i32, i32) -> i32"},
		"an unknown import, WASI":     {imports(wasmfile.Str("wasi_snapshot_preview1") + wasmfile.Str("fork") + "\x00\x00"), "fork"},
		"an import's signature, WASI": {imports(wasmfile.Str("wasi_snapshot_preview1") + wasmfile.Str("fd_write") + "\x00\x00"), "fd_write"},
		"an import of memory": {func(f *wasmfile.File) {
			f.Imports = []string{wasmfile.Str("taskwatch") + wasmfile.Str("memory") + "\x02\x00\x01"}
		}, "it imports the memory taskwatch.memory"},
		"an import of a global": {func(f *wasmfile.File) { f.Imports = []string{wasmfile.Str("env") + wasmfile.Str("x") + "\x03\x7f\x00"} }, "it imports the global env.x"},
		"an import of a tag":    {func(f *wasmfile.File) { f.Imports = []string{wasmfile.Str("env") + wasmfile.Str("x") + "\x04\x00\x00"} }, "it imports the thing of kind 4 env.x"},

		"SIMD":                     {code("\xfd\x0c" + strings.Repeat("\x00", 16) + "\x1a"), "function 4: invalid module: SIMD"},
		"atomics":                  {code("\xfe\x03\x00"), "atomic"},
		"tail calls":               {code("\x12\x04"), "instruction 0x12"},
		"table.grow":               {code("\xd0\x70\x41\x01\xfc\x0f\x00\x1a"), "table.grow"},
		"an unknown instruction":   {code("\xff"), "instruction 0xff"},
		"the sandbox's own global": {code("\x41\x00\x24\x00"), "no global 0"}, // it would be the first
		"many variables":           {func(f *wasmfile.File) { f.Funcs[4].Locals = "\x01" + many + "\x7f" }, "it has 65535 variables"},
		"very many variables":      {func(f *wasmfile.File) { f.Funcs[4].Locals = "\x01\xff\xff\xff\xff\x0f\x7f" }, "variables, and may have"},
		"a type that is none":      {func(f *wasmfile.File) { f.Types[0] = "\x5f\x00\x00" }, "a type of form 0x5f"},
		"a vector":                 {func(f *wasmfile.File) { f.Types[0] = "\x60\x01\x7b\x00" }, "values of type 0x7b"},
		"code that does not fit":   {code("\x1a"), "malformed module"},
		"a call of nobody":         {code("\x10\x63"), "malformed module"},

		"info outside of memory": {func(f *wasmfile.File) { f.Funcs[1].Code = "\x42" + wasmfile.LEB(-16<<32|100) }, "not in its memory"},
		"much info":              {func(f *wasmfile.File) { f.Funcs[1].Code = "\x42" + wasmfile.LEB(1<<20) }, "it returns 1048576 bytes"},
		"info that is none":      {info("hello"), `"hello" is not key=value`},
		"a veto of exit":         {info("veto=exit"), "MODULE_VETO(exit): only init, exec, uid and gid can be denied"},
		"a field of no name":     {info("reads=nothing"), "MODULE_READS(nothing): this program does not know the field; use a newer taskwatch"},
		"a field that is there":  {info("reads=pid"), "MODULE_READS(pid): it is no optional field, and always there; leave it out"},
		"a default field":        {info("reads=exe"), "MODULE_READS(exe): it is no optional field; name it with default=exe"},
		"a default field, free":  {info("default=pid"), "MODULE_READS(pid): this program does not know the field; use a newer taskwatch"},
		"a group of fields":      {info("reads=caps"), "MODULE_READS(caps): this program does not know the field"},
		"a veto without watcher": {info("veto=uid"), "MODULE_VETO(uid): it has no watcher on uid"},
		"variables outside":      {func(f *wasmfile.File) { f.Funcs[2].Code = "\x42" + wasmfile.LEB(-16<<32|1) }, "not in its memory"},
		"many variables to read": {func(f *wasmfile.File) { f.Funcs[2].Code = "\x42" + wasmfile.LEB(0xffffffff) }, "4294967295 entries, but may have only 1024"},
		"a name outside":         {vars(wasmfile.Words(0xfffffff0, 32, 0, 0, 3, 0, 600, 1)), "not in the module's memory"},
		"a long name":            {vars(wasmfile.Words(300, 65, 0, 0, 3, 0, 600, 1)), "a text of 65 bytes"},
		"no name":                {vars(wasmfile.Words(300, 0, 0, 0, 3, 0, 600, 1)), `"" is not a valid name`},
		"an unknown type":        {vars(wasmfile.Words(300, 4, 0, 0, 11, 0, 600, 1)), "name: unknown type 11"},
		"no elements":            {vars(wasmfile.Words(300, 4, 0, 0, 3, 0, 600, 0)), "name: 0 elements"},
		"many elements":          {vars(wasmfile.Words(300, 4, 0, 0, 4, 0, 0, 0x20000001)), "elements"},
		"large variables":        {vars(wasmfile.Words(300, 4, 0, 0, 4, 0, 0, 4096), wasmfile.Words(300, 3, 0, 0, 4, 0, 0, 4096), wasmfile.Words(300, 2, 0, 0, 4, 0, 0, 4096), wasmfile.Words(300, 1, 0, 0, 4, 0, 0, 4096), wasmfile.Words(301, 1, 0, 0, 4, 0, 0, 4096), wasmfile.Words(301, 2, 0, 0, 4, 0, 0, 4096), wasmfile.Words(301, 3, 0, 0, 4, 0, 0, 4096), wasmfile.Words(302, 1, 0, 0, 4, 0, 0, 4096), wasmfile.Words(302, 2, 0, 0, 4, 0, 0, 1)), "more than the 262144 bytes"},
		"a variable outside":     {vars(wasmfile.Words(300, 4, 0, 0, 4, 0, 0xffff, 1)), "name: it is not in the module's memory"},
		"a variable twice":       {vars(wasmfile.Words(300, 4, 0, 0, 4, 0, 600, 1), wasmfile.Words(300, 4, 0, 0, 4, 0, 600, 1)), "name twice"},
		"a reserved name": {func(f *wasmfile.File) {
			vars(wasmfile.Words(3000, 8, 0, 0, 4, 1, 600, 1))(f)
			f.Data = append(f.Data, wasmfile.Data(3000, "deadline"))
		}, "deadline: the sandbox has a parameter with that name"},
		"no room for the record": {func(f *wasmfile.File) { f.Funcs[3].Code = "\x41\x00" }, "__task_watchers_task(272) returned 0x0"},
		"a record outside":       {func(f *wasmfile.File) { f.Funcs[3].Code = "\x41" + wasmfile.LEB(65530) }, "its memory has no such room there"},
		"a trap at the start":    {initialize("\x00"), "_initialize: trap: unreachable"},
		"no end of the start":    {initialize("\x03\x40\x0c\x00\x0b"), "_initialize: deadline exceeded: it took more than"},
		"no end of the version":  {func(f *wasmfile.File) { f.Funcs[0].Code = "\x03\x40\x0c\x00\x0b\x41\x01" }, "__task_watchers_abi: deadline exceeded"},
		"data outside of memory": {func(f *wasmfile.File) { f.Data = append(f.Data, wasmfile.Data(65530, "outside")) }, "data"},
	} {
		f := wasmfile.Good()
		c.change(f)
		o, err := Parse("bad", f.Bytes())
		if err == nil {
			o.Close()
			t.Errorf("%s was taken", what)
			continue
		}
		t.Logf("%s: %v", what, err)
		wantError(t, err, "parse", c.says)
		if !errors.Is(err, taskwatch.ErrInvalid) && !errors.Is(err, ErrTrap) && !errors.Is(err, ErrDeadline) {
			t.Errorf("%s: %v is no error of the module", what, err)
		}
	}
	if _, err := Parse("bad", func() []byte { f := wasmfile.Good(); f.Funcs[0].Code = "\x41\x02"; return f.Bytes() }()); !errors.Is(err, ErrABI) {
		t.Errorf("another version: %v", err)
	}
	for what, c := range map[string]struct {
		name string
		file string
		says string
	}{
		"nothing":      {"bad", "", "not a WebAssembly module; build it with"},
		"garbage":      {"bad", "garbage", "not a WebAssembly module"},
		"an object":    {"bad", "\x7fELF\x02\x01", "it is an ELF object, which the kernel takes"},
		"a magic only": {"bad", "\x00asm", "truncated module"},
		"a component":  {"bad", "\x00asm\x0d\x00\x01\x00", "or a component"},
		"an empty one": {"bad", wasmfile.Magic, "does not export its memory"},
		"a name":       {"a b", string(wasmfile.Good().Bytes()), "a module's name is"},
		"a section":    {"bad", wasmfile.Magic + "\x0e\x00", "a section of kind 14"},
		"sections":     {"bad", wasmfile.Magic + "\x03\x01\x00\x01\x01\x00", "in the wrong place"},
		"a long one":   {"bad", wasmfile.Magic + "\x01\x02\x00\x00", "longer than what is in it"},
		"a number":     {"bad", wasmfile.Magic + "\x01\x06\xff\xff\xff\xff\xff\x01", "more than 32 bits"},
		"too large":    {"bad", string(make([]byte, rewrite.MaxSize+1)), "more than the 33554432 bytes"},
	} {
		_, err := Parse(c.name, []byte(c.file))
		t.Logf("%s: %v", what, err)
		wantError(t, err, "parse", c.says)
	}
}

// A module that ends early is rejected wherever it ends.
func TestTruncated(t *testing.T) {
	whole := buildFile(t, "facts.c")
	for _, b := range [][]byte{whole, wasmfile.Good().Bytes()} {
		for n := range b {
			o, err := Parse("cut", b[:n])
			if err == nil {
				// Without its last sections it may be a module of its own.
				if err := o.Close(); err != nil {
					t.Fatal(err)
				}
				continue
			}
			var e *Error
			if !errors.As(err, &e) {
				t.Fatalf("%d bytes: %v", n, err)
			}
		}
	}
}

func TestCloseObject(t *testing.T) {
	o, err := Parse("good", wasmfile.Good().Bytes())
	if err != nil {
		t.Fatal(err)
	}
	m, err := o.Load(LoadOptions{})
	if err != nil {
		t.Fatal(err)
	}
	// What was loaded stays, and nothing can be loaded any more.
	for range 2 {
		if err := o.Close(); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := o.Load(LoadOptions{}); !errors.Is(err, ErrClosed) {
		t.Errorf("loading of a closed object: %v", err)
	}
	var r taskwatch.Registry
	register(t, &r, m.Watchers(taskwatch.KindsOf(taskwatch.Exec)))
	if err := r.Feed().Notify(event(taskwatch.Exec)); err != nil {
		t.Error(err)
	}
	for range 2 {
		if err := m.Close(); err != nil {
			t.Error(err)
		}
	}
	if _, err := m.Globals(t.Context()); !errors.Is(err, ErrClosed) {
		t.Errorf("globals of a closed module: %v", err)
	}
}

func FuzzParse(f *testing.F) {
	startDeadline = 20 * time.Millisecond
	whole := wasmfile.Good().Bytes()
	f.Add(whole)
	f.Add(whole[:len(whole)/2])
	other := wasmfile.Good()
	other.Funcs[4].Code = "\x03\x40\x20\x00\xa7\x0e\x01\x00\x00\x0b\x41\x00"
	other.Tables = []string{"\x70\x01\x01\x10"}
	other.Globals = []string{"\x7f\x01\x41\x00\x0b"}
	f.Add(other.Bytes())
	f.Fuzz(func(t *testing.T, b []byte) {
		o, err := Parse("fuzz", b)
		if err != nil {
			var e *Error
			if !errors.As(err, &e) {
				t.Fatalf("%T: %[1]v", err)
			}
			return
		}
		if err := o.Close(); err != nil {
			t.Fatal(err)
		}
	})
}

func FuzzVars(f *testing.F) {
	// Few bytes: what is found is made smaller byte by byte, and each of these
	// takes a run.
	memory := make([]byte, 96)
	copy(memory, "name")
	copy(memory[16:], wasmfile.Words(0, 4, 0, 2, 3, 1, 80, 1)+wasmfile.Words(1, 2, 0, 0, 10, 0, 80, 16))
	f.Add(memory, uint32(16), uint32(2))
	f.Add(memory[:48], uint32(16), uint32(1))
	f.Add(memory, uint32(80), uint32(4))
	f.Fuzz(func(t *testing.T, memory []byte, address, count uint32) {
		read := func(address, n uint32) ([]byte, bool) {
			if uint64(address)+uint64(n) > uint64(len(memory)) {
				return nil, false
			}
			return memory[address:][:n], true
		}
		vars, err := decodeVars(read, address, count)
		if err != nil {
			return
		}
		for _, v := range vars {
			b, ok := read(v.address, v.size())
			if !ok {
				t.Fatalf("%+v is not in memory", v)
			}
			v.value(b)
			if v.param && v.typ != typeChar {
				if got, n, err := v.encode("1"); (n == 1) != v.isList() || err != nil || len(got) != int(v.size()) {
					t.Fatalf("%+v cannot be set: %v", v, err)
				}
			}
		}
	})
}
