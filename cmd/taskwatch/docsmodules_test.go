package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/taskwatch/taskwatch/internal/testutil"
)

// TestDocumentedModuleCommands runs the commands of the pages about modules,
// which are for root and a taskwatch in PATH. A watch is ended after a moment;
// it observes where the kernel lets nobody refuse anything.
func TestDocumentedModuleCommands(t *testing.T) {
	testutil.Root(t)
	needsClang(t)
	pages, err := filepath.Glob("../../docs/modules/*.md")
	if err != nil || len(pages) == 0 {
		t.Fatalf("pages %q, %v", pages, err)
	}
	modules, err := filepath.Abs("../../modules")
	if err != nil {
		t.Fatal(err)
	}
	bin := t.TempDir()
	sudo := `#!/bin/sh
case "$2" in
watch) shift 2; exec timeout --preserve-status -s INT 2 taskwatch watch --allow-observe-only "$@" ;;
esac
exec "$@"
`
	if err := os.WriteFile(filepath.Join(bin, "sudo"), []byte(sudo), 0o755); err != nil {
		t.Fatal(err)
	}
	for _, page := range append(pages, "../../docs/modules.md") {
		text, err := os.ReadFile(page)
		if err != nil {
			t.Fatal(err)
		}
		dir := t.TempDir()
		if err := os.Symlink(modules, filepath.Join(dir, "modules")); err != nil {
			t.Fatal(err)
		}
		blocks := regexp.MustCompile("(?ms)^```shell\n(.*?)^```$").FindAllStringSubmatch(string(text), -1)
		if len(blocks) == 0 {
			t.Errorf("%s has no commands", page)
		}
		for _, block := range blocks {
			c := exec.Command("/bin/sh", "-eu", "-c", block[1])
			c.Dir = dir
			c.Env = append(os.Environ(), "PATH="+strings.Join([]string{bin, filepath.Dir(binary(t)), os.Getenv("PATH")}, ":"))
			if out, err := c.CombinedOutput(); err != nil {
				t.Errorf("%s: %v:\n%s\n%s", filepath.Base(page), err, block[1], out)
			}
		}
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
