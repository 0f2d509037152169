package wasmfile

import "strings"

// The types of Good.
const (
	TypeVoid    = iota // () -> ()
	TypeI32            // () -> i32
	TypeI64            // () -> i64
	TypeI32I32         // i32 -> i32
	TypeWatcher        // i64, i32 -> i32
)

// Good is a module that can be loaded: its text is at 16, its table of
// variables at 512, its record at 1024. Its last function is a watcher of
// exec, with the number 4.
func Good() *File {
	f := &File{
		Types:  []string{"\x60\x00\x00", "\x60\x00\x01\x7f", "\x60\x00\x01\x7e", "\x60\x01\x7f\x01\x7f", "\x60\x02\x7e\x7f\x01\x7f"},
		Memory: []string{"\x00\x01"},
		Funcs: []Func{
			{Type: TypeI32, Code: "\x41\x01"},
			{Type: TypeI64, Code: "\x42" + LEB(16<<32|8)},
			{Type: TypeI64, Code: "\x42" + LEB(512<<32|1)},
			{Type: TypeI32I32, Code: "\x41" + LEB(1024)},
			{Type: TypeWatcher, Code: "\x41\x00"},
		},
		Data: []string{
			Data(16, "author=x"),
			Data(300, "name"),
			Data(512, Words(300, 4, 0, 0, 3, 1, 600, 1)), // a u32 at 600
		},
	}
	for i, name := range []string{"__task_watchers_abi", "__task_watchers_info", "__task_watchers_vars", "__task_watchers_task", "__task_watcher_exec_fn"} {
		f.Exports = append(f.Exports, Export(name, 0, uint32(i)))
	}
	f.Exports = append(f.Exports, Export("memory", 2, 0))
	return f
}

// Without takes an export away.
func (f *File) Without(name string) {
	var kept []string
	for _, e := range f.Exports {
		if !strings.HasPrefix(e, Str(name)) {
			kept = append(kept, e)
		}
	}
	f.Exports = kept
}
