package kernel

import (
	"fmt"
	"math"
	"slices"

	"github.com/cilium/ebpf/asm"
	"github.com/cilium/ebpf/btf"

	"github.com/taskwatch/taskwatch"
	"github.com/taskwatch/taskwatch/internal/offsets"
	"github.com/taskwatch/taskwatch/internal/plan"
)

// Where things are in the third argument of a report function, above the
// watcher's id.
const (
	reportFlags = 32
	reportEvent = 40
)

// The flags in the third argument of a report function.
const (
	// ReportVeto says that this error refuses the operation: it is the
	// first of the event by a watcher that may.
	ReportVeto = 1 << iota
	// ReportDryRun says that it would have, if the table were no dry run.
	ReportDryRun
)

// linker builds the dispatcher of one hook. It makes no system call.
//
// A dispatcher is one program unless its watchers are too many for one: a
// program may use 64 maps and have 256 functions. It is then a chain of
// stages, each of which ends with a tail call of the next; a veto travels
// along in a map, under the id of the running task.
type linker struct {
	hook    *plan.Hook
	off     *offsets.Offsets
	stats   asm.FDer
	latches asm.FDer
	stash   asm.FDer   // for hooks on system calls
	carry   asm.FDer   // for hooks that can refuse
	exempt  *exemption // or nil
	slot    asm.FDer   // where the stages are
	second  int        // the slot of the second stage; the others follow
	dryRun  bool
	lists   []*listing // built-ins first

	// Of the stage that is being built:
	bodies asm.Instructions
	linked map[string]bool // symbols whose bodies are there
}

// item is one event for one module: what a stage is made of.
type item struct {
	call int // of the hook
	list *listing
}

// used reports whether the hook has any watcher to call.
func (lk *linker) used() bool {
	for _, c := range lk.hook.Calls {
		for _, l := range lk.lists {
			if c.To != plan.OnceVetoed && l.concerned(c) {
				return true
			}
		}
	}
	return false
}

// comparesIDs reports whether what the hook calls needs the ids of before an exec.
func (lk *linker) comparesIDs() bool {
	if lk.hook.Before == "" {
		return false
	}
	for _, c := range lk.hook.Calls {
		if c.Kind == taskwatch.UID || c.Kind == taskwatch.GID {
			for _, l := range lk.lists {
				if l.concerned(c) {
					return true
				}
			}
		}
	}
	return false
}

// link returns the instructions of the dispatcher's stages, each with all that
// it calls.
func (lk *linker) link() ([]asm.Instructions, error) {
	stages, err := lk.divide()
	if err != nil {
		return nil, err
	}
	if len(stages) > 1+bankSize {
		return nil, fmt.Errorf("%d programs would be needed for all its watchers, and there is room for %d", len(stages), 1+bankSize)
	}
	programs := make([]asm.Instructions, len(stages))
	for i, items := range stages {
		if programs[i], err = lk.stage(items, i, len(stages)); err != nil {
			return nil, err
		}
	}
	return programs, nil
}

// divide lists everything that the hook calls, in order, and cuts the list
// where a program would be full.
func (lk *linker) divide() ([][]item, error) {
	var stages [][]item
	var stage []item
	used := newUsage(lk)
	for n, c := range lk.hook.Calls {
		if c.To == plan.OnceVetoed && lk.dryRun {
			continue
		}
		for _, l := range inOrder(lk.lists, c) {
			if !l.concerned(c) {
				continue
			}
			if !used.add(l, c) && len(stage) > 0 {
				stages = append(stages, stage)
				stage, used = nil, newUsage(lk)
				used.add(l, c)
			}
			if len(stage) == 0 {
				if err := used.fits(lk, l, c.Entry()); err != nil {
					return nil, err
				}
			}
			stage = append(stage, item{n, l})
		}
	}
	return append(stages, stage), nil
}

// stage builds the n-th of so many programs.
func (lk *linker) stage(items []item, n, of int) (asm.Instructions, error) {
	lk.bodies, lk.linked = nil, map[string]bool{}
	report, err := lk.provider(func(o *Object) string { return o.report })
	if err != nil {
		return nil, err
	}
	last := n == of-1
	carries := lk.hook.Veto && of > 1
	g := &gen{off: lk.off, stash: lk.stash, last: last, dryRun: lk.dryRun}
	g.emit(
		asm.Mov.Reg(regCtx, asm.R1),
		asm.Mov.Imm(regFirst, 0),
	)
	if carries && n > 0 {
		g.takeCarried(lk.carry)
	}
	for len(items) > 0 {
		call := items[0].call
		g.prefix = fmt.Sprintf("c%d_", call)
		g.skip = g.label("skip")
		c := lk.hook.Calls[call]
		g.emit(
			asm.Mov.Imm(asm.R1, 0),
			asm.StoreMem(asm.RFP, stackDetail, asm.R1, asm.DWord),
			asm.StoreMem(asm.RFP, stackExtra, asm.R1, asm.DWord),
		)
		if c.To == plan.Observers && lk.hook.Veto && !lk.dryRun {
			g.emit(asm.JNE.Imm(regFirst, 0, g.skip)) // what was denied does not happen
		}
		g.load(c)
		for len(items) > 0 && items[0].call == call {
			if err := lk.watchers(g, c, items[0].list, report); err != nil {
				return nil, err
			}
			items = items[1:]
		}
		g.mark(g.skip)
	}
	if !last {
		if carries {
			g.carry(lk.carry)
		}
		g.tailCall(lk.stats, lk.slot, lk.second+n)
	} else if carries {
		g.dropCarried(lk.carry)
	}
	if lk.hook.Veto && !lk.dryRun {
		g.emit(asm.Mov.Reg(asm.R0, regFirst), asm.Return())
	} else {
		g.emit(asm.Mov.Imm(asm.R0, 0), asm.Return())
	}
	return lk.finish(g), nil
}

