package machine

import (
	"encoding/binary"
	"errors"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"

	"github.com/taskwatch/taskwatch/internal/testutil"
)

func TestMain(m *testing.M) { testutil.Main(m) }

// nothing is a host without tasks.
type nothing struct{}

func (nothing) Helper(fn asm.BuiltinFunc, _ [5]uint64) (uint64, error) {
	return 0, Unsupported("%v", fn)
}

func (nothing) Extern(name string, _ [5]uint64) (uint64, error) { return 0, Unsupported("%s", name) }

func (nothing) Task(uint64) (there, lasting bool) { return false, false }

// interpret runs one function.
func interpret(t testing.TB, body asm.Instructions, args ...uint64) (uint64, error) {
	t.Helper()
	m := New(nothing{})
	if err := m.AddFunctions(map[string]asm.Instructions{"f": body}, nil); err != nil {
		t.Fatal(err)
	}
	return m.Call("f", "", args...)
}

// inKernel runs a program in the kernel and returns what it has put into a map.
func inKernel(t testing.TB, body func(store asm.Instructions) asm.Instructions) uint64 {
	t.Helper()
	result, err := ebpf.NewMap(&ebpf.MapSpec{Type: ebpf.Array, KeySize: 4, ValueSize: 8, MaxEntries: 1})
	if err != nil {
		t.Fatal(err)
	}
	defer result.Close()
	prog, err := ebpf.NewProgram(&ebpf.ProgramSpec{Type: ebpf.SocketFilter, License: "GPL", Instructions: body(asm.Instructions{
		asm.LoadMapValue(asm.R1, result.FD(), 0),
		asm.StoreMem(asm.R1, 0, asm.R0, asm.DWord),
		asm.Mov.Imm(asm.R0, 0),
		asm.Return(),
	})})
	if err != nil {
		t.Fatal(err)
	}
	defer prog.Close()
	if _, _, err := prog.Test(make([]byte, 14)); err != nil {
		t.Fatal(err)
	}
	var b []byte
	if b, err = result.LookupBytes(uint32(0)); err != nil {
		t.Fatal(err)
	}
	return binary.NativeEndian.Uint64(b)
}

// computation returns instructions that leave a number in R0, which only depends on
// the random numbers.
func computation(r *rand.Rand) asm.Instructions {
	edges := []int64{0, 1, -1, 1 << 31, -1 << 31, 1<<63 - 1, -1 << 63, 0xffffffff, 1 << 32}
	value := func() int64 {
		if r.IntN(2) == 0 {
			return edges[r.IntN(len(edges))]
		}
		return int64(r.Uint64())
	}
	body := asm.Instructions{}
	regs := []asm.Register{asm.R0, asm.R6, asm.R7, asm.R8}
	for _, reg := range regs {
		body = append(body, asm.LoadImm(reg, value(), asm.DWord))
	}
	for i := range 8 {
		body = append(body, asm.StoreMem(asm.RFP, int16(-8*(i+1)), regs[r.IntN(len(regs))], asm.DWord))
	}
	ops := []asm.ALUOp{asm.Add, asm.Sub, asm.Mul, asm.Div, asm.Mod, asm.Or, asm.And, asm.Xor, asm.LSh, asm.RSh, asm.ArSh, asm.Mov, asm.Neg}
	jumps := []asm.JumpOp{asm.JEq, asm.JNE, asm.JGT, asm.JGE, asm.JLT, asm.JLE, asm.JSet, asm.JSGT, asm.JSGE, asm.JSLT, asm.JSLE}
	sizes := []asm.Size{asm.Byte, asm.Half, asm.Word, asm.DWord}
	atomics := []asm.AtomicOp{asm.AddAtomic, asm.FetchAdd, asm.FetchAnd, asm.FetchOr, asm.FetchXor, asm.Xchg, asm.CmpXchg}
	for range 40 {
		dst, src := regs[r.IntN(len(regs))], regs[r.IntN(len(regs))]
		slot := int16(-8 * (1 + r.IntN(8)))
		switch r.IntN(6) {
		case 0:
			op := ops[r.IntN(len(ops)-1)] // neg has no operand
			imm := int32(value())
			if op == asm.LSh || op == asm.RSh || op == asm.ArSh {
				imm &= 31
			}
			if (op == asm.Div || op == asm.Mod) && imm == 0 {
				imm = 3
			}
			if r.IntN(2) == 0 {
				body = append(body, op.Imm(dst, imm))
			} else {
				body = append(body, op.Imm32(dst, imm))
			}
		case 1:
			op := ops[r.IntN(len(ops)-1)]
			if op == asm.LSh || op == asm.RSh || op == asm.ArSh { // a count that is too large is undefined
				body = append(body, asm.And.Imm(src, 31))
			}
			if r.IntN(2) == 0 {
				body = append(body, op.Reg(dst, src))
			} else {
				body = append(body, op.Reg32(dst, src))
			}
		case 2:
			// One instruction is jumped over or not.
			op := jumps[r.IntN(len(jumps))]
			var jump asm.Instruction
			switch r.IntN(4) {
			case 0:
				jump = op.Imm(dst, int32(value()), "")
			case 1:
				jump = op.Imm32(dst, int32(value()), "")
			case 2:
				jump = op.Reg(dst, src, "")
			default:
				jump = op.Reg32(dst, src, "")
			}
			jump = jump.WithReference("")
			jump.Offset = 1
			body = append(body, jump, asm.Add.Imm(asm.R0, int32(r.Uint32()>>1)))
		case 3:
			size := sizes[r.IntN(len(sizes))]
			body = append(body, asm.StoreMem(asm.RFP, slot, src, size), asm.LoadMem(dst, asm.RFP, slot, size))
		case 4:
			size := sizes[2+r.IntN(2)]
			op := atomics[r.IntN(len(atomics))]
			atomic := op.Mem(asm.RFP, src, size, slot)
			atomic.Constant = int64(op >> 8) // which the library leaves out when it writes the instruction
			// The verifier of Linux 6.18 forgets that what it knows of a fetched value came from
			// the stack. It then takes states for the same that are not, and removes a branch
			// that is taken. Of a value of which a byte was stored it knows nothing.
			body = append(body, asm.StoreMem(asm.RFP, slot, src, asm.Byte), atomic, asm.LoadMem(dst, asm.RFP, slot, asm.DWord))
		case 5:
			body = append(body, asm.HostTo(asm.BE, dst, []asm.Size{asm.Half, asm.Word, asm.DWord}[r.IntN(3)]), asm.Xor.Reg(asm.R0, dst))
		}
	}
	return body
}

