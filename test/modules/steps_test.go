package modules

import (
	"errors"
	"fmt"
	"maps"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/taskwatch/taskwatch/internal/testmodule"
	"github.com/taskwatch/taskwatch/internal/testutil"
	"github.com/taskwatch/taskwatch/module/kernel"
)

// A watcher of step is called about the program and about each interpreter, with a
// number and the file, and can deny each: also a script between two others, about
// which watchers of exec are not asked.
func TestSteps(t *testing.T) {
	testutil.Root(t)
	dir, err := filepath.EvalSymlinks(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	cases := map[string]execCase{}
	for _, c := range execCases(t, dir) {
		c.dir = dir
		cases[c.name] = c
	}
	program, script, nested := cases["a program"], cases["a script"], cases["a script's script"]
	between := filepath.Join(dir, "between")
	object := testmodule.Object(t, "testdata/modules/steps.c")
	try := func(c execCase) error {
		cmd := exec.Command(c.path)
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Gid: execGroup}}
		return cmd.Run()
	}
	denies := false
	for _, tier := range tiers(t) {
		if !tier.denies() {
			continue
		}
		denies = true
		t.Run(tier.name, func(t *testing.T) {
			params := func(more ...string) map[string]string {
				p := map[string]string{"gid": fmt.Sprint(execGroup)}
				for i, value := range more {
					p[fmt.Sprintf("file%d", i)] = value
				}
				return p
			}
			table := tableOf(t, tier)
			for _, c := range []struct {
				execCase
				files    []string
				sequence uint64
			}{
				{program, []string{program.path}, 1},
				{script, []string{script.path, program.path}, 11},
				{nested, []string{nested.path, between, program.path}, 112},
			} {
				t.Run(c.name, func(t *testing.T) {
					m := register(t, table, "steps", object, kernel.LoadOptions{Params: params(c.files...)}, kernel.RegisterOptions{AllowBestEffort: true})
					const n = 3
					for range n {
						c.run(t)
					}
					steps := uint64(len(c.files))
					globals, err := m.Globals()
					want := seen{"calls": n * steps, "execs": uint64(n), "sequence": c.sequence, "same": uint64(1)<<steps - 1}
					if got := seenIn(t, globals, err); !maps.Equal(got, want) {
						t.Errorf("the module saw\n%v, want\n%v", got, want)
					}
				})
			}
			p := params()
			p["denied"] = between
			m := register(t, table, "steps", object, kernel.LoadOptions{Params: p}, kernel.RegisterOptions{AllowBestEffort: true})
			for _, c := range []struct {
				execCase
				want error
			}{
				{program, nil}, {script, nil}, {nested, syscall.EACCES}, {execCase{path: between}, syscall.EACCES}, {program, nil},
			} {
				if err := try(c.execCase); !errors.Is(err, c.want) {
					t.Errorf("%s: %v, want %v", c.path, err, c.want)
				}
			}
			globals, err := m.Globals()
			got := seenIn(t, globals, err)
			list, listErr := table.Modules()
			if listErr != nil {
				t.Fatal(listErr)
			}
			// One step of each program, two of each script until it is denied.
			if got["execs"] != uint64(3) || got["calls"] != uint64(1+2+2+1+1) || list[0].Vetoes != 2 {
				t.Errorf("the module saw %v and denied %d", got, list[0].Vetoes)
			}
		})
	}
	if denies {
		return
	}
	// Where nothing can be decided, there are no steps.
	table := tableOf(t, tiers(t)[0])
	o, err := kernel.Parse("steps", object)
	if err != nil {
		t.Fatal(err)
	}
	m, err := o.Load(kernel.LoadOptions{})
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	if err := table.Register(m, kernel.RegisterOptions{}); err == nil || !strings.Contains(err.Error(), "--allow-observe-only") {
		t.Errorf("a module with watchers of step: %v", err)
	}
	if err := table.Register(m, kernel.RegisterOptions{AllowObserveOnly: true}); err != nil {
		t.Error(err)
	}
	if err := table.Unregister(m); err != nil {
		t.Error(err)
	}
}
