package wasm

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/tetratelabs/wazero"

	"github.com/taskwatch/taskwatch/internal/testutil"
	"github.com/taskwatch/taskwatch/module/wasm/internal/wasmfile"
	"github.com/taskwatch/taskwatch/module/wasm/rewrite"
)

// outcome is all that can be seen of a module that ran.
type outcome struct {
	result  string
	globals [wasmfile.RandomGlobals]uint64
	table   [2][wasmfile.RandomElements]uint64
	memory  []byte
}

// outcomeOf runs a module of wasmfile.Random a few times.
func outcomeOf(t testing.TB, code []byte) *outcome {
	rt := wazero.NewRuntimeWithConfig(background, wazero.NewRuntimeConfigCompiler().WithCoreFeatures(coreFeatures))
	defer rt.Close(background)
	mod, err := rt.InstantiateWithConfig(background, code, wazero.NewModuleConfig())
	if err != nil {
		t.Fatalf("%v\n%x", err, code)
	}
	o := &outcome{}
	for i := range uint64(2) {
		results, err := mod.ExportedFunction("run").Call(background, i*3, 70_000*i)
		if err != nil {
			err = fmt.Errorf("%s", firstLine(err))
		}
		o.result += fmt.Sprintln(results, err)
	}
	for i := range o.globals {
		o.globals[i] = mod.ExportedGlobal(fmt.Sprintf("g%d", i)).Get()
	}
	for table, fn := range []string{"at", "null"} {
		for i := range uint64(wasmfile.RandomElements) {
			results, err := mod.ExportedFunction(fn).Call(background, i)
			if err != nil {
				t.Fatal(err)
			}
			o.table[table][i] = results[0]
		}
	}
	all, _ := mod.Memory().Read(0, mod.Memory().Size())
	o.memory = bytes.Clone(all)
	return o
}

// compare runs a module as it is and rewritten, and wants no difference.
func compare(t testing.TB, choices []byte) *outcome {
	code := wasmfile.Random(choices)
	m, err := rewrite.Parse(code)
	if err != nil {
		t.Fatal(err)
	}
	rewritten, err := m.Instrument()
	if err != nil {
		t.Fatal(err)
	}
	want, got := outcomeOf(t, code), outcomeOf(t, rewritten)
	switch {
	case got.result != want.result:
		t.Errorf("it returns %s, and %s as it is", got.result, want.result)
	case got.globals != want.globals:
		t.Errorf("its globals are %v, and %v as it is", got.globals, want.globals)
	case got.table != want.table:
		t.Errorf("its tables are %v, and %v as it is", got.table, want.table)
	case !bytes.Equal(got.memory, want.memory):
		t.Errorf("its memory differs: %d and %d bytes", len(got.memory), len(want.memory))
	}
	if t.Failed() {
		t.Logf("of the choices %x", choices)
	}
	return want
}

func randomChoices(rng *rand.Rand) []byte {
	b := make([]byte, 20+rng.IntN(400))
	for i := range b {
		b[i] = byte(rng.Uint32())
	}
	return b
}

// A rewritten module leaves the same results, traps, memory, tables and
// globals as it would unchanged.
func TestRewrittenModulesDoTheSame(t *testing.T) {
	rng := rand.New(rand.NewPCG(15, 1))
	ends := map[string]int{}
	for range testutil.Size(60, 150, 600) {
		o := compare(t, randomChoices(rng))
		for _, line := range bytes.Split([]byte(o.result), []byte("\n")) {
			if _, trap, _ := bytes.Cut(line, []byte("] ")); len(trap) > 0 {
				ends[string(trap)]++
			}
		}
		if t.Failed() {
			return
		}
	}
	t.Log(ends)
	if len(ends) < 4 || ends["<nil>"] < 20 {
		t.Errorf("the modules end in few ways: %v", ends)
	}
}

func FuzzRewrite(f *testing.F) {
	rng := rand.New(rand.NewPCG(15, 2))
	for range 20 {
		f.Add(randomChoices(rng)[:20]) // short: what is found is made smaller byte by byte, and each of these takes a run
	}
	f.Fuzz(func(t *testing.T, choices []byte) {
		if len(choices) > 100 {
			return
		}
		compare(t, choices)
	})
}

// A copy that overlaps itself by more than a piece moves every byte as one
// instruction would, in both directions.
func TestOverlappingCopies(t *testing.T) {
	const size = 16 * mebi
	random, want := make([]byte, size), make([]byte, size)
	_, _ = rand.NewChaCha8([32]byte{15}).Read(random)
	for _, c := range []struct{ to, from, n int }{
		{0, 1, 300_000}, {1, 0, 300_000}, {70_000, 0, 300_000}, {0, 70_000, 300_000}, {65_536, 0, 200_000}, {0, 65_536, 200_000},
		{5, 5, 300_000}, {65_535, 0, 65_537}, {size - 200_000, size - 200_001, 200_000}, {0, size - 200_000, 200_000},
	} {
		m, err := rewrite.Parse(worker(number(int64(c.to)) + number(int64(c.from)) + number(int64(c.n)) + "\xfc\x0a\x00\x00").Bytes())
		if err != nil {
			t.Fatal(err)
		}
		code, err := m.Instrument()
		if err != nil {
			t.Fatal(err)
		}
		rt := wazero.NewRuntimeWithConfig(background, wazero.NewRuntimeConfig().WithCoreFeatures(coreFeatures))
		mod, err := rt.InstantiateWithConfig(background, code, wazero.NewModuleConfig())
		if err != nil {
			t.Fatal(err)
		}
		copy(want, random)
		mod.Memory().Write(0, want)
		copy(want[c.to:c.to+c.n], want[c.from:c.from+c.n])
		if _, err := mod.ExportedFunction("run").Call(background); err != nil {
			t.Errorf("%+v: %v", c, err)
		}
		if got, _ := mod.Memory().Read(0, size); !bytes.Equal(got, want) {
			t.Errorf("%+v: the memory differs", c)
		}
		rt.Close(background)
	}
}
