package modules

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/taskwatch/taskwatch"
	"github.com/taskwatch/taskwatch/internal/testmodule"
	"github.com/taskwatch/taskwatch/internal/testutil"
	"github.com/taskwatch/taskwatch/module/kernel"
	"github.com/taskwatch/taskwatch/module/wasm"
	"github.com/taskwatch/taskwatch/source"
	"github.com/taskwatch/taskwatch/source/ptrace"
)

const (
	allowed = "f1=0 f4241=0 e1=0 e4242=0 u1=0 u4243=0 g1=0 g4244=0 "
	refused = "f1=0 f4241=11 e1=0 e4242=13 u1=0 u4243=12 g1=0 g4244=1 "
)

// verdicts are what the variables of the module verdicts say.
type verdicts struct{ asked, refused uint64 }

func verdictsOf(a answers) verdicts { return verdicts{a["asked"], a["refused"]} }

// inSandbox runs the attempts under ptrace, with the module in the sandbox.
func inSandbox(t *testing.T, attempts string) (string, verdicts) {
	t.Helper()
	o, err := wasm.Parse("verdicts", testmodule.Wasm(t, "testdata/modules/verdicts.c"))
	if err != nil {
		t.Fatal(err)
	}
	defer o.Close()
	m, err := o.Load(wasm.LoadOptions{Params: map[string]string{"gid": fmt.Sprint(group)}, Deadline: time.Minute})
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	name := filepath.Join(t.TempDir(), "out")
	out, err := os.Create(name)
	if err != nil {
		t.Fatal(err)
	}
	defer out.Close()
	null, err := os.OpenFile(os.DevNull, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer null.Close()
	src, err := ptrace.New(ptrace.Config{Command: &source.Command{Path: attempts, Argv: []string{"attempts", fmt.Sprint(group)}, Stdin: null, Stdout: out, Stderr: out}})
	if err != nil {
		t.Fatal(err)
	}
	var reg taskwatch.Registry
	caps := src.Capabilities()
	watchers := m.Watchers(caps.VetoKinds())
	if err := reg.Register(watchers); err != nil {
		t.Fatal(err)
	}
	if err := src.Run(context.Background(), &reg); err != nil {
		t.Fatal(err)
	}
	if err := reg.Unregister(watchers); err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	globals, err := m.Globals(t.Context())
	return string(text), verdictsOf(answersOf(t, globals, err, 0))
}

// underKernel runs the attempts with the module in the kernel.
func underKernel(t *testing.T, attempts string, s tier) (string, verdicts) {
	t.Helper()
	table := tableOf(t, s)
	o, err := kernel.Parse("verdicts", testmodule.Object(t, "testdata/modules/verdicts.c"))
	if err != nil {
		t.Fatal(err)
	}
	m, err := o.Load(kernel.LoadOptions{Params: map[string]string{"gid": fmt.Sprint(group)}})
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	if err := table.Register(m, kernel.RegisterOptions{AllowBestEffort: true, AllowObserveOnly: !s.denies()}); err != nil {
		t.Fatal(err)
	}
	out, err := exec.Command(attempts, fmt.Sprint(group)).CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	if err := table.Unregister(m); err != nil {
		t.Fatal(err)
	}
	globals, err := m.Globals()
	return string(out), verdictsOf(answersOf(t, globals, err, 0))
}

// kernelRefuses reports whether modules in this kernel can refuse operations.
func kernelRefuses() (bool, error) {
	s, err := probed()
	return err == nil && (s.LSM == nil || s.ModifyReturn == nil), err
}

// One module refuses the same in the sandbox and in the kernel, by each way that it has;
// and what cannot be denied, it would.
func TestSameVerdicts(t *testing.T) {
	testutil.Root(t)
	attempts := testutil.BuildC(t, "-static", "testdata/attempts.c")
	if out, err := exec.Command(attempts, fmt.Sprint(group)).CombinedOutput(); err != nil || string(out) != allowed {
		t.Fatalf("without a module: %s, %v; want %s", out, err, allowed)
	}
	want, sandbox := inSandbox(t, attempts)
	if want != refused || sandbox.refused != 4 {
		t.Errorf("in the sandbox: %s with %d refused, want %s with 4", want, sandbox.refused, refused)
	}
	for _, tier := range tiers(t) {
		t.Run(tier.name, func(t *testing.T) {
			want := want
			if !tier.denies() {
				want = allowed
			}
			if got, kernel := underKernel(t, attempts, tier); got != want || kernel != sandbox {
				t.Errorf("in the kernel: %s, %+v; want %s and what the sandbox says, %+v", got, kernel, want, sandbox)
			}
		})
	}
}
