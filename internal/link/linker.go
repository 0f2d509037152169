package link

import (
	"fmt"
	"slices"

	"github.com/cilium/ebpf/asm"
	"github.com/cilium/ebpf/btf"

	"github.com/taskwatch/taskwatch"
	"github.com/taskwatch/taskwatch/internal/offsets"
	"github.com/taskwatch/taskwatch/internal/plan"
)

// MaxStages is how many programs a dispatcher may be.
const MaxStages = 17

// Linker builds the programs of one hook.
//
// A dispatcher is one program unless its watchers are too many for one: a
// program may use 64 maps and have 256 functions. It is then a chain of
// stages, each of which ends with a tail call of the next; a veto travels
// along in a map, under the id of the running task.
type Linker struct {
	Hook    *plan.Hook
	Off     *offsets.Offsets
	Stats   asm.FDer
	Latches asm.FDer
	Stash   asm.FDer   // for hooks that compare ids; else nil
	Carry   asm.FDer   // for hooks that can deny; else nil
	Steps   asm.FDer   // for hooks that number them; else nil
	Exempt  *Exemption // or nil
	Slot    asm.FDer   // where the stages are
	Second  int        // the slot of the second stage; the others follow
	DryRun  bool       // a veto denies nothing
	Modules []*Module  // built-ins first

	// Of the stage that is being built:
	bodies asm.Instructions
	linked map[string]bool // symbols whose bodies are there
}

// item is one event for one module: what a stage is made of.
type item struct {
	call   int // of the hook
	module *Module
}

// Used reports whether the hook has any watcher to call.
func (lk *Linker) Used() bool {
	for _, c := range lk.Hook.Calls {
		for _, l := range lk.Modules {
			if c.To != plan.OnceVetoed && l.Concerned(c) {
				return true
			}
		}
	}
	return false
}

// ComparesIDs reports whether what the hook calls needs the ids of before an exec.
func (lk *Linker) ComparesIDs() bool {
	if lk.Hook.Before == "" {
		return false
	}
	for _, c := range lk.Hook.Calls {
		if c.Kind == taskwatch.UID || c.Kind == taskwatch.GID {
			for _, l := range lk.Modules {
				if l.Concerned(c) {
					return true
				}
			}
		}
	}
	return false
}

