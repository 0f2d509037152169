package machine

import (
	"fmt"
	"math"
	"strings"

	"github.com/cilium/ebpf/asm"
)

const (
	stackSize = 512
	maxDepth  = 16      // calls in calls
	maxSteps  = 1 << 24 // of one call of a watcher: the kernel runs none that is longer by far
)

// Host is what programs can call and that has to do with tasks.
type Host interface {
	// Helper calls a helper of the kernel. It returns an UnsupportedError for one that it does
	// not have.
	Helper(fn asm.BuiltinFunc, args [5]uint64) (uint64, error)

	// Extern calls a function that the object declares and does not define.
	Extern(name string, args [5]uint64) (uint64, error)

	// Task reports whether there is a task at an address, and whether it can be told
	// from others the next time, as storage needs it.
	Task(addr uint64) (there, lasting bool)
}

// Machine runs the functions of one object.
type Machine struct {
	Memory Memory
	host   Host
	funcs  map[string]*function
	byAddr map[uint64]*function
	maps   map[string]*Map
	ofMap  map[uint64]*Map // by the address that stands for it
	stacks []*Region
	depth  int
	steps  int
	random uint64
	gone   []*Region // of maps, which programs may still have pointers to
}

// function is one that can be called.
type function struct {
	name string
	code []step // by place, as jumps count: an instruction of 16 bytes has two
	addr uint64
}

// step is one instruction.
type step struct {
	ins         asm.Instruction
	next        int
	unsupported string    // why it cannot run, or ""
	callee      *function // or nil
	extern      string    // function outside, or ""
	value       uint64    // that a load of 64 bits gets
	source      string    // line
}

// New returns a machine without functions.
func New(host Host) *Machine {
	return &Machine{host: host, funcs: map[string]*function{}, byAddr: map[uint64]*function{},
		maps: map[string]*Map{}, ofMap: map[uint64]*Map{}}
}

// AddFunctions adds functions that call each other. All maps that they use have been
// added. Instructions in unsupported cannot run, for the reason there.
func (m *Machine) AddFunctions(funcs map[string]asm.Instructions, unsupported map[*asm.Instruction]string) error {
	for name := range funcs {
		f := &function{name: name}
		f.addr = m.Memory.Add(&Region{Name: "a function", ReadOnly: true}).Addr()
		m.funcs[name], m.byAddr[f.addr] = f, f
	}
	for name, body := range funcs {
		if err := m.decode(m.funcs[name], body, unsupported); err != nil {
			return err
		}
	}
	return nil
}

func (m *Machine) decode(f *function, body asm.Instructions, unsupported map[*asm.Instruction]string) error {
	source := ""
	for i := range body {
		ins := &body[i]
		if s := ins.Source(); s != nil {
			source = strings.TrimSpace(s.String())
		}
		st := step{ins: *ins, unsupported: unsupported[ins], source: source, next: len(f.code) + int(ins.Width())}
		if err := m.resolve(&st); err != nil {
			return fmt.Errorf("function %s: %w", f.name, err)
		}
		f.code = append(f.code, st)
		if ins.Width() == 2 {
			f.code = append(f.code, step{unsupported: "it jumps into an instruction"})
		}
	}
	return nil
}

// resolve finds what an instruction refers to.
func (m *Machine) resolve(st *step) error {
	ins := &st.ins
	ref := ins.Reference()
	switch {
	case st.unsupported != "":
	case ins.IsFunctionCall():
		if st.callee = m.funcs[ref]; st.callee == nil {
			st.extern = ref
		}
	case ins.IsLoadOfFunctionPointer():
		f := m.funcs[ref]
		if f == nil {
			return fmt.Errorf("no function %q", ref)
		}
		st.value = f.addr
	case ins.IsLoadFromMap():
		mp := m.maps[ref]
		switch {
		case mp == nil:
			st.unsupported = fmt.Sprintf("it uses %s, which a simulation does not have", ref)
		case ins.Src == asm.PseudoMapFD:
			st.value = mp.handle.Addr()
		case mp.array == nil:
			return fmt.Errorf("map %q holds no variables", ref)
		default:
			st.value = mp.array.Addr() + uint64(ins.Constant)>>32
		}
	case ins.OpCode.IsDWordLoad() && ref != "":
		st.unsupported = fmt.Sprintf("it uses %s of the kernel, which a simulation does not have", ref)
	case ins.OpCode.IsDWordLoad():
		st.value = uint64(ins.Constant)
	case ins.IsKfuncCall():
		st.unsupported = fmt.Sprintf("it calls %s() of the kernel, which a simulation does not have", ref)
	}
	return nil
}

