// Package modules holds the stock modules: their sources and, but for the one
// in Go, what is built of them, so that loading one needs no compiler.
package modules

import (
	"bytes"
	"embed"
	"path"
	"slices"
	"strings"
)

// Objects do not depend on the processor, but for its byte order.
//
//go:generate go run ../module/build/cmd/modbuild -version 19 -o built acct/acct.c auditrec/auditrec.c classify/classify.c cnproc/cnproc.c execguard/execguard.c forkguard/forkguard.c label/label.c lifecheck/lifecheck.c twbench/twbench.c
//go:generate go run ../module/build/cmd/modbuild -version 19 -wasm -o built execrule/execrule.c

//go:embed */*.c slowexec/slowexec.go built
var files embed.FS

// Module is a stock module.
type Module struct {
	Name    string
	Summary string // its own description
	source  string // paths in files
	built   string // "" if it has to be built first
}

var all = []*Module{
	{"acct", "counts and CPU time per user", "acct/acct.c", "built/acct.o"},
	{"auditrec", "audit records of execs, ids and exits, by rule", "auditrec/auditrec.c", "built/auditrec.o"},
	{"classify", "decides by rules which control group a process belongs into", "classify/classify.c", "built/classify.o"},
	{"cnproc", "the messages of the process events connector", "cnproc/cnproc.c", "built/cnproc.o"},
	{"execguard", "denies programs by path, file, directory, mount, fs-verity digest or argument", "execguard/execguard.c", "built/execguard.o"},
	{"execrule", "denies execs by program and argument", "execrule/execrule.c", "built/execrule.wasm"},
	{"forkguard", "denies forks of users with too many live tasks", "forkguard/forkguard.c", "built/forkguard.o"},
	{"label", "a label for each process, which its descendants inherit", "label/label.c", "built/label.o"},
	{"lifecheck", "checks the order of each task's events", "lifecheck/lifecheck.c", "built/lifecheck.o"},
	{"slowexec", "reports commands that fail or take long", "slowexec/slowexec.go", ""},
	{"twbench", "fork and exit rates of the machine", "twbench/twbench.c", "built/twbench.o"},
}

// All returns the stock modules by name. The list is the caller's.
func All() []*Module { return slices.Clone(all) }

// Find returns the stock module of that name, or nil.
func Find(name string) *Module {
	i := slices.IndexFunc(all, func(m *Module) bool { return m.Name == name })
	if i < 0 {
		return nil
	}
	return all[i]
}

// Source returns the source and the name of its file. The bytes are the
// caller's.
func (m *Module) Source() (file string, b []byte) { return path.Base(m.source), read(m.source) }

// Object returns the file of the module as it was built, or nil. The bytes are
// the caller's.
func (m *Module) Object() []byte {
	if m.built == "" {
		return nil
	}
	return read(m.built)
}

// Sandboxed reports whether it runs in the sandbox, and not in the kernel.
func (m *Module) Sandboxed() bool { return !strings.HasSuffix(m.built, ".o") }

// IsStock reports whether b is the object of a stock module.
func IsStock(b []byte) bool { return NameOf(b) != "" }

// NameOf returns the name of the stock module that b is the object of, or "".
func NameOf(b []byte) string {
	i := slices.IndexFunc(all, func(m *Module) bool { return m.built != "" && bytes.Equal(m.Object(), b) })
	if i < 0 {
		return ""
	}
	return all[i].Name
}

func read(name string) []byte {
	b, err := files.ReadFile(name)
	if err != nil {
		panic(err) // it is part of the program
	}
	return b
}
