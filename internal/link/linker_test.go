package link

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"
	"github.com/cilium/ebpf/btf"

	"github.com/taskwatch/taskwatch"
	"github.com/taskwatch/taskwatch/internal/offsets"
	"github.com/taskwatch/taskwatch/internal/plan"
)

// These tests link without a kernel and without privileges: objects made by
// hand, and file descriptors that are only numbers.

type fakeMap int

func (f fakeMap) FD() int { return int(f) }

// function makes a function that calls others and loads maps.
func function(name string, calls, maps []string) asm.Instructions {
	var insns asm.Instructions
	for _, m := range maps {
		insns = append(insns, asm.LoadMapPtr(asm.R1, 0).WithReference(m))
	}
	for _, callee := range calls {
		insns = append(insns, asm.Call.Label(callee))
	}
	insns = append(insns, asm.Mov.Imm(asm.R0, 0), asm.Return())
	insns[0] = btf.WithFuncMetadata(insns[0].WithSymbol(name), &btf.Func{
		Name: name, Type: &btf.FuncProto{Return: typeInt}, Linkage: btf.GlobalFunc,
	})
	return insns
}

// madeList has the given watchers; each calls helper and loads the maps.
func madeList(name string, veto taskwatch.Kinds, maps []string, watchers map[taskwatch.Kind][]string) *Module {
	lastMadeID++
	l := &Module{
		Code: &Code{Name: name, Veto: veto, Funcs: map[string]asm.Instructions{}},
		ID:   lastMadeID, Maps: func(string) asm.FDer { return fakeMap(77) },
	}
	l.Code.Funcs["helper"] = function("helper", []string{"deeper"}, nil)
	l.Code.Funcs["deeper"] = function("deeper", nil, maps)
	for k, names := range watchers {
		l.Kinds |= taskwatch.KindsOf(k)
		for _, fn := range names {
			symbol := fmt.Sprintf("%s%s_%s", watcherSymbol, k, fn)
			l.Code.Funcs[symbol] = function(symbol, []string{"helper"}, maps)
			lastMadeID++
			l.Watched[k] = append(l.Watched[k], Watcher{Symbol: symbol, ID: lastMadeID, Slot: int(lastMadeID)})
		}
	}
	return l
}

var lastMadeID uint32

func exitHook() *plan.Hook {
	return &plan.Hook{Name: "test", Type: ebpf.Tracing, Calls: []plan.Call{{Kind: taskwatch.Exit, To: plan.Everyone, Load: plan.LoadExit}}}
}

func initHook() *plan.Hook {
	return &plan.Hook{Name: "test", Type: ebpf.LSM, Veto: true, Calls: []plan.Call{{Kind: taskwatch.Init, To: plan.Everyone, Load: plan.LoadTaskAlloc}}}
}

// mustLink links and checks that every reference is resolved, as encoding
// does, and that every function has what the kernel wants of it.
func mustLink(t testing.TB, lk *Linker) []asm.Instructions {
	t.Helper()
	lk.Off, lk.Stats, lk.Slot, lk.Carry, lk.Stash = &offsets.Offsets{}, fakeMap(5), fakeMap(6), fakeMap(7), fakeMap(8)
	lk.Steps = fakeMap(9)
	lk.Second = 1
	stages, err := lk.Link()
	if err != nil {
		t.Fatal(err)
	}
	for i, insns := range stages {
		if err := insns.Marshal(new(bytes.Buffer), binary.LittleEndian); err != nil {
			t.Fatalf("stage %d: %v\n%v", i, err, insns)
		}
		seen := map[string]bool{}
		for j := range insns {
			fn := btf.FuncMetadata(&insns[j])
			if fn == nil {
				continue
			}
			if seen[fn.Name] {
				t.Errorf("stage %d has function %s twice", i, fn.Name)
			}
			seen[fn.Name] = true
			if fn.Linkage != btf.StaticFunc || insns[j].Source() == nil || insns[j].Symbol() != fn.Name {
				t.Errorf("function %s: linkage %v, line %v, symbol %q", fn.Name, fn.Linkage, insns[j].Source(), insns[j].Symbol())
			}
		}
	}
	return stages
}

// mainCalls lists the functions that the generated part of a stage calls, in
// order.
func mainCalls(insns asm.Instructions) []string {
	var list []string
	for i := range insns {
		if i > 0 && btf.FuncMetadata(&insns[i]) != nil {
			break
		}
		if insns[i].IsFunctionCall() {
			list = append(list, insns[i].Reference())
		}
	}
	return list
}

func functions(insns asm.Instructions) []string {
	var list []string
	for i := range insns {
		if fn := btf.FuncMetadata(&insns[i]); fn != nil {
			list = append(list, fn.Name)
		}
	}
	return list
}