// frame is one call of a function.
type frame struct {
	regs    [16]uint64 // that an instruction can name; the kernel has 11
	unknown uint16     // registers whose value is not known, by bit
}

// Call runs a function. unknown says what its first argument is if its value is not
// known, or "".
func (m *Machine) Call(name, unknown string, args ...uint64) (uint64, error) {
	f := m.funcs[name]
	if f == nil {
		return 0, fmt.Errorf("no function %q", name)
	}
	var fr frame
	copy(fr.regs[1:6], args)
	if unknown != "" {
		fr.unknown = 1 << asm.R1
	}
	m.steps = 0
	r, err := m.run(f, &fr, unknown)
	if u, ok := err.(*UnsupportedError); ok {
		u.Step = m.steps
	}
	for _, region := range m.gone {
		m.Memory.Remove(region)
	}
	m.gone = m.gone[:0]
	return r, err
}

func (m *Machine) run(f *function, fr *frame, unknown string) (_ uint64, err error) {
	if m.depth == maxDepth {
		return 0, Unsupported("calls are nested more than %d deep", maxDepth)
	}
	if m.depth == len(m.stacks) {
		m.stacks = append(m.stacks, m.Memory.Add(&Region{Name: "the stack", Data: make([]byte, stackSize)}))
	}
	stack := m.stacks[m.depth]
	clear(stack.Data)
	fr.regs[asm.RFP] = stack.Addr() + stackSize
	m.depth++
	defer func() { m.depth-- }()
	for pc := 0; ; {
		if pc < 0 || pc >= len(f.code) {
			return 0, Unsupported("function %s runs past its end", f.name)
		}
		if m.steps++; m.steps > maxSteps {
			return 0, Unsupported("it runs more than %d instructions, which the kernel's verifier does not accept", maxSteps)
		}
		st := &f.code[pc]
		pc = st.next
		if st.unsupported != "" {
			return 0, &UnsupportedError{What: st.unsupported, Source: st.source}
		}
		if fr.unknown != 0 && !fr.spares(&st.ins) {
			return 0, &UnsupportedError{What: "it uses " + unknown + ", which the recording does not have here", Source: st.source}
		}
		jump, done, err := m.step(st, fr)
		if err != nil {
			if r, ok := err.(*UnsupportedError); ok && r.Source == "" {
				r.Source = st.source
			}
			return 0, err
		}
		if done {
			return fr.regs[asm.R0], nil
		}
		pc += jump
	}
}

// takesNothing are helpers without arguments.
var takesNothing = map[asm.BuiltinFunc]bool{
	asm.FnKtimeGetNs: true, asm.FnKtimeGetBootNs: true, asm.FnKtimeGetCoarseNs: true,
	asm.FnGetPrandomU32: true, asm.FnGetSmpProcessorId: true, asm.FnGetNumaNodeId: true,
	asm.FnGetCurrentPidTgid: true, asm.FnGetCurrentUidGid: true, asm.FnGetCurrentCgroupId: true,
	asm.FnGetCurrentTask: true, asm.FnGetCurrentTaskBtf: true,
}

// spares reports whether an instruction does not use what is not known, except to
// move it to another register.
func (fr *frame) spares(ins *asm.Instruction) bool {
	known := func(r asm.Register) bool { return fr.unknown>>r&1 == 0 }
	class := ins.OpCode.Class()
	switch {
	case class.IsALU() && ins.OpCode.ALUOp() == asm.Mov:
		fr.unknown &^= 1 << ins.Dst
		if ins.OpCode.Source() == asm.RegSource && !known(ins.Src) && ins.Src != ins.Dst {
			fr.unknown |= 1 << ins.Dst
		}
		return ins.Src != ins.Dst || ins.OpCode.Source() == asm.ImmSource
	case class.IsALU():
		return known(ins.Dst) && (ins.OpCode.Source() == asm.ImmSource || known(ins.Src))
	case class == asm.LdClass:
		fr.unknown &^= 1 << ins.Dst
		return true
	case class == asm.LdXClass:
		if !known(ins.Src) {
			return false
		}
		fr.unknown &^= 1 << ins.Dst
		return true
	case class == asm.StClass:
		return known(ins.Dst)
	case class == asm.StXClass:
		return known(ins.Dst) && known(ins.Src)
	}
	switch ins.OpCode.JumpOp() {
	case asm.Call:
		const arguments = 0x3e // R1 to R5
		if fr.unknown&arguments != 0 && !(ins.IsBuiltinCall() && takesNothing[asm.BuiltinFunc(ins.Constant)]) {
			return false
		}
		fr.unknown &^= arguments
		return true
	case asm.Exit:
		return known(asm.R0)
	case asm.Ja:
		return true
	}
	return known(ins.Dst) && (ins.OpCode.Source() == asm.ImmSource || known(ins.Src))
}

