package main

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/taskwatch/taskwatch/test/vm"
)

// A module's page says what its tests have passed on, and nothing else.
func TestModulePages(t *testing.T) {
	dir := t.TempDir()
	file := func(name, text string) string {
		t.Helper()
		path := filepath.Join(dir, name)
		err := os.MkdirAll(filepath.Dir(path), 0o755)
		if err == nil {
			err = os.WriteFile(path, []byte(text), 0o644)
		}
		if err != nil {
			t.Fatal(err)
		}
		return path
	}
	const mark = "<!-- test/vm/cmd/kerneltable writes this table of a TestOne TestTwo; b TestThree -->\n"
	page := file("pages/m.md", "# m\n"+mark+endMark+"## After\n")
	readmePage := file("README.md", readme.begin+endMark)
	file("a/a_test.go", "package a\n\nfunc TestOne(t *testing.T) {}\n\nfunc TestTwo(t *testing.T) {}\n")
	file("b/b_test.go", "package b\n\nfunc TestThree(t *testing.T) {}\n")
	results := filepath.Join(dir, "results")
	kerneltable := func(want int, say string, args ...string) {
		t.Helper()
		var out bytes.Buffer
		if got := run(args, &out, &out); got != want || !strings.Contains(out.String(), say) {
			t.Fatalf("%q: status %d, want %d and a word of %q: %s", args, got, want, say, &out)
		}
	}
	check := func(want int, say string, args ...string) {
		t.Helper()
		kerneltable(want, say, append(args, "-modules", filepath.Join(dir, "pages"), readmePage, results)...)
	}
	ran := func(arch vm.Arch, series, problem string, tests map[string]string) {
		t.Helper()
		m := machine(t, arch, series, "bpf", "", "1: veto by BPF LSM")
		m.Tests, m.Problem = tests, problem
		if err := vm.AppendResults(results, []vm.MachineResult{m}); err != nil {
			t.Fatal(err)
		}
	}
	ran(vm.AMD64, "6.1", "", map[string]string{"a TestOne": vm.Pass, "a TestOne/sub": vm.Pass})
	ran(vm.AMD64, "6.1", "", map[string]string{"a TestTwo": vm.Pass, "b TestThree": vm.Pass, "a TestOther": "needs a tool"})
	ran(vm.AMD64, "6.12", "", map[string]string{"a TestOne": vm.Pass, "a TestOne/sub": "needs a tool", "a TestTwo": "x_test.go:1: needs time: missing", "b TestThree": "needs a tool"})
	ran(vm.ARM64, "6.12", "FAIL", map[string]string{"a TestOne": vm.Pass})
	ran(vm.ARM64, "6.1", "", map[string]string{"c TestOne": vm.Pass})
	kerneltable(0, "", "-write", readmePage, results)
	check(0, "") // the page claims nothing
	check(0, "", "-write")
	check(0, "")
	want := "# m\n" + mark + strings.Join([]string{
		"| Debian's kernel | processor | bpf in `lsm=` | its tests |", "|---|---|---|---|",
		"| 6.1 | amd64 | yes | pass |",
		"| 6.12 | amd64 | yes | pass; not run: TestOne/sub, TestThree, TestTwo |", ""}, "\n") + endMark + "## After\n"
	is := func() {
		t.Helper()
		text, err := os.ReadFile(page)
		if err != nil || string(text) != want {
			t.Fatalf("%v, the page is\n%swant\n%s", err, text, want)
		}
	}
	is()

	// What is skipped by choice in one run, and passes in another, has passed.
	ran(vm.AMD64, "6.12", "", map[string]string{"a TestTwo": vm.Pass})
	check(1, "| 6.12 | amd64 | yes | pass; not run: TestOne/sub, TestThree |\n")
	check(0, "", "-write")
	want = strings.Replace(want, ", TestTwo |", " |", 1)
	is()

	// This machine has a row like the others.
	diagnosis, err := json.Marshal(map[string]string{"kernel": "6.99-own"})
	if err != nil {
		t.Fatal(err)
	}
	skips := file("skips", "TestThree: needs a veto: missing here\nTestTwo/sub: needs time: missing here\n")
	kerneltable(1, "nowhere", "-here", skips, "-diagnosis", filepath.Join(dir, "nowhere"), results)
	kerneltable(0, "", "-here", skips, "-diagnosis", file("diagnosis", string(diagnosis)), results)
	check(0, "")
	check(0, "", "-write")
	own := "| the gate's own: Linux 6.99-own | " + string(vm.HostArch) + " |  | pass; not run: TestThree |\n"
	want = strings.Replace(want, endMark, own+endMark, 1)
	is()
	check(0, "")
	file("pages/m.md", strings.Replace(want, own, strings.Replace(own, "; not run: TestThree", "", 1), 1))
	check(1, own)

	file("pages/m.md", strings.Replace(want, "TestTwo; b", "TestGone; b", 1))
	check(1, "no TestGone in a")
	file("pages/m.md", mark)
	check(1, "no place")
	file("pages/m.md", "# m\n")
	check(0, "") // without a table
}
