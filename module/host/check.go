package host

import (
	"errors"
	"fmt"

	"github.com/taskwatch/taskwatch"
	"github.com/taskwatch/taskwatch/module"
	"github.com/taskwatch/taskwatch/module/kernel"
	"github.com/taskwatch/taskwatch/module/wasm"
)

// Limits say what an accepted module still cannot do.
type Limits struct {
	Powerless []string // events that it cannot deny, each with the reason
	Skippable []string // events of which some pass that it denies
}

// Check checks a module without a source. The verifier checks a module for the
// kernel as it would be linked, and nothing is attached. A module for the
// sandbox is loaded with its parameters. If a module wants to deny what it
// cannot, that is an error, unless the options accept it.
func Check(f *File, opts Options) (limits Limits, err error) {
	switch f.kind {
	case Kernel:
		limits, err = checkKernel(f, opts)
	case Sandbox:
		var m *wasm.Module
		if m, err = f.wasm.Load(wasm.LoadOptions{Params: opts.Params}); err == nil {
			err = m.Close()
		}
	}
	return limits, failure("check", f.name, err)
}

func checkKernel(f *File, opts Options) (limits Limits, err error) {
	m, err := f.loadObject(kernel.LoadOptions{Params: opts.Params})
	if err != nil {
		return limits, err
	}
	defer func() { err = errors.Join(err, m.Close()) }()
	support, err := kernel.Probe()
	if err != nil {
		return limits, err
	}
	table, err := kernel.NewTable(kernel.Config{Support: support})
	if err != nil {
		return limits, err
	}
	defer func() { err = errors.Join(err, table.Close()) }()
	if err := table.Check(m); err != nil {
		return limits, err
	}
	var lacks, skipped taskwatch.Kinds
	why := ""
	for _, k := range f.Veto().List() {
		switch e := support.Events()[k]; {
		case e.Veto == "":
			limits.Powerless = append(limits.Powerless, fmt.Sprintf("%s (%s)", k, e.Why))
			lacks |= taskwatch.KindsOf(k)
			why = e.Why
		case e.Skippable:
			limits.Skippable = append(limits.Skippable, k.String())
			skipped |= taskwatch.KindsOf(k)
		}
	}
	switch {
	case opts.AllowObserveOnly:
	case lacks != 0:
		return limits, module.NoVeto(lacks, fmt.Sprintf("on this kernel (%s)", why))
	case skipped != 0 && !opts.AllowBestEffort:
		return limits, module.BestEffort(skipped, fmt.Sprintf("preemption: %s; LSM programs: %v", support.Preemption, support.LSM))
	}
	return limits, nil
}
