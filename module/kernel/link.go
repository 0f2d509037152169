package kernel

import (
	"fmt"
	"slices"

	"github.com/cilium/ebpf/asm"
	"github.com/cilium/ebpf/btf"

	"github.com/taskwatch/taskwatch"
)

// The bits of the last argument of a report function.
const (
	// ReportVeto says that this error refuses the operation: it is the
	// first of the event by a watcher that may.
	ReportVeto = 1 << iota
	// ReportDryRun says that it would have, if the table were no dry run.
	ReportDryRun
)

// listing is a module in the lists of a table.
type listing struct {
	object  *Object
	maps    func(name string) asm.FDer // nil for an unknown name
	id      uint32                     // tags records; never reused
	kinds   taskwatch.Kinds            // listed under these
	watched [taskwatch.NumKinds][]watcher
}

// watcher is one function in a list.
type watcher struct {
	symbol string
	id     uint32 // never reused
	slot   int    // of its counters; reused

	base [numStats]uint64 // the counters when it was listed
}

func (l *listing) watchers(k taskwatch.Kind) []watcher {
	if !l.kinds.Has(k) {
		return nil
	}
	return l.watched[k]
}

func (l *listing) decides(k taskwatch.Kind) bool { return l.object.Veto.Has(k) }

// linker builds the dispatcher of one hook. It makes no system call.
type linker struct {
	hook   *hook
	off    *offsets
	stats  asm.FDer
	stash  asm.FDer // nil but for hooks on system calls
	dryRun bool
	lists  []*listing // built-ins first

	bodies asm.Instructions
	linked map[string]bool // symbols whose bodies are there
}

// used reports whether the hook has any watcher to call.
func (lk *linker) used() bool {
	for _, c := range lk.hook.calls {
		for _, l := range lk.lists {
			if c.to != onceVetoed && c.to.reaches(l.decides(c.kind)) && len(l.watchers(c.kind)) > 0 {
				return true
			}
		}
	}
	return false
}

// link returns the instructions of the dispatcher with all that it calls.
func (lk *linker) link() (asm.Instructions, error) {
	lk.linked = map[string]bool{}
	report, err := lk.provider(func(o *Object) string { return o.report })
	if err != nil {
		return nil, err
	}
	g := &gen{off: lk.off, stash: lk.stash}
	g.emit(
		asm.Mov.Reg(regCtx, asm.R1),
		asm.Mov.Imm(regFirst, 0),
	)
	for i, c := range lk.hook.calls {
		if c.to == onceVetoed && lk.dryRun {
			continue
		}
		if err := lk.call(g, i, c, report); err != nil {
			return nil, err
		}
	}
	if lk.hook.veto && !lk.dryRun {
		g.emit(asm.Mov.Reg(asm.R0, regFirst), asm.Return())
	} else {
		g.emit(asm.Mov.Imm(asm.R0, 0), asm.Return())
	}
	insns := g.insns
	insns[0] = startFunction(insns[0], &btf.Func{
		Name: "task_watchers",
		Type: &btf.FuncProto{Return: typeInt, Params: []btf.FuncParam{{Name: "ctx", Type: typePointer}}},
	})
	return append(insns, lk.bodies...), nil
}

// call generates one event of the hook: its loader, and the call of every
// watcher in order.
func (lk *linker) call(g *gen, n int, c call, report string) error {
	g.prefix = fmt.Sprintf("c%d_", n)
	g.skip = g.label("skip")
	loaded := false
	for _, l := range lk.lists {
		decider := l.decides(c.kind)
		if !c.to.reaches(decider) {
			continue
		}
		for i := range l.watchers(c.kind) {
			w := &l.watched[c.kind][i]
			if !loaded {
				loaded = true
				g.emit(
					asm.Mov.Imm(asm.R1, 0),
					asm.StoreMem(asm.RFP, stackDetail, asm.R1, asm.DWord),
					asm.StoreMem(asm.RFP, stackExtra, asm.R1, asm.DWord),
				)
				c.load(g)
			}
			symbol, err := lk.need(l, w.symbol)
			if err != nil {
				return err
			}
			decides := decider && lk.hook.veto && c.to != onceVetoed
			g.watcher(symbol, w, decides, decider && c.to == witnesses, lk.stats, report, lk.dryRun)
		}
	}
	if loaded {
		g.mark(g.skip)
	}
	return nil
}

