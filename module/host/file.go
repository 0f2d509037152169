package host

import (
	"github.com/taskwatch/taskwatch"
	"github.com/taskwatch/taskwatch/module"
	"github.com/taskwatch/taskwatch/module/kernel"
	"github.com/taskwatch/taskwatch/module/wasm"
	stock "github.com/taskwatch/taskwatch/modules"
)

// File is a module that was read, but not loaded.
type File struct {
	kind   string
	name   string
	kernel *kernel.Object
	wasm   *wasm.Object
	golang *taskwatch.Module
	stock  string // the name of the stock module that it is; "" for others
}

// Parse takes the content of a file apart. Its bytes say the kind. A module
// for the sandbox is compiled, by the parser or, where that is nil, as the zero
// [wasm.Parser] does it, and initialised once to be asked what it is. The caller
// must call Close.
func Parse(name string, b []byte, sandbox *wasm.Parser) (*File, error) {
	f := &File{name: name}
	var err error
	if f.kind, err = kindOf(b); err == nil {
		f.stock = stock.NameOf(b)
		switch f.kind {
		case Kernel:
			f.kernel, err = kernel.Parse(name, b)
		case Sandbox:
			if sandbox == nil {
				sandbox = &wasm.Parser{}
			}
			f.wasm, err = sandbox.Parse(name, b)
		}
	}
	if err != nil {
		return nil, failure("parse", name, err)
	}
	return f, nil
}

// GoModule returns the File of a module in this program.
func GoModule(m *taskwatch.Module) *File { return &File{kind: Go, name: m.Name, golang: m} }

// Name returns the module's name.
func (f *File) Name() string { return f.name }

// Kind returns Kernel, Sandbox or Go.
func (f *File) Kind() string { return f.kind }

// Kinds returns the events that the module has watchers for.
func (f *File) Kinds() taskwatch.Kinds {
	switch f.kind {
	case Kernel:
		return f.kernel.Kinds()
	case Sandbox:
		return f.wasm.Kinds()
	}
	return f.golang.Kinds()
}

// Veto returns the events that the module wants to deny. A module in this
// program declares none: it can deny everything that the source can.
func (f *File) Veto() taskwatch.Kinds {
	switch f.kind {
	case Kernel:
		return f.kernel.Veto
	case Sandbox:
		return f.wasm.Veto
	}
	return 0
}

// Info returns what the file says about itself.
func (f *File) Info() Info {
	switch f.kind {
	case Kernel:
		o := f.kernel
		i := newInfo(f, o.Watchers[:], o.Params())
		i.Description, i.Author, i.Version, i.License = o.Description, o.Author, o.Version, o.License
		for _, e := range o.Lists() {
			i.Watchers = append(i.Watchers, Watcher{e.List, e.Function})
		}
		i.Powers = append(i.Powers, o.Powers...)
		for _, m := range o.Maps() {
			i.Maps = append(i.Maps, Map(m))
		}
		return i
	case Sandbox:
		o := f.wasm
		i := newInfo(f, o.Watchers[:], o.Params())
		i.Description, i.Author, i.Version, i.License = o.Description, o.Author, o.Version, o.License
		for _, fn := range o.Execed {
			i.Watchers = append(i.Watchers, Watcher{execed, fn})
		}
		i.Reads, i.Unread, i.Memory = o.ReadNames(), o.Unread.Groups(), o.Memory()
		for _, m := range o.Maps() {
			i.Maps = append(i.Maps, Map(m))
		}
		return i
	}
	return goInfo(f)
}

// Close frees the file. What was loaded from it stays.
func (f *File) Close() error {
	if f.wasm != nil {
		return f.wasm.Close()
	}
	return nil
}

// Info is what a module says of itself. The names in JSON are those of
// everything that shows modules.
type Info struct {
	Name        string    `json:"name"`
	Kind        string    `json:"kind"`
	Description string    `json:"description,omitempty"`
	Author      string    `json:"author,omitempty"`
	Version     string    `json:"version,omitempty"`
	License     string    `json:"license"`
	Watchers    []Watcher `json:"watchers"`
	Veto        []string  `json:"veto"`
	Reads       []string  `json:"reads,omitempty"`  // fields that it asks for by name, in the sandbox
	Unread      []string  `json:"unread,omitempty"` // default fields that it does without
	Powers      []string  `json:"powers"`
	Params      []Param   `json:"params"`
	Maps        []Map     `json:"maps"`
	Memory      int64     `json:"memory_bytes,omitempty"` // that it begins with, in the sandbox
}

// Watcher names a watcher.
type Watcher struct {
	Event    string `json:"event"`
	Function string `json:"function"`
}

// Param is a parameter.
type Param struct {
	Name        string `json:"name"`
	Type        string `json:"type"`
	Default     any    `json:"default"`
	Description string `json:"description,omitempty"`
}

// Map is a BPF map of a module for the kernel, or what a module in the sandbox keeps of
// each task or process.
type Map struct {
	Name       string `json:"name"`
	Type       string `json:"type"`
	KeySize    uint32 `json:"key_size"`
	ValueSize  uint32 `json:"value_size"`
	MaxEntries uint32 `json:"max_entries"`
	Shared     bool   `json:"shared,omitempty"` // with other modules
}

func newInfo(f *File, watchers [][]string, params []module.Param) Info {
	i := Info{Name: f.name, Kind: f.kind, Watchers: []Watcher{}, Veto: []string{}, Powers: []string{}, Params: []Param{}, Maps: []Map{}}
	for k, list := range watchers {
		for _, fn := range list {
			i.Watchers = append(i.Watchers, Watcher{taskwatch.Kind(k).String(), fn})
		}
	}
	for _, k := range f.Veto().List() {
		i.Veto = append(i.Veto, k.String())
	}
	for _, p := range params {
		i.Params = append(i.Params, Param(p))
	}
	return i
}

// execed is the list of watchers that are called after an exec that has succeeded.
const execed = "execed"

// Kinds returns the events that the module has watchers for.
func (i *Info) Kinds() (s taskwatch.Kinds) {
	for _, w := range i.Watchers {
		if k, err := taskwatch.ParseKind(w.Event); err == nil {
			s |= taskwatch.KindsOf(k)
		} else if w.Event == execed {
			s |= taskwatch.KindsOf(taskwatch.Exec)
		}
	}
	return s
}
