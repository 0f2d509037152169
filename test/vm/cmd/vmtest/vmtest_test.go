package main

import (
	"bytes"
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/taskwatch/taskwatch/internal/testutil"
	"github.com/taskwatch/taskwatch/test/vm"
)

func TestMain(m *testing.M) { testutil.Main(m) }

func TestTestFlags(t *testing.T) {
	got := testFlags([]string{"-run", "X", "--short", "-count=2", "-test.v", "-own", "run"})
	want := []string{"-test.run", "X", "-test.short", "-test.count=2", "-test.v", "-own", "run"}
	if !slices.Equal(got, want) {
		t.Errorf("testFlags returns %q, want %q", got, want)
	}
}

func TestBadCommandLines(t *testing.T) {
	for _, tt := range []struct {
		args []string
		say  string
	}{
		{nil, "no package"},
		{[]string{"-lsm", "magic", "."}, `"magic"`},
		{[]string{"-preempt", "some", "."}, `"some"`},
		{[]string{"-arch", "vax", "."}, `"vax"`},
		{[]string{"-env", "novalue", "."}, "NAME=VALUE"},
		{[]string{"-file", "/x", "."}, "GUEST=HOST"},
		{[]string{"-command", "./cmd/taskwatch", "."}, "GUEST=PACKAGE"},
		{[]string{"-nonsense"}, "nonsense"},
	} {
		var stderr bytes.Buffer
		if code := run(t.Context(), tt.args, &stderr, &stderr); code != 2 || !strings.Contains(stderr.String(), tt.say) {
			t.Errorf("%q: exit code %d: %s", tt.args, code, &stderr)
		}
	}
}

// runVM runs vmtest with one kernel and returns its exit code and output.
func runVM(t *testing.T, args ...string) (int, string) {
	t.Helper()
	testutil.Long(t)
	for _, tool := range []string{"qemu-system-x86_64", "apt-cache", "dpkg-deb", "busybox"} {
		testutil.RequireTool(t, tool)
	}
	testutil.Require(t, testutil.NeedsCompiler("gcc", "-static"), testutil.Need{
		What: "Debian's kernels", Remedy: "run apt-get update, on a Debian that has them", Promised: true,
		Met: func() bool {
			_, err := vm.FindKernel(t.Context(), vm.HostArch, "6.12")
			return !errors.Is(err, vm.ErrUnknownKernel)
		},
	})
	var out bytes.Buffer
	code := run(t.Context(), append([]string{"-kernel", "6.12", "-lsm", "none"}, args...), &out, &out)
	return code, out.String()
}

func TestMatrix(t *testing.T) {
	for _, tt := range []struct {
		name string
		args []string
		code int
		say  []string

		nightly bool
	}{
		{"fails", []string{"./testdata/good", "./testdata/bad", "./testdata/exits"}, 1, []string{
			"testdata/good: 4 passed, 0 failed, 1 skipped", "skipped: TestSub/skipped: good_test.go:", ": no reason",
			"ok   github.com", "testdata/bad: 1 passed, 1 failed, 0 skipped, exit status 1", "failed: TestFails", "on purpose",
			"exits: 1 passed, 0 failed, 0 skipped, exit status 3", "0 of 1 machines ok"}, false},
		{"flags reach the tests", []string{"./testdata/bad", "--", "-run", "Passes"}, 0, []string{"bad: 1 passed, 0 failed", "1 of 1 machines ok"}, true},
		{"nothing ran", []string{"./testdata/none"}, 1, []string{"no test ran", "0 of 1 machines ok"}, true},
		{"bad status without a failed test", []string{"./testdata/exits"}, 1, []string{"FAIL github.com", "0 of 1 machines ok"}, true},
		{"hangs", []string{"-timeout", "1s", "./testdata/good"}, 1, []string{"no end after 1s", "not reached", "0 of 1 machines ok"}, false},
		{"does not build", []string{"./testdata/missing"}, 1, []string{"missing"}, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if tt.nightly {
				testutil.Nightly(t)
			}
			code, out := runVM(t, tt.args...)
			if code != tt.code {
				t.Errorf("exit code %d, want %d", code, tt.code)
			}
			for _, say := range tt.say {
				if !strings.Contains(out, say) {
					t.Errorf("the output lacks %q", say)
				}
			}
			if t.Failed() {
				t.Log(out)
			}
		})
	}
}