// step runs one instruction. It returns how far to jump, and whether the function
// has ended.
func (m *Machine) step(st *step, fr *frame) (jump int, done bool, err error) {
	ins := &st.ins
	op := ins.OpCode
	unknown := func() error { return Unsupported("the instruction %v is not known", *ins) }
	switch class := op.Class(); class {
	case asm.ALUClass, asm.ALU64Class:
		return 0, false, m.alu(ins, fr)
	case asm.LdClass:
		if !op.IsDWordLoad() {
			return 0, false, unknown()
		}
		fr.regs[ins.Dst] = st.value
		return 0, false, nil
	case asm.LdXClass, asm.StClass, asm.StXClass:
		return 0, false, m.access(ins, fr)
	case asm.JumpClass, asm.Jump32Class:
		switch op.JumpOp() {
		case asm.Exit:
			return 0, true, nil
		case asm.Call:
			return 0, false, m.call(st, fr)
		case asm.Ja:
			if class == asm.Jump32Class {
				return int(ins.Constant), false, nil
			}
			return int(ins.Offset), false, nil
		}
		b := uint64(ins.Constant)
		if op.Source() == asm.RegSource {
			b = fr.regs[ins.Src]
		}
		var yes, ok bool
		if class == asm.Jump32Class {
			yes, ok = compare32(op.JumpOp(), uint32(fr.regs[ins.Dst]), uint32(b))
		} else {
			yes, ok = compare(op.JumpOp(), fr.regs[ins.Dst], b)
		}
		if !ok {
			return 0, false, unknown()
		}
		if yes {
			return int(ins.Offset), false, nil
		}
		return 0, false, nil
	}
	return 0, false, unknown()
}

func (m *Machine) alu(ins *asm.Instruction, fr *frame) error {
	b := uint64(ins.Constant)
	op := ins.OpCode.ALUOp()
	if op == asm.Swap {
		v, ok := swap(ins, fr.regs[ins.Dst])
		if !ok {
			return Unsupported("the instruction %v is not known", *ins)
		}
		fr.regs[ins.Dst] = v
		return nil
	}
	if ins.OpCode.Source() == asm.RegSource {
		b = fr.regs[ins.Src]
	}
	var v uint64
	var ok bool
	if ins.OpCode.Class() == asm.ALU64Class {
		v, ok = compute(op, fr.regs[ins.Dst], b)
	} else {
		v, ok = compute32(op, uint32(fr.regs[ins.Dst]), uint32(b))
	}
	if !ok {
		return Unsupported("the instruction %v is not known", *ins)
	}
	fr.regs[ins.Dst] = v
	return nil
}

// call runs a call of any kind.
func (m *Machine) call(st *step, fr *frame) error {
	ins := &st.ins
	args := [5]uint64(fr.regs[1:6])
	var r uint64
	var err error
	switch {
	case st.callee != nil:
		r, err = m.enter(st.callee, args)
	case st.extern != "":
		r, err = m.host.Extern(st.extern, args)
	case ins.IsBuiltinCall() && ins.Constant >= 0 && ins.Constant <= math.MaxInt32:
		r, err = m.helper(asm.BuiltinFunc(ins.Constant), args)
	default:
		err = Unsupported("the call %v is not known", *ins)
	}
	fr.regs[asm.R0] = r
	return err
}

// enter calls a function of the object.
func (m *Machine) enter(f *function, args [5]uint64) (uint64, error) {
	var fr frame
	copy(fr.regs[1:6], args[:])
	return m.run(f, &fr, "")
}
