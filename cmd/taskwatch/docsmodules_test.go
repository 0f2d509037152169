package main

import (
	"encoding/json"
	"go/format"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/taskwatch/taskwatch/internal/testutil"
)

// TestDocumentedModuleCommands runs the commands of the pages about modules,
// which are for root and a taskwatch in PATH. A watch is ended once it
// has seen something; it observes where the kernel lets nobody deny anything.
func TestDocumentedModuleCommands(t *testing.T) {
	testutil.Root(t)
	needsClang(t)
	pages, err := filepath.Glob("../../docs/modules/*.md")
	if err != nil || len(pages) == 0 {
		t.Fatalf("pages %q, %v", pages, err)
	}
	path := pagePath(t)
	for _, page := range append(pages, "../../docs/modules.md") { // docs/sandbox.md needs no root: see TestDocumentedCommands
		text, err := os.ReadFile(page)
		if err != nil {
			t.Fatal(err)
		}
		dir := pageDir(t)
		blocks := regexp.MustCompile("(?ms)^```shell\n(.*?)^```$").FindAllStringSubmatch(string(text), -1)
		if len(blocks) == 0 {
			t.Errorf("%s has no commands", page)
		}
		t.Run(filepath.Base(page), func(t *testing.T) {
			t.Parallel() // each has a directory of its own
			for _, block := range blocks {
				c := exec.Command("/bin/sh", "-eu", "-c", block[1])
				c.Dir = dir
				c.Env = append(os.Environ(), path)
				if out, err := c.CombinedOutput(); err != nil {
					t.Errorf("%v:\n%s\n%s", err, block[1], out)
				}
			}
		})
	}
}

// TestDocumentedModuleIsTheTemplate builds the module that docs/modules.md
// shows, and compares it with what 'module new' writes.
func TestDocumentedModuleIsTheTemplate(t *testing.T) {
	needsClang(t)
	text, err := os.ReadFile("../../docs/modules.md")
	if err != nil {
		t.Fatal(err)
	}
	code := regexp.MustCompile("(?ms)^```c\n(.*?)^```$").FindSubmatch(text)
	if code == nil {
		t.Fatal("docs/modules.md has no module")
	}
	template := filepath.Join(t.TempDir(), "count.c")
	if r := tw(t, "module", "new", template); r.status != 0 {
		t.Fatalf("module new: %+v", r)
	}
	shown := tw(t, "module", "info", buildModule(t, "count", string(code[1])))
	made := tw(t, "module", "info", buildSource(t, template))
	want := strings.Replace(made.stdout, "description:   counts execs\n", "", 1)
	if shown.stdout != want || shown.status != 0 {
		t.Errorf("the module shown is\n%s\nand that of the template\n%s", shown.stdout, want)
	}
}

// TestDocumentedKernelFunction has the kernel check the module of docs/modules.md that
// calls one of its functions, and tests it where there are none.
func TestDocumentedKernelFunction(t *testing.T) {
	testutil.Root(t)
	needsClang(t)
	for _, code := range regexp.MustCompile("(?ms)^```c\n(.*?)^```$").FindAllSubmatch(readFile(t, "../../docs/modules.md"), -1) {
		if !strings.Contains(string(code[1]), "__ksym") {
			continue
		}
		module := buildModule(t, "functions", string(code[1]))
		if r := tw(t, "module", "check", module); r.status != 0 {
			t.Errorf("%+v", r)
		}
		if r := testModule(t, makeRecording(t, testedScript), module, "--expect", "users=-1", "--expect-errors", "0"); r.status != 0 || !strings.Contains(r.stdout, "calls:") {
			t.Errorf("%+v", r)
		}
		return
	}
	t.Fatal("docs/modules.md calls no function of the kernel")
}

