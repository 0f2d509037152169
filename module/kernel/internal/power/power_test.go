package power

import (
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/cilium/ebpf/asm"

	"github.com/taskwatch/taskwatch/internal/testutil"
	"github.com/taskwatch/taskwatch/module"
)

func TestMain(m *testing.M) { testutil.Main(m) }

// The lists are disjoint, and those of the document.
func TestListsOfPowers(t *testing.T) {
	const document = "../../../../docs/security.md"
	testutil.Require(t, testutil.NeedsSource(document))
	b, err := os.ReadFile(document)
	if err != nil {
		t.Fatal(err)
	}
	_, text, ok := strings.Cut(string(b), "\n## What a module in the kernel may call\n")
	text, _, _ = strings.Cut(text, "\n## ")
	if !ok {
		t.Fatal("docs/security.md does not say what a module may call")
	}
	documented := regexp.MustCompile("`((?:bpf_)[a-z0-9_]+\\*?)`").FindAllStringSubmatch(text, -1)
	var want, got []string
	for fn := range harmless {
		want = append(want, HelperName(fn))
	}
	for power, list := range acting {
		if !slices.Contains(module.Powers, power) || !strings.Contains(text, "`"+power+"`") {
			t.Errorf("the power %s is not among those of the module, or the document", power)
		}
		for _, fn := range list {
			want = append(want, HelperName(fn))
		}
	}
	for fn := range actingKfuncs {
		want = append(want, fn)
	}
	for fn := range forbidden {
		want = append(want, fn)
	}
	want = append(want, harmlessKfuncs...)
	for _, m := range documented {
		got = append(got, m[1])
	}
	slices.Sort(want)
	slices.Sort(got)
	if all := len(want); len(slices.Compact(want)) != all {
		t.Error("something is on two lists")
	}
	got = slices.Compact(got)
	for _, name := range want {
		if !slices.Contains(got, name) {
			t.Errorf("docs/security.md lacks %s", name)
		}
	}
	for _, name := range got {
		if !slices.Contains(want, name) {
			t.Errorf("docs/security.md has %s, which is not on the lists", name)
		}
	}
	if name := HelperName(asm.FnGetNsCurrentPidTgid); name != "bpf_get_ns_current_pid_tgid" {
		t.Errorf("a helper is called %s", name)
	}
}
