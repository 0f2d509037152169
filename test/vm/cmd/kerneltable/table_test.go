package main

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/taskwatch/taskwatch/doctor"
	"github.com/taskwatch/taskwatch/internal/testutil"
	"github.com/taskwatch/taskwatch/test/vm"
)

func TestMain(m *testing.M) { testutil.Main(m) }

// machine returns the result of a machine, where the source bpf works or not.
func machine(t *testing.T, arch vm.Arch, series, lsm, params, tier string) vm.MachineResult {
	t.Helper()
	d := doctor.Diagnosis{Tier: tier, Sources: []doctor.Source{
		{Name: "bpf", Works: tier != "", Events: []doctor.Event{
			{Event: "init", KernelModules: doctor.Found, Veto: doctor.Found}, {Event: "exit", KernelModules: doctor.Found, Veto: doctor.NotFound},
		}},
		{Name: "connector", Works: true}, {Name: "ptrace", Works: true},
	}}
	if tier == "3: observe only" {
		d.Sources[0].Events[0].Veto = doctor.NotFound
		d.Sources[0].Events[1].KernelModules = doctor.NotFound
	}
	text, err := json.Marshal(d)
	if err != nil {
		t.Fatal(err)
	}
	return vm.MachineResult{Arch: arch, Series: series, LSM: lsm, Params: params, Diagnosis: text}
}

func TestTable(t *testing.T) {
	dir := t.TempDir()
	page, results := filepath.Join(dir, "page"), filepath.Join(dir, "results")
	const rest = "## After\n"
	empty := "# Before\n" + readme.begin + endMark + rest
	if err := os.WriteFile(page, []byte(empty), 0o644); err != nil {
		t.Fatal(err)
	}
	kerneltable := func(want int, say string, args ...string) {
		t.Helper()
		var out bytes.Buffer
		if got := run(append(args, page, results), &out, &out); got != want || !strings.Contains(out.String(), say) {
			t.Fatalf("%q: status %d, want %d and a word of %q: %s", args, got, want, say, &out)
		}
	}
	kerneltable(1, "no such file")
	failed := machine(t, vm.AMD64, "6.1", "bpf", "", "1: veto by BPF LSM")
	failed.Problem = "FAIL doctor"
	if err := vm.AppendResults(results, []vm.MachineResult{{Arch: vm.AMD64, Series: "6.1"}, failed}); err != nil {
		t.Fatal(err)
	}
	kerneltable(1, "diagnosis")
	if err := vm.AppendResults(results, []vm.MachineResult{
		machine(t, vm.ARM64, "6.1", "bpf", "", "3: observe only"),
		machine(t, vm.AMD64, "6.12", "none", "", "2: veto by fmod_ret"),
		machine(t, vm.AMD64, "6.12", "bpf", "", "1: veto by BPF LSM"),
		machine(t, vm.AMD64, "6.1", "bpf", "lockdown", ""),
	}); err != nil {
		t.Fatal(err)
	}
	kerneltable(1, "| 6.12 | amd64 | no | bpf, ptrace | bpf, connector | all events | init, by fmod_ret |\n")
	kerneltable(0, "", "-write")
	kerneltable(0, "")
	want := strings.Replace(empty, endMark, strings.Join([]string{
		"| Debian's kernel | processor | bpf in `lsm=` | `run` | `watch` | kernel modules see | and can deny |",
		"|---|---|---|---|---|---|---|",
		"| 6.1, lockdown | amd64 | yes | ptrace | connector | nothing | nothing |",
		"| 6.12 | amd64 | yes | bpf, ptrace | bpf, connector | all events | init, by BPF LSM |",
		"| 6.12 | amd64 | no | bpf, ptrace | bpf, connector | all events | init, by fmod_ret |",
		"| 6.1 | arm64 | yes | bpf, ptrace | bpf, connector | init | nothing |", ""}, "\n")+endMark, 1)
	text, err := os.ReadFile(page)
	if err != nil || string(text) != want {
		t.Fatalf("%v, the page is\n%swant\n%s", err, text, want)
	}

	// A machine that shows something else is noticed, and replaces its row only.
	if err := os.WriteFile(results, nil, 0o644); err != nil {
		t.Fatal(err)
	}
	if err := vm.AppendResults(results, []vm.MachineResult{machine(t, vm.ARM64, "6.1", "bpf", "", "1: veto by BPF LSM")}); err != nil {
		t.Fatal(err)
	}
	kerneltable(1, "| 6.1 | arm64 | yes | bpf, ptrace | bpf, connector | all events | init, by BPF LSM |\n")
	kerneltable(0, "", "-write")
	want = strings.Replace(want, "| init | nothing |", "| all events | init, by BPF LSM |", 1)
	if text, err := os.ReadFile(page); err != nil || string(text) != want {
		t.Fatalf("%v, the page is\n%swant\n%s", err, text, want)
	}
	if err := os.WriteFile(page, []byte("nothing\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	kerneltable(1, "no place")
}