// TestDocumentedGuestCode compiles the Go code of docs/sandbox.md and of the
// comment of package guest, and runs the test that the first shows. Its first
// block is what 'module new' writes.
func TestDocumentedGuestCode(t *testing.T) {
	testutil.Long(t)
	t.Parallel()
	tool := testutil.RequireTool(t, "go")
	text, err := os.ReadFile("../../docs/sandbox.md")
	if err != nil {
		t.Fatal(err)
	}
	code := regexp.MustCompile("(?ms)^```go\n(.*?)^```$").FindAllSubmatch(text, -1)
	if len(code) != 6 {
		t.Fatalf("docs/sandbox.md has %d blocks of Go, want a module, a watcher, those of tasks, two of what a module reads, and a test", len(code))
	}
	dir := t.TempDir()
	template := filepath.Join(dir, "template.go")
	if r := tw(t, "module", "new", template); r.status != 0 {
		t.Fatalf("module new: %+v", r)
	}
	if got, want := withoutComments(t, code[0][1]), withoutComments(t, readFile(t, template)); got != want {
		t.Errorf("the module shown is\n%s\nand that of the template\n%s", got, want)
	}

	// In a package of this module that is not on the disk.
	root, err := filepath.Abs("../..")
	if err != nil {
		t.Fatal(err)
	}
	overlay := map[string]map[string]string{"Replace": {}}
	comment := regexp.MustCompile(`(?ms)^//\tpackage main$.*?^//\tfunc main\(\) \{\}$`).Find(readFile(t, "../../guest/doc.go"))
	for name, content := range map[string]string{
		"guest.go":      regexp.MustCompile(`(?m)^//\t?`).ReplaceAllString(string(comment), ""),
		"count.go":      string(code[0][1]),
		"decide.go":     "package main\n\nimport (\n\"strings\"\n\n\"github.com/taskwatch/taskwatch/guest\"\n)\n\n" + string(code[1][1]),
		"tasks.go":      "package main\n\nimport \"github.com/taskwatch/taskwatch/guest\"\n\n" + string(code[2][1]),
		"reads.go":      "package main\n\nimport \"github.com/taskwatch/taskwatch/guest\"\n\n" + string(code[3][1]),
		"only.go":       "package main\n\nimport \"github.com/taskwatch/taskwatch/guest\"\n\n" + string(code[4][1]),
		"count_test.go": "package main\n\nimport (\n\"testing\"\n\n\"github.com/taskwatch/taskwatch\"\n\"github.com/taskwatch/taskwatch/guest/guesttest\"\n)\n\n" + string(code[5][1]),
	} {
		file := filepath.Join(dir, name)
		if err := os.WriteFile(file, []byte(content), 0o644); err != nil {
			t.Fatal(err)
		}
		place := filepath.Join(root, "documented", name)
		if name == "guest.go" { // a module of its own
			place = filepath.Join(root, "documented", "guest", name)
		}
		overlay["Replace"][place] = file
	}
	b, err := json.Marshal(overlay)
	if err != nil {
		t.Fatal(err)
	}
	list := filepath.Join(dir, "overlay.json")
	if err := os.WriteFile(list, b, 0o644); err != nil {
		t.Fatal(err)
	}
	test := filepath.Join(dir, "test")
	c := exec.Command(tool, "build", "-overlay", list, "-o", os.DevNull, "./documented/guest")
	c.Dir = root
	if out, err := c.CombinedOutput(); err != nil {
		t.Errorf("the comment of package guest: %v\n%s", err, out)
	}
	// Without vet, which wants a directory.
	c = exec.Command(tool, "test", "-c", "-vet=off", "-o", test, "-overlay", list, "./documented")
	c.Dir = root
	if out, err := c.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	if out, err := exec.Command(test, "-test.v").CombinedOutput(); err != nil || !strings.Contains(string(out), "--- PASS: TestCount") {
		t.Errorf("%v\n%s", err, out)
	}
}

func readFile(t *testing.T, name string) []byte {
	t.Helper()
	b, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// withoutComments returns Go code as it is formatted without comments, but for
// those that the compiler reads.
func withoutComments(t *testing.T, code []byte) string {
	t.Helper()
	code = regexp.MustCompile(`(?m)^//([ \t].*)?\n`).ReplaceAll(code, nil)
	out, err := format.Source(code)
	if err != nil {
		t.Fatal(err)
	}
	return string(out)
}
