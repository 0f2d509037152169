package host

import (
	"errors"
	"fmt"

	"github.com/taskwatch/taskwatch/module/kernel"
	"github.com/taskwatch/taskwatch/module/wasm"
)

// Limits say what an accepted module still cannot do.
type Limits struct {
	Powerless []string // events that it cannot deny, each with the reason
	Skippable []string // events of which some pass that it denies
}

// CheckParams returns the error that a Host's Load returns for parameters that the module
// does not have, or cannot have. It needs no privileges.
func (f *File) CheckParams(params map[string]string) (err error) {
	switch f.kind {
	case Kernel:
		err = f.kernel.CheckParams(params)
	case Sandbox:
		err = f.wasm.CheckParams(params)
	}
	if err == nil {
		err = f.checkMeaning(params)
	}
	return failure("check", f.name, err)
}

// Check checks a module without loading it into a host. A module for the sandbox is
// loaded with its parameters. The verifier checks a module for the kernel as it would
// be linked into the table, with the built-ins of that, and nothing is attached. If a
// module wants to deny what it cannot, that is an error, unless the options accept it.
// The table is for modules of the kernel; others take nil.
func Check(f *File, table *kernel.Table, opts Options) (limits Limits, err error) {
	switch f.kind {
	case Kernel:
		limits, err = checkKernel(f, table, opts)
	case Sandbox:
		var m *wasm.Module
		if err = f.checkMeaning(opts.Params); err != nil {
			break
		}
		if m, err = f.wasm.Load(wasm.LoadOptions{Params: opts.Params}); err == nil {
			err = m.Close()
		}
	}
	return limits, failure("check", f.name, err)
}

func checkKernel(f *File, table *kernel.Table, opts Options) (limits Limits, err error) {
	m, err := f.loadObject(kernel.LoadOptions{Params: opts.Params, Contents: opts.Contents, Table: table})
	if err != nil {
		return limits, err
	}
	defer func() { err = errors.Join(err, m.Close()) }()
	if err := table.Check(m, registration(&opts)); err != nil {
		return limits, err
	}
	events := table.Support().Events()
	for _, k := range f.Veto().List() {
		switch e := events[k]; {
		case e.Veto == "":
			limits.Powerless = append(limits.Powerless, fmt.Sprintf("%s (%s)", k, e.Why))
		case e.Skippable:
			limits.Skippable = append(limits.Skippable, k.String())
		}
	}
	return limits, nil
}