// provider returns the linked symbol of the first built-in that provides a
// function, or "".
func (lk *linker) provider(of func(*Object) string) (string, error) {
	for _, l := range lk.lists {
		if symbol := of(l.object); symbol != "" {
			return lk.need(l, symbol)
		}
	}
	return "", nil
}

// need adds a function of a module, and what it calls, to the program unless
// they are there, and returns its name in the program. Each body is there
// once per module.
func (lk *linker) need(l *listing, symbol string) (string, error) {
	name := fmt.Sprintf("m%d_%s", l.id, symbol)
	if lk.linked[name] {
		return name, nil
	}
	lk.linked[name] = true
	if symbol == emitSymbol {
		return name, lk.addEmit(l, name)
	}
	body := slices.Clone(l.object.funcs[symbol])
	if len(body) == 0 {
		return "", fmt.Errorf("function %s is not defined", symbol)
	}
	fn := *btf.FuncMetadata(&body[0])
	fn.Name = name
	body[0] = startFunction(body[0], &fn)
	at := len(lk.bodies)
	lk.bodies = append(lk.bodies, body...)
	for i := range body {
		ins := &lk.bodies[at+i]
		ref := ins.Reference()
		switch {
		case ref == "":
		case ins.IsFunctionReference():
			callee, err := lk.need(l, ref) // grows lk.bodies
			if err != nil {
				return "", err
			}
			lk.bodies[at+i] = lk.bodies[at+i].WithReference(callee)
		case ins.IsLoadFromMap():
			m := l.maps(ref)
			if m == nil {
				return "", fmt.Errorf("function %s refers to map %s, which was not created", symbol, ref)
			}
			if err := ins.AssociateMap(m); err != nil {
				return "", fmt.Errorf("function %s: map %s: %w", symbol, ref, err)
			}
		}
	}
	return name, nil
}

// errNoListener is what task_watcher_emit returns where nobody takes records.
const errNoListener = 107 // ENOTCONN

// addEmit adds the module's own task_watcher_emit: it puts the module's id
// before the arguments and calls the built-in that takes records.
func (lk *linker) addEmit(l *listing, name string) error {
	provider, err := lk.provider(func(o *Object) string { return o.emit })
	if err != nil {
		return err
	}
	body := asm.Instructions{
		asm.Mov.Reg(asm.R3, asm.R2),
		asm.Mov.Reg(asm.R2, asm.R1),
		asm.Mov.Imm(asm.R1, int32(l.id)),
	}
	if provider != "" {
		body = append(body, asm.Call.Label(provider))
	} else {
		body = append(body, asm.Mov.Imm(asm.R0, -errNoListener))
	}
	body = append(body, asm.Return())
	body[0] = startFunction(body[0], &btf.Func{
		Name: name,
		Type: &btf.FuncProto{Return: typeInt, Params: []btf.FuncParam{
			{Name: "data", Type: typePointer}, {Name: "size", Type: typeInt},
		}},
	})
	lk.bodies = append(lk.bodies, body...)
	return nil
}

var (
	typeInt     = &btf.Int{Name: "int", Size: 4, Encoding: btf.Signed}
	typePointer = &btf.Pointer{Target: &btf.Void{}}
)

// startFunction marks ins as the first of a static function. The kernel wants
// line information for each function of a program that has type information.
func startFunction(ins asm.Instruction, fn *btf.Func) asm.Instruction {
	fn.Linkage = btf.StaticFunc
	if ins.Source() == nil {
		ins = ins.WithSource(&btf.Line{})
	}
	return btf.WithFuncMetadata(ins.WithSymbol(fn.Name), fn)
}