// What is computed here is what the kernel computes.
func TestComputesAsTheKernel(t *testing.T) {
	testutil.Root(t)
	seed := rand.Uint64()
	for i := range testutil.Size(100, 500, 20000) {
		body := computation(rand.New(rand.NewPCG(seed, uint64(i))))
		want := inKernel(t, func(store asm.Instructions) asm.Instructions { return append(body[:len(body):len(body)], store...) })
		got, err := interpret(t, append(body, asm.Return()))
		if err != nil || got != want {
			t.Fatalf("seed %d, %d: it is %#x, %v, and in the kernel %#x\n%v", seed, i, got, err, want, body)
		}
	}
}

// What the kernel has added later, on the values that matter.
func TestSignedOperations(t *testing.T) {
	for _, c := range []struct {
		op   asm.ALUOp
		a, b int64
		want int64
		w32  int64 // the same on 32 bits, with a zero upper half
	}{
		{asm.SDiv, -7, 2, -3, 0xfffffffd}, {asm.SDiv, 7, -1, -7, 0xfffffff9}, {asm.SDiv, -7, 0, 0, 0},
		{asm.SDiv, -1 << 63, -1, -1 << 63, 0}, {asm.SMod, -7, 2, -1, 0xffffffff}, {asm.SMod, -7, 0, -7, 0xfffffff9},
		{asm.MovSX8, 0, 0x1ff, -1, 0xffffffff}, {asm.MovSX16, 0, 0x8000, -0x8000, 0xffff8000},
	} {
		got, ok := compute(c.op, uint64(c.a), uint64(c.b))
		got32, ok32 := compute32(c.op, uint32(c.a), uint32(c.b))
		if !ok || !ok32 || int64(got) != c.want || int64(got32) != c.w32 {
			t.Errorf("%v of %d and %d is %d and %#x, want %d and %#x", c.op, c.a, c.b, int64(got), got32, c.want, c.w32)
		}
	}
}