// finish puts what is called behind the code that was generated.
func (lk *linker) finish(g *gen) asm.Instructions {
	insns := g.insns
	insns[0] = startFunction(insns[0], &btf.Func{
		Name: "task_watchers",
		Type: &btf.FuncProto{Return: typeInt, Params: []btf.FuncParam{{Name: "ctx", Type: typePointer}}},
	})
	return append(insns, lk.bodies...)
}

// watchers generates the calls of one module's watchers.
func (lk *linker) watchers(g *gen, c plan.Call, l *listing, report string) error {
	decider, e := l.decides(c.Kind), c.Entry()
	skip := g.label(fmt.Sprintf("gated%d", l.id))
	switch {
	case l.marks != nil:
		if err := lk.gate(g, c, l, skip, report); err != nil {
			return err
		}
		defer g.mark(skip)
	case l.latch != 0:
		g.checkLatch(lk.latches, l.latch, skip)
		defer g.mark(skip)
	}
	for i := range l.watchers(e) {
		w := &l.watched[e][i]
		symbol, err := lk.need(l, w.symbol)
		if err != nil {
			return err
		}
		decides := decider && lk.hook.Veto && c.To != plan.OnceVetoed
		exempt := decides && lk.exempt != nil
		if exempt && !lk.linked[exemptSymbol] {
			lk.linked[exemptSymbol] = true
			lk.bodies = append(lk.bodies, lk.exempt.function(lk.off)...)
		}
		g.watcher(symbol, w, c.Kind, decides, exempt, lk.stats, l.timer(), report)
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
	name := l.symbol(symbol)
	if lk.linked[name] {
		return name, nil
	}
	lk.linked[name] = true
	if isEmit(symbol) {
		return name, lk.addEmit(l, symbol, name)
	}
	body := slices.Clone(l.object.funcs[symbol])
	if len(body) == 0 {
		return "", fmt.Errorf("%s is not defined", inWords(symbol))
	}
	fn := *btf.FuncMetadata(&body[0])
	if !l.object.builtin || !verifiedApart(&fn) {
		fn.Linkage = btf.StaticFunc
	}
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
			callee, err := lk.need(resolve(lk.lists, l, ref)) // grows lk.bodies
			if err != nil {
				return "", err
			}
			lk.bodies[at+i] = lk.bodies[at+i].WithReference(callee)
		case ins.IsLoadFromMap():
			m := l.maps(ref)
			if m == nil {
				return "", fmt.Errorf("%s refers to map %s, which was not created", inWords(symbol), ref)
			}
			if err := ins.AssociateMap(m); err != nil {
				return "", fmt.Errorf("%s: map %s: %w", inWords(symbol), ref, err)
			}
			lk.bodies[at+i] = ins.WithReference("") // found
		}
	}
	return name, nil
}

// verifiedApart reports whether a function may stay global: the verifier then
// follows it once for each program, with whatever arguments, and not at each call.
// Those that take pointers would have to check them first.
func verifiedApart(fn *btf.Func) bool {
	proto, ok := fn.Type.(*btf.FuncProto)
	if !ok || fn.Linkage != btf.GlobalFunc {
		return false
	}
	return !slices.ContainsFunc(proto.Params, func(p btf.FuncParam) bool {
		_, number := btf.UnderlyingType(p.Type).(*btf.Int)
		return !number
	})
}

// errNoListener is what task_watcher_emit returns where nobody takes records.
const errNoListener = 107 // ENOTCONN

// addEmit adds the module's own task_watcher_emit, task_watcher_emit_struct or
// task_watcher_log: it puts the module's id before the arguments, and a type behind
// them, and calls the built-in that takes records.
func (lk *linker) addEmit(l *listing, symbol, name string) error {
	provider, err := lk.provider(func(o *Object) string { return o.emit })
	if err != nil {
		return err
	}
	body := asm.Instructions{asm.Mov.Imm(asm.R4, 0)}
	params := []btf.FuncParam{{Name: "data", Type: typePointer}, {Name: "size", Type: typeInt}}
	if symbol != emitSymbol {
		body[0] = asm.Mov.Reg(asm.R4, asm.R3)
		params = append(params, btf.FuncParam{Name: "type", Type: typeInt})
	}
	if symbol == logSymbol {
		body = append(body, asm.Or.Imm32(asm.R4, math.MinInt32)) // EmitLog
	}
	body = append(body,
		asm.Mov.Reg(asm.R3, asm.R2),
		asm.Mov.Reg(asm.R2, asm.R1),
		asm.Mov.Imm(asm.R1, int32(l.id)),
	)
	if provider != "" {
		body = append(body, asm.Call.Label(provider))
	} else {
		body = append(body, asm.Mov.Imm(asm.R0, -errNoListener))
	}
	body = append(body, asm.Return())
	body[0] = startFunction(body[0], &btf.Func{Name: name, Type: &btf.FuncProto{Return: typeInt, Params: params}})
	lk.bodies = append(lk.bodies, body...)
	return nil
}

var (
	typeInt     = &btf.Int{Name: "int", Size: 4, Encoding: btf.Signed}
	typePointer = &btf.Pointer{Target: &btf.Void{}}
)

// startFunction marks ins as the first of a function. The kernel wants
// line information for each function of a program that has type information.
func startFunction(ins asm.Instruction, fn *btf.Func) asm.Instruction {
	if ins.Source() == nil {
		ins = ins.WithSource(&btf.Line{})
	}
	return btf.WithFuncMetadata(ins.WithSymbol(fn.Name), fn)
}
