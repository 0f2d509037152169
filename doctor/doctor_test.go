package doctor

import (
	"encoding/json"
	"os"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/taskwatch/taskwatch"
	"github.com/taskwatch/taskwatch/internal/features"
	"github.com/taskwatch/taskwatch/internal/testutil"
)

func TestMain(m *testing.M) {
	if len(os.Args) == 3 && os.Args[1] == ChildCommand {
		Child(os.Args[2])
		return
	}
	testutil.Main(m)
}

// TestExamine writes the diagnosis to the file that TASKWATCH_DIAGNOSIS names,
// if any: the kernel matrix makes the table in README of it.
func TestExamine(t *testing.T) {
	testutil.Root(t)
	defer func(d time.Duration) { tryTime = d }(tryTime)
	tryTime = time.Hour // what hangs ends with the test
	d := Examine(t.Context())
	if err := d.Err(); err != nil {
		t.Error(err)
	}
	works := map[string]bool{}
	for _, s := range d.Sources {
		works[s.Name] = s.Works
		t.Logf("%+v", s)
	}
	// Everybody can trace a command of his own, and root has the other sources
	// where the kernel has what they need.
	has := func(fs ...*features.Feature) bool {
		return !slices.ContainsFunc(fs, func(f *features.Feature) bool { return f.Probe().Answer != features.Yes })
	}
	bpf, connector := has(features.BTF, features.BPF, features.RingBuffer, features.TaskIter, features.ReadKernel, features.TracepointBTF), has(features.Connector)
	if len(works) != 3 || !works["ptrace"] || works["bpf"] != bpf || works["connector"] != connector {
		t.Errorf("the sources are %v, and what they need is there for bpf %v, for connector %v", works, bpf, connector)
	}
	// Vetoes that the kernel allows must be found to work: by the best of its
	// two ways, for every event that can be denied in that way.
	tier := ""
	switch {
	case !bpf:
	case has(features.LSM):
		tier = "1: veto by BPF LSM"
	case has(features.FmodRet):
		tier = "2: veto by fmod_ret"
	default:
		tier = "3: observe only"
	}
	if d.Tier != tier {
		t.Errorf("the tier is %q, and by what the kernel has it is %q", d.Tier, tier)
	}
	if vm := os.Getenv("TASKWATCH_VM"); vm != "" && bpf {
		lsm := os.Getenv("TASKWATCH_VM_LSM")
		if want := knownTier(runtime.GOARCH, vm, lsm); d.Tier != want {
			t.Errorf("the tier of Debian's kernel %s for %s with lsm=%s is %q, want %q", vm, runtime.GOARCH, lsm, d.Tier, want)
		}
	}
	if file := os.Getenv("TASKWATCH_DIAGNOSIS"); file != "" {
		text, err := json.Marshal(d)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, text, 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

// knownTier is the tier of a machine of the kernel matrix.
func knownTier(arch, series, lsm string) string {
	switch {
	case arch == "arm64" && series == "6.1": // no BPF trampolines
		return "3: observe only"
	case lsm == "none":
		return "2: veto by fmod_ret"
	}
	return "1: veto by BPF LSM"
}

// What may have been lost is neither there nor missing, and says so. What a module
// has counted is not lost.
func TestLost(t *testing.T) {
	for lost, want := range map[bool]string{false: NotFound, true: Untried} {
		var tried trial
		tried.caps.Events[taskwatch.UID].Delivered = true
		tried.lost.Store(lost)
		s := tried.describe("connector")
		d := Diagnosis{Sources: []Source{s}}
		e := s.Events[taskwatch.UID]
		if e.Seen != want || strings.Contains(e.Why, "too busy") != lost || (d.Err() == nil) != lost {
			t.Errorf("lost: %v: %+v, %v", lost, e, d.Err())
		}
	}
}

// What takes too long is neither yes nor no, and says so.
func TestBusy(t *testing.T) {
	testutil.Root(t)
	defer func(d time.Duration) { tryTime = d }(tryTime)
	tryTime = time.Millisecond
	d := Examine(t.Context())
	var text strings.Builder
	if err := d.Write(&text); err != nil {
		t.Fatal(err)
	}
	for _, s := range d.Sources {
		if s.Works || s.Answer != Inconclusive || !strings.Contains(s.Why, "too busy") {
			t.Errorf("%+v, want that nothing was found out", s)
		}
	}
	if !strings.HasPrefix(text.String(), "watch:          inconclusive: ") {
		t.Errorf("it says:\n%s", text.String())
	}
}

// Three answers come first, each with its reason and what would change it.
func TestAnswers(t *testing.T) {
	events := func(veto, module string) []Event {
		return []Event{{Event: "exec", Seen: Found, Veto: veto, KernelModules: module}}
	}
	lsm := Feature{Name: features.LSM.Name, Answer: NotFound, Reason: "bpf is not among the active security modules (yama): add it to lsm= on the kernel's command line"}
	ptrace := Source{Name: "ptrace", Works: true, Answer: Found}
	for _, c := range []struct {
		d    Diagnosis
		want [3]string
	}{
		{Diagnosis{Tier: "1: veto by BPF LSM", Sources: []Source{{Name: "bpf", Works: true, Answer: Found, Events: events(Found, Found)}}},
			[3]string{"yes, with the source bpf", "yes", "yes, exec, by BPF LSM"}},
		{Diagnosis{Features: []Feature{lsm}, Sources: []Source{{Name: "bpf", Works: true, Answer: Found, Events: events(NotFound, Found)}, ptrace}},
			[3]string{"yes, with the source bpf", "yes", "no, in the kernel, because " + lsm.Reason + " (boot with lsm=...,bpf); 'taskwatch run' can, by ptrace"}},
		{Diagnosis{Sources: []Source{{Name: "bpf", Answer: NotFound, Why: "bpf: no"}, {Name: "connector", Works: true, Answer: Found}, ptrace}},
			[3]string{"yes, with the source connector (not with bpf: no)", "no: no", "no, in the kernel, where no module runs; 'taskwatch run' can, by ptrace"}},
		{Diagnosis{Sources: []Source{{Name: "bpf", Answer: Inconclusive, Why: "late"}, {Name: "connector", Answer: NotFound, Why: "connector: none"}}},
			[3]string{"inconclusive: not with bpf: late; not with connector: none", "inconclusive: late", "inconclusive, in the kernel, where no module runs; ptrace does not work either"}},
	} {
		if got := [3]string{c.d.watch(), c.d.kernelModules(), c.d.deny()}; got != c.want {
			t.Errorf("got  %q\nwant %q", got, c.want)
		}
	}
}