func TestLinkCallsInOrderAndSharesBodies(t *testing.T) {
	watchers := map[taskwatch.Kind][]string{taskwatch.Exit: {"b", "a"}, taskwatch.Clone: {"c"}}
	first := madeList("first", 0, []string{"m"}, watchers)
	second := madeList("second", 0, []string{"m"}, watchers)
	stages := mustLink(t, &Linker{Hook: exitHook(), Modules: []*Module{first, second}})
	if len(stages) != 1 {
		t.Fatalf("%d stages", len(stages))
	}
	var want []string
	for _, l := range []*Module{first, second} {
		want = append(want, l.symbol("__task_watcher_exit_b"), l.symbol("__task_watcher_exit_a"))
	}
	if got := mainCalls(stages[0]); !slices.Equal(got, want) {
		t.Errorf("calls %v, want %v", got, want)
	}
	// Each module has its own helper, and has it once.
	got := functions(stages[0])
	for _, l := range []*Module{first, second} {
		for _, fn := range []string{"helper", "deeper"} {
			if !slices.Contains(got, l.symbol(fn)) {
				t.Errorf("%s is missing in %v", l.symbol(fn), got)
			}
		}
	}
	if len(got) != 1+2*4 {
		t.Errorf("functions %v, want the dispatcher and four of each module", got)
	}
}

func TestLinkLeavesObjectsAlone(t *testing.T) {
	l := madeList("m", 0, []string{"m"}, map[taskwatch.Kind][]string{taskwatch.Exit: {"a"}})
	before := fmt.Sprint(l.Code.Funcs)
	for range 2 {
		mustLink(t, &Linker{Hook: exitHook(), Modules: []*Module{l}})
	}
	if after := fmt.Sprint(l.Code.Funcs); after != before {
		t.Errorf("linking changed the object:\n%s\n%s", before, after)
	}
}

func TestHookWithoutWatchersIsUnused(t *testing.T) {
	l := madeList("m", 0, nil, map[taskwatch.Kind][]string{taskwatch.Clone: {"a"}})
	if (&Linker{Hook: exitHook(), Modules: []*Module{l}}).Used() {
		t.Error("the exit hook is used for a module that watches clone")
	}
	l = madeList("m", 0, nil, map[taskwatch.Kind][]string{taskwatch.Exit: {"a"}})
	if !(&Linker{Hook: exitHook(), Modules: []*Module{l}}).Used() {
		t.Error("the exit hook is unused for a module that watches exit")
	}
	l.Kinds = 0
	if (&Linker{Hook: exitHook(), Modules: []*Module{l}}).Used() {
		t.Error("the exit hook is used for a module that is listed under nothing")
	}
}

// Deciders and observers of exec are called at different hooks, each once; but
// for a script, deciders are asked a second time, about its interpreter.
func TestEveryWatcherIsCalledOncePerEvent(t *testing.T) {
	no := errors.New("no")
	for _, s := range []*plan.Support{
		{},
		{LSM: no},
		{LSM: no, ModifyReturn: no},
		{LSM: no, ModifyReturn: no, FEntry: no},
	} {
		watchers := map[taskwatch.Kind][]string{}
		for k := range taskwatch.Kind(taskwatch.NumKinds) {
			watchers[k] = []string{"w"}
		}
		veto := taskwatch.KindsOf(taskwatch.Init, taskwatch.Exec, taskwatch.UID, taskwatch.GID)
		observer := madeList("observer", 0, nil, watchers)
		decider := madeList("decider", veto, nil, watchers)
		for _, l := range []*Module{observer, decider} {
			for _, k := range []taskwatch.Kind{taskwatch.Init, taskwatch.Clone, taskwatch.Exec, taskwatch.Exit} {
				calls, again, execed, steps := 0, 0, 0, 0
				for _, h := range plan.Hooks(s) {
					for _, c := range h.Calls {
						switch {
						case c.Kind != k || !c.To.Reaches(l.Decides(k)):
						case c.List() == plan.Execed:
							execed++
						case c.List() == plan.Step:
							steps++
						case k == taskwatch.Exec && strings.HasSuffix(h.Name, "bprm_creds_from_file"):
							again++
						default:
							calls++
						}
					}
				}
				if again > 1 || again == 1 && !l.Decides(k) {
					t.Errorf("%+v: %s of the %s is asked about interpreters at %d hooks", s, k, l.Code.Name, again)
				}
				if want := map[taskwatch.Kind]int{taskwatch.Exec: 1}[k]; execed != want {
					t.Errorf("%+v: what follows %s is at %d hooks, want %d", s, k, execed, want)
				}
				if want := k == taskwatch.Exec && (s.LSM == nil || s.ModifyReturn == nil); (steps == 1) != want || steps > 1 {
					t.Errorf("%+v: the steps of %s are at %d hooks", s, k, steps)
				}
				if calls != 1 {
					t.Errorf("%+v: %s of the %s is called at %d hooks", s, k, l.Code.Name, calls)
				}
			}
		}
		for _, h := range plan.Hooks(s) {
			lk := &Linker{Hook: h, Modules: []*Module{observer, decider}}
			if lk.Used() == h.Steps { // nobody has asked for them
				t.Errorf("%s is used: %v", h.Name, lk.Used())
			}
			mustLink(t, lk)
		}
	}
}