// Link returns the instructions of the dispatcher's stages, each with all that
// it calls.
func (lk *Linker) Link() ([]asm.Instructions, error) {
	stages, err := lk.divide()
	if err != nil {
		return nil, err
	}
	if len(stages) > MaxStages {
		return nil, fmt.Errorf("%d programs would be needed for all its watchers, and there is room for %d", len(stages), MaxStages)
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
func (lk *Linker) divide() ([][]item, error) {
	var stages [][]item
	var stage []item
	used := newUsage(lk)
	for n, c := range lk.Hook.Calls {
		if c.To == plan.OnceVetoed && lk.DryRun {
			continue
		}
		for _, l := range inOrder(lk.Modules, c) {
			if !l.Concerned(c) {
				continue
			}
			if !used.add(l, c) && len(stage) > 0 {
				stages = append(stages, stage)
				stage, used = nil, newUsage(lk)
				used.add(l, c)
			}
			if len(stage) == 0 {
				if err := used.fits(lk, l, c.List()); err != nil {
					return nil, err
				}
			}
			stage = append(stage, item{n, l})
		}
	}
	return append(stages, stage), nil
}

// stage builds the n-th of so many programs.
func (lk *Linker) stage(items []item, n, of int) (asm.Instructions, error) {
	lk.bodies, lk.linked = nil, map[string]bool{}
	report, err := lk.provider(func(o *Code) string { return o.Report })
	if err != nil {
		return nil, err
	}
	last := n == of-1
	carries := lk.Hook.Veto && of > 1
	g := &gen{off: lk.Off, stash: lk.Stash, steps: lk.Steps, first: n == 0, last: last, dryRun: lk.DryRun}
	g.emit(
		asm.Mov.Reg(regCtx, asm.R1),
		asm.Mov.Imm(regFirst, 0),
	)
	if carries && n > 0 {
		g.takeCarried(lk.Carry)
	}
	for len(items) > 0 {
		call := items[0].call
		g.prefix = fmt.Sprintf("c%d_", call)
		g.skip = g.label("skip")
		c := lk.Hook.Calls[call]
		g.emit(
			asm.Mov.Imm(asm.R1, 0),
			asm.StoreMem(asm.RFP, stackDetail, asm.R1, asm.DWord),
			asm.StoreMem(asm.RFP, stackExtra, asm.R1, asm.DWord),
		)
		if c.To == plan.Observers && lk.Hook.Veto && !lk.DryRun {
			g.emit(asm.JNE.Imm(regFirst, 0, g.skip)) // what was denied does not happen
		}
		g.load(c)
		for len(items) > 0 && items[0].call == call {
			if err := lk.watchers(g, c, items[0].module, report); err != nil {
				return nil, err
			}
			items = items[1:]
		}
		g.mark(g.skip)
	}
	if !last {
		if carries {
			g.carry(lk.Carry)
		}
		g.tailCall(lk.Stats, lk.Slot, lk.Second+n)
	} else if carries {
		g.dropCarried(lk.Carry)
	}
	if lk.Hook.Veto && !lk.DryRun {
		g.emit(asm.Mov.Reg(asm.R0, regFirst), asm.Return())
	} else {
		g.emit(asm.Mov.Imm(asm.R0, 0), asm.Return())
	}
	return lk.finish(g), nil
}

// finish puts what is called behind the code that was generated.
func (lk *Linker) finish(g *gen) asm.Instructions {
	insns := g.insns
	insns[0] = startFunction(insns[0], &btf.Func{
		Name: "task_watchers",
		Type: &btf.FuncProto{Return: typeInt, Params: []btf.FuncParam{{Name: "ctx", Type: typePointer}}},
	})
	return append(insns, lk.bodies...)
}

// watchers generates the calls of one module's watchers.
func (lk *Linker) watchers(g *gen, c plan.Call, l *Module, report string) error {
	decider, e := l.Decides(c.Kind), c.List()
	skip := g.label(fmt.Sprintf("gated%d", l.ID))
	switch {
	case l.Marks != nil:
		if err := lk.gate(g, c, l, skip, report); err != nil {
			return err
		}
		defer g.mark(skip)
	case l.Latch != 0:
		g.checkLatch(lk.Latches, l.Latch, skip)
		defer g.mark(skip)
	}
	for i := range l.Watchers(e) {
		w := &l.Watched[e][i]
		symbol, err := lk.need(l, w.Symbol)
		if err != nil {
			return err
		}
		decides := decider && lk.Hook.Veto && c.To != plan.OnceVetoed
		exempt := decides && lk.Exempt != nil
		if exempt && !lk.linked[exemptSymbol] {
			lk.linked[exemptSymbol] = true
			lk.bodies = append(lk.bodies, lk.Exempt.function(lk.Off)...)
		}
		g.watcher(symbol, w, c.Kind, decides, exempt, lk.Stats, l.Timing, report)
	}
	return nil
}

// provider returns the linked symbol of the first built-in that provides a
// function, or "".
func (lk *Linker) provider(of func(*Code) string) (string, error) {
	for _, l := range lk.Modules {
		if symbol := of(l.Code); symbol != "" {
			return lk.need(l, symbol)
		}
	}
	return "", nil
}

// need adds a function of a module, and what it calls, to the program unless
// they are there, and returns its name in the program. Each body is there
// once per module.
func (lk *Linker) need(l *Module, symbol string) (string, error) {
	name := l.symbol(symbol)
	if lk.linked[name] {
		return name, nil
	}
	lk.linked[name] = true
	if IsEmit(symbol) {
		return name, lk.addEmit(l, symbol, name)
	}
	body := slices.Clone(l.Code.Funcs[symbol])
	if len(body) == 0 {
		return "", fmt.Errorf("%s is not defined", InWords(symbol))
	}
	fn := *btf.FuncMetadata(&body[0])
	if !l.Code.Builtin || !verifiedApart(&fn) {
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
			callee, err := lk.need(resolve(lk.Modules, l, ref)) // grows lk.bodies
			if err != nil {
				return "", err
			}
			lk.bodies[at+i] = lk.bodies[at+i].WithReference(callee)
		case ins.IsLoadFromMap():
			m := l.Maps(ref)
			if m == nil {
				return "", fmt.Errorf("%s refers to map %s, which was not created", InWords(symbol), ref)
			}
			if err := ins.AssociateMap(m); err != nil {
				return "", fmt.Errorf("%s: map %s: %w", InWords(symbol), ref, err)
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