func TestList(t *testing.T) {
	code, out := runVM(t, "-list")
	if code != 0 || !strings.Contains(out, "kernel 6.12 lsm=none (linux-image-6.12.") || strings.Count(out, "\n") != 1 {
		t.Errorf("exit code %d: %s", code, out)
	}
}

// TestUnfinishedOutput parses what a guest leaves that crashed in its second
// package of three.
func TestUnfinishedOutput(t *testing.T) {
	s := &suite{binaries: []binary{{pkg: "a"}, {pkg: "b"}, {pkg: "c"}}}
	r := new(report)
	out := beginMark + "a\n\x16=== RUN   TestQuick\n\x16--- PASS: TestQuick (0.00s)\n\x16=== RUN   TestA\n\x16--- PASS: TestA (61.70s)\n\x16=== NAME  \n\x16PASS\n\n" + endMark + "0\n" +
		beginMark + "b\n\x16=== RUN   TestB\nhalf a li"
	if err := r.parse(t.Context(), []byte(out), s); err != nil {
		t.Fatal(err)
	}
	r.err = &vm.CrashError{Message: "Oops: 0000"}
	a, b, c := r.packages[0], r.packages[1], r.packages[2]
	if !a.ok() || a.passed != 2 {
		t.Errorf("package a: %+v", a)
	}
	if b.ok() || b.status != -1 || !bytes.Contains(b.output, []byte("half")) {
		t.Errorf("package b: %+v", b)
	}
	if c.ok() || c.output != nil {
		t.Errorf("package c: %+v", c)
	}
	var text bytes.Buffer
	r.print(&text, false)
	for _, say := range []string{"ok   a", "did not end b", "half a li", "not reached c", "Oops: 0000", "slowest: TestA 62 s\n"} {
		if !strings.Contains(text.String(), say) {
			t.Errorf("the report lacks %q:\n%s", say, &text)
		}
	}
	if summarize(&text, []*report{r}) {
		t.Error("a crash was summarized as success")
	}
	// A binary that is killed fails in no test, and takes the guest's shell with it.
	r.err, r.console = nil, []byte("Out of memory: Killed process 7\n")
	text.Reset()
	r.print(&text, false)
	if !strings.Contains(text.String(), "end of the console:\nOut of memory") {
		t.Errorf("the report lacks the console:\n%s", &text)
	}
	text.Reset()
	if want := "2 passed, 0 failed, 0 skipped: b did not end (in TestB): half a li; c not reached\n"; summarize(&text, []*report{r}) || !strings.Contains(text.String(), want) {
		t.Errorf("the summary lacks %q:\n%s", want, &text)
	}
}

// TestProblem has the words for what may be wrong with a package.
func TestProblem(t *testing.T) {
	for _, c := range []struct {
		p    pkgReport
		want string
	}{
		{pkgReport{pkg: "a"}, ""},
		{pkgReport{pkg: "a", status: -1}, "a not reached"},
		{pkgReport{pkg: "a", status: 1, failed: 2, failures: []string{"TestA", "TestB"}}, "FAIL a: TestA, TestB"},
		{pkgReport{pkg: "a", status: 137, running: []string{"TestC", "TestC/x"}}, "FAIL a, exit status 137 (in TestC, TestC/x)"},
		{pkgReport{pkg: "a", status: 3}, "FAIL a, exit status 3"},
		{
			pkgReport{pkg: "a", status: 2, running: []string{"TestD"}, output: []byte("\x16=== RUN   TestD\nruntime: failed to create new OS thread\nfatal error: newosproc\n\ngoroutine 1\n")},
			"FAIL a, exit status 2 (in TestD): runtime: failed to create new OS thread",
		},
	} {
		if got := c.p.problem(); got != c.want {
			t.Errorf("%+v: %q, want %q", c.p, got, c.want)
		}
	}
}