// More watchers than one program may have are linked into a chain, in order.
func TestLinkDividesIntoStages(t *testing.T) {
	var modules []*Module
	var want []string
	for i := range 100 {
		maps := []string{fmt.Sprintf("one%d", i), fmt.Sprintf("two%d", i)}
		l := madeList("m", taskwatch.KindsOf(taskwatch.Init), maps, map[taskwatch.Kind][]string{taskwatch.Init: {"x", "y"}})
		modules = append(modules, l)
		want = append(want, l.symbol("__task_watcher_init_x"), l.symbol("__task_watcher_init_y"))
	}
	stages := mustLink(t, &Linker{Hook: initHook(), Modules: modules})
	if len(stages) < 4 {
		t.Errorf("%d stages for 200 maps and 400 functions", len(stages))
	}
	var got []string
	for i, insns := range stages {
		got = append(got, mainCalls(insns)...)
		if n := len(functions(insns)); n > 256 {
			t.Errorf("stage %d has %d functions", i, n)
		}
		tail := strings.Contains(fmt.Sprint(insns), "FnTailCall")
		if last := i == len(stages)-1; tail == last {
			t.Errorf("stage %d of %d: tail call: %v", i, len(stages), tail)
		}
	}
	if !slices.Equal(got, want) {
		t.Errorf("calls %v, want %v", got, want)
	}
	modules = slices.Concat(modules, modules, modules, modules, modules, modules)
	lk := &Linker{Hook: initHook(), Modules: modules, Off: &offsets.Offsets{}, Stats: fakeMap(1), Slot: fakeMap(2), Carry: fakeMap(3)}
	if _, err := lk.Link(); err == nil || !strings.Contains(err.Error(), "programs would be needed") {
		t.Errorf("too many stages: %v", err)
	}
}

// Only a hook that can deny returns what the watchers said, and not in a
// dry run.
func TestResultOfDispatcher(t *testing.T) {
	l := func() []*Module {
		return []*Module{madeList("m", taskwatch.KindsOf(taskwatch.Init), nil,
			map[taskwatch.Kind][]string{taskwatch.Init: {"a"}, taskwatch.Exit: {"a"}})}
	}
	for _, c := range []struct {
		name    string
		hook    *plan.Hook
		dryRun  bool
		returns asm.Instruction
	}{
		{"veto", initHook(), false, asm.Mov.Reg(asm.R0, regFirst)},
		{"dry run", initHook(), true, asm.Mov.Imm(asm.R0, 0)},
		{"no veto", exitHook(), false, asm.Mov.Imm(asm.R0, 0)},
	} {
		insns := mustLink(t, &Linker{Hook: c.hook, DryRun: c.dryRun, Modules: l()})[0]
		end := slices.IndexFunc(insns, func(i asm.Instruction) bool { return i.OpCode == asm.Return().OpCode })
		got := insns[end-1]
		if got.OpCode != c.returns.OpCode || got.Dst != c.returns.Dst || got.Src != c.returns.Src || got.Constant != c.returns.Constant {
			t.Errorf("%s: returns by %v, want %v", c.name, got, c.returns)
		}
	}
}

// task_watcher_emit reaches the built-in's function with the module's id, and
// is an error where there is none.
func TestLinkEmit(t *testing.T) {
	module := madeList("m", 0, nil, map[taskwatch.Kind][]string{taskwatch.Exit: {"a"}})
	module.Code.Funcs["deeper"] = function("deeper", []string{emitSymbol}, nil)
	builtin := madeList("b", 0, nil, nil)
	builtin.Code.Emit = "helper"

	for _, c := range []struct {
		modules []*Module
		want    asm.Instruction
	}{
		{[]*Module{builtin, module}, asm.Call.Label(builtin.symbol("helper"))},
		{[]*Module{module}, asm.Mov.Imm(asm.R0, -errNoListener)},
	} {
		insns := mustLink(t, &Linker{Hook: exitHook(), Modules: c.modules})[0]
		at := slices.IndexFunc(insns, func(i asm.Instruction) bool { return i.Symbol() == module.symbol(emitSymbol) })
		if at < 0 {
			t.Fatal("the module has no emit function")
		}
		if id := insns[at+3]; id.Dst != asm.R1 || id.Constant != int64(module.ID) {
			t.Errorf("the module's id is loaded by %v, want %d", id, module.ID)
		}
		if got := insns[at+4]; got.OpCode != c.want.OpCode || got.Reference() != c.want.Reference() {
			t.Errorf("then %v, want %v", got, c.want)
		}
	}
}