// What cannot be run ends with a reason, and not with a guess or a crash.
func TestUnsupported(t *testing.T) {
	for _, c := range []struct {
		why  string
		body asm.Instructions
	}{
		{"behind the end of", asm.Instructions{asm.LoadMem(asm.R0, asm.RFP, -4, asm.DWord), asm.Return()}},
		{"memory of the kernel", asm.Instructions{asm.LoadMem(asm.R0, asm.RFP, 8, asm.DWord), asm.Return()}},
		{"memory of the kernel", asm.Instructions{asm.LoadImm(asm.R1, 1<<40, asm.DWord), asm.LoadMem(asm.R0, asm.R1, 0, asm.DWord), asm.Return()}},
		{"not its own", asm.Instructions{asm.Mov.Imm(asm.R1, 0), asm.StoreImm(asm.R1, 0, 0, asm.Word), asm.Return()}},
		{"runs past its end", asm.Instructions{asm.Mov.Imm(asm.R0, 0)}},
		{"more than", asm.Instructions{asm.Instruction{OpCode: asm.Ja.Op(asm.ImmSource), Offset: -1}}},
		{"GetStackid", asm.Instructions{asm.Mov.Imm(asm.R1, 0), asm.FnGetStackid.Call(), asm.Return()}},
		{"uses val", asm.Instructions{asm.Mov.Reg(asm.R6, asm.R1), asm.Mov.Reg(asm.R0, asm.R6), asm.Return()}},
		{"uses val", asm.Instructions{asm.JEq.Imm(asm.R1, 0, "").WithReference(""), asm.Mov.Imm(asm.R0, 0), asm.Return()}},
		{"uses val", asm.Instructions{asm.StoreMem(asm.RFP, -8, asm.R1, asm.DWord), asm.Return()}},
	} {
		m := New(nothing{})
		if err := m.AddFunctions(map[string]asm.Instructions{"f": c.body}, nil); err != nil {
			t.Fatal(err)
		}
		_, err := m.Call("f", "val")
		if !errors.As(err, new(*UnsupportedError)) || !strings.Contains(err.Error(), c.why) {
			t.Errorf("%v: %v, want %q", c.body, err, c.why)
		}
	}
	// The error says how far the call came, what it called included.
	calls := asm.Instructions{asm.Mov.Imm(asm.R6, 3), asm.Call.Label("g"), asm.Sub.Imm(asm.R6, 1), asm.Instruction{OpCode: asm.JNE.Op(asm.ImmSource), Dst: asm.R6, Constant: 1, Offset: -3},
		asm.FnGetStackid.Call(), asm.Return()}
	counts := New(nothing{})
	if err := counts.AddFunctions(map[string]asm.Instructions{"f": calls, "g": {asm.Mov.Imm(asm.R0, 0), asm.Return()}}, nil); err != nil {
		t.Fatal(err)
	}
	// One, twice the five of the loop with g in it, and the call.
	if _, err := counts.Call("f", ""); err == nil || !strings.HasSuffix(err.Error(), "(at step 12)") {
		t.Errorf("%v, want it to end at step 12", err)
	}
	// A value that nobody looks at does no harm.
	m := New(nothing{})
	body := asm.Instructions{asm.Mov.Reg(asm.R6, asm.R1), asm.Mov.Imm(asm.R1, 7), asm.Mov.Reg(asm.R0, asm.R1), asm.Return()}
	if err := m.AddFunctions(map[string]asm.Instructions{"f": body}, nil); err != nil {
		t.Fatal(err)
	}
	if r, err := m.Call("f", "val"); err != nil || r != 7 {
		t.Errorf("%d, %v", r, err)
	}
}

// NULL has nothing behind it, as in the kernel.
func TestNull(t *testing.T) {
	r, err := interpret(t, asm.Instructions{asm.Mov.Imm(asm.R1, 0), asm.LoadMem(asm.R0, asm.R1, 100, asm.DWord), asm.Return()})
	if err != nil || r != 0 {
		t.Errorf("a field of NULL is %d, %v", r, err)
	}
	r, err = interpret(t, asm.Instructions{
		asm.Mov.Imm(asm.R1, -1), asm.StoreMem(asm.RFP, -8, asm.R1, asm.DWord),
		asm.Mov.Reg(asm.R1, asm.RFP), asm.Add.Imm(asm.R1, -8), asm.Mov.Imm(asm.R2, 8), asm.Mov.Imm(asm.R3, 100),
		asm.FnProbeReadKernel.Call(),
		asm.LoadMem(asm.R1, asm.RFP, -8, asm.DWord), asm.Add.Reg(asm.R0, asm.R1), asm.Return(),
	})
	if err != nil || int64(r) != -14 {
		t.Errorf("bpf_probe_read_kernel() of NULL: %d, %v; want -EFAULT and zeros", int64(r), err)
	}
}
